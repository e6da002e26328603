-- target_tracking.lua: as many instances as bring a figure to its target: the algorithm of Kubernetes' HPA.
--
-- Sees     the figure named by `metric`, instances, starting, desired
-- Answers  ceil(instances x figure / target), held inside a tolerance, by stabilization windows and by how
--          much may change in a period
-- Params   metric          cpu, memory (percent), rate (requests/s each), in_flight (each)       cpu
--          target          of that figure                                                       70
--          tolerance       no change while figure / target is within 1 -+ this                  0.1
--          stabilize_up    an up is the least that was wanted during this time                  0s
--          stabilize_down  a down is the most that was wanted during this time                  5m
--          period, up_percent, up_count, down_percent
--                          at most so many percent, or so many instances if that is more, up;   15s 100 4
--                          at most so many percent down, in a period                            100
--          lag             figures count that much later, as where they come from afar          0s
-- Example  { cpu_percent = 91, instances = 4 } -> 6, "cpu at 1.30 of its target"
--
-- Instances that start count as idle on the way up, so that one burst is answered once.
return {
    name = "target_tracking",
    doc = "As many instances as bring CPU, memory, rate or requests in flight to a target, as HPA does.",
    timing = { interval = "15s", up_cooldown = 0, down_cooldown = 0 },
    params = {
        metric = { type = "enum", values = { "cpu", "memory", "rate", "in_flight" }, default = "cpu",
            doc = "what is held at the target: percent, or requests of each instance" },
        target = { type = "number", default = 70, min = 0.001, doc = "where it is held" },
        tolerance = { type = "number", default = 0.1, min = 0, max = 1, doc = "part that is no reason" },
        stabilize_up = { type = "duration", default = 0, max = 3600, doc = "of ups: the least" },
        stabilize_down = { type = "duration", default = 300, max = 3600, doc = "of downs: the most" },
        period = { type = "duration", default = 15, min = 1, max = 3600, doc = "of the limits of change" },
        up_percent = { type = "number", default = 100, min = 0, doc = "more in a period, percent" },
        up_count = { type = "integer", default = 4, min = 0, doc = "more in a period, if that is more" },
        down_percent = { type = "number", default = 100, min = 0, max = 100, doc = "fewer in it, percent" },
        lag = { type = "duration", default = 0, max = 600, doc = "figures count that much later" },
    },
    new = function(params, state)
        local ceil, floor, max, min = math.ceil, math.floor, math.max, math.min
        state = state or {}
        for _, name in ipairs { "wanted", "desired", "figures" } do
            state[name] = state[name] or {} -- { at, value } of the last while
        end
        local wanted, desired, figures = state.wanted, state.desired, state.figures

        local function keep(list, at, value, seconds)
            while list[1] and (list[1].at < at - seconds or list[1].at > at) do
                table.remove(list, 1)
            end
            list[#list + 1] = { at = at, value = value }
        end

        local function figure(s)
            if params.metric == "cpu" or params.metric == "memory" then
                return s[params.metric .. "_percent"]
            end
            return s[params.metric] and s.instances > 0 and s[params.metric] / s.instances or nil
        end

        -- What the figure alone asks for.
        local function ratio_wants(s, ratio)
            if math.abs(ratio - 1) <= params.tolerance then
                return s.desired
            end
            local share = s.instances / (s.instances + s.starting)
            if ratio > 1 and ratio * share <= 1 + params.tolerance then
                return s.desired -- those that start are enough
            end
            return ceil(ratio * s.instances - 1e-9)
        end

        -- Between the least and the most that was wanted in the two windows.
        local function stabilized(s, want)
            keep(wanted, s.now, want, max(params.stabilize_up, params.stabilize_down))
            local least, most = want, want
            for _, one in ipairs(wanted) do
                if one.at >= s.now - params.stabilize_up then
                    least = min(least, one.value)
                end
                if one.at >= s.now - params.stabilize_down then
                    most = max(most, one.value)
                end
            end
            return min(max(s.desired, least), most)
        end

        -- No more in a period than the limits let.
        local function limited(s, want)
            keep(desired, s.now, s.desired, params.period)
            local before = desired[1].value
            local up = max(floor(before * (1 + params.up_percent / 100)), before + params.up_count)
            local down = ceil(before * (1 - params.down_percent / 100))
            if want > s.desired then
                return max(min(want, up), s.desired)
            end
            return min(max(want, down), s.desired)
        end

        ---@type tidegate.Scale
        return function(s)
            local value = figure(s)
            if not value or s.instances == 0 then
                return nil, "no samples yet"
            end
            keep(figures, s.now, value, params.lag)
            local ratio = figures[1].value / params.target
            local want = min(max(stabilized(s, ratio_wants(s, ratio)), s.min), s.max)
            want = limited(s, want)
            local reason = ("%s at %.2f of its target"):format(params.metric, ratio)
            if want == s.desired then
                return nil, reason
            end
            return want, reason
        end
    end,
    examples = {
        { given = { cpu_percent = 91, instances = 4 }, want = 6 },
        { given = { cpu_percent = 75, instances = 4 }, want = nil },
        { given = { cpu_percent = 20, instances = 4 }, want = 2 },
        { given = { cpu_percent = 100, instances = 4, starting = 2, desired = 6 }, want = nil },
        { given = { cpu_percent = 20, instances = 4, max = 20, min = 3 }, want = 3 },
        { given = { instances = 4 }, want = nil },
        { params = { target = 1 }, given = { cpu_percent = 95, instances = 3 }, want = 7 },
        { params = { metric = "in_flight", target = 50 }, given = { in_flight = 330, instances = 4 },
            want = 7 },
    },
}
