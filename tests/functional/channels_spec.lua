-- Channels against receivers that really listen: scripted ones (tests/support/receiver.lua) and Debian's Alertmanager.
local cjson = require "cjson"
local receivers = require "receivers"
local tidegate = require "tidegate"

local receiver, got, wait_got = receivers.start, receivers.got, receivers.wait_got

local SERVICE = [[
service "shop" { command = { "@SERVICE@" }, scale = { min = 1, max = 1 } }
]]

local function channels(t)
    local answer = cjson.decode(t:cli("alert", "channels", "--json").out)
    local by_name = {}
    for _, one in ipairs(answer.channels) do
        by_name[one.name] = one
    end
    return by_name
end

describe("tidegate alert test", function()
    it("delivers to every kind of channel, and prints what the receiver said", tidegate.test(function(t)
        local hooks = receiver(t, "http", "PORT", "200")
        local mail = receiver(t, "smtp", "PORT2", "ok")
        t.env.HOOK_TOKEN = "Bearer 0123456789abcdef"
        t:write("hook", "http://127.0.0.1:@PORT@/services/secret\n")
        t:write("page", [[#!/bin/sh
{ cat; echo; env; } >"$1"
echo paged "$TIDEGATE_ALERT"
]])
        os.execute("chmod +x " .. t.dir .. "/page")
        t:configure(SERVICE .. [[
channel "hook" { webhook = { file = "@DIR@/hook" }, headers = { Authorization = { env = "HOOK_TOKEN" } } }
channel "words" { webhook = "http://127.0.0.1:@PORT@/words", template = function(n) return "severity " .. n.severity end }
channel "slack" { slack = "http://127.0.0.1:@PORT@/slack" }
channel "pager" { pagerduty = "ROUTE", url = "http://127.0.0.1:@PORT@/pager" }
channel "ntfy" { ntfy = "http://127.0.0.1:@PORT@/topic" }
channel "am" { alertmanager = { "http://127.0.0.1:@PORT@" } }
channel "mail" { email = { to = { "ops@shop.example", "ann@shop.example" }, from = "Tidegate <tidegate@shop.example>",
                           server = "smtp://127.0.0.1:@PORT2@" } }
channel "exec" { exec = { "@DIR@/page", "@DIR@/paged" } }
channel "log" { log = true }
]])
        assert.equal("", t:cli("check", t.dir .. "/tidegate.lua").err)
        t:start()
        local says = {
            hook = "answered 200: ok", words = "answered 200: ok", slack = "answered 200: ok", pager = "answered 200: ok",
            ntfy = "answered 200: ok", am = "answered 200: ok", mail = "answered 250 queued as 4711",
            exec = "ended with 0: paged TidegateTest", log = "written to the log",
        }
        for name, said in pairs(says) do
            local result = t:cli("alert", "test", name)
            assert.equal("", result.err)
            assert.equal(0, result.code)
            assert.equal(said, result.out:match("^" .. name .. ": delivered in %d+ ms: (.*)\n$"))
        end
        local by_path = {}
        for _, one in ipairs(wait_got(t, hooks, 8)) do -- two of them are told that it is over
            local path = one.line:match " (%S+) "
            by_path[path] = by_path[path] or {}
            table.insert(by_path[path], one)
        end
        local hook = by_path["/services/secret"][1]
        assert.equal("Bearer 0123456789abcdef", hook.headers.authorization)
        assert.equal("4", cjson.decode(hook.body).version)
        assert.matches("^test%-", hook.headers["idempotency-key"])
        assert.equal("severity info", by_path["/words"][1].body)
        assert.equal("TEST TidegateTest", cjson.decode(by_path["/slack"][1].body).text)
        assert.equal("topic", cjson.decode(by_path["/"][1].body).topic)
        local events = by_path["/pager"]
        assert.equal("trigger", cjson.decode(events[1].body).event_action)
        assert.equal("resolve", cjson.decode(events[2].body).event_action)
        assert.equal("TidegateTest", cjson.decode(by_path["/api/v2/alerts"][1].body)[1].labels.alertname)
        local one = wait_got(t, mail, 1)[1]
        assert.same({ "tidegate@shop.example", { "ops@shop.example", "ann@shop.example" } }, { one.from, one.to })
        assert.matches("Subject: TEST TidegateTest", one.mail)
        local paged = tidegate.read_file(t.dir .. "/paged")
        assert.equal("TidegateTest", cjson.decode(paged:match "^[^\n]+").alerts[1].labels.alertname)
        assert.matches("TIDEGATE_STATUS=firing", paged)
        assert.is_nil(paged:find("HOOK_TOKEN", 1, true))
        t:wait_log "TidegateTest"
        for _, place in ipairs { t:log(), t:cli("status", "--json").out, t:cli("events", "--json").out } do
            for _, secret in ipairs { "0123456789abcdef", "services/secret", "ROUTE" } do
                assert.is_nil(place:find(secret, 1, true), secret)
            end
        end
    end))

    it("says what went wrong, without the address, and exits with 1", tidegate.test(function(t)
        receiver(t, "http", "PORT", "403", "hang", "half", "drop")
        receiver(t, "smtp", "PORT2", "550")
        t:configure(SERVICE .. [[
channel "hook" { webhook = "http://bob:hunter22@127.0.0.1:@PORT@/services/verysecret", timeout = "500ms" }
channel "nobody" { webhook = "http://127.0.0.1:1/services/verysecret" }
channel "missing" { webhook = { env = "NOT_THERE" } }
channel "mail" { email = { to = { "ops@shop.example" }, from = "tidegate@shop.example", server = "smtp://127.0.0.1:@PORT2@" } }
channel "fails" { exec = { "/bin/sh", "-c", "echo broken >&2; exit 3" } }
channel "hangs" { exec = { "/bin/sh", "-c", "echo started; sleep 1000" }, timeout = "300ms" }
channel "nothing" { exec = { "/nowhere/program" } }
channel "odd" { webhook = "http://127.0.0.1:@PORT@/", template = function(n) return n.nothing.more end }
]])
        t:start()
        local function wrong(name, pattern)
            local result = t:cli("alert", "test", name)
            assert.equal(1, result.code)
            assert.equal("", result.out)
            assert.matches(pattern, result.err)
            assert.is_nil(result.err:find("hunter22", 1, true) or result.err:find("verysecret", 1, true))
        end
        wrong("hook", "channel hook: answered 403: no %*%*%*")
        wrong("hook", "channel hook: no answer within 500 ms")
        wrong("hook", "channel hook: the connection was cut off")
        wrong("hook", "channel hook: the connection was cut off")
        wrong("nobody", "channel nobody: the connection was refused")
        wrong("missing", "channel missing: the variable NOT_THERE is not set")
        wrong("mail", "channel mail: answered 550 no such mailbox")
        wrong("fails", "channel fails: ended with 3: broken")
        wrong("hangs", "channel hangs: did not end within 300 ms and was killed: started")
        wrong("nothing", "channel nothing: /nowhere/program cannot be started: ")
        wrong("odd", "channel odd: tidegate.lua:%d+: ")
        wrong("opps", "no such channel: opps")
        assert.equal(2, t:cli("alert", "test").code)
        assert.equal(2, t:cli("alert", "tset", "hook").code)
        assert.is_nil(t:log():find("hunter22", 1, true) or t:log():find("verysecret", 1, true))
        assert.matches("CHANNEL +KIND +STATE", t:cli("alert", "channels").out)
    end))

    it("logs in to a mail server", tidegate.test(function(t)
        local mail = receiver(t, "smtp", "PORT", "auth")
        t.env.MAIL_PASSWORD = "pass word"
        t:configure(SERVICE .. [[
channel "mail" { email = { to = { "ops@shop.example" }, from = "tidegate@shop.example", server = "smtp://127.0.0.1:@PORT@",
                           user = "ann", password = { env = "MAIL_PASSWORD" } } }
]])
        t:start()
        assert.equal(0, t:cli("alert", "test", "mail").code)
        assert.equal("/ann/pass word", wait_got(t, mail, 1)[1].auth)
    end))
end)

