-- sandbox.lua: what code of operators may call; trusted. Called with (host, functions of views.lua), returns
--   environment() -> a fresh environment, with copies of the allowed libraries, print and require
--   text(value) -> what `tostring` of an environment gives
--
-- Copies, so that a policy that changes a library hurts only itself. Guarded versions stand for what could
-- run for long in C, where no hook stops it, or reach too far.
local host, functions = ...
local lib = host.libraries
local error, pairs, pcall = lib.base.error, lib.base.pairs, lib.base.pcall
local select, tostring, type, unpack = lib.base.select, lib.base.tostring, lib.base.type, lib.base.unpack
local concat, insert, remove = lib.table.concat, lib.table.insert, lib.table.remove
local find, format, gmatch, rep, sub = lib.string.find, lib.string.format, lib.string.gmatch, lib.string.rep,
    lib.string.sub

-- Guarded versions of what could run for long in C or reach too far.
local guarded = { base = {}, string = {}, table = {}, math = {}, bit = {}, coroutine = {} }

-- The handler runs after unwinding: inside, no hook could stop it.
function guarded.base.xpcall(f, handler, ...)
    local function finish(ok, ...)
        if ok then
            return true, ...
        end
        return false, select(2, pcall(handler, (...)))
    end
    return finish(pcall(f, ...))
end

-- Without the address of a table, function or coroutine: it would be another one in each replay.
local function text(value)
    local kind = type(value)
    if kind == "number" or kind == "string" or kind == "boolean" or kind == "nil" then
        return tostring(value)
    end
    local shown = tostring(value) -- by __tostring when it has one
    if type(shown) ~= "string" then
        error("__tostring returned a " .. type(shown) .. ": a string is wanted", 2)
    end
    local at = find(shown, ": 0x", 1, true)
    return at and sub(shown, 1, at - 1) or shown
end
guarded.base.tostring = text

-- format, for a text that may show what has an address.
local function shown(pattern, count, ...)
    local values, at = { ... }, 0
    for flags, conversion in gmatch(pattern, "%%([-+ #0-9.]*)(.?)") do
        if conversion == "p" then
            error("string.format: %" .. flags .. "p: addresses are not shown", 3)
        elseif conversion ~= "%" then
            at = at + 1
            if conversion == "s" and at <= count then
                values[at] = text(values[at])
            end
        end
    end
    return format(pattern, unpack(values, 1, count))
end

function guarded.string.format(pattern, ...)
    local count = select("#", ...)
    local plain = type(pattern) ~= "string" or not find(pattern, "%%[-+ #0-9.]*p")
    for i = 1, plain and count or 0 do
        local kind = type((select(i, ...)))
        plain = plain and (kind == "number" or kind == "string" or kind == "boolean" or kind == "nil")
    end
    if plain then
        return format(pattern, ...)
    end
    return shown(pattern, count, ...)
end

function guarded.base.print(...)
    local parts = {}
    for i = 1, select("#", ...) do
        parts[i] = text((select(i, ...)))
    end
    host.print(concat(parts, " "))
end

local LONGEST = 1048576 -- bytes that one string.rep may make

function guarded.string.rep(s, n, separator)
    if type(s) ~= "string" or type(n) ~= "number" then
        error("string.rep takes a string and a number", 2)
    end
    local each = #s + (separator and #separator or 0)
    if each == 0 or n < 1 then
        return ""
    end
    if n ~= n or each * n > LONGEST then
        error("string.rep: more than " .. LONGEST .. " bytes", 2)
    end
    return rep(s, n, separator)
end

-- A coroutine runs on C's stack above the one that resumed it, and LuaJIT does not count how many do.
function guarded.coroutine.resume(...)
    host.depth()
    return lib.coroutine.resume(...)
end

function guarded.coroutine.wrap(...)
    local resume = lib.coroutine.wrap(...)
    return function(...)
        host.depth()
        return resume(...)
    end
end

guarded.string.find, guarded.string.match = host.find, host.match
guarded.string.gmatch, guarded.string.gsub = host.gmatch, host.gsub
guarded.table.sort = host.sort

function guarded.table.insert(t, ...)
    if select("#", ...) < 2 then
        insert(t, (...))
        return
    end
    local at, value = ...
    if type(t) ~= "table" or type(at) ~= "number" or not (at >= 1 and at <= #t + 1) then
        error("table.insert: position out of bounds", 2)
    end
    insert(t, at, value)
end

function guarded.table.remove(t, at)
    if at == nil then
        return remove(t)
    end
    if type(t) ~= "table" or type(at) ~= "number" then
        error("table.remove takes a table and a position", 2)
    end
    if at >= 1 and at <= #t then
        return remove(t, at)
    end
end

-- Of the rest, what policies may call (policies/tidegate/views.lua) is the library's own.
for part, names in pairs(functions) do
    for i = 1, #names do
        local name = names[i]
        guarded[part][name] = guarded[part][name] or name ~= "require" and lib[part][name] or nil
    end
end

local function copy(t)
    local c = {}
    for key, value in pairs(t) do
        c[key] = value
    end
    return c
end

-- Methods of strings ("%d"):format(1) use a copy of their own, out of reach of every policy.
local strings = lib.base.getmetatable ""
strings.__index, strings.__metatable = copy(guarded.string), false

local LOADING = {}

-- A fresh environment. `require` gives each environment its own instance of a library, which runs in the
-- environment of the policy that asked.
local function environment()
    local env, loaded, chain = copy(guarded.base), {}, {}
    for part, members in pairs(guarded) do
        if part ~= "base" then
            env[part] = copy(members)
        end
    end
    env._G = env
    function env.require(name)
        if type(name) ~= "string" or not find(name, "^[%w_]+[%w_.]*$") or find(name, "..", 1, true) then
            error("require takes a name such as \"lib.stats\"", 2)
        end
        local module = loaded[name]
        if module == LOADING then
            error(format('library "%s" requires itself: %s -> %s', name, concat(chain, " -> "), name), 2)
        end
        if module == nil then
            local chunk, why = host.library(name, env)
            if not chunk then
                error(why, why and find(why, ":%d+: ") and 0 or 2)
            end
            loaded[name], chain[#chain + 1] = LOADING, name
            local ok, result = pcall(chunk, name)
            loaded[name], chain[#chain] = nil, nil
            if not ok then
                error(result, 0)
            end
            module = result == nil and true or result
            loaded[name] = module
        end
        return module
    end
    return env
end

return environment, text
