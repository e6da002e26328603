-- again.lua: the functions of a configuration, in another process than the one that read it; trusted.
-- Called with (host, environment), returns functions(program) -> {
--   routes = { service = { [route] = function } }    what a route's `request` is
--   alerts = { name = function }                      what an alert's `when` is
--   templates = { channel = function } }              what a channel's `template` is
--
-- Functions do not travel between processes, sources do: `program` is the files of a configuration as the
-- policy process read them, and what `env` and `include` answered there. They run once more, in a sandbox
-- whose words only note functions, so whatever locals and helpers a function uses are there with it.
local host, environment = ...
local lib = host.libraries
local error, next = lib.base.error, lib.base.next
local rawget, select = lib.base.rawget, lib.base.select
local setmetatable, tostring, type = lib.base.setmetatable, host.text, lib.base.type
local format, gsub = lib.string.format, lib.string.gsub

local function ignore() end

-- The request functions in what `route` says: one table or a list of them.
local function of_routes(route)
    local out = {}
    if type(route) == "table" then
        local list = rawget(route, 1) ~= nil and route or { route }
        for i = 1, #list do
            out[i] = type(list[i]) == "table" and rawget(list[i], "request") or nil
        end
    end
    return out
end

-- What each word notes of a block.
local function noters(found)
    local function first(list, ...)
        for i = 1, select("#", ...) do
            local value = select(i, ...)
            if type(value) == "function" then
                return function(name)
                    list[name] = list[name] or value
                end
            end
        end
        return ignore
    end
    return {
        service = function(name, body)
            found.routes[name] = of_routes(rawget(body, "route") or rawget(body, "routes"))
        end,
        alert = function(name, body)
            first(found.alerts, rawget(body, "when"), rawget(body, "condition"))(name)
        end,
        channel = function(name, body)
            first(found.templates, rawget(body, "template"))(name)
        end,
    }
end

-- The word `service "name" { ... }` or `service("name", { ... })`.
local function word(note)
    local function take(name, body)
        if type(body) == "table" then
            note(name, body)
        end
    end
    return function(name, ...)
        if select("#", ...) > 0 then
            return take(name, (...))
        end
        return function(body)
            take(name, body)
        end
    end
end

return function(program)
    local found, env = { routes = {}, alerts = {}, templates = {} }, environment()
    local function run(name)
        local chunk, why = host.compile(program.sources[name] or "", name, env)
        return chunk and chunk() or chunk == nil and error(why, 0)
    end
    for name, note in next, noters(found) do
        env[name] = word(note)
    end
    function env.env(name, default)
        local value = program.answers[name]
        return value == nil and default or value
    end
    function env.include(name)
        name = gsub(name, "^%./", "")
        local list = program.lists[name]
        if not list then
            return run(name)
        end
        for i = 1, #list do
            run(list[i])
        end
    end
    env.cluster, env.alerting, env.print, env.require = ignore, ignore, ignore, nil
    setmetatable(env, {
        __metatable = false,
        __index = function(_, key)
            error(format("unknown name \"%s\"", tostring(key)), 2)
        end,
    })
    run(program.main)
    if program.pack then
        run(program.pack)
    end
    return found
end
