#!/usr/bin/env bash
# What requests lose while things break: one daemon, two workers, 2,000 GETs a second.
#
#   tests/bench/faults.sh [SECONDS] [RATE] [SCENARIO...]    60 s each by default, all scenarios
#
# The load generator repeats nothing, so every failure that a client would see is counted. Only what a killed
# worker had under way may fail. Prints one table at the end; fails when anything else was lost. Routes have
# their defaults. Loopback only; ends what it started.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-60} rate=${2:-2000}
shift $(($# < 2 ? $# : 2))
only=" $* "
build=$PWD/${TIDEGATE_BUILD:-build/release}
dir=$(mktemp -d)
export TIDEGATE_RUNTIME_DIR=$dir/run TIDEGATE_STATE_DIR=$dir/state
base=$((20000 + $$ % 10000))
pids=() daemon=

cleanup() {
    if [ -n "$daemon" ] && kill "$daemon" 2>/dev/null; then
        wait "$daemon" || true
    fi
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait || true
    rm -rf "$dir"
}
trap cleanup EXIT

for i in 1 2; do
    "$build/service" --host 127.0.0.1 --port $((base + i)) >/dev/null 2>&1 &
    pids+=($!)
done
luajit tests/bench/faulty.lua reset $((base + 3)) &
pids+=($!)
luajit tests/bench/faulty.lua half $((base + 4)) &
pids+=($!)

cat >"$dir/tidegate.lua" <<LUA
cluster { id = "faults", engine = "process", workers = 2, admin = "" }
service "web" {
  command = { "$build/service", "--host", "127.0.0.1", "--port", "\$PORT" },
  health_check = { http = "/health", interval = "500ms", timeout = "500ms", retries = 2 },
  drain_timeout = "2s", stop_timeout = "1s",
  scale = { instances = 3 },
  route = { listen = "127.0.0.1:$((base + 10))" },
}
service "lazy" {
  command = { "$build/service", "--host", "127.0.0.1", "--port", "\$PORT", "--start-delay", "1000", "--health-delay", "2000" },
  health_check = { http = "/health", interval = "200ms", timeout = "500ms", retries = 2, start_period = "10s" },
  drain_timeout = "2s", stop_timeout = "1s", slow_start = "5s",
  scale = { instances = 3 },
  route = { listen = "127.0.0.1:$((base + 11))" },
}
service "reset" { backends = { "127.0.0.1:$((base + 1))", "127.0.0.1:$((base + 2))", "127.0.0.1:$((base + 3))" },
  route = { listen = "127.0.0.1:$((base + 12))" } }
service "half" { backends = { "127.0.0.1:$((base + 1))", "127.0.0.1:$((base + 2))", "127.0.0.1:$((base + 4))" },
  route = { listen = "127.0.0.1:$((base + 13))" } }
service "down" {
  command = { "$build/service", "--host", "127.0.0.1", "--port", "\$PORT" },
  health_check = { http = "/health", interval = "200ms", timeout = "500ms", retries = 2 },
  scale = { instances = 2 },
  route = { listen = "127.0.0.1:$((base + 14))" },
}
LUA
"$build/tidegate" run "$dir/tidegate.lua" --stop-services >"$dir/log" 2>&1 &
daemon=$!

status() { "$build/tidegate" status --json 2>/dev/null; }
# Pids of a service's instances.
instances() { status | grep -o '"name":"'"$1"'".*' | sed 's/"drained":false,"pid"/\n"pid"/g; s/"deploy"/\n&/g' | instance_pids; }
instance_pids() { awk -F'[:,]' '/^"deploy"/ { if (n++) exit } /^"pid"/ { print $2 }'; }
workers() { pgrep -P "$daemon" -f -- '--worker' || true; }
# Whether all instances of a service are up; who fails every request is no measure.
up() {
    status | grep -o '"name":"'"$1"'".*' | grep -o '"desired":[0-9]*,"min":[0-9]*,"max":[0-9]*,"up":[0-9]*' |
        awk -F'[:,]' 'NR == 1 { print $2 == $8 ? "yes" : "no" }'
}
wait_up() {
    for _ in $(seq 300); do
        if [ "$(up web)$(up lazy)$(up down)" = yesyesyes ]; then
            return 0
        fi
        sleep 0.1
    done
    echo "faults: not all came up" >&2
    tail -n 20 "$dir/log" >&2
    exit 1
}

note=
# Every few seconds: as often as the run allows, once at least.
each() {
    local every=$1 until=$((SECONDS + seconds - 3))
    shift
    sleep 1
    while :; do
        "$@"
        [ $((SECONDS + every)) -lt "$until" ] || break
        sleep "$every"
    done
}
victim() { instances "$1" | head -n 1; }
kill_one() { kill -KILL "$(victim web)"; }
stop_one() { kill -STOP "$(victim web)"; }
kill_lazy() { kill -KILL "$(victim lazy)"; }
reload() { "$build/tidegate" reload >/dev/null; }
deploy() { "$build/tidegate" deploy web >/dev/null; }
nothing() { :; }
kill_all() {
    local pid
    for pid in $(instances down); do kill -KILL "$pid"; done
}
# Until as many workers as before serve, none of them the killed one.
kill_worker() {
    local pid began
    pid=$(workers | head -n 1)
    began=$(date +%s%N)
    kill -KILL "$pid"
    until [ "$(serving "$pid")" = 2 ]; do :; done
    note="$note $((($(date +%s%N) - began) / 1000000))"
}
# Workers that have a configuration, without this pid.
serving() {
    status | grep -o '"index":[0-9]*,"pid":[0-9]*,"generation":[0-9]*,"connections"' |
        awk -F'[:,]' -v gone="$1" '$4 != gone && $6 > 0 { n++ } END { print n + 0 }'
}

field() { sed -n 's/.*"'"$1"'":\([0-9.]*\).*/\1/p' "$dir/figures"; }
# scenario NAME PORT EVERY FAULT: load on base + PORT while the fault happens every so many seconds.
scenario() {
    local name=$1 port=$((base + $2)) load
    [ "$only" = "  " ] || [[ $only == *" $name "* ]] || return 0
    wait_up
    note=
    "$build/load" --rate "$rate" --connections 128 --timeout 30000 --duration "$seconds" \
        "http://127.0.0.1:$port/" >"$dir/figures" &
    load=$!
    each "$3" "$4"
    wait "$load" || true
    printf '%-12s %9s %7s %8s %9s %9s  %-5s %s\n' "$name" "$(field requests)" "$(field errors)" "${5:-0}" \
        "$(field p99_ms)" "$(field max_ms)" "$(verdict "${5:-0}")" "${note:+back in ms:$note}" >>"$dir/table"
    grep -o '"errors_text":.*' "$dir/figures" | grep -v '\[\]' | cut -c 1-200 | sed "s/^/$name: /" >>"$dir/lost" || true
    echo "faults: $name: $(field errors) of $(field requests) failed" >&2
}
# Whether no more failed than may: nothing, or what was under way, which a broken connection tells.
verdict() {
    local failed
    failed=$(field errors)
    if [ "$failed" = 0 ]; then
        echo ok
    elif [ "$1" = inflight ] && ! grep -o '"errors_text":.*' "$dir/figures" | tr ',' '\n' | grep ' s: ' |
        grep -qvE 'connection (broken|closed)'; then
        echo ok
    else
        echo LOST
    fi
}

scenario none 10 100 nothing
scenario kill 10 5 kill_one
scenario hang 10 10 stop_one
scenario reset 12 100 nothing
scenario half 13 100 nothing
scenario slow-start 11 10 kill_lazy
scenario worker 10 3 kill_worker inflight
scenario reload 10 1 reload
scenario deploy 10 5 deploy
scenario all-down 14 10 kill_all

printf '%-12s %9s %7s %8s %9s %9s  %s\n' scenario requests failed allowed p99_ms max_ms verdict
cat "$dir/table"
[ ! -s "$dir/lost" ] || sed 's/^/  /' "$dir/lost"
! grep -q ' LOST ' "$dir/table"
