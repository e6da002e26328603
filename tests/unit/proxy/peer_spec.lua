-- Who the client is, behind proxies: PROXY headers, X-Forwarded-For, Forwarded; and what backends are told.
local h2 = require "h2"
local proxied = require "proxied"

local HERE = { "127.0.0.0/8" }

describe("proxy, clients behind proxies", function()
    local w

    -- Limits each client to one request at a time, which tells clients apart.
    local function world(more, of_service)
        w = proxied.start { route = { more = more, of_service = of_service } }
        return w
    end

    after_each(function()
        w = proxied.finish(w)
    end)

    local function head_of(fields, before)
        local c = w:client()
        if before then
            c:send(before)
        end
        c:get("/", fields)
        local u = w:accept()
        local head = u:read_head()
        u:ok("", "Connection: close\r\n")
        assert.equal(200, (c:answer()))
        c:close()
        u:close()
        return head
    end

    it("are found in what believed proxies say, and the chain goes on", function()
        world { trusted_proxies = { "127.0.0.0/8", "10.0.0.0/8" }, max_connections_per_client = 1 }
        local head = head_of "X-Forwarded-For: 1.1.1.1, 203.0.113.7, 10.1.1.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop\r\n"
        assert.matches("\r\nX%-Forwarded%-For: 1.1.1.1, 203.0.113.7, 10.1.1.1, 127.0.0.1\r\n", head)
        assert.matches("\r\nX%-Forwarded%-Proto: https\r\n", head)
        assert.matches("\r\nX%-Forwarded%-Host: shop\r\n", head)
        -- Two clients of one proxy have a place each; one client has one, by whatever connection.
        local first, second = w:client(), w:client()
        first:get("/", "X-Forwarded-For: 203.0.113.7\r\n")
        local u = w:accept()
        u:read_head()
        second:get("/", "X-Forwarded-For: 6.6.6.6, 203.0.113.7\r\n")
        assert.equal(429, (second:answer()))
        second:get("/", "X-Forwarded-For: 203.0.113.8\r\n")
        local other = w:accept()
        assert.matches("X%-Forwarded%-For: 203.0.113.8, 127.0.0.1\r\n", (other:read_head()))
    end)

    it("are not what others say: that is dropped", function()
        world { trusted_proxies = { "10.0.0.0/8" } }
        local head = head_of("X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nForwarded: for=1.1.1.1\r\n")
        assert.matches("\r\nX%-Forwarded%-For: 127.0.0.1\r\n", head)
        assert.matches("\r\nX%-Forwarded%-Proto: http\r\n", head)
        assert.is_nil(head:find "1.1.1.1" or head:find "evil")
    end)

    it("are found in Forwarded where there is no X-Forwarded-For, and backends get one where wanted", function()
        world { trusted_proxies = HERE, max_connections_per_client = 1, forwarded = true }
        local head = head_of 'Forwarded: for="[2001:db8::7]";proto=https\r\n'
        assert.matches('\r\nForwarded: for="%[2001:db8::7%]";proto=https\r\n', head)
        assert.matches('\r\nForwarded: for=127.0.0.1;host="shop.example";proto=http\r\n', head)
        local first, second = w:client(), w:client()
        first:get("/", "Forwarded: for=203.0.113.7\r\n")
        w:accept():read_head()
        second:get("/", "Forwarded: for=203.0.113.7\r\n")
        assert.equal(429, (second:answer()))
    end)

    it("are each request's own on one connection", function()
        world { trusted_proxies = HERE, max_connections_per_client = 1 }
        local c, d = w:client(), w:client()
        c:get("/", "X-Forwarded-For: 203.0.113.7\r\n")
        local u = w:accept()
        u:read_head()
        u:ok ""
        assert.equal(200, (c:answer()))
        c:get "/"
        assert.matches("\r\nX%-Forwarded%-For: 127.0.0.1\r\n", (u:read_head()))
        d:get("/", "X-Forwarded-For: 203.0.113.7\r\n")
        local other = w:accept()
        other:read_head()
        other:ok ""
        assert.equal(200, (d:answer()))
    end)

    it("come with a PROXY header before the first request, in one piece or in many", function()
        world { trusted_proxies = HERE, proxy_protocol = true }
        local head = head_of("", "PROXY TCP4 203.0.113.7 10.0.0.1 51000 80\r\n")
        assert.matches("\r\nX%-Forwarded%-For: 203.0.113.7\r\n", head)
        local binary = "\r\n\r\n\0\r\nQUIT\n\33\17\0\12\203\0\113\8\10\0\0\1\0\80\0\80"
        assert.matches("\r\nX%-Forwarded%-For: 203.0.113.8\r\n", (head_of("", binary)))
        assert.matches("\r\nX%-Forwarded%-For: 127.0.0.1\r\n", (head_of("", "PROXY UNKNOWN\r\n")))
        local c = w:client()
        for byte in ("PROXY TCP4 203.0.113.9 10.0.0.1 51000 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"):gmatch "." do
            c:send(byte)
        end
        assert.matches("\r\nX%-Forwarded%-For: 203.0.113.9\r\n", (w:accept():read_head()))
    end)

    it("without the PROXY header that was promised are cut off", function()
        world { trusted_proxies = HERE, proxy_protocol = true }
        for _, bytes in ipairs { "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "PROXY TCP4 1.2.3.4\r\n", "PROXY TCP9" .. ("x"):rep(200) } do
            local c = w:client()
            c:send(bytes)
            assert.is_true(c:closed(), bytes)
        end
        local silent = w:client()
        silent:send "PROXY TCP4 203"
        silent:half_close()
        assert.is_true(silent:closed())
        assert.equal(3, tonumber(w:numbers().bad_requests))
        assert.is_true(w:unwanted())
    end)

    it("have a time limit for it", function()
        world { trusted_proxies = HERE, proxy_protocol = true, client_header_timeout_ms = 50 }
        local c = w:client()
        c:send "PROXY TCP4 203"
        assert.is_true(c:closed())
    end)

    it("that are no proxies speak at once, and a header of theirs is a bad request", function()
        world { trusted_proxies = { "10.0.0.0/8" }, proxy_protocol = true }
        assert.matches("\r\nX%-Forwarded%-For: 127.0.0.1\r\n", (head_of ""))
        local c = w:client()
        c:send "PROXY TCP4 203.0.113.7 10.0.0.1 51000 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"
        assert.equal(400, (c:answer()))
    end)

    it("are told to backends by a PROXY header, on a connection of their own", function()
        for version = 1, 2 do
            world({ trusted_proxies = HERE }, { send_proxy = version })
            for _, client in ipairs { "203.0.113.7", "203.0.113.8" } do
                local c = w:client()
                c:get("/", ("X-Forwarded-For: %s\r\n"):format(client))
                local u = w:accept()
                if version == 1 then
                    local line = ("PROXY TCP4 %s 127.0.0.1 0 %d\r\n"):format(client, w.port)
                    assert.equal(line, (u:read(#line)))
                else
                    local head = u:read(28)
                    assert.equal("\r\n\r\n\0\r\nQUIT\n\33\17\0\12", head:sub(1, 16))
                    assert.equal(client, ("%d.%d.%d.%d"):format(head:byte(17, 20)))
                end
                u:read_head()
                u:ok "kept"
                assert.equal("kept", (select(3, c:answer())))
                c:get "/"
                assert.is_true(u:closed(), "another request may be another client's")
                local again = w:accept()
                again:reset()
                c:close()
            end
            w = proxied.finish(w)
        end
    end)

    it("of HTTP/2 are told, too", function()
        world(nil, { send_proxy = 1 })
        local c = h2.client(w.port):start()
        c:get(1)
        local u = w:accept()
        local port = select(2, c.sock:getsockname())
        local line = ("PROXY TCP4 127.0.0.1 127.0.0.1 %d %d\r\n"):format(port, w.port)
        assert.equal(line, (u:read(#line)))
        u:read_head()
        u:ok "hello"
        assert.equal("hello", c:answer(1).body)
        c:close()
    end)

    it("of TCP routes are told, too", function()
        world({ tcp = true, trusted_proxies = HERE, proxy_protocol = true }, { send_proxy = 1 })
        local c = w:client()
        c:send "PROXY TCP4 203.0.113.7 10.0.0.1 51000 80\r\nhello"
        local u = w:accept()
        assert.equal(("PROXY TCP4 203.0.113.7 127.0.0.1 51000 %d\r\nhello"):format(w.port),
            (u:read(#("PROXY TCP4 203.0.113.7 127.0.0.1 51000 \r\nhello") + #tostring(w.port))))
    end)
end)
