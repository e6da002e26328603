-- Scaling: by the policy, within bounds and cooldowns, by hand for a while; no request is lost.
local tidegate = require "tidegate"

local SERVICE = [[
service "data" {
  command = { "@SERVICE@", "--host", "127.0.0.1", "--port", "$PORT" },
  health_check = { http = "/health", interval = "100ms", timeout = "1s", retries = 2 },
  resources = { cpus = 0.2 },
  @SCALE@
  route = { listen = "127.0.0.1:@PORT@", balance = "least_connections" },
}]]

-- A policy that wants what `body` returns.
local function policy(t, name, body)
    t:write("policies/scale/" .. name .. ".lua", ([[
return {
  name = "%s", doc = "for this test",
  new = function() return function(s) %s end end,
}]]):format(name, body))
end

local function last(decisions, action)
    for i = #decisions, 1, -1 do
        if decisions[i].action == action then
            return decisions[i]
        end
    end
end

describe("scale", function()
    it("goes up under load and down when it is over, no request failing", tidegate.test(function(t)
        t:configure(SERVICE, { SCALE = [[scale = { policy = "threshold", min = 2, max = 6, cpu = 60, memory = 90,
            interval = "100ms", up_cooldown = "500ms", down_cooldown = "500ms" },]] })
        t:start()
        -- 0.3 cores: 75 % of two instances with 0.2 each, 50 % of three.
        local load = t:load { path = "/work?cpu_ms=3&latency_ms=20", rate = 100, connections = 32 }
        t:wait("a third instance", function()
            return t:of().up >= 3
        end)
        local up = last(t:decisions(), "scale_up")
        assert.equal("data", up.service)
        assert.equal("threshold", up.policy)
        assert.equal(up.was + 1, up.result)
        assert.equal(up.result, up.want)
        assert.truthy(up.reason:find "^High resource usage %- CPU: [%d.]+%%, Memory: [%d.]+%%$", up.reason)
        assert.is_true(up.inputs.cpu_percent > 60)
        assert.equal("", up.held_by or "")

        -- Nearly idle, with requests that take a while: draining must wait for them.
        load:say "rate 10"
        t:wait_up(2)
        local down = last(t:decisions(), "scale_down")
        assert.equal(down.was - 1, down.result)
        assert.truthy(down.reason:find "CPU: [%d.]+%%, Memory: [%d.]+%%", down.reason)
        assert.is_true(down.inputs.cpu_percent < 30)
        load:stop_clean()
        local shown = t:cli("decisions", "data")
        assert.truthy(shown.out:find("scale_up", 1, true) and shown.out:find("High resource usage", 1, true), shown.out)
    end))

    it("waits for the requests of an instance before it stops it", tidegate.test(function(t)
        policy(t, "hold", "return nil")
        t:configure(SERVICE, { SCALE = [[scale = { policy = "hold", min = 1, max = 4 },]] })
        t:start()
        assert.equal(0, t:cli("scale", "data", "3").code)
        t:wait_up(3)
        local load = t:load { path = "/work?latency_ms=800", rate = 60, connections = 80 }
        assert.equal(0, t:cli("scale", "data", "1").code)
        t:wait("draining to be seen", function()
            return t:of().draining > 0
        end)
        t:wait_up(1)
        load:stop_clean()
    end))

    it("sees the requests that wait because all instances are full", tidegate.test(function(t)
        policy(t, "waiting", "return s.queue >= 4 and 2 or nil, s.queue .. ' wait'")
        t:configure(SERVICE, { SCALE = [[max_connections = 1,
            scale = { policy = "waiting", min = 1, max = 2, interval = "100ms", up_cooldown = "0s" },]] })
        local admin = t:port "ADMIN"
        t:start { args = { "--admin", "127.0.0.1:" .. admin } }
        assert.equal(0, t:of().traffic.queue)
        -- One at a time and 50 ms each: 12 clients keep 11 waiting before one instance, 10 before two.
        local load = t:load { path = "/work?latency_ms=50", rate = 1000, connections = 12 }
        local up = t:wait("more instances", function()
            return last(t:decisions(), "scale_up")
        end)
        assert.is_true(up.inputs.queue >= 4 and up.inputs.queue <= 11, up.inputs.queue)
        assert.equal(up.inputs.queue .. " wait", up.reason)
        t:wait_up(2)
        t:wait("the queue in status and metrics", function()
            local length = t:get("/metrics", { port = admin }).body
                :match '\ntidegate_service_queue_length{service="data"} (%d+)'
            return t:of().traffic.queue > 0 and tonumber(length) > 0
        end)
        load:stop_clean()
        t:wait("the queue to be empty", function()
            return t:of().traffic.queue == 0
        end)
    end))

    it("is done by hand for a while, then by the policy again", tidegate.test(function(t)
        policy(t, "two", "return 2, 'two are enough'")
        t:configure(SERVICE, { SCALE = [[scale = { policy = "two", min = 1, max = 4, interval = "100ms",
            up_cooldown = "0s", down_cooldown = "0s" },]] })
        t:start { cluster_only = true }
        t:wait_up(2)
        local answer = t:ask("scale", "data", "4", "--for", "1500ms")
        assert.same({ 2, 4 }, { answer.was, answer.instances })
        t:wait_up(4)
        t:wait("a decision held by hand", function()
            local held = last(t:decisions(), "hold")
            return held and held.held_by == "manual"
        end)
        t:wait_up(2)
        assert.equal("two are enough", last(t:decisions(), "scale_down").reason)

        local beyond = t:cli("scale", "data", "9")
        assert.equal(1, beyond.code)
        assert.truthy(beyond.err:find("4", 1, true), beyond.err)
        assert.equal(1, t:cli("scale", "nothing", "2").code)
        assert.equal(2, t:cli("scale", "data", "many").code)
    end))

    it("waits for an operator's word, and changes modes in place", tidegate.test(function(t)
        policy(t, "two", "return 2, 'two are enough'")
        local function mode(text)
            t:configure(SERVICE, { SCALE = [[scale = { policy = "two", min = 1, max = 4, interval = "100ms", ]] .. text
                .. [[, up_cooldown = "0s", down_cooldown = "0s" },]] })
        end
        mode 'mode = "recommend"'
        local admin = t:port "ADMIN"
        t:start { args = { "--admin", "127.0.0.1:" .. admin } }
        t:wait("a recommendation", function() return t:of().recommended == 2 end)
        assert.same({ 1, "recommend" }, { t:of().desired, t:of().mode })
        local status = t:cli("status", "data").out
        assert.truthy(status:find("recommends 2 instances: `tidegate approve data` starts or stops them", 1, true), status)
        assert.truthy(t:get("/metrics", { port = admin }).body:find('tidegate_instances_recommended{service="data"} 2', 1, true))
        local said = t:cli("approve", "data")
        assert.same({ 0, "data: 1 -> 2 instances\n" }, { said.code, said.out })
        t:wait_up(2)
        assert.truthy(last(t:decisions(), "scale_up").reason:find "^approved by .+: two are enough$")
        said = t:cli("approve", "data")
        assert.same({ 1, true }, { said.code, said.err:find("nothing is recommended", 1, true) ~= nil })

        mode "pinned = 3"
        assert.equal(0, t:cli("reload").code)
        t:wait_up(3)
        assert.truthy(t:cli("scale", "data", "1").err:find("pinned to 3", 1, true))
        local pids = t:pids()
        mode 'mode = "paused"'
        assert.equal(0, t:cli("reload").code)
        t:wait("held by its mode", function() return (t:of().last_decision or {}).held_by == "paused" end)
        assert.same(pids, t:pids())
        mode 'mode = "active"'
        assert.equal(0, t:cli("reload").code)
        t:wait_up(2)
        t:wait_settled()
    end))

    it("asks a shadow policy beside its own, and only tells what it would have", tidegate.test(function(t)
        policy(t, "one", "return 1, 'one is enough'")
        policy(t, "three", "return 3, 'three at least'")
        t:configure(SERVICE, { SCALE = [[scale = { policy = "one", shadow = "three", min = 1, max = 4, interval = "100ms" },]] })
        local admin = t:port "ADMIN"
        t:start { args = { "--admin", "127.0.0.1:" .. admin } }
        t:wait("answers of the shadow", function() return (((t:of().shadows or {})[1] or {}).asked or 0) >= 3 end)
        t:wait("a difference", function() return t:of().shadows[1].differed > 0 end)
        local status = t:cli("status", "data").out
        assert.matches("shadow three would have 3, not 1 %(differed in %d+ of %d+%): three at least", status)
        assert.equal(1, t:of().desired)
        assert.truthy(t:get("/metrics", { port = admin }).body
            :match '\ntidegate_shadow_differences_total{point="scale",of="data",route="",policy="three"} [1-9]')
        t:wait("the event", function()
            for _, event in ipairs(t:ask("events", "data", "--kind", "policy").events) do
                if event.what == "shadow three would have more" then
                    return event
                end
            end
        end)
        local all = t:decisions()
        assert.same({ "three", 3, 1 }, { all[#all].shadows[1].name, all[#all].shadows[1].would, all[#all].shadows[1].own })
    end))

    it("keeps to bounds and cooldowns whatever the policy wants", tidegate.test(function(t)
        policy(t, "more", "return s.instances + 1, 'more'")
        policy(t, "lots", "return 50, 'lots'")
        policy(t, "broken", "return s.instances + nil")
        t:configure(SERVICE .. [[

service "many" {
  command = { "@SERVICE@", "--host", "127.0.0.1", "--port", "$PORT" },
  health_check = { http = "/health", interval = "100ms" },
  scale = { policy = "lots", min = 1, max = 2, interval = "100ms", up_cooldown = "0s", down_cooldown = "0s" },
}
service "wrong" {
  command = { "@SERVICE@", "--host", "127.0.0.1", "--port", "$PORT" },
  health_check = { http = "/health", interval = "100ms" },
  scale = { policy = "broken", min = 1, max = 3, interval = "100ms" },
}]], { SCALE = [[scale = { policy = "more", min = 1, max = 9, interval = "100ms", up_cooldown = "1h",
            down_cooldown = "0s" },]] })
        t:start { cluster_only = true }
        t:wait("held by cooldown", function()
            local d = t:of("data").last_decision
            return d and d.held_by == "cooldown"
        end)
        local data = t:of "data"
        assert.equal(2, data.desired)
        assert.equal(3, data.last_decision.want)
        t:wait("held by max", function()
            local d = t:of("many").last_decision
            return d and d.held_by == "max" and d.want == 50
        end)
        assert.equal(2, t:of("many").desired)
        local wrong = t:wait("a policy error", function()
            local d = t:of("wrong").last_decision
            return d and d.held_by == "policy_error" and d
        end)
        assert.truthy(wrong.reason:find("broken.lua:3", 1, true), wrong.reason)
        assert.equal(1, t:of("wrong").desired)
        t:wait_settled()
    end))

    it("has the fewest of an open window, by the clock of its zone", tidegate.test(function(t)
        t:configure(SERVICE, { SCALE = [[scale = { policy = "schedule", of = { policy = "max_of", of = { "queue", "threshold" } },
            min = 1, max = 4, interval = "100ms",
            windows = { { cron = "* * * * *", lasting = "1h", min = 3 }, { cron = "0 0 1 1 *", lasting = "1m", max = 1 } } },]] })
        t:start()
        t:wait_up(3)
        local up = last(t:decisions(), "scale_up")
        assert.same({ "schedule", 3 }, { up.policy, up.result })
        assert.matches("^at least 3 %(%* %* %* %* %* UTC%); max_of ", up.reason)
        assert.is_true(math.abs(up.inputs.time - os.time()) < 60)
    end))
end)
