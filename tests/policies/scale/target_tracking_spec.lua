local policy = require "policy"

-- Answers to views that follow each other by 15 s.
local function play(params, views)
    return policy.play("scale/target_tracking", params, 15, views)
end

describe("policies/scale/target_tracking", function()
    local cases = {
        { "in proportion", { cpu_percent = 140, instances = 4 }, 8 },
        { "rounds up", { cpu_percent = 78, instances = 10 }, 12 },
        { "stays inside the tolerance", { cpu_percent = 76.9, instances = 10 }, nil },
        { "stays inside it below, too", { cpu_percent = 63.1, instances = 10 }, nil },
        { "goes down in proportion", { cpu_percent = 35, instances = 10 }, 5 },
        { "at most double or four more", { cpu_percent = 700, instances = 3 }, 7 },
        { "at most double", { cpu_percent = 700, instances = 10 }, 20 },
        { "not above max", { cpu_percent = 140, instances = 10, max = 15 }, 15 },
        { "not below min", { cpu_percent = 7, instances = 10, min = 6 }, 6 },
        { "nothing without samples", { instances = 10 }, nil },
        { "nothing without instances", { cpu_percent = 90, instances = 0 }, nil },
        { "counts those that start as idle on the way up", { cpu_percent = 90, instances = 4, starting = 4, desired = 8 }, nil },
    }
    for _, case in ipairs(cases) do
        it(case[1], function()
            assert.equal(case[3], (policy.new("scale/target_tracking")(policy.view(case[2]))))
        end)
    end

    it("goes down by the most that was wanted in five minutes", function()
        local views = { { cpu_percent = 70, instances = 8 } }
        for i = 2, 23 do
            views[i] = { cpu_percent = i == 10 and 56 or 35, instances = 8 }
        end
        local answers = play({}, views)
        assert.equal(8, answers[21]) -- 300 s after the first
        assert.equal(7, answers[22]) -- 56 % of eight, until 300 s after it
        assert.equal(7, answers[23])
    end)

    it("waits with an up for its window", function()
        local views = {}
        for i = 1, 5 do
            views[i] = { cpu_percent = i == 1 and 70 or 140, instances = 4 }
        end
        assert.same({ 4, 4, 4, 8, 8 }, play({ stabilize_up = 30 }, views))
    end)

    it("limits the change of each period", function()
        local views = {}
        for i = 1, 4 do
            views[i] = { cpu_percent = 70 * 100 / 4, instances = 4 }
        end
        assert.same({ 8, 8, 8, 16 }, play({ period = 30 }, views))
        for i = 1, 3 do
            views[i] = { cpu_percent = 7, instances = 10 }
        end
        views[4] = nil
        assert.same({ 9, 9, 9 }, play({ down_percent = 10, period = 60, stabilize_down = 0 }, views))
    end)

    it("tracks rate and requests in flight of each", function()
        assert.equal(6, (policy.new("scale/target_tracking", { metric = "rate", target = 50 })(policy.view {
            rate = 300, instances = 3 })))
        assert.equal(2, (policy.new("scale/target_tracking", { metric = "memory" })(policy.view {
            memory_percent = 35, instances = 4 })))
    end)

    it("says why", function()
        local _, reason = policy.new("scale/target_tracking")(policy.view { cpu_percent = 91, instances = 4 })
        assert.equal("cpu at 1.30 of its target", reason)
    end)
end)
