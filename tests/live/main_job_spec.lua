-- The main job on a real Docker engine: deploy, wait until healthy, balance, scale, replace, roll.
local live = require "live"

local tidegate = require "tidegate"

-- A service with one key of its own.
-- One that is down for longer than interval times retries gets a substitute: here that is longer than a busy machine's
-- engine takes to start a container again.
local function service(more)
    return [[
service "data" {
  image = "quick:1",
  ports = { "8080" },
  resources = { memory = "64m", cpus = 0.5 },
  health_check = { http = "/health", interval = "200ms", timeout = "2s", retries = 25, start_period = "10s" },
  route = { listen = "127.0.0.1:@PORT@", balance = "round_robin" },
  ]] .. more .. "\n}"
end

-- Kills an instance while requests are under way in it. Returns its id.
local function kill_one(t)
    local id, instance = next(t:instances())
    t:kill(instance.pid)
    return id
end

live.describe("on Docker", {}, function(it, bed)
    it("deploys two instances, balanced, labelled, with their environment", function(t)
        t:configure(service [[environment = { GREETING = "hello" }]])
        t:start()
        assert.equal("up", t:status().engine.state)
        t:assert_exactly(2)

        local figures = t:load { path = "/", rate = 0, connections = 4 }:stop_clean()
        local shares, instances = {}, 0
        for _, requests in pairs(figures.by_instance) do
            shares[#shares + 1] = requests
            instances = instances + 1
        end
        assert.equal(2, instances)
        assert.is_true(math.abs(shares[1] - shares[2]) <= 0.02 * figures.requests + 4,
            shares[1] .. " and " .. shares[2])

        for id, instance in pairs(t:instances()) do
            local c = t:inspect("tg-" .. t.id .. "-" .. id)
            assert.equal(instance.pid, c.State.Pid)
            local labels = c.Config.Labels
            assert.equal("1", labels["tidegate.managed"])
            assert.equal(t.id, labels["tidegate.cluster"])
            assert.equal("data", labels["tidegate.service"])
            assert.equal(tostring(instance.index), labels["tidegate.slot"])
            assert.equal("1", labels["tidegate.generation"])
            assert.equal(id, "data-" .. labels["tidegate.serial"])
            assert.truthy(labels["tidegate.spec"]:match "^%x+$")
            assert.equal(64 * 1024 * 1024, c.HostConfig.Memory)
            assert.equal(5e8, c.HostConfig.NanoCpus)
            assert.equal("unless-stopped", c.HostConfig.RestartPolicy.Name)

            local env = {}
            for key, value in live.read_file("/proc/" .. instance.pid .. "/environ"):gmatch "([^=%z]+)=(%Z*)" do
                env[key] = value
            end
            assert.equal("hello", env.GREETING)
            assert.equal("data", env.SERVICE_NAME)
            assert.equal(t.id, env.CLUSTER_ID)
            assert.equal("production", env.DATA_PROCESSING_MODE)
            assert.truthy(env.DEPLOYMENT_TIME:match "^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d", env.DEPLOYMENT_TIME)
        end
    end)

    it("waits for the image's own HEALTHCHECK", function(t)
        bed:sh("image", "checked:1", tidegate.service,
            'HEALTHCHECK --interval=300ms --timeout=2s --start-period=5s CMD ["/service", "probe"]')
        t:configure [[
service "data" {
  image = "checked:1",
  ports = { "8080" },
  environment = { HEALTH_DELAY_MS = 1500 },
  health_check = { engine = true, interval = "300ms", timeout = "2s", retries = 2, start_period = "5s" },
  scale = { instances = 1 },
  route = { listen = "127.0.0.1:@PORT@" },
}]]
        local began = live.now()
        t:start()
        assert.is_true(live.now() - began >= 1.5)
        assert.truthy(t:log():find("the engine's health check passed", 1, true))
        assert.equal(200, t:get("/").status)
        local id = next(t:instances())
        assert.equal("healthy", t:inspect("tg-" .. t.id .. "-" .. id).State.Health.Status)
        -- Sick by the engine's word: out of the roster, and replaced by a healthy one.
        assert.equal(200, t:get("/sick", { method = "POST" }).status)
        t:wait_log "unhealthy by the engine's health check"
        t:wait("another instance", function()
            local now, instance = next(t:instances())
            return now ~= id and instance and instance.state == "up" and t:of().up == 1
        end)
        assert.equal(200, t:get("/").status)
    end)

    it("adds instances for load and drains them after it, no request lost", function(t)
        t:configure([[
service "data" {
  image = "quick:1",
  ports = { "8080" },
  resources = { memory = "64m", cpus = 0.25 },
  health_check = { http = "/health", interval = "500ms", timeout = "3s", retries = 3, start_period = "10s" },
  scale = { policy = "threshold", min = 2, max = 4, cpu = 50, memory = 90, up_cooldown = "2s", down_cooldown = "1s",
            interval = "500ms" },
  route = { listen = "127.0.0.1:@PORT@", balance = "least_connections" },
}]])
        t:start()
        local load = t:load { path = "/work?cpu_ms=2&latency_ms=20", rate = 150, connections = 16 }
        t:wait("a third instance", function()
            return t:of().up >= 3
        end)
        load:say "rate 10"
        t:wait_up(2)
        load:run(20)
        load:stop_clean()
        t:assert_exactly(2)
        local actions = {}
        for _, decision in ipairs(t:decisions "data") do
            actions[decision.action] = decision.reason
        end
        assert.truthy(actions.scale_up:find("High resource usage - CPU", 1, true), actions.scale_up)
        assert.truthy(actions.scale_down:find("Low resource usage - CPU", 1, true), actions.scale_down)
    end)

    it("loses no request to the death of a container that the engine starts again", function(t)
        t:configure(service "")
        t:start()
        local before = t:container_ids()
        local load = t:load { path = "/work?latency_ms=20", rate = 200, connections = 16 }
        local id = kill_one(t)
        t:wait("its restart", function()
            local instance = t:instances()[id]
            return instance and instance.state == "up" and instance.restarts == 1
        end)
        load:run(50)
        load:stop_clean()
        t:assert_exactly(2)
        assert.same(before, t:container_ids())
    end)

    it("loses no request to the death of one that has to be replaced", function(t)
        t:configure(service [[restart_policy = "no"]])
        t:start()
        local load = t:load { path = "/work?latency_ms=20", rate = 200, connections = 16 }
        local id = kill_one(t)
        t:wait("another in its place", function()
            return not t:instances()[id]
        end)
        t:wait_settled()
        load:run(50)
        load:stop_clean()
        t:assert_exactly(2)
    end)

    it("loses no request to hands that stop or remove its containers", function(t)
        t:configure(service "")
        t:start()
        local load = t:load { path = "/work?latency_ms=20", rate = 200, connections = 16 }
        for _, call in ipairs { { "POST", "/stop?t=5" }, { "DELETE", "?force=1" } } do
            local id = next(t:instances())
            local name = "tg-" .. t.id .. "-" .. id
            assert(t:api(call[1], "/containers/" .. name .. call[2]))
            t:wait("another in its place", function()
                return not t:instances()[id]
            end)
            t:wait_settled()
        end
        load:run(50)
        load:stop_clean()
        t:assert_exactly(2)
    end)

    it("rolls to a changed environment, no request lost", function(t)
        t:configure(service [[environment = { VERSION = "1" }]])
        t:start()
        local before = t:container_ids()
        local load = t:load { path = "/work?latency_ms=20", rate = 200, connections = 16 }
        t:configure(service [[environment = { VERSION = "2" }]])
        assert.equal(0, t:cli("reload").code)
        t:wait("generation 2", function()
            return t:of().generation == 2
        end)
        t:wait_settled()
        load:run(50)
        load:stop_clean()
        t:assert_exactly(2)
        for _, c in ipairs(t:containers()) do
            assert.is_nil(before[c.Id])
            assert.equal("2", c.Labels["tidegate.generation"])
            local env = table.concat(t:inspect(c.Id).Config.Env, "\n")
            assert.truthy(env:find("VERSION=2", 1, true))
        end
        -- Scale and route are no reason to roll.
        t:configure(service [[environment = { VERSION = "2" }, scale = { min = 3, max = 3 }]])
        assert.equal(0, t:cli("reload").code)
        t:wait_up(3)
        t:assert_exactly(3)
        assert.equal(2, t:of().generation)
    end)
end)
