#!/usr/bin/env bash
# What metrics cost: counting a request, and making pages of 10,000 and 100,000 series.
#
#   tests/bench/metrics.sh      goals: inc_ns <= 5, observe_ns <= 25; page_ms <= 5 and <= 60 without gzip,
#                               step_ms <= 2, bytes_a_series <= 200
set -euo pipefail
cd "$(dirname "$0")/../.."

cmake --preset release >/dev/null
ninja -C build/release metrics_bench >/dev/null
build/release/metrics_bench
