local policy = require "policy"

local PATH = "balance/consistent_hashing"

local function key(i)
    return (i * 1103515245 + 12345) % 4294967296
end

-- Where `keys` keys go.
local function places(backends, keys, params)
    local pick, list = policy.picker(PATH, params or {}, backends), {}
    for i = 1, keys do
        list[i] = pick(policy.request { key = key(i), hash = key(i * 7) })
    end
    return list
end

local function counts(list)
    local c = {}
    for _, index in ipairs(list) do
        c[index] = (c[index] or 0) + 1
    end
    return c
end

describe("policies/" .. PATH, function()
    it("does as its examples say", function()
        assert.is_true(policy.examples(PATH) > 0)
    end)

    it("always takes the same for a key, in every worker and whatever the order of the backends", function()
        local forth, back = policy.backends { {}, {}, {}, {}, {} }, policy.backends { {}, {}, {}, {}, {} }
        for i = 1, 5 do
            back[i].hash = forth[6 - i].hash
        end
        local a, b, c = places(forth, 2000), places(forth, 2000), places(back, 2000)
        assert.same(a, b)
        for i = 1, 2000 do
            assert.equal(a[i], 6 - c[i])
        end
    end)

    it("shares keys by weight", function()
        for _, weights in ipairs { { 1, 1, 1, 1, 1 }, { 1, 2, 5 }, { 10, 1 } } do
            local list, sum = {}, 0
            for i, weight in ipairs(weights) do
                list[i], sum = { weight = weight }, sum + weight
            end
            local c = counts(places(policy.backends(list), 50000))
            for i, weight in ipairs(weights) do
                local want = 50000 * weight / sum
                assert.is_true(math.abs(c[i] - want) < want * 0.04 + 100, ("%d of %d"):format(c[i], want))
            end
        end
    end)

    it("moves only the keys of the one that leaves, at most 1/n + 2 %", function()
        for _, n in ipairs { 2, 3, 10 } do
            local list = {}
            for i = 1, n do
                list[i] = { weight = n == 3 and i or 1 }
            end
            local backends = policy.backends(list)
            local before = places(backends, 20000)
            for gone = 1, n do
                backends[gone].eligible = 0
                local after, moved = places(backends, 20000), 0
                for i = 1, 20000 do
                    assert.is_true(after[i] ~= gone)
                    if after[i] ~= before[i] then
                        assert.equal(gone, before[i])
                        moved = moved + 1
                    end
                end
                local share = n == 3 and gone / 6 or 1 / n
                assert.is_true(moved / 20000 <= share + 0.02, moved)
                backends[gone].eligible = 1
            end
        end
    end)

    it("bounds the load of a key that everybody wants", function()
        local backends = policy.backends { {}, {}, {}, {} }
        local pick = policy.picker(PATH, { balance_factor = 1.25 }, backends)
        for _ = 1, 400 do
            local chosen = backends[pick(policy.request { key = 42 })]
            chosen.in_flight = chosen.in_flight + 1
        end
        local most, sum = 0, 0
        for _, backend in ipairs(backends) do
            most, sum = math.max(most, backend.in_flight), sum + backend.in_flight
        end
        assert.equal(400, sum)
        assert.is_true(most <= 126 and most > 110, most)
    end)

    it("has always somebody to take", function()
        for seed = 1, 2000 do
            local list = {}
            for i = 1, seed % 5 + 1 do
                list[i] = { in_flight = key(seed * i) % 40, weight = key(seed + i) % 3 + 1 }
            end
            local p = policy.picker(PATH, { balance_factor = 1 }, policy.backends(list))
            assert.is_true(p(policy.request { key = key(seed) }) >= 1)
        end
    end)

    it("refuses a bound below the share", function()
        assert.has_error(function()
            policy.new(PATH, { balance_factor = 0.5 })
        end)
    end)
end)
