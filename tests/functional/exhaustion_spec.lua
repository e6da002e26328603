-- A worker without file descriptors: it says so, goes on with what it has, and is well again when it has some.
local socket = require "socket"
local tidegate = require "tidegate"

local CONFIG = [[
cluster { id = "@ID@", engine = "process", workers = 1, admin = "127.0.0.1:@PORT2@" }
service "data" {
  command = { "@SERVICE@", "--host", "127.0.0.1", "--port", "$PORT" },
  health_check = { http = "/health", interval = "200ms", timeout = "500ms" },
  scale = { instances = 2 },
  route = { listen = "127.0.0.1:@PORT@" },
}]]

describe("a worker that runs out of file descriptors", function()
    it("refuses what it must, tells, blames no backend, and recovers", tidegate.test(function(t)
        t:write("tidegate.lua", CONFIG)
        t:start()
        local worker = t:status().workers[1].pid
        local function limit(n)
            assert.equal(0, os.execute(("prlimit --pid %d --nofile=%d:"):format(worker, n)))
        end
        local function metric(name)
            local text = t:get("/metrics", { port = t:port "PORT2" }).body
            return tonumber(text:match("\n" .. name .. " (%S+)") or text:match("\n" .. name .. "{[^\n]*} (%S+)"))
        end
        limit(64)
        local clients, refused, served = {}, 0, 0
        for i = 1, 100 do -- each needs two while it is served
            clients[i] = assert(socket.connect("127.0.0.1", t:port()))
            clients[i]:settimeout(10)
            clients[i]:send "GET /sleep/1000 HTTP/1.1\r\nHost: a\r\n\r\n"
        end
        for i = 1, 100 do
            local line = clients[i]:receive "*l"
            refused = refused + (line and line:find "503" and 1 or 0)
            served = served + (line and line:find "200" and 1 or 0)
        end
        assert.is_true(refused > 0 and served > 0, ("%d refused, %d served"):format(refused, served))
        assert.equal(100, refused + served)
        t:wait_log "out of file descriptors"
        assert.is_true(select(2, t:log():gsub("out of file descriptors", "")) <= 10, "not rate-limited")
        assert.is_true(metric "tidegate_exhausted_total" >= refused)
        assert.matches('tidegate_events_total{kind="limit"} [1-9]', t:get("/metrics", { port = t:port "PORT2" }).body)
        for i = 1, 100 do
            clients[i]:close()
        end
        t:wait("requests to be served again with so few", function()
            return t:get("/").status == 200
        end)
        limit(1024)
        local load = t:load { path = "/", rate = 500, connections = 50 }
        load:run(500)
        load:stop_clean()
        assert.equal(worker, t:status().workers[1].pid)
        assert.is_nil(t:log():find("circuit open", 1, true))
        assert.equal(2, t:of().up)
    end))
end)
