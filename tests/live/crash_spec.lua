-- tidegate killed at its work on a real Docker engine: the next start adopts, finishes, cleans up.
local live = require "live"

local SERVICE = [[
service "data" {
  image = "quick:1",
  ports = { "8080" },
  environment = { VERSION = "@VERSION@", HEALTH_DELAY_MS = "400" },
  resources = { memory = "64m" },
  health_check = { http = "/health", interval = "200ms", timeout = "1s", retries = 3, start_period = "10s" },
  scale = { instances = 4 },
  route = { listen = "127.0.0.1:@PORT@" },
}]]

-- Waits for a moment, such as data-2 being created, kills the daemon then, and starts another.
local function crash_at(t, state, number)
    t:wait_log(('msg="instance %s" kind=instance service=data instance=data-%d'):format(state, number))
    t:crash()
    t:start { cluster_only = true }
end

local function generations(t)
    local count = {}
    for _, c in ipairs(t:containers()) do
        local version = table.concat(t:inspect(c.Id).Config.Env, "\n"):match "VERSION=(%d+)"
        count[version] = (count[version] or 0) + 1
    end
    return count
end

live.describe("tidegate killed with SIGKILL", {}, function(it)
    for _, moment in ipairs { { "creating", 1 }, { "starting", 2 }, { "waiting", 4 } } do
        it(("in a deploy, with an instance %s, finishes it"):format(moment[1]), function(t)
            t:configure(SERVICE, { VERSION = "1" })
            t:start { wait = false }
            crash_at(t, moment[1], moment[2])
            t:wait_settled()
            t:assert_exactly(4)
            assert.same({ ["1"] = 4 }, generations(t))
            assert.equal(200, t:get("/").status)
        end)
    end

    for _, moment in ipairs { { "creating", 5 }, { "waiting", 6 }, { "draining", 1 }, { "stopping", 2 } } do
        it(("in a roll, with an instance %s, finishes it under load"):format(moment[1]), function(t)
            t:configure(SERVICE, { VERSION = "1" })
            t:start()
            local load = t:load { path = "/work?latency_ms=10", rate = 100 }
            t:configure(SERVICE, { VERSION = "2" })
            assert.equal(0, t:cli("reload").code)
            crash_at(t, moment[1], moment[2])
            t:wait("the roll to be over", function()
                local s = t:of()
                return not s.rolling and s.up == 4 and generations(t)["2"] == 4
            end)
            t:wait_settled()
            load:run(20)
            load:stop_clean()
            t:assert_exactly(4)
            assert.same({ ["2"] = 4 }, generations(t))
        end)
    end

    it("twice in a row adopts without a change", function(t)
        t:configure(SERVICE, { VERSION = "1" })
        t:start()
        local before = t:container_ids()
        local load = t:load { path = "/work?latency_ms=10", rate = 100 }
        for _ = 1, 2 do
            t:crash()
            t:start()
            load:run(30)
        end
        load:stop_clean()
        assert.same(before, t:container_ids())
        t:assert_exactly(4)
    end)
end)
