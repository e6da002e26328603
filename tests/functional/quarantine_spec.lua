-- A policy that fails again and again is not asked any more until the next reload: its fallback decides, and status,
-- log, events, metrics and an alert say which one, where it fails and with what.
local cjson = require "cjson"
local tidegate = require "tidegate"

local LIMIT = 'policy_errors = { limit = 3, window = "1m" },'

local SERVICE = [[
service "data" {
  command = { "@SERVICE@", "--host", "127.0.0.1", "--port", "$PORT" },
  health_check = { http = "/health", interval = "100ms", timeout = "1s", retries = 2 },
  scale = @SCALE@,
  route = { listen = "127.0.0.1:@PORT@", balance = "@BALANCE@", @REQUEST@ },
  @ASIDE@
}
alerting { interval = "100ms", group_wait = "0s", group_interval = "0s", maintenance = false,
           defaults = { PolicyQuarantined = { flap = false, cooldown = "0s" } }, @ALERTING@ }
channel "here" { log = true }
@MORE@]]

local function configure(t, values)
    local v = { SCALE = "{ min = 1, max = 3 }", BALANCE = "round_robin", REQUEST = "", ASIDE = "", ALERTING = "",
        MORE = "", CLUSTER = LIMIT }
    for key, value in pairs(values) do
        v[key] = t:fill(value)
    end
    t:configure(SERVICE, v)
end

-- A policy file whose function does `body` on its third line.
local function policy(t, kind, body)
    t:write("policies/" .. kind .. "/broken.lua", ([[
return { name = "broken", doc = "for this test", new = function()
return %s
%s
end%s end }]]):format(kind == "balance" and "{ pick = function(backends, n, request)" or "function(s)", body,
        kind == "balance" and " }" or ""))
end

local function failing(t, about)
    for _, one in ipairs(t:status().failing) do
        if one.about == about then
            return one
        end
    end
end

local function wait_quarantine(t, about)
    return t:wait(about .. " in quarantine", function()
        local one = failing(t, about)
        return one and one.quarantined and one
    end)
end

local function metric(t, line)
    return t:get("/metrics", { port = t:port "ADMIN" }).body:match("\n" .. line:gsub("%p", "%%%0") .. " (%d+)")
end

local function admin(t)
    t:start { args = { "--admin", "127.0.0.1:" .. t:port "ADMIN" } }
end

