-- The page of metrics before those who read it: promtool, a strict parser, a real Prometheus.
local find = require("shell").find
local tidegate = require "tidegate"

local SCRAPER = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    .. "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"

local function said(command)
    local pipe = io.popen(command .. " 2>&1; echo rc=$?")
    local text = pipe:read "*a"
    pipe:close()
    return text
end

describe("the page of metrics", function()
    local function page(t, headers)
        return t:get("/metrics", { port = t:port "ADMIN", headers = headers })
    end

    local function start(t, services, values)
        values = values or {}
        t:configure(services, values)
        t:start { args = { "--admin", "127.0.0.1:" .. t:port "ADMIN" } }
    end

    -- Value of a series, given by a pattern of its line.
    local function value(t, pattern)
        local found = page(t).body:match("\n" .. pattern .. " (%S+)")
        return found and tonumber(found)
    end

    -- All who read pages agree that this one is right.
    local function check(t)
        local text, open = page(t), page(t, { Accept = SCRAPER })
        assert.equal("text/plain; version=0.0.4; charset=utf-8", text.headers["content-type"])
        assert.equal("application/openmetrics-text; version=1.0.0; charset=utf-8", open.headers["content-type"])
        local plain = t:write("page.txt", "")
        for name, answer in pairs { ["page.txt"] = text, ["page.om"] = open } do
            local file = assert(io.open(t.dir .. "/" .. name, "wb"))
            file:write(answer.body)
            file:close()
        end
        if not find "promtool" then
            pending "promtool is not installed"
            return
        end
        assert.equal("rc=0\n", said("promtool check metrics <" .. plain))
        if said "/usr/bin/python3 -c 'import prometheus_client'" ~= "rc=0\n" then
            pending "python3-prometheus-client is not installed"
            return
        end
        for format, name in pairs { openmetrics = "page.om", text = "page.txt" } do
            assert.matches("^%d+ samples\nrc=0\n$",
                said(("/usr/bin/python3 tests/support/openmetrics.py %s <%s/%s"):format(format, t.dir, name)))
        end
        return text.body
    end

    local SHOP = [[
service "shop" {
  command = { "@SERVICE@", "--port", "$PORT" },
  scale = { min = 2, max = 2 },
  health_check = { http = "/health", interval = "100ms" },
  collect = { performance = "/performance", data = "/data", interval = "200ms" },
  route = {
    { listen = "127.0.0.1:@PORT@", path = "/work" },
    { listen = "127.0.0.1:@PORT@", path = "/" },
  },
}]]

    it("is right by promtool and a strict parser, compressed too, and counts what clients were answered", tidegate.test(function(t)
        start(t, SHOP)
        for _ = 1, 20 do
            assert.equal(200, t:get("/work").status)
        end
        assert.equal(404, t:get("/nothing", { method = "BREW" }).status)
        local body = check(t)
        assert.truthy(body)
        local function requests(endpoint, method, status)
            return value(t, ('data_service_requests_total{service_name="shop",endpoint="%s",method="%s",status="%d"}'):format(
                endpoint, method, status))
        end
        assert.same({ 20, 1 }, { requests("/work", "GET", 200), requests("/", "other", 404) })
        assert.equal(20, value(t, 'data_service_request_duration_seconds_count{service_name="shop",endpoint="/work",method="GET"}'))
        assert.equal(20, value(t, 'tidegate_route_requests_total{service="shop",route="/work",code="2xx"}'))
        t:wait("figures of the instances", function()
            return value(t, 'data_service_memory_usage_bytes{service_name="shop",container_id="shop%-1"}')
        end)
        assert.is_true(value(t, 'tidegate_engine_calls_total{call="create",result="ok"}') >= 2)
        assert.is_true(value(t, 'tidegate_reload_last_success_timestamp_seconds') > 1.6e9)
        t:wait("a policy's answer", function()
            return value(t, 'tidegate_policy_answer_seconds_count{question="evaluate"}') > 0
        end)
        assert.matches('tidegate_config_info{hash="%x+"} 1\n', body)

        local packed = page(t, { ["Accept-Encoding"] = "gzip", Accept = SCRAPER })
        assert.equal("gzip", packed.headers["content-encoding"])
        local file = assert(io.open(t.dir .. "/page.gz", "wb"))
        file:write(packed.body)
        file:close()
        local pipe = io.popen("gzip -dc " .. t.dir .. "/page.gz")
        local unpacked = pipe:read "*a"
        pipe:close()
        assert.truthy(unpacked:find "# EOF\n$")
        assert.is_true(#packed.body * 4 < #unpacked)
        local head = t:get("/metrics", { port = t:port "ADMIN", method = "HEAD" })
        assert.same({ 200, "" }, { head.status, head.body })
    end))

    it("keeps counting over a worker's death and a reload", tidegate.test(function(t)
        start(t, SHOP)
        local function total()
            return value(t, 'data_service_requests_total{service_name="shop",endpoint="/work",method="GET",status="200"}') or 0
        end
        for round = 1, 3 do
            for _ = 1, 10 do
                assert.equal(200, t:get("/work").status)
            end
            assert.equal(round * 10, total())
            if round == 1 then
                local before = t:status().workers[1].pid
                t:kill(before)
                t:wait("another worker", function()
                    local pid = t:status().workers[1].pid
                    return pid > 0 and pid ~= before
                end)
            elseif round == 2 then
                assert.equal(0, t:cli("reload").code)
            end
        end
    end))

    it("is scraped by a real Prometheus under load, which finds every request", tidegate.test(function(t)
        local prometheus = find "prometheus"
        if not prometheus then
            pending "prometheus is not installed"
            return
        end
        start(t, SHOP)
        local config = t:write("prometheus.yml", [[
global: { scrape_interval: 250ms, scrape_timeout: 250ms }
scrape_configs:
  - job_name: tidegate
    static_configs: [ { targets: [ "127.0.0.1:@ADMIN@" ] } ]
]], { ADMIN = t:port "ADMIN" })
        local port = t:port "PROMETHEUS"
        t:run_beside(prometheus, "--config.file=" .. config, "--storage.tsdb.path=" .. t.dir .. "/tsdb",
            "--web.listen-address=127.0.0.1:" .. port)
        local function query(expression)
            local escaped = expression:gsub("[^%w]", function(c)
                return ("%%%02X"):format(c:byte())
            end)
            local answer = t:get("/api/v1/query?query=" .. escaped, { port = port })
            local result = answer and answer.status == 200 and tidegate.json.decode(answer.body)
            result = result and result.data.result
            return result and result[1] and tonumber(result[1].value[2]), result
        end
        t:wait("the first scrapes", function()
            return (query "count_over_time(up[1m])" or 0) >= 3
        end)
        local load = t:load { rate = 400, path = "/work" }
        load:run(300)
        t:kill(t:status().workers[1].pid)
        load:run(300)
        assert.equal(0, t:cli("reload").code)
        load:run(600)
        local sent = load:stop().requests
        local counted = 'sum(data_service_requests_total{service_name="shop",endpoint="/work"})'
        -- Those that were under way at the worker that was killed are counted by nobody.
        t:wait("the last scrape", function()
            local seen = query(counted)
            return seen and seen >= sent - 20 and value(t, 'tidegate_route_in_flight{service="shop",route="/work"}') == 0
        end)
        assert.equal(1, query "min_over_time(up[5m])")
        local names = tidegate.json.decode(t:get("/api/v1/label/__name__/values", { port = port }).body)
        local counters = 0
        for _, name in ipairs(names.data) do
            if name:find "_total$" or name:find "_bucket$" or name:find "_count$" or name:find "_sum$" then
                counters = counters + 1
                assert.equal(0, query(("sum(resets(%s[5m]))"):format(name)), name)
            end
        end
        assert.is_true(counters > 50)
        assert.is_true(query 'sum(data_service_request_duration_seconds_count{endpoint="/work"})' >= sent - 20)
        assert.is_true(query 'histogram_quantile(0.99, sum by (le) (tidegate_route_request_duration_seconds_bucket{route="/work"}))' > 0)
        assert.is_true(query 'max(rate(data_service_requests_total{endpoint="/work"}[30s]))' > 0)
        for _, name in ipairs { "data_service_cpu_usage_percent", "data_service_memory_usage_bytes" } do
            local _, result = query(name)
            assert.equal(2, #result, name)
        end
        local targets = tidegate.json.decode(t:get("/api/v1/targets", { port = port }).body)
        assert.equal("", targets.data.activeTargets[1].lastError)
    end))

    it("stays right whatever services say of their data and routes are called", tidegate.test(function(t)
        t:write("hostile.lua", [==[
local socket = require "socket"
local server = assert(socket.bind("127.0.0.1", tonumber(arg[1])))
local odd = { 'a"b', "a\\b", "a\nb", 'x"} 1\nevil{y="', "\255\254", "\192\128", "\237\160\128", "h\195\169", "", "other",
    ("z"):rep(3 * 1024 * 1024), "\0nul", "le", "__name__" }
local function quoted(text)
    return '"' .. text:gsub('[%z\1-\31"\\]', function(c) return ("\\u%04x"):format(c:byte()) end) .. '"'
end
local parts, scores = {}, {}
for i, name in ipairs(odd) do
    parts[i] = quoted(name) .. ": { " .. quoted(name) .. ": " .. i .. " }"
end
for i = 1, 500 do
    scores[i] = ('"set%d": { "completeness": %g }'):format(i, i / 1000)
end
local all = "{ " .. table.concat(parts, ", ") .. " }"
local times = all:gsub("{ [^{}]* }", '{ "count": 3, "sum": 0.5, "buckets": { "0.1": 2, "x": 1e999, "-1": -5 } }')
local body = ('{ "data_processing": { "records": %s, "errors": %s, "latency_seconds": %s }, "data_quality": { %s } }'):format(
    all, all, times, table.concat(scores, ", "))
while true do
    local client = server:accept()
    client:settimeout(2)
    local path = (client:receive "*l" or ""):match "^GET (%S+)"
    repeat local line = client:receive "*l" until not line or line == ""
    local answer = path == "/data" and body or "{}"
    client:send(("HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"):format(#answer) .. answer)
    client:close()
end
]==])
        start(t, [[
service "shop" {
  command = { "luajit", "@DIR@/hostile.lua", "$PORT" },
  scale = { instances = 1 },
  health_check = { http = "/health", interval = "200ms" },
  collect = { data = "/data", health = "/broken", interval = "300ms", timeout = "5s", max_body = "32m" },
  route = { { listen = "127.0.0.1:@PORT@", path = '/q"uo\\te\195\169' }, { listen = "127.0.0.1:@PORT@", path = "/\255" } },
}]])
        t:wait("the data", function()
            return value(t, 'data_quality_score{service_name="shop",dataset_id="set1",quality_dimension="completeness"}') == 0.001
        end)
        local body = check(t)
        if body then
            assert.is_nil(body:find "\nevil")
            assert.truthy(body:find('\ntidegate_route_in_flight{service="shop",route="/q\\"uo\\\\te\195\169"} 0', 1, true))
            assert.truthy(body:find('dataset_type="a\\"b",processing_stage="a\\"b"} 1', 1, true))
            assert.truthy(body:find('\ndata_quality_score{service_name="shop",dataset_id="set100"', 1, true))
            assert.is_nil(body:find('dataset_id="set101"', 1, true))
            assert.truthy(body:find('\ntidegate_metrics_series_dropped_total{family="data_quality_score"}', 1, true))
            assert.is_true(#body < 400000)
            t:configure([[
service "shop" {
  command = { "luajit", "@DIR@/hostile.lua", "$PORT" },
  scale = { instances = 1 },
  health_check = { http = "/health", interval = "200ms" },
  collect = { data = "/data", interval = "300ms", timeout = "5s", max_body = "32m" },
  route = { listen = "127.0.0.1:@PORT@" },
}]], { CLUSTER = "metrics = { max_values = 600 }" })
            assert.equal(0, t:cli("reload").code)
            t:wait("all data sets", function()
                return value(t, 'data_quality_score{service_name="shop",dataset_id="set500",quality_dimension="completeness"}') == 0.5
            end)
        end
    end))

    it("counts what could not be collected", tidegate.test(function(t)
        start(t, (SHOP:gsub('"/data"', '"/nothing"')))
        local failures = t:wait("a failure", function()
            local n = value(t, 'data_processing_errors_total{service_name="shop",error_type="metrics_collection_failed",severity="warning"}')
            return n and n > 0 and n
        end)
        t:wait("more of them", function()
            return value(t, 'data_processing_errors_total{service_name="shop",error_type="metrics_collection_failed",severity="warning"}')
                > failures
        end)
        local function up(endpoint)
            return value(t, ('tidegate_collect_up{service="shop",instance="shop%%-1",endpoint="%s"}'):format(endpoint))
        end
        t:wait("the first instance to be asked", function()
            return up "data" == 0 and up "performance" == 1
        end)
    end))

    it("counts anomalies by severity, and alerts", tidegate.test(function(t)
        t:write("policies/anomaly/always.lua", [[
return {
    name = "always",
    doc = "Every point is one.",
    new = function()
        return {
            metrics = { { name = "up", of = { "scale.up" } } },
            learn = function() return {} end,
            point = function() return 1, { severity = "high", description = "again" } end,
        }
    end,
    examples = { { given = { values = {}, more = { 1 } }, want = 1 } },
}]])
        start(t, [[
alerting { interval = "100ms", defaults = false }
service "data" { backends = { "127.0.0.1:@PORT2@" }, health_check = false, anomaly = { policy = "always", interval = "1s" } }
]])
        t:wait("two anomalies", function()
            return value(t, 'tidegate_anomalies_total{severity="high"}') >= 2
        end)
        assert.equal(0, value(t, 'tidegate_anomalies_total{severity="medium"}'))
        assert.is_true(value(t, "tidegate_alert_evaluations_total") > 0)
        t:wait("the alert of it", function()
            return value(t, 'tidegate_alerts{state="firing",severity="critical"}') == 1
        end)
    end))

    it("has the families of core/watch/METRICS.md, no more and no less", tidegate.test(function(t)
        start(t, SHOP)
        assert.equal(200, t:get("/work").status)
        local body = page(t).body
        local there, labels, help = {}, {}, {}
        for name, text in body:gmatch "# HELP (%S+) ([^\n]+)\n" do
            help[name] = text
        end
        for name, kind in body:gmatch "# TYPE (%S+) (%S+)\n" do
            there[name] = kind
        end
        for name, text in body:gmatch "\n([%w_]+){([^\n]*)} %S+" do
            local names = {}
            for label in text:gmatch '([%w_]+)="' do
                names[#names + 1] = label ~= "le" and label or nil
            end
            name = there[name] and name or name:gsub("_%w+$", "")
            labels[name] = table.concat(names, ", ")
        end
        local told = 0
        for name, kind, names, text in tidegate.read_file "core/watch/METRICS.md":gmatch "\n| `([%w_]+)` | (%w+) | ([%w_, ]*) | ([^|\n]+) |" do
            assert.equal(there[name], kind, name)
            assert.equal(help[name], (text:gsub("%s+$", "")), name)
            assert.equal(labels[name] or names, names, name)
            told = told + 1
        end
        local count = 0
        for name in pairs(there) do
            count = count + 1
            assert.truthy(tidegate.read_file "core/watch/METRICS.md":find("| `" .. name .. "` |", 1, true), name)
        end
        assert.equal(count, told)
    end))
end)
