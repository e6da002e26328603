local World = require "fleet_world"

local function config(over)
    return { services = { World.service("shop", over) } }
end

describe("fleet supervision", function()
    local w

    before_each(function()
        w = World.new(config())
        w:settled("shop", 2)
    end)

    after_each(function()
        w:close()
    end)

    local function state(id)
        local i = w:instances("shop")[id]
        return i and i.state
    end

    it("takes a dead instance out of the roster at once and replaces it after a short grace", function()
        local version = w:roster().version
        w:die("tg-t-shop-1", 3)
        assert.is_true(w:roster().version > version) -- in the same moment
        assert.is_nil((w:backends "shop")["shop-1"])
        assert.matches("instance down: exited with code 3", w:facts())
        w:run(1500)
        assert.equal("down", state "shop-1")
        w:settled("shop", 2)
        assert.is_nil(state "shop-1")
        assert.is_not_nil((w:backends "shop")["shop-3"])
    end)

    it("waits for an instance that the engine restarts, at its new address", function()
        w:close()
        w = World.new()
        w:image("ok", { restarts = true })
        w:apply(config())
        w:settled("shop", 2)
        local before = (w:backends "shop")["shop-1"].address
        w:die("tg-t-shop-1", 1, true)
        assert.matches("instance down: OOM%-killed %(memory limit%)", w:facts())
        w:until_(function() return state "shop-1" == "up" end, 2000)
        local after = (w:backends "shop")["shop-1"].address
        assert.are_not.equal(before, after)
        assert.equal("", w:log())
        assert.equal(1, w:instances("shop")["shop-1"].restarts)
        assert.same({ 1, 0 }, { w:instances("shop")["shop-1"].oom_kills, w:instances("shop")["shop-2"].oom_kills })
        w:die("tg-t-shop-1", 1, true)
        w:until_(function() return w:instances("shop")["shop-1"].restarts == 2 and state "shop-1" == "up" end, 4000)
        assert.same({ 2, 2 }, { w:instances("shop")["shop-1"].oom_kills, w:service_status("shop").oom_kills })
    end)

    it("takes an unhealthy one out, and back when it recovers", function()
        w:sick("tg-t-shop-1", true)
        w:until_(function() return state "shop-1" == "down" end, 5000)
        assert.is_nil((w:backends "shop")["shop-1"])
        assert.equal("GET /health answered 503", w:instances("shop")["shop-1"].reason)
        w:sick("tg-t-shop-1", false)
        w:until_(function() return state "shop-1" == "up" end, 1000)
        assert.is_not_nil((w:backends "shop")["shop-1"])
        assert.equal("", w:log())
    end)

    it("replaces one that stays unhealthy, the new one first", function()
        w:sick("tg-t-shop-1", true)
        w:until_(function() return state "shop-1" == "down" end, 5000)
        w:run(2500)
        assert.equal("", w:log()) -- interval x retries are not over
        w:until_(function() return state "shop-3" == "up" end, 5000)
        w:settled("shop", 2)
        assert.equal("1:1:ok:true 2:1:ok:true", w:shape "shop")
        assert.is_nil(state "shop-1")
    end)

    it("replaces all when all stay unhealthy", function()
        w:sick("tg-t-shop-1", true)
        w:sick("tg-t-shop-2", true)
        w:until_(function() return state "shop-1" == "down" and state "shop-2" == "down" end, 5000)
        w:settled("shop", 2)
        assert.is_nil(state "shop-1")
        assert.is_nil(state "shop-2")
    end)

    it("backs off when replacements die soon again and again", function()
        w:image("ok", { dies_ms = 1500, exit_code = 9 })
        w:die("tg-t-shop-1", 9)
        w:die("tg-t-shop-2", 9)
        w:run(120000)
        assert.is_true(w:calls "create" < 25, w:calls "create")
        w:image("ok", { dies_ms = 0 })
        w:settled("shop", 2)
    end)

    it("leaves a paused one out until it goes on", function()
        w:pause("tg-t-shop-1", true)
        assert.is_nil((w:backends "shop")["shop-1"])
        w:run(1500)
        w:pause("tg-t-shop-1", false)
        w:until_(function() return state "shop-1" == "up" end, 2000)
        assert.equal("", w:log())
    end)

    it("replaces one that somebody removed, found by list at the latest", function()
        w:vanish "tg-t-shop-1"
        w:run(31000)
        w:settled("shop", 2)
        assert.is_nil(state "shop-1")
    end)
end)

