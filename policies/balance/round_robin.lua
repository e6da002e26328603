-- round_robin.lua: every backend in turn, whatever its load.
--
-- Sees     eligible of each backend; request.hash, once
-- Answers  the index of the next eligible backend, nil when there is none
-- Params   none
-- Example  three backends, the first one chosen was 2, 3 is draining -> 1
--
-- The place in the round is kept over the full list and not over the eligible ones, so that a backend that
-- is out for a while moves nobody's turn. Each worker begins where chance says: else all would begin with
-- the first.
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
                if last < 0 then
                    last = request.hash % n
                end
                for _ = 1, n do
                    last = last + 1
                    if last > n then
                        last = 1
                    end
                    if backends[last].eligible ~= 0 then
                        return last
                    end
                end
                return nil
            end,
        }
    end,
    examples = {
        { backends = { {}, {}, {} }, request = { hash = 0 }, want = 1 },
        { backends = { {}, {}, {} }, request = { hash = 4 }, want = 2 },
        { backends = { {}, {}, { eligible = 0 } }, request = { hash = 2 }, want = 1 },
        { backends = { { eligible = 0 }, { eligible = 0 } }, want = nil },
    },
}
