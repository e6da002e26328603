#!/usr/bin/env bash
# What the history costs: CPU at 10,000 samples a second, bytes a sample, time to open after a kill.
#
#   tests/bench/store.sh [SECONDS] [SERIES INTERVAL_S]    60 s of 10,000 series each second, and 50,000 every 5 s
set -euo pipefail
cd "$(dirname "$0")/../.."

seconds=${1:-60}
cmake --preset release >/dev/null
ninja -C build/release store_bench >/dev/null

measure() {
    local dir
    dir=$(mktemp -d)
    echo "store: $1 series every $2 s, 10000 samples a second for $seconds s"
    build/release/store_bench "$dir" "$1" "$2" 10000 "$seconds" | tee "$dir/out"
    local filed bytes rollups
    filed=$(sed -n 's/^filed=//p' "$dir/out")
    bytes=$(cat "$dir"/samples-*.db | wc -c)
    rollups=$(cat "$dir"/rollups-*.db | wc -c)
    awk -v n="$filed" -v b="$bytes" -v r="$rollups" 'BEGIN {
        if (n > 0) printf "bytes a sample: %.2f + %.2f of roll-ups\n", b / n, r / n }'
    rm -rf "$dir"
}

if [ $# -ge 3 ]; then
    measure "$2" "$3"
else
    measure 10000 1
    measure 50000 5
fi
