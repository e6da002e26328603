-- What outlives the fleet: kept as documents, restored after a kill on the virtual clock.
local World = require "fleet_world"

local a, b, c = "10.0.0.5:9000", "10.0.0.6:9000", "10.0.0.7:9000"

local function config(...)
    local backends = {}
    for n, address in ipairs { ... } do
        backends[n] = { address = address, weight = n, max_connections = 10, capacity = 100, tags = { "zone:" .. n } }
    end
    return { services = { World.service "shop", World.static("legacy", backends) } }
end

describe("what the fleet keeps", function()
    local w

    before_each(function()
        w = World.new()
        for _, address in ipairs { a, b, c } do
            w:host(address, true)
        end
        w:apply(config(a, b))
        w:settled("shop", 2)
    end)

    after_each(function()
        w:close()
    end)

    local function away(ms)
        w:crash()
        w:set { wall_ms = ms }
        w:boot()
    end

    local function count()
        local n = 0
        for _ in pairs(w:kept()) do
            n = n + 1
        end
        return n
    end

    local function until_last(action, held, limit_ms)
        return w:until_(function()
            local all = w:decisions "shop"
            local d = all[#all]
            return d and d.action == action and d.held_by == held
        end, limit_ms or 20000, action .. " " .. held)
    end

    it("is nothing while nobody changes anything", function()
        w:run(60000)
        assert.same({}, w:kept())
    end)

    it("is a hold, for what is left of its time, with its number", function()
        w:operate("scale", "shop", 4, 600000)
        away(200000) -- killed before any of the two more was there
        w:settled("shop", 4)
        local left = w:service_status("shop").manual_for_s
        assert.is_true(left > 395 and left <= 400, left)
        w:want(3)
        until_last("hold", "manual")
        away(1000)
        w:settled("shop", 4)
        until_last("hold", "manual")
        until_last("scale_down", "", 500000)
        assert.is_nil(w:kept()["hold shop"])
    end)

    it("is no hold that has run out, here or meanwhile", function()
        w:operate("scale", "shop", 3, 30000)
        assert.equal(3, w:kept()["hold shop"].instances)
        w:run(31000)
        assert.is_nil(w:kept()["hold shop"])
        w:operate("scale", "shop", 4, 30000)
        w:settled("shop", 4)
        away(30000)
        assert.is_nil(w:kept()["hold shop"])
        w:settled("shop", 4)
        assert.is_nil(w:service_status("shop").manual_for_s)
    end)

    it("is no hold that another without a time replaced", function()
        w:operate("scale", "shop", 3, 600000)
        w:operate("scale", "shop", 4, 0)
        assert.is_nil(w:kept()["hold shop"])
    end)

    it("is no longer hold than was asked for when the clock was set back", function()
        w:operate("scale", "shop", 3, 60000)
        away(-86400000)
        w:settled("shop", 3)
        assert.is_true(w:service_status("shop").manual_for_s <= 60)
    end)

    it("is a cooldown, and the time away counts", function()
        w:want(3)
        until_last("scale_up", "")
        w:want(4)
        until_last("hold", "cooldown")
        away(0)
        until_last("hold", "cooldown")
        away(60000)
        until_last("scale_up", "")
    end)

    it("is a cooldown that began before the host booted", function()
        w:want(3)
        until_last("scale_up", "")
        w:policy()
        away(5000000) -- the monotonic clock began 1,000 s ago
        w:until_(function() return w:asked() end, 10000)
        local ago = w:asked().services.shop.since_up_s
        assert.is_true(ago >= 5000 and ago < 5060, ago)
    end)

    it("is a stop, until the next deploy, which has a new number", function()
        w:operate("scale", "shop", 3)
        w:settled("shop", 3)
        w:operate("deploy", "shop")
        w:settled("shop", 3)
        w:operate("stop", "shop")
        w:until_(function() return #w:containers() == 0 end)
        away(1000)
        w:run(60000)
        assert.same({}, w:containers())
        assert.is_true(w:service_status("shop").stopped)
        w:operate("deploy", "shop")
        w:settled("shop", 3)
        assert.equal("1:4:ok:true 2:4:ok:true 3:4:ok:true", w:shape "shop")
        away(1000)
        w:settled("shop", 3)
    end)

    it("is a stop that a kill cut short", function()
        w:operate("stop", "shop")
        away(0)
        w:until_(function() return #w:containers() == 0 end)
        w:run(60000)
        assert.same({}, w:containers())
    end)

    it("is no stop of the daemon's own end", function()
        w:operate "stop_all"
        w:until_(function() return w:operate "idle" end)
        assert.same({}, w:kept())
        away(0)
        w:settled("shop", 2)
    end)

    it("is a drain, of instances and of backends, until it is taken back or they are gone", function()
        w:operate("drain", "shop-2")
        w:operate("drain", a)
        away(1000)
        w:until_(function() return w:up "shop" == 2 and w:up "legacy" == 2 end)
        assert.is_true((w:backends "shop")["shop-2"].draining)
        assert.is_false((w:backends "shop")["shop-1"].draining)
        assert.is_true((w:backends "legacy")["legacy@" .. a].draining)
        w:operate("undrain", a)
        w:operate("deploy", "shop")
        w:settled("shop", 2)
        assert.same({}, w:kept())
    end)

    it("is a drain that waits for an engine that is away", function()
        w:operate("drain", "shop-2")
        w:crash()
        w:set { engine_up = false }
        w:boot()
        w:run(60000)
        assert.is_truthy(w:kept()["drain shop-2"])
        w:set { engine_up = true }
        w:until_(function() return w:up "shop" == 2 end)
        assert.is_true((w:backends "shop")["shop-2"].draining)
    end)

    it("is no drain of another instance that got the number of one that was", function()
        w:operate("drain", "shop-2")
        w:crash()
        w:vanish "tg-t-shop-2"
        w:boot()
        w:settled("shop", 2)
        assert.is_false((w:backends "shop")["shop-2"].draining)
        assert.same({}, w:kept())
    end)

    it("is what operators changed of backends, while the configured list is the same", function()
        w:operate("add", c)
        w:operate("remove", a)
        w:operate("weight", c, 7)
        w:operate("weight", b, 9)
        w:operate("weight", "shop-1", 5)
        away(1000)
        w:until_(function() return w:up "shop" == 2 and w:up "legacy" == 2 end)
        local backends = w:backends "legacy"
        assert.same({ 7, 9 }, { backends["legacy@" .. c].weight, backends["legacy@" .. b].weight })
        assert.equal(5, (w:backends "shop")["shop-1"].weight)
        w:operate("remove", c)
        w:until_(function() return not w:kept()["weight legacy@" .. c] end)
        w:crash()
        w:apply(config(b, a))
        w:boot()
        w:until_(function() return w:up "legacy" == 2 end)
        backends = w:backends "legacy"
        assert.same({ 1, 2 }, { backends["legacy@" .. b].weight, backends["legacy@" .. a].weight })
        assert.matches("backends are as configured again", w:facts())
        w:until_(function() return count() == 1 end) -- the weight of shop-1
    end)

    it("is forgotten with a reload that changes the list", function()
        w:operate("add", c)
        w:operate("weight", b, 9)
        w:apply(config(a, b))
        assert.equal(2, count())
        w:apply(config(a))
        assert.same({}, w:kept())
    end)

    it("is forgotten with the service", function()
        w:operate("scale", "shop", 3, 600000)
        w:operate("add", c)
        w:operate("drain", "shop-1")
        w:operate("weight", a, 3)
        assert.equal(5, count())
        w:apply { services = { World.service "other" } }
        w:until_(function() return count() == 0 end)
        w:apply(config(a, b))
        w:settled("shop", 2)
        w:operate("stop", "shop")
        w:operate("weight", a, 3)
        w:crash()
        w:apply { services = { World.service "other" } }
        w:boot()
        w:settled("other", 2)
        assert.same({}, w:kept())
    end)

    it("is left out where it is damaged, with a warning", function()
        local bad = {
            ["hold shop"] = { "", "[]", "{}", '{"instances":1e9,"until_wall_ms":1e14,"rest_ms":5}',
                '{"instances":3,"until_wall_ms":"soon","rest_ms":5}', '{"instances":2.5,"until_wall_ms":1,"rest_ms":5}' },
            ["cooldown shop"] = { "{", '{"up_wall_ms":-1}', '{"down_wall_ms":"x"}', "7" },
            ["stopped shop"] = { '{"instances":3}', '{"instances":-1,"generation":1}', "null" },
            ["backend legacy"] = { '{"backends":{}}', '{"backends":[{"weight":1}]}', '{"backends":[7]}', "{}" },
            ["weight legacy@" .. a] = { '{"weight":0}', '{"weight":"heavy"}', "{}" },
            ["wisdom shop"] = { "{}" },
        }
        for where, texts in pairs(bad) do
            local kind, key = where:match "(%S+) (.*)"
            for _, text in ipairs(texts) do
                w:crash()
                w:forget()
                w:keep(kind, key, text)
                w:boot()
                w:settled("shop", 2)
                assert.same({}, w:kept(), where .. " " .. text)
            end
            w:crash()
            w:keep(kind, key, texts[1])
            w:boot()
            assert.matches("what was kept cannot be understood: forgotten: " .. kind .. " of " ..
                key:gsub("%-", "%%-"), w:facts())
            w:until_(function() return select(2, w:backends "legacy") == 2 end, 10000, where)
        end
    end)
end)
