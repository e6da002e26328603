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
    { 505, "PRI * HTTP/2.0\n\nXX\n\n" }, { 400, "GET http://a/ HTTP/1.1\n\n" },
    { 400, get("", "GET http://a:x/ HTTP/1.1") }, { 400, get("", "GET http:///x HTTP/1.1") },
    { 400, get("", "GET http://a b/ HTTP/1.1") }, { 400, get("", "GET //\\a/\1 HTTP/1.1") },
    { 400, get("", "GET /\11 HTTP/1.1") }, { 400, get("", "GET /\rX HTTP/1.1") }, { 400, get("", "OPTIONS a HTTP/1.1") },
    { 400, get("", "GET / HTTP/1.") }, { 400, get("", "GET / HTTP/1.1\0") }, { 400, get("", "GET / HTTP/-1.1") },
    { 400, get("", "GET /\11HTTP/1.1") }, { 400, get("", ": / HTTP/1.1") }, { 400, get("", "CONNECT a HTTP/1.1") },
    -- Host.
    { 400, "GET / HTTP/1.1\n\n" }, { 400, get "Host: a\n" }, { 400, get "Host: b\n" }, { 400, get "host: b\n" },
    { 400, "GET / HTTP/1.1\nHost:\n\n" }, { 400, "GET / HTTP/1.1\nHost: a b\n\n" },
    { 400, "GET / HTTP/1.1\nHost: a, b\n\n" }, { 400, "GET / HTTP/1.1\nHost: a/b\n\n" },
    { 400, "GET / HTTP/1.1\nHost: u@a\n\n" }, { 400, "GET / HTTP/1.1\nHost: a:x\n\n" },
    { 400, "GET / HTTP/1.1\nHost: a\\b\n\n" }, { 400, "GET / HTTP/1.1\nHost: [::1\n\n" },
    { 400, "GET / HTTP/1.1\nHost: [::1]x\n\n" }, { 400, "GET / HTTP/1.1\nHost: a:-1\n\n" },
    { 400, "GET / HTTP/1.1\nHost: a:80:80\n\n" }, { 400, "GET / HTTP/1.1\nHost: a?b\n\n" },
    { 400, "GET / HTTP/1.1\nHost: a#b\n\n" }, { 400, "GET / HTTP/1.1\nHost: <a>\n\n" },
    { 400, "GET / HTTP/1.1\nHost: :80\n\n" }, { 400, "GET / HTTP/1.1\nHost: http://a\n\n" },
    { 400, "GET / HTTP/1.1\nHost: a\tb\n\n" }, { 400, "GET / HTTP/1.0\nHost: a\nHost: b\n\n" },
    { 400, "GET / HTTP/1.1\nHost: \195\164\n\n" }, { 400, "GET / HTTP/1.1\nHost: a\n b\n\n" },
    -- Field lines.
    { 400, "GET / HTTP/1.1\nHost : a\n\n" }, { 400, get "X : 1\n" }, { 400, get "X\t: 1\n" }, { 400, get ": 1\n" },
    { 400, get "X\n" }, { 400, get "X Y: 1\n" }, { 400, get "X@: 1\n" }, { 400, get "X\0: 1\n" },
    { 400, get "X\195\132: 1\n" }, { 400, get "X: 1\n 2\n" }, { 400, get "X: 1\n\t2\n" }, { 400, get "X: 1\n \n" },
    { 400, "GET / HTTP/1.1\n Host: a\n\n" }, { 400, get "X: a\0b\n" }, { 400, get "X: a\1b\n" },
    { 400, get "X: a\127b\n" }, { 400, get "Transfer-Encoding : chunked\n" }, { 400, get "Content-Length : 5\n" },
    { 400, get "X\11: 1\n" }, { 400, get "\11X: 1\n" }, { 400, get "X(1): 1\n" }, { 400, get "X,Y: 1\n" },
    { 400, get "\"X\": 1\n" }, { 400, get "Transfer-Encoding\t: chunked\n" }, { 400, get "Content-Length\0: 5\n" },
    { 400, get "Transfer-Encoding:\n chunked\n" }, { 400, get "Content-Length:\n 5\n" },
    { 431, get("X: " .. ("y"):rep(20000) .. "\n") }, { 431, get(("X: y\n"):rep(120)) },
    { 417, get "Expect: the-unexpected\n" },
    -- Line ends, as they stand.
    { 400, "GET / HTTP/1.1\nHost: a\n\n", raw = true }, { 400, "GET / HTTP/1.1\r\nHost: a\n\r\n", raw = true },
    { 400, "GET / HTTP/1.1\r\nHost: a\rX: 1\r\n\r\n", raw = true },
    { 400, "GET / HTTP/1.1\r\nHost: a\r\nX: 1\nContent-Length: 5\r\n\r\n", raw = true },
    { 400, "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\r\n\r\n", raw = true },
    { 400, "GET / HTTP/1.1\rHost: a\r\n\r\n", raw = true }, { 400, "\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", raw = true },
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
    { 400, post("Content-Length: 5,\n", "hello") }, { 400, post("Content-Length: ,5\n", "hello") },
    { 400, post("Content-Length: \11005\n", "hello") }, { 400, post("Content-Length: 5e0\n", "hello") },
    { 400, post("Content-Length: 5_0\n", "hello") }, { 400, post("Content-Length: 05h\n", "hello") },
    { 400, post("Content-Length: \239\188\149\n", "hello") }, { 400, post("Content-Length: 5\0\n", "hello") },
    { 400, post("Content-Length: 18446744073709551621\n", "hello") }, -- 5 in 64 bits
    { 400, "POST / HTTP/1.0\nHost: a\nContent-Length: 5\nContent-Length: 3\n\nhello" },
    { 400, get "Content-Length: 5\nContent-Length: 0\n" .. "hello" },
    -- Transfer-Encoding.
    { 400, post("Content-Length: 5\n" .. CHUNKED, "0\n\n") }, { 400, post(CHUNKED .. "Content-Length: 5\n", "0\n\n") },
    { 400, post(CHUNKED .. CHUNKED, "0\n\n") }, { 400, post("Transfer-Encoding: chunked, chunked\n", "0\n\n") },
    { 400, post("Transfer-Encoding: chunked, identity\n", "0\n\n") }, { 400, post("Transfer-Encoding: identity\n", "0\n\n") },
    { 400, post("Transfer-Encoding:\n", "0\n\n") }, { 400, post("Transfer-Encoding: \"chunked\"\n", "0\n\n") },
    { 400, post("Transfer-Encoding: chunked;q=1\n", "0\n\n") }, { 501, post("Transfer-Encoding: xchunked\n", "0\n\n") },
    { 501, post("Transfer-Encoding: gzip, chunked\n", "0\n\n") }, { 501, post("Transfer-Encoding: gzip\n", "0\n\n") },
    { 400, post("Transfer-Encoding: \11chunked\n", "0\n\n") }, { 400, post("Transfer-Encoding: chunked\11\n", "0\n\n") },
    { 400, "POST / HTTP/1.0\nHost: a\n" .. CHUNKED .. "\n0\n\n" },
    { 400, "POST / HTTP/1.0\nHost: a\nContent-Length: 5\n" .. CHUNKED .. "\n0\n\n" },
    { 400, post("Transfer-Encoding: chunked,\n", "0\n\n") }, { 400, post("Transfer-Encoding: ,chunked\n", "0\n\n") },
    { 400, post("Transfer-Encoding: chunked\0\n", "0\n\n") }, { 400, post("Transfer-Encoding: chunked chunked\n", "0\n\n") },
    { 501, post("Transfer-Encoding: 'chunked'\n", "0\n\n") }, { 400, post("Transfer-Encoding: chunked, gzip\n", "0\n\n") },
    { 400, post("Transfer-Encoding: gzip\n" .. CHUNKED, "0\n\n") }, { 400, get(CHUNKED .. "Content-Length: 0\n") .. "0\n\n" },
    { 501, post("Transfer-Encoding: chunkedx\n", "0\n\n") }, { 400, post("Transfer-Encoding: \239\187\191chunked\n", "0\n\n") },
    -- Chunks that come with the head.
    { 400, post(CHUNKED, "5\nhelloX0\n\n") }, { 400, post(CHUNKED, "x\nhello\n0\n\n") },
    { 400, post(CHUNKED, "-5\nhello\n0\n\n") }, { 400, post(CHUNKED, "+5\nhello\n0\n\n") },
    { 400, post(CHUNKED, "0x5\nhello\n0\n\n") }, { 400, post(CHUNKED, " 5\nhello\n0\n\n") },
    { 400, post(CHUNKED, "\nhello\n0\n\n") }, { 400, post(CHUNKED, "5 x\nhello\n0\n\n") },
    { 400, post(CHUNKED, "11111111111111111\nhello\n0\n\n") }, { 400, post(CHUNKED, "5;\0\nhello\n0\n\n") },
    { 400, post(CHUNKED, "0\nX\n\n") }, { 400, post(CHUNKED, "0\n X: 1\n\n") },
    { 400, post(CHUNKED, "5;" .. ("x"):rep(20000) .. "\nhello\n0\n\n") },
    { 400, post(CHUNKED, "5 \nhello\n0\n\n") }, { 400, post(CHUNKED, "5\t\nhello\n0\n\n") },
    { 400, post(CHUNKED, "ffffffffffffffff\nhello\n0\n\n") }, { 400, post(CHUNKED, "10000000000000005\nhello\n0\n\n") },
    { 400, post(CHUNKED, "5,5\nhello\n0\n\n") }, { 400, post(CHUNKED, "5\0\nhello\n0\n\n") },
    { 400, post(CHUNKED, "5h\nhello\n0\n\n") }, { 400, post(CHUNKED, "4\nhello\n0\n\n") },
    { 400, post(CHUNKED, "0\nX : 1\n\n") }, { 400, post(CHUNKED, "0\nX: a\0\n\n") }, { 400, post(CHUNKED, "0\n: 1\n\n") },
    { 400, post(CHUNKED, "0\nX: 1\n 2\n\n") }, { 400, post(CHUNKED, ("1;" .. ("x"):rep(50) .. "\na\n"):rep(600) .. "0\n\n") },
    { 400, post(CHUNKED, "0\n" .. ("X: y\n"):rep(5000) .. "\n") },
    { 400, post(CHUNKED):gsub("\n", "\r\n") .. "5\nhello\r\n0\r\n\r\n", raw = true },
    { 400, post(CHUNKED):gsub("\n", "\r\n") .. "5\r\nhello\n0\r\n\r\n", raw = true },
    { 400, post(CHUNKED):gsub("\n", "\r\n") .. "5;a\nb\r\nhello\r\n0\r\n\r\n", raw = true },
    { 400, post(CHUNKED):gsub("\n", "\r\n") .. "5\r\r\nhello\r\n0\r\n\r\n", raw = true },
    { 400, post(CHUNKED):gsub("\n", "\r\n") .. "5\r\nhello\r0\r\n\r\n", raw = true },
    { 400, post(CHUNKED):gsub("\n", "\r\n") .. "5\rXhello\r\n0\r\n\r\n", raw = true },
    { 400, post(CHUNKED):gsub("\n", "\r\n") .. "5;a\rb\r\nhello\r\n0\r\n\r\n", raw = true },
    { 400, post(CHUNKED):gsub("\n", "\r\n") .. "5\r\nhello\r\n0\r\nX: 1\n\r\n", raw = true },
    { 400, post(CHUNKED):gsub("\n", "\r\n") .. "5\r\nhello\r\n0\r\nX: 1\rY: 2\r\n\r\n", raw = true },
    { 400, post(CHUNKED):gsub("\n", "\r\n") .. "5\r\nhello\r\n0\r\n\n", raw = true },
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
    { get "TE: trailers, gzip\nTrailer: X\n", { "TE: trailers\r\nConnection: te\r\n" }, { "gzip", "trailer:" } },
    { get "TE: gzip, xtrailers, trailers;q=1\n", {}, { "\nte:", "connection:" } },
    { "GET / HTTP/1.0\nTE: trailers\n\n", {}, { "\nte:", "connection:" } },
    { post("TE: trailers\n" .. CHUNKED, "5\nhello\n0\nX-T: 1\n\n"), { "TE: trailers\r\n" }, { "x-t" }, "hello" },
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
    { post("Content-Length: 5\n", "hello"):gsub("POST", "GET"), { "GET / ", "Content-Length: 5\r\n" }, {}, "hello" },
    { post(CHUNKED, "5\nhello\n0\n\n"):gsub("POST", "HEAD"), { "HEAD / ", "Transfer-Encoding: chunked\r\n" }, {}, "hello",
        method = "HEAD" },
    { get("", "GET HTTP://B.example/p HTTP/1.1"), { "GET /p HTTP/1.1\r\nHost: B.example\r\n" } },
    { get("", "GET http://b.example?q HTTP/1.1"), { "GET /?q HTTP/1.1\r\nHost: b.example\r\n" } },
    { get("", "OPTIONS http://b.example/ HTTP/1.1"), { "OPTIONS / HTTP/1.1\r\nHost: b.example\r\n" } },
    { get("", "OPTIONS http://b.example HTTP/1.1"), { "OPTIONS * HTTP/1.1\r\nHost: b.example\r\n" } },
    { "GET / HTTP/1.1\nHost: a:80\n\n", { "Host: a:80\r\n" } }, { "GET / HTTP/1.1\nHost: [::1]:80\n\n", { "Host: [::1]:80\r\n" } },
    { "GET / HTTP/1.1\nhOST:a\n\n", { "Host: a\r\n" } },
    { get "Connection: ,, X-A ,,\nX-A: 1\n", {}, { "x-a:", "connection:" } },
    { get "Connection: keep-alive, Upgrade\n", {}, { "connection:", "upgrade" } },
    { get "Connection: via, x-request-id, x-forwarded-proto, x-forwarded-host\nVia: 1.1 other\nX-Request-Id: q-1\n",
        { "Via: 1.1 tidegate\r\n", "X-Request-Id: ", "X-Forwarded-Proto: http\r\n", "X-Forwarded-Host: a\r\n" } },
    { post("Connection: transfer-encoding\n" .. CHUNKED, "5\nhello\n0\n\n"), { "Transfer-Encoding: chunked\r\n" }, {}, "hello" },
    { post("Connection: expect\nExpect: 100-continue\nContent-Length: 5\n", "hello"), {}, {}, "hello" },
    { get "Connection: cookie, authorization\nCookie: a\nAuthorization: b\n", {}, { "cookie:", "authorization:" } },
    { get "Proxy-Authenticate: x\nProxy-Connection: close\nKeep-Alive: 5\n", {}, { "proxy-", "keep-alive" } },
    { post("Upgrade: websocket\nConnection: upgrade\nContent-Length: 5\n", "hello"), { "Content-Length: 5\r\n" }, { "upgrade" }, "hello" },
    { get "Upgrade: h2c, websocket\nConnection: upgrade\n", {}, { "h2c" } },
    { post(CHUNKED, "5\nhello\n0\nContent-Length: 9\nTransfer-Encoding: gzip\nConnection: x\n\n"),
        { "Transfer-Encoding: chunked\r\n" }, { "gzip", "content-length" }, "hello" },
    { post(CHUNKED, "5;a=\"\\\"\"\nhello\n0\n\n"), {}, {}, "hello" }, { post(CHUNKED, "0\n\n"), {}, {}, "" },
    { post(CHUNKED, "000000000000005\nhello\n0\n\n"), {}, {}, "hello" },
    { "POST / HTTP/1.0\nHost: a\nContent-Length: 5\n\nhello", { "POST / HTTP/1.1\r\n", "Content-Length: 5\r\n" }, {}, "hello" },
}

