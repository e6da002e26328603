-- The proxy as an intermediary, by raw bytes: what must be refused and never reach a backend, what must
-- arrive there and how, and what a client gets of a backend's answers. In cases "\n" is CRLF; "\r\n" in
-- cases marked raw is what it says.
local proxied = require "proxied"

local function crlf(text)
    return (text:gsub("\n", "\r\n"))
end

local function get(fields, line)
    return (line or "GET / HTTP/1.1") .. "\nHost: a\n" .. (fields or "") .. "\n"
end

local function post(fields, body)
    return get(fields, "POST / HTTP/1.1") .. (body or "")
end

local CHUNKED = "Transfer-Encoding: chunked\n"

-- Status, request. A second request follows each of them: it must never be seen.
local refused = {
    -- The request line.
    { 400, get("", "GET  / HTTP/1.1") }, { 400, get("", "GET /  HTTP/1.1") }, { 400, get("", "GET / HTTP/1.1 ") },
    { 400, get("", " GET / HTTP/1.1") }, { 400, get("", "GET\t/ HTTP/1.1") }, { 400, get("", "GET /") },
    { 400, get("", "GET") }, { 400, get("", "GET HTTP/1.1") }, { 400, get("", "GET / HTTP/1.1 x") },
    { 400, get("", "GET / HTTP/x.1") }, { 400, get("", "GET / HTTP/1.1.1") }, { 400, get("", "GET / HTTP/01.1") },
    { 400, get("", "GET / HTTP 1.1") }, { 400, get("", "GET / http/1.1") }, { 400, get("", "GET / XTTP/1.1") },
    { 505, get("", "GET / HTTP/1.9") }, { 505, get("", "GET / HTTP/2.0") }, { 505, get("", "GET / HTTP/3.0") },
    { 400, get("", "GE(T / HTTP/1.1") }, { 400, get("", "GE\0T / HTTP/1.1") }, { 400, get("", "G\195\132T / HTTP/1.1") },
    { 400, get("", "GET x HTTP/1.1") }, { 400, get("", "GET ?a HTTP/1.1") }, { 400, get("", "GET /a#b HTTP/1.1") },
    { 400, get("", "GET /\0 HTTP/1.1") }, { 400, get("", "GET /\127 HTTP/1.1") }, { 400, get("", "GET /\255 HTTP/1.1") },
    { 400, get("", "GET * HTTP/1.1") }, { 400, get("", "GET a:80 HTTP/1.1") }, { 400, get("", "GET ftp://a/ HTTP/1.1") },
    { 400, get("", "GET http:// HTTP/1.1") }, { 400, get("", "GET http://u:p@a/ HTTP/1.1") },
    { 400, get("", "CONNECT / HTTP/1.1") }, { 405, get("", "CONNECT a:443 HTTP/1.1") },
    { 414, get("", "GET /" .. ("x"):rep(20000) .. " HTTP/1.1") },
    { 405, get("Max-Forwards: 0\n", "TRACE / HTTP/1.1") },
    -- Host.
    { 400, "GET / HTTP/1.1\n\n" }, { 400, get "Host: a\n" }, { 400, get "Host: b\n" }, { 400, get "host: b\n" },
    { 400, "GET / HTTP/1.1\nHost:\n\n" }, { 400, "GET / HTTP/1.1\nHost: a b\n\n" },
    { 400, "GET / HTTP/1.1\nHost: a, b\n\n" }, { 400, "GET / HTTP/1.1\nHost: a/b\n\n" },
    { 400, "GET / HTTP/1.1\nHost: u@a\n\n" }, { 400, "GET / HTTP/1.1\nHost: a:x\n\n" },
    { 400, "GET / HTTP/1.1\nHost: a\\b\n\n" }, { 400, "GET / HTTP/1.1\nHost: [::1\n\n" },
    -- Field lines.
    { 400, "GET / HTTP/1.1\nHost : a\n\n" }, { 400, get "X : 1\n" }, { 400, get "X\t: 1\n" }, { 400, get ": 1\n" },
    { 400, get "X\n" }, { 400, get "X Y: 1\n" }, { 400, get "X@: 1\n" }, { 400, get "X\0: 1\n" },
    { 400, get "X\195\132: 1\n" }, { 400, get "X: 1\n 2\n" }, { 400, get "X: 1\n\t2\n" }, { 400, get "X: 1\n \n" },
    { 400, "GET / HTTP/1.1\n Host: a\n\n" }, { 400, get "X: a\0b\n" }, { 400, get "X: a\1b\n" },
    { 400, get "X: a\127b\n" }, { 400, get "Transfer-Encoding : chunked\n" }, { 400, get "Content-Length : 5\n" },
    { 431, get("X: " .. ("y"):rep(20000) .. "\n") }, { 431, get(("X: y\n"):rep(120)) },
    { 417, get "Expect: the-unexpected\n" },
    -- Line ends, as they stand.
    { 400, "GET / HTTP/1.1\nHost: a\n\n", raw = true }, { 400, "GET / HTTP/1.1\r\nHost: a\n\r\n", raw = true },
    { 400, "GET / HTTP/1.1\r\nHost: a\rX: 1\r\n\r\n", raw = true },
    { 400, "GET / HTTP/1.1\r\nHost: a\r\nX: 1\nContent-Length: 5\r\n\r\n", raw = true },
    { 400, "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\r\n\r\n", raw = true },
    { 400, "GET / HTTP/1.1\rHost: a\r\n\r\n", raw = true }, { 400, "\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", raw = true },
    { 400, "\22\3\1\2\0\1\0\1\252\3\3", raw = true },
    -- Length.
    { 400, post("Content-Length: 5\nContent-Length: 5\n", "hello") }, { 400, post("Content-Length: 5\nContent-Length: 6\n", "hello") },
    { 400, post("Content-Length: 5, 5\n", "hello") }, { 400, post("Content-Length: +5\n", "hello") },
    { 400, post("Content-Length: -5\n", "hello") }, { 400, post("Content-Length: 0x5\n", "hello") },
    { 400, post("Content-Length: 5 5\n", "hello") }, { 400, post("Content-Length: 5;a\n", "hello") },
    { 400, post("Content-Length: 5.0\n", "hello") }, { 400, post("Content-Length: abc\n", "hello") },
    { 400, post("Content-Length:\n", "hello") }, { 400, post("Content-Length: \"5\"\n", "hello") },
    { 400, post("Content-Length: 99999999999999999999\n", "hello") },
    { 413, post("Content-Length: 18446744073709551615\n", "hello") },
    { 400, post("content-length: 5\nCONTENT-LENGTH: 5\n", "hello") },
    -- Transfer-Encoding.
    { 400, post("Content-Length: 5\n" .. CHUNKED, "0\n\n") }, { 400, post(CHUNKED .. "Content-Length: 5\n", "0\n\n") },
    { 400, post(CHUNKED .. CHUNKED, "0\n\n") }, { 400, post("Transfer-Encoding: chunked, chunked\n", "0\n\n") },
    { 400, post("Transfer-Encoding: chunked, identity\n", "0\n\n") }, { 400, post("Transfer-Encoding: identity\n", "0\n\n") },
    { 400, post("Transfer-Encoding:\n", "0\n\n") }, { 400, post("Transfer-Encoding: \"chunked\"\n", "0\n\n") },
    { 400, post("Transfer-Encoding: chunked;q=1\n", "0\n\n") }, { 501, post("Transfer-Encoding: xchunked\n", "0\n\n") },
    { 501, post("Transfer-Encoding: gzip, chunked\n", "0\n\n") }, { 501, post("Transfer-Encoding: gzip\n", "0\n\n") },
    { 400, post("Transfer-Encoding: \11chunked\n", "0\n\n") }, { 400, post("Transfer-Encoding: chunked\11\n", "0\n\n") },
    { 400, "POST / HTTP/1.0\nHost: a\n" .. CHUNKED .. "\n0\n\n" },
    -- Chunks that come with the head.
    { 400, post(CHUNKED, "5\nhelloX0\n\n") }, { 400, post(CHUNKED, "x\nhello\n0\n\n") },
    { 400, post(CHUNKED, "-5\nhello\n0\n\n") }, { 400, post(CHUNKED, "+5\nhello\n0\n\n") },
    { 400, post(CHUNKED, "0x5\nhello\n0\n\n") }, { 400, post(CHUNKED, " 5\nhello\n0\n\n") },
    { 400, post(CHUNKED, "\nhello\n0\n\n") }, { 400, post(CHUNKED, "5 x\nhello\n0\n\n") },
    { 400, post(CHUNKED, "11111111111111111\nhello\n0\n\n") }, { 400, post(CHUNKED, "5;\0\nhello\n0\n\n") },
    { 400, post(CHUNKED, "0\nX\n\n") }, { 400, post(CHUNKED, "0\n X: 1\n\n") },
    { 400, post(CHUNKED, "5;" .. ("x"):rep(20000) .. "\nhello\n0\n\n") },
    { 400, post(CHUNKED):gsub("\n", "\r\n") .. "5\nhello\r\n0\r\n\r\n", raw = true },
    { 400, post(CHUNKED):gsub("\n", "\r\n") .. "5\r\nhello\n0\r\n\r\n", raw = true },
    { 400, post(CHUNKED):gsub("\n", "\r\n") .. "5;a\nb\r\nhello\r\n0\r\n\r\n", raw = true },
    { 400, post(CHUNKED):gsub("\n", "\r\n") .. "5\r\r\nhello\r\n0\r\n\r\n", raw = true },
}

