-- How often a route may be asked: whom its limits count, several together, and what a client is told.
local C, ffi = require("ffi_room").load("base/str.h", "base/json.h", "net/http1.h", "board/board.h", "board/rate.h",
    "edge/limit.h")

local SECOND = 1000000
local NOW = 9000 * SECOND

describe("edge/limit", function()
    local b

    before_each(function()
        local out = ffi.new "struct board *[1]"
        assert.equal(0, C.board_new(4, out))
        b = ffi.gc(out[0], C.board_free)
    end)

    local function limits(text, route)
        local json = C.json_parse(text, #text)
        assert.is_true(json ~= nil, text)
        local l = C.edge_limits_new(json, route or 1)
        C.json_free(json)
        return l ~= nil and ffi.gc(l, C.edge_limits_free) or nil
    end

    local kept

    local function ask(l, options)
        options = options or {}
        local head, used, status = ffi.new "struct http1_head", ffi.new "size_t[1]", ffi.new "int[1]"
        kept = "GET / HTTP/1.1\r\nHost: a\r\n" .. (options.fields or "") .. "\r\n"
        local text = ffi.new("struct str", { kept, #kept })
        assert.equal(tonumber(C.HTTP1_DONE), tonumber(C.http1_parse_request(text, head, used, status)))
        local limited = ffi.new "struct edge_limited"
        local may = C.edge_limits_ask(l, b, head, options.address or "10.0.0.1", NOW + (options.after or 0), limited)
        return may, limited
    end

    local function through(l, n, options)
        local count = 0
        for _ = 1, n do
            count = count + (ask(l, options) and 1 or 0)
        end
        return count
    end

    local function fields(l, limited)
        local to = ffi.new "char[256]"
        local s = C.edge_limits_fields(l, limited, to)
        return ffi.string(s.ptr, s.len)
    end

    it("is only there when the route says so", function()
        assert.is_nil(limits "[]")
        assert.is_nil(limits "{}")
    end)

    it("counts by address, of IPv6 by its /64", function()
        local l = limits [=[[{"rate":1,"per_ms":60000,"burst":3,"by":"address"}]]=]
        assert.equal(3, through(l, 9))
        assert.equal(3, through(l, 9, { address = "10.0.0.2" }))
        assert.equal(3, through(l, 9, { address = "2001:db8:1:2::1" }))
        assert.equal(0, through(l, 9, { address = "2001:db8:1:2:ffff::9" }))
        assert.equal(3, through(l, 9, { address = "2001:db8:1:3::1" }))
        assert.equal(3, through(l, 9, { address = "unknown" }))
    end)

    it("counts all of a route together", function()
        local l = limits [=[[{"rate":1,"per_ms":60000,"burst":3,"by":"route"}]]=]
        assert.equal(3, through(l, 5) + through(l, 5, { address = "10.0.0.2" }))
        assert.equal(3, through(limits([=[[{"rate":1,"per_ms":60000,"burst":3,"by":"route"}]]=], 2), 9))
    end)

    it("counts by a header or a cookie, and by the address of who sends none", function()
        for by, form in pairs { ["header:X-Api-Key"] = "x-api-key: %s\r\n", ["cookie:session"] = "Cookie: a=b; session=%s; c\r\n" } do
            local l = limits(([=[[{"rate":1,"per_ms":60000,"burst":2,"by":"%s"}]]=]):format(by))
            for _, value in ipairs { "one", "two" } do
                local options = { fields = form:format(value) }
                assert.equal(2, through(l, 4, options), by)
                options.address = "10.0.0.9"
                assert.equal(0, through(l, 4, options), by)
            end
            assert.equal(2, through(l, 4, { address = "10.0.0.7" }))
            assert.equal(2, through(l, 4, { fields = form:format "10.0.0.7" }))
            assert.equal(2, through(l, 4, { fields = form:format "", address = "10.0.0.8" }))
            assert.equal(0, through(l, 4, { address = "10.0.0.8" }))
        end
    end)

    it("has several limits count what all let through, and no more", function()
        local l = limits [=[[{"rate":2,"per_ms":1000,"burst":2,"by":"address"},{"rate":1,"per_ms":60000,"burst":5,"by":"route"}]]=]
        assert.equal(2, through(l, 9))
        assert.equal(2, through(l, 9, { address = "10.0.0.2" }))
        local may, limited = ask(l, { address = "10.0.0.1" })
        assert.is_false(may)
        assert.equal(0, limited.which)
        assert.equal(1, through(l, 9, { address = "10.0.0.3" })) -- the refused ones took nothing
        may, limited = ask(l, { address = "10.0.0.4" })
        assert.is_false(may)
        assert.equal(1, limited.which)
        assert.truthy(fields(l, limited):find "^Retry%-After: 60\r\n")
    end)

    it("tells a client what is left and when to come again", function()
        local l = limits [=[[{"rate":30,"per_ms":60000,"burst":2,"by":"address","headers":true,"status":503}]]=]
        assert.is_true(C.edge_limits_told(l))
        local _, limited = ask(l)
        assert.equal("RateLimit-Limit: 2\r\nRateLimit-Remaining: 1\r\nRateLimit-Reset: 2\r\n" ..
            "RateLimit-Policy: 30;w=60;burst=2\r\n", fields(l, limited))
        ask(l)
        local may
        may, limited = ask(l, { after = SECOND / 2 })
        assert.is_false(may)
        assert.equal("Retry-After: 2\r\nRateLimit-Limit: 2\r\nRateLimit-Remaining: 0\r\nRateLimit-Reset: 4\r\n" ..
            "RateLimit-Policy: 30;w=60;burst=2\r\n", fields(l, limited))
        assert.equal(503, C.edge_limits_status(l, limited))
        l = limits [=[[{"rate":10,"per_ms":100}]]=]
        assert.is_false(C.edge_limits_told(l))
        _, limited = ask(l)
        assert.equal(429, C.edge_limits_status(l, limited))
        assert.truthy(fields(l, limited):find("RateLimit-Limit: 10\r\nRateLimit-Remaining: 9", 1, true))
        assert.truthy(fields(l, limited):find("RateLimit-Policy: 100;w=1;burst=10", 1, true))
    end)

    it("tells the tightest of several", function()
        local l = limits [=[[{"rate":10,"per_ms":1000},{"rate":3,"per_ms":1000},{"rate":5,"per_ms":1000}]]=]
        local _, limited = ask(l)
        assert.equal(1, limited.which)
        assert.equal(2, limited.rated.remaining)
    end)

    it("goes on over a reload that leaves it as it is, and begins anew when it is changed", function()
        local text = [=[[{"rate":1,"per_ms":60000,"burst":2,"by":"address"}]]=]
        assert.equal(2, through(limits(text), 5))
        assert.equal(0, through(limits(text), 5))
        assert.equal(3, through(limits(text:gsub([["burst":2]], [["burst":3]])), 5))
        assert.equal(2, through(limits(text:gsub("60000", "30000")), 5))
        assert.equal(2, through(limits(text, 2), 5))
    end)
end)
