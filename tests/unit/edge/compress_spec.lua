-- Which answers are coded, what becomes of their heads, and whether real decoders read what coders write.
local C, ffi = require("ffi_room").load("base/str.h", "base/json.h", "net/http1.h", "edge/compress.h")

local function str(text)
    return ffi.new("struct str", { text, #text })
end

local SETTINGS = [[{"types":["text/","application/json","+xml"],"min":100,"level":5,"brotli":true,"secrets":%s}]]

local function settings(text)
    local json = C.json_parse(text, #text)
    local c = C.edge_compress_new(json)
    C.json_free(json)
    return ffi.gc(c, C.edge_compress_free)
end

local function request(fields, line)
    local head, used, status = ffi.new "struct http1_head", ffi.new "size_t[1]", ffi.new "int[1]"
    local text = (line or "GET / HTTP/1.1") .. "\r\nHost: a\r\n" .. fields .. "\r\n"
    assert.equal(tonumber(C.HTTP1_DONE), tonumber(C.http1_parse_request(str(text), head, used, status)), text)
    return head, text
end

local function asked(fields, options)
    options = options or {}
    local head, text = request(fields, options.line)
    local c = settings(SETTINGS:format "false")
    local out = C.edge_compress_ask(c, head, options.secure or false, options.brotli ~= false)
    return out, text
end

local NAMES = { [0] = "identity", "gzip", "br" }

local function coding(accept, options)
    return NAMES[(asked(accept and "Accept-Encoding: " .. accept .. "\r\n" or "", options)).coding]
end

-- The coding of an answer, and its fields as text.
local function answer(ask, fields, options)
    options = options or {}
    local head, used, etag = ffi.new "struct http1_head", ffi.new "size_t[1]", ffi.new "char[256]"
    local text = ("HTTP/1.1 %d OK\r\n%s\r\n"):format(options.status or 200, fields)
    local done = C.http1_parse_response(str(text), C.HTTP1_GET, head, used)
    assert.equal(tonumber(C.HTTP1_DONE), tonumber(done), text)
    local c = settings(SETTINGS:format(options.secrets and "true" or "false"))
    local got = C.edge_compress_head(c, ask, head, options.body ~= false, etag)
    local lines = {}
    for i = 0, head.field_count - 1 do
        local f = head.fields[i]
        if f.known ~= C.HTTP1_CONTENT_LENGTH or head.has_content_length then
            lines[#lines + 1] = ffi.string(f.name.ptr, f.name.len) .. ": " .. ffi.string(f.value.ptr, f.value.len)
        end
    end
    return NAMES[tonumber(got)], table.concat(lines, "\n"), text
end

local GZIP, BOTH = "Accept-Encoding: gzip\r\n", "Accept-Encoding: gzip, br\r\n"
local HTML = "Content-Type: text/html\r\n"

describe("edge/compress", function()
    it("is only there when the route says so", function()
        assert.is_true(C.edge_compress_new(nil) == nil)
    end)

    it("chooses by Accept-Encoding", function() -- RFC 9110, 12.5.3
        for _, case in ipairs {
            { nil, "identity" }, { "", "identity" }, { "gzip", "gzip" }, { "GZIP", "gzip" }, { "x-gzip", "gzip" },
            { "br", "br" }, { "gzip, br", "br" }, { "gzip, deflate, br, zstd", "br" }, { "deflate", "identity" },
            { "gzip;q=1.0, br;q=0.5", "gzip" }, { "br;q=0.9,gzip;q=0.8", "br" }, { "gzip;q=0", "identity" },
            { "gzip;q=0.000", "identity" }, { "gzip;q=0.001", "gzip" }, { "*", "br" }, { "*;q=0", "identity" },
            { "gzip;q=0, *", "br" }, { "br;q=0, *;q=0.5", "gzip" }, { "identity;q=0.5, gzip;q=0.4", "identity" },
            { "identity;q=0.5, gzip;q=0.5", "gzip" }, { "identity, *;q=0", "identity" },
            { "gzip ; q=0.5 , br ; q=0.6", "br" }, { "gzip;q=2", "identity" }, { "gzip;q=x", "identity" },
            { "gzip;q=1.0001", "identity" }, { "gzip;q=", "identity" }, { ",,;;,", "identity" }, { "gzipx", "identity" },
        } do
            assert.equal(case[2], coding(case[1]), tostring(case[1]))
        end
        assert.equal("gzip", coding("gzip, br", { brotli = false }))
        assert.equal("identity", coding("br", { brotli = false }))
        assert.equal("br", (NAMES[(asked("Accept-Encoding: gzip\r\nAccept-Encoding: br\r\n")).coding]))
        assert.equal("identity", coding("gzip", { line = "HEAD / HTTP/1.1" }))
        assert.equal("identity", coding("gzip", { line = "GET / HTTP/1.0" }))
    end)

    it("codes the listed types, and says so in the head", function()
        local ask = asked(GZIP)
        for type, want in pairs { ["text/html"] = "gzip", ["text/html; charset=utf-8"] = "gzip", ["TEXT/CSS"] = "gzip",
            ["application/json"] = "gzip", ["image/svg+xml"] = "gzip", ["image/png"] = "identity",
            ["application/jsonp"] = "identity", ["text/event-stream"] = "identity", ["xml"] = "identity", [""] = "identity" } do
            local got, fields = answer(ask, "Content-Length: 5000\r\nContent-Type: " .. type .. "\r\n")
            assert.equal(want, got, type)
            assert.equal(want == "gzip" and 1 or nil, fields:find("Content-Encoding: gzip", 1, true) and 1, fields)
            assert.equal(want == "gzip", fields:find("Vary: Accept-Encoding", 1, true) ~= nil)
            assert.equal(want ~= "gzip", fields:find("Content-Length", 1, true) ~= nil)
        end
        local _, fields = answer(asked(BOTH), HTML .. "Transfer-Encoding: chunked\r\n")
        assert.truthy(fields:find("Content-Encoding: br", 1, true))
        assert.equal("identity", (answer(ask, "Content-Length: 5000\r\n")))
    end)

    it("leaves alone what is short, coded, a part, or not to be changed", function()
        local ask = asked(GZIP)
        for _, more in ipairs { "Content-Length: 99\r\n", "Content-Encoding: gzip\r\n", "Content-Encoding: identity\r\n",
            "Cache-Control: public, no-transform\r\n", "Content-Range: bytes 0-1/2\r\n", "Content-MD5: x\r\n",
            "Digest: x\r\n", "Content-Digest: sha-256=:x:\r\n" } do
            local got, fields = answer(ask, HTML .. more)
            assert.equal("identity", got, more)
            assert.is_nil(fields:find "Vary")
        end
        assert.equal("gzip", (answer(ask, HTML .. "Content-Length: 100\r\n")))
        for _, status in ipairs { 204, 205, 206, 304 } do
            local options = { status = status, body = status ~= 304 and status ~= 204 }
            assert.equal("identity", (answer(ask, HTML, options)), status)
        end
        assert.equal("gzip", (answer(ask, HTML, { status = 404 })))
    end)

    it("tells caches that it depends, also where this client gets it plain", function()
        local _, fields = answer(asked "", HTML .. "Content-Length: 5000\r\n")
        assert.truthy(fields:find("Vary: Accept-Encoding", 1, true))
        assert.truthy(fields:find("Content-Length: 5000", 1, true))
        for _, vary in ipairs { "*", "accept-encoding", "Cookie, Accept-Encoding" } do
            _, fields = answer(asked(GZIP), HTML .. "Vary: " .. vary .. "\r\n")
            assert.equal(1, select(2, fields:gsub("Vary", "")), fields)
        end
        _, fields = answer(asked(GZIP), HTML .. "Vary: Cookie\r\n")
        assert.equal(2, select(2, fields:gsub("Vary", "")), fields)
    end)

    it("makes validators weak and offers no ranges", function()
        local _, fields = answer(asked(GZIP), HTML .. 'ETag: "abc"\r\nAccept-Ranges: bytes\r\n')
        assert.truthy(fields:find('ETag: W/"abc"', 1, true))
        assert.is_nil(fields:find "Ranges")
        _, fields = answer(asked(GZIP), HTML .. 'ETag: W/"abc"\r\n')
        assert.truthy(fields:find('ETag: W/"abc"', 1, true))
        _, fields = answer(asked(GZIP), HTML .. 'ETag: "' .. ("x"):rep(300) .. '"\r\n')
        assert.is_nil(fields:find "ETag")
        _, fields = answer(asked "", HTML .. 'ETag: "abc"\r\nAccept-Ranges: bytes\r\n')
        assert.truthy(fields:find('ETag: "abc"', 1, true))
        assert.truthy(fields:find "Ranges")
    end)

    it("keeps secrets apart from what others choose, over TLS", function()
        local tls = { secure = true }
        for _, case in ipairs {
            { GZIP, "", tls, "gzip" },
            { GZIP .. "Cookie: a=b\r\n", "", tls, "identity" },
            { GZIP .. "Authorization: Basic eDp5\r\n", "", tls, "identity" },
            { GZIP, "Set-Cookie: a=b\r\n", tls, "identity" },
            { GZIP .. "Cookie: a=b\r\n", "Set-Cookie: a=b\r\n", {}, "gzip" }, -- who sees it sees all of it
        } do
            assert.equal(case[4], (answer(asked(case[1], case[3]), HTML .. case[2])), case[1] .. case[2])
            assert.equal("gzip", (answer(asked(case[1], case[3]), HTML .. case[2], { secrets = true })))
        end
    end)

    it("does not grow a head that is full", function()
        local fields = HTML .. ("A: b\r\n"):rep(C.LIMIT_FIELDS - 1)
        assert.equal("identity", (answer(asked(GZIP), fields)))
    end)
end)

describe("edge/coder", function()
    local all

    before_each(function()
        all = ffi.new("struct edge_coders", { most = 64 * 2 ^ 20 })
        assert.is_true(C.edge_coders_brotli(all))
    end)

    local function take(coder)
        local waits = C.edge_coder_waits(coder)
        local text = waits.len > 0 and ffi.string(waits.ptr, waits.len) or ""
        C.edge_coder_took(coder, waits.len)
        return text
    end

    local function decoded(coding_, bytes)
        local path = os.tmpname()
        local file = io.open(path, "wb")
        file:write(bytes)
        file:close()
        local pipe = io.popen((coding_ == C.EDGE_GZIP and "gzip -dc" or "brotli -dc") .. " <" .. path .. " 2>/dev/null")
        local out = pipe:read "*a"
        pipe:close()
        os.remove(path)
        return out
    end

    local function text_of(length)
        local words, seed, parts, size = { "sail", "harbour", "tide", "gate", "lock", "\0\255", "{}" }, 9, {}, 0
        while size < length do
            seed = (seed * 1103515245 + 12345) % 2147483648
            parts[#parts + 1] = words[math.floor(seed / 65536) % #words + 1] .. seed % 97
            size = size + #parts[#parts]
        end
        return table.concat(parts):sub(1, length)
    end

    it("writes what real decoders read, in any pieces", function()
        for _, kind in ipairs { C.EDGE_GZIP, C.EDGE_BROTLI } do
            for _, case in ipairs { { 0, 1 }, { 1, 1 }, { 100, 7 }, { 8192, 8192 }, { 300000, 16384 }, { 300000, 65536 } } do
                local text, out = text_of(case[1]), {}
                local coder = C.edge_coder_new(all, kind, 5, case[1])
                for at = 1, #text, case[2] do
                    local piece = text:sub(at, at + case[2] - 1)
                    assert.equal(0, C.edge_coder_push(coder, str(piece), C.EDGE_MORE))
                    out[#out + 1] = take(coder)
                end
                assert.equal(0, C.edge_coder_push(coder, str "", C.EDGE_END))
                out[#out + 1] = take(coder)
                C.edge_coder_free(all, coder)
                local bytes = table.concat(out)
                assert.is_true(decoded(kind, bytes) == text, tonumber(kind) .. " " .. case[1])
                assert.is_true(case[1] < 8192 or #bytes < case[1] / 2)
            end
        end
        assert.equal(0, tonumber(all.bytes))
    end)

    it("lets what came so far be read when it is flushed", function()
        for _, kind in ipairs { C.EDGE_GZIP, C.EDGE_BROTLI } do
            local coder, out = C.edge_coder_new(all, kind, 5, -1ULL), ""
            for i = 1, 3 do
                assert.equal(0, C.edge_coder_push(coder, str(("event %d\n"):format(i)), C.EDGE_FLUSH))
                out = out .. take(coder)
                if kind == C.EDGE_GZIP then -- brotli's own program shows nothing of an unfinished stream
                    assert.equal(("event 1\nevent 2\nevent 3\n"):sub(1, 8 * i), decoded(kind, out))
                else
                    assert.is_true(#out >= 8 * i)
                end
            end
            C.edge_coder_push(coder, str "", C.EDGE_END)
            assert.equal("event 1\nevent 2\nevent 3\n", decoded(kind, out .. take(coder)))
            C.edge_coder_free(all, coder)
        end
    end)

    it("are only so many at a time", function()
        all.most = 600 * 1024
        local first, second = C.edge_coder_new(all, C.EDGE_GZIP, 5, -1ULL), C.edge_coder_new(all, C.EDGE_GZIP, 5, -1ULL)
        assert.is_true(first ~= nil and second ~= nil)
        assert.is_true(C.edge_coder_new(all, C.EDGE_GZIP, 5, -1ULL) == nil)
        local small = C.edge_coder_new(all, C.EDGE_GZIP, 5, 4000)
        assert.is_true(small ~= nil)
        for _, coder in ipairs { first, second, small } do
            C.edge_coder_free(all, coder)
        end
        assert.equal(0, tonumber(all.bytes))
        all.most = 0
        assert.is_true(C.edge_coder_new(all, C.EDGE_BROTLI, 5, 10) == nil)
    end)

    it("keep what waits until it is taken", function()
        local coder = C.edge_coder_new(all, C.EDGE_GZIP, 5, -1ULL)
        local text = text_of(70000)
        C.edge_coder_push(coder, str(text), C.EDGE_END)
        local out = {}
        while C.edge_coder_waits(coder).len > 0 do
            local waits = C.edge_coder_waits(coder)
            local n = math.min(1000, tonumber(waits.len))
            out[#out + 1] = ffi.string(waits.ptr, n)
            C.edge_coder_took(coder, n)
        end
        C.edge_coder_free(all, coder)
        assert.is_true(decoded(C.EDGE_GZIP, table.concat(out)) == text)
    end)
end)
