#!/usr/bin/env bash
# ns that asking a rate limit costs: tests/bench/rate.sh [ROUNDS]
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${TIDEGATE_BUILD:-build/release}
ninja -C "$build" rate_bench >/dev/null
"$build/rate_bench" "${1:-5000000}"
