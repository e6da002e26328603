-- Labelled containers on an engine that does what a spec says: gaps, contradictions, restarts. Real containers
-- are in tests/live/labels_spec.lua.
local certificates = require "certificates"
local json = require "dkjson"
local tidegate = require "tidegate"

local Engine = {}
Engine.__index = Engine

-- Its containers are quickstart services on the host's network.
local function engine(t)
    local self = setmetatable({ t = t, port = t:port "ENGINE", containers = {}, ports = {} }, Engine)
    self:start()
    return self
end

function Engine:start()
    self.process = self.t:run_beside("/usr/bin/env", "luajit", "tests/support/fake_docker.lua", self.port)
    self.t:wait("the engine to answer", function()
        local answer = self.t:get("/_ping", { port = self.port })
        return answer and answer.status == 200
    end)
    self:tell()
end

function Engine:kill()
    self.t:kill(self.process.pid, 9)
    self.t:exit_code(self.process)
end

function Engine:ask(what, body)
    return self.t:get("/fake/" .. what, { port = self.port, method = "POST", body = body or "" })
end

-- What its list says from now on.
function Engine:tell()
    self:ask("containers", json.encode(setmetatable(self.containers, { __jsontype = "array" })))
end

function Engine:event(action, name, attributes)
    self:ask("event", json.encode { Type = "container", Action = action,
        Actor = { ID = self:find(name).Id, Attributes = attributes or { name = name } } })
end

function Engine:find(name)
    for i, c in ipairs(self.containers) do
        if c.Names[1] == "/" .. name then
            return c, i
        end
    end
end

-- `docker run`; the service behind it runs beside, at a port of its own. Quiet: without an event.
function Engine:run(name, labels, o)
    o = o or {}
    if not self.ports[name] then
        self.ports[name] = self.t:port("SERVICE" .. name:upper():gsub("%W", ""))
        self.t:run_beside(tidegate.service, "--name", name, "--host", "127.0.0.1", "--port", self.ports[name])
    end
    local all = { ["tidegate.port"] = tostring(self.ports[name]), ["tidegate.enable"] = "true" }
    for key, text in pairs(labels) do
        all["tidegate." .. key] = text
    end
    self.serial = (self.serial or 0) + 1
    self.containers[#self.containers + 1] = { Id = ("%012d"):format(self.serial), Names = { "/" .. name },
        Image = "x", Created = o.created or 1000 + self.serial, State = o.state or "running", Status = o.status or "Up",
        Labels = all, HostConfig = { NetworkMode = "host" }, NetworkSettings = { Networks = { host = { IPAddress = "" } } } }
    self:tell()
    if not o.quiet then
        self:event("start", name)
    end
end

-- Changes what the list says of a container.
function Engine:change(name, changes)
    local c = self:find(name)
    for key, value in pairs(changes) do
        c[key] = value
    end
    self:tell()
end

function Engine:remove(name)
    local _, i = self:find(name)
    self:event("die", name)
    local gone = table.remove(self.containers, i)
    self:tell()
    self:ask("event", json.encode { Type = "container", Action = "destroy", Actor = { ID = gone.Id } })
end

local function start(t, services)
    t:write("tidegate.lua", [[
cluster { id = "@ID@", engine = "docker", docker = { host = "tcp://127.0.0.1:@ENGINE@" }, workers = 2, admin = false,
  health_check_interval = "100ms", labels = { listen = "127.0.0.1:@PORT@" } }
]] .. (services or ""), { ENGINE = t:port "ENGINE" })
    t:start { cluster_only = true }
end

local function status_of(t, host)
    local answer = t:get("/", { headers = { Host = host } })
    return answer and answer.status, answer and answer.headers["x-instance"]
end

local function wait_status(t, status, host)
    t:wait(("%s to answer %d"):format(host, status), function()
        return status_of(t, host) == status
    end)
end

local function told(t, name)
    local result = t:cli("labels", name, "--json")
    local c, verdicts = json.decode(result.out).containers[1] or { labels = {} }, {} -- not known yet
    for _, v in ipairs(c.labels) do
        verdicts[v.label:gsub("^tidegate%.", "")] = v.verdict .. ": " .. v.text
    end
    return c, verdicts, result.code
end

-- The service, or nil as long as there is none.
local function of(t, name)
    local ok, service = pcall(t.of, t, name)
    return ok and service or nil
end

-- Whether a container answers requests for a host within some.
local function answers(t, host, name)
    for _ = 1, 10 do
        local status, by = status_of(t, host)
        if status == 200 and by == name then
            return true
        end
    end
    return false