-- An alert that fires and ends as the specs say: by what `scale` sets.
local ALERTING = [[
alerting { defaults = false, interval = "100ms", group_wait = 0, group_interval = "100ms", maintenance = false, @ALERTING@ }
alert "Many" { when = { metric_path = "scale.desired", threshold = 1 }, severity = "critical", flap = false,
               message = "{{value}} instances", cooldown = 0 }
service "shop" { command = { "@SERVICE@" }, scale = { min = 1, max = 3, up_cooldown = 0, down_cooldown = 0 } }
]]

local function fire(t)
    assert.equal(0, t:cli("scale", "shop", "2", "--for", "1h").code)
end

local function clear(t)
    assert.equal(0, t:cli("scale", "shop", "1", "--for", "1h").code)
end

describe("messages of alerts", function()
    it("go where they go, whatever a shadow of the notify policy would have said", tidegate.test(function(t)
        local hooks = receiver(t, "http", "PORT", "200")
        t:configure(ALERTING .. [[
channel "ops" { webhook = "http://127.0.0.1:@PORT@/ops" }
channel "boss" { webhook = "http://127.0.0.1:@PORT@/boss" }
]], { ALERTING = 'notify = { "by_severity", critical = { "ops" } }, notify_shadow = { "by_severity", critical = { "boss" } }' })
        t:start { args = { "--admin", "127.0.0.1:" .. t:port "ADMIN" } }
        fire(t)
        assert.equal("POST /ops HTTP/1.1", wait_got(t, hooks, 1)[1].line)
        t:wait("the event", function()
            return t:cli("events", "--kind", "policy", "--json").out:find('"detail":"by_severity: boss"', 1, true)
        end)
        local page = t:get("/metrics", { port = t:port "ADMIN" }).body
        for name, value in pairs { answers = 1, differences = 1, errors = 0 } do
            assert.matches(('tidegate_shadow_%s_total{point="notify",of="",route="",policy="by_severity"} %d\n')
                :format(name, value), page)
        end
        assert.equal(1, #got(hooks))
    end))

    it("arrive once by their id over 429, 500, silence and half an answer", tidegate.test(function(t)
        local hooks = receiver(t, "http", "PORT", "429:2", "500", "hang", "half", "200")
        t:configure(ALERTING .. [[
channel "ops" { webhook = "http://127.0.0.1:@PORT@/", timeout = "300ms" }
]], { ALERTING = "" })
        t:start { args = { "--admin", "127.0.0.1:" .. t:port "ADMIN" } }
        fire(t)
        local list = wait_got(t, hooks, 5)
        local id = list[1].headers["idempotency-key"]
        for i = 1, 5 do
            assert.equal(id, list[i].headers["idempotency-key"])
            assert.equal(list[1].body, list[i].body)
        end
        assert.is_true(list[2].at - list[1].at >= 2, "it asked for two seconds")
        local alert = cjson.decode(list[5].body).alerts[1]
        assert.same({ "firing", "Many", "shop" }, { alert.status, alert.labels.alertname, alert.labels.service })
        assert.equal("2 instances", alert.annotations.summary)
        clear(t)
        list = wait_got(t, hooks, 6)
        assert.equal("resolved", cjson.decode(list[6].body).alerts[1].status)
        assert.are_not.equal(id, list[6].headers["idempotency-key"])
        t:wait("the counts", function()
            return channels(t).ops.sent == 2
        end)
        local ops = channels(t).ops
        assert.same({ 4, 1, 0, 0 }, { ops.failed, ops.retried, ops.dropped, ops.waiting })
        assert.is_nil(ops.last_error)
        local page = t:get("/metrics", { port = t:port "ADMIN" }).body
        for result, count in pairs { sent = 2, failed = 4, retried = 1, dropped = 0 } do
            local line = ('\ntidegate_notifications_total{channel="ops",result="%s"} %d\n'):format(result, count)
            assert.truthy(page:find(line, 1, true), line)
        end
        assert.truthy(page:find('\ntidegate_notifications_waiting{channel="ops"} 0\n', 1, true))
        assert.equal(6, #got(hooks))
    end))

    it("outlive a kill -9 with the same id, and what is delivered is not told again", tidegate.test(function(t)
        t:configure(ALERTING .. [[
channel "ops" { webhook = "http://127.0.0.1:@PORT@/" }
channel "log" { log = true }
]], { ALERTING = "" })
        t:start()
        fire(t)
        t:wait("the message to wait", function()
            local now = channels(t)
            return now.ops.waiting == 1 and now.ops.failed > 0 and now.log.sent == 1
        end)
        local id = t:log():match "channel=ops what=\"not delivered\" id=(%S+)"
        assert.is_string(id)
        t:crash()
        local hooks = receiver(t, "http", "PORT", "200")
        t:start()
        assert.equal(id, wait_got(t, hooks, 1)[1].headers["idempotency-key"])
        t:wait("the rest", function()
            return channels(t).ops.sent == 1
        end)
        t:crash()
        t:start()
        clear(t)
        local list = wait_got(t, hooks, 2)
        assert.equal("resolved", cjson.decode(list[2].body).status)
        assert.equal(2, #list)
    end))

    it("go to whom the policy says, in the template's words, and as the alert says without it", tidegate.test(function(t)
        local hooks = receiver(t, "http", "PORT", "200")
        t:configure(ALERTING .. [[
channel "ops" { webhook = "http://127.0.0.1:@PORT@/ops" }
channel "page" { webhook = "http://127.0.0.1:@PORT@/page", template = function(n)
    if n.status == "resolved" then while true do end end
    return "wake up: " .. n.alerts[1].labels.alertname
end }
]], { ALERTING = [[notify = { "by_severity", critical = { "page" } }, channels = { "ops" } ]] })
        t:start()
        fire(t)
        local one = wait_got(t, hooks, 1)[1]
        assert.same({ "wake up: Many", "POST /page HTTP/1.1" }, { one.body, one.line })
        clear(t) -- its template fails then: the message goes in our words
        assert.equal("resolved", cjson.decode(wait_got(t, hooks, 2)[2].body).status)
        t:wait_log "template of page"
        assert.equal(2, #got(hooks))
    end))

    it("do not wait for a policy process that hangs or is gone", tidegate.test(function(t)
        local hooks = receiver(t, "http", "PORT", "200")
        t:configure(ALERTING .. [[
channel "ops" { webhook = "http://127.0.0.1:@PORT@/", template = function() return "in words" end }
]], { ALERTING = "" })
        t:start()
        local policy = cjson.decode(t:cli("status", "--json").out).policy_pid
        t:kill(policy, 19) -- SIGSTOP
        fire(t)
        assert.equal("firing", cjson.decode(wait_got(t, hooks, 1)[1].body).status)
    end))

    it("are acknowledged at PagerDuty", tidegate.test(function(t)
        local hooks = receiver(t, "http", "PORT", "200")
        t:configure(ALERTING .. [[
channel "pager" { pagerduty = "ROUTE", url = "http://127.0.0.1:@PORT@/" }
]], { ALERTING = "" })
        t:start()
        fire(t)
        local first = cjson.decode(wait_got(t, hooks, 1)[1].body)
        assert.equal(0, t:cli("ack", "Many").code)
        local second = cjson.decode(wait_got(t, hooks, 2)[2].body)
        assert.same({ "trigger", "acknowledge" }, { first.event_action, second.event_action })
        assert.equal(first.dedup_key, second.dedup_key)
    end))

    it("that wait for a channel that is taken out are dropped, the others go on", tidegate.test(function(t)
        local hooks = receiver(t, "http", "PORT", "200")
        local both = ALERTING .. [[
channel "ops" { webhook = "http://127.0.0.1:@PORT@/" }
]]
        t:configure(both .. 'channel "dead" { webhook = "http://127.0.0.1:1/" }', { ALERTING = "" })
        t:start()
        fire(t)
        wait_got(t, hooks, 1)
        t:wait("the failure", function()
            return channels(t).dead.failed > 0
        end)
        t:configure(both, { ALERTING = "" })
        assert.equal(0, t:cli("reload").code)
        assert.is_nil(channels(t).dead)
        t:wait_log "the channel is no longer configured"
        clear(t)
        wait_got(t, hooks, 2)
    end))
end)

describe("the heartbeat", function()
    it("is sent as long as alerts are evaluated", tidegate.test(function(t)
        local hooks = receiver(t, "http", "PORT", "500", "200")
        t:configure(ALERTING, { ALERTING = 'heartbeat = { url = "http://127.0.0.1:' .. t:port() .. '/alive", interval = "1s" }' })
        t:start()
        assert.equal("GET /alive HTTP/1.1", wait_got(t, hooks, 2)[2].line)
        t:wait_log "heartbeat: not heard"
        t:wait_log "heartbeat: heard"
        assert.is_nil(t:log():find("/alive", 1, true))
    end))
end)
