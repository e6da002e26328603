-- An instance that dies under load: no client notices, and it is replaced.
local tidegate = require "tidegate"

local SERVICE = [[
service "data" {
  command = { "@SERVICE@", "--host", "127.0.0.1", "--port", "$PORT" },
  health_check = { http = "/health", interval = "100ms", timeout = "500ms", retries = 2 },
  restart_policy = "@POLICY@",
  drain_timeout = "1s",
  stop_timeout = "500ms",
  scale = { instances = 3 },
  route = { listen = "127.0.0.1:@PORT@", balance = "least_connections" },
}]]

describe("an instance killed under load", function()
    for _, policy in ipairs { "unless-stopped", "no" } do
        it("is replaced with restart policy " .. policy .. ", and no GET fails", tidegate.test(function(t)
            t:configure(SERVICE, { POLICY = policy })
            t:start()
            local load = t:load { path = "/work?latency_ms=20", rate = 300, connections = 24 }
            for _ = 1, 2 do
                local _, pid = next(t:pids())
                t:kill(pid)
                t:wait("its replacement", function()
                    local s = t:of()
                    if s.up ~= 3 or #s.instances ~= 3 then
                        return false
                    end
                    local ok, pids = pcall(t.pids, t)
                    for _, now in pairs(ok and pids or {}) do
                        ok = ok and now ~= pid
                    end
                    return ok
                end)
                load:run(100)
            end
            load:stop_clean()
            assert.equal(3, #t:of().instances)
        end))
    end

    it("leaves the traffic at once when it only hangs", tidegate.test(function(t)
        t:configure(SERVICE, { POLICY = "unless-stopped" })
        t:start()
        local load = t:load { path = "/", rate = 100, connections = 16, args = { "--timeout", "20000" } }
        local id, pid = next(t:pids())
        t:get("/hang-all", { port = tonumber(t:instances()[id].address:match ":(%d+)$"), timeout = 0.1 })
        t:wait("it to leave", function()
            local instance = t:instances()[id]
            return not instance or instance.state ~= "up"
        end)
        t:wait("its replacement", function()
            return t:of().up == 3 and not tidegate.alive(pid)
        end, 60)
        local figures = load:stop()
        -- Requests that it had taken already wait for it; what it had not answered may be repeated.
        assert.equal(0, figures.errors, table.concat(figures.errors_text or {}, "; "))
    end))
end)
