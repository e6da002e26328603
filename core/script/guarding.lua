-- guarding.lua: the types of schema_guarding.lua: who is let through a route.
local check = require "script.check"
local inner = require "script.inner"
local values = require "script.values"

local M = {}
local types = check.types

local MOST_LIMITS = 8
local YEAR_MS = 365 * 86400000

local function fail(ctx, path, what, value)
    ctx.report(path, select(2, values.expected(what, value)))
end

-- ---- Rate limits ------------------------------------------------------------------------------

function types.limit_by(value, _, path, ctx)
    local text = tostring(value)
    local place, name = text:match "^(%a+):([%w!#$%%&'*+.^_`|~-]+)$"
    local good = type(value) == "string" and (value == "address" or value == "route" or
        ((place == "header" or place == "cookie") and #name <= 128))
    if not good then
        return fail(ctx, path, '"address", "route", "header:NAME" or "cookie:NAME"', value)
    end
    return value
end

local function one_limit(value, field, path, ctx)
    if type(value) ~= "table" then
        return fail(ctx, path, 'a table such as { rate = 100, per = "1s", burst = 50 }', value)
    end
    local before = ctx.errors()
    local l = check.record(field.fields, value, path, ctx)
    if ctx.errors() > before then
        return nil
    end
    l.burst = l.burst or math.ceil(l.rate)
    local full_ms = l.burst * l.per_ms / l.rate
    if l.rate / l.per_ms > 1000 then
        ctx.report(path, "is more than a million a second: that is no limit")
    elseif full_ms > YEAR_MS then
        ctx.report(path, ("who has used up burst = %d waits %d days for all of it: at most a year"):format(
            l.burst, full_ms / 86400000))
    end
    return l
end

function types.rate_limit(value, field, path, ctx)
    local list = type(value) == "table" and value[1] ~= nil and check.list_length(value) and value
    if not list then
        return check.array { one_limit(value, field, path, ctx) }
    elseif #list > MOST_LIMITS then
        return ctx.report(path, ("has %d limits: at most %d"):format(#list, MOST_LIMITS))
    end
    local out = check.array()
    for i, item in ipairs(list) do
        out[#out + 1] = one_limit(item, field, check.joined(path, i), ctx)
    end
    return out
end

-- ---- Users ------------------------------------------------------------------------------------

-- A file of users and hashes -> its text, every line of which is sound.
function types.htpasswd(value, _, path, ctx)
    local name = types.text(value, { longest = 1000, example = 'such as "users.htpasswd"' }, path, ctx)
    if not name then
        return nil
    end
    name = name:gsub("^%./", "")
    local text, why = ctx.read(name)
    if not text then
        return ctx.report(path, ("%s: %s"):format(values.describe(name), why))
    end
    local before, first, count = ctx.errors(), {}, 0
    for _, entry in ipairs(ctx.htpasswd(text)) do
        if entry.why then
            ctx.report_in(name, entry.line, entry.why)
        elseif first[entry.user] then
            ctx.report_in(name, entry.line, ("%s is there already, on line %d"):format(
                values.describe(entry.user), first[entry.user]))
        else
            first[entry.user], count = entry.line, count + 1
        end
    end
    if count == 0 and ctx.errors() == before then
        ctx.report(path, ("%s has no users: nobody could log in"):format(values.describe(name)))
    end
    return ctx.errors() == before and text or nil
end

function types.basic_auth(value, field, path, ctx)
    if type(value) == "string" then
        value = { file = value }
    elseif type(value) ~= "table" then
        return fail(ctx, path, 'a table such as { file = "users.htpasswd", realm = "ops" }', value)
    end
    return check.record(field.fields, value, path, ctx)
end

-- ---- Compression ------------------------------------------------------------------------------

local MOST_TYPES = 64

function types.media_types(value, _, path, ctx)
    local list = types.list(type(value) == "string" and { value } or value, { of = { type = "text",
        longest = 100, pattern = "^[%w!#$&^_.-]*[/+][%w!#$&^_.+-]*$", example = 'such as "text/html"' },
        most = MOST_TYPES, least = 1, example = 'such as { "text/", "application/json" }' }, path, ctx)
    for i, item in ipairs(list or {}) do
        list[i] = item:lower()
    end
    return list
end

function types.compress(value, field, path, ctx)
    if value == false then
        return nil
    elseif value ~= true and type(value) ~= "table" then
        return fail(ctx, path, 'true, or a table such as { types = { "text/" }, min = 1024 }', value)
    end
    return check.record(field.fields, value == true and {} or value, path, ctx)
end

-- ---- Requests of our own ----------------------------------------------------------------------

function types.forward_url(value, _, path, ctx)
    local host, rest = tostring(value):match "^https?://([^/]+)(.*)$"
    ctx.report(path, ('declare who is asked as a service, with circuits and health checks: '
        .. 'service "auth" { backends = { "%s" } }, and write service = "auth", path = "%s"'):format(
        host or "10.0.0.5:9091", rest and rest ~= "" and rest or "/verify"))
end

function types.forward_auth(value, field, path, ctx)
    if type(value) ~= "table" then
        return fail(ctx, path, 'a table such as { service = "auth", path = "/verify" }', value)
    elseif value.url ~= nil and value.service == nil then
        return types.forward_url(value.url, nil, check.joined(path, "url"), ctx)
    end
    return check.record(field.fields, value, path, ctx)
end

function types.mirror(value, field, path, ctx)
    if type(value) == "string" then
        value = { service = value }
    elseif type(value) ~= "table" then
        return fail(ctx, path, 'a table such as { service = "catalog-next", percent = 10 }', value)
    end
    return check.record(field.fields, value, path, ctx)
end

-- What of a route is about its own clients, and not about requests of ours.
local NOT_INNER = { "canary", "sticky", "request_headers", "max_body_bytes", "min_body_rate", "tls", "at",
    "max_connections_per_client", "methods", "headers", "answer_headers", "path_change", "shadow" }

-- A route of `to` that only requests of ours take; its host is the label of its figures.
local function inner_route(entry, purpose, settings)
    local copy = inner.copy(entry.route, M.steps, NOT_INNER)
    copy.at = entry.route.at
    copy.host, copy.max_retries, copy.total_timeout_ms = purpose, 1, settings.timeout_ms
    copy.inner = { service = entry.service.name, place = entry.place, purpose = purpose }
    return copy
end

-- Gives the services that forward_auth and mirror name a route for every route that names them. `list` and
-- `services` as in edge.canaries.
function M.inner_routes(list, services)
    local find = inner.finder(services)
    for _, entry in ipairs(list) do
        for _, purpose in ipairs { "forward_auth", "mirror" } do
            local settings = entry.route[purpose]
            local to, wrong
            if settings and settings.service then
                to, wrong = find(settings.service, entry.service)
            end
            if wrong then
                entry.ctx.report(check.joined(entry.path, purpose .. ".service"), wrong)
            elseif to then
                to.routes[#to.routes + 1] = inner_route(entry, purpose, settings)
            end
        end
    end
end

return M
