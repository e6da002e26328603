-- judge.lua: what alert rules and notify policies see; trusted. Called with (host, fields_of, not_a_field,
-- notice), of which the first functions are strict.lua's and the last is the metatable of a message; returns
--   judge(f, view) -> firing, value, message, missing
--   herald(f, notice) -> channels or nil       what a notify policy says, checked
--   marked(view) -> the same, strict
--
-- A rule gets a copy of the view for itself, made for that call. A number that is not known reads as NaN:
-- every comparison with it is false, and `missing` tells that it was read.
local host, fields_of, not_a_field, strict_notice = ...
local lib = host.libraries
local error, next, rawget = lib.base.error, lib.base.next, lib.base.rawget
local setmetatable, tostring, type = lib.base.setmetatable, host.text, lib.base.type
local format = lib.string.format

local seed, tonumber = lib.math.randomseed, lib.base.tonumber
local NAN = 0 / 0
local read_missing -- whether the rule under way read a number that is not known

-- Groups whose fields are all known, beside those that a service names itself.
local CLOSED = { resources = "Resources", network = "Network", traffic = "Traffic", scale = "Scaling" }

-- A metatable for tables of these fields; nil: any.
local function group(what, class)
    local set, list
    if class then
        set, list = fields_of(class)
    end
    return { __metatable = false, __index = function(_, key)
        if set and not set[key] then
            not_a_field(what, key, list)
        end
        read_missing = true
        return NAN
    end }
end

local groups, any = {}, group("the group", nil)
for name, class in next, CLOSED do
    groups[name] = group(name, class)
end

local known, known_list = fields_of "MetricsView"
local own, own_list = fields_of "OwnView"
local TEXTS = { service = true, instance = true }

-- Groups that no figure has come for yet.
local function top(list, set)
    return { __metatable = false, __index = function(_, key)
        if not set[key] then
            not_a_field("the view", key, list)
        elseif key == "labels" then
            return {}
        elseif TEXTS[key] then
            return nil
        elseif CLOSED[key] or set == known and not (key == "at_ms" or key == "now" or key == "wall_ms") then
            return setmetatable({}, groups[key] or any)
        end
        read_missing = true
        return NAN
    end }
end

local of_service, of_tidegate = top(known_list, known), top(own_list, own)

local function mark(t, name)
    for key, value in next, t do
        if type(value) == "table" then
            mark(value, key)
        end
    end
    setmetatable(t, groups[name] or any)
end

local function marked(view)
    for key, value in next, view do
        if type(value) == "table" and key ~= "labels" then
            mark(value, key)
        end
    end
    return setmetatable(view, rawget(view, "service") == nil and of_tidegate or of_service)
end

local function judge(f, view)
    read_missing = false
    seed(tonumber(rawget(view, "now") or rawget(view, "at_ms")) or 0)
    local firing, value, message = f(marked(view))
    if firing ~= nil and type(firing) ~= "boolean" then
        error(format("answered a %s: true, false, or nil for not known", type(firing)), 0)
    end
    value = type(value) == "number" and value == value and value or nil
    return firing, value, type(message) == "string" and message or nil, firing == nil or
        read_missing and not firing
end

local function herald(f, notice)
    local answer = f(setmetatable(notice, strict_notice))
    if answer == nil then
        return nil
    elseif type(answer) == "string" then
        answer = { answer }
    elseif answer == false then
        answer = {}
    elseif type(answer) ~= "table" then
        local text = "answered a %s: a list of channels, or nil for those that the alert names"
        error(format(text, type(answer)), 0)
    end
    for key, name in next, answer do
        if type(key) ~= "number" or type(name) ~= "string" then
            error(format("answered %s = %s: a list of names of channels", tostring(key), tostring(name)), 0)
        end
    end
    return answer
end

return judge, herald, marked
