-- The HTTP side of the daemon: /healthz, /metrics, /status.
local tidegate = require "tidegate"

describe("the admin address", function()
    it("has health, status, and metrics that Prometheus accepts", tidegate.test(function(t)
        t:configure([[
service "data" {
  command = { "@SERVICE@", "--host", "127.0.0.1", "--port", "$PORT" },
  health_check = { http = "/health", interval = "100ms" },
  scale = { instances = 2 },
  route = { listen = "127.0.0.1:@PORT@" },
}]])
        local admin = t:port "ADMIN"
        t:start { args = { "--admin", "127.0.0.1:" .. admin } }
        for _ = 1, 25 do
            assert.equal(200, t:get("/").status)
        end
        local health = t:get("/healthz", { port = admin })
        assert.same({ 200, "ok\n" }, { health.status, health.body })
        local status = tidegate.json.decode(t:get("/status", { port = admin }).body)
        assert.equal(2, status.services[1].up)
        assert.equal(404, t:get("/nothing", { port = admin }).status)

        local metrics = t:get("/metrics", { port = admin })
        assert.equal(200, metrics.status)
        assert.truthy(metrics.headers["content-type"]:find("text/plain; version=0.0.4", 1, true))
        local path = t:write("metrics", metrics.body:gsub("@", ""))
        local total = 0
        for count in metrics.body:gmatch "\ntidegate_[%w_]*requests_total{[^}]*} (%d+)" do
            total = total + tonumber(count)
        end
        assert.is_true(total >= 25, "only " .. total .. " requests counted")
        if os.execute "command -v promtool >/dev/null" ~= 0 then
            pending "promtool is not installed"
            return
        end
        local pipe = io.popen(("promtool check metrics <'%s' 2>&1; echo $?"):format(path))
        local answer = pipe:read "*a"
        pipe:close()
        assert.truthy(answer:find "0\n$", answer)
    end))
end)
