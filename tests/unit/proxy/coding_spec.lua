-- Answers that go out compressed, over real sockets and read by real decoders.
local proxied = require "proxied"
local socket = require "socket"

local TYPES = { "text/", "application/json" }

local function decoded(program, bytes)
    local path = os.tmpname()
    local file = io.open(path, "wb")
    file:write(bytes)
    file:close()
    local pipe = io.popen(("%s -dc <%s 2>/dev/null"):format(program, path))
    local out = pipe:read "*a"
    pipe:close()
    os.remove(path)
    return out
end

local function text_of(length)
    local seed, parts, size = 9, {}, 0
    while size < length do
        seed = (seed * 1103515245 + 12345) % 2147483648
        parts[#parts + 1] = ("<li class=\"item\">%d</li>\n"):format(seed % 9973)
        size = size + #parts[#parts]
    end
    return table.concat(parts):sub(1, length)
end

-- Bytes that no coder makes shorter.
local function noise(length)
    local seed, parts = 11, {}
    for i = 1, length do
        seed = (seed * 1103515245 + 12345) % 2147483648
        parts[i] = string.char(math.floor(seed / 4096) % 256)
    end
    return table.concat(parts)
end

describe("proxy, compressed answers", function()
    local w

    after_each(function()
        w = proxied.finish(w)
    end)

    local function world(more, route, backends)
        local all = { compress = { types = TYPES, min = 100, level = 5, brotli = true, secrets = false } }
        for key, value in pairs(more or {}) do
            all.compress[key] = value
        end
        for key, value in pairs(route or {}) do
            all[key] = value
        end
        w = proxied.start { backends = backends, route = { more = all } }
        if backends then
            w:roster { w:entry(1), w:entry(2) }
        end
        return w:client()
    end

    local function ask(c, accept, more)
        c:get("/", "Accept-Encoding: " .. accept .. "\r\n" .. (more or ""))
        local u = w:accept()
        u:read_head()
        return u
    end

    it("come as gzip and br, with a head that says so, and the connection goes on", function()
        local c, u = world()
        local text = text_of(5000)
        for _, case in ipairs { { "gzip", "gzip", "gzip" }, { "gzip, br", "br", "brotli" }, { "br;q=0.1, gzip", "gzip", "gzip" } } do
            c:get("/", "Accept-Encoding: " .. case[1] .. "\r\n")
            u = u or w:accept()
            u:read_head()
            u:ok(text, 'Content-Type: text/html\r\nETag: "a"\r\nAccept-Ranges: bytes\r\n')
            local status, head, body = c:answer()
            assert.equal(200, status)
            assert.truthy(head:find("\r\nContent-Encoding: " .. case[2] .. "\r\n", 1, true), head)
            assert.truthy(head:find("\r\nVary: Accept-Encoding\r\n", 1, true), head)
            assert.truthy(head:find('\r\nETag: W/"a"\r\n', 1, true), head)
            assert.is_nil(head:find "Content%-Length", head)
            assert.is_nil(head:find "Accept%-Ranges", head)
            assert.is_true(#body < #text / 2)
            assert.is_true(decoded(case[3], body) == text)
        end
    end)

    it("come as they are where a client or the answer wants that", function()
        local c, u = world()
        for _, case in ipairs { { "identity", "Content-Type: text/html\r\n" }, { "gzip", "Content-Type: image/png\r\n" },
            { "gzip", "Content-Type: text/html\r\nContent-Encoding: br\r\n" },
            { "gzip", "Content-Type: text/html\r\nCache-Control: no-transform\r\n" } } do
            c:get("/", "Accept-Encoding: " .. case[1] .. "\r\n")
            u = u or w:accept()
            u:read_head()
            u:ok(text_of(5000), case[2])
            local _, head, body = c:answer()
            assert.truthy(head:find("\r\nContent-Length: 5000\r\n", 1, true), head)
            assert.is_true(body == text_of(5000))
        end
    end)

    it("are held until they are whole, and repeated when they never are", function()
        local c = world({}, {}, 2)
        c:get("/", "Accept-Encoding: gzip\r\n")
        local u = w:accept_any()
        u:read_head()
        u:send "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5000\r\n\r\nshort"
        u:close()
        u = w:accept_any()
        u:read_head()
        u:send "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5000\r\n\r\n"
        socket.sleep(0.01)
        u:send(text_of(5000))
        local status, head, body = c:answer()
        assert.equal(200, status)
        assert.truthy(head:find("\r\nContent-Encoding: gzip\r\n", 1, true), head)
        assert.is_true(decoded("gzip", body) == text_of(5000))
    end)

    it("may be of any length, with a length, in chunks or until the end, and also do not get shorter", function()
        for _, text in ipairs { text_of(3000000), noise(200000), noise(65500), text_of(1) } do
            for _, form in ipairs { "length", "chunks", "close" } do
                w = proxied.finish(w)
                local c = world { min = 0 }
                local u = ask(c, "gzip")
                local bytes = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
                if form == "length" then
                    bytes = bytes .. ("Content-Length: %d\r\n\r\n%s"):format(#text, text)
                elseif form == "chunks" then
                    local parts = { bytes, "Transfer-Encoding: chunked\r\n\r\n" }
                    for at = 1, #text, 30000 do
                        local piece = text:sub(at, at + 29999)
                        parts[#parts + 1] = ("%x\r\n%s\r\n"):format(#piece, piece)
                    end
                    parts[#parts + 1] = "0\r\n\r\n"
                    bytes = table.concat(parts)
                else
                    bytes = bytes .. "\r\n" .. text
                end
                local sent = 0
                c.sock:settimeout(0)
                u.sock:settimeout(0)
                local got, done = {}, false
                local limit = socket.gettime() + 20
                while not done and socket.gettime() < limit do
                    if sent < #bytes then
                        local last, err, part = u.sock:send(bytes, sent + 1)
                        assert(last or err == "timeout", err)
                        sent = last or part
                        if sent == #bytes and form == "close" then
                            u:close()
                        end
                    end
                    local some, _, part = c.sock:receive(65536)
                    got[#got + 1] = some or part
                    done = (got[#got] or ""):find "0\r\n\r\n$" ~= nil or (#got > 1 and
                        (got[#got - 1] .. got[#got]):find "\r\n0\r\n\r\n$" ~= nil)
                end
                local answer = table.concat(got)
                local body, rest = {}, answer:match "\r\n\r\n(.*)$"
                assert.truthy(answer:find("Content-Encoding: gzip", 1, true), answer:sub(1, 300))
                while true do
                    local size, behind = rest:match "^(%x+)\r\n(.*)$"
                    size = tonumber(size, 16)
                    if size == 0 then
                        break
                    end
                    body[#body + 1] = behind:sub(1, size)
                    rest = behind:sub(size + 3)
                end
                assert.is_true(decoded("gzip", table.concat(body)) == text, form .. " " .. #text)
                c:close()
            end
        end
    end)

    it("let a stream's bytes through as they come", function()
        local c = world()
        local u = ask(c, "gzip")
        u:send "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        local _, head = true, c:read_head()
        assert.truthy(head:find("Content-Encoding: gzip", 1, true), head)
        local got = ""
        for i = 1, 3 do
            u:send(("8\r\n{\"n\":%d}\n\r\n"):format(i))
            proxied.eventually(function()
                c.sock:settimeout(0.01)
                local line = c.sock:receive "*l"
                if line and line:find "^%x+$" and tonumber(line, 16) > 0 then
                    c.sock:settimeout(5)
                    got = got .. c.sock:receive(tonumber(line, 16))
                end
                return decoded("gzip", got):find(('{"n":%d}'):format(i), 1, true) ~= nil
            end, "event " .. i)
        end
    end)

    it("leave event streams alone", function()
        local c = world()
        local u = ask(c, "gzip")
        u:send "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        local _, head, body = c:answer()
        assert.is_nil(head:find "Encoding: gzip")
        assert.equal("hello", body)
    end)

    it("are cut off when the backend breaks off", function()
        local c = world { min = 0 }
        local u = ask(c, "gzip")
        u:send("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel")
        c:read_head()
        u:close()
        local rest = c:read_all() or ""
        assert.is_nil(rest:find "\r\n0\r\n\r\n$")
    end)

    it("have the trailers that the answer had", function()
        local c = world { min = 0 }
        local u = ask(c, "gzip", "TE: trailers\r\n")
        u:send("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n"
            .. "5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n")
        c:read_head()
        local got, limit = "", socket.gettime() + 5
        while not got:find "X%-Sum: 7\r\n\r\n$" and socket.gettime() < limit do
            got = got .. (c.sock:receive(1) or "")
        end
        assert.truthy(got:find "\r\n0\r\nX%-Sum: 7\r\n\r\n$", got)
    end)

    it("give way to others between two pieces", function()
        w = proxied.start { routes = {
            { path = "/large", more = { compress = { types = TYPES, min = 0, level = 9, brotli = false } } },
            { path = "/", more = { answer = { status = 200, body = "ok" } } },
        } }
        local c, other = w:client(), w:client()
        c:get("/large", "Accept-Encoding: gzip\r\n")
        local u = w:accept()
        u:read_head()
        local text = text_of(4000000)
        u:send(("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n"):format(#text))
        local sent = proxied.stuff(u, text, 0) -- as far as buffers go: the client reads nothing yet
        local whole = c:read_head()
        assert.truthy(whole:find("Content-Encoding: gzip", 1, true))
        for _ = 1, 3 do
            other:get "/"
            assert.equal(200, (other:answer()))
        end
        c.sock:settimeout(0)
        u.sock:settimeout(0)
        local got, limit = {}, socket.gettime() + 20
        while socket.gettime() < limit do
            if sent < #text then
                local last, _, part = u.sock:send(text, sent + 1)
                sent = last or part
            end
            local some, _, part = c.sock:receive(65536)
            got[#got + 1] = some or part
            if table.concat(got, "", math.max(1, #got - 5)):find "\r\n0\r\n\r\n$" then
                break
            end
        end
        local body, rest = {}, table.concat(got)
        while true do
            local size, behind = rest:match "^(%x+)\r\n(.*)$"
            if tonumber(size, 16) == 0 then
                break
            end
            body[#body + 1] = behind:sub(1, tonumber(size, 16))
            rest = behind:sub(tonumber(size, 16) + 3)
        end
        assert.is_true(decoded("gzip", table.concat(body)) == text)
    end)
end)
