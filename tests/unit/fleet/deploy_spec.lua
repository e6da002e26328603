local World = require "fleet_world"

describe("fleet deploy", function()
    local w

    after_each(function()
        w:close()
    end)

    it("creates, starts and waits, then gives traffic", function()
        w = World.new { services = { World.service "shop" } }
        w:settled("shop", 2)
        assert.equal("1:1:ok:true 2:1:ok:true", w:shape "shop")
        local backends, count = w:backends "shop"
        assert.equal(2, count)
        local b = backends["shop-1"]
        assert.equal("tg-t-shop-1", w:containers()[1].name)
        assert.equal(w:containers()[1].address, b.address)
        assert.same({ false, 1, 100, 1000 }, { b.draining, b.weight, b.max_connections, b.capacity })
        assert.equal("done", w:deploy_state("shop").state)
    end)

    it("gives no traffic before the health check passes, and says what it waits for", function()
        w = World.new()
        w:image("ok", { ready_ms = 3000 })
        w:apply { services = { World.service "shop" } }
        w:run(2000)
        local i = w:instances("shop")["shop-1"]
        assert.same({ "waiting", "connection refused" }, { i.state, i.reason })
        assert.equal(0, select(2, w:backends "shop"))
        assert.equal("rolling", w:deploy_state("shop").state)
        w:settled("shop", 2)
    end)

    it("tells how long it took and how many attempts", function()
        w = World.new { services = { World.service "shop" } }
        w:until_(function() return w:up "shop" == 2 end)
        assert.matches("shop%-1: instance up: HTTP health check passed, attempts 2, 0%.%d s after start", w:facts())
    end)

    it("uses the engine's own check where there is one", function()
        w = World.new()
        w:image("ok", { has_check = true, status = 200, ready_ms = 1500 })
        w:apply { services = { World.service("shop", { health_check = { kind = "engine" } }) } }
        w:settled("shop", 2)
        w:sick("tg-t-shop-1", true)
        w:run(100)
        assert.equal("down", w:instances("shop")["shop-1"].state)
        w:sick("tg-t-shop-1", false)
        w:run(100)
        assert.equal("up", w:instances("shop")["shop-1"].state)
    end)

    it("takes a running instance for healthy after a second when nothing can be checked", function()
        w = World.new { services = { World.service("shop",
            { ports = World.EMPTY, health_check = { kind = "http", explicit = false } }) } }
        w:run(1000)
        assert.equal(0, w:up "shop")
        w:run(1000)
        assert.equal(2, w:up "shop")
    end)

    it("connects only when nobody asked for a health path and there is none", function()
        w = World.new()
        w:image("ok", { status = 404 })
        w:apply { services = { World.service("shop", { health_check = { explicit = false } }) } }
        w:settled("shop", 2)
    end)

    it("has at most four creates and starts in flight over all services", function()
        local services = {}
        for n = 1, 6 do
            services[n] = World.service("s" .. n, { scale = { min = 3 } })
        end
        w = World.new { services = services }
        for n = 1, 6 do
            w:until_(function() return w:up("s" .. n) == 3 end)
        end
        assert.equal(4, w:engine().in_flight_most)
    end)

    it("numbers instances on, and gives lowest free places first", function()
        w = World.new { services = { World.service("shop", { scale = { min = 3 },
            tags = { { "zone:1" }, { "zone:0" }, { "zone:1" }, {}, {} } }) } }
        w:settled("shop", 3)
        assert.same({ "zone:0" }, w:backends("shop")["shop-2"].tags)
        w:vanish "tg-t-shop-2"
        w:run(31000) -- found by the regular list
        w:until_(function() return w:up "shop" == 3 end)
        local backends = w:backends "shop"
        assert.is_nil(backends["shop-2"])
        assert.same({ "zone:0" }, backends["shop-4"].tags)
    end)

    it("gives every place the tags of a list for all", function()
        w = World.new { services = { World.service("shop", { tags = { { "a", "b" } } }) } }
        w:settled("shop", 2)
        assert.same({ "a", "b" }, w:backends("shop")["shop-2"].tags)
    end)

    it("rolls a changed specification one by one, new ones first", function()
        w = World.new { services = { World.service("shop", { scale = { min = 3 } }) } }
        w:settled("shop", 3)
        w:apply { services = { World.service("shop", { scale = { min = 3 }, image = "v2" }) } }
        assert.equal("rolling", w:deploy_state("shop").state)
        local most = 0
        w:until_(function()
            local count, ready = #w:containers(), 0
            for _, b in pairs((w:backends "shop")) do
                ready = ready + (b.draining and 0 or 1)
            end
            most = math.max(most, count)
            assert.is_true(ready >= 3)
            return w:deploy_state("shop").state == "done"
        end)
        assert.is_true(most <= 5) -- one more, and one that is being removed
        w:settled("shop", 3)
        assert.equal("1:2:v2:true 2:2:v2:true 3:2:v2:true", w:shape "shop")
    end)

    it("rolls on a deploy command, to a new generation of the same", function()
        w = World.new { services = { World.service "shop" } }
        w:settled("shop", 2)
        local answer = w:operate("deploy", "shop")
        assert.same({ true, 2 }, { answer.ok, answer.generation })
        w:settled("shop", 2)
        assert.equal("1:2:ok:true 2:2:ok:true", w:shape "shop")
        assert.equal(2, w:deploy_state("shop").generation)
    end)

    it("applies in place what needs no new instance", function()
        w = World.new { services = { World.service "shop" } }
        w:settled("shop", 2)
        w:apply { services = { World.service("shop", { weight = 7, tags = { { "x" } }, drain_timeout_ms = 1,
            routes = { { path = "/" } }, scale = { min = 3, max = 9, up_cooldown_ms = 1 },
            health_check = { interval_ms = 2000 }, deploy = { timeout_ms = 9000 } }) } }
        w:settled("shop", 3)
        assert.equal("1:1:ok:true 2:1:ok:true 3:1:ok:true", w:shape "shop")
        assert.equal(7, w:backends("shop")["shop-1"].weight)
        assert.same({ "x" }, w:backends("shop")["shop-1"].tags)
    end)

    it("does not mind the order of keys", function()
        w = World.new { services = { World.service("shop", { environment = { A = "1", B = "2", C = "3" } }) } }
        w:settled("shop", 2)
        w:apply { services = { World.service("shop", { environment = { C = "3", B = "2", A = "1" } }) } }
        w:run(3000)
        assert.equal("", w:log())
    end)

    it("does nothing when the same is applied again", function()
        w = World.new { services = { World.service "shop" } }
        w:settled("shop", 2)
        local version = w:roster().version
        w:apply { services = { World.service "shop" } }
        w:run(5000)
        assert.equal("", w:log())
        assert.equal(version, w:roster().version)
    end)

    it("rolls for each setting that an instance is made with", function()
        for key, setting in pairs { image = "v2", command = { "x" }, user = "u", environment = { N = "1" },
            resources = { cpus = 2 }, volumes = { { source = "a", target = "/a" } }, stop_timeout_ms = 2000,
            restart_policy = { name = "always" }, ports = { { container = 1 } }, directory = "/x",
            health_check = { path = "/other" } } do
            w = World.new { services = { World.service("shop", { scale = { min = 1 } }) } }
            w:settled("shop", 1)
            w:apply { services = { World.service("shop", { scale = { min = 1 }, [key] = setting }) } }
            w:settled("shop", 1)
            assert.equal(2, w:service_status("shop").generation, key)
            w:close()
        end
        w = World.new()
    end)

    it("cancels starts of a superseded generation", function()
        w = World.new()
        w:image("slow", { ready_ms = 8000 })
        w:apply { services = { World.service("shop", { image = "slow" }) } }
        w:run(1000)
        w:apply { services = { World.service "shop" } }
        assert.is_true(w:until_(function() return w:up "shop" == 2 end) < 3000)
        w:settled("shop", 2)
    end)

    it("goes back to instances that still run when the configuration does", function()
        w = World.new { services = { World.service "shop" } }
        w:settled("shop", 2)
        w:image("bad", { status = 500 })
        w:apply { services = { World.service("shop", { image = "bad" }) } }
        w:run(3000)
        w:apply { services = { World.service "shop" } }
        w:settled("shop", 2)
        assert.equal("1:1:ok:true 2:1:ok:true", w:shape "shop")
    end)

    it("drains and removes a service that is not configured any more", function()
        w = World.new { services = { World.service "shop", World.service "cart" } }
        w:settled("shop", 2)
        w:settled("cart", 2)
        w:apply { services = { World.service "cart" } }
        w:until_(function() return #w:containers() == 2 end)
        w:run(1000)
        assert.equal(1, #w:status().services)
        assert.equal(1, #w:roster().services)
        assert.equal("1:1:ok:true 2:1:ok:true", w:shape "cart")
    end)
end)

describe("fleet deploy that fails", function()
    local w

    before_each(function()
        w = World.new { services = { World.service("shop", { scale = { min = 1 } }) } }
        w:settled("shop", 1)
    end)

    after_each(function()
        w:close()
    end)

    -- Deploys `image` with `over`, waits for the failure; the old instance must serve on.
    local function fail(image, over)
        over = over or {}
        over.image, over.scale = image, { min = 1 }
        w:apply { services = { World.service("shop", over) } }
        w:until_(function() return w:deploy_state("shop").state == "failed" end)
        local state = w:deploy_state "shop"
        assert.equal("up", w:instances("shop")["shop-1"].state)
        assert.is_not_nil((w:backends "shop")["shop-1"])
        assert.matches("deploy failed: ", w:facts(), 1, true)
        return state
    end

    it("says that the image is not there", function()
        w:image("none", { missing = true })
        assert.equal("image not found: none", fail("none").reason)
    end)

    it("says that the health path answers 500", function()
        w:image("bad", { status = 500 })
        local state = fail "bad"
        assert.matches("^GET /health answered 500 %(health check time%-out after 10 s, attempts %d+%)", state.reason)
        assert.equal("GET /health answered 500", state.health_output)
        assert.equal("first line\nlast words\n", state.logs)
    end)

    it("says that it ended, at once, with its last words", function()
        w:image("dies", { ready_ms = 9000, dies_ms = 300, exit_code = 3 })
        local before = w:engine().now_ms
        local state = fail "dies"
        assert.equal("exited with code 3", state.reason)
        assert.equal("first line\nlast words\n", state.logs)
        assert.is_true(w:engine().now_ms - before < 2000)
    end)

    it("sees that the engine has restarted it meanwhile", function()
        w:image("dies", { ready_ms = 9000, dies_ms = 300, exit_code = 4, restarts = true })
        assert.equal("exited with code 4", fail("dies").reason)
    end)

    it("says that it ran out of memory", function()
        w:image("fat", { ready_ms = 9000, dies_ms = 300, exit_code = 137, oom = true })
        assert.equal("OOM-killed (memory limit)", fail("fat").reason)
    end)

    it("says that the port is taken", function()
        w:fault("start", { code = World.EADDRINUSE, text = "0.0.0.0:80 is in use" })
        assert.equal("port taken: 0.0.0.0:80 is in use", fail("v2").reason)
    end)

    it("says that a volume is missing", function()
        w:fault("create", { code = World.ENOENT, text = "volume missing: cache" })
        assert.equal("volume missing: cache", fail("v2").reason)
    end)

    it("says that the name is taken, and leaves the other's container alone", function()
        w:foreign "tg-t-shop-2"
        assert.equal("name taken by a foreign container: tg-t-shop-2", fail("v2").reason)
        w:until_(function() return w:deploy_state("shop").state == "done" end)
        assert.is_nil(w:log():find("remove tg-t-shop-2", 1, true))
        local found
        for _, c in ipairs(w:containers()) do
            found = found or (c.name == "tg-t-shop-2" and c.running)
        end
        assert.is_true(found)
    end)

    it("says that the engine's check did not pass", function()
        w:image("ill", { has_check = true, status = 500 })
        assert.matches("^unhealthy by the engine's health check",
            fail("ill", { health_check = { kind = "engine" } }).reason)
    end)

    it("removes what it made, and tries again later and later", function()
        w:image("bad", { missing = true })
        w:apply { services = { World.service("shop", { image = "bad", scale = { min = 1 } }) } }
        w:run(100)
        local at, tries = {}, w:calls "create"
        w:until_(function()
            if w:calls "create" > tries then
                tries = w:calls "create"
                at[#at + 1] = w:engine().now_ms
            end
            return #at == 6
        end, 120000)
        for n = 3, #at do
            local ratio = (at[n] - at[n - 1]) / (at[n - 1] - at[n - 2])
            assert.is_true(ratio > 1.5 and ratio < 2.7, ratio)
        end
        assert.equal(1, #w:containers())
        w:run(3000000) -- the longest wait is five minutes
        tries = w:calls "create"
        w:run(1000000)
        assert.is_true(w:calls "create" - tries >= 3)
    end)

    it("tries with one instance for all", function()
        w:image("bad", { missing = true })
        w:apply { services = { World.service("cart", { image = "bad", scale = { min = 4 } }) } }
        w:run(1000)
        local first = w:calls "create"
        w:run(10000)
        assert.is_true(w:calls "create" - first <= 4, w:calls "create" - first) -- after 1, 2, 4, 8 s
    end)

    it("starts afresh with a new configuration", function()
        w:image("bad", { missing = true })
        w:apply { services = { World.service("shop", { image = "bad", scale = { min = 1 } }) } }
        w:run(60000)
        w:apply { services = { World.service("shop", { image = "v3", scale = { min = 1 } }) } }
        assert.is_true(w:until_(function() return w:deploy_state("shop").state == "done" end) < 5000)
        w:settled("shop", 1)
        assert.equal("1:3:v3:true", w:shape "shop")
    end)
end)
