local World = require "alerts_world"
local rule = World.rule

local WHEN = { metric_path = "n", threshold = 10 }

describe("alerts over a restart", function()
    it("keep what is pending, firing and told", function()
        local w = World.new { rule("Slow", { when = WHEN, duration_ms = 60000 }), rule("High", { when = WHEN }) }
        w:shop { n = 11 }
        w:go(30000)
        assert.same({ "firing: High shop firing" }, w:heard())
        w:restart(10000)
        assert.same({ "pending", "firing" }, { w:state "Slow", w:state "High" })
        w:shop { n = 11 }
        assert.equal("fires in 20s", w:alert("Slow").next)
        w:go(20000)
        assert.same({ "firing: Slow shop firing" }, w:heard())
        w:shop { n = 1 }
        local told = w:told()
        assert.equal(2, #told)
        for _, m in ipairs(told) do
            if m.group.alerts[1].labels.alertname == "High" then
                assert.equal("2026-01-01T00:00:00.000Z", m.group.alerts[1].startsAt)
            end
        end
        w:go(5000)
        assert.same({}, w:documents())
    end)

    it("tell what was due while nobody was there, once", function()
        local w = World.new({ rule("High", { when = WHEN }) }, { group_wait_ms = 10000 })
        w:shop { n = 11 }
        w:restart()
        w:shop { n = 11 }
        w:go(30000)
        assert.same({ "firing: High shop firing" }, w:heard())
        w:restart(3600000) -- it ended meanwhile
        w:shop { n = 1 }
        w:go(30000)
        assert.same({ "resolved: High shop resolved" }, w:heard())
        w:restart()
        w:shop { n = 1 }
        w:go(30000)
        assert.same({}, w:heard())
    end)

    it("end what has no rule or no instance any more", function()
        local w = World.new { rule("High", { when = WHEN, scope = "instance" }), rule("Gone", { when = WHEN }) }
        w:shop { n = 11, instances = { a = { n = 11 } } }
        assert.equal(2, #w:told())
        w.config = require("cjson").encode(World.config { rule("High", { when = WHEN, scope = "instance" }) })
        w:restart()
        w:shop { n = 11, instances = { b = { n = 1 } } }
        local heard = w:heard()
        table.sort(heard)
        assert.same({ "resolved: Gone shop resolved", "resolved: High a resolved" }, heard)
        w:go(5000)
        assert.same({}, w:documents())
    end)

    it("keep the repeat, the cooldown, the acknowledgement and the escalation", function()
        local w = World.new({ rule("High", { when = WHEN, cooldown_ms = 600000, escalate = { after_ms = 60000, channels = { "boss" } } }) },
            { repeat_interval_ms = 3600000 })
        w:shop { n = 11 }
        w:go(90000)
        assert.equal(2, #w:told())
        w:restart()
        w:shop { n = 11 }
        w:go(1800000)
        assert.same({}, w:told())
        w:go(1800000)
        assert.same({ "repeat: High shop firing" }, w:heard())
        w:ask("acknowledge", "High")
        w:restart()
        assert.equal("ann", w:alert("High").acknowledged.who)
        w:shop { n = 11 }
        w:go(7200000)
        assert.same({}, w:told())
        w:shop { n = 1 }
        assert.equal(2, #w:told())
        w:shop { n = 11 }
        w:told()
        w:go(60000)
        w:told()
        w:shop { n = 1 }
        w:told()
        w:restart()
        w:shop { n = 11 }
        w:go(300000)
        assert.same({}, w:told())
    end)

    it("repeat no sooner after a restart or another grouping", function()
        local w = World.new({ rule("High", { when = WHEN }) }, { repeat_interval_ms = 3600000 })
        w:shop { n = 11 }
        w:go(3600000)
        assert.same({ "firing: High shop firing", "repeat: High shop firing" }, w:heard())
        w:go(1800000)
        w:restart()
        w:shop { n = 11 }
        w:go(1200000)
        assert.same({}, w:heard())
        w:apply({ rule("High", { when = WHEN }) }, { repeat_interval_ms = 3600000, group_by = { "severity" } })
        w:go(300000)
        assert.same({}, w:heard())
        w:go(600000)
        assert.same({ "repeat: High shop firing" }, w:heard())
    end)

    it("tell nothing before they know what explains what", function()
        local w = World.new({ rule("A", { when = WHEN, severity = "critical" }), rule("B", { when = WHEN }) },
            { inhibit = { { source = { alertname = "A" }, target = { alertname = "B" }, equal = {} } } })
        w:shop { n = 11 }
        assert.same({ "firing: A shop firing" }, w:heard())
        w:restart()
        w:run(60000) -- the engine is not listed yet
        assert.same({}, w:heard())
        w:shop { n = 11 }
        assert.same({}, w:heard())
    end)

    it("keep silences", function()
        local w = World.new { rule("High", { when = WHEN }) }
        local id = w:silence({ "service=shop" }, 60000).id
        w:restart(30000)
        w:shop { n = 11 }
        assert.equal(id, w:alert("High").silenced)
        assert.equal(30, w:ask("silences").silences[1].ends_in_s)
        w:run(30100)
        assert.same({ "firing: High shop firing" }, w:heard())
    end)

    it("keep that one flaps", function()
        local w = World.new { rule("High", { when = WHEN, flap = { changes = 4, window_ms = 600000 } }) }
        for _ = 1, 4 do
            w:shop { n = 11 }
            w:run(5000)
            w:shop { n = 1 }
            w:run(5000)
        end
        assert.is_true(w:alert("High").flapping)
        w:restart()
        w:shop { n = 1 }
        w:go(500000)
        assert.equal("firing", w:state "High")
        w:go(150000)
        assert.equal("inactive", w:state "High")
    end)

    it("keep anomalies and their incident", function()
        local w = World.new {}
        local views = { services = { shop = {} } }
        w:evaluate(views, { anomalies = { { service = "shop", metric = "p99", severity = "high", incident = "i1" } } })
        assert.equal(1, #w:told())
        w:restart()
        w:evaluate(views, { anomalies = { { service = "shop", metric = "rate", severity = "high", incident = "i1" } } })
        assert.same({}, w:told())
        w:go(700000)
        assert.same({ "resolved: Anomaly shop resolved" }, w:heard())
    end)

    it("keep that an anomaly is one that nobody is told of", function()
        local w = World.new {}
        local views = { services = { shop = {} } }
        local found = { anomalies = { { service = "shop", metric = "p99", severity = "high", incident = "i1", shadow = true } } }
        w:evaluate(views, found)
        w:restart()
        w:evaluate(views, {})
        assert.same({ "firing", true }, { w:alert("Anomaly").state, w:alert("Anomaly").shadow })
        w:go(700000)
        assert.same({}, w:told())
        assert.equal("inactive", w:state "Anomaly")
        found.anomalies[1].shadow = nil
        w:evaluate(views, found)
        assert.equal(1, #w:told())
    end)

    it("lose and double nothing, wherever they are killed", function()
        local all = 0
        for seed = 1, 40 do
            math.randomseed(seed)
            local w = World.new({ rule("High", { when = WHEN, scope = "instance", flap = { changes = 6, window_ms = 60000 } }) },
                { group_wait_ms = 5000, group_interval_ms = 10000, repeat_interval_ms = 86400000 })
            local told = {}
            local function take()
                for _, m in ipairs(w:told()) do
                    told[#told + 1] = m
                end
            end
            for step = 1, 60 do
                local high = step <= 55
                w:shop { instances = { a = { n = high and math.random(1, 20) or 1 }, b = { n = high and math.random(1, 20) or 1 } } }
                w:run(math.random(100, 5000))
                take()
                if math.random(4) == 1 then
                    w:restart(math.random(1, 20000))
                end
            end
            w:go(300000)
            take()
            local open, fired = {}, {}
            for _, m in ipairs(told) do
                for _, key in ipairs(m.keys) do
                    local episode, status = key:match "^(.*)/(%a+)$"
                    if status == "firing" then
                        open[episode], fired[episode] = true, true
                    else
                        assert.is_true(fired[episode], "an end without a beginning")
                        assert.is_true(open[episode], "told twice that it ended")
                        open[episode] = nil
                    end
                end
            end
            assert.same({}, open, "an end that nobody heard of")
            local ids = {}
            for _, m in ipairs(told) do
                assert.is_nil(ids[m.id])
                ids[m.id] = true
            end
            assert.same({}, w:ask("status").alerts)
            assert.equal(0, w:loose())
            all = all + #told
        end
        assert.is_true(all > 400, all)
    end)

    it("write states and what is told of them in one batch, and nothing when nothing changes", function()
        local w = World.new { rule("High", { when = WHEN }) }
        w:shop { n = 11 }
        local batches = w:batches()
        assert.is_true(batches > 0)
        w:go(60000)
        assert.equal(batches, w:batches())
        w:silence { "service=shop" }
        w:shop { n = 1 }
        assert.equal(0, w:loose())
    end)

    it("survive documents that are none", function()
        local w = World.new { rule("High", { when = WHEN }) }
        w:shop { n = 11 }
        w:told()
        for _, text in ipairs { "", "null", "[]", "{}", '{"name":"High","labels":{},"state":9,"severity":1}', '{"name":"High","labels":[],"state":1}',
            '{"key":3}', '{"matchers":["x"]}' } do
            for _, kind in ipairs { "alert_state", "silence", "other" } do
                for _, key in ipairs { "k", "group:k" } do
                    w:restore(kind, key, text)
                end
            end
        end
        assert.equal(1, #w:ask("status").alerts)
        assert.same({}, w:ask("silences").silences)
    end)
end)
