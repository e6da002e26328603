local policy = require "policy"

local PATH = "balance/ewma"

local function chance(i)
    return i * 2654435761 % 4294967296
end

local function counts(backends, picks, params)
    local pick, c = policy.picker(PATH, params or {}, backends), {}
    for i = 1, #backends do
        c[i] = 0
    end
    for i = 1, picks do
        local index = pick(policy.request { hash = chance(i) })
        c[index] = c[index] + 1
    end
    return c
end

describe("policies/" .. PATH, function()
    it("does as its examples say", function()
        assert.is_true(policy.examples(PATH) > 0)
    end)

    it("weighs the expected wait", function()
        local cases = {
            { { { response_ms = 10, in_flight = 4 }, { response_ms = 30, in_flight = 0 } }, 2 },
            { { { response_ms = 10, in_flight = 3 }, { response_ms = 31, in_flight = 0 } }, 1 },
            { { { response_ms = 10, ramp = 0.1 }, { response_ms = 50 } }, 2 },
            { { { response_ms = 500, error_rate = 1 }, { response_ms = 900 } }, 2 },
            { { { response_ms = 5000, error_rate = 1 }, { response_ms = 4000 } }, 2 }, -- slower than the penalty anyway
            { { { response_ms = 1, eligible = 0 }, { response_ms = 900 } }, 2 },
        }
        for i, case in ipairs(cases) do
            for hash = 0, 3 do
                assert.equal(case[2], policy.picker(PATH, {}, policy.backends(case[1]))(policy.request { hash = hash }),
                    "case " .. i)
            end
        end
    end)

    it("gives equal ones equal shares by chance", function()
        local list = {}
        for i = 1, 10 do
            list[i] = { response_ms = 7 }
        end
        for _, c in ipairs(counts(policy.backends(list), 100000)) do
            assert.is_true(math.abs(c - 10000) < 400, c)
        end
    end)

    it("gives an unknown one a single request, and takes it for a usual one until it has answered", function()
        local backends = policy.backends { { response_ms = 10 }, { response_ms = 10 }, {} }
        local pick, request = policy.picker(PATH, {}, backends), policy.request {}
        backends[3].eligible = 0
        for _ = 1, 400 do
            pick(request) -- learns what is usual
        end
        backends[3].eligible = 1
        assert.equal(3, pick(request))
        backends[3].in_flight = 1
        for hash = 0, 20 do
            assert.is_true(pick(policy.request { hash = hash }) < 3)
        end
        backends[1].in_flight, backends[2].in_flight = 4, 4
        assert.equal(3, pick(request))
    end)

    it("compares two above 16, and never picks who is out", function()
        local list = {}
        for i = 1, 40 do
            list[i] = { response_ms = i <= 20 and 10 or 20, eligible = i % 10 == 0 and 0 or 1 }
        end
        local c = counts(policy.backends(list), 100000)
        local fast, slow = 0, 0
        for i, n in ipairs(c) do
            assert.equal(i % 10 == 0, n == 0, i)
            fast, slow = fast + (i <= 20 and n or 0), slow + (i > 20 and n or 0)
        end
        assert.is_true(fast > 2.5 * slow and slow > 10000, fast .. " " .. slow)
        for i = 1, 40 do
            list[i].eligible = i == 33 and 1 or 0
        end
        assert.equal(1000, counts(policy.backends(list), 1000)[33])
    end)

    it("answers for everything that is possible", function()
        for _, ms in ipairs { 0, 1e-9, 1, 1e12 } do
            for _, rate in ipairs { 0, 0.5, 1 } do
                for _, ramp in ipairs { 0.1, 1 } do
                    local backends = policy.backends { { response_ms = ms, error_rate = rate, ramp = ramp, in_flight = 1e6 } }
                    assert.equal(1, policy.picker(PATH, {}, backends)(policy.request { hash = 4294967295 }))
                end
            end
        end
    end)
end)
