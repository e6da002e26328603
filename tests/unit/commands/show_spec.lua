local C, ffi = require("ffi_room").load("base/buf.h", "base/json.h", "commands/screen.h", "commands/commands.h")
local cjson = require "cjson"

local function shown(show, answer, columns, colour)
    local buf = ffi.new "struct buf[1]"
    C.buf_init(buf, 1024 * 1024)
    local text = cjson.encode(answer)
    local json = C.json_parse(text, #text)
    show(buf, json, columns or 100, colour or false)
    C.json_free(json)
    local out = ffi.string(C.buf_str(buf), buf[0].len)
    C.buf_free(buf)
    return out
end

local function status(answer, columns, colour)
    return shown(C.commands_show_status, answer, columns, colour)
end

local function widest(text)
    local most = 0
    for line in text:gmatch "[^\n]+" do
        most = math.max(most, #line:gsub("[\128-\191]", ""))
    end
    return most
end

local function example()
    return {
        ok = true, version = "0.1.0", cluster = "shop", pid = 71, generation = 3, hash = "3f2a9c01d2e4b6a8", uptime_s = 7384.2, policy = "up",
        workers = { { index = 0 }, { index = 1 } },
        engine = { name = "docker", state = "up", description = "docker 20.10.24, API 1.41" },
        services = {
            {
                name = "catalog", source = "image", desired = 4, min = 2, max = 20, up = 3, generation = 7, rolling = true,
                last_decision = {
                    wall_ms = os.time() * 1000 - 90000, action = "scale_up", was = 3, result = 4, want = 4,
                    reason = "High resource usage - CPU: 91.0%, Memory: 40.1%", held_by = "",
                },
                resources = { cpu_percent = 61.24, memory_percent = 40 },
                traffic = { rate = 310.5, in_flight = 12, p50_ms = 3.12, p99_ms = 31, error_rate = 0.001 },
                instances = {
                    {
                        id = "catalog-7", state = "up", address = "172.18.0.3:8080", age_s = 200, restarts = 1,
                        in_flight = 5, requests = 123456, errors = 2, cpu_percent = 12.5, memory_bytes = 64 * 1024 * 1024,
                        reason = "HTTP health check passed", circuit = "half-open",
                    },
                    { id = "catalog-9", state = "up", drained = true },
                    { id = "catalog-8", state = "down", address = "", age_s = 3, reason = "GET /health answered 500" },
                },
            },
            { name = "legacy", source = "backends", desired = 2, up = 2, min = 0, max = 0, manual_for_s = 61,
                stopped = true, instances = { { id = "10.0.0.5:9000", state = "up" } } },
            { name = "batch", source = "image", desired = 0, up = 0, min = 0, max = 3, zero = { waking = false, idle_s = 60, wakes = 0,
                cold_starts_a_day = { ["60"] = 0 } },
                instances = {} },
            { name = "reports", source = "image", desired = 1, up = 0, min = 0, max = 3, zero = { waking = true, idle_s = 900, wakes = 4,
                cold_starts_a_day = { ["60"] = 36.25, ["300"] = 12 } },
                instances = {} },
        },
    }
end

describe("commands/show", function()
    it("says that balance policies are set aside", function()
        local answer = example()
        assert.is_nil(status(answer):find("balance policy", 1, true))
        answer.balance_set_aside = true
        assert.truthy(status(answer):find("hung in a balance policy: least connections until the next reload", 1, true))
    end)

    it("says how many alerts fire", function()
        local answer = example()
        answer.alerts = { info = 0, warning = 0, critical = 0 }
        assert.is_nil(status(answer):find("alert", 1, true))
        answer.alerts = { info = 0, warning = 1, critical = 0 }
        assert.matches("1 alert firing, 0 critical: see `tidegate alerts`\n", status(answer))
        answer.alerts = { info = 1, warning = 1, critical = 2 }
        assert.truthy(status(answer, 100, true):find("\27[31m4 alerts firing, 2 critical", 1, true))
    end)

    it("shows daemon, services, decisions and instances", function()
        local text = status(example(), 110)
        assert.matches("cluster shop  generation 3 %(3f2a9c01%)  up 2h03m  2 workers", text)
        assert.matches("engine docker up: docker 20.10.24, API 1.41", text, 1, true)
        assert.matches("catalog +3/4 +2%-20 +7 rolling +61.2%% +40%% +310.5 +12 +3.1ms +31ms +0.10%%", text)
        assert.matches("legacy +2/2 +%- +0 stopped", text)
        assert.matches("batch +0/0 +0%-3 +0 asleep", text)
        assert.matches("reports +0/1 +0%-3 +0 waking", text)
        assert.matches("to zero after 15m%d*s? without a request: 4 cold starts; a day, by idle time: ", text)
        assert.matches("36.2 at 1m", text)
        assert.matches("12 at 5m", text)
        assert.matches("catalog%-9 +drained ", text)
        assert.matches("by hand: the policy decides again in 1m01s", text)
        assert.matches("catalog +1m3%ds +scale_up 3 %-> 4 +High resource usage %- CPU: 91.0%%", text)
        assert.matches("catalog%-7 +up +half%-open +172.18.0.3:8080 +3m20s +1 +5 +123456 +2 +12.5%% +64M", text)
        assert.matches("catalog%-8 down: GET /health answered 500", text)
        assert.is_nil(text:find("health check passed", 1, true))
        assert.is_nil(text:find(" \n", 1, true), "blanks at the end of a line")
    end)

    it("tells of a refused reload, a dead policy process, an engine that is down", function()
        local answer = example()
        answer.policy = "down"
        answer.engine = { name = "docker", state = "down", description = "connection refused" }
        answer.reload = { ok = false, error = "tidegate.lua:3: no such key\ntidegate.lua:9: bad" }
        local text = status(answer)
        assert.matches("engine docker down: connection refused", text)
        assert.matches("policy process down", text)
        assert.matches("refused.*\ntidegate.lua:3: no such key\ntidegate.lua:9: bad\n", text)
    end)

    it("tells of a failed deploy, without instances too", function()
        local answer = example()
        answer.services[1].instances = {}
        answer.services[1].deploy = { state = "failed", reason = "GET /health answered 500" }
        assert.matches("\ncatalog\n  deploy failed: GET /health answered 500\n", status(answer))
    end)

    it("keeps within the columns whatever the names", function()
        local answer = example()
        for i = 1, 3 do
            local s = example().services[1]
            s.name = ("n"):rep(63) .. i
            s.last_decision.reason = ("r\195\169ason "):rep(60)
            s.instances[1].id = s.name .. "-123"
            s.instances[1].address = "[fe80:1111:2222:3333:4444:5555:6666:7777]:12345"
            s.instances[3].reason = ("x"):rep(500)
            answer.services[i] = s
        end
        for _, columns in ipairs { 100, 140 } do
            assert.is_true(widest(status(answer, columns)) <= columns)
        end
        assert.matches("%.%.%.", status(answer, 100))
    end)

    it("colours only when asked, and lets nobody else", function()
        local answer = example()
        assert.is_nil(status(answer):find "\27")
        assert.truthy(status(answer, 100, true):find "\27%[32m")
        answer.services[1].instances[3].reason = "\27[31mred\7\r\nx\194\155y\127"
        answer.services[1].name = "\27]0;title\7"
        answer.engine.description = "\27[2J"
        local text = status(answer)
        assert.is_nil(text:find "[\27\7\r\127]")
        assert.is_nil(text:find "\194\155")
        assert.matches("%?%[31mred%?%? x%?%?y%?", text)
    end)

    it("shows an empty daemon and nonsense without falling over", function()
        assert.matches("no services", status { ok = true })
        for _, answer in ipairs {
            {}, { services = { {} } }, { services = { 1, "x" } }, { services = { { instances = { {}, 5 } } } },
            { services = { { traffic = { rate = 1e300, p50_ms = -5 }, last_decision = { action = "hold" } } } },
            { engine = "x", workers = 5, uptime_s = -1, services = "x" },
        } do
            assert.is_string(status(answer))
        end
    end)

    it("says what keeps a service's policy from deciding", function()
        for want, service in pairs {
            ["scaling is set to paused: its policy changes nothing"] = { mode = "paused" },
            ["scaling is set to shadow: its policy only reports"] = { mode = "shadow" },
            ["scaling is set to pinned: its policy and `tidegate scale` change nothing"] = { mode = "pinned" },
            ["scaling is set to recommend: its policy recommends no change"] = { mode = "recommend" },
            ["recommends 5 instances: `tidegate approve catalog` starts or stops them"] = { mode = "recommend", recommended = 5 },
            ["scaled by hand: the policy decides again in 9m00s"] = { mode = "active", manual_for_s = 540 },
            ["shadow queue: not asked yet"] = { shadows = { { name = "queue", asked = 0 } } },
            ["shadow queue agrees: 4 (differed in 3 of 9): calm"] =
                { shadows = { { name = "queue", asked = 9, differed = 3, would = 4, own = 4, reason = "calm" } } },
            ["shadow queue would have 6, not 4 (differed in 3 of 9): much waits"] =
                { shadows = { { name = "queue", asked = 9, differed = 3, would = 6, own = 4, reason = "much waits" } } },
            ["shadow queue failed: queue.lua:3: broken"] = { shadows = { { name = "queue", asked = 9, error = "queue.lua:3: broken" } } },
            ["its policy went to and fro too often: no scaling down for 20m"] = { mode = "active", frozen_for_s = 1200 },
        } do
            service.name = "catalog"
            assert.matches("\ncatalog\n  " .. want, status { ok = true, services = { service } }, 1, true)
        end
        assert.is_nil(status({ ok = true, services = { { name = "catalog", mode = "active" } } }):find("scaling", 1, true))
    end)

    it("shows decisions with what was wanted and what held them", function()
        local text = shown(C.commands_show_decisions, {
            decisions = {
                {
                    wall_ms = os.time { year = 2026, month = 1, day = 31, hour = 12, min = 0, sec = 5 } * 1000,
                    service = "catalog", policy = "threshold", want = 5, was = 4, result = 4, action = "hold",
                    reason = "High resource usage", held_by = "cooldown", count = 12,
                },
                { service = "catalog", policy = "threshold", was = 4, result = 3, action = "scale_down", reason = "calm" },
                { service = "catalog", want = 99, was = 4, result = 4, action = "hold", reason = "Hi", held_by = "cooldown",
                    constraints = { { rule = "max", before = 99, after = 5 }, { rule = "cooldown", before = 5, after = 4 } } },
                { service = "catalog", was = 4, result = 6, action = "scale_up", reason = "calm", held_by = "",
                    constraints = { { rule = "saturation", before = 4, after = 6 } } },
                { service = "catalog", was = 4, result = 4, action = "hold", reason = "x.lua:3: broken", held_by = "policy_error",
                    constraints = { { rule = "policy_error", before = 4, after = 4 } } },
            },
        })
        assert.matches("held by max 99 -> 5, cooldown 5 -> 4", text, 1, true)
        assert.matches("raised by saturation 4 -> 6: calm", text, 1, true)
        assert.matches("held by policy_error: x.lua:3: broken", text, 1, true)
        assert.matches("01%-31 12:00:05 +catalog +hold 4 x12 +5 +threshold +held by cooldown: High resource usage", text)
        assert.matches("%- +catalog +scale_down 4 %-> 3 +%- +threshold +calm", text)
        assert.matches("no decisions", shown(C.commands_show_decisions, { decisions = {} }))
    end)
end)

describe("commands", function()
    it("reads durations", function()
        local ms = ffi.new "uint64_t[1]"
        for text, want in pairs {
            ["90s"] = 90000, ["10m"] = 600000, ["1h30m"] = 5400000, ["250ms"] = 250, ["15"] = 15000, ["2d"] = 172800000,
            ["0"] = 0, ["0s"] = 0,
        } do
            assert.equal(0, C.command_duration_ms(text, ms), text)
            assert.equal(want, tonumber(ms[0]), text)
        end
        for _, bad in ipairs { "", "s", "10x", "-1s", "1.5h", " 1s", "1s ", "1hm", "99999999999999999999s", "9999999999d" } do
            assert.is_true(C.command_duration_ms(bad, ms) < 0, bad)
        end
    end)

    it("has a complete table", function()
        local all, i = C.commands_all(), 0
        while all[i] ~= nil do
            local c = all[i]
            local name = ffi.string(c.name)
            assert.equal(c, C.command_find(name))
            assert.matches("^%l[^.]+[^.]$", ffi.string(c.summary), name)
            assert.matches("%.$", ffi.string(c.doc), name)
            assert.matches("^tidegate " .. name, ffi.string(c.example), name)
            assert.is_true(c.least <= c.most)
            i = i + 1
        end
        assert.is_true(i >= 13)
    end)
end)
