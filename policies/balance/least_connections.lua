-- least_connections.lua: the backend with the fewest requests in flight for its weight and capacity.
--
-- Sees     in_flight (over all workers), weight, capacity
-- Answers  a score, the lowest wins; equal ones take turns
-- Params   by ("both", "weight", "capacity", "none"): what makes room for more requests
-- Example  in flight 3, 1 and 2, weights 1, 1 and 4 -> the third: (2 + 1) / 4 is the least
--
-- The request to be placed counts too (+ 1): so among idle backends the heaviest is first. A weight of 0
-- takes a backend out, since an infinite score is never chosen.
local max = math.max

return {
    name = "least_connections",
    doc = "Takes the backend with the fewest requests in flight for its weight and capacity.",
    params = {
        by = { type = "enum", values = { "both", "weight", "capacity", "none" }, default = "both",
            doc = "what lets a backend have more requests than another" },
    },
    needs = {},
    new = function(params)
        ---@type table<string, tidegate.Score>
        local scores = {
            both = function(backend)
                return (backend.in_flight + 1) / (backend.weight * max(backend.capacity, 1))
            end,
            weight = function(backend)
                return (backend.in_flight + 1) / backend.weight
            end,
            capacity = function(backend)
                return (backend.in_flight + 1) / (max(backend.capacity, 1) * backend.ramp)
            end,
            none = function(backend)
                return (backend.in_flight + 1) / backend.ramp
            end,
        }
        return { score = scores[params.by] }
    end,
    examples = {
        { backends = { { in_flight = 3 }, { in_flight = 1 }, { in_flight = 2 } }, want = 2 },
        { backends = { { in_flight = 3 }, { in_flight = 1 }, { in_flight = 2, weight = 4 } }, want = 3 },
        { backends = { { in_flight = 2, capacity = 500 }, { in_flight = 4, capacity = 2000 } }, want = 2 },
        { params = { by = "none" }, want = 1,
            backends = { { in_flight = 2 }, { in_flight = 4, weight = 9 } } },
        { backends = { { in_flight = 0, eligible = 0 }, { in_flight = 9 } }, want = 2 },
        { backends = { { weight = 0 }, { in_flight = 50 } }, want = 2 },
    },
}
