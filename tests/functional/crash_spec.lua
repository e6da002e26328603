-- Crashes of tidegate's own processes: traffic goes on, nothing is lost, nothing is doubled.
local tidegate = require "tidegate"

local SERVICE = [[
service "data" {
  command = { "@SERVICE@", "--host", "127.0.0.1", "--port", "$PORT", "--health-delay", "@DELAY@" },
  environment = { VERSION = "@VERSION@" },
  health_check = { http = "/health", interval = "100ms", timeout = "1s", retries = 2 },
  scale = { policy = "threshold", min = 2, max = 5, interval = "100ms", up_cooldown = "1h", down_cooldown = "1h" },
  route = { listen = "127.0.0.1:@PORT@", balance = "least_connections" },
}]]

-- Pids of all processes of our service.
local function services(t)
    local pipe = io.popen("pgrep -f -- '^" .. tidegate.service .. "'")
    local mine = {}
    for pid in pipe:lines() do
        local environ = tidegate.read_file("/proc/" .. pid .. "/environ") or ""
        if environ:find("CLUSTER_ID=" .. t.id, 1, true) and tidegate.alive(pid) then
            mine[#mine + 1] = tonumber(pid)
        end
    end
    pipe:close()
    table.sort(mine)
    return mine
end

local function sorted(pids)
    local list = {}
    for _, pid in pairs(pids) do
        list[#list + 1] = pid
    end
    table.sort(list)
    return list
end

local function workers(t)
    local pids = {}
    for _, worker in ipairs(t:status().workers) do
        pids[worker.index] = worker.pid
    end
    return pids
end

describe("kill -9", function()
    it("of the master: traffic goes on, the next one adopts, nothing is doubled", tidegate.test(function(t)
        t:configure(SERVICE, { DELAY = 0, VERSION = 1 })
        t:start { keep = true }
        local before = t:pids()
        local old_workers = workers(t)
        local load = t:load { path = "/work?latency_ms=5", rate = 200, connections = 16 }
        t:crash()
        load:run(100)
        t:start()
        load:run(100)
        assert.same(before, t:pids())
        assert.same(sorted(before), services(t))
        t:wait("the old workers to end", function()
            for _, pid in pairs(old_workers) do
                if tidegate.alive(pid) then
                    return false
                end
            end
            return true
        end)
        load:run(50)
        load:stop_clean()
    end))

    it("of the master in mid-deploy: the next one finishes it", tidegate.test(function(t)
        t:configure(SERVICE, { DELAY = 0, VERSION = 1 })
        t:start { keep = true }
        local load = t:load { path = "/", rate = 100 }
        t:configure(SERVICE, { DELAY = 700, VERSION = 2 })
        assert.equal(0, t:cli("reload").code)
        t:wait("a new instance", function()
            return #t:of().instances == 3
        end)
        t:crash()
        t:start { cluster_only = true }
        t:wait("the roll to end", function()
            local s = t:of()
            return not s.rolling and s.up == 2 and #s.instances == 2
        end)
        load:stop_clean()
        local pids = t:pids()
        for _, pid in pairs(pids) do
            assert.truthy(tidegate.read_file(("/proc/%d/environ"):format(pid)):find("VERSION=2", 1, true))
        end
        t:wait("nothing else to run", function()
            return #services(t) == 2
        end)
        assert.same(sorted(pids), services(t))
    end))

    it("of the master in mid-scale-down: the next one cleans up", tidegate.test(function(t)
        t:configure(SERVICE, { DELAY = 0, VERSION = 1 })
        t:start { keep = true }
        assert.equal(0, t:cli("scale", "data", "4", "--for", "1h").code)
        t:wait_up(4)
        local before = t:pids()
        local load = t:load { path = "/work?latency_ms=500", rate = 40, connections = 60 }
        assert.equal(0, t:cli("scale", "data", "2", "--for", "1h").code)
        t:wait("draining", function()
            return t:of().draining > 0
        end)
        t:crash()
        t:start { cluster_only = true }
        t:wait("a settled service", function()
            local s = t:of()
            return s.up == s.desired and #s.instances == s.up and #services(t) == s.up
        end)
        load:stop_clean()
        local known = {}
        for _, pid in pairs(before) do
            known[pid] = true
        end
        for _, pid in ipairs(services(t)) do
            assert.is_true(known[pid], "a new instance was started")
        end
    end))

    it("of a worker: another takes its place", tidegate.test(function(t)
        t:configure(SERVICE, { DELAY = 0, VERSION = 1 })
        t:start()
        local before = workers(t)
        t:kill(before[0])
        t:wait("another worker", function()
            local now = workers(t)
            return now[0] and now[0] > 0 and now[0] ~= before[0] and now[1] == before[1]
        end)
        for _ = 1, 40 do
            assert.equal(200, t:get("/").status)
        end
        assert.truthy(t:log():find("worker died", 1, true))
    end))

    it("of the policy process: another takes its place and decides, traffic untouched", tidegate.test(function(t)
        t:configure(SERVICE, { DELAY = 0, VERSION = 1 })
        t:start()
        local load = t:load { path = "/", rate = 200 }
        local before = t:status().policy_pid
        t:kill(before)
        t:wait("another policy process", function()
            local status = t:status()
            return status.policy == "up" and status.policy_pid ~= before
        end)
        local since = tidegate.now() * 1000
        t:wait("a new decision", function()
            local d = t:of().last_decision
            return d and (d.last_wall_ms or d.wall_ms) > since
        end)
        load:stop_clean()
    end))

    it("of a loader that never ends: refused in time", tidegate.test(function(t)
        t:configure(SERVICE, { DELAY = 0, VERSION = 1 })
        t:start()
        t:write("tidegate.lua", "while true do end")
        local result = t:cli "reload"
        assert.equal(1, result.code)
        assert.equal(200, t:get("/").status)
        assert.equal("up", t:status().policy)
    end))
end)
