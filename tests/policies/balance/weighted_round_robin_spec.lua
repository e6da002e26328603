local policy = require "policy"

local PATH = "balance/weighted_round_robin"

local function order(backends, picks)
    local pick, list = policy.picker(PATH, {}, backends), {}
    for i = 1, picks do
        list[i] = pick(policy.request {})
    end
    return list
end

describe("policies/" .. PATH, function()
    it("does as its examples say", function()
        assert.is_true(policy.examples(PATH) > 0)
    end)

    it("is smooth", function()
        assert.same({ 1, 1, 2, 1, 3, 1, 1, 1, 1, 2, 1, 3, 1, 1 },
            order(policy.backends { { weight = 5 }, { weight = 1 }, { weight = 1 } }, 14))
        assert.same({ 1, 2, 3, 1, 2, 3 }, order(policy.backends { {}, {}, {} }, 6))
    end)

    it("honours weights within 1 % over 100,000 picks", function()
        for _, weights in ipairs { { 1 }, { 1, 2, 5 }, { 0.5, 100, 3, 7 }, { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 10 } } do
            local list, sum, c = {}, 0, {}
            for i, weight in ipairs(weights) do
                list[i], sum, c[i] = { weight = weight }, sum + weight, 0
            end
            local pick, request = policy.picker(PATH, {}, policy.backends(list)), policy.request {}
            for _ = 1, 100000 do
                local i = pick(request)
                c[i] = c[i] + 1
            end
            for i, weight in ipairs(weights) do
                local want = 100000 * weight / sum
                assert.is_true(math.abs(c[i] - want) <= math.max(1, want / 100), ("%g: %d"):format(weight, c[i]))
            end
        end
    end)

    it("never picks who is out, and shares fairly again when it is back", function()
        local backends = policy.backends { { weight = 2 }, { weight = 2, eligible = 0 }, { weight = 1 } }
        local pick, request = policy.picker(PATH, {}, backends), policy.request {}
        local c = { 0, 0, 0 }
        for i = 1, 800 do
            backends[2].eligible = i > 300 and 1 or 0
            local index = pick(request)
            c[index] = c[index] + 1
        end
        assert.same({ 400, 200, 200 }, c)
    end)

    it("starts a new one slowly", function()
        local c = { 0, 0 }
        for _, i in ipairs(order(policy.backends { {}, { ramp = 0.25 } }, 1000)) do
            c[i] = c[i] + 1
        end
        assert.same({ 800, 200 }, c)
        assert.is_true(#order(policy.backends { { ramp = 0.1 } }, 3) == 3)
    end)
end)
