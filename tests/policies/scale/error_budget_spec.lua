local policy = require "policy"

-- A service of instances that do 100 requests/s each and are ready after 30 s, under a demand of each tick of 5 s.
-- Shares of ticks over 90 % of what they can do, and mean instances, both after `skip` ticks.
local function serve(decide, demand, ticks, skip)
    local ready, starting, missed, billed = 4, {}, 0, 0
    for i = 1, ticks do
        while starting[1] and starting[1] <= i do
            ready = ready + 1
            table.remove(starting, 1)
        end
        local load = demand(i) / (ready * 100)
        if i > skip then
            missed = missed + (load > 0.9 and 1 or 0)
            billed = billed + ready + #starting
        end
        local want = decide(policy.view {
            now = 5 * i, rate = demand(i), cpu_percent = math.min(100 * load, 100), instances = ready,
            p95_ms = load > 0.9 and 900 or 200, desired = ready + #starting, starting = #starting, min = 1, max = 40,
        })
        local all = ready + #starting
        for _ = all + 1, want or 0 do
            starting[#starting + 1] = i + 7
        end
        if want and want < all and #starting == 0 then
            ready = want
        end
    end
    return missed / (ticks - skip), billed / (ticks - skip)
end

-- A generator of its own: the same demand on every machine.
local function noise(seed)
    local state = seed
    return function()
        state = (state * 16807) % 2147483647
        return state / 2147483647
    end
end

describe("policies/scale/error_budget", function()
    it("provides little more than a steady demand needs, once it knows", function()
        local decide = policy.new("scale/error_budget")
        local missed, instances = serve(decide, function() return 950 end, 4000, 2000)
        assert.equal(0, missed)
        assert.is_true(instances <= 12, instances) -- 10.6 at 90 %
    end)

    it("provides more for a demand that jumps, and keeps near the budget", function()
        local chance = noise(7)
        local level = 500
        local function jumps(i)
            if i % 12 == 0 then
                level = 350 + 300 * chance()
            end
            return level
        end
        local missed, instances = serve(policy.new("scale/error_budget", { budget = 2 }), jumps, 30000, 15000)
        assert.is_true(missed < 0.03, missed)
        assert.is_true(instances > 5.8 and instances < 9, instances)
    end)

    it("follows a rise by its line", function()
        local chance = noise(11)
        local function demand(i) -- five minutes up, five high, ten low
            local k = i % 240
            return (k < 60 and 300 + 20 * k or k < 120 and 1500 or 300) * (1 + 0.02 * chance())
        end
        local look, least, most = require("lib.forecast").new(), math.huge, 0
        for i = 1, 20000 do
            local up = look(5 * i, demand(i), 30, 0.95, 0.98)
            if i > 10000 and i % 240 >= 20 and i % 240 <= 40 then
                local ratio = up / (300 + 20 * (i % 240 + 8)) -- in 40 s
                least, most = math.min(least, ratio), math.max(most, ratio)
            end
        end
        assert.is_true(least > 0.97 and most < 1.15, least .. " to " .. most)
    end)

    it("goes with a stricter budget for more instances", function()
        local function run(params)
            local chance = noise(7)
            return serve(policy.new("scale/error_budget", params), function(i)
                return 500 + 60 * math.sin(i / 200) + 150 * chance() * chance()
            end, 20000, 10000)
        end
        local loose, few = run { budget = 5, least = 0.6 }
        local strict, many = run { budget = 0.2, most = 0.99 }
        assert.is_true(many > few, many .. " " .. few)
        assert.is_true(strict <= loose)
    end)

    it("counts on less when the objective is missed below the load that should keep it", function()
        local decide = policy.new("scale/error_budget", { capacity = 100 })
        local wants = {}
        for i = 1, 200 do
            wants[i] = decide(policy.view { now = 5 * i, rate = 300, cpu_percent = 50, instances = 6, p95_ms = 800 }) or 6
        end
        assert.is_true(wants[200] > wants[1] and wants[200] > 6, wants[200])
    end)

    it("works off what waits, and does not take that for a lack of capacity", function()
        local decide = policy.new("scale/error_budget", { capacity = 100 })
        assert.equal(3, (decide(policy.view { rate = 50, queue = 4000, instances = 1 })))
        local want
        for i = 1, 100 do
            want = decide(policy.view { now = 5 * i, rate = 90, queue = 20, instances = 2, p95_ms = 900 })
        end
        assert.is_nil(want)
    end)

    it("says what it does not know yet", function()
        local want, reason = policy.new("scale/error_budget")(policy.view { instances = 3 })
        assert.is_nil(want)
        assert.equal("no requests counted yet", reason)
        want, reason = policy.new("scale/error_budget")(policy.view { rate = 3, cpu_percent = 2, instances = 3 })
        assert.is_nil(want)
        assert.equal("not enough load yet to know what an instance can do", reason)
    end)
end)
