-- Containers that people start themselves, with labels, on a real Docker engine.
local live = require "live"
local json = require "dkjson"

-- What `docker run` does: create and start; `o`: networks (the first joined at create), ports, health, env.
local function run(t, name, labels, o)
    o = o or {}
    local body = { Image = "quick:1", Labels = {}, Env = o.env or {}, HostConfig = { NetworkMode = o.network or "bridge",
        PortBindings = o.publish }, Healthcheck = o.healthcheck, ExposedPorts = { ["8080/tcp"] = {} } }
    for key, text in pairs(labels) do
        body.Labels[key:find "^com%." and key or "tidegate." .. key] = text
    end
    setmetatable(body.ExposedPorts["8080/tcp"], { __jsontype = "object" })
    setmetatable(body.Labels, { __jsontype = "object" })
    assert(t:api("POST", "/containers/create?name=" .. name, "-H", "Content-Type: application/json", "-d",
        json.encode(body)))
    t.people = t.people or {}
    t.people[#t.people + 1] = name
    for _, network in ipairs(o.more_networks or {}) do
        assert(t:api("POST", "/networks/" .. network .. "/connect", "-H", "Content-Type: application/json", "-d",
            json.encode { Container = name }))
    end
    assert(t:api("POST", "/containers/" .. name .. "/start"))
end

local function stop(t, name, seconds)
    assert(t:api("POST", ("/containers/%s/stop?t=%d"):format(name, seconds or 5)))
end

local function remove(t, name)
    assert(t:api("DELETE", "/containers/" .. name .. "?force=1&v=1"))
end

local function network(t, name)
    assert(t:api("POST", "/networks/create", "-H", "Content-Type: application/json", "-d",
        json.encode { Name = name, CheckDuplicate = true }))
    t.networks = t.networks or {}
    t.networks[#t.networks + 1] = name
end

local function configure(t, labels, more)
    t:write("tidegate.lua", [[
cluster { id = "@ID@", engine = "docker", docker = { host = "unix://@SOCKET@"@DOCKER@ }, workers = 2, admin = false,
  sample_interval = "500ms", health_check_interval = "200ms", labels = @LABELS@ }
@MORE@]], { SOCKET = t.bed.socket, DOCKER = "", LABELS = labels or t:fill '{ listen = "127.0.0.1:@PORT@" }',
        MORE = more or "" })
end

-- The services of examples/labels/compose.yaml: { name, networks, labels, count }.
local function composed()
    local services, service = {}, nil
    for line in live.read_file("examples/labels/compose.yaml"):gmatch "[^\n]+" do
        local name = line:match "^  (%w+):$"
        if line:find "^networks:" then
            break
        elseif name then
            service = { name = name, labels = {}, networks = {}, count = 1 }
            services[#services + 1] = service
        elseif service then
            local key, text = line:match '^      tidegate%.([%w._-]+): "(.*)"$'
            if key then
                service.labels[key] = text
            end
            for one in (line:match "^    networks: %[(.*)%]$" or ""):gmatch "%w+" do
                service.networks[#service.networks + 1] = "labels_" .. one
            end
            service.count = tonumber(line:match "replicas: (%d+)") or service.count
        end
    end
    return services
end

-- The test's containers and networks go, whatever became of it.
local function cleaned(fn)
    return function(t)
        local ok, err = pcall(fn, t)
        for _, name in ipairs(t.people or {}) do
            t:api("DELETE", "/containers/" .. name .. "?force=1&v=1")
        end
        for _, name in ipairs(t.networks or {}) do
            t:api("DELETE", "/networks/" .. name)
        end
        if not ok then
            error(err, 0)
        end
    end
end

local function status_of(t, host, path, port)
    local answer = t:get(path or "/", { headers = { Host = host }, port = port })
    return answer and answer.status
end

local function wait_status(t, status, host, path)
    t:wait(("%s to answer %d"):format(host, status), function()
        return status_of(t, host, path) == status
    end)
end

-- What `tidegate labels NAME` says: the container and its verdicts by label.
local function told(t, name)
    local result = t:cli("labels", name, "--json")
    local answer = assert(json.decode(result.out), result.out .. result.err)
    local c, verdicts = answer.containers[1], {}
    for _, v in ipairs(c.labels) do
        verdicts[v.label:gsub("^tidegate%.", "")] = v.verdict .. ": " .. v.text
    end
    return c, verdicts, result.code
end

local function wait_serves(t, name)
    t:wait(name .. " to serve", function()
        return told(t, name).serves
    end)
end

live.describe("labels of containers", { "--live-restore" }, function(case, bed)
    local function it(title, fn)
        case(title, cleaned(fn))
    end

    it("make a service of each, explained label by label", function(t)
        configure(t)
        t:start { cluster_only = true }
        run(t, "web-1", { enable = "true", ["route.host"] = "web.example", ["health.http"] = "/health", service = "web" })
        wait_status(t, 200, "web.example")
        assert.equal(404, status_of(t, "other.example"))
        local c, verdicts, code = told(t, "web-1")
        assert.equal(0, code)
        assert.same({ true, "web", "bridge", "up" }, { c.serves, c.service, c.network, c.backend_state })
        assert.equal('used: route.host = "web.example"', verdicts["route.host"])
        assert.same({ "labels", 1 }, { t:of("web").source, t:of("web").up })
        -- Another one with the same labels is a backend more and no reload.
        local generation = t:status().generation
        run(t, "web-2", { enable = "true", ["route.host"] = "web.example", ["health.http"] = "/health", service = "web" })
        wait_serves(t, "web-2")
        assert.equal(2, t:of("web").up)
        assert.equal(generation, t:status().generation)
        local out = t:cli("labels").out
        assert.truthy(out:find("web%-1  gets requests\n  service web  127.0.0.1:%d+ web.example/\n  at 172"), out)
        assert.truthy(out:find('route.host = "web.example"', 1, true), out)
        assert.equal(1, t:cli("labels", "nobody").code)
    end)

    it("lose no request when one of two is stopped, started and removed", function(t)
        configure(t)
        t:start { cluster_only = true }
        for i = 1, 2 do
            run(t, "web-" .. i, { enable = "true", ["route.path"] = "/", service = "web" })
        end
        wait_serves(t, "web-1")
        wait_serves(t, "web-2")
        local load = t:load { path = "/work?latency_ms=10", rate = 300, connections = 16 }
        local generation = t:status().generation
        stop(t, "web-1")
        load:run(200)
        assert.equal("does not run", told(t, "web-1").why)
        assert(t:api("POST", "/containers/web-1/start"))
        wait_serves(t, "web-1")
        load:run(100)
        stop(t, "web-2")
        remove(t, "web-2")
        load:run(200)
        load:stop_clean()
        assert.equal(generation, t:status().generation)
        assert.equal(1, t:of("web").up)
    end)

    it("are an explained mistake on two networks, until one is named", function(t)
        network(t, "shop_front")
        network(t, "shop_db")
        configure(t)
        t:start { cluster_only = true }
        local on_both = { network = "shop_front", more_networks = { "shop_db" } }
        run(t, "web-1", { enable = "true", ["route.host"] = "web.example" }, on_both)
        t:wait("the mistake to be told", function()
            return (told(t, "web-1").why or ""):find("several networks", 1, true)
        end)
        local c, _, code = told(t, "web-1")
        assert.same({ false, 1 }, { c.serves, code })
        assert.equal('is on several networks (shop_db, shop_front): write tidegate.network=shop_db, or another of '
            .. 'them; or labels = { network = "shop_db" } into the configuration, for all', c.why)
        assert.equal(503, status_of(t, "web.example"))
        run(t, "web-2", { enable = "true", ["route.host"] = "two.example", network = "shop_front" }, on_both)
        wait_status(t, 200, "two.example")
        assert.equal("shop_front", told(t, "web-2").network)
        configure(t, t:fill '{ listen = "127.0.0.1:@PORT@", network = "shop_db" }')
        assert.equal(0, t:cli("reload").code)
        wait_status(t, 200, "web.example")
        assert.equal("shop_db", told(t, "web-1").network)
        assert.equal("shop_front", told(t, "web-2").network)
    end)

    it("that are wrong are explained, and lose what is theirs alone", function(t)
        configure(t, nil, t:fill [[
service "file" { backends = { "127.0.0.1:9" }, route = { listen = "127.0.0.1:@PORT@", host = "file.example" } }]])
        t:start { cluster_only = true }
        run(t, "good", { enable = "true", ["route.host"] = "good.example" })
        wait_status(t, 200, "good.example")
        run(t, "bad", { enable = "true", ["route.hots"] = "bad.example", ["route.path"] = "/bad",
            ["route.api.host"] = "api.example", ["route.api.queue.limit"] = "many", prot = "80" })
        run(t, "taken", { enable = "true", ["route.host"] = "file.example" })
        run(t, "forgotten", { ["route.host"] = "forgotten.example" })
        run(t, "file", { enable = "true", ["route.host"] = "shadowed.example" })
        t:wait("all of them to be told", function()
            local _, verdicts = told(t, "file")
            return (verdicts["route.host"] or ""):find "shadowed"
        end)
        local function says(name, label)
            local _, verdicts, code = told(t, name)
            return verdicts[label], code
        end
        assert.same({ "wrong: unknown label: did you mean tidegate.route.host?", 1 }, { says("bad", "route.hots") })
        assert.equal('wrong: expected a whole number, got "many"', (says("bad", "route.api.queue.limit")))
        assert.equal("wrong: unknown label: did you mean tidegate.port?", (says("bad", "prot")))
        assert.truthy(says("taken", "route.host"):find("host file.example, path / is already the route at tidegate.lua:3",
            1, true))
        assert.same({ "wrong: is missing: write tidegate.enable=true, or no label below tidegate", 1 },
            { says("forgotten", "enable") })
        assert.truthy(says("file", "route.host"):find('shadowed: the configuration declares service "file"', 1, true))
        assert.equal(200, status_of(t, "good.example"))
        assert.equal(1, t:cli("labels").code)
        t:wait_log 'msg="label is wrong" container=bad label=tidegate.route.hots'
        for _, name in ipairs { "bad", "taken", "forgotten", "file" } do
            remove(t, name)
        end
        t:wait("nothing to be wrong", function()
            return t:cli("labels").code == 0
        end)
        assert.equal(200, status_of(t, "good.example"))
    end)

    it("may be others when a container is made anew, and others do not notice", function(t)
        configure(t)
        t:start { cluster_only = true }
        run(t, "web-1", { enable = "true", ["route.path"] = "/", service = "web" })
        run(t, "blog", { enable = "true", ["route.host"] = "old.example" })
        wait_status(t, 200, "old.example")
        wait_serves(t, "web-1")
        local load = t:load { path = "/work?latency_ms=5", rate = 200, connections = 8 }
        for _, host in ipairs { "new.example", "newer.example" } do
            remove(t, "blog")
            run(t, "blog", { enable = "true", ["route.host"] = host })
            wait_status(t, 200, host)
            assert.equal("web", told(t, "web-1").service)
        end
        t:wait("the old host to be gone", function()
            local routes = told(t, "blog").routes -- none while it is being taken up
            return routes and routes[1] and routes[1].host == "newer.example"
        end)
        load:run(100)
        load:stop_clean()
    end)

    it("are kept while the engine is away, and compared when it is back", function(t)
        configure(t)
        t:start { cluster_only = true }
        run(t, "web-1", { enable = "true", ["route.path"] = "/", service = "web" })
        run(t, "web-2", { enable = "true", ["route.path"] = "/", service = "web" })
        wait_serves(t, "web-1")
        wait_serves(t, "web-2")
        local load = t:load { path = "/work?latency_ms=10", rate = 200, connections = 8 }
        for _ = 1, 3 do
            bed:sh "kill"
            t:wait("the engine to be down", function()
                return t:status().engine.state == "down"
            end)
            load:run(50)
            assert.equal(2, t:of("web").up)
            bed:sh "restart"
            t:wait("the engine to be up", function()
                return t:status().engine.state == "up"
            end)
        end
        run(t, "blog", { enable = "true", ["route.host"] = "blog.example" })
        wait_status(t, 200, "blog.example")
        load:run(50)
        load:stop_clean()
    end)

    it("leave the health to the container's own check", function(t)
        configure(t)
        t:start { cluster_only = true }
        run(t, "web-1", { enable = "true", ["route.host"] = "web.example" }, { healthcheck = {
            Test = { "CMD", "/service", "probe" }, Interval = 300000000, Timeout = 2000000000, Retries = 1 } })
        wait_status(t, 200, "web.example")
        local address = told(t, "web-1").address
        assert.equal(200, t:get("/sick", { method = "POST", headers = { Host = "web.example" } }).status)
        t:wait("it to be out", function()
            local c = told(t, "web-1")
            return not c.serves and c.health == "unhealthy"
        end)
        assert.equal("unhealthy by the engine's health check", told(t, "web-1").why)
        bed:sh("exec", "curl", "-s", "-X", "POST", "http://" .. address .. "/well")
        wait_status(t, 200, "web.example")
    end)

    it("reach published ports when the configuration says so", function(t)
        configure(t, nil)
        local text = live.read_file(t.dir .. "/tidegate.lua")
        t:write("tidegate.lua", (text:gsub('docker = { host', 'docker = { publish = true, host')))
        t:start { cluster_only = true }
        run(t, "web-1", { enable = "true", ["route.host"] = "web.example" }, { publish = { ["8080/tcp"] =
            { { HostIp = "127.0.0.1", HostPort = "" } } } })
        wait_status(t, 200, "web.example")
        assert.truthy(told(t, "web-1").address:find("^127%.0%.0%.1:%d+$"))
    end)

    it("wait for files that were changed and not reloaded", function(t)
        configure(t)
        t:start { cluster_only = true }
        run(t, "one", { enable = "true", ["route.host"] = "one.example" })
        wait_status(t, 200, "one.example")
        configure(t, nil, t:fill [[
service "file" { backends = { "127.0.0.1:9" }, route = { listen = "127.0.0.1:@PORT@", host = "file.example" } }]])
        run(t, "two", { enable = "true", ["route.host"] = "two.example" })
        t:wait("the labels to wait", function()
            return (told(t, "two").why or ""):find("files of the configuration were changed", 1, true)
        end)
        assert.same({ 404, 200 }, { status_of(t, "two.example"), status_of(t, "one.example") })
        assert.equal(0, t:cli("reload").code)
        wait_status(t, 200, "two.example")
    end)

    it("hold the route for a while when the last container is removed", function(t)
        configure(t)
        t:start { cluster_only = true }
        run(t, "web-1", { enable = "true", ["route.host"] = "web.example", ["route.queue.timeout"] = "10ms" })
        run(t, "blog", { enable = "true", ["route.host"] = "blog.example" })
        wait_status(t, 200, "web.example")
        wait_status(t, 200, "blog.example")
        remove(t, "web-1")
        wait_status(t, 503, "web.example")
        wait_status(t, 404, "web.example")
        assert.equal(200, status_of(t, "blog.example"))
    end)

    it("of the example's compose file do what it says", function(t)
        local text = live.read_file "examples/labels/tidegate.lua"
        text = text:gsub('id = "edge",', 'id = "@ID@", docker = { host = "unix://@SOCKET@" }, workers = 2, admin = false,')
        t:write("tidegate.lua", (text:gsub("127%.0%.0%.1:8080", "127.0.0.1:@PORT@")), { SOCKET = t.bed.socket })
        network(t, "labels_front")
        network(t, "labels_back")
        t:start { cluster_only = true }
        local services = composed()
        assert.same({ "web", "api", "jobs" }, { services[1].name, services[2].name, services[3].name })
        for _, service in ipairs(services) do
            service.labels["com.docker.compose.service"] = service.name
            service.labels["com.docker.compose.project"] = "labels"
            for i = 1, service.count do
                run(t, ("labels-%s-%d"):format(service.name, i), service.labels, { network = service.networks[1],
                    more_networks = { service.networks[2] } })
            end
        end
        wait_status(t, 200, "www.shop.example")
        wait_status(t, 200, "api.shop.example", "/work")
        wait_serves(t, "labels-web-2")
        assert.equal("labels_front", told(t, "labels-api-1").network)
        local result = t:cli "labels"
        assert.equal(0, result.code, result.out)
        assert.is_nil(result.out:find("unused", 1, true), result.out)
        assert.is_nil(result.out:find("jobs", 1, true))
        -- One that compose runs beside, for a moment, is none of them.
        services[1].labels["com.docker.compose.oneoff"] = "True"
        run(t, "labels-web-run-1", services[1].labels, { network = "labels_front" })
        t:wait("it to be told", function()
            return t:cli("labels").out:find("a one-off container of `docker compose run`", 1, true)
        end)
        assert.equal(2, t:of("web").up)
    end)
end)