-- Request, what its head must have and must not have (plain text, any case), its body.
local arriving = {
    { get(), { "GET / HTTP/1.1\r\nHost: a\r\n", "X-Forwarded-For: 127.0.0.1\r\n", "Via: 1.1 tidegate\r\n" } },
    { "\n" .. get(), { "GET / HTTP/1.1\r\n" } },
    { get("", "GET http://b.example/p?q HTTP/1.1"), { "GET /p?q HTTP/1.1\r\nHost: b.example\r\n" }, { "host: a" } },
    { get("", "GET http://b.example:81 HTTP/1.1"), { "GET / HTTP/1.1\r\nHost: b.example:81\r\n" } },
    { get("", "GET /%2e%2e//x HTTP/1.1"), { "GET /%2e%2e//x HTTP/1.1" } },
    { get("", "GET /? HTTP/1.1"), { "GET /? HTTP/1.1" } },
    { get("", "PURGE / HTTP/1.1"), { "PURGE / HTTP/1.1" } },
    { get("", "get / HTTP/1.1"), { "get / HTTP/1.1" } },
    { get("", "OPTIONS * HTTP/1.1"), { "OPTIONS * HTTP/1.1" } },
    { get("Max-Forwards: 3\n", "OPTIONS * HTTP/1.1"), { "Max-Forwards: 2\r\n" } },
    { get "Max-Forwards: 3\n", { "Max-Forwards: 3\r\n" } },
    { "GET / HTTP/1.0\n\n", { "GET / HTTP/1.1\r\nHost: shop\r\n", "Via: 1.0 tidegate" } },
    { "GET / HTTP/1.0\nHost: b\nConnection: keep-alive\n\n", { "Host: b\r\n" }, { "connection:" } },
    { get "Connection: close\n", {}, { "connection:" } },
    { get "Connection: X-A, x-b\nX-A: 1\nX-B: 2\nX-C: 3\n", { "X-C: 3\r\n" }, { "x-a:", "x-b:", "connection:" } },
    { get "Connection: x-a\nConnection: x-b\nX-A: 1\nX-B: 2\n", {}, { "x-a:", "x-b:" } },
    { get "Connection: host, x-forwarded-for\n", { "Host: a\r\n", "X-Forwarded-For: 127.0.0.1\r\n" } },
    { get "Connection: content-length\nContent-Length: 5\n" .. "hello", { "Content-Length: 5\r\n" }, {}, "hello" },
    { get "Keep-Alive: timeout=5\nProxy-Connection: keep-alive\n", {}, { "keep-alive:", "proxy-connection:" } },
    { get "TE: trailers, gzip\nTrailer: X\n", {}, { "\nte:", "trailer:" } },
    { get "Proxy-Authorization: Basic x\n", {}, { "proxy-authorization" } },
    { get "Upgrade: h2c\nHTTP2-Settings: x\nConnection: upgrade, http2-settings\n", {}, { "upgrade", "http2-settings" } },
    { get "Upgrade: websocket\n", {}, { "upgrade" } },
    { get "X-Forwarded-For: 1.2.3.4\n", { "X-Forwarded-For: 1.2.3.4, 127.0.0.1\r\n" } },
    { get "X-Forwarded-For: 1.2.3.4\nX-Forwarded-For: 5.6.7.8\n", { "X-Forwarded-For: 1.2.3.4, 5.6.7.8, 127.0.0.1\r\n" } },
    { get "X-Forwarded-Proto: https\nX-Forwarded-Host: evil\n", { "X-Forwarded-Proto: http\r\n", "X-Forwarded-Host: a\r\n" },
        { "evil", "https" } },
    { get "X-Request-Id: abc-1\n", { "X-Request-Id: abc-1\r\n" } },
    { get "X-Request-Id: a b\n", { "X-Request-Id: " }, { "a b" } },
    { get "X:   padded \t \n", { "X: padded\r\n" } }, { get "X:\n", { "X: \r\n" } },
    { get "X: 1\nX: 2\n", { "X: 1\r\nX: 2\r\n" } }, { get "X: \195\164\n", { "X: \195\164\r\n" } },
    { get "Accept: a,b\nCookie: a=b; c=d\n", { "Accept: a,b\r\nCookie: a=b; c=d\r\n" } },
    { get "Via: 1.0 other\n", { "Via: 1.0 other\r\n", "Via: 1.1 tidegate\r\n" } },
    { get "Content-Length: 0\n", { "Content-Length: 0\r\n" } },
    { post("Content-Length: 5\n", "hello"), { "Content-Length: 5\r\n" }, { "transfer-encoding" }, "hello" },
    { post("Content-Length: 005\n", "hello"), { "Content-Length: 5\r\n" }, {}, "hello" },
    { post(CHUNKED, "5\nhello\n0\n\n"), { "Transfer-Encoding: chunked\r\n" }, { "content-length" }, "hello" },
    { post("transfer-ENCODING:\t Chunked \n", "5\nhello\n0\n\n"), { "Transfer-Encoding: chunked\r\n" }, {}, "hello" },
    { post(CHUNKED, "2\nhe\n003\nllo\n000\n\n"), {}, {}, "hello" },
    { post(CHUNKED, "5;name=value;x=\"y\"\nhello\n0;last\n\n"), {}, { "name=" }, "hello" },
    { post(CHUNKED, "A\n0123456789\n0\n\n"), {}, {}, "0123456789" },
    { post(CHUNKED, "5\nhello\n0\nHost: evil\nX-Trailer: 1\n\n"), {}, { "evil", "x-trailer" }, "hello" },
    { post("Expect: 100-continue\nContent-Length: 5\n", "hello"), { "Expect: 100-continue\r\n" }, {}, "hello" },
    { get("Content-Length: 5\n", "DELETE / HTTP/1.1") .. "hello", { "DELETE / " }, {}, "hello" },
}

