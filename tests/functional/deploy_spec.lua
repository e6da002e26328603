-- Deploy: instances are started, awaited, balanced and shown; what cannot be deployed says why.
local tidegate = require "tidegate"

local QUICK = [[health_check = { http = "/health", interval = "100ms", timeout = "1s", retries = 2 },]]

describe("deploy", function()
    it("starts, waits until healthy, balances, and shows it all", tidegate.test(function(t)
        t:configure([[
service "data" {
  command     = { "@SERVICE@", "--host", "127.0.0.1", "--port", "$PORT", "--health-delay", "300" },
  environment = { GREETING = "hello there", SERVICE_NAME = "data" },
  @QUICK@
  scale = { instances = 3 },
  route = { listen = "127.0.0.1:@PORT@", balance = "round_robin" },
}]], { QUICK = QUICK })
        t:start { args = { "--workers", "1" } }

        local seen = {}
        for _ = 1, 30 do
            local answer = assert(t:get "/")
            assert.equal(200, answer.status)
            local who = answer.headers["x-instance"]
            seen[who] = (seen[who] or 0) + 1
        end
        local counts = {}
        for _, count in pairs(seen) do
            counts[#counts + 1] = count
        end
        assert.same({ 10, 10, 10 }, counts)

        local status = t:status()
        assert.equal(t.id, status.cluster)
        assert.equal(t.daemon.pid, status.pid)
        assert.equal("process", status.engine.name)
        assert.equal("up", status.engine.state)
        assert.equal("up", status.policy)
        assert.equal(1, #status.workers)
        local data = status.services[1]
        assert.equal("data", data.name)
        assert.same({ 3, 3, 3, 3 }, { data.desired, data.up, data.min, data.max })
        for _, instance in ipairs(data.instances) do
            assert.equal("up", instance.state)
            assert.equal(0, instance.restarts)
            local environ = tidegate.read_file(("/proc/%d/environ"):format(t:pid_of(instance)))
            for _, entry in ipairs { "GREETING=hello there", "SERVICE_NAME=data", "CLUSTER_ID=" .. t.id,
                "DATA_PROCESSING_MODE=production" } do
                assert.truthy(("%z" .. environ):find("%z" .. entry:gsub("%-", "%%-") .. "%z"), entry .. " is missing")
            end
            assert.truthy(environ:find("DEPLOYMENT_TIME=%d"))
        end
        local shown = t:cli "status"
        assert.equal(0, shown.code)
        assert.truthy(shown.out:find("data%s+3/3"), shown.out)
    end))

    it("forwards what the client sent, and tells the service where it came from", tidegate.test(function(t)
        t:configure([[
service "data" {
  command = { "@SERVICE@", "--host", "127.0.0.1", "--port", "$PORT" },
  @QUICK@
  scale = { instances = 1 },
  route = { listen = "127.0.0.1:@PORT@" },
}]], { QUICK = QUICK })
        t:start()
        local answer = t:get("/echo/some?x=1", { method = "PUT", body = ("b"):rep(100000),
            headers = { Host = "shop.example", ["X-Request-Id"] = "r-1" } })
        assert.equal(200, answer.status)
        for _, word in ipairs { '"PUT"', "/echo/some", "100000", "127.0.0.1", "shop.example", "r-1" } do
            assert.truthy(answer.body:find(word, 1, true), word .. " is missing in " .. answer.body)
        end
        assert.equal(("x"):rep(70000), t:get("/echo/body", { method = "POST", body = ("x"):rep(70000) }).body)
        assert.equal(5000, #t:get("/chunked/5000").body)
        assert.equal(404, t:get("/nothing").status)
    end))

    -- What goes wrong, and words of the reason that must be told.
    local FAILURES = {
        { "a missing program", command = [["@DIR@/none", "$PORT"]], reason = { "not found", "@DIR@/none" } },
        { "a health path that answers 503", reason = { "/health", "503" },
            command = [["@SERVICE@", "--host", "127.0.0.1", "--port", "$PORT", "--health-delay", "86400000"]] },
        { "a program that ends at once", reason = { "7" },
            command = [["@SERVICE@", "--port", "$PORT", "--crash-at-start", "7"]] },
        { "a port that is taken", taken = true, reason = { "@PORT2@" }, more = [[ports = { "@PORT2@:@PORT2@" },]],
            command = [["@SERVICE@", "--host", "127.0.0.1", "--port", "$PORT"]] },
    }
    for _, case in ipairs(FAILURES) do
        it("fails for " .. case[1] .. " and says so", tidegate.test(function(t)
            local holder
            if case.taken then
                holder = require "socket".tcp4()
                assert(holder:bind("127.0.0.1", t:port "PORT2"))
                holder:listen(1)
            end
            t:configure([[
service "data" {
  command = { ]] .. case.command .. [[ }, ]] .. (case.more or "") .. [[

  health_check = { http = "/health", interval = "100ms", timeout = "1s", retries = 2 },
  deploy = { timeout = "800ms" },
  restart_policy = "no",
  scale = { instances = 1 },
  route = { listen = "127.0.0.1:@PORT@" },
}]])
            t:start { cluster_only = true }
            local result = t:cli("deploy", "data", "--wait", "--timeout", "20s")
            assert.equal(1, result.code)
            assert.truthy(result.err:find("deploy of data failed", 1, true), result.err)
            for _, word in ipairs(case.reason) do
                word = t:fill(word)
                assert.truthy(result.err:find(word, 1, true), ("%q is missing in: %s"):format(word, result.err))
                local deploy = t:of("data").deploy
                assert.equal("failed", deploy.state)
                assert.truthy(deploy.reason:find(word, 1, true), ("%q is missing in: %s"):format(word, deploy.reason))
                assert.truthy(t:log():find(word, 1, true))
            end
            assert.equal(503, t:get("/").status)
            if holder then
                holder:close()
            end
        end))
    end

    it("keeps the old instances when the new ones fail", tidegate.test(function(t)
        local text = [[
service "data" {
  command = { "@SERVICE@", "--host", "127.0.0.1", "--port", "$PORT", @MORE@ },
  @QUICK@
  deploy = { timeout = "800ms" },
  restart_policy = "no",
  scale = { instances = 2 },
  route = { listen = "127.0.0.1:@PORT@" },
}]]
        t:configure(text, { QUICK = QUICK, MORE = "" })
        t:start()
        local before = t:pids()
        local load = t:load { rate = 100 }
        t:configure(text, { QUICK = QUICK, MORE = [["--crash-at-start", "3"]] })
        assert.equal(0, t:cli("reload").code)
        t:wait("the deploy to fail", function()
            return (t:of().deploy or {}).state == "failed"
        end)
        local result = t:cli("deploy", "data", "--wait", "--timeout", "20s")
        assert.equal(1, result.code)
        local now = t:pids()
        for id, pid in pairs(before) do
            assert.equal(pid, now[id])
        end
        load:stop_clean()

        -- Mended, it goes through.
        t:configure(text, { QUICK = QUICK, MORE = [["--name", "mended"]] })
        assert.equal(0, t:cli("reload").code)
        t:wait("the mended ones", function()
            return t:get("/").headers["x-instance"] == "mended"
        end)
        t:wait_settled()
        for _, pid in pairs(before) do
            assert.falsy(tidegate.alive(pid))
        end
    end))
end)
