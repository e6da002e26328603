#!/usr/bin/env bash
# ns of CPU to parse a head of a message: tests/bench/http1.sh [ROUNDS], best of 9 by default.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${TIDEGATE_BUILD:-build/release}
ninja -C "$build" http1_bench >/dev/null
"$build/http1_bench" "${1:-9}"
