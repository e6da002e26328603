#!/usr/bin/env bash
# The proxy beside HAProxy and nginx, in one run on one core: CPU time a request, latency, system calls, memory.
#
#   tests/bench/proxy.sh [ROUNDS] [SECONDS] [FIGURES]     6 rounds of 2 s a figure by default: some 8 minutes
#
# FIGURES is an extended regular expression: only figures whose name it matches, "1 MB" for example.
# Needs haproxy, nginx, wrk and strace (Debian packages), and root for a network of its own, in which no
# packet filter costs anybody anything (TIDEGATE_BENCH_NETWORK=host: here). nginx with a Lua scorer on every request
# (balancer_by_lua) has its modules unpacked from Debian's packages beside the system's; where they cannot be
# had it is left out.
#
# Core 0 belongs to the proxy under test; nginx as three backends and wrk share core 1. Each peer is at its
# best: one thread, connections to backends kept, no log, the cheapest balancing it has; X-Forwarded-For is
# added by all. tidegate runs as it comes, with its default policy in Lua and all its numbers. For large bodies there
# are also HAProxy with splicing and nginx without buffering. The figure is the proxy's CPU time (schedstat of all its
# threads) by wrk's count of requests. Rounds are outermost and the proxies take turns within each figure of
# one, so that what the machine does beside meets all; see table.lua for what is printed.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck disable=SC2034 # of beside.bash
rounds=${1:-6} period=${2:-2} figures=${3:-.}
build=$PWD/${TIDEGATE_BUILD:-build/release}
bench=$PWD/tests/bench
for program in haproxy nginx wrk strace luajit; do
    command -v "$program" >/dev/null || { echo "proxy bench: $program is missing: apt-get install $program" >&2; exit 1; }
done
for program in tidegate pick_bench; do
    [ -x "$build/$program" ] || { echo "proxy bench: $build/$program is missing: ninja -C $build tidegate pick_bench" >&2; exit 1; }
done

