-- Time-outs by name, limits of heads, and clients that are too slow.
local proxied = require "proxied"
local socket = require "socket"

describe("proxy, time-outs and slow clients", function()
    local w

    local function world(more, cluster)
        w = proxied.start { cluster = cluster, route = { more = more } }
        return w
    end

    after_each(function()
        w = proxied.finish(w)
    end)

    -- What a request costs until its answer comes.
    local function took(c)
        local from = socket.gettime()
        local status = c:answer()
        return status, socket.gettime() - from
    end

    it("a head has its time however it trickles in, and silence between requests another", function()
        world { client_header_timeout_ms = 300, client_timeout_ms = 60000 }
        local c = w:client()
        local from = socket.gettime()
        c:send "GET / HTTP/1.1\r\nHost: a\r\n"
        repeat
            c.sock:send "A: b\r\n"
        until not c:silent(0.05) or socket.gettime() - from > 3
        assert.equal(408, (c:answer()))
        assert.is_true(socket.gettime() - from < 3, "it went on while bytes came")
        w:stop()
        world { client_header_timeout_ms = 60000, client_timeout_ms = 100 }
        c = w:client()
        c:get "/"
        local u = w:accept()
        u:read_head()
        u:ok ""
        assert.equal(200, (c:answer()))
        assert.is_true(c:closed(), "an idle connection stayed")
    end)

    it("the first byte and silence within an answer are waited for differently", function()
        world { first_byte_timeout_ms = 100, idle_timeout_ms = 60000 }
        local c = w:client()
        c:get "/"
        local u = w:accept()
        u:read_head()
        local status = took(c)
        assert.equal(504, status)
        w:stop()
        world { first_byte_timeout_ms = 60000, idle_timeout_ms = 100, response_buffer = 0 }
        c = w:client()
        c:get "/"
        u = w:accept()
        u:read_head()
        u:send "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"
        local _, _, body = c:answer()
        assert.is_nil(body, "a cut answer looked whole")
    end)

    it("a backend that takes no connection costs its time to connect, then another is asked", function()
        w = proxied.start { backends = 2, route = { more = { connect_timeout_ms = 150 } } }
        local full, queued = assert(socket.bind("127.0.0.1", 0, 0)), {}
        local _, port = full:getsockname()
        repeat -- until the kernel drops what wants to connect
            local sock = socket.tcp()
            sock:settimeout(0)
            sock:connect("127.0.0.1", port)
            queued[#queued + 1] = sock
            local _, through = socket.select(nil, { sock }, 0.1)
        until not through[1]
        local deaf = w:entry(1, { address = "127.0.0.1:" .. port })
        w:roster { deaf, w:entry(2) }
        for _ = 1, 2 do
            local c = w:client()
            c:get "/"
            local u = w:accept(2)
            u:read_head()
            u:ok("x", "Connection: close\r\n")
            assert.equal("x", select(3, c:answer()))
        end
        assert.is_true(tonumber(w:row(1).outcomes[0]) > 0, "it was never asked")
        w:roster { deaf }
        local c = w:client()
        c:get "/"
        local status, seconds = took(c)
        assert.equal(504, status)
        assert.is_true(seconds > 0.1 and seconds < 3, seconds)
        for _, sock in ipairs(queued) do
            sock:close()
        end
        full:close()
    end)

    it("the total holds while bytes go on, but not for a tunnel", function()
        world { total_timeout_ms = 250 }
        local c = w:client()
        c:get "/"
        local u = w:accept()
        u:read_head()
        u:send "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"
        local from = socket.gettime()
        while u.sock:send "x" and socket.gettime() - from < 3 do
            socket.sleep(0.02)
        end
        assert.is_true(socket.gettime() - from < 3, "it was never cut")
        c = w:client()
        c:get "/"
        u = w:accept()
        u:read_head()
        assert.equal(504, (c:answer()))
        c = w:client()
        c:get("/", "Connection: upgrade\r\nUpgrade: websocket\r\n")
        u = w:accept()
        u:read_head()
        u:send "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
        assert.equal(101, (c:answer()))
        assert.is_true(c:silent(0.4), "the tunnel was cut")
        u:send "late"
        assert.equal("late", (c:read(4)))
    end)

    it("a body slower than the route wants is refused, time that the backend takes not counted", function()
        world { min_body_rate = 1000, slow_body_timeout_ms = 200 }
        local function upload(seconds)
            local c = w:client()
            c:send "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n"
            local from = socket.gettime()
            while c:silent(0.02) and socket.gettime() - from < seconds do
                c.sock:send "x"
            end
            return c
        end
        local c = upload(4)
        assert.equal(408, (c:answer()))
        w:accept()
        c = w:client()
        c:send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n1234567890")
        local u = w:accept()
        u:read_head()
        socket.sleep(0.3)
        u:ok ""
        assert.equal(200, (c:answer()))
    end)

    it("heads over the cluster's limits are answered with 431", function()
        world(nil, { max_header_bytes = 300, max_headers = 3 })
        local c = w:client()
        c:get("/", "A: 1\r\nB: 2\r\n")
        local u = w:accept()
        u:read_head()
        u:ok ""
        assert.equal(200, (c:answer()))
        c:get("/", "A: 1\r\nB: 2\r\nC: 3\r\n")
        assert.equal(431, (c:answer()))
        c = w:client()
        c:get("/", "A: " .. ("x"):rep(300) .. "\r\n")
        assert.equal(431, (c:answer()))
        c = w:client()
        c:send("GET / HTTP/1.1\r\nHost: a\r\nA: " .. ("x"):rep(300)) -- without an end
        assert.equal(431, (c:answer()))
    end)
end)
