-- alerting.lua: who is told of what: the blocks `alerting`, `channel` and `alert`, their keys and what
-- they mean together. The rule pack in policies/alerts.lua is written in the same words.
local check = require "script.check"
local service_types = require "script.service"
local values = require "script.values"
local view_paths = require "script.view_paths"

local M = {}
local types = check.types

local LABEL = "^[%a_][%w_]*$"

local function fail(ctx, path, what, value)
    ctx.report(path, select(2, values.expected(what, value)))
end

-- ---- Types ------------------------------------------------------------------------------------

-- A text that may be kept out of the file: "text", { env = "NAME" } or { file = "/path" }. The JSON has
-- the reference, never what it leads to.
function types.secret(value, field, path, ctx)
    if type(value) == "string" then
        local text = types.text(value, { longest = 4000, example = field.example }, path, ctx)
        if text and text:find "%c" then
            return ctx.report(path, "must not contain control characters")
        end
        return text and { text = text }
    elseif type(value) ~= "table" then
        return fail(ctx, path, 'text, { env = "NAME" } or { file = "/path" }', value)
    end
    local record = check.record({
        { "env", type = "text", pattern = LABEL, example = "the name of a variable" },
        { "file", type = "path" },
    }, value, path, ctx)
    if (record.env == nil) == (record.file == nil) then
        return fail(ctx, path, '{ env = "NAME" } or { file = "/path" }', value)
    end
    return record
end

function types.secrets(value, field, path, ctx)
    if type(value) == "string" or type(value) == "table" and (value.env ~= nil or value.file ~= nil) then
        return check.array { types.secret(value, field, path, ctx) }
    end
    local list = types.list(value, { of = { type = "secret" }, most = 16, example = field.example },
        path, ctx)
    if list and #list == 0 then
        return ctx.report(path, "names none")
    end
    return list
end

function types.secret_map(value, field, path, ctx)
    return types.map(value, { of = { type = "secret" }, key_pattern = "^[%w!#$%%&'*+.^_`|~-]+$",
        key_doc = "names of header fields are words", example = field.example }, path, ctx)
end

-- Where something is sent: an address with its scheme, unless it is kept elsewhere.
local function check_addresses(list, path, ctx)
    for i, secret in ipairs(list or {}) do
        if secret.text and not secret.text:find "^https?://[^/%s]" then
            ctx.report(#list == 1 and path or check.joined(path, i),
                'expected an address such as "https://hooks.example/x"')
        end
    end
end

-- { team = "data" }: names as Prometheus and Alertmanager take them.
function types.labels(value, field, path, ctx)
    return types.map(value, { of = { type = "scalar", longest = 512 }, key_pattern = LABEL,
        key_doc = "names of labels are words of letters, digits and _",
        example = field.example or 'such as { team = "data" }' }, path, ctx)
end

function types.label_names(value, _, path, ctx)
    return types.list(type(value) == "string" and { value } or value, {
        of = { type = "text", pattern = LABEL, example = "the name of a label" }, most = 32,
        example = 'such as { "alertname", "service" }',
    }, path, ctx)
end

function types.words(value, field, path, ctx)
    return types.list(type(value) == "string" and { value } or value,
        { of = { type = "text" }, most = 100, example = field.example }, path, ctx)
end

types["function"] = function(value, field, path, ctx)
    if type(value) ~= "function" then
        return fail(ctx, path, "a function" .. (field.example and " " .. field.example or ""), value)
    end
    ctx.run_again()
    return service_types.raw(value, ctx)
end

-- false, or a table of `fields`.
function types.unless_off(value, field, path, ctx)
    if value == false then
        return {}
    end
    return types.record(value, field, path, ctx)
end

function types.command_line(value, _, path, ctx)
    local field = { of = { type = "text", empty = true }, most = 64,
        example = 'such as { "/bin/page", "--now" }' }
    local list = types.list(value, field, path, ctx)
    if list and (list[1] == nil or list[1] == "") then
        return ctx.report(path, "names no program")
    end
    return list
end

-- ---- Conditions -------------------------------------------------------------------------------

