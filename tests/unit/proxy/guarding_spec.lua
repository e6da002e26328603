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
