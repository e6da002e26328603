-- Requests of the proxy's own: questions whether a request may go on, and mirrored ones. Backend 1 is the service's,
-- backend 2 who is asked, or gets the copies.
local proxied = require "proxied"

local function world(purpose, settings, more)
    local outer = { [purpose] = settings }
    for key, value in pairs(more or {}) do
        outer[key] = value
    end
    local w = proxied.start {
        backends = 2,
        routes = {
            { path = "/", more = outer },
            { service = "other", path = "/", host = purpose, more = { max_retries = 0,
                total_timeout_ms = settings.timeout_ms or 5000,
                inner = { service = "shop", place = 1, purpose = purpose } } },
        },
    }
    w:roster { w:entry(1), w:entry(2, { id = "other-1", service = "other" }) }
    return w
end

describe("proxy, forward_auth", function()
    local w

    after_each(function()
        w = proxied.finish(w)
    end)

    local function guarded(more, settings)
        settings = settings or {}
        w = world("forward_auth", { path = "/verify?a=b", headers = { "X-User", "X-Groups" },
            request_headers = { "X-Api-Key" }, timeout_ms = settings.timeout_ms }, more)
        return w:client()
    end

    it("asks with what the request is, and gives it what is answered", function()
        local c = guarded()
        for i = 1, 2 do
            c:send("POST /work?x=1 HTTP/1.1\r\nHost: shop.example\r\nCookie: s=1\r\nAuthorization: Bearer t\r\n"
                .. "X-User: root\r\nX_Groups: wheel\r\nX-Api-Key: k\r\nX-Other: o\r\nX-Forwarded-Uri: /admin\r\n"
                .. "X-Request-Id: id-" .. i .. "\r\nContent-Length: 5\r\n\r\nhello")
            local auth = w.auth or w:accept(2)
            w.auth = auth
            local head = auth:read_head()
            assert.truthy(head:find "^GET /verify%?a=b HTTP/1.1\r\n", head)
            for _, line in ipairs { "Host: shop.example", "X-Forwarded-Method: POST", "X-Forwarded-Uri: /work?x=1",
                "Cookie: s=1", "Authorization: Bearer t", "X-Api-Key: k", "X-Forwarded-Host: shop.example",
                "X-Forwarded-For: 127.0.0.1", "X-Request-Id: id-" .. i } do
                assert.truthy(head:find("\r\n" .. line .. "\r\n", 1, true), line .. "\n" .. head)
            end
            for _, text in ipairs { "X-Other", "root", "wheel", "/admin", "Content-Length" } do
                assert.is_nil(head:find(text, 1, true), text .. "\n" .. head)
            end
            auth:send("HTTP/1.1 204 No Content\r\nX-User: alice\r\nX-Secret: s\r\nSet-Cookie: s=2\r\n\r\n")
            local u = w.u or w:accept(1)
            w.u = u
            head = u:read_head()
            assert.equal("hello", u.sock:receive(5))
            assert.truthy(head:find "^POST /work%?x=1 HTTP/1.1\r\n", head)
            assert.truthy(head:find("\r\nX-User: alice\r\n", 1, true), head)
            for _, text in ipairs { "root", "wheel", "X-Secret" } do
                assert.is_nil(head:find(text, 1, true), text .. "\n" .. head)
            end
            u:ok("in", "Set-Cookie: cart=" .. i .. "\r\n")
            local status, answer = c:answer()
            assert.equal(200, status)
            assert.truthy(answer:find("\r\nSet-Cookie: s=2\r\n", 1, true), answer)
            assert.truthy(answer:find("\r\nSet-Cookie: cart=" .. i .. "\r\n", 1, true), answer)
        end
    end)

    it("gives the client what refuses it", function()
        local c = guarded()
        for _, case in ipairs {
            { "401 Unauthorized", 'WWW-Authenticate: Bearer realm="x"\r\n', 401 },
            { "403 Forbidden", "", 403 },
            { "302 Found", "Location: https://login.example/?r=1\r\nSet-Cookie: state=1\r\nX-Secret: s\r\n", 302 },
        } do
            c:get "/work"
            w.auth = w.auth or w:accept(2)
            w.auth:read_head()
            w.auth:send(("HTTP/1.1 %s\r\nContent-Type: text/html\r\nContent-Length: 4\r\n%s\r\n<p>x"):format(case[1], case[2]))
            local status, head, body = c:answer()
            assert.same({ case[3], "<p>x" }, { status, body })
            for line in case[2]:gmatch "[^\r\n]+" do
                assert.equal(not line:find "Secret", head:find("\r\n" .. line .. "\r\n", 1, true) ~= nil, head)
            end
            assert.truthy(head:find("\r\nContent-Type: text/html\r\n", 1, true), head)
        end
        assert.is_true(w:unwanted(1))
        assert.equal(2, tonumber(w:numbers().auth_failed))
    end)

    it("lets nobody in when who is asked fails, breaks off, says nothing or is not there", function()
        local c = guarded(nil, { timeout_ms = 1500 })
        for _, case in ipairs { { "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", 502 },
            { "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", 502 }, { "HTTP/1.1 304 No\r\n\r\n", 502 },
            { "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf", 502 }, { "no HTTP\r\n\r\n", 502 }, { "", 502 }, { nil, 503 } } do
            c:get "/work"
            local auth = w:accept(2)
            auth:read_head()
            if case[1] then
                auth:send(case[1])
                auth:close()
            end
            local status = c:answer()
            assert.equal(case[2] or 503, status, case[1] or "silence")
            auth:close()
        end
        assert.is_true(w:unwanted(1))
        w:roster { w:entry(1) }
        c:get "/work"
        local status = c:answer()
        assert.equal(503, status)
        assert.is_true(tonumber(w:numbers().auth_errors) >= 7)
    end)

    it("forgets the question when the client leaves", function()
        local c = guarded()
        c:get "/work"
        local auth = w:accept(2)
        auth:read_head()
        c:reset()
        assert.is_true(auth:closed())
        local other = w:client()
        other:get "/work"
        auth = w:accept(2)
        auth:read_head()
        auth:ok ""
        local u = w:accept(1)
        u:read_head()
        u:ok "in"
        assert.equal(200, (other:answer()))
    end)

    it("comes behind other steps, and what it gives is the route's", function()
        local c = guarded { rate_limit = { { rate = 1, per_ms = 60000, burst = 1 } }, answer = { status = 200, body = "ok" } }
        for i = 1, 2 do
            c:get "/"
            if i == 1 then
                local auth = w:accept(2)
                auth:read_head()
                auth:ok ""
            end
            assert.equal(i == 1 and 200 or 429, (c:answer()))
        end
    end)

    it("says no when its service has no route for it", function()
        w = proxied.start { route = { more = { forward_auth = { path = "/" } } } }
        local c = w:client()
        c:get "/"
        assert.equal(503, (c:answer()))
    end)
end)

