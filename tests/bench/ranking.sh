#!/usr/bin/env bash
# Scale policies side by side on real processes: one day of a recorded trace, time-compressed.
#
#     tests/bench/ranking.sh TRACE.csv [DAY [TIMES [POLICY...]]]     or TRACE=TRACE.csv scripts/dev bench ranking
#
# TRACE.csv has seconds,rate; its day DAY (8: the first that the simulator would score) goes by TIMES (60) times
# faster, so 24 minutes of a real daemon, real instances, real requests for each policy, all policies at the same time.
# Prints for each: share of time with the 95 % response time above the objective, requests above it,
# instance hours (compressed), actions; and beside it what the simulator makes of the same day.
set -euo pipefail
cd "$(dirname "$0")/../.."
trace=${1:-${TRACE:-}}
if [ -z "$trace" ]; then
    echo "ranking: no trace: tests/bench/ranking.sh TRACE.csv, or TRACE=TRACE.csv scripts/dev bench ranking" >&2
    exit 0
fi
shift || true
exec luajit tests/bench/ranking/run.lua "$trace" "$@"
