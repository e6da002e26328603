local policy = require "policy"

local PATH = "anomaly/zscore"

local function random(seed)
    local state = seed
    return function()
        state = (state * 1103515245 + 12345) % 2147483648
        return state / 2147483648
    end
end

-- Mean and sample deviation of values[from .. to], computed directly.
local function direct(values, from, to)
    local sum, squares, count, same = 0, 0, to - from + 1, true
    for i = from, to do
        sum, same = sum + values[i], same and values[i] == values[from]
    end
    if same then
        return values[from], 0 -- without rounding
    end
    for i = from, to do
        squares = squares + (values[i] - sum / count) ^ 2
    end
    return sum / count, math.sqrt(squares / (count - 1))
end

-- What the seed's text computes for the value after values[1 .. n - 1]: its z, or nil.
local function seed_z(values, n, window)
    local from = math.max(1, n - window)
    if n - from < 10 then
        return nil
    end
    local mean, sd = direct(values, from, n - 1)
    return sd > 0 and math.abs(values[n] - mean) / sd or nil
end

-- Series that are hard on sliding sums.
local kinds = {
    noise = function(_, chance) return 5 + chance() end,
    offset = function(_, chance) return 1e9 + chance() end,
    outlier = function(i, chance) return i % 1500 == 700 and 1e12 or chance() end,
    steps = function(i) return math.floor(i / 300) * 1e6 end,
    constant = function(i) return i < 1200 and 0.1 or i < 2600 and 0.3 or 0.1 end,
    growing = function(i, chance) return 1.01 ^ i * (1 + chance() / 10) end,
}

describe("policies/" .. PATH, function()
    it("does as its examples say", function()
        assert.is_true(policy.examples(PATH) > 0)
    end)

    for name, make in pairs(kinds) do
        it("slides as a direct computation does: " .. name, function()
            local chance, values = random(7), {}
            for i = 1, 3500 do
                values[i] = make(i, chance)
            end
            local scores = policy.scores(policy.new(PATH), "response_time", values)
            for i = 1, #values do
                local z = (i < 1100 or i % 13 == 0) and seed_z(values, i, 1000) or nil
                if z then
                    local want = z / 3
                    if want > 0.999 and want <= 1 then
                        want = 0.999
                    end
                    assert.is_true(math.abs(scores[i] - want) <= 1e-5 * (1 + want),
                        ("point %d: %.12g, directly %.12g"):format(i, scores[i], want))
                elseif i <= 10 then
                    assert.equal(0, scores[i])
                end
            end
        end)
    end

    it("says nothing before ten points, nor of a constant", function()
        local scores = policy.scores(policy.new(PATH), "response_time", { 1, 2, 1, 2, 1, 2, 1, 2, 1, 500 })
        assert.equal(0, scores[10])
        local same = {}
        for i = 1, 3000 do
            same[i] = 0.1
        end
        same[3001] = 99
        assert.equal(0, policy.scores(policy.new(PATH), "response_time", same)[3001])
    end)

    -- Twenty points 1 3 1 3 ...: mean 2, sample deviation 1.026.
    for _, case in ipairs {
        { "response_time", 2 + 1.026 * 2.9, nil }, { "response_time", 2 + 1.026 * 3.1, "medium" },
        { "response_time", 2 - 1.026 * 3.1, "medium" }, { "response_time", 2 + 1.026 * 4.1, "high" },
        { "throughput", 2 + 1.026 * 2.4, nil }, { "throughput", 2 + 1.026 * 2.6, "medium" },
        { "throughput", 2 - 1.026 * 4.1, "high" }, { "value", 2 + 1.026 * 2.9, nil },
        { "value", 2 + 1.026 * 3.1, "medium" },
    } do
        local metric, value, want = unpack(case, 1, 3)
        it(("%s %.2f: %s"):format(metric, value, tostring(want)), function()
            local values = {}
            for i = 1, 20 do
                values[i] = i % 2 * 2 + 1
            end
            values[21] = value
            local scores, note = policy.scores(policy.new(PATH), metric, values)
            assert.equal(want ~= nil, scores[21] >= 1)
            assert.equal(want, note and note.severity)
        end)
    end

    for _, case in ipairs {
        { "error_rate", 0.05, nil }, { "error_rate", 0.051, "error_rate_anomaly" },
        { "resources", 90, nil }, { "resources", 90.1, "resource_usage_anomaly" },
    } do
        local metric, value, want = unpack(case, 1, 3)
        it(("%s %g: %s"):format(metric, value, tostring(want)), function()
            local values = {}
            for i = 1, 20 do
                values[i] = value * (i % 2 == 0 and 0.99 or 0.9)
            end
            values[21] = value
            local scores, note = policy.scores(policy.new(PATH), metric, values)
            assert.equal(want ~= nil, scores[21] >= 1)
            assert.equal(want, note and note.type)
        end)
    end

    it("takes the mean of CPU and memory", function()
        local metrics = policy.new(PATH).metrics
        assert.same({ "resources.cpu_usage", "resources.memory_usage" }, metrics[4].of)
        assert.same({ "response_time", "throughput", "error_rate", "resources" },
            { metrics[1].name, metrics[2].name, metrics[3].name, metrics[4].name })
    end)
end)
