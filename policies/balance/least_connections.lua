-- least_connections.lua: the backend with the fewest requests in flight for its weight.
--
-- Sees     in_flight (over all workers), weight
-- Answers  a score, the lowest wins; equal ones take turns
-- Params   none
-- Example  in flight 3, 1 and 2, weights 1, 1 and 4 -> the third: (2 + 1) / 4 is the least
--
-- The request to be placed counts too (+ 1): so among idle backends the heaviest is first. A weight of 0
-- takes a backend out, since an infinite score is never chosen.
return {
    name = "least_connections",
    doc = "Takes the backend with the fewest requests in flight for its weight.",
    params = {},
    new = function()
        return {
            ---@type tidegate.Score
            score = function(backend)
                return (backend.in_flight + 1) / backend.weight
            end,
        }
    end,
    examples = {
        { backends = { { in_flight = 3 }, { in_flight = 1 }, { in_flight = 2 } }, want = 2 },
        { backends = { { in_flight = 3 }, { in_flight = 1 }, { in_flight = 2, weight = 4 } }, want = 3 },
        { backends = { { in_flight = 0, eligible = 0 }, { in_flight = 9 } }, want = 2 },
        { backends = { { weight = 0 }, { in_flight = 50 } }, want = 2 },
    },
}
