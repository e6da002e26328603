-- Outages of a real Docker engine: traffic goes on, nothing is duplicated, and the first list after the
-- return decides.
local live = require "live"

local SERVICE = [[
service "data" {
  image = "quick:1",
  ports = { "8080" },
  environment = { VERSION = "@VERSION@" },
  resources = { memory = "64m" },
  health_check = { http = "/health", interval = "200ms", timeout = "1s", retries = 3, start_period = "10s" },
  scale = { instances = @COUNT@ },
  route = { listen = "127.0.0.1:@PORT@" },
}]]

local function values(count, version)
    return { COUNT = count, VERSION = version or "1" }
end

local function engine_is(t, state)
    t:wait("the engine to be " .. state, function()
        return t:status().engine.state == state
    end)
end

live.describe("an engine that", { "--live-restore" }, function(it, bed)
    it("is killed and restarted costs no request and no container", function(t)
        t:configure(SERVICE, values(3))
        t:start()
        local before, instances = t:container_ids(), t:instances()
        local load = t:load { path = "/work?latency_ms=10", rate = 300, connections = 16 }
        bed:sh "kill"
        engine_is(t, "down")
        load:run(300)
        -- One dies while nobody tells: it leaves by its probe, and is found by the list.
        local id, victim = next(instances)
        t:kill(victim.pid)
        t:wait("its probe to see it", function()
            return t:instances()[id].state == "down"
        end)
        load:run(100)
        assert.equal(3, #t:of().instances) -- frozen: nothing is decided while the engine is down
        bed:sh "restart"
        engine_is(t, "up")
        t:wait_settled()
        load:run(100)
        load:stop_clean()
        t:assert_exactly(3)
        local kept = 0
        for _, c in ipairs(t:containers()) do
            kept = kept + (before[c.Id] and 1 or 0)
        end
        assert.is_true(kept >= 2)
    end)

    it("hangs for 10 s in the middle of a deploy makes no duplicates", function(t)
        t:configure(SERVICE, values(4))
        t:start()
        local load = t:load { path = "/work?latency_ms=10", rate = 200, connections = 16 }
        t:configure(SERVICE, values(4, "2"))
        assert.equal(0, t:cli("reload").code)
        t:wait_log 'msg="instance creating" kind=instance service=data instance=data-5'
        bed:sh "pause"
        local since = live.now()
        engine_is(t, "down")
        t:wait("10 s of it", function()
            return live.now() - since >= 10
        end)
        assert.is_true(t:of().up >= 3)
        bed:sh "resume"
        engine_is(t, "up")
        t:wait("the roll to be over", function()
            return t:of().generation == 2 and not t:of().rolling
        end)
        t:wait_settled()
        load:run(50)
        load:stop_clean()
        t:assert_exactly(4)
    end)

    it("is not there when the daemon starts is waited for", function(t)
        t:configure(SERVICE, values(2))
        bed:sh "kill"
        t:start { cluster_only = true }
        t:wait_log 'msg="engine down: services stay as they are"'
        local engine = t:status().engine
        assert.equal("down", engine.state)
        assert.truthy(engine.description:find("not reachable", 1, true), engine.description)
        assert.truthy(t:cli("status").out:find "engine docker down", t:cli("status").out)
        local result = t:cli("deploy", "data", "--wait", "--timeout", "1s")
        assert.equal(1, result.code)
        assert.truthy(result.err:find("not reachable", 1, true), result.err)
        bed:sh "restart"
        engine_is(t, "up")
        t:wait_settled()
        assert.equal(200, t:get("/").status)
        t:assert_exactly(2)
    end)
end)

live.describe("an engine without live-restore that", {}, function(it, bed)
    it("ends its containers when it is restarted gets new ones at once", function(t)
        t:configure(SERVICE, values(3))
        t:start()
        local before = t:container_ids()
        bed:sh "kill"
        engine_is(t, "down")
        assert.equal(200, t:get("/").status) -- they go on until it comes back
        bed:sh "restart"
        local since = live.now()
        engine_is(t, "up")
        t:wait_settled()
        assert.is_true(live.now() - since < 15)
        assert.equal(200, t:get("/").status)
        t:assert_exactly(3)
        for _, c in ipairs(t:containers()) do
            assert.is_nil(before[c.Id])
        end
    end)
end)
