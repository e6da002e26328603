-- Alerts by function and by policy, the notify policy, templates: script_cold_evaluate and _notify.
local configuration = require "configuration"
local script = require "script_room"

local C = script.C
local SERVICE = 'cluster { engine = "process" } service "web" { command = { "web" }, ports = { 80 } }\n'
    .. 'service "api" { command = { "api" }, ports = { 81 } } alerting { defaults = false }\n'

-- The cold state of a configuration's text, as the process that did not read it builds it.
local function cold_of(files)
    local config, why = configuration.load(files)
    assert.is_not_nil(config, why)
    return assert(script.cold(script.json(config)))
end

local function views()
    return {
        services = {
            web = { service = "web", performance = { p99 = 0.7, own_figure = 3 }, resources = { cpu_usage = 80 },
                instances = { ["web-1"] = { service = "web", instance = "web-1", health = { up = 0 } },
                    ["web-2"] = { service = "web", instance = "web-2", health = { up = 1 } } } },
            api = { service = "api", performance = {} },
        },
        tidegate = { loop_lag = 0.5 },
    }
end

local function evaluate(files, of)
    local cold = cold_of(files)
    local got = script.value(C.script_cold_evaluate(cold, script.json { views = of or views() }))
    C.script_cold_free(cold)
    return got.rules
end

local function rule(body, rest)
    return SERVICE .. "alert 'A' { " .. (rest or "") .. " when = function(m)\n" .. body .. "\nend }"
end

describe("script_cold_evaluate", function()
    after_each(configuration.clean)

    it("asks the function of an alert about every service, with value and message", function()
        assert.same({ A = { web = { firing = true, value = 0.7, message = "slow web" }, api = { missing = true } } },
            evaluate(rule "return m.performance.p99 > 0.5, m.performance.p99, 'slow ' .. m.service"))
    end)

    it("asks about instances, named services, or tidegate itself", function()
        assert.same({ ["web/web-1"] = { firing = true }, ["web/web-2"] = { firing = false } },
            evaluate(rule("return m.health.up < 1", "scope = 'instance',")).A)
        assert.same({ web = { firing = true } },
            evaluate(rule("return m.resources.cpu_usage > 60", "services = { 'web' },")).A)
        assert.same({ tidegate = { firing = true } }, evaluate(rule("return m.loop_lag > 0.1", "scope = 'tidegate',")).A)
    end)

    it("takes a number that is not known for missing, unless the rule fires without it", function()
        assert.same({ missing = true }, evaluate(rule "return m.performance.own_figure > 5").A.api)
        assert.same({ missing = true }, evaluate(rule "return m.traffic.p99 > 1").A.web)
        assert.same({ firing = true }, evaluate(rule "return m.traffic.p99 > 1 or m.performance.p99 > 0.5").A.web)
        assert.same({ missing = true }, evaluate(rule "return nil").A.web)
    end)

    it("tells a misspelt group or field with its place, and the other services get their answer", function()
        assert.equal("tidegate.lua:4: the view has no field 'performnce': did you mean 'performance'?",
            evaluate(rule "return m.performnce.p99 > 1").A.web.error)
        assert.equal("tidegate.lua:4: resources has no field 'cpu': did you mean 'cpu_usage'?",
            evaluate(rule "return m.resources.cpu > 1").A.web.error)
        local got = evaluate(rule "if m.service == 'api' then error 'no' end return true").A
        assert.same({ web = { firing = true },
            api = { error = "tidegate.lua:4: no", policy = "function", input = "api" } }, got)
        got = evaluate(rule "return m.performance.p99.x").A
        assert.equal("web: resources.cpu_usage 80", got.web.input)
    end)

    it("stops a rule that does not end, and goes on with the next", function()
        local got = evaluate(SERVICE .. [[
alert "Ends" { when = function() return false end }
alert "Never" { when = function() while true do end end, services = { "web" } }]])
        assert.same({ web = { firing = false }, api = { firing = false } }, got.Ends)
        assert.truthy(got.Never.web.error:find "tidegate.lua:4: ")
    end)

    it("gives each rule a view of its own", function()
        local got = evaluate(SERVICE .. [[
alert "A" { when = function(m) m.performance.p99 = 0 return false end }
alert "B" { when = function(m) return m.performance.p99 > 0.5 end, services = { "web" } }]])
        assert.same({ firing = true }, got.B.web)
    end)

    it("knows what a rule uses beside itself: locals, env, included files, the operator's own pack", function()
        local got = evaluate { ["tidegate.lua"] = SERVICE:gsub("defaults = false", "defaults = true") .. [[
local limit = tonumber(env("NOT_SET_ANYWHERE", "0.5"))
local function slow(m) return m.performance.p99 > limit end
alert("A", { when = slow, services = { "web" } })
include "more.lua"]], ["more.lua"] = 'alert "B" { when = function(m) return m.performance.p99 > 9 end, services = "web" }',
            ["policies/alerts.lua"] = 'alert "C" { when = function(m) return m.resources.cpu_usage > 9 end, services = "web" }' }
        assert.same({ A = { web = { firing = true } }, B = { web = { firing = false } }, C = { web = { firing = true } } }, got)
    end)

    it("asks alert policies with their parameters", function()
        local policy = [[return { name = "above", doc = "x", params = { limit = { type = "number", default = 1 } },
            new = function(params) return function(m) return m.performance.p99 > params.limit, m.performance.p99 end end,
            examples = { { params = { limit = 1 }, given = { performance = { p99 = 2 } }, want = true },
                { given = {}, want = false } } }]]
        local got = evaluate { ["policies/alert/above.lua"] = policy,
            ["tidegate.lua"] = SERVICE .. 'alert "A" { policy = "above", limit = 0.6, services = { "web" }, severity = "info" }' }
        assert.same({ web = { firing = true, value = 0.7 } }, got.A)
    end)
end)

