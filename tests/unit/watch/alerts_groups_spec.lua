local World = require "alerts_world"
local rule = World.rule

local WHEN = { metric_path = "n", threshold = 10 }
local SHIPPED = { group_wait_ms = 10000, group_interval_ms = 300000 }

-- Instances by value: { a = 11 } is one that is too high.
local function instances(values)
    local out = {}
    for name, n in pairs(values) do
        out[name] = { n = n }
    end
    return { instances = out }
end

local function world(alerting, over)
    over = over or {}
    over.when, over.scope = WHEN, "instance"
    return World.new({ rule("High", over) }, alerting)
end

describe("alert groups", function()
    it("tell what comes within group_wait at once", function()
        local w = world(SHIPPED)
        w:shop(instances { a = 11, b = 1 })
        w:run(5000)
        w:shop(instances { a = 11, b = 12 })
        w:run(4900)
        assert.same({}, w:told())
        w:run(100)
        local told = w:told()
        assert.same({ "firing: High a firing, High b firing" }, World.short(told))
    end)

    it("have the shape of Alertmanager's webhook, version 4", function()
        local w = world({ channels = { "ops", "log" } }, { message = "{{instance}}: {{value}}",
            annotations = { runbook = "http://wiki/{{name}}" }, labels = { team = "data" } })
        w:shop(instances { a = 11, b = 12 })
        local m = w:told()[1]
        local g = m.group
        assert.same({ "ops", "log" }, m.channels)
        assert.same({ "4", "firing", "tidegate", "", 0 },
            { g.version, g.status, g.receiver, g.externalURL, g.truncatedAlerts })
        assert.same({ alertname = "High", service = "shop" }, g.groupLabels)
        assert.same({ alertname = "High", service = "shop", severity = "warning", team = "data" }, g.commonLabels)
        assert.same({ runbook = "http://wiki/High" }, g.commonAnnotations)
        assert.equal('{ops,log}:{alertname="High", service="shop"}', g.groupKey)
        table.sort(g.alerts, function(x, y) return x.labels.instance < y.labels.instance end)
        local one = g.alerts[1]
        assert.same({ alertname = "High", service = "shop", severity = "warning", team = "data", instance = "a" }, one.labels)
        assert.same({ summary = "a: 11", runbook = "http://wiki/High" }, one.annotations)
        assert.same({ "firing", "2026-01-01T00:00:00.000Z", "0001-01-01T00:00:00Z", "" },
            { one.status, one.startsAt, one.endsAt, one.generatorURL })
        assert.matches("^%x+$", one.fingerprint)
        assert.equal(16, #one.fingerprint)
        assert.equal(one.fingerprint .. "/1767225600000/firing", m.keys[1]:find(one.fingerprint, 1, true) and m.keys[1] or m.keys[2])
        w:run(5000)
        w:shop(instances { a = 1, b = 12 })
        m = w:told()[1]
        assert.equal("firing", m.group.status) -- one still does
        assert.equal("resolved", m.reason)
        assert.same({ "resolved", "2026-01-01T00:00:05.000Z" }, { m.group.alerts[2].status, m.group.alerts[2].endsAt })
        w:shop(instances { a = 1, b = 1 })
        assert.equal("resolved", w:told()[1].group.status)
    end)

    it("are made by the labels asked for", function()
        local rules = { rule("A", { when = WHEN }), rule("B", { when = WHEN }) }
        local views = { services = { shop = { n = 11 }, cart = { n = 11 } } }
        for count, by in pairs { [4] = { "alertname", "service" }, [2] = { "service" }, [1] = {} } do
            local w = World.new(rules, { group_by = by })
            w:evaluate(views)
            assert.equal(count, #w:told(), table.concat(by, " "))
        end
    end)

    it("go to the channels of their alerts", function()
        local w = World.new({ rule("A", { when = WHEN, channels = { "boss" } }), rule("B", { when = WHEN }) }, { group_by = {} })
        w:shop { n = 11 }
        local told = w:told()
        table.sort(told, function(x) return x.channels ~= nil end)
        assert.same({ "firing: A shop firing", "firing: B shop firing" }, World.short(told))
        assert.same({ "boss" }, told[1].channels)
        assert.is_nil(told[2].channels)
    end)

    it("tell changes at most every group_interval", function()
        local w = world(SHIPPED)
        w:shop(instances { a = 11, b = 1, c = 1 })
        w:go(10000)
        assert.same({ "firing: High a firing" }, w:heard())
        w:shop(instances { a = 11, b = 11, c = 1 })
        w:go(100000)
        w:shop(instances { a = 1, b = 11, c = 11 })
        w:go(195000)
        assert.same({}, w:heard())
        w:go(10000)
        assert.same({ "firing: High b firing, High c firing, High a resolved" }, w:heard())
    end)

    it("tell news at once when the last message is long ago", function()
        local w = world(SHIPPED)
        w:shop(instances { a = 11, b = 1 })
        w:go(3600000)
        w:told()
        w:shop(instances { a = 11, b = 11 })
        assert.same({ "firing: High a firing, High b firing" }, w:heard())
    end)

    it("repeat what lasts after repeat_interval, and not before when members flap", function()
        local w = world({ group_wait_ms = 10000, group_interval_ms = 60000, repeat_interval_ms = 3600000 },
            { cooldown_ms = 14400000 })
        w:shop(instances { a = 11, b = 11 })
        w:go(10000)
        assert.same({ "firing: High a firing, High b firing" }, w:heard())
        for _ = 1, 5 do -- `b` comes and goes
            w:shop(instances { a = 11, b = 1 })
            w:go(120000)
            w:shop(instances { a = 11, b = 11 })
            w:go(120000)
        end
        assert.same({ "resolved: High a firing, High b resolved" }, w:heard())
        w:shop(instances { a = 11 })
        w:go(2400000)
        assert.same({}, w:heard())
        w:go(1200000)
        assert.same({ "repeat: High a firing" }, w:heard())
        w:go(3600000)
        assert.same({ "repeat: High a firing" }, w:heard())
    end)

    it("take one that fires again before its end was told as the same episode", function()
        local w = world { group_interval_ms = 60000 }
        w:shop(instances { a = 11 })
        assert.equal(1, #w:told())
        w:run(5000)
        w:shop(instances { a = 1 })
        assert.equal("resolved", w:state "High")
        w:run(5000)
        w:shop(instances { a = 11 })
        assert.equal("firing", w:state "High")
        w:go(600000)
        assert.same({}, w:heard())
        w:shop(instances { a = 1 })
        local m = w:told()[1]
        assert.same({ "resolved", "2026-01-01T00:00:00.000Z" }, { m.reason, m.group.alerts[1].startsAt })
    end)

    it("have ids that tell news from news", function()
        local w = world { repeat_interval_ms = 60000 }
        local seen = {}
        for _ = 1, 3 do
            w:shop(instances { a = 11 })
            w:go(150000)
            w:shop(instances { a = 1 })
            w:go(10000)
        end
        local told = w:told()
        assert.equal(12, #told)
        for _, m in ipairs(told) do
            assert.is_nil(seen[m.id])
            seen[m.id] = true
        end
    end)

    it("stop repeating what is acknowledged, until it ends", function()
        local w = world { repeat_interval_ms = 60000 }
        w:shop(instances { a = 11 })
        w:told()
        assert.equal("nothing fires under \"Low\": `tidegate alerts` shows what does", w:ask("acknowledge", "Low").error)
        assert.equal(1, w:ask("acknowledge", "High").count)
        assert.same({ who = "ann", comment = "looking", at = "2026-01-01T00:00:00.000Z" }, w:alert("High").acknowledged)
        w:go(600000)
        assert.same({}, w:heard())
        w:shop(instances { a = 1 })
        assert.same({ "resolved: High a resolved" }, w:heard())
        w:shop(instances { a = 11 })
        assert.is_nil(w:alert("High").acknowledged)
        assert.equal(1, w:ask("acknowledge", w:alert("High").fingerprint:sub(1, 6)).count)
    end)

    it("escalate once what nobody acknowledges, and tell the same people its end", function()
        local w = world(nil, { escalate = { after_ms = 60000, channels = { "boss" } } })
        w:shop(instances { a = 11, b = 11 })
        w:told()
        assert.equal(1, w:ask("acknowledge", w:alert("High", "b").fingerprint).count)
        w:go(55000)
        assert.same({}, w:told())
        assert.equal("escalates in 5s", w:alert("High", "a").next)
        w:go(5000)
        local told = w:told()
        assert.same({ "escalation: High a firing" }, World.short(told))
        assert.same({ "boss" }, told[1].channels)
        assert.is_true(w:alert("High", "a").escalated)
        w:go(600000)
        assert.same({}, w:told())
        w:shop(instances { a = 1, b = 1 })
        told = w:told()
        assert.equal(2, #told)
        local to_boss = told[1].channels and told[1] or told[2]
        assert.same({ "boss" }, to_boss.channels)
        assert.same({ "resolved: High a resolved" }, World.short { to_boss })
    end)

    it("are cut when they are too long, and say by how much", function()
        local w = world()
        local many = {}
        for i = 1, 510 do
            many["i" .. i] = 11
        end
        w:shop(instances(many))
        local m = w:told()[1]
        assert.same({ 500, 10, 510 }, { #m.group.alerts, m.group.truncatedAlerts, #m.keys })
    end)
end)

describe("anomalies", function()
    local function report(service, metric, over)
        local r = { service = service, metric = metric, score = 5.2, severity = "medium", value = 3,
            type = "spike", description = metric .. " is odd", incident = "i1" }
        for key, value in pairs(over or {}) do
            r[key] = value
        end
        return r
    end

    it("of one incident are one message, and one when all is over", function()
        local w = World.new {}
        local views = { services = { shop = {}, cart = {} } }
        w:evaluate(views, { anomalies = { report("shop", "p99"), report("cart", "rate") } })
        w:run(5000)
        w:evaluate(views, { anomalies = { report("shop", "p99"), report("shop", "cpu_usage", { instance = "shop-1" }) } })
        local told = w:told()
        assert.equal(1, #told)
        assert.equal(2, #told[1].group.alerts)
        local one = w:alert("Anomaly", "shop-1")
        assert.same({ "firing", "warning", "cpu_usage is odd", "cpu_usage" },
            { one.state, one.severity, one.message, one.labels.metric })
        w:go(590000)
        assert.same({}, w:told())
        w:go(15000)
        told = w:told()
        assert.equal(1, #told)
        assert.equal("resolved", told[1].group.status)
        assert.equal(2, #told[1].group.alerts)
        assert.same({}, w:ask("status").alerts)
    end)

    it("are told again when they get worse, and another incident by itself", function()
        local w = World.new {}
        local views = { services = { shop = {} } }
        w:evaluate(views, { anomalies = { report("shop", "p99") } })
        w:told()
        w:evaluate(views, { anomalies = { report("shop", "p99", { severity = "high" }) } })
        assert.equal("critical", w:told()[1].group.alerts[1].labels.severity)
        w:evaluate(views, { anomalies = { report("shop", "rate", { incident = "i2" }) } })
        assert.same({ "firing: Anomaly shop firing" }, w:heard())
    end)

    it("during own work are none", function()
        local w = World.new {}
        w:evaluate({ services = { shop = {} } }, { anomalies = { report("shop", "p99") } }, { "shop" })
        assert.same({}, w:ask("status").alerts)
    end)
end)
