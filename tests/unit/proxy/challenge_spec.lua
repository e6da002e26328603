-- What ACME authorities are answered, before any route.
local proxied = require "proxied"

describe("proxy, challenges of ACME authorities", function()
    local w
    local PATH = "/.well-known/acme-challenge/"

    after_each(function()
        w = proxied.finish(w)
    end)

    -- A route for one host only, with nobody behind it: 404 for others, 503 for its own.
    local function world()
        w = proxied.start { backends = 0, routes = { { service = "shop", host = "shop.example", path = "/" } } }
        w:roster {}
        return w:client()
    end

    it("are answered for any host, on a connection that goes on, until they are wiped", function()
        local c = world()
        local function get(path, host, method)
            c:send((method or "GET") .. " " .. path .. " HTTP/1.1\r\nHost: " .. host .. "\r\n\r\n")
            return c:answer(method)
        end
        assert.equal(503, (get(PATH .. "abc", "shop.example")))
        w:must 'challenges {"abc":"abc.print","a-_Z9":"two.print"}'
        for _, host in ipairs { "shop.example", "other.example", "127.0.0.1:80" } do
            local status, head, body = get(PATH .. "abc", host)
            assert.equal(200, status)
            assert.equal("abc.print", body)
            assert.matches("\r\nContent%-Type: application/octet%-stream\r\n", head)
            assert.matches("\r\nConnection: keep%-alive\r\n", head)
        end
        assert.equal("two.print", select(3, get(PATH .. "a-_Z9?x=1", "shop.example")))
        assert.matches("\r\nContent%-Length: 9\r\n", select(2, get(PATH .. "abc", "shop.example", "HEAD")))
        -- Only these: others, and what is not asked for, go by the routes, where another client may answer.
        for _, path in ipairs { PATH, PATH .. "ab", PATH .. "abcd", PATH .. "abc/", PATH .. "ABC", "/abc", "/" } do
            assert.equal(503, (get(path, "shop.example")), path)
            assert.equal(404, (get(path, "other.example")), path)
        end
        c:send("POST " .. PATH .. "abc HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 0\r\n\r\n")
        assert.equal(503, (c:answer()))
        w:must 'challenges {"abc":"another"}'
        assert.equal("another", select(3, get(PATH .. "abc", "shop.example")))
        assert.equal(503, (get(PATH .. "a-_Z9", "shop.example")))
        for _, none in ipairs { "{}", "null", "17" } do
            w:must('challenges {"abc":"once more"}')
            assert.equal(200, (get(PATH .. "abc", "shop.example")))
            w:must("challenges " .. none)
            assert.equal(503, (get(PATH .. "abc", "shop.example")))
        end
        assert.equal(0, w:stop())
        w = nil
    end)

    it("end a connection whose request has a body", function()
        local c = world()
        w:must 'challenges {"abc":"abc.print"}'
        c:send("GET " .. PATH .. "abc HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
        local status, head, body = c:answer()
        assert.same({ 200, "abc.print" }, { status, body })
        assert.matches("\r\nConnection: close\r\n", head)
        c:send "12345"
        assert.is_true(c:closed())
        c = w:client()
        c:send("GET " .. PATH .. "abc HTTP/1.0\r\n\r\n")
        assert.equal("abc.print", select(3, c:answer()))
        assert.is_true(c:closed())
    end)
end)
