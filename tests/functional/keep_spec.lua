-- What operators set and what scaling waits for outlives the daemon, killed the moment it has answered.
local tidegate = require "tidegate"

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
end)
