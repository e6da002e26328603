-- Where redirects lead, and that nothing of a request can make it another host.
local edge = require "edge_room"
local C, ffi = edge.C, edge.ffi

local function redirect(to, status)
    return edge.make("edge_redirect", { to = to, status = status or 301 })
end

-- The Location for a request, or nil.
local function location(r, target, more)
    local out, answer = edge.out(), ffi.new "struct edge_answer[1]"
    local request = edge.request("GET " .. target, more)
    if not C.edge_redirect_answer(r, request, out, answer) then
        return nil
    end
    return edge.text(answer[0].fields):match "^Location: ([^\r\n]*)\r\n$", answer[0].status
end

describe("edge/redirect", function()
    it("keeps host, path and query, and says its status", function()
        local r = redirect("https://{host}{uri}", 308)
        local to, status = location(r, "/a/b?x=1&y=%20")
        assert.same({ "https://shop.example/a/b?x=1&y=%20", 308 }, { to, status })
        assert.equal("https://shop.example/", (location(r, "/")))
        assert.equal("https://shop.example/?", (location(r, "/?")))
    end)

    it("leaves the port of the Host out, also of an IPv6 address", function()
        local r = redirect "https://{host}:8443{path}"
        assert.equal("https://shop.example:8443/x", (location(r, "/x?q", { host = "shop.example:8080" })))
        assert.equal("https://[::1]:8443/x", (location(r, "/x", { host = "[::1]:8080" })))
    end)

    it("takes the host of a route that has one, whatever the client says", function()
        local r = redirect "https://{host}{uri}"
        assert.equal("https://shop.example/", (location(r, "/", { host = "shop.example.:80", route = "shop.example" })))
        assert.equal("https://a.shop.example/", (location(r, "/", { host = "a.shop.example", route = "*.shop.example" })))
    end)

    it("to https is not for who came by https already", function()
        local r = edge.make("edge_redirect", { to = "https://{host}{uri}", secures = true })
        assert.is_true(C.edge_redirect_passes(r, (edge.request("GET /", { secure = true }))))
        assert.is_false(C.edge_redirect_passes(r, (edge.request "GET /")))
        assert.is_false(C.edge_redirect_passes(redirect "https://{host}{uri}", (edge.request("GET /", { secure = true }))))
    end)

    it("needs a host where it says one", function()
        assert.is_nil((location(redirect "https://{host}{uri}", "/", { host = false })))
        assert.equal("https://new.example/a", (location(redirect "https://new.example{uri}", "/a", { host = false })))
    end)

    it("is no way to another host by a path of slashes", function()
        for _, path in ipairs { "//evil.example/", "///evil.example/", "/\\evil.example/", "/\\/evil.example/" } do
            local to = location(redirect "/{query}{path}", path)
            assert.truthy(to:find "^/evil%.example/", path .. " -> " .. to)
            assert.equal("https://new.example" .. path, (location(redirect "https://new.example{path}", path)))
        end
        assert.equal("/new//x", (location(redirect "/new{path}", "//x")))
        assert.equal("/", (location(redirect "/", "/x")))
    end)

    it("says no when it does not fit", function()
        local r, small = redirect "https://new.example{uri}", edge.out(64)
        local request = edge.request("GET /" .. ("x"):rep(100))
        assert.is_false(C.edge_redirect_answer(r, request, small, ffi.new "struct edge_answer[1]"))
    end)

    it("is refused without a place to go, or with a status that is none", function()
        assert.is_nil(edge.try("edge_redirect", { status = 301 }))
        assert.is_nil(edge.try("edge_redirect", { to = "/x", status = 200 }))
    end)
end)

describe("edge/template", function()
    local function put(text, names, values)
        local list, given, keep = ffi.new("const char *[?]", #names + 1), ffi.new("struct str[?]", #names), {}
        for i, name in ipairs(names) do
            keep[#keep + 1] = ffi.new("char[?]", #name + 1, name)
            list[i - 1] = keep[#keep]
            given[i - 1] = edge.str(values[i])
        end
        local out = edge.out()
        local t = C.edge_template_new(text, list)
        C.edge_template_put(t, given, out)
        C.edge_template_free(t)
        return ffi.string(out.bytes, out.len)
    end

    it("fills its places and leaves every other brace", function()
        local names = { "status", "id" }
        for text, want in pairs {
            [""] = "", ["plain"] = "plain", ["{status}"] = "404", ["{id}{status}{id}"] = "x404x",
            ["a { color: red } {status}"] = "a { color: red } 404", ["{{status}}"] = "{404}", ["{stat"] = "{stat",
            ["{nope}{id"] = "{nope}{id", ["}{"] = "}{", ["{}"] = "{}",
        } do
            assert.equal(want, put(text, names, { "404", "x" }), text)
        end
    end)
end)
