local configuration = require "configuration"

-- Guard rails of `scale` that have settings.
local RAILS = {
    step_limits = { up_factor = 4, up_count = 8, up_period_ms = 30000, down_percent = 25, down_period_ms = 60000,
        after_up_ms = 60000 },
    saturation = { cpu = 95, queue_wait_ms = 200, times = 3, more_percent = 50 },
    churn = { changes = 12, window_ms = 3600000, freeze_ms = 1800000 },
}

-- The limits of steps of a service that may go down so long after any.
function RAILS.within(ms)
    return { up_factor = 4, up_count = 8, up_period_ms = 30000, down_percent = 25, down_period_ms = ms, after_up_ms = ms }
end
local C, ffi = require("ffi_room").load("base/json.h", "script/script.h")
local load = configuration.load

local function loaded(files, overrides)
    local config, text = load(files, overrides)
    assert.is_not_nil(config, text)
    return config, text
end

describe("script_load", function()
    after_each(configuration.clean)

    it("fills in every default of a service with an image", function()
        local config, warnings = loaded [[service "web" { image = "web:1" }]]
        assert.equal("", warnings)
        assert.same({
            id = "default", engine = "docker", workers = 0, admin = "127.0.0.1:9880", state_dir = "", runtime_dir = "", zone = "",
            sample_interval_ms = 5000, grace_ms = 30000, spin_us = 0,
            history = { enabled = true, days = 14, bytes = 2147483648, rollup_days = 90 },
            policy_errors = { limit = 5, window_ms = 600000 }, metrics = { max_series = 2000, max_values = 100 },
            docker = {
                host = "", network = "", publish = false,
                tls = { ca = "", certificate = "", key = "" },
            },
        }, config.cluster)
        local anomaly = config.services[1].anomaly
        assert.same({ "record", 15000, 900000, 1209600 },
            { anomaly.policy, anomaly.interval_ms, anomaly.incident_ms, anomaly.params.half_life })
        config.services[1].anomaly = nil
        assert.same({
            name = "web", at = "tidegate.lua:1", source = "image", image = "web:1", pull = "missing", command = {},
            directory = config.directory, user = "", environment = {},
            resources = { memory_bytes = 1073741824, cpus = 0, pids = 0, files = 0 },
            ports = {}, volumes = {}, restart_policy = { name = "unless-stopped", max_retries = 0 },
            health_check = {
                kind = "http", path = "/health", port = 0, command = {}, interval_ms = 30000, timeout_ms = 5000,
                retries = 3, rise = 1, start_period_ms = 0, explicit = false,
            },
            deploy = { timeout_ms = 120000 }, stop_timeout_ms = 10000, drain_timeout_ms = 30000, tags = {},
            scale = {
                policy = "threshold", params = { cpu = 75, memory = 80 }, min = 2, max = 20,
                up_cooldown_ms = 300000, down_cooldown_ms = 600000, interval_ms = 15000, mode = "active",
                step_limits = RAILS.step_limits, saturation = RAILS.saturation, churn = RAILS.churn,
            },
            routes = {}, backends = {}, protocol = "http", weight = 1, max_connections = 100, capacity = 1000, slow_start_ms = 0,
        }, config.services[1])
        local names = {}
        for i, policy in ipairs(config.policies) do
            names[i] = policy.origin
            assert.equal(("policies/%s/%s.lua"):format(policy.kind, policy.name), policy.origin)
            assert.truthy(policy.source:find "return")
        end
        assert.same({ "policies/anomaly/record.lua", "policies/scale/threshold.lua" }, names)
        assert.truthy(config.generation:find "^%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x$")
        assert.equal(config.directory .. "/tidegate.lua", config.path)
    end)

    it("fills in every default of a route", function()
        local config = loaded [[
service "web" { image = "web:1", ports = { "80" },
                route = { listen = ":8080" } }]]
        assert.same({ {
            listen = "0.0.0.0:8080", host = "", path = "/", balance = { policy = "ewma", params = { penalty = 1, choices_above = 16 } },
            request = {
                tags = { "header:X-Data-Affinity", "query:data_affinity_tags" },
                dataset = { "header:X-Dataset-Id", "query:dataset_id" },
                processing = { "header:X-Processing-Type", "query:processing_type" }, key = {}, zone = {},
            },
            max_retries = 3, response_buffer = 16384, backend_timeout_ms = 300000, connect_timeout_ms = 2000, client_timeout_ms = 60000,
            at = "tidegate.lua:2",
            circuit_breaker = {
                failure_threshold = 5, recovery_timeout_ms = 60000, success_threshold = 3, trials = 1,
                failures_on = { "connect", "timeout", "reset", "5xx" }, window_ms = 10000, failure_rate = 0.5,
                minimum_requests = 20,
            },
            outlier_ejection = {
                max_ejected = 50, deviations = 1.9, minimum_requests = 100, window_ms = 10000, base_time_ms = 30000,
                max_time_ms = 300000,
            },
            panic_threshold = 50, queue = { limit = 1000, timeout_ms = 5000 },
            retry_budget = { percent = 20, min_per_second = 10 },
        } }, config.services[1].routes)
    end)

    it("takes places of a request, sessions and zones", function()
        local config = loaded [[
cluster { zone = "a" }
service "web" { image = "web:1", ports = { "80" }, route = { listen = ":8080", sticky = true,
  balance = { policy = "consistent_hashing", key = "cookie:sid", balance_factor = 2 },
  request = { tags = "header:X-Tags", dataset = { "query:ds", "header:X-Ds" }, processing = false, key = "path" } } }]]
        local r = config.services[1].routes[1]
        assert.equal("a", config.cluster.zone)
        assert.same({ policy = "consistent_hashing", params = { key = "cookie:sid", balance_factor = 2 } }, r.balance)
        assert.same({ tags = { "header:X-Tags" }, dataset = { "query:ds", "header:X-Ds" }, processing = {}, key = { "path" },
            zone = {} }, r.request)
        assert.same({ cookie = "tidegate", ttl_ms = 3600000 }, r.sticky)
        for _, policy in ipairs(config.policies) do
            if policy.name == "consistent_hashing" then
                assert.same({ "key" }, policy.needs)
            end
        end
        config = loaded [[
service "web" { image = "web:1", ports = { "80" }, route = { listen = ":8080", sticky = { cookie = "s", ttl = "90s" } } }]]
        assert.same({ cookie = "s", ttl_ms = 90000 }, config.services[1].routes[1].sticky)
        assert.equal("ewma", config.services[1].routes[1].balance.policy)
    end)

    it("reads what guards a route, and how to switch it off", function()
        local route = loaded [[
service "web" { backends = { "10.0.0.1:80" }, slow_start = "30s",
                route = { listen = ":8080", circuit_breaker = false, outlier_ejection = false, queue = false,
                          retry_budget = false, panic_threshold = 0, slow_start = "10s" } }]]
        assert.equal(30000, route.services[1].slow_start_ms)
        local r = route.services[1].routes[1]
        assert.equal(10000, r.slow_start_ms)
        assert.equal(0, r.panic_threshold)
        for _, key in ipairs { "circuit_breaker", "outlier_ejection", "queue", "retry_budget" } do
            assert.same({}, r[key], key)
        end
        r = loaded([[service "web" { backends = { "10.0.0.1:80" }, route = { listen = ":8080",
            circuit_breaker = { failures_on = { "connect" }, trials = 2, window = "30s" }, queue = { limit = 7 } } }]])
            .services[1].routes[1]
        assert.same({ "connect" }, r.circuit_breaker.failures_on)
        assert.is_true(r.circuit_breaker.explicit)
        assert.same({ 2, 30000, 5 }, { r.circuit_breaker.trials, r.circuit_breaker.window_ms,
            r.circuit_breaker.failure_threshold })
        assert.same({ limit = 7, timeout_ms = 5000 }, r.queue)
    end)

    it("takes the cluster's words as defaults of its services, wherever they stand", function()
        local config = loaded [[
service "web" { image = "web:1", ports = { 80 }, route = { listen = ":8080" } }
cluster { min_instances = 1, max_instances = 5, cpu_threshold = 60, memory_threshold = 70, scale_up_cooldown = 10,
          scale_down_cooldown = "20s", backend_timeout = "5s", max_retries = 1, health_check_interval = "2s" }]]
        local s = config.services[1]
        assert.same({
            policy = "threshold", params = { cpu = 60, memory = 70 }, min = 1, max = 5, up_cooldown_ms = 10000,
            down_cooldown_ms = 20000, interval_ms = 15000, mode = "active",
            step_limits = RAILS.within(20000), saturation = RAILS.saturation, churn = RAILS.churn,
        }, s.scale)
        assert.same({ 5000, 1 }, { s.routes[1].backend_timeout_ms, s.routes[1].max_retries })
        assert.same({ 2000, 2000 }, { s.health_check.interval_ms, s.health_check.timeout_ms })
        assert.is_nil(config.cluster.min_instances)
    end)

    it("takes guard rails with other figures, or none", function()
        local scale = loaded [[service "web" { image = "web:1", ports = { 80 }, scale = { churn = false,
            step_limits = { up_count = 2, down_period = "5m" }, saturation = { queue_wait = "1s", more = 100 } } }]]
            .services[1].scale
        assert.same({}, scale.churn)
        assert.same({ 2, 300000, 25 },
            { scale.step_limits.up_count, scale.step_limits.down_period_ms, scale.step_limits.down_percent })
        local function of(text)
            return loaded('service "web" { image = "web:1", ports = { 80 }, scale = { ' .. text .. " } }")
                .services[1].scale.step_limits
        end
        assert.same(RAILS.within(5000), of 'down_cooldown = "5s"')
        assert.same(60000, of 'down_cooldown = "5s", step_limits = { after_up = "60s" }'.after_up_ms)
        assert.same(RAILS.step_limits, of 'down_cooldown = "5m"')
        assert.same(RAILS.step_limits, of 'policy = "latency_slo"') -- whose own cooldown is 0
        assert.same({}, of "down_cooldown = 1, step_limits = false")
        assert.same({ cpu = 95, queue_wait_ms = 1000, times = 3, more_percent = 100 }, scale.saturation)
    end)

    it("takes modes of scaling", function()
        local function of(text)
            local scale = loaded('service "web" { image = "web:1", ports = { 80 }, scale = { max = 9, ' .. text .. " } }")
                .services[1].scale
            return { scale.mode, scale.pinned }
        end
        assert.same({ "recommend" }, of 'mode = "recommend"')
        assert.same({ "pinned", 4 }, of 'mode = "pinned", pinned = 4')
        assert.same({ "pinned", 4 }, of "pinned = 4")
    end)

    it("takes shadow policies: a name, a table, a list", function()
        local function of(text)
            local config = loaded('service "web" { image = "web:1", ports = { 80 }, scale = { shadow = ' .. text .. " } }")
            local list, known = {}, {}
            for i, one in ipairs(config.services[1].scale.shadows) do
                list[i] = one.name .. "=" .. one.policy .. ":" .. tostring(one.params.drain or one.params.cpu)
            end
            for _, one in ipairs(config.policies) do
                known[one.name] = one.kind == "scale"
            end
            assert.equal(not text:find "queue" and nil or true, known.queue)
            return table.concat(list, " ")
        end
        assert.equal("queue=queue:60", of '"queue"')
        assert.equal("queue=queue:30", of '{ policy = "queue", drain = "30s" }')
        assert.equal("queue=queue:30", of '{ "queue", drain = "30s" }')
        assert.equal("queue=queue:60 threshold=threshold:75", of '{ "queue", "threshold" }')
        assert.equal("queue=queue:20 threshold=threshold:50 queue 2=queue:60",
            of '{ { policy = "queue", drain = 20 }, { "threshold", cpu = 50 }, "queue" }')
    end)

    it("lets overrides win, and says so when they are wrong", function()
        local config = loaded({ ["tidegate.lua"] = [[cluster { engine = "docker", id = "a" }
            service "x" { command = { "./x" } }]] }, [[{"engine":"process"}]])
        assert.same({ "process", "a" }, { config.cluster.engine, config.cluster.id })
        local _, errors = load([[service "x" { command = { "./x" } }]], [[{"engine":"proces"}]])
        assert.truthy(errors:find('command line: cluster: engine: unknown value "proces": did you mean "process"?', 1, true))
    end)

    it("loads the configuration that the manual shows", function()
        local config, warnings = loaded {
            ["policies/balance/data_locality_aware.lua"] = [[
return { name = "data_locality_aware", doc = "Near data first.", params = {},
         new = function() return { score = function(b) return b.in_flight end } end }]],
            ["tidegate.lua"] = [[
-- tidegate.lua
cluster { id = "shop", engine = "docker" }              -- docker | process | swarm

service "catalog" {
  image       = "acme/catalog:1.4",
  environment = { LOG_LEVEL = "info" },
  resources   = { memory = "512m", cpus = 0.5 },
  ports       = { "8080" },
  volumes     = { "catalog-cache:/var/cache" },
  restart_policy = "unless-stopped",
  health_check = { http = "/health", interval = "5s", timeout = "2s", retries = 3, start_period = "30s" },
  tags        = function(i) return { "zone:" .. (i.index % 2), "dataset:orders" } end,   -- or a plain list

  scale  = { policy = "threshold", min = 2, max = 20, cpu = 75, memory = 80, up_cooldown = "5m", down_cooldown = "10m" },
  route  = { listen = ":8080", host = "catalog.local", path = "/",
             balance = "data_locality_aware",
             circuit_breaker = { failure_threshold = 5, recovery_timeout = "60s", success_threshold = 3 } },
  collect = { performance = "/performance", data = "/data", prometheus = "/metrics", interval = "15s" },
}

service "legacy" { backends = { { host = "10.0.0.5", port = 9000, weight = 2, tags = { "zone:0" } }, "10.0.0.6:9000" },
                   route = { listen = ":8080", host = "legacy.local", balance = "least_connections" } }

channel "ops" { webhook = "https://hooks.example/x" }
alert "HighErrorRate" {
  when = { metric_path = "performance.error_rate", operator = ">", threshold = 0.05, duration = "2m" },
  severity = "critical", message = "{{service}}: {{value}} of requests fail", channels = { "ops" }, cooldown = "10m",
}
alert "SlowAndBusy" { when = function(m) return m.performance.p99 > 0.5 and m.resources.cpu_usage > 60 end, duration = "1m" }
]] }
        local catalog, legacy = config.services[1], config.services[2]
        assert.equal(536870912, catalog.resources.memory_bytes)
        assert.same({ { source = "catalog-cache", target = "/var/cache", read_only = false, bind = false } }, catalog.volumes)
        assert.same({ kind = "http", path = "/health", port = 0, command = {}, interval_ms = 5000, timeout_ms = 2000,
            retries = 3, rise = 1, start_period_ms = 30000, explicit = true }, catalog.health_check)
        assert.equal(20, #catalog.tags)
        assert.same({ "zone:0", "dataset:orders" }, catalog.tags[2])
        assert.equal("data_locality_aware", catalog.routes[1].balance.policy)
        assert.equal("tidegate.lua:15", catalog.routes[1].at)
        assert.same({ failure_threshold = 5, recovery_timeout_ms = 60000, success_threshold = 3, trials = 1,
            failures_on = { "connect", "timeout", "reset", "5xx" }, window_ms = 10000, failure_rate = 0.5,
            minimum_requests = 20, explicit = true }, catalog.routes[1].circuit_breaker)
        assert.same({ performance = "/performance", data = "/data", prometheus = "/metrics", interval_ms = 15000,
            max_body_bytes = 4194304, max_samples = 10000 }, catalog.collect)
        assert.equal("backends", legacy.source)
        assert.is_nil(legacy.scale)
        assert.same({
            { address = "10.0.0.5:9000", weight = 2, max_connections = 100, capacity = 1000, tags = { "zone:0" } },
            { address = "10.0.0.6:9000", weight = 1, max_connections = 100, capacity = 1000, tags = {} },
        }, legacy.backends)
        assert.same({ "ops", "tidegate.lua:24", "webhook" },
            { config.channels[1].name, config.channels[1].at, config.channels[1].kind })
        assert.equal("performance.error_rate", config.alerts[1].when.metric_path)
        assert.same({ ["function"] = "tidegate.lua:29" }, config.alerts[2].when)
        assert.same({ 600000, 120000, "critical" }, { config.alerts[1].cooldown_ms, config.alerts[1].duration_ms,
            config.alerts[1].severity })
        assert.is_nil(warnings:find "tidegate.lua:2[5-9]: alert")
        assert.is_nil(warnings:find "circuit_breaker")
        assert.is_nil(warnings:find "accepted, but")
    end)

    it("reads every form of a health check", function()
        local function health(text, cluster)
            return loaded((cluster or "") .. "\nservice 'x' { image = 'x', ports = { 80 }, health_check = " .. text .. " }")
                .services[1].health_check
        end
        local cases = {
            { '{ http = "/up", port = 81 }', "http", "/up", {}, true }, { '"/up"', "http", "/up", {}, true },
            { "{ tcp = true }", "tcp", "/health", {}, true }, { "false", "none", "/health", {}, true },
            { '{ command = { "/svc", "probe" } }', "engine", "/health", { "CMD", "/svc", "probe" }, true },
            { '{ command = "curl -f x" }', "engine", "/health", { "CMD-SHELL", "curl -f x" }, true },
            { "{ engine = true }", "engine", "/health", {}, true },
            { '{ grpc = "a.B" }', "grpc", "a.B", {}, true }, { '{ grpc = "" }', "grpc", "", {}, true },
            { '{ interval = "2s" }', "http", "/health", {}, false },
        }
        for _, case in ipairs(cases) do
            local h = health(case[1])
            assert.same({ case[2], case[3], case[4], case[5] }, { h.kind, h.path, h.command, h.explicit }, case[1])
        end
        assert.equal(81, health(cases[1][1]).port)
        assert.equal(2000, health(cases[#cases][1]).timeout_ms)
        local call = loaded('service "x" { image = "x", ports = { 80 }, protocol = "h2c" }').services[1]
        assert.same({ "tcp", false }, { call.health_check.kind, call.health_check.explicit })
    end)

    it("reads every form of scale, balance, route, tags and backends", function()
        local config = loaded {
            ["policies/balance/seeded.lua"] = [[
return { name = "seeded", doc = "d", params = { seed = { type = "integer", default = 7 }, slow = { type = "duration" } },
         new = function() return { score = function(b) return b.in_flight end } end,
         examples = { { backends = { { in_flight = 1 }, {} }, want = 2 } } }]],
            ["tidegate.lua"] = [[
service "a" { image = "a", ports = { 80 }, tags = { "t" }, scale = { instances = 3 },
  route = { { listen = ":1", balance = { "seeded", seed = 9, slow = "1m" } },
            { listen = ":2", host = "*.Shop.example", balance = { policy = "seeded" } } } }
service "b" { backends = { "unix:/run/x.sock", { "db:1", weight = 3 }, { address = "10.0.0.1:1" }, { host = "::1", port = 2 } } }
service "c" { image = "c", scale = { max = 1 } }
service "d" { image = "d", scale = { min = 30 } }
]] }
        local a, b, c, d = unpack(config.services)
        assert.same({ 3, 3 }, { a.scale.min, a.scale.max })
        assert.same({ { "t" } }, a.tags)
        assert.same({ policy = "seeded", params = { seed = 9, slow = 60 } }, a.routes[1].balance)
        assert.same({ policy = "seeded", params = { seed = 7 } }, a.routes[2].balance)
        assert.same({ "tidegate.lua:2", "tidegate.lua:3" }, { a.routes[1].at, a.routes[2].at })
        assert.same({ "", "*.shop.example" }, { a.routes[1].host, a.routes[2].host })
        assert.same({ "unix:/run/x.sock", "db:1", "10.0.0.1:1", "[::1]:2" },
            { b.backends[1].address, b.backends[2].address, b.backends[3].address, b.backends[4].address })
        assert.same({ 3, "tcp", false }, { b.backends[2].weight, b.health_check.kind, b.health_check.explicit })
        assert.same({ 1, 1, 30, 30 }, { c.scale.min, c.scale.max, d.scale.min, d.scale.max })
    end)

    it("makes paths absolute and environment values text", function()
        local config = loaded { ["tidegate.lua"] = [[
cluster { engine = "process", state_dir = "state", docker = { tls = { ca = "/ca.pem", key = "./key.pem" } } }
service "x" { command = { "./x", "$PORT" }, directory = "sub", environment = { A = 1, B = true, C = 0.5, D = "" } }]] }
        local s = config.services[1]
        assert.same({ "./x", "$PORT" }, s.command)
        assert.equal(config.directory .. "/sub", s.directory)
        assert.equal(config.directory .. "/state", config.cluster.state_dir)
        assert.same({ ca = "/ca.pem", certificate = "", key = config.directory .. "/key.pem" }, config.cluster.docker.tls)
        assert.same({ A = "1", B = "true", C = "0.5", D = "" }, s.environment)
    end)

    it("is a program: loops, functions, includes and the environment", function()
        local config, warnings = loaded {
            ["tidegate.lua"] = [[
local function web(name, port)
  service(name) { image = env("TIDEGATE_NOT_SET", "web") .. ":1", ports = { port } }
end
for i = 1, 3 do web("w" .. i, 80 + i) end
home = env "HOME"
print("services", 3)
local extra = include "conf/more.lua"
include("conf/d/*.lua")
service "x" { image = extra.image }]],
            ["conf/more.lua"] = [[service "more" { image = "more" } return { image = "from:more" }]],
            ["conf/d/a.lua"] = [[


service "in_a" { image = "a", environment = { HOME = home } }]],
            ["conf/d/b.lua"] = [[service "in_b" { image = "b" }]],
            ["conf/d/ignored.txt"] = "no",
        }
        local names, at = {}, {}
        for i, s in ipairs(config.services) do
            names[i], at[i] = s.name, s.at
        end
        assert.same({ "w1", "w2", "w3", "more", "in_a", "in_b", "x" }, names)
        assert.same({ "tidegate.lua:2", "tidegate.lua:2", "tidegate.lua:2", "conf/more.lua:1", "conf/d/a.lua:3",
            "conf/d/b.lua:1", "tidegate.lua:9" }, at)
        assert.same({ "web:1", "from:more", os.getenv "HOME" },
            { config.services[1].image, config.services[7].image, config.services[5].environment.HOME })
        assert.equal("tidegate.lua:6: print: services 3", warnings)
    end)

    it("has a generation that changes with any byte that was read, and only then", function()
        local policy = 'return { name = "p", doc = "d", new = function() return function() end end, examples = {} }'
        local function generation(main, included, source, other)
            return loaded { ["tidegate.lua"] = main, ["i.lua"] = included, ["policies/scale/p.lua"] = source,
                ["policies/scale/other.lua"] = other }.generation
        end
        local main = 'include "i.lua" service "x" { image = "x", scale = { policy = "p" } }'
        local first = generation(main, "-- i", policy, "")
        assert.equal(first, generation(main, "-- i", policy, "not read"))
        for _, changed in ipairs { generation(main .. " ", "-- i", policy, ""), generation(main, "-- j", policy, ""),
            generation(main, "-- i", policy .. " ", "") } do
            assert.are_not.equal(first, changed)
        end
    end)

    it("gives what cold and hot states are built from", function()
        local queue_aware = [[
-- policies/scale/queue_aware.lua: one more instance for every `per` requests in flight
return {
  name = "queue_aware",
  doc = "Keeps `per` requests in flight on each instance.",
  params = { per = { type = "number", default = 50, min = 1, doc = "requests in flight per instance" } },
  new = function(params)
    return function(s)                       ---@param s tidegate.ServiceView
      local want = math.ceil(s.in_flight / params.per)
      return want, ("%d in flight, %d each"):format(s.in_flight, params.per)
    end
  end,
  examples = { { params = { per = 50 }, given = { in_flight = 130, instances = 2 }, want = 3 } },
}]]
        local answer
        local config, text = load({ ["policies/scale/queue_aware.lua"] = queue_aware, ["tidegate.lua"] = [[
service "web" { image = "web:1", ports = { 80 }, scale = { policy = "queue_aware", per = 10 },
                route = { listen = ":8080", balance = "least_connections" } }]] }, nil, function(json)
            local cold, hot, why = ffi.new "struct script_cold *[1]", ffi.new "struct script_hot *[1]", ffi.new "char *[1]"
            assert.equal(0, C.script_cold_new(json, cold, why))
            local snapshot = '{"services":{"web":{"service":"web","now":1,"instances":2,"in_flight":41}}}'
            local given = C.json_parse(snapshot, #snapshot)
            local decided = C.script_cold_decide(cold[0], given)
            answer = C.json_num(C.json_path(decided, "services.web"), "want", -1)
            C.json_free(given)
            C.json_free(decided)
            C.script_cold_free(cold[0])
            assert.equal(0, C.script_hot_new(json, nil, hot, why))
            C.script_hot_free(hot[0])
        end)
        assert.is_not_nil(config, text)
        assert.equal("", text)
        assert.equal(5, answer)
    end)

    it("warns of a configuration without services", function()
        local config, warnings = loaded "-- nothing yet"
        assert.same({}, config.services)
        assert.equal('tidegate.lua: declares no service: write service "name" { ... }', warnings)
    end)

    it("lets requests wait where a service may have no instance", function()
        local config, why = load { ["tidegate.lua"] = [[
service "a" { image = "a", ports = { "80" }, anomaly = false, scale = { min = 0 }, route = { { listen = ":1" },
  { listen = ":2", queue = { limit = 7, timeout = "2s" } } } }
service "b" { image = "b", anomaly = false, scale = { instances = 0 } }
service "c" { image = "c", ports = { "80" }, anomaly = false, scale = { min = 0, idle = "1m" }, route = { listen = "tcp://:3" } }]] }
        assert.is_table(config, why)
        local a = config.services[1]
        assert.equal(900000, a.scale.idle_ms)
        assert.same({ limit = 100, timeout_ms = 30000, when_down = true }, a.routes[1].queue)
        assert.same({ limit = 7, timeout_ms = 2000, when_down = true }, a.routes[2].queue)
        assert.same({ 0, 0 }, { config.services[2].scale.min, config.services[2].scale.max })
        assert.same({ 60000, true }, { config.services[3].scale.idle_ms, config.services[3].routes[1].queue.when_down })
    end)
end)