-- Answer, what the client gets: status, head has, head has not, body (nil: it is cut off). `method`: of the
-- request.
local answers = {
    { "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", 200, { "Via: 1.1 tidegate\r\n", "Date: " }, {}, "hello" },
    { "HTTP/1.1 200 \nContent-Length: 5\n\nhello", 200, {}, {}, "hello" },
    { "HTTP/1.1 200\nContent-Length: 5\n\nhello", 200, { "HTTP/1.1 200 " }, {}, "hello" },
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
    { "HTTP/1.1 102 P\nContent-Length: 5\n\nHTTP/1.1 200 OK\nContent-Length: 2\n\nhi", 102, {}, { "content-length" }, "",
        next_status = 200 },
    { "HTTP/1.1 103 E\n" .. CHUNKED .. "\nHTTP/1.1 200 OK\nContent-Length: 2\n\nhi", 103, {}, { "transfer-encoding" }, "",
        next_status = 200 },
    { "HTTP/1.1 100 C\n\nHTTP/1.1 100 C\n\nHTTP/1.1 204 N\n\n", 100, {}, {}, "", next_status = 100 },
    { "HTTP/1.1 200 OK\n" .. CHUNKED .. "\n", 200, {}, {}, "", method = "HEAD" },
    { "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", 200, { "Content-Length: 5" }, {}, "", method = "HEAD" },
    { "HTTP/1.1 304 N\n" .. CHUNKED .. "\n", 304, {}, {}, "" }, { "HTTP/1.1 204 N\n\nhello", 204, {}, { "hello" }, "" },
    { "HTTP/1.0 200 OK\nConnection: keep-alive\nContent-Length: 2\n\nhi", 200, { "Via: 1.0 tidegate" }, { "connection:" }, "hi" },
    { "HTTP/1.1 200 OK\nTrailer: X\nTE: x\nProxy-Authenticate: y\nContent-Length: 0\n\n", 200, {}, { "trailer:", "\nte:" }, "" },
    { "HTTP/1.1 200 OK\nConnection: via, date\nVia: 1.0 x\nContent-Length: 0\n\n", 200, { "Via: 1.1 tidegate", "Date: " }, {}, "" },
    { "HTTP/1.1 200 OK\nConnection: content-length\nContent-Length: 2\n\nhi", 200, {}, { "connection:" }, "hi" },
    { "HTTP/1.1 200 OK\n" .. CHUNKED .. "\n5\nhello\n0\nContent-Length: 3\nSet-Cookie: a\n\n", 200, {}, { "set-cookie" }, "hello" },
    { "HTTP/1.1 200 OK\n" .. CHUNKED .. "\n5\nhello\n0\n\nHTTP/1.1 200 OK\nContent-Length: 1\n\nx", 200, {}, {}, "hello" },
    { "HTTP/1.1 404 Not Found\nContent-Length: 2\n\nno", 404, { "404 Not Found\r\n" }, {}, "no" },
    { "HTTP/1.1 599 X\nContent-Length: 0\n\n", 599, {}, {}, "" },
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
    { "HTTP/1.1200 OK\nContent-Length: 0\n\n", 502 }, { "http/1.1 200 OK\nContent-Length: 0\n\n", 502 },
    { "HTTP/1.10 200 OK\nContent-Length: 0\n\n", 502 }, { " HTTP/1.1 200 OK\nContent-Length: 0\n\n", 502 },
    { "HTTP/1.1 -20 OK\nContent-Length: 0\n\n", 502 }, { "HTTP/1.1 2x0 OK\nContent-Length: 0\n\n", 502 },
    { "HTTP/1.1 200 O\rK\nContent-Length: 0\n\n", 502 }, { "HTTP/1.1 000 X\nContent-Length: 0\n\n", 502 },
    { "HTTP/1.1 200 OK\n: 1\nContent-Length: 0\n\n", 502 }, { "HTTP/1.1 200 OK\n X: 1\nContent-Length: 0\n\n", 502 },
    { "HTTP/1.1 200 OK\nX\0: 1\nContent-Length: 0\n\n", 502 }, { "HTTP/1.1 200 OK\nX: 1\n\t2\nContent-Length: 0\n\n", 502 },
    { "HTTP/1.1 200 OK\nContent-Length : 0\n\n", 502 }, { "HTTP/1.1 200 OK\nX Y: 1\nContent-Length: 0\n\n", 502 },
    { "HTTP/1.1 200 OK\nContent-Length: +5\n\nhello", 502 }, { "HTTP/1.1 200 OK\nContent-Length:\n\nhello", 502 },
    { "HTTP/1.1 200 OK\nContent-Length: 5 5\n\nhello", 502 }, { "HTTP/1.1 200 OK\nContent-Length: 0x5\n\nhello", 502 },
    { "HTTP/1.1 200 OK\nContent-Length: 18446744073709551621\n\nhello", 502 },
    { "HTTP/1.1 200 OK\nContent-Length: 5\nContent-Length: 5\n\nhello", 502 },
    { "HTTP/1.1 200 OK\nTransfer-Encoding: xchunked\n\n0\n\n", 502 }, { "HTTP/1.1 200 OK\nTransfer-Encoding:\n\n0\n\n", 502 },
    { "HTTP/1.1 200 OK\nTransfer-Encoding: identity\n\nhi", 502 }, { "HTTP/1.1 200 OK\nTransfer-Encoding: chunked, x\n\n", 502 },
    { "HTTP/1.1 200 OK\nTransfer-Encoding: \11chunked\n\n0\n\n", 502 }, { "HTTP/1.1 200 OK\n" .. ("X: y\n"):rep(120) .. "\n", 502 },
    { "HTTP/1.1 200 OK\nContent-Length: 5\nTransfer-Encoding: x\n\nhello", 502 }, { "", 502 }, { "HTTP/1.1 200 OK\nX: 1\n", 502 },
    { "HTTP/1.1 100 C\n\n\0", 100, {}, {}, "", next_status = 502 },
    { "HTTP/1.1 100 C\n\nHTTP/1.1 2000 OK\n\n", 100, {}, {}, "", next_status = 502 },
    -- Broken off: the client must not take it for whole.
    { "HTTP/1.1 200 OK\nContent-Length: 50\n\nhello", 502 },
    { "HTTP/1.1 200 OK\n" .. CHUNKED .. "\n5\nhello\n", 200, {}, {} },
    { "HTTP/1.1 200 OK\n" .. CHUNKED .. "\n5\nhel", 200, {}, {} },
    { "HTTP/1.1 200 OK\n" .. CHUNKED .. "\n5\nhello\n0\n", 200, {}, {} },
    { "HTTP/1.1 200 OK\n" .. CHUNKED .. "\n", 200, {}, {} },
}