local CONDITION = {
    { "metric_path", type = "text", pattern = "^[%w_]+[%w_.:{}=\", -]*$", longest = 200,
      required = 'metric_path = "performance.error_rate"',
      example = 'a path such as "performance.error_rate"',
      also = { "metric", "path" }, doc = "which number of the view" },
    { "operator", type = "enum", values = { ">", "<", ">=", "<=", "==", "!=" }, default = ">",
      also = { "op" }, doc = "how it is compared" },
    { "threshold", type = "number", required = "threshold = 0.05", also = { "value" },
      doc = "with what" },
    { "clear", type = "number", also = { "clear_threshold" },
      doc = "the alert ends only when this is passed on the way back" },
    { "duration", type = "duration", out = false, also = { "for" },
      doc = "how long it must hold, as in the alert itself" },
}

-- A clear threshold on the wrong side would end an alert that goes on.
local function check_clear(when, path, ctx)
    local op, clear, threshold = when.operator, when.clear, when.threshold
    if clear == nil or threshold == nil then
        return
    elseif op == "==" or op == "!=" then
        ctx.report(check.joined(path, "clear"), 'needs an operator with a direction, such as ">"')
    end
    local up = op == ">" or op == ">="
    if up and clear > threshold or not up and clear < threshold then
        local text = "%.14g is on the wrong side of the threshold %.14g"
        ctx.report(check.joined(path, "clear"), text:format(clear, threshold))
    end
end

function types.condition(value, _, path, ctx)
    if type(value) == "function" then
        ctx.run_again()
        return service_types.raw(value, ctx)
    elseif type(value) ~= "table" then
        return fail(ctx, path, "a function or a table with metric_path, operator and threshold", value)
    end
    local when, aside = check.record(CONDITION, value, path, ctx)
    check_clear(when, path, ctx)
    when.duration = aside.duration -- moved into the alert
    return when
end

-- ---- Keys -------------------------------------------------------------------------------------

local ESCALATE = {
    { "after", type = "duration", default = "15m", min = 1, unit = "s",
      doc = "how long it may fire without being acknowledged" },
    { "channels", type = "words", required = 'channels = { "boss" }', also = { "channel", "to" },
      example = 'such as { "boss" }', doc = "who is told then" },
}

local FLAP = {
    { "changes", type = "integer", default = 6, min = 2, max = 1000,
      doc = "changes within the window that make it a flapping one, which stays firing" },
    { "window", type = "duration", default = "10m", min = 1, unit = "s", doc = "how long changes count" },
}

local INHIBIT = {
    { "source", type = "labels", required = 'source = { alertname = "InstanceDown" }',
      doc = "labels of the alert that hides others" },
    { "target", type = "labels", required = 'target = { severity = "warning" }',
      doc = "labels of those that it hides" },
    { "equal", type = "label_names", default = {}, doc = "labels that both must have with one value" },
}

M.alerting = {
    { "channels", type = "words", also = { "channel" }, example = 'such as { "ops" }',
      doc = "who is told when an alert names no channel; all that are declared when absent" },
    { "defaults", type = "defaults", default = true, also = { "default_rules" },
      doc = "the shipped alerts: false = none, or a table that switches one off or changes it" },
    { "interval", type = "duration", default = "5s", min = 0.1, max = 3600, unit = "s",
      doc = "how often alerts are evaluated" },
    { "group_by", type = "label_names", default = { "alertname", "service" },
      doc = "alerts with the same values of these labels are one message" },
    { "group_wait", type = "duration", default = "10s", doc = "before the first message of a group" },
    { "group_interval", type = "duration", default = "5m", doc = "between messages of a group that changes" },
    { "repeat_interval", type = "duration", default = "4h", min = 1, unit = "s",
      doc = "between messages of a group that does not change" },
    { "maintenance", type = "boolean", default = true,
      doc = "alerts of a service wait while tidegate itself deploys, scales or drains it" },
    { "inhibit", type = "list", of = { type = "record", fields = INHIBIT }, default = {}, most = 100,
      example = 'such as { { source = { ... }, target = { ... } } }', doc = "alerts that hide others" },
    { "escalate", type = "record", optional = true, fields = ESCALATE,
      doc = "who is told of what nobody acknowledges" },
    { "notify", type = "notify", optional = true,
      doc = "policy that says who hears of what: \"name\" or { \"name\", parameter = ... }" },
    { "notify_shadow", type = "notify", optional = true,
      doc = "another one that is asked, too: what it would have said is noted, and nobody is told" },
    { "heartbeat", type = "record", optional = true, fields = {
        { "url", type = "secret", required = 'url = "https://..."', example = "such as \"https://...\"",
          doc = "asked as long as all is well: who misses it raises the alarm" },
        { "interval", type = "duration", default = "1m", min = 1, unit = "s", doc = "how often" },
    }, doc = "dead man's switch" },
}