-- Answer, what the client gets: status, head has, head has not, body (nil: it is cut off). `method`: of the
-- request.
local answers = {
    { "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", 200, { "Via: 1.1 tidegate\r\n", "Date: " }, {}, "hello" },
    { "HTTP/1.1 200 \nContent-Length: 5\n\nhello", 200, {}, {}, "hello" },
    { "HTTP/1.1 299 Odd \228\nContent-Length: 0\n\n", 299, { "299 Odd \228\r\n" }, {}, "" },
    { "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n", 200, { "Transfer-Encoding: chunked" }, {}, "hello" },
    { "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n5;x=y\nhello\n0\nX-T: 1\n\n", 200, {}, { "x-t" }, "hello" },
    { "HTTP/1.1 200 OK\n\nhello", 200, { "Transfer-Encoding: chunked" }, {}, "hello" },
    { "HTTP/1.0 200 OK\n\nhello", 200, { "HTTP/1.1 200 OK", "Via: 1.0 tidegate" }, {}, "hello" },
    { "HTTP/1.0 200 OK\nContent-Length: 5\n\nhello", 200, {}, {}, "hello" },
    { "HTTP/1.1 200 OK\nConnection: X-A, close\nX-A: 1\nContent-Length: 0\n\n", 200, {}, { "x-a", "connection:" }, "" },
    { "HTTP/1.1 200 OK\nKeep-Alive: x\nProxy-Connection: y\nUpgrade: h2c\nContent-Length: 0\n\n", 200, {},
        { "keep-alive", "proxy-connection", "upgrade" }, "" },
    { "HTTP/1.1 204 No\nContent-Length: 5\n\n", 204, {}, { "content-length" }, "" },
    { "HTTP/1.1 204 No\n" .. CHUNKED .. "\n", 204, {}, { "transfer-encoding" }, "" },
    { "HTTP/1.1 304 No\nContent-Length: 5\n\n", 304, { "Content-Length: 5" }, {}, "" },
    { "HTTP/1.1 200 OK\nContent-Length: 5\n\n", 200, { "Content-Length: 5" }, {}, "", method = "HEAD" },
    { "HTTP/1.1 100 C\n\nHTTP/1.1 200 OK\nContent-Length: 2\n\nhi", 100, {}, {}, "", next_status = 200 },
    { "HTTP/1.1 103 Early\nLink: </x>\n\nHTTP/1.1 200 OK\nContent-Length: 2\n\nhi", 103, { "Link: </x>" }, {}, "",
        next_status = 200 },
    { "HTTP/1.1 200 OK\nDate: Thu, 01 Jan 1970 00:00:00 GMT\nContent-Length: 0\n\n", 200, { "Date: Thu, 01 Jan 1970" }, {}, "" },
    { "HTTP/1.1 200 OK\nSet-Cookie: a=1\nSet-Cookie: b=2\nContent-Length: 0\n\n", 200,
        { "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n" }, {}, "" },
    { "HTTP/1.1 200 OK\nContent-Length: 2\n\nhiEXTRA", 200, {}, { "extra" }, "hi" },
    { "HTTP/1.1 200 OK\nContent-Length: 2\n\nhiHTTP/1.1 200 OK\nContent-Length: 3\n\nbad", 200, {}, {}, "hi" },
    -- Not to be understood: 502, and nothing of it goes on.
    { "HTTP/1.1 2000 OK\nContent-Length: 0\n\n", 502 }, { "HTTP/1.1 20 OK\nContent-Length: 0\n\n", 502 },
    { "HTTP/1.1 099 OK\nContent-Length: 0\n\n", 502 }, { "HTTP/1.1 600 OK\nContent-Length: 0\n\n", 502 },
    { "HTTP/1.1 200\tOK\nContent-Length: 0\n\n", 502 }, { "HTTP/1.1  200 OK\nContent-Length: 0\n\n", 502 },
    { "HTTP/2.0 200 OK\nContent-Length: 0\n\n", 502 }, { "ICY 200 OK\nContent-Length: 0\n\n", 502 },
    { "HTTP/1.1 200 O\0K\nContent-Length: 0\n\n", 502 }, { "hello", 502 }, { "\nHTTP/1.1 200 OK\n\n", 502 },
    { "HTTP/1.1 200 OK\nX : 1\nContent-Length: 0\n\n", 502 }, { "HTTP/1.1 200 OK\nX: 1\n 2\nContent-Length: 0\n\n", 502 },
    { "HTTP/1.1 200 OK\nX: a\0b\nContent-Length: 0\n\n", 502 }, { "HTTP/1.1 200 OK\nX\nContent-Length: 0\n\n", 502 },
    { "HTTP/1.1 200 OK\nContent-Length: 5\nContent-Length: 6\n\nhello", 502 },
    { "HTTP/1.1 200 OK\nContent-Length: 5, 5\n\nhello", 502 }, { "HTTP/1.1 200 OK\nContent-Length: abc\n\nhello", 502 },
    { "HTTP/1.1 200 OK\nContent-Length: -1\n\nhello", 502 }, { "HTTP/1.1 200 OK\nContent-Length: 5\n" .. CHUNKED .. "\n0\n\n", 502 },
    { "HTTP/1.1 200 OK\nTransfer-Encoding: gzip, chunked\n\n0\n\n", 502 },
    { "HTTP/1.1 200 OK\n" .. CHUNKED .. CHUNKED .. "\n0\n\n", 502 }, { "HTTP/1.0 200 OK\n" .. CHUNKED .. "\n0\n\n", 502 },
    { "HTTP/1.1 101 Switching\nConnection: upgrade\nUpgrade: websocket\n\n", 502 },
    { "HTTP/1.1 200 OK\r\nX: 1\nY: 2\r\nContent-Length: 0\r\n\r\n", 502, raw = true },
    { "HTTP/1.1 200 OK\r\nX: 1\rY: 2\r\nContent-Length: 0\r\n\r\n", 502, raw = true },
    { "HTTP/1.1 200 OK\nX: " .. ("y"):rep(20000) .. "\n\n", 502 },
    -- Broken off: the client must not take it for whole.
    { "HTTP/1.1 200 OK\nContent-Length: 50\n\nhello", 502 },
    { "HTTP/1.1 200 OK\n" .. CHUNKED .. "\n5\nhello\n", 200, {}, {} },
    { "HTTP/1.1 200 OK\n" .. CHUNKED .. "\n5\nhel", 200, {}, {} },
    { "HTTP/1.1 200 OK\n" .. CHUNKED .. "\n5\nhello\n0\n", 200, {}, {} },
}

