-- HTTP/2 over TLS to backends.
local certificates = require "certificates"
local h2 = require "h2_backend"
local proxied = require "proxied"
local room = require "tls_room"

describe("a link over TLS", function()
    local directory, root, other, shop, w, stores

    setup(function()
        directory = os.tmpname() .. ".d"
        local store = certificates.new(directory)
        root, other = store:authority "Root", store:authority "Other"
        shop = store:make { names = { "shop.example" }, by = root }
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

    local function trust(authority)
        w:must("certificates " .. room.encode { upstreams = { { service = "shop", alpn = "h2", name = "shop.example",
            ca = certificates.read(authority.certificate) } } })
    end

    local function world(authority)
        w = proxied.start { route = { of_service = { protocol = "h2" }, max_retries = 0 } }
        trust(authority or root)
    end

    -- A backend's side of the next connection, or nil and why not.
    local function backend(http2)
        local listener = { listen = "l", http2 = http2, entries = { room.entry(shop, { "*" }) } }
        local store = assert(room.store { listeners = { listener }, tickets = { ("A"):rep(107) .. "=" } })
        stores[#stores + 1] = store
        local sock, why = room.accepted(w:accept().sock, room.C.tls_store_server(store, "l"))
        if not sock then
            return nil, why
        end
        return proxied.wrap(sock)
    end

    it("carries requests as one without does", function()
        world()
        local a, c = w:client(), w:client()
        a:get "/a"
        local b = h2.serve(assert(backend(true)))
        local r = b:request()
        assert.same({ "https", "/a" }, { r[":scheme"], r[":path"] })
        c:send("POST /c HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\n" .. ("y"):rep(50000))
        local r2 = b:request()
        assert.equal(50000, #b:body(r2.id))
        b:ok(r2.id, "c")
        assert.equal("c", select(3, c:answer()))
        b:ok(r.id, ("x"):rep(16000))
        assert.equal(16000, #select(3, a:answer()))
        assert.is_true(w:unwanted())
    end)

    it("is not begun with who does not agree on HTTP/2, or has another authority", function()
        world()
        local c = w:client()
        c:get "/"
        backend(false)
        assert.equal(502, (c:answer()))
        proxied.eventually(function()
            return w:tell("news"):find('it speaks HTTP/1.1: protocol = "https"', 1, true)
        end)
        w = proxied.finish(w)
        world(other)
        c = w:client()
        c:get "/"
        assert.is_nil((backend(true)))
        assert.equal(502, (c:answer()))
    end)

    it("is made anew when its settings change, and finishes what it has", function()
        world()
        local a, c = w:client(), w:client()
        a:get "/a"
        local b = h2.serve(assert(backend(true)))
        local r = b:request()
        trust(other)
        trust(root)
        c:get "/c"
        local fresh = h2.serve(assert(backend(true)))
        fresh:ok(fresh:request().id, "new")
        assert.equal("new", select(3, c:answer()))
        b:ok(r.id, "old")
        assert.equal("old", select(3, a:answer()))
        repeat
            local frame = b:next()
        until not frame
    end)
end)
