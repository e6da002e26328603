-- weighted_round_robin.lua: the backends in turn, by weight and without bursts.
--
-- Sees     weight (slow start included) and eligible of each backend; request.changes
-- Answers  an index, nil when none is eligible
-- Params   none
-- Example  weights 5, 1, 1 -> 1 1 2 1 3 1 1, and again
--
-- Smooth weighted round robin: each turn everybody earns its weight, the richest is chosen and pays what all
-- have earned. Who is out earns nothing and keeps what it has. A round is over when everybody has what it
-- began with; until weights or backends change, the next ones are the same and only read off.
local MOST = 4096 -- turns of a round that is noted

return {
    name = "weighted_round_robin",
    doc = "Takes the backends in turn by their weights, spread evenly.",
    params = {},
    needs = {},
    new = function()
        local earned, weights, total = {}, {}, 0
        local began, turns = {}, {} -- of the round: what everybody had, and who was chosen
        local length, at = 0, 0 -- turns noted, and how many of a round that is read off are done
        local known, changes = 0, -1

        -- Everybody gets what it has at this place of a round that is read off.
        local function settle()
            for i = 1, known do
                earned[i] = earned[i] + at * weights[i]
            end
            for k = 1, at do
                earned[turns[k]] = earned[turns[k]] - total
            end
        end

        local function begin(backends, n)
            settle()
            if n ~= known then
                for i = 1, n do
                    earned[i] = 0
                end
                known = n
            end
            total, length, at = 0, 0, 0
            for i = 1, n do
                local backend = backends[i]
                weights[i] = backend.eligible ~= 0 and backend.weight or 0
                began[i], total = earned[i], total + weights[i]
            end
        end

        local function is_over(n)
            for i = 1, n do
                if earned[i] ~= began[i] then
                    return false
                end
            end
            return true
        end

        local function take_turn(backends, n)
            local richest, chosen = -math.huge, 0
            for i = 1, n do
                local has = earned[i] + weights[i]
                earned[i] = has
                if has > richest and backends[i].eligible ~= 0 then
                    richest, chosen = has, i
                end
            end
            if chosen > 0 then
                earned[chosen] = earned[chosen] - total
            end
            return chosen
        end

        local noting = true
        return {
            ---@type tidegate.Pick
            pick = function(backends, n, request)
                if request.changes ~= changes or n ~= known then
                    changes, noting = request.changes, true
                    begin(backends, n)
                end
                if not noting then
                    at = at < length and at + 1 or 1
                    return turns[at]
                end
                local chosen = take_turn(backends, n)
                if chosen == 0 then
                    return nil
                end
                if length < MOST then
                    length = length + 1
                    turns[length] = chosen
                    -- The one that was chosen first is where it began: rarely before the round is over.
                    if earned[turns[1]] == began[turns[1]] and is_over(n) then
                        noting = false
                    end
                end
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
