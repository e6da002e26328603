-- Backends that speak HTTP/2: streams on shared connections, behind clients that speak HTTP/1.1.
local h2 = require "h2_backend"
local proxied = require "proxied"

describe("a link to a backend", function()
    local w

    local function start(options)
        options = options or {}
        options.route = options.route or {}
        options.route.protocol = "h2c"
        w = proxied.start(options)
        return w
    end

    after_each(function()
        w = proxied.finish(w)
    end)

    it("carries a request and its answer", function()
        start()
        local c = w:client()
        c:get("/a?b=c", "X-Name: Value\r\nTE: gzip\r\n")
        local b = h2.serve(w:accept())
        local r = b:request()
        assert.same({ "GET", "http", "shop.example", "/a?b=c" },
            { r[":method"], r[":scheme"], r[":authority"], r[":path"] })
        assert.equal("Value", r["x-name"])
        assert.is_true(r.last)
        assert.equal("127.0.0.1", r["x-forwarded-for"])
        for _, name in ipairs { "host", "connection", "te", "transfer-encoding" } do
            assert.is_nil(r[name], name)
        end
        b:ok(r.id, "hello", { { "x-from", "backend" } })
        local status, head, body = c:answer()
        assert.equal(200, status)
        assert.matches("x%-from: backend\r\n", head)
        assert.equal("hello", body)
    end)

    it("is shared by several clients, in any order", function()
        start()
        local clients = {}
        for i = 1, 5 do
            clients[i] = w:client()
            clients[i]:get("/" .. i)
        end
        local b, ids = h2.serve(w:accept()), {}
        for _ = 1, 5 do
            local r = b:request()
            ids[r[":path"]] = r.id
        end
        for i = 5, 1, -1 do
            b:ok(ids["/" .. i], "answer " .. i)
            assert.equal("answer " .. i, select(3, clients[i]:answer()))
        end
        assert.is_true(w:unwanted())
    end)

    it("sends bodies of known and unknown length without chunks", function()
        start()
        local c = w:client()
        c:send "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
        local b = h2.serve(w:accept())
        local r = b:request()
        assert.is_false(r.last)
        assert.equal("abc", b:await(h2.DATA).payload)
        c:send "4\r\ndefg\r\n0\r\n\r\n"
        assert.equal("defg", b:body(r.id))
        b:ok(r.id, "x")
        assert.equal("x", select(3, c:answer()))
        c:send "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
        r = b:request()
        assert.equal("5", r["content-length"])
        assert.equal("hello", b:body(r.id))
        b:ok(r.id, "y")
        assert.equal("y", select(3, c:answer()))
    end)

    it("streams an answer without a length, with its trailers for who takes them", function()
        start()
        for _, takes in ipairs { true, false } do
            local c = w:client()
            c:get("/", takes and "TE: trailers\r\nConnection: te\r\n" or nil)
            local b = h2.serve(w:accept())
            local r = b:request()
            assert.equal(takes and "trailers" or nil, r.te)
            b:headers(r.id, { { ":status", "200" }, { "content-type", "text/plain" } })
            assert.matches("Transfer%-Encoding: chunked", (c:read_head()))
            b:data(r.id, "one")
            assert.equal("3\r\none\r\n", c:read(8))
            b:headers(r.id, { { "grpc-status", "0" }, { "x-sum", "7" }, { "content-length", "3" } }, true)
            local wanted = takes and "0\r\ngrpc-status: 0\r\nx-sum: 7\r\n\r\n" or "0\r\n\r\n"
            assert.equal(wanted, c:read(#wanted))
            c:close()
            b:close()
        end
    end)

    it("gives window only for what the client took", function()
        start()
        local c = w:client()
        c.sock:setoption("recv-buffer-size", 4096)
        c:get "/"
        local b = h2.serve(w:accept())
        local r = b:request()
        b:headers(r.id, { { ":status", "200" } })
        local given, sent, total = 65535, 0, 24 * 1024 * 1024
        local piece = ("x"):rep(16384)
        b.conn.sock:settimeout(0.3)
        local window = 65535
        while sent < total do
            while window >= #piece and sent < total do
                b:data(r.id, piece)
                sent, window = sent + #piece, window - #piece
            end
            local frame = b:next()
            if not frame then
                break
            end
            if frame.kind == h2.WINDOW_UPDATE and frame.id == r.id then
                local more = 0
                for i = 1, 4 do
                    more = more * 256 + frame.payload:byte(i)
                end
                window, given = window + more, given + more
            end
        end
        assert.is_true(sent < total, "nothing held the backend up")
        b.conn.sock:settimeout(5)
        -- Another client of the same connection is served meanwhile.
        local other = w:client()
        other:get "/other"
        local r2 = b:request()
        b:ok(r2.id, "still here")
        assert.equal("still here", select(3, other:answer()))
        c:close()
        assert.equal(h2.CANCEL, b:await(h2.RST_STREAM, r.id).payload:byte(4))
        assert.is_true(given > 0)
    end)

    it("sends a body no faster than the backend's window allows", function()
        start()
        local c = w:client()
        local body = ("b"):rep(300000)
        local b
        c:send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " .. #body .. "\r\n\r\n")
        b = h2.serve(w:accept(), { [h2.INITIAL_WINDOW_SIZE] = 1000 })
        local r = b:request()
        local sent = proxied.stuff(c, body, 0)
        local got = {}
        repeat
            local frame = b:await(h2.DATA, r.id)
            got[#got + 1] = frame.payload
            if #frame.payload > 0 then
                b:window(r.id, #frame.payload * 4)
                b:window(0, #frame.payload * 4)
            end
            if sent < #body then
                sent = proxied.stuff(c, body, sent)
            end
        until frame.last
        assert.equal(body, table.concat(got))
        b:ok(r.id, "done")
        assert.equal("done", select(3, c:answer()))
    end)

    it("passes interim answers, HEAD, and answers without a body", function()
        start()
        local c = w:client()
        c:get("/", "Expect: 100-continue\r\n")
        local b = h2.serve(w:accept())
        local r = b:request()
        b:headers(r.id, { { ":status", "103" }, { "link", "</a.css>" } })
        local status, head = c:answer()
        assert.equal(103, status)
        assert.matches("link: </a.css>", head)
        b:headers(r.id, { { ":status", "204" } }, true)
        assert.equal(204, (c:answer()))
        c:send "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
        r = b:request()
        b:headers(r.id, { { ":status", "200" }, { "content-length", "10" } }, true)
        status, head = c:answer "HEAD"
        assert.equal(200, status)
        assert.matches("Content%-Length: 10", head)
        c:get "/"
        b:headers(b:request().id, { { ":status", "304" } }, true)
        assert.equal(304, (c:answer()))
    end)

    it("takes a body of another length than announced for a failure", function()
        start { route = { max_retries = 0 } }
        local c = w:client()
        c:get "/"
        local b = h2.serve(w:accept())
        local r = b:request()
        b:headers(r.id, { { ":status", "200" }, { "content-length", "10" } })
        b:data(r.id, "short", true)
        assert.equal(502, (c:answer()))
    end)

    it("repeats what the backend refused or never saw, whatever the method", function()
        start()
        local c = w:client()
        c:send "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"
        local b = h2.serve(w:accept())
        local r = b:request()
        b:reset(r.id, h2.REFUSED_STREAM)
        local r2 = b:request()
        assert.is_true(r2.id > r.id)
        assert.equal("hi", b:body(r2.id))
        b:goaway(r.id)
        local again = h2.serve(w:accept())
        local r3 = again:request()
        assert.equal("hi", again:body(r3.id))
        again:ok(r3.id, "ok")
        assert.equal("ok", select(3, c:answer()))
    end)

    it("fails what the backend may have seen when the method may not be repeated", function()
        start()
        local c = w:client()
        c:send "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"
        local b = h2.serve(w:accept())
        b:body(b:request().id)
        b:close()
        assert.equal(502, (c:answer()))
        c = w:client()
        c:get "/"
        b = h2.serve(w:accept())
        b:ok(b:request().id, "first")
        assert.equal("first", select(3, c:answer()))
        c:get "/"
        b:request()
        b:close()
        b = h2.serve(w:accept())
        b:ok(b:request().id, "second")
        assert.equal("second", select(3, c:answer()))
    end)

    it("lets streams finish behind a GOAWAY and begins others elsewhere", function()
        start()
        local a, c = w:client(), w:client()
        a:get "/a"
        local b = h2.serve(w:accept())
        local r = b:request()
        b:goaway(r.id)
        b:frame(h2.PING, 0, 0, "12345678")
        assert.equal("12345678", b:await(h2.PING).payload) -- it has been read
        c:get "/c"
        local other = h2.serve(w:accept())
        other:ok(other:request().id, "new")
        assert.equal("new", select(3, c:answer()))
        b:ok(r.id, "old")
        assert.equal("old", select(3, a:answer()))
        repeat -- its last stream is through
            local frame = b:next()
        until not frame
    end)

    it("opens another connection when one has as many streams as its backend takes", function()
        start()
        local first = w:client()
        first:get "/0"
        local b = h2.serve(w:accept(), { [h2.MAX_CONCURRENT_STREAMS] = 2 })
        local r = b:request()
        b:ok(r.id, "settled")
        assert.equal("settled", select(3, first:answer()))
        b:frame(h2.PING, 0, 0, "12345678")
        b:await(h2.PING)
        local clients = {}
        for i = 1, 3 do
            clients[i] = w:client()
            clients[i]:get("/" .. i)
        end
        local other = h2.serve(w:accept())
        other:ok(other:request().id, "other")
        b:ok(b:request().id, "one")
        b:ok(b:request().id, "two")
        for i = 1, 3 do
            assert.equal(200, (clients[i]:answer()))
        end
    end)

    it("tells the backend at once when the client has gone", function()
        start()
        local c = w:client()
        c:send "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
        local b = h2.serve(w:accept())
        local r = b:request()
        b:await(h2.DATA, r.id)
        c:reset()
        assert.equal(h2.CANCEL, b:await(h2.RST_STREAM, r.id).payload:byte(4))
    end)

    it("streams both ways at the same time", function()
        start()
        local c = w:client()
        c:send "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        local b = h2.serve(w:accept())
        local r = b:request()
        b:headers(r.id, { { ":status", "200" } })
        assert.matches("^HTTP/1.1 200", (c:read_head()))
        for i = 1, 5 do
            c:send("5\r\nping" .. i .. "\r\n")
            assert.equal("ping" .. i, b:await(h2.DATA, r.id).payload)
            b:data(r.id, "pong" .. i)
            assert.equal("5\r\npong" .. i .. "\r\n", c:read(10))
        end
        c:send "0\r\n\r\n"
        assert.is_true(b:await(h2.DATA, r.id).last)
        b:data(r.id, "", true)
        assert.equal("0\r\n\r\n", c:read(5))
    end)

    it("leaves no stream half open when both ends come at once", function()
        start()
        local c = w:client()
        c:send "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
        local b = h2.serve(w:accept())
        local r = b:request()
        b:await(h2.DATA, r.id)
        b:headers(r.id, { { ":status", "200" } })
        assert.matches("^HTTP/1.1 200", (c:read_head()))
        w:stopped(function()
            b:data(r.id, "", true)
            c:send "0\r\n\r\n"
        end)
        assert.equal("0\r\n\r\n", c:read(5))
        local frame
        repeat
            frame = assert(b:next(), "the backend still waits for the end of the request")
        until frame.id == r.id
        assert.is_true(frame.last or frame.kind == h2.RST_STREAM)
    end)

    it("passes an answer that ends before its request", function()
        start()
        local c = w:client()
        c:send "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
        local b = h2.serve(w:accept())
        local r = b:request()
        b:headers(r.id, { { ":status", "413" }, { "content-length", "3" } })
        b:data(r.id, "big", true)
        b:reset(r.id, h2.NO_ERROR)
        local status, head, body = c:answer()
        assert.equal(413, status)
        assert.equal("big", body)
        assert.matches("Connection: close", head)
    end)

    it("fails all its streams when it breaks, and cuts those that had begun", function()
        start { route = { max_retries = 0 } }
        local a, c = w:client(), w:client()
        a:get "/a"
        local b = h2.serve(w:accept())
        local r = b:request()
        b:headers(r.id, { { ":status", "200" } })
        b:data(r.id, "half")
        assert.matches("200", (a:read_head()))
        c:send "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"
        b:body(b:request().id)
        b.conn:reset()
        assert.equal(502, (c:answer()))
        local _, why = a:read_all()
        assert.is_truthy(why)
        assert.equal(0, tonumber(w:row(1).in_flight))
    end)

    it("answers 502 for a head that is too long or malformed", function()
        start { route = { max_retries = 0 } }
        local c = w:client()
        c:get "/"
        local b = h2.serve(w:accept())
        b:headers(b:request().id, { { ":status", "200" }, { "x-long", ("a"):rep(15000) }, { "y", ("b"):rep(2000) } }, true)
        assert.equal(502, (c:answer()))
        c = w:client()
        c:get "/"
        local r = b:request()
        b:headers(r.id, { { ":status", "200" }, { "connection", "close" } }, true)
        assert.equal(502, (c:answer()))
    end)

    it("is closed when its backend is drained, behind the last stream", function()
        start()
        local c = w:client()
        c:get "/"
        local b = h2.serve(w:accept())
        local r = b:request()
        w:roster { w:entry(1, { draining = true }) }
        b:ok(r.id, "last")
        assert.equal("last", select(3, c:answer()))
        repeat
            local frame = b:next()
        until not frame
    end)

    it("asks a backend that is silent whether it is there, and gives it up when it is not", function()
        start { route = { max_retries = 0 } }
        w:must "patience 50 100"
        local c = w:client()
        c:get "/"
        local b = h2.serve(w:accept())
        local r = b:request()
        b:await(h2.PING) -- answered
        b:await(h2.PING)
        b:headers(r.id, { { ":status", 200 } })
        assert.matches("^HTTP/1.1 200", (c:read_head()))
        b.deaf = true
        b:await(h2.PING)
        local _, why = c:read_all()
        assert.is_truthy(why)
        repeat
            local frame = b:next()
        until not frame
    end)

    it("gives way without streams to who needs its descriptor", function()
        w = proxied.start { files = 128, backends = 2, routes = {
            { service = "shop", path = "/h2", protocol = "h2c" }, { service = "plain", path = "/" } } }
        w:roster { w:entry(1), w:entry(2, { service = "plain" }) }
        local c = w:client()
        c:get "/h2"
        local b = h2.serve(w:accept(1))
        b:ok(b:request().id, "one")
        assert.equal("one", select(3, c:answer()))
        local clients = {}
        for i = 1, 61 do
            clients[i] = w:client()
            clients[i]:get "/"
        end
        repeat
            local frame = b:next()
        until not frame
    end)

    it("waits no longer than connect_timeout for a backend that is not there", function()
        start { backends = 2 }
        w.servers[1]:close()
        for _ = 1, 4 do
            local c = w:client()
            c:send "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"
            local b = w.b or h2.serve(w:accept(2))
            w.b = b
            b:ok(b:request().id, "from two")
            assert.equal("from two", select(3, c:answer()))
        end
        assert.is_true(tonumber(w:row(1).consecutive_failures) > 0)
    end)
end)
