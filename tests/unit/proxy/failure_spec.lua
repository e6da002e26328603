-- The data plane over real sockets, one behaviour each: failures and limits.
local proxied = require "proxied"
local socket = require "socket"

describe("proxy, failures and limits", function()
    local w

    local function world(options)
        w = proxied.start(options)
        return w
    end

    after_each(function()
        w = proxied.finish(w)
    end)

    it("says 503 with Retry-After when no backend is ready, or all are full", function()
        world { backend = { max_connections = 1 } }
        local a, b = w:client(), w:client()
        a:get "/"
        local u = w:accept()
        u:read_head()
        b:get "/"
        local status, head = b:answer()
        assert.equal(503, status)
        assert.matches("\r\nRetry%-After: 1\r\n", head)
        u:ok ""
        assert.equal(200, (a:answer()))
        w:roster {}
        a:get "/"
        assert.equal(503, (a:answer()))
    end)

    it("tries another backend when one refuses, also for POST", function()
        world { backends = 2 }
        w.servers[1]:close()
        w.servers[1] = w.servers[2]
        for i = 1, 3 do
            local c = w:client()
            c:send "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"
            local u = w:accept(2)
            u:read_head()
            assert.equal("ab", (u:read(2)))
            u:ok(tostring(i), "Connection: close\r\n")
            assert.equal(tostring(i), (select(3, c:answer())))
        end
        assert.is_true(tonumber(w:row(1).outcomes[0]) > 0)
        assert.is_true(tonumber(w:row(1).retries) > 0)
        assert.equal(3, tonumber(w:row(2).outcomes[2]))
    end)

    it("repeats a GET elsewhere when the answer never begins, but not a POST", function()
        world { backends = 2 }
        local c = w:client()
        c:get "/"
        local u, first = w:accept_any()
        u:read_head()
        u:close()
        local v, second = w:accept_any()
        assert.is_true(first ~= second)
        v:read_head()
        v:ok "second"
        assert.equal("second", (select(3, c:answer())))
        v:close()
        c:send "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"
        u = w:accept_any()
        u:read_head()
        u:read(2)
        u:close()
        assert.equal(502, (c:answer()))
        assert.is_true(w:unwanted(1) and w:unwanted(2))
    end)

    it("repeats elsewhere what waits for the first byte of a lost backend, but not a POST", function()
        world { backends = 2 }
        local c, post = w:client(), w:client()
        c:get "/"
        local u, first = w:accept_any()
        u:read_head()
        local other = 3 - first
        w:roster { w:entry(first) } -- so that the POST goes there too
        post:send "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"
        local v = w:accept(first)
        v:read_head()
        v:read(2)
        w:roster({ w:entry(other) }, { "shop-" .. first })
        local o = w:accept(other)
        o:read_head()
        o:ok "elsewhere"
        assert.equal("elsewhere", (select(3, c:answer())))
        assert.is_true(u:closed())
        v:ok "late"
        assert.equal("late", (select(3, post:answer())))
        assert.equal(1, tonumber(w:row(first).retries))
        proxied.eventually(function() -- the client has its answer a moment before it is counted
            return tonumber(w:row(1).in_flight) + tonumber(w:row(2).in_flight) == 0
        end, "something stays in flight")
    end)

    it("leaves what a lost backend has begun to answer, or no other could, where it is", function()
        world { backends = 2, route = { more = { response_buffer = 0 } } }
        local c = w:client()
        c:get "/"
        local u, first = w:accept_any()
        u:read_head()
        u:send "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
        assert.matches("^HTTP/1.1 200", (c:read_head()))
        w:roster({ w:entry(3 - first) }, { "shop-" .. first })
        u:send "slow"
        assert.equal("slow", (c:read(4)))
        c:get "/"
        local v = w:accept(3 - first)
        v:read_head()
        w:roster({}, { "shop-" .. (3 - first) })
        v:ok "last"
        assert.equal("last", (select(3, c:answer())))
    end)

    it("has requests wait for a backend where the route wants that", function()
        world { backends = 2, route = { more = { queue = { limit = 10, timeout_ms = 5000, when_down = true } } } }
        local entries = { w:entry(1), w:entry(2) }
        w:roster {}
        local clients = {}
        for i = 1, 3 do
            clients[i] = w:client()
            clients[i]:get("/" .. i)
        end
        proxied.eventually(function()
            return tonumber(w:numbers().queued) == 3
        end)
        w:roster { entries[1] }
        for i = 1, 3 do
            local u = w:accept(1)
            assert.matches("^GET /" .. i, (u:read_head()))
            u:ok(tostring(i), "Connection: close\r\n")
            assert.equal(tostring(i), (select(3, clients[i]:answer())))
        end
        -- All refuse for a while, and no roster ever tells that they are back.
        local port = w.ports[1]
        w.servers[1]:close()
        clients[1]:get "/"
        proxied.eventually(function()
            return tonumber(w:numbers().queued) == 1
        end)
        w.servers[1] = assert(socket.bind("127.0.0.1", port, 64))
        local u = w:accept(1)
        u:read_head()
        u:ok "back"
        assert.equal("back", (select(3, clients[1]:answer())))
    end)

    it("has requests wait for a moment when the last backend has just gone, but not for ever", function()
        world { backends = 2, route = { more = { queue = { limit = 10, timeout_ms = 600 } } } }
        local function ask()
            local c = w:client()
            c:get "/"
            return c
        end
        local function waiting(n)
            proxied.eventually(function()
                return tonumber(w:numbers().queued) == n
            end, "there never waited " .. n)
        end
        local entries = { w:entry(1), w:entry(2) }
        w:roster {} -- gone, and back in time
        local c = ask()
        waiting(1)
        w:roster(entries)
        local u, first = w:accept_any()
        u:read_head()
        u:close() -- and both fail it, though nobody says that they are down
        u = w:accept(3 - first)
        u:read_head()
        u:close()
        u = w:accept_any()
        u:read_head()
        u:ok("back", "Connection: close\r\n")
        assert.equal("back", (select(3, c:answer())))
        w:roster {} -- gone for long
        c = ask()
        waiting(1)
        local status, _, why = c:answer()
        assert.equal(503, status)
        assert.matches("no backend came in time", why)
        c = ask() -- who comes then knows at once
        status, _, why = c:answer()
        assert.equal(503, status)
        assert.matches("no backend is ready", why)
        w:roster(entries) -- an answer, and the next outage is a new one
        c = ask()
        u = w:accept_any()
        u:read_head()
        u:ok("", "Connection: close\r\n")
        assert.equal(200, (c:answer()))
        w:roster {}
        c = ask()
        waiting(1)
        w:roster(entries)
        u = w:accept_any()
        u:read_head()
        u:ok "again"
        assert.equal("again", (select(3, c:answer())))
    end)

    it("refuses later requests of an outage at once while earlier ones still wait", function()
        world { route = { more = { queue = { limit = 10, timeout_ms = 1000 } } } }
        w:roster {}
        local from = socket.gettime()
        local c = w:client()
        c:get "/"
        local last
        repeat -- one after the other; each keeps waiting for its own second
            last = w:client()
            last:get "/"
        until not last:silent(0.1) or socket.gettime() - from > 3
        assert.equal(503, (c:answer()))
        local _, _, why = last:answer()
        assert.matches("no backend is ready", why)
        assert.is_true(tonumber(w:numbers().queued) > 0)
    end)

    it("never waits for a backend where the route does not want that", function()
        world { route = { more = { queue = { limit = 10, timeout_ms = 5000, when_down = false } } } }
        w:roster {}
        local c = w:client()
        c:get "/"
        assert.matches("no backend is ready", (select(3, c:answer())))
        assert.equal(0, tonumber(w:numbers().queued_total))
    end)

    it("gives up with 502 when every backend fails", function()
        world { backends = 2 }
        local c = w:client()
        c:get "/"
        for _ = 1, 2 do
            local u = w:accept_any()
            u:read_head()
            u:close()
        end
        assert.equal(502, (c:answer()))
        assert.equal(1, tonumber(w:row(1).outcomes[0]))
        assert.equal(1, tonumber(w:row(2).outcomes[0]))
    end)

    it("repeats a request whose reused connection was closing", function()
        world()
        local c = w:client()
        c:get "/1"
        local u = w:accept()
        u:read_head()
        u:ok ""
        assert.equal(200, (c:answer()))
        c:get "/2"
        u:read_head()
        u:close() -- without a byte of an answer
        u = w:accept()
        assert.matches("^GET /2", (u:read_head()))
        u:ok "again"
        assert.equal("again", (select(3, c:answer())))
        assert.equal(0, tonumber(w:row(1).outcomes[0]))
    end)

    it("drops an idle backend connection that closes or talks unasked", function()
        world()
        local c = w:client()
        for round = 1, 2 do
            c:get "/"
            local u = w:accept()
            u:read_head()
            u:ok ""
            assert.equal(200, (c:answer()))
            proxied.eventually(function()
                return tonumber(w:row(1).pooled) == 1
            end)
            if round == 1 then
                u:close()
            else
                u:send "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
            end
            proxied.eventually(function()
                return tonumber(w:row(1).pooled) == 0
            end)
        end
        c:get "/fresh"
        local u = w:accept()
        assert.matches("^GET /fresh", (u:read_head()))
        u:ok ""
        assert.equal(200, (c:answer()))
    end)

    it("closes a backend connection that sends more than it announced", function()
        world()
        local c = w:client()
        c:get "/"
        local u = w:accept()
        u:read_head()
        u:send "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n\r\n"
        assert.equal("x", (select(3, c:answer())))
        assert.is_true(u:closed())
    end)

    it("cuts the client when the backend's body is cut", function()
        world()
        for _, head in ipairs { "Content-Length: 100000\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n" } do
            local c = w:client()
            c:get "/"
            local u = w:accept()
            u:read_head()
            u:send("HTTP/1.1 200 OK\r\n" .. head)
            proxied.eventually(function()
                return tonumber(w:row(1).bytes_out) > 0
            end)
            u:close()
            local status, _, body = c:answer()
            assert.is_true(status == 200 or status == nil)
            assert.is_nil(body)
            assert.is_true(c:closed())
        end
        assert.equal(2, tonumber(w:numbers().aborted))
        local old = w:client() -- HTTP/1.0 knows the end only by a clean close
        old:send "GET / HTTP/1.0\r\n\r\n"
        local u = w:accept()
        u:read_head()
        u:send "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
        proxied.eventually(function()
            return tonumber(w:row(1).bytes_out) >= 9
        end)
        u:close()
        local _, err = old:read_all()
        assert.is_not_nil(err)
    end)

    it("answers 502 for heads that are no HTTP", function()
        world()
        local c = w:client()
        for _, bytes in ipairs { "SSH-2.0-x\r\n", "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
            "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "HTTP/1.1 200 OK\r\nX: " .. ("y"):rep(20000) } do
            c:send "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
            local u = w:accept()
            u:read_head()
            u:send(bytes)
            local status, _, body = c:answer()
            assert.equal(502, status, bytes:sub(1, 40))
            assert.matches("request id: %x+", body)
            u:close()
        end
    end)

    it("passes on an early answer and then closes", function()
        world()
        local c = w:client()
        c:send "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc"
        local u = w:accept()
        u:read_head()
        u:send "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"
        local status, head, body = c:answer()
        assert.equal(413, status)
        assert.equal("no", body)
        assert.matches("\r\nConnection: close\r\n", head)
        c:send(("x"):rep(1000)) -- thrown away, not a reset
        assert.is_true(c:closed())
    end)

    it("does not take a client's half-close for an abort", function()
        world()
        local c = w:client()
        c:get "/"
        c:half_close()
        local u = w:accept()
        u:read_head()
        assert.is_true(u:silent())
        u:ok "still"
        assert.equal("still", (select(3, c:answer())))
        assert.is_true(c:closed())
    end)

    it("ends the backend's request when the client resets", function()
        world()
        local c = w:client()
        c:get "/"
        local u = w:accept()
        u:read_head()
        c:reset()
        assert.is_true(u:closed())
        proxied.eventually(function()
            return tonumber(w:row(1).in_flight) == 0 and tonumber(w:numbers().connections) == 0
        end)
    end)

    it("answers 504 when a backend is silent, and does not ask another", function()
        world { backends = 2, route = { backend_timeout_ms = 100 } }
        local c = w:client()
        c:get "/"
        local u = w:accept_any()
        u:read_head()
        assert.equal(504, (c:answer()))
        assert.is_true(u:closed())
        assert.is_true(w:unwanted(1) and w:unwanted(2))
    end)

    it("answers 408 to a head that does not end, and closes idle connections", function()
        world { route = { client_timeout_ms = 100 } }
        local c = w:client()
        c:send "GET / HTT"
        assert.equal(408, (c:answer()))
        assert.is_true(c:closed())
        local b = w:client()
        b:send "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab"
        local u = w:accept()
        u:read_head()
        assert.equal("ab", (u:read(2)))
        assert.equal(408, (b:answer()))
        assert.is_true(u:closed())
        local idle = w:client()
        idle:get "/"
        u = w:accept()
        u:read_head()
        u:ok ""
        assert.equal(200, (idle:answer()))
        assert.is_true(idle:closed())
    end)
end)
