local policy = require "policy"

local PATH = "balance/data_locality_aware"

local function pick(list, request, params)
    return policy.picker(PATH, params or {}, policy.backends(list))(policy.request(request))
end

local function asks(tags, count, more)
    local request = { data = 1, tags = tags, tag_count = count }
    for name, value in pairs(more or {}) do
        request[name] = value
    end
    return request
end

describe("policies/" .. PATH, function()
    it("does as its examples say", function()
        assert.is_true(policy.examples(PATH) > 0)
    end)

    it("goes where the data is", function()
        local cases = {
            { { { tags = 1 }, { tags = 2 }, { tags = 4 } }, asks(4, 1), 3 },
            { { { tags = 1 }, { tags = 3 }, { tags = 2 } }, asks(3, 2), 2 },
            { { { tags = 2 ^ 31 }, { tags = 1 } }, asks(2 ^ 31, 1), 1 },
            { { { tags = 2 ^ 32 - 1 }, { tags = 2 ^ 31 - 1 } }, asks(2 ^ 32 - 1, 32), 1 },
            { { { tags = 0 }, { tags = 8 } }, asks(0, 0, { implied = 8 }), 2 },
            { { { tags = 3, in_flight = 2 }, { tags = 1, in_flight = 2 } }, asks(1, 1, { implied = 2 }), 1 },
            { { { tags = 1, eligible = 0 }, { tags = 0 } }, asks(1, 1), 2 },
        }
        for i, case in ipairs(cases) do
            for hash = 0, 3 do
                case[2].hash = hash
                assert.equal(case[3], pick(case[1], case[2]), "case " .. i)
            end
        end
    end)

    it("counts a tag once that is both named and implied", function()
        local list = { { tags = 3, in_flight = 8 }, { tags = 2, in_flight = 2 }, { in_flight = 14 } }
        -- One of two missing: (2 / 4 + 1) * 2 = 3 at the second, (8 / 4 + 1) * 1 = 3 at the first.
        list[1].in_flight = 7
        assert.equal(1, pick(list, asks(3, 2, { implied = 2 })))
    end)

    it("spills over when the data's place is overrun", function()
        local list = { { tags = 1, in_flight = 0 }, {}, {} }
        local backends = policy.backends(list)
        local p, c = policy.picker(PATH, {}, backends), { 0, 0, 0 }
        for i = 1, 300 do
            local index = p(policy.request(asks(1, 1, { hash = i * 2654435761 % 2 ^ 32 })))
            c[index] = c[index] + 1
            backends[index].in_flight = backends[index].in_flight + 1
        end
        assert.is_true(c[1] > 150 and c[1] <= 201, c[1])
        assert.is_true(c[2] > 40 and c[3] > 40)
    end)

    it("goes by the expected wait when the request says nothing of data", function()
        for hash = 0, 3 do
            assert.equal(2, pick({ { response_ms = 10, in_flight = 3 }, { response_ms = 30 } }, { hash = hash }))
        end
    end)

    it("shares among those who have the data", function()
        local p, c = policy.picker(PATH, {}, policy.backends { { tags = 1 }, { tags = 1 }, {}, { tags = 3 } }), { 0, 0, 0, 0 }
        for i = 1, 30000 do
            local index = p(policy.request(asks(1, 1, { hash = i * 2654435761 % 2 ^ 32 })))
            c[index] = c[index] + 1
        end
        assert.equal(0, c[3])
        for _, i in ipairs { 1, 2, 4 } do
            assert.is_true(c[i] > 7000, c[i])
        end
    end)

    -- 10 for each matching tag, 5 below 80 % of the connections, max(0, 10 - seconds) when there is a mean.
    it("adds up points with the seed's scoring", function()
        local seed = { scoring = "seed" }
        local cases = {
            { { { tags = 1 }, { tags = 3 } }, asks(3, 2), 2 },
            { { { tags = 1, in_flight = 80 }, { tags = 1, in_flight = 79 } }, asks(1, 1), 2 },
            { { {}, { response_mean_ms = 9000 } }, asks(1, 1), 2 }, -- 5 against 5 + 1
            { { { tags = 1 }, { response_mean_ms = 1 } }, asks(1, 1), 1 }, -- 15 against 14.999
            { { { tags = 1, in_flight = 90 }, { response_mean_ms = 1 } }, asks(1, 1), 2 }, -- 10 against 14.999
            { { { tags = 4 }, { tags = 4 } }, asks(4, 1), 1 },
            { { { tags = 2 }, {} }, asks(0, 0, { implied = 2 }), 1 }, -- data sets give no points
            { { { response_mean_ms = 7 }, { response_mean_ms = 6 }, { response_mean_ms = 6 } }, {}, 2 },
            { { { eligible = 0, tags = 1 }, {} }, asks(1, 1), 2 },
        }
        for i, case in ipairs(cases) do
            for hash = 0, 3 do
                case[2].hash = hash
                assert.equal(case[3], pick(case[1], case[2], seed), "case " .. i)
            end
        end
    end)
end)
