local policy = require "policy"

local PATH = "anomaly/record"

-- 400 points around `usual`, then more of them.
local function series(usual, spread, ...)
    local values = {}
    for i = 1, 400 do
        values[i] = usual + spread * (i * 7 % 11 - 5) / 5
    end
    for _, value in ipairs { ... } do
        values[#values + 1] = value
    end
    return values
end

describe("policies/" .. PATH, function()
    it("does as its examples say", function()
        assert.is_true(policy.examples(PATH) > 0)
    end)

    it("watches figures of the service and resources of its instances", function()
        local found = {}
        for _, metric in ipairs(policy.new(PATH).metrics) do
            found[metric.name] = metric.per
            assert.same({ metric.name }, metric.of)
        end
        assert.same({ ["performance.p99"] = "service", ["performance.error_rate"] = "service",
            ["performance.throughput"] = "service", ["traffic.queue"] = "service",
            ["resources.cpu_usage"] = "instance", ["resources.memory_usage"] = "instance" }, found)
    end)

    it("refuses a metric that it cannot read", function()
        for _, text in ipairs { "performance.p99 upwards", "p99 up x", "", "p99 up 1 2" } do
            local ok, why = pcall(policy.new, PATH, { metrics = { text } })
            assert.is_false(ok, text)
            assert.equal(('metrics: expected "path [up|down|both [least effect]]", got "%s"'):format(text), why)
        end
    end)

    for _, case in ipairs {
        -- metric, usual, spread, value, anomaly
        { "performance.p99", 0.1, 0.01, 0.4, true }, { "performance.p99", 0.1, 0.01, 0.01, false },
        { "performance.p99", 0.001, 0.0001, 0.015, false }, { "performance.throughput", 100, 10, 1, true },
        { "performance.throughput", 100, 10, 400, true }, { "performance.error_rate", 0, 0, 0.5, true },
        { "performance.error_rate", 0, 0, 0.005, false }, { "resources.cpu_usage", 10, 1, 95, true },
        { "resources.cpu_usage", 2, 1, 9, false }, { "value", 2, 1, 9, true },
    } do
        local metric, usual, spread, value, want = unpack(case)
        it(("%s: %g among %g"):format(metric, value, usual), function()
            local scores, note = policy.scores(policy.new(PATH), metric, series(usual, spread, value))
            assert.equal(want, scores[401] >= 1)
            if want then
                assert.matches(metric, note.description, 1, true)
                assert.matches(value > usual and "above" or "below", note.description)
                assert.is_string(note.type)
            end
        end)
    end

    it("is high when the score is, or when many series are unusual at once", function()
        local detects = policy.new(PATH)
        local _, small = policy.scores(policy.new(PATH, { high = 1000 }), "value", series(100, 10, 900))
        local _, big = policy.scores(detects, "value", series(100, 10, 900))
        assert.same({ "medium", "high" }, { small.severity, big.severity })
        local function severities(count)
            local list = {}
            for i = 1, count do
                list[i] = { severity = "medium" }
            end
            return detects.combine(list)[1].severity
        end
        assert.same({ "medium", "medium", "high", "high" }, { severities(1), severities(2), severities(3), severities(9) })
    end)

    it("follows its parameters", function()
        local values = series(100, 10, 130, 131)
        assert.is_true(policy.scores(policy.new(PATH), "value", values)[401] >= 1)
        assert.is_true(policy.scores(policy.new(PATH, { strictness = 100 }), "value", values)[401] < 1)
        assert.is_true(policy.scores(policy.new(PATH, { warm_up = 500 }), "value", values)[401] < 1)
        local own = policy.new(PATH, { metrics = { "data_quality.completeness down 20" } })
        assert.is_true(policy.scores(own, "data_quality.completeness", series(100, 1, 85))[401] < 1)
        assert.is_true(policy.scores(own, "data_quality.completeness", series(100, 1, 75))[401] >= 1)
        assert.is_true(policy.scores(own, "data_quality.completeness", series(100, 1, 175))[401] < 1)
    end)
end)
