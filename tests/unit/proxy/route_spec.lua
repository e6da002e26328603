-- Which route a request takes, what routes change in heads, and their limits.
local proxied = require "proxied"
local C = require("ffi_room").load("board/board.h")

describe("proxy, routes", function()
    local w

    local function world(options)
        w = proxied.start(options)
        return w
    end

    after_each(function()
        w = proxied.finish(w)
    end)

    -- One backend for each service, named like it; answers with the service's name.
    local function services(names, routes)
        world { backends = #names, routes = routes }
        local entries = {}
        for i, name in ipairs(names) do
            entries[i] = w:entry(i, { service = name, id = name .. "-1" })
        end
        w:roster(entries)
    end

    local function lands(names, request)
        local c = w:client()
        c:send(request)
        local u, i = w:accept_any()
        u:read_head()
        u:ok("", "Connection: close\r\n")
        c:answer()
        c:close()
        u:close()
        return names[i]
    end

    it("are chosen by host, then path, then headers and methods, the most demanding first", function()
        local names = { "any", "reads", "blue", "bluereads", "deep", "below" }
        services(names, {
            { service = "any" },
            { service = "reads", more = { methods = { "GET", "HEAD" } } },
            { service = "blue", more = { headers = { { name = "X-Tenant", value = "blue" } } } },
            { service = "bluereads", more = {
                methods = { "GET" }, headers = { { name = "x-tenant", value = "blue" } } } },
            { service = "deep", path = "/deep" },
            { service = "below", host = "*.shop.example", more = { methods = { "PUT" } } },
        })
        local function request(method, path, host, more)
            return lands(names, ("%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: 0\r\n%s\r\n"):format(
                method, path, host, more or ""))
        end
        assert.equal("reads", request("GET", "/", "a"))
        assert.equal("any", request("DELETE", "/", "a"))
        assert.equal("blue", request("DELETE", "/", "a", "x-TENANT: blue\r\n"))
        assert.equal("bluereads", request("GET", "/x", "a", "X-Tenant: red\r\nX-Tenant: blue\r\n"))
        assert.equal("reads", request("GET", "/x", "a", "X-Tenant: Blue\r\n"))
        assert.equal("deep", request("GET", "/deep/er", "a", "X-Tenant: blue\r\n"))
        assert.equal("below", request("PUT", "/", "one.shop.example"))
        assert.equal("any", request("PUT", "/", "shop.example"))
        assert.equal("reads", request("GET", "/", "one.shop.example"), "another host when no route of this one fits")
    end)

    it("are found by the path as it came, of which nothing is resolved", function()
        local names = { "root", "api" }
        services(names, { { service = "root" }, { service = "api", path = "/api" } })
        for path, name in pairs { ["/api"] = "api", ["/api/../x"] = "api", ["/api/%2e%2e/x"] = "api", ["/api//x"] = "api",
            ["/api;v=1"] = "root", ["/api%2fx"] = "root", ["//api/x"] = "root", ["/./api"] = "root", ["/%61pi"] = "root",
            ["/x/../api"] = "root", ["/API"] = "root" } do
            assert.equal(name, lands(names, ("GET %s HTTP/1.1\r\nHost: a\r\n\r\n"):format(path)), path)
        end
    end)

    it("with nothing to tell them apart are refused", function()
        world()
        local same = { { name = "A", value = "1" }, { name = "b", value = "2" } }
        local turned = { { name = "B", value = "2" }, { name = "a", value = "1" } }
        local function refused(one, other)
            local reply = w:tell(w:configure { { service = "one", more = one }, { service = "two", more = other } })
            w:must "abort"
            return reply:find("the same conditions", 1, true) ~= nil
        end
        assert.is_true(refused({}, {}))
        assert.is_true(refused({ headers = same }, { headers = turned }))
        assert.is_true(refused({ methods = { "GET", "PUT" } }, { methods = { "PUT" } }))
        assert.is_false(refused({ methods = { "GET" } }, { methods = { "PUT" } }))
        assert.is_false(refused({ methods = { "GET" } }, {}))
        assert.is_false(refused({ headers = same }, { headers = { same[1] } }))
    end)

    it("change fields of requests and of answers", function()
        world { route = { more = {
            request_headers = {
                set = { { name = "X-Env", value = "live" }, { name = "X-Forwarded-Proto", value = "https" } },
                remove = { "Cookie" },
            },
            answer_headers = { set = { { name = "X-Frame-Options", value = "DENY" } }, remove = { "server" } },
        } } }
        local c = w:client()
        c:get("/", "x-env: forged\r\ncookie: a=b\r\nX-Keep: 1\r\n")
        local u = w:accept()
        local head = u:read_head()
        assert.matches("\r\nX%-Env: live\r\n", head)
        assert.matches("\r\nX%-Keep: 1\r\n", head)
        assert.matches("\r\nX%-Forwarded%-Proto: https\r\n", head)
        assert.is_nil(head:find "forged" or head:lower():find "cookie" or head:find "Proto: http\r")
        u:send "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        u:ok("", "Server: x\r\nx-frame-options: no\r\n")
        local status, interim = c:answer()
        assert.equal(103, status)
        assert.is_nil(interim:find "X%-Frame")
        local _, answer = c:answer()
        assert.matches("\r\nX%-Frame%-Options: DENY\r\n", answer)
        assert.is_nil(answer:lower():find "\r\nserver:" or answer:find "frame%-options: no")
    end)

    it("change trailers as the answer's head: what is removed or set there does not come behind it", function()
        world { route = { more = {
            answer_headers = { set = { { name = "X-Frame-Options", value = "DENY" } }, remove = { "x-internal" } },
        } } }
        local c = w:client()
        c:get("/", "TE: trailers\r\n")
        local u = w:accept()
        u:read_head()
        u:send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Internal, X-Sum\r\n\r\n0\r\n"
            .. "X-Internal: 1\r\nX-Frame-Options: no\r\nX-Sum: 2\r\n\r\n")
        assert.matches("\r\nTrailer: X%-Sum\r\n", (c:read_head()))
        assert.equal("0\r\nX-Sum: 2\r\n\r\n", (c:read_head()))
    end)

    it("limit the body: announced, in the first bytes, and while it streams in chunks", function()
        world { route = { more = { max_body_bytes = 10 } } }
        local c = w:client()
        c:send "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n"
        assert.equal(413, (c:answer()))
        assert.is_true(c:closed())
        c = w:client()
        c:send "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n0\r\n\r\n"
        assert.equal(413, (c:answer()))
        assert.is_true(w:unwanted(), "a refused request reached the backend")
        c = w:client()
        c:send "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n"
        local u = w:accept()
        u:read_head()
        assert.equal("5\r\n01234\r\n", (u:read(10)))
        c:send "6\r\n567890\r\n"
        assert.equal(413, (c:answer()))
        assert.is_true(u:closed(), "the backend must not take it for a whole body")
        c = w:client()
        c:send "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n"
        u = w:accept()
        u:read_head()
        u:ok ""
        assert.equal(200, (c:answer()))
        assert.equal(3, tonumber(w:numbers().bad_requests))
    end)

    it("limit the requests of one client that are under way", function()
        world { route = { more = { max_connections_per_client = 2 } } }
        local a, b, c = w:client(), w:client(), w:client()
        a:get "/"
        local u = w:accept()
        u:read_head()
        b:get "/"
        local v = w:accept()
        v:read_head()
        c:get "/"
        assert.equal(429, (c:answer()))
        u:ok ""
        assert.equal(200, (a:answer()))
        c:get "/"
        u:read_head()
        u:ok ""
        assert.equal(200, (c:answer()))
        v:ok ""
        assert.equal(200, (b:answer()))
    end)

    -- The words of a worker's table of clients that are in use, as { bucket, cell, word }.
    local function clients_of(worker)
        local board, used = C.proxydriver_board(w.driver), {}
        for bucket = 0, C.BOARD_CLIENT_BUCKETS - 1 do
            local words = C.board_clients(board, worker, bucket)
            for cell = 0, C.BOARD_CLIENT_CELLS - 1 do
                if words[cell] ~= 0 then
                    used[#used + 1] = { bucket, cell, words[cell] }
                end
            end
        end
        return used
    end

    it("count a client's requests in all workers, and not those of dead ones", function()
        world { route = { more = { max_connections_per_client = 2 } } }
        local board = C.proxydriver_board(w.driver)
        local a, b = w:client(), w:client()
        a:get "/"
        local u = w:accept()
        u:read_head()
        local own = clients_of(0)
        assert.equal(1, #own)
        C.board_clients(board, 1, own[1][1])[5] = own[1][3] -- one in the other worker, too
        b:get "/"
        assert.equal(429, (b:answer()))
        assert.same(own, clients_of(0))
        C.board_worker_reset(board, 1)
        b:get "/"
        local v = w:accept()
        v:read_head()
        v:ok ""
        assert.equal(200, (b:answer()))
        u:ok ""
        assert.equal(200, (a:answer()))
        proxied.eventually(function()
            return #clients_of(0) == 0
        end, "the places were never given back")
    end)

    it("keep counting a client's requests beyond a reload", function()
        world { route = { more = { max_connections_per_client = 1 } } }
        local a, b = w:client(), w:client()
        a:get "/"
        local u = w:accept()
        u:read_head()
        w:must(w:configure { { path = "/new" }, { more = { max_connections_per_client = 1 } } })
        w:must "commit"
        b:get "/"
        assert.equal(429, (b:answer()))
        u:ok ""
        assert.equal(200, (a:answer()))
    end)

    it("count a client in their own worker when the shared table is full", function()
        world { route = { more = { max_connections_per_client = 2 } } }
        local board, all = C.proxydriver_board(w.driver), {}
        for bucket = 0, C.BOARD_CLIENT_BUCKETS - 1 do
            local words = C.board_clients(board, 0, bucket)
            for cell = 0, C.BOARD_CLIENT_CELLS - 1 do
                words[cell] = 2 ^ 24 + 1 -- of somebody else
            end
        end
        for i = 1, 2 do
            all[i] = { w:client() }
            all[i][1]:get "/"
            all[i][2] = w:accept()
            all[i][2]:read_head()
        end
        local c = w:client()
        c:get "/"
        assert.equal(429, (c:answer()))
        all[1][2]:ok ""
        assert.equal(200, (all[1][1]:answer()))
        c:get "/"
        all[1][2]:read_head()
        all[1][2]:ok ""
        assert.equal(200, (c:answer()))
        all[2][2]:ok ""
        assert.equal(200, (all[2][1]:answer()))
    end)
end)
