-- Reloads in a row under load, half of them broken: no request fails, nothing grows, generations never mix.
-- RELOADS says how many (tests/bench/reloads.sh: 1,000).
local reloads = require "reloads"
local tidegate = require "tidegate"

local COUNT = tonumber(os.getenv "RELOADS") or 2 * #reloads.BROKEN

-- One line a process: what it had when it was warm, and in the end.
local function told(f)
    local lines = { ("%d reloads in %.0f s, %d ways of breaking; %d requests by load, %d by who looks for mixed generations"):format(
        COUNT, f.seconds, f.kinds, f.load.requests, f.asked) }
    for _, name in ipairs { "master", "policy", "worker 1", "worker 2" } do
        local a, b = f.warm[name], f.over[name]
        lines[#lines + 1] = ("%-10s %6d -> %6d kB  %3d -> %3d descriptors and %3d -> %3d connections  %2d -> %2d threads"):format(
            name, a.kb, b.kb, a.files, b.files, a.connections, b.connections, a.threads, b.threads)
    end
    lines[#lines + 1] = ("processes below the master: %d -> %d"):format(f.warm.processes, f.over.processes)
    return table.concat(lines, "\n")
end

describe("reloads in a row", function()
    it("lose no request, leave nothing behind and never mix generations", tidegate.test(function(t)
        local f = reloads.run(t, COUNT)
        local text = told(f)
        if os.getenv "RELOADS" then
            print("\n" .. text)
        end
        assert.equal(math.min(math.floor(COUNT / 2), #reloads.BROKEN), f.kinds)
        assert.is_true(f.load.requests > 10 * COUNT / 4, text)
        assert.equal(f.warm.processes, f.over.processes, text)
        local sanitized = f.over.master.kb > 60000 -- shadow memory and quarantine are no measure
        for _, name in ipairs { "master", "worker 1", "worker 2" } do
            local warm, over = f.warm[name], f.over[name]
            assert.equal(warm.files, over.files, text)
            assert.is_true(over.connections < 100, text) -- 24 of clients, and kept ones to 4 instances
            assert.equal(warm.threads, over.threads, text)
            assert.is_true(sanitized or over.kb - warm.kb < 2048, text)
        end
        assert.equal("up", f.status.policy)
    end))
end)
