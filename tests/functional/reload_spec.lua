-- Reload: two-phase, under load, in place where possible; what is broken changes nothing.
local socket = require "socket"
local tidegate = require "tidegate"

local SERVICE = [[
service "data" {
  command = { "@SERVICE@", "--host", "127.0.0.1", "--port", "$PORT" },
  environment = { VERSION = "@VERSION@" },
  health_check = { http = "/health", interval = "100ms", timeout = "1s", retries = 2 },
  scale = { instances = @INSTANCES@ },
  route = { listen = "127.0.0.1:@LISTEN@", balance = "@BALANCE@" },
}]]

local function values(t, changed)
    local v = { VERSION = "1", INSTANCES = 2, LISTEN = t:port(), BALANCE = "round_robin" }
    for key, value in pairs(changed or {}) do
        v[key] = value
    end
    return v
end

-- A balance policy of our own that prefers the backend at `first`.
local function policy(t, first)
    t:write("policies/balance/mine.lua", ([[
return {
  name = "mine", doc = "for this test",
  new = function()
    return {
      pick = function(backends, n, request)
        local i = (%d + request.attempt) %% n + 1
        if backends[i].eligible ~= 0 then return i end
        for k = 1, n do
          if backends[k].eligible ~= 0 then return k end
        end
        return nil
      end,
    }
  end,
}]]):format(first))
end

