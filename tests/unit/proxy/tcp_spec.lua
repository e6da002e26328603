-- Routes that balance connections of any protocol.
local proxied = require "proxied"
local socket = require "socket"

describe("proxy, TCP routes", function()
    local w

    local function world(options)
        options = options or {}
        options.route = { more = options.more or {} }
        options.route.more.tcp = true
        w = proxied.start(options)
        return w
    end

    after_each(function()
        w = proxied.finish(w)
    end)

    -- Whether a new connection ends at once, be it while it is made.
    local function refused()
        local sock = socket.connect("127.0.0.1", w.port)
        if sock then
            sock:settimeout(5)
        end
        return not sock or select(2, sock:receive(1)) ~= "timeout"
    end

    it("pass bytes and half-closes both ways, whoever speaks first", function()
        world()
        local c = w:client()
        local u = w:accept()
        u:send "hello\n"
        assert.equal("hello\n", (c:read(6)))
        c:send "GET / is no HTTP here\0\255"
        assert.equal("GET / is no HTTP here\0\255", (u:read(23)))
        c:half_close()
        assert.is_true(u:closed())
        u:send "still"
        assert.equal("still", (c:read(5)))
        u:close()
        assert.is_true(c:closed())
        local row = w:row(1)
        proxied.eventually(function()
            return tonumber(row.in_flight) == 0 and tonumber(w:numbers().connections) == 0
        end)
        assert.same({ 23, 11, 1 }, { tonumber(row.bytes_in), tonumber(row.bytes_out), tonumber(row.outcomes[2]) })
    end)

    it("move a lot in both directions at once", function()
        world()
        local c = w:client()
        local u = w:accept()
        local much = ("0123456789abcdef"):rep(65536)
        local function pump(from, to)
            local sent, got = 0, {}
            from.sock:settimeout(0)
            to.sock:settimeout(0)
            local limit = socket.gettime() + 10
            local size = 0
            while size < #much and socket.gettime() < limit do
                if sent < #much then
                    local last, _, part = from.sock:send(much, sent + 1)
                    sent = last or part
                end
                local bytes, _, some = to.sock:receive(65536)
                bytes = bytes or some
                size = size + #bytes
                got[#got + 1] = bytes
            end
            return table.concat(got)
        end
        assert.is_true(pump(c, u) == much)
        assert.is_true(pump(u, c) == much)
    end)

    it("move much inside the kernel, keep its order, and half-close behind it", function()
        world()
        local c = w:client()
        local u = w:accept()
        local parts = {}
        for i = 1, 1600000 do
            parts[i] = ("%010d"):format(i)
        end
        local much, before = table.concat(parts), w:pipes()
        for _ = 1, 2 do
            assert.is_true(proxied.flood(u, c, much) == much)
            assert.is_true(proxied.flood(c, u, much) == much)
            c:send "small" -- copied again
            assert.equal("small", (u:read(5)))
        end
        assert.is_true(w:pipes() > before, "no pipe was used")
        assert.is_true(proxied.flood(u, c, much) == much)
        u:half_close()
        assert.is_true(c:closed())
        c:send "after it"
        assert.equal("after it", (u:read(8)))
        c:close()
        assert.is_true(u:closed())
        local row = w:row(1)
        proxied.eventually(function()
            return tonumber(row.in_flight) == 0 and tonumber(w:numbers().connections) == 0
        end)
        assert.same({ 2 * #much + 10 + 8, 3 * #much }, { tonumber(row.bytes_in), tonumber(row.bytes_out) })
    end)

    it("end at once when a side breaks off while bytes wait in the kernel", function()
        world()
        for _, side in ipairs { 1, 2 } do
            local c = w:client()
            local ends = { c, w:accept() }
            ends[3 - side].sock:settimeout(0.2)
            ends[3 - side].sock:send(("x"):rep(50000000))
            ends[side]:reset()
            assert.is_true(ends[3 - side]:closed())
            proxied.eventually(function()
                return tonumber(w:row(1).in_flight) == 0 and tonumber(w:numbers().connections) == 0
            end)
        end
    end)

    it("connect elsewhere when a backend refuses, and reset when all do", function()
        world { backends = 2 }
        w.servers[1]:close()
        for _ = 1, 2 do
            local c = w:client()
            local u = w:accept(2)
            u:send "x"
            assert.equal("x", (c:read(1)))
        end
        assert.is_true(tonumber(w:row(1).outcomes[0]) > 0)
        w.servers[2]:close()
        assert.is_true(refused())
        w:roster {}
        assert.is_true(refused())
        assert.equal(1, tonumber(w:numbers().no_backend))
    end)

    it("open the circuit of a backend that refuses, and ask it no more", function()
        world { backends = 2, more = { circuit_breaker = { failure_threshold = 3, recovery_timeout_ms = 60000 } } }
        w.servers[1]:close()
        local row = w:row(1)
        local function lands_on_the_other()
            local c = w:client()
            local u = w:accept(2)
            u:send "x"
            assert.equal("x", (c:read(1)))
            c:close()
            u:close()
        end
        repeat
            lands_on_the_other()
        until w:must("news"):find("circuit_opened shop/shop-1", 1, true)
        local failed = tonumber(row.outcomes[0])
        assert.is_true(failed >= 3)
        for _ = 1, 6 do
            lands_on_the_other()
        end
        assert.equal(failed, tonumber(row.outcomes[0]), "it was asked again")
    end)

    it("choose by in-flight connections, end with silence, and go on while draining", function()
        world { backends = 2, more = { idle_timeout_ms = 400, balance = { policy = "least_connections", params = {} } } }
        local a = w:client()
        local ua, first = w:accept_any()
        local b = w:client()
        local ub, second = w:accept_any()
        assert.is_true(first ~= second)
        w:must "drain 5000"
        a:send "on"
        assert.equal("on", (ua:read(2)))
        assert.is_true(b:closed() and ub:closed(), "silence went on for ever")
    end)

    it("limit the connections of one client", function()
        world { more = { max_connections_per_client = 1 } }
        local a = w:client()
        w:accept():send "x"
        assert.equal("x", (a:read(1)))
        assert.is_true(refused())
    end)

    it("share no address with HTTP", function()
        world()
        assert.matches("TCP shares none", w:tell(w:configure { { more = { tcp = true } }, {} }))
        assert.matches("TCP shares none", w:tell(w:configure { {}, { more = { tcp = true } } }))
    end)
end)
