#!/usr/bin/env bash
# HTTP/2 of clients beside nginx and HAProxy, to the same backends of HTTP/1.1, in one run on one core: CPU time a request.
#
#   tests/bench/h2.sh [ROUNDS] [SECONDS] [FIGURES]     5 rounds of 2 s a figure by default: some 3 minutes
#
# As proxy.sh: places, turns and the table are the same. h2load makes the requests, 10 streams on each connection unless
# the figure says else; "h2c" is prior knowledge without TLS, "h2" TLS 1.3 with ALPN.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-5} period=${2:-2}
# shellcheck disable=SC2034 # of beside.bash
figures=${3:-.}
build=$PWD/${TIDEGATE_BUILD:-build/release}
bench=$PWD/tests/bench
for program in haproxy nginx h2load openssl luajit; do
    command -v "$program" >/dev/null || { echo "h2 bench: $program is missing: apt-get install $program" >&2; exit 1; }
done
[ -x "$build/tidegate" ] || { echo "h2 bench: $build/tidegate is missing: ninja -C $build" >&2; exit 1; }

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
. "$bench/beside.bash"

base=$((10000 + $$ % 20000))
backend=$((base + 1))
declare -A port pid secure
port[tidegate]=$((base + 2)) port[haproxy]=$((base + 3)) port[nginx]=$((base + 4))
secure[tidegate]=$((base + 5)) secure[haproxy]=$((base + 6)) secure[nginx]=$((base + 7))
all="tidegate haproxy nginx"

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=shop.example \
    -addext subjectAltName=DNS:shop.example,IP:127.0.0.1 -keyout "$dir/key.pem" -out "$dir/shop.pem" 2>/dev/null
chmod 600 "$dir/key.pem"
cat "$dir/shop.pem" "$dir/key.pem" >"$dir/both.pem"
mkdir "$dir/files"
head -c 10240 /dev/zero | tr '\0' x >"$dir/files/10k"

cat >"$dir/backend.conf" <<CFG
worker_processes 1;
pid $dir/backend.pid;
error_log $dir/backend-error.log;
events { worker_connections 8192; }
http {
  access_log off;
  keepalive_requests 1000000000;
  open_file_cache max=100;
  default_type application/octet-stream;
  server { listen 127.0.0.1:$backend; root $dir/files; location = / { return 200 "$(printf 'x%.0s' {1..100})"; } }
}
CFG
cat >"$dir/tidegate.lua" <<LUA
cluster { id = "tidegate", engine = "process", workers = 1, admin = "" }
service "web" { backends = { { address = "127.0.0.1:$backend", max_connections = 10000 } }, route = {
  { listen = "127.0.0.1:${port[tidegate]}" },
  { listen = "https://127.0.0.1:${secure[tidegate]}", tls = { certificate = "shop.pem", key = "key.pem" } } } }
LUA
cat >"$dir/haproxy.cfg" <<CFG
global
  nbthread 1
  maxconn 4000
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
  option forwardfor
listen web
  bind 127.0.0.1:${port[haproxy]} proto h2
  bind 127.0.0.1:${secure[haproxy]} ssl crt $dir/both.pem alpn h2
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
  upstream web { server 127.0.0.1:$backend; keepalive 1024; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:${port[nginx]} http2;
    listen 127.0.0.1:${secure[nginx]} ssl http2;
    ssl_certificate $dir/shop.pem;
    ssl_certificate_key $dir/key.pem;
    ssl_protocols TLSv1.2 TLSv1.3;
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
# The proxies are asked by HTTP/2: some speak nothing else on these ports.
answers() {
    for _ in $(seq 100); do
        curl -fso /dev/null --max-time 2 --http2-prior-knowledge "http://127.0.0.1:$1/" && return
        sleep 0.1
    done
    return 1
}
export TIDEGATE_RUNTIME_DIR=$dir/run TIDEGATE_STATE_DIR=$dir/state
start 0 tidegate "$build/tidegate" run "$dir/tidegate.lua"
up tidegate -f -- --worker
start 0 haproxy haproxy -db -f "$dir/haproxy.cfg"
up haproxy
start 0 nginx nginx -c "$dir/nginx.conf" -g 'daemon off;' -p "$dir"
up nginx -f worker

# h2_cpu SCENARIO URL-SCHEME CONNECTIONS STREAMS PATH: microseconds of CPU a request
h2_cpu() {
    local scenario=$1 scheme=$2 connections=$3 streams=$4 path=$5 name before after at requests failed
    wanted "$scenario" || return 0
    for name in $all; do
        at=${port[$name]}
        if [ "$scheme" = https ]; then at=${secure[$name]}; fi
        before=$(cpu_ns "${pid[$name]}")
        timeout $((period + 20)) taskset -c 1 h2load -c "$connections" -m "$streams" -D "$period" \
            "$scheme://127.0.0.1:$at$path" >"$dir/h2load" 2>&1 || die "h2load failed at $name"
        after=$(cpu_ns "${pid[$name]}")
        requests=$(awk '/^status codes:/ { print $3 }' "$dir/h2load")
        failed=$(awk '/^requests:/ { n = $10 + $12 } /^status codes:/ { n += $5 + $7 + $9 } END { print n + 0 }' "$dir/h2load")
        [ "${requests:-0}" -gt 0 ] || die "no requests through $name"
        if [ "$failed" != 0 ]; then note "requests that failed" "$name" "$failed"; fi
        note "$scenario" "$name" "$(awk -v ns=$((after - before)) -v n="$requests" 'BEGIN { printf "%.3f", ns / n / 1000 }')"
    done
}

: >"$dir/figures"
for round in $(seq "$rounds"); do
    echo "h2 bench: round $round of $rounds" >&2
    h2_cpu "h2c, 100 B, c=8" http 8 10 /
    h2_cpu "h2c, 100 B, c=64" http 64 10 /
    h2_cpu "h2c, 100 B, 1 stream, c=64" http 64 1 /
    h2_cpu "h2c, 10 KB, c=8" http 8 10 /10k
    h2_cpu "h2, 100 B, c=8" https 8 10 /
done
luajit "$bench/table.lua" <"$dir/figures"
