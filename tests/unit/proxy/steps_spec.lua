-- Steps of routes on the way of a request: what is answered here, on the wire and in the numbers.
local proxied = require "proxied"
local C = require("ffi_room").load("board/board.h", "board/traffic.h")

describe("proxy, steps", function()
    local w

    after_each(function()
        w = proxied.finish(w)
    end)

    local function world(more)
        w = proxied.start { route = { more = more } }
        return w:client()
    end

    it("answer on a connection that goes on, HEAD too, and no backend hears of it", function()
        local c = world { answer = { status = 410, body = "gone", type = "text/html" } }
        for _ = 1, 2 do
            c:get "/x"
            local status, head, body = c:answer()
            assert.same({ 410, "gone" }, { status, body })
            assert.truthy(head:find("\r\nContent-Type: text/html\r\n", 1, true), head)
            assert.truthy(head:find "\r\nX%-Request%-Id: %x+\r\n" and head:find "\r\nDate: ", head)
        end
        c:send "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
        local status, head = c:answer "HEAD"
        assert.equal(410, status)
        assert.truthy(head:find("\r\nContent-Length: 4\r\n", 1, true), head)
        c:get "/again"
        assert.equal(410, (c:answer()))
        assert.is_true(w:unwanted())
        assert.equal(0, tonumber(w:row(1).in_flight))
    end)

    it("may be as long as files may be", function()
        local body = ("x"):rep(32768)
        local c = world { answer = { body = body } }
        for _ = 1, 20 do
            c:get "/"
        end
        for _ = 1, 20 do
            local status, _, got = c:answer()
            assert.same({ 200, #body, true }, { status, #got, got == body })
        end
    end)

    it("have no body with 204", function()
        local c = world { answer = { status = 204, body = "no" } }
        c:get "/"
        local status, head = c:answer()
        assert.equal(204, status)
        assert.is_nil(head:lower():find "content%-")
        c:get "/"
        assert.equal(204, (c:answer()))
    end)

    it("end a connection whose request has a body that nobody reads", function()
        local c = world { redirect = { to = "/new{path}", status = 307 } }
        c:send "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
        local status, head = c:answer()
        assert.equal(307, status)
        assert.truthy(head:find("\r\nLocation: /new/x\r\n", 1, true), head)
        assert.truthy(head:find("\r\nConnection: close\r\n", 1, true), head)
        assert.is_true(c:closed())
    end)

    it("are counted as requests of their route, by status", function()
        local c = world { answer = { status = 418, body = "short" } }
        for _ = 1, 3 do
            c:get "/"
            assert.equal(418, (c:answer()))
        end
        local board, count, in_flight = C.proxydriver_board(w.driver), 0, 0
        for i = 0, C.board_counts_used(board, 0) - 1 do
            local row = C.board_count_at(board, 0, i)
            count = count + (row.status == 418 and tonumber(row.count) or 0)
        end
        for i = 0, C.board_times_used(board, 0) - 1 do
            in_flight = in_flight + tonumber(C.board_times_at(board, 0, i).in_flight)
        end
        assert.same({ 3, 0 }, { count, in_flight })
    end)
end)

describe("proxy, steps that go on to a backend", function()
    local w

    after_each(function()
        w = proxied.finish(w)
    end)

    -- The head that the backend gets for a request, and client and backend.
    local function reaches(more, request)
        w = proxied.start { route = { path = more.path, more = more } }
        local c = w:client()
        c:send(request)
        local u = w:accept()
        return assert(u:read_head()), c, u
    end

    it("give the backend another path, and tell it the original", function()
        local head, c, u = reaches({ path_change = { strip = "/api", add = "/v1" } },
            "GET /api/x?q=/api HTTP/1.1\r\nHost: a\r\nX-Original-URI: /forged\r\nX-Forwarded-Prefix: /forged\r\n\r\n")
        assert.truthy(head:find "^GET /v1/x%?q=/api HTTP/1.1\r\n", head)
        assert.truthy(head:find("\r\nX-Original-URI: /api/x?q=/api\r\n", 1, true), head)
        assert.truthy(head:find("\r\nX-Forwarded-Prefix: /api\r\n", 1, true), head)
        assert.is_nil(head:find "forged")
        u:ok "fine"
        assert.equal(200, (c:answer()))
    end)

    it("leave the head alone where no pattern fits", function()
        local head, c, u = reaches({ path_change = { rules = { { from = "/old/{rest}", to = "/new/{rest}" } } } },
            "GET /other HTTP/1.1\r\nHost: a\r\nX-Original-URI: /theirs\r\n\r\n")
        assert.truthy(head:find "^GET /other HTTP/1.1\r\n", head)
        assert.truthy(head:find("\r\nX-Original-URI: /theirs\r\n", 1, true), head)
        u:ok()
        assert.equal(200, (c:answer()))
    end)

    it("refuse a path that climbs, which no backend hears of", function()
        w = proxied.start { route = { more = { path_change = { strip = "/api" } } } }
        local c = w:client()
        c:get "/api/%2e%2e/secret"
        local status, _, body = c:answer()
        assert.equal(400, status)
        assert.truthy(body:find("..", 1, true), body)
        assert.is_true(w:unwanted())
    end)

    it("say what CORS has in place of what the backend says of it, and keep its Vary", function()
        local _, c, u = reaches({ cors = { origins = { "https://shop.example" }, expose = "X-A" } },
            "GET / HTTP/1.1\r\nHost: a\r\nOrigin: https://shop.example\r\n\r\n")
        u:ok("", "Access-Control-Allow-Origin: *\r\naccess-control-allow-methods: DELETE\r\nVary: Accept\r\n")
        local status, head = c:answer()
        assert.equal(200, status)
        assert.truthy(head:find("\r\nAccess-Control-Allow-Origin: https://shop.example\r\n", 1, true), head)
        assert.is_nil(head:find("*", 1, true) or head:find "DELETE")
        assert.truthy(head:find("\r\nVary: Accept\r\n", 1, true) and head:find("\r\nVary: Origin\r\n", 1, true), head)
    end)

    it("answer preflights, and give our own answers what CORS has, too", function()
        w = proxied.start { backends = 1, route = { more = {
            cors = { origins = { "https://shop.example" }, methods = "PUT" } } } }
        local c = w:client()
        local origin = "Origin: https://%s.example\r\nAccess-Control-Request-Method: PUT\r\n"
        c:send("OPTIONS /x HTTP/1.1\r\nHost: a\r\n" .. origin:format "shop" .. "\r\n")
        local status, head = c:answer()
        assert.equal(204, status)
        assert.truthy(head:find("\r\nAccess-Control-Allow-Methods: PUT\r\n", 1, true), head)
        assert.truthy(head:find("\r\nAccess-Control-Allow-Origin: https://shop.example\r\n", 1, true), head)
        c:send("OPTIONS /x HTTP/1.1\r\nHost: a\r\n" .. origin:format "evil" .. "\r\n")
        status, head = c:answer()
        assert.equal(403, status)
        assert.is_nil(head:find "Allow%-Origin")
        w:roster {}
        w:must(w:configure { { more = { cors = { origins = { "https://shop.example" } }, queue = {} } } })
        w:must "commit"
        c:get("/", "Origin: https://shop.example\r\n")
        status, head = c:answer()
        assert.equal(503, status)
        assert.truthy(head:find("\r\nAccess-Control-Allow-Origin: https://shop.example\r\n", 1, true), head)
    end)

    it("show pages for answers of our own, and for the backend's where that is asked for", function()
        local pages = { intercept = true, pages = { { from = 500, to = 599, type = "text/html", body = "sorry: {status}" } } }
        local _, c, u = reaches({ error_pages = pages }, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        u:send "HTTP/1.1 500 Oops\r\nContent-Length: 5\r\nX-Secret: stack\r\n\r\ntrace"
        local status, head, body = c:answer()
        assert.same({ 500, "sorry: 500" }, { status, body })
        assert.is_nil(head:find "Secret")
        c:get "/again"
        u = w:accept()
        u:read_head()
        u:send "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno"
        status, _, body = c:answer()
        assert.same({ 404, "no" }, { status, body })
        c:get "/third"
        u:read_head()
        u:send "nonsense\r\n\r\n"
        status, _, body = c:answer()
        assert.same({ 502, "sorry: 502" }, { status, body })
        assert.is_true(tonumber(w:row(1).outcomes[5]) == 1, "the backend's 500 counts as its own")
    end)

    it("lend pages to the last answer of their generation", function()
        local pages = { pages = { { from = 500, to = 599, type = "text/html; charset=utf-8", body = "sorry: {status}" } } }
        local _, c, u = reaches({ error_pages = pages }, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        w:must(w:configure { {} })
        w:must "commit"
        u:send "nonsense\r\n\r\n"
        local status, head, body = c:answer()
        assert.same({ 502, "sorry: 502" }, { status, body })
        assert.truthy(head:find("\r\nContent-Type: text/html; charset=utf-8\r\n", 1, true), head)
    end)

    it("leave the backend's errors alone where that is not asked for", function()
        local pages = { pages = { { from = 500, to = 599, body = "sorry" } } }
        local _, c, u = reaches({ error_pages = pages }, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        u:send "HTTP/1.1 500 Oops\r\nContent-Length: 5\r\n\r\ntrace"
        local status, _, body = c:answer()
        assert.same({ 500, "trace" }, { status, body })
    end)

    it("are not needed for the pages of the whole cluster", function()
        local pages = { pages = { { from = 400, to = 499, type = "text/html", body = "none of ours" } } }
        w = proxied.start { route = { host = "only.example" }, cluster = { error_pages = pages } }
        local c = w:client()
        c:get "/"
        local status, head, body = c:answer()
        assert.same({ 404, "none of ours" }, { status, body })
        assert.truthy(head:find("\r\nContent-Type: text/html\r\n", 1, true), head)
        c:send "no request\r\n\r\n"
        local bad, _, same = c:answer()
        assert.same({ 400, "none of ours" }, { bad, same })
    end)

    it("say HSTS, and redirect no more, where a proxy that is believed came by https", function()
        w = proxied.start { route = { more = { trusted_proxies = { "127.0.0.1" }, hsts = "max-age=60",
            redirect = { to = "https://{host}{uri}", secures = true } } } }
        local c = w:client()
        c:get "/x"
        local status, head = c:answer()
        assert.equal(301, status)
        assert.is_nil(head:find "Strict")
        c:get("/x", "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n")
        local u = w:accept()
        u:read_head()
        u:ok("", "Strict-Transport-Security: max-age=1\r\n")
        status, head = c:answer()
        assert.equal(200, status)
        assert.truthy(head:find("\r\nStrict-Transport-Security: max-age=60\r\n", 1, true), head)
        assert.is_nil(head:find("max-age=1\r", 1, true))
    end)

    it("rest while under maintenance, but for those who may pass", function()
        w = proxied.start { route = { more = { maintenance = { body = "later", retry_after_s = 60 } } } }
        local c = w:client()
        c:get "/"
        local status, head, body = c:answer()
        assert.same({ 503, "later" }, { status, body })
        assert.equal(1, select(2, head:gsub("\r\nRetry%-After: ", "")), head)
        w:must(w:configure { { more = { maintenance = { body = "later", allow = { "127.0.0.0/8" } } } } })
        w:must "commit"
        c:get "/"
        local u = w:accept()
        u:read_head()
        u:ok()
        assert.equal(200, (c:answer()))
    end)
end)

describe("proxy, canaries", function()
    local w

    after_each(function()
        w = proxied.finish(w)
    end)

    -- Backend 1 is of the service shop, backend 2 of its canary v2.
    local function world(canary, more)
        local outer = { canary = canary }
        for key, value in pairs(more or {}) do
            outer[key] = value
        end
        w = proxied.start { backends = 2, routes = {
            { service = "shop", more = outer },
            { service = "v2", more = { inner = { service = "shop", place = 1, canary = 1 } } },
        } }
        w:roster { w:entry(1), w:entry(2, { service = "v2", id = "v2-1" }) }
    end

    local function lands(more)
        local c = w:client()
        c:get("/", "Connection: close\r\n" .. (more or ""))
        local u, i = w:accept_any()
        local head = u:read_head()
        u:ok("", "Connection: close\r\n")
        local status = c:answer()
        c:close()
        u:close()
        return i, status, head
    end

    it("get those that a header names, and their part of the others", function()
        world { services = { { percent = 0, header = "X-Canary", value = "1" } } }
        for _ = 1, 3 do
            assert.equal(1, (lands()))
            assert.equal(2, (lands "X-Canary: 1\r\n"))
        end
    end)

    it("leave requests to the route's own service while they have no backend", function()
        world { services = { { percent = 100 } } }
        assert.equal(2, (lands()))
        w:roster { w:entry(1), w:entry(2, { service = "v2", id = "v2-1", draining = true }) }
        assert.equal(1, (lands()))
        w:roster { w:entry(1) }
        assert.equal(1, (lands()))
        w:roster { w:entry(1), w:entry(2, { service = "v2", id = "v2-1" }) }
        assert.equal(2, (lands()))
    end)

    it("leave them to it, too, while all circuits of their own are open", function()
        world { services = { { percent = 100 } } }
        w:must(w:configure { { service = "shop", more = { canary = { services = { { percent = 100 } } } } },
            { service = "v2", more = { inner = { service = "shop", place = 1, canary = 1 }, response_buffer = 0,
                circuit_breaker = { failure_threshold = 1, recovery_timeout_ms = 60000, minimum_requests = 1 } } } })
        w:must "commit"
        local c = w:client()
        c:get "/"
        local u, i = w:accept_any()
        assert.equal(2, i)
        u:read_head()
        u:send "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        assert.equal(500, (c:answer()))
        c:close()
        u:close()
        assert.equal(1, (lands()))
    end)

    it("have the steps of their route, and are found by no request themselves", function()
        world({ services = { { percent = 100 } } }, { path_change = { add = "/v2" }, cors = { origins = { "https://a.example" } } })
        local i, status, head = lands()
        assert.same({ 2, 200 }, { i, status })
        assert.truthy(head:find "^GET /v2/ HTTP", head)
    end)

    it("are counted under their own service's route, each request once", function()
        world { services = { { percent = 0, header = "X-Canary" } } }
        lands()
        lands "X-Canary: 1\r\n"
        lands "X-Canary: 1\r\n"
        local board = C.proxydriver_board(w.driver)
        proxied.eventually(function()
            local counts, in_flight = {}, 0
            for i = 0, C.board_counts_used(board, 0) - 1 do
                local count = tonumber(C.board_count_at(board, 0, i).count)
                counts[#counts + 1] = count > 0 and count or nil
            end
            for i = 0, C.board_times_used(board, 0) - 1 do
                in_flight = in_flight + tonumber(C.board_times_at(board, 0, i).in_flight)
            end
            table.sort(counts)
            return in_flight == 0 and table.concat(counts, " ") == "1 2"
        end, "one is not counted, or twice")
    end)

    it("go with their route in a reload", function()
        world { services = { { percent = 100 } } }
        assert.equal(2, (lands()))
        w:must(w:configure { { service = "shop" }, { service = "v2", path = "/v2" } })
        w:must "commit"
        assert.equal(1, (lands()))
    end)
end)
