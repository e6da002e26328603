#!/usr/bin/env bash
# How the control plane scales: SERVICES x INSTANCES under one daemon.
#
#   tests/bench/fleet.sh [SERVICES] [INSTANCES]            child processes, 50 x 4 by default
#   tests/bench/fleet.sh --docker [SERVICES] [INSTANCES]   containers on a private engine, 15 x 4 by default
#
# Prints the time until all are up, the master's CPU a tick (100 ms) and of all processes while idle,
# resident memory, and the time until all are adopted after kill -9 of the daemon.
set -euo pipefail
cd "$(dirname "$0")/../.."
engine=process default=50
if [ "${1:-}" = --docker ]; then
    engine=docker default=15
    shift
fi
services=${1:-$default} instances=${2:-4}
build=$PWD/${TIDEGATE_BUILD:-build/release}
dir=$(mktemp -d)
dockerd=tests/support/dockerd bed=$dir/engine
export TIDEGATE_RUNTIME_DIR=$dir/run TIDEGATE_STATE_DIR=$dir/state
daemon=

cleanup() {
    if [ -n "$daemon" ] && kill -0 "$daemon" 2>/dev/null; then
        kill "$daemon"
        wait "$daemon" || true
    fi
    [ "$engine" = process ] || "$dockerd" stop "$bed"
    rm -rf "$dir"
}
trap cleanup EXIT

source="command = { \"$build/service\", \"--host\", \"127.0.0.1\", \"--port\", \"\$PORT\" },"
docker=
if [ "$engine" = docker ]; then
    "$dockerd" check
    "$dockerd" start "$bed" >/dev/null
    "$dockerd" image "$bed" quick:1 "$build/service"
    source='image = "quick:1", ports = { "8080" }, resources = { memory = "32m" },'
    docker="docker = { host = \"unix://$bed/docker.sock\" },"
fi
{
    echo "cluster { id = \"bench\", engine = \"$engine\", $docker workers = 2, admin = false, sample_interval = \"5s\" }"
    for i in $(seq "$services"); do
        cat <<LUA
service "s$i" {
  $source
  health_check = { http = "/health", interval = "10s", timeout = "2s", retries = 3 },
  scale = { policy = "threshold", min = $instances, max = $instances },
  route = { listen = "unix:$dir/front.sock", host = "s$i" },
}
LUA
    done
} >"$dir/tidegate.lua"

start() {
    local within=()
    [ "$engine" = process ] || within=("$dockerd" exec "$bed") # same pid; container addresses are reached from there
    "${within[@]}" "$build/tidegate" run "$dir/tidegate.lua" --stop-services >>"$dir/log" 2>&1 &
    daemon=$!
}

# What tells the instances from others, whatever they are: it must outlive the daemon.
identities() {
    if [ "$engine" = docker ]; then
        "$dockerd" api "$bed" GET '/containers/json?all=1' | grep -o '"Id":"[0-9a-f]*"' | sort | uniq
    else
        pgrep -f "^$build/service .*127.0.0.1" | sort
    fi
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

before=$(identities | md5sum)
kill -9 "$daemon"
wait "$daemon" 2>/dev/null || true
began=$(date +%s%3N)
start
printf 'adopted after kill -9 in     %8d ms\n' "$(wait_all "$began")"
[ "$before" = "$(identities | md5sum)" ] && echo "the same instances           yes, $(identities | wc -l)"
