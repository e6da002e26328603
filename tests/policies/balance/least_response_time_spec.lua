local policy = require "policy"

local PATH = "balance/least_response_time"

local function pick(list, params, hash)
    return policy.picker(PATH, params or {}, policy.backends(list))(policy.request { hash = hash or 0 })
end

describe("policies/" .. PATH, function()
    it("does as its examples say", function()
        assert.is_true(policy.examples(PATH) > 0)
    end)

    it("takes what is in flight into account", function()
        for hash = 0, 2 do
            assert.equal(2, pick({ { response_ms = 10, in_flight = 3 }, { response_ms = 30 } }, {}, hash))
            assert.equal(1, pick({ { response_ms = 10, weight = 4, in_flight = 3 }, { response_ms = 11 } }, {}, hash))
            assert.equal(2, pick({ { response_ms = 1, eligible = 0 }, { response_ms = 3000 } }, {}, hash))
        end
    end)

    it("shares among equal ones, known or not", function()
        for _, ms in ipairs { 0, 5 } do
            local list, c = {}, {}
            for i = 1, 5 do
                list[i], c[i] = { response_ms = ms }, 0
            end
            local p = policy.picker(PATH, {}, policy.backends(list))
            for i = 1, 1000 do
                local index = p(policy.request { hash = i })
                c[index] = c[index] + 1
            end
            assert.same({ 200, 200, 200, 200, 200 }, c)
        end
    end)

    it("is the plain mean with the seed's scoring: first of the least", function()
        local seed = { scoring = "seed" }
        for hash = 0, 3 do
            assert.equal(2, pick({ { response_mean_ms = 9 }, { response_mean_ms = 8, in_flight = 99 },
                { response_mean_ms = 8 } }, seed, hash))
            assert.equal(1, pick({ {}, {}, {} }, seed, hash))
            assert.equal(3, pick({ { response_mean_ms = 1 }, { eligible = 0 }, {} }, seed, hash))
        end
    end)
end)
