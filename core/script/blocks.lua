-- blocks.lua: checks what the files declared, block by block, and makes the configuration of script.h.
local acme = require "script.acme"
local alerting = require "script.alerting"
local check = require "script.check"
local edge = require "script.edge"
local guarding = require "script.guarding"
local labels = require "script.labels"
local lines = require "script.lines"
local rules = require "script.rules"
local schema = require "script.schema"
local service_types = require "script.service"
local tls = require "script.tls"

local M = {}

local KEYWORDS = { cluster = true, service = true, channel = true, alert = true, alerting = true }
local MOST_SERVICES = 1024

-- ---- Places -----------------------------------------------------------------------------------

-- The text of a block: which line each of its keys stands on.
local function find_text(load, entry)
    load.texts = load.texts or {}
    local file = entry.file
    if not load.texts[file] then
        load.texts[file] = lines.blocks(load.sources[file] or "", KEYWORDS)
    end
    local by_name
    for _, text in ipairs(load.texts[file]) do
        if text.keyword == entry.keyword then
            if text.line == entry.line and (text.name == nil or text.name == entry.name) then
                return text
            elseif text.name ~= nil and text.name == entry.name then
                by_name = by_name or text
            end
        end
    end
    return by_name or { keys = {}, twice = {} }
end

-- The line of a path: that of its longest part that the text has.
local function line_of(entry, path)
    local at = path
    while at ~= "" do
        if entry.text.keys[at] then
            return entry.text.keys[at]
        end
        at = at:match "^(.*)%b[]$" or at:match "^(.*)%b()$" or at:match "^(.*)%.[^.]*$" or ""
    end
    return entry.line
end

local function worded(entry, path, text)
    return entry.keyword .. (entry.name and (' "%s"'):format(entry.name) or "") .. ": " ..
        (path ~= "" and path .. ": " or "") .. text
end

