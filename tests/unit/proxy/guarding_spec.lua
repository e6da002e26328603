-- Who is let through a route, on the wire and in the numbers.
local proxied = require "proxied"

describe("proxy, rate limits", function()
    local w

    after_each(function()
        w = proxied.finish(w)
    end)

    local function world(limits, more)
        local route = { rate_limit = limits }
        for key, value in pairs(more or {}) do
            route[key] = value
        end
        w = proxied.start { route = { more = route } }
        return w:client()
    end

    it("refuse what comes too often, on a connection that goes on, and count it", function()
        local c = world({ { rate = 1, per_ms = 60000, burst = 2 } }, { answer = { status = 200, body = "ok" } })
        for i = 1, 5 do
            c:get "/"
            local status, head, body = c:answer()
            assert.equal(i <= 2 and 200 or 429, status)
            assert.equal(i > 2, head:find("\r\nRetry-After: 60\r\n", 1, true) ~= nil, head)
            assert.equal(i > 2, head:find("\r\nRateLimit-Remaining: 0\r\n", 1, true) ~= nil, head)
            assert.equal(i > 2, head:find("\r\nRateLimit-Policy: 1;w=60;burst=2\r\n", 1, true) ~= nil, head)
            assert.equal(i > 2, body:find("asked too often", 1, true) ~= nil, body)
        end
        assert.equal(3, tonumber(w:numbers().rate_limited))
    end)

    it("tell passing answers, too, where they shall, in place of what the backend says", function()
        local c = world { { rate = 1, per_ms = 60000, burst = 5, headers = true } }
        c:get "/"
        local u = w:accept()
        u:read_head()
        u:ok("hello", "RateLimit-Remaining: 99\r\n")
        local status, head = c:answer()
        assert.equal(200, status)
        assert.truthy(head:find("\r\nRateLimit-Limit: 5\r\nRateLimit-Remaining: 4\r\nRateLimit-Reset: 60\r\n", 1, true), head)
        assert.is_nil(head:find("99", 1, true), head)
    end)

    it("refuse with the status of the route", function()
        local c = world { { rate = 1, per_ms = 1000, burst = 1, by = "header:X-Api-Key", status = 503 } }
        for i = 1, 2 do
            c:get("/", "X-Api-Key: a\r\n")
            if i == 1 then
                local u = w:accept()
                u:read_head()
                u:ok "x"
            end
            local status, head = c:answer()
            assert.equal(i == 1 and 200 or 503, status)
            assert.equal(i - 1, select(2, head:gsub("Retry%-After: 1\r\n", "")))
        end
    end)
end)

