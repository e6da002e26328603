-- inner.lua: other services that a route names (canary, forward_auth, mirror): each is given an inner
-- route of it, which only requests of that route take.
local check = require "script.check"

local M = {}

-- Why requests of a route of `own` cannot go to that service; nil: they can.
local function unfit(to, own)
    if to == own then
        return "is the route's own service: name another one"
    elseif to.source == "image" and #(to.ports or {}) == 0 then
        return ('needs a port of the instances of "%s": ports = { "8080" } there'):format(to.name)
    elseif to.source == "backends" and #to.backends == 0 and not to.labelled then
        return ('"%s" has no backends: its routes answer by themselves'):format(to.name)
    end
end

-- A function that finds one of the services, all of them checked: (name, whose route names it) -> the
-- service, or nil and what is wrong with that.
function M.finder(services)
    local by_name, names = {}, {}
    for _, service in ipairs(services) do
        by_name[service.name] = service
        names[#names + 1] = service.name
    end
    return function(name, own)
        local to = by_name[name]
        if not to then
            return nil, check.unknown(name, names, ('service "%s"'):format(name))
        end
        local why = unfit(to, own)
        return not why and to or nil, why
    end
end

-- A copy of a route without those keys.
function M.copy(route, fields, keys)
    local out = {}
    for key, value in next, route do
        out[key] = value
    end
    for _, field in ipairs(fields) do
        out[field[1]] = nil
    end
    for _, key in ipairs(keys) do
        out[key] = nil
    end
    return out
end

return M
