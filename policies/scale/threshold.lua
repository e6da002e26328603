-- threshold.lua: one instance more above either threshold, one less below half of both.
--
-- Sees     cpu_percent, memory_percent (means over the instances), instances, min, max
-- Answers  instances + 1 or instances - 1, never beyond min and max; nil when usage is between or unknown
-- Params   cpu     percent above which one is added     75
--          memory  percent above which one is added  80
-- Example  { cpu_percent = 91, memory_percent = 40.1, instances = 2, min = 2, max = 20 } ->
--          3, "High resource usage - CPU: 91.0%, Memory: 40.1%"
--
-- Half of both thresholds and not the thresholds themselves: else a step up would follow the step down, since
-- the remaining instances take over what the one that left carried.
return {
    name = "threshold",
    doc = "One instance more above a threshold of CPU or memory, one less below half of both.",
    params = {
        cpu = { type = "number", default = 75, min = 1, doc = "percent above which one is added" },
        memory = { type = "number", default = 80, min = 1, doc = "percent above which one is added" },
    },
    new = function(params)
        ---@type tidegate.Scale
        return function(s)
            local cpu, memory = s.cpu_percent, s.memory_percent
            if not cpu or not memory then
                return nil, "no samples yet"
            end
            local usage = ("resource usage - CPU: %.1f%%, Memory: %.1f%%"):format(cpu, memory)
            if (cpu > params.cpu or memory > params.memory) and s.instances < s.max then
                return s.instances + 1, "High " .. usage
            end
            if cpu < params.cpu * 0.5 and memory < params.memory * 0.5 and s.instances > s.min then
                return s.instances - 1, "Low " .. usage
            end
            return nil, "Resource usage within normal ranges"
        end
    end,
    examples = {
        { given = { cpu_percent = 91, memory_percent = 40.1, instances = 2, min = 2, max = 20 }, want = 3 },
        { given = { cpu_percent = 10, memory_percent = 85, instances = 19, min = 2, max = 20 }, want = 20 },
        { given = { cpu_percent = 10, memory_percent = 20, instances = 3, min = 2, max = 20 }, want = 2 },
        { given = { cpu_percent = 10, memory_percent = 20, instances = 2, min = 2, max = 20 }, want = nil },
        { given = { cpu_percent = 99, memory_percent = 99, instances = 20, min = 2, max = 20 }, want = nil },
        { given = { cpu_percent = 50, memory_percent = 50, instances = 5, min = 2, max = 20 }, want = nil },
        { given = { instances = 5, min = 2, max = 20 }, want = nil },
        { params = { cpu = 50 }, given = { cpu_percent = 51, memory_percent = 1, instances = 1 }, want = 2 },
    },
}