describe("reload", function()
    it("twenty times under load, with policy edits, no request failing", tidegate.test(function(t)
        policy(t, 0)
        t:configure(SERVICE, values(t, { BALANCE = "mine" }))
        t:start()
        local pids = t:pids()
        local load = t:load { path = "/work?latency_ms=5", rate = 400, connections = 24 }
        local who = t:get("/").headers["x-instance"]
        for i = 1, 20 do
            policy(t, i)
            if i % 2 == 0 then
                local result = t:cli "reload"
                assert.equal(0, result.code, result.err)
                assert.truthy(result.out:find("generation " .. i + 1, 1, true), result.out)
            else
                t:kill(t.daemon.pid, 1)
                t:wait("generation " .. i + 1, function()
                    return t:status().generation == i + 1
                end)
            end
        end
        local other = t:get("/").headers["x-instance"]
        assert.equal(who, other)
        policy(t, 21)
        assert.equal(0, t:cli("reload").code)
        assert.not_equal(other, t:get("/").headers["x-instance"])
        local figures = load:stop_clean()
        assert.is_true(figures.requests > 100)
        assert.same(pids, t:pids())
        local status = t:status()
        assert.equal(22, status.generation)
        assert.is_true(status.reload.ok)
    end))

    it("refuses what is broken, says where, and the old generation goes on", tidegate.test(function(t)
        policy(t, 0)
        t:configure(SERVICE, values(t, { BALANCE = "mine" }))
        t:start()
        local holder = socket.tcp4()
        assert(holder:bind("127.0.0.1", t:port "PORT9"))
        assert(holder:listen(1))
        local load = t:load { path = "/", rate = 200 }
        local pids = t:pids()

        local function refused(what, ...)
            local result = t:cli "reload"
            assert.equal(1, result.code, what)
            for _, word in ipairs { ... } do
                assert.truthy(result.err:find(word, 1, true), ("%s: %q is missing in: %s"):format(what, word, result.err))
            end
            local status = t:status()
            assert.equal(1, status.generation)
            assert.is_false(status.reload.ok)
            assert.truthy(status.reload.error:find((...), 1, true), status.reload.error)
            assert.truthy(t:cli("status").out:find((...), 1, true))
        end

        t:write("tidegate.lua", "cluster { id = ")
        refused("syntax", "tidegate.lua:1")
        t:configure(SERVICE:gsub("environment", "enviroment"), values(t))
        refused("misspelt", "tidegate.lua:5", "enviroment", "environment")
        t:configure(SERVICE, values(t, { BALANCE = "no_such" }))
        refused("no such policy", "tidegate.lua:8", "no_such")
        t:configure(SERVICE, values(t, { LISTEN = t:port "PORT9" }))
        refused("port taken", "tidegate.lua:8", tostring(t:port "PORT9"))
        t:configure(SERVICE, values(t, { BALANCE = "mine" }))
        t:write("policies/balance/mine.lua", "return {\n  name = 'mine',\n  new = function( return 1 end,\n}")
        refused("policy syntax", "mine.lua:3")
        t:configure(SERVICE:gsub("instances = @INSTANCES@", 'policy = "sum", min = 2, max = 2'), values(t))
        t:write("policies/scale/sum.lua", [[
return {
  name = "sum", doc = "for this test",
  new = function() return function(s) return s.instances + 1, "one more" end end,
  examples = { { given = { instances = 2 }, want = 4 } },
}]])
        refused("failing example", "sum.lua", "4")

        policy(t, 0)
        t:configure(SERVICE, values(t, { BALANCE = "mine" }))
        assert.equal(0, t:cli("reload").code)
        assert.equal(2, t:status().generation)
        load:stop_clean()
        holder:close()
        assert.same(pids, t:pids())
    end))

    it("rehearses with --dry-run: all but the switch, and nothing is noted", tidegate.test(function(t)
        policy(t, 0)
        t:configure(SERVICE, values(t, { BALANCE = "mine" }))
        t:start()
        local before = t:status()
        assert.matches("^%x+$", before.hash)
        assert.equal(16, #before.hash)
        assert.truthy(t:cli("status").out:find("generation 1 (" .. before.hash:sub(1, 8) .. ")", 1, true))
        local who = t:get("/").headers["x-instance"]

        policy(t, 1)
        local other = t:port "PORT2"
        t:configure(SERVICE, values(t, { BALANCE = "mine", LISTEN = other }))
        local result = t:cli("reload", "--dry-run", "--json")
        assert.equal(0, result.code, result.err)
        local said = tidegate.json.decode(result.out)
        assert.is_true(said.dry_run)
        assert.not_equal(before.hash, said.hash)
        assert.truthy(t:cli("reload", "--dry-run").out:find("would be accepted, nothing has changed: " .. said.hash, 1, true))
        assert.equal(1, t:status().generation)
        assert.equal(before.hash, t:status().hash)
        assert.is_nil(t:status().reload)
        assert.equal(who, t:get("/").headers["x-instance"])
        assert.is_nil(t:get("/", { port = other }))

        t:configure(SERVICE:gsub("environment", "enviroment"), values(t, { BALANCE = "mine" }))
        result = t:cli("reload", "--dry-run")
        assert.equal(1, result.code)
        assert.truthy(result.err:find("tidegate.lua:5", 1, true), result.err)
        assert.is_nil(t:status().reload)
        local holder = socket.tcp4()
        assert(holder:bind("127.0.0.1", t:port "PORT9"))
        assert(holder:listen(1))
        t:configure(SERVICE, values(t, { LISTEN = t:port "PORT9" }))
        result = t:cli("reload", "--dry-run")
        holder:close()
        assert.equal(1, result.code)
        assert.truthy(result.err:find("cannot listen", 1, true), result.err)

        t:configure(SERVICE, values(t, { BALANCE = "mine", LISTEN = other }))
        result = t:cli("reload", "--json")
        assert.equal(0, result.code, result.err)
        assert.equal(said.hash, tidegate.json.decode(result.out).hash)
        assert.is_true(tidegate.json.decode(result.out).all_switched)
        assert.equal(said.hash, t:status().hash)
        assert.equal(200, t:get("/", { port = other }).status)
    end))

    it("is refused when a worker dies or hangs while it builds the generation", tidegate.test(function(t)
        t:configure(SERVICE, values(t))
        t:start { args = { "--workers", "2" } }
        local worker = t:status().workers[2].pid
        t:kill(worker, 19) -- SIGSTOP
        t:configure(SERVICE, values(t, { BALANCE = "least_connections" }))
        local result = t:cli "reload"
        assert.equal(1, result.code)
        assert.truthy(result.err:find("not all workers were ready within 2 s", 1, true), result.err)
        t:configure(SERVICE, values(t, { LISTEN = t:port "PORT2" }))
        local waiting = t:cli_begin "reload"
        t:wait("the new address, opened just before workers are told", function()
            local probe = socket.tcp4()
            local open = probe:connect("127.0.0.1", t:port "PORT2")
            probe:close()
            return open
        end)
        t:kill(worker, 9)
        result = t:finished(waiting)
        assert.equal(1, result.code)
        assert.truthy(result.err:find("worker 1: died", 1, true), result.err)
        t:wait("the new worker", function()
            return t:status().workers[2].generation == 1
        end)
        assert.equal(1, t:status().generation)
        assert.equal(0, t:cli("reload").code)
        assert.equal(200, t:get("/", { port = t:port "PORT2" }).status)
    end))

    it("changes scale and routes in place", tidegate.test(function(t)
        t:configure(SERVICE, values(t))
        t:start()
        local pids = t:pids()
        local other = t:port "PORT2"
        assert.is_nil(t:get("/", { port = other }))
        t:configure(SERVICE, values(t, { LISTEN = other, INSTANCES = 3 }))
        assert.equal(0, t:cli("reload").code)
        assert.equal(200, t:get("/", { port = other }).status)
        assert.is_nil(t:get "/")
        t:wait_up(3)
        local now = t:pids()
        for id, pid in pairs(pids) do
            assert.equal(pid, now[id])
        end
        t:configure(SERVICE .. 'service "more" { backends = { "127.0.0.1:1" } }', values(t, { INSTANCES = 3 }))
        assert.equal(0, t:cli("reload").code)
        assert.equal(2, #t:status().services)
        t:configure(SERVICE, values(t, { INSTANCES = 3 }))
        assert.equal(0, t:cli("reload").code)
        t:wait("the service to go", function()
            return #t:status().services == 1
        end)
        assert.same(now, t:pids())
    end))

    it("rolls a changed environment one by one, no request failing", tidegate.test(function(t)
        t:configure(SERVICE, values(t, { INSTANCES = 3 }))
        t:start()
        local before = t:pids()
        local load = t:load { path = "/work?latency_ms=30", rate = 200, connections = 24 }
        t:configure(SERVICE, values(t, { INSTANCES = 3, VERSION = "2" }))
        assert.equal(0, t:cli("reload").code)
        t:wait("the roll", function()
            local s = t:of()
            assert.is_true(s.up >= 3, "only " .. s.up .. " up in the roll")
            assert.is_true(s.up + s.starting <= 4, "more than one ahead in the roll")
            return s.generation == 2 and not s.rolling and s.up == 3 and #s.instances == 3
        end)
        local figures = load:stop_clean()
        assert.is_true(figures.requests > 50)
        for _, pid in pairs(before) do
            assert.falsy(tidegate.alive(pid))
        end
        for _, pid in pairs(t:pids()) do
            assert.truthy(tidegate.read_file(("/proc/%d/environ"):format(pid)):find("VERSION=2", 1, true))
        end
        -- By hand the same way.
        local result = t:cli("deploy", "data", "--wait")
        assert.equal(0, result.code, result.err)
        assert.truthy(result.out:find("generation 3", 1, true), result.out)
    end))

    it("does not start on a broken configuration, and says all that is wrong", tidegate.test(function(t)
        t:configure(SERVICE:gsub("environment", "enviroment"):gsub("instances =", "instancs ="), values(t))
        t:start { wait = false }
        assert.equal(1, t:exit_code())
        t.processes = {}
        local err = tidegate.read_file(t.dir .. "/stderr")
        assert.truthy(err:find("tidegate.lua:5", 1, true), err)
        assert.truthy(err:find("tidegate.lua:7", 1, true), err)
        local check = t:cli("check", t.dir .. "/tidegate.lua")
        assert.equal(1, check.code)
        assert.truthy(check.err:find("tidegate.lua:7", 1, true), check.err)
        t:configure(SERVICE, values(t))
        check = t:cli "check"
        assert.equal(0, check.code, check.err)
        assert.truthy(check.out:find("1 service, 1 route", 1, true), check.out)
    end))
end)
