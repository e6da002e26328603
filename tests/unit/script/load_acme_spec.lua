-- cluster { acme } and the routes whose certificates come from there.
local configuration = require "configuration"

local CLUSTER = 'cluster { acme = { email = "ops@shop.example", agree = true%s } }\n'
local WEB = 'service "web" { backends = { "127.0.0.1:9" }, route = %s }\n'
local ROUTE = '{ listen = "https://:8443", host = "shop.example", tls = { acme = true } }'

local function load(routes, cluster)
    return configuration.load((cluster or CLUSTER:format "") .. WEB:format(routes))
end

local function refused(sentence, routes, cluster)
    local config, why = load(routes, cluster)
    assert.is_nil(config, "was taken: " .. routes)
    assert.equal(sentence, (why:gsub("^tidegate%.lua:", ""):gsub("\n$", "")))
end

describe("script_load, ACME", function()
    after_each(configuration.clean)

    it("makes a source of each name that a listener wants, once", function()
        local config, why = load [[{
            { listen = "https://:443", host = "Shop.example", tls = { acme = true, min_version = "1.3" } },
            { listen = "https://:443", host = "shop.example", path = "/a", tls = { acme = true } },
            { listen = "https://:443", host = "b.example", tls = { acme = true } },
            { listen = "https://:443", host = "c.example", tls = { acme = false } },
            { listen = "https://:8443", host = "d.example", tls = { certificate = "/d.pem", acme = true } },
            { listen = ":80" } }]]
        assert.is_not_nil(config, why)
        assert.same({ { acme = "shop.example", at = "tidegate.lua:3" }, { acme = "b.example", at = "tidegate.lua:5" } }, config.tls[1].sources)
        assert.same({ { certificate = "/d.pem", key = "/d.pem", at = "tidegate.lua:7" }, { acme = "d.example", at = "tidegate.lua:7" } },
            config.tls[2].sources)
        assert.same({ email = "ops@shop.example", directory = "https://acme-v02.api.letsencrypt.org/directory", challenge = "http-01",
            retry_ms = 60000, at = "tidegate.lua:1" }, config.cluster.acme)
    end)

    it("takes another authority with its own root", function()
        local config = load(ROUTE, CLUSTER:format(', directory = "https://ca.shop.example:14000/dir", ca = "roots.pem", '
            .. 'challenge = "tls-alpn-01", retry = "5m"'))
        assert.same({ email = "ops@shop.example", directory = "https://ca.shop.example:14000/dir", ca = config.directory .. "/roots.pem",
            challenge = "tls-alpn-01", retry_ms = 300000, at = "tidegate.lua:1" }, config.cluster.acme)
        assert.is_nil(load('{ listen = ":80" }', "").cluster.acme)
    end)

    it("refuses what no authority would issue", function()
        local tls = '{ listen = "https://:443",%s tls = { acme = true } }'
        refused('2: service "web": route.tls.acme: needs the name to ask for: write host = "shop.example" beside it', tls:format "")
        refused('2: service "web": route.tls.acme: a certificate for "*.shop.example" takes a proof that tidegate does not make (dns-01): '
            .. "name the hosts one by one, or give a certificate", tls:format ' host = "*.shop.example",')
        refused('2: service "web": route.tls.acme: is for names: "192.0.2.1" is an address', tls:format ' host = "192.0.2.1",')
        refused('1: service "web": route.tls.acme: who is asked? write cluster { acme = { email = "ops@shop.example", agree = true } }',
            ROUTE, "")
        refused("1: cluster: acme.agree: is missing: an authority issues only to who agrees to its terms of service, which "
            .. "https://acme-v02.api.letsencrypt.org/directory names: read them and write agree = true", ROUTE, "cluster { acme = {} }\n")
        refused('1: cluster: acme.directory: expected the address of a directory such as "https://acme-v02.api.letsencrypt.org/directory", '
            .. 'got "http://x/"', ROUTE, CLUSTER:format ', directory = "http://x/"')
        refused('1: cluster: acme.challenge: expected one of "http-01", "tls-alpn-01", got "dns-01"', ROUTE,
            CLUSTER:format ', challenge = "dns-01"')
        refused('1: cluster: acme.email: expected an address such as "ops@shop.example", got "ops"', ROUTE,
            'cluster { acme = { email = "ops", agree = true } }\n')
    end)

    it("says when nobody listens where the authority asks", function()
        local function warning(routes, cluster)
            local config, warnings = load(routes, cluster)
            assert.is_not_nil(config, warnings)
            return (warnings or ""):gsub("^tidegate%.lua:", ""):gsub("\n$", "")
        end
        assert.matches("^1: cluster: acme: nothing listens on port 80, where http%-01 is asked: add a route with listen = \":80\"",
            warning(ROUTE))
        assert.equal("", warning('{ { listen = "127.0.0.1:80" }, ' .. ROUTE .. " }"))
        assert.matches("none of these routes listens on port 443", warning(ROUTE, CLUSTER:format ', challenge = "tls-alpn-01"'))
        assert.equal("", warning(ROUTE:gsub("8443", "443"), CLUSTER:format ', challenge = "tls-alpn-01"'))
        assert.equal("1: cluster: acme: no route has tls = { acme = true }: nothing is asked for", warning '{ listen = ":80" }')
    end)
end)
