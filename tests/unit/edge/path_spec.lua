-- Paths for backends: prefixes, patterns, and that none of it leads out of where a route is.
local edge = require "edge_room"
local C, ffi = edge.C, edge.ffi

-- The path and what was stripped; false as it came; nil refused.
local function apply(p, path, size)
    local out, to, prefix = edge.out(size), ffi.new "struct str[1]", ffi.new "struct str[1]"
    local rc = C.edge_path_apply(p, edge.str(path), out, to, prefix)
    if rc == 1 then
        return edge.text(to[0]), prefix[0].len > 0 and edge.text(prefix[0]) or nil
    end
    if rc == 0 then
        return false
    end
end

local function path(value)
    return edge.make("edge_path", value)
end

local function rules(...)
    local list = {}
    for i = 1, select("#", ...), 2 do
        list[#list + 1] = { from = (select(i, ...)), to = (select(i + 1, ...)) }
    end
    return path { rules = list }
end

describe("edge/path", function()
    it("strips whole segments, and leaves one slash", function()
        local p = path { strip = "/api" }
        assert.same({ "/x/y", "/api" }, { apply(p, "/api/x/y") })
        assert.equal("/", (apply(p, "/api")))
        assert.equal("/", (apply(p, "/api/")))
        assert.equal("/x", (apply(p, "/api//x")))
        assert.equal("/evil.example/x", (apply(p, "/api///evil.example/x")))
        assert.equal("/evil.example", (apply(p, "/api/\\evil.example")))
        assert.is_false(apply(p, "/apix"))
        assert.is_false(apply(p, "/other/api/x"))
    end)

    it("puts a prefix before what is there, stripped or not", function()
        local both = path { strip = "/api", add = "/v1" }
        assert.equal("/v1/x", (apply(both, "/api/x")))
        assert.equal("/v1/", (apply(both, "/api")))
        assert.same({ "/v1/y" }, { apply(both, "/y") })
        assert.equal("/base/a%2Fb", (apply(path { add = "/base" }, "/a%2Fb")))
    end)

    it("rewrites by the first pattern that fits the whole path", function()
        local p = rules("/old/{rest}", "/new/{rest}", "/user/{id}/photo/{name}.jpg", "/p/{name}?", "/exact", "/found",
            "/{a}-{b}", "/{b}/{a}")
        for from, want in pairs {
            ["/old/a/b"] = "/new/a/b", ["/old/"] = "/new/", ["/old"] = false, ["/older/x"] = false,
            ["/exact"] = "/found", ["/exact/"] = false, ["/x-y/z"] = "/y/z/x", ["/-y"] = false,
            ["/user/7/photo/me.jpg"] = "/p/me?", ["/user/7/photo/a.jpg.jpg"] = "/p/a.jpg?",
            ["/user/7/8/photo/me.jpg"] = false, ["/user//photo/me.jpg"] = false, ["/user/7/photo/.jpg"] = false,
            ["/user/7/photo/a/b.jpg"] = false,
        } do
            assert.equal(want, (apply(p, from)), from)
        end
        assert.equal("/evil.example", (apply(rules("/go{rest}", "/{rest}"), "/go//evil.example")))
    end)

    it("refuses paths that climb, in every spelling, whatever the change", function()
        local climbing = { "/api/..", "/api/../x", "/api/%2e%2e/x", "/api/.%2E/x", "/api/x/../../y", "/api/..;v=1/x",
            "/api/..%2fx", "/api%2f..%2fx", "/api\\..\\x", "/api/%5c..%5Cx", "/api/..%00/x", "/..", "/api/%2e%2e" }
        local harmless = { "/api", "/api/...", "/api/..x", "/api/x..", "/api/a;../x", "/api/.x", "/api/%2e", "/api/%2",
            "/api/%zz..x/", "/", "/api/%252e%252e/x" }
        for _, p in ipairs { path { strip = "/api" }, path { add = "/v1" }, rules("/api/{rest}", "/{rest}") } do
            for _, given in ipairs(climbing) do
                assert.is_nil(apply(p, given), given)
            end
            for _, given in ipairs(harmless) do
                assert.is_not_nil(apply(p, given), given)
            end
        end
    end)

    it("never leads to a path that climbs, or to another host, whatever comes", function()
        local changes = { path { strip = "/a", add = "/v" }, path { strip = "/a" },
            rules("/{x}.{y}", "/{x}{y}", "/{x}%2e{y}", "/{y}{x}", "/a{rest}", "/{rest}", "/{a}/{b}/{c}", "/{c}/{a}{b}") }
        local parts = { "/", "/", ".", ".", "%2e", "%2F", "a", "\\", ";", "b", "%", "2" }
        assert.is_nil(apply(changes[3], "/..."), "two of three dots are left")
        local state, changed = 1, 0
        local function random(n)
            state = (state * 16807) % 2147483647
            return state % n + 1
        end
        for _ = 1, 30000 do
            local given = { "/" }
            for i = 2, random(9) do
                given[i] = parts[random(#parts)]
            end
            given = table.concat(given)
            for _, p in ipairs(changes) do
                local to = apply(p, given)
                if to then
                    changed = changed + 1
                    assert.is_false(C.edge_path_climbs(edge.str(to)), given .. " -> " .. to)
                    assert.truthy(to:find "^/[^/\\]" or to == "/", given .. " -> " .. to)
                end
            end
        end
        assert.is_true(changed > 10000, changed)
    end)

    it("leaves * as it is, and says no when it does not fit", function()
        assert.is_false(apply(path { add = "/v1" }, "*"))
        assert.is_nil(apply(path { add = "/v1" }, "/" .. ("x"):rep(100), 50))
    end)

    it("is refused with a pattern that is none", function()
        for _, from in ipairs { "x", "", "/{", "/{}", "/{a", ("/{a}"):rep(9) } do
            assert.is_nil(edge.try("edge_path", { rules = { { from = from, to = "/x" } } }), from)
        end
    end)
end)
