-- ewma.lua: the backend that would probably answer first. The default.
--
-- Sees     in_flight, response_ms (decayed by time), error_rate, weight; request.hash
-- Answers  an index; among equal ones chance decides
-- Params   penalty (what a failure counts as), choices_above (more backends than that: two random ones)
-- Example  10 ms and 4 in flight, 30 ms and idle -> the second: 30 * 1.5 is less than 10 * 5.5
--
-- The cost of a backend is what the request would wait there: its response time for everything that is in
-- flight and for the request itself, by weight. That itself counts one and a half times: most backends serve
-- a few requests at a time, so what is in flight is less of a wait than a slower backend. Response times fade
-- while nothing renews them, so one that was slow is tried again. A failure counts as a slow answer, else one
-- that fails fast would look best. Who was never measured gets one request at once, and until its answer is
-- taken for a usual one. Two random choices cost the same however many backends there are.
local band, rshift, max = bit.band, bit.rshift, math.max

return {
    name = "ewma",
    doc = "Takes the backend with the shortest expected wait: response time times requests in flight.",
    params = {
        penalty = { type = "duration", default = 1, min = 0.001, max = 60,
            doc = "response time that a failure counts as" },
        choices_above = { type = "integer", default = 16, min = 1, max = 1000000,
            doc = "with more backends than this, two random ones are compared instead of all" },
    },
    needs = {},
    new = function(params)
        local penalty_ms, choices_above = params.penalty * 1000, params.choices_above
        local usual_ms = 1 -- what the chosen ones take

        ---@type tidegate.Score
        local function score(backend)
            local ms, in_flight = backend.response_ms, backend.in_flight
            if ms <= 0 then
                ms = in_flight > 0 and usual_ms or 0
            end
            return (ms + backend.error_rate * max(0, penalty_ms - ms)) * (in_flight + 1.5) / backend.weight
        end

        local function chose(backend)
            local ms = backend.response_ms
            if ms > 0 then
                usual_ms = usual_ms + (ms - usual_ms) * 0.02
            end
        end

        local function two_of(n, hash)
            local one = band(hash, 0xffff) % n + 1
            return one, (one + rshift(hash, 16) % (n - 1)) % n + 1
        end

        ---@type tidegate.Pick
        local function pick(backends, n, request)
            local one, two = two_of(n, request.hash)
            local chosen = score(backends[two]) < score(backends[one]) and two or one
            chose(backends[chosen])
            return chosen
        end

        return {
            -- All of them, unless they are many and two random ones may both be chosen.
            which = function(backends, n, request)
                if n <= choices_above then
                    return 1
                end
                local one, two = two_of(n, request.hash)
                return backends[one].eligible ~= 0 and backends[two].eligible ~= 0 and 2 or 1
            end,
            { score = score, chose = chose },
            { pick = pick },
        }
    end,
    examples = {
        { backends = { { response_ms = 10, in_flight = 4 }, { response_ms = 30 } }, want = 2 },
        { backends = { { response_ms = 10, in_flight = 1 }, { response_ms = 30 } }, want = 1 },
        { backends = { { response_ms = 10, weight = 1 }, { response_ms = 10, weight = 3 } }, want = 2 },
        { backends = { { response_ms = 10 }, {}, { response_ms = 1, eligible = 0 } }, want = 2 },
        { want = 2,
            backends = { { response_ms = 1, error_rate = 0.5 }, { response_ms = 40, in_flight = 4 } } },
        { params = { choices_above = 1 }, backends = { { response_ms = 9 }, { response_ms = 8 } }, want = 2 },
        { backends = { { eligible = 0 } }, want = nil },
    },
}
