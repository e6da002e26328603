-- Services from labels: backends that come and go with other people's containers.
local World = require "fleet_world"
local cjson = require "cjson"

describe("fleet and members", function()
    local w
    local a, b, c = "172.18.0.2:80", "172.18.0.3:80", "172.18.0.4:80"

    local function config(over)
        local s = World.static("web", {}, over)
        s.labelled = true
        return { services = { s } }
    end

    local function member(id, address, over)
        local m = { id = id, address = address, weight = 1, max_connections = 100, capacity = 1000,
            tags = cjson.empty_array }
        for key, value in pairs(over or {}) do
            m[key] = value
        end
        return m
    end

    local function members(...)
        local list = { ... }
        w:operate("members", cjson.encode { web = #list > 0 and list or cjson.empty_array })
        w:run(1000)
    end

    local function state(id)
        local i = w:instances("web")["web@" .. id]
        return i and i.state or "none"
    end

    before_each(function()
        w = World.new()
        for _, address in ipairs { a, b, c } do
            w:host(address, true)
        end
        w:apply(config())
        w:run(1000)
    end)

    after_each(function()
        w:close()
    end)

    it("checks them, and is named after the containers", function()
        members(member("web-1", a, { weight = 3 }), member("web-2", b))
        local backends, count = w:backends "web"
        assert.equal(2, count)
        assert.same({ a, 3 }, { backends["web@web-1"].address, backends["web@web-1"].weight })
        assert.equal("labels", w:service_status("web").source)
        assert.equal("", w:log()) -- nothing was asked of the engine
    end)

    it("drains those that leave, and lets those that ended go at once", function()
        members(member("web-1", a), member("web-2", b))
        w:in_flight((w:backends "web")["web@web-1"].slot, 1)
        w:in_flight((w:backends "web")["web@web-2"].slot, 1)
        members(member("web-2", b))
        assert.is_true((w:backends "web")["web@web-1"].draining)
        w:operate("lost", "web-1")
        assert.is_nil((w:backends "web")["web@web-1"])
        assert.same({ "web@web-1" }, w:roster().services[1].lost)
        w:operate("lost", "web-2")
        assert.equal("none", state "web-2")
        assert.is_nil((w:backends "web")["web@web-2"])
        assert.truthy(w:facts():find("the container ended", 1, true))
    end)

    it("goes by what the engine's own check says where there is one", function()
        members(member("web-1", a, { health = "starting" }))
        assert.equal("waiting", state "web-1")
        members(member("web-1", a, { health = "healthy" }))
        assert.equal("up", state "web-1")
        members(member("web-1", a, { health = "unhealthy" }))
        assert.equal("down", state "web-1")
        members(member("web-1", a, { health = "healthy" }))
        assert.equal("up", state "web-1")
    end)

    it("asks itself when the labels say how", function()
        w:apply(config { health_check = { kind = "http", path = "/ready", explicit = true, interval_ms = 1000,
            timeout_ms = 500, retries = 1, rise = 1 } })
        w:host(a, false)
        members(member("web-1", a, { health = "healthy" }))
        w:run(5000)
        assert.not_equal("up", state "web-1")
        w:host(a, true)
        w:until_(function() return state "web-1" == "up" end, 10000)
    end)

    it("follows one that is at another address, and checks it anew", function()
        members(member("web-1", a))
        w:host(c, false)
        members(member("web-1", c))
        assert.is_nil((w:backends "web")["web@web-1"])
        w:host(c, true)
        w:until_(function() return state "web-1" == "up" end, 60000)
        assert.equal(c, (w:backends "web")["web@web-1"].address)
    end)

    it("keeps them over reloads, and lets them go with their service", function()
        members(member("web-1", a))
        w:apply(config { weight = 2 })
        w:run(1000)
        assert.equal("up", state "web-1")
        w:apply { services = {} }
        w:run(1000)
        local _, count = w:backends "web"
        assert.equal(0, count)
    end)

    it("takes no backends from operators", function()
        local answer = w:operate("weight", "web@web-1", 3)
        assert.is_false(answer.ok)
        members(member("web-1", a))
        assert.is_true(w:operate("weight", "web@web-1", 3).ok)
        assert.equal(3, (w:backends "web")["web@web-1"].weight)
        assert.is_true(w:operate("drain", "web@web-1").ok)
        assert.is_true((w:backends "web")["web@web-1"].draining)
    end)

    it("leaves other services alone", function()
        w:apply { services = { World.static("web", { { address = a, weight = 1 } }) } }
        w:run(1000)
        members(member("web-1", b))
        assert.is_nil((w:backends "web")["web@web-1"])
        w:operate("lost", "web-1")
        local _, count = w:backends "web"
        assert.equal(1, count)
    end)
end)
