-- Large bodies both ways, which go through pipes in the kernel, and what happens without descriptors for them.
local proxied = require "proxied"

describe("proxy, large bodies", function()
    local w

    local function world(options)
        w = proxied.start(options)
        assert(w.servers[1]:setoption("recv-buffer-size", 65536)) -- takes little while nobody reads
        return w
    end

    after_each(function()
        w = proxied.finish(w)
    end)

    local function much(lines)
        local parts = {}
        for i = 1, lines do
            parts[i] = ("%010d"):format(i)
        end
        return table.concat(parts)
    end

    local function post(c, length, more)
        c:send("POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: " .. length .. "\r\n" .. (more or "") .. "\r\n")
    end

    local function accept()
        local u = w:accept()
        u:read_head()
        return u
    end

    it("sends requests inside the kernel, in order, and the pipelined one behind", function()
        world()
        local body, before = much(1600000), w:pipes()
        local c = w:client()
        post(c, #body)
        local u = accept()
        local sent = proxied.stuff(c, body, 0)
        assert.is_true(w:pipes() > before, "no pipe was used")
        assert.is_true(proxied.pump(c, u, body, sent) == body)
        c:get "/behind"
        u:ok "done"
        assert.equal("done", (select(3, c:answer())))
        assert.matches("^GET /behind ", (u:read_head()))
        u:ok "too"
        assert.equal("too", (select(3, c:answer())))
        local row = w:row(1)
        proxied.eventually(function()
            return tonumber(row.in_flight) == 0 and tonumber(row.bytes_in) == #body
        end)
    end)

    it("never uses a connection again whose request still waits in the kernel", function()
        world()
        local body = much(1600000)
        local c = w:client()
        post(c, #body)
        local u = accept()
        proxied.stuff(c, body, 0)
        assert.is_true(tonumber(w:row(1).bytes_in) < #body, "the backend took all of it")
        u:send "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nearl"
        assert.equal("earl", (select(3, c:answer())))
        c:close()
        local other = w:client()
        other:get "/next"
        local v = w:accept()
        assert.matches("^GET /next ", (v:read_head()))
        v:ok "next"
        assert.equal("next", (select(3, other:answer())))
        assert.is_true(#u:read_all() < #body)
    end)

    it("takes a client that leaves in mid-request, and a backend that does", function()
        world()
        local body = much(800000)
        local c = w:client()
        post(c, #body)
        local u = accept()
        proxied.stuff(c, body:sub(1, -2), 0)
        c:close()
        assert.is_true(#u:read_all() < #body)
        c = w:client()
        post(c, #body)
        u = accept()
        proxied.stuff(c, body, 0)
        u:close() -- with unread bytes: a reset
        local status = c:answer()
        assert.is_true(status == 502 or status == nil, "an answer of " .. tostring(status))
        c:close()
        proxied.eventually(function()
            return tonumber(w:row(1).in_flight) == 0 and tonumber(w:numbers().connections) == 0
        end)
    end)

    it("keeps the limit of a slow body", function()
        world { route = { more = { min_body_rate = 100000, slow_body_timeout_ms = 200 } } }
        local c = w:client()
        post(c, 10000000)
        accept()
        proxied.eventually(function()
            c.sock:send(("x"):rep(1000))
            return not c:silent(0.05)
        end, "it may be as slow as it likes")
        assert.equal(408, (c:answer()))
    end)

    it("copies where no descriptors are left for pipes", function()
        world { files = 128 }
        local body, ways = much(100000), {}
        for i = 1, 40 do
            local c = w:client()
            c:get "/large"
            local u = accept()
            u:send("HTTP/1.1 200 OK\r\nContent-Length: " .. #body .. "\r\n\r\n")
            c:read_head()
            ways[i] = { c = c, u = u }
        end
        for _, way in ipairs(ways) do
            way.sent = proxied.stuff(way.u, body, 0)
        end
        for i, way in ipairs(ways) do
            assert.is_true(proxied.pump(way.u, way.c, body, way.sent) == body, "answer " .. i)
        end
    end)
end)
