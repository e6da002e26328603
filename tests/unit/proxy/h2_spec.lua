-- HTTP/2 to clients: each stream is a request like any other.
local h2 = require "h2"
local proxied = require "proxied"
local socket = require "socket"

describe("proxy, HTTP/2", function()
    local w

    after_each(function()
        w = proxied.finish(w)
    end)

    local function client()
        return h2.client(w.port):start()
    end

    it("makes a stream a request, and the answer a stream", function()
        w = proxied.start {}
        local c = client()
        c:get(1, "/a?b=c", { { "user-agent", "spec" }, { "cookie", "a=1" }, { "cookie", "b=2" } })
        local u = w:accept(1)
        local head = u:read_head()
        assert.matches("^GET /a%?b=c HTTP/1.1\r\nHost: shop.example\r\n", head)
        assert.matches("\r\nuser%-agent: spec\r\n", head)
        assert.matches("\r\ncookie: a=1; b=2\r\n", head)
        assert.matches("\r\nVia: 2.0 tidegate\r\n", head)
        assert.not_matches("\r\n[Tt]ransfer%-[Ee]ncoding", head)
        u:ok("hello", "X-Some: Thing\r\nConnection: close\r\n")
        local a = c:answer(1)
        assert.same({ 200, "hello", "Thing", "5" }, { a.status, a.body, a.fields["x-some"], a.fields["content-length"] })
        assert.is_nil(a.fields.connection)
        assert.is_true(c:alive())
        assert.equal(1, tonumber(w:numbers().h2_connections))
        assert.equal(1, tonumber(w:numbers().h2_streams))
        assert.equal(0, tonumber(w:row(1).in_flight))
        c:close()
        proxied.eventually(function() return w:numbers().connections == 0 and w:numbers().h2_connections == 0 end)
    end)

    it("serves streams beside each other", function()
        w = proxied.start {}
        local c = client()
        for i = 1, 5 do
            c:get(2 * i - 1, "/" .. i)
        end
        local us = {}
        for i = 1, 5 do
            us[i] = w:accept(1)
            us[i].path = us[i]:read_head():match "^GET /(%d)"
        end
        for i = 5, 1, -1 do
            us[i]:ok("body " .. us[i].path)
        end
        for i = 1, 5 do
            assert.equal("body " .. i, c:answer(2 * i - 1).body)
        end
    end)

    it("passes bodies both ways, of known and of unknown length", function()
        w = proxied.start {}
        local c = client()
        c:headers(1, h2.request("POST", "/", { { "content-length", "5" } }), 0)
        local u = w:accept(1)
        assert.matches("\r\nContent%-Length: 5\r\n", u:read_head())
        c:data(1, "hel")
        assert.equal("hel", u:read(3))
        c:data(1, "lo", h2.END_STREAM)
        assert.equal("lo", u:read(2))
        u:ok "1"
        assert.equal("1", c:answer(1).body)
        c:headers(3, h2.request("POST", "/"), 0)
        assert.matches("\r\nTransfer%-Encoding: chunked\r\n", u:read_head())
        c:data(3, "hello")
        assert.equal("5\r\nhello\r\n", u:read(10))
        c:data(3, "", h2.END_STREAM)
        assert.equal("0\r\n\r\n", u:read(5))
        u:send "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        local a = c:answer(3)
        assert.equal("abc", a.body)
        assert.is_nil(a.fields["transfer-encoding"])
        -- What came whole has a length.
        c:send(h2.frame(h2.HEADERS, h2.END_HEADERS, 5, h2.block(h2.request("POST", "/")))
            .. h2.frame(h2.DATA, h2.END_STREAM, 5, "whole"))
        local head = u:read_head()
        assert.matches("\r\nContent%-Length: 5\r\n", head)
        assert.equal("whole", u:read(5))
        u:ok "2"
        assert.equal("2", c:answer(5).body)
    end)

    it("passes trailers and interim answers on", function()
        w = proxied.start {}
        local c = client()
        c:get(1, "/", { { "te", "trailers" } })
        local u = w:accept(1)
        assert.matches("\r\nTE: trailers\r\n", u:read_head())
        u:send "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
        u:send "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX-Sum: 2\r\n\r\n"
        local a = c:answer(1)
        assert.same({ "</a.css>", "ab", "2" }, { a.interim[1].link, a.body, a.trailers["x-sum"] })
        c:get(3) -- and without having been asked for
        u:read_head()
        u:send "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 0\r\n\r\n"
        a = c:answer(3)
        assert.same({ "", "0" }, { a.body, a.trailers["x-sum"] })
    end)

    -- Streams that were reset up to now.
    local function resets(c)
        local ids = {}
        c:send(h2.frame(h2.PING, 0, 0, "tidegate"))
        assert(c:await(function(f)
            if f.type == h2.RST_STREAM then
                ids[#ids + 1] = f.stream
            end
            return f.type == h2.PING and f.flags == h2.ACK
        end))
        return ids
    end

    it("gives the whole of an answer that ends before its request, and no reset beside it", function()
        w = proxied.start {}
        local c = client()
        local answers = {
            "HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno",
            "HTTP/1.1 413 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\nX-Sum: 2\r\n\r\n",
            "HTTP/1.1 413 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 2\r\n\r\n",
        }
        for i, text in ipairs(answers) do
            local id = 2 * i - 1
            c:headers(id, h2.request("POST", "/", { { "te", "trailers" } }), 0)
            local u = w:accept(1)
            u:read_head()
            u:send(text)
            local a = c:answer(id)
            assert.same({ 413, (i == 2 or i == 3) and "no" or "", i > 2 and "2" or nil },
                { a.status, a.body, a.trailers and a.trailers["x-sum"] }, i)
            -- A reset in the same packet makes some clients drop the answer: curl 7.88 does.
            assert.same({}, resets(c), i)
            c:data(id, "what was on its way", i % 2)
            assert.same({}, resets(c), i)
        end
    end)

    it("answers HEAD, 204 and 304 without a body", function()
        w = proxied.start {}
        local c = client()
        c:headers(1, h2.request("HEAD", "/"))
        local u = w:accept(1)
        u:read_head()
        u:send "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
        local a = c:answer(1)
        assert.same({ 200, "5", "" }, { a.status, a.fields["content-length"], a.body })
        for i, status in ipairs { 204, 304 } do
            c:get(1 + 2 * i)
            u:read_head()
            u:send(("HTTP/1.1 %d X\r\n\r\n"):format(status))
            a = c:answer(1 + 2 * i)
            assert.same({ status, "" }, { a.status, a.body })
        end
    end)

    it("repeats a stream's request at another backend, and answers what fails", function()
        w = proxied.start { backends = 2 }
        local c = client()
        c:get(1)
        local u, i = w:accept_any()
        u:read_head()
        u:close()
        local other = w:accept(3 - i)
        other:read_head()
        other:ok "second"
        assert.equal("second", c:answer(1).body)
    end)

    it("answers what no backend answers", function()
        w = proxied.start { route = { max_retries = 0 } }
        local c = client()
        c:get(1, "/", { { "x-request-id", "mine" } })
        local u = w:accept(1)
        u:read_head()
        u:close()
        local a = c:answer(1)
        assert.equal(502, a.status)
        assert.matches("mine", a.body)
        assert.is_true(c:alive())
    end)

    it("cuts a stream whose backend breaks off, and no other", function()
        w = proxied.start {}
        local c = client()
        c:get(1)
        c:get(3)
        local one, two = w:accept(1), w:accept(1)
        one:read_head()
        two:read_head()
        one:send "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
        c:await(function(f) return f.type == h2.DATA end)
        one:close()
        local f = c:await(function(f) return f.type == h2.RST_STREAM end)
        assert.equal(h2.INTERNAL_ERROR, f.error)
        two:ok "fine"
        assert.equal("fine", c:answer(f.stream == 1 and 3 or 1).body)
    end)

    it("lets go of the backend when a stream is cancelled, and of no other", function()
        w = proxied.start {}
        local c = client()
        c:get(1, "/one")
        c:get(3, "/two")
        local us = {}
        for _ = 1, 2 do
            local u = w:accept(1)
            us[u:read_head():match "^GET (%S+)"] = u
        end
        c:send(h2.frame(h2.RST_STREAM, 0, 1, h2.u32(h2.CANCEL)))
        assert.is_true(us["/one"]:closed())
        us["/two"]:ok "two"
        assert.equal("two", c:answer(3).body)
        assert.equal(0, tonumber(w:row(1).in_flight))
    end)

    local function answered_early(c, id)
        c:headers(id, h2.request("POST", "/"), 0)
        local u = w:accept(1)
        u:read_head()
        u:send "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"
        local a = c:answer(id)
        assert.same({ 403, "no" }, { a.status, a.body })
    end

    local function reset(c, id)
        local f = c:await(function(f) return f.type == h2.RST_STREAM and f.stream == id end)
        return f and f.error
    end

    it("throws away what comes of a request that is answered already, but not without end", function()
        w = proxied.start {}
        local c = client()
        answered_early(c, 1)
        for _ = 1, 4 do -- it has a window for all of this
            c:data(1, ("x"):rep(16384))
        end
        assert.same({}, resets(c))
        c:data(1, "y")
        assert.equal(h2.NO_ERROR, reset(c, 1))
        answered_early(c, 3)
        assert.equal(h2.NO_ERROR, reset(c, 3)) -- nothing comes: not for long
        assert.is_true(c:alive())
    end)

    it("has an answered request keep no connection that drains", function()
        w = proxied.start {}
        local c = client()
        answered_early(c, 1)
        local began = socket.gettime()
        w:must "drain 5000"
        assert.equal(h2.NO_ERROR, c:ending())
        assert.is_true(socket.gettime() - began < 1.5, "it waited for what still comes of the request")
    end)

    it("counts no cancelled request that was answered before its end", function()
        w = proxied.start { route = { more = { maintenance = { body = "later" } } } }
        local c = client()
        for i = 1, 1200, 2 do
            c:headers(i, h2.request("POST", "/"), 0)
            assert.equal(503, c:answer(i).status, i)
            c:send(h2.frame(h2.RST_STREAM, 0, i, h2.u32(h2.NO_ERROR)))
        end
        assert.is_true(c:alive())
    end)

    it("gives no client more streams for such requests", function()
        w = proxied.start { route = { more = { maintenance = { body = "later" } } } }
        local c = client()
        for i = 1, 257, 2 do
            c:headers(i, h2.request("POST", "/"), 0)
        end
        assert.equal(503, c:answer(255).status)
        assert.equal(h2.REFUSED_STREAM, c:answer(257).reset)
        for i = 1, 255, 2 do
            assert.equal(h2.NO_ERROR, reset(c, i))
        end
        c:get(259)
        assert.equal(503, c:answer(259).status)
    end)

    it("waits for a client that takes no more, and puts the blame on no backend", function()
        w = proxied.start { route = { client_timeout_ms = 600, backend_timeout_ms = 150 } }
        local c = client()
        c:get(1)
        local u = w:accept(1)
        u:read_head()
        u:send("HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n")
        local began = socket.gettime()
        proxied.stuff(u, ("x"):rep(300000), 0)
        assert.equal(h2.INTERNAL_ERROR, reset(c, 1))
        assert.is_true(socket.gettime() - began > 0.5, "it had as long as a backend has")
        -- The other way round it is the backend who is waited for.
        c = client()
        c:get(1)
        u = w:accept(1)
        u:read_head()
        u:send("HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" .. ("x"):rep(1000))
        began = socket.gettime()
        assert.equal(h2.INTERNAL_ERROR, c:answer(1).reset)
        assert.is_true(socket.gettime() - began < 0.5, "it had as long as a client has")
    end)

    it("may be switched off", function()
        w = proxied.start { route = { more = { http2 = false } } }
        local c = w:client()
        c:send(h2.PREFACE)
        assert.equal(505, (c:answer()))
    end)

    it("refuses what only HTTP/1 could misread", function()
        w = proxied.start {}
        local c = client()
        local cases = {
            { 400, { { ":method", "GET" }, { ":scheme", "x" }, { ":authority", "a" }, { ":path", "http://b/" } } },
            { 400, { { ":method", "GET" }, { ":scheme", "x" }, { ":authority", "a" }, { ":path", "*" } } },
            { 400, { { ":method", "GET" }, { ":scheme", "http" }, { ":authority", "a" }, { ":path", "/" }, { "host", "b" } } },
            { 400, { { ":method", "GET" }, { ":scheme", "http" }, { ":authority", "u@a" }, { ":path", "/" } } },
            { 405, { { ":method", "CONNECT" }, { ":authority", "a:80" } } },
            { 501, { { ":method", "CONNECT" }, { ":protocol", "other" }, { ":scheme", "http" }, { ":authority", "a" },
                { ":path", "/" } } },
            { 431, h2.request("GET", "/" , { { "x", ("y"):rep(17000) } }) },
            { 431, h2.request("GET", "/", (function()
                local many = {}
                for i = 1, 120 do many[i] = { "x", "y" } end
                return many
            end)()) },
        }
        for i, case in ipairs(cases) do
            c:headers(2 * i - 1, case[2])
            local a = assert(c:answer(2 * i - 1))
            assert.equal(case[1], a.status, "case " .. i)
        end
        assert.is_true(w:unwanted())
        c:get(99, "/", { { "host", "shop.example" } })
        assert.matches("\r\nHost: shop.example\r\n", (w:accept(1):read_head()))
    end)

    it("tells clients to go when it drains, and finishes what they began", function()
        w = proxied.start {}
        local c = client()
        c:get(1)
        local u = w:accept(1)
        u:read_head()
        w:must "drain 5000"
        local function goaway()
            return c:await(function(frame) return frame.type == h2.GOAWAY end)
        end
        local first = goaway()
        assert.same({ 0x7fffffff, h2.NO_ERROR }, { first.last, first.error })
        c:get(3) -- was on its way
        local other = w:accept(1)
        other:read_head()
        local second = goaway()
        assert.same({ 3, h2.NO_ERROR }, { second.last, second.error })
        c:get(5) -- is not served any more, and may be sent elsewhere
        u:ok "one"
        other:ok "two"
        assert.equal("one", c:answer(1).body)
        assert.equal("two", c:answer(3).body)
        assert.is_nil((c:frame()))
        c:close()
        proxied.eventually(function() return w:numbers().connections == 0 end)
    end)

    it("has streams under way go on with their generation, and new ones with the next", function()
        w = proxied.start { route = { path = "/" } }
        local c = client()
        c:get(1, "/old")
        local u = w:accept(1)
        u:read_head()
        w:must(w:configure { { path = "/new" } })
        w:must "commit"
        c:get(3, "/old")
        assert.equal(404, c:answer(3).status)
        c:get(5, "/new")
        local other = w:accept(1)
        other:read_head()
        other:ok "new"
        assert.equal("new", c:answer(5).body)
        u:ok "old"
        assert.equal("old", c:answer(1).body)
        assert.is_nil(c.goaway)
        -- Where HTTP/2 is switched off, or nobody listens any more, they are told to go.
        w:must(w:configure { { path = "/", more = { http2 = false } } })
        w:must "commit"
        c:get(7)
        u:read_head()
        u:ok "last"
        assert.equal("last", c:answer(7).body)
        assert.equal(h2.NO_ERROR, c.goaway.error)
    end)

    it("holds small answers until they are whole, and repeats what breaks off before", function()
        w = proxied.start { backends = 2 }
        local c = client()
        c:get(1)
        local u, i = w:accept_any()
        u:read_head()
        u:send "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"
        u:close()
        local other = w:accept(3 - i)
        other:read_head()
        other:ok "wholly"
        assert.equal("wholly", c:answer(1).body)
    end)

    it("sends large answers to many streams at once, each whole", function()
        w = proxied.start { backend = { max_connections = 1000 } }
        local c = client()
        local body = ("0123456789abcdef"):rep(8192)
        for i = 0, 19 do
            c:get(2 * i + 1, "/" .. i)
        end
        for _ = 0, 19 do
            local u = w:accept(1)
            local number = u:read_head():match "^GET /(%d+)"
            u:ok(number .. body)
        end
        for i = 0, 19 do
            assert.equal(i .. body, c:answer(2 * i + 1).body)
        end
    end)

    it("serves a thousand streams one after the other on one connection", function()
        w = proxied.start {}
        local c = client()
        c:get(1)
        local u = w:accept(1)
        for i = 1, 1000 do
            assert.is_string(u:read_head())
            u:ok(tostring(i))
            assert.equal(tostring(i), c:answer(2 * i - 1).body)
            c.answers[2 * i - 1] = nil
            if i < 1000 then
                c:get(2 * i + 1, "/" .. i, { { "x-number", tostring(i) } })
            end
        end
        assert.equal(1000, tonumber(w:numbers().h2_streams))
        assert.is_true(c:alive())
    end)

    it("begins with a connection's first bytes, or not at all", function()
        w = proxied.start {}
        local c = w:client()
        c:get "/"
        w:accept(1):ok "first"
        assert.equal(200, (c:answer()))
        c:send(h2.PREFACE)
        assert.equal(505, (c:answer()))
    end)

    it("answers a request whose body does not come, and goes on with others", function()
        w = proxied.start { route = { client_timeout_ms = 200 } }
        local c = client()
        c:headers(1, h2.request("POST", "/"), 0)
        local u = w:accept(1)
        u:read_head()
        c:data(1, "some")
        assert.equal("4\r\nsome\r\n", u:read(9))
        local a = c:answer(1)
        assert.equal(408, a.status)
        assert.is_true(u:closed())
        assert.is_true(c:alive())
    end)

    it("passes the longest head of an answer on", function()
        w = proxied.start {}
        local c = client()
        c:get(1)
        local u = w:accept(1)
        u:read_head()
        local long = ("~"):rep(15000) -- 13 bits each in Huffman's code: goes as it is
        u:ok("fine", "X-Long: " .. long .. "\r\n")
        local a = c:answer(1)
        assert.same({ 200, long, "fine" }, { a.status, a.fields["x-long"], a.body })
    end)

    it("waits in the queue, and leaves it when the stream is cancelled", function()
        w = proxied.start { backend = { max_connections = 1 }, route = { more = { queue = { limit = 10, timeout_ms = 4000 } } } }
        local c = client()
        c:get(1)
        local u = w:accept(1)
        u:read_head()
        c:get(3)
        c:get(5)
        proxied.eventually(function() return w:numbers().queued == 2 end)
        c:send(h2.frame(h2.RST_STREAM, 0, 3, h2.u32(h2.CANCEL)))
        proxied.eventually(function() return w:numbers().queued == 1 end)
        u:ok "one"
        assert.equal("one", c:answer(1).body)
        u:read_head()
        u:ok "three"
        assert.equal("three", c:answer(5).body)
    end)

    it("is in the access log as what it is", function()
        local path = os.tmpname()
        w = proxied.start { cluster = { access_log = { path = path, format = "combined" } } }
        local c = client()
        c:get(1, "/a?b", { { "user-agent", "spec" } })
        local u = w:accept(1)
        u:read_head()
        u:ok "hello"
        c:answer(1)
        c:headers(3, { { ":method", "GET" }, { ":scheme", "x" }, { ":authority", "a" }, { ":path", "x" } })
        c:answer(3)
        local text
        proxied.eventually(function()
            local file = assert(io.open(path))
            text = file:read "*a"
            file:close()
            return select(2, text:gsub("\n", "")) == 2
        end)
        os.remove(path)
        assert.matches('^127.0.0.1 %- %- %[.-%] "GET /a%?b HTTP/2.0" 200 5 "%-" "spec"', text)
        assert.matches('\n127.0.0.1 .- "%- %- HTTP/2.0" 400 ', text)
    end)

    it("tells the client of a WebSocket that was refused", function()
        w = proxied.start {}
        local c = client()
        for i, case in ipairs { { 403, 403 }, { 200, 502 } } do
            local id = 2 * i - 1
            c:headers(id, { { ":method", "CONNECT" }, { ":protocol", "websocket" }, { ":scheme", "http" },
                { ":authority", "shop.example" }, { ":path", "/chat" } }, 0)
            local u = w:accept(1)
            u:read_head()
            u:send(("HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\nno"):format(case[1]))
            local a = c:answer(id)
            assert.same({ case[2], "no" }, { a.status, a.body })
            u:close()
        end
    end)

    it("carries a WebSocket", function()
        w = proxied.start {}
        local c = client()
        local function await(kind)
            return c:await(function(f) return f.type == kind end)
        end
        c:headers(1, { { ":method", "CONNECT" }, { ":protocol", "websocket" }, { ":scheme", "http" },
            { ":authority", "shop.example" }, { ":path", "/chat" }, { "sec-websocket-version", "13" } }, 0)
        local u = w:accept(1)
        local head = u:read_head()
        assert.matches("^GET /chat HTTP/1.1\r\n", head)
        assert.matches("\r\nsec%-websocket%-key: %S%S%S%S%S%S%S%S%S%S%S%S%S%S%S%S%S%S%S%S%S%S==\r\n", head:lower())
        assert.matches("\r\nUpgrade: websocket\r\n", head)
        u:send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
            .. "Sec-WebSocket-Accept: x\r\n\r\nhello")
        local f = await(h2.HEADERS)
        assert.equal("200", f.fields[":status"])
        assert.is_nil(f.fields["sec-websocket-accept"])
        f = await(h2.DATA)
        assert.equal("hello", f.payload)
        c:data(1, "ping")
        assert.equal("ping", u:read(4))
        u:send "pong"
        f = await(h2.DATA)
        assert.equal("pong", f.payload)
        c:data(1, "", h2.END_STREAM)
        assert.is_true(u:closed())
        u:close()
        f = await(h2.DATA)
        assert.equal(h2.END_STREAM, f.flags)
    end)
end)
