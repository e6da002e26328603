local policy = require "policy"

-- Answers to views that follow each other by 5 s.
local function play(params, views)
    return policy.play("scale/latency_slo", params, 5, views)
end

describe("policies/scale/latency_slo", function()
    it("provides for the rate, with headroom, at the load that keeps the objective", function()
        for rate, want in pairs { [100] = 2, [500] = 8, [1000] = 15, [2000] = 29 } do
            assert.equal(want, (policy.new("scale/latency_slo", { capacity = 100 })(policy.view {
                rate = rate, instances = 1 })))
        end
        assert.equal(12, (policy.new("scale/latency_slo", { capacity = 100, load = 0.5, headroom = 0.2 })(policy.view {
            rate = 500, instances = 1 })))
    end)

    it("learns what an instance can do, and says so while it does not know", function()
        local decide = policy.new("scale/latency_slo", { headroom = 0 })
        local want, reason = decide(policy.view { now = 5, rate = 10, cpu_percent = 3, instances = 4 })
        assert.is_nil(want)
        assert.equal("not enough load yet to know what an instance can do", reason)
        want, reason = decide(policy.view { now = 10, rate = 200, cpu_percent = 50, instances = 4, starting = 1 })
        assert.is_nil(want, reason) -- not while one starts
        want, reason = decide(policy.view { now = 25, rate = 450, cpu_percent = 75, instances = 6 })
        assert.equal("450 requests/s, 100 an instance", reason)
        assert.equal(5, want)
    end)

    it("goes up at once, and down by the most wanted in five minutes", function()
        local views = {}
        for i = 1, 80 do
            views[i] = { rate = i >= 2 and i <= 3 and 900 or 300, instances = 5 }
        end
        local answers = play({ capacity = 100 }, views)
        assert.equal(5, answers[1])
        assert.equal(9, answers[2])  -- 600/s as the mean of 10 s
        assert.equal(13, answers[3])
        assert.equal(13, answers[63]) -- 300 s later
        assert.equal(9, answers[64])  -- the mean of 10 s was 600 at the fourth
        assert.equal(5, answers[75])
    end)

    it("counts the queue's growth as arrivals, and what waits to be worked off", function()
        local answers = play({ capacity = 100, headroom = 0 }, {
            { rate = 100, queue = 0, instances = 2 },
            { rate = 200, queue = 500, instances = 2 },
        })
        -- 200 answered and 100 more each second that wait: of 10 s the mean is 200; 500 waiting in 20 s: 25
        assert.equal(3, answers[2])
    end)

    it("keeps to min and max", function()
        local decide = policy.new("scale/latency_slo", { capacity = 100 })
        assert.equal(4, (decide(policy.view { rate = 2000, instances = 2, max = 4 })))
        decide = policy.new("scale/latency_slo", { capacity = 100 })
        assert.equal(3, (decide(policy.view { rate = 1, instances = 5, min = 3 })))
    end)
end)
