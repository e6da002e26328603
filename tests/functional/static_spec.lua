-- Services that tidegate does not run: balanced and checked like the others.
local tidegate = require "tidegate"

-- Starts the service by ourselves; the daemon knows nothing of it.
local function backend(t, ...)
    local process = t:run_beside(tidegate.service, ...)
    return process
end

local function seen(t, count)
    local names = {}
    for _ = 1, count do
        local answer = assert(t:get "/")
        assert.equal(200, answer.status)
        names[answer.headers["x-instance"]] = true
    end
    return names
end

describe("a service with backends", function()
    it("is balanced over TCP and unix sockets; an unhealthy one leaves and returns", tidegate.test(function(t)
        local port = t:port "PORT2"
        backend(t, "--name", "tcp", "--host", "127.0.0.1", "--port", port)
        backend(t, "--name", "unix", "--unix", t.dir .. "/x.sock")
        t:configure([[
service "legacy" {
  backends = { { host = "127.0.0.1", port = @PORT2@, weight = 2, max_connections = 50, capacity = 500,
                 tags = { "zone:0" } },
               "unix:@DIR@/x.sock" },
  health_check = { http = "/health", interval = "100ms", timeout = "500ms", retries = 2 },
  route = { listen = "127.0.0.1:@PORT@", balance = "round_robin" },
}]])
        t:start()
        assert.same({ tcp = true, unix = true }, seen(t, 20))
        local load = t:load { path = "/", rate = 100 }
        assert.equal(200, t:get("/sick", { port = port }).status)
        t:wait("it to leave", function()
            return t:of().up == 1
        end)
        assert.same({ unix = true }, seen(t, 20))
        local reason
        for _, instance in pairs(t:instances()) do
            reason = instance.state ~= "up" and instance.reason or reason
        end
        assert.truthy(reason and reason:find("503", 1, true), reason)
        assert.equal(200, t:get("/well", { port = port }).status)
        t:wait("it to return", function()
            return t:of().up == 2
        end)
        assert.same({ tcp = true, unix = true }, seen(t, 20))
        -- By hand: one less, one more, another weight.
        local address = "127.0.0.1:" .. port
        assert.equal(0, t:cli("backend", "remove", "legacy", address).code)
        assert.same({ unix = true }, seen(t, 20))
        assert.equal(0, t:cli("backend", "add", "legacy", address).code)
        t:wait("it to be there again", function()
            return t:of().up == 2
        end)
        assert.equal(0, t:cli("weight", address, "9").code)
        assert.same({ tcp = true, unix = true }, seen(t, 20))
        assert.equal(1, t:cli("backend", "add", "legacy", address).code)
        assert.equal(1, t:cli("backend", "add", "legacy", "nothing").code)

        load:stop_clean()

        -- Not ours to start: commands that would are refused.
        for _, words in ipairs { { "scale", "legacy", "3" }, { "deploy", "legacy" } } do
            local result = t:cli(unpack(words))
            assert.equal(1, result.code, table.concat(words, " ") .. ": " .. result.out)
        end
    end))

    it("is balanced as plain TCP too, and every request is in the access log", tidegate.test(function(t)
        local port = t:port "PORT2"
        backend(t, "--name", "there", "--host", "127.0.0.1", "--port", port)
        t:write("tidegate.lua", [[
cluster { id = "@ID@", engine = "process", admin = false, workers = 2, access_log = { path = "@DIR@/access.log" } }
service "legacy" {
  backends = { "127.0.0.1:@PORT2@" },
  health_check = { http = "/health", interval = "100ms" },
  route = { { listen = "127.0.0.1:@PORT@" }, { listen = "tcp://127.0.0.1:@PORT3@", idle_timeout = "10s" } },
}]])
        t:start { cluster_only = true, keep = true }
        t:wait("an answer", function()
            return t:get("/?logged").status == 200
        end)
        assert.equal("there", assert(t:get("/", { port = t:port "PORT3" })).headers["x-instance"])
        local function logged(name)
            t:wait("a line in " .. name, function()
                local file = io.open(t.dir .. "/" .. name)
                local text = file and file:read "*a" or ""
                return file and (file:close() and text:find('"path":"/?logged"', 1, true)) ~= nil
            end)
        end
        logged "access.log"
        os.rename(t.dir .. "/access.log", t.dir .. "/access.log.1")
        t:kill(t:status().pid, 10) -- SIGUSR1
        t:wait("a new file", function()
            return t:get("/?logged").status == 200 and io.open(t.dir .. "/access.log") ~= nil
        end)
        logged "access.log"
    end))

    it("answers 503 when none is there, and takes requests when one comes", tidegate.test(function(t)
        local port = t:port "PORT2"
        t:configure([[
service "legacy" {
  backends = { "127.0.0.1:@PORT2@" },
  health_check = { http = "/health", interval = "100ms", timeout = "500ms", retries = 2 },
  route = { listen = "127.0.0.1:@PORT@" },
}]])
        t:start { cluster_only = true }
        assert.equal(503, t:get("/").status)
        backend(t, "--name", "late", "--host", "127.0.0.1", "--port", port)
        t:wait("an answer", function()
            return t:get("/").status == 200
        end)
    end))

    it("goes on while the engine is not reachable", tidegate.test(function(t)
        local port = t:port "PORT2"
        backend(t, "--name", "there", "--host", "127.0.0.1", "--port", port)
        t:write("tidegate.lua", [[
cluster { id = "@ID@", engine = "docker", docker = { host = "unix://@DIR@/none.sock" }, admin = false, workers = 1 }
service "legacy" {
  backends = { "127.0.0.1:@PORT2@" },
  health_check = { http = "/health", interval = "100ms" },
  route = { listen = "127.0.0.1:@PORT@" },
}
service "ours" { image = "example/ours:1", ports = { "8080" }, route = { listen = "127.0.0.1:@PORT3@" } }]])
        t:start { cluster_only = true, keep = true }
        t:wait("an answer", function()
            return t:get("/").status == 200
        end)
        assert.equal(503, t:get("/", { port = t:port "PORT3" }).status)
        t:wait_log "engine down"
        local status = t:status()
        assert.equal("docker", status.engine.name)
        assert.equal("down", status.engine.state)
        assert.truthy(status.engine.description:find("none.sock", 1, true), status.engine.description)
        local shown = t:cli "status"
        assert.truthy(shown.out:find("engine docker down", 1, true), shown.out)
    end))
end)
