-- service.lua: the types of schema.lua that are more than a notation, and what a service's parts mean
-- together: health checks, scale, routes, backends, tags.
--
-- A context has, beside report: cluster (its checked settings), directory (of the configuration),
-- place(path) -> "file:line", use(kind, policy, params, path, owner): notes that `owner.params` are the
-- parameters of a policy, function_at(f) -> "file:line", run_again(): workers need a function of the files.
local check = require "script.check"
local edge = require "script.edge"
local schema = require "script.schema"
local tls = require "script.tls"
local values = require "script.values"

local M = {}
local types = check.types

local function fail(ctx, path, what, value)
    ctx.report(path, select(2, values.expected(what, value)))
end

-- ---- Small types ------------------------------------------------------------------------------

function types.path(value, _, path, ctx)
    local text = types.text(value, { empty = true, longest = 4000 }, path, ctx)
    if not text or text == "" or text:sub(1, 1) == "/" then
        return text
    elseif text == "." then
        return ctx.directory
    end
    return ctx.directory:gsub("/$", "") .. "/" .. text:gsub("^%./", "")
end

function types.admin(value, field, path, ctx)
    if value == false or value == "" then
        return ""
    end
    return types.listen(value, field, path, ctx)
end

function types.docker_host(value, _, path, ctx)
    if value == "" or type(value) == "string" and value:find "^unix:///." then
        return value
    end
    local port = type(value) == "string" and value:match "^tcp://[%w.%[%]:-]+:(%d+)$"
    if port and values.is_port(tonumber(port)) then
        return value
    end
    fail(ctx, path, '"unix:///var/run/docker.sock" or "tcp://host:2376"', value)
end

function types.url_path(value, _, path, ctx)
    local text = types.text(value, { longest = 2000, example = 'such as "/health"' }, path, ctx)
    if not text then
        return nil
    elseif text:sub(1, 1) ~= "/" then
        return ctx.report(path, "a path begins with /, got " .. values.describe(value))
    elseif text:find "[%s%c#]" then
        return ctx.report(path, "a path has no blanks and no #, got " .. values.describe(value))
    end
    return text
end

-- "*.shop.example" is for every name below shop.example, not for itself.
function types.hostname(value, _, path, ctx)
    local text = types.text(value, { empty = true }, path, ctx)
    if text and text ~= "" and not values.is_host((text:gsub("^%*%.", ""))) then
        return fail(ctx, path, 'a host name such as "shop.example" or "*.shop.example"', value)
    end
    return text and text:lower()
end

-- ---- Methods and header fields ----------------------------------------------------------------

local TOKEN = "^[%w!#$%%&'*+.^_`|~-]+$"
-- What tidegate writes itself, whatever came.
local OURS = {}
for name in ([[connection content-length date expect host keep-alive max-forwards proxy-connection
    te traceparent trailer
    transfer-encoding upgrade via x-forwarded-for x-request-id]]):gmatch "%S+" do
    OURS[name] = true
end
local MOST_SET_BYTES = 2000

function types.methods(value, _, path, ctx)
    local list = types.list(type(value) == "string" and { value } or value, {
        of = { type = "text", pattern = "^[%u%d_-]+$", longest = 32, example = 'a method such as "GET"' },
        most = 32, example = 'such as { "GET", "HEAD" }',
    }, path, ctx)
    if list and #list == 0 then
        return ctx.report(path, "names none: leave it out for every method")
    end
    return list
end

local function header_name(name, path, ctx)
    if type(name) ~= "string" or #name > 128 or not name:find(TOKEN) then
        return fail(ctx, path, 'a header name such as "X-Tenant"', name)
    end
    return name
end

function types.header_names(value, _, path, ctx)
    local list = types.list(type(value) == "string" and { value } or value,
        { of = { type = "text" }, most = 32, example = 'such as { "Server" }' }, path, ctx)
    for i, name in ipairs(list or {}) do
        local at = check.joined(path, i)
        if header_name(name, at, ctx) and OURS[name:lower()] then
            ctx.report(at, name .. " is written by tidegate itself")
        end
    end
    return list
