-- Policies that are asked beside a service's own: counted, told, never acted upon.
local World = require "fleet_world"

local function config(shadows, over)
    local scale = { min = 1, max = 6, up_cooldown_ms = 1, down_cooldown_ms = 1, step_limits = { after_up_ms = 0 } }
    for key, value in pairs(over or {}) do
        scale[key] = value
    end
    scale.shadows = {}
    for i, name in ipairs(shadows) do
        scale.shadows[i] = { name = name, policy = name, params = {} }
    end
    return { services = { World.service("shop", { scale = scale }) } }
end

describe("fleet's shadow policies", function()
    local w

    before_each(function()
        w = World.new(config { "queue", "panic" })
        w:until_(function() return w:up "shop" == 1 end)
        w:run(3000)
        w:forget()
    end)

    after_each(function()
        w:close()
    end)

    -- What the service's own policy and its shadow want.
    local function say(own, queue, panic)
        w:policy { shop = { want = own, reason = "as told", policy = "threshold", shadows = {
            { name = "queue", policy = "queue", want = queue, reason = "much waits" }, panic,
        } } }
    end

    local function shadow(name)
        for _, one in ipairs(w:service_status("shop").shadows) do
            if one.name == name then
                return one
            end
        end
    end

    local function asked(name, times)
        w:until_(function() return shadow(name).asked >= times end, 100000)
    end

    it("are in the status before they were asked", function()
        assert.same({ name = "queue", asked = 0, differed = 0, errors = 0, reason = "" }, shadow "queue")
        assert.equal(2, #w:service_status("shop").shadows)
        w:apply(config {})
        assert.is_nil(w:service_status("shop").shadows)
    end)

    it("never set the number, and are recorded", function()
        say(1, 5)
        asked("queue", 5)
        assert.equal(1, w:service_status("shop").desired)
        local all = w:decisions "shop"
        assert.same({ { name = "queue", would = 5, own = 1, reason = "much waits" } }, all[#all].shadows)
        assert.equal("no_change", all[#all].action)
        local x = shadow "queue"
        assert.same({ 5, 1, x.asked, 0 }, { x.would, x.own, x.differed, x.errors })
    end)

    it("are compared within the bounds, and no opinion is what there is", function()
        say(99, 50)
        asked("queue", 2)
        assert.same({ 6, 6, 0 }, { shadow("queue").would, shadow("queue").own, shadow("queue").differed })
        w:until_(function() return w:up "shop" == 6 end)
        w:policy { shop = { reason = "calm", policy = "threshold", shadows = { { name = "queue", want = 0, reason = "calm" } } } }
        w:until_(function() return shadow("queue").would == 1 end, 20000)
        assert.equal(6, shadow("queue").own)
        w:policy { shop = { want = 6, reason = "busy", policy = "threshold", shadows = { { name = "queue", reason = "no idea" } } } }
        w:until_(function() return shadow("queue").reason == "no idea" end, 20000)
        assert.same({ 6, 6 }, { shadow("queue").would, shadow("queue").own })
    end)

    it("are told when they begin to differ, turn round and agree again, once a minute at most", function()
        say(1, 5)
        asked("queue", 2)
        assert.matches("policy shop : shadow queue would have more: 5 where threshold has 1: much waits", w:facts(), 1, true)
        w:forget()
        say(1, 6)
        w:run(300000)
        assert.equal("", w:facts()) -- still more
        say(1, 1)
        w:until_(function() return w:facts():find("shadow queue agrees", 1, true) end, 10000)
        w:forget()
        for n = 1, 24 do -- two minutes of to and fro
            say(1, n % 2 == 0 and 1 or 4)
            w:run(5000)
        end
        local _, told = w:facts():gsub("shadow queue", "")
        assert.is_true(told >= 1 and told <= 3, told)
        assert.equal(1, w:service_status("shop").desired)
    end)

    it("that fail are counted, and touch nothing", function()
        say(2, 2, { name = "panic", error = "policies/scale/panic.lua:3: broken" })
        asked("panic", 3)
        w:until_(function() return w:up "shop" == 2 end)
        local x = shadow "panic"
        assert.same({ 0, x.asked, "policies/scale/panic.lua:3: broken" }, { x.differed, x.errors, x.error })
        assert.is_nil(x.would)
        assert.is_nil(w:facts():find("shadow", 1, true))
    end)

    it("that stay over a reload go on counting", function()
        say(1, 5)
        asked("queue", 3)
        w:apply(config { "queue" })
        assert.is_true(shadow("queue").asked >= 3)
        w:apply(config { "other", "queue" })
        assert.equal(0, shadow("other").asked)
        assert.is_true(shadow("queue").asked >= 3, "another place in the list")
    end)
end)
