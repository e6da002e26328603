-- TLS to backends: what is checked of them, what is resumed, and what operators are told.
local certificates = require "certificates"
local proxied = require "proxied"
local room = require "tls_room"

describe("proxy, TLS to backends", function()
    local directory, store_of, root, shop, by_address, expired
    local w, stores

    setup(function()
        directory = os.tmpname() .. ".d"
        store_of = certificates.new(directory)
        root = store_of:authority "Root"
        shop = store_of:make { names = { "shop.example" }, by = root }
        by_address = store_of:make { names = { "127.0.0.1" }, by = root }
        expired = store_of:make { names = { "shop.example" }, by = root, starts = -7200, ends = -3600 }
    end)
    teardown(function()
        os.execute("rm -rf '" .. directory .. "'")
    end)
    before_each(function()
        stores = {}
    end)
    after_each(function()
        w = proxied.finish(w)
    end)

    local function pem(made)
        return certificates.read(made.certificate)
    end

    local function trust(o)
        o = o or {}
        o.service = "shop"
        o.ca = o.ca ~= false and (o.ca or pem(root)) or nil
        w:must("certificates " .. room.encode { upstreams = { o } })
    end

    local function world(o, options)
        options = options or {}
        options.route = { of_service = { protocol = "https" }, more = options.more }
        w = proxied.start(options)
        if o ~= false then
            trust(o or { name = "shop.example" })
        end
    end

    -- A backend's side of the next connection, or nil and why not. `keep`: the store of one before.
    local function backend(made, listener, keep)
        listener = listener or {}
        listener.listen, listener.entries = "l", { room.entry(made, { "*" }) }
        local store = keep or assert(room.store { listeners = { listener }, tickets = { ("A"):rep(107) .. "=" } })
        stores[#stores + 1] = store
        local sock, why = room.accepted(w:accept().sock, room.C.tls_store_server(store, "l"))
        if not sock then
            return nil, why
        end
        return proxied.wrap(sock), store
    end

    it("is spoken, with their name, and connections are used again", function()
        world()
        local c = w:client()
        c:get "/one"
        local u = backend(shop)
        assert.equal("shop.example", room.ffi.string(room.C.tls_server_name(u.sock.t)))
        assert.matches("^GET /one ", (u:read_head()))
        u:ok "first"
        local _, _, body = c:answer()
        assert.equal("first", body)
        c:get "/two"
        assert.matches("^GET /two ", (u:read_head()))
        u:ok(("x"):rep(200000))
        _, _, body = c:answer()
        assert.equal(200000, #body)
        assert.is_true(w:unwanted())
    end)

    it("carries large request bodies", function()
        world()
        local c = w:client()
        local body = ("0123456789abcdef"):rep(65536)
        c:send("POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: " .. #body .. "\r\n\r\n")
        local u = backend(shop)
        u:read_head()
        assert.is_true(proxied.pump(c, u, body, 0) == body)
        u:ok "thanks"
        assert.equal(200, (c:answer()))
    end)

    it("checks addresses where there is no name", function()
        world {}
        local c = w:client()
        c:get "/"
        local u = assert(backend(by_address))
        u:read_head()
        u:ok ""
        assert.equal(200, (c:answer()))
    end)

    local function fails(o, made, pattern)
        world(o, { more = { max_retries = 0 } })
        local c = w:client()
        c:get "/"
        local u = backend(made)
        if u then -- with TLS 1.3 it learns it from the alert that follows
            assert.is_nil((u:read_head()))
        end
        assert.equal(502, (c:answer()))
        local news = w:tell "news"
        assert.matches("no TLS with 127.0.0.1:%d+: ", news)
        assert.is_truthy(news:find(pattern, 1, true), news)
    end

    it("refuses certificates of strangers, for other names and of old, and tells what helps", function()
        fails({ ca = pem(store_of:authority "Else"), name = "shop.example" }, shop, 'name its authority: upstream_tls = { ca = "ca.pem" }')
        proxied.finish(w)
        fails({ name = "other.example" }, shop, "hostname mismatch; say which name its certificate is for")
        proxied.finish(w)
        fails({}, shop, "IP address mismatch; say which name")
        proxied.finish(w)
        fails({ name = "shop.example" }, expired, "certificate has expired; it has to be renewed there")
    end)

    it("does not check where that is not wanted", function()
        world { ca = false, verify = false }
        local c = w:client()
        c:get "/"
        local u = assert(backend(expired))
        u:read_head()
        u:ok ""
        assert.equal(200, (c:answer()))
    end)

    it("shows a certificate to backends that want one", function()
        local people = store_of:authority "People"
        local us = store_of:make { common_name = "tidegate", names = { "tidegate" }, by = people }
        world { name = "shop.example", certificate = pem(us), key = certificates.read(us.key) }
        local c = w:client()
        c:get "/"
        local u = assert(backend(shop, { client = "require", client_ca = pem(people) }))
        assert.equal("CN=tidegate", room.ffi.string(room.C.tls_subject(u.sock.t)))
        u:read_head()
        u:ok ""
        assert.equal(200, (c:answer()))
    end)

    it("resumes sessions", function()
        world()
        local store
        for i = 1, 3 do
            local c = w:client()
            c:get "/"
            local u
            u, store = assert(backend(shop, nil, store))
            assert.equal(i > 1, room.C.tls_resumed(u.sock.t))
            u:read_head()
            u:ok("", "Connection: close\r\n")
            assert.equal(200, (c:answer()))
            u:close()
            c:close()
        end
    end)

    it("tries another backend when one speaks no TLS, as when it does not answer at all", function()
        world(nil, { backends = 2 })
        local c = w:client()
        c:get "/"
        local plain, i = w:accept_any()
        plain:send "HTTP/1.1 400 Bad Request\r\n\r\n"
        local server = assert(room.store { listeners = { { listen = "l", entries = { room.entry(shop, { "*" }) } } } })
        local u = proxied.wrap(assert(room.accepted(w:accept(3 - i).sock, room.C.tls_store_server(server, "l"))))
        u:read_head()
        u:ok "other"
        local _, _, body = c:answer()
        assert.equal("other", body)
        assert.matches("it speaks no TLS there", w:tell "news")
        plain:close()
    end)

    it("gives handshakes the time of a connection", function()
        world(nil, { more = { max_retries = 0, connect_timeout_ms = 100 } })
        local c = w:client()
        c:get "/"
        local silent = w:accept()
        assert.equal(504, (c:answer()))
        silent:close()
    end)

    it("never goes on in plain text", function()
        world(false, { more = { max_retries = 0 } })
        local c = w:client()
        c:get "/"
        assert.equal(502, (c:answer()))
        assert.matches("is not there yet", w:tell "news")
    end)

    it("does not use connections that were made with other settings", function()
        world()
        local c = w:client()
        c:get "/"
        local u = backend(shop)
        u:read_head()
        u:ok ""
        c:answer()
        trust { name = "shop.example", verify = false }
        c:get "/"
        local other = backend(shop)
        other:read_head()
        other:ok "anew"
        local _, _, body = c:answer()
        assert.equal("anew", body)
    end)

    it("takes an answer that is cut off for what it is", function()
        world(nil, { more = { max_retries = 0, response_buffer = 0 } })
        local c = w:client()
        c:get "/"
        local u = backend(shop)
        u:read_head()
        u:send "HTTP/1.1 200 OK\r\n\r\nhalf"
        c:read_head()
        u.sock.plain:close()
        local text, why = c:read_all()
        assert.is_nil(text:find "0\r\n\r\n")
        assert.is_truthy(why)
    end)
end)
