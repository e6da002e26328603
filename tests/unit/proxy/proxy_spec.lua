-- The data plane over real sockets: one behaviour each.
local proxied = require "proxied"

describe("proxy", function()
    local w

    local function world(options)
        w = proxied.start(options)
        return w
    end

    after_each(function()
        if w then
            local status = w:stop()
            w = nil
            assert.equal(0, status, "the proxy's process ended badly")
        end
    end)

    it("forwards a GET and its answer, and keeps both connections", function()
        world()
        local c = w:client()
        c:get "/a?b=c"
        local u = w:accept()
        local head = u:read_head()
        assert.matches("^GET /a%?b=c HTTP/1.1\r\nHost: shop.example\r\n", head)
        assert.matches("\r\nX%-Forwarded%-For: 127.0.0.1\r\n", head)
        assert.matches("\r\nX%-Forwarded%-Proto: http\r\n", head)
        assert.matches("\r\nX%-Forwarded%-Host: shop.example\r\n", head)
        assert.matches("\r\nX%-Request%-Id: %x+\r\n", head)
        assert.matches("\r\nVia: 1.1 tidegate\r\n", head)
        u:ok "one"
        local status, answer, body = c:answer()
        assert.equal(200, status)
        assert.equal("one", body)
        assert.matches("\r\nVia: 1.1 tidegate\r\n", answer)
        assert.matches("\r\nDate: ", answer)
        c:get "/2"
        assert.matches("^GET /2 ", (u:read_head()))
        u:ok "two"
        assert.equal("two", (select(3, c:answer())))
        local row = w:row(1)
        proxied.eventually(function()
            return tonumber(row.outcomes[2]) == 2 and tonumber(row.in_flight) == 0
        end)
        assert.equal(1, tonumber(row.pooled))
        assert.equal(6, tonumber(row.bytes_out))
        assert.is_true(row.ewma_ms > 0)
    end)

    it("streams a request body with a length", function()
        world()
        local c = w:client()
        local body = ("x"):rep(300000)
        c:send("POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body:sub(1, 1000))
        local u = w:accept()
        assert.matches("\r\nContent%-Length: 300000\r\n", (u:read_head()))
        assert.equal(body:sub(1, 1000), (u:read(1000)))
        c:send(body:sub(1001))
        assert.equal(body:sub(1001), (u:read(#body - 1000)))
        u:ok "done"
        assert.equal("done", (select(3, c:answer())))
    end)

    it("frames chunked bodies anew, both ways, and drops trailers", function()
        world()
        local c = w:client()
        c:send "POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n3;x=y\r\nab"
        local u = w:accept()
        local head = u:read_head()
        assert.matches("\r\nTransfer%-Encoding: chunked\r\n", head)
        assert.is_nil(head:find "Trailer")
        c:send "c\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n"
        local got = ""
        repeat
            got = got .. u:read(1)
        until got:find "\r\n0\r\n\r\n$" or got:find "^0\r\n\r\n$"
        local plain = got:gsub("%x+\r\n(%a*)\r\n", "%1")
        assert.equal("abcde", plain)
        u:send "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"
        u:send "1;e\r\nc\r\n0\r\nX-T: 2\r\n\r\n"
        local status, answer, body = c:answer()
        assert.equal(200, status)
        assert.equal("abc", body)
        assert.matches("\r\nTransfer%-Encoding: chunked\r\n", answer)
        c:get "/next" -- both connections go on
        assert.matches("^GET /next", (u:read_head()))
        u:ok ""
        assert.equal(200, (c:answer()))
    end)

    it("answers pipelined requests in order", function()
        world()
        local c = w:client()
        c:send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
            .. "GET /3 HTTP/1.1\r\nHost: a\r\n\r\n")
        local u = w:accept()
        assert.matches("^GET /1 ", (u:read_head()))
        assert.is_true(u:silent())
        u:ok "1"
        assert.matches("^POST /2 ", (u:read_head()))
        assert.equal("abc", (u:read(3)))
        u:ok "2"
        assert.matches("^GET /3 ", (u:read_head()))
        u:ok "3"
        for i = 1, 3 do
            assert.equal(tostring(i), (select(3, c:answer())))
        end
    end)

    it("takes heads in pieces", function()
        world()
        local c = w:client()
        for byte in ("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"):gmatch "." do
            c:send(byte)
        end
        local u = w:accept()
        assert.matches("^GET /slow ", (u:read_head()))
        for byte in ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nz"):gmatch "." do
            u:send(byte)
        end
        assert.equal("z", (select(3, c:answer())))
    end)

    it("serves HTTP/1.0 with and without keep-alive", function()
        world()
        local c = w:client()
        c:send "GET /0 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
        local u = w:accept()
        local head = u:read_head()
        assert.matches("^GET /0 HTTP/1.1\r\nHost: shop\r\n", head)
        assert.matches("\r\nVia: 1.0 tidegate\r\n", head)
        u:ok "a"
        local _, answer, body = c:answer()
        assert.matches("\r\nConnection: keep%-alive\r\n", answer)
        assert.equal("a", body)
        c:send "GET /1 HTTP/1.0\r\n\r\n"
        u:read_head()
        u:send "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        local rest, err = c:read_all()
        assert.matches("\r\nConnection: close\r\n\r\nabc$", rest)
        assert.is_nil(rest:find "Transfer%-Encoding")
        assert.is_nil(err)
    end)

    it("frames answers that end with the connection as chunks", function()
        world()
        local c = w:client()
        c:get "/"
        local u = w:accept()
        u:read_head()
        u:send "HTTP/1.0 200 OK\r\n\r\nhel"
        u:send "lo"
        u:close()
        local status, head, body = c:answer()
        assert.equal(200, status)
        assert.matches("Transfer%-Encoding: chunked", head)
        assert.equal("hello", body)
        c:get "/again"
        u = w:accept()
        assert.matches("^GET /again", (u:read_head()))
        u:ok ""
        assert.equal(200, (c:answer()))
    end)

    it("passes on 100 Continue and what follows, but not to HTTP/1.0", function()
        world()
        local c = w:client()
        c:send "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        local u = w:accept()
        assert.matches("\r\nExpect: 100%-continue\r\n", (u:read_head()))
        u:send "HTTP/1.1 100 Continue\r\n\r\n"
        assert.equal(100, (c:answer()))
        c:send "ok"
        assert.equal("ok", (u:read(2)))
        u:send "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        local status, head = c:answer()
        assert.equal(103, status)
        assert.matches("\r\nLink: x\r\n", head)
        assert.equal(200, (c:answer()))
        local old = w:client()
        old:send "GET / HTTP/1.0\r\n\r\n"
        u:read_head()
        u:send "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        assert.equal(200, (old:answer()))
    end)

    it("sends no body for HEAD, 204 and 304", function()
        world()
        local c = w:client()
        c:send "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
        local u = w:accept()
        u:read_head()
        u:send "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
        local _, head = c:answer "HEAD"
        assert.matches("\r\nContent%-Length: 1000\r\n", head)
        c:get "/204"
        u:read_head()
        u:send "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"
        _, head = c:answer()
        assert.is_nil(head:find "Content%-Length")
        c:get "/304"
        u:read_head()
        u:send "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"
        assert.equal(304, (c:answer()))
        c:get "/after"
        assert.matches("^GET /after", (u:read_head()))
        u:ok "x"
        assert.equal("x", (select(3, c:answer())))
    end)

    it("removes hop-by-hop fields and those that Connection names", function()
        world()
        local c = w:client()
        c:get("/", "Connection: x-gone, keep-alive\r\nX-Gone: 1\r\nKeep-Alive: 3\r\nTE: trailers\r\n"
            .. "Proxy-Connection: x\r\nUpgrade: h2c\r\nX-Kept: 2\r\nX-Forwarded-For: 10.1.1.1\r\n"
            .. "X-Forwarded-For: 10.1.1.2\r\nX-Forwarded-Proto: https\r\nX-Request-Id: abc-1\r\nVia: 1.0 other\r\n")
        local u = w:accept()
        local head = u:read_head()
        for _, name in ipairs { "X%-Gone", "Keep%-Alive", "TE:", "Proxy%-Connection", "Upgrade", "\nConnection" } do
            assert.is_nil(head:find(name), name)
        end
        assert.matches("\r\nX%-Kept: 2\r\n", head)
        assert.matches("\r\nX%-Forwarded%-For: 10.1.1.1, 10.1.1.2, 127.0.0.1\r\n", head)
        assert.matches("\r\nX%-Forwarded%-Proto: http\r\n", head)
        assert.matches("\r\nX%-Request%-Id: abc%-1\r\n", head)
        assert.matches("\r\nVia: 1.0 other\r\n.*Via: 1.1 tidegate\r\n", head)
        u:send "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nX-Own: 2\r\n\r\n"
        local _, answer = c:answer()
        assert.is_nil(answer:find "X%-Hop")
        assert.is_nil(answer:find "Keep%-Alive")
        assert.matches("\r\nX%-Own: 2\r\n", answer)
    end)

    it("takes the absolute form apart and refuses CONNECT and bad requests", function()
        world()
        local c = w:client()
        c:send "GET http://other.example/x?y HTTP/1.1\r\nHost: a\r\n\r\n"
        local u = w:accept()
        assert.matches("^GET /x%?y HTTP/1.1\r\nHost: other.example\r\n", (u:read_head()))
        u:ok ""
        assert.equal(200, (c:answer()))
        local function refused(bytes, status)
            local b = w:client()
            b:send(bytes)
            assert.equal(status, (b:answer()))
            assert.is_true(b:closed())
        end
        refused("CONNECT a.example:443 HTTP/1.1\r\nHost: a\r\n\r\n", 405)
        refused("GET / HTTP/1.1\r\n\r\n", 400)
        refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400)
        refused("GET / HTTP/2.0\r\n\r\n", 505)
        refused("GET /" .. ("x"):rep(20000), 414)
        refused("GET / HTTP/1.1\r\nHost: a\r\nX: " .. ("x"):rep(20000), 431)
        refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999999999999\r\n\r\n", 413)
        refused("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400)
        assert.equal(7, tonumber(w:numbers().bad_requests) + 1)
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
            assert.equal(1, tonumber(w:row(1).pooled))
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
        for _, head in ipairs { "Content-Length: 10\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n" } do
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

    it("tunnels a WebSocket, sends nothing before the 101, and passes on half-closes", function()
        world()
        local c = w:client()
        c:get("/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n")
        c:send "early"
        local u = w:accept()
        local head = u:read_head()
        assert.matches("\r\nConnection: upgrade\r\nUpgrade: websocket\r\n", head)
        assert.matches("\r\nSec%-WebSocket%-Key: k\r\n", head)
        assert.is_true(u:silent())
        u:send "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello"
        local status, answer = c:answer()
        assert.equal(101, status)
        assert.matches("\r\nUpgrade: websocket\r\n", answer)
        assert.equal("hello", (c:read(5)))
        assert.equal("early", (u:read(5)))
        local big = ("z"):rep(500000)
        c:send "ping"
        assert.equal("ping", (u:read(4)))
        u:send(big:sub(1, 100000))
        assert.equal(100000, #(c:read(100000)))
        c:half_close()
        assert.equal("", (u:read_all()))
        u:send "bye"
        u:close()
        assert.equal("bye", (c:read_all()))
    end)

    it("takes an answer that is not 101 to an upgrade as usual", function()
        world()
        local c = w:client()
        c:get("/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\n")
        local u = w:accept()
        u:read_head()
        u:ok "no"
        assert.equal("no", (select(3, c:answer())))
        c:get "/next"
        assert.matches("^GET /next", (u:read_head()))
        u:ok ""
        assert.equal(200, (c:answer()))
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

    it("holds back a fast backend for a slow client", function()
        world()
        local c = w:client()
        local total = 20000000
        c:get "/big"
        local u = w:accept()
        u:read_head()
        u:send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" .. ("%x"):format(total) .. "\r\n")
        u.sock:settimeout(0.2)
        local sent, piece = 0, ("z"):rep(100000)
        while sent < total do
            local n, _, partial = u.sock:send(piece)
            sent = sent + (n or partial)
            if not n then
                break
            end
        end
        assert.is_true(sent < total, "nothing held it back")
        u.sock:settimeout(0)
        local head = c:read_head()
        assert.matches("chunked", head)
        c.sock:settimeout(0)
        local body, left = {}, total - sent
        local finished
        proxied.eventually(function()
            if left > 0 then
                local n, _, partial = u.sock:send(piece:sub(1, math.min(#piece, left)))
                left = left - (n or partial)
            elseif not finished then
                finished = u.sock:send "\r\n0\r\n\r\n"
            end
            local bytes, _, partial = c.sock:receive(65536)
            bytes = bytes or partial
            body[#body + 1] = bytes
            return #bytes > 0 and table.concat(body, "", math.max(1, #body - 8)):find "\r\n0\r\n\r\n$"
        end)
        local _, count = table.concat(body):gsub("z", "")
        assert.equal(total, count)
    end)

    it("moves large bodies whole", function()
        world()
        local c = w:client()
        c:get "/large"
        local u = w:accept()
        u:read_head()
        local body = {}
        for i = 1, 300 do
            body[i] = ("%010d"):format(i):rep(1000)
        end
        body = table.concat(body)
        u.sock:settimeout(0)
        c.sock:settimeout(0)
        local out = "HTTP/1.1 200 OK\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body
        local at, got, size = 0, {}, 0
        proxied.eventually(function()
            if at < #out then
                local n, _, partial = u.sock:send(out, at + 1)
                at = n or (partial > 0 and partial) or at
            end
            local bytes, _, partial = c.sock:receive(200000)
            bytes = bytes or partial
            got[#got + 1], size = bytes, size + #bytes
            return size > #body and table.concat(got):sub(-20) == body:sub(-20)
        end)
        local text = table.concat(got)
        assert.equal(body, text:sub(text:find("\r\n\r\n", 1, true) + 4))
        u.sock:settimeout(5)
        c.sock:settimeout(5)
        c:get "/after"
        assert.matches("^GET /after", (u:read_head()))
        u:ok ""
        assert.equal(200, (c:answer()))
        assert.equal(#body, tonumber(w:row(1).bytes_out))
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
            assert.matches("^1 policy: ", w:must "fact")
            assert.equal(0, w:stop())
            w = nil
        end
        world { route = { policy = "none" } }
        local c = w:client()
        c:get "/"
        assert.equal(503, (c:answer()))
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
        assert.equal(0, tonumber(w:row(1).in_flight) + tonumber(w:row(2).in_flight))
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
        assert.matches("no such policy", w:tell(w:configure { { policy = "missing" } }))
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
        local busy, idle = w:client(), w:client()
        idle:get "/"
        local u = w:accept()
        u:read_head()
        u:ok ""
        assert.equal(200, (idle:answer()))
        busy:get "/"
        u:read_head()
        w:must "drain 5000"
        assert.is_nil((require("socket").connect("127.0.0.1", w.port)))
        u:ok "end"
        local _, head, body = busy:answer()
        assert.equal("end", body)
        assert.matches("\r\nConnection: close\r\n", head)
        assert.is_true(busy:closed())
        assert.is_true(idle:closed())
        assert.matches("^error", w:tell "fact") -- it has ended by itself
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
