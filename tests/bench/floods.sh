#!/usr/bin/env bash
# What floods do to a client that behaves: p99 of its requests before and during each, of one worker.
#
#   tests/bench/floods.sh [ROUNDS] [SECONDS]     3 rounds of 3 s a figure by default: some 90 s
#
# Needs wrk, openssl and luajit, and root for a network of its own (TIDEGATE_BENCH_NETWORK=host: here). Core 0 belongs
# to tidegate; the backend, wrk (4 connections) and the flood share core 1, where the flood yields to them (SCHED_IDLE). A
# kernel lets whoever runs there finish its tick before a reply from core 0 wakes wrk, so beside anybody who is busy p99 is some
# 4 ms. Therefore a figure is the p99 of requests during a flood by that beside a process that only spins, in the same round; the goal is twice at most. FLOOD_HELD
# says how many connections half-open, slow-hello and stalled hold (10,000).
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-3}
# shellcheck disable=SC2034 # of beside.bash
period=${2:-3} figures=.
build=$PWD/${TIDEGATE_BUILD:-build/release}
bench=$PWD/tests/bench
for program in wrk openssl luajit; do
    command -v "$program" >/dev/null || { echo "floods: $program is missing: apt-get install $program" >&2; exit 1; }
done
if [ -z "${TIDEGATE_BENCH_DIR:-}" ]; then
    TIDEGATE_BENCH_DIR=$(mktemp -d)
    export TIDEGATE_BENCH_DIR
    trap 'rm -rf "$TIDEGATE_BENCH_DIR"' EXIT
    if [ "${TIDEGATE_BENCH_NETWORK:-}" = host ]; then "$0" "$@"; else unshare -n "$0" "$@"; fi
    exit
fi
dir=$TIDEGATE_BENCH_DIR
if [ "${TIDEGATE_BENCH_NETWORK:-}" != host ]; then ip link set lo up; fi
ulimit -n "$(ulimit -Hn)"
. "$bench/beside.bash"

base=$((10000 + $$ % 20000))
declare -A port pid
port[tidegate]=$((base + 1)) port[secure]=$((base + 2)) port[backend]=$((base + 3))
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=shop.example \
    -addext subjectAltName=DNS:shop.example -keyout "$dir/key.pem" -out "$dir/shop.pem" 2>/dev/null
chmod 600 "$dir/key.pem"
cat >"$dir/tidegate.lua" <<LUA
cluster { id = "floods", engine = "process", workers = 1, admin = "" }
service "web" { backends = { { address = "127.0.0.1:${port[backend]}", max_connections = 10000 } }, route = {
  { listen = "127.0.0.1:${port[tidegate]}" },
  { listen = "https://127.0.0.1:${port[secure]}", tls = { certificate = "shop.pem", key = "key.pem" } } } }
LUA
start 1 backend "$build/service" --host 127.0.0.1 --port "${port[backend]}"
answers "${port[backend]}" || die "the backend does not answer"
export TIDEGATE_RUNTIME_DIR=$dir/run TIDEGATE_STATE_DIR=$dir/state
start 0 tidegate "$build/tidegate" run "$dir/tidegate.lua"
up tidegate -f -- --worker

# p99 in microseconds of what wrk saw last
p99() { awk '$1 == "99%" { print $2 * ($2 ~ /us$/ ? 1 : $2 ~ /ms$/ ? 1000 : 1000000) }' "$dir/wrk"; }

# flood PORT KIND: wrk's requests beside it
flood() {
    TIDEGATE_BUILD=$build taskset -c 1 chrt --idle 0 luajit "$bench/floods.lua" "$1" "$2" $((period + 2)) >"$dir/flood" &
    local one=$!
    sleep 1
    wrk_run tidegate 4 "$period" /
    wait "$one" || die "the flood of $2 broke off"
}

: >"$dir/figures"
wrk_run tidegate 4 1 /
for round in $(seq "$rounds"); do
    echo "floods: round $round of $rounds" >&2
    for kind in resets continuations settings pings half-open slow-hello stalled; do
        flood 0 spin
        quiet=$(p99)
        at=${port[tidegate]}
        if [ "$kind" = slow-hello ] || [ "$kind" = stalled ]; then at=${port[secure]}; fi
        flood "$at" "$kind"
        note "p99 during a flood of $kind, by that beside a spinner" tidegate "$(awk -v a="$(p99)" -v b="$quiet" 'BEGIN { printf "%.2f", a / b }')"
        note "connections of a flood of $kind" tidegate "$(cat "$dir/flood")"
    done
done
luajit "$bench/table.lua" <"$dir/figures"
