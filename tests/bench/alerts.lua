-- What an evaluation of alert rules costs: 1,000 rules, each at 100 instances, every rule its own number.
--
--     TIDEGATE_BUILD=build/release luajit tests/bench/alerts.lua [ROUNDS]
package.path = "tests/support/?.lua;" .. package.path
local World = require "alerts_world"

local RULES, INSTANCES = 1000, 100
local rounds = tonumber(arg[1]) or 100

local function views(firing)
    local instances = {}
    for i = 1, INSTANCES do
        local numbers = {}
        for k = 1, RULES do
            numbers["m" .. k] = k <= firing and 2 or 0.5
        end
        instances["shop-" .. i] = { prometheus = numbers }
    end
    return { services = { shop = { instances = instances } } }
end

for _, firing in ipairs { 0, 1, 10 } do
    local rules = {}
    for i = 1, RULES do
        rules[i] = World.rule("R" .. i, { scope = "instance", duration_ms = 1000, cooldown_ms = 300000,
            flap = { changes = 6, window_ms = 600000 },
            when = { metric_path = "prometheus.m" .. i, threshold = 1 } })
    end
    local w = World.new(rules, { group_wait_ms = 10000, group_interval_ms = 300000 })
    local v = views(firing)
    w:evaluate(v)
    w:cost_us(v, 3)
    local best = math.huge
    for _ = 1, rounds do
        best = math.min(best, w:cost_us(v, 1))
    end
    print(("%d rules x %d instances, %4d firing: %.2f ms an evaluation at best, %.2f ms on average"):format(RULES,
        INSTANCES, w:count "firing", best / 1000, w:cost_us(v, rounds) / 1000 / rounds))
end
