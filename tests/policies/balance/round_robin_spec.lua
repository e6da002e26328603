local policy = require "policy"

local PATH = "balance/round_robin"

local function counts(pick, picks, request)
    local c = {}
    for _ = 1, picks do
        local index = pick(request)
        c[index] = (c[index] or 0) + 1
    end
    return c
end

describe("policies/" .. PATH, function()
    it("does as its examples say", function()
        assert.is_true(policy.examples(PATH) > 0)
    end)

    it("gives every backend its share within 1 %", function()
        for _, n in ipairs { 1, 2, 3, 7, 64 } do
            local list = {}
            for i = 1, n do
                list[i] = { weight = i, in_flight = i * 10 }
            end
            local c = counts(policy.picker(PATH, {}, policy.backends(list)), 6400, policy.request { hash = 4294967295 })
            for i = 1, n do
                assert.is_true(math.abs(c[i] - 6400 / n) <= math.max(1, 64 / n), ("%d of %d: %d"):format(i, n, c[i]))
            end
        end
    end)

    it("never picks who is not eligible, and shares among the rest", function()
        local pick = policy.picker(PATH, {}, policy.backends { {}, { eligible = 0 }, { eligible = 0 }, {}, {} })
        assert.same({ [1] = 100, [4] = 100, [5] = 100 }, counts(pick, 300, policy.request {}))
    end)

    it("keeps everybody's turn while one is out", function()
        local backends = policy.backends { {}, {}, {}, {} }
        local pick, request, order = policy.picker(PATH, {}, backends), policy.request { hash = 8 }, {}
        for i = 1, 12 do
            backends[3].eligible = (i > 4 and i <= 8) and 0 or 1
            order[i] = pick(request)
        end
        assert.same({ 1, 2, 3, 4, 1, 2, 4, 1, 2, 3, 4, 1 }, order)
    end)

    it("begins where chance says", function()
        local backends, seen = policy.backends { {}, {}, {}, {} }, {}
        for hash = 0, 3 do
            seen[policy.picker(PATH, {}, backends)(policy.request { hash = hash })] = true
        end
        assert.same({ true, true, true, true }, seen)
    end)

    it("starts a new one slowly", function()
        local backends, c = policy.backends { {}, { ramp = 0.25 }, {} }, { 0, 0, 0 }
        local pick, request, chance = policy.picker(PATH, {}, backends), policy.request {}, 1
        for _ = 1, 30000 do
            chance = chance * 16807 % 2147483647
            request.hash = chance * 2
            local index = pick(request)
            c[index] = c[index] + 1
        end
        assert.is_true(math.abs(c[2] / c[1] - 0.25) < 0.02, c[2] / c[1])
        backends[1].eligible, backends[3].eligible = 0, 0
        assert.equal(2, pick(policy.request { hash = 4294967295 }))
    end)

    it("goes on when backends leave", function()
        local backends = policy.backends { {}, {}, {}, {}, {} }
        local pick, request = policy.picker(PATH, {}, backends), policy.request { hash = 3 }
        assert.equal(4, pick(request))
        backends[5], backends[4], backends[3] = nil, nil, nil
        for _, want in ipairs { 1, 2, 1 } do
            assert.equal(want, pick(request))
        end
    end)

    it("answers nil when none is eligible", function()
        local backends = policy.backends { { eligible = 0 }, { eligible = 0 } }
        local pick = policy.picker(PATH, {}, backends)
        assert.is_nil(pick(policy.request {}))
        backends[2].eligible = 1
        assert.equal(2, pick(policy.request {}))
    end)
end)
