-- What changes is told three times: in the log, as a metric, and (for what is still so) in the status.
local tidegate = require "tidegate"

local BACKENDS = { "PORT2", "PORT3", "PORT4" }

describe("a change of a backend", function()
    -- Three backends of a service `shop` with these keys of its route.
    local function begin(t, keys)
        local beside = {}
        for i, name in ipairs(BACKENDS) do
            beside[i] = t:run_beside(tidegate.service, "--name", name, "--host", "127.0.0.1", "--port", t:port(name))
        end
        t:configure(([[
service "shop" {
  backends = { "127.0.0.1:@PORT2@", "127.0.0.1:@PORT3@", "127.0.0.1:@PORT4@" },
  health_check = { http = "/health", interval = "100ms", retries = 1 },
  route = { listen = "127.0.0.1:@PORT@", balance = "round_robin", max_retries = 0, %s },
}]]):format(keys))
        t:start { args = { "--admin", "127.0.0.1:" .. t:port "ADMIN" } }
        t:wait("all to be up", function()
            return t:of().up == 3
        end)
        return beside
    end

    local function fails(t, name, rate)
        assert.equal(200, t:get("/fail?rate=" .. rate, { port = t:port(name), method = "POST" }).status)
    end

    local function events(t, kind)
        local page = t:get("/metrics", { port = t:port "ADMIN" }).body
        return tonumber((assert(page:match('\ntidegate_events_total{kind="' .. kind .. '"} (%d+)'), page)))
    end

    -- Requests until the kind was counted once, and the log line of it.
    local function happens(t, kind, backend)
        t:wait(kind, function()
            t:get "/work"
            return events(t, kind) > 0
        end)
        local line
        t:wait("the log to tell of " .. kind, function()
            for each in t:log():gmatch "[^\n]+" do
                line = each:find("kind=" .. kind .. " service=shop" .. (backend or ""), 1, true) and each or line
            end
            return line
        end)
        return line
    end

    it("is a fact when circuits open, are tried and close, and when there is panic", tidegate.test(function(t)
        begin(t, [[circuit_breaker = { failure_threshold = 3, recovery_timeout = "1s", success_threshold = 1 }]])
        for _, kind in ipairs { "circuit_opened", "circuit_half_open", "circuit_closed", "panic_entered", "panic_left",
            "backend_ejected", "backend_returned", "backend_down" } do
            assert.equal(0, events(t, kind))
        end
        assert.equal(3, events(t, "backend_up"))
        local first = " instance=shop@127.0.0.1:" .. t:port "PORT2"
        fails(t, "PORT2", 1)
        assert.matches(' warn .*msg="circuit open %(answered 5xx%), next trial in', happens(t, "circuit_opened", first))
        fails(t, "PORT2", 0)
        assert.matches("half%-open: trying", happens(t, "circuit_half_open", first))
        assert.matches(" info .*closed: trials succeeded", happens(t, "circuit_closed", first))
        fails(t, "PORT2", 1)
        fails(t, "PORT3", 1)
        assert.matches(" warn .*panic: all backends are asked.*1 of 3 backends were let through",
            happens(t, "panic_entered"))
        fails(t, "PORT2", 0)
        fails(t, "PORT3", 0)
        t:wait("the circuits to close", function()
            t:get "/work"
            return events(t, "circuit_closed") >= 3
        end)
        assert.matches("panic is over", happens(t, "panic_left"))
        assert.equal(1, events(t, "panic_entered"))
    end))

    it("is a fact when one is ejected and returns, and when its health check says so", tidegate.test(function(t)
        local beside = begin(t, [[circuit_breaker = false,
            outlier_ejection = { minimum_requests = 5, base_time = "1s" } ]])
        local first = " instance=shop@127.0.0.1:" .. t:port "PORT2"
        fails(t, "PORT2", 1)
        assert.matches("ejected: does worse than the others", happens(t, "backend_ejected", first))
        fails(t, "PORT2", 0)
        assert.matches("back from its ejection", happens(t, "backend_returned", first))
        assert.equal(0, events(t, "circuit_opened"))
        t:crash(beside[1])
        assert.matches(' warn .*msg="instance down"', happens(t, "backend_down", first))
        t:run_beside(tidegate.service, "--name", "PORT2", "--host", "127.0.0.1", "--port", t:port "PORT2")
        t:wait("it to be up again", function()
            return events(t, "backend_up") == 4
        end)
        assert.equal(3, t:of().up)
    end))

    it("is a fact when an open circuit closes because the backend is healthy again", tidegate.test(function(t)
        local beside = begin(t, [[circuit_breaker = { failure_threshold = 1, recovery_timeout = "1h", failure_rate = 0.1 }]])
        fails(t, "PORT2", 1)
        happens(t, "circuit_opened")
        t:crash(beside[1])
        happens(t, "backend_down")
        t:run_beside(tidegate.service, "--name", "PORT2", "--host", "127.0.0.1", "--port", t:port "PORT2")
        assert.matches("circuit closed: its health check passed", happens(t, "circuit_closed"))
    end))
end)
