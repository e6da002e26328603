-- The data plane over real sockets, one behaviour each: heads and bodies.
local proxied = require "proxied"

describe("proxy, heads and bodies", function()
    local w

    local function world(options)
        w = proxied.start(options)
        return w
    end

    after_each(function()
        w = proxied.finish(w)
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
            return tonumber(row.outcomes[2]) == 2 and tonumber(row.in_flight) == 0 and tonumber(row.pooled) == 1
        end)
        assert.equal(6, tonumber(row.bytes_out))
        assert.is_true(row.response_ms.value > 0)
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

    it("frames chunked bodies anew, both ways, and drops trailers that nobody asked for", function()
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
        c:get("/", "Connection: x-gone, keep-alive\r\nX-Gone: 1\r\nKeep-Alive: 3\r\nTE: gzip\r\n"
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

    it("keeps a client's request id when it is 1 to 128 visible characters, and makes one otherwise", function()
        world()
        local function sent(fields)
            local c = w:client()
            c:get("/", fields .. "Connection: close\r\n")
            local u = w:accept()
            local head = u:read_head()
            u:ok("", "Connection: close\r\n")
            c:answer()
            local id, count
            for value in head:gmatch "\r\nX%-Request%-Id: ([^\r]*)\r\n" do
                id, count = value, (count or 0) + 1
            end
            assert.equal(1, count, head)
            return id
        end
        local longest = ("x"):rep(128)
        for _, id in ipairs { "a", longest, "0af7651916cd43dd-1", "!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~" } do
            assert.equal(id, sent("x-request-ID: " .. id .. "\r\n"))
        end
        assert.equal("first", sent "X-Request-Id: first\r\nX-Request-Id: second\r\n")
        local seen = {}
        for _, field in ipairs { "", "X-Request-Id:\r\n", "X-Request-Id: " .. longest .. "y\r\n",
            "X-Request-Id: a b\r\n", "X-Request-Id: a\tb\r\n", "X-Request-Id: a\200b\r\n" } do
            local id = sent(field)
            assert.matches("^%x+$", id)
            assert.equal(32, #id)
            assert.is_nil(seen[id])
            seen[id] = true
        end
        -- The same holds where tidegate answers itself.
        local c = w:client()
        c:send("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nX-Request-Id: " .. longest .. "\r\n\r\n")
        assert.matches("\r\nX%-Request%-Id: " .. longest .. "\r\n", (select(2, c:answer())))
        c = w:client()
        c:send("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nX-Request-Id: " .. longest .. "y\r\n\r\n")
        assert.matches("\r\nX%-Request%-Id: %x+\r\n", (select(2, c:answer())))
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

    it("counts Max-Forwards down, and answers itself at 0", function()
        world()
        local c = w:client()
        c:send "OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 2\r\n\r\n"
        local u = w:accept()
        local head = u:read_head()
        assert.matches("^OPTIONS %* HTTP/1.1\r\n", head)
        assert.matches("\r\nMax%-Forwards: 1\r\n", head)
        u:ok ""
        assert.equal(200, (c:answer()))
        c:send "OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n"
        assert.equal(200, (c:answer()))
        c:send "TRACE / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n"
        assert.equal(405, (c:answer()))
        assert.is_true(u:silent())
    end)

    it("speaks to backends on unix sockets", function()
        world { backends = 0 }
        local path = os.tmpname()
        os.remove(path)
        local server = require "socket.unix"()
        assert(server:bind(path))
        assert(server:listen(8))
        w:roster { { id = "u", slot = 5, address = "unix:" .. path } }
        w.servers[1] = server
        local c = w:client()
        c:get "/local"
        local u = w:accept(1)
        assert.matches("^GET /local ", (u:read_head()))
        u:ok "unix"
        assert.equal("unix", (select(3, c:answer())))
        os.remove(path)
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

    it("goes on with a large body when all of it came while the client did not read", function()
        world()
        local c = w:client()
        c:get "/large"
        local u = w:accept()
        u:read_head()
        local total = 6000000
        u:send("HTTP/1.1 200 OK\r\nContent-Length: " .. total .. "\r\n\r\n")
        u.sock:settimeout(0)
        local sent, piece = 0, ("z"):rep(100000)
        proxied.eventually(function() -- into the kernel's buffers: no edge comes any more
            local n, _, partial = u.sock:send(piece:sub(1, math.min(#piece, total - sent)))
            sent = sent + (n or partial)
            return sent == total
        end)
        c:read_head()
        assert.equal(total, #c:read(total))
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
end)
