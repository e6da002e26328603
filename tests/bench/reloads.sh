#!/usr/bin/env bash
# Reloads in a row under load, half of them broken in as many ways as we could think of.
#
#   tests/bench/reloads.sh [N]      1,000 by default, some two minutes
#
# Fails when a request failed, when a generation was seen that should not have been, or when memory, descriptors,
# threads or processes grew after the first fifth. What is done and looked at stands in tests/support/reloads.lua. In the
# functional suite the same runs with each way once.
set -euo pipefail
cd "$(dirname "$0")/../.."
export RELOADS=${1:-1000} TIDEGATE_BUILD=${TIDEGATE_BUILD:-build/release}
[ -x "$TIDEGATE_BUILD/tidegate" ] || { echo "reloads: $TIDEGATE_BUILD/tidegate is missing: scripts/dev build" >&2; exit 1; }
busted --lua=luajit -m './tests/support/?.lua' tests/functional/reloads_spec.lua
