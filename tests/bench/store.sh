#!/usr/bin/env bash
# What the history costs: CPU at 10,000 samples a second, bytes a sample, time to open after a kill.
#
#   tests/bench/store.sh [SECONDS]      60 s of 2,000 series at 10,000 samples a second, then 10 s each of
#                                       series that are sampled every 5 s and every 15 s, at ten times the rate,
#                                       and as much as 50,000 series have in memory at most, for the opening
set -euo pipefail
cd "$(dirname "$0")/../.."

seconds=${1:-60}
cmake --preset release >/dev/null
ninja -C build/release store_bench >/dev/null

measure() {
    local dir
    dir=$(mktemp -d)
    echo "store: $1 series every $2 s, $3 samples a second for $4 s"
    build/release/store_bench "$dir" "$@" | tee "$dir/out"
    local filed bytes rollups
    filed=$(sed -n 's/^filed=//p' "$dir/out")
    if [ "$filed" -gt 100000 ]; then
        bytes=$(cat "$dir"/samples-*.db | wc -c)
        rollups=$(cat "$dir"/rollups-*.db | wc -c)
        awk -v n="$filed" -v b="$bytes" -v r="$rollups" 'BEGIN {
            printf "bytes a sample: %.2f + %.2f of roll-ups\n", b / n, r / n }'
    fi
    rm -rf "$dir"
}

measure 2000 1 10000 "$seconds"
measure 200 5 100000 10
measure 200 15 100000 10
measure 50000 5 200000 22
