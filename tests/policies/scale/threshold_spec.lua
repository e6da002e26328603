local policy = require "policy"

local PATH = "scale/threshold"

-- instances, min, max, cpu, memory -> want, reason
local cases = {
    { 2, 2, 20, 91.0, 40.1, 3, "High resource usage - CPU: 91.0%, Memory: 40.1%" },
    { 2, 2, 20, 10.0, 80.1, 3, "High resource usage - CPU: 10.0%, Memory: 80.1%" },
    { 19, 2, 20, 99.96, 99, 20, "High resource usage - CPU: 100.0%, Memory: 99.0%" },
    { 20, 2, 20, 99, 99, nil, "Resource usage within normal ranges" },
    { 3, 2, 20, 75, 80, nil, "Resource usage within normal ranges" }, -- at, not above
    { 3, 2, 20, 37.4, 39.9, 2, "Low resource usage - CPU: 37.4%, Memory: 39.9%" },
    { 3, 2, 20, 37.5, 10, nil, "Resource usage within normal ranges" }, -- at half, not below
    { 3, 2, 20, 10, 40, nil, "Resource usage within normal ranges" },
    { 2, 2, 20, 0, 0, nil, "Resource usage within normal ranges" },
    { 1, 2, 20, 0, 0, nil, "Resource usage within normal ranges" },
    { 3, 2, 20, nil, 10, nil, "no samples yet" },
    { 3, 2, 20, 99, nil, nil, "no samples yet" },
}

describe("policies/" .. PATH, function()
    it("does as its examples say", function()
        assert.is_true(policy.examples(PATH) > 0)
    end)

    for _, case in ipairs(cases) do
        local instances, min, max, cpu, memory, want, reason = unpack(case, 1, 7)
        it(("%d in %d..%d, cpu %s, memory %s"):format(instances, min, max, tostring(cpu), tostring(memory)), function()
            local got, why = policy.new(PATH)(policy.view {
                instances = instances, min = min, max = max, cpu_percent = cpu, memory_percent = memory,
            })
            assert.equal(want, got)
            assert.equal(reason, why)
        end)
    end

    it("follows its parameters", function()
        local decide = policy.new(PATH, { cpu = 20, memory = 30 })
        assert.equal(4, (decide(policy.view { instances = 3, cpu_percent = 21, memory_percent = 1 })))
        assert.equal(4, (decide(policy.view { instances = 3, cpu_percent = 1, memory_percent = 31 })))
        assert.equal(2, (decide(policy.view { instances = 3, cpu_percent = 9.9, memory_percent = 14.9 })))
        assert.is_nil((decide(policy.view { instances = 3, cpu_percent = 10, memory_percent = 1 })))
    end)

    it("moves one step at most, stays within bounds, and says why", function()
        local decide = policy.new(PATH)
        for instances = 1, 6 do
            for cpu = 0, 150, 7.5 do
                for memory = 0, 110, 10 do
                    local want, why = decide(policy.view {
                        instances = instances, min = 2, max = 5, cpu_percent = cpu, memory_percent = memory,
                    })
                    assert.is_string(why)
                    if want then
                        assert.equal(1, math.abs(want - instances))
                        assert.is_true(want > instances and want <= 5 or want < instances and want >= 2)
                    end
                end
            end
        end
    end)
end)
