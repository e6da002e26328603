-- How requests are spread by the real binary over scripted backends, by counts; tests/bench/quality.sh has the times.
local tidegate = require "tidegate"
local keys = require "keys"

local COUNT = 10

-- Ten ports in a row that are free.
local function first_port(t)
    local first, n = tidegate.free_port(), 1
    while n < COUNT do
        local port = tidegate.free_port()
        first, n = port == first + n and first or port, port == first + n and n + 1 or 1
    end
    t.ports.FIRST = first
    return first
end

-- Runs the backends, and writes a service over all of them.
local function world(t, route, weight, ...)
    local first, list = first_port(t), {}
    t:run_beside(tidegate.build .. "/backends", first, COUNT, ...)
    for i = 1, COUNT do
        list[i] = ('{ host = "127.0.0.1", port = %d, weight = %d }'):format(first + i - 1, weight and weight(i) or 1)
    end
    t:configure(('service "shop" { backends = { %s }, route = { listen = "127.0.0.1:@PORT@", %s } }'):format(
        table.concat(list, ", "), route))
    t:start()
    t:wait("all to be up", function()
        return t:of().up == COUNT
    end)
end

-- Changes settings; what each backend has served, and all of them.
local function control(t, settings)
    local answer = assert(t:get("/control?" .. (settings or ""), { port = t:port "FIRST" }))
    assert.equal(200, answer.status, answer.body)
    local served, all = {}, 0
    for _, count in answer.body:gmatch "(%d+) (%d+)[^\n]*\n" do
        served[#served + 1] = tonumber(count)
        all = all + tonumber(count)
    end
    return served, all
end

local function break_it(t, i, fail)
    control(t, ("port=%d&fail=%s"):format(t:port "FIRST" + i - 1, fail))
end

-- Until one backend has 8 % of some hundred requests.
local function wait_for_share(t, i)
    local was, was_all = control(t)
    t:wait("a share of 8 %", function()
        local served, all = control(t)
        if all - was_all < 500 then
            return false
        end
        local share = (served[i] - was[i]) / (all - was_all)
        was, was_all = served, all
        return share >= 0.08
    end)
end

describe("balance, live", function()
    it("honours weights within 1 % over two workers", tidegate.test(function(t)
        world(t, 'balance = "weighted_round_robin"', function(i)
            return i
        end, "service_ms=0", "slots=0")
        local load = t:load { path = "/", rate = 0, connections = 16, args = { "--requests", 20000 } }
        t:wait("20,000 answers", function()
            return load:live().requests >= 20000
        end, 120)
        local figures = load:stop_clean()
        for i = 1, COUNT do
            local share, want = figures.by_instance["b" .. i] / figures.requests, i / 55
            assert.is_true(math.abs(share / want - 1) <= 0.01, ("b%d: %f instead of %f"):format(i, share, want))
        end
    end))

    it("moves only the keys of a backend that leaves, and back to the same place", tidegate.test(function(t)
        world(t, 'balance = { policy = "consistent_hashing", key = "header:X-Key", balance_factor = 0 }', nil,
            "service_ms=0", "slots=0")
        local gone = ("127.0.0.1:%d"):format(t:port "FIRST" + 3)
        local before = keys.ask(t:port(), 4000)
        assert.equal(0, t:cli("backend", "remove", "shop", gone).code)
        local without = keys.ask(t:port(), 4000)
        local moved = 0
        for key, backend in pairs(before) do
            assert.not_equal("b4", without[key])
            assert.is_true(backend == "b4" or without[key] == backend, "a key moved without need")
            moved = moved + (backend == "b4" and 1 or 0)
        end
        assert.is_true(moved > 0 and moved / 4000 <= 1 / COUNT + 0.02, moved)
        assert.equal(0, t:cli("backend", "add", "shop", gone).code)
        t:wait("it to be there again", function()
            return t:of().up == COUNT
        end)
        assert.equal(0, keys.moved(before, keys.ask(t:port(), 4000)))
    end))

    it("sends little to one that fails at once, and a share when it is well again", tidegate.test(function(t)
        world(t, 'circuit_breaker = { recovery_timeout = "2s" }', nil, "service_ms=10", "kind=exponential")
        local load = t:load { path = "/", rate = 1000, connections = 64, args = { "--poisson" } }
        load:run(1000)
        break_it(t, 4, "500")
        load:run(3000) -- a tenth of these would be 300
        local failed = load:live().errors
        assert.is_true(failed >= 1 and failed <= 30, failed .. " failed")
        break_it(t, 4, "no")
        wait_for_share(t, 4)
        load:stop()
    end))

    it("repeats elsewhere what a backend resets, and gives it a share when it is well again", tidegate.test(function(t)
        world(t, 'circuit_breaker = { recovery_timeout = "2s" }', nil, "service_ms=10", "kind=exponential")
        local load = t:load { path = "/", rate = 1000, connections = 64, args = { "--poisson" } }
        for _, fail in ipairs { "reset", "down" } do
            load:run(500)
            break_it(t, 4, fail)
            load:run(1500)
            break_it(t, 4, "no")
            wait_for_share(t, 4)
        end
        load:stop_clean()
    end))

    it("asks one that was slow again", tidegate.test(function(t)
        world(t, 'balance = "ewma"', nil, "service_ms=10", "kind=exponential")
        local load = t:load { path = "/", rate = 1000, connections = 64, args = { "--poisson" } }
        load:run(500)
        local slow = ("port=%d&service_ms="):format(t:port "FIRST" + 3)
        control(t, slow .. 200)
        load:run(500)
        local was, was_all = control(t)
        load:run(2000)
        local served, all = control(t)
        assert.is_true((served[4] - was[4]) / (all - was_all) < 0.03, served[4] - was[4])
        control(t, slow .. 10)
        wait_for_share(t, 4)
        load:stop_clean()
    end))
end)
