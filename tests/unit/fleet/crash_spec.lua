-- kill -9 of tidegate at every call that changes something, then a new start on what the engine has.
local World = require "fleet_world"

local function config(image, min)
    return { services = { World.service("shop", { image = image, scale = { min = min or 3 } }) } }
end

-- Everything of the service is up, nothing else is there, nothing was made twice.
local function assert_end(w, shape, what)
    w:until_(function()
        local s = w:service_status "shop"
        return #s.instances == s.desired and s.up == s.desired and not s.rolling and #w:containers() == s.desired
    end, 120000, what)
    w:run(35000) -- a list later still the same
    assert.equal(shape, w:shape("shop"):gsub(":%d+:", "::"), what)
    local _, backends = w:backends "shop"
    assert.equal(#w:containers(), backends, what)
end

-- Runs `act` on a settled service with a crash at its n-th changing call, for all n.
local function at_every_step(act, shape, from)
    local points = 0
    for _, delay_ms in ipairs { 0, 30, 150 } do -- before the effect, between effect and answer, later
        for n = 1, 100 do
            local w = World.new(from and config("ok", 2))
            if from then
                w:settled("shop", 2)
                w:operate("scale", "shop", from)
                w:settled("shop", from)
            end
            w:set { crash_in = n, crash_delay_ms = delay_ms }
            act(w)
            w:run(20000)
            local crashed = w:engine().crash_in == 0
            assert_end(w, shape, ("crash at call %d, %d ms later"):format(n, delay_ms))
            w:close()
            if not crashed then
                break
            end
            points = points + 1
        end
    end
    return points
end

describe("fleet after a crash", function()
    it("finishes a first deploy, whatever step it was in", function()
        local points = at_every_step(function(w) w:apply(config "ok") end, "1::ok:true 2::ok:true 3::ok:true")
        assert.is_true(points >= 15, points) -- create and start of three, each at three moments
    end)

    it("finishes a roll, whatever step it was in", function()
        local points = at_every_step(function(w) w:apply(config("v2", 2)) end, "1::v2:true 2::v2:true 3::v2:true", 3)
        assert.is_true(points >= 30, points)
    end)

    it("finishes to drain what a lower number leaves over, when told again", function()
        local points = at_every_step(function(w)
            for _ = 1, 40 do -- an operator, or a policy, that goes on to want fewer
                if w:service_status("shop").desired > 2 then
                    w:operate("scale", "shop", 2)
                end
                w:run(500)
            end
        end, "1::ok:true 2::ok:true", 4)
        assert.is_true(points >= 4, points) -- stop and remove of two
    end)

    it("adopts what runs without one change on the engine", function()
        local w = World.new(config "ok")
        w:settled("shop", 3)
        local before = w:shape "shop"
        w:crash()
        w:run(5000)
        w:boot()
        assert.is_true(w:until_(function() return w:up "shop" == 3 end) < 1000)
        w:run(60000)
        assert.equal("", w:log())
        assert.equal(before, w:shape "shop")
        assert.equal("done", w:deploy_state("shop").state)
        w:close()
    end)

    it("has surveyed what ran only when all of it is known and was checked", function()
        local w = World.new(config "ok")
        w:settled("shop", 3)
        w:crash()
        w:set { engine_up = false }
        w:boot()
        w:run(2000)
        assert.is_false(w:operate "surveyed")
        assert.equal(0, select(2, w:backends "shop"))
        w:set { engine_up = true }
        w:until_(function()
            local _, count = w:backends "shop"
            if w:operate "surveyed" then
                assert.equal(3, count)
                return true
            end
        end)
        w:close()
    end)

    it("keeps as many as run, within min and max", function()
        local w = World.new(config("ok", 2))
        w:settled("shop", 2)
        w:operate("scale", "shop", 4)
        w:settled("shop", 4)
        w:crash()
        w:boot()
        w:settled("shop", 4)
        assert.equal("", w:log())
        w:close()
    end)

    it("rolls what runs with another specification than configured meanwhile", function()
        local w = World.new(config "ok")
        w:settled("shop", 3)
        w:crash()
        w:apply(config "v2")
        w:boot()
        w:settled("shop", 3)
        assert.equal("1:2:v2:true 2:2:v2:true 3:2:v2:true", w:shape "shop")
        w:close()
    end)

    it("replaces what ended meanwhile, and removes it", function()
        local w = World.new(config "ok")
        w:settled("shop", 3)
        w:crash()
        w:die("tg-t-shop-2", 1)
        w:boot()
        w:settled("shop", 3)
        assert.equal("1:1:ok:true 2:1:ok:true 3:1:ok:true", w:shape "shop")
        w:close()
    end)

    it("removes instances of services that are not configured any more", function()
        local w = World.new { services = { World.service "old" } }
        w:settled("old", 2)
        w:crash()
        w:apply(config "ok")
        w:boot()
        w:settled("shop", 3)
        w:until_(function() return #w:containers() == 3 end)
        w:close()
    end)

    it("does not make twice what was asked of the engine just before", function()
        local w = World.new()
        w:delay("create", 3000)
        w:apply(config "ok")
        w:run(1000)
        w:crash()
        w:boot()
        assert_end(w, "1::ok:true 2::ok:true 3::ok:true", "late creates")
        w:close()
    end)
end)

describe("fleet and unknown outcomes", function()
    local w

    after_each(function()
        w:close()
    end)

    it("looks a name up when the answer to create did not come", function()
        for _, happens in ipairs { true, false } do
            w = World.new()
            w:fault("create", { code = World.ETIMEDOUT, happens = happens, times = 2 })
            w:apply(config "ok")
            assert_end(w, "1::ok:true 2::ok:true 3::ok:true", "create")
            assert.equal("done", w:deploy_state("shop").state)
            assert.is_nil(w:facts():find("failed", 1, true))
            w:close()
        end
        w = World.new()
    end)

    it("looks when the answer to start did not come", function()
        for _, happens in ipairs { true, false } do
            w = World.new()
            w:fault("start", { code = World.ETIMEDOUT, happens = happens, times = 2 })
            w:apply(config "ok")
            assert_end(w, "1::ok:true 2::ok:true 3::ok:true", "start")
            assert.is_nil(w:facts():find("failed", 1, true))
            w:close()
        end
        w = World.new()
    end)

    it("stops and removes until it is done", function()
        for _, op in ipairs { "stop", "remove" } do
            for _, happens in ipairs { true, false } do
                w = World.new(config("ok", 1))
                w:settled("shop", 1)
                w:fault(op, { code = World.ETIMEDOUT, happens = happens, times = 3 })
                w:operate("deploy", "shop")
                assert_end(w, "1::ok:true", op)
                w:close()
            end
        end
        w = World.new()
    end)

    it("gives a create up that never happens", function()
        w = World.new()
        w:fault("create", { code = World.ETIMEDOUT, times = 6 })
        w:apply(config("ok", 1))
        w:until_(function() return w:deploy_state("shop").state == "failed" end)
        assert.equal("the engine did not create it in time", w:deploy_state("shop").reason)
        assert_end(w, "1::ok:true", "create")
    end)
end)
