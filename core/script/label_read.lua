-- label_read.lua: reads one set of labels: what labels may say, as the schema's fields, and the first
-- verdicts. labels.lua makes services of what comes out:
--   read(set, settings) -> { set, container, prefix, labels, place = "container web-1",
--     verdicts = { LABEL = { label, value, verdict, text } }, counts = whether it is to serve,
--     service = its name or nil, own = { port, weight, ... }, body = { health_check, ... },
--     routes = { { name = nil | "api", node, body, bad } }, route_of = { LABEL = route },
--     bad = something is wrong that is of no route, unfit = something of the container's own is (it serves
--     nothing, whatever the service does), wrong(label, text) }
local check = require "script.check"
local schema = require "script.schema"
local tree = require "script.label_tree"
require "script.service"

local M = {}

-- ---- What labels may say ----------------------------------------------------------------------

local function set_of(words)
    local out = {}
    for word in words:gmatch "%S+" do
        out[word] = true
    end
    return out
end

-- Not among them: what reads files or runs code, asks other addresses, or sends requests to other services.
local FIT = set_of [[listen host path methods headers request_headers answer_headers max_body
    max_connections_per_client timeouts min_body_rate balance max_retries response_buffer backend_timeout
    connect_timeout client_timeout request sticky idle_timeout circuit_breaker outlier_ejection
    panic_threshold queue retry_budget slow_start
    strip_prefix add_prefix rewrite redirect answer hsts cors maintenance rate_limit compress tls]]
-- Files are read by nobody whom others tell their names.
local FILES = { maintenance = { page = true }, answer = { file = true }, tls = {} }
for _, field in ipairs(schema.tls) do
    FILES.tls[field[1]] = field[1] ~= "acme"
end
local UNFIT = "is only for the configuration: who may start containers may not decide it"

local function changed(field, changes)
    local out = {}
    for key, value in next, field do
        out[key] = value
    end
    for key, value in next, changes do
        out[key] = value
    end
    return out
end

local function named(fields, name)
    for _, field in ipairs(fields) do
        if field[1] == name then
            return field
        end
    end
end

-- Fields with those named in `names` unfit.
local function without(fields, names)
    local out = {}
    for i, field in ipairs(fields) do
        out[i] = names[field[1]] and changed(field, { unfit = UNFIT }) or field
    end
    return out
end

-- Of types that know their own.
local OTHER_FIELDS = { sticky = schema.sticky, tls = schema.tls }

local function route_fields()
    local out = {}
    for i, field in ipairs(schema.route) do
        local fields = OTHER_FIELDS[field[1]] or field.fields
        fields = fields and FILES[field[1]] and without(fields, FILES[field[1]]) or fields
        out[i] = changed(field, { unfit = not FIT[field[1]] and UNFIT or nil, fields = fields })
    end
    return out
end

local function health_fields()
    local out = {}
    for i, field in ipairs(schema.health_check) do
        local runs = field[1] == "command" or field[1] == "engine"
        out[i] = runs and changed(field, { unfit = "is not needed: what an image declares is asked anyway; "
            .. "else use health.http or health.tcp" }) or field
    end
    return out
end

