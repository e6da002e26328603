-- Containers of others: what a list says of them, and what is heard of them.
local loop = require "loop"
local room = require "engine_room"
local ffi, C, json = loop.ffi, loop.C, room.json
local decode = require("cjson").decode

ffi.cdef [[
struct cJSON;
struct cJSON *docker_others_read(const char *body, size_t len, const char *prefix);
bool docker_follow_read(const char *line, size_t len, struct cJSON **ret_json, int *ret_kind, const char **ret_id);
char *json_text(const struct cJSON *value);
void json_free(struct cJSON *value);
]]

local KINDS = { [0] = "followed", "changed", "leaving", "died", "lost" }

local function read(value, prefix)
    local text = type(value) == "string" and value or json(room.list(value))
    local out = C.docker_others_read(text, #text, prefix or "tidegate")
    if out == nil then
        return nil
    end
    local copy = C.json_text(out)
    local result = decode(ffi.string(copy))
    C.mem_free(copy)
    C.json_free(out)
    return result
end

local function heard(event)
    local text = type(event) == "string" and event or json(event)
    local parsed, kind, id = ffi.new "struct cJSON *[1]", ffi.new "int[1]", ffi.new "const char *[1]"
    if not C.docker_follow_read(text, #text, parsed, kind, id) then
        return nil
    end
    local result = KINDS[kind[0]] .. " " .. ffi.string(id[0])
    C.json_free(parsed[0])
    return result
end

-- As `GET /containers/json` has one.
local function listed(over)
    local c = {
        Id = "c1", Names = { "/other/link", "/shop-web-1" }, Image = "shop:1", Created = 1790000000, State = "running",
        Status = "Up 2 minutes (healthy)",
        Labels = { ["tidegate.enable"] = "true", ["tidegate.route.host"] = "shop.example", ["tidegatex.no"] = "1",
            ["com.docker.compose.service"] = "web", ["com.docker.compose.project"] = "shop", maintainer = "x" },
        HostConfig = { NetworkMode = "shop_default" },
        NetworkSettings = { Networks = { shop_default = { IPAddress = "172.18.0.3", GlobalIPv6Address = "fd00::3" } } },
        Ports = { { PrivatePort = 9000, Type = "udp" }, { PrivatePort = 8080, Type = "tcp" },
            { IP = "::", PrivatePort = 80, PublicPort = 8081, Type = "tcp" },
            { IP = "0.0.0.0", PrivatePort = 80, PublicPort = 8080, Type = "tcp" } },
    }
    for key, value in pairs(over or {}) do
        c[key] = value
    end
    return c
end

describe("engine/docker and containers of others", function()
    it("reads what a list says", function()
        local c = read({ listed() })[1]
        assert.same({ "c1", "shop-web-1", "shop:1", 1790000000, "running", "healthy", "", "shop", "web", false,
            "shop_default" }, { c.id, c.name, c.image, c.created, c.state, c.health, c.cluster, c.project, c.service,
            c.oneoff, c.network_mode })
        assert.same({ ["tidegate.enable"] = "true", ["tidegate.route.host"] = "shop.example" }, c.labels)
        assert.same({ { name = "shop_default", ipv4 = "172.18.0.3", ipv6 = "fd00::3" } }, c.networks)
        assert.same({ { port = 80, host_ip = "0.0.0.0", host_port = 8080 }, { port = 8080, host_ip = "", host_port = 0 } },
            c.ports)
        assert.same({ ["tidegatex.no"] = "1" }, read({ listed() }, "tidegatex")[1].labels)
    end)

    it("reads health of the status, and of newer engines", function()
        for status, health in pairs {
            ["Up 2 minutes"] = "none", ["Up 2 minutes (unhealthy)"] = "unhealthy",
            ["Up 3 seconds (health: starting)"] = "starting", ["Up 5 minutes (Paused)"] = "none",
            ["Exited (0) 2 minutes ago"] = "none", ["("] = "none", [("("):rep(100)] = "none", ["()"] = "none",
        } do
            assert.equal(health, read({ listed { Status = status } })[1].health, status)
        end
        assert.equal("healthy", read({ listed { Status = "Up", Health = { Status = "healthy" } } })[1].health)
    end)

    it("knows what a tidegate runs, and one-offs of compose", function()
        local c = read({ listed { Labels = { ["tidegate.cluster"] = "shop", ["com.docker.compose.oneoff"] = "True" } } })[1]
        assert.same({ "shop", true }, { c.cluster, c.oneoff })
    end)

    it("takes nothing for a container that is none, and no other answer for a list", function()
        assert.same({}, read { { Id = "", Names = { "/a" } }, { Id = "x" }, { Id = "x", Names = { "/a/b" } },
            { Id = ("x"):rep(80), Names = { "/a" } }, { Id = "x", Names = { "/" .. ("a"):rep(200) } }, 5, room.list {} })
        for _, text in ipairs { "", "{}", '{"message":"x"}', "[", "nonsense", "[{]" } do
            assert.is_nil(read(text), text)
        end
        assert.same({}, read "[]")
        local odd = read { { Id = "c", Names = { "n" }, Labels = 5, Ports = { { PrivatePort = 70000 }, 3 },
            NetworkSettings = { Networks = { x = 1 } }, State = 7, Created = "soon" } }
        assert.same({ "n", "exited", {} }, { odd[1].name, odd[1].state, odd[1].ports })
    end)

    it("hears what changes a container, and no health checks", function()
        local function event(action, attributes)
            return { Type = "container", Action = action, Actor = { ID = "c1", Attributes = attributes or { name = "a" } } }
        end
        assert.equal("changed c1", heard(event "start"))
        assert.equal("died c1", heard(event("die", { exitCode = "0" })))
        assert.equal("changed c1", heard(event "health_status: unhealthy"))
        assert.equal("changed c1", heard(event "destroy"))
        assert.equal("died c1", heard(event "died"))
        for _, signal in ipairs { "15", "9", "3", "2" } do
            assert.equal("leaving c1", heard(event("kill", { signal = signal })))
        end
        for _, signal in ipairs { "1", "10", "12", "28" } do
            assert.is_nil(heard(event("kill", { signal = signal })))
        end
        assert.is_nil(heard(event "exec_start: /probe"))
        assert.equal("changed c7", heard { Type = "network", Action = "connect",
            Actor = { ID = "n1", Attributes = { container = "c7" } } })
        for _, odd in ipairs { "", "{}", "[]", "nonsense", '{"Action":"die"}', '{"Action":"die","Actor":{"ID":5}}' } do
            assert.is_nil(heard(odd), odd)
        end
    end)

    describe("scripted", function()
        local run, server, engine, socket
        local STREAM = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        local DIE = json { Type = "container", Action = "die", Actor = { ID = "c1", Attributes = { name = "a" } } } .. "\n"

        local function others()
            local out = {}
            for i = 0, tonumber(engine.news.others) - 1 do
                local seen = engine.news.last_others[i]
                out[#out + 1] = (KINDS[seen.kind] .. " " .. ffi.string(seen.id)):gsub(" $", "")
            end
            return out
        end

        local function hear(count)
            assert(run:wait(function() return engine.news.others >= count end), "not heard")
            return others()
        end

        before_each(function()
            run = loop.new()
            socket = os.tmpname()
            os.remove(socket)
            server = run:server("unix:" .. socket)
            server:answer("/_ping", 200, "OK", "Api-Version: 1.41\r\n")
            server:answer("/version", 200, json { Version = "20", ApiVersion = "1.41", MinAPIVersion = "1.12" })
            server:answer("/v1.41/info", 200, json { NCPU = 4 })
            server:raw("/v1.41/events", STREAM .. ("%x\r\n%s\r\n"):format(#DIE, DIE), loop.HANG)
            engine = assert(room.new({ id = "shop", engine = "docker", docker = { host = "unix://" .. socket } }, nil,
                run))
            engine:open()
        end)

        after_each(function()
            engine:close()
            server:close()
            assert.equal(0, run:free(), "handles left open")
            os.remove(socket)
        end)

        it("lists them", function()
            engine:up()
            server:answer("/v1.41/containers/json", 200, json { listed() })
            local r = engine:call("others", "tidegate")
            assert.equal(0, r.code)
            assert.equal("shop-web-1", decode(r.log)[1].name)
            assert.truthy(server:log():find("/v1.41/containers/json?all=1 ", 1, true))
            server:answer("/v1.41/containers/json", 200, "{}")
            assert.equal(room.E.AGAIN, engine:call("others", "tidegate").code)
            server:answer("/v1.41/containers/json", 500, '{"message":"no"}')
            assert.equal(room.E.AGAIN, engine:call("others", "tidegate").code)
        end)

        it("hears nothing of them before it is asked to", function()
            engine:up()
            run:run(50)
            assert.equal(0, engine.news.others)
            C.enginetest_follow(engine.e, true)
            assert.same({ "followed", "died c1" }, hear(2))
            C.enginetest_follow(engine.e, false)
            run:run(50)
            assert.equal(2, engine.news.others)
            C.enginetest_follow(engine.e, true)
            assert.same({ "followed", "died c1", "followed", "died c1" }, hear(4))
        end)

        it("follows as soon as it is connected, and again after each outage", function()
            C.enginetest_follow(engine.e, true)
            engine:up()
            hear(2)
            server:answer("/_ping", 500, "no")
            engine:down(1, 30000)
            server:answer("/_ping", 200, "OK", "Api-Version: 1.41\r\n")
            engine:up(2)
            assert.same({ "followed", "died c1", "followed", "died c1" }, hear(4))
        end)

        it("tells when the stream ends by itself, and goes on without it", function()
            engine:up()
            server:raw("/v1.41/events", STREAM .. "0\r\n\r\n", loop.CLOSE)
            C.enginetest_follow(engine.e, true)
            assert.same({ "followed", "lost" }, hear(2))
            server:answer("/v1.41/events", 403, '{"message":"not allowed"}')
            C.enginetest_follow(engine.e, true)
            assert.same({ "followed", "lost", "lost" }, hear(3))
            assert.equal(1, engine.news.ups)
            assert.equal(0, engine.news.downs)
        end)
    end)
end)
