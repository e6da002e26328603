-- latency_slo.lua: as many instances as keep response times within the objective at the present rate.
--
-- Sees     rate, error_rate, queue, cpu_percent, p95_ms, instances, starting
-- Answers  ceil(rate x (1 + headroom) / what one instance can do), an up at once, a down when nothing more
--          was wanted during `hold`. The rate is the larger of the means of the last 10 s and of `window`.
-- Params   headroom   more than the present rate, as a part of it                       0.3
--          capacity   requests/s that one instance can do; 0 = learned from use of CPU  0
--          load       part of it that keeps the objective                               0.9
--          window     of the mean rate                                                  30s
--          hold       of downs                                                          5m
--          drain      time in which requests that wait are to be worked off             20s
-- Example  { params = { capacity = 100 }, rate = 500, instances = 4 } -> 8, "500 requests/s, 100 an instance"
--
-- With 8 servers in an instance, 80 ms for a request and 400 ms for 95 % of them, Erlang's formula (M/M/c)
-- gives 0.902 for `load`.
return {
    name = "latency_slo",
    doc = "As many instances as keep response times within the objective, with some headroom.",
    timing = { interval = "5s", up_cooldown = 0, down_cooldown = 0 },
    params = {
        headroom = { type = "number", default = 0.3, min = 0, max = 10, doc = "more than the present rate" },
        capacity = { type = "number", default = 0, min = 0, unit = "requests/s",
            doc = "of one instance; 0 = learned from use of CPU" },
        load = { type = "number", default = 0.9, min = 0.05, max = 1,
            doc = "part of it that is within the objective" },
        window = { type = "duration", default = 30, min = 5, max = 3600, doc = "of the mean rate" },
        hold = { type = "duration", default = 300, max = 86400, doc = "of downs: the most wanted" },
        drain = { type = "duration", default = 20, min = 1, max = 3600, doc = "to work off what waits" },
    },
    new = function(params, state)
        local demand = require "lib.demand"
        local rates = demand.rates(params.window, demand.part(state, "rates"))
        local capacity = demand.capacity(params.capacity, demand.part(state, "capacity"))
        local most = demand.most(params.hold, demand.part(state, "most"))

        ---@type tidegate.Scale
        return function(s)
            if not s.rate then
                return nil, "no requests counted yet"
            end
            local last, mean = rates(s)
            local each = capacity(s)
            if not each then
                return nil, "not enough load yet to know what an instance can do"
            end
            local rate = math.max(last, mean) * (1 + params.headroom) + (s.queue or 0) / params.drain
            local want = math.max(math.ceil(rate / (params.load * each) - 1e-9), s.min)
            want = math.min(most(s.now, want), s.max)
            local reason = ("%.0f requests/s, %.0f an instance"):format(math.max(last, mean), each)
            if want == s.desired then
                return nil, reason
            end
            return want, reason
        end
    end,
    examples = {
        { params = { capacity = 100 }, given = { rate = 500, instances = 4 }, want = 8 },
        { params = { capacity = 100 }, given = { rate = 500, instances = 9 }, want = 8 },
        { params = { capacity = 100 }, given = { rate = 50, queue = 4000, instances = 1 }, want = 3 },
        { given = { rate = 300, cpu_percent = 75, instances = 4 }, want = 5 },
        { given = { rate = 1, cpu_percent = 1, instances = 5 }, want = nil },
        { given = { instances = 5 }, want = nil },
    },
}
