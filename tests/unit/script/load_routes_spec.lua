-- Routes: conditions, changes of heads, limits, and which of them cannot stand side by side.
local configuration = require "configuration"
local load = configuration.load

local function with(routes)
    return load(([[service "web" { backends = { "127.0.0.1:9" }, route = %s }]]):format(routes))
end

local function route(text)
    local config, why = with(('{ listen = ":8080", %s }'):format(text))
    assert.is_not_nil(config, why)
    return config.services[1].routes[1]
end

local function refused(text, sentence)
    local config, why = with(text)
    assert.is_nil(config, "was taken: " .. text)
    assert.truthy(why:find(sentence, 1, true), why)
end

describe("script_load, routes", function()
    after_each(configuration.clean)

    it("takes methods, headers, changes and limits", function()
        local r = route [[
host = "*.Shop.example", methods = { "GET", "HEAD" }, headers = { ["X-Tenant"] = "blue", A = 1 },
request_headers = { set = { ["X-Env"] = "live" }, remove = { "Cookie" } },
answer_headers = { remove = "Server" }, max_body = "10m", max_connections_per_client = 20 ]]
        assert.equal("*.shop.example", r.host)
        assert.same({ "GET", "HEAD" }, r.methods)
        assert.same({ { name = "A", value = "1" }, { name = "X-Tenant", value = "blue" } }, r.headers)
        assert.same({ set = { { name = "X-Env", value = "live" } }, remove = { "Cookie" } }, r.request_headers)
        assert.same({ "Server" }, r.answer_headers.remove)
        assert.same({ 10485760, 20 }, { r.max_body_bytes, r.max_connections_per_client })
    end)

    it("takes time-outs by name, and the older keys beside them", function()
        local r = route [[
timeouts = { client_header = "5s", client_idle = "1m", connect = 1, first_byte = "9s", total = 0 },
min_body_rate = "1k" ]]
        assert.same({ 5000, 60000, 1000, 9000, 0, 1024 }, { r.client_header_timeout_ms, r.client_timeout_ms,
            r.connect_timeout_ms, r.first_byte_timeout_ms, r.total_timeout_ms, r.min_body_rate })
        assert.is_nil(r.timeouts or r.idle_timeout_ms)
        assert.equal(300000, r.backend_timeout_ms)
        refused('{ listen = ":80", connect_timeout = 1, timeouts = { connect = 1 } }',
            "timeouts.connect: is also given as connect_timeout")
        refused('{ listen = ":80", timeouts = { first_bite = 1 } }', 'did you mean "first_byte"?')
        local logged = load [[cluster { access_log = { path = "/var/log/a.log", sample = 0.1 } }
            service "web" { backends = { "127.0.0.1:9" } }]]
        assert.same({ path = "/var/log/a.log", format = "json", sample = 0.1 }, logged.cluster.access_log)
        assert.is_nil((load [[cluster { access_log = {} } service "w" { backends = { "127.0.0.1:9" } }]]))
        local config = load [[cluster { max_header_bytes = "8k", max_headers = 50 }
            service "web" { backends = { "127.0.0.1:9" } }]]
        assert.same({ 8192, 50 }, { config.cluster.max_header_bytes, config.cluster.max_headers })
        assert.is_nil((load [[cluster { max_header_bytes = "32k" } service "w" { backends = { "127.0.0.1:9" } }]]))
    end)

    it("takes proxies in front that are believed, and PROXY headers both ways", function()
        local config = load [[cluster { trusted_proxies = { "10.0.0.0/8", "::1" } }
            service "web" { backends = { "127.0.0.1:9" }, send_proxy = 2, route = {
                { listen = ":8080", proxy_protocol = true, forwarded = true },
                { listen = ":8081", trusted_proxies = "192.0.2.1" }, { listen = ":8082", trusted_proxies = {} } } }]]
        local routes = config.services[1].routes
        assert.same({ { "10.0.0.0/8", "::1" }, { "192.0.2.1" }, {} },
            { routes[1].trusted_proxies, routes[2].trusted_proxies, routes[3].trusted_proxies })
        assert.same({ true, true, 2 }, { routes[1].proxy_protocol, routes[1].forwarded, config.services[1].send_proxy })
        assert.is_nil(route("").trusted_proxies)
        refused('{ listen = ":80", proxy_protocol = true }', 'from whom? Write trusted_proxies = { "10.0.0.0/8" }')
        refused('{ listen = ":80", trusted_proxies = { "10.0.0.0/33" } }',
            'trusted_proxies[1]: a prefix of 10.0.0.0 has at most 32 bits, got "10.0.0.0/33"')
        refused('{ listen = ":80", trusted_proxies = "proxy" }', 'expected an address or a network such as "10.0.0.0/8"')
        refused('{ { listen = ":80", trusted_proxies = "::1", proxy_protocol = true }, { listen = ":80", path = "/a" } }',
            "PROXY headers on 0.0.0.0:80: none here, and of ::1 at ")
    end)

    it("takes TCP routes, which share no address with HTTP and have none of its keys", function()
        local config = with '{ listen = "tcp://:5432", balance = "least_connections", idle_timeout = "5m" }'
        local r = config.services[1].routes[1]
        assert.same({ "0.0.0.0:5432", true, 300000 }, { r.listen, r.tcp, r.idle_timeout_ms })
        refused('{ listen = "tcp://:5432", host = "a.example" }', "host: is for HTTP")
        refused('{ listen = "tcp://:5432", response_buffer = 0 }', "response_buffer: is for HTTP")
        refused('{ listen = ":80", response_buffer = "1m" }', "65536")
        refused('{ { listen = "tcp://:80" }, { listen = ":80" } }', "TCP shares no address")
        refused('{ { listen = ":80", path = "/a" }, { listen = "tcp://:80" } }', "TCP shares no address")
        refused('{ { listen = "tcp://:80" }, { listen = "tcp://:80" } }', "is already the route at")
        refused('{ listen = "udp://:80" }', "an address such as")
    end)

    it("refuses what no request could have or what tidegate writes", function()
        refused('{ listen = ":80", methods = { "get" } }', 'a method such as "GET"')
        refused('{ listen = ":80", methods = {} }', "names none")
        refused('{ listen = ":80", headers = { ["X Tenant"] = "b" } }', "expected a header name")
        refused('{ listen = ":80", headers = { ["A"] = "b\\r\\nC: d" } }', "no control characters")
        refused('{ listen = ":80", headers = { a = "1", A = "1" } }', "the same in upper and lower case")
        refused('{ listen = ":80", request_headers = { set = { ["Content-Length"] = "1" } } }', "written by tidegate")
        refused('{ listen = ":80", answer_headers = { remove = { "connection" } } }', "written by tidegate")
        refused('{ listen = ":80", request_header = {} }', 'did you mean "request_headers"?')
        refused('{ listen = ":80", host = "shop.*" }', '"*.shop.example"')
        refused('{ listen = ":80", host = "*" }', '"*.shop.example"')
    end)

    it("refuses two routes with nothing to tell them apart", function()
        local text = "%s is already the route at tidegate.lua:1"
        refused('{ { listen = ":80" }, { listen = ":80" } }', text:format "path /")
        refused('{ { listen = ":80", methods = { "GET", "PUT" } }, { listen = ":80", methods = { "PUT" } } }',
            text:format "path /, method PUT")
        refused('{ { listen = ":80", headers = { A = 1, b = 2 } }, { listen = ":80", headers = { B = "2", a = "1" } } }',
            text:format "path /, a: 1, b: 2")
        assert.is_not_nil((with [[{ { listen = ":80" }, { listen = ":80", methods = { "GET", "GET" } },
            { listen = ":80", headers = { A = 1 } }, { listen = ":80", host = "*.a.example" } }]]))
    end)
end)
