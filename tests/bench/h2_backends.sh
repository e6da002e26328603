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

pids=()
cleanup() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
}
trap cleanup EXIT
die() {
    echo "h2 bench: $*" >&2
    tail -n 5 "$dir"/*.log >&2
    exit 1
}

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

# start CORE NAME COMMAND...: in the background; the process is $started
start() {
    local core=$1 name=$2
    shift 2
    taskset -c "$core" "$@" >"$dir/$name.log" 2>&1 &
    started=$!
    pids+=("$started")
}
# call PORT: whether one is answered as it should be
call() {
    timeout 2 nghttp -v -d "$dir/call" -H 'content-type: application/grpc' -H 'te: trailers' \
        "http://127.0.0.1:$1/echo.Echo/Unary" >"$dir/got" 2>&1 && grep -aq ') grpc-status: 0' "$dir/got" &&
        grep -aq 'x\{100\}' "$dir/got"
}
up() {
    local name=$1
    shift
    for _ in $(seq 100); do
        if call "${port[$name]}"; then
            pid[$name]=$started
            if [ $# -gt 0 ]; then pid[$name]=$(pgrep -P "$started" "$@"); fi
            return
        fi
        sleep 0.1
    done
    die "$name does not answer calls"
}

start 1 backend nghttpd --no-tls -d "$dir/files" --trailer 'grpc-status: 0' -m 1000 "$backend"
export TIDEGATE_RUNTIME_DIR=$dir/run TIDEGATE_STATE_DIR=$dir/state
start 0 tidegate "$build/tidegate" run "$dir/tidegate.lua"
up tidegate -f -- --worker
start 0 haproxy haproxy -db -f "$dir/haproxy.cfg"
up haproxy
start 0 nginx nginx -c "$dir/nginx.conf" -g 'daemon off;' -p "$dir"
up nginx -f worker

cpu_ns() { cat /proc/"$1"/task/*/schedstat | awk '{ sum += $1 } END { printf "%.0f", sum }'; }

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
        if [ "${failed:-0}" != 0 ]; then echo "h2 bench: $name failed $failed of $done_ calls" >&2; fi
        printf '%s\t%s\t%s\n' "$1" "$name" "$(awk -v ns=$((after - before)) -v n="$done_" 'BEGIN { printf "%.3f", ns / n / 1000 }')"
    done
}

for _ in $(seq "$rounds"); do
    figure "calls, 8 connections, 10 streams" 8 10
    figure "calls, 64 connections, 1 stream" 64 1
done >"$dir/figures"
# Medians, and tidegate's by each other's of the same round, of which the median again.
luajit - "$dir/figures" <<'LUA'
local of, order = {}, {}
for line in io.lines(arg[1]) do
    local scenario, proxy, value = line:match "^([^\t]+)\t([^\t]+)\t([%d.]+)$"
    if not of[scenario] then
        of[scenario] = {}
        order[#order + 1] = scenario
    end
    of[scenario][proxy] = of[scenario][proxy] or {}
    table.insert(of[scenario][proxy], tonumber(value))
end
local function median(values)
    table.sort(values)
    local middle = math.floor(#values / 2)
    return #values % 2 == 1 and values[middle + 1] or (values[middle] + values[middle + 1]) / 2
end
for _, scenario in ipairs(order) do
    local own, text = of[scenario].tidegate, ""
    local ratios = {}
    for _, proxy in ipairs { "haproxy", "nginx" } do
        ratios[proxy] = {}
        for i, value in ipairs(of[scenario][proxy]) do
            ratios[proxy][i] = own[i] / value
        end
    end
    for _, proxy in ipairs { "haproxy", "nginx" } do
        text = text .. ("   %s %.2f, ratio %.2f"):format(proxy, median(of[scenario][proxy]), median(ratios[proxy]))
    end
    print(("%-34s us CPU a call: tidegate %.2f%s"):format(scenario, median(own), text))
end
LUA
