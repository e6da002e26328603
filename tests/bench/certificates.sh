#!/usr/bin/env bash
# Changes of certificates in a row under load over TLS: connections that are kept and new ones.
#
#   tests/bench/certificates.sh [N]      100 by default, some three minutes
#
# Files are renamed, written over and linked anew in turn, every second time with SIGHUP. Fails when a request or a
# handshake failed, or when a new certificate was not shown. What is done stands in
# tests/functional/certificate_swaps_spec.lua, which the suite runs with a few.
set -euo pipefail
cd "$(dirname "$0")/../.."
export SWAPS=${1:-100} TIDEGATE_BUILD=${TIDEGATE_BUILD:-build/release}
[ -x "$TIDEGATE_BUILD/tidegate" ] || { echo "certificates: $TIDEGATE_BUILD/tidegate is missing: scripts/dev build" >&2; exit 1; }
busted --lua=luajit -m './tests/support/?.lua' tests/functional/certificate_swaps_spec.lua
