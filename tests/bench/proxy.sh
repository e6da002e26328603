#!/usr/bin/env bash
# CPU time of the proxy per request beside HAProxy and nginx, in one run on one core.
#
#   tests/bench/proxy.sh [ROUNDS]       6 by default; needs haproxy, nginx and wrk (Debian packages)
#
# nginx runs a second time with a Lua scorer on every request (balancer_by_lua), its modules unpacked from
# Debian's packages beside the system's; where they cannot be had that column is "-".
# Three backends (examples/quickstart) and wrk share core 1, the proxy under test has core 0 to itself. The
# figure is the proxy's CPU time (schedstat of all its threads) by wrk's count of requests; targets take
# turns within a round, and the median of all rounds is printed. Everything listens on loopback only.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-6}
build=$PWD/${TIDEGATE_BUILD:-build/release}
for program in haproxy nginx wrk; do
    command -v "$program" >/dev/null || { echo "proxy bench: $program is missing: apt-get install $program" >&2; exit 1; }
done
dir=$(mktemp -d)
chmod 755 "$dir" # nginx drops to another user
pids=()
cleanup() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$dir"
}
trap cleanup EXIT

base=$((10000 + $$ % 20000)) # below the ports that the kernel gives to clients
backends=($((base + 1)) $((base + 2)) $((base + 3)))
for port in "${backends[@]}"; do
    taskset -c 1 "$build/service" --host 127.0.0.1 --port "$port" --threads 1 >/dev/null 2>&1 &
    pids+=($!)
done

cat >"$dir/tidegate.lua" <<LUA
cluster { id = "bench", engine = "process", workers = 1, admin = "" }
service "web" { backends = { $(printf '"127.0.0.1:%s", ' "${backends[@]}") },
  route = { listen = "127.0.0.1:$((base + 10))", balance = "least_connections" } }
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
  option splice-response
listen web
  bind 127.0.0.1:$((base + 11))
  balance leastconn
$(for port in "${backends[@]}"; do echo "  server s$port 127.0.0.1:$port"; done)
CFG
cat >"$dir/nginx.conf" <<CFG
worker_processes 1;
pid $dir/nginx.pid;
error_log $dir/nginx-error.log;
events { worker_connections 4096; }
http {
  access_log off;
  keepalive_requests 1000000000;
  proxy_buffers 8 64k;
  proxy_buffer_size 64k;
  upstream web { least_conn; keepalive 256; $(printf 'server 127.0.0.1:%s; ' "${backends[@]}") }
  server {
    listen 127.0.0.1:$((base + 12)) reuseport;
    location / {
      proxy_pass http://web;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header X-Forwarded-For \$proxy_add_x_forwarded_for;
      proxy_temp_path $dir/temp;
    }
  }
}
CFG
mkdir "$dir/temp"