-- The context that the checks get (check.lua, service.lua).
local function context(load, entry)
    local ctx = {
        directory = load.request.directory,
        cluster = load.settings,
        engine = load.engine,
        routes = {},
    }
    local function add(to, path, text)
        local top = path:match "^[^.[]+"
        if entry.overridden and entry.overridden[top] then
            to.add("command line", nil, worded(entry, path, text))
        else
            to.add(entry.file, line_of(entry, path), worded(entry, path, text))
        end
    end
    function ctx.report(path, text)
        add(load.errors, path, text)
    end
    function ctx.warn(path, text)
        add(load.warnings, path, text)
    end
    function ctx.place(path)
        return ("%s:%d"):format(entry.file, line_of(entry, path))
    end
    function ctx.plain(value, path)
        return load.plain(value, path, ctx.report)
    end
    function ctx.use(use)
        use.ctx = ctx
        load.uses[#load.uses + 1] = use
    end
    function ctx.read(name)
        return load.host.read(name)
    end
    function ctx.report_in(file, line, text)
        load.errors.add(file, line, text)
    end
    ctx.htpasswd = load.host.htpasswd
    ctx.errors, ctx.function_at = load.errors.count, load.host.function_at
    function ctx.run_again()
        load.run_again = true
    end
    return ctx
end

-- Text, plain body and context of a declared block; keys that are given twice are reported.
local function open(load, entry)
    entry.text = find_text(load, entry)
    local ctx = context(load, entry)
    if entry.adjust then
        entry.adjust(ctx)
    end
    for _, twice in ipairs(entry.text.twice) do
        local text = twice.line == twice.first and "is given twice" or
            ("is already given on line %d"):format(twice.first)
        load.errors.add(entry.file, twice.line, worded(entry, twice.path, text))
    end
    entry.body = ctx.plain(entry.body, "")
    return ctx
end

-- ---- Blocks -----------------------------------------------------------------------------------

-- The one block of that name, or an empty one.
local function only(load, keyword)
    local entry
    for _, declared in ipairs(load.declared) do
        if declared.keyword == keyword then
            if entry then
                local text = ("%s: is already declared at %s:%d"):format(keyword, entry.file, entry.line)
                load.errors.add(declared.file, declared.line, text)
            end
            entry = entry or declared
        end
    end
    return entry or { keyword = keyword, file = load.request.main, line = 1, body = {} }
end

local function check_cluster(load)
    local entry = only(load, "cluster")
    local ctx = open(load, entry)
    entry.overridden = {}
    for key, value in next, load.request.overrides do
        entry.body[key], entry.overridden[key] = value, true
    end
    local cluster, settings = check.record(schema.cluster, entry.body, "", ctx)
    if settings.min_instances > settings.max_instances then
        ctx.report("min_instances", ("%d is more than max_instances, which is %d"):format(
            settings.min_instances, settings.max_instances))
    end
    if cluster.labels and cluster.engine ~= "docker" then
        ctx.report("labels", 'are those of containers: write engine = "docker", or leave it out')
    end
    settings.labels = cluster.labels
    settings.thresholds = entry.body.cpu_threshold ~= nil or entry.body.memory_threshold ~= nil
    load.settings, load.engine, load.cluster_ctx = settings, cluster.engine, ctx
    acme.cluster(cluster.acme, cluster.history, ctx)
    return cluster
end

local function check_name(name, ctx)
    check.value(schema.name, name, "", { report = function(_, text)
        ctx.report("", "bad name: " .. text)
    end })
end

local function check_service(load, entry, shared)
    local ctx = open(load, entry)
    check_name(entry.name, ctx)
    local body, before = entry.body, load.errors.count()
    local source = rules.source(body, load.engine, ctx)
    ctx.source, ctx.body = source, body
    local s = check.record(schema.service, body, "", ctx)
    s.name, s.at, s.source = entry.name, ctx.place(""), source
    s.routes = s.routes or check.array()
    s.backends = s.backends or check.array()
    s.health_check = s.health_check or (body.health_check == nil and
        check.types.health_check({}, nil, "health_check", ctx)) or nil
    if source == "backends" then
        rules.only_own(schema.service, body, ctx)
        s.scale = nil
    elseif body.scale == nil then
        s.scale = check.types.scale({}, {}, "scale", ctx)
    end
    local clean = load.errors.count() == before
    local tags = s.tags
    s.tags = check.array()
    if clean then
        load.steps[#load.steps + 1] = {
            run = function()
                s.tags = service_types.tags(tags, s, "tags", ctx)
            end,
            failed = function(_, sentence)
                load.errors.add_sentence(sentence, function(text)
                    ctx.report("tags", text)
                end)
            end,
        }
    end
    rules.service(s, body, ctx, shared.ports, clean)
    rules.routes(ctx, shared.admin, shared.routes)
    tls.listeners(ctx, shared.tls)
    for place, one in ipairs(ctx.routes) do
        if one.route.canary then
            shared.canaries[#shared.canaries + 1] = { service = s, route = one.route, place = place,
                path = one.path, ctx = ctx }
        end
        shared.guarded[#shared.guarded + 1] = { service = s, route = one.route, place = place,
            path = one.path, ctx = ctx }
    end
    return s
end

local function check_channel(load, entry)
    local ctx = open(load, entry)
    check_name(entry.name, ctx)
    return alerting.check_channel(entry, ctx)
end

local function check_alert(load, entry, out)
    local ctx = open(load, entry)
    check_name(entry.name, ctx)
    ctx.known = { channels = out.channel, services = out.service, more = load.settings.labels ~= nil }
    return alerting.check_alert(entry, ctx)
end

local function check_alerting(load, out)
    local entry = only(load, "alerting")
    local ctx = open(load, entry)
    ctx.known = { channels = out.channel, services = out.service }
    return alerting.check_alerting(entry.body, ctx), ctx
end

-- The shipped alerts, unless the configuration has one of that name or says otherwise.
local function add_defaults(load, out, settings, ctx)
    local declared, known = {}, check.array()
    for _, alert in ipairs(out.alert) do
        declared[alert.name] = true
    end
    for _, entry in ipairs(load.pack) do
        known[#known + 1], known[entry.name] = entry.name, true
        entry.body = not declared[entry.name] and
            alerting.changed_default(entry.name, load.plain(entry.body, "", ctx.report), settings.defaults)
        if entry.body then
            out.alert[#out.alert + 1] = check_alert(load, entry, out)
        end
    end
    local changes = type(settings.defaults) == "table" and settings.defaults or {}
    for _, name in ipairs(check.sorted_keys(changes)) do
        if not known[name] then
            ctx.report("defaults." .. name, check.unknown(name, known, ('alert "%s"'):format(name)))
        end
    end
end

-- Everything that was declared, as the configuration object; policies are still to come.
function M.check(load)
    load.uses = {}
    local cluster = check_cluster(load)
    local out = { service = check.array(), channel = check.array(), alert = check.array() }
    local first = {}
    local shared = { ports = {}, routes = {}, admin = cluster.admin, tls = tls.new_shared(), canaries = {},
        guarded = {} }
    for _, keyword in ipairs { "service", "channel", "alert" } do
        if keyword == "alert" then
            labels.take(load, out, shared, check_service, cluster.acme ~= nil)
        end
        for _, entry in ipairs(load.declared) do
            if entry.keyword == keyword then
                local key = keyword .. " " .. entry.name
                if first[key] then
                    local text = worded(entry, "", "is already declared at " .. first[key])
                    load.errors.add(entry.file, entry.line, text)
                end
                first[key] = first[key] or ("%s:%d"):format(entry.file, entry.line)
                local list = out[keyword]
                list[#list + 1] = keyword == "service" and check_service(load, entry, shared) or
                    keyword == "channel" and check_channel(load, entry) or
                    check_alert(load, entry, out)
            end
        end
    end
    edge.canaries(shared.canaries, out.service)
    guarding.inner_routes(shared.guarded, out.service)
    if #out.service > MOST_SERVICES then
        local text = ("%d services: at most %d"):format(#out.service, MOST_SERVICES)
        load.errors.add(load.request.main, nil, text)
    elseif #out.service == 0 and not cluster.labels and load.errors.count() == 0 then
        load.warnings.add(load.request.main, nil, 'declares no service: write service "name" { ... }')
    end
    local listeners = tls.finish(shared.tls, load.settings.tls)
    acme.finish(shared.tls, cluster.acme, load.cluster_ctx)
    local settings, ctx = check_alerting(load, out)
    add_defaults(load, out, settings, ctx)
    return {
        path = load.request.path,
        directory = load.request.directory,
        cluster = cluster,
        services = out.service,
        tls = listeners,
        channels = out.channel,
        alerting = settings,
        alerts = out.alert,
        policies = check.array(),
        libraries = check.array(),
    }
end

return M
