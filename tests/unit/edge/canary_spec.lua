-- Which service a request goes to.
local edge = require "edge_room"
local C, ffi = edge.C, edge.ffi

local function canary(services, key)
    return edge.make("edge_canary", { services = services, key = key })
end

local function choose(c, fields, chance, more)
    local request = edge.request("GET /", { fields = fields, peer = more and more.peer })
    return C.edge_canary_choose(c, request, more and more.salt or 1, chance or 0)
end

-- Numbers spread over all 64 bits, the same in each run.
local function spread(n)
    return ffi.cast("uint64_t", n) * 0x9e3779b97f4a7c15ULL
end

describe("edge/canary", function()
    it("gives each its part within 1 % of 10,000", function()
        local c = canary { { percent = 5 }, { percent = 20 } }
        local seen = { [-1] = 0, [0] = 0, [1] = 0 }
        for i = 1, 10000 do
            local at = choose(c, nil, spread(i))
            seen[at] = seen[at] + 1
        end
        assert.near(500, seen[0], 100)
        assert.near(2000, seen[1], 100)
        assert.equal(10000, seen[0] + seen[1] + seen[-1])
    end)

    it("gives none and all of it exactly", function()
        local none, all = canary { { percent = 0 } }, canary { { percent = 100 } }
        for _, chance in ipairs { spread(0), spread(1), 0xffffffffffffffffULL } do
            assert.equal(-1, choose(none, nil, chance))
            assert.equal(0, choose(all, nil, chance))
        end
    end)

    it("goes by header and cookie whatever the part, with the value if there is one", function()
        local c = canary { { header = "X-Canary", value = "yes" }, { cookie = "beta" } }
        assert.equal(0, choose(c, "x-canary: yes\r\n"))
        assert.equal(-1, choose(c, "X-Canary: no\r\n"))
        assert.equal(1, choose(c, "Cookie: a=b; beta=1\r\n"))
        assert.equal(1, choose(c, "Cookie: a=b\r\nCookie: beta=x\r\n"))
        assert.equal(-1, choose(c, "Cookie: beta=\r\n"))
        assert.equal(-1, choose(c, "Cookie: xbeta=1\r\n"))
        assert.equal(-1, choose(c))
    end)

    it("keeps a client where it is, also while the part grows", function()
        for key, field in pairs { ["header:X-User"] = "X-User: %d\r\n", ["cookie:user"] = "Cookie: user=%d\r\n" } do
            local few, many = canary({ { percent = 10 } }, key), canary({ { percent = 40 } }, key)
            local count = 0
            for user = 1, 1000 do
                local was = choose(few, field:format(user), spread(user))
                assert.equal(was, choose(few, field:format(user), spread(user + 7)))
                if was == 0 then
                    count = count + 1
                    assert.equal(0, choose(many, field:format(user), spread(user)))
                end
            end
            assert.near(100, count, 40, key)
        end
        local by = canary({ { percent = 50 } }, "address")
        for i = 1, 50 do
            local more = { peer = "10.0.0." .. i }
            assert.equal(choose(by, nil, spread(i), more), choose(by, nil, spread(i + 1), more))
        end
    end)

    it("goes by chance where a request has no key", function()
        local c, seen = canary({ { percent = 50 } }, "header:X-User"), {}
        for i = 1, 100 do
            seen[choose(c, nil, spread(i))] = true
        end
        assert.same({ [-1] = true, [0] = true }, seen)
    end)

    it("is refused without services, or with too many", function()
        local many = {}
        for i = 1, 9 do
            many[i] = { percent = 1 }
        end
        assert.is_nil(edge.try("edge_canary", {}))
        assert.is_nil(edge.try("edge_canary", { services = many }))
    end)
end)
