-- consistent_hashing.lua: equal keys to the same backend, while it is not much busier than the others.
--
-- Sees     hash, weight, in_flight, eligible; request.key, in_flight, changes
-- Answers  an index, nil when none is eligible
-- Params   key (what of the request is hashed), balance_factor (bound of the load, 0 = none)
-- Example  the same key twice -> the same backend; that one leaves -> only its keys move
--
-- Rendezvous hashing: each backend draws a number from its own hash and the key, and the best draw wins, in
-- proportion to the weights. When a backend leaves, its keys alone move, and evenly to all others. Bounded
-- load: who has more than balance_factor times its share of the requests in flight is passed over, so that
-- a key that everybody wants does not overrun one backend.
--
-- The draw is what is behind the point of key * (a factor of the backend): uniform in 0 .. 1, and of two
-- backends as good as independent. -log(1 - draw) / weight is least with a chance in proportion to the
-- weight. It is never less than draw / weight, so the logarithm is only taken for who may win by that. Keys
-- fall into buckets, and of each the three best are remembered until the backends change.
local band, bxor, lshift, rshift, tobit = bit.band, bit.bxor, bit.lshift, bit.rshift, bit.tobit
local floor, log, huge = math.floor, math.log, math.huge

local BUCKETS = 32768 -- of keys; those of one bucket go together
local BASE, ROUNDS = 8192, 16383 -- three indexes and a round are one exact number

-- Bob Jenkins' 32 bit mix (public domain): shifts and sums only, exact in every Lua.
local function mixed(a)
    a = tobit(tobit(a + 0x7ed55d16) + lshift(a, 12))
    a = bxor(bxor(a, 0xc761c23c), rshift(a, 19))
    a = tobit(tobit(a + 0x165667b1) + lshift(a, 5))
    a = bxor(tobit(a + 0xd3a2646c), lshift(a, 9))
    a = tobit(tobit(a + 0xfd7046c5) + lshift(a, 3))
    return bxor(bxor(a, 0xb55a4f09), rshift(a, 16))
end

return {
    name = "consistent_hashing",
    doc = "Takes the same backend for the same key, within bounds of its load.",
    params = {
        key = { type = "source", default = "",
            doc = "what is hashed: \"header:X-User\", \"cookie:session\", \"path\", \"dataset\", \"client\"; "
                .. "by default the route's request.key, else the client's address" },
        balance_factor = { type = "number", default = 1.25, min = 0, max = 1000,
            doc = "most load of a backend, as a multiple of its share; 0 = no bound" },
    },
    needs = { "key" },
    new = function(params)
        local factor = params.balance_factor
        if factor ~= 0 and factor < 1 then
            error "balance_factor is 0 for no bound, or at least 1"
        end
        -- Those who may be chosen, and what of them stays the same from request to request.
        local who, factors, shares, most = {}, {}, {}, 0
        local weights, changes, known = 0, -1, 0
        -- The three best of each bucket of keys, as digits of a number; the first digits say for which round.
        local best_of, round = {}, 0
        for bucket = 1, BUCKETS do
            best_of[bucket] = 0
        end

        local function note(backends, n)
            most, weights, round = 0, 0, round % ROUNDS + 1
            for i = 1, n do
                local backend = backends[i]
                if backend.eligible ~= 0 and backend.weight > 0 then
                    most = most + 1
                    who[most], shares[most] = i, 1 / backend.weight
                    factors[most] = (mixed(tobit(backend.hash)) + 2147483648) / 4294967296
                    weights = weights + backend.weight
                end
            end
            if round == 1 then
                for bucket = 1, BUCKETS do
                    best_of[bucket] = 0
                end
            end
        end

        -- The best of all within the bound but for two; with all three nobody is left out. 0: none.
        local function best_but(backends, key, bound, first, second)
            local best, chosen = huge, 0
            for k = 1, most do
                local draw = key * factors[k]
                draw = draw - floor(draw)
                if draw * shares[k] < best then
                    local exact, i = -log(1 - draw) * shares[k], who[k]
                    if exact < best and i ~= first and i ~= second and
                        backends[i].in_flight < bound * backends[i].weight then
                        best, chosen = exact, i
                    end
                end
            end
            return chosen
        end

        return {
            ---@type tidegate.Pick
            pick = function(backends, n, request)
                if request.changes ~= changes or n ~= known then
                    changes, known = request.changes, n
                    note(backends, n)
                end
                local bound = factor == 0 and huge or factor * (request.in_flight + 1) / weights
                local bucket = band(mixed(tobit(request.key)), BUCKETS - 1) + 1
                local key = mixed(bucket) + 2147483648
                local digits = best_of[bucket]
                if floor(digits / BASE ^ 3) ~= round then
                    local first = best_but(backends, key, huge, 0, 0)
                    local second = best_but(backends, key, huge, first, 0)
                    local third = best_but(backends, key, huge, first, second)
                    digits = ((round * BASE + third) * BASE + second) * BASE + first
                    best_of[bucket] = digits
                end
                for _ = 1, 3 do
                    local i = digits % BASE
                    if i > 0 and backends[i].in_flight < bound * backends[i].weight then
                        return i
                    end
                    digits = floor(digits / BASE)
                end
                return best_but(backends, key, bound, 0, 0)
            end,
        }
    end,
    examples = {
        { backends = { {}, {}, {} }, request = { key = 3 }, want = 3 },
        { backends = { {}, {}, { eligible = 0 } }, request = { key = 3 }, want = 2 },
        { backends = { {}, {}, { in_flight = 9 } }, request = { key = 3 }, want = 2 },
        { params = { balance_factor = 0 }, backends = { {}, {}, { in_flight = 9 } }, want = 3,
            request = { key = 3 } },
        { backends = { { eligible = 0 } }, want = nil },
    },
}
