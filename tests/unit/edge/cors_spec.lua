-- CORS: who may, what is said to them, and that nobody else is let in by a look-alike.
local edge = require "edge_room"
local C, ffi = edge.C, edge.ffi

local RESULTS = { [0] = "on", "preflight", "refused" }

local function ask(c, line, fields)
    local out, preflight = edge.out(), edge.out()
    local result = C.edge_cors_ask(c, edge.request(line, { fields = fields }), out, preflight)
    local function lines(o)
        local list = {}
        for text in ffi.string(o.bytes, o.len):gmatch "(.-)\r\n" do
            list[#list + 1] = text:gsub("^Access%-Control%-", "")
        end
        return table.concat(list, "; ")
    end
    return RESULTS[tonumber(result)], lines(out), lines(preflight)
end

local function preflight(origin, names)
    return ("Origin: %s\r\nAccess-Control-Request-Method: PUT\r\n%s"):format(origin,
        names and "Access-Control-Request-Headers: " .. names .. "\r\n" or "")
end

describe("edge/cors", function()
    local function cors(more)
        local json = { origins = { "https://shop.example", "https://*.shop.example" }, methods = "GET, PUT", headers = "*",
            expose = "X-Total", credentials = true, max_age_s = 60 }
        for key, value in pairs(more or {}) do
            json[key] = value
        end
        return edge.make("edge_cors", json)
    end

    it("answers preflights with what is allowed", function()
        assert.same({ "preflight", "Vary: Origin; Allow-Origin: https://shop.example; Allow-Credentials: true",
            "Allow-Methods: GET, PUT; Allow-Headers: x-a, x-b; Vary: Access-Control-Request-Headers; Max-Age: 60" },
            { ask(cors(), "OPTIONS /", preflight("https://shop.example", "x-a, x-b")) })
        assert.equal("Allow-Methods: GET, PUT; Allow-Headers: X-A; Max-Age: 60",
            (select(3, ask(cors { headers = "X-A" }, "OPTIONS /", preflight("https://a.shop.example", "x-a")))))
    end)

    it("says to other requests of such origins that they may, and what they may read", function()
        assert.same({ "on", "Vary: Origin; Allow-Origin: https://a.b.shop.example; Allow-Credentials: true; Expose-Headers: X-Total",
            "" }, { ask(cors(), "GET /", "Origin: https://a.b.shop.example\r\n") })
        assert.same({ "on", "Vary: Origin", "" }, { ask(cors(), "GET /") })
        assert.same({ "on", "Vary: Origin", "" }, { ask(cors(), "OPTIONS /") })
        assert.equal("on", (ask(cors(), "GET /", preflight "https://shop.example")), "no preflight with another method")
    end)

    it("takes no look-alike for one of them", function()
        for _, origin in ipairs { "https://evil.example", "http://shop.example", "https://shop.example.evil.example",
            "https://evilshop.example", "https://.shop.example", "https://shop.example:8443", "null", "*",
            "https://evil.example/.shop.example", "https://evil@x.shop.example", "https://SHOP.example", "https://" } do
            assert.same({ "refused", "Vary: Origin", "" }, { ask(cors(), "OPTIONS /", preflight(origin)) }, origin)
            assert.same({ "on", "Vary: Origin", "" }, { ask(cors(), "GET /", "Origin: " .. origin .. "\r\n") }, origin)
        end
    end)

    it("says * for all, and never with credentials", function()
        local all = cors { origins = { "*" }, credentials = false }
        assert.same({ "on", "Allow-Origin: *; Expose-Headers: X-Total", "" },
            { ask(all, "GET /", "Origin: https://anywhere.example\r\n") })
        assert.equal("preflight", (ask(all, "OPTIONS /", preflight "null")))
        assert.is_nil(edge.try("edge_cors", { origins = { "*" }, credentials = true }))
    end)
end)