# nginx with a Lua scorer over FFI structs, as tidegate's policies score.
lua=$dir/lua
nginx_lua_conf() {
    cat <<CFG
load_module $lua/usr/lib/nginx/modules/ndk_http_module.so;
load_module $lua/usr/lib/nginx/modules/ngx_http_lua_module.so;
$(sed "s|nginx.pid|nginx-lua.pid|; s|:$((base + 12))|:$((base + 13))|; s|least_conn; keepalive 256; .*|server 0.0.0.1; balancer_by_lua_block { require('pick')() } keepalive 256; }|" "$dir/nginx.conf" |
        sed "s|^http {|http {\n  lua_package_path '$lua/usr/share/lua/5.1/?.lua;$dir/?.lua;;';|")
CFG
}
cat >"$dir/pick.lua" <<LUA
local ffi = require "ffi"
local balancer = require "ngx.balancer"
ffi.cdef "struct backend { double in_flight, weight; int port; };"
local ports = { $(IFS=,; echo "${backends[*]}") }
local rows, last = ffi.new("struct backend[?]", #ports), 0
for i, port in ipairs(ports) do
    rows[i - 1].weight, rows[i - 1].port = 1, port
end
return function()
    local best, chosen = math.huge, 0
    last = (last + 1) % #ports
    for k = 0, #ports - 1 do
        local i = (last + k) % #ports
        local cost = (rows[i].in_flight + 1) / rows[i].weight
        if cost < best then
            best, chosen = cost, i
        end
    end
    balancer.set_current_peer("127.0.0.1", rows[chosen].port)
end
LUA
with_lua=no
if (cd "$dir" && mkdir lua && apt-get download libnginx-mod-http-lua libnginx-mod-http-ndk libluajit2-5.1-2 \
    lua-resty-core lua-resty-lrucache && for deb in ./*.deb; do dpkg -x "$deb" lua; done) >/dev/null 2>&1; then
    with_lua=yes
    nginx_lua_conf >"$dir/nginx-lua.conf"
fi

export TIDEGATE_RUNTIME_DIR=$dir/run TIDEGATE_STATE_DIR=$dir/state
taskset -c 0 "$build/tidegate" run "$dir/tidegate.lua" >"$dir/tidegate.log" 2>&1 &
tidegate=$!
pids+=("$tidegate")
taskset -c 0 haproxy -db -f "$dir/haproxy.cfg" >/dev/null 2>&1 &
haproxy=$!
pids+=("$haproxy")
taskset -c 0 nginx -c "$dir/nginx.conf" -g 'daemon off;' -p "$dir" >/dev/null 2>&1 &
nginx=$!
pids+=("$nginx")
targets=(tidegate haproxy nginx) ports=($((base + 10)) $((base + 11)) $((base + 12)))
if [ "$with_lua" = yes ]; then
    LD_LIBRARY_PATH=$lua/usr/lib/x86_64-linux-gnu taskset -c 0 nginx -c "$dir/nginx-lua.conf" \
        -g 'daemon off;' -p "$dir" >"$dir/nginx-lua.log" 2>&1 &
    nginx_lua=$!
    pids+=("$nginx_lua")
    targets+=(nginx+lua) ports+=($((base + 13)))
fi

for port in "${ports[@]}"; do
    for _ in $(seq 100); do
        curl -fso /dev/null "http://127.0.0.1:$port/" && break
        sleep 0.1
    done
    curl -fso /dev/null "http://127.0.0.1:$port/" || { echo "port $port does not answer" >&2; tail -n 20 "$dir"/*.log >&2; exit 1; }
done
unset port
declare -A port=([tidegate]=$((base + 10)) [haproxy]=$((base + 11)) [nginx]=$((base + 12)) [nginx+lua]=$((base + 13)))
# The process that proxies: tidegate's worker, nginx's worker.
declare -A pid=([tidegate]=$(pgrep -P "$tidegate" -f -- --worker) [haproxy]=$haproxy [nginx]=$(pgrep -P "$nginx"))
[ "$with_lua" = no ] || pid[nginx+lua]=$(pgrep -P "$nginx_lua")

cpu_ns() { cat /proc/"$1"/task/*/schedstat | awk '{ sum += $1 } END { printf "%.0f", sum }'; }

# measure TARGET CONNECTIONS PATH [WRK-OPTION...]: microseconds of CPU a request
measure() {
    local target=$1 connections=$2 path=$3 before after requests
    shift 3
    before=$(cpu_ns "${pid[$target]}")
    requests=$(taskset -c 1 wrk -t1 -c"$connections" -d2s "$@" "http://127.0.0.1:${port[$target]}$path" |
        awk '/requests in/ { print $1 }')
    after=$(cpu_ns "${pid[$target]}")
    awk -v ns=$((after - before)) -v n="$requests" 'BEGIN { printf "%.3f\n", ns / n / 1000 }'
}

median() { sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

scenario() {
    local name=$1 connections=$2 path=$3 target
    shift 3
    rm -f "$dir"/figures.*
    for _ in $(seq "$rounds"); do
        for target in "${targets[@]}"; do
            measure "$target" "$connections" "$path" "$@" >>"$dir/figures.$target"
        done
    done
    local line own
    own=$(median <"$dir/figures.tidegate")
    line=$(printf '%-26s %9.2f' "$name" "$own")
    for target in haproxy nginx nginx+lua; do
        if [ -e "$dir/figures.$target" ]; then
            line+=$(median <"$dir/figures.$target" | awk -v own="$own" '{ printf " %9.2f (%4.2f)", $1, own / $1 }')
        else
            line+=$(printf ' %9s %6s' - '')
        fi
    done
    echo "$line"
}

# Median latency of one connection, each target alone for 2 s a round.
latency() {
    local target
    printf '%-26s' "c=1, p50 in us"
    for target in "${targets[@]}"; do
        for _ in $(seq "$rounds"); do
            taskset -c 1 wrk -t1 -c1 -d2s --latency "http://127.0.0.1:${port[$target]}/" | awk '/50%/ { print $2 * ($2 ~ /ms/ ? 1000 : 1) }'
        done | median | awk '{ printf " %9.0f       ", $1 }'
    done
    echo
}

printf '%-26s %9s %9s %6s %9s %6s %9s %6s\n' "us of CPU a request (ratio)" tidegate haproxy "" nginx "" nginx+lua ""
scenario "100 B keep-alive, c=64" 64 /
scenario "100 B keep-alive, c=256" 256 /
scenario "100 B keep-alive, c=8" 8 /
scenario "close, c=64" 64 / -H "Connection: close"
scenario "10 KB, c=256" 256 /bytes/10240
scenario "1 MB, c=16" 16 /bytes/1048576
latency
