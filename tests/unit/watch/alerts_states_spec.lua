local World = require "alerts_world"
local rule = World.rule

local WHEN = { metric_path = "n", threshold = 10 }

local function world(over, alerting)
    over = over or {}
    over.when = over.when or WHEN
    return World.new({ rule("High", over) }, alerting)
end

describe("alert states", function()
    it("wait for the duration, and start again when it is interrupted", function()
        local w = world { duration_ms = 20000 }
        w:shop { n = 11 }
        assert.equal("pending", w:state "High")
        assert.equal("fires in 20s", w:alert("High").next)
        w:go(15000)
        assert.equal("pending", w:state "High")
        w:shop { n = 10 }
        assert.equal("inactive", w:state "High")
        w:shop { n = 11 }
        w:go(15000)
        assert.equal("pending", w:state "High")
        assert.same({}, w:heard())
        w:go(5000)
        assert.equal("firing", w:state "High")
        assert.same({ "firing: High shop firing" }, w:heard())
    end)

    it("fire on for keep_firing_for", function()
        local w = world { keep_firing_for_ms = 60000 }
        w:shop { n = 11 }
        w:shop { n = 1 }
        w:go(55000)
        assert.equal("firing", w:state "High")
        assert.equal("ends in 5s", w:alert("High").next)
        w:go(5000)
        assert.equal("inactive", w:state "High")
        assert.same({ "firing: High shop firing", "resolved: High shop resolved" }, w:heard())
    end)

    it("end only beyond the clear threshold", function()
        local w = world { when = { metric_path = "n", threshold = 10, clear = 5 } }
        w:shop { n = 9 }
        assert.equal("inactive", w:state "High")
        w:shop { n = 11 }
        w:shop { n = 6 }
        assert.equal("firing", w:state "High")
        w:shop { n = 5 }
        assert.equal("inactive", w:state "High")
        w:shop { n = 9 }
        assert.equal("inactive", w:state "High")
    end)


    it("tell no end of what nobody heard of", function()
        local w = world({ scope = "instance" }, { group_wait_ms = 10000 })
        w:shop { instances = { a = { n = 11 }, b = { n = 11 } } }
        assert.equal(2, w:count "firing")
        w:run(5000)
        w:shop { instances = { b = { n = 1 } } } -- `a` is gone, `b` is well
        assert.same({}, w:ask("status").alerts)
        w:go(30000)
        assert.same({}, w:heard())
    end)

    it("tell the end of what was told when its instance is gone", function()
        local w = world { scope = "instance", keep_firing_for_ms = 600000 }
        w:shop { instances = { a = { n = 11 } } }
        assert.same({ "firing: High a firing" }, w:heard())
        w:shop { instances = { b = { n = 1 } } }
        assert.same({ "resolved: High a resolved" }, w:heard())
        assert.equal("inactive", w:state "High")
    end)

    it("keep everything when there are no views", function()
        local w = world { scope = "instance" }
        w:shop { instances = { a = { n = 11 } } }
        w:evaluate(nil)
        assert.equal("firing", w:state "High")
    end)

    local FLAP = { changes = 6, window_ms = 600000 }

    for _, interval in ipairs { 1000, 5000 } do
        for _, high_ms in ipairs { 600, 3000, 5400 } do
            for name, alerting in pairs { ["as shipped"] = { group_wait_ms = 10000, group_interval_ms = 300000 },
                ["telling at once"] = { group_wait_ms = 0, group_interval_ms = 1000 } } do
                it(("tell one firing and one resolved of 100 crossings in ten minutes (%d ms of 6 s, every %d ms, %s)"):format(
                    high_ms, interval, name), function()
                    alerting.interval_ms = interval
                    local w = world({ flap = FLAP, cooldown_ms = 300000 }, alerting)
                    for at = 0, 600000 - interval, interval do
                        w:shop { n = at % 6000 < high_ms and 11 or 1 }
                        w:run(interval)
                    end
                    for _ = 1, 1200000, interval do
                        w:shop { n = 1 }
                        w:run(interval)
                    end
                    assert.same({ "firing: High shop firing", "resolved: High shop resolved" }, w:heard())
                    assert.equal("inactive", w:state "High")
                end)
            end
        end
    end

    it("flap from so many changes on, their firing included", function()
        local w = world { flap = { changes = 4, window_ms = 600000 } }
        for i, n in ipairs { 11, 1, 11, 1 } do
            w:shop { n = n }
            assert.equal(i == 4 or nil, w:alert("High").flapping)
        end
    end)

    it("end soon when they do not flap", function()
        local w = world { flap = FLAP }
        w:shop { n = 11 }
        w:go(60000)
        w:shop { n = 1 }
        assert.equal("firing", w:state "High")
        w:go(25000)
        assert.equal("firing", w:state "High")
        w:go(5000)
        assert.equal("inactive", w:state "High")
    end)

    it("do not tell another firing within the cooldown, and tell it then if it lasts", function()
        local w = world { cooldown_ms = 300000 }
        w:shop { n = 11 }
        w:run(5000)
        w:shop { n = 1 }
        assert.same({ "firing: High shop firing", "resolved: High shop resolved" }, w:heard())
        w:run(5000)
        w:shop { n = 11 }
        w:run(5000)
        w:shop { n = 1 }
        w:run(5000)
        w:shop { n = 11 }
        w:go(250000)
        assert.same({}, w:heard())
        assert.equal("told in 30s", w:alert("High").next)
        w:go(30000)
        assert.same({ "firing: High shop firing" }, w:heard())
    end)

    it("have labels of their own beside those that every alert has", function()
        local w = world { scope = "instance", severity = "critical", labels = { team = "data", tier = 1, alertname = "x" } }
        w:shop { instances = { a = { n = 11 } } }
        assert.same({ alertname = "High", service = "shop", instance = "a", severity = "critical", team = "data", tier = "1" },
            w:alert("High").labels)
    end)

    it("go on over a reload as long as their labels stay, and end with their rule", function()
        local w = world { duration_ms = 5000, scope = "instance" }
        w:shop { instances = { a = { n = 11 } } }
        w:go(5000)
        assert.same({ "firing: High a firing" }, w:heard())
        w:apply { rule("Other", { when = WHEN }), rule("High", { when = { metric_path = "n", threshold = 8 }, scope = "instance" }) }
        assert.equal("firing", w:state "High")
        w:go(5000)
        assert.same({}, w:heard())
        w:apply { rule("High", { when = WHEN, scope = "instance", severity = "critical" }) }
        w:run(1000)
        assert.same({ "resolved: High a resolved" }, w:heard())
        w:go(5000)
        assert.same({ "firing: High a firing" }, w:heard())
        w:apply {}
        w:run(1000)
        assert.same({ "resolved: High a resolved" }, w:heard())
        assert.same({}, w:ask("status").alerts)
    end)

    it("are the same when their rule comes back before its end was told", function()
        local w = world(nil, { group_interval_ms = 300000 })
        w:shop { n = 11 }
        assert.equal(1, #w:told())
        w:apply({}, { group_interval_ms = 300000 })
        assert.equal("resolved", w:state "High")
        w:apply({ rule("High", { when = WHEN }) }, { group_interval_ms = 300000 })
        w:go(600000)
        assert.same({ {}, 1, "firing" }, { w:told(), #w:ask("status").alerts, w:state "High" })
    end)

    it("say what happened", function()
        local w = world { message = "{{value}} is much" }
        w:shop { n = 11 }
        w:shop { n = 1 }
        assert.equal("alert firing|High|shop||11 is much|\nalert resolved|High|shop||11 is much|\n", w:facts())
    end)
end)
