-- Routes that change or answer their requests themselves, with the real binary.
local certificates = require "certificates"
local readme = require "readme"
local tidegate = require "tidegate"

describe("The edge, routing extras", function()
    it("README.md shows what check takes", tidegate.test(function(t)
        for i, text in ipairs(readme.configurations "Routing extras") do
            t:write("shown.lua", (text:gsub("@", "@@")))
            local result = t:cli("check", t.dir .. "/shown.lua")
            assert.equal(0, result.code, ("block %d: %s\n%s"):format(i, result.err, text))
        end
    end))

    it("redirects and answers without a backend, and counts that", tidegate.test(function(t)
        t:write("robots.txt", "User-agent: *\n")
        t:configure [[
service "moved" {
  route = {
    { listen = "127.0.0.1:@PORT@", host = "moved.example", redirect = { to = "https", port = 8443, status = 308 } },
    { listen = "127.0.0.1:@PORT@", path = "/robots.txt", answer = { file = "robots.txt" } },
    { listen = "127.0.0.1:@PORT@", path = "/gone", answer = { status = 410, type = "application/json", body = "{}" } },
  },
}]]
        t:start()
        local moved = t:get("/a?b=c", { headers = { Host = "moved.example:80" } })
        assert.same({ 308, "https://moved.example:8443/a?b=c" }, { moved.status, moved.headers.location })
        local robots = t:get "/robots.txt"
        assert.same({ 200, "User-agent: *\n", "text/plain; charset=utf-8" },
            { robots.status, robots.body, robots.headers["content-type"] })
        local gone = t:get "/gone/for/good"
        assert.same({ 410, "{}", "application/json" }, { gone.status, gone.body, gone.headers["content-type"] })
        assert.equal(404, t:get("/").status)
        local said = t:cli("explain", "--like", "GET /a?b=c Host: moved.example").out
        assert.truthy(said:find("308, by the route's own redirect, to https://moved.example:8443/a?b=c\n", 1, true), said)
        said = t:cli("explain", "--like", "GET /gone Host: a").out
        assert.truthy(said:find("410, by the route's own answer\nNo backend is asked.\n", 1, true), said)
        local alerts = t:cli "alerts"
        assert.same({ 0, true }, { alerts.code, alerts.out:find("nothing fires", 1, true) ~= nil }, alerts.out)
        -- The file is read again in a reload, and a file that is gone changes nothing.
        t:write("robots.txt", "Disallow: /\n")
        assert.equal("User-agent: *\n", t:get("/robots.txt").body)
        assert.equal(0, t:cli("reload").code)
        assert.equal("Disallow: /\n", t:get("/robots.txt").body)
        os.remove(t.dir .. "/robots.txt")
        local refused = t:cli "reload"
        assert.equal(1, refused.code)
        assert.truthy(refused.err:find('tidegate.lua:%d+: service "moved": route%[2%]%.answer%.file: "robots.txt": no such file'), refused.err)
        assert.equal("Disallow: /\n", t:get("/robots.txt").body)
    end))

    it("leads from http to https, which browsers are told to keep to", tidegate.test(function(t)
        local store = certificates.new(t.dir .. "/tls")
        local root = store:authority "Root"
        store:make { file = "shop", names = { "shop.example" }, by = root }
        t:port "PORT2"
        t:configure [[
service "shop" {
  route = {
    { listen = "127.0.0.1:@PORT@", redirect = { to = "https", port = @PORT2@ }, hsts = "365d" },
    { listen = "https://127.0.0.1:@PORT2@", host = "shop.example", tls = { certificate = "tls/shop.pem", key = "tls/shop.key" },
      hsts = { max_age = "365d", subdomains = true }, answer = "here" },
  },
}]]
        t:start()
        for _, version in ipairs { "--http1.1", "--http2" } do
            local pipe = io.popen(("curl -sSiL %s --cacert %s --resolve shop.example:%d:127.0.0.1 --resolve shop.example:%d:127.0.0.1 "
                .. "'http://shop.example:%d/a?b=c' 2>&1"):format(version, root.certificate, t:port(), t:port "PORT2", t:port()))
            local said = pipe:read "*a"
            pipe:close()
            local first, second = said:match "^(.-\r\n)\r\n.-(HTTP/[%d.]+ 200.*)$"
            assert.truthy(first and first:find(("ocation: https://shop.example:%d/a?b=c\r\n"):format(t:port "PORT2"), 1, true), said)
            assert.is_nil(first:lower():find "strict")
            assert.truthy(second:lower():find("strict-transport-security: max-age=31536000; includesubdomains\r\n", 1, true), said)
            assert.equal("here", second:sub(-4))
        end
    end))

    it("sends a part of the requests to another service, which status, metrics and explain tell", tidegate.test(function(t)
        for i = 2, 3 do
            t:run_beside(tidegate.service, "--name", "v" .. i - 1, "--host", "127.0.0.1", "--port", t:port("PORT" .. i))
        end
        t:write("tidegate.lua", [[
cluster { id = "@ID@", engine = "process", admin = "127.0.0.1:@PORT4@", workers = 2, access_log = { path = "@DIR@/access.log" } }
service "shop" {
  backends = { "127.0.0.1:@PORT2@" }, health_check = { http = "/health", interval = "100ms" },
  route = { listen = "127.0.0.1:@PORT@", path = "/", request = function(r) return { key = r.path } end,
            canary = { service = "shop-v2", percent = 25, header = "X-Canary" } },
}
service "shop-v2" { backends = { "127.0.0.1:@PORT3@" }, health_check = { http = "/health", interval = "100ms", retries = 1 } }
]], { PORT4 = t:port "PORT4" })
        t:start()
        for _, name in ipairs { "shop", "shop-v2" } do
            t:wait_up(1, name)
        end
        local function lands(headers)
            local answer = t:get("/", { headers = headers })
            return answer.status == 200 and answer.headers["x-instance"]
        end
        local seen = { v1 = 0, v2 = 0 }
        for _ = 1, 200 do
            local at = lands()
            seen[at] = seen[at] + 1
        end
        assert.is_true(seen.v2 > 20 and seen.v2 < 90, "of 200 at 25 %: " .. seen.v2)
        assert.equal("v2", lands { ["X-Canary"] = "1" })
        local plain, named = t:cli("explain", "--like", "GET / Host: a"), t:cli("explain", "--like", "GET / Host: a X-Canary: 1")
        assert.truthy(plain.out:find("-> shop\n", 1, true) and plain.out:find("may go to shop-v2\n", 1, true), plain.out .. plain.err)
        assert.truthy(named.out:find("-> shop-v2\n", 1, true), named.out)
        local page = t:get("/metrics", { port = t:port "PORT4" }).body
        local counted = tonumber(page:match 'tidegate_route_requests_total{service="shop%-v2",[^}]*code="2xx"} (%d+)')
        assert.equal(seen.v2 + 1, counted)
        assert.equal(200, t:get("/sick", { port = t:port "PORT3" }).status)
        t:wait("the canary to be out", function()
            return t:of("shop-v2").up == 0
        end)
        assert.equal("v1", lands { ["X-Canary"] = "1" })
        t:stop()
        local log = tidegate.read_file(t.dir .. "/access.log")
        assert.truthy(log:find '"service":"shop%-v2","backend":', log)
    end))

    it("changes paths for the backend, and its log has the original", tidegate.test(function(t)
        t:write("404.html", "<p>{status} of {request_id}")
        local port = t:port "PORT2"
        t:run_beside(tidegate.service, "--name", "web", "--host", "127.0.0.1", "--port", port)
        t:write("tidegate.lua", [[
cluster { id = "@ID@", engine = "process", admin = false, workers = 1, access_log = { path = "@DIR@/access.log" },
          error_pages = { ["4xx"] = "404.html" } }
service "web" {
  backends = { "127.0.0.1:@PORT2@" }, health_check = { http = "/health", interval = "100ms" },
  route = { listen = "127.0.0.1:@PORT@", path = "/api", rewrite = { from = "/api/{what}", to = "/{what}" },
            cors = "https://shop.example" },
}]])
        t:start()
        t:wait_up(1, "web")
        assert.equal(200, t:get("/api/health?x=1", { headers = { Origin = "https://shop.example" } }).status)
        assert.equal(400, t:get("/api/..%2fhealth").status)
        local none = t:get("/other", { headers = { ["X-Request-Id"] = "<b>" } })
        assert.same({ 404, "<p>404 of _b_" }, { none.status, none.body })
        t:stop()
        local log = tidegate.read_file(t.dir .. "/access.log")
        assert.truthy(log:find('"status":200[^\n]*"path":"/api/health%?x=1"'), log)
        assert.truthy(log:find('"status":400[^\n]*"path":"/api/..%%2fhealth"'), log)
    end))
end)
