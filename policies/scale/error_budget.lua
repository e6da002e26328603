-- error_budget.lua: as few instances as keep the objective but for a stated part of the time.
--
-- Sees     rate, error_rate, queue, cpu_percent, p95_ms, instances, starting, desired
-- Answers  an up at once when more are needed within the start-up time, a down when even a cautious look
--          ahead needed fewer during `hold`
-- Params   slo          95 % of response times within it                             400ms
--          budget       percent of the time that may miss it                         0.5
--          startup      from start to ready; 0s = learned                            0s
--          capacity     requests/s that one instance can do; 0 = learned             0
--          load         part of it that keeps the objective                          0.9
--          least, most  bounds of the quantile that is provided for                  0.85, 0.97
--          hold         of downs, and no less than the start-up time                 3m
--          drain        time in which requests that wait are to be worked off        20s
-- Example  { params = { capacity = 100, load = 1 }, rate = 500, instances = 4 } -> 7
--
-- Several experts (means and maxima of the last while, the line through the last minute, the usual course of
-- a day) say what will come until an instance started now would be ready. How wrong each was is kept, by the
-- trend of the moment, as a histogram that forgets; the best one provides its p-quantile. p follows the share
-- of time that missed the objective: the budget is spent, and no more. When an instance does less than it
-- seems (the objective is missed below the load that should keep it), less is counted on.
return {
    name = "error_budget",
    doc = "As few instances as miss the objective only for a stated part of the time; learns its headroom.",
    timing = { interval = "5s", up_cooldown = 0, down_cooldown = 0 },
    params = {
        slo = { type = "duration", default = 0.4, min = 0.001, doc = "95 % of response times within it" },
        budget = { type = "number", default = 0.5, min = 0.001, max = 50, unit = "percent",
            doc = "of the time that may miss it" },
        startup = { type = "duration", default = 0, max = 3600, doc = "from start to ready; 0s = learned" },
        capacity = { type = "number", default = 0, min = 0, unit = "requests/s",
            doc = "of one instance; 0 = learned from use of CPU" },
        load = { type = "number", default = 0.9, min = 0.05, max = 1,
            doc = "part of it that is within the objective" },
        least = { type = "number", default = 0.85, min = 0.5, max = 0.999, doc = "lowest quantile provided" },
        most = { type = "number", default = 0.97, min = 0.5, max = 0.999, doc = "highest quantile provided" },
        hold = { type = "duration", default = 180, max = 86400, doc = "of downs: the most wanted" },
        drain = { type = "duration", default = 20, min = 1, max = 3600, doc = "to work off what waits" },
    },
    new = function(params, state)
        local demand = require "lib.demand"
        local forecast = require "lib.forecast"
        local ceil, floor, max, min = math.ceil, math.floor, math.max, math.min
        local exp, log = math.exp, math.log
        state = state or {}
        local arrivals = demand.arrivals(demand.part(state, "arrivals"))
        local capacity = demand.capacity(params.capacity, demand.part(state, "capacity"))
        local startup = demand.startup(params.startup, demand.part(state, "startup"))
        local budget = params.budget / 100
        local look = forecast.new(demand.part(state, "forecast"))
        local lowest, highest = log(params.least / (1 - params.least)), log(params.most / (1 - params.most))
        local held
        local m = demand.part(state, "learned")
        m.logit = demand.clamp(m.logit or log(0.95 / 0.05), lowest, highest)
        m.missed, m.misjudged = m.missed or budget, m.misjudged or 0 -- shares of time, forgetting
        m.factor, m.over, m.queued = m.factor or 1, m.over or 0, m.queued or 0

        -- The text of a number that changes slowly, made when its last digit is another: that is most of the
        -- time that a sentence takes.
        local function slowly(format, steps)
            local last, text
            return function(value)
                local now = floor(value * steps + 0.5)
                if now ~= last then
                    last, text = now, format:format(value)
                end
                return text
            end
        end
        local part_text, missed_text = slowly("%.3f", 1000), slowly("%.2f", 100)

        -- What the last tick says of the objective, and of the capacity that is counted on.
        local function learn(s, rate, each, passed)
            -- Quantiles are middles of buckets that are 4 % wide.
            local bad = (s.p95_ms or 0) > params.slo * 1020 or (s.queue or 0) > 0
            local weight = 1 - 0.5 ^ (passed / 172800)
            m.missed = m.missed + ((bad and 1 or 0) - m.missed) * weight
            local step = 0.15 * passed / 3600 * demand.clamp(m.missed / budget - 1, -1, 2)
            m.logit = demand.clamp(m.logit + step, lowest, highest)
            if not each or s.instances == 0 then
                return
            end
            local share = rate / (s.instances * each * m.factor * params.load)
            -- While a queue is worked off, that the objective is missed says nothing of capacity.
            m.queued = (s.queue or 0) > 0 and 3 or max(m.queued - 1, 0)
            m.over = bad and share < 1 and m.queued == 0 and m.over + 1 or 0
            m.misjudged = m.misjudged + ((m.over >= 2 and 1 or 0) - m.misjudged) * weight
            if m.over >= 2 then
                m.factor = max(m.factor * 0.985, 0.4)
            elseif not bad and share > 0.95 and m.misjudged < budget / 4 then
                m.factor = min(m.factor * 1.0003, 1.3)
            end
        end

        ---@type tidegate.Scale
        return function(s)
            if not s.rate then
                return nil, "no requests counted yet"
            end
            local passed = m.before and demand.clamp(s.now - m.before, 0.1, 60) or 5
            m.before = s.now
            local rate = arrivals(s)
            local each = capacity(s)
            local lead = startup(s)
            learn(s, rate, each, passed)
            if not each then
                return nil, "not enough load yet to know what an instance can do"
            end
            local hold_s = max(params.hold, lead)
            if not held or m.hold_s ~= hold_s then
                state.held = m.hold_s == hold_s and state.held or {}
                m.hold_s, held = hold_s, demand.most(hold_s, state.held)
            end
            local p = 1 / (1 + exp(-m.logit))
            local up, down, expert = look(s.now, rate, lead, p, 1 - (1 - p) / 3)
            local per = params.load * each * m.factor
            up = max(up, 1.03 * rate + (s.queue or 0) / params.drain)
            local more = max(ceil(up / per - 1e-9), s.min)
            local fewer = max(more, min(ceil(down / per - 1e-9), max(more + 1, ceil(1.1 * more))))
            fewer = held(s.now, fewer)
            local reason = ("%s: %d requests/s at %s, %d an instance, %s %% missed"):format(
                expert, floor(up + 0.5), part_text(p), floor(per + 0.5), missed_text(m.missed * 100))
            if more > s.desired then
                return min(more, s.max), reason
            elseif fewer < s.desired then
                return fewer, reason
            end
            return nil, reason
        end
    end,
    examples = {
        { params = { capacity = 100, load = 1 }, given = { rate = 500, instances = 4 }, want = 7 },
        { params = { capacity = 100 }, given = { rate = 50, queue = 4000, instances = 1 }, want = 3 },
        { given = { rate = 600, error_rate = 0.8, cpu_percent = 100, instances = 1 }, want = 8 },
        { given = { rate = 1, cpu_percent = 1, instances = 5 }, want = nil },
        { given = { instances = 5 }, want = nil },
    },
}
