-- The blocks alerting, channel and alert, and the shipped alerts.
local configuration = require "configuration"

local WEB = 'cluster { engine = "process" } service "web" { command = { "web" }, ports = { 80 } }\n'

local function loaded(files)
    local config, text = configuration.load(files)
    assert.is_not_nil(config, text)
    return config
end

local function errors(text)
    local config, why = configuration.load(WEB .. text)
    assert.is_nil(config, "loaded: " .. text)
    return (why:gsub("tidegate%.lua:", ""))
end

local function by_name(list)
    local out = {}
    for _, item in ipairs(list) do
        out[item.name] = item
    end
    return out
end

describe("The blocks of alerts", function()
    after_each(configuration.clean)

    it("fill in every default", function()
        local config = loaded(WEB .. [[
channel "ops" { webhook = "https://hooks.example/x" }
alert "Slow" { when = { metric_path = "performance.p99", threshold = 0.5, duration = "1m" } }]])
        assert.same({
            name = "ops", at = "tidegate.lua:2", kind = "webhook", to = { { text = "https://hooks.example/x" } },
            headers = {}, timeout_ms = 10000, send_resolved = true, rate = { per_minute = 30, burst = 10 },
            give_up_ms = 86400000,
        }, config.channels[1])
        assert.same({
            name = "Slow", at = "tidegate.lua:3",
            when = { metric_path = "performance.p99", operator = ">", threshold = 0.5 },
            scope = "service", services = {}, severity = "warning", message = "", labels = {}, annotations = {},
            duration_ms = 60000, keep_firing_for_ms = 0, missing = "keep", cooldown_ms = 300000,
            flap = { changes = 6, window_ms = 600000 },
        }, config.alerts[1])
        assert.same({
            defaults = true, interval_ms = 5000, group_by = { "alertname", "service" }, group_wait_ms = 10000,
            group_interval_ms = 300000, repeat_interval_ms = 14400000, maintenance = true, inhibit = {},
        }, config.alerting)
    end)

    it("keep secrets as references", function()
        local config = loaded(WEB .. [[
channel "page" { pagerduty = { env = "PAGER_KEY" } }
channel "mail" { email = { to = "ops@shop.example", from = "tidegate@shop.example", server = "smtps://mail:465",
    user = "tidegate", password = { file = "mail.password" } } }
channel "hook" { webhook = { "http://a/", { env = "B" } }, headers = { Authorization = { file = "/run/token" } } }
channel "run" { exec = { "/bin/page" }, rate = { per_minute = 1 }, send_resolved = false }
channel "am" { alertmanager = "http://127.0.0.1:9093", template = function(n) return n end }]])
        local channels = by_name(config.channels)
        assert.same({ env = "PAGER_KEY" }, channels.page.to)
        assert.same({
            to = { "ops@shop.example" }, from = "tidegate@shop.example", server = "smtps://mail:465",
            user = { text = "tidegate" }, password = { file = config.directory .. "/mail.password" },
            starttls = false, ca = "",
        }, channels.mail.to)
        assert.same({ { text = "http://a/" }, { env = "B" } }, channels.hook.to)
        assert.same({ Authorization = { file = "/run/token" } }, channels.hook.headers)
        assert.same({ "exec", { "/bin/page" }, false, { per_minute = 1, burst = 10 } },
            { channels.run.kind, channels.run.to, channels.run.send_resolved, channels.run.rate })
        assert.same({ ["function"] = "tidegate.lua:7" }, channels.am.template)
    end)

    it("tell what cannot be", function()
        for text, wanted in pairs {
            ["channel 'ops' { webhook = 'http://x' }\nalert 'A' { channels = { 'osp' } }"] =
                '3: alert "A": when is missing: when = { metric_path = "performance.error_rate", threshold = 0.05 }\n' ..
                '3: alert "A": channels[1]: unknown channel "osp": did you mean "ops"?',
            ["alert 'A' { when = 5 }"] =
                '2: alert "A": when: expected a function or a table with metric_path, operator and threshold, got 5',
            ["alert 'A' { when = function() end, severity = 'bad', wen = 1 }"] =
                '2: alert "A": wen: unknown key: did you mean "when"?\n' ..
                '2: alert "A": severity: expected one of "info", "warning", "critical", got "bad"',
            ["alert 'A' { when = { metric_path = 'a.b', operator = '=>', threshold = 1 } }"] =
                '2: alert "A": when.operator: unknown value "=>": did you mean ">"?',
            ["alert 'A' { when = { metric_path = 'a.b', threshold = 1, clear = 2 } }"] =
                '2: alert "A": when.clear: 2 is on the wrong side of the threshold 1',
            ["alert 'A' { when = function() end, services = { 'wbe' } }"] =
                '2: alert "A": services[1]: unknown service "wbe": did you mean "web"?',
            ["alert 'A' { when = function() end, policy = 'x' }"] =
                '2: alert "A": when: and policy exclude each other\n' ..
                '2: alert "A": policy: unknown alert policy "x": there is burn_rate',
            ["alert 'A' { when = function() end, labels = { ['a-b'] = 1 } }"] =
                '2: alert "A": labels.a-b: names of labels are words of letters, digits and _',
            ["channel 'a' { log = true }\nchannel 'a' { log = true }"] = '3: channel "a": is already declared at 2',
            ["channel 'a' {}"] =
                '2: channel "a": says not where to: write webhook = "https://...", log = true or the like',
            ["channel 'a' { log = true, slack = 'x' }"] =
                '2: channel "a": slack and log exclude each other: declare two channels',
            ["channel 'a' { slack = { env = 'A', file = 'b' } }"] =
                '2: channel "a": slack: expected { env = "NAME" } or { file = "/path" }, got a table',
            ["channel 'a' { email = { to = {}, from = 'x', server = 'mail' } }"] =
                '2: channel "a": email.server: expected "smtp://host:25" or "smtps://host:465", got "mail"',
            ["channel 'a' { webhook = 'hooks.example/x' }"] =
                '2: channel "a": webhook: expected an address such as "https://hooks.example/x"',
            ["alerting { heartbeat = { url = 'example.org' } }"] =
                '2: alerting: heartbeat.url: expected an address such as "https://hooks.example/x"',
            ["alerting { chanels = { 'a' } }"] = '2: alerting: chanels: unknown key: did you mean "channels"?',
            ["alerting { defaults = { InstanceDwn = false } }"] =
                '2: alerting: defaults.InstanceDwn: unknown alert "InstanceDwn": did you mean "InstanceDown"?',
            ["alerting { defaults = { HighCPU = { treshold = 1 } } }"] =
                'policies/alerts.lua:32: alert "HighCPU": treshold: unknown key',
            ["alerting {}\nalerting {}"] = "3: alerting: is already declared at 2",
        } do
            assert.equal(wanted, errors(text):sub(1, #wanted), text)
        end
    end)
end)

describe("An alert that would never find its number", function()
    after_each(configuration.clean)

    local TELLING = 'service "b" { backends = { "127.0.0.1:9" }, collect = { data = "/d", prometheus = "/m" } }\n'

    local function warnings(text)
        local config, said = configuration.load(WEB .. text)
        assert.is_not_nil(config, said)
        return (said:gsub("tidegate%.lua:", ""):gsub('%d+: alert "A": ', ""))
    end

    local function of(path, more)
        return warnings(("alert 'A' { when = { metric_path = %q, threshold = 1 }%s }"):format(path, more or ""))
    end

    it("is told, with the nearest path that there is", function()
        for path, wanted in pairs {
            ["traffic.que"] = 'when.metric_path: no view has "traffic.que": did you mean "traffic.queue"?',
            ["resources.cpu"] = 'when.metric_path: no view has "resources.cpu": did you mean "resources.cpu_usage"?',
            ["cpu_usage"] = 'when.metric_path: no view has "cpu_usage": did you mean "resources.cpu_usage"?',
            ["perf.p99"] = 'when.metric_path: no view has "perf.p99": did you mean "performance.p99"?',
            ["scale.nonsense"] = 'when.metric_path: no view has "scale.nonsense": there are scale.{desired, up, min, max, '
                .. 'at_max, wants_more, deploy_failed}',
            ["zzz"] = 'when.metric_path: no view has "zzz": `tidegate metrics SERVICE` shows what there is',
            ["health.upp"] = 'when.metric_path: no service tells "health.upp": did you mean "health.up"? '
                .. 'Else write collect = { health = "/..." } in the service',
            ["prometheus.jobs"] = 'when.metric_path: no service tells "prometheus.jobs": write collect = '
                .. '{ prometheus = "/..." } in the service',
        } do
            assert.equal(wanted, (of(path):gsub("%s+$", "")))
        end
        assert.matches('no instance has "scale.up": write scope = "service"', of("scale.up", ', scope = "instance"'), 1, true)
        assert.matches('no view has "loop_lagg": did you mean "loop_lag"?', of("loop_lagg", ', scope = "tidegate"'), 1, true)
    end)

    it("is not one that finds it", function()
        for _, path in ipairs { "traffic.p99", "resources.network.sent_bytes_per_second", "health.up", "performance.p50",
            "scale.at_max" } do
            assert.equal("", of(path))
        end
        assert.equal("", of("disk_free", ', scope = "tidegate"'))
        local own = TELLING .. "alert 'A' { when = { metric_path = %q, threshold = 1 } %s }"
        for _, path in ipairs { "data_processing.lag", "data_quality.freshness_s", 'prometheus.jobs{kind="a"}:rate' } do
            assert.equal("", warnings(own:format(path, "")))
        end
        assert.matches("no service tells", warnings(own:format("data_processing.lag", ", services = { 'web' }")))
    end)

    it("or its words is told", function()
        local said = warnings [[alert 'A' { message = "{{serivce}} {{labels.x}} {{value}}", when = function() return true end }]]
        assert.matches('message: unknown placeholder {{serivce}}: did you mean "service"?', said, 1, true)
        assert.equal("", warnings [[alert 'A' { message = "{{service}} {{labels.x}}", when = function() return true end }]])
    end)
end)

describe("The shipped alerts", function()
    after_each(configuration.clean)

    it("are there unless switched off, changed one by one, or declared anew", function()
        local all = loaded(WEB).alerts
        local shipped = by_name(all)
        assert.equal("policies/alerts.lua", shipped.InstanceDown.at:match "^(.*):%d+$")
        assert.same({}, loaded(WEB .. "alerting { defaults = false }").alerts)
        local config = loaded(WEB .. [[
alerting { defaults = { DiskLow = false, HighLatency = { threshold = 0.25, duration = "7s", severity = "info" } } }
alert "HighCPU" { when = function() return false end }]])
        local changed = by_name(config.alerts)
        assert.equal(#all - 1, #config.alerts)
        assert.is_nil(changed.DiskLow)
        assert.same({ metric_path = "traffic.p99", operator = ">", threshold = 0.25 }, changed.HighLatency.when)
        assert.same({ 7000, "info" }, { changed.HighLatency.duration_ms, changed.HighLatency.severity })
        assert.equal("tidegate.lua:3", changed.HighCPU.at)
    end)

    it("can be a file of the operator's own", function()
        local config = loaded { ["tidegate.lua"] = WEB, ["policies/alerts.lua"] = [[
alert "Own" { when = { metric_path = "health.up", operator = "<", threshold = 1 } }]] }
        assert.equal(1, #config.alerts)
        assert.equal("policies/alerts.lua:1", config.alerts[1].at)
    end)
end)
