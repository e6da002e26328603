-- TLS of clients: handshakes, what is no TLS, names and certificates of clients, as backends see them.
local certificates = require "certificates"
local h2 = require "h2"
local proxied = require "proxied"
local room = require "tls_room"
local socket = require "socket"

local TICKETS = { ("A"):rep(107) .. "=" }

describe("proxy, TLS of clients", function()
    local directory, store_of, root, shop, other, people, alice
    local w

    setup(function()
        directory = os.tmpname() .. ".d"
        store_of = certificates.new(directory)
        root = store_of:authority "Root"
        shop = store_of:make { names = { "a.example", "shop.example" }, by = root }
        other = store_of:make { names = { "c.example" }, by = root }
        people = store_of:authority "People"
        alice = store_of:make { common_name = "alice", names = { "alice" }, by = people }
    end)
    teardown(function()
        os.execute("rm -rf '" .. directory .. "'")
    end)
    after_each(function()
        w = proxied.finish(w)
    end)

    local function pem(made)
        return certificates.read(made.certificate)
    end

    local function message(listener)
        listener = listener or {}
        listener.listen = "front"
        listener.entries = listener.entries or { room.entry(shop, { "a.example", "shop.example" }),
            room.entry(other, { "c.example" }) }
        return { listeners = { listener }, tickets = TICKETS }
    end

    local function world(listener, more, options)
        options = options or {}
        options.route = { more = { tls = true } }
        for key, value in pairs(more or {}) do
            options.route.more[key] = value
        end
        w = proxied.start(options)
        w:must("certificates " .. room.encode(message(listener)))
        return w
    end

    local stores = {}
    local function visitor(o)
        o = o or {}
        local up = { service = "s", ca = pem(root), alpn = o.alpn, certificate = o.as and pem(o.as) or nil,
            key = o.as and certificates.read(o.as.key) or nil, name = o.name }
        local store = o.store or assert(room.store { upstreams = { up } })
        stores[#stores + 1] = store -- as long as its connections
        local sock, why = room.socket(assert(socket.connect("127.0.0.1", w.port)),
            room.C.tls_store_client(store, "s"), o.name)
        if not sock then
            return nil, why
        end
        if o.alpn == "h2" then
            return h2.over(sock):start()
        end
        return proxied.wrap(sock), store
    end

    it("answers requests, one after the other, and backends learn that it is https", function()
        world()
        local c = assert(visitor())
        c:get "/one"
        local u = w:accept()
        assert.matches("\r\nX%-Forwarded%-Proto: https\r\n", (u:read_head()))
        u:ok "first"
        local status, _, body = c:answer()
        assert.same({ 200, "first" }, { status, body })
        c:get "/two"
        u:read_head()
        u:ok "second"
        status, _, body = c:answer()
        assert.same({ 200, "second" }, { status, body })
        assert.equal(1, tonumber(w:numbers().handshakes))
        c:close()
        proxied.eventually(function() return w:numbers().connections == 0 end)
    end)

    it("speaks HTTP/2 with clients that offer it, and with no others", function()
        world { http2 = true }
        local c = assert(visitor { alpn = "h2" })
        c:get(1, "/one", { { "x-forwarded-proto", "http" } })
        c:get(3, "/two")
        for _ = 1, 2 do
            local u = w:accept()
            local head = u:read_head()
            assert.matches("\r\nX%-Forwarded%-Proto: https\r\n", head)
            assert.matches("\r\nVia: 2.0 tidegate\r\n", head)
            u:ok(("x"):rep(100000) .. head:match "^GET (%S+)")
        end
        assert.equal("/one", c:answer(1).body:match "x(/.*)$")
        assert.equal("/two", c:answer(3).body:match "x(/.*)$")
        assert.equal(1, tonumber(w:numbers().h2_connections))
        -- Who does not offer it may not begin it either.
        local plain = assert(visitor())
        plain:send(h2.PREFACE)
        assert.equal(505, (plain:answer()))
    end)

    it("carries large bodies both ways", function()
        world()
        local c = assert(visitor())
        local body = ("0123456789abcdef"):rep(65536)
        c:send("POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: " .. #body .. "\r\n\r\n")
        local u = w:accept()
        u:read_head()
        assert.is_true(proxied.pump(c, u, body, 0) == body)
        u:ok(body)
        local status, _, got = c:answer()
        assert.equal(200, status)
        assert.is_true(got == body)
    end)

    it("waits for slow readers without losing a byte", function()
        world()
        local c = assert(visitor())
        c:get "/"
        local u = w:accept()
        u:read_head()
        local body = {}
        for i = 1, 2000000 do
            body[i] = ("%07d "):format(i)
        end
        body = table.concat(body)
        u:send("HTTP/1.1 200 OK\r\nContent-Length: " .. #body .. "\r\n\r\n")
        local sent = proxied.stuff(u, body, 0)
        assert.is_true(sent < #body)
        c:read_head()
        local got = {}
        u.sock:settimeout(0)
        local size = 0
        while size < #body do
            if sent < #body then
                local last, _, part = u.sock:send(body, sent + 1)
                sent = last or part
            end
            local piece = c:read(math.min(50000, #body - size))
            size = size + #piece
            got[#got + 1] = piece
        end
        assert.is_true(table.concat(got) == body)
    end)

    it("takes pipelined requests that came in one record", function()
        world()
        local c = assert(visitor())
        local one = "GET /%d HTTP/1.1\r\nHost: shop.example\r\n\r\n"
        c:send(one:format(1) .. one:format(2))
        local u = w:accept()
        assert.matches("^GET /1 ", (u:read_head()))
        u:ok "1"
        assert.matches("^GET /2 ", (u:read_head()))
        u:ok "2"
        c:answer()
        local _, _, body = c:answer()
        assert.equal("2", body)
    end)

    it("ends answers without a length with close_notify, and cuts broken ones", function()
        world()
        local c = assert(visitor())
        c:send "GET / HTTP/1.0\r\nHost: shop.example\r\n\r\n"
        local u = w:accept()
        u:read_head()
        u:send "HTTP/1.1 200 OK\r\n\r\nall of it"
        u:close()
        local _, _, body = c:answer()
        assert.equal("all of it", body)
        c = assert(visitor())
        c:get "/"
        u = w:accept()
        u:read_head()
        u:send "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nhalf"
        c:read_head()
        assert.equal("half", (c:read(4)))
        u:close()
        local _, why = c:read(1)
        assert.not_equal("closed", why)
        assert.not_equal("timeout", why)
    end)

    it("tells clients that speak plain HTTP to use https", function()
        world()
        local c = w:client()
        c:get "/"
        local status, head, body = c:answer()
        assert.equal(400, status)
        assert.equal("400 Bad Request: this port speaks TLS: use https://\n", body)
        assert.matches("\r\nConnection: close\r\n", head)
        assert.equal(1, tonumber(w:numbers().not_tls))
        assert.matches("^%d+ tls: .*was no TLS", w:tell "fact")
        c = w:client()
        c:send "\0\1\2\3nonsense"
        assert.is_true(c:closed())
        assert.equal(2, tonumber(w:numbers().not_tls))
    end)

    it("closes clients that speak TLS to a plain port", function()
        w = proxied.start()
        assert.is_nil((visitor()))
        assert.equal(1, tonumber(w:numbers().tls_on_plain))
        assert.matches("^%d+ tls: a client spoke TLS on a port that is plain", w:tell "fact")
    end)

    it("never answers in plain text where TLS is wanted and there is no certificate", function()
        w = proxied.start { route = { more = { tls = true } } }
        local c = w:client()
        c:get "/"
        assert.is_true(c:closed())
        assert.matches("there is no certificate", w:tell "fact")
    end)

    it("refuses names that nobody serves, and tells which", function()
        world()
        local c, why = visitor { name = "unknown.example" }
        assert.is_nil(c)
        assert.matches("unrecognized name", why)
        assert.matches('front: no TLS with 127.0.0.1: no certificate is here for the name "unknown.example"', w:tell "fact")
        assert.equal(1, tonumber(w:numbers().handshakes_failed))
    end)

    it("answers 421 to hosts that another certificate is for", function()
        world()
        local c = assert(visitor { name = "a.example" })
        c:send "GET / HTTP/1.1\r\nHost: c.example\r\n\r\n"
        assert.equal(421, (c:answer()))
        c:get "/"
        local u = w:accept()
        u:read_head()
        u:ok "here"
        assert.equal(200, (c:answer()))
    end)

    it("tells backends the subject of a client, and nobody else does", function()
        world { client = "request", client_ca = pem(people) }
        local c = assert(visitor { as = alice })
        c:get("/", "X-Client-Cert-Subject: CN=root\r\nx_client_cert_subject: CN=root\r\n")
        local u = w:accept()
        local head = u:read_head()
        assert.matches("\r\nX%-Client%-Cert%-Subject: CN=alice\r\n", head)
        assert.is_nil(head:find("CN=root", 1, true))
        u:ok ""
        c:answer()
        c = assert(visitor())
        c:get("/", "X-Client-Cert-Subject: CN=root\r\n")
        head = u:read_head()
        assert.is_nil(head:lower():find("client%-cert"))
        u:ok ""
    end)

    it("resumes sessions, also with certificates that came anew", function()
        world()
        local function visit(store)
            local c
            c, store = assert(visitor { store = store })
            c:get "/"
            local u = w:accept_any()
            u:read_head()
            u:ok("", "Connection: close\r\n")
            u:close()
            c:answer()
            c:close()
            return store
        end
        local store = visit()
        visit(store)
        assert.equal(1, tonumber(w:numbers().handshakes_resumed))
        w:must("certificates " .. room.encode(message { entries = { room.entry(shop, { "a.example" }) } }))
        visit(store)
        assert.equal(2, tonumber(w:numbers().handshakes_resumed))
    end)

    it("goes on with the certificates that connections began with", function()
        world()
        local c = assert(visitor())
        w:must("certificates " .. room.encode(message { entries = { room.entry(other, { "c.example" }) } }))
        c:get "/"
        local u = w:accept()
        u:read_head()
        u:ok "still"
        local _, _, body = c:answer()
        assert.equal("still", body)
        assert.is_nil((visitor { name = "a.example" }))
        assert.is_truthy((visitor { name = "c.example" }))
        assert.matches("^error", w:tell "certificates {\"listeners\":[{\"listen\":\"front\",\"entries\":[{}]}]}")
        assert.is_truthy((visitor { name = "c.example" }))
    end)

    it("prepares certificates for the next generation", function()
        world()
        local next_one = message { entries = { room.entry(other, { "c.example" }) } }
        next_one.prepares = true
        w:must("certificates " .. room.encode(next_one))
        assert.is_truthy((visitor { name = "a.example" }))
        w:must(w:configure { { more = { tls = true } } })
        w:must "abort"
        w:must(w:configure { { more = { tls = true } } })
        w:must "commit"
        assert.is_truthy((visitor { name = "a.example" }))
        w:must("certificates " .. room.encode(next_one))
        w:must(w:configure { { more = { tls = true } } })
        w:must "commit"
        assert.is_nil((visitor { name = "a.example" }))
        assert.is_truthy((visitor { name = "c.example" }))
    end)

    it("gives handshakes the time of a head", function()
        world(nil, { client_header_timeout_ms = 100 })
        local silent, slow = w:client(), w:client()
        slow:send "\22\3\1"
        assert.is_true(slow:closed())
        assert.is_true(silent:closed())
        proxied.eventually(function() return w:numbers().handshakes_failed == 2 end)
        proxied.eventually(function() return w:numbers().connections == 0 end)
    end)

    it("serves who is quick while many hold their handshakes open", function()
        world(nil, nil, { files = 4096 })
        local held = {}
        -- A hello that is whole, and then nothing.
        local hello = room.hello "a.example"
        for i = 1, 1100 do
            held[i] = w:client()
            held[i]:send(hello)
        end
        local c = assert(visitor())
        c:get "/"
        local u = w:accept()
        u:read_head()
        u:ok "quick"
        local _, _, body = c:answer()
        assert.equal("quick", body)
        -- The oldest of those that hold theirs gave way.
        proxied.eventually(function() return w:numbers().handshakes_failed >= 76 end)
        assert.not_equal("timeout", select(2, held[1]:read_all()))
        for _, one in ipairs(held) do
            one:close()
        end
        proxied.eventually(function() return w:numbers().connections == 1 end)
    end)
end)
