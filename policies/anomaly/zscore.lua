-- zscore.lua: a point is unusual when it is some standard deviations from the mean of the last 1000.
--
-- Sees     one metric of a service at a time: state, value, at (seconds since 1970), metric
-- Answers  a score, 1 or more is an anomaly, with { severity, type, description }
-- Params   window, least_points, response_time_deviation, throughput_deviation, error_rate_threshold,
--          resource_utilization_threshold
-- Example  0.10 0.11 0.09 ... ten times, then 0.2 -> z = 12: "response_time_anomaly", severity "high"
--
-- Noisy, and here for compatibility: on heavy tails and daily waves it tells of tens of points a day in a
-- series where nothing happens, and a change that lasts becomes its own baseline. "record" is the default.
--
-- A point is held against the points before it and then joins them; a figure that is not there is no point.
-- Means and deviations slide with the window: each point costs the same. They are summed anew from the window
-- once around it, and when the sum of squares fell so far that rounding could show, so that they are those of
-- a direct computation to five digits and more.

local ANEW = 1e-6 -- of the largest sum of squares since it was summed anew

local function sum_anew(state)
    local ring, count, sum, squares = state.ring, state.count, 0, 0
    for i = 1, count do
        sum = sum + ring[i]
    end
    local mean = sum / count
    for i = 1, count do
        squares = squares + (ring[i] - mean) ^ 2
    end
    state.mean, state.squares, state.most = mean, squares, squares
end

-- changes: how many points of the window differ from the one before; 0: its deviation is exactly 0.
local function add(state, value, window)
    local ring, count, at = state.ring, state.count, state.next
    local mean = state.mean
    if count > 0 and value ~= state.last then
        state.changes = state.changes + 1
    end
    if count < window then
        count = count + 1
        state.count = count
        state.mean = mean + (value - mean) / count
        state.squares = state.squares + (value - mean) * (value - state.mean)
    else
        local old = ring[at]
        if old ~= ring[at % window + 1] then
            state.changes = state.changes - 1
        end
        state.mean = mean + (value - old) / count
        state.squares = state.squares + (value - old) * (value - state.mean + old - mean)
    end
    ring[at], state.last, state.next = value, value, at % window + 1
    if state.squares > state.most then
        state.most = state.squares
    end
    if at == window or state.squares < ANEW * state.most then
        sum_anew(state)
    end
end

-- Of a sample: divided by one less than the points.
local function deviation(state)
    if state.changes < 1 or state.count < 2 then
        return 0
    end
    return math.sqrt(state.squares / (state.count - 1))
end

local TYPES = {
    response_time = "response_time_anomaly", throughput = "throughput_anomaly",
    error_rate = "error_rate_anomaly", resources = "resource_usage_anomaly", value = "value_anomaly",
}

local function described(name, value, mean)
    if name == "error_rate" then
        return "Error rate above its threshold"
    elseif name == "resources" then
        return "Resource utilization above its threshold"
    elseif name == "response_time" then
        return ("Response time significantly %s than baseline"):format(value > mean and "higher" or "lower")
    end
    local what = name == "throughput" and "Throughput" or "Value"
    return ("%s significantly %s than baseline"):format(what, value > mean and "higher" or "lower")
end

return {
    name = "zscore",
    doc = "Tells of points far from the mean of the last 1000, and of errors and usage above a threshold.",
    params = {
        window = { type = "integer", default = 1000, min = 2, max = 10000, doc = "points of the baseline" },
        least_points = { type = "integer", default = 10, min = 2, doc = "points before it says anything" },
        response_time_deviation = { type = "number", default = 3, min = 0, doc = "standard deviations" },
        throughput_deviation = { type = "number", default = 2.5, min = 0, doc = "standard deviations" },
        error_rate_threshold = { type = "number", default = 0.05, min = 0, max = 1,
            doc = "share of the requests" },
        resource_utilization_threshold = { type = "number", default = 0.9, min = 0, max = 1,
            doc = "share of the limit, mean of CPU and memory" },
    },
    new = function(params)
        -- Either deviations from the baseline, or a threshold for the value itself.
        local limits = {
            response_time = { deviations = params.response_time_deviation },
            throughput = { deviations = params.throughput_deviation },
            error_rate = { threshold = params.error_rate_threshold },
            resources = { threshold = 100 * params.resource_utilization_threshold }, -- the view has percent
        }
        local any = { deviations = params.response_time_deviation }
        local self = {
            metrics = {
                { name = "response_time", of = { "performance.avg_response_time" } },
                { name = "throughput", of = { "performance.throughput" } },
                { name = "error_rate", of = { "performance.error_rate" } },
                { name = "resources", of = { "resources.cpu_usage", "resources.memory_usage" } },
            },
        }

        function self.learn()
            return { ring = {}, count = 0, next = 1, mean = 0, squares = 0, most = 0, changes = 0 }
        end

        -- How far the value is beyond its limit (more than 1), and its z.
        local function judged(state, value, limit)
            local sd = deviation(state)
            local z = sd > 0 and math.abs(value - state.mean) / sd or 0
            local measure, most = z, limit.deviations
            if limit.threshold then
                measure, most = value, limit.threshold
            end
            local ratio = most > 0 and measure / most or measure > 0 and 2 or 0
            if measure > most then
                return math.max(ratio, 1), z
            end
            return math.max(0, math.min(ratio, 0.999)), z
        end

        ---@type tidegate.Point
        function self.point(state, value, _, name)
            local score, z, mean = 0, 0, state.mean
            if state.count >= params.least_points then
                score, z = judged(state, value, limits[name] or any)
            end
            add(state, value, params.window)
            if score < 1 then
                return score
            end
            return score, {
                type = TYPES[name] or TYPES.value,
                severity = z > 4 and "high" or "medium",
                description = described(name, value, mean),
            }
        end

        return self
    end,
    examples = {
        { given = { metric = "response_time", values = { 0.1, 0.11, 0.09 }, times = 4, more = { 0.2 } },
            want = 1 },
        { given = { metric = "response_time", values = { 0.1, 0.11, 0.09 }, times = 3, more = { 0.2 } },
            want = nil },
        { given = { metric = "response_time", values = { 1, 3 }, times = 10, more = { 4.9, 7 } }, want = 2 },
        { given = { metric = "throughput", values = { 1, 3 }, times = 10, more = { 4.4, 6 } }, want = 2 },
        { given = { metric = "response_time", values = { 5 }, times = 20, more = { 9 } }, want = nil },
        { given = { metric = "error_rate", values = { 0, 0.01 }, times = 10, more = { 0.05, 0.051 } },
            want = 2 },
        { given = { metric = "resources", values = { 50, 60 }, times = 10, more = { 90, 91 } }, want = 2 },
    },
}
