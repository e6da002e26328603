local policy = require "policy"

local PATH = "balance/least_connections"

describe("policies/" .. PATH, function()
    it("does as its examples say", function()
        assert.is_true(policy.examples(PATH) > 0)
    end)

    it("prefers fewer in flight, by weight", function()
        local cases = {
            { { { in_flight = 5 }, { in_flight = 4 }, { in_flight = 6 } }, 2 },
            { { { in_flight = 4, weight = 1 }, { in_flight = 8, weight = 2 } }, 2 }, -- 5/1 against 9/2
            { { { in_flight = 0, weight = 1 }, { in_flight = 0, weight = 3 } }, 2 },
            { { { in_flight = 0, eligible = 0 }, { in_flight = 99 } }, 2 },
        }
        for i, case in ipairs(cases) do
            for hash = 0, 3 do
                local pick = policy.picker(PATH, {}, policy.backends(case[1]))
                assert.equal(case[2], pick(policy.request { hash = hash }), "case " .. i)
            end
        end
    end)

    it("has a finite score for everything that is possible", function()
        local score = policy.new(PATH).score
        for _, in_flight in ipairs { 0, 1, 1e9 } do
            for _, weight in ipairs { 0.001, 1, 1000 } do
                local s = score(policy.backends({ { in_flight = in_flight, weight = weight } })[1], policy.request {})
                assert.is_true(s > 0 and s < math.huge)
            end
        end
        assert.equal(math.huge, score(policy.backends({ { weight = 0 } })[1], policy.request {}))
    end)

    it("spreads equal ones evenly, gaps or not", function()
        local list = {}
        for i = 1, 10 do
            list[i] = { eligible = (i == 3 or i == 4 or i == 5) and 0 or 1, in_flight = i == 9 and 7 or 0 }
        end
        local pick, c = policy.picker(PATH, {}, policy.backends(list)), {}
        for i = 1, 6000 do
            local index = pick(policy.request { hash = i * 2654435761 % 4294967296 })
            c[index] = (c[index] or 0) + 1
        end
        assert.same({ [1] = 1000, [2] = 1000, [6] = 1000, [7] = 1000, [8] = 1000, [10] = 1000 }, c)
    end)

    it("fills by weight when requests stay", function()
        local backends = policy.backends { { weight = 1 }, { weight = 2 }, { weight = 5 } }
        local pick = policy.picker(PATH, {}, backends)
        for _ = 1, 800 do
            local chosen = backends[pick(policy.request {})]
            chosen.in_flight = chosen.in_flight + 1
        end
        for i, share in ipairs { 100, 200, 500 } do
            assert.is_true(math.abs(backends[i].in_flight - share) <= 8, backends[i].in_flight)
        end
    end)
end)