describe("script_cold_notify", function()
    after_each(configuration.clean)

    local CHANNELS = SERVICE:gsub("alerting.*", "") .. [[
channel "ops" { webhook = "http://ops/", template = function(n) return n.status .. " " .. n.alerts[1].labels.alertname end }
channel "boss" { log = true }
]]
    local ABOUT = { status = "firing", severity = "critical", channels = { "ops" },
        alerts = { { labels = { alertname = "Slow", severity = "critical" } } } }

    local function notify(text, about)
        local cold = cold_of(text)
        local got = script.value(C.script_cold_notify(cold, script.json { id = 7, about = about or ABOUT }))
        C.script_cold_free(cold)
        return got
    end

    it("names the channels of the alert, with what their templates make", function()
        assert.same({ id = 7, send = { { channel = "ops", text = "firing Slow" } }, errors = {} }, notify(CHANNELS))
    end)

    it("asks a shadow, too, and tells by it nobody", function()
        local function shadow(alerting, about)
            local got = notify({ ["tidegate.lua"] = CHANNELS .. "alerting { " .. alerting .. " }",
                ["policies/notify/bad.lua"] = "return { name = 'bad', doc = 'x', new = function() return function(n)\n"
                    .. "error('no')\nend end }" }, about)
            return got.shadow, got.send[1] and got.send[1].channel, got.errors
        end
        local said, to = shadow 'notify_shadow = { "by_severity", critical = { "boss" } }'
        assert.same({ policy = "by_severity", channels = { "boss" }, same = false }, said)
        assert.equal("ops", to)
        assert.same({ policy = "by_severity", channels = { "ops" }, same = true },
            (shadow 'notify_shadow = { "by_severity", info = { "boss" } }')) -- no word: the alert's own
        assert.same({ policy = "by_severity", channels = { "boss", "ops" }, same = true },
            (shadow [[notify = { "by_severity", critical = { "ops", "boss" } },
                notify_shadow = { "by_severity", critical = { "boss", "ops" } }]]))
        local failed, still, errors = shadow 'notify_shadow = "bad"'
        assert.same({ policy = "bad", error = "policies/notify/bad.lua:2: no" }, failed)
        assert.same({ "ops", {} }, { still, errors }) -- no fault of what is in force
        assert.is_nil((shadow 'notify = "by_severity"'))
    end)

    it("lets a policy say who hears of it", function()
        local with = CHANNELS .. 'alerting { notify = { "by_severity", critical = { "boss", "ops" }, info = {} } }'
        assert.same({ "boss", "ops" }, { notify(with).send[1].channel, notify(with).send[2].channel })
        assert.same({}, notify(with, { severity = "info", channels = { "ops" }, alerts = {} }).send)
        assert.same("ops", notify(with, { severity = "warning", status = "resolved", channels = { "ops" },
            alerts = { { labels = { alertname = "x" } } } }).send[1].channel)
    end)

    it("gives a policy the same chance for the same message", function()
        local files = { ["tidegate.lua"] = CHANNELS .. 'alerting { notify = "x" }',
            ["policies/notify/x.lua"] = "return { name = 'x', doc = 'x', new = function() return function(n)\n"
                .. "return { math.random() < 0.5 and 'ops' or 'boss' } end end }" }
        local cold, told = cold_of(files), {}
        for round = 1, 2 do
            told[round] = ""
            for id = 1, 20 do
                local got = script.value(C.script_cold_notify(cold, script.json { id = id, about = ABOUT }))
                told[round] = told[round] .. got.send[1].channel:sub(1, 1)
            end
        end
        C.script_cold_free(cold)
        assert.equal(told[1], told[2])
        assert.truthy(told[1]:find "o" and told[1]:find "b", told[1])
    end)

    it("names the field that a policy or template meant", function()
        local got = notify { ["tidegate.lua"] = CHANNELS:gsub("n.status", "n.statsu") .. 'alerting { notify = "x" }',
            ["policies/notify/x.lua"] = "return { name = 'x', doc = 'x', new = function() return function(n)\n"
                .. "return n.severety == 'critical' and { 'ops' } or n.groupLabels and nil end end }" }
        assert.equal("policies/notify/x.lua:2: the message has no field 'severety': did you mean 'severity'?", got.errors[1].error)
        assert.equal("tidegate.lua:2: the message has no field 'statsu': did you mean 'status'?", got.errors[2].error)
    end)

    it("sends as the alert says when policy or template fail, and tells that they did", function()
        local got = notify { ["tidegate.lua"] = CHANNELS:gsub("n.status", "n.stat.us") .. 'alerting { notify = "bad" }',
            ["policies/notify/bad.lua"] = "return { name = 'bad', doc = 'x', new = function() return function(n)\nerror('no')\nend end }" }
        assert.same({ { channel = "ops" } }, got.send)
        assert.equal(2, #got.errors)
        assert.same({ point = "notify", of = "", policy = "bad", error = "policies/notify/bad.lua:2: no",
            input = "status firing, 1 alerts, the first Slow" }, got.errors[1])
        assert.same({ "template", "ops", "function" }, { got.errors[2].point, got.errors[2].of, got.errors[2].policy })
        assert.equal("tidegate.lua:2: the message has no field 'stat': did you mean 'status'?", got.errors[2].error)
    end)

    it("asks neither a policy nor a template in quarantine", function()
        local cold = cold_of { ["tidegate.lua"] = CHANNELS:gsub("n.status", "n.stat.us") .. 'alerting { notify = "bad" }',
            ["policies/notify/bad.lua"] = "return { name = 'bad', doc = 'x', new = function() return function(n)\nerror('no')\nend end }" }
        local function errors()
            return #script.value(C.script_cold_notify(cold, script.json { id = 7, about = ABOUT })).errors
        end
        assert.equal(2, errors())
        C.script_cold_quarantine(cold, script.json { point = "notify", of = "", error = "?" })
        assert.equal(1, errors())
        C.script_cold_quarantine(cold, script.json { point = "template", of = "boss", error = "?" })
        assert.equal(1, errors())
        C.script_cold_quarantine(cold, script.json { point = "template", of = "ops", error = "?" })
        assert.equal(0, errors())
        C.script_cold_free(cold)
    end)
end)

describe("a rule in quarantine", function()
    after_each(configuration.clean)

    it("has no results, so that its alerts stay as they are; others have", function()
        local cold = cold_of(rule "return true" .. " alert 'B' { when = function(m) return true end }")
        local function ask()
            return script.value(C.script_cold_evaluate(cold, script.json { views = views() })).rules
        end
        assert.is_true(ask().A.web.firing and ask().B.web.firing)
        C.script_cold_quarantine(cold, script.json { point = "alert", of = "A", error = "?" })
        assert.is_nil(next(ask().A))
        assert.is_true(ask().B.web.firing)
        C.script_cold_free(cold)
    end)
end)
