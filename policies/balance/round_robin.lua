-- round_robin.lua: every backend in turn, whatever its load.
--
-- Sees     eligible and ramp of each backend; request.hash
-- Answers  the index of the next eligible backend, nil when there is none
-- Params   none
-- Example  three backends, the first one chosen was 2, 3 is draining -> 1
--
-- The place in the round is kept over the full list and not over the eligible ones, so that a backend that
-- is out for a while moves nobody's turn. Each worker begins where chance says: else all would begin with
-- the first. During its slow start a backend has its turn with a chance of `ramp`.
return {
    name = "round_robin",
    doc = "Takes the backends in turn.",
    params = {},
    needs = {},
    new = function()
        local last = -1
        return {
            ---@type tidegate.Pick
            pick = function(backends, n, request)
                local chance, passed_over = request.hash / 4294967296, 0
                if last < 0 then
                    last = request.hash % n
                end
                for _ = 1, n do
                    last = last + 1
                    if last > n then
                        last = 1
                    end
                    if backends[last].eligible ~= 0 then
                        if backends[last].ramp > chance then
                            return last
                        end
                        passed_over = last
                    end
                end
                if passed_over == 0 then
                    return nil
                end
                last = passed_over
                return last
            end,
        }
    end,
    examples = {
        { backends = { {}, {}, {} }, request = { hash = 0 }, want = 1 },
        { backends = { {}, {}, {} }, request = { hash = 4 }, want = 2 },
        { backends = { {}, {}, { eligible = 0 } }, request = { hash = 2 }, want = 1 },
        { backends = { { ramp = 0.5 }, {} }, request = { hash = 3000000000 }, want = 2 },
        { backends = { { ramp = 0.5 }, { eligible = 0 } }, request = { hash = 3000000000 }, want = 1 },
        { backends = { { eligible = 0 }, { eligible = 0 } }, want = nil },
    },
}