-- Chunks that a backend may not send, as they stand: with the head it is 502, behind it the client is cut off.
local spoiled = {
    "x\r\n", "5\r\nhelloX0\r\n\r\n", "-1\r\n\r\n", " 5\r\nhello\r\n", "5 \r\nhello\r\n", "0x5\r\nhello\r\n", "\r\n5\r\nhello\r\n",
    "ffffffffffffffff\r\n", "10000000000000005\r\nhello\r\n", "5;\0\r\nhello\r\n", "5\nhello\r\n", "5\r\nhello\n0\r\n\r\n",
    "5;a\nb\r\nhello\r\n", "5\r\r\nhello\r\n", "0\r\nX\r\n\r\n", "0\r\nX : 1\r\n\r\n", "0\r\nX: 1\n\r\n", "0\r\n\n",
}

-- Fields of a request, more of the answer's head, its trailer section, what arrives of it; head has, head has not.
local TE = "TE: trailers\n"
local trailing = {
    { TE, "", "X-T: 1\n", "X-T: 1\n", {}, { "trailer:", "x-t" } },
    { "te: gzip;q=0.5 ,\tTrailers\nConnection: te\n", "", "X-T:1 \nEmpty:\nX-T: 2\n", "X-T: 1\nEmpty: \nX-T: 2\n" },
    { "TE: gzip\nTE: trailers\n", "Connection: keep-alive\n", "ETag: \"a\"\nServer-Timing: a;dur=1\n",
        "ETag: \"a\"\nServer-Timing: a;dur=1\n" },
    { TE, "Trailer: Content-Digest\n", "Content-Digest: sha-256=:x:\n", "Content-Digest: sha-256=:x:\n",
        { "Trailer: Content-Digest\r\n" } },
    { TE, "Trailer: X-T , content-length,, Set-Cookie, X-U\nTrailer: Host\n", "X-T: 1\nContent-Length: 9\nX-U: 2\n",
        "X-T: 1\nX-U: 2\n", { "Trailer: X-T, X-U\r\n" }, { "content-length", "set-cookie", "host" } },
    { TE, "", "", "" },
    -- Nobody asked for them.
    { "", "Trailer: X-T\n", "X-T: 1\n", "", {}, { "trailer:" } }, { "TE: gzip\n", "", "X-T: 1\n", "" },
    { "TE: trailers;q=0\n", "", "X-T: 1\n", "" }, { "Connection: te\n", "", "X-T: 1\n", "" },
    -- A Connection option may be the name of a trailer field.
    { TE, "Connection: x-t\nTrailer: X-T\n", "X-T: 1\n", "", {}, { "trailer:" } },
}
for name in ([[Age Authentication-Info Authorization Cache-Control Connection Content-Encoding Content-Length Content-Range
    Content-Type Cookie Date Expect Expires Forwarded Host If-Match Keep-Alive Location Max-Forwards Pragma
    Proxy-Authenticate Proxy-Authorization Proxy-Connection Range Retry-After Set-Cookie TE Trailer Transfer-Encoding
    Upgrade Vary Via Warning WWW-Authenticate X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto X-Request-Id
    traceparent]]):gmatch "%S+" do
    trailing[#trailing + 1] = { TE, "", name .. ": 1\nX-T: 1\n" .. name:lower() .. ": 2\n", "X-T: 1\n" }
end
trailing[#trailing + 1] = { TE, "", "Content-Length: 5\nTransfer-Encoding: chunked\n", "" }

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
            local status, _, got = c:answer(case.method)
            assert.same({ 200, case.method == "HEAD" and "" or "fine" }, { status, got })
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

    -- The trailer section behind a chunked body of 5 bytes, as it came.
    local function section_of(c)
        local got = {}
        repeat
            local size = tonumber(c.sock:receive "*l" or "", 16)
            assert.is_truthy(size, "a chunk is missing")
            got[#got + 1] = size > 0 and c:read(size + 2) or nil
        until size == 0
        assert.equal("hello", (table.concat(got):gsub("\r\n", "")))
        local section = (c:read_head())
        return assert(section, "no end of trailers"):sub(1, -3)
    end

    for i, case in ipairs(trailing) do
        it(("ends an answer with trailers %d: %s"):format(i, (case[2] .. case[3]):sub(1, 60):gsub("%c", "|")), function()
            for _, cut in ipairs { 1e6, 1 } do
                local c = w:client()
                c:send(crlf(get(case[1])))
                local u = w:accept()
                u:read_head()
                u:send(crlf("HTTP/1.1 200 OK\n" .. case[2] .. CHUNKED .. "\n" .. "5\nhello\n0"))
                local rest = crlf("\n" .. case[3] .. "\n")
                for at = 1, #rest, cut do
                    u:send(rest:sub(at, at + cut - 1))
                end
                local head = c:read_head()
                assert.matches("^HTTP/1.1 200 ", head)
                has(head, case[5], case[6])
                assert.equal(crlf(case[4]), section_of(c))
                if not case[2]:find "x%-t" then -- on the same connections: their framing held
                    c:get "/next"
                    assert.matches("^GET /next ", (u:read_head()))
                    u:ok("fine", "Connection: close\r\n")
                    assert.equal("fine", select(3, c:answer()))
                end
                u:close()
                c:close()
            end
        end)
    end

    for i, section in ipairs {
        "X\n\n", "X : 1\n\n", " X: 1\n\n", ": 1\n\n", "X: 1\n 2\n\n", "X: a\0b\n\n", "X: a\1b\n\n", "X\195\132: 1\n\n",
        "X: 1\n\r\r\n", "X: " .. ("y"):rep(9000) .. "\n\n", ("X: y\n"):rep(101) .. "\n", "X: 1\n", "X: 1\n\r", "X", "\r",
    } do
        it(("does not end an answer with broken trailers %d: %s"):format(i, section:sub(1, 30):gsub("%c", "|")), function()
            local c = w:client()
            c:send(crlf(get(TE)))
            local u = w:accept()
            u:read_head()
            u:send(crlf("HTTP/1.1 200 OK\n" .. CHUNKED .. "\n5\nhello\n"))
            assert.matches("^HTTP/1.1 200 ", (c:read_head()))
            u.sock:send(crlf "0\n" .. crlf(section))
            u:close()
            local got = c:read_all()
            assert.equal("5\r\nhello\r\n", got, "it goes on behind the data")
            c:close()
        end)
    end

    for i, chunks in ipairs(spoiled) do
        local name = ("%d: %s"):format(i, chunks:sub(1, 40):gsub("%c", "|"))

        local function begin()
            local c = w:client()
            c:get "/"
            local u = w:accept()
            u:read_head()
            return c, u
        end

        it("takes an answer for none that begins with chunks " .. name, function()
            local c, u = begin()
            u:send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" .. chunks)
            assert.equal(502, (c:answer()))
            assert.is_true(u:closed())
            c:close()
        end)

        it("cuts an answer that goes on with chunks " .. name, function()
            local c, u = begin()
            u:send "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
            assert.matches("^HTTP/1.1 200 ", (c:read_head()))
            u:send(chunks)
            assert.is_nil(((c:read_all()):find "0\r\n\r\n$"), "it was ended as if it were whole")
            assert.is_true(u:closed())
            c:close()
        end)
    end

    it("has as many cases as it should", function()
        assert.is_true(#refused + #arriving + #answers + #spoiled + #trailing >= 410)
    end)
end)
