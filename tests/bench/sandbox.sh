#!/usr/bin/env bash
# What sandbox and CPU budget cost a pick: ns of CPU in a worker's state beside a plain LuaJIT, and the ratio.
#
#   tests/bench/sandbox.sh [PROCESSES]       24 by default
#
# Where machine code comes to lie, and so how fast it is, differs from process to process by a quarter: the
# median of many processes is what counts, the least shows what is possible.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${TIDEGATE_BUILD:-build/release}
ninja -C "$build" sandbox_bench >/dev/null
for _ in $(seq "${1:-24}"); do "$build/sandbox_bench" 4; done |
    luajit -e '
        local worker, plain = {}, {}
        for line in io.lines() do
            local a, b = line:match "(%S+) (%S+)"
            worker[#worker + 1], plain[#plain + 1] = tonumber(a), tonumber(b)
        end
        table.sort(worker)
        table.sort(plain)
        local function told(t) return ("%.1f ns (least %.1f)"):format(t[math.ceil(#t / 2)], t[1]) end
        print(("a pick of ewma, 8 backends: in a worker %s, in plain LuaJIT %s, ratio %.3f"):format(
            told(worker), told(plain), worker[math.ceil(#worker / 2)] / plain[math.ceil(#plain / 2)]))'
