-- panic.lua: a policy on smooth figures, and on those of the last seconds while they want far more than is.
--
-- Sees     what the policy sees; rate, cpu_percent, memory_percent and in_flight as means over each window
-- Answers  what the policy wants over `stable`, until over `window` it wants `threshold` times the instances
--          that are up: then the most that was wanted since, and no downs until `stable` after the last time
-- Params   of          the policy, with its parameters
--          threshold   how many times the instances that are up                 2
--          stable      long window, and how long a panic lasts at least         60s
--          window      short window                                             6s
-- Example  { of = { policy = "latency_slo", capacity = 100 } }, rate = 500, instances = 2
--          -> 8, "panic, no downs for 60 s: 500 requests/s, 100 an instance"
--
-- As Knative does, with one difference: the rate is that of requests that come, and those that wait are not
-- looked at in a panic. What piles up while instances start is no lasting demand; counting it overshoots.
local function each(want_for)
    return { name = "each", new = function()
        return function(s)
            return want_for(s), "as told"
        end
    end }
end

return {
    name = "panic",
    doc = "A policy on smooth figures that turns to those of the last seconds when they want far more.",
    timing = { interval = "2s" },
    params = {
        of = { type = "policy", required = 'of = { policy = "latency_slo" }',
            doc = "the policy, with its parameters" },
        threshold = { type = "number", default = 2, min = 1.1, max = 10,
            doc = "a panic: the short window wants so many times the instances that are up" },
        stable = { type = "duration", default = 60, min = 5, max = 3600,
            doc = "long window, and how long a panic lasts at least" },
        window = { type = "duration", default = 6, min = 1, max = 600, doc = "short window" },
    },
    new = function(params, state)
        if params.window >= params.stable then
            error("window is not shorter than stable", 0)
        end
        local demand = require "lib.demand"
        state = state or {}
        local steady = params.of.new(demand.part(state, "steady"))
        local quick = params.of.new(demand.part(state, "quick"))
        local arrivals = demand.arrivals(demand.part(state, "arrivals"))
        local averaged = { "rate", "cpu_percent", "memory_percent", "in_flight" }
        local long, short = {}, {}
        for _, name in ipairs(averaged) do
            long[name] = demand.mean(params.stable, demand.part(state, "long_" .. name))
            short[name] = demand.mean(params.window, demand.part(state, "short_" .. name))
        end
        local m = demand.part(state, "panic") -- most wanted in this one, and when it last was breached

        -- The view with means in place of figures; other fields, known or not, as they are in `s`.
        local function smoothed(s, means, rate, queue)
            local figures = { queue = queue }
            for _, name in ipairs(averaged) do
                local value = name == "rate" and rate or s[name]
                figures[name] = value and means[name](s.now, value)
            end
            return setmetatable(figures, { __index = s })
        end

        ---@type tidegate.Scale
        return function(s)
            local rate = s.rate and arrivals(s)
            local want, reason = steady(smoothed(s, long, rate, s.queue))
            local rush, why = quick(smoothed(s, short, rate, s.queue and 0))
            -- What has been wanted already is no news to a policy, and still not there.
            local wanted = rush or m.breached and s.desired
            if wanted and wanted / math.max(s.instances, 1) >= params.threshold then
                m.breached = s.now
            elseif m.breached and (s.now - m.breached >= params.stable or s.now < m.breached) then
                m.breached, m.most = nil, nil
            end
            if not m.breached then
                return want, reason
            end
            m.most = math.max(m.most or s.desired, rush or 0)
            local left = params.stable - (s.now - m.breached)
            return m.most, ("panic, no downs for %.0f s: %s"):format(left, why or "")
        end
    end,
    examples = {
        { params = { of = each(function(s) return math.ceil(s.rate / 100) end) },
            given = { rate = 500, instances = 2 }, want = 5 },
        { params = { of = each(function(s) return math.ceil(s.rate / 100) end) },
            given = { rate = 300, instances = 2 }, want = 3 },
        { params = { of = each(function() return nil end) }, given = { instances = 2 }, want = nil },
    },
}
