-- Labels: what they become, and what is said of each that is wrong.
local configuration = require "configuration"

local FILE = [[
cluster { labels = { listen = { ":80", "127.0.0.1:8081" } } }
]]

-- A set of labels of one container; keys without the prefix.
local function set(name, labels, more)
    local s = { set = "set-" .. name, container = name, service = name, labels = {} }
    for key, text in pairs(labels) do
        s.labels["tidegate." .. key] = text
    end
    s.labels["tidegate.enable"] = s.labels["tidegate.enable"] or "true"
    for key, value in pairs(more or {}) do
        s[key] = value
    end
    return s
end

local function load(sets, file)
    local config, why = configuration.load(file or FILE, nil, nil, sets)
    assert.is_not_nil(config, why)
    local services, verdicts = {}, {}
    for _, s in ipairs(config.services) do
        services[s.name] = s
    end
    for i, s in ipairs(config.labels and config.labels.sets or {}) do
        verdicts[i] = {}
        for _, v in ipairs(s.verdicts) do
            verdicts[i][v.label:gsub("^tidegate%.", "")] = v.verdict .. ": " .. v.text
        end
    end
    return services, verdicts, config
end

-- One container named web with these labels.
local function one(labels, file)
    local services, verdicts, config = load({ set("web", labels) }, file)
    return services.web, verdicts[1], config
end

