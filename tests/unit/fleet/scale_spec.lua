local World = require "fleet_world"

-- up cooldown 60 s, down 120 s, asked every 5 s, samples every second, min 2, max 5.
local function config(scale, over)
    over = over or {}
    over.scale = scale
    return { services = { World.service("shop", over) } }
end

describe("fleet scaling", function()
    local w

    before_each(function()
        w = World.new(config())
        w:settled("shop", 2)
    end)

    after_each(function()
        w:close()
    end)

    -- Runs until the last record has this outcome.
    local function until_last(action, held, limit_ms)
        return w:until_(function()
            local d = w:last()
            return d and d.action == action and d.held_by == held
        end, limit_ms or 20000, action .. " " .. held)
    end

    it("asks with a view of the service", function()
        w:requests((w:backends "shop")["shop-1"].slot, 100, 10, 20000)
        w:in_flight((w:backends "shop")["shop-2"].slot, 7)
        w:until_(function() return w:asked() end, 10000)
        local v = w:asked().services.shop
        assert.same({ "shop", 2, 2, 0, 2, 5, 7, 0.1, 0 }, { v.service, v.instances, v.desired, v.starting, v.min, v.max,
            v.in_flight, v.error_rate, v.queue })
        assert.is_true(math.abs(v.cpu_percent - 50) < 1, v.cpu_percent)
        assert.is_true(math.abs(v.memory_percent - 40) < 0.01, v.memory_percent)
        assert.is_true(math.abs(v.p50_ms - 20) < 1, v.p50_ms)
        assert.is_true(v.rate > 15 and v.rate <= 100, v.rate)
        assert.is_true(v.sample_age_s <= 1.1 and v.hash >= 0 and v.hash < 1)
        assert.same({}, { v.since_up_s, v.since_down_s })
    end)

    it("is not held for a question whose answer went with the generation before", function()
        w:until_(function() return w:asked() end, 10000)
        w:policy {}
        w:run(100)
        w:apply(config())
        w:want(2)
        w:until_(function() return w:last() and w:last().policy == "threshold" end, 20000)
        for _, d in ipairs(w:decisions "shop") do
            assert.equal("as told", d.reason)
        end
    end)

    it("tells how many wait in the queues of the service's routes, over all workers", function()
        w:close()
        w = World.new { services = { World.service("first", { routes = { { path = "/" } } }),
            World.service("none"), World.service("shop", { routes = { { path = "/a" }, { path = "/b" } } }) } }
        w:settled("shop", 2)
        for route = 0, 3 do -- 0 is first's, 3 is nobody's
            w:queue(0, route, 10 ^ route)
            w:queue(1, route, 2 * 10 ^ route)
        end
        w:until_(function() return w:asked() end, 10000)
        local asked = w:asked().services
        assert.same({ 3, 0, 330 }, { asked.first.queue, asked.none.queue, asked.shop.queue })
        assert.equal(330, w:service_status("shop").traffic.queue)
        w:apply { services = { World.service("shop", { routes = { { path = "/a" } } }) } } -- its routes are the first now
        assert.equal(3, w:service_status("shop").traffic.queue)
    end)

    it("follows the policy up, with the record of why", function()
        w:want(3, "High resource usage - CPU: 91.0%, Memory: 40.1%")
        until_last("scale_up", "")
        w:policy()
        w:settled("shop", 3)
        local d = w:last()
        for _, one in ipairs(w:decisions "shop") do
            d = one.action == "scale_up" and one or d
        end
        assert.same({ 3, 2, 3, "threshold", "t.lua", 1, "shop", "High resource usage - CPU: 91.0%, Memory: 40.1%" },
            { d.want, d.was, d.result, d.policy, d.origin, d.generation, d.service, d.reason })
        assert.equal(2, d.inputs.instances)
        assert.matches("^%d%d%d%d%-%d%d%-%d%dT", d.at)
        assert.equal(3, w:service_status("shop").desired)
    end)

    it("keeps to max and min, and says so", function()
        w:want(99)
        until_last("scale_up", "max")
        w:until_(function() return w:up "shop" == 5 end)
        until_last("hold", "max")
        assert.equal(5, w:service_status("shop").desired)
        w:want(0)
        w:run(200000)
        until_last("hold", "min", 400000)
        assert.equal(2, w:up "shop")
    end)

    it("waits for the up cooldown after an up", function()
        w:want(3)
        until_last("scale_up", "")
        w:want(4)
        until_last("hold", "cooldown")
        local waited = until_last("scale_up", "", 70000)
        assert.is_true(waited > 40000, waited)
    end)

    it("waits before a down for its cooldown since any change, before an up since the last up", function()
        w:want(4)
        until_last("scale_up", "")
        w:until_(function() return w:up "shop" == 4 end)
        w:want(3)
        until_last("hold", "cooldown")
        assert.is_true(until_last("scale_down", "", 130000) > 100000)
        w:until_(function() return w:up "shop" == 3 end)
        w:want(2)
        until_last("hold", "cooldown")
        w:want(4)
        until_last("scale_up", "") -- although a down was just now
    end)

    it("holds while instances are being replaced", function()
        w:image("slow", { ready_ms = 9000 })
        w:apply(config({}, { image = "slow" }))
        w:want(3)
        until_last("hold", "rollout", 8000)
        until_last("scale_up", "", 60000)
    end)

    it("starts more while others start, and goes down when none does", function()
        w:run(10000)
        w:image("ok", { ready_ms = 8000 }) -- less than the others have run
        w:apply(config { up_cooldown_ms = 1, down_cooldown_ms = 1, step_limits = { after_up_ms = 0 } })
        w:want(3)
        until_last("scale_up", "")
        w:want(4)
        w:until_(function() return w:service_status("shop").desired == 4 end, 10000)
        assert.equal(2, w:up "shop")
        w:want(3)
        until_last("hold", "busy", 10000)
        w:want(4)
        w:until_(function() return w:up "shop" == 4 end)
        w:want(3)
        until_last("scale_down", "", 10000)
    end)

    it("leaves an operator's number alone for as long as told", function()
        assert.same({ true, 2, 3, 30000 }, (function()
            local a = w:operate("scale", "shop", 3, 30000)
            return { a.ok, a.was, a.instances, a.held_for_ms }
        end)())
        assert.same({ "scale_up", "manual", "set by hand by uid 0, held for 30 s" },
            { w:last().action, w:last().policy, w:last().reason })
        w:settled("shop", 3)
        w:apply(config { up_cooldown_ms = 1 })
        w:want(4)
        until_last("hold", "manual", 10000)
        assert.is_true(w:service_status("shop").manual_for_s > 0)
        until_last("scale_up", "", 40000)
    end)

    it("holds when the engine is down", function()
        w:want(3)
        w:set { engine_up = false }
        until_last("hold", "engine_down", 20000)
        w:run(60000)
        assert.equal(2, w:service_status("shop").desired)
    end)

    it("holds on a policy's error, nonsense and silence", function()
        w:policy { shop = { error = "policies/scale/x.lua:3: attempt to index nil" } }
        until_last("hold", "policy_error")
        assert.equal("policies/scale/x.lua:3: attempt to index nil", w:last().reason)
        w:policy { shop = { want = -3, reason = "" } }
        w:until_(function() return w:last().reason == "the policy answered an impossible number" end, 10000)
        w:policy { shop = { want = 1e300, reason = "" } }
        w:run(10000)
        assert.equal("policy_error", w:last().held_by)
        w:policy()
        w:until_(function() return w:last().reason == "no answer from the policy" end, 20000)
        assert.equal(2, w:service_status("shop").desired)
    end)

    it("takes no number for no opinion", function()
        w:policy { shop = { reason = "no data yet" } }
        until_last("no_change", "")
        assert.equal("no data yet", w:last().reason)
        assert.equal("userdata", type(w:last().want)) -- null
    end)

    it("merges what repeats, and tells only what is new", function()
        w:want(2, "Resource usage within normal ranges")
        w:run(300000)
        local all = w:decisions "shop"
        assert.is_true(#all <= 2, #all)
        assert.is_true(w:last().count >= 50)
        assert.is_nil(w:facts():find("no change", 1, true))
        w:want(99)
        until_last("hold", "max", 30000)
        w:forget()
        w:run(300000)
        assert.equal("", w:facts())
    end)

    it("is not asked for a stopped service", function()
        w:operate("stop", "shop")
        w:run(20000)
        w:want(4)
        w:run(20000)
        assert.equal(0, #w:containers())
    end)

    it("counts traffic once although instances come and go", function()
        w:requests((w:backends "shop")["shop-1"].slot, 50, 0, 1000)
        w:until_(function() return w:service_status("shop").traffic.rate == 50 end, 2000)
        w:die("tg-t-shop-1", 1)
        w:settled("shop", 2)
        w:run(3000)
        local t = w:service_status("shop").traffic
        assert.same({ 0, 0 }, { t.rate, t.in_flight })
        assert.is_nil(t.p50_ms)
    end)
end)
