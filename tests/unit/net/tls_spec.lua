local certificates = require "certificates"
local room = require "tls_room"
local C, ffi = room.C, room.ffi

local TICKETS = { ("A"):rep(107) .. "=", ("B"):rep(107) .. "=" } -- 80 bytes each, in base64

describe("net/tls", function()
    local directory, store_of, root, shop, ends

    setup(function()
        directory = os.tmpname() .. ".d"
        store_of = certificates.new(directory)
        root = store_of:authority "Root"
        shop = store_of:make { names = { "a.example", "*.b.example" }, by = root }
    end)
    teardown(function()
        os.execute("rm -rf '" .. directory .. "'")
    end)
    before_each(function()
        ends = {}
    end)
    after_each(function()
        for _, one in ipairs(ends) do
            one:free()
        end
    end)

    local function pem(made)
        return certificates.read(made.certificate)
    end

    local function listener(o)
        o = o or {}
        o.listen = o.listen or "l"
        o.entries = o.entries or { room.entry(shop, { "a.example", "*.b.example" }) }
        return o
    end

    local function upstream(o)
        o = o or {}
        o.service, o.ca = o.service or "s", o.ca or pem(root)
        return o
    end

    local function store(listen, up, tickets, before)
        return assert(room.store({ listeners = { listener(listen) }, upstreams = { upstream(up) },
            tickets = tickets or TICKETS }, before))
    end

    -- A handshake between a listener and a service of two stores: server, client and their results.
    local function meet(server_store, client_store, host, peer)
        local s, c = room.pair(C.tls_store_server(server_store, "l"), C.tls_store_client(client_store, "s"), host, peer)
        ends[#ends + 1], ends[#ends + 1] = s, c
        local a, b = room.shake(s, c)
        return s, c, a, b
    end

    local function met(...)
        local s, c, a, b = meet(...)
        assert.same({ 1, 1 }, { a, b }, s:why() .. " / " .. c:why())
        return s, c
    end

    it("shakes hands and carries bytes both ways", function()
        local both = store()
        local s, c = met(both, both)
        assert.equal("TLSv1.3", ffi.string(C.tls_version(s.t)))
        assert.equal("a.example", s:name())
        assert.is_false(C.tls_http2(s.t))
        assert.equal(5, c:send "hello")
        assert.equal("hello", s:recv())
        assert.is_false(C.tls_more(s.t))
        assert.equal(room.EAGAIN, s:recv())
        assert.equal(3, s:send "yes")
        assert.equal("yes", c:recv())
    end)

    it("hands over what came with the end of the handshake", function()
        local both = store()
        local s, c = room.pair(C.tls_store_server(both, "l"), C.tls_store_client(both, "s"))
        ends = { s, c }
        assert.equal(0, C.tls_handshake(c.t))
        assert.equal(0, C.tls_handshake(s.t))
        assert.equal(1, C.tls_handshake(c.t))
        assert.equal(3, c:send "one")
        assert.equal(3, c:send "two")
        assert.equal(1, C.tls_handshake(s.t))
        assert.is_true(C.tls_more(s.t))
        assert.equal("onetwo", s:recv())
    end)

    it("sends pieces as one record, and large ones in several", function()
        local both = store()
        local s, c = met(both, both)
        c:recv() -- tickets
        local iov = ffi.new "struct iovec[3]"
        for i, text in ipairs { "head", "", "body" } do
            iov[i - 1].iov_base, iov[i - 1].iov_len = ffi.cast("void *", text), #text
        end
        assert.equal(8, tonumber(C.tls_send(s.t, iov, 3)))
        local raw = c:raw_recv()
        assert.equal(5 + 8 + 1 + 16, #raw)
        s, c = met(both, both)
        local large = ("0123456789abcdef"):rep(3000)
        assert.equal(#large, s:send(large))
        assert.equal(large, c:recv())
    end)

    local function stream(both, least, most)
        local s, c = met(both, both)
        c:recv()
        math.randomseed(least)
        local parts = {}
        for i = 1, 200000 do
            parts[i] = ("%06d"):format(i)
        end
        local text = table.concat(parts)
        local at, got = 0, {}
        local blocked = 0
        for _ = 1, 20000 do
            if at == #text then
                break
            end
            local n = s:send(text:sub(at + 1, at + 65536))
            assert.is_true(n >= 0)
            at = at + n
            if n == 0 then
                blocked = blocked + 1
                assert.is_true(C.tls_blocked(s.t))
                local piece = c:recv(math.random(least, most))
                got[#got + 1] = type(piece) == "string" and piece or ""
            end
        end
        assert.is_true(blocked > 3)
        assert.equal(#text, at)
        for _ = 1, 20000 do
            local piece = c:recv(math.random(least, most))
            if piece == room.EAGAIN then
                break
            end
            got[#got + 1] = piece
        end
        assert.is_true(table.concat(got) == text)
    end

    it("tells a sender by whole records what the kernel took", function()
        local both = store()
        stream(both, 5000, 5000)
        stream(both, 1, 20000)
        stream(both, 65536, 65536)
        stream(both, 16000, 66000)
    end)

    it("does not gather answers to new keys for who never reads them", function()
        ffi.cdef "int SSL_key_update(void *ssl, int type);"
        local ssl = ffi.load "libssl.so.3"
        local both = store()
        local s, c = met(both, both)
        local asks = 0
        repeat
            asks = asks + 1
            assert(ssl.SSL_key_update(ffi.cast("void **", c.t)[0], 1) == 1) -- the first member; 1: with an answer
            assert.equal(1, c:send "x")
            local got = s:recv()
        until got ~= "x" or asks == 20000
        assert.is_true(asks < 20000, "the server keeps on answering")
        assert.is_true(tonumber(C.tls_recv(s.t, ffi.new "char[1]", 1)) < 0)
    end)

    it("does not repeat a name that would be more than text to a terminal", function()
        local both = store()
        for name, told in pairs {
            ["c.example"] = 'no certificate is here for the name "c.example"',
            ["c\27[2J.example"] = "no certificate is here for a name that no host has",
            ["c\155\255.example"] = "no certificate is here for a name that no host has",
        } do
            local s, _, a = meet(both, both, name)
            assert.same({ room.EPROTO, told }, { a, s:why() })
        end
    end)

    it("tells ends from cuts", function()
        local both = store()
        local s, c = met(both, both)
        C.tls_close(s.t)
        assert.equal(0, c:recv())
        C.tls_close(c.t)
        assert.equal(0, s:recv())
        s, c = met(both, both)
        assert.equal(room.EAGAIN, c:recv()) -- tickets
        C.shutdown(s.fd, 1)
        assert.equal(-104, c:recv()) -- ECONNRESET: a backend that was cut off
        s, c = met(both, both)
        C.shutdown(c.fd, 1)
        assert.equal(0, s:recv())
    end)

    it("knows whether an idle connection is quiet", function()
        local both = store()
        local s, c = met(both, both)
        assert.is_true(C.tls_quiet(c.t)) -- tickets are nothing
        assert.is_true(C.tls_quiet(c.t))
        s:send "x"
        assert.is_false(C.tls_quiet(c.t))
        assert.equal("x", c:recv())
        C.tls_close(s.t)
        assert.is_false(C.tls_quiet(c.t))
    end)

    describe("what is no TLS", function()
        local function first(bytes)
            local s, c = room.pair(C.tls_store_server(store(), "l"), nil)
            ends = { s, c }
            c:raw(bytes)
            return C.tls_handshake(s.t), s, c
        end
        it("is told from it by its first bytes", function()
            local rc, s = first "GET / HTTP/1.1\r\n\r\n"
            assert.equal(room.ENOMSG, rc)
            local len = ffi.new "size_t[1]"
            local text = C.tls_first(s.t, len)
            assert.equal("GET / HTTP/1.1\r\n\r\n", ffi.string(text, len[0]))
            assert.equal(room.ENOMSG, (first "\22\2\0\0\1"))
        end)
        it("is refused when a record is longer than any", function()
            assert.equal(room.EPROTO, (first "\22\3\1\255\255x"))
        end)
        it("costs nothing of OpenSSL while a first record is not whole", function()
            local rc, s, c = first "\22\3\1\0\200"
            assert.equal(0, rc)
            for _ = 1, 199 do
                c:raw "\9"
                assert.equal(0, C.tls_handshake(s.t))
            end
            c:raw "\9"
            assert.equal(room.EPROTO, C.tls_handshake(s.t))
            assert.equal("\21\3", c:raw_recv():sub(1, 2)) -- an alert
        end)
        it("ends with its sender", function()
            local rc, s, c = first "\22\3\1"
            assert.equal(0, rc)
            C.shutdown(c.fd, 1)
            assert.equal(-104, C.tls_handshake(s.t))
        end)
        it("is refused whatever it is", function()
            math.randomseed(7)
            for _ = 1, 300 do
                local body = {}
                for i = 1, math.random(1, 300) do
                    body[i] = string.char(math.random(0, 255))
                end
                local text = table.concat(body)
                local rc = first(("\22\3\1%s%s%s"):format(string.char(math.floor(#text / 256)), string.char(#text % 256), text))
                assert.is_true(rc == room.EPROTO or rc == 0, tostring(rc))
                for _, one in ipairs(ends) do
                    one:free()
                end
            end
        end)
    end)

    describe("names", function()
        local other, any
        setup(function()
            other = store_of:make { names = { "c.example", "x.b.example" }, by = root }
            any = store_of:make { names = { "any.example" }, by = root }
        end)
        local function shown(entries, host)
            local client = store(nil, { verify = false })
            local s, c, a, b = meet(assert(room.store { listeners = { listener { entries = entries } } }), client, host)
            return a == 1 and b == 1 and s or nil, c, s
        end
        local function two()
            return { room.entry(shop, { "a.example", "*.b.example" }), room.entry(other, { "c.example", "x.b.example" }) }
        end
        -- The client's check of the name tells which certificate it was.
        local function serves(host, made)
            local both = store({ entries = two() }, { ca = pem(root), name = host })
            local _, _, a, b = meet(both, both)
            assert.same({ 1, 1 }, { a, b }, host .. made.name)
        end
        it("are served by the exact one before a wildcard, in any case", function()
            serves("a.example", shop)
            serves("c.example", other)
            serves("x.b.example", other)
            serves("y.b.example", shop)
            serves("Y.B.Example", shop)
        end)
        it("match a wildcard in one label only", function()
            assert.is_nil(shown(two(), "z.y.b.example"))
            assert.is_nil(shown(two(), "b.example"))
        end)
        it("that nobody serves get the alert unrecognized_name", function()
            local ok, c, s = shown(two(), "unknown.example")
            assert.is_nil(ok)
            assert.equal('no certificate is here for the name "unknown.example"', s:why())
            assert.matches("unrecognized name", c:why())
        end)
        it("get the certificate that is for any when there is one", function()
            local entries = two()
            entries[3] = room.entry(any, { "any.example", "*" })
            local both = store({ entries = entries }, { name = "unknown.example" })
            local _, c = meet(both, both)
            assert.matches("backend's certificate is not accepted: hostname mismatch", c:why())
            assert.is_truthy(shown(entries, "unknown.example"))
        end)
        it("that are not sent get the first certificate", function()
            local both = store({ entries = two() }, { verify = false, name = "127.0.0.1" })
            local s = met(both, both)
            assert.equal("", s:name())
        end)
        it("that are addresses are none", function()
            -- openssl s_client sends what it is told; our client sends no address.
            local server = assert(room.store { listeners = { listener { entries = two() } } })
            local s, c = room.pair(C.tls_store_server(server, "l"), nil)
            ends = { s, c }
            local hello = room.hello "192-0-2-1"
            assert.is_truthy(hello:find("192-0-2-1", 1, true))
            c:raw((hello:gsub("192%-0%-2%-1", "192.0.2.1")))
            assert.equal(0, C.tls_handshake(s.t), s:why())
            assert.equal("", s:name())
        end)
        it("tell on which connection a host belongs", function()
            local both = store({ entries = two() }, { name = "y.b.example" })
            local s = met(both, both)
            assert.is_true(C.tls_covers(s.t, "y.b.example"))
            assert.is_true(C.tls_covers(s.t, "a.example"))
            assert.is_false(C.tls_covers(s.t, "c.example"))
            assert.is_true(C.tls_covers(s.t, "unknown.example"))
            both = store({ entries = two() }, { verify = false, name = "127.0.0.1" })
            assert.is_true(C.tls_covers(met(both, both).t, "c.example"))
        end)
    end)

    it("refuses what cannot be used, with a sentence", function()
        local stranger = store_of:make { names = { "q.example" } }
        local function says(entry, pattern)
            local made, why, rc = room.store { listeners = { listener { entries = { entry } } } }
            assert.is_nil(made)
            assert.equal(-22, rc)
            assert.matches(pattern, why)
        end
        says({ names = { "a" }, chain = pem(shop), key = certificates.read(stranger.key) },
            "^a certificate and its key do not belong together: ")
        says({ names = { "a" }, chain = "none", key = certificates.read(shop.key) }, "^a certificate could not be read: ")
        says({ names = { "a" }, chain = pem(shop), key = "none" }, "^a key could not be read: ")
        says(room.entry(shop, { "a" }, { ocsp = "?" }), "OCSP")
        local made, why = room.store { tickets = { "AAAA" } }
        assert.is_nil(made)
        assert.matches("48 or 80 bytes", why)
    end)

    it("asks clients for certificates and keeps their subject", function()
        local people = store_of:authority "People"
        local alice = store_of:make { common_name = "alice, of the shop", names = { "alice" }, by = people }
        local stranger = store_of:make { common_name = "mallory", names = { "mallory" }, by = root }
        local expired = store_of:make { common_name = "bob", names = { "bob" }, by = people, starts = -7200, ends = -3600 }
        local function visit(client, made)
            local server = store { client_ca = pem(people), client = client }
            local c = store(nil, made and { certificate = pem(made), key = certificates.read(made.key) })
            local s, _, a = meet(server, c)
            return a, s
        end
        local rc, s = visit("require", alice)
        assert.equal(1, rc, s:why())
        assert.equal("CN=alice\\, of the shop", s:subject())
        rc, s = visit("require", nil)
        assert.equal(room.EPROTO, rc)
        assert.matches("peer did not return a certificate", s:why())
        rc, s = visit("request", nil)
        assert.equal(1, rc)
        assert.equal("", s:subject())
        rc, s = visit("request", stranger)
        assert.equal(room.EPROTO, rc)
        assert.matches("^the client's certificate is not accepted: ", s:why())
        rc, s = visit("require", expired)
        assert.equal(room.EPROTO, rc)
        assert.equal("the client's certificate is not accepted: certificate has expired", s:why())
        rc, s = visit("none", alice)
        assert.equal(1, rc)
        assert.equal("", s:subject())
    end)

    describe("sessions", function()
        local function visit(server, client, peer)
            local s, c = met(server, client, nil, peer)
            s:send "x"
            assert.equal("x", c:recv())
            local resumed = C.tls_resumed(s.t)
            assert.equal(resumed, C.tls_resumed(c.t))
            return resumed
        end
        it("are resumed by whoever has the same keys, and not by others", function()
            local client = store()
            assert.is_false(visit(store(), client))
            assert.is_true(visit(store(), client))
            assert.is_true(visit(store(), client, "one"))
            assert.is_false(visit(store(), client, "two"))
            -- a key that is no longer the newest is still good, and what follows is made with the newest
            assert.is_true(visit(store(nil, nil, { ("C"):rep(107) .. "=", TICKETS[1] }), client))
            assert.is_true(visit(store(nil, nil, { ("C"):rep(107) .. "=" }), client))
            assert.is_false(visit(store(nil, nil, { TICKETS[2] }), client))
        end)
        it("stay where what is asked of clients is another", function()
            local client = store()
            assert.is_false(visit(store(), client))
            local asks = store { client = "request", client_ca = pem(root) }
            local s, c, a = meet(asks, client)
            assert.equal(1, a, s:why())
            assert.is_false(C.tls_resumed(c.t))
        end)
        it("go on with TLS 1.2", function()
            local client = store(nil, nil)
            local old = room.store { listeners = { listener { min_version = "1.2" } }, tickets = TICKETS }
            assert.is_false(visit(old, client))
            assert.is_true(visit(old, client))
        end)
    end)

    it("takes over what has not changed from the store before", function()
        local one = store()
        local two = store(nil, nil, { TICKETS[2] }, one)
        assert.equal(C.tls_store_server(one, "l"), C.tls_store_server(two, "l"))
        assert.equal(C.tls_store_client(one, "s"), C.tls_store_client(two, "s"))
        local three = store({ http2 = true }, nil, nil, two)
        assert.not_equal(C.tls_store_server(two, "l"), C.tls_store_server(three, "l"))
        local s, c = met(three, one)
        three = nil -- luacheck: ignore
        collectgarbage()
        assert.equal(2, c:send "go")
        assert.equal("go", s:recv())
    end)

    it("agrees on a protocol", function()
        local client = store(nil, { alpn = "h2" })
        assert.is_true(C.tls_http2(met(store { http2 = true }, client).t))
        local s, c, a = meet(store { http2 = false }, client)
        assert.equal(room.EPROTO, a)
        assert.matches("no application protocol", s:why())
        assert.matches("no application protocol", c:why())
    end)

    it("shows the certificate of a challenge only to who asks by its protocol", function()
        local challenge = store_of:make { names = { "a.example" } }
        local entries = { room.entry(challenge, { "a.example" }, { alpn = "acme-tls/1" }),
            room.entry(shop, { "a.example" }) }
        local s = met(store { entries = entries }, store(nil, { alpn = "acme-tls/1", ca = pem(challenge) }))
        assert.is_true(C.tls_acme(s.t))
        s = met(store { entries = entries }, store())
        assert.is_false(C.tls_acme(s.t))
    end)
end)
