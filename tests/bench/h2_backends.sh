#!/usr/bin/env bash
# Calls as gRPC makes them through the proxy to a backend of HTTP/2, beside HAProxy and nginx (grpc_pass), on one core:
# CPU time a call.
#
#   tests/bench/h2_backends.sh [ROUNDS] [SECONDS]     5 rounds of 2 s a figure by default: some 90 s
#
# Needs haproxy, nginx, h2load (nghttp2-client), nghttpd (nghttp2-server), and root for a network of its own
# (TIDEGATE_BENCH_NETWORK=host: here).
#
# Core 0 belongs to the proxy under test; nghttpd as backend and h2load share core 1. A call is a POST of one small
# message, answered by a head, a message of 100 B and trailers. The figure is the proxy's CPU time by h2load's count of
# calls that were answered well; proxies take turns within each round. One that fails calls is told of.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-5} period=${2:-2}
build=$PWD/${TIDEGATE_BUILD:-build/release}
bench=$PWD/tests/bench
for program in haproxy nginx h2load nghttp nghttpd luajit; do
    command -v "$program" >/dev/null || { echo "h2 bench: $program is missing" >&2; exit 1; }
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
[ "${TIDEGATE_BENCH_NETWORK:-}" = host ] || ip link set lo up

# shellcheck source=tests/bench/beside.bash
. "$bench/beside.bash"

base=$((10000 + $$ % 20000))
backend=$base
names=(tidegate haproxy nginx)
declare -A port pid
for i in "${!names[@]}"; do port[${names[i]}]=$((base + 1 + i)); done

mkdir -p "$dir/files/echo.Echo"
{ printf '\0\0\0\0\144'; head -c 100 /dev/zero | tr '\0' x; } >"$dir/files/echo.Echo/Unary"
printf '\0\0\0\0\005hello' >"$dir/call"

cat >"$dir/tidegate.lua" <<LUA
cluster { id = "bench", engine = "process", workers = 1, admin = "" }
service "echo" { backends = { { address = "127.0.0.1:$backend", max_connections = 10000 } }, protocol = "h2c",
  route = { listen = "127.0.0.1:${port[tidegate]}" } }
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
  server one 127.0.0.1:$backend proto h2
CFG
cat >"$dir/nginx.conf" <<CFG
worker_processes 1;
pid $dir/nginx.pid;
error_log $dir/nginx-error.log;
events { worker_connections 4096; }
http {
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path $dir/body;
  upstream echo { server 127.0.0.1:$backend; keepalive 256; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:${port[nginx]} http2;
    http2_max_requests 1000000000;
    location / { grpc_pass grpc://echo; grpc_set_header X-Forwarded-For \$proxy_add_x_forwarded_for; }
  }
}
CFG

# call PORT: whether one is answered as it should be
call() {
    timeout 2 nghttp -v -d "$dir/call" -H 'content-type: application/grpc' -H 'te: trailers' \
        "http://127.0.0.1:$1/echo.Echo/Unary" >"$dir/got" 2>&1 && grep -aq ') grpc-status: 0' "$dir/got" &&
        grep -aq 'x\{100\}' "$dir/got"
}
# The proxies are asked as gRPC asks.
answers() {
    for _ in $(seq 100); do
        call "$1" && return
        sleep 0.1
    done
    return 1
}

start 1 backend nghttpd --no-tls -d "$dir/files" --trailer 'grpc-status: 0' -m 1000 "$backend"
export TIDEGATE_RUNTIME_DIR=$dir/run TIDEGATE_STATE_DIR=$dir/state
start 0 tidegate "$build/tidegate" run "$dir/tidegate.lua"
up tidegate -f -- --worker
start 0 haproxy haproxy -db -f "$dir/haproxy.cfg"
up haproxy
start 0 nginx nginx -c "$dir/nginx.conf" -g 'daemon off;' -p "$dir"
up nginx -f worker

# figure SCENARIO CONNECTIONS STREAMS
figure() {
    local name before after done_ failed
    for name in "${names[@]}"; do
        before=$(cpu_ns "${pid[$name]}")
        taskset -c 1 h2load -c "$2" -m "$3" -D "$period" -d "$dir/call" -H 'content-type: application/grpc' -H 'te: trailers' \
            "http://127.0.0.1:${port[$name]}/echo.Echo/Unary" >"$dir/h2load" 2>&1 || die "h2load failed at $name"
        after=$(cpu_ns "${pid[$name]}")
        done_=$(awk '/^requests:/ { print $8 }' "$dir/h2load")
        failed=$(awk '/^requests:/ { print $10 + $12 }' "$dir/h2load")
        [ "${done_:-0}" -gt 0 ] || { cat "$dir/h2load" >&2; die "no calls through $name"; }
        if [ "${failed:-0}" != 0 ]; then note "requests that failed" "$name" "$failed"; fi
        note "$1" "$name" "$(awk -v ns=$((after - before)) -v n="$done_" 'BEGIN { printf "%.3f", ns / n / 1000 }')"
    done
}

: >"$dir/figures"
for _ in $(seq "$rounds"); do
    figure "gRPC calls, 8 connections, 10 streams" 8 10
    figure "gRPC calls, 64 connections, 1 stream" 64 1
done
luajit "$bench/table.lua" <"$dir/figures"
