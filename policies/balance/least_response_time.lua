-- least_response_time.lua: the backend that answers fastest, by what it has to do just now.
--
-- Sees     response_ms (decayed by time), in_flight, weight; with scoring = "seed": response_mean_ms
-- Answers  a score, the lowest wins; equal ones take turns
-- Params   scoring: "expected", or "seed", the plain mean of the last 100 answers
-- Example  10 ms and 3 in flight, 30 ms and idle -> the second: 30 * 1 is less than 10 * 4
--
-- The plain mean sends everything to one backend until its mean has become worse than another's, and a
-- backend that was slow once never gets another request; it is here for those who compare. It takes the first
-- of equal ones, and a backend without answers (mean 0) before all others.
local max = math.max

return {
    name = "least_response_time",
    doc = "Takes the backend with the shortest response time for what it has in flight.",
    params = {
        scoring = { type = "enum", values = { "expected", "seed" }, default = "expected",
            doc = "decayed response time times requests in flight, or the mean of the last 100 answers" },
    },
    needs = { "response_mean_ms" },
    new = function(params)
        if params.scoring == "seed" then
            return {
                ---@type tidegate.Pick
                pick = function(backends, n)
                    local best, chosen = math.huge, nil
                    for i = 1, n do
                        local backend = backends[i]
                        if backend.eligible ~= 0 and backend.response_mean_ms < best then
                            best, chosen = backend.response_mean_ms, i
                        end
                    end
                    return chosen
                end,
            }
        end
        return {
            ---@type tidegate.Score
            score = function(backend)
                -- Below a tenth of a millisecond only the requests in flight tell backends apart.
                return max(backend.response_ms, 0.1) * (backend.in_flight + 1) / backend.weight
            end,
        }
    end,
    examples = {
        { backends = { { response_ms = 10, in_flight = 3 }, { response_ms = 30 } }, want = 2 },
        { backends = { { response_ms = 10 }, { response_ms = 30 } }, want = 1 },
        { backends = { { response_ms = 10 }, {}, { response_ms = 1, eligible = 0 } }, want = 2 },
        { params = { scoring = "seed" }, want = 1,
            backends = { { response_mean_ms = 10, in_flight = 9 }, { response_mean_ms = 30 } } },
        { params = { scoring = "seed" }, want = 2,
            backends = { { response_mean_ms = 10 }, { response_mean_ms = 0 }, { response_mean_ms = 0 } } },
        { params = { scoring = "seed" }, backends = { { eligible = 0 } }, want = nil },
    },
}
