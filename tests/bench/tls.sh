#!/usr/bin/env bash
# TLS beside HAProxy and nginx, in one run on one core: CPU time of a handshake and of a request, memory of idle connections.
#
#   tests/bench/tls.sh [ROUNDS] [SECONDS] [FIGURES]     4 rounds of 2 s a figure by default: some 3 minutes
#
# As proxy.sh: rounds, places and the table are the same. One ECDSA certificate (P-256), the same list of ciphers and
# the server's order for all, tickets on. New connections are wrk's with "Connection: close", which resumes none;
# resumed ones are those of `openssl s_time -reuse`, one after the other.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck disable=SC2034 # of beside.bash
rounds=${1:-4} period=${2:-2} figures=${3:-.}
build=$PWD/${TIDEGATE_BUILD:-build/release}
bench=$PWD/tests/bench
for program in haproxy nginx wrk openssl luajit; do
    command -v "$program" >/dev/null || { echo "tls bench: $program is missing: apt-get install $program" >&2; exit 1; }
done
for program in tidegate libtidegate_test.so; do
    [ -e "$build/$program" ] || { echo "tls bench: $build/$program is missing: ninja -C $build" >&2; exit 1; }
done

if [ -z "${TIDEGATE_BENCH_DIR:-}" ]; then
    TIDEGATE_BENCH_DIR=$(mktemp -d)
    export TIDEGATE_BENCH_DIR
    trap 'rm -rf "$TIDEGATE_BENCH_DIR"' EXIT
    chmod 755 "$TIDEGATE_BENCH_DIR" # nginx drops to another user
    if [ "${TIDEGATE_BENCH_NETWORK:-}" = host ]; then "$0" "$@"; else unshare -n "$0" "$@"; fi
    exit
fi
dir=$TIDEGATE_BENCH_DIR
if [ "${TIDEGATE_BENCH_NETWORK:-}" != host ]; then ip link set lo up; fi
# shellcheck disable=SC2034 # of beside.bash
scheme=https
# shellcheck source=/dev/null
. "$bench/beside.bash"

base=$((10000 + $$ % 20000))
backend=$((base + 1))
declare -A port pid
port[tidegate]=$((base + 2)) port[haproxy]=$((base + 3)) port[nginx]=$((base + 4))

# ---- configurations -----------------------------------------------------------------------------

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=shop.example \
    -addext subjectAltName=DNS:shop.example,IP:127.0.0.1 -keyout "$dir/key.pem" -out "$dir/shop.pem" 2>/dev/null
chmod 600 "$dir/key.pem"
cat "$dir/shop.pem" "$dir/key.pem" >"$dir/both.pem"
old="ECDHE+AESGCM:ECDHE+CHACHA20"
new="TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

cat >"$dir/backend.conf" <<CFG
worker_processes 1;
pid $dir/backend.pid;
error_log $dir/backend-error.log;
events { worker_connections 8192; }
http {
  access_log off;
  keepalive_requests 1000000000;
  server { listen 127.0.0.1:$backend; location / { return 200 "$(printf 'x%.0s' {1..100})"; } }
}
CFG
cat >"$dir/tidegate.lua" <<LUA
cluster { id = "tidegate", engine = "process", workers = 1, admin = "" }
service "web" { backends = { "127.0.0.1:$backend" }, route = { listen = "https://127.0.0.1:${port[tidegate]}",
  tls = { certificate = "shop.pem", key = "key.pem" } } }
LUA
cat >"$dir/haproxy.cfg" <<CFG
global
  nbthread 1
  maxconn 4000
  ssl-default-bind-ciphers $old
  ssl-default-bind-ciphersuites $new
  ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
  option forwardfor
listen web
  bind 127.0.0.1:${port[haproxy]} ssl crt $dir/both.pem alpn http/1.1
  server one 127.0.0.1:$backend
CFG
cat >"$dir/nginx.conf" <<CFG
worker_processes 1;
pid $dir/nginx.pid;
error_log $dir/nginx-error.log;
events { worker_connections 8192; }
http {
  access_log off;
  keepalive_requests 1000000000;
  upstream web { server 127.0.0.1:$backend; keepalive 256; }
  server {
    listen 127.0.0.1:${port[nginx]} ssl;
    ssl_certificate $dir/shop.pem;
    ssl_certificate_key $dir/key.pem;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_ciphers $old;
    ssl_conf_command Ciphersuites $new;
    ssl_prefer_server_ciphers on;
    location / {
      proxy_pass http://web;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header X-Forwarded-For \$proxy_add_x_forwarded_for;
    }
  }
}
CFG

start 1 backend nginx -c "$dir/backend.conf" -g 'daemon off;' -p "$dir"
answers "$backend" || die "the backend does not answer"
export TIDEGATE_RUNTIME_DIR=$dir/run TIDEGATE_STATE_DIR=$dir/state
start 0 tidegate "$build/tidegate" run "$dir/tidegate.lua"
up tidegate -f -- --worker
start 0 haproxy haproxy -db -f "$dir/haproxy.cfg"
up haproxy
start 0 nginx nginx -c "$dir/nginx.conf" -g 'daemon off;' -p "$dir"
up nginx -f worker
all="tidegate haproxy nginx"

# ---- figures ------------------------------------------------------------------------------------

resumed() {
    local name before after count
    wanted "TLS 1.3, resumed" || return 0
    for name in $all; do
        before=$(cpu_ns "${pid[$name]}")
        taskset -c 1 openssl s_time -connect "127.0.0.1:${port[$name]}" -www / -reuse -time "$period" >"$dir/s_time" 2>&1 ||
            die "openssl s_time failed at $name"
        after=$(cpu_ns "${pid[$name]}")
        count=$(awk '/real seconds/ { print $1 }' "$dir/s_time")
        note "TLS 1.3, resumed" "$name" "$(awk -v ns=$((after - before)) -v n="$count" 'BEGIN { printf "%.3f", ns / n / 1000 }')"
    done
}

rss_kb() { awk '/^Rss:/ { print $2 }' "/proc/$1/smaps_rollup"; }

# What a connection costs that has had one answer and waits for the next request.
memory() {
    local name before held=1000
    wanted "TLS memory" || return 0
    for name in $all; do
        before=$(rss_kb "${pid[$name]}")
        TIDEGATE_BUILD=$build timeout 60 luajit "$bench/tls_hold.lua" "${port[$name]}" "$held" "$dir/held" &
        for _ in $(seq 200); do
            [ -e "$dir/held" ] && break
            sleep 0.1
        done
        [ -e "$dir/held" ] || die "connections to $name cannot be held"
        note "TLS memory" "$name" "$(awk -v kb=$(($(rss_kb "${pid[$name]}") - before)) -v n="$held" 'BEGIN { printf "%.2f", kb < 0 ? 0 : kb / n }')"
        rm "$dir/held"
        wait $! || true
    done
}

: >"$dir/figures"
memory
for name in $all; do wrk_run "$name" 64 1 /; done
for round in $(seq "$rounds"); do
    echo "tls bench: round $round of $rounds" >&2
    cpu "TLS keep-alive, 100 B, c=64" 64 / "$all"
    cpu "TLS 1.3, new connections" 32 / "$all" -H "Connection: close"
    resumed
done
luajit "$bench/table.lua" <"$dir/figures"
