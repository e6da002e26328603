-- Alerts of the real daemon: they fire, end, are silenced, acknowledged, and outlive a kill.
local tidegate = require "tidegate"

local CONFIG = [[
service "data" {
  command = { "@SERVICE@", "--host", "127.0.0.1", "--port", "$PORT" },
  health_check = { http = "/health", interval = "100ms", timeout = "1s", retries = 2 },
  scale = { policy = "threshold", min = 1, max = 3, interval = "1h" },
  route = { listen = "127.0.0.1:@PORT@", balance = "round_robin" },
}
alerting { interval = "100ms", group_wait = "0s", group_interval = "0s", maintenance = @MAINTENANCE@, defaults = @DEFAULTS@ }
channel "here" { log = true }
alert "Large" {
  severity = "critical", flap = false, cooldown = "0s", message = "{{service}} has {{value}}, more than {{threshold}}",
  when = { metric_path = "scale.up", threshold = 1 },
}
@MORE@]]

local function configure(t, values)
    values = values or {}
    values.MAINTENANCE, values.DEFAULTS = values.MAINTENANCE or "false", values.DEFAULTS or "false"
    values.MORE = values.MORE or ""
    t:configure(CONFIG, values)
end

local function alert(t, name)
    for _, one in ipairs(t:ask("alerts").alerts) do
        if one.name == name then
            return one
        end
    end
end

local function wait_state(t, name, state)
    return t:wait(name .. " " .. state, function()
        local one = alert(t, name)
        return (one and one.state or "inactive") == state
    end)
end

local function scale(t, n)
    assert.equal(0, t:cli("scale", "data", tostring(n), "--for", "1h").code)
end

-- Lines of the log with all of these.
local function lines(t, ...)
    local count = 0
    for line in t:log():gmatch "[^\n]+" do
        local all = true
        for _, text in ipairs { ... } do
            all = all and line:find(text, 1, true) ~= nil
        end
        count = count + (all and 1 or 0)
    end
    return count
end