describe("quarantine", function()
    it("is not for a policy among the parameters of another: it is told of, and those beside it decide", tidegate.test(function(t)
        policy(t, "scale", "return s.desired + s.cpu_percent.x")
        t:write("policies/scale/two.lua", [[
return { name = "two", doc = "for this test", new = function() return function() return 2, "two" end end } ]])
        configure(t, { SCALE = '{ policy = "max_of", of = { "broken", "two" }, min = 1, max = 3, interval = "100ms" }' })
        admin(t)
        local one = t:wait("more errors than a quarantine takes", function()
            local it = failing(t, "part of data")
            return it and it.errors > 6 and it
        end)
        assert.same({ "broken", false, "the policies beside it decide" }, { one.policy, one.quarantined, one.fallback })
        assert.truthy(one.error:find("^policies/scale/broken.lua:3: attempt to index"), one.error)
        assert.matches("instances [01], desired 1", t:log():match "a policy failed[^\n]+")
        t:wait_up(2)
        local list = t:decisions()
        assert.matches("^two 2: two; broken failed: policies/scale/broken.lua:3: ", list[#list].reason)
        assert.is_true(tonumber(metric(t, "tidegate_policy_errors_total")) > 6)
    end))

    it("of a scale policy holds its service; a reload lifts it", tidegate.test(function(t)
        policy(t, "scale", "return s.desired + s.cpu_percent.x")
        configure(t, { SCALE = '{ policy = "broken", min = 2, max = 3, interval = "100ms" }' })
        admin(t)
        local one = wait_quarantine(t, "scale of data")
        assert.same({ "broken", 3, 1, "the number of instances stays" },
            { one.policy, one.errors, one.generation, one.fallback })
        assert.truthy(one.error:find("^policies/scale/broken.lua:3: attempt to index"), one.error)
        assert.matches("instances 2, desired 2", one.input)
        t:wait("a hold that says so", function()
            local list = t:decisions()
            local last = list[#list]
            return last.held_by == "policy_error" and last.reason:find("^in quarantine until the next reload, for it failed: "
                .. "policies/scale/broken.lua:3: ") and last.result == 2
        end)
        assert.equal(3, failing(t, "scale of data").errors) -- it was not asked any more
        local shown = t:cli("status").out
        assert.truthy(shown:find("scale of data is in quarantine: the number of instances stays until the next reload "
            .. "(3 errors, generation 1)\n  policies/scale/broken.lua:3: ", 1, true), shown)
        assert.equal("1", metric(t, 'tidegate_policy_quarantined{point="scale",of="data",route=""}'))
        assert.equal("3", metric(t, 'tidegate_policy_faults_total{point="scale",of="data",route=""}'))
        t:wait("the alert", function()
            for _, alert in ipairs(t:ask("alerts").alerts) do
                if alert.name == "PolicyQuarantined" and alert.state == "firing" then
                    return alert.message:find("scale of data: policies/scale/broken.lua:3: ", 1, true)
                end
            end
        end)
        local events
        t:wait("the event", function()
            events = cjson.decode(t:cli("events", "--kind", "policy", "--json").out).events
            return #events == 1
        end)
        assert.same({ "data", true }, { events[1].service, events[1].bad })
        assert.matches("^a policy is in quarantine until the next reload: the number of instances stays", events[1].what)
        assert.matches("generation 1: 3 errors; the last: policies/scale/broken.lua:3: .*asked with instances 2", events[1].detail)
        assert.matches("a policy failed.*scale of data.*policies/scale/broken.lua:3", t:log())

        -- The policy process is started again: it hears of it.
        t:kill(t:status().policy_pid)
        local count = #t:decisions()
        t:wait("the policy process to hold again", function()
            local list = t:decisions()
            return t:status().policy == "up" and (#list > count or list[#list].count > 1)
                and list[#list].reason:find "^in quarantine"
        end)
        assert.equal(3, failing(t, "scale of data").errors)

        -- The same files again: it is asked again.
        assert.equal(0, t:cli("reload").code)
        t:wait("errors of the next generation", function()
            local again = failing(t, "scale of data")
            return again and again.generation == 2
        end)
        policy(t, "scale", "return 3")
        assert.equal(0, t:cli("reload").code)
        t:wait_up(3)
        assert.same({}, t:status().failing)
        assert.equal("0", metric(t, 'tidegate_policy_quarantined{point="scale",of="data",route=""}'))
    end))

    it("of a balance policy and of a request function costs no request, in any worker", tidegate.test(function(t)
        policy(t, "balance", "return backends[n + 1].index")
        configure(t, { BALANCE = "data_locality_aware", REQUEST = [[request = function(r)
          return { dataset_id = r.query.x.y } end ]], MORE = [[
service "other" { command = { "@SERVICE@", "--host", "127.0.0.1", "--port", "$PORT" }, scale = { instances = 2 },
  route = { { listen = "127.0.0.1:@PORT2@", host = "a.example" }, { listen = "127.0.0.1:@PORT2@", balance = "broken" } } }]] })
        admin(t)
        local quiet, asked = 0, 0
        t:wait("both in quarantine", function()
            for _ = 1, 10 do
                assert.equal(200, t:get("/work").status)
                assert.equal(200, t:get("/work", { port = t:port "PORT2" }).status)
            end
            local a, b = failing(t, "balance of other, route 2"), failing(t, "request of data")
            return a and b and a.quarantined and b.quarantined
        end)
        local one = failing(t, "balance of other, route 2")
        assert.same({ 2, "broken", "least connections decide" }, { one.route, one.policy, one.fallback })
        assert.truthy(one.error:find("^policies/balance/broken.lua:3: attempt to index a nil value"), one.error)
        assert.matches("a request of 127.0.0.1.* to /, attempt 1, 2 of 2 backends eligible", one.input)
        assert.matches("^tidegate.lua:%d+: ", failing(t, "request of data").error)
        local function errors()
            local sum = 0
            for _, worker in ipairs(t:status().workers) do
                sum = sum + worker.policy_errors + worker.request_errors
            end
            return sum
        end
        local function burst()
            for _ = 1, 30 do
                assert.equal(200, t:get("/work").status)
                assert.equal(200, t:get("/work", { port = t:port "PORT2" }).status)
            end
            return errors()
        end
        -- Workers hear of it a moment after the master says so.
        t:wait("no worker to ask any more", function()
            asked, quiet = burst(), asked
            return asked == quiet
        end)
        local explained = t:cli("explain", "--like", "GET /work Host: b.example", "--listen",
            "127.0.0.1:" .. t:port "PORT2", "--json").out
        assert.matches('"decides":"builtin"', explained)
        assert.matches("it failed too often and is not asked until the next reload", explained)
        -- A worker in the place of another hears of it too.
        local pid = t:status().workers[1].pid
        t:kill(pid)
        t:wait("another worker", function()
            local now = t:status().workers[1].pid
            return now ~= 0 and now ~= pid
        end)
        local before = errors()
        assert.equal(before, burst())
        assert.equal(0, t:cli("reload").code)
        assert.same({}, t:status().failing)
        t:wait("it to be asked again", function()
            return burst() > before
        end)
    end))

    it("of an alert leaves its state as it is, and touches no other", tidegate.test(function(t)
        configure(t, { MORE = [[
alert "Broken" { flap = false, cooldown = "0s", when = function(m)
  if m.scale.desired == 2 then return m.scale.desired.x end
  return m.scale.up > 2
end }
alert "Whole" { flap = false, cooldown = "0s", when = function(m) return m.scale.up > 1 end }]] })
        t:start()
        local function state(name)
            for _, one in ipairs(t:ask("alerts").alerts) do
                if one.name == name then
                    return one.state
                end
            end
            return "inactive"
        end
        local function wait_state(name, is)
            t:wait(name .. " " .. is, function()
                return state(name) == is
            end)
        end
        assert.equal(0, t:cli("scale", "data", "3", "--for", "1h").code)
        wait_state("Broken", "firing")
        assert.equal(0, t:cli("scale", "data", "2", "--for", "1h").code)
        local one = wait_quarantine(t, "alert Broken")
        assert.matches("^tidegate.lua:%d+: attempt to index field 'desired'", one.error)
        assert.matches("^data: .*scale.desired 2", one.input)
        assert.equal(0, t:cli("scale", "data", "1", "--for", "1h").code)
        wait_state("Whole", "inactive")
        assert.equal("firing", state "Broken")
        assert.equal(3, failing(t, "alert Broken").errors)
        assert.equal(0, t:cli("reload").code)
        wait_state("Broken", "inactive")
    end))

    it("of an anomaly policy and of the notify policy", tidegate.test(function(t)
        t:write("policies/anomaly/broken.lua", [[
return { name = "broken", doc = "for this test", new = function() return {
  metrics = { { name = "up", of = { "scale.up" } } }, learn = function() return {} end,
  point = function(state, value) return state.missing.sum + value end } end }]])
        policy(t, "notify", "return s.alerts[99].labels.service")
        configure(t, { ASIDE = 'anomaly = { policy = "broken", interval = "1s" },', ALERTING = 'notify = "broken"',
            MORE = 'alert "Odd" { flap = false, cooldown = "0s", when = { metric_path = "scale.up", operator = ">", threshold = 1 } }' })
        t:start()
        local one = wait_quarantine(t, "anomaly of data")
        assert.matches("^policies/anomaly/broken.lua:3: ", one.error)
        assert.matches("^up 1", one.input)
        local n = 1
        t:wait("the notify policy in quarantine", function()
            n = n % 2 + 1
            assert.equal(0, t:cli("scale", "data", tostring(n), "--for", "1h").code)
            t:wait_up(n)
            local told = failing(t, "notify")
            return told and told.quarantined
        end)
        assert.matches("^policies/notify/broken.lua:3: ", failing(t, "notify").error)
        assert.equal("messages go where the alerts say", failing(t, "notify").fallback)
    end))
end)
