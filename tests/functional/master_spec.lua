-- What only happens on a bad day: a second daemon, children that hang, reloads on top of each other.
local stat = require "posix.sys.stat"
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

    it("leaves its children only the descriptors that they need", tidegate.test(function(t)
        t:configure [[
service "far" { backends = { "127.0.0.1:1" }, route = { { listen = "127.0.0.1:@PORT@" }, { listen = "unix:@DIR@/front" } } }]]
        t:start { cluster_only = true }
        assert.equal(0, t:cli("reload").code)
        local function sockets(pid)
            local pipe = io.popen(("find /proc/%d/fd -lname 'socket:*' | wc -l"):format(pid))
            local count = pipe:read "*n"
            pipe:close()
            return count
        end
        local status = t:status()
        t:wait("the policy process to have its channel only", function()
            return sockets(status.policy_pid) == 1
        end)
        for _, worker in ipairs(status.workers) do
            t:wait("a worker to have its channel and two listeners only", function()
                return sockets(worker.pid) == 3
            end)
        end
    end))

    it("takes a unix socket away with its route, and can make it again", tidegate.test(function(t)
        local function routes(more)
            t:configure(([[service "far" { backends = { "127.0.0.1:1" }, route = { { listen = "127.0.0.1:@PORT@" }, %s } }]])
                :format(more))
            return t:cli("reload")
        end
        routes '{ listen = "unix:@DIR@/front" }'
        t:start { cluster_only = true }
        assert.truthy(stat.stat(t.dir .. "/front"))
        assert.equal(0, routes("").code)
        assert.is_nil(stat.stat(t.dir .. "/front"))
        local result = routes '{ listen = "unix:@DIR@/front" }'
        assert.same({ 0, "" }, { result.code, result.err })
        assert.truthy(stat.stat(t.dir .. "/front"))
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

-- Makes a worker look as if it were inside Lua and stayed there. No policy can be written for that: whatever
-- takes long is interrupted. The heartbeat stands before the pid on the board.
local function forge_hang(t, pid)
    local find = io.popen(("find /proc/%d/fd -lname '*tidegate-board*'"):format(t.daemon.pid))
    local board = assert(io.open(find:read "*l", "r+"))
    find:close()
    local bytes = { pid % 256, math.floor(pid / 256) % 256, math.floor(pid / 65536), 0, 0, 0, 0, 0 }
    local at = assert(board:read(65536):find(string.char(unpack(bytes)), 1, true))
    board:seek("set", at - 1 - 8)
    board:write "\1"
    board:close()
end

describe("balance policies that hang workers", function()
    it("are set aside after the third one, until the next reload", tidegate.test(function(t)
        t:write("policies/balance/first.lua", [[
return { name = "first", doc = "for this test", new = function()
  return { pick = function(backends) return backends[1].eligible ~= 0 and 1 or nil end }
end }]])
        configure(t, "first")
        t:start()
        local function who()
            local seen, count = {}, 0
            for _ = 1, 8 do
                local name = t:get("/").headers["x-instance"]
                count = count + (seen[name] and 0 or 1)
                seen[name] = true
            end
            return count
        end
        assert.equal(1, who())
        for killed = 1, 3 do
            local pid = t:wait("a worker", function()
                return worker_pids(t)[killed % 2]
            end)
            forge_hang(t, pid)
            t:wait_log("worker hangs inside a policy", killed)
        end
        t:wait_log "balance policies are set aside"
        assert.is_true(t:status().balance_set_aside)
        assert.truthy(t:cli("status").out:find("least connections until the next reload", 1, true))
        t:wait("all workers to decide in C", function()
            return who() == 2
        end)
        assert.equal(0, t:cli("reload").code)
        assert.is_false(t:status().balance_set_aside)
        assert.equal(1, who())
    end))
end)