describe("alerts", function()
    it("fire, are told, and end", tidegate.test(function(t)
        configure(t)
        t:start()
        assert.matches("nothing fires: 1 rules are watched", t:cli("alerts").out)
        scale(t, 2)
        wait_state(t, "Large", "firing")
        local one = alert(t, "Large")
        assert.same({ "critical", "data", 2, "data has 2, more than 1", true },
            { one.severity, one.service, one.value, one.message, one.told })
        assert.equal(1, t:status().alerts.critical)
        local shown = t:cli("alerts").out
        assert.matches("1 firing, 0 pending", shown)
        assert.matches("critical%s+Large%s+data%s+%d+s%s+" .. one.fingerprint:sub(1, 8) .. ".-\n%s+data has 2, more than 1\n", shown)
        scale(t, 1)
        wait_state(t, "Large", "inactive")
        t:wait("the history of it", function()
            local seen = {}
            for _, e in ipairs(t:ask("events", "--kind", "alert").events) do
                seen[#seen + 1] = e.what
            end
            return table.concat(seen, " "):find("alert firing", 1, true)
                and table.concat(seen, " "):find("alert resolved", 1, true)
        end)
        assert.equal(1, lines(t, '"alert firing"', "Large"))
    end))

    it("of a shadow rule are shown and noted, and told to nobody", tidegate.test(function(t)
        configure(t, { MORE = [[alert "Tried" { when = { metric_path = "scale.up", operator = ">", threshold = 1 }, flap = false,
            shadow = true }]] })
        t:start()
        scale(t, 2)
        wait_state(t, "Large", "firing")
        wait_state(t, "Tried", "firing")
        assert.same({ true, false }, { alert(t, "Tried").shadow, alert(t, "Tried").told })
        local shown = t:cli("alerts").out
        assert.matches("1 firing, 0 pending, 1 of shadow rules", shown)
        assert.same({ 1, 0 }, { t:status().alerts.critical, t:status().alerts.warning })
        t:wait("the event", function()
            for _, e in ipairs(t:ask("events", "--kind", "alert").events) do
                if e.what == "shadow alert firing" then
                    return true
                end
            end
        end)
    end))

    it("are silenced, listed, and told when the silence is taken back", tidegate.test(function(t)
        configure(t)
        t:start()
        local made = t:ask("silence", "service=data", "severity=~crit.*", "--for", "2h", "--comment", "known", "--author", "ann")
        assert.equal(0, made.matches)
        scale(t, 2)
        wait_state(t, "Large", "firing")
        assert.same({ made.id, false }, { alert(t, "Large").silenced, alert(t, "Large").told })
        assert.matches("0 firing, 0 pending, 1 silenced, explained or over", t:cli("alerts").out)
        assert.matches("silenced by " .. made.id, t:cli("alerts", "--all").out)
        local list = t:cli("silence", "list").out
        for _, text in ipairs { made.id, "service=data severity=~crit.*", "ann", "known", "1h59m" } do
            assert.truthy(list:find(text, 1, true), list)
        end
        assert.equal(0, t:cli("silence", "expire", made.id).code)
        t:wait("being told", function()
            return alert(t, "Large").told
        end)
        assert.matches("no silences", t:cli("silence", "list").out)
        local again = t:cli("silence", "expire", made.id)
        assert.same({ 1, true }, { again.code, again.err:find("no such silence", 1, true) ~= nil })
        for _, args in ipairs { { "service=data" }, { "service", "--for", "1h" }, { "list", "x" }, { "expire" },
            { "service=data", "--for", "soon" } } do
            local wrong = t:cli("silence", unpack(args))
            assert.is_true(wrong.code == 1 or wrong.code == 2, args[1])
            assert.matches("^tidegate: ", wrong.err)
        end
    end))

    it("are acknowledged", tidegate.test(function(t)
        configure(t)
        t:start()
        local none = t:cli("ack", "Large")
        assert.same({ 1, true }, { none.code, none.err:find("nothing fires", 1, true) ~= nil })
        scale(t, 2)
        wait_state(t, "Large", "firing")
        assert.equal("acknowledged 1 alert\n", t:cli("ack", "Large", "--comment", "on it", "--author", "bob").out)
        assert.same({ "bob", "on it" }, { alert(t, "Large").acknowledged.who, alert(t, "Large").acknowledged.comment })
        assert.matches("acknowledged by bob", t:cli("alerts").out)
    end))

    it("outlive a kill of the daemon, told once", tidegate.test(function(t)
        configure(t)
        t:start { keep = true }
        scale(t, 2)
        wait_state(t, "Large", "firing")
        t:wait("being told", function()
            return alert(t, "Large").told
        end)
        assert.equal(0, t:cli("ack", "Large", "--author", "bob").code)
        local silence = t:ask("silence", "service=other", "--for", "1h").id
        local before = alert(t, "Large")
        local told = lines(t, "notification", "Large")
        assert.is_true(told > 0)
        t:wait("it on disk", function() -- the event follows the state in the same writer
            return #t:ask("events", "--kind", "alert").events >= 3
        end)
        t:crash()
        t:start()
        wait_state(t, "Large", "firing")
        local after = alert(t, "Large")
        assert.same({ before.since, before.fingerprint, true, "bob" },
            { after.since, after.fingerprint, after.told, after.acknowledged.who })
        assert.equal(silence, t:ask("silence", "list").silences[1].id)
        scale(t, 2)
        t:wait("evaluations since", function()
            return alert(t, "Large").value == 2
        end)
        assert.equal(told, lines(t, "notification", "Large"))
        scale(t, 1)
        wait_state(t, "Large", "inactive")
        assert.equal(told + 1, lines(t, "notification", "Large"))
    end))

    it("by a function are asked of the policy process, and one that fails touches no other", tidegate.test(function(t)
        configure(t, { CLUSTER = "policy_errors = { limit = 0 },", DEFAULTS = "{ PolicyErrors = { flap = false } }", MORE = [[
alert "Lua" { flap = false, when = function(m) return m.scale.up > 1, m.scale.up, "lua says " .. m.service end }
alert "Broken" { when = function(m) return m.scale.up > 1 and nil + 1 end }
alert "Loops" { when = function(m) while m.scale.up > 1 do end return false end }]] })
        t:start()
        scale(t, 2)
        wait_state(t, "Lua", "firing")
        assert.same({ 2, "lua says data" }, { alert(t, "Lua").value, alert(t, "Lua").message })
        wait_state(t, "Large", "firing")
        wait_state(t, "PolicyErrors", "firing")
        assert.is_nil(alert(t, "Broken"))
        for _, name in ipairs { "Broken", "Loops" } do
            t:wait(name .. " in the log", function()
                return lines(t, "a policy failed", "alert " .. name) == 1
            end)
        end
        local evaluated = t:ask("metrics").metrics.policy_errors_5m
        t:wait("more errors", function()
            return t:ask("metrics").metrics.policy_errors_5m > evaluated + 4
        end)
        assert.equal(2, lines(t, "a policy failed")) -- not at each evaluation
        scale(t, 1)
        wait_state(t, "Lua", "inactive")
        wait_state(t, "Large", "inactive")
    end))

    it("wait while tidegate itself drains", tidegate.test(function(t)
        configure(t, { MAINTENANCE = "true", MORE = [[
alert "Fewer" { when = { metric_path = "traffic.backends", operator = "<", threshold = 1 } }]] })
        t:start()
        local id = next(t:instances())
        assert.equal(0, t:cli("drain", id).code)
        wait_state(t, "Fewer", "pending")
        t:wait("the reason", function()
            return alert(t, "Fewer").maintenance
        end)
        assert.equal("held: data is under maintenance", alert(t, "Fewer").next)
        assert.equal(0, t:cli("undrain", id).code)
        wait_state(t, "Fewer", "inactive")
    end))

    it("that cross their threshold a hundred times fire once and end once", tidegate.test(function(t)
        configure(t, { MORE = [[
alert "Dances" {
  when = { metric_path = "traffic.backends", operator = "<", threshold = 1 },
  cooldown = "0s", flap = { changes = 6, window = "8s" },
}]] })
        t:start()
        local id = next(t:instances())
        local function told(what)
            local count = 0
            for _, e in ipairs(t:ask("events", "--kind", "alert", "--limit", "10000").events) do
                count = count + (e.what == what and 1 or 0)
            end
            return count
        end
        for _ = 1, 100 do
            for _, step in ipairs { { "drain", 0 }, { "undrain", 1 } } do
                assert.equal(0, t:cli(step[1], id).code)
                t:wait("the number", function()
                    return t:ask("metrics", "data").metrics.traffic.backends == step[2]
                end)
            end
        end
        assert.is_true(alert(t, "Dances").flapping)
        wait_state(t, "Dances", "inactive")
        t:wait("the history of it", function()
            return told "alert resolved" > 0
        end)
        assert.same({ 1, 1 }, { told "alert firing", told "alert resolved" })
        assert.equal(1, lines(t, "msg=\"alert firing\"", "Dances"))
    end))

    it("go on over a reload", tidegate.test(function(t)
        configure(t)
        t:start()
        scale(t, 2)
        wait_state(t, "Large", "firing")
        local before = alert(t, "Large")
        configure(t, { MORE = 'alert "Other" { when = { metric_path = "scale.up", threshold = 9 } }' })
        assert.equal(0, t:cli("reload").code)
        assert.equal(2, t:ask("alerts").rules)
        assert.equal(before.since, alert(t, "Large").since)
        t:write("tidegate.lua", (tidegate.read_file(t.dir .. "/tidegate.lua"):gsub('alert "Large"', 'alert "Big"')))
        assert.equal(0, t:cli("reload").code)
        wait_state(t, "Large", "inactive")
        wait_state(t, "Big", "firing")
    end))

    it("that are shipped find their numbers", tidegate.test(function(t)
        t:configure [[
service "data" {
  command = { "@SERVICE@", "--host", "127.0.0.1", "--port", "$PORT" },
  health_check = { http = "/health", interval = "100ms", timeout = "1s", retries = 2 },
  resources = { memory = "256m", cpus = 1 },
  collect = { performance = "/performance", interval = "1s" },
  scale = { policy = "threshold", min = 1, max = 3, interval = "1h" },
  route = { listen = "127.0.0.1:@PORT@" },
}]]
        t:start()
        local id = next(t:instances())
        local missing
        local _, late = pcall(t.wait, t, "all numbers", function()
            t:get "/"
            local views = { service = t:ask("metrics", "data").metrics, tidegate = t:ask("metrics").metrics,
                instance = t:ask("metrics", "data", "--instance", id).metrics }
            missing = {}
            local shipped = assert(loadfile "policies/alerts.lua")
            setfenv(shipped, { alert = function(name)
                return function(rule)
                    local at = views[rule.scope or "service"]
                    for step in rule.when.metric_path:gmatch "[^.]+" do
                        at = type(at) == "table" and at[step] or nil
                    end
                    local elsewhere = name == "NotificationsFailing" or name:find "^Certificate" -- where there are such
                    if type(at) ~= "number" and not elsewhere then
                        missing[#missing + 1] = name
                    end
                end
            end })()
            return #missing == 0
        end, 15)
        assert.equal("", table.concat(missing, " "), late)
    end))

    it("have detectors that go on from what they learned before a stop", tidegate.test(function(t)
        configure(t, { MAINTENANCE = "false" })
        t:start { keep = true }
        t:wait("figures of a second evaluation", function()
            t:get "/"
            return t:ask("metrics", "data").metrics.traffic.p99
        end)
        t:wait("what was learned to be on disk", function()
            assert.equal(0, t:cli("reload").code) -- asks for it
            t:stop()
            t:start { keep = true }
            return t:log():match "go on from what they learned\" series=%d"
        end)
        t:stop()
        t:start()
    end))
end)
