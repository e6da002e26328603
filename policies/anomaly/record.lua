-- record.lua: a point is unusual when it goes beyond what its series ever did. The default.
--
-- Sees     one metric of a service or an instance: state, value, at (seconds since 1970), metric
-- Answers  a score, 1 or more is an anomaly, with { severity, type, description }
-- Params   metrics (what is watched), half_life, half_life_points, warm_up, rest_points, rest_share,
--          rest_most, again, strictness, high, together
-- Example  10 11 9 10 11 9 ... 50 -> the 50 is an anomaly: type "jump"
--
-- The work of each point is tidegate's kernel `detector.record` (core/base/detect.h says how it works): seven
-- views of the series, each held against its own record, which fades by half over half_life or
-- half_life_points, whichever is longer. What an operator may want otherwise is here: which metrics, in which
-- direction, how far off at least.
--
-- A metric is written "path [direction [least effect]]": "performance.p99 up 0.02" tells of response
-- times that are at least 20 ms above the usual. Those under `resources` are watched in each instance,
-- others in the service.

local DIRECTIONS = { up = true, down = true, both = true }

-- "resources.cpu_usage up 10" -> { name, of, per, direction, least_effect }
local function read_metric(text)
    local path, direction, least = text:match "^([%w_.]+)%s*(%a*)%s*([%d.]*)$"
    direction = direction ~= "" and direction or "both"
    if not path or not DIRECTIONS[direction] or (least ~= "" and not tonumber(least)) then
        error(('metrics: expected "path [up|down|both [least effect]]", got "%s"'):format(text), 0)
    end
    return {
        name = path,
        of = { path },
        per = path:find "^resources%." and "instance" or "service",
        direction = direction,
        least_effect = tonumber(least) or 0,
    }
end

local function described(view, metric, value, usual)
    if view == "stuck" then
        return ("%s stands still at %.4g"):format(metric, value)
    elseif view == "variance" then
        return ("%s varies as never before, now %.4g"):format(metric, value)
    end
    local how = value > usual and "above" or "below"
    local since = (view == "seasonal" or view == "smoothed_season") and " at this time of day" or ""
    return ("%s is %.4g, further %s the usual %.4g than ever%s"):format(metric, value, how, usual, since)
end

return {
    name = "record",
    doc = "Tells of points that go beyond the record of their own series, in any of seven views.",
    params = {
        metrics = { type = "list", doc = "what is watched: path, direction and least effect",
            default = { "performance.p99 up 0.02", "performance.error_rate up 0.01",
                "performance.throughput both 1", "traffic.queue up 5", "resources.cpu_usage up 10",
                "resources.memory_usage up 5" } },
        half_life = { type = "duration", default = 14 * 86400, min = 60,
            doc = "a record fades by half over this" },
        half_life_points = { type = "integer", default = 10000, min = 100,
            doc = "or over so many points, if that takes longer" },
        warm_up = { type = "integer", default = 100, min = 2, doc = "points before the first anomaly" },
        rest_points = { type = "integer", default = 60, min = 0, doc = "silent points after an anomaly" },
        rest_share = { type = "number", default = 0.03, min = 0, max = 1,
            doc = "and this share of the points so far" },
        rest_most = { type = "integer", default = 240, min = 0, doc = "but no more than this" },
        again = { type = "number", default = 1.5, min = 1,
            doc = "a score so many times as high is told all the same" },
        strictness = { type = "number", default = 1, min = 0.1, max = 100, doc = "scores are divided by it" },
        high = { type = "number", default = 2, min = 1, doc = "score above which the severity is high" },
        together = { type = "integer", default = 3, min = 2,
            doc = "series of a service that make it high when they are unusual at once" },
    },
    new = function(params, detector)
        local metrics, by_name = {}, {}
        for i, text in ipairs(params.metrics) do
            metrics[i] = read_metric(text)
            by_name[metrics[i].name] = metrics[i]
        end

        local self = { metrics = metrics }

        function self.learn(name)
            local metric = by_name[name] or {}
            return detector.record {
                half_life_s = params.half_life, half_life_points = params.half_life_points,
                warm_up = params.warm_up, rest_points = params.rest_points, rest_share = params.rest_share,
                rest_most = params.rest_most, again = params.again, strictness = params.strictness,
                direction = metric.direction, least_effect = metric.least_effect,
                -- Load that only counts upwards may well stand still.
                stuck = (metric.direction or "both") == "both",
            }
        end

        ---@type tidegate.Point
        function self.point(state, value, at, name)
            local score, view, usual = state:push(at, value)
            if score < 1 then
                return score
            end
            return score, {
                type = view,
                severity = score > params.high and "high" or "medium",
                description = described(view, name, value, usual),
            }
        end

        -- Many series at once are worse than each of them.
        function self.combine(anomalies)
            for _, anomaly in ipairs(anomalies) do
                if #anomalies >= params.together then
                    anomaly.severity = "high"
                end
            end
            return anomalies
        end

        return self
    end,
    examples = {
        { given = { values = { 10, 11, 9 }, times = 50, more = { 50 } }, want = 1 },
        { given = { values = { 10, 11, 9 }, times = 50, more = { 10, 11, 9 } }, want = nil },
        { given = { values = { 10, 11, 9 }, times = 20, more = { 50 } }, want = nil },
        { params = { warm_up = 30 },
            given = { values = { 10, 11, 9 }, times = 20, more = { 10, 50 } }, want = 2 },
        { given = { metric = "performance.p99", values = { 0.1, 0.11 }, times = 80, more = { 0.13 } },
            want = 1 },
        { given = { metric = "performance.p99", values = { 0.1, 0.11 }, times = 80, more = { 0.124 } },
            want = nil },
        { given = { metric = "performance.p99", values = { 0.1, 0.11 }, times = 80, more = { 0.01 } },
            want = nil },
        { params = { metrics = { "performance.p99 down" } },
            given = { metric = "performance.p99", values = { 0.1, 0.11 }, times = 80, more = { 0.01 } },
            want = 1 },
    },
}
