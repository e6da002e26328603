local World = require "fleet_world"

describe("fleet and backends that are not ours", function()
    local w
    local a, b = "10.0.0.5:9000", "10.0.0.6:9000"

    local function config(...)
        local backends = {}
        for n, address in ipairs { ... } do
            backends[n] = { address = address, weight = n, max_connections = 10 * n, capacity = 100 * n,
                tags = { "zone:" .. n } }
        end
        return { services = { World.static("legacy", backends) } }
    end

    before_each(function()
        w = World.new()
        w:host(a, true)
        w:host(b, true)
        w:apply(config(a, b))
        w:run(1000)
    end)

    after_each(function()
        w:close()
    end)

    it("checks and balances them with their own numbers, starts nothing", function()
        local backends, count = w:backends "legacy"
        assert.equal(2, count)
        local second = backends["legacy@" .. b]
        assert.same({ b, 2, 20, 200, { "zone:2" }, false },
            { second.address, second.weight, second.max_connections, second.capacity, second.tags, second.draining })
        assert.equal("", w:log())
        assert.equal(0, w:calls "sample")
        assert.same({ 2, 2, "backends" }, { w:up "legacy", w:service_status("legacy").desired,
            w:service_status("legacy").source })
    end)

    it("needs no engine", function()
        w:close()
        w = World.new()
        w:set { engine_up = false }
        w:host(a, true)
        w:apply(config(a))
        w:run(1000)
        assert.equal(1, w:up "legacy")
    end)

    it("leaves out those that do not answer, for as long as they do not", function()
        w:host(a, false)
        w:until_(function() return w:up "legacy" == 1 end, 10000)
        w:run(600000)
        assert.equal("down", w:instances("legacy")["legacy@" .. a].state)
        w:host(a, true)
        w:until_(function() return w:up "legacy" == 2 end, 10000)
    end)

    it("are changed in place, drained when they leave, and may come back", function()
        local slot = (w:backends "legacy")["legacy@" .. b].slot
        w:in_flight(slot, 1)
        w:apply(config(a))
        w:run(1000)
        assert.is_true((w:backends "legacy")["legacy@" .. b].draining)
        w:apply(config(a, b))
        w:run(1000)
        assert.is_false((w:backends "legacy")["legacy@" .. b].draining)
        w:apply(config(a))
        w:in_flight(slot, 0)
        w:run(1000)
        assert.equal(1, select(2, w:backends "legacy"))
        w:apply(config(b, a))
        w:run(1000)
        assert.equal(2, (w:backends "legacy")["legacy@" .. a].weight)
    end)

    it("are added, removed and weighted by hand, until their configured list changes", function()
        local c = "10.0.0.7:9000"
        w:host(c, true)
        assert.is_true(w:operate("add", c).ok)
        w:run(1000)
        assert.equal(3, w:up "legacy")
        assert.is_true(w:operate("remove", a).ok)
        w:run(1000)
        assert.is_nil((w:backends "legacy")["legacy@" .. a])
        assert.is_true(w:operate("weight", c, 7).ok)
        assert.equal(7, (w:backends "legacy")["legacy@" .. c].weight)
        assert.matches("already", w:operate("add", b).error)
        assert.matches("no backend", w:operate("remove", a).error)
        assert.matches("no such backend", w:operate("weight", "nobody", 5).error)
        w:apply(config(a, b)) -- the same list
        w:run(1000)
        assert.is_nil((w:backends "legacy")["legacy@" .. a])
        assert.equal(7, (w:backends "legacy")["legacy@" .. c].weight)
        w:apply(config(b, a))
        w:run(1000)
        local backends, count = w:backends "legacy"
        assert.equal(2, count)
        assert.equal(2, backends["legacy@" .. a].weight)
    end)

    it("are drained by address, and never asked about by the scaler", function()
        assert.is_true(w:operate("drain", a).ok)
        assert.is_true((w:backends "legacy")["legacy@" .. a].draining)
        w:run(20000)
        assert.is_nil(w:asked())
    end)

    it("are taken as they are when the check is off", function()
        w:host(a, false)
        local c = config(a)
        c.services[1].health_check = { kind = "none", explicit = true }
        w:apply(c)
        w:run(1000)
        assert.equal("up", w:instances("legacy")["legacy@" .. a].state)
    end)
end)
