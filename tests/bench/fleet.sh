#!/usr/bin/env bash
# How the control plane scales: SERVICES x INSTANCES child processes under one daemon.
#
#   tests/bench/fleet.sh [SERVICES] [INSTANCES]      50 x 4 by default
#
# Prints the time until all are up, the master's CPU a tick (100 ms) and of all processes while idle,
# resident memory, and the time until all are adopted after kill -9 of the daemon.
set -euo pipefail
cd "$(dirname "$0")/../.."
services=${1:-50} instances=${2:-4}
build=$PWD/${TIDEGATE_BUILD:-build/release}
dir=$(mktemp -d)
export TIDEGATE_RUNTIME_DIR=$dir/run TIDEGATE_STATE_DIR=$dir/state
daemon=

cleanup() {
    if [ -n "$daemon" ] && kill -0 "$daemon" 2>/dev/null; then
        kill "$daemon"
        wait "$daemon" || true
    fi
    rm -rf "$dir"
}
trap cleanup EXIT

{
    echo 'cluster { id = "bench", engine = "process", workers = 2, admin = "", sample_interval = "5s" }'
    for i in $(seq "$services"); do
        cat <<LUA
service "s$i" {
  command = { "$build/service", "--host", "127.0.0.1", "--port", "\$PORT" },
  health_check = { http = "/health", interval = "10s", timeout = "2s", retries = 3 },
  scale = { policy = "threshold", min = $instances, max = $instances },
  route = { listen = "unix:$dir/front.sock", host = "s$i" },
}
LUA
    done
} >"$dir/tidegate.lua"

start() {
    "$build/tidegate" run "$dir/tidegate.lua" --stop-services >>"$dir/log" 2>&1 &
    daemon=$!
}

# Counts instances that are up.
up() { "$build/tidegate" status --json 2>/dev/null | grep -o '"up":[0-9]*' | awk -F: '{ sum += $2 } END { print sum + 0 }'; }

# Waits until all are up; prints the milliseconds since $1.
wait_all() {
    local began=$1
    until [ "$(up)" = $((services * instances)) ]; do
        if [ $(($(date +%s%3N) - began)) -gt 300000 ]; then
            tail -n 20 "$dir/log" >&2
            exit 1
        fi
        sleep 0.05
    done
    echo $(($(date +%s%3N) - began))
}

# CPU ns that a process has used, all threads.
cpu_ns() { cat /proc/"$1"/task/*/schedstat | awk '{ sum += $1 } END { printf "%.0f\n", sum }'; }
family() { echo "$daemon" && pgrep -P "$daemon" -f -- '--(worker|policy)'; }

began=$(date +%s%3N)
start
printf 'all %d up after            %8d ms\n' $((services * instances)) "$(wait_all "$began")"
sleep 3

total() { for pid in $(family); do cpu_ns "$pid"; done | awk '{ sum += $1 } END { printf "%.0f\n", sum }'; }
master_before=$(cpu_ns "$daemon") all_before=$(total)
sleep 20
master_after=$(cpu_ns "$daemon") all_after=$(total)
awk -v m=$((master_after - master_before)) -v a=$((all_after - all_before)) 'BEGIN {
    printf "master CPU a tick of 100 ms  %8.3f ms (probes and samples included)\n", m / 200 / 1e6
    printf "idle CPU of all processes    %8.2f %% of one core\n", a / 20e9 * 100 }'
for pid in $(family); do awk '/^Pss:/ { print $2 }' "/proc/$pid/smaps_rollup"; done |
    awk '{ sum += $1 } END { printf "resident (PSS) in all        %8.1f MB\n", sum / 1024 }'

before=$(pgrep -f "^$build/service .*127.0.0.1" | sort | md5sum)
kill -9 "$daemon"
wait "$daemon" 2>/dev/null || true
began=$(date +%s%3N)
start
printf 'adopted after kill -9 in     %8d ms\n' "$(wait_all "$began")"
[ "$before" = "$(pgrep -f "^$build/service .*127.0.0.1" | sort | md5sum)" ] && echo "the same processes           yes"
