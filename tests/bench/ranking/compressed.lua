-- compressed.lua: another scale policy, lib/inner.lua, in a world where `times` seconds pass in one: its windows, holds and
-- half-lives keep their lengths, and rates are a second of its own.
--
-- Sees, answers  as the policy that it runs
-- Params         times    how much faster its time goes               1
--                startup  of that policy, in its own seconds, if any  0
local CLOCKS = { "now", "since_up_s", "since_down_s", "sample_age_s" }
local SAME = {
    "service", "instances", "desired", "starting", "min", "max", "cpu_percent", "memory_percent", "in_flight",
    "error_rate", "p50_ms", "p95_ms", "p99_ms", "queue", "hash", "metrics",
}

return {
    name = "compressed",
    doc = "Another scale policy, whose time goes faster.",
    params = {
        times = { type = "number", default = 1, min = 1, doc = "how much faster its time goes" },
        startup = { type = "number", default = 0, min = 0, doc = "its startup, in its own seconds, if it has one" },
    },
    new = function(params, state)
        local module, given = require "lib.inner", {}
        for name, spec in pairs(module.params) do
            given[name] = spec.default
        end
        if given.startup and params.startup > 0 then
            given.startup = params.startup
        end
        local decide, seen = module.new(given, state), {}
        ---@type tidegate.Scale
        return function(s)
            for _, name in ipairs(SAME) do
                seen[name] = s[name]
            end
            for _, name in ipairs(CLOCKS) do
                seen[name] = s[name] and s[name] * params.times
            end
            seen.rate = s.rate and s.rate / params.times
            return decide(seen)
        end
    end,
}
