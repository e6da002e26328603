-- label_tree.lua: labels as keys and values of the schema. A label is a path and a text:
-- tidegate.route.queue.limit=100. The path is held against the fields, the text becomes what the field's type
-- takes in the configuration; whether that is good is check.lua's word, as for a file.
--
--   tree.read("tidegate", { ["tidegate.port"] = "80" }, wrong) -> root
--     node = { text, name, kids = { port = node } }
--   tree.table(fields, node, wrong) -> { key = value }
-- wrong(name, text) hears what fits no field; `name` is the whole label.
local check = require "script.check"
local nearest = require "script.nearest"

local M = {}

local MOST_PARTS = 8

function M.read(prefix, labels, wrong)
    local root = { name = prefix, kids = {} }
    for _, name in ipairs(check.sorted_keys(labels)) do
        local node, path, parts = root, name:sub(#prefix + 2), 0
        for part in (path .. "."):gmatch "([^.]*)%." do
            parts = parts + 1
            if part == "" or parts > MOST_PARTS then
                node = nil
                break
            end
            node.kids[part] = node.kids[part] or { name = node.name .. "." .. part, kids = {} }
            node = node.kids[part]
        end
        if node then
            node.text = labels[name]
        else
            wrong(name, parts > MOST_PARTS and ("has more than %d parts"):format(MOST_PARTS) or
                "has an empty part: two dots in a row, or one at its end")
        end
    end
    return root
end

-- Calls fn(node) for each label in a node and below it.
function M.each(node, fn)
    if node.text then
        fn(node)
    end
    for _, key in ipairs(check.sorted_keys(node.kids)) do
        M.each(node.kids[key], fn)
    end
end

local function number_of(text)
    return text:find "^%-?%d+%.?%d*$" and tonumber(text) or text
end

local function boolean_of(text)
    if text == "true" then
        return true
    elseif text == "false" then
        return false
    end
    return text
end

-- What a text says where no field says what it has to be: parameters of policies.
local function free(text)
    local value = boolean_of(text)
    return type(value) == "string" and number_of(value) or value
end

local function list_of(text)
    local out = {}
    for item in (text .. ","):gmatch "%s*([^,]-)%s*," do
        if item ~= "" then
            out[#out + 1] = item
        end
    end
    return out
end

local PLAIN = { boolean = boolean_of, number = number_of, integer = number_of, duration = number_of,
    size = number_of, list = list_of, methods = list_of, header_names = list_of, sources = list_of,
    tags = list_of, route_listen = number_of, status = number_of, networks = list_of, origins = list_of,
    cors_names = list_of, media_types = list_of, strip_prefix = boolean_of, cors_headers = function(text)
        return text == "*" and text or list_of(text)
    end }
-- Records that may also be true or false as a whole, and those that may be any text.
local SWITCHED = { guard = true, sticky = true, maintenance = true, compress = true }
local TEXTED = { health_check = true, redirect = true, hsts = true, answer = true }
local MAPS = { header_values = true, map = true }

-- Texts below a node by what stands behind it, dots and all.
local function map_of(node)
    local out = {}
    M.each(node, function(one)
        if one ~= node then
            out[one.name:sub(#node.name + 2)] = one.text
        end
    end)
    return out
end

-- A policy: its name, and its parameters below.
local function policy_of(node, wrong)
    local params = map_of(node)
    if not node.text then
        wrong(node.name, ("names no policy: write %s=ewma beside it"):format(node.name))
        return nil
    elseif next(params) == nil then
        return node.text
    end
    local out = { node.text }
    for key, text in next, params do
        out[key] = free(text)
    end
    return out
end

local function no_parts(node, wrong)
    M.each(node, function(one)
        if one ~= node then
            wrong(one.name, ("unknown label: %s has a value and no parts"):format(node.name))
        end
    end)
end

-- Labels that stand for a key: "tidegate.route.queue.limit, ..."
local function names_below(node, fields)
    local out = {}
    for i = 1, math.min(#fields, 3) do
        out[i] = node.name .. "." .. fields[i][1]
    end
    return table.concat(out, ", ") .. (#fields > 3 and ", ..." or "")
end

local function record_of(field, node, wrong)
    local text = node.text
    if text and next(node.kids) == nil then
        local value = boolean_of(text)
        if TEXTED[field.type] then
            return value
        elseif SWITCHED[field.type] and type(value) == "boolean" then
            return field.type == "guard" and value and {} or value
        end
    end
    if text and text ~= "true" then
        wrong(node.name, ("has parts and no value: write %s"):format(names_below(node, field.fields)))
        return nil
    end
    return M.table(field.fields, node, wrong)
end

-- The value of a field; nil when it was told to be wrong.
local function value_of(field, node, wrong)
    if field.fields then
        return record_of(field, node, wrong)
    elseif field.type == "balance" then
        return policy_of(node, wrong)
    elseif MAPS[field.type] then
        if node.text then
            wrong(node.name, ("has parts and no value: write %s.NAME=value"):format(node.name))
            return nil
        end
        return map_of(node)
    elseif not node.text then
        no_parts(node, wrong)
        return nil
    end
    no_parts(node, wrong)
    local parse = PLAIN[field.type]
    if parse then
        return parse(node.text)
    end
    return node.text
end

-- What may have been meant by a part that no field has: a whole label.
function M.unknown(node, part, fields)
    local meant = check.meant(part, fields) or nearest(part, check.keys(fields))
    return meant and ("unknown label: did you mean %s.%s?"):format(node.name, meant) or
        ("unknown label: below %s there are %s"):format(node.name, table.concat(check.keys(fields), ", "))
end

-- field.unfit: why no label may say it.
function M.table(fields, node, wrong)
    local out, by_key = {}, {}
    for _, field in ipairs(fields) do
        by_key[field[1]] = field
    end
    for _, part in ipairs(check.sorted_keys(node.kids)) do
        local kid, field = node.kids[part], by_key[part]
        if not field then
            M.each(kid, function(one)
                wrong(one.name, M.unknown(node, part, fields))
            end)
        elseif field.unfit then
            M.each(kid, function(one)
                wrong(one.name, field.unfit)
            end)
        else
            out[part] = value_of(field, kid, wrong)
        end
    end
    return out
end

-- A value as the configuration would have it.
function M.literal(value)
    if type(value) == "string" then
        return '"' .. value:gsub("[%c\"\\]", "?") .. '"'
    elseif type(value) == "number" then
        return ("%.14g"):format(value)
    elseif type(value) ~= "table" then
        return tostring(value)
    end
    local out = {}
    for _, key in ipairs(check.sorted_keys(value)) do
        local item = M.literal(value[key])
        out[#out + 1] = type(key) == "number" and item or
            (key:find "^[%a_][%w_]*$" and key or '["' .. key .. '"]') .. " = " .. item
    end
    return #out == 0 and "{}" or "{ " .. table.concat(out, ", ") .. " }"
end

-- What the text of a label became in `value`, which its field made of it and its neighbours.
function M.plain(field, text)
    local parse = field and PLAIN[field.type]
    if parse then
        return M.literal(parse(text))
    end
    return M.literal(text)
end

return M
