-- What services tell of themselves is collected, and what does not tell it stops nothing.
local json = require "cjson"
local tidegate = require "tidegate"

local SHOP = [[
service "shop" {
  command = { "@SERVICE@", "--port", "$PORT" },
  scale = { min = 2, max = 2 },
  health_check = { http = "/health", interval = "100ms", timeout = "10s", retries = 100 },
  route = { listen = "127.0.0.1:@PORT@", backend_timeout = "30s" },
  collect = { @COLLECT@, interval = "200ms", timeout = "300ms" },
}]]

describe("collection", function()
    local function metrics(t, ...)
        return t:ask("metrics", ...).metrics
    end

    it("gives every group a view has, of services, instances and tidegate", tidegate.test(function(t)
        t:configure(SHOP, { COLLECT = [[health = "/health", performance = "/performance", data = "/data",
            prometheus = "/metrics"]] })
        local started = t:start()
        assert.is_not_nil(started)
        for _ = 1, 50 do
            assert.equal(200, t:get("/work?records=10&bad=1").status)
        end
        local shop = t:wait("all figures", function()
            local m = metrics(t, "shop")
            local rate = m.prometheus and m.prometheus['requests_total{path="/health",code="200"}:rate']
            return m.data_processing and m.data_processing.records_processed == 500 and (rate or 0) > 0 and
                m.resources and m.health.collected == 1 and m.health.status == "healthy" and
                m.performance.requests == 50 and m
        end)
        assert.same({ "healthy", 1, "shop" }, { shop.health.status, shop.health.up, shop.service })
        assert.is_true(math.abs(shop.data_quality.accuracy - 0.9) < 0.01)
        assert.is_true(shop.performance.throughput > 0 and shop.performance.p99 > 0)
        assert.equal(500, shop.prometheus.records_processed_total)
        assert.is_true(shop.prometheus['request_duration_seconds{path="/health"}:p99'] > 0)
        assert.is_true(shop.resources.memory_bytes > 0 and shop.resources.memory_usage > 0)
        assert.same({ 2, 2, 0 }, { shop.scale.desired, shop.traffic.backends, shop.traffic.open_circuits })
        for id in pairs(t:instances()) do
            local one = metrics(t, "shop", "--instance", id)
            assert.same({ id, "healthy", 1 }, { one.instance, one.health.status, one.health.collected })
            assert.equal(id, one.labels.instance)
        end
        local figures = { "history", "shop", "data_processing.records_processed", "--since", "10m", "--instance", "", "--json" }
        t:wait("the history to have it", function()
            local answer = t:cli(unpack(figures)) -- refused until there are figures at all
            local series = answer.code == 0 and json.decode(answer.out).series[1]
            local points = series and series.points or {}
            return #points > 0 and points[#points][5] == 500 -- its last value
        end)
        local own = metrics(t)
        assert.same({ 1, 0, 2, 0 }, { own.engine_up, own.reload_failed, own.workers, own.policy_errors_5m })
        assert.is_true(own.disk_free > 0 and own.disk_free < 1)
        assert.matches("performance%.p99 +[%d.e-]+\n", t:cli("metrics", "shop").out)
        local none = t:cli("metrics", "nobody")
        assert.equal(1, none.code)
        assert.matches("no such service: nobody: `tidegate status` shows all", none.err)
    end))

    it("reaches scale policies", tidegate.test(function(t)
        t:write("policies/scale/backlog.lua", [[
-- As many as the records that the service has processed ask for.
return {
    name = "backlog", doc = "By records.", params = {},
    new = function()
        return function(s)
            return s.metrics.data_processing.records_processed >= 100 and 3 or 1, "records"
        end
    end,
}]])
        t:configure(SHOP:gsub("scale = %b{}", 'scale = { policy = "backlog", min = 1, max = 3, interval = "200ms", up_cooldown = 0 }'),
            { COLLECT = [[data = "/data"]] })
        t:start()
        assert.equal(200, t:get("/work?records=60").status)
        t:wait("the first records", function()
            local data = metrics(t, "shop").data_processing
            return data and data.records_processed == 60
        end)
        assert.equal(1, t:of("shop").desired)
        assert.equal(200, t:get("/work?records=60").status)
        t:wait_up(3)
        for _, decision in ipairs(t:decisions()) do
            assert.is_nil(decision.inputs.metrics)
        end
    end))

    it("leaves out what hangs, lies or talks too much, and goes on with the rest", tidegate.test(function(t)
        t:configure(SHOP, { COLLECT = [[health = "/health", performance = "/bytes/100", data = "/sleep/5000",
            prometheus = "/bytes/2000", max_body = 1024]] })
        t:start()
        local shop = t:wait("a first round", function()
            local m = metrics(t, "shop")
            return m.health.collected == 0 and m.health.uptime_s and m
        end)
        assert.same({}, { shop.performance, shop.data_processing, shop.prometheus })
        for _, why in ipairs { "endpoint=performance why=\"its answer is no JSON object\"", "endpoint=data why=",
            "endpoint=prometheus why=\"its answer is longer than 1024 bytes\"" } do
            t:wait_log(why, 2)
        end
        assert.equal(200, t:get("/work").status)
        -- It is told anew when it is asked for something better.
        t:configure(SHOP, { COLLECT = [[health = "/health", performance = "/performance"]] })
        assert.equal(0, t:cli("reload").code)
        t:wait("performance", function()
            local m = metrics(t, "shop")
            return m.health.collected == 1 and m.performance and m.performance.window_s
        end)
    end))

    it("knows nothing of an instance that hangs or died, and all again when it is back", tidegate.test(function(t)
        t:configure(SHOP, { COLLECT = [[performance = "/performance"]] })
        t:start()
        local id, pid = next(t:pids "shop")
        local function known()
            local m = metrics(t, "shop", "--instance", id)
            return m.performance and m.performance.window_s ~= nil, m.health.collected
        end
        t:wait("figures", function()
            return known()
        end)
        t:kill(pid, 19) -- SIGSTOP
        t:wait("its figures to be absent", function()
            local there, collected = known()
            return not there and collected == 0
        end)
        t:wait("those of the other one all the same", function()
            local performance = metrics(t, "shop").performance
            return performance and performance.window_s
        end)
        t:kill(pid, 18)
        t:wait("its figures again", function()
            return known()
        end)
        t:wait_log "a service gives its metrics again"
        t:kill(pid, 9)
        t:wait("its restart to be counted, and its figures", function()
            local health = metrics(t, "shop", "--instance", id).health
            return known() and health.up == 1 and health.restarts_10m == 1
        end)
        assert.equal(1, metrics(t, "shop").health.restarts_10m)
    end))
end)
