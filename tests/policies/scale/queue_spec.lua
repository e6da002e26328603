local policy = require "policy"

describe("policies/scale/queue", function()
    local cases = {
        { "keeps up with what comes", { rate = 95, instances = 1 }, 10 },
        { "works off what waits within a minute", { rate = 0, queue = 6000, instances = 1 }, 10 },
        { "does both", { rate = 50, queue = 3000, instances = 1 }, 10 },
        { "not above max", { rate = 95, instances = 1, max = 4 }, 4 },
        { "not below min", { rate = 5, instances = 4, min = 3 }, 3 },
        { "stays when it is right", { rate = 95, instances = 10 }, nil },
        { "nothing without figures", { instances = 10 }, nil },
    }
    for _, case in ipairs(cases) do
        it(case[1], function()
            assert.equal(case[3], (policy.new("scale/queue", { each = 10 })(policy.view(case[2]))))
        end)
    end

    it("counts what the queue grows by as coming, and goes down after five minutes", function()
        local decide = policy.new("scale/queue", { each = 10, drain = 100 })
        assert.is_nil((decide(policy.view { now = 5, rate = 20, queue = 0, instances = 2 })))
        local want, reason = decide(policy.view { now = 10, rate = 20, queue = 100, instances = 2 })
        assert.equal(5, want) -- 20 and 20 come, and one to work off
        assert.equal("40 come a second, 100 wait", reason)
        assert.is_nil((decide(policy.view { now = 310, rate = 20, queue = 0, instances = 5 })))
        assert.equal(2, (decide(policy.view { now = 315, rate = 20, queue = 0, instances = 5 })))
    end)
end)