describe("proxy, conformance", function()
    local w

    setup(function()
        w = proxied.start { route = { backend_timeout_ms = 2000 } }
    end)

    teardown(function()
        assert.equal(0, w:stop(), "the proxy's process ended badly")
    end)

    local function bytes_of(case, text)
        return case.raw and text or crlf(text)
    end

    local function has(head, wanted, unwanted)
        for _, text in ipairs(wanted or {}) do
            assert.is_truthy(head:find(text, 1, true), ("%q is missing in %s"):format(text, head))
        end
        for _, text in ipairs(unwanted or {}) do
            assert.is_nil(head:lower():find(text, 1, true), ("%q is in %s"):format(text, head))
        end
    end

    -- A head as it came, byte by byte, held against what no two parsers read differently.
    local function strict_head(u)
        local got = {}
        repeat
            got[#got + 1] = assert(u.sock:receive(1))
            local n = #got
        until n > 3 and got[n] == "\n" and got[n - 1] == "\r" and got[n - 2] == "\n"
        local head = table.concat(got)
        local lines = head:sub(1, -3)
        assert.is_nil(lines:gsub("\r\n", ""):find "[\r\n%z]", "a bare CR, LF or NUL")
        assert.matches("^[^ %c]+ [^ %c]+ HTTP/1%.1\r\n", lines)
        local count = {}
        for line in lines:gmatch "\r\n([^\r]+)" do
            local name = line:match "^([%w!#$%%&'*+.^_`|~-]+): "
            assert.is_truthy(name, "no field: " .. line)
            count[name:lower()] = (count[name:lower()] or 0) + 1
        end
        assert.equal(1, count.host)
        assert.is_true((count["content-length"] or 0) + (count["transfer-encoding"] or 0) <= 1)
        return head
    end

    local function strict_body(u, head)
        local length = head:match "\r\nContent%-Length: (%d+)\r\n"
        if length then
            return length == "0" and "" or (u:read(tonumber(length)))
        elseif not head:find("\r\nTransfer-Encoding: chunked\r\n", 1, true) then
            return nil
        end
        local body = {}
        repeat
            local line = u.sock:receive "*l"
            local size = tonumber(assert(line:match "^%x+$", "chunk size: " .. line), 16)
            body[#body + 1] = size > 0 and u:read(size) or nil
            assert.equal("\r\n", (u:read(2)))
        until size == 0
        return table.concat(body)
    end

    for i, case in ipairs(refused) do
        it(("refuses %d with %d: %s"):format(i, case[1], case[2]:sub(1, 60):gsub("%c", "|")), function()
            local c = w:client()
            c.sock:send(bytes_of(case, case[2]) .. "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
            local status, head = c:answer()
            assert.equal(case[1], status)
            assert.matches("\r\nConnection: close\r\n", head)
            assert.equal("", (c:read_all()):match "HTTP/1.1 %d+" or "", "the next request was answered")
            c:close()
            -- Of a body that went wrong late the head may have gone on, but no whole request.
            while require("socket").select({ w.servers[1] }, nil, 0.002)[1] do
                local u = w:accept()
                local bytes = u:read_all()
                assert.is_nil(bytes:find "smuggled" or bytes:find "0\r\n\r\n$", "it reached the backend: " .. bytes)
                assert.is_true(case[2]:find "POST" ~= nil, "it reached the backend: " .. bytes)
                u:close()
            end
        end)
    end

    local function restart()
        assert.equal(0, w:stop(), "the proxy's process ended badly")
        w = proxied.start { route = { backend_timeout_ms = 2000 } }
    end

    it("has not broken on what it refused", restart)

    for i, case in ipairs(arriving) do
        it(("forwards %d: %s"):format(i, case[1]:sub(1, 60):gsub("%c", "|")), function()
            local c = w:client()
            c:send(crlf(case[1]))
            local u = w:accept()
            local head = strict_head(u)
            has(head, case[2], case[3])
            local body = strict_body(u, head)
            assert.equal(case[4] or "", body or "")
            assert.is_true(u:silent(0.002), "more came than the request")
            u:ok("fine", "Connection: close\r\n")
            u:close()
            local status, _, got = c:answer()
            assert.same({ 200, "fine" }, { status, got })
            c:close()
        end)
    end

    for i, case in ipairs(answers) do
        it(("answers %d: %s"):format(i, case[1]:sub(1, 60):gsub("%c", "|")), function()
            local c = w:client()
            c:send((case.method or "GET") .. " / HTTP/1.1\r\nHost: a\r\n\r\n")
            local u = w:accept()
            u:read_head()
            u:send(bytes_of(case, case[1]))
            u:close()
            local status, head, body = c:answer(case.method)
            assert.equal(case[2], status)
            if case[2] ~= 502 then
                has(head, case[3], case[4])
                assert.equal(case[5], body)
            end
            if case.next_status then
                assert.equal(case.next_status, (c:answer()))
            end
            c:close()
        end)
    end

    it("has as many cases as it should", function()
        assert.is_true(#refused + #arriving + #answers >= 200, #refused + #arriving + #answers)
    end)
end)
