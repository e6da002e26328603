#!/usr/bin/env bash
# Anomaly detection: false alarms and found incidents on made-up series, the cost of a point, and, where there are
# labelled series, their score.
#
#   tests/bench/anomaly.sh [DATA_DIR [POLICY...]]      policies: record zscore when none is named
#
# DATA_DIR is laid out as the Numenta Anomaly Benchmark: data/<directory>/<series>.csv with timestamp,value. For each
# policy `tidegate anomaly replay` scores every series; the scores go into one file, a score a line, the series in sorted
# order; when DATA_DIR has a score.py it is run at the fixed threshold 1.0, which is an alarm: nothing is fitted.
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
build=${TIDEGATE_BUILD:-$here/build/release}
binary=$build/tidegate

if [ $# -lt 1 ]; then
    cd "$here"
    TIDEGATE_BUILD=$build luajit tests/bench/incidents.lua
    exit
fi
if [ ! -d "$1/data" ]; then
    echo "anomaly.sh: $1 has no data/*/*.csv: give the folder of labelled series" >&2
    exit 2
fi
data=$1
shift
policies=("$@")
[ ${#policies[@]} -gt 0 ] || policies=(record zscore)

to=$(mktemp -d)
trap 'rm -rf "$to"' EXIT
for policy in "${policies[@]}"; do
    while IFS= read -r series; do
        "$binary" anomaly replay "$data/data/$series" --policy "$policy" --no-header >"$to/rows"
        cut -d, -f3 "$to/rows" >>"$to/$policy"
    done < <(cd "$data/data" && find . -mindepth 2 -name '*.csv' | sed 's|^\./||' | LC_ALL=C sort)
    printf '%s: %s points, %s alarms\n' "$policy" "$(wc -l <"$to/$policy")" "$(awk '$1 >= 1' "$to/$policy" | wc -l)"
    if [ -f "$data/score.py" ]; then
        python3 "$data/score.py" "$data" "$to/$policy" --fixed 1.0
    fi
done
