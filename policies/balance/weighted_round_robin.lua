-- weighted_round_robin.lua: the backends in turn, by weight and without bursts.
--
-- Sees     weight, ramp and eligible of each backend
-- Answers  an index, nil when none is eligible
-- Params   none
-- Example  weights 5, 1, 1 -> 1 1 2 1 3 1 1, and again
--
-- Smooth weighted round robin: each turn everybody earns its weight, the richest is chosen and pays what all
-- have earned. Who is out earns nothing and keeps what it has.
local max = math.max

return {
    name = "weighted_round_robin",
    doc = "Takes the backends in turn by their weights, spread evenly.",
    params = {},
    needs = {},
    new = function()
        local earned, known = {}, 0
        return {
            ---@type tidegate.Pick
            pick = function(backends, n)
                if n ~= known then
                    for i = 1, n do
                        earned[i] = 0
                    end
                    known = n
                end
                local total, richest, chosen = 0, -math.huge, 0
                for i = 1, n do
                    local backend = backends[i]
                    if backend.eligible ~= 0 then
                        local weight = backend.weight * max(backend.ramp, 0.01)
                        local has = earned[i] + weight
                        earned[i] = has
                        total = total + weight
                        if has > richest then
                            richest, chosen = has, i
                        end
                    end
                end
                if chosen == 0 then
                    return nil
                end
                earned[chosen] = earned[chosen] - total
                return chosen
            end,
        }
    end,
    examples = {
        { backends = { { weight = 1 }, { weight = 5 }, { weight = 1 } }, want = 2 },
        { backends = { { weight = 1 }, { weight = 5, eligible = 0 }, { weight = 2 } }, want = 3 },
        { backends = { { weight = 2 }, { weight = 4, ramp = 0.1 } }, want = 1 },
        { backends = { { eligible = 0 }, { eligible = 0 } }, want = nil },
    },
}
