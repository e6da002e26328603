-- Sessions without a socket: the exchange's one code path with a client that is told heads, bodies and ends apart.
local proxied = require "proxied"

describe("a carrier", function()
    local w

    after_each(function()
        w = proxied.finish(w)
    end)

    -- Waits until what came, in all, matches.
    local function carried(pattern)
        local all = ""
        proxied.eventually(function()
            all = all .. w:must "carried"
            return all:find(pattern)
        end, pattern .. " never came")
        return all
    end

    it("gets head, body and end apart, and is over then", function()
        w = proxied.start {}
        w:must "carry GET /a?b HTTP/1.1|Host: shop.example||"
        local u = w:accept(1)
        local head = u:read_head()
        assert.matches("^GET /a%?b HTTP/1.1\r\n", head)
        assert.matches("\r\nX%-Forwarded%-For: 192.0.2.7\r\n", head)
        assert.matches("\r\nVia: 2.0 tidegate\r\n", head)
        u:ok "hello"
        local all = carried "over"
        assert.matches("^head{HTTP/1.1 200 OK |.*|Content%-Length: 5 | |} ", all)
        assert.matches("data{hello} end{} over{} $", all)
        assert.not_matches("Connection", all)
        assert.equal(0, tonumber(w:numbers().connections))
        assert.equal(0, tonumber(w:row(1).in_flight))
    end)

    it("gets bare bodies of chunked answers, and their trailers", function()
        w = proxied.start {}
        w:must "carry GET / HTTP/1.1|Host: a||"
        local u = w:accept(1)
        u:read_head()
        u:send "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n"
        local all = carried "data{abc}"
        assert.not_matches("[Cc]hunked", all)
        u:send "2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n"
        all = carried "over"
        assert.matches("data{de} end{X%-Sum: 5 | |} over{}", all)
    end)

    it("streams a body of unknown length to the backend in chunks", function()
        w = proxied.start {}
        w:must "carry POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||"
        local u = w:accept(1)
        assert.matches("\r\nTransfer%-Encoding: chunked\r\n", u:read_head())
        w:must "carry_body hello"
        assert.equal("5\r\nhello\r\n", u:read(10))
        w:must "carry_end"
        assert.equal("0\r\n\r\n", u:read(5))
        u:ok ""
        carried "end{} over{}"
    end)

    it("streams a body of known length as it is", function()
        w = proxied.start {}
        w:must "carry POST / HTTP/1.1|Host: a|Content-Length: 6||"
        local u = w:accept(1)
        assert.matches("\r\nContent%-Length: 6\r\n", u:read_head())
        w:must "carry_body abc"
        assert.equal("abc", u:read(3))
        w:must "carry_body def"
        assert.equal("def", u:read(3))
        u:ok "x"
        carried "data{x} end{} over{}"
    end)

    it("is answered by ourselves without a word about connections", function()
        w = proxied.start { backends = 0 }
        w:must "carry GET / HTTP/1.1|Host: a||"
        local all = carried "over"
        assert.matches("^head{HTTP/1.1 503 .*data{503 .*} end{} over{} $", all)
        assert.not_matches("Connection:", all)
        w:must "carry GET / HTTP/1.1|Ho st: a||"
        assert.matches("^head{HTTP/1.1 400 ", carried "over")
    end)

    it("that takes no more holds the answer up, and nothing more", function()
        w = proxied.start {}
        w:must "carry GET / HTTP/1.1|Host: a||"
        w:must "carry_stuck"
        local u = w:accept(1)
        u:read_head()
        u:send "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
        carried "data{abc}"
        u:send "3\r\ndef\r\n0\r\n\r\n"
        assert.equal("", w:must "carried")
        local c = w:client()
        c:get "/"
        w:accept(1):ok "other"
        assert.equal(200, (c:answer()))
        w:must "carry_free"
        carried "^data{def} end{} over{}"
    end)

    it("is cut when its backend breaks off, and frees the backend when it leaves", function()
        w = proxied.start {}
        w:must "carry GET / HTTP/1.1|Host: a||"
        local u = w:accept(1)
        u:read_head()
        u:send "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
        carried "data{abc}"
        u:close()
        carried "cut{}"
        w:must "carry POST / HTTP/1.1|Host: a|Content-Length: 6||"
        u = w:accept(1)
        u:read_head()
        w:must "carry_reset"
        assert.is_true(u:closed())
        carried "cut{}"
    end)

    it("may be a tunnel", function()
        w = proxied.start {}
        w:must "carry GET / HTTP/1.1|Host: a|Connection: upgrade|Upgrade: websocket||"
        local u = w:accept(1)
        assert.matches("\r\nUpgrade: websocket\r\n", u:read_head())
        u:send "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhi"
        carried "head{HTTP/1.1 101 .*data{hi}"
        w:must "carry_body hello"
        assert.equal("hello", u:read(5))
        w:must "carry_end"
        assert.is_true(u:closed())
        u:close()
        carried "end{} over{}"
    end)
end)
