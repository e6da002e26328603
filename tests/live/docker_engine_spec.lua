-- The Docker engine against a real one: the common suite, and what only a real
-- engine can show: its crash, hang and restart, pulls, limits and refusals.
local bed_of = require "docker_bed"
local room = require "engine_room"
local E = room.E

local suite = setfenv(assert(loadfile "tests/unit/engine/suite.lua"), getfenv())()
local possible, missing = bed_of.possible()

local function config(o)
    o = o or {}
    local command = { "/service" }
    for _, arg in ipairs(o.args or {}) do
        command[#command + 1] = arg
    end
    return {
        name = "web", source = "image", image = o.image or "quick:1", pull = o.pull, command = o.command or command,
        environment = o.environment or {}, ports = { { container = 8080, host = o.port or 0 } },
        resources = { memory_bytes = o.memory_bytes or 256 * 1024 * 1024, cpus = o.cpus or 0 },
        restart_policy = o.restart_policy or { name = "no", max_retries = 0 }, volumes = o.volumes,
        health_check = o.health_check or { kind = "http", explicit = false }, stop_timeout_ms = 5000,
    }
end

local serial = 0
local function spec(o)
    serial = serial + 1
    return {
        name = "tg-live-web-" .. serial, cluster = "live", service = "web", serial = serial, slot = 1, generation = 1,
        hash = "5pec", config = config(o),
    }
end

if not possible then
    describe("engine/docker on a real engine", function()
        pending("cannot run here: " .. missing, function() end)
    end)
    return
end

describe("engine/docker on a real engine", function()
    local bed
    local cluster = { id = "live", engine = "docker" }

    setup(function()
        bed = bed_of.start()
        cluster.docker = { host = "unix://" .. bed.socket }
    end)

    teardown(function()
        bed:stop()
    end)

    suite {
        name = "docker",
        cluster = cluster,
        config = config,
        missing = function()
            return config { image = "missing:1", pull = "never" }
        end,
        http = function(_, address, path)
            return bed:get(address, path)
        end,
        memory_limits = true,
    }

    local function open(docker)
        docker = docker or {}
        docker.host = cluster.docker.host
        local engine = assert(room.new { id = "live", engine = "docker", docker = docker }):open()
        engine:up()
        return engine
    end

    describe("refusals", function()
        local engine

        before_each(function()
            engine = open()
        end)

        after_each(function()
            for _, i in ipairs(engine:call("list").instances) do
                engine:call("remove", i.id)
            end
            assert.equal(0, engine:close())
        end)

        local function start(o)
            local r = engine:call("create", spec(o))
            if r.code ~= 0 then
                return r
            end
            local id = r.id
            r = engine:call("start", id)
            r.id = id
            return r
        end

        local function refused(o, code, text)
            local r = start(o)
            assert.equal(code, r.code, r.text)
            assert.is_truthy(r.text:find(text, 1, true), r.text)
            return r
        end

        it("a port that is taken", function()
            assert.equal(0, start({ port = 23456 }).code)
            refused({ port = 23456 }, E.ADDRINUSE, "port taken")
        end)

        it("a directory that is missing, which is not made", function()
            local path = bed.dir .. "/nowhere"
            refused({ volumes = { { source = path, target = "/x", bind = true } } }, E.INVAL, "volume missing")
            assert.is_nil(io.open(path))
        end)

        it("nothing about volumes that exist or are named", function()
            local r = start { volumes = { { source = bed.dir, target = "/bed", bind = true, read_only = true },
                { source = "cache", target = "/cache" } } }
            assert.equal(0, r.code, r.text)
        end)

        it("a command that the image does not have", function()
            local r = start { command = { "/no/such/program" } }
            assert.equal(0, r.code, r.text) -- the small init starts, and fails
            assert.equal(127, engine:event("died", r.id).exit_code)
            assert.is_truthy(engine:call("logs", r.id, 10).log:find("/no/such/program", 1, true))
        end)

        it("an image that does not exist, by reason", function()
            refused({ image = "Bad Name" }, E.INVAL, "invalid reference format")
            refused({ image = "quick:2", pull = "never" }, E.NOENT, "image not found")
        end)

        it("a container of others under our name, which is left alone", function()
            local s = spec()
            assert(bed:api("POST", "/containers/create?name=" .. s.name, "-H", "Content-Type: application/json", "-d",
                '{"Image":"quick:1"}'))
            local r = engine:call("create", s)
            assert.equal(E.ACCES, r.code, r.text)
            assert.is_truthy(bed:api("DELETE", "/containers/" .. s.name))
        end)

        it("a network that does not exist", function()
            assert.equal(0, engine:close())
            engine = open { network = "backend" }
            refused({}, E.INVAL, "network missing")
            assert(bed:api("POST", "/networks/create", "-H", "Content-Type: application/json", "-d", '{"Name":"backend"}'))
            local r = start()
            assert.equal(0, r.code, r.text)
            assert.is_truthy(engine:wait_for(r.id, function(i)
                return i.address ~= "" and bed:get(i.address, "/health")
            end))
            engine:call("remove", r.id)
            assert(bed:api("DELETE", "/networks/backend"))
        end)

        it("makes its network again when somebody removed it", function()
            local r = start()
            assert.equal(0, r.code, r.text)
            engine:call("remove", r.id)
            assert(bed:api("DELETE", "/networks/tidegate-live"))
            start()
            r = start()
            assert.equal(0, r.code, r.text)
        end)

        it("goes on when there came to be a second network of its name", function()
            local r = start()
            assert.equal(0, r.code, r.text)
            assert(bed:api("POST", "/networks/create", "-H", "Content-Type: application/json", "-d",
                '{"Name":"tidegate-live","Labels":{"tidegate.managed":"1","tidegate.cluster":"live"}}'))
            local again = start()
            assert.equal(E.INVAL, again.code)
            assert.is_truthy(again.text:find("network ambiguous", 1, true))
            again = start()
            assert.equal(0, again.code, again.text)
            assert.equal("running", engine:look(r.id).state)
        end)

        it("but tells that memory ran out", function()
            local r = start { memory_bytes = 16 * 1024 * 1024 }
            local i = engine:wait_for(r.id, function(it)
                return it.address ~= "" and bed:get(it.address, "/health")
            end)
            bed:get(i.address, "/leak/64")
            assert.equal(137, engine:event("died", r.id).exit_code)
            assert.is_truthy(engine:event("oom", r.id))
            i = engine:look(r.id)
            assert.same({ "exited", true, 137 }, { i.state, i.oom_killed, i.exit_code })
        end)

        it("is reached by a published port when told so", function()
            assert.equal(0, engine:close())
            engine = open { publish = true }
            local r = start()
            local i = engine:wait_for(r.id, function(it)
                return it.address ~= "" and bed:get(it.address, "/health")
            end)
            assert.is_truthy(i.address:find "^127%.0%.0%.1:%d+$", i.address)
        end)

        it("reports the engine's own health checks", function()
            local check = {
                kind = "engine", command = { "CMD", "/service", "probe" }, interval_ms = 500, timeout_ms = 2000, retries = 1,
                start_period_ms = 0, explicit = true,
            }
            local r = start { health_check = check }
            local i = engine:wait_for(r.id, function(it)
                return it.health == "healthy"
            end)
            assert.is_truthy(i, "not healthy")
            assert.is_truthy(bed:get(i.address, "/sick"))
            assert.is_truthy(engine.run:wait(function()
                local told = engine:event("health", r.id)
                return told and told.health == "unhealthy"
            end))
            assert.equal("unhealthy", engine:look(r.id).health)
        end)

        it("samples by the engine as by files", function()
            local r = start { cpus = 0.5 }
            engine:wait_for(r.id, function(i)
                return i.address ~= ""
            end)
            local direct = engine:call("sample", r.id).sample
            assert.equal(0.5, direct.cpu_cores_allotted)
            local stats = bed:api("GET", "/containers/" .. r.id .. "/stats?stream=0&one-shot=1")
            local total = tonumber(stats:match '"total_usage":(%d+)') / 1e9
            assert.is_true(math.abs(total - direct.cpu_seconds) < 0.2, total .. " " .. direct.cpu_seconds)
            assert.is_true(tonumber(direct.pids) >= 1)
        end)
    end)

    describe("pulls", function()
        local engine
        local IMAGE = "127.0.0.1:5000/quick:1"

        before_each(function()
            bed:registry "start"
            bed:registry("push", "quick:1")
            engine = open()
        end)

        after_each(function()
            for _, i in ipairs(engine:call("list").instances) do
                engine:call("remove", i.id)
            end
            assert.equal(0, engine:close())
            bed:api("DELETE", "/images/" .. IMAGE)
            bed:registry "stop"
        end)

        it("what is missing", function()
            local r = engine:call("create", spec { image = IMAGE })
            assert.equal(0, r.code, r.text)
            assert.equal(0, engine:call("start", r.id).code)
        end)

        it("an unknown tag or repository in vain", function()
            for _, image in ipairs { "127.0.0.1:5000/quick:2", "127.0.0.1:5000/nothing:1" } do
                local r = engine:call("create", spec { image = image })
                assert.equal(E.NOENT, r.code, r.text)
                assert.is_truthy(r.text:find("image not found", 1, true), r.text)
                assert.is_truthy(r.text:find(image, 1, true), r.text)
            end
        end)

        it("nothing from a registry that wants a password", function()
            bed:registry "kill"
            bed:registry("start", "--auth")
            local r = engine:call("create", spec { image = IMAGE })
            assert.equal(E.ACCES, r.code, r.text)
            assert.is_truthy(r.text:find("registry refused", 1, true), r.text)
        end)

        it("nothing from a registry that is not there", function()
            bed:registry "kill"
            local r = engine:call("create", spec { image = IMAGE })
            assert.equal(E.AGAIN, r.code, r.text)
            assert.is_truthy(r.text:find("connection refused", 1, true), r.text)
        end)
    end)

    it("tells a hang, and calls end in time", function()
        local engine = open()
        local id = engine:call("create", spec()).id
        assert.equal(0, engine:call("start", id).code)
        assert.equal(0, engine:call("sample", id).code)
        bed:sh "pause"
        local under_way = engine:start_call("inspect", id)
        assert.is_truthy(engine:down(1, 10000):find("hangs", 1, true))
        assert.equal(E.CONNREFUSED, engine:call("inspect", id).code)
        assert.equal(E.TIMEDOUT, engine:finish(under_way).code)
        assert.equal(0, engine:call("sample", id).code, "files are read without the engine")
        bed:sh "resume"
        engine:up(2)
        assert.equal("running", engine:look(id).state)
        assert.equal(0, engine:call("remove", id).code)
        assert.equal(0, engine:close())
    end)
end)

-- Certificates of a new authority, in the directory where it runs: ca, server, client.
local CERTIFICATES = [[
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=ca -days 2
printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth' >extensions
for one in server client; do
    openssl req -newkey rsa:2048 -nodes -keyout $one.key -out $one.csr -subj /CN=$one
    openssl x509 -req -in $one.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out $one.pem -days 2 -extfile extensions
done]]

-- Runs inside the engine's network: prints what each setting leads to.
local CONNECT = [[
package.path = "./tests/support/?.lua;" .. package.path
local room, D = require "engine_room", ...
for _, tls in ipairs { { ca = D .. "/ca.pem", certificate = D .. "/client.pem", key = D .. "/client.key" },
    { ca = D .. "/ca.pem" }, { ca = D .. "/client.pem" }, {} } do
    local e = assert(room.new { id = "live", engine = "docker", docker = { host = "tcp://127.0.0.1:2376", tls = tls } }):open()
    e.run:wait(function() return e.news.ups + e.news.downs > 0 end)
    print(e.news.ups, e.news.ups > 0 and e:call("list").code, room.text(e.news.why), e:close())
end]]

describe("engine/docker by TLS", function()
    it("needs the right authority and a certificate of its own", function()
        if os.execute "command -v openssl >/dev/null" ~= 0 then
            pending "openssl is missing"
            return
        end
        local certificates = os.tmpname()
        os.remove(certificates)
        assert.equal(0, os.execute(("mkdir %s && cd %s && { %s\n} >/dev/null 2>&1"):format(certificates, certificates, CERTIFICATES)))
        local bed = bed_of.start({ "--", "-H", "tcp://127.0.0.1:2376", "--tlsverify", "--tlscacert", certificates .. "/ca.pem",
            "--tlscert", certificates .. "/server.pem", "--tlskey", certificates .. "/server.key" })
        local script = io.open(certificates .. "/connect.lua", "w")
        script:write(CONNECT)
        script:close()
        local out = bed:sh("exec", "luajit", certificates .. "/connect.lua", certificates)
        bed:stop()
        os.execute("rm -r " .. certificates)
        local lines = {}
        for line in out:gmatch "[^\n]+" do
            lines[#lines + 1] = line
        end
        assert.equal("1\t0\t\t0", lines[1], out)
        assert.is_truthy(lines[2]:find "^0\tfalse\tping of https:.*\t0$", out)
        assert.is_truthy(lines[3]:find("no access to the engine: SSL certificate problem", 1, true), out)
        assert.is_truthy(lines[4]:find("HTTP request to an HTTPS server", 1, true), out)
    end)
end)

for _, live_restore in ipairs { true, false } do
    describe("engine/docker " .. (live_restore and "with" or "without") .. " live-restore", function()
        it("survives the crash and restart of the engine", function()
            local bed = bed_of.start(live_restore and { "--live-restore" } or {})
            local engine = assert(room.new { id = "live", engine = "docker", docker = { host = "unix://" .. bed.socket } }):open()
            engine:up()
            local ids = {}
            for n = 1, 2 do
                ids[n] = engine:call("create", spec { restart_policy = { name = n == 1 and "always" or "no" } }).id
                assert.equal(0, engine:call("start", ids[n]).code)
            end
            local before = engine:wait_for(ids[2], function(i)
                return i.address ~= "" and bed:get(i.address, "/health")
            end)
            bed:sh "kill"
            engine:down()
            assert.equal(E.CONNREFUSED, engine:call("list").code)
            assert.is_truthy(bed:get(before.address, "/health"))
            bed:sh "restart"
            engine:up(2)
            assert.equal(1, engine.news.downs)
            local first = engine:wait_for(ids[1], function(i)
                return i.state == "running"
            end)
            assert.is_truthy(first, "a restart policy of always does not survive")
            local second = engine:look(ids[2])
            assert.equal(live_restore and "running" or "exited", second.state)
            assert.equal(live_restore and before.address or "", second.address)
            assert.equal(2, #engine:call("list").instances)
            for _, id in ipairs(ids) do
                assert.equal(0, engine:call("remove", id).code)
            end
            assert.equal(0, engine:close())
            bed:stop()
        end)
    end)
end