describe("proxy, mirror", function()
    local w

    after_each(function()
        w = proxied.finish(w)
    end)

    local function mirrored(settings, more)
        settings.percent = settings.percent or 100
        settings.max_body = settings.max_body or 65536
        w = world("mirror", settings, more)
        return w:client()
    end

    local function counts()
        return { tonumber(w:numbers().mirrored), tonumber(w:numbers().mirror_dropped) }
    end

    it("sends copies with their bodies, drops the answers, and marks them", function()
        local c = mirrored {}
        for _, framing in ipairs { "Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" } do
            c:send("POST /work?x=1 HTTP/1.1\r\nHost: shop.example\r\nCookie: s=1\r\nX-Mirrored-Request: no\r\n" .. framing)
            local u, other = w.u or w:accept(1), w.other or w:accept(2)
            w.u, w.other = u, other
            local copy = other:read_head()
            assert.equal("hello", other.sock:receive(5))
            assert.truthy(copy:find "^POST /work%?x=1 HTTP/1.1\r\n", copy)
            for _, line in ipairs { "Host: shop.example", "Cookie: s=1", "X-Mirrored-Request: 1", "Content-Length: 5",
                "X-Forwarded-For: 127.0.0.1" } do
                assert.truthy(copy:find("\r\n" .. line .. "\r\n", 1, true), line .. "\n" .. copy)
            end
            other:ok("not this", "X-From: mirror\r\n")
            local head = u:read_head()
            assert.is_nil(head:find("X-Mirrored-Request: 1", 1, true), head)
            repeat
                local got = u.sock:receive(1)
            until got == "o"
            if framing:find "chunked" then
                u.sock:receive(7)
            end
            u:ok "this"
            local status, answer, body = c:answer()
            assert.same({ 200, "this" }, { status, body })
            assert.is_nil(answer:find "X%-From")
        end
        assert.same({ 2, 0 }, counts())
    end)

    it("waits with the copy for a body that comes later", function()
        local c = mirrored { max_body = 1000 }
        for _, case in ipairs {
            { "Content-Length: 10\r\n\r\n", { "he", 2 }, { "llo", 3 }, { "12345", 5 } },
            { "Content-Length: 10\r\n\r\nhell", { "", 4 }, { "o1", 2 }, { "2345", 4 } },
            { "Transfer-Encoding: chunked\r\n\r\n", { "5\r\nhello\r\n", "5" }, { "5\r\n123", "3" }, { "45\r\n0\r\n\r\n", "2" } },
            { "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", { "", "5" }, { "5\r\n12345\r\n", "5" }, { "0\r\n\r\n" } },
        } do
            c:send("POST /late HTTP/1.1\r\nHost: shop.example\r\n" .. case[1])
            w.u = w.u or w:accept(1)
            w.u:read_head()
            for i = 2, #case do -- the backend has each piece before the next one is sent
                local piece, size = case[i][1], case[i][2]
                c:send(piece)
                if type(size) == "string" then
                    assert.equal(size, w.u.sock:receive "*l")
                    w.u.sock:receive(tonumber(size) + 2)
                else
                    w.u.sock:receive(size or 0)
                end
            end
            if case[1]:find "chunked" then
                assert.equal("0\r\n\r\n", w.u.sock:receive(5))
            end
            w.other = w.other or w:accept(2)
            local copy = w.other:read_head()
            assert.truthy(copy:find "^POST /late HTTP/1.1\r\n" and copy:find("\r\nContent-Length: 10\r\n", 1, true), copy)
            assert.equal("hello12345", w.other.sock:receive(10))
            w.other:ok ""
            w.u:ok "this"
            assert.equal(200, (c:answer()))
        end
        assert.same({ 4, 0 }, counts())
    end)

    it("neither waits for the copy nor fails with it", function()
        local c = mirrored {}
        for i = 1, 5 do
            c:get "/work"
            local u = w.u or w:accept(1)
            w.u = u
            u:read_head()
            u:ok "this"
            assert.equal(200, (c:answer()))
            local other = i < 5 and w:accept(2)
            if i == 2 then
                other:reset()
            elseif i == 3 then
                other:read_head()
                other:send "nonsense\r\n\r\n"
            elseif i == 4 then
                w:roster { w:entry(1) }
            end -- the first never answers, and the last has nobody to go to
        end
        assert.same({ 4, 1 }, counts())
    end)

    it("copies its part of the requests", function()
        local c = mirrored { percent = 30 }
        for _ = 1, 200 do
            c:get "/"
            w.u = w.u or w:accept(1)
            w.u:read_head()
            w.u:ok "this"
            assert.equal(200, (c:answer()))
        end
        local chosen = counts()[1] + counts()[2]
        assert.is_true(chosen > 30 and chosen < 95, chosen)
    end)

    it("drops what is too long or not whole, and what is one too many, and counts it", function()
        local c = mirrored { max_body = 4 }
        c:send "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
        local u = w:accept(1)
        u:read_head()
        u.sock:receive(5)
        u:ok "this"
        assert.equal(200, (c:answer()))
        for _, more in ipairs { "Content-Length: 4\r\n\r\nhe", "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n" } do
            local other = w:client()
            other:send("POST / HTTP/1.1\r\nHost: a\r\n" .. more)
            u:read_head() -- on the connection that was free
            other:reset()
            proxied.eventually(function()
                return w:numbers().connections == 1
            end)
            u:close()
            other = w:client()
            other:get "/"
            u = w:accept(1)
            u:read_head()
            u:ok "next"
            assert.equal(200, (other:answer()))
            other:close()
        end
        proxied.eventually(function()
            return counts()[1] + counts()[2] == 5
        end)
        c:send "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n"
        u:read_head()
        c:send "3\r\nllo\r\n0\r\n\r\n"
        proxied.eventually(function()
            return counts()[2] == 4
        end)
        local got = ""
        while not got:find "0\r\n\r\n$" do
            got = got .. u.sock:receive(1)
        end
        u:ok "this"
        assert.equal(200, (c:answer()))
        assert.same({ 2, 4 }, counts())
        for _ = 1, 70 do -- of which nobody is answered
            c:get "/"
            u:read_head()
            u:ok "this"
            assert.equal(200, (c:answer()))
        end
        assert.same({ 64, 12 }, counts())
    end)
end)