M.alert = {
    { "when", type = "condition", also = { "condition" }, doc = "when it fires" },
    { "policy", type = "text", doc = "or an alert policy, whose parameters stand beside it" },
    { "scope", type = "enum", values = { "service", "instance", "tidegate" }, default = "service",
      doc = "what it looks at: each service, each instance, or tidegate itself" },
    { "services", type = "words", default = {}, also = { "service" }, example = 'such as { "catalog" }',
      doc = "which services; all when absent" },
    { "severity", type = "enum", values = { "info", "warning", "critical" }, default = "warning",
      doc = "how bad it is" },
    { "message", type = "text", default = "", empty = true, longest = 2000,
      doc = "text with {{service}}, {{instance}}, {{value}}, {{threshold}}, {{labels.x}}" },
    { "labels", type = "labels", default = {}, doc = "more labels" },
    { "annotations", type = "labels", default = {}, example = 'such as { runbook = "https://..." }',
      doc = "more texts for the message" },
    { "channels", type = "words", also = { "channel" }, example = 'such as { "ops" }', doc = "who is told" },
    { "duration", type = "duration", also = { "for" }, doc = "how long it must hold before it fires" },
    { "keep_firing_for", type = "duration", default = "0s",
      doc = "how long it fires on when it holds no more" },
    { "missing", type = "enum", values = { "keep", "ok", "alert" }, default = "keep", also = { "no_data" },
      doc = "what a missing number means: the state stays, all is well, or it fires" },
    { "cooldown", type = "duration", default = "5m",
      doc = "shortest time between two firings that are told" },
    { "flap", type = "unless_off", default = {}, fields = FLAP, example = "such as { changes = 6 }, or false",
      doc = "an alert that comes and goes is held firing" },
    { "escalate", type = "record", optional = true, fields = ESCALATE,
      doc = "who is told when nobody acknowledges it" },
    { "shadow", type = "boolean", doc = "to try it out: shown and noted, and nobody is ever told" },
}

local RATE = {
    { "per_minute", type = "number", default = 30, min = 0.01, max = 100000, doc = "messages on average" },
    { "burst", type = "integer", default = 10, min = 1, max = 100000, doc = "messages at once" },
}

local EMAIL = {
    { "to", type = "words", required = 'to = { "ops@shop.example" }',
      example = 'such as { "ops@shop.example" }', doc = "who gets it" },
    { "from", type = "text", required = 'from = "tidegate@shop.example"', doc = "who sends it" },
    { "server", type = "text", required = 'server = "smtp://mail:25"',
      pattern = "^smtps?://[^%s/]+$", example = '"smtp://host:25" or "smtps://host:465"',
        doc = "mail server" },
    { "user", type = "secret", doc = "who logs in" },
    { "password", type = "secret", doc = "with which password" },
    { "starttls", type = "boolean", default = false, also = { "tls" }, doc = "true: STARTTLS is a must" },
    { "ca", type = "path", default = "", doc = "PEM file of the authority" },
}

