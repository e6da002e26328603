-- zone_aware.lua: stays in the request's zone while there is room, and spills over when there is not.
--
-- Sees     in_flight, weight, zone (the tag "zone:..."); request.zone
-- Answers  a score, the lowest wins; equal ones take turns
-- Params   remote (cost of another zone, 1 = the same), slots (requests that a backend serves side by side)
-- Example  zone a, two in flight there and none in zone b -> zone a
--
-- The zone of a request is what the route's `request = { zone = ... }` finds, else the cluster's own. With
-- none, or one that no backend has, all are equally near and the least loaded is taken.
local abs, min = math.abs, math.min

return {
    name = "zone_aware",
    doc = "Takes the least loaded backend, with those of another zone counted as farther away.",
    params = {
        remote = { type = "number", default = 2, min = 1, max = 1000,
            doc = "how many times a request costs in another zone" },
        slots = { type = "number", default = 4, min = 0.01, max = 100000,
            doc = "requests that a backend of weight 1 serves side by side" },
    },
    needs = { "zone" },
    new = function(params)
        local farther, slots = params.remote - 1, params.slots
        return {
            ---@type tidegate.Score
            score = function(backend, request)
                -- 1 for another zone, 0 for the same, and no branch in the loop.
                local other = min(abs(backend.zone - request.zone), 1)
                return ((backend.in_flight + 1) / (slots * backend.weight) + 1) * (1 + farther * other)
            end,
        }
    end,
    examples = {
        { backends = { { zone = 1, in_flight = 2 }, { zone = 2 } }, request = { zone = 1 }, want = 1 },
        { backends = { { zone = 1, in_flight = 2 }, { zone = 2 } }, request = { zone = 2 }, want = 2 },
        { backends = { { zone = 1, in_flight = 40 }, { zone = 2 } }, request = { zone = 1 }, want = 2 },
        { backends = { { zone = 1, eligible = 0 }, { zone = 2, in_flight = 9 } }, want = 2,
            request = { zone = 1 } },
        { backends = { { zone = 1, in_flight = 2 }, { zone = 2, in_flight = 1 } }, want = 2 },
    },
}