describe("fleet's roster names as lost", function()
    local w

    before_each(function()
        w = World.new(config())
        w:settled("shop", 2)
    end)

    after_each(function()
        w:close()
    end)

    -- Ids, in one text.
    local function lost(service)
        for _, s in ipairs(w:roster().services) do
            if s.name == (service or "shop") then
                return table.concat(s.lost or {}, " ")
            end
        end
    end

    it("an instance that died, in the same roster that it leaves, until it is replaced", function()
        assert.equal("", lost())
        local version = w:roster().version
        w:die("tg-t-shop-1", 3)
        assert.equal(version + 1, w:roster().version)
        assert.is_nil((w:backends "shop")["shop-1"])
        assert.equal("shop-1", lost())
        w:settled("shop", 2)
        assert.equal("", lost())
    end)

    it("one that is unhealthy, until it is healthy again", function()
        w:sick("tg-t-shop-2", true)
        w:until_(function() return (w:backends "shop")["shop-2"] == nil end, 5000)
        assert.equal("shop-2", lost())
        w:sick("tg-t-shop-2", false)
        w:until_(function() return (w:backends "shop")["shop-2"] ~= nil end, 5000)
        assert.equal("", lost())
    end)

    it("all that are down at once", function()
        w:die("tg-t-shop-1", 1)
        w:die("tg-t-shop-2", 1)
        assert.equal("shop-1 shop-2", lost())
    end)

    it("one that somebody removed while it ran", function()
        local seen = {}
        w:vanish "tg-t-shop-1"
        w:until_(function()
            seen[#seen + 1] = lost() ~= "" and lost() or nil
            return (w:backends "shop")["shop-1"] == nil
        end, 40000)
        assert.same({ "shop-1" }, seen)
        w:settled("shop", 2)
        assert.equal("", lost())
    end)

    it("a backend that is not ours, while it does not answer", function()
        local a, b = "10.0.0.5:9000", "10.0.0.6:9000"
        w:host(a, true)
        w:host(b, true)
        w:apply { services = { World.static("legacy", { { address = a }, { address = b } }) } }
        w:until_(function() return w:up "legacy" == 2 end, 10000)
        w:host(a, false)
        w:until_(function() return w:up "legacy" == 1 end, 10000)
        assert.equal("legacy@" .. a, lost "legacy")
        w:host(a, true)
        w:until_(function() return w:up "legacy" == 2 end, 10000)
        assert.equal("", lost "legacy")
    end)

    it("nobody who is drained, rolled or scaled away: these may finish", function()
        w:in_flight((w:backends "shop")["shop-1"].slot, 1)
        w:operate("deploy", "shop")
        local versions, last = 0, w:roster().version
        w:until_(function()
            assert.equal("", lost())
            versions = versions + (w:roster().version > last and 1 or 0)
            last = w:roster().version
            return (w:backends "shop")["shop-1"] == nil and (w:backends "shop")["shop-2"] == nil and w:up "shop" == 2
        end, 60000)
        assert.is_true(versions >= 4, versions) -- in, drained, out, and again
    end)
end)

describe("fleet without its engine", function()
    local w

    before_each(function()
        w = World.new(config())
        w:settled("shop", 2)
    end)

    after_each(function()
        w:close()
    end)

    it("freezes creates, removals and scaling, and keeps the roster", function()
        w:set { engine_up = false }
        w:run(100)
        local roster = w:roster()
        assert.equal("down", w:status().engine.state)
        w:operate("deploy", "shop")
        w:operate("scale", "shop", 4)
        w:run(60000)
        assert.equal("", w:log())
        assert.same(roster, w:roster())
        w:set { engine_up = true }
        w:settled("shop", 4)
        assert.equal("1:2:ok:true 2:2:ok:true 3:2:ok:true 4:2:ok:true", w:shape "shop")
    end)

    it("goes on to check, for the traffic's sake", function()
        w:set { engine_up = false }
        w:run(100)
        w:sick("tg-t-shop-1", true)
        w:run(5000)
        assert.is_nil((w:backends "shop")["shop-1"])
        w:run(60000) -- but replaces nothing
        assert.equal("", w:log())
        w:sick("tg-t-shop-1", false)
        w:run(3000)
        assert.is_not_nil((w:backends "shop")["shop-1"])
    end)

    it("finds by list what ended meanwhile", function()
        w:set { engine_up = false }
        w:run(100)
        w:die("tg-t-shop-1", 1) -- no event reaches us
        w:set { engine_up = true }
        w:until_(function() return not (w:backends "shop")["shop-1"] end, 1000)
        w:settled("shop", 2)
        assert.is_nil(w:instances("shop")["shop-1"])
    end)

    it("replaces at once what a restart of the engine has ended, without back-off", function()
        w:set { engine_up = false }
        w:run(100)
        w:die("tg-t-shop-1", 0)
        w:die("tg-t-shop-2", 0)
        w:run(3000)
        w:set { engine_up = true }
        assert.is_true(w:until_(function() return w:up "shop" == 2 end) < 1000)
        w:settled("shop", 2)
    end)

    it("goes on with a deploy that the outage interrupted at any moment", function()
        for ms = 10, 700, 30 do
            w:close()
            w = World.new(config())
            w:run(ms)
            w:set { engine_up = false }
            w:run(20000)
            w:set { engine_up = true }
            w:settled("shop", 2)
            assert.equal("1:1:ok:true 2:1:ok:true", w:shape "shop")
            assert.equal("done", w:deploy_state("shop").state)
        end
    end)

    it("tries until the first connection, and says so", function()
        w:close()
        w = World.new()
        w:set { engine_up = false }
        w:apply(config())
        w:run(5000)
        assert.equal("down", w:status().engine.state)
        assert.equal(false, w:operate("scale", "shop", 3).ok)
        w:set { engine_up = true }
        w:settled("shop", 2)
    end)

    it("changes nothing before it has compared", function()
        w:delay("list", 3000)
        w:set { engine_up = false }
        w:run(100)
        w:operate("scale", "shop", 3)
        w:set { engine_up = true }
        w:run(2500)
        assert.equal("", w:log())
        w:settled("shop", 3)
    end)

    it("lists once more when the events had a gap while it listed", function()
        w:close()
        w = World.new(config { health_check = { kind = "none" } }) -- only the engine knows
        w:settled("shop", 2)
        w:delay("list", 3000)
        w:until_(function() return w:calls "list" == 2 end) -- a regular one begins
        w:run(2000) -- and has looked
        w:set { engine_up = false }
        w:run(10)
        w:die("tg-t-shop-1", 1) -- no event reaches us
        w:set { engine_up = true }
        w:run(6000)
        local i = w:instances("shop")["shop-1"]
        assert.is_true(i == nil or i.state ~= "up")
    end)

    it("does not believe a list that is older than what it did itself", function()
        w:delay("list", 4000)
        w:until_(function() return w:calls "list" == 2 end)
        w:run(2100)
        w:operate("scale", "shop", 3) -- made after the engine looked
        w:operate("restart", "shop-1")
        w:run(600)
        w:until_(function() return #w:containers() == 3 and w:up "shop" == 3 end, 10000)
        w:forget()
        w:run(10000) -- shop-1 in the list is no new one, the new ones not in it are not gone
        assert.equal("", w:log())
        assert.equal(3, w:up "shop")
        assert.is_nil(w:facts():find("found running", 1, true))
    end)

    it("goes on after a cancelled call when time passes nevertheless", function()
        w:fault("start", { code = World.ECANCELED, times = 1 })
        w:operate("scale", "shop", 3)
        w:settled("shop", 3)
        assert.equal("1:1:ok:true 2:1:ok:true 3:1:ok:true", w:shape "shop")
    end)

    it("lists again when a list fails", function()
        w:fault("list", { code = World.EAGAIN, times = 3, text = "busy" })
        w:set { engine_up = false }
        w:run(100)
        w:set { engine_up = true }
        w:run(5000)
        w:operate("scale", "shop", 3)
        w:settled("shop", 3)
    end)
end)