-- What a channel is: exactly one of these.
M.kinds = {
    { "webhook", type = "secrets", example = '"https://..."',
      doc = "POST of Alertmanager's JSON, version 4" },
    { "alertmanager", type = "secrets", example = 'such as "http://alertmanager:9093"',
      doc = "Alertmanagers: all are told" },
    { "slack", type = "secrets", example = '"https://hooks..."',
      doc = "incoming webhook of Slack or Mattermost" },
    { "pagerduty", type = "secret", doc = "routing key of PagerDuty's Events API v2" },
    { "email", type = "record", fields = EMAIL, optional = true, doc = "mail by SMTP" },
    { "ntfy", type = "secrets", example = '"https://ntfy.sh/topic"', doc = "topic of ntfy" },
    { "exec", type = "command_line", doc = "program with JSON on its stdin; no shell" },
    { "log", type = "boolean", doc = "lines in tidegate's own log" },
}

M.channel = {
    { "url", type = "secret", doc = "another address of the service (pagerduty)" },
    { "headers", type = "secret_map", default = {}, example = 'such as { Authorization = { env = "TOKEN" } }',
      doc = "header fields of the call" },
    { "template", type = "function", optional = true, example = "that returns the text",
      doc = "makes the body (webhook) or the text of a message" },
    { "timeout", type = "duration", default = "10s", min = 0.1, max = 300, unit = "s", doc = "for one try" },
    { "send_resolved", type = "boolean", default = true, doc = "whether the end of an alert is told" },
    { "rate", type = "record", fields = RATE, doc = "how many messages" },
    { "give_up", type = "duration", default = "24h", min = 1, unit = "s",
      doc = "a message that could not be delivered for so long is dropped, and counted" },
}

-- ---- Blocks -----------------------------------------------------------------------------------

-- Rules of the pack by name: false, true, or keys of `alert` and of its condition.
function types.defaults(value, _, path, ctx)
    if type(value) == "boolean" then
        return value
    elseif type(value) ~= "table" then
        return fail(ctx, path, "true, false or a table such as { InstanceDown = false }", value)
    end
    for _, key in ipairs(check.sorted_keys(value)) do
        local item = value[key]
        if type(key) ~= "string" or type(item) ~= "boolean" and type(item) ~= "table" then
            fail(ctx, check.joined(path, key), "false or a table such as { threshold = 0.5 }", item)
            value[key] = nil
        end
    end
    return value
end

function types.notify(value, _, path, ctx)
    return types.policy_use(value, { kind = "notify", example = "by_severity" }, path, ctx)
end

local function check_names(list, names, path, what, ctx)
    for i, name in ipairs(list or {}) do
        if not names[name] then
            ctx.report(check.joined(path, i), check.unknown(name, names, ('%s "%s"'):format(what, name)))
        end
    end
end

