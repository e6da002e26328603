-- consistent_hashing.lua: equal keys to the same backend, while it is not much busier than the others.
--
-- Sees     hash, weight, ramp, in_flight; request.key
-- Answers  an index, nil when none is eligible
-- Params   key (what of the request is hashed), balance_factor (bound of the load, 0 = none)
-- Example  the same key twice -> the same backend; that one leaves -> only its keys move
--
-- Rendezvous hashing: each backend draws a number from its own hash and the key, and the best draw wins, in
-- proportion to the weights. When a backend leaves, its keys alone move, and evenly to all others. Bounded
-- load: who has more than balance_factor times its share of the requests in flight is passed over, so that
-- a key that everybody wants does not overrun one backend.
local bxor, lshift, rshift, tobit = bit.bxor, bit.lshift, bit.rshift, bit.tobit
local ceil, log, max, huge = math.ceil, math.log, math.max, math.huge

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
        return {
            ---@type tidegate.Pick
            pick = function(backends, n, request)
                local in_flight, weights, least, most = 1, 0, huge, 0
                for i = 1, n do
                    local backend = backends[i]
                    if backend.eligible ~= 0 then
                        local weight = backend.weight * max(backend.ramp, 0.01)
                        in_flight = in_flight + backend.in_flight
                        weights = weights + weight
                        least = weight < least and weight or least
                        most = weight > most and weight or most
                    end
                end
                if weights <= 0 then
                    return nil
                end
                local share = factor == 0 and huge or factor * in_flight / weights
                local even = least == most
                local key, best, chosen = mixed(tobit(request.key)), huge, 0
                for i = 1, n do
                    local backend = backends[i]
                    if backend.eligible ~= 0 then
                        local weight = backend.weight * max(backend.ramp, 0.01)
                        if backend.in_flight + 1 <= ceil(share * weight) then
                            -- Uniform in 0 .. 1, without both ends; -log(u) / weight is least with a chance
                            -- in proportion to the weight.
                            local draw = (mixed(bxor(key, tobit(backend.hash))) + 2147483648.5) / 4294967296
                            if not even then
                                draw = -log(draw) / weight
                            end
                            if draw < best then
                                best, chosen = draw, i
                            end
                        end
                    end
                end
                return chosen
            end,
        }
    end,
    examples = {
        { backends = { {}, {}, {} }, request = { key = 6 }, want = 3 },
        { backends = { {}, {}, { eligible = 0 } }, request = { key = 6 }, want = 2 },
        { backends = { {}, {}, { in_flight = 9 } }, request = { key = 6 }, want = 2 },
        { params = { balance_factor = 0 }, backends = { {}, {}, { in_flight = 9 } }, want = 3,
            request = { key = 6 } },
        { backends = { { eligible = 0 } }, want = nil },
    },
}
