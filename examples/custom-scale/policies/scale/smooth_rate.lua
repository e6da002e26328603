-- smooth_rate.lua: one instance for every `each` requests a second, by a mean that forgets.
--
-- Sees     rate, now, instances
-- Answers  ceil(mean rate / each); an up at once, a down when nothing more was wanted during `hold`
-- Params   each    requests/s of one instance          50
--          memory  time after which a rate counts 1/e  1m
--          hold    of downs                            5m
-- Example  220 requests/s at 50 each -> 5
return {
    name = "smooth_rate",
    doc = "Keeps `each` requests a second on each instance, by a decaying mean of the rate.",
    params = {
        each = { type = "number", default = 50, min = 0.1, unit = "requests/s",
            doc = "what one instance serves" },
        memory = { type = "duration", default = 60, min = 0.1, doc = "how long the mean remembers" },
        hold = { type = "duration", default = 300, min = 0, doc = "how long a peak is kept" },
    },
    timing = { interval = "5s", up_cooldown = 0, down_cooldown = 0 },
    -- `state` survives from one call to the next, and reloads: every service has its own.
    new = function(params, state)
        ---@type tidegate.Scale
        return function(s)
            if not s.rate then
                return nil, "no samples yet"
            end
            local mean = state.mean or s.rate
            local fresh = 1 - math.exp(-math.max(s.now - (state.at or s.now), 0) / params.memory)
            state.mean, state.at = mean + fresh * (s.rate - mean), s.now
            local want = math.ceil(state.mean / params.each)
            if not state.peak or want >= state.peak or s.now - state.peak_at >= params.hold then
                state.peak, state.peak_at = want, s.now
            end
            return state.peak, ("%.0f requests/s of late, %g each"):format(state.mean, params.each)
        end
    end,
    examples = {
        { params = { each = 50 }, given = { rate = 220, instances = 2 }, want = 5 },
        { given = { rate = 0, instances = 2 }, want = 0 },
        { given = { instances = 2 }, want = nil },
    },
}
