local World = require "fleet_world"

local function kinds(t)
    local out = {}
    for key, value in pairs(t) do
        out[key] = type(value)
    end
    return out
end

describe("fleet status", function()
    local w

    before_each(function()
        w = World.new { services = { World.service "shop" } }
        w:settled("shop", 2)
        w:policy { shop = { want = 2, reason = "fine" } }
        w:requests(0, 100, 5, 3000)
        w:run(6000)
        w:requests(0, 100, 5, 3000)
        w:run(1000)
    end)

    after_each(function()
        w:close()
    end)

    it("has all that the header promises", function()
        assert.same({ name = "fake", state = "up", description = "fake 1.0" }, w:status().engine)
        local s = w:service_status "shop"
        assert.same({
            name = "string", source = "string", desired = "number", min = "number", max = "number", up = "number",
            starting = "number", draining = "number", generation = "number", rolling = "boolean",
            stopped = "boolean", oom_kills = "number", last_decision = "table", deploy = "table", resources = "table",
            traffic = "table", instances = "table", mode = "string",
        }, kinds(s))
        assert.same({ cpu_percent = "number", memory_percent = "number" }, kinds(s.resources))
        assert.same({ rate = "number", in_flight = "number", queue = "number", p50_ms = "number", p95_ms = "number",
            p99_ms = "number", error_rate = "number" }, kinds(s.traffic))
        local i = w:instances("shop")["shop-1"]
        assert.same({
            id = "string", engine_id = "string", state = "string", address = "string", slot = "number", index = "number",
            generation = "number", age_s = "number", restarts = "number", oom_kills = "number", reason = "string", drained = "boolean",
            pid = "number", running = "boolean", cpu_percent = "number", memory_percent = "number", memory_bytes = "number",
            received_bytes_per_second = "number",
            circuit = "string", circuit_opened = "number", ejected = "number",
            in_flight = "number", requests = "number", errors = "number",
        }, kinds(i))
        assert.same({ 200, 10, 400, 2000 }, { i.requests, i.errors, i.memory_bytes, i.received_bytes_per_second })
        assert.same({ "done", 1, "" }, { s.deploy.state, s.deploy.generation, s.deploy.reason })
        assert.equal("no_change", s.last_decision.action)
    end)

    it("has decisions as the header promises", function()
        assert.same({
            at = "string", wall_ms = "number", last_wall_ms = "number", count = "number", service = "string",
            policy = "string", origin = "string", generation = "number", inputs = "table", want = "number",
            was = "number", result = "number", action = "string", reason = "string", held_by = "string",
            constraints = "table",
        }, kinds(w:decisions()[1]))
        assert.is_nil(w:decisions "nobody")
    end)

    it("has a roster as the header promises", function()
        local _, b = next((w:backends "shop"))
        assert.same({
            id = "string", slot = "number", address = "string", weight = "number", max_connections = "number",
            capacity = "number", tags = "table", draining = "boolean", joined_ms = "number",
        }, kinds(b))
    end)
end)

describe("fleet's cost", function()
    it("is far below 5 ms of CPU a tick with 200 instances", function()
        local services = {}
        for n = 1, 50 do
            services[n] = World.service("s" .. n, { scale = { min = 4 } })
        end
        local w = World.new { services = services }
        w:until_(function()
            for n = 1, 50 do
                if w:up("s" .. n) < 4 then
                    return false
                end
            end
            return true
        end)
        w:run(1000)
        local cost_us = w:tick_cost_us(100) / 100
        assert.is_true(cost_us < 1000, cost_us)
        w:crash()
        w:boot()
        local took = w:until_(function()
            for n = 1, 50 do
                if w:up("s" .. n) < 4 then
                    return false
                end
            end
            return true
        end)
        assert.is_true(took < 3000, took)
        w:close()
    end)
end)
