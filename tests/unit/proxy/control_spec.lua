-- The data plane over real sockets, one behaviour each: configuration, rosters and drain.
local proxied = require "proxied"

describe("proxy, configuration, rosters and drain", function()
    local w

    local function world(options)
        w = proxied.start(options)
        return w
    end

    after_each(function()
        w = proxied.finish(w)
    end)

    it("routes by host and by longest path, and answers 404 with the request's id", function()
        world { backends = 0, routes = {
            { service = "any", path = "/" }, { service = "deep", path = "/a/b" },
            { service = "host", host = "Shop.Example", path = "/" },
            { service = "wild", host = "*.shop.example", path = "/w" } } }
        w:roster {}
        local c = w:client()
        local function goes(host, path, wanted)
            c:send("GET " .. path .. " HTTP/1.1\r\nHost: " .. host .. "\r\nX-Request-Id: r1\r\n\r\n")
            local status, _, body = c:answer()
            assert.equal(wanted, status, host .. path)
            return body
        end
        goes("x", "/", 503)
        w:must(w:configure { { service = "deep", path = "/a/b" }, { service = "wild", host = "*.shop.example", path = "/w" },
            { service = "host", host = "Shop.Example", path = "/h/" } })
        w:must "commit"
        assert.matches("request id: r1", goes("x", "/", 404))
        goes("x", "/a/b", 503)
        goes("x", "/a/b/c", 503)
        goes("x", "/a/bc", 404)
        goes("SHOP.example:80", "/h/x", 503)
        goes("shop.example.", "/h/", 503)
        goes("shop.example", "/h", 404)
        goes("a.b.shop.example", "/w/", 503)
        goes("shop.example", "/w", 404)
        assert.is_true(tonumber(w:numbers().no_route) >= 4)
        assert.is_true(tonumber(w:numbers().no_backend) >= 6)
    end)

    it("falls back to least connections when the policy fails, and says so", function()
        for _, policy in ipairs { "raises", "wild" } do
            world { backends = 2, route = { policy = policy } }
            local a, b = w:client(), w:client()
            a:get "/"
            local u, first = w:accept_any()
            u:read_head()
            b:get "/"
            local v, second = w:accept_any()
            v:read_head()
            assert.is_true(first ~= second)
            u:ok ""
            v:ok ""
            assert.equal(200, (a:answer()))
            assert.equal(200, (b:answer()))
            assert.equal(2, tonumber(w:numbers().policy_errors))
            local fault = w:must "fault"
            assert.matches("^1 balance of shop 1 by " .. policy .. ": policies/balance/" .. policy .. ".lua:%d+: ", fault)
            assert.matches("; a request of .* to /, attempt 1, 2 of 2 backends eligible; 1 of 1$", fault)
            assert.equal(0, w:stop())
            w = nil
        end
        world { route = { policy = "none" } }
        local c = w:client()
        c:get "/"
        assert.equal(503, (c:answer()))
    end)

    it("asks a policy that fails again and again once a second only", function()
        world { backends = 2, route = { policy = "raises" } }
        local c = w:client()
        local function one()
            c:get "/"
            local u = w:accept_any()
            u:read_head()
            u:ok("", "Connection: close\r\n")
            u:close()
            assert.equal(200, (c:answer()))
            return tonumber(w:numbers().picks)
        end
        for i = 1, 8 do
            assert.equal(i, one())
        end
        assert.equal(8, one())
        assert.equal(9, tonumber(w:numbers().policy_errors))
        local requests = 9
        repeat
            requests = requests + 1
        until one() == 9 or requests > 100000
        assert.equal(9, tonumber(w:numbers().picks))
        assert.equal(requests, tonumber(w:numbers().policy_errors))
    end)

    it("asks a policy in quarantine no more until the next generation", function()
        world { backends = 2, route = { policy = "raises" } }
        local c = w:client()
        local function one()
            c:get "/"
            local u = w:accept_any()
            u:read_head()
            u:ok("", "Connection: close\r\n")
            u:close()
            assert.equal(200, (c:answer()))
            return tonumber(w:numbers().picks), tonumber(w:numbers().policy_errors)
        end
        assert.same({ 1, 1 }, { one() })
        w:must "quarantine 77 balance" -- of another generation
        assert.same({ 2, 2 }, { one() })
        w:must "quarantine 1 request"
        assert.same({ 3, 3 }, { one() })
        w:must "quarantine 1 balance"
        assert.same({ 3, 3 }, { one() })
        w:must(w:configure({ { policy = "raises" } }))
        w:must "commit"
        assert.same({ 4, 4 }, { one() })
    end)

    it("tells of a policy that LuaJIT does not compile", function()
        for _, case in ipairs { { "closure", 1 }, { "round_robin", 0 } } do
            world { route = { policy = case[1] } }
            local c, u = w:client(), nil
            for i = 1, 2048 do
                assert.equal(0, tonumber(w:numbers().interpreted))
                c:get "/"
                u = u or w:accept(1)
                u:read_head()
                u:ok ""
                assert.equal(200, (c:answer()), i)
            end
            assert.equal(case[2], tonumber(w:numbers().interpreted))
            local fact = w:must "fact"
            if case[2] == 1 then
                assert.matches("^1 policy: policies/balance/closure.lua:1: runs interpreted", fact)
            end
            w:must(w:configure({ { policy = "round_robin" } }))
            w:must "commit"
            assert.equal(0, tonumber(w:numbers().interpreted))
            w = proxied.finish(w)
        end
    end)

    it("decides in C when policies are set aside, and counts no error", function()
        world { backends = 2, route = { policy = "none" } }
        w:must(w:configure({ { policy = "none" } }, nil, true))
        w:must "commit"
        local a, b = w:client(), w:client()
        a:get "/"
        local u, first = w:accept_any()
        u:read_head()
        b:get "/"
        local v, second = w:accept_any()
        v:read_head()
        assert.is_true(first ~= second)
        u:ok ""
        v:ok ""
        assert.same({ 200, 200 }, { (a:answer()), (b:answer()) })
        assert.same({ 0, 0 }, { tonumber(w:numbers().policy_errors), tonumber(w:numbers().picks) })
    end)

    it("shares by the policy and keeps exact numbers", function()
        world { backends = 2 }
        local clients, seen = {}, { 0, 0 }
        for i = 1, 6 do
            clients[i] = w:client()
            clients[i]:get "/"
            local u, at = w:accept_any()
            clients[i].up = u
            u:read_head()
            seen[at] = seen[at] + 1
        end
        assert.same({ 3, 3 }, seen)
        assert.equal(3, tonumber(w:row(1).in_flight))
        assert.equal(6, tonumber(w:numbers().connections))
        for i = 1, 6 do
            clients[i].up:ok ""
            assert.equal(200, (clients[i]:answer()))
        end
        proxied.eventually(function()
            return tonumber(w:row(1).in_flight) + tonumber(w:row(2).in_flight) == 0
        end)
    end)

    it("drains a backend that leaves: its exchange ends well, its connections close", function()
        world { backends = 2 }
        local c = w:client()
        c:get "/"
        local u, at = w:accept_any()
        u:read_head()
        local other = 3 - at
        w:roster { w:entry(other) }
        local d = w:client()
        d:get "/"
        local v = w:accept(other)
        v:read_head()
        v:ok ""
        assert.equal(200, (d:answer()))
        u:ok "last"
        assert.equal("last", (select(3, c:answer())))
        assert.is_true(u:closed())
        w:roster { w:entry(other, { draining = true }) }
        assert.is_true(v:closed())
        d:get "/"
        assert.equal(503, (d:answer()))
        assert.matches("^error", w:tell 'roster {"version":9,"services":[{"name":"x","backends":[{"id":"a","slot":99999,"address":"1.2.3.4:5"}]}]}')
        assert.equal(3, tonumber(w:numbers().roster_version))
    end)

    it("swaps generations between two requests, and drops what was prepared in vain", function()
        world { backends = 1 }
        local c = w:client()
        c:get "/"
        local u = w:accept()
        u:read_head()
        assert.matches("^error", w:tell(w:configure { { policy = "missing" } }))
        assert.matches("^error", w:tell "commit")
        assert.matches("another route", w:tell(w:configure { {}, {} }))
        w:must(w:configure { { path = "/new" } })
        w:must "abort"
        w:must(w:configure { { path = "/new" } })
        w:must "commit"
        u:ok "old"
        assert.equal("old", (select(3, c:answer())))
        c:get "/"
        assert.equal(404, (c:answer()))
        c:get "/new"
        u:read_head()
        u:ok ""
        assert.equal(200, (c:answer()))
        for _ = 1, 20 do
            w:must(w:configure { { path = "/new" } })
            w:must "commit"
            c:get "/new"
            u:read_head()
            u:ok ""
            assert.equal(200, (c:answer()))
        end
        w:must(w:configure { { listen = "elsewhere" } })
        w:must "commit"
        assert.is_nil((require("socket").connect("127.0.0.1", w.port)))
    end)

    it("drains: finishes, says close, closes idle ones, ends", function()
        world()
        local busy, idle, late = w:client(), w:client(), w:client()
        local u
        for _, c in ipairs { idle, late } do
            c:get "/"
            u = u or w:accept()
            u:read_head()
            u:ok ""
            assert.equal(200, (c:answer()))
        end
        busy:get "/"
        u:read_head()
        w:must "drain 5000"
        assert.is_nil((require("socket").connect("127.0.0.1", w.port)))
        u:ok "end"
        local _, head, body = busy:answer()
        assert.equal("end", body)
        assert.matches("\r\nConnection: close\r\n", head)
        assert.is_true(busy:closed())
        late:get "/" -- was connected before the drain: still served
        u:read_head()
        u:ok "late"
        _, head, body = late:answer()
        assert.equal("late", body)
        assert.matches("\r\nConnection: close\r\n", head)
        assert.is_true(late:closed())
        assert.is_true(idle:closed())
        proxied.eventually(function()
            return w:tell "fact":match "^error"
        end, "it does not end by itself")
    end)

    it("does not listen on in a drain where a service has no backend: others may have", function()
        world()
        w:roster {}
        w:must "drain 9000 9000"
        proxied.eventually(function()
            return not require("socket").connect("127.0.0.1", w.port)
        end, "it listens on with nobody to ask")
    end)

    it("serves who has connected before a drain but said nothing yet", function()
        world()
        local soon, late = w:client(), w:client() -- in the kernel only: nothing is accepted before its first bytes
        w:must "drain 9000 1300"
        local function served(c)
            c:get "/"
            local u = w:accept()
            u:read_head()
            u:ok("late", "Connection: close\r\n")
            local status, head, body = c:answer()
            assert.same({ 200, "late" }, { status, body })
            assert.matches("\r\nConnection: close\r\n", head)
        end
        served(soon)
        served(w:client()) -- who comes meanwhile is served too
        proxied.eventually(function()
            return not require("socket").connect("127.0.0.1", w.port)
        end, "it listens for ever")
        served(late)
        proxied.eventually(function()
            return w:tell "fact":match "^error"
        end, "it does not end by itself")
    end)

    it("serves what still comes on open connections while it drains", function()
        world()
        local c, held = w:client(), w:client()
        c:get "/1"
        local u = w:accept()
        u:read_head()
        u:ok ""
        assert.equal(200, (c:answer()))
        held:get "/held" -- keeps the drain from ending; goes to the pooled connection
        assert.matches("^GET /held ", (u:read_head()))
        w:must "drain 5000"
        c:get "/2"
        local v = w:accept()
        assert.matches("^GET /2 ", (v:read_head()))
        v:ok "late"
        local _, head, body = c:answer()
        assert.equal("late", body)
        assert.matches("\r\nConnection: close\r\n", head)
        u:ok ""
        assert.equal(200, (held:answer()))
    end)

    it("cuts what is open when the drain's time is over", function()
        world()
        local c = w:client()
        c:get "/"
        local u = w:accept()
        u:read_head()
        w:must "drain 50"
        assert.is_true(c:closed())
        assert.is_true(u:closed())
    end)

    it("survives running out of descriptors", function()
        world { files = 64 }
        local clients = {}
        for i = 1, 80 do
            clients[i] = w:client()
            clients[i]:send "GET / HTTP/1.1\r\n" -- keeps its place
        end
        proxied.eventually(function()
            return tonumber(w:numbers().connections) <= 64 and tonumber(w:numbers().accepted) >= 16
        end)
        for i = 1, 80 do
            clients[i]:close()
        end
        proxied.eventually(function()
            return tonumber(w:numbers().connections) == 0
        end)
        local c = w:client()
        c:get "/"
        local u = w:accept()
        u:read_head()
        u:ok "alive"
        assert.equal("alive", (select(3, c:answer())))
    end)

    it("closes idle clients to make room for others", function()
        world { files = 64 }
        local clients, u = {}, nil
        for i = 1, 80 do
            clients[i] = w:client()
            clients[i]:get "/"
            u = u or w:accept()
            u:read_head()
            u:ok "x"
            assert.equal(200, (clients[i]:answer()), "client " .. i)
        end
        assert.is_true(clients[1]:closed())
        clients[80]:get "/again"
        assert.matches("^GET /again ", (u:read_head()))
        u:ok "y"
        assert.equal("y", (select(3, clients[80]:answer())))
        assert.equal(80, tonumber(w:numbers().accepted))
    end)

    it("does not take its own lack of descriptors for a fault of backends", function()
        -- So long idle connections are kept, too, and these are not to be taken for some.
        world { files = 128, route = { more = { first_byte_timeout_ms = 30000 } } }
        local clients, answered, held = {}, 0, {}
        for i = 1, 62 do
            clients[i] = w:client()
            clients[i]:send "GET / HTTP/1.1\r\n" -- keeps its place
        end
        proxied.eventually(function()
            return tonumber(w:numbers().connections) == 62
        end)
        for i = 1, 62 do
            clients[i]:send "Host: a\r\n\r\n"
        end
        local row = w:row(1)
        proxied.eventually(function()
            return tonumber(w:numbers().no_backend) + tonumber(row.in_flight) == 62
        end)
        local refused = tonumber(w:numbers().no_backend)
        assert.is_true(refused > 0, "there were enough of them")
        for i = 1, 62 - refused do
            held[i] = w:accept()
            held[i]:read_head()
            held[i]:ok "x"
        end
        for i = 1, 62 do
            answered = answered + (clients[i]:answer() == 200 and 1 or 0)
        end
        assert.equal(62 - refused, answered)
        assert.equal(0, tonumber(row.outcomes[0]))
        assert.equal(0, tonumber(row.consecutive_failures))
    end)

    it("leaves no descriptor behind", function()
        world()
        local before = tonumber(w:must "files")
        for _ = 1, 20 do
            local c = w:client()
            c:get("/", "Connection: close\r\n")
            local u = w:accept()
            u:read_head()
            u:ok("x", "Connection: close\r\n")
            assert.equal("x", (select(3, c:answer())))
            u:close()
        end
        proxied.eventually(function()
            return tonumber(w:must "files") == before
        end)
    end)
end)
