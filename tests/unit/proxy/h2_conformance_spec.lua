-- HTTP/2 by raw frames, section by section of RFC 9113: what ends a connection, what a stream, and what must be borne. Behind each
-- case no request has reached the backend that should not have, and where the connection lives it serves another stream.
local h2 = require "h2"
local proxied = require "proxied"

local GET = h2.block(h2.request("GET", "/"))
local HEAD_END = h2.END_HEADERS + h2.END_STREAM
local f = h2.frame

local function fields(list)
    return f(h2.HEADERS, HEAD_END, 1, h2.block(list))
end

-- The four of a request, one of them another or left out.
local function pseudo(changes, more)
    local list = {}
    for _, name in ipairs { ":method", ":scheme", ":authority", ":path" } do
        local value = ({ [":method"] = "GET", [":scheme"] = "http", [":authority"] = "a", [":path"] = "/" })[name]
        if changes[name] ~= false then
            list[#list + 1] = { name, changes[name] or value }
        end
    end
    for _, field in ipairs(more or {}) do
        list[#list + 1] = field
    end
    return fields(list)
end

local function post(more, length)
    local list = h2.request("POST", "/", length and { { "content-length", length } })
    return f(h2.HEADERS, h2.END_HEADERS, 1, h2.block(list)) .. (more or "")
end

local function setting(id, value)
    return h2.u16(id) .. h2.u32(value)
end

-- The connection ends with one of these errors, or, where `closed` stands among them, without a word.
local connection_errors = {
    -- 3.4: the preface.
    { "no SETTINGS behind the preface", raw = h2.PREFACE .. f(h2.PING, 0, 0, "12345678"), 1 },
    { "HEADERS behind the preface", raw = h2.PREFACE .. f(h2.HEADERS, HEAD_END, 1, GET), 1 },
    { "an acknowledgement behind the preface", raw = h2.PREFACE .. f(h2.SETTINGS, h2.ACK, 0), 1 },
    -- 4.1, 4.2: frames.
    { "a frame longer than 16384", f(h2.DATA, 0, 1, ("x"):rep(16385)), 6, 1 },
    { "HEADERS longer than 16384", f(h2.HEADERS, HEAD_END, 1, ("x"):rep(16385)), 6 },
    { "SETTINGS longer than 16384", f(h2.SETTINGS, 0, 0, setting(1, 4096):rep(2731)), 6 },
    -- 4.3: header blocks.
    { "a block that HPACK cannot read", f(h2.HEADERS, HEAD_END, 1, "\255\255\255\255\255\255\255\255"), 9 },
    { "an index that does not exist", f(h2.HEADERS, HEAD_END, 1, GET .. "\254"), 9 },
    { "index zero", f(h2.HEADERS, HEAD_END, 1, GET .. "\128"), 9 },
    { "a string that is not whole", f(h2.HEADERS, HEAD_END, 1, GET .. "\0\5ab"), 9 },
    { "Huffman padding of 8 bits", f(h2.HEADERS, HEAD_END, 1, GET .. "\0\1x\131\255\255\255"), 9 },
    { "a table larger than allowed", f(h2.HEADERS, HEAD_END, 1, "\63\226\31" .. GET), 9 },
    { "a change of the table's size behind a field", f(h2.HEADERS, HEAD_END, 1, GET .. "\32"), 9 },
    -- 5.1: states.
    { "DATA on an idle stream", f(h2.DATA, h2.END_STREAM, 1, "x"), 1 },
    { "RST_STREAM on an idle stream", f(h2.RST_STREAM, 0, 1, h2.u32(8)), 1 },
    { "WINDOW_UPDATE on an idle stream", f(h2.WINDOW_UPDATE, 0, 1, h2.u32(100)), 1 },
    { "CONTINUATION on an idle stream", f(h2.CONTINUATION, h2.END_HEADERS, 1, GET), 1 },
    -- 5.1.1: identifiers.
    { "an even stream", f(h2.HEADERS, HEAD_END, 2, GET), 1 },
    { "stream 0", f(h2.HEADERS, HEAD_END, 0, GET), 1 },
    -- 6: frames.
    { "DATA on stream 0", f(h2.DATA, 0, 0, "x"), 1 },
    { "DATA whose padding is longer than it", post(f(h2.DATA, h2.PADDED + h2.END_STREAM, 1, "\6hello")), 1 },
    { "DATA with padding and no byte", post(f(h2.DATA, h2.PADDED + h2.END_STREAM, 1, "")), 6, 1 },
    { "HEADERS whose padding is longer than it", f(h2.HEADERS, HEAD_END + h2.PADDED, 1, "\255" .. GET), 1 },
    { "HEADERS too short for their priority", f(h2.HEADERS, HEAD_END + h2.WITH_PRIORITY, 1, "\0\0\0"), 6, 1 },
    { "HEADERS too short for their padding", f(h2.HEADERS, HEAD_END + h2.PADDED, 1, ""), 6, 1 },
    { "PRIORITY on stream 0", f(h2.PRIORITY, 0, 0, "\0\0\0\0\16"), 1 },
    { "RST_STREAM on stream 0", f(h2.RST_STREAM, 0, 0, h2.u32(8)), 1 },
    { "RST_STREAM of 3 bytes", post(f(h2.RST_STREAM, 0, 1, "\0\0\0")), 6 },
    { "RST_STREAM of 5 bytes", post(f(h2.RST_STREAM, 0, 1, "\0\0\0\8\0")), 6 },
    { "SETTINGS on a stream", f(h2.SETTINGS, 0, 1, setting(1, 0)), 1 },
    { "SETTINGS of 5 bytes", f(h2.SETTINGS, 0, 0, "\0\1\0\0\0"), 6 },
    { "an acknowledgement with a payload", f(h2.SETTINGS, h2.ACK, 0, setting(1, 0)), 6 },
    { "ENABLE_PUSH of 2", f(h2.SETTINGS, 0, 0, setting(2, 2)), 1 },
    { "INITIAL_WINDOW_SIZE over 2^31-1", f(h2.SETTINGS, 0, 0, setting(4, 0x80000000)), 3 },
    { "MAX_FRAME_SIZE under 16384", f(h2.SETTINGS, 0, 0, setting(5, 16383)), 1 },
    { "MAX_FRAME_SIZE over 2^24-1", f(h2.SETTINGS, 0, 0, setting(5, 16777216)), 1 },
    { "PUSH_PROMISE", post(f(h2.PUSH_PROMISE, h2.END_HEADERS, 1, h2.u32(2) .. GET)), 1 },
    { "PING on a stream", f(h2.PING, 0, 1, "12345678"), 1 },
    { "PING of 7 bytes", f(h2.PING, 0, 0, "1234567"), 6 },
    { "PING of 9 bytes", f(h2.PING, 0, 0, "123456789"), 6 },
    { "GOAWAY on a stream", f(h2.GOAWAY, 0, 1, h2.u32(0) .. h2.u32(0)), 1 },
    { "GOAWAY of 7 bytes", f(h2.GOAWAY, 0, 0, "\0\0\0\0\0\0\0"), 6 },
    { "WINDOW_UPDATE of 0 for the connection", f(h2.WINDOW_UPDATE, 0, 0, h2.u32(0)), 1 },
    { "WINDOW_UPDATE of 3 bytes", f(h2.WINDOW_UPDATE, 0, 0, "\0\0\1"), 6 },
    { "WINDOW_UPDATE of 5 bytes", f(h2.WINDOW_UPDATE, 0, 0, "\0\0\0\1\0"), 6 },
    { "a window of the connection over 2^31-1", f(h2.WINDOW_UPDATE, 0, 0, h2.u32(0x7fffffff)):rep(2), 3 },
    { "CONTINUATION on stream 0", f(h2.CONTINUATION, h2.END_HEADERS, 0, GET), 1 },
    { "CONTINUATION behind END_HEADERS", post(f(h2.CONTINUATION, h2.END_HEADERS, 1, h2.literal("x", "y"))), 1 },
    { "DATA between HEADERS and CONTINUATION", f(h2.HEADERS, 1, 1, GET) .. f(h2.DATA, 1, 1, "x"), 1 },
    { "PRIORITY between HEADERS and CONTINUATION", f(h2.HEADERS, 1, 1, GET) .. f(h2.PRIORITY, 0, 1, "\0\0\0\0\16"), 1 },
    { "PING between HEADERS and CONTINUATION", f(h2.HEADERS, 1, 1, GET) .. f(h2.PING, 0, 0, "12345678"), 1 },
    { "SETTINGS between HEADERS and CONTINUATION", f(h2.HEADERS, 1, 1, GET) .. f(h2.SETTINGS, 0, 0), 1 },
    { "an unknown frame between HEADERS and CONTINUATION", f(h2.HEADERS, 1, 1, GET) .. f(200, 0, 0, "x"), 1 },
    { "CONTINUATION of another stream", f(h2.HEADERS, 1, 1, GET) .. f(h2.CONTINUATION, 4, 3, ""), 1 },
    { "HEADERS of another stream before CONTINUATION", f(h2.HEADERS, 1, 1, GET) .. f(h2.HEADERS, 5, 3, GET), 1 },
}

-- Stream 1 ends with one of these errors (a reset, or 400 where that stands), the connection goes on.
local stream_errors = {
    -- 5.3, 6.3, 6.9.
    { "PRIORITY of 4 bytes", post(f(h2.PRIORITY, 0, 1, "\0\0\0\0")), 6, connection = 6, begun = true },
    { "a stream that depends on itself", f(h2.PRIORITY, 0, 1, h2.u32(1) .. "\16"), "fine" },
    { "WINDOW_UPDATE of 0 for a stream", post(f(h2.WINDOW_UPDATE, 0, 1, h2.u32(0))), 1, connection = 1, begun = true },
    { "a window of a stream over 2^31-1", post(f(h2.WINDOW_UPDATE, 0, 1, h2.u32(0x7fffffff))), 3, begun = true },
    -- 8.1: messages.
    { "a second HEADERS without END_STREAM", post(f(h2.HEADERS, h2.END_HEADERS, 1, h2.literal("x", "y"))), 1, begun = true },
    { "trailers with a pseudo-header field", post(f(h2.HEADERS, HEAD_END, 1, h2.literal(":method", "GET"))), 1, begun = true },
    { "trailers in upper case", post(f(h2.HEADERS, HEAD_END, 1, h2.literal("X", "y"))), 1, begun = true },
    -- 8.2: fields.
    { "a name in upper case", pseudo({}, { { "X-Upper", "y" } }), 1 },
    { "a name with one upper case letter", pseudo({}, { { "x-uPper", "y" } }), 1 },
    { "an empty name", pseudo({}, { { "", "y" } }), 1 },
    { "a name with a blank", pseudo({}, { { "x y", "z" } }), 1 },
    { "a name with a colon", pseudo({}, { { "x:y", "z" } }), 1 },
    { "a name with CR LF", pseudo({}, { { "x\r\ny", "z" } }), 1 },
    { "a name with NUL", pseudo({}, { { "x\0", "z" } }), 1 },
    { "a name over 127", pseudo({}, { { "x\200", "z" } }), 1 },
    { "a value with CR LF", pseudo({}, { { "x", "y\r\nz: 1" } }), 1 },
    { "a value with LF", pseudo({}, { { "x", "y\nz: 1" } }), 1 },
    { "a value with CR", pseudo({}, { { "x", "y\rz" } }), 1 },
    { "a value with NUL", pseudo({}, { { "x", "y\0z" } }), 1 },
    { "a value that begins with a blank", pseudo({}, { { "x", " y" } }), 1 },
    { "a value that ends with a tab", pseudo({}, { { "x", "y\t" } }), 1 },
    { "connection", pseudo({}, { { "connection", "keep-alive" } }), 1 },
    { "keep-alive", pseudo({}, { { "keep-alive", "300" } }), 1 },
    { "proxy-connection", pseudo({}, { { "proxy-connection", "keep-alive" } }), 1 },
    { "transfer-encoding", pseudo({}, { { "transfer-encoding", "chunked" } }), 1 },
    { "upgrade", pseudo({}, { { "upgrade", "websocket" } }), 1 },
    { "te: gzip", pseudo({}, { { "te", "gzip" } }), 1 },
    { "te: trailers, gzip", pseudo({}, { { "te", "trailers, gzip" } }), 1 },
    -- 8.3: pseudo-header fields.
    { "an unknown pseudo-header field", pseudo({}, { { ":test", "x" } }), 1 },
    { "one of answers", pseudo({}, { { ":status", "200" } }), 1 },
    { "one behind a field", fields { { ":method", "GET" }, { ":scheme", "http" }, { "x", "y" }, { ":path", "/" } }, 1 },
    { "no :method", pseudo { [":method"] = false }, 1 },
    { "no :scheme", pseudo { [":scheme"] = false }, 1 },
    { "no :path", pseudo { [":path"] = false }, 1 },
    { "no host at all", pseudo { [":authority"] = false }, 1 },
    { "an empty :path", pseudo { [":path"] = "" }, 1 },
    { "an empty :method", pseudo { [":method"] = "" }, 1, 400 },
    { ":method twice", pseudo({}, { { ":method", "GET" } }), 1 },
    { ":scheme twice", pseudo({}, { { ":scheme", "http" } }), 1 },
    { ":path twice", pseudo({}, { { ":path", "/" } }), 1 },
    { ":authority twice", pseudo({}, { { ":authority", "a" } }), 1 },
    { ":protocol without CONNECT", pseudo({}, { { ":protocol", "websocket" } }), 1 },
    { "CONNECT with a path", pseudo { [":method"] = "CONNECT" }, 1 },
    { "a :path without a slash", pseudo { [":path"] = "a" }, 1, 400 },
    { "a :path that is a URL", pseudo { [":path"] = "http://b/" }, 1, 400 },
    { "a :path with a blank", pseudo { [":path"] = "/a b" }, 1, 400 },
    { "a :path with CR LF", pseudo { [":path"] = "/ HTTP/1.1\r\nx: y\r\n" }, 1, 400 },
    { "a :path with a fragment", pseudo { [":path"] = "/a#b" }, 1, 400 },
    { "a :method with a blank", pseudo { [":method"] = "GET /x" }, 1, 400 },
    { "a :method with CR LF", pseudo { [":method"] = "GET / HTTP/1.1\r\nx: y" }, 1, 400 },
    { "an :authority with a blank", pseudo { [":authority"] = "a b" }, 1, 400 },
    { "an :authority with CR LF", pseudo { [":authority"] = "a\r\nx: y" }, 1, 400 },
    { "an :authority with a user", pseudo { [":authority"] = "u@a" }, 1, 400 },
    { "an empty :authority", pseudo { [":authority"] = "" }, 1, 400 },
    { "a host that is not the :authority", pseudo({}, { { "host", "b" } }), 1, 400 },
    { "host twice", pseudo({ [":authority"] = false }, { { "host", "a" }, { "host", "b" } }), 1, 400 },
    -- 8.1.1: length.
    { "less than content-length", post(f(h2.DATA, h2.END_STREAM, 1, "four"), "5"), 1, begun = true },
    { "more than content-length", post(f(h2.DATA, h2.END_STREAM, 1, "sixsix"), "5"), 1, begun = true },
    { "content-length and no body", pseudo({ [":method"] = "POST" }, { { "content-length", "5" } }), 1 },
    { "content-length twice", pseudo({}, { { "content-length", "0" }, { "content-length", "0" } }), 1 },
    { "a negative content-length", pseudo({}, { { "content-length", "-1" } }), 1 },
    { "a content-length of text", pseudo({}, { { "content-length", "five" } }), 1 },
    { "a content-length of 2^64", pseudo({}, { { "content-length", "18446744073709551616" } }), 1 },
}

-- All is well: the request, if there is one, gets its answer.
local borne = {
    { "a frame of unknown type", f(200, 255, 0, "x") },
    { "a frame of unknown type on a stream", post(f(201, 0, 1, "x") .. f(h2.DATA, 1, 1, "")) },
    { "unknown flags", f(h2.PING, 0xf0, 0, "12345678") },
    { "the reserved bit of a stream", (fields(h2.request("GET", "/")):gsub("^(.....)%z", "%1\128")) },
    { "unknown SETTINGS", f(h2.SETTINGS, 0, 0, setting(0xff, 1)) },
    { "SETTINGS twice of one kind", f(h2.SETTINGS, 0, 0, setting(4, 100) .. setting(4, 65535)) },
    { "empty SETTINGS", f(h2.SETTINGS, 0, 0) },
    { "a PING that answers nothing", f(h2.PING, h2.ACK, 0, "12345678") },
    { "PRIORITY of an idle stream", f(h2.PRIORITY, 0, 7, "\0\0\0\0\16") .. fields(h2.request("GET", "/")) },
    { "HEADERS with a priority", f(h2.HEADERS, HEAD_END + h2.WITH_PRIORITY, 1, "\0\0\0\0\16" .. GET) },
    { "padded HEADERS", f(h2.HEADERS, HEAD_END + h2.PADDED, 1, "\4" .. GET .. "\0\0\0\0") },
    { "padded HEADERS with a priority", f(h2.HEADERS, HEAD_END + h2.PADDED + h2.WITH_PRIORITY, 1,
        "\4\0\0\0\0\16" .. GET .. "\0\0\0\0") },
    { "padded DATA", post(f(h2.DATA, h2.PADDED + h2.END_STREAM, 1, "\3hello\0\0\0"), "5"), body = "hello" },
    { "DATA of nothing but padding", post(f(h2.DATA, h2.PADDED + h2.END_STREAM, 1, "\3\0\0\0"), "0") },
    { "empty DATA before the end", post(f(h2.DATA, 0, 1, "") .. f(h2.DATA, 1, 1, "hello"), "5"), body = "hello" },
    { "one CONTINUATION", f(h2.HEADERS, 1, 1, GET:sub(1, 9)) .. f(h2.CONTINUATION, 4, 1, GET:sub(10)) },
    { "CONTINUATIONs", f(h2.HEADERS, 1, 1, GET) .. f(h2.CONTINUATION, 0, 1, h2.literal("x", "y"))
        .. f(h2.CONTINUATION, 4, 1, h2.literal("y", "z")) },
    { "an empty CONTINUATION at the end", f(h2.HEADERS, 1, 1, GET) .. f(h2.CONTINUATION, 4, 1, "") },
    { "trailers", post(f(h2.DATA, 0, 1, "hello") .. f(h2.HEADERS, HEAD_END, 1, h2.literal("x", "y")), "5"), body = "hello" },
    { "a change of the table's size before the fields", f(h2.HEADERS, HEAD_END, 1, "\32" .. GET) },
    { "fields of the static table", f(h2.HEADERS, HEAD_END, 1, "\130\134\132\65\1a") },
    { "Huffman coding", f(h2.HEADERS, HEAD_END, 1, "\130\134\132\65\140\241\227\194\229\242\58\107\160\171\144\244\255") },
    { "a field of the dynamic table", f(h2.HEADERS, HEAD_END, 1, "\130\134\132\65\1a\64\1x\1y\190") },
    { "te: trailers", pseudo({}, { { "te", "trailers" } }) },
    { "host in place of :authority", pseudo({ [":authority"] = false }, { { "host", "a" } }) },
    { "host that is the :authority", pseudo({}, { { "host", "a" } }) },
    { "OPTIONS of all", pseudo { [":method"] = "OPTIONS", [":path"] = "*" } },
    { "a method of its own", pseudo { [":method"] = "BREW" } },
    { "an empty value", pseudo({}, { { "x", "" } }) },
    { "a value over 127", pseudo({}, { { "x", "\195\164" } }) },
    { "WINDOW_UPDATE of the most", f(h2.WINDOW_UPDATE, 0, 0, h2.u32(0x7fffffff - 65535)) },
    { "a largest frame", post(f(h2.DATA, 1, 1, ("x"):rep(16384)), "16384"), body = ("x"):rep(16384) },
}

describe("proxy, conformance of HTTP/2", function()
    local w

    setup(function()
        w = proxied.start { route = { max_retries = 0 } }
    end)

    teardown(function()
        w = proxied.finish(w)
    end)

    -- Whether another connection is served: the worker lives.
    local function others_served()
        local c = h2.client(w.port):start()
        c:get(1, "/other")
        local u = w:accept(1)
        assert.matches("^GET /other ", (u:read_head()))
        u:ok "other"
        u:close()
        local a = assert(c:answer(1))
        c:close()
        return a.body == "other"
    end

    local function one_of(value, list)
        for _, expected in ipairs(list) do
            if value == expected then
                return true
            end
        end
        return false
    end

    for i, case in ipairs(connection_errors) do
        it(("ends the connection (%d): %s"):format(i, case[1]), function()
            local c = h2.client(w.port)
            if case.raw then
                c:send(case.raw)
            else
                c:start()
                c:send(case[2])
            end
            local ending = c:ending()
            local allowed = { unpack(case, case.raw and 2 or 3) }
            assert.is_true(one_of(ending, allowed), "it ended with " .. tostring(ending))
            c:close()
        end)
    end

    it("serves others behind all these", function()
        -- Those cases that began a request had it taken back.
        w.servers[1]:settimeout(0)
        while w.servers[1]:accept() do end
        assert.is_true(others_served())
    end)

    for i, case in ipairs(stream_errors) do
        it(("ends the stream (%d): %s"):format(i, case[1]), function()
            local c = h2.client(w.port):start()
            c:send(case[2])
            local outcome = "fine"
            if case[3] ~= "fine" then
                local frame = c:await(function(frame)
                    return frame.stream == 1 or frame.type == h2.GOAWAY
                end)
                outcome = frame and (frame.error or tonumber(frame.fields[":status"]))
                assert.is_true(frame ~= nil and (frame.type ~= h2.GOAWAY or case.connection == frame.error),
                    "the connection ended")
            end
            assert.is_true(one_of(outcome, { unpack(case, 3) }), "it came to " .. tostring(outcome))
            if not case.begun then
                assert.is_true(w:unwanted(1), "it reached the backend")
            end
            if not case.connection then
                assert.is_true(c:alive())
            end
            c:close()
            w.servers[1]:settimeout(0)
            while w.servers[1]:accept() do end
        end)
    end

    for i, case in ipairs(borne) do
        it(("bears (%d): %s"):format(i, case[1]), function()
            local c = h2.client(w.port):start()
            c:send(case[2])
            if case[2]:find(GET, 1, true) or case[2]:byte(4) == h2.HEADERS or case[1]:find "idle" then
                local u = w:accept(1)
                u:read_head()
                if case.body then
                    assert.equal(case.body, u:read(#case.body))
                end
                u:ok "fine"
                local a = assert(c:answer(1))
                assert.same({ 200, "fine" }, { a.status, a.body })
                u:close()
            end
            assert.is_true(c:alive())
            c:close()
        end)
    end

    it("answers what is nearly a preface by HTTP/1, and what turns out to be none not at all", function()
        local c = w:client()
        c:send "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"
        assert.equal(505, (c:answer()))
        c:close()
        c = h2.client(w.port)
        c:send(h2.PREFACE:sub(1, 16))
        c:frame() -- our SETTINGS: it is taken for HTTP/2
        c:send "\r\nXX\r\n\r\n"
        assert.equal(h2.PROTOCOL_ERROR, c:ending())
    end)

    it("refuses a stream below one that was", function()
        local c = h2.client(w.port):start()
        c:get(5)
        local u = w:accept(1)
        u:read_head()
        u:ok "fine"
        assert.equal("fine", c:answer(5).body)
        u:close()
        c:get(9)
        u = w:accept(1)
        c:get(7)
        assert.equal(h2.PROTOCOL_ERROR, c:ending())
        u:close()
    end)

    it("refuses more of a request that has ended", function()
        for _, more in ipairs { f(h2.DATA, 1, 1, "x"), f(h2.HEADERS, HEAD_END, 1, h2.literal("x", "y")) } do
            local c = h2.client(w.port):start()
            c:get(1)
            local u = w:accept(1)
            u:read_head()
            c:send(more)
            local frame = c:await(function(frame)
                return frame.type == h2.RST_STREAM or frame.type == h2.GOAWAY
            end)
            assert.equal(h2.STREAM_CLOSED, frame.error)
            u:close()
            c:close()
        end
    end)

    it("acknowledges SETTINGS, and obeys them", function()
        local c = h2.client(w.port):start { { 4, 3 } }
        local acks = 0
        c.deaf = true
        c:get(1)
        local u = w:accept(1)
        u:read_head()
        u:ok "hello world"
        local sizes = {}
        while #sizes < 1 or acks < 1 do
            local frame = assert(c:frame())
            acks = acks + ((frame.type == h2.SETTINGS and frame.flags == h2.ACK) and 1 or 0)
            sizes[#sizes + 1] = frame.type == h2.DATA and #frame.payload or nil
        end
        assert.same({ 3 }, sizes)
        -- A larger window for all streams lets this one go on; a smaller one makes it owe.
        c:send(f(h2.SETTINGS, 0, 0, setting(4, 5)))
        local data = c:await(function(frame) return frame.type == h2.DATA end)
        assert.equal(2, #data.payload)
        c:send(f(h2.SETTINGS, 0, 0, setting(4, 1)))
        c:send(f(h2.WINDOW_UPDATE, 0, 1, h2.u32(4)))
        assert.is_true(c:alive()) -- 1 + 4 - 5: none yet
        c:send(f(h2.WINDOW_UPDATE, 0, 1, h2.u32(100)))
        data = c:await(function(frame) return frame.type == h2.DATA end)
        assert.equal(" world", data.payload)
        c:close()
        u:close()
    end)

    it("sends no frame longer than the client allows, and keeps the window of the connection", function()
        local c = h2.client(w.port):start { { 4, 1000000 } }
        c:get(1)
        local u = w:accept(1)
        u:read_head()
        u:ok(("x"):rep(200000))
        local size = 0
        while size < 65535 do
            local frame = assert(c:frame())
            size = size + (frame.type == h2.DATA and #frame.payload or 0)
            assert.is_true(#frame.payload <= 16384)
        end
        assert.equal(65535, size)
        assert.is_true(c:alive())
        c:send(f(h2.WINDOW_UPDATE, 0, 0, h2.u32(200000)))
        local a = assert(c:answer(1, false))
        assert.equal(200000 - 65535, #a.body)
        c:close()
        u:close()
    end)

    it("goes on with streams behind a GOAWAY of the client's", function()
        local c = h2.client(w.port):start()
        c:get(1)
        local u = w:accept(1)
        u:read_head()
        c:send(f(h2.GOAWAY, 0, 0, h2.u32(0) .. h2.u32(0)))
        u:ok "fine"
        assert.equal("fine", c:answer(1).body)
        u:close()
        c:close()
    end)

    it("takes a request byte by byte", function()
        local c = h2.client(w.port)
        local bytes = h2.PREFACE .. f(h2.SETTINGS, 0, 0) .. post(f(h2.DATA, 1, 1, "hello"), "5")
        for i = 1, #bytes do
            c:send(bytes:sub(i, i))
        end
        local u = w:accept(1)
        u:read_head()
        assert.equal("hello", u:read(5))
        u:ok "fine"
        assert.equal("fine", c:answer(1).body)
        u:close()
        c:close()
    end)

    it("serves others behind all of it", function()
        w.servers[1]:settimeout(0)
        while w.servers[1]:accept() do end
        assert.is_true(others_served())
        proxied.eventually(function() return w:numbers().connections == 0 end)
        assert.equal(0, tonumber(w:row(1).in_flight))
    end)
end)
