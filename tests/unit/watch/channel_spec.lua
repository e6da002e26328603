local World = require "outbox_world"
local cjson = require "cjson"
local posix = require "posix.stdlib"

local alert, message, posts = World.alert, World.message, World.posts

local function body_of(post)
    return cjson.decode(post.body)
end

local function resolved(over, labels)
    local one = alert(over, labels)
    one.status, one.endsAt = "resolved", "2026-01-31T12:00:30.000Z"
    return one
end

local function write(text)
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(text)
    file:close()
    return path
end

describe("channels: webhook", function()
    it("posts Alertmanager's body", function()
        local got = posts(World.channel "ops", message "m1")
        assert.equal(1, #got)
        assert.equal("http://127.0.0.1:1/ops", got[1].url)
        assert.equal("application/json", got[1].type)
        local body = body_of(got[1])
        assert.equal("4", body.version)
        assert.equal("0001-01-01T00:00:00Z", body.alerts[1].endsAt)
        for _, key in ipairs { "receiver", "status", "alerts", "groupLabels", "commonLabels", "commonAnnotations",
            "externalURL", "groupKey", "truncatedAlerts" } do
            assert.is_not_nil(body[key], key)
        end
    end)

    it("posts what the template made", function()
        local text = posts(World.channel "ops", message("m1", { text = "plain" }))[1]
        assert.same({ "plain", "text/plain; charset=utf-8" }, { text.body, text.type })
        assert.equal("application/json", posts(World.channel "ops", message("m1", { text = "{}" }))[1].type)
    end)

    it("leaves out addresses that took it before", function()
        local three = World.channel("ops", { to = { { text = "http://a/" }, { text = "http://b/" }, { text = "http://c/" } } })
        local got = posts(three, message "m1", 2)
        assert.same({ "http://a/", "http://c/" }, { got[1].url, got[2].url })
        assert.same({ 1, 4 }, { got[1].bit, got[2].bit })
    end)
end)

describe("channels: secrets", function()
    it("are read when something is sent", function()
        posix.setenv("TIDEGATE_SPEC_URL", "http://hooks/a")
        local ops = World.channel("ops", { to = { { env = "TIDEGATE_SPEC_URL" } } })
        assert.equal("http://hooks/a", posts(ops, message "m1")[1].url)
        posix.setenv("TIDEGATE_SPEC_URL", "http://hooks/b")
        assert.equal("http://hooks/b", posts(ops, message "m1")[1].url)
        posix.setenv("TIDEGATE_SPEC_URL", nil)
        local path = write "http://hooks/c\n"
        assert.equal("http://hooks/c", posts(World.channel("ops", { to = { { file = path } } }), message "m1")[1].url)
        os.remove(path)
    end)

    it("that are not there, or are none, are told by where they are", function()
        local function error_of(secret)
            return posts(World.channel("ops", { to = { secret } }), message "m1").error
        end
        assert.equal("the variable TIDEGATE_SPEC_NONE is not set in the environment that tidegate was started with",
            error_of { env = "TIDEGATE_SPEC_NONE" })
        assert.equal("the file /nowhere/x of a secret cannot be read: No such file or directory",
            error_of { file = "/nowhere/x" })
        assert.equal("the file /dev/zero of a secret cannot be read: Invalid argument", error_of { file = "/dev/zero" })
        for text, why in pairs { [""] = "empty", [("x"):rep(5000)] = "too long" } do
            local path = write(text)
            assert.equal(("the file %s of a secret is %s"):format(path, why), error_of { file = path })
            os.remove(path)
        end
        local path = write "http://a/\r\nX-Evil: 1"
        assert.equal(("the secret in %s has control characters"):format(path), error_of { file = path })
        os.remove(path)
    end)

    it("are taken out of what is told on, whole and in parts", function()
        local ops = World.channel("ops", {
            to = { { text = "https://bob:hunter22@hooks.example/services/T0000000/B0000000/verysecret?key=abcdefghij" } },
            headers = { Authorization = { text = "Bearer 0123456789abcdef" } },
        })
        for _, said in ipairs {
            "no https://bob:hunter22@hooks.example/services/T0000000/B0000000/verysecret?key=abcdefghij",
            "/services/T0000000/B0000000/verysecret?key=abcdefghij is not known", "bad token verysecret", "abcdefghij",
            "no user bob:hunter22", "wrong password hunter22", "T0000000", "Bearer 0123456789abcdef", "0123456789abcdef",
            ("verysecret"):rep(40), "a\nverysecret\0",
        } do
            local told = World.clean(ops, said)
            for _, part in ipairs { "hunter22", "verysecret", "T0000000", "abcdefghij", "0123456789abcdef" } do
                assert.is_nil(told:find(part, 1, true), told)
            end
        end
        assert.equal("no tokens for you", World.clean(ops, "no\ttokens \r\n for\1you"))
        assert.equal("", World.clean(ops, ""))
        assert.is_true(#World.clean(ops, ("x"):rep(5000)) < 410)
    end)
end)

describe("channels: Alertmanager", function()
    local am = World.channel("am", { kind = "alertmanager", to = { { text = "http://a:9093/" }, { text = "http://b:9093/am" } } })

    it("gets a list of alerts, all of them at every address", function()
        local got = posts(am, message("m1", nil, { alert(), resolved({ fingerprint = "2" }, { instance = "shop-2" }) }))
        assert.same({ "http://a:9093/api/v2/alerts", "http://b:9093/am/api/v2/alerts" }, { got[1].url, got[2].url })
        assert.equal(got[1].body, got[2].body)
        assert.equal("application/json", got[1].type)
        local list = body_of(got[1])
        assert.equal(2, #list)
        assert.equal("2026-01-31T12:00:00.000Z", list[1].startsAt)
        assert.equal("2026-01-31T12:05:00.000Z", list[1].endsAt) -- four minutes from now
        assert.equal("2026-01-31T12:01:00.000Z", list[2].endsAt) -- now
        assert.equal("CPU of shop-1 is 97 %", list[1].annotations.summary)
        assert.is_nil(list[1].generatorURL)
    end)

    it("gets only what it takes", function()
        local odd = alert({ generatorURL = "http://x/" }, { ["bad-name"] = "x", ["1x"] = "x", empty = "", a1_ = "y", n = 3 })
        local one = body_of(posts(am, message("m1", nil, { odd, { status = "firing", labels = { ["-"] = "x" } } }))[1])
        assert.equal(1, #one)
        assert.equal("http://x/", one[1].generatorURL)
        assert.same({ alertname = "HighCPU", severity = "critical", service = "shop", instance = "shop-1", a1_ = "y" },
            one[1].labels)
    end)

    it("gets no end before the beginning, whatever the clock does", function()
        local one = resolved { startsAt = "2026-01-31T12:30:00.000Z" }
        local got = body_of(posts(am, message("m1", nil, { one }))[1])[1]
        assert.is_true(got.endsAt > got.startsAt)
    end)

    it("is told again of what fires, and for a while of what has ended", function()
        local group = message("m1", nil, { alert(), alert { fingerprint = "ff" } }).group
        local document = World.held(nil, group)
        assert.equal("firing", cjson.decode(document).alerts.ff.status)
        -- one ends by a message, one because it fires no more
        local over = message("m2", nil, { resolved { fingerprint = "ff" } }).group
        document = World.held(document, over, { ["0123456789abcdef"] = true })
        local alerts = cjson.decode(document).alerts
        assert.same({ "resolved", "2026-01-31T12:01:00.000Z" }, { alerts.ff.status, alerts.ff.toldAt })
        assert.equal("firing", alerts["0123456789abcdef"].status)
        local later = World.wall_ms + 60000
        document = World.held(document, nil, { none = true }, later)
        alerts = cjson.decode(document).alerts
        assert.equal("2026-01-31T12:02:00.000Z", alerts["0123456789abcdef"].toldAt)
        local again = body_of(posts(am, message("m3", nil, { alerts["0123456789abcdef"] }))[1])[1]
        assert.equal("2026-01-31T12:02:00.000Z", again.endsAt)
        assert.equal("{}", World.held(document, nil, { none = true }, later + 900001))
    end)

    it("is not told of an end whose beginning it was not told of", function()
        assert.equal("{}", World.held(nil, message("m1", nil, { resolved() }).group))
    end)
end)

describe("channels: Slack, PagerDuty, ntfy", function()
    local pager = World.channel("pager", { kind = "pagerduty", to = { text = "ROUTINGKEY" } })

    it("Slack gets text and a colour", function()
        local slack = World.channel("s", { kind = "slack" })
        local body = body_of(posts(slack, message("m1", nil, { alert { annotations = { summary = "<a> & b" } } }))[1])
        assert.equal("FIRING HighCPU (shop)", body.text)
        assert.equal("#d00000", body.attachments[1].color)
        assert.equal("[critical] HighCPU shop-1: &lt;a&gt; &amp; b (since 2026-01-31T12:00:00.000Z)",
            body.attachments[1].text)
        body = body_of(posts(slack, message("m1", nil, { resolved() }))[1])
        assert.equal("#2eb886", body.attachments[1].color)
        assert.same({ text = "<mine>" }, body_of(posts(slack, message("m1", { text = "<mine>" }))[1]))
        local many = {}
        for i = 1, 500 do
            many[i] = alert { annotations = { summary = ("ü"):rep(50) } }
        end
        assert.is_true(#body_of(posts(slack, message("m1", nil, many))[1]).attachments[1].text <= 3000)
    end)

    it("PagerDuty gets an event for each alert, by its fingerprint", function()
        local got = posts(pager, message("m1", nil, { alert(), resolved { fingerprint = "ff" } }))
        assert.equal("https://events.pagerduty.com/v2/enqueue", got[1].url)
        local one, two = body_of(got[1]), body_of(got[2])
        assert.same({ "ROUTINGKEY", "trigger", "0123456789abcdef" }, { one.routing_key, one.event_action, one.dedup_key })
        assert.same({ "critical", "shop-1", "shop", "HighCPU shop-1: CPU of shop-1 is 97 %" },
            { one.payload.severity, one.payload.source, one.payload.component, one.payload.summary })
        assert.same({ "resolve", "ff" }, { two.event_action, two.dedup_key })
        assert.is_nil(two.payload)
        pager.url = { text = "http://elsewhere/" }
        got = posts(pager, message("m1", { reason = "acknowledged" }))
        assert.equal("http://elsewhere/", got[1].url)
        assert.equal("acknowledge", body_of(got[1]).event_action)
    end)

    it("ntfy gets title, priority and tags at its root", function()
        local function ntfy(url, m)
            return posts(World.channel("n", { kind = "ntfy", to = { { text = url } } }), m or message "m1")
        end
        local got = ntfy "https://ntfy.example/sub/ops?auth=x"
        assert.equal("https://ntfy.example/sub/?auth=x", got[1].url)
        local body = body_of(got[1])
        assert.same({ "ops", 5, "critical" }, { body.topic, body.priority, body.tags[2] })
        assert.equal(2, body_of(ntfy("https://ntfy.example/ops", message("m", nil, { resolved() }))[1]).priority)
        for _, url in ipairs { "https://ntfy.example", "https://ntfy.example/", "x", "/", "" } do
            if url ~= "" then
                assert.equal("the address names no topic: it is https://SERVER/TOPIC", ntfy(url).error)
            end
        end
    end)
end)

describe("channels: mail", function()
    local mail = World.channel("mail", { kind = "email", to = {
        to = { "ops@shop.example", "Ann <ann@shop.example>" }, from = "Tidegate <tidegate@shop.example>",
        server = "smtp://127.0.0.1:25",
    } })

    local function head(text, name)
        return (text:match("\r\n" .. name .. ": (.-)\r\n[^ ]") or text:match("^" .. name .. ": (.-)\r\n"))
    end

    it("has what a mail needs", function()
        local text = World.mail(mail, message "m1")
        assert.equal("Tidegate <tidegate@shop.example>", head(text, "From"))
        assert.equal("ops@shop.example,\r\n Ann <ann@shop.example>", head(text, "To"))
        assert.equal("FIRING HighCPU (shop)", head(text, "Subject"))
        assert.equal("Sat, 31 Jan 2026 12:01:00 +0000", head(text, "Date"))
        assert.equal("<m1.mail@shop.example>", head(text, "Message%-ID"))
        assert.is_nil(text:gsub("\r\n", ""):find "[\r\n]")
        assert.equal("[critical] HighCPU shop-1: CPU of shop-1 is 97 % (since 2026-01-31T12:00:00.000Z)\r\n",
            text:match "\r\n\r\n(.*)$")
    end)

    it("belongs to the thread of its group", function()
        local one, two = World.mail(mail, message "m1"), World.mail(mail, message("m2", nil, { resolved() }))
        local other = World.mail(mail, message("m3", { group = "other" }))
        assert.equal(head(one, "References"), head(two, "References"))
        assert.equal(head(one, "References"), head(one, "In%-Reply%-To"))
        assert.are_not.equal(head(one, "References"), head(other, "References"))
        assert.are_not.equal(head(one, "Message%-ID"), head(two, "Message%-ID"))
    end)

    it("encodes what is not ASCII, never within a character, and lets no header in", function()
        local odd = message("m1", nil, { alert { annotations = { summary = "größer 💥" } } })
        odd.group.commonLabels = { alertname = ("ü💥"):rep(30), service = "x\r\nBcc: evil@shop.example" }
        local text = World.mail(mail, odd)
        local subject = head(text, "Subject")
        assert.is_nil(text:find("\nBcc", 1, true))
        local b64, whole = require "mime".unb64, {}
        for line in (subject .. "\r\n"):gmatch "(.-)\r\n" do
            assert.is_true(#line <= 77, line)
            local word = b64(line:match "^ ?=%?UTF%-8%?B%?(.-)%?=$")
            assert.is_nil(word:match "^[\128-\191]")
            whole[#whole + 1] = word
        end
        assert.equal("FIRING " .. ("ü💥"):rep(30) .. " (x\r\nBcc: evil@shop.example)", table.concat(whole))
        assert.equal("base64", head(text, "Content%-Transfer%-Encoding"))
        local body = text:match "\r\n\r\n(.*)$"
        for line in body:gmatch "(.-)\r\n" do
            assert.is_true(#line <= 76)
        end
        assert.equal("[critical] HighCPU shop-1: größer 💥 (since 2026-01-31T12:00:00.000Z)", (b64((body:gsub("%s", "")))))
    end)

    it("cuts what a template makes too long", function()
        assert.is_true(#World.mail(mail, message("m1", { text = ("é"):rep(200000) })) < 200000)
    end)
end)

describe("channels: words", function()
    it("say what it is", function()
        assert.equal("FIRING HighCPU (shop): 2 alerts", World.title(message("m", nil, { alert(), alert() })))
        assert.equal("ESCALATED HighCPU (shop)", World.title(message("m", { reason = "escalation" })))
        assert.equal("STILL FIRING HighCPU (shop)", World.title(message("m", { reason = "repeat" })))
        assert.equal("RESOLVED HighCPU (shop)", World.title(message("m", nil, { resolved() })))
        local several = message "m"
        several.group.commonLabels = {}
        assert.equal("FIRING several", World.title(several))
    end)

    it("count what is left out", function()
        local many = {}
        for i = 1, 3000 do
            many[i] = alert()
        end
        local m = message("m", nil, many)
        m.group.truncatedAlerts = 7
        local text = World.text(m)
        local _, lines = text:gsub("%[critical%]", "")
        assert.equal(3007 - lines, tonumber(text:match "and (%d+) more$"))
        assert.is_true(#text <= 65536)
    end)

    it("of Retry-After are seconds or a date", function()
        assert.equal(120000, World.retry_after "120")
        assert.equal(90000, World.retry_after "Sat, 31 Jan 2026 12:02:30 GMT")
        for _, nothing in ipairs { "", "soon", "-5", "Sat, 31 Jan 2026 11:00:00 GMT", "1.5" } do
            assert.equal(0, World.retry_after(nothing), nothing)
        end
        assert.is_true(World.retry_after "99999999999999999" > 0)
    end)
end)
