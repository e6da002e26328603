#!/usr/bin/env bash
# What a worker holds out: idle clients, slow ones, too few descriptors, bodies of any length.
#
#   tests/bench/limits.sh [CLIENTS] [SECONDS] [GIGABYTES]    20000, 10 and 10 by default
#
# One daemon with one worker for each part. Loopback only; ends what it started. Needs a limit of open files
# of 2 x CLIENTS + 2000, which it sets where it may.
set -euo pipefail
cd "$(dirname "$0")/../.."
clients=${1:-20000} seconds=${2:-10} gigabytes=${3:-10}
build=$PWD/${TIDEGATE_BUILD:-build/release}
dir=$(mktemp -d)
export TIDEGATE_RUNTIME_DIR=$dir/run TIDEGATE_STATE_DIR=$dir/state
port=$((20000 + $$ % 10000))
daemon='' service='' holders=''

end_daemon() {
    [ -n "$daemon" ] || return 0
    kill "$daemon" 2>/dev/null || true
    wait "$daemon" 2>/dev/null || true
    daemon=
}
end_holders() {
    [ -n "$holders" ] || return 0
    exec 8>&-
    wait "$holders" 2>/dev/null || true
    holders=
}
cleanup() {
    end_holders
    end_daemon
    if [ -n "$service" ]; then
        kill "$service" 2>/dev/null || true
        wait "$service" 2>/dev/null || true
    fi
    rm -rf "$dir"
}
trap cleanup EXIT

files=$((clients * 2 + 2000))
if ! ulimit -Sn "$files" 2>/dev/null && ! ulimit -n "$files" 2>/dev/null; then
    ulimit -Sn "$(ulimit -Hn)"
    [ "$(ulimit -Hn)" = unlimited ] || clients=$((($(ulimit -Hn) - 2000) / 2))
    echo "limits: open files are limited: $clients clients"
fi

"$build/service" --host 127.0.0.1 --port $((port + 1)) >/dev/null 2>&1 &
service=$!
cat >"$dir/tidegate.lua" <<LUA
cluster { id = "limits", engine = "process", workers = 1, admin = "" }
service "web" { backends = { "127.0.0.1:$((port + 1))" },
  route = { listen = "127.0.0.1:$port", timeouts = { client_idle = "10m" } } }
LUA

worker=
# start [FILES]: a daemon, with so many descriptors for each of its processes.
start() {
    end_daemon
    if [ -n "${1:-}" ]; then
        prlimit --nofile="$1" "$build/tidegate" run "$dir/tidegate.lua" >"$dir/log" 2>&1 &
    else
        "$build/tidegate" run "$dir/tidegate.lua" >"$dir/log" 2>&1 &
    fi
    daemon=$!
    for _ in $(seq 100); do
        curl -fso /dev/null "http://127.0.0.1:$port/" && break
        sleep 0.1
    done
    curl -fso /dev/null "http://127.0.0.1:$port/" || { cat "$dir/log" >&2; exit 1; }
    worker=$(pgrep -P "$daemon" -f -- '--worker')
}
# hold MODE COUNT: comes back when all are connected.
hold() {
    rm -f "$dir/in" "$dir/out"
    mkfifo "$dir/in" "$dir/out"
    luajit tests/bench/holders.lua "$1" "$port" "$2" <"$dir/in" >"$dir/out" 8>&- 9>&- &
    holders=$!
    exec 8>"$dir/in" 9<"$dir/out"
    read -r -t 60 _ <&9
}
rss_kb() { awk '/^VmRSS:/ { print $2 }' "/proc/$worker/status"; }
# load SECONDS RATE: into $dir/figures
load() {
    "$build/load" --rate "$2" --connections 16 --duration "$1" "http://127.0.0.1:$port/" >"$dir/figures" || true
}
field() { sed -n 's/.*"'"$1"'":\([0-9.]*\).*/\1/p' "$dir/figures"; }

start
before=$(rss_kb)
hold idle "$clients"
after=$(rss_kb)
awk -v n="$clients" -v a="$before" -v b="$after" 'BEGIN {
    printf "%d idle clients: worker %.1f MB, %.1f MB before, %.0f B a client\n", n, b / 1024, a / 1024, (b - a) * 1024 / n }'
load 2 1000
echo "    meanwhile 1000/s: $(field errors) failed, p99 $(field p99_ms) ms"
end_holders

load "$seconds" 1000
quiet=$(field p99_ms)
hold loris 2000
load "$seconds" 1000
echo "slow-loris from 2000: p99 $(field p99_ms) ms, $quiet ms before, $(field errors) failed"
end_holders

start 256
hold loris 400 || true
load 3 200
echo "256 descriptors, 400 clients: worker $(kill -0 "$worker" && echo alive), reported $(grep -c 'limit' "$dir/log" || true) times:"
grep limit "$dir/log" | head -n 1 | sed 's/^/    /'
end_holders
load 3 200
echo "    afterwards 200/s: $(field errors) failed"

start
curl -so /dev/null "http://127.0.0.1:$port/bytes/$((gigabytes * 1000000000))" &
transfer=$!
sleep 0.5
first=$(rss_kb) most=0
while kill -0 "$transfer" 2>/dev/null; do
    now=$(rss_kb)
    [ "$now" -le "$most" ] || most=$now
    sleep 0.1
done
wait "$transfer" && echo "$gigabytes GB answered: worker $first kB at first, $most kB at most"
