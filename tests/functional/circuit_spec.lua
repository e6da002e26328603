-- A backend that fails is left alone by all workers, is tried when its time has come, and comes back.
local tidegate = require "tidegate"

describe("a circuit", function()
    it("opens for all workers, shows, and closes again", tidegate.test(function(t)
        for _, name in ipairs { "PORT2", "PORT3" } do
            t:run_beside(tidegate.service, "--name", name, "--host", "127.0.0.1", "--port", t:port(name))
        end
        t:configure([[
service "shop" {
  backends = { "127.0.0.1:@PORT2@", "127.0.0.1:@PORT3@" },
  health_check = { http = "/health", interval = "100ms" },
  route = { listen = "127.0.0.1:@PORT@", balance = "round_robin",
            circuit_breaker = { failure_threshold = 4, recovery_timeout = "1s", success_threshold = 2 } },
}]])
        t:start()
        local bad = t:port "PORT2"
        local function circuit()
            for _, instance in pairs(t:instances()) do
                if instance.address:find(":" .. bad, 1, true) then
                    return instance.circuit, instance
                end
            end
        end
        assert.equal("closed", (circuit()))
        assert.equal(200, t:get("/fail?rate=1", { port = bad, method = "POST" }).status)
        local failures = 0
        t:wait("the circuit to open", function()
            failures = failures + (t:get("/work").status == 500 and 1 or 0)
            return failures >= 4
        end)
        assert.equal("open", (circuit()))
        assert.equal("up", select(2, circuit()).state) -- its health check finds nothing wrong
        for _ = 1, 20 do -- new connections each: both workers have some of them
            local answer = t:get "/work"
            assert.equal(200, answer.status)
            assert.equal("PORT3", answer.headers["x-instance"])
        end
        assert.matches("open", t:cli("status").out)
        assert.matches("CIRCUIT", t:cli("status").out)
        assert.matches("circuit open %(answered 5xx%)", t:log())
        assert.equal(200, t:get("/fail?rate=0", { port = bad, method = "POST" }).status)
        t:wait("the circuit to close", function()
            t:get "/work"
            return circuit() == "closed"
        end)
        assert.equal(1, select(2, circuit()).circuit_opened)
        t:wait_log "circuit closed"
    end))

    it("is not all: what fails is checked at once, not at the next interval", tidegate.test(function(t)
        local gone = t:run_beside(tidegate.service, "--name", "a", "--host", "127.0.0.1", "--port", t:port "PORT2")
        t:run_beside(tidegate.service, "--name", "b", "--host", "127.0.0.1", "--port", t:port "PORT3")
        t:configure([[
service "shop" {
  backends = { "127.0.0.1:@PORT2@", "127.0.0.1:@PORT3@" },
  health_check = { http = "/health", interval = "10m", timeout = "500ms", retries = 2 },
  route = { listen = "127.0.0.1:@PORT@", balance = "round_robin" },
}]])
        t:start()
        t:wait("both to be up", function()
            return t:of().up == 2
        end)
        t:crash(gone)
        t:wait("the dead one to be found", function()
            assert.equal(200, t:get("/").status)
            return t:of().up == 1
        end, 15)
    end))
end)
