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
    new = function(params)
        -- What survives from one call to the next: every service has its own.
        local mean, at, peak, peak_at

        ---@type tidegate.Scale
        return function(s)
            if not s.rate then
                return nil, "no samples yet"
            end
            local fresh = mean and 1 - math.exp(-(s.now - at) / params.memory) or 1
            mean = (mean or 0) + fresh * (s.rate - (mean or 0))
            at = s.now
            local want = math.ceil(mean / params.each)
            if not peak or want >= peak or s.now - peak_at >= params.hold then
                peak, peak_at = want, s.now
            end
            return peak, ("%.0f requests/s of late, %g each"):format(mean, params.each)
        end
    end,
    examples = {
        { params = { each = 50 }, given = { rate = 220, instances = 2 }, want = 5 },
        { given = { rate = 0, instances = 2 }, want = 0 },
        { given = { instances = 2 }, want = nil },
    },
}
