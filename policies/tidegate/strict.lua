-- strict.lua: views with defaults that raise on fields that they do not have, as in the product. Part of
-- `tidegate.testing`.
local views = require "tidegate.views"

local M = {}

-- How many letters differ, about: those of one that the other does not have at that place, or beside it.
local function difference(a, b)
    local n = math.abs(#a - #b)
    for i = 1, math.min(#a, #b) do
        n = n + (b:sub(math.max(i - 1, 1), i + 1):find(a:sub(i, i), 1, true) and 0 or 1)
    end
    return n
end

function M.unknown(what, name, names)
    local best, least = nil, 3
    for _, candidate in ipairs(names) do
        local n = difference(tostring(name), candidate)
        if n < least then
            best, least = candidate, n
        end
    end
    return ("%s has no field '%s': %s"):format(what, tostring(name), best
        and ("did you mean '%s'?"):format(best) or "its fields are " .. table.concat(names, ", "))
end

local classes, types, lists = {}, {}, {}
for _, entry in ipairs(views.list) do
    local class = entry.class or ""
    classes[class], types[class], lists[class] = entry, {}, {}
    for i, field in ipairs(entry.fields or {}) do
        types[class][field[1]], lists[class][i] = field[2], field[1]
    end
end

-- Fields of a class of views.lua: { name = type }.
function M.fields(class)
    local found = {}
    for name, kind in pairs(assert(types[class], "tidegate/views.lua has no class " .. class)) do
        found[name] = kind
    end
    return found
end

local WHAT = { ServiceView = "the view", Backend = "a backend", Request = "the request",
    Notice = "the notice" }

local function raising(class)
    return { __index = function(_, key)
        if not types[class][key] then
            error(M.unknown(WHAT[class], key, lists[class]), 2)
        end
    end }
end

local metatables = {}
for class in pairs(WHAT) do
    metatables[class] = raising(class)
end

-- A table of that class with defaults, `given` over them; fields that the class does not have raise.
function M.strict(class, defaults, given)
    local view = {}
    for _, field in ipairs(classes[class].fields) do
        view[field[1]] = field.usual
    end
    for _, from in ipairs { defaults, given or {} } do
        for key, value in pairs(from) do
            if not types[class][key] then
                error(M.unknown(WHAT[class], key, lists[class]), 3)
            end
            view[key] = value
        end
    end
    return setmetatable(view, metatables[class])
end

local NAN = 0 / 0
local TEXTS = { service = true, instance = true }

-- A group of the metrics view: what is not known reads as NaN.
local function group(class, given)
    local own, open, names = types[class], classes[class].collect, lists[class]
    local out = {}
    for key, value in pairs(given or {}) do
        if not own[key] and not open then
            error(M.unknown("m." .. classes[class].group, key, names), 0)
        end
        local inner = (own[key] or ""):match "^tidegate%.(%w+)$"
        out[key] = inner and group(inner, value) or value
    end
    return setmetatable(out, { __index = function(_, key)
        local inner = (own[key] or ""):match "^tidegate%.(%w+)$"
        if inner then
            return group(inner)
        elseif not own[key] and not open then
            error(M.unknown("m." .. classes[class].group, key, names), 2)
        end
        return NAN
    end })
end

-- What an alert sees of a service; `class` is "OwnView" for tidegate's own figures.
function M.metrics(given, class)
    class = class or "MetricsView"
    local own, view = types[class], {}
    for key, value in pairs(given or {}) do
        if not own[key] then
            error(M.unknown("the view", key, lists[class]), 3)
        end
        local inner = own[key]:match "^tidegate%.(%w+)$"
        view[key] = inner and group(inner, value) or value
    end
    return setmetatable(view, { __index = function(_, key)
        local kind = own[key] or error(M.unknown("the view", key, lists[class]), 2)
        local inner = kind:match "^tidegate%.(%w+)$"
        return inner and group(inner) or key == "labels" and {} or not TEXTS[key] and NAN or nil
    end })
end

return M
