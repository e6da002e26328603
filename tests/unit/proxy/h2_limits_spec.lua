-- What HTTP/2 lets a client ask of a server without end: each flood ends its own connection, is counted and told, and others are
-- served; slow readers and writers are bounded.
local h2 = require "h2"
local proxied = require "proxied"
local socket = require "socket"

local f = h2.frame
local GET = h2.block(h2.request("GET", "/"))

describe("proxy, limits of HTTP/2", function()
    local w

    after_each(function()
        w = proxied.finish(w)
    end)

    local function begun(c, stream)
        c:get(stream)
        local u = w:accept(1)
        u:read_head()
        return u
    end

    -- Sends it, as far as somebody takes it.
    local function pour(c, bytes)
        c.sock:settimeout(0)
        local at, still = 1, 0
        while at <= #bytes and still < 20 do
            local last, err, part = c.sock:send(bytes, at)
            if err and err ~= "timeout" then
                break
            end
            last = last or part
            still = last < at and still + 1 or 0
            at = last + 1
            if still > 0 then
                socket.select(nil, { c.sock }, 0.01)
            end
        end
        c.sock:settimeout(5)
    end

    local resets = {}
    for i = 0, 1999 do
        resets[#resets + 1] = f(h2.HEADERS, 5, 2 * i + 1, GET) .. f(h2.RST_STREAM, 0, 2 * i + 1, h2.u32(h2.CANCEL))
    end
    local mistakes = {}
    for i = 0, 1999 do
        mistakes[#mistakes + 1] = f(h2.HEADERS, 5, 2 * i + 1, GET .. h2.literal("connection", "close"))
    end
    local FLOODS = {
        { "resets", table.concat(resets), reason = "H2_RESETS" },
        { "requests that must be reset", table.concat(mistakes), reason = "H2_RESETS" },
        { "SETTINGS", f(h2.SETTINGS, 0, 0, h2.u16(1) .. h2.u32(100)):rep(5000), reason = "H2_SETTINGS" },
        { "PINGs", f(h2.PING, 0, 0, "12345678"):rep(5000), reason = "H2_PINGS" },
        { "empty DATA", f(h2.HEADERS, h2.END_HEADERS, 1, GET) .. f(h2.DATA, 0, 1):rep(5000), reason = "H2_EMPTY" },
        { "PRIORITY", f(h2.PRIORITY, 0, 3, "\0\0\0\0\16"):rep(5000), reason = "H2_PRIORITIES" },
        { "WINDOW_UPDATEs", f(h2.WINDOW_UPDATE, 0, 0, h2.u32(1)):rep(5000), reason = "H2_WINDOWS" },
        { "CONTINUATIONs", f(h2.HEADERS, h2.END_STREAM, 1, GET) .. f(h2.CONTINUATION, 0, 1, h2.literal("x", "y")):rep(5000),
            reason = "H2_CONTINUATIONS" },
        { "empty CONTINUATIONs", f(h2.HEADERS, h2.END_STREAM, 1, GET) .. f(h2.CONTINUATION, 0, 1):rep(5000),
            reason = "H2_CONTINUATIONS" },
        -- 4,000 bytes once, and then a byte for each time again.
        { "a header block that unfolds", f(h2.HEADERS, h2.END_STREAM, 1, GET .. "\64\1x" .. h2.integer(4000, 7, 0)
            .. ("y"):rep(4000) .. ("\190"):rep(12000)) .. f(h2.CONTINUATION, h2.END_HEADERS, 1, ("\190"):rep(16000)),
            reason = "H2_HEADERS" },
    }
    local REASONS = { H2_RESETS = 0, H2_SETTINGS = 1, H2_PINGS = 2, H2_EMPTY = 3, H2_PRIORITIES = 4, H2_WINDOWS = 5,
        H2_CONTINUATIONS = 6, H2_HEADERS = 7 }

    for _, flood in ipairs(FLOODS) do
        it("end a connection that floods with " .. flood[1], function()
            w = proxied.start {}
            local good = h2.client(w.port):start()
            local u = begun(good, 1)
            local c = h2.client(w.port):start()
            pour(c, flood[2])
            assert.equal(h2.ENHANCE_YOUR_CALM, c:ending())
            c:close()
            assert.equal(1, tonumber(w:numbers().h2_floods[REASONS[flood.reason]]))
            assert.matches("^1 http2: .* from 127.0.0.1: its connection was ended$", w:must "fact")
            u:ok "fine"
            assert.equal("fine", good:answer(1).body)
            proxied.eventually(function() return w:row(1).in_flight == 0 and w:numbers().connections == 1 end)
        end)
    end

    it("hold for what a real client does in a burst", function()
        w = proxied.start {}
        local c = h2.client(w.port):start()
        for i = 0, 99 do
            c:send(f(h2.HEADERS, 5, 2 * i + 1, GET) .. f(h2.RST_STREAM, 0, 2 * i + 1, h2.u32(h2.CANCEL)))
        end
        c:send(f(h2.PING, 0, 0, "12345678"):rep(50) .. f(h2.WINDOW_UPDATE, 0, 0, h2.u32(1)):rep(500)
            .. f(h2.SETTINGS, 0, 0):rep(10))
        assert.is_true(c:alive())
        local u = begun(c, 201)
        u:ok "fine"
        assert.equal("fine", c:answer(201).body)
    end)

    it("refuse a stream over the most at once, and end who knew better", function()
        w = proxied.start { backend = { max_connections = 1000 } }
        local c, us = h2.client(w.port):start(), {}
        c.deaf = true -- our SETTINGS are not acknowledged yet
        for i = 0, 127 do
            c:get(2 * i + 1)
            us[i] = w:accept(1)
            us[i]:read_head()
        end
        c:get(257)
        local reset = c:await(function(frame) return frame.type == h2.RST_STREAM end)
        assert.same({ 257, h2.REFUSED_STREAM }, { reset.stream, reset.error })
        us[5]:ok "fine"
        assert.equal("fine", c:answer(11).body)
        c:get(259)
        us[5]:read_head()
        c:send(f(h2.SETTINGS, h2.ACK, 0))
        c:get(261)
        assert.equal(h2.PROTOCOL_ERROR, c:ending())
        proxied.eventually(function() return w:row(1).in_flight == 0 end)
    end)

    it("end a header block that takes too long", function()
        w = proxied.start { route = { more = { client_header_timeout_ms = 150 } } }
        local c = h2.client(w.port):start()
        assert.is_true(c:alive())
        c:send(f(h2.HEADERS, h2.END_STREAM, 1, GET))
        assert.equal(h2.ENHANCE_YOUR_CALM, c:ending())
        assert.equal(1, tonumber(w:numbers().h2_floods[7]))
        -- The same of a client that says nothing behind the preface.
        c = h2.client(w.port)
        c:send(h2.PREFACE:sub(1, 20))
        assert.not_equal("timeout", c:ending())
    end)

    it("end an idle connection with GOAWAY, whatever it pings", function()
        w = proxied.start { route = { client_timeout_ms = 150 } }
        local c = h2.client(w.port):start()
        local u = begun(c, 1)
        u:ok "fine"
        assert.equal("fine", c:answer(1).body)
        local code, last
        for _ = 1, 200 do
            if not c.sock:send(f(h2.PING, 0, 0, "12345678")) then break end
            local frame = c:frame()
            if not frame then break end
            if frame.type == h2.GOAWAY then
                code, last = frame.error, frame.last
                break
            end
            socket.select(nil, nil, 0.01)
        end
        assert.same({ 0, 1 }, { code, last })
    end)

    it("cut a stream whose client grants no window, and no other", function()
        w = proxied.start { route = { client_timeout_ms = 200 } }
        local c = h2.client(w.port):start { { 4, 10 } }
        local u = begun(c, 1)
        u:ok(("x"):rep(1000))
        local data = c:await(function(frame) return frame.type == h2.DATA end)
        assert.equal(10, #data.payload)
        c:get(3)
        u:read_head()
        u:ok "fine"
        assert.equal("fine", c:answer(3).body)
        local a = c:answer(1, false)
        assert.is_true(a == nil or a.reset ~= nil)
        c:close()
        proxied.eventually(function() return w:numbers().connections == 0 and w:row(1).in_flight == 0 end)
    end)

    it("end a connection whose window is used up by answers that wait, whatever it pings", function()
        w = proxied.start { route = { client_timeout_ms = 300, more = { maintenance = { body = ("x"):rep(10000) } } } }
        local c = h2.client(w.port):start()
        local asked = {}
        for i = 1, 59, 2 do
            asked[#asked + 1] = f(h2.HEADERS, 5, i, GET)
        end
        c:send(table.concat(asked))
        for _ = 1, 200 do
            if not c.sock:send(f(h2.PING, 0, 0, "12345678")) then
                break
            end
            socket.select(nil, nil, 0.02)
        end
        assert.equal(0, tonumber(w:numbers().h2_connections))
    end)

    it("cut a client that reads nothing at all, at constant memory", function()
        w = proxied.start { route = { client_timeout_ms = 300 } }
        local sock = socket.tcp()
        sock:setoption("recv-buffer-size", 4096)
        sock:connect("127.0.0.1", w.port)
        local c = h2.client(w.port)
        c.sock:close()
        c.sock = sock
        sock:settimeout(5)
        c:start { { 4, 0x7fffffff } }
        c:send(f(h2.WINDOW_UPDATE, 0, 0, h2.u32(0x7fff0000)))
        local u = begun(c, 1)
        u:send "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n"
        local sent = proxied.stuff(u, ("x"):rep(33554432), 0) -- the kernel keeps up to 16 MB of it on the way
        assert.is_true(sent < 20e6, sent .. " bytes were taken of a backend whose client reads none")
        assert.is_true(u:closed())
        proxied.eventually(function() return w:numbers().connections == 0 end)
    end)

    it("let a backend that takes nothing hold up its stream, and no other", function()
        w = proxied.start {}
        local c = h2.client(w.port):start()
        c:headers(1, h2.request("POST", "/"), 0)
        local slow = w:accept(1)
        slow:read_head()
        -- As much as the windows allow, until there is none left: what the kernel's buffers hold, and one window.
        local given, left, all = 0, 65535, 65535
        repeat
            while math.min(left, all) > 0 do
                local n = math.min(left, all, 16384)
                c:data(1, ("x"):rep(n))
                given, left, all = given + n, left - n, all - n
            end
            assert.is_true(given < 32e6, "its window grows although nobody takes anything")
            while socket.select({ c.sock }, nil, 0.2)[1] and math.min(left, all) == 0 do
                local frame = assert(c:frame())
                local more = frame.type == h2.WINDOW_UPDATE and h2.number(frame.payload) or 0
                left, all = left + (frame.stream == 1 and more or 0), all + (frame.stream == 0 and more or 0)
            end
        until left == 0
        assert.is_true(all > 0)
        for i = 1, 5 do
            c:headers(2 * i + 1, h2.request("POST", "/", { { "content-length", "5" } }), 0)
            c:data(2 * i + 1, "hello", h2.END_STREAM)
            local u = w:accept(1)
            u:read_head()
            assert.equal("hello", u:read(5))
            u:ok "fine"
            u:close()
            assert.equal("fine", c:answer(2 * i + 1).body)
        end
        -- What is over the window is the client's mistake.
        c:data(1, "x")
        local frame = c:await(function(frame)
            return frame.type == h2.GOAWAY or (frame.type == h2.RST_STREAM and frame.stream == 1)
        end)
        assert.equal(h2.FLOW_CONTROL_ERROR, frame.error)
        slow:close()
    end)
end)
