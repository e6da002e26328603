-- What routes may say of who is let through, and what it becomes.
local configuration = require "configuration"
local load = configuration.load
local route, refused = configuration.route, configuration.route_refused

describe("script_load, who is let through", function()
    after_each(configuration.clean)

    it("takes rate limits, one or a list", function()
        assert.same({ { rate = 100, per_ms = 1000, burst = 100, by = "address", status = 429, headers = false } },
            route("rate_limit = { rate = 100 }").rate_limit)
        assert.same({
            { rate = 0.5, per_ms = 60000, burst = 1, by = "header:X-Api-Key", status = 503, headers = true },
            { rate = 1000, per_ms = 1000, burst = 50, by = "route", status = 429, headers = false },
        }, route([[rate_limit = {
            { rate = 0.5, per = "1m", by = "header:X-Api-Key", status = 503, headers = true },
            { rate = 1000, burst = 50, by = "route" } }]]).rate_limit)
        assert.is_nil(route("").rate_limit)
    end)

    it("refuses rate limits that are none", function()
        refused("rate_limit = 5", "rate_limit: expected a table such as { rate = 100")
        refused("rate_limit = {}", "rate_limit: rate is missing: rate = 100")
        refused("rate_limit = { rate = 0 }", "rate_limit.rate: must be between 0.001 and 1000000, got 0")
        refused('rate_limit = { rate = 1, pre = "1s" }', 'rate_limit.pre: unknown key: did you mean "per"?')
        refused('rate_limit = { rate = 1, per = "soon" }', "rate_limit.per: expected a duration")
        refused('rate_limit = { rate = 1, by = "ip" }', 'rate_limit.by: expected "address", "route"')
        refused('rate_limit = { rate = 1, by = "header:" }', "rate_limit.by: expected")
        refused('rate_limit = { rate = 1, by = "query:x" }', "rate_limit.by: expected")
        refused("rate_limit = { rate = 1, burst = 0 }", "rate_limit.burst: must be between 1")
        refused("rate_limit = { rate = 1, status = 200 }", "rate_limit.status: expected a status from 400 to 599")
        refused('rate_limit = { rate = 1000000, per = "1ms" }', "rate_limit: is more than a million a second")
        refused('rate_limit = { rate = 1, per = "30d", burst = 1000 }', "waits 30000 days for all of it: at most a year")
        refused("rate_limit = { { rate = 1 }, { rate = 0 } }", "rate_limit[2].rate: must be")
        refused("rate_limit = { { rate = 1 }, 7 }", "rate_limit[2]: expected a table")
        refused("rate_limit = {" .. ("{ rate = 1 },"):rep(9) .. "}", "has 9 limits: at most 8")
    end)

    local BOB = "bob:$2y$05$iMimRCOTlJmZrFSqWyVT.eBVdmxKrBwGCBihbXuqPvA6n7YOwjf0W\n"

    it("takes files of users", function()
        local files = { ["users.htpasswd"] = "# who\n" .. BOB, ["a/b"] = BOB }
        local auth = route('basic_auth = { file = "users.htpasswd", realm = "ops" }', files).basic_auth
        assert.same({ users = "# who\n" .. BOB, realm = "ops", pass = false }, auth)
        auth = route('basic_auth = "./a/b"', files).basic_auth
        assert.same({ users = BOB, realm = "restricted", pass = false }, auth)
    end)

    it("refuses files of users that are none, by their lines", function()
        refused('basic_auth = "none"', 'basic_auth.file: "none": no such file or directory')
        refused('basic_auth = "../x"', "basic_auth.file: ")
        refused('basic_auth = "empty"', 'basic_auth.file: "empty" has no users', { empty = "# nobody\n" })
        refused("basic_auth = {}", 'basic_auth: file is missing: file = "users.htpasswd"')
        refused('basic_auth = { fil = "a" }', 'basic_auth.fil: unknown key: did you mean "file"?')
        refused([[basic_auth = { file = "a", realm = 'x"y' }]], "basic_auth.realm: expected a text without quotes", { a = BOB })
        refused("basic_auth = true", "basic_auth: expected a table")
        local config, why = configuration.with_route('basic_auth = "users"', { users = "alice:secret\n" .. BOB .. "bob:{SHA}x\n" .. BOB .. "x\n" })
        assert.is_nil(config)
        assert.truthy(why:find("users:1: this is no hash but a password in plain text", 1, true), why)
        assert.truthy(why:find("users:3: behind {SHA} there are 28 digits", 1, true), why)
        assert.truthy(why:find('users:4: "bob" is there already, on line 2', 1, true), why)
        assert.truthy(why:find('users:5: there is no ":"', 1, true), why)
        assert.is_nil(why:find("secret", 1, true))
    end)

    it("takes compression", function()
        local c = route("compress = true").compress
        assert.same({ 1024, 5, true, false, "text/" }, { c.min, c.level, c.brotli, c.secrets, c.types[1] })
        assert.same({ min = 100, level = 1, brotli = false, secrets = true, types = { "text/css", "+json" } },
            route('compress = { types = { "Text/CSS", "+json" }, min = 100, level = 1, brotli = false, secrets = true }').compress)
        assert.is_nil(route("compress = false").compress)
    end)

    it("refuses compression that is none", function()
        refused("compress = 5", "compress: expected true, or a table")
        refused("compress = { level = 10 }", "compress.level: must be between 1 and 9, got 10")
        refused('compress = { types = { "html" } }', 'compress.types[1]: expected such as "text/html"')
        refused("compress = { types = {} }", "compress.types: has 0 items: at least 1")
        refused("compress = { brotly = true }", 'compress.brotly: unknown key: did you mean "brotli"?')
    end)

    local function services(text)
        return load { ["tidegate.lua"] = ([[
service "auth" { backends = { "127.0.0.1:9" } }
service "web" {
  backends = { "127.0.0.1:9" },
  route = { { listen = ":8080", path = "/a" }, { listen = ":8080",
    %s } },
}]]):format(text) }
    end

    it("gives the services of forward_auth and mirror a route for them", function()
        for purpose, extra in pairs { forward_auth = 'path = "/verify", headers = { "X-User" }, timeout = "2s"',
            mirror = 'percent = 10, max_body = "1k", timeout = "2s"' } do
            local config, why = services(([[%s = { service = "auth", %s }, sticky = true, max_body = "1m",
                rate_limit = { rate = 1 }, request_headers = { set = { ["X-A"] = "b" } } ]]):format(purpose, extra))
            assert.is_not_nil(config, why)
            local inner = config.services[1].routes[1]
            assert.same({ service = "web", place = 2, purpose = purpose }, inner.inner)
            assert.same({ purpose, 2000, "/" }, { inner.host, inner.total_timeout_ms, inner.path })
            for _, key in ipairs { "rate_limit", "sticky", "max_body_bytes", "max_body", "request_headers", purpose } do
                assert.is_nil(inner[key], key)
            end
            local settings = config.services[2].routes[2][purpose]
            if purpose == "mirror" then
                assert.same({ service = "auth", percent = 10, max_body = 1024, timeout_ms = 2000 }, settings)
            else
                assert.same({ service = "auth", path = "/verify", headers = { "X-User" }, request_headers = {},
                    timeout_ms = 2000 }, settings)
            end
        end
    end)

    it("refuses to ask, or to send copies to, who is not there", function()
        local function wrong(text, sentence)
            local config, why = services(text)
            assert.is_nil(config, text)
            assert.truthy(why:find(sentence, 1, true), why)
            assert.truthy(why:find("tidegate.lua:5: ", 1, true), why)
        end
        wrong('forward_auth = { service = "aut" }', 'forward_auth.service: unknown service "aut": did you mean "auth"?')
        wrong('forward_auth = { service = "web" }', "forward_auth.service: is the route's own service")
        wrong("forward_auth = {}", 'forward_auth: service is missing: service = "auth"')
        wrong('forward_auth = "http://auth:1/x"', "forward_auth: expected a table")
        wrong('forward_auth = { url = "http://auth.internal:9091/verify" }',
            'service "auth" { backends = { "auth.internal:9091" } }, and write service = "auth", path = "/verify"')
        wrong('forward_auth = { service = "auth", path = "verify" }', "forward_auth.path: a path begins with /")
        wrong('forward_auth = { service = "auth", headers = { "Host" } }', "Host is written by tidegate itself")
        wrong('mirror = { service = "auth", percent = 101 }', "mirror.percent: must be between 0 and 100 percent, got 101")
        wrong('mirror = { service = "auth", max_body = "1m" }', "mirror.max_body: must be between 0 and 65536 bytes")
        wrong('mirror = "nobody"', 'mirror.service: unknown service "nobody"')
    end)

    it("is for HTTP", function()
        local config, why =
            load 'service "w" { backends = { "127.0.0.1:9" }, route = { listen = "tcp://:80", rate_limit = { rate = 1 } } }'
        assert.is_nil(config)
        assert.truthy(why:find("rate_limit: is for HTTP: this route listens on tcp://", 1, true), why)
    end)
end)