-- The names of declared things, as a list and as a set.
local function names_of(list)
    local names = {}
    for _, item in ipairs(list) do
        names[#names + 1], names[item.name] = item.name, true
    end
    return names
end

function M.check_channel(entry, ctx)
    local given, extra, keys = {}, {}, {}
    for _, fields in ipairs { M.kinds, M.channel } do
        for _, field in ipairs(fields) do
            keys[#keys + 1] = field
        end
    end
    local channel = check.record(keys, entry.body, "", ctx)
    for _, field in ipairs(M.kinds) do
        local key = field[1]
        if entry.body[key] ~= nil and entry.body[key] ~= false then
            given[#given + 1] = key
            extra[key], channel[key] = channel[key], nil
        end
    end
    if #given ~= 1 then
        local none = 'says not where to: write webhook = "https://...", log = true or the like'
        local two = "%s and %s exclude each other: declare two channels"
        ctx.report("", #given == 0 and none or two:format(given[1], given[2]))
    end
    channel.kind, channel.to = given[1], extra[given[1]]
    if given[1] == "webhook" or given[1] == "alertmanager" or given[1] == "slack" or given[1] == "ntfy" then
        check_addresses(channel.to, given[1], ctx)
    end
    check_addresses({ channel.url }, "url", ctx)
    if channel.url and channel.kind ~= "pagerduty" then
        ctx.report("url", "is for pagerduty only")
    end
    channel.name, channel.at = entry.name, ctx.place("")
    return channel
end

local PLACEHOLDERS = { "name", "alertname", "service", "instance", "severity", "value", "threshold",
    "duration", "failing", "certificate" }

-- What would be told with a hole in it, or would never fire, because of a name that nothing has.
local function warn_of_names(alert, ctx)
    local message = alert.message or ""
    for word in message:gmatch "{{%s*([^{}]-)%s*}}" do
        local fine = word:find "^labels%." ~= nil
        for _, placeholder in ipairs(PLACEHOLDERS) do
            fine = fine or word == placeholder
        end
        if not fine then
            ctx.warn("message", check.unknown(word, PLACEHOLDERS, ("placeholder {{%s}}"):format(word)))
        end
    end
    local path = type(alert.when) == "table" and alert.when.metric_path
    if not path then
        return
    end
    local services, wanted = {}, {}
    for _, name in ipairs(alert.services) do
        wanted[name] = true
    end
    for _, service in ipairs(ctx.known.services) do
        if #alert.services == 0 or wanted[service.name] then
            services[#services + 1] = service
        end
    end
    local why = view_paths.why_not(path, alert.scope, services)
    if why then
        ctx.warn("when.metric_path", why)
    end
end

-- ctx.known: { channels = list, services = list, more = services come and go with labels }.
function M.check_alert(entry, ctx)
    local params = {}
    local alert = check.record(M.alert, entry.body, "", ctx, entry.body.policy ~= nil and params or nil)
    if alert.policy then
        if alert.when then
            ctx.report("when", "and policy exclude each other")
        end
        alert.when = { policy = alert.policy }
        ctx.use { kind = "alert", name = alert.policy, params = params, inherited = {}, path = "",
            name_path = "policy", owner = alert.when, beside = M.alert }
        alert.policy = nil
    elseif entry.body.when == nil and entry.body.condition == nil then
        ctx.report("", 'when is missing: when = { metric_path = "performance.error_rate", threshold = 0.05 }')
    end
    local inner = type(alert.when) == "table" and alert.when.duration or nil
    if inner and alert.duration_ms and inner ~= alert.duration_ms then
        ctx.report("when.duration", "is given beside the alert's own, which differs")
    end
    alert.duration_ms = alert.duration_ms or inner or 0
    if alert.when then
        alert.when.duration = nil
    end
    local channels = names_of(ctx.known.channels)
    check_names(alert.channels, channels, "channels", "channel", ctx)
    if not ctx.known.more then
        check_names(alert.services, names_of(ctx.known.services), "services", "service", ctx)
    end
    if alert.escalate then
        check_names(alert.escalate.channels, channels, "escalate.channels", "channel", ctx)
    end
    if alert.scope == "tidegate" and #alert.services > 0 then
        ctx.report("services", 'says nothing when scope = "tidegate"')
    end
    warn_of_names(alert, ctx)
    alert.name, alert.at = entry.name, ctx.place("")
    return alert
end

function M.check_alerting(body, ctx)
    local alerting = check.record(M.alerting, body, "", ctx)
    if alerting.heartbeat then
        check_addresses({ alerting.heartbeat.url }, "heartbeat.url", ctx)
    end
    local channels = names_of(ctx.known.channels)
    check_names(alerting.channels, channels, "channels", "channel", ctx)
    if alerting.escalate then
        check_names(alerting.escalate.channels, channels, "escalate.channels", "channel", ctx)
    end
    return alerting
end

-- ---- The rule pack ----------------------------------------------------------------------------

-- What an operator's `defaults` makes of a rule of the pack: its body, or nil when it is off.
function M.changed_default(name, body, defaults)
    local change
    if type(defaults) == "table" then
        change = defaults[name]
    end
    if defaults == false or change == false then
        return nil
    elseif type(change) ~= "table" then
        return body
    end
    if change.threshold ~= nil and type(body.when) == "table" then
        body.when.clear = nil -- it belongs to the other threshold
    end
    for _, key in ipairs(check.sorted_keys(change)) do
        local item, to = change[key], body
        for _, field in ipairs(CONDITION) do
            if field[1] == key and key ~= "duration" and type(body.when) == "table" then
                to = body.when
            end
        end
        to[key] = item
    end
    return body
end

return M
