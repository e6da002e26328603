-- What operators set and what scaling waits for outlives the daemon, killed the moment it has answered.
local fcntl = require "posix.fcntl"
local tidegate = require "tidegate"

local SIGCONT, SIGSTOP, SIGTERM = 18, 19, 15

local CONFIG = [[
service "data" {
  command = { "@SERVICE@", "--host", "127.0.0.1", "--port", "$PORT" },
  health_check = { http = "/health", interval = "100ms", timeout = "1s", retries = 2 },
  scale = { policy = "threshold", min = 1, max = 4, interval = "100ms", up_cooldown = "1h", down_cooldown = "1h" },
  route = { listen = "127.0.0.1:@PORT@", balance = "round_robin" },
}
service "legacy" {
  backends = { "127.0.0.1:@PORT2@" },
  health_check = false,
}]]

local function again(t, how)
    local workers = t:status().workers
    if how == "crash" then
        t:crash()
    else
        t:stop()
    end
    t:start { keep = true, cluster_only = true }
    t:wait("the workers of before to end", function()
        return not tidegate.alive(workers[1].pid) and not tidegate.alive(workers[2].pid)
    end)
end

local function ok(t, ...)
    local result = t:cli(...)
    assert.same({ 0, "" }, { result.code, result.err })
end

local function backends(t)
    local list = {}
    for _, b in ipairs(t:of("legacy").instances) do
        list[b.address] = b.weight or 1
    end
    return list
end

