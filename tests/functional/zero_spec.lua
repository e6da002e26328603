-- Scale to zero: without requests no instance is left, and requests wait for the first one.
local socket = require "socket"
local tidegate = require "tidegate"

local SERVICE = [[
service "data" {
  command = { "@SERVICE@", "--host", "127.0.0.1", "--port", "$PORT", "--health-delay", "@DELAY@" },
  health_check = { @CHECK@ interval = "100ms", timeout = "1s", retries = 2 },
  scale = { policy = "@POLICY@", min = 0, max = 4, idle = "@IDLE@", interval = "200ms", up_cooldown = "0s" },
  route = { listen = "@LISTEN@127.0.0.1:@PORT@", @QUEUE@ },
}]]

local function configure(t, o)
    o = o or {}
    t:configure(SERVICE, { DELAY = o.delay or 300, IDLE = o.idle or "1h", QUEUE = o.queue or "",
        POLICY = o.policy or "queue", LISTEN = o.listen or "", CHECK = o.check or 'http = "/health",' })
end

-- A request that is under way: a connection, and what it says of its end.
local function ask(t, path)
    local conn = socket.tcp4()
    assert(conn:connect("127.0.0.1", t:port()))
    conn:send(("GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"):format(path or "/work"))
    return function()
        conn:settimeout(10)
        local text, why, part = conn:receive "*a"
        conn:close()
        text = text or part
        return tonumber(text:match "^HTTP/1%.1 (%d+)"), text, why
    end
end

local function held(t, n)
    return t:wait(n .. " requests to wait", function()
        local s = t:of()
        return s.traffic.queue == n and s
    end)
end

-- Workers of a master that died tell to ask again, until they have seen the next one.
local function answered(t)
    t:wait("an answer", function()
        local answer = t:get "/work"
        return answer and answer.status == 200
    end)
end

describe("scale to zero", function()
    it("starts with none, holds the first requests, and starts one instance for them", tidegate.test(function(t)
        configure(t)
        t:start()
        assert.same({ 0, 0 }, { t:of().desired, t:of().up })
        local answers = { ask(t), ask(t), ask(t) }
        for _, answer in ipairs(answers) do
            local status, text = answer()
            assert.equal(200, status, text)
        end
        local s = t:wait_up(1)
        assert.equal("data-1", s.instances[1].id)
        assert.equal(1, s.zero.wakes)
        local first = t:decisions()[1]
        assert.same({ "scale to zero", "scale_up", 0, 1 }, { first.policy, first.action, first.was, first.result })
        assert.matches("^[123] wait for the first instance; cold starts a day: 0 at 1m, 0 at 5m, ", first.reason)
        assert.equal(200, t:get("/work").status)
    end))

    it("goes to none when idle, whatever the policy, and comes back", tidegate.test(function(t)
        local admin = t:port "ADMIN"
        t:write("policies/scale/one.lua", [[
return { name = "one", doc = "for this test", new = function() return function() return 1 end end } ]])
        configure(t, { idle = "1s", policy = "one", delay = 0 })
        t:start { args = { "--admin", "127.0.0.1:" .. admin } }
        assert.equal(200, t:get("/work").status)
        local s = t:wait_up(0)
        assert.same({ 0, 1 }, { s.desired, s.zero.wakes })
        local down = t:decisions()
        down = down[#down]
        assert.same({ "scale_down", 1, 0 }, { down.action, down.was, down.result })
        assert.matches("^no request for %d+ s; cold starts a day by `idle`: [%d.e+]+ at 1m, ", down.reason)
        assert.equal(200, t:get("/work").status)
        assert.equal("2", t:get("/metrics", { port = admin }).body
            :match '\ntidegate_service_wakes_total{service="data"} (%d+)')
    end))

    it("keeps one while requests come, though the policy wants none", tidegate.test(function(t)
        t:write("policies/scale/none.lua", [[
return { name = "none", doc = "for this test", new = function() return function() return 0 end end } ]])
        configure(t, { policy = "none", delay = 0 })
        t:start()
        assert.equal(200, t:get("/work").status)
        t:wait("a decision of the policy", function()
            local all = t:decisions()
            local last = all[#all]
            return last.policy == "none" and last.want == 0 and last.result == 1
        end)
        assert.equal(1, t:of().up)
    end))

    it("answers 503 beyond the queue's limit and behind its time-out, with Retry-After", tidegate.test(function(t)
        local admin = t:port "ADMIN"
        configure(t, { delay = 3600000, queue = 'queue = { limit = 2, timeout = "3s" },' })
        t:start { args = { "--admin", "127.0.0.1:" .. admin } }
        local answers = { ask(t), ask(t) }
        held(t, 2)
        local over = t:get "/work"
        assert.same({ 503, "1" }, { over.status, over.headers["retry-after"] })
        assert.equal("2", t:get("/metrics", { port = admin }).body
            :match '\ntidegate_service_held_requests{service="data"} (%d+)')
        for _, answer in ipairs(answers) do
            local status, text = answer()
            assert.equal(503, status)
            assert.matches("\r\nRetry%-After: 1\r\n", text)
            assert.matches("no backend came in time", text)
        end
        assert.same({ 1, 0 }, { t:of().desired, t:of().up })
    end))

    it("stays at none over a reload and a crash of the master", tidegate.test(function(t)
        configure(t)
        t:start { keep = true }
        assert.equal(0, t:cli("reload").code)
        assert.same({ 0, 0 }, { t:of().desired, #t:of().instances })
        t:crash()
        t:start()
        assert.same({ 0, 0 }, { t:of().desired, #t:of().instances })
        answered(t)
    end))

    it("answers who waits when the master dies, and wakes with the next one", tidegate.test(function(t)
        configure(t, { idle = "1s", delay = 0 })
        t:start { keep = true }
        assert.equal(200, t:get("/work").status)
        t:wait_up(0)
        t:crash()
        -- A worker without a master has nobody who could start one: it says so, and the next one does.
        t:wait("an answer of a worker without a master", function()
            local answer = t:get "/work"
            return answer and answer.status == 503 and answer.headers["retry-after"]
        end)
        t:start()
        answered(t)
        assert.equal(1, t:of().zero.wakes)
    end))

    it("leaves none where an operator says so, and does not wake while that holds", tidegate.test(function(t)
        configure(t, { delay = 0, queue = 'queue = { timeout = "500ms" },' })
        t:start()
        assert.equal(200, t:get("/work").status)
        assert.equal(0, t:cli("scale", "data", "0").code)
        t:wait_up(0)
        assert.equal(503, t:get("/work").status)
        assert.equal(0, t:of().desired)
    end))

    it("holds connections of a TCP route", tidegate.test(function(t)
        configure(t, { listen = "tcp://", delay = 0 })
        t:start()
        local first, second = ask(t), ask(t)
        assert.equal(200, (first()))
        assert.equal(200, (second()))
        assert.equal("data-1", t:wait_up(1).instances[1].id)
    end))
end)
