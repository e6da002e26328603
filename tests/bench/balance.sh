#!/usr/bin/env bash
# ns of CPU for a pick and for a request, by balance policy, beside C round robin.
#
#   tests/bench/balance.sh [ROUNDS]       best of 7 by default
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${TIDEGATE_BUILD:-build/release}
ninja -C "$build" balance_bench >/dev/null
"$build/balance_bench" "${1:-7}"