-- Of each container; the rest must be the same for all containers of a service.
local OWN = {
    { "enable", type = "boolean" },
    changed(schema.name, { "service", also = { "name" } }),
    { "port", type = "integer", min = 1, max = 65535 },
    { "network", type = "text", longest = 255 },
    named(schema.backend, "weight"), named(schema.backend, "max_connections"),
    named(schema.backend, "capacity"), named(schema.backend, "tags"),
}
local ROUTE = route_fields()
local FIELDS = {
    { "route", also = { "routes", "router" } },
    { "health", type = "health_check", fields = health_fields(), also = { "health_check", "healthcheck" } },
    { "balance", type = "balance", also = { "algorithm" } },
    named(schema.service, "drain_timeout"), named(schema.service, "slow_start"),
    { "scale" },
}
local ALL = {}
for _, list in ipairs { OWN, FIELDS } do
    for _, field in ipairs(list) do
        ALL[#ALL + 1] = field
    end
end
local BODY = { health = "health_check" } -- labels that are called otherwise in a file

-- ---- Verdicts ---------------------------------------------------------------------------------

-- The first word on a label counts. `name` may be one that the container does not have.
local function say(entry, name, verdict, text)
    if not entry.verdicts[name] then
        entry.verdicts[name] = { label = name, value = entry.labels[name], verdict = verdict, text = text }
    end
end

local function say_all(entry, verdict, text)
    for name in next, entry.labels do
        say(entry, name, verdict, text)
    end
end

-- The label that a path of the service's body came from: the longest that there is, or one below it.
local function label_of(entry, path)
    path = path == "" and "service" or path -- of its name
    local at, number, rest = entry.prefix .. "." .. path, path:match "^route%[(%d+)%]%.?(.*)$"
    if number then
        local name = entry.routes[tonumber(number)].name
        at = entry.prefix .. ".route" .. (name and "." .. name or "") .. (rest ~= "" and "." .. rest or "")
    end
    at = at:gsub("%.health_check", ".health", 1)
    local from = at
    while at ~= "" do
        if entry.labels[at] then
            return at
        end
        at = at:match "^(.*)%b[]$" or at:match "^(.*)%.[^.]*$" or ""
    end
    for _, name in ipairs(check.sorted_keys(entry.labels)) do
        if name:sub(1, #from + 1) == from .. "." then
            return name
        end
    end
    return from
end

-- ---- Reading a set ----------------------------------------------------------------------------

-- Routes of a node, as a list of { name = nil | "api", node }: a part that is no key of a route is a name.
local function find_routes(node)
    local keys, unnamed, out = {}, { kids = {}, name = node.name }, {}
    for _, field in ipairs(ROUTE) do
        keys[field[1]] = true
    end
    for _, part in ipairs(check.sorted_keys(node.kids)) do
        local kid = node.kids[part]
        if keys[part] or next(kid.kids) == nil then
            unnamed.kids[part] = kid
        else
            out[#out + 1] = { name = part, node = kid }
        end
    end
    if next(unnamed.kids) ~= nil then
        table.insert(out, 1, { node = unnamed })
    end
    return out
end

-- Values of the container's own keys; what is wrong is told.
local function read_own(entry, root)
    local node, values = { name = root.name, kids = {} }, {}
    local function wrong(name, text)
        entry.wrong(name, text)
        entry.unfit = true
    end
    for _, field in ipairs(OWN) do
        node.kids[field[1]] = root.kids[field[1]]
    end
    local given = tree.table(OWN, node, wrong)
    for _, field in ipairs(OWN) do
        if given[field[1]] ~= nil then
            local name = entry.prefix .. "." .. field[1]
            values[field[1]] = check.value(field, given[field[1]], field[1], { report = function(_, text)
                wrong(name, text)
            end })
        end
    end
    entry.own = values
end

local function read_routes(entry, node)
    entry.routes, entry.route_of = node and find_routes(node) or {}, {}
    if node and node.text then
        entry.wrong(node.name, ("has parts and no value: write %s.host=shop.example"):format(node.name))
    end
    for _, route in ipairs(entry.routes) do
        route.body = tree.table(ROUTE, route.node, function(name, text)
            entry.wrong(name, text)
            route.bad = true
        end)
        tree.each(route.node, function(one)
            entry.route_of[one.name] = route
        end)
    end
end

local function read_body(entry, root)
    local body = {}
    for _, part in ipairs(check.sorted_keys(root.kids)) do
        local kid = root.kids[part]
        local field, own = named(FIELDS, part), named(OWN, part)
        local function wrong(name, text)
            entry.wrong(name, text)
            entry.bad = true
        end
        if not field and not own then
            tree.each(kid, function(one)
                wrong(one.name, tree.unknown(root, part, ALL))
            end)
        elseif part == "scale" then
            tree.each(kid, function(one)
                say(entry, one.name, "unused", "is understood, but containers that others start are not "
                    .. "multiplied: declare the service in the configuration for that")
            end)
        elseif field and part ~= "route" then
            local node = { name = root.name, kids = { [part] = kid } }
            body[BODY[part] or part] = tree.table({ field }, node, wrong)[part]
        end
    end
    entry.body = body
    read_routes(entry, root.kids.route)
end

-- Whether the container is to serve; else its labels are told to be unused, and why.
local function counts(entry, settings)
    local enable = entry.own.enable
    local name = entry.prefix .. ".enable"
    if enable == nil and entry.labels[name] then
        say_all(entry, "unused", name .. " is wrong")
        return false
    elseif enable == nil and not settings.exposed_by_default then
        local text = "is missing: write %s=true, or no label below %s"
        say(entry, name, "wrong", text:format(name, entry.prefix))
        say_all(entry, "unused", "not enabled: " .. name .. " is missing")
        return false
    elseif enable == false then
        say_all(entry, "unused", "not enabled: " .. name .. "=false")
        return false
    end
    return true
end

local function read(set, settings)
    local entry = { set = set.set, container = set.container, prefix = settings.prefix, verdicts = {},
        labels = type(set.labels) == "table" and set.labels or {}, own = {}, place = "container " ..
        tostring(set.container) }
    function entry.wrong(name, text)
        say(entry, name, "wrong", text)
    end
    local root = tree.read(settings.prefix, entry.labels, entry.wrong)
    read_own(entry, root)
    local said = entry.labels[settings.prefix .. ".service"]
    entry.service = entry.own.service or not said and set.service or nil
    entry.counts = counts(entry, settings)
    if entry.counts then
        read_body(entry, root)
    end
    return entry
end

M.OWN, M.ALL, M.ROUTE = OWN, ALL, ROUTE
M.named, M.say, M.say_all, M.label_of, M.read = named, say, say_all, label_of, read

return M
