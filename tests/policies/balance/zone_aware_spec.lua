local policy = require "policy"

local PATH = "balance/zone_aware"

local function pick(list, zone, params)
    return policy.picker(PATH, params or {}, policy.backends(list))(policy.request { zone = zone })
end

describe("policies/" .. PATH, function()
    it("does as its examples say", function()
        assert.is_true(policy.examples(PATH) > 0)
    end)

    it("keeps a light load in its zone", function()
        local backends = policy.backends { { zone = 7 }, { zone = -8 }, { zone = 7 }, { zone = -8 } }
        local p, c = policy.picker(PATH, {}, backends), { 0, 0, 0, 0 }
        for i = 1, 1000 do
            local index = p(policy.request { zone = -8, hash = i })
            c[index] = c[index] + 1
        end
        assert.same({ 0, 500, 0, 500 }, c)
    end)

    it("spills over when its zone is full, and stays while the others are as full", function()
        assert.equal(1, pick({ { zone = 1, in_flight = 3 }, { zone = 2 } }, 1))
        assert.equal(2, pick({ { zone = 1, in_flight = 10 }, { zone = 2 } }, 1))
        assert.equal(1, pick({ { zone = 1, in_flight = 10 }, { zone = 2, in_flight = 9 } }, 1))
        assert.equal(1, pick({ { zone = 1, in_flight = 100 }, { zone = 2 } }, 1, { remote = 1000 }))
        assert.equal(2, pick({ { zone = 1, eligible = 0 }, { zone = 2, in_flight = 50 } }, 1))
    end)

    it("takes the least loaded of all when the request has no zone, or one that nobody has", function()
        for _, zone in ipairs { 0, 5 } do
            assert.equal(3, pick({ { zone = 1, in_flight = 2 }, { zone = 2, in_flight = 2 }, { zone = 1, in_flight = 1 } }, zone))
        end
    end)
end)
