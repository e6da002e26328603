-- queue.lua: as many instances as keep up with what comes and work off what waits in a given time.
--
-- Sees     rate, error_rate, queue, cpu_percent, instances, starting
-- Answers  ceil((what comes + what waits / drain) / what one instance can do), an up at once, a down when
--          nothing more was wanted during `hold`
-- Params   each    requests/s that one instance can do; 0 = learned from use of CPU   0
--          drain   time in which what waits is to be worked off                       1m
--          hold    of downs                                                           5m
-- Example  { params = { each = 10 }, rate = 25, queue = 900 } -> 4, "25 come a second, 900 wait"
return {
    name = "queue",
    doc = "As many instances as keep up with what comes and work off what waits in a given time.",
    timing = { interval = "5s", up_cooldown = 0, down_cooldown = 0 },
    params = {
        each = { type = "number", default = 0, min = 0, unit = "requests/s",
            doc = "what one instance can do; 0 = learned from use of CPU" },
        drain = { type = "duration", default = 60, min = 1, max = 86400, doc = "to work off what waits" },
        hold = { type = "duration", default = 300, max = 86400, doc = "of downs: the most wanted" },
    },
    new = function(params, state)
        local demand = require "lib.demand"
        local arrivals = demand.arrivals(demand.part(state, "arrivals"))
        local capacity = demand.capacity(params.each, demand.part(state, "capacity"))
        local most = demand.most(params.hold, demand.part(state, "most"))

        ---@type tidegate.Scale
        return function(s)
            if not s.rate then
                return nil, "no requests counted yet"
            end
            local come, each, waits = arrivals(s), capacity(s), s.queue or 0
            if not each then
                return nil, "not enough load yet to know what an instance can do"
            end
            local want = math.ceil((come + waits / params.drain) / each - 1e-9)
            want = demand.clamp(most(s.now, want), s.min, s.max)
            local reason = ("%.0f come a second, %.0f wait"):format(come, waits)
            if want == s.desired then
                return nil, reason
            end
            return want, reason
        end
    end,
    examples = {
        { params = { each = 10 }, given = { rate = 25, queue = 900, instances = 3 }, want = 4 },
        { params = { each = 10 }, given = { rate = 25, queue = 0, instances = 3 }, want = nil },
        { given = { rate = 1, cpu_percent = 1, instances = 3 }, want = nil },
    },
}
