-- What routes may say of changing and answering requests, and what it becomes.
local configuration = require "configuration"
local load = configuration.load
local route, refused = configuration.route, configuration.route_refused

describe("script_load, the edge", function()
    after_each(configuration.clean)

    it("takes redirects", function()
        local function to(text)
            local r = route("redirect = " .. text).redirect
            return { r.to, r.status }
        end
        assert.same({ "https://{host}{uri}", 301 }, to '"https"')
        assert.same({ "https://{host}:8443{uri}", 308 }, to '{ to = "https", port = 8443, status = 308 }')
        assert.same({ "https://{host}{uri}", 301 }, to '{ to = "https", port = 443 }')
        assert.same({ "https://www.{host}/new{path}?{query}", 301 }, to '"https://www.{host}/new{path}?{query}"')
        assert.same({ "http://[::1]:80{uri}", 302 }, to '{ to = "http://[::1]:80{uri}", status = 302 }')
        assert.same({ "/new{path}", 301 }, to '"/new{path}"')
        assert.is_true(route('redirect = "https"').redirect.secures)
        assert.is_nil(route('redirect = "https://a.example"').redirect.secures)
    end)

    it("refuses redirects that a request could lead elsewhere", function()
        for _, to in ipairs { "{path}", "{uri}", "//{host}", "/\\\\x", "https://{path}", "https://new.example{query}", "https://",
            "https://{query}.example", "ftp://new.example", "new.example", "https://new_example", "https://a@b" } do
            refused(('redirect = "%s"'):format(to), "redirect.to: ")
        end
        refused('redirect = "https://new.example/ x"', "redirect.to: has characters")
        refused('redirect = "https://new.example{ury}"', 'unknown place {ury}: did you mean "uri"?')
        refused('redirect = { to = "https", status = 200 }', "redirect.status: expected a status of 301, 302")
        refused('redirect = { to = "https://a.example", port = 1 }', "redirect.port: goes with")
        refused('redirect = { too = "https" }', 'redirect.too: unknown key: did you mean "to"?')
        refused("redirect = true", 'redirect: expected "https"')
    end)

    it("takes answers, of texts and files beside the configuration", function()
        local function answer(text, files)
            local a = route("answer = " .. text, files).answer
            return { a.status, a.body, a.type, a.file }
        end
        assert.same({ 200, "ok", "text/plain; charset=utf-8" }, answer '"ok"')
        assert.same({ 410, "{}", "application/json" }, answer '{ status = 410, body = "{}", type = "application/json" }')
        assert.same({ 204, "", "text/plain; charset=utf-8" }, answer '{ status = 204 }')
        local files = { ["pages/a.html"] = "<p>", ["pages/b"] = "b" }
        assert.same({ 200, "<p>", "text/html; charset=utf-8" }, answer('{ file = "pages/a.html" }', files))
        assert.same({ 200, "b", "text/plain; charset=utf-8" }, answer('{ file = "./pages/b" }', files))
    end)

    it("refuses answers that are none, with the file's name", function()
        refused("answer = { status = 100 }", "answer.status: expected a status from 200 to 599")
        refused('answer = { body = "a", file = "a.txt" }', "answer.file: excludes body", { ["a.txt"] = "a" })
        refused('answer = { file = "none.txt" }', 'answer.file: "none.txt": no such file or directory')
        refused('answer = { file = "../x" }', "answer.file: ")
        refused('answer = { file = "big.txt" }', "32769 bytes: at most 32768", { ["big.txt"] = ("x"):rep(32769) })
        refused('answer = { type = "a\\r\\nb: c/d" }', "answer.type: expected")
        refused('answer = "a", add_prefix = "/x"', "add_prefix: is never used: answer answers every request")
        refused('answer = "a", redirect = "https"', "answer: is never given: the route has redirect")
    end)

    it("wants no backends where every route answers, and only there", function()
        local config, why = load 'service "w" { route = { { listen = ":80", redirect = "https" }, { listen = ":81", answer = "a" } } }'
        assert.is_not_nil(config, why)
        assert.same({ "backends", {} }, { config.services[1].source, config.services[1].backends })
        config, why = load 'service "w" { route = { { listen = ":80", redirect = "https" }, { listen = ":81" } } }'
        assert.is_nil(config)
        assert.truthy(why:find("needs an image", 1, true), why)
    end)

    local function change(text)
        local r = route(text)
        assert.is_nil(r.strip_prefix or r.add_prefix or r.rewrite)
        return r.path_change
    end

    it("takes changes of the path", function()
        assert.same({ strip = "/api" }, change 'path = "/api/", strip_prefix = true')
        assert.same({ strip = "/api/v1", add = "/x" }, change 'path = "/api", strip_prefix = "/api/v1/", add_prefix = "/x/"')
        assert.same({ strip = "/api" }, change 'strip_prefix = "/api"')
        assert.is_nil(change 'strip_prefix = false')
        local rule = { from = "/old/{rest}", to = "/new/{rest}" }
        assert.same({ rules = { rule } }, change 'rewrite = { from = "/old/{rest}", to = "/new/{rest}" }')
        assert.same({ add = "/x", rules = { rule, { from = "/a", to = "/b" } } }, change [[add_prefix = "/x",
            rewrite = { { from = "/old/{rest}", to = "/new/{rest}" }, { from = "/a", to = "/b" } }]])
    end)

    it("refuses changes of the path that could never be", function()
        refused("strip_prefix = true", "strip_prefix: is nothing")
        refused('path = "/api", strip_prefix = "/web"', "no request begins with /web: the path of the route is /api")
        refused('path = "/api", strip_prefix = "/apis"', "no request begins with /apis")
        refused('strip_prefix = "api"', "strip_prefix: a path begins with /")
        refused('add_prefix = "/{x}"', "add_prefix: a prefix has no {name}")
        refused('strip_prefix = "/a", rewrite = { from = "/a", to = "/b" }', "strip_prefix: goes without rewrite")
        refused('rewrite = { from = "/a/{b}/{b}", to = "/b" }', "rewrite.from: has {b} twice")
        refused('rewrite = { from = "/{a}{b}", to = "/b" }', "side by side")
        refused('rewrite = { from = "/{rest}", to = "/{rset}" }', 'rewrite.to: unknown place {rset}: did you mean "rest"?')
        refused('rewrite = { from = "/{a", to = "/b" }', "rewrite.from: a place is written {name}")
        refused('rewrite = { { from = "/a?b=c", to = "/b" } }', "rewrite[1].from: expected a path")
        for _, to in ipairs { "/../{rest}", "/new/..", "/new/%2E./{rest}", "/a\\\\..", "/..;x/{rest}" } do
            refused(('rewrite = { from = "/old/{rest}", to = "%s" }'):format(to), 'rewrite.to: climbs by "..": every such request')
            refused(('add_prefix = "%s"'):format(to:gsub("/{rest}", "")), 'add_prefix: climbs by "..": every such request')
        end
        refused('rewrite = { from = "/../{rest}", to = "/" }', 'rewrite.from: climbs by ".."')
        assert.equal("/..a/...", change 'add_prefix = "/..a/..."'.add)
        refused('rewrite = { from = "/a" }', 'rewrite: to is missing')
        refused('rewrite = "/a"', "rewrite: expected a table")
    end)

    it("takes HSTS, and only what lists of browsers take", function()
        assert.equal("max-age=31536000", route('hsts = "365d"').hsts)
        assert.equal("max-age=86400; includeSubDomains", route('hsts = { max_age = "1d", subdomains = true }').hsts)
        assert.equal("max-age=31536000; includeSubDomains; preload", route("hsts = { subdomains = true, preload = true }").hsts)
        assert.equal("max-age=0", route("hsts = 0").hsts)
        assert.is_nil(route("hsts = false").hsts)
        refused("hsts = { preload = true }", "hsts.preload: needs subdomains = true")
        refused("hsts = true", "hsts.max_age: expected a duration")
        refused("hsts = { maxage = 1 }", 'unknown key: did you mean "max_age"?')
    end)

    it("takes maintenance", function()
        local m = route("maintenance = true").maintenance
        assert.same({ 60, "text/html; charset=utf-8" }, { m.retry_after_s, m.type })
        assert.truthy(m.body:find "maintenance")
        m = route('maintenance = { retry_after = "10m", page = "m.txt", allow = { "10.0.0.0/8" } }', { ["m.txt"] = "later" })
        m = m.maintenance
        assert.same({ 600, { "10.0.0.0/8" }, "later", "text/plain; charset=utf-8" }, { m.retry_after_s, m.allow, m.body, m.type })
        assert.is_nil(route("maintenance = false").maintenance)
        refused('maintenance = { allow = { "nobody" } }', "maintenance.allow[1]: ")
        refused('maintenance = { page = "none.html" }', 'maintenance.page: "none.html": no such file')
        refused('maintenance = "soon"', "maintenance: expected true, false")
        assert.is_not_nil(load 'service "w" { route = { listen = ":80", maintenance = true } }')
        assert.is_nil((load 'service "w" { route = { listen = ":80", maintenance = { allow = { "10.0.0.0/8" } } } }'))
    end)

    it("takes error pages, exact statuses first", function()
        local files = { ["e/5xx.html"] = "five", ["e/502.html"] = "two", ["404.txt"] = "none" }
        local p = route('error_pages = { ["5xx"] = "e/5xx.html", [502] = "e/502.html", [404] = "404.txt", intercept = true }',
            files).error_pages
        local seen = {}
        for i, page in ipairs(p.pages) do
            seen[i] = ("%d-%d %s"):format(page.from, page.to, page.body)
        end
        assert.same({ "404-404 none", "502-502 two", "500-599 five" }, seen)
        assert.is_true(p.intercept)
        refused('error_pages = { [200] = "404.txt" }', "error_pages[200]: expected a status from 400", files)
        refused('error_pages = { ["6xx"] = "404.txt" }', 'error_pages.6xx: expected a status from 400', files)
        refused('error_pages = { [404] = "none.txt" }', 'error_pages[404]: "none.txt": no such file')
        refused("error_pages = {}", "error_pages: names none")
        refused('error_pages = "404.txt"', "error_pages: expected a table")
        local config, why = load { ["tidegate.lua"] = [[cluster { error_pages = { ["4xx"] = "a.html" } }
            service "w" { backends = { "127.0.0.1:9" } }]], ["a.html"] = "page" }
        assert.is_not_nil(config, why)
        assert.equal("page", config.cluster.error_pages.pages[1].body)
        config, why = load { ["tidegate.lua"] = [[cluster { error_pages = { [404] = "a.html", intercept = true } }]], ["a.html"] = "" }
        assert.is_nil(config)
        assert.truthy(why:find("error_pages.intercept: is for routes", 1, true), why)
    end)

    it("takes CORS, and never all with credentials", function()
        local c = route('cors = { origins = { "https://shop.example", "https://*.shop.example:8443" }, methods = { "GET", "PUT" },'
            .. ' headers = { "X-A", "X-B" }, expose = "X-Total", credentials = true, max_age = "1m" }').cors
        assert.same({ origins = { "https://shop.example", "https://*.shop.example:8443" }, methods = "GET, PUT",
            headers = "X-A, X-B", expose = "X-Total", credentials = true, max_age_s = 60 }, c)
        c = route('cors = "*"').cors
        assert.same({ { "*" }, "GET, HEAD, POST", "*", "", false, 600 },
            { c.origins, c.methods, c.headers, c.expose, c.credentials, c.max_age_s })
        assert.is_nil(route("cors = false").cors)
        refused('cors = { origins = { "*" }, credentials = true }', "cors.credentials: goes with named origins only")
        refused('cors = { origins = { "*", "https://a.example" } }', 'cors.origins: has "*"')
        for _, origin in ipairs { "shop.example", "https://shop.example/", "https://Shop.example", "https://*", "ftp://a.example",
            "https://a.*.example", "https://a.example:" } do
            refused(('cors = { origins = { "%s" } }'):format(origin), "cors.origins[1]: expected an origin")
        end
        refused('cors = "https://a.example:443"', "browsers leave :443 out")
        refused("cors = {}", "cors: origins is missing")
        refused('cors = { origin = "*" }', 'unknown key: did you mean "origins"?')
    end)

    local function canaries(text, more)
        return load(([[
service "web" { backends = { "127.0.0.1:9" }, route = { { listen = ":8081" }, { listen = ":8080", path = "/x",
    strip_prefix = true, balance = { "ewma" }, max_body = "1k",
    canary = %s } } }
service "web-v2" { backends = { "127.0.0.1:8" }, route = { listen = ":8082" } }
%s]]):format(text, more or ""))
    end

    it("gives a canary's service an inner route, with all but the steps", function()
        local config, why = canaries [[{ service = "web-v2", percent = 5, header = "X-Canary", value = "1", key = "cookie:user" }]]
        assert.is_not_nil(config, why)
        local outer, inner = config.services[1].routes[2], config.services[2].routes[2]
        assert.same({ key = "cookie:user", services = { { service = "web-v2", percent = 5, header = "X-Canary", value = "1" } } },
            outer.canary)
        assert.same({ service = "web", place = 2, canary = 1 }, inner.inner)
        assert.is_nil(inner.canary or inner.path_change)
        assert.same({ outer.listen, outer.path, outer.max_body_bytes, outer.balance },
            { inner.listen, inner.path, inner.max_body_bytes, inner.balance })
        config = canaries [[{ { service = "web-v2", percent = 5 }, { service = "v3", cookie = "beta" } }]]
        assert.is_nil(config)
        config, why = canaries([[{ { service = "web-v2", percent = 5 }, { service = "v3", cookie = "beta" } }]],
            'service "v3" { backends = { "127.0.0.1:7" } }')
        assert.is_not_nil(config, why)
        assert.same({ service = "web", place = 2, canary = 2 }, config.services[3].routes[1].inner)
    end)

    it("refuses canaries that lead nowhere", function()
        for text, sentence in pairs {
            ['{ service = "web-v3", percent = 5 }'] = 'canary.service: unknown service "web-v3": did you mean "web-v2"?',
            ['{ service = "web", percent = 5 }'] = "canary.service: is the route's own service",
            ['{ service = "moved", percent = 5 }'] = 'canary.service: "moved" has no backends',
            ['{ service = "web-v2" }'] = "says of no request that it goes there",
            ['{ service = "web-v2", value = "1", percent = 1 }'] = "canary.value: of what?",
            ['{ service = "web-v2", header = "X", key = "address" }'] = "canary.key: goes with percent",
            ['{ service = "web-v2", percent = 5, key = "client" }'] = 'canary.key: expected "address", "header:NAME"',
            ['{ service = "web-v2", percent = 101 }'] = "canary.percent: must be between 0 and 100 percent",
            ['{ { service = "web-v2", percent = 60 }, { service = "web-v2", percent = 60 } }'] = "is 120 percent together",
            ['{ service = "web-v2", percnt = 5 }'] = 'did you mean "percent"?',
            ['"web-v2"'] = "canary: expected a table",
            ["{}"] = "service is missing",
        } do
            local config, why = canaries(text, 'service "moved" { route = { listen = ":8083", redirect = "https" } }')
            assert.is_nil(config, "was taken: " .. text)
            assert.truthy(why:find(sentence, 1, true), why)
            assert.truthy(why:find("tidegate.lua:[1-3]: "), why)
        end
    end)

    it("is for HTTP", function()
        local config, why = load 'service "w" { backends = { "127.0.0.1:9" }, route = { listen = "tcp://:80", redirect = "https" } }'
        assert.is_nil(config)
        assert.truthy(why:find("redirect: is for HTTP: this route listens on tcp://", 1, true), why)
    end)
end)
