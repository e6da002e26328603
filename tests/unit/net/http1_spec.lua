-- The HTTP/1 codec over raw bytes: what it accepts and how it reads it, what it refuses and with
-- which status, and that no place where the bytes may be cut changes either.
local C, ffi = require("ffi_room").load("base/str.h", "net/http1.h")

local head = ffi.new "struct http1_head"
local used = ffi.new "size_t[1]"
local status = ffi.new "int[1]"

local function S(text)
    return ffi.new("struct str", text, #text)
end

local function text(s)
    return s.ptr ~= nil and ffi.string(s.ptr, s.len) or nil
end

local framings = { none = C.HTTP1_NO_BODY, length = C.HTTP1_LENGTH, chunked = C.HTTP1_CHUNKED,
    close = C.HTTP1_UNTIL_CLOSE }

local function name_of(framing)
    for name, value in pairs(framings) do
        if value == tonumber(framing) then
            return name
        end
    end
end

local function model()
    local m = {
        method = text(head.method_text), target = text(head.target), path = text(head.path),
        query = text(head.query), host = text(head.host), minor = head.minor, status = head.status,
        reason = text(head.reason), framing = name_of(head.framing), keep = head.keep_alive,
        length = head.has_content_length and tonumber(head.content_length) or nil,
        expect = head.expect_continue, upgrade = head.upgrade, fields = {}, hops = {},
    }
    for i = 0, tonumber(head.field_count) - 1 do
        local f = head.fields[i]
        m.fields[#m.fields + 1] = text(f.name) .. "=" .. text(f.value)
        if f.hop then
            m.hops[#m.hops + 1] = text(f.name):lower()
        end
    end
    m.hops = table.concat(m.hops, " ")
    m.fields = table.concat(m.fields, "|")
    return m
end

-- "GET / HTTP/1.1\nHost: a\n\n" with real line ends.
local function crlf(s)
    return (s:gsub("\n", "\r\n"))
end

local function request(bytes)
    local result = tonumber(C.http1_parse_request(S(bytes), head, used, status))
    return result, result == tonumber(C.HTTP1_BAD) and status[0] or nil
end

local function response(bytes, method)
    return tonumber(C.http1_parse_response(S(bytes), method or C.HTTP1_GET, head, used))
end

local DONE, MORE, BAD = tonumber(C.HTTP1_DONE), tonumber(C.HTTP1_MORE), tonumber(C.HTTP1_BAD)

local good_requests = {
    { "GET / HTTP/1.1\nHost: a\n\n", { method = "GET", target = "/", path = "/", host = "a", minor = 1, framing = "none", keep = true } },
    { "\nGET / HTTP/1.1\nHost: a\n\n", { method = "GET" } },
    { "GET /p?q=1&r HTTP/1.1\nHost: a\n\n", { path = "/p", query = "q=1&r" } },
    { "GET /p? HTTP/1.1\nHost: a\n\n", { path = "/p", query = "" } },
    { "GET //x/../y HTTP/1.1\nHost: a\n\n", { path = "//x/../y" } },
    { "GET / HTTP/1.0\n\n", { minor = 0, host = "", keep = false } },
    { "GET / HTTP/1.0\nConnection: keep-alive\n\n", { keep = true, hops = "connection" } },
    { "GET / HTTP/1.0\nConnection: Keep-Alive, close\n\n", { keep = false } },
    { "GET / HTTP/1.1\nHost: a\nConnection: close\n\n", { keep = false } },
    { "GET / HTTP/1.1\nHost: a\nConnection: x-y , CLOSE\nX-Y: 1\n\n", { keep = false, hops = "connection x-y" } },
    { "GET / HTTP/1.1\nHost: a\nConnection: host, content-length\n\n", { hops = "connection" } },
    { "GET / HTTP/1.1\nHost: a\nConnection: ,,\n\n", { keep = true } },
    { "GET / HTTP/1.1\nHost: a\nConnection: x-a\nX-A: 1\nConnection: x-b\nX-B: 2\nX-C: 3\n\n", { hops = "connection x-a connection x-b" } },
    { "GET / HTTP/1.1\nHost: a\nKeep-Alive: 5\nProxy-Connection: k\nTE: trailers\nTrailer: x\n\n", { hops = "keep-alive proxy-connection te trailer" } },
    { "GET http://b.example:81/p?q HTTP/1.1\nHost: a\n\n", { host = "b.example:81", path = "/p", query = "q" } },
    { "GET http://b.example HTTP/1.1\nHost: a\n\n", { host = "b.example", path = "/" } },
    { "GET HTTPS://b?x HTTP/1.1\nHost: a\n\n", { host = "b", path = "/", query = "x" } },
    { "OPTIONS * HTTP/1.1\nHost: a\n\n", { path = "*", method = "OPTIONS" } },
    { "CONNECT a.example:443 HTTP/1.1\nHost: a\n\n", { host = "a.example:443", method = "CONNECT" } },
    { "get / HTTP/1.1\nHost: a\n\n", { method = "get" } },
    { "M-SEARCH / HTTP/1.1\nHost: a\n\n", { method = "M-SEARCH" } },
    { "POST / HTTP/1.1\nHost: a\nContent-Length: 3\n\n", { framing = "length", length = 3 } },
    { "POST / HTTP/1.1\nHost: a\nContent-Length: 0\n\n", { framing = "none", length = 0 } },
    { "POST / HTTP/1.1\nHost: a\nContent-Length: 007\n\n", { framing = "length", length = 7 } },
    { "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n", { framing = "chunked", hops = "transfer-encoding" } },
    { "POST / HTTP/1.1\nHost: a\ntransfer-encoding:\tChunked \n\n", { framing = "chunked" } },
    { "POST / HTTP/1.1\nHost: a\nExpect: 100-Continue\nContent-Length: 1\n\n", { expect = true } },
    { "GET / HTTP/1.1\nHost: a\nConnection: Upgrade\nUpgrade: websocket\n\n", { upgrade = true, hops = "connection upgrade" } },
    { "GET / HTTP/1.1\nHost: a\nUpgrade: websocket\n\n", { upgrade = false } },
    { "GET / HTTP/1.1\nHost: [::1]:80\n\n", { host = "[::1]:80" } },
    { "GET / HTTP/1.1\nHost:  a  \nX:\n\n", { host = "a", fields = "Host=a|X=" } },
    { "GET / HTTP/1.1\nHost: a\nX: \xc3\xa4 \t b\n\n", { fields = "Host=a|X=\xc3\xa4 \t b" } },
    { "GET / HTTP/1.1\nHost: a\nX: 0123456789abcdef0123456789abcdef0\n\n", { fields = "Host=a|X=0123456789abcdef0123456789abcdef0" } },
}

local bad_requests = {
    { "GET / HTTP/1.1\n\n", 400 },
    { "GET / HTTP/1.1\nHost: a\nHost: a\n\n", 400 },
    { "GET / HTTP/1.1\nHost: a b\n\n", 400 },
    { "GET / HTTP/1.1\nHost:\n\n", 400 },
    { "GET / HTTP/1.1\nHost: a/b\n\n", 400 },
    { "GET / HTTP/1.1\nHost: u@a\n\n", 400 },
    { "GET / HTTP/1.1\nHost: a:b\n\n", 400 },
    { "GET / HTTP/1.1\nHost: a:123456\n\n", 400 },
    { "GET / HTTP/1.1\nHost: [::1\n\n", 400 },
    { "GET / HTTP/1.1\nHost: a,b\n\n", 400 },
    { "GET http://u@b/ HTTP/1.1\nHost: a\n\n", 400 },
    { "GET http:///x HTTP/1.1\nHost: a\n\n", 400 },
    { "GET ftp://b/ HTTP/1.1\nHost: a\n\n", 400 },
    { "GET a HTTP/1.1\nHost: a\n\n", 400 },
    { "GET * HTTP/1.1\nHost: a\n\n", 400 },
    { "CONNECT / HTTP/1.1\nHost: a\n\n", 400 },
    { "GET /#f HTTP/1.1\nHost: a\n\n", 400 },
    { "GET /\x7f HTTP/1.1\nHost: a\n\n", 400 },
    { "GET /\xc3\xa4 HTTP/1.1\nHost: a\n\n", 400 },
    { "GET /\t HTTP/1.1\nHost: a\n\n", 400 },
    { "GET /a b HTTP/1.1\nHost: a\n\n", 400 },
    { "GET  / HTTP/1.1\nHost: a\n\n", 400 },
    { "GET /  HTTP/1.1\nHost: a\n\n", 400 },
    { "GET / HTTP/1.1 \nHost: a\n\n", 400 },
    { " GET / HTTP/1.1\nHost: a\n\n", 400 },
    { "\n\nGET / HTTP/1.1\nHost: a\n\n", 400 },
    { "G@T / HTTP/1.1\nHost: a\n\n", 400 },
    { "GET /\n\n", 400 },
    { "GET / http/1.1\nHost: a\n\n", 400 },
    { "GET / HTTP/1.10\nHost: a\n\n", 400 },
    { "GET / HTTP/11\nHost: a\n\n", 400 },
    { "GET / HTTP/1.2\nHost: a\n\n", 505 },
    { "GET / HTTP/2.0\nHost: a\n\n", 505 },
    { "GET / HTTP/0.9\nHost: a\n\n", 505 },
    { "PRI * HTTP/2.0\n\nSM\n\n", 505 },
    { "GET / HTTP/1.1\nHost : a\n\n", 400 },
    { "GET / HTTP/1.1\n Host: a\n\n", 400 },
    { "GET / HTTP/1.1\nHost: a\nX: 1\n 2\n\n", 400 },
    { "GET / HTTP/1.1\nHost: a\n: 1\n\n", 400 },
    { "GET / HTTP/1.1\nHost: a\nX\n\n", 400 },
    { "GET / HTTP/1.1\nHost: a\nX[: 1\n\n", 400 },
    { "GET / HTTP/1.1\nHost: a\nX: a\1b\n\n", 400 },
    { "GET / HTTP/1.1\nHost: a\nX: a\0b\n\n", 400 },
    { "GET / HTTP/1.1\nHost: a\nConnection: a b\n\n", 400 },
    { "GET / HTTP/1.1\nHost: a\nConnection: " .. ("x,"):rep(40) .. "\n\n", 400 },
    { "POST / HTTP/1.1\nHost: a\nContent-Length: 3\nContent-Length: 3\n\n", 400 },
    { "POST / HTTP/1.1\nHost: a\nContent-Length: 3, 3\n\n", 400 },
    { "POST / HTTP/1.1\nHost: a\nContent-Length: +3\n\n", 400 },
    { "POST / HTTP/1.1\nHost: a\nContent-Length: -3\n\n", 400 },
    { "POST / HTTP/1.1\nHost: a\nContent-Length: 0x3\n\n", 400 },
    { "POST / HTTP/1.1\nHost: a\nContent-Length:\n\n", 400 },
    { "POST / HTTP/1.1\nHost: a\nContent-Length: 3 3\n\n", 400 },
    { "POST / HTTP/1.1\nHost: a\nContent-Length: 18446744073709551616\n\n", 400 },
    { "POST / HTTP/1.1\nHost: a\nContent-Length: 3\nTransfer-Encoding: chunked\n\n", 400 },
    { "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\nContent-Length: 3\n\n", 400 },
    { "POST / HTTP/1.0\nTransfer-Encoding: chunked\n\n", 400 },
    { "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\nTransfer-Encoding: chunked\n\n", 400 },
    { "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked, chunked\n\n", 400 },
    { "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked, identity\n\n", 400 },
    { "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: identity\n\n", 400 },
    { "POST / HTTP/1.1\nHost: a\nTransfer-Encoding:\n\n", 400 },
    { "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked;x\n\n", 400 },
    { "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: \"chunked\"\n\n", 400 },
    { "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: gzip\n\n", 501 },
    { "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: xchunked\n\n", 501 },
    { "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: gzip, chunked\n\n", 501 },
    { "GET / HTTP/1.1\nHost: a\nExpect: something\n\n", 417 },
    { "GET / HTTP/1.1\nHost: a\n" .. ("X: y\n"):rep(100) .. "\n", 431 },
    { "GET / HTTP/1.1\nHost: a\nX: " .. ("y"):rep(17000) .. "\n\n", 431 },
    { "GET /" .. ("y"):rep(17000) .. " HTTP/1.1\nHost: a\n\n", 414 },
}

-- Line ends that are not CRLF, sent as they stand.
local bad_raw = {
    "GET / HTTP/1.1\nHost: a\n\n",
    "GET / HTTP/1.1\r\nHost: a\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\n\n",
    "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\n\rX",
    "GET / HTTP/1.1\rHost: a\r\n\r\n",
    "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "\0GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "\x16\x03\x01\x02\x00\x01",
}

local good_responses = {
    { "HTTP/1.1 200 OK\nContent-Length: 5\n\n", { status = 200, reason = "OK", framing = "length", length = 5, keep = true } },
    { "HTTP/1.1 200 \nContent-Length: 0\n\n", { reason = "", framing = "none" } },
    { "HTTP/1.1 200\nContent-Length: 0\n\n", { status = 200, reason = "" } },
    { "HTTP/1.1 404 Not \xe4 Found\nContent-Length: 0\n\n", { reason = "Not \xe4 Found" } },
    { "HTTP/1.1 200 OK\n\n", { framing = "close", keep = false } },
    { "HTTP/1.0 200 OK\n\n", { framing = "close", keep = false, minor = 0 } },
    { "HTTP/1.0 200 OK\nContent-Length: 2\nConnection: keep-alive\n\n", { framing = "length", keep = true } },
    { "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", { framing = "chunked", keep = true } },
    { "HTTP/1.1 204 No Content\n\n", { framing = "none", keep = true } },
    { "HTTP/1.1 304 Not Modified\nContent-Length: 9\n\n", { framing = "none", length = 9, keep = true } },
    { "HTTP/1.1 100 Continue\n\n", { framing = "none", status = 100 } },
    { "HTTP/1.1 101 S\nConnection: upgrade\nUpgrade: websocket\n\n", { framing = "none", upgrade = true } },
    { "HTTP/1.1 200 OK\nContent-Length: 9\n\n", { framing = "none", length = 9, keep = true }, "HEAD" },
    { "HTTP/1.1 200 OK\n\n", { framing = "none", keep = true }, "HEAD" },
    { "HTTP/1.1 200 OK\nConnection: close, X-A\nX-A: 1\nContent-Length: 1\n\n", { keep = false, hops = "connection x-a" } },
}

local bad_responses = {
    "HTTP/1.1 2000 OK\n\n", "HTTP/1.1 20 OK\n\n", "HTTP/1.1 099 OK\n\n", "HTTP/1.1 600 OK\n\n",
    "HTTP/1.1  200 OK\n\n", "HTTP/1.1 200\tOK\n\n", "HTTP/2.0 200 OK\n\n", "HTTP/1.2 200 OK\n\n",
    "http/1.1 200 OK\n\n", "200 OK\n\n", "\nHTTP/1.1 200 OK\n\n", "HTTP/1.1 200 O\0K\n\n",
    "HTTP/1.1 200 OK\nX : 1\n\n", "HTTP/1.1 200 OK\nX: 1\n 2\n\n",
    "HTTP/1.1 200 OK\nContent-Length: 1\nContent-Length: 1\n\n",
    "HTTP/1.1 200 OK\nContent-Length: 1, 1\n\n", "HTTP/1.1 200 OK\nContent-Length: abc\n\n",
    "HTTP/1.1 200 OK\nContent-Length: 1\nTransfer-Encoding: chunked\n\n",
    "HTTP/1.1 200 OK\nTransfer-Encoding: gzip\n\n", "HTTP/1.0 200 OK\nTransfer-Encoding: chunked\n\n",
    "HTTP/1.1 200 OK\n" .. ("X: y\n"):rep(101) .. "\n",
    "HTTP/1.1 200 OK\nX: " .. ("y"):rep(17000) .. "\n\n",
}

local function matches(wanted, got, case)
    for key, value in pairs(wanted) do
        assert.equal(value, got[key], ("%s of %q"):format(key, case))
    end
end

describe("net/http1 requests", function()
    for i, case in ipairs(good_requests) do
        it("accepts " .. i .. " " .. case[1]:gsub("\n", "|"):sub(1, 60), function()
            local bytes = crlf(case[1])
            assert.equal(DONE, request(bytes .. "NEXT"))
            assert.equal(#bytes, tonumber(used[0]))
            matches(case[2], model(), case[1])
        end)
    end
    for i, case in ipairs(bad_requests) do
        it("refuses " .. i .. " with " .. case[2] .. " " .. case[1]:gsub("[%c]", "|"):sub(1, 60), function()
            local result, code = request(crlf(case[1]))
            assert.equal(BAD, result)
            assert.equal(case[2], code)
        end)
    end
    for i, bytes in ipairs(bad_raw) do
        it("refuses wrong line ends " .. i, function()
            local result, code = request(bytes)
            assert.equal(BAD, result)
            assert.equal(400, code)
        end)
    end

    it("reads the same wherever the bytes are cut", function()
        for _, case in ipairs(good_requests) do
            local bytes = crlf(case[1])
            for cut = 0, #bytes - 1 do
                assert.equal(MORE, (request(bytes:sub(1, cut))), cut .. " of " .. case[1])
            end
        end
        for _, case in ipairs(bad_requests) do
            local bytes = crlf(case[1])
            if #bytes < 1000 then
                local refused = false
                for cut = 0, #bytes do
                    local result, code = request(bytes:sub(1, cut))
                    assert.is_true(result == BAD or (result == MORE and not refused))
                    refused = refused or result == BAD
                    assert.is_true(not refused or code == case[2], case[1])
                end
                assert.is_true(refused)
            end
        end
    end)

    it("takes the longest head that is allowed and no longer", function()
        local rest = crlf "GET / HTTP/1.1\nHost: a\nX: " .. "%s\r\n\r\n"
        local room = C.LIMIT_HEAD_BYTES - #rest + 2
        assert.equal(DONE, (request((rest:gsub("%%s", ("y"):rep(room))))))
        assert.equal(C.LIMIT_HEAD_BYTES, tonumber(used[0]))
        local result, code = request((rest:gsub("%%s", ("y"):rep(room + 1))))
        assert.equal(BAD, result)
        assert.equal(431, code)
    end)

    it("knows fields by any case", function()
        request(crlf "GET / HTTP/1.1\nHOST: a\nx-ReQuest-ID: 7\nX-Other: 8\n\n")
        assert.equal("7", text(C.http1_find(head, C.HTTP1_X_REQUEST_ID).value))
        assert.equal("8", text(C.http1_find_name(head, "x-other").value))
        assert.is_true(C.http1_find(head, C.HTTP1_VIA) == nil)
    end)
end)

describe("net/http1 responses", function()
    for i, case in ipairs(good_responses) do
        it("accepts " .. i .. " " .. case[1]:gsub("\n", "|"):sub(1, 60), function()
            local bytes = crlf(case[1])
            local method = case[3] == "HEAD" and C.HTTP1_HEAD or C.HTTP1_GET
            assert.equal(DONE, response(bytes .. "body", method))
            assert.equal(#bytes, tonumber(used[0]))
            matches(case[2], model(), case[1])
            for cut = 0, #bytes - 1 do
                assert.equal(MORE, response(bytes:sub(1, cut), method), cut .. " of " .. case[1])
            end
        end)
    end
    for i, case in ipairs(bad_responses) do
        it("refuses " .. i .. " " .. case:gsub("%c", "|"):sub(1, 60), function()
            assert.equal(BAD, response(crlf(case)))
        end)
    end
end)

-- Decodes in steps of at most `step` bytes; body or nil, bytes consumed.
local function decode(bytes, step)
    local c = ffi.new "struct http1_chunks"
    local data = ffi.new "struct str[1]"
    local body, at = {}, 0
    while at < #bytes and not c.done do
        local part = bytes:sub(at + 1, at + step)
        local from = 0
        while from < #part and not c.done do
            local rest = part:sub(from + 1)
            if C.http1_chunks_next(c, S(rest), data, used) ~= 0 then
                return nil
            end
            body[#body + 1] = text(data[0]) or ""
            from = from + tonumber(used[0])
        end
        at = at + from
    end
    return c.done and table.concat(body) or false, at
end

describe("net/http1 chunks", function()
    local good = {
        { "0\n\n", "" }, { "3\nabc\n0\n\n", "abc" }, { "A\n0123456789\n1\nx\n0\n\n", "0123456789x" },
        { "003;a=b;c=\"d e\"\nabc\n0;x\n\n", "abc" }, { "2\n\n\n0\n\n", "\r\n" },
        { "1\na\n0\nX-Trailer: 1\nY:\n\n", "a" }, { "000000000000001\na\n0\n\n", "a" },
    }
    local bad = {
        "\n", "g\n", "-1\na\n0\n\n", "0x1\na\n0\n\n", "1 \na\n0\n\n", " 1\na\n0\n\n", "1\nab\n0\n\n",
        "0000000000000001\na\n0\n\n", "fffffffffffffffff\n", "1;\1\na\n0\n\n", "1\na\n0\nX : 1\n\n",
        "1\na\n0\n X: 1\n\n", "1\na\n0\n: 1\n\n", "1\na\n0\nX\n\n", "1\na0\n\n",
        "1;" .. ("x"):rep(9000) .. "\na\n0\n\n", "0\nX: " .. ("y"):rep(9000) .. "\n\n",
    }
    local raw = { "1\na\r\n0\r\n\r\n", "1\r\na\n0\r\n\r\n", "1\r\na\r\n0\n\r\n", "1\r\na\r\n0\r\n\n",
        "1\r\na\r\n0\r\n\rX", "1;a\nb\r\na\r\n0\r\n\r\n", "1;a\rb\r\na\r\n0\r\n\r\n", "1\rX" }

    it("decodes the same in steps of any size", function()
        for _, case in ipairs(good) do
            local bytes = crlf(case[1])
            for step = 1, #bytes + 4 do
                local body, at = decode(bytes .. "NEXT", step)
                assert.equal(case[2], body, case[1])
                assert.equal(#bytes, at)
            end
            for cut = 0, #bytes - 1 do
                assert.is_false((decode(bytes:sub(1, cut), 64)))
            end
        end
    end)
    it("refuses what is not strictly chunked", function()
        for _, case in ipairs(bad) do
            assert.is_nil((decode(crlf(case), 1e6)), case)
            assert.is_nil((decode(crlf(case), 1)), case)
        end
        for _, case in ipairs(raw) do
            assert.is_nil((decode(case, 1e6)), case)
        end
    end)
end)

describe("net/http1 trailers", function()
    -- Fields of the section that the decoder says is there.
    local function trailers(bytes, step)
        local c, data = ffi.new "struct http1_chunks", ffi.new "struct str[1]"
        local section, at = "", 0
        while at < #bytes and not c.done do
            local part, before = bytes:sub(at + 1, at + step), c.trailers
            if C.http1_chunks_next(c, S(part), data, used) ~= 0 then
                return nil
            end
            local n = tonumber(used[0])
            if before then
                assert.equal(0, tonumber(data[0].len))
                section = section .. part:sub(1, n)
            end
            at = at + n
        end
        assert.is_true(c.done)
        assert.equal(0, C.http1_parse_trailers(S(section), head))
        local got = {}
        for i = 0, head.field_count - 1 do
            got[#got + 1] = text(head.fields[i].name) .. "=" .. text(head.fields[i].value)
        end
        return table.concat(got, " ")
    end

    it("are found and parsed however they are cut", function()
        local cases = {
            { "0\n\n", "" }, { "1\na\n0;x\nX-T: 1\n\n", "X-T=1" }, { "0\nA:1\nB:\t\nA: 2 \n\n", "A=1 B= A=2" },
            { "0\n" .. ("A:\n"):rep(100) .. "\n", (("A="):rep(100, " ")) },
        }
        for _, case in ipairs(cases) do
            for _, step in ipairs { 1, 2, 3, 7, 1e6 } do
                assert.equal(case[2], trailers(crlf(case[1]), step))
            end
        end
    end)
    it("are limited", function()
        assert.is_nil(trailers(crlf("0\n" .. ("A:\n"):rep(101) .. "\n"), 1e6))
        assert.is_nil(trailers(crlf("0\n" .. ("A: " .. ("x"):rep(100) .. "\n"):rep(90) .. "\n"), 1e6))
    end)
    it("are not parsed when they are not whole", function()
        for _, section in ipairs { "", "\r", "X: 1\r\n", "X: 1\r\n\r\nY", "X : 1\r\n\r\n" } do
            assert.is_true(C.http1_parse_trailers(S(section), head) ~= 0, section)
        end
    end)
end)

describe("net/http1 tables", function()
    it("tells reasons and what may be repeated", function()
        assert.equal("Bad Gateway", ffi.string(C.http1_reason(502)))
        assert.equal("", ffi.string(C.http1_reason(599)))
        assert.is_true(C.http1_idempotent(C.HTTP1_PUT))
        assert.is_false(C.http1_idempotent(C.HTTP1_POST))
        assert.is_false(C.http1_idempotent(C.HTTP1_METHOD_OTHER))
    end)
end)