if [ -z "${TIDEGATE_BENCH_DIR:-}" ]; then
    TIDEGATE_BENCH_DIR=$(mktemp -d)
    export TIDEGATE_BENCH_DIR
    trap 'rm -rf "$TIDEGATE_BENCH_DIR"' EXIT
    chmod 755 "$TIDEGATE_BENCH_DIR" # nginx drops to another user
    (cd "$TIDEGATE_BENCH_DIR" && mkdir lua && apt-get download libnginx-mod-http-lua libnginx-mod-http-ndk \
        libluajit2-5.1-2 lua-resty-core lua-resty-lrucache &&
        for deb in ./*.deb; do dpkg -x "$deb" lua; done) >"$TIDEGATE_BENCH_DIR/apt.log" 2>&1 ||
        rm -rf "$TIDEGATE_BENCH_DIR/lua"
    if [ "${TIDEGATE_BENCH_NETWORK:-}" = host ]; then
        "$0" "$@"
    else
        unshare -n "$0" "$@"
    fi
    exit
fi
dir=$TIDEGATE_BENCH_DIR
if [ "${TIDEGATE_BENCH_NETWORK:-}" != host ]; then
    ip link set lo up
    sysctl -qw net.ipv4.tcp_congestion_control=reno || true
fi

# shellcheck source=/dev/null
. "$bench/beside.bash"

base=$((10000 + $$ % 20000)) # below the ports that the kernel gives to clients
backends=($((base + 1)) $((base + 2)) $((base + 3)))
all=(tidegate tidegate-spin haproxy haproxy-splice nginx nginx-unbuffered nginx+lua)
declare -A port pid
for i in "${!all[@]}"; do port[${all[i]}]=$((base + 10 + i)); done

# ---- configurations -----------------------------------------------------------------------------

mkdir "$dir/files" "$dir/temp"
mount -t tmpfs -o mode=755 tmpfs "$dir/files" 2>/dev/null || true # else they are in the page cache anyway
head -c 10240 /dev/zero | tr '\0' x >"$dir/files/10k"
head -c 1048576 /dev/zero | tr '\0' x >"$dir/files/1m"
chmod 777 "$dir/temp"

cat >"$dir/backend.conf" <<CFG
worker_processes 1;
pid $dir/backend.pid;
error_log $dir/backend-error.log;
events { worker_connections 8192; }
http {
  access_log off;
  sendfile on;
  keepalive_requests 1000000000;
  open_file_cache max=100;
  default_type application/octet-stream;
  server {
$(printf '    listen 127.0.0.1:%s;\n' "${backends[@]}")
    root $dir/files;
    location = / { return 200 "$(printf 'x%.0s' {1..100})"; }
  }
}
CFG

# tidegate_conf NAME [FIELD...]
tidegate_conf() {
    cat >"$dir/$1.lua" <<LUA
cluster { id = "$1", engine = "process", workers = 1, admin = "", ${2:-} }
service "web" { backends = { $(printf '"127.0.0.1:%s", ' "${backends[@]}") },
  route = { listen = "127.0.0.1:${port[$1]}" } }
LUA
}
tidegate_conf tidegate
tidegate_conf tidegate-spin "spin_us = 50"

# haproxy_conf NAME [OPTION]
haproxy_conf() {
    cat >"$dir/$1.cfg" <<CFG
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
  ${2:-}
listen web
  bind 127.0.0.1:${port[$1]}
  balance roundrobin
$(for at in "${backends[@]}"; do echo "  server s$at 127.0.0.1:$at"; done)
CFG
}
haproxy_conf haproxy
haproxy_conf haproxy-splice "option splice-response"

# nginx_conf NAME UPSTREAM HTTP-LINES LOCATION-LINES [MAIN-LINES]
nginx_conf() {
    cat >"$dir/$1.conf" <<CFG
${5:-}
worker_processes 1;
pid $dir/$1.pid;
error_log $dir/$1-error.log;
events { worker_connections 4096; }
http {
  access_log off;
  keepalive_requests 1000000000;
  proxy_temp_path $dir/temp;
  $3
  upstream web { $2 keepalive 256; }
  server {
    listen 127.0.0.1:${port[$1]};
    location / {
      proxy_pass http://web;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header X-Forwarded-For \$proxy_add_x_forwarded_for;
      $4
    }
  }
}
CFG
}
servers=$(printf 'server 127.0.0.1:%s; ' "${backends[@]}")
nginx_conf nginx "$servers" "" ""
nginx_conf nginx-unbuffered "$servers" "" "proxy_buffering off; proxy_buffer_size 64k; proxy_buffers 8 64k; proxy_busy_buffers_size 64k;"
lua=$dir/lua
nginx_conf nginx+lua "server 0.0.0.1; balancer_by_lua_block { require('pick')() }" \
    "lua_package_path '$lua/usr/share/lua/5.1/?.lua;$dir/?.lua;;';" "" \
    "load_module $lua/usr/lib/nginx/modules/ndk_http_module.so; load_module $lua/usr/lib/nginx/modules/ngx_http_lua_module.so;"
# A scorer over FFI structs, as tidegate's policies score.
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

# ---- processes ----------------------------------------------------------------------------------

start 1 backend nginx -c "$dir/backend.conf" -g 'daemon off;' -p "$dir"
for at in "${backends[@]}"; do answers "$at" || die "backend $at does not answer"; done
for name in tidegate tidegate-spin; do
    export TIDEGATE_RUNTIME_DIR=$dir/$name-run TIDEGATE_STATE_DIR=$dir/$name-state
    start 0 "$name" "$build/tidegate" run "$dir/$name.lua"
    up "$name" -f -- --worker
done
for name in haproxy haproxy-splice; do
    start 0 "$name" haproxy -db -f "$dir/$name.cfg"
    up "$name"
done
for name in nginx nginx-unbuffered; do
    start 0 "$name" nginx -c "$dir/$name.conf" -g 'daemon off;' -p "$dir"
    up "$name" -f worker
done
peers=(haproxy nginx)
if [ -d "$lua" ]; then
    start 0 nginx+lua env LD_LIBRARY_PATH="$lua/usr/lib/x86_64-linux-gnu" nginx -c "$dir/nginx+lua.conf" -g 'daemon off;' -p "$dir"
    up nginx+lua -f worker
    peers+=(nginx+lua)
else
    echo "proxy bench: without nginx+lua: $(tail -n 1 "$dir/apt.log")" >&2
fi
for name in tidegate "${peers[@]}" haproxy-splice nginx-unbuffered; do
    [ "$(curl -s --max-time 5 "http://127.0.0.1:${port[$name]}/1m" | wc -c)" = 1048576 ] || die "$name loses bytes"
done

# ---- figures ------------------------------------------------------------------------------------

# Many short turns, since what disturbs one connection comes in bursts.
latency() {
    local name
    wanted "p50 at c=1" || return 0
    for _ in 1 2 3; do
        for name in tidegate tidegate-spin "${peers[@]}"; do
            wrk_run "$name" 1 1 /
            note "p50 at c=1" "$name" "$(awk '$1 == "50%" { print $2 * ($2 ~ /ms$/ ? 1000 : 1) }' "$dir/wrk")"
        done
    done
}

# syscalls SCENARIO [WRK-OPTION...]
syscalls() {
    local scenario=$1 name tracer calls
    shift
    wanted "$scenario" || return 0
    for name in tidegate "${peers[@]}"; do
        rm -f "$dir/strace"
        strace -qq -c -f -U calls,name -o "$dir/strace" -p "${pid[$name]}" 2>/dev/null &
        tracer=$!
        for _ in $(seq 50); do
            grep -q "^TracerPid:.$tracer\$" "/proc/${pid[$name]}/status" && break
            sleep 0.1
        done
        wrk_run "$name" 64 2 / "$@"
        kill -INT "$tracer" 2>/dev/null || true
        wait "$tracer" || true
        calls=$(awk '$2 == "total" { print $1 }' "$dir/strace")
        if [ -z "$calls" ]; then
            echo "proxy bench: strace counts nothing of $name: may it trace other processes?" >&2
            return
        fi
        # shellcheck disable=SC2154 # of wrk_run
        note "$scenario" "$name" "$(awk -v calls="$calls" -v n="$requests" 'BEGIN { printf "%.2f", calls / n }')"
    done
}

memory() {
    local name
    wanted "memory" || return 0
    for name in tidegate "${peers[@]}"; do
        note "RSS $1" "$name" "$(awk '/^Rss:/ { print $2 / 1024 }' "/proc/${pid[$name]}/smaps_rollup")"
        note "PSS $1" "$name" "$(awk '/^Pss:/ { print $2 / 1024 }' "/proc/${pid[$name]}/smaps_rollup")"
    done
}

: >"$dir/figures"
memory idle
for name in tidegate tidegate-spin "${peers[@]}" haproxy-splice nginx-unbuffered; do wrk_run "$name" 64 1 /; done
small="tidegate ${peers[*]}"
for round in $(seq "$rounds"); do
    echo "proxy bench: round $round of $rounds" >&2
    cpu "100 B, c=64" 64 / "$small"
    cpu "100 B, c=256" 256 / "$small"
    cpu "100 B, c=8" 8 / "$small"
    cpu "close, c=64" 64 / "$small" -H "Connection: close"
    cpu "10 KB, c=256" 256 /10k "$small"
    cpu "1 MB, c=16" 16 /1m "$small haproxy-splice nginx-unbuffered"
    latency
done
memory "after load"
# Three times: where neighbours slow a traced proxy so that requests take over 10 ms, tidegate also has its loop watch their clients.
for _ in 1 2 3; do
    syscalls "syscalls, keep-alive"
    syscalls "syscalls, close" -H "Connection: close"
    if wanted "Lua's part of a pick"; then taskset -c 0 "$build/pick_bench" >>"$dir/figures"; fi
done
luajit "$bench/table.lua" <"$dir/figures"
