-- The Docker engine against a scripted one: what a real engine does rarely or
-- never. tests/live/docker_engine_spec.lua has the real one.
local loop = require "loop"
local room = require "engine_room"
local E, json = room.E, room.json

local VERSION = { Version = "20.10.24", ApiVersion = "1.41", MinAPIVersion = "1.12", Components = { { Name = "Engine" } } }
local STREAM = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"

local function chunk(bytes)
    return ("%x\r\n%s\r\n"):format(#bytes, bytes)
end

local function event(action, id, extra)
    local e = {
        Type = "container", Action = action,
        Actor = { ID = id, Attributes = { name = "tg-" .. id, ["tidegate.cluster"] = "shop", ["tidegate.service"] = "catalog" } },
    }
    for key, value in pairs(extra or {}) do
        e.Actor.Attributes[key] = value
    end
    return json(e) .. "\n"
end

-- What inspect answers for a running container.
local function container(id, changes)
    local c = {
        Id = id, Name = "/tg-" .. id, RestartCount = 2,
        State = {
            Status = "running", Running = true, Pid = 0, ExitCode = 0, OOMKilled = false, Error = "",
            StartedAt = "2026-01-31T12:00:00.5Z",
        },
        Config = {
            Tty = false, ExposedPorts = { ["9000/tcp"] = {}, ["8080/tcp"] = {} },
            Labels = {
                ["tidegate.cluster"] = "shop", ["tidegate.service"] = "catalog", ["tidegate.serial"] = "7",
                ["tidegate.slot"] = "3", ["tidegate.generation"] = "2", ["tidegate.spec"] = "abc", ["tidegate.port"] = "9000",
            },
        },
        HostConfig = { NanoCpus = 500000000, Memory = 1048576 },
        NetworkSettings = { IPAddress = "9.9.9.9", Networks = { net = { NetworkID = "n1", IPAddress = "172.18.0.3" } } },
    }
    for key, value in pairs(changes or {}) do
        for inner, v in pairs(value) do
            c[key][inner] = v
        end
    end
    return c
end

local function spec(config)
    config.image = config.image or "acme/x:1"
    return {
        name = "tg-shop-catalog-7", cluster = "shop", service = "catalog", serial = 7, slot = 3, generation = 2,
        hash = "abc", config = config,
    }
end

describe("engine/docker scripted", function()
    local run, server, engine, socket

    -- Routes of an engine that can be connected to. `events` is what its stream begins with.
    local function script(version, events, after)
        local api = "/v" .. (version.speak or version.ApiVersion)
        server:answer("/_ping", 200, "OK", "Api-Version: " .. version.ApiVersion .. "\r\n")
        server:answer("/version", 200, json(version))
        server:answer(api .. "/info", 200, json { NCPU = 4, MemTotal = 8e9 })
        server:raw(api .. "/events", STREAM .. (events or ""), after or loop.HANG)
        return api
    end

    local function connect(docker)
        docker = docker or {}
        docker.host = docker.host or "unix://" .. socket
        engine = assert(room.new({ id = "shop", engine = "docker", docker = docker }, nil, run))
        engine:open()
    end

    before_each(function()
        run = loop.new()
        socket = os.tmpname()
        os.remove(socket)
        server = run:server("unix:" .. socket)
    end)

    after_each(function()
        if engine then
            engine:close()
            engine = nil
        end
        server:close()
        assert.equal(0, run:free(), "handles left open")
        os.remove(socket)
    end)

    describe("agrees on a version", function()
        for _, case in ipairs {
            { "1.41", "1.12", "1.41" }, { "1.44", "1.24", "1.44" }, { "1.52", "1.44", "1.44" }, { "1.52", "1.50", "1.50" },
        } do
            it(("%s with %s to %s"):format(case[3], case[2], case[1]), function()
                script { Version = "1", ApiVersion = case[1], MinAPIVersion = case[2], speak = case[3] }
                connect()
                assert.equal("docker 1, API " .. case[3], engine:up())
            end)
        end

        for _, case in ipairs { { "1.40", "1.12", "upgrade the engine" }, { "1.99", "1.53", "upgrade tidegate" } } do
            it(("refuses %s to %s"):format(case[2], case[1]), function()
                script { Version = "1", ApiVersion = case[1], MinAPIVersion = case[2] }
                connect()
                local why = engine:down()
                assert.is_truthy(why:find(case[3], 1, true), why)
                assert.is_truthy(why:find(("1.%s to 1.%s"):format(case[2]:sub(3), case[1]:sub(3)), 1, true), why)
                assert.equal(0, engine.news.ups)
            end)
        end

        it("anew when the engine refuses it later", function()
            script(VERSION)
            connect()
            engine:up()
            server:answer("/v1.41/containers/x/json", 400, '{"message":"client version 1.41 is too old. Minimum is 1.44"}')
            script { Version = "29", ApiVersion = "1.52", MinAPIVersion = "1.44", speak = "1.44" }
            local r = engine:call("inspect", "x")
            assert.equal(E.AGAIN, r.code)
            engine:down()
            assert.equal("docker 29, API 1.44", engine:up(2))
        end)
    end)

    describe("is not connected", function()
        for name, bytes in pairs {
            garbage = "\0\1\2\255 this is no HTTP\r\n\r\n",
            ["truncated JSON"] = 'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"ApiVersion":',
            ["a cut off body"] = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{",
            ["another service"] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        } do
            it("to " .. name, function()
                script(VERSION)
                server:raw("/version", bytes, loop.CLOSE)
                connect()
                local why = engine:down()
                assert.is_truthy(why:find "^version", why)
                local r = engine:call("start", "x")
                assert.equal(E.CONNREFUSED, r.code)
                assert.is_truthy(r.text:find("version", 1, true), r.text)
                assert.equal(0, engine.news.ups)
                script(VERSION)
                engine:up()
                assert.equal(1, engine.news.downs)
            end)
        end

        it("to an engine whose stream of events does not begin", function()
            script(VERSION)
            server:raw("/v1.41/events", "", loop.HANG)
            connect()
            assert.is_truthy(engine:down():find("event stream", 1, true))
        end)

        it("to a socket that does not exist", function()
            connect { host = "unix:///nonexistent/docker.sock" }
            assert.is_truthy(engine:down():find("not reachable", 1, true))
        end)
    end)

    it("says what is wrong with docker.host", function()
        for _, host in ipairs { "ssh://x", "unix://relative", "tcp://:1", "tcp://h:99999", "tcp://h/x", "nonsense" } do
            local e, sentence = room.new({ id = "shop", engine = "docker", docker = { host = host } }, nil, run)
            assert.is_nil(e)
            assert.is_truthy(sentence:find("docker.host", 1, true))
        end
        local e, sentence = room.new({ id = "shop", engine = "podracer" }, nil, run)
        assert.is_nil(e)
        assert.is_truthy(sentence:find("podracer", 1, true))
    end)

    it("connects again when the events end, at growing distances", function()
        script(VERSION, nil, loop.CLOSE)
        connect()
        engine:up()
        assert.is_truthy(engine:down():find("event stream", 1, true))
        engine:up(4)
        assert.is_true(engine.news.downs >= 3)
        script(VERSION)
        local ups = engine.news.ups
        engine:up(ups + 1)
        assert.equal(engine.news.ups, engine.news.downs + 1)
    end)

    describe("when connected", function()
        local api

        before_each(function()
            api = script(VERSION)
            connect()
            engine:up()
        end)

        it("notices a hang within 4 s, and that it ended", function()
            server:raw("/_ping", "", loop.HANG)
            local why = engine:down(1, 6000)
            assert.is_truthy(why:find("hangs", 1, true), why)
            script(VERSION)
            engine:up(2)
            assert.equal(1, engine.news.downs)
        end)

        it("reads an instance", function()
            server:answer(api .. "/containers/c1/json", 200, json(container "c1"))
            local i = engine:look "c1"
            assert.same({
                id = "c1", name = "tg-c1", service = "catalog", spec_hash = "abc", serial = 7, slot = 3, generation = 2,
                state = "running", health = "none", health_output = "", address = "172.18.0.3:9000", pid = 0,
                exit_code = 0, oom_killed = false, restarts = 2, error = "", started_wall_ms = 1769860800500,
            }, i)
        end)

        it("trusts health and addresses only while it runs", function()
            for _, case in ipairs {
                { "running", "healthy", "healthy", "172.18.0.3:9000" }, { "running", "starting", "starting", "172.18.0.3:9000" },
                { "exited", "healthy", "unhealthy", "" }, { "paused", "healthy", "unhealthy", "" },
                { "restarting", "healthy", "starting", "" }, { "created", "starting", "starting", "" },
            } do
                local health = { Status = case[2], Log = { { Start = "2026-01-31T11:59:59Z", Output = "of the run before" } } }
                server:answer(api .. "/containers/c1/json", 200, json(container("c1", { State = { Status = case[1], Health = health } })))
                local i = engine:look "c1"
                assert.same({ case[1], case[3], case[4], "" }, { i.state, i.health, i.address, i.health_output })
            end
        end)

        it("survives what is no answer", function()
            local path = api .. "/containers/c1/json"
            for _, case in ipairs {
                { 200, "{", E.AGAIN }, { 200, "\0\1\2\200", E.AGAIN }, { 200, "[]", E.AGAIN }, { 200, "", E.AGAIN },
                { 200, ("["):rep(100000), E.AGAIN }, { 200, '{"Id":"' .. ("x"):rep(200) .. '","State":{}}', E.AGAIN },
                { 404, "Not Found", E.NOENT }, { 404, "", E.NOENT }, { 500, "<html>\27[31m\n</html>", E.AGAIN },
                { 500, '{"message":17}', E.AGAIN }, { 403, "no", E.ACCES }, { 400, '{"message":"bad parameter"}', E.INVAL },
            } do
                server:answer(path, case[1], case[2])
                local r = engine:call("inspect", "c1")
                assert.equal(case[3], r.code, case[2])
                assert.is_true(#r.text > 0 and not r.text:find "[%c\128-\255]", r.text)
            end
        end)

        it("refuses a huge body", function()
            local size = 17 * 1024 * 1024
            server:raw(api .. "/containers/json", ("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"):format(size, ("["):rep(size)))
            local r = engine:call("list")
            assert.equal(E.AGAIN, r.code)
            assert.is_truthy(r.text:find("too large", 1, true))
        end)

        it("gives up on a slow body and stays up", function()
            server:raw(api .. "/containers/c1/json", "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n" .. ("x"):rep(900), loop.KEEP, 50)
            local r = engine:call("inspect", "c1")
            assert.equal(E.TIMEDOUT, r.code)
            assert.equal(0, engine.news.downs)
        end)

        it("lists, and one that vanishes or hangs does not hide the others", function()
            local list = {}
            for n = 1, 12 do
                list[n] = { Id = "c" .. n, Names = { "/tg-c" .. n }, State = "running", Labels = { ["tidegate.slot"] = tostring(n) } }
                server:answer(api .. ("/containers/c%d/json"):format(n), 200, json(container("c" .. n)))
            end
            server:answer(api .. "/containers/json", 200, json(list))
            server:answer(api .. "/containers/c5/json", 404, '{"message":"No such container: c5"}')
            server:raw(api .. "/containers/c6/json", "", loop.HANG)
            local r = engine:call("list")
            assert.equal(0, r.code)
            local seen = {}
            for _, i in ipairs(r.instances) do
                seen[i.id] = i
            end
            assert.is_nil(seen.c5)
            assert.same({ "running", 6, "" }, { seen.c6.state, seen.c6.slot, seen.c6.address })
            assert.equal("172.18.0.3:9000", seen.c12.address)
            assert.equal(11, #r.instances)
            assert.is_truthy(server:log():find("filters=%7B%22label%22:%5B%22tidegate.cluster%3Dshop%22%5D%7D", 1, true))
        end)

        it("does not take an odd list for an empty one", function()
            for _, body in ipairs { "{}", "null", "", '{"message":"x"}', "[" } do
                server:answer(api .. "/containers/json", 200, body)
                assert.equal(E.AGAIN, engine:call("list").code, body)
            end
            server:answer(api .. "/containers/json", 200, "[]")
            assert.equal(0, engine:call("list").code)
        end)

        it("knows what failures mean", function()
            for _, case in ipairs {
                { 500, "driver failed: Bind for 0.0.0.0:80 failed: port is already allocated", E.ADDRINUSE },
                { 500, "listen tcp4 0.0.0.0:80: bind: address already in use", E.ADDRINUSE },
                { 500, "mkdir /x: no space left on device", -28 }, { 404, "network tg not found", E.INVAL },
                { 400, 'OCI runtime create failed: exec: "/nope": stat /nope: no such file or directory: unknown', E.INVAL },
                { 404, "No such container: c1", E.NOENT }, { 409, "container is paused", E.AGAIN }, { 304, "", 0 }, { 204, "", 0 },
            } do
                server:answer(api .. "/containers/c1/start", case[1], case[2] ~= "" and json { message = case[2] } or "")
                local r = engine:call("start", "c1")
                assert.equal(case[3], r.code, case[2])
                assert.is_truthy(r.text:find(case[2], 1, true))
            end
        end)

        it("does not know the outcome of a call that was cut off", function()
            server:raw(api .. "/containers/c1/start", "", loop.CLOSE)
            assert.equal(E.TIMEDOUT, engine:call("start", "c1").code)
            server:raw(api .. "/containers/c1/start", "HTTP/1.1 204 No", loop.CLOSE)
            assert.equal(E.TIMEDOUT, engine:call("start", "c1").code)
        end)

        it("takes stop of a stopped and remove of an unknown one for done", function()
            server:answer(api .. "/containers/c1/stop", 304, "")
            assert.equal(0, engine:call("stop", "c1", 7).code)
            assert.is_truthy(server:log():find("/containers/c1/stop?t=7 ", 1, true))
            server:answer(api .. "/containers/c1", 404, '{"message":"No such container: c1"}')
            assert.equal(0, engine:call("remove", "c1").code)
            assert.is_truthy(server:log():find("DELETE /v1.41/containers/c1?force=1&v=1 ", 1, true))
            server:answer(api .. "/containers/c1", 409, '{"message":"removal of container c1 is already in progress"}')
            assert.equal(0, engine:call("remove", "c1").code)
            server:answer(api .. "/containers/c1", 500, '{"message":"busy"}')
            assert.equal(E.AGAIN, engine:call("remove", "c1").code)
        end)

        it("takes logs out of their frames", function()
            local path, frame = api .. "/containers/c1", "\1\0\0\0\0\0\0\3out\2\0\0\0\0\0\0\3err"
            server:answer(path .. "/json", 200, json(container "c1"))
            server:answer(path .. "/logs", 200, frame)
            assert.equal("outerr", engine:call("logs", "c1", 20).log)
            assert.is_truthy(server:log():find("logs?stdout=1&stderr=1&tail=20 ", 1, true))
            server:answer(path .. "/logs", 200, frame .. "\1\0\0\0\255\255\255\255cut")
            assert.equal("outerrcut", engine:call("logs", "c1", 20).log)
            server:answer(path .. "/json", 200, json(container("c1", { Config = { Tty = true } })))
            server:answer(path .. "/logs", 200, frame)
            assert.equal(frame, engine:call("logs", "c1", 20).log)
        end)

        it("samples by stats when the files are not there", function()
            server:answer(api .. "/containers/c1/json", 200, json(container "c1"))
            local stats = {
                read = "2026-01-31T12:00:00Z", cpu_stats = { cpu_usage = { total_usage = 2500000000 } },
                memory_stats = { usage = 1000, stats = { total_inactive_file = 300 } }, pids_stats = { current = 4 },
                networks = { eth0 = { rx_bytes = 10, tx_bytes = 20 }, eth1 = { rx_bytes = 1, tx_bytes = 2 } },
            }
            server:answer(api .. "/containers/c1/stats", 200, json(stats))
            local s = engine:call("sample", "c1").sample
            assert.same({ 2.5, 0.5, 700, 1048576, 11, 22, 4 }, {
                s.cpu_seconds, s.cpu_cores_allotted, tonumber(s.memory_bytes), tonumber(s.memory_limit_bytes),
                tonumber(s.network_rx_bytes), tonumber(s.network_tx_bytes), s.pids,
            })
            stats.read = "0001-01-01T00:00:00Z"
            server:answer(api .. "/containers/c1/stats", 200, json(stats))
            assert.equal(E.NOENT, engine:call("sample", "c1").code)
        end)

        it("ends calls under way when it is closed", function()
            local names = { "start", "remove", "inspect", "sample" }
            local records = {}
            server:raw(api .. "/containers/c1/json", "", loop.HANG)
            server:raw(api .. "/images/acme/x:1/json", "", loop.HANG)
            for i, name in ipairs(names) do
                records[i] = engine:start_call(name, "c1")
            end
            records[#records + 1] = engine:start_call "list"
            records[#records + 1] = engine:start_call("create", json(spec {}))
            records[#records + 1] = engine:start_call("stop", "c1", 1)
            records[#records + 1] = engine:start_call("logs", "c1", 1)
            run:run(20)
            records[#records + 1] = engine:start_call("inspect", "c1")
            loop.C.enginetest_close(engine.e)
            engine.e = nil
            for i, record in ipairs(records) do
                local r = engine:finish(record)
                assert.is_true(r.code == E.CANCELED or i < 8, r.text)
            end
        end)
    end)

    describe("create", function()
        local api, image

        before_each(function()
            api = script(VERSION)
            image = api .. "/images/acme/x:1/json"
            server:answer(image, 200, "{}")
            server:answer(api .. "/networks", 200, json { { Id = "n1", Name = "tidegate-shop", Labels = { ["tidegate.cluster"] = "shop" } } })
            server:answer(api .. "/containers/create", 201, '{"Id":"c1","Warnings":[]}')
        end)

        local function body()
            return server:log():match "POST /v1.41/containers/create%?name=[^\r]*\r\n.-\r\n\r\n(%b{})"
        end

        it("sends the whole specification", function()
            connect()
            engine:up()
            local r = engine:call("create", spec {
                environment = { LOG_LEVEL = "info", DATA_PROCESSING_MODE = "test" }, command = { "/svc", "-x" }, user = "1000",
                resources = { memory_bytes = 536870912, cpus = 0.5, pids = 100, files = 1024 },
                ports = { { container = 8080, host = 0, publish = false, host_ip = "", protocol = "tcp" },
                    { container = 9090, host = 19090, publish = false, host_ip = "127.0.0.1", protocol = "udp" },
                    { container = 7070, host = 0, publish = true, host_ip = "", protocol = "tcp" } },
                volumes = { { source = "cache", target = "/var/cache", read_only = true, bind = false },
                    { source = "/srv/data", target = "/data", read_only = false, bind = true } },
                restart_policy = { name = "on-failure", max_retries = 5 },
                health_check = { kind = "engine", command = { "CMD", "/svc", "probe" }, interval_ms = 5000, timeout_ms = 2000,
                    retries = 3, start_period_ms = 1000, explicit = true },
                stop_timeout_ms = 2500,
            })
            assert.same({ 0, "c1" }, { r.code, r.id })
            local sent = body()
            for _, part in ipairs {
                '"Image":"acme/x:1"', '"Cmd":["/svc","-x"]', '"User":"1000"', '"StopTimeout":3',
                '"Memory":536870912', '"MemorySwap":536870912', '"NanoCpus":500000000', '"PidsLimit":100',
                '"Ulimits":[{"Name":"nofile","Soft":1024,"Hard":1024}]', '"Init":true',
                '"Binds":["cache:/var/cache:ro"]', '"Mounts":[{"Type":"bind","Source":"/srv/data","Target":"/data","ReadOnly":false}]',
                '"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":5}',
                '"ExposedPorts":{"8080/tcp":{},"9090/udp":{},"7070/tcp":{}}',
                '"PortBindings":{"9090/udp":[{"HostIp":"127.0.0.1","HostPort":"19090"}],"7070/tcp":[{"HostIp":"","HostPort":""}]}',
                '"Healthcheck":{"Test":["CMD","/svc","probe"],"Interval":5000000000,"Timeout":2000000000,"StartPeriod":1000000000,"Retries":3}',
                '"NetworkMode":"n1"', '"NetworkingConfig":{"EndpointsConfig":{"n1":{"Aliases":["catalog"]}}}',
                '"tidegate.managed":"1"', '"tidegate.cluster":"shop"', '"tidegate.service":"catalog"', '"tidegate.serial":"7"',
                '"tidegate.slot":"3"', '"tidegate.generation":"2"', '"tidegate.spec":"abc"', '"tidegate.port":"8080"',
                '"LOG_LEVEL=info"', '"SERVICE_NAME=catalog"', '"CLUSTER_ID=shop"', '"DATA_PROCESSING_MODE=test"',
                '"INSTANCE=tg-shop-catalog-7"', '"PORT=8080"', '"DEPLOYMENT_TIME=20',
            } do
                assert.is_truthy(sent:find(part, 1, true), part .. "\nis not in\n" .. sent)
            end
            assert.is_nil(sent:find("MODE=production", 1, true))
        end)

        it("publishes the first port when that is how instances are reached", function()
            connect { publish = true }
            engine:up()
            engine:call("create", spec { ports = { { container = 80 }, { container = 81 } } })
            assert.is_truthy(body():find('"PortBindings":{"80/tcp":[{"HostIp":"127.0.0.1","HostPort":""}]}', 1, true))
            local c = container("c1", { NetworkSettings = { Ports = { ["9000/tcp"] = { { HostIp = "0.0.0.0", HostPort = "32768" } } } } })
            server:answer(api .. "/containers/c1/json", 200, json(c))
            assert.equal("127.0.0.1:32768", engine:look("c1").address)
        end)

        it("leaves an image's own health check alone, or switches it off", function()
            connect()
            engine:up()
            engine:call("create", spec { health_check = { kind = "http", explicit = false } })
            assert.is_nil(body():find("Healthcheck", 1, true))
            engine:call("create", spec { health_check = { kind = "none", explicit = true } })
            assert.is_truthy(server:log():find('"Healthcheck":{"Test":["NONE"]}', 1, true))
        end)

        it("makes the cluster's network once, for several at a time", function()
            server:answer(api .. "/networks", 200, json { { Id = "n1", Name = "tidegate-shop", Labels = { ["tidegate.cluster"] = "shop" } } })
            server:once(api .. "/networks", 200, "[]")
            server:answer(api .. "/networks/create", 201, '{"Id":"n1"}')
            connect()
            engine:up()
            local records = {}
            for i = 1, 4 do
                records[i] = engine:start_call("create", json(spec {}))
            end
            for _, record in ipairs(records) do
                assert.equal(0, engine:finish(record).code)
            end
            local _, times = server:log():gsub("POST /v1.41/networks/create", "")
            assert.equal(1, times)
            assert.is_truthy(server:log():find('"CheckDuplicate":true', 1, true))
        end)

        it("removes a second network of the same name, which no container could join, but never one in use", function()
            local function ours(...)
                local list = {}
                for i, id in ipairs { ... } do
                    list[i] = { Id = id, Name = "tidegate-shop", Labels = { ["tidegate.cluster"] = "shop" } }
                end
                return json(list)
            end
            server:answer(api .. "/networks", 200, ours "n2")
            server:once(api .. "/networks", 200, ours("n3", "n2", "n1"))
            server:once(api .. "/networks", 200, ours("n3", "n2", "n1"))
            server:once(api .. "/networks", 200, ours("n3", "n2"))
            server:answer(api .. "/networks/n3", 204, "")
            server:answer(api .. "/networks/n2", 403, '{"message":"error while removing network: has active endpoints"}')
            server:answer(api .. "/networks/n1", 204, "")
            connect()
            engine:up()
            local r = engine:call("create", spec {})
            assert.equal(0, r.code, r.text)
            assert.is_truthy(body():find('"NetworkMode":"n2"', 1, true))
            local deleted = {}
            for id in server:log():gmatch "DELETE /v1.41/networks/(%w+)" do
                deleted[#deleted + 1] = id
            end
            assert.same({ "n2", "n1", "n3" }, deleted)
        end)

        it("refuses a network that is missing or not ours", function()
            server:answer(api .. "/networks", 200, json { { Id = "n2", Name = "tidegate-shop", Labels = {} } })
            connect()
            engine:up()
            local r = engine:call("create", spec {})
            assert.equal(E.INVAL, r.code)
            assert.is_truthy(r.text:find("network taken", 1, true))
            engine:close()
            connect { network = "backend" }
            engine:up()
            r = engine:call("create", spec {})
            assert.equal(E.INVAL, r.code)
            assert.is_truthy(r.text:find('network missing: docker.network "backend"', 1, true))
        end)

        it("tells a name of ours from another's", function()
            for status, message in pairs {
                [409] = 'Conflict. The container name "/tg" is already in use by container "c9".',
                [500] = "creating container storage: the container name is already in use by c9: that name is already in use",
            } do
                server:answer(api .. "/containers/create", status, json { message = message })
                connect()
                engine:up()
                local path = api .. "/containers/tg-shop-catalog-7/json"
                server:answer(path, 200, json(container "c9"))
                assert.equal(E.EXIST, engine:call("create", spec {}).code)
                server:answer(path, 200, json(container("c9", { Config = { Labels = {} } })))
                local r = engine:call("create", spec {})
                assert.equal(E.ACCES, r.code)
                assert.is_truthy(r.text:find("not of this cluster", 1, true))
                server:answer(path, 404, "{}")
                assert.equal(E.AGAIN, engine:call("create", spec {}).code)
                engine:close()
            end
            engine = nil
        end)

        it("needs an image and absolute places for volumes", function()
            connect()
            engine:up()
            local s = spec {}
            s.config.image = ""
            assert.equal(E.INVAL, engine:call("create", s).code)
            local r = engine:call("create", spec { volumes = { { source = "a", target = "b" } } })
            assert.equal(E.INVAL, r.code)
            assert.is_truthy(r.text:find('volume "a"', 1, true))
        end)

        describe("pulls", function()
            local pull

            before_each(function()
                pull = api .. "/images/create"
                connect()
                engine:up()
                server:answer(image, 404, '{"message":"No such image: acme/x:1"}')
            end)

            it("a missing image", function()
                server:raw(pull, STREAM .. chunk '{"status":"Pulling from acme/x","id":"1"}\r\n{"status":"Down' ..
                    chunk 'loading","progressDetail":{"current":1,"total":2},"id":"a"}\r\n{"status":"Done"}' .. "0\r\n\r\n")
                server:once(image, 404, "{}")
                server:answer(image, 200, "{}")
                local r = engine:call("create", spec {})
                assert.same({ 0, "c1" }, { r.code, r.id })
                assert.is_truthy(server:log():find("POST /v1.41/images/create?fromImage=acme/x:1 ", 1, true))
                assert.is_truthy(server:log():find("X-Registry-Auth: e30=\r\n", 1, true))
            end)

            it("one tag only", function()
                for name, asked in pairs {
                    ["host:5000/x"] = "host:5000/x&tag=latest", ["host:5000/x:2"] = "host:5000/x:2",
                    ["x@sha256:ab"] = "x%40sha256:ab",
                } do
                    engine:call("create", spec { image = name })
                    assert.is_truthy(server:log():find("fromImage=" .. asked .. " ", 1, true), name)
                end
            end)

            for _, case in ipairs {
                { "a 200 that ends with a failure", 200,
                    '{"status":"Pulling"}\r\n{"errorDetail":{"message":"unexpected EOF"},"error":"unexpected EOF"}',
                    E.AGAIN, "unexpected EOF" },
                { "a failure without a line break", 200, '{"errorDetail":{"message":"no space left on device"}}', -28, "disk full" },
                { "an empty 200", 200, "", E.NOENT, "though its pull went well" },
                { "garbage", 200, ("\1\2\200"):rep(1000), E.NOENT, "though its pull went well" },
                { "an unknown tag", 404, '{"message":"manifest for acme/x:1 not found: manifest unknown"}', E.NOENT, "image not found" },
                { "a registry that refuses", 500, '{"message":"Head x: unauthorized: authentication required"}', E.ACCES, "registry refused" },
                { "no JSON", 404, "Not Found", E.NOENT, "Not Found" },
            } do
                it("and tells " .. case[1], function()
                    server:answer(pull, case[2], case[3])
                    local r = engine:call("create", spec {})
                    assert.equal(case[4], r.code, r.text)
                    assert.is_truthy(r.text:find(case[5], 1, true), r.text)
                    assert.is_nil(server:log():find("containers/create", 1, true))
                end)
            end

            it("never when told so, always when told so", function()
                local r = engine:call("create", spec { pull = "never" })
                assert.equal(E.NOENT, r.code)
                assert.is_nil(server:log():find("images/create", 1, true))
                server:answer(image, 200, "{}")
                server:answer(pull, 200, '{"status":"Status: Image is up to date"}\n')
                assert.equal(0, engine:call("create", spec { pull = "always" }).code)
                assert.is_truthy(server:log():find("images/create", 1, true))
            end)
        end)
    end)

    describe("events", function()
        it("are told by kind", function()
            local lines = event("start", "c1") .. event("die", "c1", { exitCode = "7" }) .. event("oom", "c1") ..
                event("health_status: unhealthy", "c1") .. event("pause", "c1") .. event("unpause", "c1") .. event("destroy", "c1")
            -- cut at odd places
            script(VERSION, chunk(lines:sub(1, 100)) .. chunk(lines:sub(101, 333)) .. chunk(lines:sub(334)))
            connect()
            engine:up()
            assert.is_truthy(engine:event "removed")
            local told = {}
            for i, e in ipairs(engine:events()) do
                told[i] = { e.kind, e.id, e.name, e.service, e.exit_code, e.health }
            end
            assert.same({
                { "started", "c1", "tg-c1", "catalog", 0, "none" }, { "died", "c1", "tg-c1", "catalog", 7, "none" },
                { "oom", "c1", "tg-c1", "catalog", 0, "none" }, { "health", "c1", "tg-c1", "catalog", 0, "unhealthy" },
                { "paused", "c1", "tg-c1", "catalog", 0, "none" }, { "unpaused", "c1", "tg-c1", "catalog", 0, "none" },
                { "removed", "c1", "tg-c1", "catalog", 0, "none" },
            }, told)
            local filters = server:log():match "/v1.41/events%?filters=(%S+)"
            for _, part in ipairs { "%22container%22", "tidegate.cluster%3Dshop", "%22die%22", "%22health_status%22", "%22destroy%22" } do
                assert.is_truthy(filters:find(part, 1, true), part)
            end
        end)

        it("that make no sense are left out", function()
            local lines = "\n\r\nnonsense\n{}\n[]\n" .. ("x"):rep(300 * 1024) .. "\n" .. ("["):rep(70000) .. "\n" ..
                event("start", "other", { ["tidegate.cluster"] = "else" }) .. event("exec_die", "c1") .. event("start", ("i"):rep(200)) ..
                '{"Type":"container","Action":"start","Actor":{"ID":7,"Attributes":[]}}\n' .. event("start", "last")
            script(VERSION, chunk(lines))
            connect()
            engine:up()
            assert.is_truthy(engine:event("started", "last"))
            assert.equal(1, engine.news.events)
        end)

        it("are drained in a flood while calls go on", function()
            local parts = {}
            for i = 1, 10000 do
                parts[i] = event(i % 2 == 0 and "die" or "start", "c" .. i)
            end
            local api = script(VERSION, chunk(table.concat(parts)))
            server:answer(api .. "/containers/c1/json", 200, json(container "c1"))
            connect()
            engine:up()
            assert.is_truthy(engine:look "c1")
            assert.is_truthy(engine:event("died", "c10000"))
            assert.equal(10000, engine.news.events)
        end)
    end)

    it("takes Podman for what it is, and finds by listing what its events miss", function()
        local version = { Version = "4.3.1", ApiVersion = "1.41", MinAPIVersion = "1.24", Components = { { Name = "Podman Engine" } } }
        local odd = event("died", "c2", { containerExitCode = "3" }) ..
            json { Type = "container", Action = "health_status", HealthStatus = "healthy",
                Actor = { ID = "c2", Attributes = { name = "tg-c2", ["tidegate.cluster"] = "shop" } } } .. "\n"
        local api = script(version, chunk(odd))
        server:answer(api .. "/containers/json", 200, json { { Id = "c1", Names = { "/tg-c1" }, State = "running", Labels = {} } })
        server:answer(api .. "/containers/c1/json", 200, json(container "c1"))
        connect()
        assert.equal("podman 4.3.1, API 1.41", engine:up())
        assert.equal(3, engine:event("died", "c2").exit_code)
        assert.equal("healthy", engine:event("health", "c2").health)
        assert.is_nil(server:log():match("/events%?filters=(%S+)"):find("event", 1, true))
        assert.is_true(run:wait(function()
            return server:log():find("/containers/c1/json", 1, true) ~= nil
        end))
        server:answer(api .. "/containers/c1/json", 200, json(container("c1", { State = { Status = "exited", ExitCode = 9 } })))
        assert.equal(9, engine:event("died", "c1", 8000).exit_code)
        server:answer(api .. "/containers/json", 200, "[]")
        assert.is_truthy(engine:event("removed", "c1", 8000))
    end)
end)