describe("proxy, basic_auth", function()
    local w

    after_each(function()
        w = proxied.finish(w)
    end)

    -- Passwords: "s3cret word" of all but dave, whose is "x".
    local USERS = table.concat({ "alice:$2y$05$iMimRCOTlJmZrFSqWyVT.eBVdmxKrBwGCBihbXuqPvA6n7YOwjf0W",
        "bob:$apr1$M.5IfBRM$yp5m1GRCAJo/dScprglH80", "carol:{SHA}LGOa2vtqnMFbTOAPTsm+DWiuGCA=",
        "dave:$6$abc$K4v3HcZ8yAmpRfxML6S46NCcqy9r4/KdbQpFvqSWsBf4dgySOEOo1DHJTrmn2BsJK2aNmPN8Tfb826D2o9.z51" }, "\n")

    local CREDENTIALS = { alice = "YWxpY2U6czNjcmV0IHdvcmQ=", bob = "Ym9iOnMzY3JldCB3b3Jk", carol = "Y2Fyb2w6czNjcmV0IHdvcmQ=",
        dave = "ZGF2ZTp4" }

    local function authorization(who)
        return "Authorization: Basic " .. (CREDENTIALS[who] or who) .. "\r\n"
    end

    local function world(more, clients)
        local route = { basic_auth = { users = USERS, realm = "ops" } }
        for key, value in pairs(more or {}) do
            route[key] = value
        end
        w = proxied.start { route = { more = route } }
        return w:client(), clients and w:client()
    end

    -- Answers one request at the backend; its head.
    local function serve(u)
        local head = u:read_head()
        u:ok "in"
        return head
    end

    it("asks for credentials, on a connection that goes on", function()
        local c = world()
        for _, fields in ipairs { "", "Authorization: Bearer x\r\n", authorization "!!" } do
            c:get("/", fields)
            local status, head, body = c:answer()
            assert.equal(401, status)
            assert.truthy(head:find('\r\nWWW-Authenticate: Basic realm="ops", charset="UTF-8"\r\n', 1, true), head)
            assert.truthy(body:find("a user and a password are needed", 1, true), body)
        end
        assert.is_true(w:unwanted())
        assert.equal(0, tonumber(w:numbers().auth_failed))
    end)

    it("lets in who has a right password, whatever its hash, and tells the backend who it is", function()
        local c, u = world()
        for _, who in ipairs { "alice", "bob", "carol", "dave", "alice" } do
            c:get("/", authorization(who) .. "X-Remote-User: root\r\nx_remote_user: root\r\nAccept: a/b\r\n")
            u = u or w:accept()
            local head = serve(u)
            assert.truthy(head:find("\r\nX-Remote-User: " .. who .. "\r\n", 1, true), head)
            assert.is_nil(head:find("root", 1, true), head)
            assert.is_nil(head:find("Authorization", 1, true), head)
            assert.truthy(head:find("\r\nAccept: a/b\r\n", 1, true), head)
            assert.equal(200, (c:answer()))
        end
    end)

    it("passes the field on where it shall", function()
        local c = world { basic_auth = { users = USERS, pass = true } }
        c:get("/", authorization "alice")
        assert.truthy(serve(w:accept()):find(authorization "alice", 1, true))
        assert.equal(200, (c:answer()))
    end)

    it("keeps out who has none, and counts them", function()
        local c = world()
        -- alice:wrong, nobody:s3cret word
        for i, who in ipairs { "YWxpY2U6d3Jvbmc=", "bm9ib2R5OnMzY3JldCB3b3Jk", "YWxpY2U6d3Jvbmc=" } do
            c:get("/", authorization(who))
            local status, _, body = c:answer()
            assert.equal(401, status)
            assert.truthy(body:find("do not fit", 1, true), body)
            assert.equal(i, tonumber(w:numbers().auth_failed))
        end
        assert.is_true(w:unwanted())
    end)

    it("keeps a body, and what is behind it, until it is known who sends it", function()
        local c = world()
        c:send("POST /a HTTP/1.1\r\nHost: a\r\n" .. authorization "alice" .. "Content-Length: 5\r\n\r\nhello" ..
            "GET /b HTTP/1.1\r\nHost: a\r\n" .. authorization "bob" .. "\r\n")
        local u = w:accept()
        local head = u:read_head()
        assert.truthy(head:find("^POST /a HTTP/1.1\r\n"), head)
        assert.equal("hello", u.sock:receive(5))
        u:ok "one"
        assert.same({ 200, "one" }, { (select(1, c:answer())), "one" })
        head = u:read_head()
        assert.truthy(head:find("^GET /b HTTP/1.1\r\n") and head:find("X-Remote-User: bob", 1, true), head)
        u:ok "two"
        assert.equal(200, (c:answer()))
    end)

    it("takes a body that comes later, in chunks too", function()
        local c = world()
        c:send("POST /a HTTP/1.1\r\nHost: a\r\n" .. authorization "alice" .. "Transfer-Encoding: chunked\r\n\r\n3\r\nxy")
        local u = w:accept()
        local head = u:read_head()
        assert.truthy(head:find("\r\nTransfer-Encoding: chunked\r\n", 1, true), head)
        c:send "z\r\n0\r\n\r\n"
        local got = ""
        while not got:find "0\r\n\r\n$" do
            got = got .. assert(u.sock:receive(1))
        end
        assert.equal("xyz", (got:gsub("%x+\r\n", ""):gsub("\r\n", "")))
        u:ok "in"
        assert.equal(200, (c:answer()))
    end)

    it("lets others go on while a slow hash is computed", function()
        -- bcrypt of cost 14, of "x"
        local slow = "erin:$2y$14$CUdrfhhbsRfJNlpf9sHp8e.9/kRIno0a7C0JTkxLNxUAf23CzOYhy"
        w = proxied.start { routes = {
            { path = "/slow", more = { basic_auth = { users = slow }, answer = { status = 200, body = "in" } } },
            { path = "/", more = { answer = { status = 200, body = "ok" } } },
        } }
        local one, other = w:client(), w:client()
        one:get("/slow", authorization "ZXJpbjp5") -- erin:y
        other:get "/"
        assert.equal(200, (other:answer()))
        assert.is_true(one:silent(0))
        assert.equal(401, (one:answer()))
    end)

    it("checks only so many at a time", function()
        local slow = "erin:$2y$12$ZPAum03cnhzLlINQXnJUKuLcqjTvtYfXSZtBBDcg/D7P1qa9opYV."
        w = proxied.start { route = { more = { basic_auth = { users = slow }, answer = { status = 200, body = "in" } } } }
        local clients, counts = {}, {}
        for i = 1, 16 do
            clients[i] = w:client()
            clients[i]:get("/", authorization "ZXJpbjp5")
        end
        for i = 1, 16 do
            local status = clients[i]:answer()
            counts[status] = (counts[status] or 0) + 1
        end
        assert.equal(16, (counts[401] or 0) + (counts[429] or 0))
        assert.is_true((counts[429] or 0) > 0 and (counts[401] or 0) >= 8, counts[429])
        assert.equal(counts[429], tonumber(w:numbers().auth_errors))
    end)

    it("forgets who leaves while the password is checked", function()
        local slow = "erin:$2y$12$ZPAum03cnhzLlINQXnJUKuLcqjTvtYfXSZtBBDcg/D7P1qa9opYV."
        w = proxied.start { route = { more = { basic_auth = { users = slow }, answer = { status = 200, body = "in" } } } }
        for _ = 1, 6 do
            local c = w:client()
            c:get("/", authorization "ZXJpbjp5")
            c:reset()
        end
        proxied.eventually(function()
            return w:numbers().connections == 0
        end)
        local c = w:client()
        c:get "/"
        assert.equal(401, (c:answer()))
    end)
end)
