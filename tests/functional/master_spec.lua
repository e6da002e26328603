-- What only happens on a bad day: a second daemon, children that hang, reloads on top of each other.
local tidegate = require "tidegate"

local SERVICE = [[
service "data" {
  command = { "@SERVICE@", "--host", "127.0.0.1", "--port", "$PORT" },
  health_check = { http = "/health", interval = "100ms", timeout = "1s", retries = 2 },
  scale = { instances = 2 },
  route = { listen = "127.0.0.1:@PORT@", balance = "@BALANCE@" },
}]]

local STOP, CONTINUE, HUP = 19, 18, 1

local function configure(t, balance)
    t:configure(SERVICE, { BALANCE = balance or "least_connections" })
end

local function worker_pids(t)
    local pids = {}
    for _, worker in ipairs(t:status().workers) do
        pids[worker.index] = worker.pid > 0 and worker.pid or nil
    end
    return pids
end

describe("the master", function()
    it("is refused beside another of its cluster, which loses nothing", tidegate.test(function(t)
        configure(t)
        t:start()
        local result = t:cli("run", t.dir .. "/tidegate.lua")
        assert.equal(1, result.code)
        assert.equal(("tidegate: this cluster has a daemon already, pid %d: stop it first, or give this one another "
            .. "cluster id\n"):format(t.daemon.pid), result.err)
        local serving = ("%s/run/%s/serving"):format(t.dir, t.id)
        assert.equal(t.daemon.pid, tonumber(tidegate.read_file(serving)))
        assert.equal(200, t:get("/").status)
    end))

    it("ends although its policy process hangs, and does not keep an old one that hangs", tidegate.test(function(t)
        configure(t)
        t:start()
        local old = t:status().policy_pid
        t:kill(old, STOP)
        assert.equal(0, t:cli("reload").code)
        t:wait("the old policy process to end", function()
            return not tidegate.alive(old)
        end)
        t:kill(t:status().policy_pid, STOP)
        assert.equal(0, t:stop())
    end))

    it("reloads once more when SIGHUP comes during a reload", tidegate.test(function(t)
        configure(t)
        t:start()
        local pid = worker_pids(t)[1]
        t:kill(pid, STOP) -- holds the first one up until it is refused
        t:kill(t.daemon.pid, HUP)
        t:wait("the first reload to reach the workers", function()
            local text = tidegate.read_file("/proc/" .. t.daemon.pid .. "/task/" .. t.daemon.pid .. "/children") or ""
            local _, count = text:gsub("%d+", "")
            return count >= 6 -- two workers, two instances, the policy process and the one of the new generation
        end)
        t:kill(t.daemon.pid, HUP)
        t:wait_log "reload refused"
        t:kill(pid, CONTINUE)
        t:wait_log 'msg="reloaded"'
        -- The number that one of the workers has seen and acknowledged is not given to another.
        assert.equal(3, t:status().generation)
    end))
end)

-- A balance policy that is slow on purpose, so that a worker stopped at any moment is most likely inside it.
local SLOW = [[
return {
  name = "slow", doc = "for this test",
  new = function()
    return { pick = function() while true do end end }
  end,
}]]

describe("a balance policy that hangs workers", function()
    it("is set aside after the third one, until the next reload", tidegate.test(function(t)
        t:write("policies/balance/slow.lua", SLOW)
        configure(t, "slow")
        t:start()
        local load = t:load { path = "/", rate = 400, connections = 16, args = { "--timeout", "20000" } }
        for killed = 1, 3 do
            local function hung()
                local _, count = t:log():gsub("worker hangs inside a policy", "")
                return count >= killed
            end
            t:wait("a worker to be killed", function()
                local pid = worker_pids(t)[killed % 2]
                if pid and not hung() then
                    t:kill(pid, STOP)
                    pcall(t.wait, t, "it to be found", hung, 2)
                    if tidegate.alive(pid) then
                        t:kill(pid, CONTINUE) -- it was not inside
                    end
                end
                return hung()
            end, 60)
        end
        t:wait_log "balance policies are set aside"
        assert.is_true(t:status().balance_set_aside)
        assert.truthy(t:cli("status").out:find("least connections until the next reload", 1, true))
        load:stop()
        t:wait("all workers to decide in C", function()
            local before = t:status().workers
            for _ = 1, 20 do
                assert.equal(200, t:get("/").status)
            end
            local after = t:status().workers
            for i, worker in ipairs(after) do
                if worker.pid == 0 or worker.policy_errors ~= before[i].policy_errors then
                    return false
                end
            end
            return true
        end)
        assert.equal(0, t:cli("reload").code)
        assert.is_false(t:status().balance_set_aside)
        t:wait("the policy to be asked again", function()
            local before = t:status().workers
            t:get "/"
            local after = t:status().workers
            return after[1].policy_errors + after[2].policy_errors > before[1].policy_errors + before[2].policy_errors
        end)
    end))
end)