end

describe("labelled containers", function()
    it("get no requests where no route leads to their service, and are told so", tidegate.test(function(t)
        local e = engine(t)
        start(t)
        e:run("a", { service = "web", ["route.path"] = "/" })
        e:run("b", { service = "lost", [""] = "x" })
        t:wait("both to be up", function()
            return of(t, "web") and of(t, "web").up == 1 and of(t, "lost") and of(t, "lost").up == 1
        end)
        assert.is_true(told(t, "a").serves)
        local c = told(t, "b")
        assert.same({ false, "up", "no route leads to its service: tidegate.route.host makes one" },
            { c.serves, c.backend_state, c.why })
    end))

    it("are followed through restarts of the engine, one upon the other", tidegate.test(function(t)
        local e = engine(t)
        start(t)
        e:run("a", { service = "web", ["route.path"] = "/" })
        e:run("b", { service = "web", ["route.path"] = "/" })
        t:wait("both to serve", function()
            return of(t, "web") and of(t, "web").up == 2
        end)
        local load = t:load { path = "/", rate = 200, connections = 8 }
        for round = 1, 8 do
            e:kill()
            t:wait("the engine to be down", function()
                return t:status().engine.state == "down"
            end)
            -- Who is there when it returns is somebody else each time, and no event tells of it.
            if round % 2 == 1 then
                table.remove(e.containers, (select(2, e:find "b")))
            else
                e:run("b", { service = "web", ["route.path"] = "/" }, { quiet = true })
            end
            e:start()
            local since = tidegate.now()
            t:wait("what changed to be seen", function()
                return t:of("web").up == (round % 2 == 1 and 1 or 2)
            end)
            assert.is_true(tidegate.now() - since < 5)
        end
        load:run(50)
        load:stop_clean()
    end))

    it("are listed anew when their stream alone breaks", tidegate.test(function(t)
        local e = engine(t)
        start(t)
        e:run("a", { ["route.host"] = "a.example" })
        wait_status(t, 200, "a.example")
        e:ask "cut"
        e:run("b", { ["route.host"] = "b.example" }, { quiet = true })
        wait_status(t, 200, "b.example")
        assert.equal(200, (status_of(t, "a.example")))
    end))

    it("get no new requests from the word that they are to end", tidegate.test(function(t)
        local e = engine(t)
        start(t)
        for _, name in ipairs { "a", "b" } do
            e:run(name, { service = "web", ["route.host"] = "web.example", ["route.balance"] = "round_robin" })
        end
        t:wait("both to answer", function()
            return answers(t, "web.example", "a") and answers(t, "web.example", "b")
        end)
        local slow = t:run_beside("/usr/bin/env", "curl", "-s", "-m", "20", "-H", "Host: web.example",
            ("http://127.0.0.1:%d/work?latency_ms=1500"):format(t:port()))
        local other = t:run_beside("/usr/bin/env", "curl", "-s", "-m", "20", "-H", "Host: web.example",
            ("http://127.0.0.1:%d/work?latency_ms=1500"):format(t:port()))
        t:wait("both to have one", function()
            return t:of("web").traffic.in_flight == 2
        end)
        e:event("kill", "a", { signal = "15" })
        t:wait("it to be draining", function()
            local i = t:instances("web")["web@a"]
            return i and i.state == "draining"
        end)
        assert.is_false(answers(t, "web.example", "a"))
        assert.truthy(told(t, "a").why:find("is ending", 1, true))
        assert.same({ 0, 0 }, { t:exit_code(slow), t:exit_code(other) })
        -- Another signal asks for something else.
        e:event("kill", "b", { signal = "1" })
        assert.is_true(answers(t, "web.example", "b"))
        -- It ends, and is started again.
        e:change("a", { State = "exited", Status = "Exited (0)" })
        e:event("die", "a")
        t:wait("it to be gone", function()
            return t:instances("web")["web@a"] == nil
        end)
        e:change("a", { State = "running", Status = "Up" })
        e:event("start", "a")
        t:wait("it to answer again", function()
            return answers(t, "web.example", "a")
        end)
    end))

    it("contradict each other until the first one goes", tidegate.test(function(t)
        local e = engine(t)
        start(t)
        -- In turn: by latency one of them might get all.
        e:run("old", { service = "web", balance = "round_robin", ["route.host"] = "old.example" })
        wait_status(t, 200, "old.example")
        e:run("new", { service = "web", balance = "round_robin", ["route.host"] = "new.example" })
        t:wait("the contradiction to be told", function()
            local _, verdicts, code = told(t, "new")
            return code == 1 and (verdicts["route.host"] or ""):find("contradicts container old", 1, true)
        end)
        assert.equal(404, (status_of(t, "new.example")))
        t:wait("both to serve", function()
            return answers(t, "old.example", "old") and answers(t, "old.example", "new")
        end)
        e:remove "old"
        wait_status(t, 200, "new.example")
        assert.equal(404, (status_of(t, "old.example")))
        assert.equal(0, (select(3, told(t, "new"))))
    end))

    it("with health of their own go in and out by the engine's word", tidegate.test(function(t)
        local e = engine(t)
        start(t)
        e:run("a", { ["route.host"] = "a.example", ["route.queue.timeout"] = "10ms" },
            { status = "Up 1 second (health: starting)" })
        wait_status(t, 503, "a.example")
        e:change("a", { Status = "Up 2 seconds (healthy)" })
        e:event("health_status: healthy", "a")
        wait_status(t, 200, "a.example")
        e:change("a", { Status = "Up 3 seconds (unhealthy)" })
        e:event("health_status: unhealthy", "a")
        wait_status(t, 503, "a.example")
        e:change("a", { Status = "Up 3 seconds (Paused)", State = "paused" })
        e:event("pause", "a")
        t:wait("it to be told", function()
            return told(t, "a").why == "is paused"
        end)
    end))

    it("are turned on and off by a reload", tidegate.test(function(t)
        local e = engine(t)
        e:run("a", { ["route.host"] = "a.example" })
        start(t)
        wait_status(t, 200, "a.example")
        local text = tidegate.read_file(t.dir .. "/tidegate.lua")
        t:write("tidegate.lua", (text:gsub('labels = (%b{})', "labels = false")))
        assert.equal(0, t:cli("reload").code)
        t:wait("the service to be gone", function()
            return not of(t, "a")
        end)
        assert.truthy(t:cli("labels").out:find("labels are off", 1, true))
        local lists = json.decode(e:ask("counts").body).lists
        t:write("tidegate.lua", text)
        assert.equal(0, t:cli("reload").code)
        wait_status(t, 200, "a.example")
        assert.is_true(json.decode(e:ask("counts").body).lists > lists)
    end))

    it("that come and go cost the engine one list, and no reload", tidegate.test(function(t)
        local e = engine(t)
        start(t)
        e:run("a", { service = "web", ["route.path"] = "/", port = "1" })
        t:wait("the service to be there", function()
            return of(t, "web")
        end)
        local generation, lists = t:status().generation, json.decode(e:ask("counts").body).lists
        for _ = 1, 20 do
            e:event("start", "a")
        end
        t:wait("a list", function()
            return json.decode(e:ask("counts").body).lists > lists
        end)
        assert.is_true(json.decode(e:ask("counts").body).lists - lists < 10)
        assert.equal(generation, t:status().generation)
    end))

    it("come also while a file of a certificate is half written: that is nobody's reload", tidegate.test(function(t)
        local e = engine(t)
        local s = certificates.new(t.dir .. "/tls")
        local shop = s:make { file = "shop", names = { "shop.example" } }
        start(t, [[service "shop" { backends = { "127.0.0.1:9" }, route = { listen = "https://127.0.0.1:@PORT2@",
            tls = { certificate = "tls/shop.pem", key = "tls/shop.key" } } }]])
        certificates.write(shop.key, "half")
        t:wait_log "the certificate that was read before goes on"
        e:run("a", { ["route.host"] = "a.example" })
        wait_status(t, 200, "a.example")
        assert.equal(shop.serial, certificates.shown("127.0.0.1:" .. t:port "PORT2", "shop.example").serial)
        assert.equal(1, t:cli("reload").code) -- an operator's is refused
    end))

    it("cannot take what another has: one address, one route", tidegate.test(function(t)
        local e = engine(t)
        start(t)
        e:run("a", { ["route.host"] = "a.example" })
        wait_status(t, 200, "a.example")
        e.ports.b = e.ports.a
        e:run("b", { service = "a", ["route.host"] = "a.example" })
        t:wait("it to be told", function()
            return (told(t, "b").why or ""):find("where container a is already: write another tidegate.port", 1, true)
        end)
        e:run("c", { ["route.host"] = "a.example" })
        t:wait("that to be told, too", function()
            local _, verdicts = told(t, "c")
            return (verdicts["route.host"] or ""):find("path / is already the route at container a", 1, true)
        end)
    end))
end)
