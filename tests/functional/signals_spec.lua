-- Signals: SIGTERM leaves the services running, --stop-services stops them, SIGUSR1 opens the log again.
local tidegate = require "tidegate"

local SERVICE = [[
service "data" {
  command = { "@SERVICE@", "--host", "127.0.0.1", "--port", "$PORT" },
  health_check = { http = "/health", interval = "100ms", timeout = "1s", retries = 2 },
  scale = { instances = 2 },
  route = { listen = "127.0.0.1:@PORT@" },
}]]

describe("signals", function()
    it("SIGTERM finishes requests and leaves the services, the next start adopts them", tidegate.test(function(t)
        t:configure(SERVICE)
        t:start { keep = true }
        local before = t:pids()
        local load = t:load { path = "/work?latency_ms=300", rate = 20, connections = 16 }
        t:kill(t.daemon.pid, 15)
        load:say "end"
        local figures = load:stop()
        assert.equal(0, t:stop())
        -- Whoever came too late was not let in; nobody who was let in was cut off.
        for _, text in ipairs(figures.errors_text) do
            assert.truthy(text:find("cannot connect: Connection refused", 1, true), text)
        end
        for _, pid in pairs(before) do
            assert.truthy(tidegate.alive(pid))
        end
        assert.is_nil(t:get "/")
        t:start()
        assert.same(before, t:pids())
        assert.equal(200, t:get("/").status)
        -- This one was started with --stop-services.
        assert.equal(0, t:stop(t.daemon, 2))
        for _, pid in pairs(before) do
            assert.falsy(tidegate.alive(pid))
        end
    end))

    it("SIGTERM again and again, to the last moment, spoils nothing", tidegate.test(function(t)
        t:configure [[service "data" { backends = { "127.0.0.1:1" }, health_check = false }]]
        for _ = 1, 10 do
            local daemon = t:start { cluster_only = true }
            t:wait("the end", function()
                for _ = 1, 1000 do
                    if not tidegate.alive(daemon.pid) then
                        return true
                    end
                    t:kill(daemon.pid, 15)
                end
            end)
            assert.equal(0, t:exit_code(daemon))
        end
    end))

    it("SIGUSR1 opens the log again", tidegate.test(function(t)
        t:configure(SERVICE)
        t:start()
        local moved = t.dir .. "/log.1"
        assert(os.rename(t.log_path, moved))
        t:kill(t.daemon.pid, 10)
        t:wait("a new log", function()
            assert.equal(0, t:cli("reload").code)
            return t:log():find("reloaded", 1, true)
        end)
        assert.truthy(tidegate.read_file(moved):find("serving", 1, true))
    end))

    it("writes JSON logs when asked", tidegate.test(function(t)
        t:configure(SERVICE)
        t:start { args = { "--log-format", "json" } }
        local lines = 0
        for line in t:log():gmatch "[^\n]+" do
            assert.truthy(tidegate.json.decode(line), line)
            lines = lines + 1
        end
        assert.is_true(lines > 3)
    end))
end)