end

-- { ["X-Tenant"] = "blue" } -> a list of name and value in the order of the names.
function types.header_values(value, _, path, ctx)
    local map = types.map(value, { of = { type = "scalar", longest = 512 },
        key_doc = "header names are text", example = 'such as { ["X-Tenant"] = "blue" }' }, path, ctx)
    if not map then
        return nil
    end
    local out, seen, bytes = check.array(), {}, 0
    for _, name in ipairs(check.sorted_keys(map)) do
        local at, text = check.joined(path, name), map[name]
        bytes = bytes + #name + #text + 4
        if not header_name(name, at, ctx) then
            return nil
        elseif text:find "[%c]" or text:find "^%s" or text:find "%s$" then
            ctx.report(at, "a header value has no control characters and no blanks at its ends")
        elseif seen[name:lower()] then
            local first = seen[name:lower()]
            ctx.report(at, ("is %s again: names are the same in upper and lower case"):format(first))
        end
        seen[name:lower()] = name
        out[#out + 1] = { name = name, value = text }
    end
    if bytes > MOST_SET_BYTES then
        ctx.report(path, ("has %d bytes: at most %d"):format(bytes, MOST_SET_BYTES))
    end
    return out
end

function types.command(value, _, path, ctx)
    if type(value) == "string" then
        return check.array { "CMD-SHELL", value }
    end
    local field = { of = { type = "text", empty = true }, example = 'such as { "/svc", "probe" }' }
    local list = types.list(value, field, path, ctx)
    if list and list[1] ~= "CMD" and list[1] ~= "CMD-SHELL" then
        table.insert(list, 1, "CMD")
    end
    return list
end

function types.tags(value, _, path, ctx)
    local field = { of = { type = "text", longest = 128 }, most = 64, example = 'such as { "zone:0" }' }
    return types.list(value, field, path, ctx)
end

-- Data of a kind that is not settled: kept as it is, functions as their place.
local function raw(value, ctx)
    if type(value) == "function" then
        return { ["function"] = ctx.function_at(value) }
    elseif type(value) ~= "table" then
        return value
    end
    local out = check.list_length(value) and next(value) ~= nil and check.array() or {}
    for key, item in next, value do
        out[key] = raw(item, ctx)
    end
    return out
end
M.raw = raw

-- ---- Health checks ----------------------------------------------------------------------------

local function health_kind(value, path, ctx)
    local given = {}
    for _, kind in ipairs { "http", "tcp", "grpc", "command", "engine" } do
        if value[kind] then
            given[#given + 1] = kind
        end
    end
    if #given > 1 then
        ctx.report(path, ("%s and %s exclude each other"):format(given[1], given[2]))
    end
    local kind = given[1]
    if (kind == "command" or kind == "engine") and (ctx.engine ~= "docker" or ctx.source == "backends") then
        ctx.report(check.joined(path, kind), ctx.source == "backends" and
            "backends have no engine that could run a check: use http, tcp or grpc" or
            "the process engine has no checks of its own: use http, tcp or grpc")
    end
    return kind == "command" and "engine" or kind
end

function types.health_check(value, _, path, ctx)
    local off = value == false
    if type(value) == "string" then
        value = { http = value }
    elseif off then
        value = {}
    elseif type(value) ~= "table" then
        return fail(ctx, path, 'a table such as { http = "/health" }, a path, or false', value)
    end
    local h = check.record(schema.health_check, value, path, ctx)
    local kind = health_kind(value, path, ctx)
    local interval = h.interval_ms or ctx.cluster.health_check_interval
    -- Who speaks HTTP/2 alone is a server of gRPC as a rule, which knows no paths.
    local protocol = ctx.body.protocol
    local unasked = (ctx.source == "backends" or protocol == "h2c" or protocol == "h2") and "tcp" or "http"
    return {
        kind = off and "none" or kind or unasked,
        path = kind == "grpc" and value.grpc or h.http or "/health",
        port = h.port,
        command = check.array(h.command),
        interval_ms = interval,
        timeout_ms = h.timeout_ms or math.min(5000, interval),
        retries = h.retries,
        rise = h.rise,
        start_period_ms = h.start_period_ms,
        explicit = off or kind ~= nil,
    }
end

-- ---- Scale and balance ------------------------------------------------------------------------

local function check_mode(s, path, ctx)
    local at = check.joined(path, "pinned")
    s.mode = s.mode or s.pinned and "pinned" or "active"
    if s.mode == "pinned" and not s.pinned then
        ctx.report(check.joined(path, "mode"), "pinned to how many? Write pinned = N beside it")
    elseif s.mode ~= "pinned" and s.pinned then
        ctx.report(at, ('goes with mode = "pinned": this is mode = "%s"'):format(s.mode))
    elseif s.pinned and (s.pinned < s.min or s.pinned > s.max) then
        ctx.report(at, ("%d is outside of min, which is %d, and max, which is %d"):format(s.pinned,
            s.min, s.max))
    end
end

-- Who says that a step down may come sooner after another than limits of steps have it by default means it.
local function shorten(limits, given, own_ms)
    for _, key in ipairs { "down_period", "after_up" } do
        local name = key .. "_ms"
        if own_ms and limits and limits[name] and (type(given) ~= "table" or given[key] == nil) then
            limits[name] = math.min(limits[name], own_ms)
        end
    end
end

local function routed(value)
    local list = type(value) == "table" and (value[1] and value or { value }) or {}
    for _, route in ipairs(list) do
        if type(route) == "table" and not tostring(route.listen):find "^tcp://" then
            return true
        end
    end
    return false
end

-- The policy of a service that names none: what is learned of its requests where we see them. Who says how
-- much CPU or memory is too much means the policy that looks at these.
local function unnamed(params, ctx)
    local thresholds = params.cpu ~= nil or params.memory ~= nil or ctx.cluster.thresholds
    return routed(ctx.body.route) and not thresholds and "error_budget" or "threshold"
end

function types.scale(value, field, path, ctx)
    if type(value) ~= "table" then
        return fail(ctx, path, "a table " .. field.example, value)
    end
    local params, cluster = {}, ctx.cluster
    local s = check.record(schema.scale, value, path, ctx, params)
    s.policy = s.policy or unnamed(params, ctx)
    local fixed = type(value.instances) == "number" and value.instances or nil
    if fixed and (value.min ~= nil or value.max ~= nil) then
        ctx.report(check.joined(path, "instances"), "fixes the number: leave min and max out")
    end
    s.min = fixed or s.min or math.min(cluster.min_instances, s.max or cluster.max_instances)
    s.max = fixed or s.max or math.max(cluster.max_instances, s.min)
    if s.min > s.max then
        ctx.report(check.joined(path, "min"), ("%d is more than max, which is %d"):format(s.min, s.max))
    end
    check_mode(s, path, ctx)
    local inherited = { threshold = { cpu = cluster.cpu_threshold, memory = cluster.memory_threshold } }
    ctx.use { kind = "scale", name = s.policy, params = params, inherited = inherited, path = path,
        name_path = check.joined(path, "policy"), owner = s,
        cooldowns = { up_ms = cluster.scale_up_cooldown, down_ms = cluster.scale_down_cooldown },
        settle = function(timing)
            s.interval_ms = s.interval_ms or timing.interval_ms or 15000
            s.up_cooldown_ms = s.up_cooldown_ms or timing.up_cooldown_ms or cluster.scale_up_cooldown
            shorten(s.step_limits, value.step_limits,
                s.down_cooldown_ms or not timing.down_cooldown_ms and cluster.scale_down_cooldown)
            s.down_cooldown_ms = s.down_cooldown_ms or timing.down_cooldown_ms or cluster.scale_down_cooldown
        end }
    return s
end

-- "name" or { "name", parameter = ... }: a policy of field.kind.
function types.policy_use(value, field, path, ctx)
    local name, name_path, params = value, path, {}
    if type(value) == "table" then
        name, name_path = value[1], check.joined(path, 1)
        for key, item in next, value do
            if key == "policy" and name == nil then
                name, name_path = item, check.joined(path, "policy")
            elseif type(key) == "string" then
                params[key] = item
            elseif key ~= 1 then
                ctx.report(check.joined(path, key), "has no key: write key = value")
            end
        end
    end
    if type(name) ~= "string" then
        local what = 'a policy such as "%s" or { "%s", parameter = ... }'
        return fail(ctx, path, what:format(field.example, field.example), value)
    end
    local use = { policy = name }
    ctx.use { kind = field.kind, name = name, params = params, inherited = {}, path = path,
        name_path = name_path, owner = use }
    return use
end

local MOST_SHADOWS = 4

-- One policy or a list of them, for the same question: each with a name of its own.
function types.shadows(value, _, path, ctx)
    local list = { value }
    local several = type(value) == "table" and value.policy == nil and
        (type(value[1]) == "table" or value[2] ~= nil)
    if several then
        list = value
    end
    if #list > MOST_SHADOWS then
        return ctx.report(path, ("has %d: at most %d"):format(#list, MOST_SHADOWS))
    end
    local out, seen = check.array(), {}
    for i, item in ipairs(list) do
        local use = types.policy_use(item, { kind = "scale", example = "queue" },
            several and check.joined(path, i) or path, ctx)
        if use then
            local count = (seen[use.policy] or 0) + 1
            seen[use.policy] = count
            use.name = count == 1 and use.policy or ("%s %d"):format(use.policy, count)
            out[#out + 1] = use
        end
    end
    return out
end

function types.balance(value, _, path, ctx)
    return types.policy_use(value, { kind = "balance", example = "round_robin" }, path, ctx)
end

function types.anomaly(value, field, path, ctx)
    if value == false then
        return {}
    elseif type(value) == "string" then
        value = { policy = value }
    elseif type(value) ~= "table" then
        return fail(ctx, path, "a policy " .. field.example, value)
    end
    local params = {}
    local anomaly = check.record(schema.anomaly, value, path, ctx, params)
    ctx.use { kind = "anomaly", name = anomaly.policy, params = params, inherited = {}, path = path,
        name_path = check.joined(path, "policy"), owner = anomaly }
    return anomaly
end

function types.history(value, field, path, ctx)
    if value == false then
        value = { enabled = false }
    elseif type(value) ~= "table" then
        return fail(ctx, path, "a table " .. field.example, value)
    end
    return (check.record(schema.history, value, path, ctx))
end

-- ---- What of a request counts -----------------------------------------------------------------

local PLACES = { header = true, cookie = true, query = true }
local WHOLE = { client = true, path = true, dataset = true }

-- A place in a request: "header:X-User", "cookie:session", "query:id"; with field.whole also "client", "path"
-- and "dataset".
function types.source(value, field, path, ctx)
    local place, name = tostring(value):match "^(%a+):([%w!#$%%&'*+.^_`|~-]+)$"
    local good = type(value) == "string" and (PLACES[place] and #name <= 128 or
        (field.whole ~= false and (WHOLE[value] or field.empty and value == "")))
    if not good then
        return fail(ctx, path, '"header:NAME", "cookie:NAME" or "query:NAME"' ..
            (field.whole ~= false and ', "client", "path" or "dataset"' or ""), value)
    end
    return value
end

-- One source or a list of them: the first that the request has counts.
function types.sources(value, field, path, ctx)
    if value == false then
        return check.array()
    end
    local list = type(value) == "table" and value or { value }
    return types.list(list, { of = { type = "source", whole = field.whole or false }, most = 4 }, path, ctx)
end

-- A record of sources, or a function that says it all; then nothing is looked for here.
function types.request(value, field, path, ctx)
    if type(value) == "function" then
        ctx.run_again()
        local none = check.array()
        return { ["function"] = ctx.function_at(value), tags = none, dataset = none, processing = none,
            key = none, zone = none }
    elseif type(value) ~= "table" then
        return fail(ctx, path, "a table " .. field.example .. ", or a function", value)
    end
    return check.record(field.fields, value, path, ctx)
end

function types.sticky(value, _, path, ctx)
    if value == false then
        return nil
    elseif value ~= true and type(value) ~= "table" then
        return fail(ctx, path, 'a table such as { cookie = "tidegate", ttl = "1h" }, true or false', value)
    end
    return check.record(schema.sticky, value == true and {} or value, path, ctx)
end

-- Settings of a route that can be switched off: an empty table in the JSON means off.
function types.guard(value, field, path, ctx)
    if value == false then
        return {}
    elseif type(value) ~= "table" then
        return fail(ctx, path, "a table " .. field.example, value)
    end
    return check.record(field.fields, value, path, ctx)
end

-- ---- Routes -----------------------------------------------------------------------------------

-- Time-outs by the names of `timeouts`, and the keys that mean the same: what the JSON calls them.
local TIMEOUTS = {
    { "client_header", "client_header_timeout_ms" },
    { "client_idle", "client_timeout_ms", old = "client_timeout" },
    { "connect", "connect_timeout_ms", old = "connect_timeout" },
    { "first_byte", "first_byte_timeout_ms", old = "backend_timeout" },
    { "idle", "idle_timeout_ms", old = "idle_timeout" },
    { "slow_body", "slow_body_timeout_ms" },
    { "total", "total_timeout_ms" },
}

local function name_timeouts(r, given, named, path, ctx)
    for _, t in ipairs(TIMEOUTS) do
        local ms = named and named[t[1] .. "_ms"]
        if ms and t.old and given[t.old] ~= nil then
            ctx.report(check.joined(path, "timeouts." .. t[1]), "is also given as " .. t.old .. ": keep one")
        end
        r[t[2]] = ms or r[t[2]]
    end
end

function types.route_listen(value, field, path, ctx)
    if type(value) == "string" then
        if value:find "^tls://" then
            return ctx.report(path, 'TLS ends here for HTTP alone: "https://:8443"; "tcp://" passes '
                .. "connections on as they are, encrypted ones too")
        end
        value = value:gsub("^tcp://", ""):gsub("^https://", "")
    end
    return types.listen(value, field, path, ctx)
end

-- What tells addresses of TLS and of plain TCP from others: "https://", "tcp://" or "".
function M.scheme(address)
    local scheme = tostring(address):match "^(%a+)://"
    return (scheme == "tcp" or scheme == "https") and scheme .. "://" or ""
end

-- Addresses that labels may name.
function types.label_listen(value, _, path, ctx)
    local list, out = type(value) == "table" and value or { value }, check.array()
    if not check.list_length(list) then
        return fail(ctx, path, 'an address such as ":80", or a list of them', value)
    end
    for i, one in ipairs(list) do
        local at = types.route_listen(one, nil, type(value) == "table" and check.joined(path, i) or path, ctx)
        out[#out + 1] = at and M.scheme(one) .. at
    end
    return out
end

function types.label_settings(value, field, path, ctx)
    if value == false then
        return nil
    elseif value ~= true and type(value) ~= "table" then
        return fail(ctx, path, "a table " .. field.example, value)
    end
    return (check.record(schema.labels, value == true and {} or value, path, ctx))
end

-- What only HTTP has.
local HTTP_ONLY = { "host", "path", "methods", "headers", "request_headers", "answer_headers", "max_body",
    "min_body_rate", "client_timeout", "sticky", "request", "response_buffer", "http2" }

local function check_tcp(r, given, path, ctx)
    r.tcp = type(given.listen) == "string" and given.listen:find "^tcp://" and true or nil
    for _, key in ipairs(r.tcp and HTTP_ONLY or {}) do
        if given[key] ~= nil then
            ctx.report(check.joined(path, key), "is for HTTP: this route listens on tcp://")
        end
    end
end

local function one_route(value, path, ctx)
    local r, aside = check.record(schema.route, value, path, ctx)
    if r.path and r.path:find("?", 1, true) then
        local text = "the path of a route has no query, got " .. values.describe(r.path)
        ctx.report(check.joined(path, "path"), text)
    end
    for _, key in ipairs { "request_headers", "answer_headers" } do
        for _, pair in ipairs(r[key] and r[key].set or {}) do
            if OURS[pair.name:lower()] then
                ctx.report(check.joined(path, key .. ".set." .. pair.name),
                    pair.name .. " is written by tidegate itself")
            end
        end
    end
    check_tcp(r, value, path, ctx)
    edge.route(r, value, path, ctx)
    r.trusted_proxies = r.trusted_proxies or ctx.cluster.trusted_proxies
    if r.proxy_protocol and #(r.trusted_proxies or {}) == 0 then
        ctx.report(check.joined(path, "proxy_protocol"),
            'from whom? Write trusted_proxies = { "10.0.0.0/8" } beside it or in the cluster')
    end
    if type(value.circuit_breaker) == "table" then
        r.circuit_breaker.explicit = true
    end
    name_timeouts(r, value, aside.timeouts, path, ctx)
    r.max_retries = r.max_retries or ctx.cluster.max_retries
    r.backend_timeout_ms = r.backend_timeout_ms or ctx.cluster.backend_timeout
    r.at = ctx.place(path)
    local own = tls.route(r, value, path, ctx)
    ctx.routes[#ctx.routes + 1] = { route = r, path = path, given = value, tls = own }
    return r
end

function types.routes(value, _, path, ctx)
    if type(value) ~= "table" then
        return fail(ctx, path, 'a table such as { listen = ":8080" }, or a list of them', value)
    end
    local count = check.list_length(value)
    if not count or count == 0 then
        return check.array { one_route(value, path, ctx) }
    end
    local out = check.array()
    for i = 1, count do
        local at = check.joined(path, i)
        if type(value[i]) ~= "table" then
            fail(ctx, at, 'a table such as { listen = ":8080" }', value[i])
        else
            out[#out + 1] = one_route(value[i], at, ctx)
        end
    end
    return out
end

-- ---- Backends ---------------------------------------------------------------------------------

local function backend_address(value, b, path, ctx)
    if b.address then
        if value.host ~= nil or value.port ~= nil then
            ctx.report(path, "address excludes host and port")
        end
        return b.address
    elseif value.address ~= nil then
        return nil
    elseif type(value.host) ~= "string" or type(value.port) ~= "number" then
        return ctx.report(path, 'needs host and port, or address = "10.0.0.5:9000"')
    end
    local host = value.host
    host = host:find(":", 1, true) and host:sub(1, 1) ~= "[" and "[" .. host .. "]" or host
    return types.backend(("%s:%.14g"):format(host, value.port), nil, check.joined(path, "host"), ctx)
end

function types.backend_entry(value, field, path, ctx)
    if type(value) ~= "table" then
        local address = types.backend(value, field, path, ctx)
        return address and check.record(schema.backend, { address = address }, path, ctx)
    end
    local body = {}
    for key, item in next, value do
        body[key == 1 and value.address == nil and "address" or key] = item
    end
    local b = check.record(schema.backend, body, path, ctx)
    b.address = backend_address(body, b, path, ctx)
    return b.address and b
end

-- ---- Tags -------------------------------------------------------------------------------------

function types.service_tags(value)
    return value
end

-- Tags of slots 1 .. max: one list for all, or what the function returns for each. Raises what it raises.
function M.tags(value, service, path, ctx)
    if value == nil then
        return check.array()
    elseif type(value) == "table" then
        local list = types.tags(value, nil, path, ctx)
        return check.array { list }
    elseif type(value) ~= "function" then
        return fail(ctx, path, "a list or a function", value)
    end
    local out = check.array()
    for index = 1, service.scale and service.scale.max or 1 do
        local list = value { index = index, service = service.name }
        local before = ctx.errors()
        out[index] = types.tags(ctx.plain(list, path), nil, ("%s(%d)"):format(path, index), ctx)
        if ctx.errors() > before then
            return out
        end
    end
    return out
end

return M
