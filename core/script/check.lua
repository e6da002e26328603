-- check.lua: holds a value against a schema: types, ranges, defaults, unknown keys.
--
-- A field of a schema is a table:
--   { "interval",               its key
--     type = "duration",        one of `types` below
--     doc = "...", default = "30s" (in the configuration's notation), required = true,
--     min = , max = (in seconds, bytes or plain), values = { "a", "b" } for an enum,
--     fields = { ... } for a record, of = { type = ... } for a list or a map,
--     out = "interval_ms" | false (left out of the JSON), example = 'such as { ... }',
--     later = { value = "what comes later" }, also = { "other word for it" } }
--
-- The context `ctx` has report(path, text): keeps an error at that path of the present block.
local nearest = require "script.nearest"
local values = require "script.values"

local M = {}

local SUFFIX = { duration = "_ms", size = "_bytes" }
local SCALE = { duration = 1000 }
local array_mt = { __array = true }

-- A table that becomes a JSON array even when it is empty.
function M.array(list)
    return setmetatable(list or {}, array_mt)
end

function M.joined(path, key)
    if type(key) == "number" then
        return ("%s[%.14g]"):format(path, key)
    end
    return path == "" and key or path .. "." .. key
end

function M.unknown(word, candidates, what)
    local near = nearest(word, candidates)
    if near then
        return ('unknown %s: did you mean "%s"?'):format(what, near)
    end
    return ("unknown %s: there %s %s"):format(what, #candidates == 1 and "is" or "are",
        #candidates == 0 and "none" or table.concat(candidates, ", "))
end

-- How many items a list has, or nil when the table has other keys than 1 .. n.
function M.list_length(value)
    local count = 0
    for _ in next, value do
        count = count + 1
    end
    for i = 1, count do
        if value[i] == nil then
            return nil
        end
    end
    return count
end

local types = {}
M.types = types

-- Wraps a function of values.lua.
local function notation(parse)
    return function(value, _, path, ctx)
        local result, why = parse(value)
        if result == nil then
            ctx.report(path, why)
        end
        return result
    end
end

for _, name in ipairs { "duration", "size", "listen", "backend", "port", "volume", "restart_policy",
    "network" } do
    types[name] = notation(values[name])
end

local function expected(what, value, path, ctx)
    ctx.report(path, select(2, values.expected(what, value)))
end

function types.text(value, field, path, ctx)
    if type(value) ~= "string" then
        return expected("text" .. (field.example and " " .. field.example or ""), value, path, ctx)
    elseif value:find("%z") then
        return ctx.report(path, "must not contain NUL bytes")
    elseif value == "" and not field.empty then
        return ctx.report(path, "must not be empty")
    elseif field.longest and #value > field.longest then
        return ctx.report(path, ("is longer than %d bytes"):format(field.longest))
    elseif field.pattern and not value:find(field.pattern) then
        return ctx.report(path, ("expected %s, got %s"):format(field.example, values.describe(value)))
    end
    return value
end

function types.boolean(value, _, path, ctx)
    if type(value) ~= "boolean" then
        return expected("true or false", value, path, ctx)
    end
    return value
end

function types.number(value, _, path, ctx)
    if type(value) ~= "number" or value ~= value or value == math.huge or value == -math.huge then
        return expected("a number", value, path, ctx)
    end
    return value
end

function types.integer(value, _, path, ctx)
    if type(value) ~= "number" or value % 1 ~= 0 or math.abs(value) > 2 ^ 53 then
        return expected("a whole number", value, path, ctx)
    end
    return value
end

-- A policy's parameter that is a duration: policies count in seconds.
function types.seconds(value, field, path, ctx)
    local ms = types.duration(value, field, path, ctx)
    return ms and ms / 1000
end

function types.enum(value, field, path, ctx)
    if type(value) ~= "string" then
        return expected('one of "' .. table.concat(field.values, '", "') .. '"', value, path, ctx)
    end
    for _, allowed in ipairs(field.values) do
        if value == allowed then
            return value
        end
    end
    if field.later and field.later[value] then
        return ctx.report(path, field.later[value] .. " comes later: not supported by this version")
    end
    local near = nearest(value, field.values)
    ctx.report(path, near and ('unknown value "%s": did you mean "%s"?'):format(value, near) or
        select(2, values.expected('one of "' .. table.concat(field.values, '", "') .. '"', value)))
end

-- What the environment of a program takes.
function types.scalar(value, field, path, ctx)
    if type(value) == "boolean" then
        return tostring(value)
    elseif type(value) == "number" then
        return ("%.14g"):format(value)
    elseif type(value) ~= "string" then
        return expected("text, a number or a boolean", value, path, ctx)
    end
    return types.text(value, { empty = true, longest = field.longest }, path, ctx)
end

function types.list(value, field, path, ctx)
    local count = type(value) == "table" and M.list_length(value)
    if not count then
        return expected("a list" .. (field.example and " " .. field.example or ""), value, path, ctx)
    elseif count > (field.most or 1000) then
        return ctx.report(path, ("has %d items: at most %d"):format(count, field.most or 1000))
    elseif count < (field.least or 0) then
        return ctx.report(path, ("has %d items: at least %d"):format(count, field.least))
    end
    local out = M.array()
    for i = 1, count do
        out[#out + 1] = M.value(field.of, value[i], M.joined(path, i), ctx)
    end
    return out
end

function types.networks(value, field, path, ctx)
    return types.list(type(value) == "string" and { value } or value,
        { of = { type = "network" }, most = 64, example = field.example }, path, ctx)
end

function types.map(value, field, path, ctx)
    if type(value) ~= "table" then
        return expected("a table" .. (field.example and " " .. field.example or ""), value, path, ctx)
    end
    local out = {}
    for key, item in next, value do
        if type(key) ~= "string" or (field.key_pattern and not key:find(field.key_pattern)) then
            ctx.report(M.joined(path, type(key) == "number" and key or tostring(key)),
                field.key_doc or "keys must be text")
        else
            out[key] = M.value(field.of, item, M.joined(path, key), ctx)
        end
    end
    return out
end

function types.record(value, field, path, ctx)
    if type(value) ~= "table" then
        return expected("a table" .. (field.example and " " .. field.example or ""), value, path, ctx)
    end
    return M.record(field.fields, value, path, ctx)
end

-- A value against its field, range included; nil when something was wrong (and reported).
function M.value(field, value, path, ctx)
    local result = types[field.type](value, field, path, ctx)
    local plain = result
    if type(result) == "number" then
        plain = plain / (SCALE[field.type] or 1)
        local least, most = field.min, field.max
        if (least and plain < least) or (most and plain > most) then
            local unit = field.unit and " " .. field.unit or ""
            local range = least and most and ("between %.14g and %.14g%s"):format(least, most, unit) or
                least and ("at least %s"):format(field.min_text or ("%.14g%s"):format(least, unit)) or
                ("at most %.14g%s"):format(most, unit)
            return ctx.report(path, ("must be %s, got %s"):format(range, values.describe(value)))
        end
    end
    return result
end

function M.out_name(field)
    if field.out ~= nil then
        return field.out
    end
    return field[1] .. (SUFFIX[field.type] or "")
end

function M.keys(fields)
    local keys = {}
    for _, field in ipairs(fields) do
        keys[#keys + 1] = field[1]
    end
    return keys
end

-- The key of `fields` that is also called `word`, or nil.
function M.meant(word, fields)
    for _, field in ipairs(fields) do
        for _, other in ipairs(field.also or {}) do
            if other == word then
                return field[1]
            end
        end
    end
end

-- Keys in a fixed order: numbers, then words.
local function sorted_keys(value)
    local keys = {}
    for key in next, value do
        keys[#keys + 1] = key
    end
    table.sort(keys, function(a, b)
        if type(a) == type(b) then
            return a < b
        end
        return type(a) == "number"
    end)
    return keys
end
M.sorted_keys = sorted_keys

-- Reports keys of `value` that `fields` does not have; `extra` collects them instead when given.
local function check_keys(fields, value, path, ctx, extra)
    local known = {}
    for _, field in ipairs(fields) do
        known[field[1]] = true
    end
    for _, key in ipairs(sorted_keys(value)) do
        local item = value[key]
        if type(key) ~= "string" then
            local at = M.joined(path, type(key) == "number" and key or "[?]")
            ctx.report(at, "has no key: write key = value")
        elseif not known[key] and extra then
            extra[key] = item
        elseif not known[key] then
            local meant = M.meant(key, fields)
            ctx.report(M.joined(path, key), meant and ('unknown key: did you mean "%s"?'):format(meant) or
                M.unknown(key, M.keys(fields), "key"))
        end
    end
end

-- A table against a list of fields, defaults filled in. `extra` (may be nil) gets unknown keys. The
-- second result has what `out = false` keeps out of the first one, by key.
function M.record(fields, value, path, ctx, extra)
    local out, aside = {}, {}
    check_keys(fields, value, path, ctx, extra)
    for _, field in ipairs(fields) do
        local given, name = value[field[1]], M.out_name(field)
        local result
        if given ~= nil then
            result = M.value(field, given, M.joined(path, field[1]), ctx)
        elseif field.required then
            ctx.report(path, ("%s is missing: %s"):format(field[1], field.required))
        end
        if result == nil and field.default ~= nil then
            result = M.value(field, field.default, M.joined(path, field[1]), ctx)
        elseif result == nil and field.type == "record" and not field.optional then
            result = M.record(field.fields, {}, M.joined(path, field[1]), ctx)
        end
        if name then
            out[name] = result
        else
            aside[field[1]] = result
        end
    end
    return out, aside
end

return M
