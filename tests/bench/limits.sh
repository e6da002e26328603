#!/usr/bin/env bash
# What a worker holds out: idle clients, slow ones, too few descriptors, bodies of any length.
#
#   tests/bench/limits.sh [CLIENTS] [SECONDS] [GIGABYTES]    20000, 5 and 10 by default: some 3 minutes
#
# One daemon with one worker for each part. Loopback only; ends what it started. The worker needs a limit of open
# files of somewhat more than CLIENTS, which is set where that is allowed; else there are as many clients as fit.
# Clients come from several processes and addresses, since each has a limit of descriptors and ports.
set -euo pipefail
cd "$(dirname "$0")/../.."
clients=${1:-20000} period=${2:-5} gigabytes=${3:-10}
build=$PWD/${TIDEGATE_BUILD:-build/release}
dir=$(mktemp -d)
export TIDEGATE_RUNTIME_DIR=$dir/run TIDEGATE_STATE_DIR=$dir/state
port=$((20000 + $$ % 10000))
daemon='' service='' holders=()

end_daemon() {
    [ -n "$daemon" ] || return 0
    kill "$daemon" 2>/dev/null || true
    wait "$daemon" 2>/dev/null || true
    daemon=
}
# They end when the pipe that is their standard input is closed.
end_holders() {
    [ ${#holders[@]} -gt 0 ] || return 0
    exec 8>&-
    wait "${holders[@]}" 2>/dev/null || true
    exec 9<&-
    holders=()
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

# What a worker keeps for other things than clients: see core/proxy/proxy.c.
files=$((clients + clients / 32 + 256))
ulimit -n "$files" 2>/dev/null || ulimit -Sn "$(ulimit -Hn)"
allowed=$(ulimit -n)
if [ "$allowed" != unlimited ] && [ "$allowed" -lt "$files" ]; then
    clients=$((allowed - allowed / 64 - 64 - 32))
    echo "limits: at most $allowed open files are allowed here: $clients clients"
fi

"$build/service" --host 127.0.0.1 --port $((port + 1)) --max-body 1000000000000000 >/dev/null 2>&1 &
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
# hold MODE COUNT: comes back when all are connected, and fails when they are not within a minute.
hold() {
    local first count
    rm -f "$dir/in" "$dir/out"
    mkfifo "$dir/in" "$dir/out"
    exec 8<>"$dir/in" 9<>"$dir/out"
    exec 7<"$dir/in"
    exec 8>"$dir/in" # for writing only: closing it ends them
    for ((first = 0; first < $2; first += 9000)); do
        count=$(($2 - first < 9000 ? $2 - first : 9000))
        luajit tests/bench/holders.lua "$1" "$port" "$count" "$first" <&7 >"$dir/out" 8>&- 9>&- &
        holders+=($!)
    done
    exec 7<&-
    for _ in "${holders[@]}"; do read -r -t 60 _ <&9 || return 1; done
}
# memory FIELD: kB of the worker, for example Rss
memory() { awk -v field="$1:" '$1 == field { print $2 }' "/proc/$worker/smaps_rollup"; }
sockets() { find "/proc/$worker/fd" -lname 'socket:*' 2>/dev/null | wc -l; }
# load SECONDS RATE: into $dir/figures
load() {
    "$build/load" --rate "$2" --connections 16 --duration "$1" "http://127.0.0.1:$port/" >"$dir/figures" || true
}
field() { sed -n 's/.*"'"$1"'":\([0-9.]*\).*/\1/p' "$dir/figures"; }
median() { sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
goal() { awk -v value="$1" -v most="$2" 'BEGIN { printf "(goal <= %s: %s)", most, value <= most ? "met" : "MISSED" }'; }

# ---- idle clients -------------------------------------------------------------------------------

start
load 1 1000 # what it needs anyway
rss=$(memory Rss) private=$(memory Pss_Anon) open=$(sockets)
hold idle "$clients" || echo "limits: not all idle clients came" >&2
held=$(($(sockets) - open)) now=$(memory Rss)
each=$(awk -v n="$held" -v a="$rss" -v b="$now" 'BEGIN { printf "%.0f", (b - a) * 1024 / (n > 0 ? n : 1) }')
echo "$held idle clients at one worker: $each B each $(goal "$each" 400)"
echo "    RSS $((now / 1024)) MB $(goal $((now / 1024)) 100), $((rss / 1024)) MB before; private $(memory Pss_Anon) kB, $private kB before"
load 2 1000
echo "    meanwhile 1000/s: $(field errors) failed, p99 $(field p99_ms) ms"
end_holders

# ---- slow-loris ---------------------------------------------------------------------------------

load 1 1000
rm -f "$dir/quiet" "$dir/loris"
for _ in 1 2 3 4 5; do
    load "$period" 1000
    field p99_ms >>"$dir/quiet"
    hold loris 2000 || echo "limits: not all slow clients came" >&2
    load "$period" 1000
    field p99_ms >>"$dir/loris"
    failed=$(($(field errors) + ${failed:-0}))
    end_holders
done
echo "2000 slow-loris connections: p99 of others $(median <"$dir/loris") ms with and $(median <"$dir/quiet") ms without, $failed failed"
echo "    rounds with: $(paste -sd' ' "$dir/loris"); without: $(paste -sd' ' "$dir/quiet")"

# ---- descriptors --------------------------------------------------------------------------------

start 256
hold loris 400 || true
load 3 200
echo "256 descriptors, 400 slow clients: worker $(kill -0 "$worker" && echo alive), reported $(grep -c 'limit' "$dir/log" || true) times:"
grep limit "$dir/log" | head -n 1 | sed 's/^/    /'
end_holders
load 3 200
echo "    afterwards 200/s: $(field errors) failed"

# ---- bodies -------------------------------------------------------------------------------------

# watch WHAT COMMAND...: the worker's memory while the command runs
watch() {
    local what=$1 transfer now first most=0 began
    shift
    began=$(date +%s%N)
    "$@" &
    transfer=$!
    sleep 0.3
    first=$(memory Rss)
    while kill -0 "$transfer" 2>/dev/null; do
        now=$(memory Rss)
        [ "$now" -le "$most" ] || most=$now
        sleep 0.1
    done
    if wait "$transfer"; then
        awk -v what="$what" -v gb="$gigabytes" -v ns=$(($(date +%s%N) - began)) -v a="$first" -v b="$most" 'BEGIN {
            printf "%d GB %s in %.1f s: RSS %d kB at first, %d kB at most\n", gb, what, ns / 1e9, a, b }'
    else
        echo "$gigabytes GB $what: FAILED"
    fi
}
start
truncate -s "${gigabytes}GB" "$dir/body"
watch "answered" curl -fso /dev/null "http://127.0.0.1:$port/bytes/$((gigabytes * 1000000000))"
watch "sent" curl -fso /dev/null -H Expect: -X POST -T "$dir/body" "http://127.0.0.1:$port/work"
watch "sent in chunks" curl -fso /dev/null -H Expect: -X POST -H "Transfer-Encoding: chunked" -T "$dir/body" "http://127.0.0.1:$port/work"
