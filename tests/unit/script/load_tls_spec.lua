-- https listeners of a configuration: what their routes and the cluster say together, and what cannot be.
local configuration = require "configuration"

local WEB = 'service "web" { backends = { "127.0.0.1:9" }, route = %s }\n'

local function load(routes, more)
    return configuration.load((more or "") .. WEB:format(routes))
end

local function tls(routes, more)
    local config, why = load(routes, more)
    assert.is_not_nil(config, why)
    return config.tls, config
end

-- The one sentence that it is refused with.
local function refused(sentence, routes, more)
    local config, why = load(routes, more)
    assert.is_nil(config, "was taken: " .. routes)
    assert.equal(sentence, (why:gsub("^tidegate%.lua:", ""):gsub("\n$", "")))
end

describe("script_load, TLS", function()
    after_each(configuration.clean)

    it("makes one listener of a route with a pair, its paths from the configuration's folder on", function()
        local listeners, config = tls '{ listen = "https://:8443", host = "shop.example", tls = { certificate = "shop.pem", key = "/k" } }'
        assert.same({ {
            listen = "0.0.0.0:8443", at = "tidegate.lua:1", client = "none", min_version = "1.2", http2 = true,
            sources = { { certificate = config.directory .. "/shop.pem", key = "/k", at = "tidegate.lua:1" } },
            hosts = { { name = "shop.example", at = "tidegate.lua:1" } },
        } }, listeners)
        assert.same({ "0.0.0.0:8443", true }, { config.services[1].routes[1].listen, config.services[1].routes[1].tls })
    end)

    it("has none without https", function()
        local listeners, config = tls '{ listen = ":8080" }'
        assert.same({}, listeners)
        assert.is_nil(config.services[1].routes[1].tls)
    end)

    it("takes lists, folders, both in one file, answers of authorities and all settings", function()
        local listener = tls([[{ listen = "https://[::1]:8443", tls = {
            { certificate = "/a.pem", key = "/a.key", ocsp = "/a.ocsp" },
            { certificate = "/b.pem" }, folder = "/certs", client_ca = "/clients.pem", client = "request",
            min_version = "1.3", default = "Shop.example" } }]])[1]
        assert.same({
            { certificate = "/a.pem", key = "/a.key", ocsp = "/a.ocsp", at = "tidegate.lua:2" },
            { certificate = "/b.pem", key = "/b.pem", at = "tidegate.lua:3" }, { folder = "/certs", at = "tidegate.lua:3" },
        }, listener.sources)
        assert.same({ path = "/clients.pem", at = "tidegate.lua:3" }, listener.client_ca)
        assert.same({ name = "shop.example", at = "tidegate.lua:4" }, listener.default)
        assert.same({ "request", "1.3" }, { listener.client, listener.min_version })
    end)

    it("offers HTTP/2 unless a route of the address says no", function()
        local two = '{ { listen = "https://:1", tls = { certificate = "/a" } }, { listen = "https://:1", path = "/b"%s } }'
        assert.is_true(tls(two:format "")[1].http2)
        assert.is_false(tls(two:format ", http2 = false")[1].http2)
    end)

    it("requires certificates of clients where there is a client_ca", function()
        local listener = tls([[{ listen = "https://:1", tls = { certificate = "/a", client_ca = "/c" } }]])[1]
        assert.equal("require", listener.client)
        assert.is_nil(listener.default)
        listener = tls([[{ listen = "https://:1", tls = { certificate = "/a", client_ca = "/c" } }]],
            'cluster { tls = { client = "request" } }\n')[1]
        assert.equal("request", listener.client)
    end)

    it("joins what routes of an address say, each file once, and the cluster's behind it", function()
        local listeners = tls([[{
            { listen = "https://:8443", host = "a.example", tls = { certificate = "/a", key = "/k", min_version = "1.3" } },
            { listen = "https://:8443", host = "b.example", tls = { certificate = "/a", key = "/k" } },
            { listen = "https://:8443", path = "/b", tls = { certificate = "/b", min_version = "1.3" } },
            { listen = "https://:9443" } }]], 'cluster { tls = { folder = "/certs", min_version = "1.2", client = "none" } }\n')
        assert.equal(2, #listeners)
        assert.same({ "/a", "/b", nil }, { listeners[1].sources[1].certificate, listeners[1].sources[2].certificate })
        assert.same({ "/certs", "/certs" }, { listeners[1].sources[3].folder, listeners[2].sources[1].folder })
        assert.same({ "1.3", "1.2" }, { listeners[1].min_version, listeners[2].min_version })
        assert.same({ "a.example", "b.example", "" }, { listeners[1].hosts[1].name, listeners[1].hosts[2].name, listeners[1].hosts[3].name })
    end)

    it("refuses https without a certificate, and certificates without https", function()
        refused('1: service "web": route.listen: https needs a certificate: add tls = { certificate = "shop.pem", key = '
            .. '"shop.key" }, or cluster { tls = { folder = "certs" } }', '{ listen = "https://:1" }')
        refused('1: service "web": route.tls: is for https: write listen = "https://:8443"',
            '{ listen = ":1", tls = { certificate = "/a" } }')
        refused('1: service "web": route.tls: is for HTTP: connections of tcp:// are passed on as they are, encrypted ones too',
            '{ listen = "tcp://:1", tls = { certificate = "/a" } }')
        refused('1: service "web": route.listen: TLS ends here for HTTP alone: "https://:8443"; "tcp://" passes connections '
            .. "on as they are, encrypted ones too", '{ listen = "tls://:1" }')
        refused('1: cluster: admin: TLS is for routes, got "https://:1"', '{ listen = ":2" }', 'cluster { admin = "https://:1" } ')
    end)

    it("refuses what cannot be said", function()
        local function say(sentence, text)
            refused('1: service "web": route.tls' .. sentence, ('{ listen = "https://:1", tls = %s }'):format(text))
        end
        say(': expected a table such as { certificate = "shop.pem", key = "shop.key" }, got "shop.pem"', '"shop.pem"')
        say('.crt: unknown key: did you mean "certificate"?', '{ crt = "/a", certificate = "/a" }')
        say(': certificate is missing: certificate = "shop.pem", key = "shop.key"', '{ key = "/a" }')
        say('[1].cert: unknown key: did you mean "certificate"?', '{ { cert = "/a", certificate = "/b" } }')
        say('[1]: expected a table such as { certificate = "shop.pem", key = "shop.key" }, got "/a"', '{ "/a" }')
        say(": has certificates in a list and one beside it: put all of them in the list", '{ certificate = "/a", { certificate = "/b" } }')
        say('.client: needs the authorities that sign them: client_ca = "clients.pem"', '{ certificate = "/a", client = "require" }')
        say('.client: unknown value "required": did you mean "require"?', '{ certificate = "/a", client_ca = "/c", client = "required" }')
        say('.min_version: expected one of "1.2", "1.3", got 1.2', '{ certificate = "/a", min_version = 1.2 }')
        say('.default: expected text, got false', '{ certificate = "/a", default = false }')
        say(".certificate: must not be empty", '{ certificate = "" }')
    end)

    it("refuses routes of one address that contradict each other, with both places", function()
        local two = '{\n{ listen = "https://:1", tls = { certificate = "/a", client_ca = "/c", %s } },\n'
            .. '{ listen = "https://:1", path = "/b", tls = { certificate = "/b", %s } } }'
        local function say(sentence, one, other)
            refused('3: service "web": route[2].tls.' .. sentence .. ", on the same address 0.0.0.0:1: all routes of an address share it",
                two:format(one, other))
        end
        say('client_ca: client_ca is "/c" at tidegate.lua:2', "", 'client_ca = "/d"')
        say('client: client is "require" at tidegate.lua:2', "", 'client = "request"')
        say('client_ca: client is "request" at tidegate.lua:2', 'client = "request"', 'client_ca = "/c"')
        say('client: client is "request" at tidegate.lua:2', 'client = "request"', 'client = "none"')
        say('min_version: min_version is "1.3" at tidegate.lua:2', 'min_version = "1.3"', 'min_version = "1.2"')
        say('default: default is "b.example" at tidegate.lua:2', 'default = "b.example"', 'default = "a.example"')
        refused('3: service "web": route[2].listen: 0.0.0.0:1 is https at tidegate.lua:2: an address is either',
            '{\n{ listen = "https://:1", tls = { certificate = "/a" } },\n{ listen = ":1", path = "/b" } }')
        refused('3: service "web": route[2].listen: 0.0.0.0:1 is without TLS at tidegate.lua:2: an address is either',
            '{\n{ listen = ":1", path = "/b" },\n{ listen = "https://:1", tls = { certificate = "/a" } } }')
    end)
end)