local function last(t)
    local all = t:decisions "data"
    return all[#all] or {}
end

describe("state that outlives the daemon", function()
    for _, how in ipairs { "crash", "stop" } do
        it("is there after a " .. how, tidegate.test(function(t)
            t:configure(CONFIG)
            t:start { keep = true }
            local address, more = "127.0.0.1:" .. t:port "PORT2", "127.0.0.1:" .. t:port "PORT3"

            ok(t, "scale", "data", "3", "--for", "20m")
            again(t, how)
            t:wait_up(3, "data")
            local left = t:of("data").manual_for_s
            assert.is_true(left > 1100 and left < 1200, left)
            t:wait("the hold", function()
                return last(t).held_by == "manual" or last(t).held_by == "cooldown"
            end)

            local id = next(t:instances "data")
            ok(t, "drain", id)
            again(t, how)
            t:wait_up(3, "data")
            for other, instance in pairs(t:instances "data") do
                assert.equal(other == id, instance.drained, other)
            end

            ok(t, "backend", "add", "legacy", more)
            again(t, how)
            assert.same({ [address] = 1, [more] = 1 }, backends(t))
            ok(t, "weight", more, "5")
            again(t, how)
            ok(t, "backend", "remove", "legacy", address)
            again(t, how)
            assert.same({ [more] = 5 }, backends(t))

            ok(t, "stop", "data")
            again(t, how)
            t:wait_up(0, "data")
            assert.is_true(t:of("data").stopped)
            ok(t, "deploy", "data", "--wait")
            again(t, how)
            t:wait_up(3, "data")

            -- What is gone loses what was kept of it.
            t:configure((CONFIG:gsub("@PORT2@", "@PORT4@")))
            again(t, how)
            assert.same({ ["127.0.0.1:" .. t:port "PORT4"] = 1 }, backends(t))
            t:stop()
            t:start()
        end))
    end

    it("is on disk before the operator is told, or the answer says that it is not", tidegate.test(function(t)
        t:configure(CONFIG)
        t:start()
        local address = "127.0.0.1:" .. t:port "PORT2"
        ok(t, "drain", address)
        -- Nobody else can write a database in WAL mode while byte 120 of this file is locked.
        local shm = ("%s/state/%s/history/events.db-shm"):format(t.dir, t.id)
        local fd = assert(fcntl.open(shm, fcntl.O_RDWR))
        local lock = { l_type = fcntl.F_WRLCK, l_whence = 0, l_start = 120, l_len = 1 }
        t:wait("the lock", function()
            return fcntl.fcntl(fd, fcntl.F_SETLK, lock)
        end)
        local result = t:cli("undrain", address)
        assert.equal(0, result.code)
        assert.equal("tidegate: done, but not on disk yet: a crash now would undo it\n", result.err)
        lock.l_type = fcntl.F_UNLCK
        assert(fcntl.fcntl(fd, fcntl.F_SETLK, lock))
        t:wait("it to be written after all", function()
            return t:cli("undrain", address).err == ""
        end)
    end))

    it("has the cooldown after a change, with the time away", tidegate.test(function(t)
        t:configure(CONFIG)
        t:start { keep = true }
        ok(t, "scale", "data", "3", "--for", "0s")
        t:wait_up(3, "data")
        again(t, "crash")
        t:wait_up(3, "data")
        local decision = t:wait("the policy to want fewer", function() -- idle: it wants one
            return last(t).held_by == "cooldown" and last(t)
        end)
        assert.is_true(decision.inputs.since_up_s > 0 and decision.inputs.since_up_s < 600)
        assert.equal(3, t:of("data").up)
        t:stop()
        t:start()
    end))

    it("is not kept without a history", tidegate.test(function(t)
        t:configure(CONFIG, { CLUSTER = "history = false" })
        t:start { keep = true }
        ok(t, "scale", "data", "2", "--for", "20m")
        t:wait_up(2, "data")
        again(t, "crash")
        assert.is_nil(t:of("data").manual_for_s)
        t:wait_up(1, "data") -- nothing holds the policy
        t:stop()
        t:start()
    end))

    -- What a detector has learned: when its first point was, and how many there were.
    describe("of detectors", function()
        local POLICY = [[
return {
    name = "count",
    doc = "Tells of every point which one it is.",
    new = function()
        return {
            metrics = { { name = "up", of = { "scale.up" } } },
            learn = function() return { count = 0 } end,
            point = function(state, _, at)
                state.first, state.count = state.first or at, state.count + 1
                return 1, { description = ("point %d since %.3f."):format(state.count, state.first) }
            end,
        }
    end,
    examples = { { given = { values = {}, more = { 1 } }, want = 1 } },
}]]
        local function configure(t, more)
            t:write("policies/anomaly/count.lua", POLICY)
            t:configure([[
alerting { interval = "100ms", defaults = false, maintenance = false }
channel "here" { log = true }
service "data" { backends = { "127.0.0.1:@PORT2@" }, health_check = false, anomaly = { policy = "count", interval = "1s" } }
]] .. (more or ""))
        end

        local OTHER = 'service "other" { backends = { "127.0.0.1:@PORT3@" }, health_check = false, anomaly = { policy = "count", interval = "1s" } }'

        local function learned(t, service, more_than)
            return unpack(t:wait("points of " .. service, function()
                for _, alert in ipairs(t:ask("alerts").alerts) do
                    local count, first = tidegate.json.encode(alert):match "point (%d+) since ([%d.]+)%."
                    if alert.service == service and tonumber(count or 0) > more_than then
                        return { tonumber(count), first }
                    end
                end
            end))
        end

        local function reload(t)
            assert.equal(0, t:cli("reload").code)
        end

        local function restart(t, how)
            if how == "stop" then
                t:stop()
            else
                t:crash()
            end
            t:start { cluster_only = true }
        end

        it("is asked for at the end", tidegate.test(function(t)
            configure(t)
            t:start()
            local count, first = learned(t, "data", 1)
            restart(t, "stop")
            local now, since = learned(t, "data", count)
            assert.equal(first, since)
            restart(t, "stop")
            assert.equal(first, select(2, learned(t, "data", now)))
        end))

        it("is waited for at the end", tidegate.test(function(t)
            configure(t)
            t:start()
            t:wait("an end that had time enough", function()
                learned(t, "data", 1)
                local status, daemon = t:status(), t.daemon.pid
                t:kill(status.policy_pid, SIGSTOP)
                t:kill(daemon, SIGTERM)
                t:wait("the workers to end", function()
                    return not tidegate.alive(status.workers[1].pid) and not tidegate.alive(status.workers[2].pid)
                end)
                tidegate.sleep(0.3) -- some ticks: it would be gone by now, and waits for up to a second
                t:kill(status.policy_pid, SIGCONT)
                assert.equal(0, t:exit_code())
                t:start { cluster_only = true }
                return t:log():find("detectors and policies go on from what they learned", 1, true)
            end)
        end))

        it("is there after a kill, as of the last time it was saved", tidegate.test(function(t)
            configure(t)
            t:start()
            local count, first
            t:wait("a save that the kill left", function()
                count, first = learned(t, "data", 1)
                reload(t) -- asks for it
                count = learned(t, "data", count)
                ok(t, "drain", "127.0.0.1:" .. t:port "PORT2") -- answered when all before is on disk
                ok(t, "undrain", "127.0.0.1:" .. t:port "PORT2")
                restart(t, "crash")
                return t:log():find("detectors and policies go on from what they learned", 1, true)
            end)
            assert.equal(first, select(2, learned(t, "data", count)))
        end))

        it("is forgotten with the service", tidegate.test(function(t)
            configure(t, OTHER)
            t:start()
            learned(t, "data", 1)
            learned(t, "other", 1)
            restart(t, "stop")
            t:wait_log("detectors and policies go on from what they learned\" series=2")
            learned(t, "other", 1)
            configure(t)
            reload(t)
            local times = 0
            t:wait("one series to be left", function()
                reload(t)
                restart(t, "stop")
                times = times + 1
                t:wait_log("detectors and policies go on from what they learned", 1 + times)
                return t:log():find("detectors and policies go on from what they learned\" series=1", 1, true)
            end)
        end))
    end)
end)