describe("labels", function()
    after_each(configuration.clean)

    it("become a service with routes, and each is told what it was used as", function()
        local web, verdicts, config = one {
            ["route.host"] = "Shop.example", ["route.path"] = "/", ["route.queue.limit"] = "7",
            ["route.methods"] = "GET, HEAD", ["route.client_timeout"] = "5s", ["route.headers.X-Tenant"] = "blue",
            ["route.answer_headers.remove"] = "Server,X-Powered-By", ["route.sticky"] = "true",
            ["route.circuit_breaker"] = "false", ["route.request.key"] = "header:X-User,client",
            ["route.timeouts.first_byte"] = "2", ["route.max_body"] = "10m",
            port = "8080", network = "shop_default", weight = "5", tags = "zone:1, ssd",
            ["health.http"] = "/ready", ["health.interval"] = "2s", drain_timeout = "1m",
        }
        assert.is_true(web.labelled)
        assert.equal("backends", web.source)
        assert.same({}, web.backends)
        assert.equal("container web", web.at)
        local r = web.routes[1]
        assert.same({ "0.0.0.0:80", "shop.example", "/", { "GET", "HEAD" }, 5000, 7, 2000, 10485760 }, { r.listen,
            r.host, r.path, r.methods, r.client_timeout_ms, r.queue.limit, r.first_byte_timeout_ms,
            r.max_body_bytes })
        assert.same({ { name = "X-Tenant", value = "blue" } }, r.headers)
        assert.same({ "Server", "X-Powered-By" }, r.answer_headers.remove)
        assert.same({ "header:X-User", "client" }, r.request.key)
        assert.equal("tidegate", r.sticky.cookie)
        assert.same({}, r.circuit_breaker)
        assert.same({ "http", "/ready", 2000, true }, { web.health_check.kind, web.health_check.path,
            web.health_check.interval_ms, web.health_check.explicit })
        assert.equal(60000, web.drain_timeout_ms)
        local s = config.labels.sets[1]
        assert.same({ "set-web", "web", 8080, "shop_default", 5, { "zone:1", "ssd" }, 100 }, { s.set, s.service,
            s.port, s.network, s.weight, s.tags, s.max_connections })
        assert.equal('used: route.host = "Shop.example"', verdicts["route.host"])
        assert.equal('used: route.queue.limit = 7', verdicts["route.queue.limit"])
        assert.equal('used: route.methods = { "GET", "HEAD" }', verdicts["route.methods"])
        assert.equal("used: enable = true", verdicts.enable)
        assert.equal("used: port = 8080", verdicts.port)
        for label, verdict in pairs(verdicts) do
            assert.truthy(verdict:find "^used", label .. " " .. verdict)
        end
    end)

    it("make several routes by their names, with a balance of their own or the service's", function()
        local web = one {
            ["route.host"] = "shop.example", ["route.api.host"] = "api.example", ["route.api.path"] = "/v1",
            ["route.api.balance"] = "consistent_hashing", ["route.api.balance.key"] = "header:X-User",
            ["route.raw.listen"] = "127.0.0.1:8081", ["route.raw.path"] = "/raw", balance = "round_robin",
        }
        assert.equal(3, #web.routes)
        local by_path = {}
        for _, r in ipairs(web.routes) do
            by_path[r.path] = r
        end
        assert.equal("round_robin", by_path["/"].balance.policy)
        assert.equal("consistent_hashing", by_path["/v1"].balance.policy)
        assert.equal("header:X-User", by_path["/v1"].balance.params.key)
        assert.equal("127.0.0.1:8081", by_path["/raw"].listen)
    end)

    it("take health from what the engine says when they do not say it", function()
        local web = one { ["route.path"] = "/" }
        assert.same({ "tcp", false }, { web.health_check.kind, web.health_check.explicit })
        web = one { ["route.path"] = "/", health = "/health" }
        assert.same({ "http", "/health", true }, { web.health_check.kind, web.health_check.path,
            web.health_check.explicit })
        web = one { ["route.path"] = "/", ["health.tcp"] = "true", ["health.port"] = "9000" }
        assert.same({ "tcp", 9000, true }, { web.health_check.kind, web.health_check.port,
            web.health_check.explicit })
        web = one { ["route.path"] = "/", health = "false" }
        assert.equal("none", web.health_check.kind)
    end)

    it("may change and answer requests of their own routes", function()
        local web = one {
            ["route.host"] = "shop.example", ["route.path"] = "/api", ["route.strip_prefix"] = "true",
            ["route.hsts"] = "30d", ["route.cors.origins"] = "https://a.example,https://b.example",
            ["route.rate_limit.rate"] = "10", ["route.rate_limit.by"] = "header:X-Key",
            ["route.old.host"] = "old.example", ["route.old.redirect"] = "https://shop.example{uri}",
            ["route.down.host"] = "down.example", ["route.down.maintenance"] = "true",
            ["route.text.host"] = "text.example", ["route.text.answer"] = "hello",
        }
        local r = {}
        for _, route in ipairs(web.routes) do
            r[route.host] = route
        end
        assert.is_table(r["shop.example"].path_change)
        assert.is_not_nil(r["shop.example"].hsts)
        assert.is_table(r["shop.example"].cors)
        assert.is_table(r["shop.example"].rate_limit)
        assert.equal("https://shop.example{uri}", r["old.example"].redirect.to)
        assert.is_table(r["down.example"].maintenance)
        assert.equal("hello", r["text.example"].answer.body)
    end)

    it("use https where the configuration has certificates", function()
        local file = [[cluster { labels = { listen = { ":80", "https://:443" } }, %s }]]
        local labels = { ["route.host"] = "a.example", ["route.listen"] = "https://:443" }
        local web, _, config = one(labels, file:format [[tls = { folder = "certs" }]])
        assert.same({ "0.0.0.0:443", true }, { web.routes[1].listen, web.routes[1].tls })
        assert.equal("0.0.0.0:443", config.tls[1].listen)
        local verdicts
        web, verdicts, config = one(labels, file:format "")
        assert.is_nil(web)
        assert.equal('wrong: https://0.0.0.0:443 has no certificate: write tls = { folder = "certs" } into cluster { }',
            verdicts["route.listen"])
        assert.same({}, config.tls)
    end)

    it("have certificates asked for where the configuration lets them", function()
        local file = [[cluster { labels = { listen = { ":80", "https://:443" }%s }%s }
            service "old" { backends = { "127.0.0.1:9" }, route = { { listen = ":80", host = "old.example" }%s } }]]
        local hosts, acme = ', hosts = { "*.apps.example" }', ', acme = { email = "ops@shop.example", agree = true }'
        local own = ', { listen = "https://:443", host = "own.example", tls = { acme = true } }'
        local labels = { ["route.host"] = "a.apps.example", ["route.listen"] = "https://:443",
            ["route.tls.acme"] = "true" }
        local function sources(config)
            local names = {}
            for i, source in ipairs(config.tls[1].sources) do
                names[i] = source.acme
            end
            return names
        end
        local web, _, config = one(labels, file:format(hosts, acme, own))
        assert.equal("0.0.0.0:443", web.routes[1].listen)
        assert.same({ "own.example", "a.apps.example" }, sources(config))
        labels["route.queue.limit"] = "none" -- what is refused leaves nothing behind
        web, _, config = one(labels, file:format(hosts, acme, own))
        assert.is_nil(web)
        assert.same({ "own.example" }, sources(config))
        labels["route.queue.limit"] = nil
        local function said(...)
            local _, verdicts = one(labels, file:format(...))
            return verdicts["route.tls.acme"]
        end
        assert.equal("wrong: nobody is asked for certificates: the configuration has no cluster { acme = { ... } }",
            said(hosts, "", ""))
        assert.equal('wrong: needs labels = { hosts = { "*.apps.example" } } in the configuration: the names that '
            .. "certificates may be asked for", said("", acme, ""))
    end)

    describe("say what is wrong:", function()
        -- label, text, what is said of it; then labels beside it, and the label that hears it when it is another.
        for _, case in ipairs {
            { "route.hots", "a.example", "unknown label: did you mean tidegate.route.host?" },
            { "router.host", "a.example", "unknown label: did you mean tidegate.route?" },
            { "enabled", "true", "unknown label: did you mean tidegate.enable?" },
            { "colour", "red", "unknown label: below tidegate there are enable, service, port, network, weight, "
                .. "max_connections, capacity, tags, route, health, balance, drain_timeout, slow_start, scale" },
            { "enable", "yes", 'expected true or false, got "yes"' },
            { "port", "http", 'expected a whole number, got "http"' },
            { "port", "70000", "must be between 1 and 65535, got 70000" },
            { "weight", "0", "must be between 1 and 1000, got 0" },
            { "service", "no blanks", 'expected letters, digits, "-", "_" and "." after a letter or digit, got '
                .. '"no blanks"' },
            { "route.host", "shop example", 'expected a host name such as "shop.example" or "*.shop.example", got '
                .. '"shop example"' },
            { "route.path", "shop", 'a path begins with /, got "shop"' },
            { "route.path", "/a?b=1", 'the path of a route has no query, got "/a?b=1"' },
            { "route.backend_timeout", "5 s", 'expected a duration such as "30s", got "5 s"' },
            { "route.max_retries", "11", "must be between 0 and 10, got 11" },
            { "route.max_body", "10x", 'expected a size such as "512m", got "10x"' },
            { "route.methods", "get", 'expected a method such as "GET", got "get"' },
            { "route.listen", ":9999", "labels may not listen on 0.0.0.0:9999: they may on 0.0.0.0:80, "
                .. "127.0.0.1:8081" },
            { "route.listen", "tcp://:80", "labels may not listen on tcp://0.0.0.0:80: they may on 0.0.0.0:80, "
                .. "127.0.0.1:8081" },
            { "route.listen", "nowhere", 'expected an address such as ":8080" or "127.0.0.1:8080", got "nowhere"' },
            { "route.balance", "ewmaa", 'unknown balance policy "ewmaa": did you mean "ewma"?' },
            { "route.balance.key", "header:X", "names no policy: write tidegate.route.balance=ewma beside it",
                at = "route.balance" },
            { "route.shadow", "ewma", "is only for the configuration: who may start containers may not decide it" },
            { "route.tls.certificate", "/etc/key.pem", "is only for the configuration: who may start containers may "
                .. "not decide it" },
            { "route.error_pages", "/etc/passwd", "is only for the configuration: who may start containers may not "
                .. "decide it" },
            { "route.answer.file", "/etc/passwd", "is only for the configuration: who may start containers may not "
                .. "decide it" },
            { "route.trusted_proxies", "0.0.0.0/0", "is only for the configuration: who may start containers may not "
                .. "decide it" },
            { "route.queue", "100", "has parts and no value: write tidegate.route.queue.limit, "
                .. "tidegate.route.queue.timeout, tidegate.route.queue.when_down" },
            { "route.queue.limt", "100", "unknown label: did you mean tidegate.route.queue.limit?" },
            { "route.queue.limit", "many", 'expected a whole number, got "many"' },
            { "route.host.name", "a", "unknown label: tidegate.route.host has a value and no parts" },
            { "route.headers", "X-Tenant", "has parts and no value: write tidegate.route.headers.NAME=value" },
            { "route..path", "/", "has an empty part: two dots in a row, or one at its end" },
            { "route", "shop.example", "has parts and no value: write tidegate.route.host=shop.example" },
            { "health.command", "true", "is not needed: what an image declares is asked anyway; else use "
                .. "health.http or health.tcp" },
            { "health.interval", "often", 'expected a duration such as "30s", got "often"' },
            { "route.request_headers.set.Host", "x", "Host is written by tidegate itself" },
        } do
            it(("%s=%s"):format(case[1], case[2]), function()
                local labels = { [case[1]] = case[2] }
                if not case[1]:find "^route" then
                    labels["route.host"] = "shop.example"
                elseif not case[1]:find "^route%.path" then
                    labels["route.path"] = "/beside"
                end
                local _, verdicts = one(labels)
                assert.equal("wrong: " .. case[3], verdicts[case.at or case[1]])
            end)
        end
    end)

    it("that are wrong lose their route and no other", function()
        local web, verdicts = one { ["route.host"] = "shop.example", ["route.api.host"] = "api.example",
            ["route.api.queue.limit"] = "none" }
        assert.equal(1, #web.routes)
        assert.equal("shop.example", web.routes[1].host)
        assert.equal('wrong: expected a whole number, got "none"', verdicts["route.api.queue.limit"])
        assert.equal("unused: another label of this route is wrong", verdicts["route.api.host"])
        assert.equal('used: route.host = "shop.example"', verdicts["route.host"])
    end)

    it("that are wrong lose their service and no other, and never a file's", function()
        local services, verdicts = load({
            set("bad", { ["route.host"] = "bad.example", drain_timeout = "soon" }),
            set("good", { ["route.host"] = "good.example" }),
            set("worse", { ["route.host"] = "worse.example", ["route.balance"] = "consistent_hashing",
                ["route.balance.keyy"] = "client" }),
        }, FILE .. [[ service "file" { backends = { "127.0.0.1:9" }, route = { listen = ":80", host = "file.example" } } ]])
        assert.is_nil(services.bad)
        assert.is_nil(services.worse)
        assert.is_table(services.good)
        assert.is_table(services.file)
        assert.equal('wrong: expected a duration such as "30s", got "soon"', verdicts[1].drain_timeout)
        assert.equal("unused: what is wrong keeps its service from being made", verdicts[1]["route.host"])
        assert.truthy(verdicts[3]["route.balance.keyy"]:find('wrong: unknown key: did you mean "key"?', 1, true))
    end)

    it("are told all that is wrong at once", function()
        local web, verdicts = one { ["route.hots"] = "a", ["route.path"] = "/b", ["route.api.host"] = "c.example",
            ["route.api.queue.limit"] = "many", prot = "80", ["health.interval"] = "soon" }
        assert.is_nil(web)
        assert.equal("wrong: unknown label: did you mean tidegate.route.host?", verdicts["route.hots"])
        assert.equal("wrong: unknown label: did you mean tidegate.port?", verdicts.prot)
        assert.equal('wrong: expected a whole number, got "many"', verdicts["route.api.queue.limit"])
        assert.equal('wrong: expected a duration such as "30s", got "soon"', verdicts["health.interval"])
    end)

    it("name their service where the container's name is none", function()
        local name = ("x"):rep(70)
        local _, verdicts = load { set(name, { ["route.host"] = "a.example" }) }
        assert.equal("wrong: bad name: is longer than 63 bytes", verdicts[1].service)
        local services = load { set(name, { ["route.host"] = "a.example", service = "x" }) }
        assert.is_table(services.x)
    end)

    it("that are wrong of a container alone keep it out, and its service not", function()
        local services, verdicts, config = load {
            set("a-1", { ["route.host"] = "a.example", port = "http" }, { service = "web" }),
            set("a-2", { ["route.host"] = "a.example", port = "80" }, { service = "web" }),
        }
        assert.is_table(services.web)
        assert.is_nil(config.labels.sets[1].service) -- and not reached at a port that nobody named
        assert.equal("web", config.labels.sets[2].service)
        assert.equal("unused: another label of this container is wrong", verdicts[1]["route.host"])
    end)

    it("need to be enabled, unless all are", function()
        local labels = { ["route.host"] = "shop.example" }
        local s = set("web", labels)
        s.labels["tidegate.enable"] = nil
        local services, verdicts = load { s }
        assert.is_nil(services.web)
        assert.equal("wrong: is missing: write tidegate.enable=true, or no label below tidegate", verdicts[1].enable)
        assert.equal("unused: not enabled: tidegate.enable is missing", verdicts[1]["route.host"])
        services = load({ s }, [[cluster { labels = { listen = ":80", exposed_by_default = true } }]])
        assert.is_table(services.web)
        s.labels["tidegate.enable"] = "false"
        services, verdicts = load({ s }, [[cluster { labels = { listen = ":80", exposed_by_default = true } }]])
        assert.is_nil(services.web)
        assert.equal("unused: not enabled: tidegate.enable=false", verdicts[1]["route.host"])
    end)

    it("contradict each other: the first counts, and both are named", function()
        local services, verdicts, config = load {
            set("a-1", { ["route.host"] = "a.example", ["route.path"] = "/x", weight = "2" }, { service = "web" }),
            set("a-2", { ["route.host"] = "b.example", weight = "3", ["route.max_retries"] = "1" },
                { service = "web" }),
        }
        assert.equal("a.example", services.web.routes[1].host)
        assert.equal('wrong: contradicts container a-1 of the same service, which says "a.example" and counts',
            verdicts[2]["route.host"])
        assert.equal("wrong: is missing: container a-1 of the same service has it, and counts",
            verdicts[2]["route.path"])
        assert.equal("wrong: contradicts container a-1 of the same service, which does not say it and counts",
            verdicts[2]["route.max_retries"])
        assert.equal("used: weight = 3", verdicts[2].weight)
        assert.equal("web", config.labels.sets[2].service)
        assert.same({ 2, 3 }, { config.labels.sets[1].weight, config.labels.sets[2].weight })
    end)

    it("that are wrong leave the service to the next container whose labels are right", function()
        local services, _, config = load {
            set("a-1", { ["route.host"] = "a b" }, { service = "web" }),
            set("a-2", { ["route.host"] = "b.example" }, { service = "web" }),
        }
        assert.equal("b.example", services.web.routes[1].host)
        assert.equal("container a-2", services.web.at)
        assert.equal("web", config.labels.sets[1].service)
    end)

    it("are shadowed by a service of that name in the file", function()
        local services, verdicts = load({ set("web", { ["route.host"] = "label.example" }) }, FILE ..
            [[service "web" { backends = { "127.0.0.1:9" }, route = { listen = ":80", host = "file.example" } }]])
        assert.equal("file.example", services.web.routes[1].host)
        assert.is_nil(services.web.labelled)
        assert.equal('unused: shadowed: the configuration declares service "web" at tidegate.lua:2',
            verdicts[1]["route.host"])
    end)

    it("cannot take a route that is taken", function()
        local services, verdicts = load({
            set("a", { ["route.host"] = "file.example" }), set("b", { ["route.host"] = "b.example" }),
            set("c", { ["route.host"] = "b.example", ["route.other.host"] = "c.example" }),
        }, FILE .. [[service "web" { backends = { "127.0.0.1:9" }, route = { listen = ":80", host = "file.example" } }]])
        assert.is_nil(services.a)
        assert.is_table(services.b)
        assert.equal("wrong: 0.0.0.0:80, host file.example, path / is already the route at tidegate.lua:2",
            verdicts[1]["route.host"])
        assert.equal("wrong: 0.0.0.0:80, host b.example, path / is already the route at container b",
            verdicts[3]["route.host"])
        assert.same({ 1, "c.example" }, { #services.c.routes, services.c.routes[1].host })
    end)

    it("listen where the file's routes do when nothing else is allowed", function()
        local file = [[cluster { labels = true }
            service "web" { backends = { "127.0.0.1:9" }, route = { listen = "%s", host = "file.example" } } %s]]
        local services = load({ set("a", { ["route.host"] = "a.example" }) }, file:format(":8080", ""))
        assert.equal("0.0.0.0:8080", services.a.routes[1].listen)
        local _, verdicts = load({ set("a", { ["route.host"] = "a.example" }) }, file:format(":8080",
            [[service "b" { backends = { "127.0.0.1:9" }, route = { listen = ":8081" } }]]))
        assert.equal("wrong: on which address? Write it: one of 0.0.0.0:8080, 0.0.0.0:8081",
            verdicts[1]["route.listen"])
        _, verdicts = load({ set("a", { ["route.host"] = "a.example" }) }, [[cluster { labels = true }]])
        assert.equal('wrong: nothing is there to listen on: write labels = { listen = ":80" } into cluster { }',
            verdicts[1]["route.listen"])
    end)

    it("name the hosts that they may", function()
        local file = [[cluster { labels = { listen = ":80", hosts = { "*.apps.example" } } }]]
        assert.is_table((one({ ["route.host"] = "A.apps.example" }, file)))
        local web, verdicts = one({ ["route.host"] = "admin.example" }, file)
        assert.is_nil(web)
        assert.equal("wrong: labels may not name this host: they may name *.apps.example", verdicts["route.host"])
        web, verdicts = one({ ["route.path"] = "/" }, file)
        assert.is_nil(web)
        assert.equal("wrong: is missing: labels may not take requests to any host: they may name *.apps.example",
            verdicts["route.host"])
    end)

    it("need a host or a path, and a route", function()
        local web, verdicts = one { ["route.max_retries"] = "1" }
        assert.is_nil(web)
        assert.equal("wrong: is missing: name a host, or path=/ for requests to any", verdicts["route.host"])
        web, verdicts = one { port = "80" }
        assert.same({}, web.routes)
        assert.equal("wrong: is missing: without a host or a path nothing is sent to it", verdicts["route.host"])
    end)

    it("name no policies that only lie beside the configuration", function()
        local own = [[return { name = "own", doc = "x", examples = {}, params = {},
            new = function() return { score = function() return 1 end } end }]]
        local files = { ["tidegate.lua"] = FILE, ["policies/balance/own.lua"] = own }
        local _, verdicts = one({ ["route.host"] = "a.example", ["route.balance"] = "own" }, files)
        assert.equal("wrong: is a policy beside the configuration, which does not use it itself: labels may name "
            .. "shipped ones and those", verdicts["route.balance"])
        files["tidegate.lua"] = FILE .. [[service "x" { backends = { "127.0.0.1:9" },
            route = { listen = ":80", host = "x.example", balance = "own" } }]]
        local web = one({ ["route.host"] = "a.example", ["route.balance"] = "own" }, files)
        assert.equal("own", web.routes[1].balance.policy)
    end)

    it("of scale are understood and told to do nothing", function()
        local web, verdicts = one { ["route.host"] = "a.example", ["scale.min"] = "2" }
        assert.is_table(web)
        assert.truthy(verdicts["scale.min"]:find("^unused: is understood, but containers that others start"))
    end)

    it("have a prefix of the operator's choice, and are off by default", function()
        local s = { set = "s", container = "web", service = "web",
            labels = { ["edge.enable"] = "true", ["edge.route.host"] = "a.example" } }
        assert.is_table((load({ s }, [[cluster { labels = { prefix = "edge", listen = ":80" } }]]).web))
        local services, _, config = load({ s }, [[service "x" { backends = { "127.0.0.1:9" } }]])
        assert.is_nil(services.web)
        assert.is_nil(config.labels)
    end)

    it("make a generation of their own, and leave the files' hash alone", function()
        local file = { ["tidegate.lua"] = FILE }
        local _, _, a = load({ set("a", { ["route.host"] = "a.example" }) }, file)
        local _, _, b = load({ set("b", { ["route.host"] = "b.example" }) }, file)
        assert.are_not.equal(a.generation, b.generation)
        assert.equal(a.labels.files, b.labels.files)
    end)

    it("may be anything and end nothing", function()
        math.randomseed(7)
        local words = { "route", "host", "path", "queue", "limit", "health", "http", "enable", "port", "api", "",
            "balance", "key", "timeouts", "headers", "X", "scale", "request", "tags", "..", "[1]", "%", "*" }
        local texts = { "true", "false", "1", "-1", "/", "a.example", "ewma", "", "1e999", "\1", "5s", ",", ",,a",
            ("x"):rep(5000), "header:X", "{}", "function() end" }
        for round = 1, 150 do
            local sets = { set("good", { ["route.host"] = "good.example" }) }
            for i = 1, math.random(1, 4) do
                local labels = {}
                for _ = 1, math.random(0, 6) do
                    local parts = {}
                    for j = 1, math.random(1, 4) do
                        parts[j] = words[math.random(#words)]
                    end
                    labels[table.concat(parts, ".")] = texts[math.random(#texts)]
                end
                sets[#sets + 1] = set("c" .. i, labels)
            end
            local services, verdicts = load(sets)
            assert.is_table(services.good, "round " .. round)
            for i, s in ipairs(sets) do
                for name in pairs(s.labels) do
                    assert.truthy(verdicts[i][(name:gsub("^tidegate%.", ""))], name)
                end
            end
        end
    end)

    it("are those of Docker", function()
        local none, why = configuration.load [[cluster { engine = "process", labels = true }]]
        assert.is_nil(none)
        assert.truthy(why:find("labels: are those of containers", 1, true), why)
        for _, bad in ipairs { 'labels = 5', 'labels = { listn = ":80" }', 'labels = { listen = "x" }',
            'labels = { hosts = { "a b" } }', 'labels = { prefix = "" }' } do
            assert.is_nil((configuration.load(("cluster { %s }"):format(bad))), bad)
        end
    end)
end)
