-- What is remembered: decisions, events and figures, also over a restart and a kill of the daemon.
local tidegate = require "tidegate"

local SERVICE = [[
service "data" {
  command = { "@SERVICE@", "--host", "127.0.0.1", "--port", "$PORT" },
  health_check = { http = "/health", interval = "100ms", timeout = "1s", retries = 2 },
  scale = { policy = "threshold", min = 1, max = 3, interval = "100ms", up_cooldown = "1h", down_cooldown = "1h" },
  route = { listen = "127.0.0.1:@PORT@", balance = "round_robin" },
}]]

local function events(t, ...)
    return t:ask("events", ...).events
end

-- The first event of that kind whose `what` has the text.
local function find(list, kind, what)
    for _, e in ipairs(list) do
        if e.kind == kind and e.what:find(what, 1, true) then
            return e
        end
    end
end

local function decided(t)
    return t:ask("decisions", "data", "--since", "1h").decisions
end

local function mean_points(t, metric)
    local series = t:ask("history", "data", metric, "--since", "10m", "--step", "1s", "--instance", "").series
    return series[1] and series[1].points or {}
end

describe("history", function()
    it("has decisions, events and figures of before a kill -9 and a restart", tidegate.test(function(t)
        t:configure(SERVICE)
        t:start { keep = true }
        t:wait("a decision on disk", function()
            return find(events(t), "decision", "")
        end)
        local first = decided(t)[1]
        assert.equal(0, t:cli("scale", "data", "2", "--for", "10m").code)
        t:wait("two", function()
            return t:of().up == 2
        end)
        t:wait("figures of two", function()
            local points = mean_points(t, "up")
            return #points > 0 and points[#points][5] == 2
        end)
        local operator = find(events(t), "operator", "scale")
        assert.equal("data", operator.service)
        assert.is_truthy(operator.who:find("^uid %d+ pid %d+$"))
        assert.equal(2, operator.detail.instances)
        -- Acknowledged or not, an event is on disk within a transaction: this one is asked for from there.
        local before = events(t)

        local workers = t:status().workers
        t:crash()
        t:start { keep = true }
        t:wait("the workers of before to end", function()
            return not tidegate.alive(workers[1].pid) and not tidegate.alive(workers[2].pid)
        end)
        local after = events(t, "--limit", "10000")
        local known = {}
        for _, e in ipairs(after) do
            known[e.sequence] = e.what
        end
        for _, e in ipairs(before) do
            assert.equal(e.what, known[e.sequence])
        end
        assert.same({ first.wall_ms, first.reason, first.inputs.desired },
            { decided(t)[1].wall_ms, decided(t)[1].reason, decided(t)[1].inputs.desired })
        assert.equal(0, t:stop())
        t:start()
        assert.equal(first.wall_ms, decided(t)[1].wall_ms)
        local started = 0
        for _, e in ipairs(events(t, "--kind", "reload", "--limit", "1000")) do
            assert.equal("reload", e.kind)
            started = started + (e.what == "tidegate started" and 1 or 0)
        end
        assert.equal(3, started)
        assert.is_truthy(find(events(t), "reload", "tidegate ended"))
        assert.is_true(#mean_points(t, "up") > 0)
    end))

    it("counts a decision once, however often it was written", tidegate.test(function(t)
        t:configure(SERVICE)
        t:start { keep = true }
        t:wait("one that came again", function()
            local list = decided(t)
            return #list > 0 and list[#list].count > 3
        end)
        local last = decided(t)
        last = last[#last]
        t:stop()
        t:start()
        local seen = 0
        for _, d in ipairs(decided(t)) do
            if d.wall_ms == last.wall_ms then
                seen = seen + 1
                assert.is_true(d.count >= last.count)
            end
        end
        assert.equal(1, seen)
    end))

    it("names what died and what was refused", tidegate.test(function(t)
        t:configure(SERVICE)
        t:start()
        t:kill(t:status().workers[1].pid)
        t:wait("the worker's death", function()
            return find(events(t, "--kind", "worker"), "worker", "died")
        end)
        t:kill(t:status().policy_pid)
        t:wait("the policy process's death", function()
            local e = find(events(t, "--kind", "policy"), "policy", "died")
            return e and e.detail.signal == 9 and e.bad
        end)
        t:wait("the policy process", function()
            return t:status().policy == "up"
        end)
        t:write("tidegate.lua", "cluster { id = ")
        assert.equal(1, t:cli("reload").code)
        t:wait("the refused reload on disk", function()
            local e = find(events(t, "--kind", "reload"), "reload", "reload refused")
            return e and e.detail:find("tidegate.lua:1", 1, true)
        end)
        t:configure(SERVICE)
        assert.equal(0, t:cli("reload").code)
        t:wait("the reload on disk", function()
            return find(events(t, "--kind", "reload"), "reload", "reloaded")
        end)
        local pid = t:pid_of(t:of().instances[1])
        t:kill(pid)
        t:wait("an instance's end", function()
            return find(events(t, "data", "--kind", "instance"), "instance", "down")
        end)
    end))

    it("is shown as a table, drawn, and with commas", tidegate.test(function(t)
        t:configure(SERVICE)
        t:start()
        local load = t:load { path = "/", rate = 50 }
        t:wait("a rate", function()
            local points = mean_points(t, "rate")
            return #points > 1 and points[#points][5] > 10
        end)
        load:stop_clean()
        local all = t:cli("history", "data").out
        assert.is_truthy(all:find("\n%-%s+rate%s"))
        assert.is_truthy(all:find("\n" .. t:of().instances[1].id:gsub("%-", "%%-") .. "%s+cpu_percent%s"))
        assert.is_truthy(t:cli("history", "data", "rate").out:find("TIME%s+MIN%s+MEAN%s+MAX%s+LAST%s+SAMPLES"))
        assert.is_truthy(t:cli("history", "data", "rate", "--plot", "--since", "1m").out:find "\226[\160-\163]")
        local csv = t:cli("history", "data", "rate", "--csv").out
        assert.is_truthy(csv:find("^time,instance,metric,min,max,mean,last,count\n%d+%-%d+%-%d+T[%d:.]+Z,,rate,"))
        assert.is_truthy(t:cli("history", "data", "nonsense").out:find(
            "nothing is known of nonsense of data in this time: `tidegate history data` lists", 1, true))
        assert.is_truthy(t:cli("history", "nobody").out:find("nothing is known of nobody in this time", 1, true))
        local kinds = t:cli("events", "--kind", "alert,deplo")
        assert.same({ 2, true }, { kinds.code, kinds.err:find('no events of kind "deplo"', 1, true) ~= nil })
        assert.equal(2, t:cli("history", "data", "rate", "--since", "soon").code)
        assert.equal(2, t:cli("events", "--limit", "0").code)
    end))

    it("that is switched off is nowhere, and nothing misses it", tidegate.test(function(t)
        t:configure(SERVICE, { CLUSTER = "history = false" })
        t:start()
        local result = t:cli "events"
        assert.equal(1, result.code)
        assert.is_truthy(result.err:find("no history is kept", 1, true))
        t:wait("a decision", function()
            return #decided(t) > 0
        end)
        local found = io.popen(("find '%s' -name events.db"):format(t.dir)):read "*a"
        assert.equal("", found)
    end))

    it("that cannot be kept does not stop the daemon", tidegate.test(function(t)
        t:configure(SERVICE)
        os.execute(("mkdir -p '%s/state/%s' && touch '%s/state/%s/history'"):format(t.dir, t.id, t.dir, t.id))
        t:start()
        assert.is_truthy(t:log():find("no history is kept", 1, true))
        assert.equal(200, t:get("/").status)
        assert.equal(1, t:cli("events").code)
    end))
end)
