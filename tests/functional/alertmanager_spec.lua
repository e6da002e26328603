-- A real Alertmanager (Debian's prometheus-alertmanager): it gets alerts, groups them, hears of their end, and may be
-- restarted in between.
local cjson = require "cjson"
local http = require "socket.http"
local tidegate = require "tidegate"

local PROGRAM = "/usr/bin/prometheus-alertmanager"

local function start(t)
    local address = "127.0.0.1:" .. t:port "PORT2"
    local process = t:run_beside(PROGRAM, "--config.file=" .. t.dir .. "/am.yml", "--storage.path=" .. t.dir .. "/am",
        "--web.listen-address=" .. address, "--cluster.listen-address=", "--log.level=error")
    t:wait("Alertmanager to be ready", function()
        local body, status = http.request("http://" .. address .. "/-/ready")
        return body and status == 200
    end)
    return process
end

-- What it has, by the alert's instance.
local function alerts(t)
    local body = http.request("http://127.0.0.1:" .. t:port "PORT2" .. "/api/v2/alerts")
    local by_instance = {}
    for _, one in ipairs(cjson.decode(body)) do
        by_instance[one.labels.instance or one.labels.alertname] = one
    end
    return by_instance
end

local function received(process)
    local list = {}
    for line in (tidegate.read_file(process.out) or ""):gmatch "[^\n]+" do
        list[#list + 1] = cjson.decode(cjson.decode(line).body)
    end
    return list
end

describe("Alertmanager", function()
    if not io.open(PROGRAM) then
        pending "prometheus-alertmanager is not installed: scripts/setup test"
        return
    end

    it("receives, groups, hears of the end, and gets again what it forgot", tidegate.test(function(t)
        local hook = t:run_beside("/usr/bin/luajit", "tests/support/receiver.lua", "http", t:port "PORT3", "200")
        t:write("am.yml", [[
route: { receiver: hook, group_by: [alertname], group_wait: 1s, group_interval: 1s, repeat_interval: 1h }
receivers:
  - name: hook
    webhook_configs: [ { url: "http://127.0.0.1:@PORT3@/", send_resolved: true } ]
]])
        local manager = start(t)
        t:configure([[
alerting { defaults = false, interval = "200ms", group_wait = 0, group_interval = "200ms", maintenance = false }
alert "Runs" { when = { metric_path = "health.up", operator = ">=", threshold = 1 }, scope = "instance", flap = false, cooldown = 0,
               labels = { team = "data" }, severity = "critical", message = "{{instance}} runs with {{value}}" }
channel "am" { alertmanager = { "http://127.0.0.1:@PORT2@", "http://127.0.0.1:1" } }
service "shop" { command = { "@SERVICE@" }, scale = { min = 1, max = 3, up_cooldown = 0, down_cooldown = 0 } }
]])
        t:start()
        assert.equal(0, t:cli("scale", "shop", "2", "--for", "1h").code)
        t:wait("both alerts", function()
            local now = alerts(t)
            return now["shop-1"] and now["shop-2"]
        end)
        local one = alerts(t)["shop-1"]
        assert.same({ alertname = "Runs", severity = "critical", service = "shop", instance = "shop-1", team = "data" }, one.labels)
        assert.matches("^shop%-1 runs with 1", one.annotations.summary)
        t:wait("its own message", function()
            local last = received(hook)
            last = last[#last]
            return last and #last.alerts == 2 and last.status == "firing"
        end)
        local function restart()
            t:kill(manager.pid, 15)
            t:wait("Alertmanager to end", function()
                return not tidegate.alive(manager.pid)
            end)
            manager = start(t)
        end
        -- Restarted it knows of no alert: it is told again of those that fire.
        restart()
        t:wait("the alerts again", function()
            local now = alerts(t)
            return now["shop-1"] and now["shop-2"]
        end)
        assert.equal(one.startsAt, alerts(t)["shop-1"].startsAt)
        -- One ends.
        assert.equal(0, t:cli("scale", "shop", "1", "--for", "1h").code)
        t:wait("the end of one", function()
            local last = received(hook)
            last = last[#last]
            local resolved = 0
            for _, alert in ipairs(last and last.alerts or {}) do
                resolved = resolved + (alert.status == "resolved" and 1 or 0)
            end
            return resolved == 1
        end)
        -- Killed, the daemon knows what it told: both are started anew, and the one that fires is there again.
        t:crash()
        restart()
        assert.same({}, alerts(t))
        t:start()
        t:wait("the one that is left", function()
            return alerts(t)["shop-1"]
        end)
        assert.is_nil(alerts(t)["shop-2"])
        assert.equal(one.startsAt, alerts(t)["shop-1"].startsAt)
        local answer = cjson.decode(t:cli("alert", "channels", "--json").out).channels[1]
        assert.equal(0, answer.dropped)
        assert.equal(0, answer.waiting)
    end))
end)
