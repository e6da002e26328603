-- Services without instances while nobody asks: core/fleet/zero.c on a virtual clock.
local World = require "fleet_world"

-- Asked every 5 s, samples every second, idle after 60 s.
local function config(scale, over)
    local s = { min = 0, idle_ms = 60000, up_cooldown_ms = 0, down_cooldown_ms = 0 }
    for key, value in pairs(scale or {}) do
        s[key] = value
    end
    over = over or {}
    over.scale, over.routes = s, { { path = "/" } }
    return { services = { World.service("shop", over) } }
end

describe("fleet without instances", function()
    local w

    before_each(function()
        w = World.new(config())
        w:run(2000)
    end)

    after_each(function()
        w:close()
    end)

    local function slot_of(id)
        return w:backends "shop"[id].slot
    end

    -- A request waits, until the first instance is up, which then answers it.
    local function wake(waiting)
        w:queue(0, 0, waiting or 1)
        w:until_(function() return w:up "shop" == 1 end, 20000)
        w:queue(0, 0, 0)
        w:run(200)
    end

    local function asleep()
        return w:until_(function()
            return w:service_status("shop").desired == 0 and #w:service_status("shop").instances == 0
        end, 100000)
    end

    it("begins with none, and asks no policy", function()
        assert.same({ 0, 0, 0 }, { w:service_status("shop").desired, w:up "shop", w:calls "create" })
        w:run(60000)
        assert.is_nil(w:asked())
        assert.same({}, w:decisions "shop" or {})
    end)

    it("does not count the time for which it was stopped", function()
        wake()
        w:operate("stop", "shop")
        w:run(200000)
        assert.equal(0, w:up "shop")
        w:operate("deploy", "shop")
        w:until_(function() return w:up "shop" == 1 end, 20000)
        w:run(50000)
        assert.equal(1, w:up "shop")
        asleep()
    end)

    it("starts one for requests that wait, however many, and no policy is asked before they were answered", function()
        w:set { delay = { op = World.OPS.start, ms = 8000 } }
        w:queue(0, 0, 40)
        w:queue(1, 0, 30)
        w:run(200)
        local d = w:last()
        assert.same({ "scale to zero", "scale_up", 0, 1, 1 }, { d.policy, d.action, d.was, d.want, d.result })
        assert.equal("70 wait for the first instance; cold starts a day: 0 at 1m, 0 at 5m, 0 at 15m, 0 at 30m, 0 at 60m",
            d.reason)
        assert.same({ true, 1, 70 }, { w:service_status("shop").zero.waking, w:service_status("shop").zero.wakes,
            w:service_status("shop").zero.held })
        w:until_(function() return w:up "shop" == 1 end, 20000)
        assert.is_nil(w:asked())
        assert.equal(1, w:calls "create")
        w:requests(slot_of "shop-1", 70, 0, 20000)
        w:queue(0, 0, 0)
        w:queue(1, 0, 0)
        w:run(200)
        assert.is_false(w:service_status("shop").zero.waking)
        w:requests(slot_of "shop-1", 10, 0, 20000)
        w:until_(function() return w:asked() end, 10000)
        local view = w:asked().services.shop
        assert.is_true(view.rate <= 2.1, view.rate) -- the ten that came since, not the seventy that waited
        assert.same({ 0, 1, 1 }, { view.queue, view.min, view.instances })
    end)

    it("asks the policy after ten seconds when one instance cannot manage those who wait", function()
        w:queue(0, 0, 40)
        w:until_(function() return w:up "shop" == 1 end, 20000)
        w:run(9000)
        assert.is_nil(w:asked())
        w:run(7000)
        assert.equal(40, w:asked().services.shop.queue)
    end)

    it("leaves none when nobody asked for so long, and counts what comes until then", function()
        wake()
        w:run(50000)
        w:requests(slot_of "shop-1", 1, 0, 1000)
        w:run(50000)
        assert.equal(1, w:up "shop")
        asleep()
        local d = w:last()
        assert.same({ "scale to zero", "scale_down", 1, 0 }, { d.policy, d.action, d.was, d.result })
        assert.matches("^no request for 60 s; cold starts a day by `idle`: ", d.reason)
    end)

    it("does not hear what the policy was asked before that and answers now", function()
        wake()
        w:until_(function() return w:asked() end, 20000)
        asleep()
        w:policy { shop = { want = 3, reason = "late", policy = "threshold" } }
        w:run(10000)
        assert.same({ 0, 1 }, { w:service_status("shop").desired, w:calls "create" })
    end)

    it("keeps what has requests under way", function()
        wake()
        w:in_flight(slot_of "shop-1", 1)
        w:run(200000)
        assert.equal(1, w:up "shop")
        w:in_flight(slot_of "shop-1", 0)
        asleep()
    end)

    it("leaves the policy one at least, and lets it size above that", function()
        w:policy { shop = { want = 0, reason = "nobody", policy = "threshold" } }
        wake()
        w:until_(function() return w:last().want == 0 and w:last().policy == "threshold" end, 20000)
        assert.same({ 1, "hold" }, { w:last().result, w:last().action })
        w:policy { shop = { want = 3, reason = "many", policy = "threshold" } }
        w:until_(function() return w:up "shop" == 3 end, 20000)
        w:policy()
        asleep()
    end)

    it("counts gaps by their length", function()
        wake()
        w:run(10000)
        assert.equal(0, w:service_status("shop").zero.cold_starts_a_day["60"])
        w:run(400000)
        wake()
        local gaps = w:service_status("shop").zero.cold_starts_a_day
        assert.is_true(gaps["60"] > 150 and gaps["60"] < 260, gaps["60"]) -- one in some seven minutes
        assert.same({ gaps["60"], 0, 0, 0 }, { gaps["300"], gaps["900"], gaps["1800"], gaps["3600"] })
    end)

    it("stays at none when the fleet begins anew, and takes up what runs", function()
        wake()
        asleep()
        w:crash()
        w:boot()
        w:run(5000)
        assert.same({ 0, 0 }, { w:service_status("shop").desired, w:up "shop" })
        wake()
        w:crash()
        w:boot()
        w:run(5000)
        assert.same({ 1, 1 }, { w:service_status("shop").desired, w:up "shop" })
    end)

    it("goes to none again when the first instance never comes up and nobody waits any more", function()
        w:image("ok", { status = 500 })
        w:queue(0, 0, 1)
        w:run(5000)
        w:queue(0, 0, 0)
        assert.equal(1, w:service_status("shop").desired)
        asleep()
        assert.is_false(w:service_status("shop").zero.waking)
    end)

    it("does nothing while an operator's number holds, the service is stopped, or the engine is down", function()
        w:operate("scale", "shop", 0, 3600000)
        w:queue(0, 0, 1)
        w:run(5000)
        assert.equal(0, w:calls "create")
        w:operate("scale", "shop", 0, 1)
        w:run(200)
        w:set { engine_up = false }
        w:run(3000)
        local calls = w:calls "create"
        w:set { engine_up = true }
        w:until_(function() return w:up "shop" == 1 end, 20000)
        assert.is_true(calls <= 1)
        w:operate("stop", "shop")
        w:run(20000)
        assert.same({ 0, 0 }, { w:service_status("shop").desired, w:up "shop" })
    end)

    it("is not for services with a least number, and tells nothing of it", function()
        w:apply(config { min = 1 })
        w:until_(function() return w:up "shop" == 1 end, 20000)
        assert.is_nil(w:service_status("shop").zero)
        w:run(200000)
        assert.equal(1, w:up "shop")
        w:apply(config())
        asleep()
    end)

    it("keeps the last one in every mode but active, and a first one comes unless it is pinned to none", function()
        for _, mode in ipairs { "recommend", "shadow", "paused" } do
            w:apply(config { mode = mode })
            wake()
            w:run(120000)
            assert.equal(1, w:service_status("shop").desired, mode)
            w:apply(config())
            asleep()
        end
        w:apply(config { mode = "pinned", pinned = 0 })
        w:queue(0, 0, 5)
        w:run(30000)
        assert.equal(0, w:service_status("shop").desired)
    end)
end)
