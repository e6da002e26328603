-- guarding.lua: the types of schema_guarding.lua: who is let through a route.
local check = require "script.check"
local values = require "script.values"

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
