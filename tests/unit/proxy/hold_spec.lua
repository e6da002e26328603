-- The data plane over real sockets: small answers are held until they are whole, and repeated when they never are.
local proxied = require "proxied"

local HEAD = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"

describe("proxy, half an answer", function()
    local w

    local function world(backends, more, files)
        w = proxied.start { backends = backends, route = { more = more }, files = files }
        return w
    end

    -- A request whose backend has its head: client, backend's connection, backend's number.
    local function asked(request)
        local c = w:client()
        c:send(request or "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        local u, at = w:accept_any()
        u:read_head()
        return c, u, at
    end

    local function second(c, first)
        local v, at = w:accept_any()
        assert.is_true(at ~= first)
        v:read_head()
        v:ok("second", "Connection: close\r\n")
        local status, _, body = c:answer()
        assert.same({ 200, "second" }, { status, body })
    end

    after_each(function()
        w = proxied.finish(w)
    end)

    it("repeats elsewhere when the backend dies within it, and tells the client nothing of the first", function()
        world(2)
        for _, part in ipairs { HEAD, HEAD .. "abc", "HTTP/1.1 200 OK\r\nConte", "H" } do
            local c, u, first = asked()
            u:send(part)
            assert.is_true(c:silent())
            u:close()
            second(c, first)
            assert.is_true(tonumber(w:row(first).outcomes[0]) > 0)
        end
        assert.equal(4, tonumber(w:row(1).retries + w:row(2).retries))
        assert.equal(4, tonumber(w:row(1).outcomes[2] + w:row(2).outcomes[2]))
        assert.equal(0, tonumber(w:numbers().aborted))
    end)

    it("repeats elsewhere after a reset, and on a connection that was used before", function()
        world(2, { balance = { policy = "least_connections", params = {} } })
        local c, u, first = asked()
        u:ok "first"
        assert.equal(200, (c:answer()))
        c:get "/again"
        u:read_head()
        u:send(HEAD)
        u:reset()
        second(c, first)
    end)

    it("passes it on once it is whole, and uses both connections again", function()
        world(1)
        local c, u = asked()
        for round = 1, 3 do
            u:send(HEAD .. "abc")
            assert.is_true(c:silent())
            u:send "def"
            assert.is_true(c:silent())
            u:send "ghij"
            local status, _, body = c:answer()
            assert.same({ 200, "abcdefghij" }, { status, body })
            assert.equal(round * 10, tonumber(w:row(1).bytes_out))
            c:get "/next"
            u:read_head()
        end
        u:send(HEAD .. "abc")
        u:send "defghijk" -- one byte too many
        assert.equal("abcdefghij", (select(3, c:answer())))
        assert.is_true(u:closed())
    end)

    it("takes up to 64 KB in many pieces", function()
        world(1, { response_buffer = 65536 })
        local c, u = asked()
        u:send "HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\n"
        for i = 1, 64 do
            assert.is_true(i > 1 or c:silent())
            u:send((string.char(64 + i % 26)):rep(1024))
        end
        local _, _, body = c:answer()
        assert.equal(65536, #body)
        assert.equal("A", body:sub(1, 1))
    end)

    it("asks another when the rest does not come in time", function()
        world(2, { backend_timeout_ms = 200 })
        local c, u, first = asked()
        u:send(HEAD)
        second(c, first)
        assert.is_true(u:closed())
    end)

    it("asks another when the backend is lost meanwhile", function()
        world(2)
        local c, u, first = asked()
        u:send(HEAD)
        assert.is_true(c:silent())
        w:roster({ w:entry(3 - first) }, { "shop-" .. first })
        second(c, first)
    end)

    it("answers 502 when no backend gives a whole one", function()
        world(2)
        local c, u = asked()
        u:send(HEAD)
        u:close()
        u = w:accept_any()
        u:read_head()
        u:send(HEAD .. "abc")
        u:close()
        assert.equal(502, (c:answer()))
    end)

    it("never holds streams, larger answers, those that may not be repeated, or when it is off", function()
        local function passes(request, head)
            local c, u = asked(request)
            u:send(head .. "abc")
            assert.matches("200 OK", (c:read_head()))
            u:close()
            c:close()
        end
        world(2)
        passes(nil, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n")
        passes(nil, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        passes(nil, "HTTP/1.1 200 OK\r\nContent-Length: 16385\r\n\r\n")
        passes("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", HEAD)
        w = proxied.finish(w)
        world(2, { response_buffer = 0 })
        passes(nil, HEAD)
    end)

    it("holds no more than a part of its memory allows: the next ones stream", function()
        world(1, nil, 80) -- descriptors for 16 sessions: 32 blocks, 2 of them for this
        local held, upstreams = {}, {}
        for i = 1, 2 do
            held[i], upstreams[i] = asked()
            upstreams[i]:send(HEAD)
            assert.is_true(held[i]:silent())
        end
        local c, u = asked()
        u:send(HEAD)
        assert.matches("200 OK", (c:read_head()))
        for i = 1, 2 do
            upstreams[i]:send "abcdefghij"
            assert.equal("abcdefghij", (select(3, held[i]:answer())))
        end
        held[1]:get "/" -- a place is free again
        upstreams[2]:read_head()
        upstreams[2]:send(HEAD)
        assert.is_true(held[1]:silent())
    end)

    it("asks the one that came in the place of one it had asked, but not that one again", function()
        world(3)
        w:roster { w:entry(1), w:entry(2, { draining = true }) }
        local c = w:client()
        c:get "/"
        local u = w:accept(1)
        u:read_head()
        w:roster { w:entry(1), w:entry(2) }
        u:close()
        u = w:accept(2)
        u:read_head()
        w:roster { w:entry(2) } -- the first is freed, and the third may come where it was
        w:roster { w:entry(2), w:entry(3) }
        u:close()
        u = w:accept(3)
        u:read_head()
        assert.is_true(w:unwanted(1))
        u:ok "third"
        assert.equal("third", (select(3, c:answer())))
    end)
end)
