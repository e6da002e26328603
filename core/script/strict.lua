-- strict.lua: tables in which an unknown field is an error that names the nearest one; trusted. Called with
-- (host, views, environment), returns
--   fields_of(class) -> the fields of a class of views.lua as a set, and as a list
--   not_a_field(what, key, list)    raises for who reads a field by an __index function
--   strict_of(class, what) -> a metatable: fields that are declared and missing are nil
--   nearest      nearest.lua's function
local host, views, environment = ...
local lib = host.libraries
local error, ipairs, type = lib.base.error, lib.base.ipairs, lib.base.type
local concat, format = lib.table.concat, lib.string.format

local nearest = lib.base.setfenv(host.nearest, environment())()

local function fields_of(class)
    local set, list = {}, {}
    for _, entry in ipairs(views.list) do
        for i, field in ipairs(entry.class == class and entry.fields or {}) do
            set[field[1]], list[i] = true, field[1]
        end
    end
    return set, list
end

local function not_a_field(what, key, list)
    local name = type(key) == "string" and key or "(" .. type(key) .. ")"
    local near = nearest(key, list)
    error(format("%s has no field '%s': %s", what, name, near and format("did you mean '%s'?", near)
        or "its fields are " .. concat(list, ", ")), 3)
end

local function strict_of(class, what)
    local set, list = fields_of(class)
    return { __metatable = false, __index = function(_, key)
        if not set[key] then
            not_a_field(what, key, list)
        end
        return nil
    end }
end

return fields_of, not_a_field, strict_of, nearest
