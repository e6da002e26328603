-- view_paths.lua: which numbers a view can have (core/watch/view.h), so that an alert that would never find
-- its number is told when it is read, not missed when it counts.
--
-- Members of `health`, `performance` and the groups below are also what a service tells of itself: where one
-- collects that, any name may come. Behind "prometheus." all is one name.
local nearest = require "script.nearest"
local views = require "tidegate.views"

local M = {}

-- Group -> its members, the key of `collect` that brings others, and whether instances have it; and the
-- members of tidegate's own view.
local GROUPS, OWN = {}, {}

for _, entry in ipairs(views.list) do
    local group, inner = (entry.group or ""):match "^([%w_]+)%.?(.*)$"
    if group then
        local one = GROUPS[group] or { members = {} }
        GROUPS[group] = one
        one.collect, one.only = one.collect or entry.collect, one.only or entry.only
        for _, field in ipairs(entry.fields) do
            if field[2] == "number" then
                one.members[#one.members + 1] = (inner == "" and "" or inner .. ".") .. field[1]
            end
        end
    elseif entry.class == "OwnView" then
        for _, field in ipairs(entry.fields) do
            OWN[#OWN + 1] = field[2] == "number" and not field[1]:find "^%a+_ms$" and field[1] ~= "now"
                and field[1] or nil
        end
    end
end

local function has(list, name)
    for _, item in ipairs(list) do
        if item == name then
            return true
        end
    end
    return false
end

-- All paths of a service or an instance that are ours.
local function known(scope)
    local paths = {}
    for group, one in pairs(GROUPS) do
        for _, name in ipairs(one.members) do
            if scope == "service" or one.only ~= "service" then
                paths[#paths + 1] = group .. "." .. name
            end
        end
    end
    table.sort(paths)
    return paths
end

-- "traffic.que" -> 'no view has "traffic.que": did you mean "traffic.queue"?'
local function unknown(path, candidates, shown)
    local near = nearest(path, candidates)
    for _, candidate in ipairs(near and {} or candidates) do
        near = near or candidate:match "[^.]*$" == path:match "[^.]*$" and candidate
    end
    return ('no view has "%s": %s'):format(path, near and ('did you mean "%s"?'):format(near) or shown)
end

-- Why no view of that scope can have the number, or nil. `services`: those that the alert is about, as the
-- configuration has them.
function M.why_not(path, scope, services)
    if scope == "tidegate" then
        return not has(OWN, path) and unknown(path, OWN, "there are " .. table.concat(OWN, ", ")) or nil
    end
    local group, name = path:match "^([%w_]+)%.(.+)$"
    local one = GROUPS[group]
    if not one then
        return unknown(path, known(scope), "`tidegate metrics SERVICE` shows what there is")
    elseif one.only == "service" and scope == "instance" then
        return ('no instance has "%s": write scope = "service"'):format(path)
    elseif has(one.members, name) then
        return nil
    elseif not one.collect then
        local list = ("there are %s.{%s}"):format(group, table.concat(one.members, ", "))
        return unknown(path, known(scope), list)
    end
    for _, service in ipairs(services) do
        if service.collect and service.collect[one.collect] then
            return nil
        end
    end
    local near = nearest(path, known(scope))
    return ('no service tells "%s": %swrite collect = { %s = "/..." } in the service'):format(path,
        near and ('did you mean "%s"? Else '):format(near) or "", one.collect)
end

return M
