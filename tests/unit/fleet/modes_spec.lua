-- Whose word sets a service's count, by the mode of its scale.
local World = require "fleet_world"

local function config(mode, over)
    local scale = { min = 1, max = 9, up_cooldown_ms = 1, down_cooldown_ms = 1, mode = mode, step_limits = { after_up_ms = 0 } }
    for key, value in pairs(over or {}) do
        scale[key] = value
    end
    return { services = { World.service("shop", { scale = scale }) } }
end

describe("fleet's modes", function()
    local w

    local function start(mode, over)
        w = World.new(config(mode, over))
        w:until_(function() return w:up "shop" == w:service_status("shop").desired end)
        w:run(3000)
        w:forget()
    end

    after_each(function()
        w:close()
    end)

    local function until_held(by)
        w:until_(function() return w:last().held_by == by end, 20000, "held by " .. by)
    end

    local function desired()
        return w:service_status("shop").desired
    end

    it("are active by default, and shown", function()
        start()
        assert.equal("active", w:service_status("shop").mode)
        w:want(3)
        w:until_(function() return desired() == 3 end, 10000)
        assert.is_nil(w:service_status("shop").recommended)
    end)

    it("ask as often as a new configuration says at once, not when a longer interval of before ends", function()
        start("active", { interval_ms = 600000 })
        w:want(3)
        w:apply(config("active", { interval_ms = 1000 }))
        w:until_(function() return desired() == 3 end, 5000)
    end)

    for _, mode in ipairs { "shadow", "paused" } do
        it("keep what a policy wants from being done: " .. mode, function()
            start(mode)
            w:want(5)
            until_held(mode)
            w:run(120000)
            assert.same({ 1, mode }, { desired(), w:service_status("shop").mode })
            assert.same({ { rule = mode, before = 5, after = 1 } }, w:last().constraints)
            assert.same({ 5, "hold" }, { w:last().want, w:last().action })
            assert.is_nil(w:service_status("shop").recommended)
            assert.matches("only what a service with mode = \"recommend\"", w:operate("approve", "shop").error, 1, true)
            assert.is_true(w:operate("scale", "shop", 3, 1000).ok) -- operators' word counts
            assert.equal(3, desired())
            w:apply(config(mode, { min = 4 })) -- and the configuration's
            assert.equal(4, desired())
            w:apply(config(mode, { max = 2 }))
            assert.equal(2, desired())
        end)
    end

    it("show what is recommended until an operator approves it", function()
        start "recommend"
        assert.matches("nothing is recommended", w:operate("approve", "shop").error)
        w:want(99)
        until_held "recommend"
        assert.same({ { rule = "max", before = 99, after = 9 }, { rule = "recommend", before = 9, after = 1 } }, w:last().constraints)
        w:run(60000)
        assert.same({ 1, 9, "recommend" }, { desired(), w:service_status("shop").recommended, w:service_status("shop").mode })
        w:want(3)
        w:until_(function() return w:service_status("shop").recommended == 3 end, 10000)
        assert.matches("decision shop : hold: 1 %-> 1: as told; held by recommend.*held by recommend", w:facts())
        w:forget()
        w:run(30000)
        assert.equal("", w:facts()) -- the same one is not told again
        local answer = w:operate("approve", "shop")
        assert.same({ true, 1, 3 }, { answer.ok, answer.was, answer.instances })
        assert.same({ "scale_up", "approved by uid 0: as told", "threshold", 1, 3, "" },
            { w:last().action, w:last().reason, w:last().policy, w:last().was, w:last().result, w:last().held_by })
        assert.is_nil(w:service_status("shop").recommended)
        w:until_(function() return w:up "shop" == 3 end)
        assert.matches("nothing is recommended", w:operate("approve", "shop").error)
    end)

    it("forget a recommendation that is none any more", function()
        start "recommend"
        for _, over in ipairs { { shop = { want = 1 } }, { shop = { error = "broken" } }, {} } do
            w:want(3)
            w:until_(function() return w:service_status("shop").recommended == 3 end, 20000)
            w:policy(next(over) and over or nil)
            w:until_(function() return not w:service_status("shop").recommended end, 20000)
        end
        w:want(3)
        w:until_(function() return w:service_status("shop").recommended == 3 end, 20000)
        w:apply(config("recommend", { max = 2 }))
        assert.is_nil(w:service_status("shop").recommended)
        assert.is_false(w:operate("approve", "nobody").ok)
        w:operate("stop", "shop")
        assert.is_false(w:operate("approve", "shop").ok)
    end)

    it("pin a service to a number, against operators too", function()
        start("pinned", { pinned = 4 })
        assert.same({ 4, "pinned" }, { desired(), w:service_status("shop").mode })
        w:want(2)
        until_held "pinned"
        assert.matches("shop is pinned to 4: change `pinned` or `mode`", w:operate("scale", "shop", 2, 1000).error, 1, true)
        w:run(60000)
        assert.equal(4, desired())
        w:apply(config("pinned", { pinned = 2 }))
        assert.equal(2, desired())
    end)

    it("change in place, and tell it", function()
        start "paused"
        w:want(3)
        until_held "paused"
        local generation = w:service_status("shop").generation
        w:forget()
        w:apply(config "active")
        assert.matches("service shop : scaling is set to another mode: paused %-> active", w:facts())
        w:until_(function() return desired() == 3 end, 10000)
        w:until_(function() return w:up "shop" == 3 end)
        w:operate("scale", "shop", 6, 3600000)
        w:apply(config("pinned", { pinned = 5 }))
        assert.same({ 5 }, { desired(), w:service_status("shop").manual_for_s })
        w:until_(function() return w:up "shop" == 5 end)
        w:apply(config "active")
        w:until_(function() return desired() == 3 end, 200000) -- one a minute
        assert.equal(generation, w:service_status("shop").generation)
    end)

    it("hold from the start on", function()
        w = World.new(config("shadow", { min = 2 }))
        w:want(7)
        w:until_(function() return w:up "shop" == 2 end)
        w:run(60000)
        assert.equal(2, desired())
        w:crash()
        w:boot()
        w:apply(config("pinned", { pinned = 3 }))
        w:until_(function() return w:up "shop" == 3 end)
    end)
end)
