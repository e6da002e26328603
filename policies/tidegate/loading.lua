-- loading.lua: policies in plain Lua as in the product: from files, in an environment with what the sandbox
-- has. Part of `tidegate.testing`.
local views = require "tidegate.views"

local M = {}

-- What the product's own runner gives a spec, which has no files there: load(path) -> module, read(path) ->
-- text, detector() -> the kernel; nil elsewhere.
M.product = rawget(_G, "_TIDEGATE")

-- Lua 5.1 has no `bit`: what policies use of it, on numbers from 0 to 2^32 - 1.
local function plain_bit()
    local bit = {}
    local function each(a, b, f)
        local result, place = 0, 1
        a, b = a % 2 ^ 32, b % 2 ^ 32
        for _ = 1, 32 do
            local x, y = a % 2, b % 2
            result, place = result + f(x, y) * place, place * 2
            a, b = (a - x) / 2, (b - y) / 2
        end
        return bit.tobit(result)
    end
    function bit.tobit(a)
        a = a % 2 ^ 32
        return a >= 2 ^ 31 and a - 2 ^ 32 or a
    end
    function bit.band(a, b) return each(a, b, function(x, y) return x * y end) end
    function bit.bor(a, b) return each(a, b, function(x, y) return x + y > 0 and 1 or 0 end) end
    function bit.bxor(a, b) return each(a, b, function(x, y) return x ~= y and 1 or 0 end) end
    function bit.bnot(a) return bit.tobit(-1 - a) end
    function bit.lshift(a, n) return bit.tobit(a % 2 ^ 32 * 2 ^ (n % 32)) end
    function bit.rshift(a, n) return bit.tobit(math.floor(a % 2 ^ 32 / 2 ^ (n % 32))) end
    return bit
end

local function library(name)
    if name ~= "bit" then
        return _G[name]
    end
    local ok, bit = pcall(require, "bit")
    return ok and bit or plain_bit()
end

-- Where policies are looked for: from here, and beside this file (the shipped ones, or one's own).
local function sources(path)
    local own = debug.getinfo(1, "S").source:match "^@(.*)tidegate/loading%.lua$"
    return { path, "policies/" .. path, own and own .. path }
end

local function find_source(path)
    path = path:find "%.lua$" and path or path .. ".lua"
    for _, candidate in ipairs(sources(path)) do
        local file = io.open(candidate, "rb")
        if file then
            local text = file:read "*a"
            file:close()
            return text, candidate:gsub("^%./", "")
        end
    end
    error(("there is no policy %s: run it in the folder of the configuration"):format(path), 0)
end

local function compile(text, origin, env)
    if not setfenv then
        return assert(load(text, "@" .. origin, "t", env)) -- luacheck: ignore 143
    end
    return setfenv(assert(loadstring(text, "@" .. origin)), env)
end

-- A text by its path: of the product's host, or of a file.
function M.read(path)
    if M.product then
        local text, why = M.product.read(path)
        return text or error(why, 3)
    end
    local file, why = io.open(path, "rb")
    if not file then
        error(why, 3)
    end
    local text = file:read "*a"
    file:close()
    return text
end

-- Chance begins anew with each policy that is loaded, so that a spec says the same each time.
local function environment()
    local env, loaded = {}, {}
    math.randomseed(1)
    for part, names in pairs(views.functions) do
        local into, from = env, _G
        if part ~= "base" then
            env[part] = {}
            into, from = env[part], library(part)
        end
        for _, name in ipairs(names) do
            into[name] = from[name]
        end
    end
    env._G = env
    function env.require(name)
        if not loaded[name] then
            local text, origin = find_source((name:gsub("%.", "/")))
            loaded[name] = compile(text, origin, env)()
        end
        return loaded[name]
    end
    return env
end

local UNITS = { ms = 0.001, s = 1, m = 60, h = 3600, d = 86400 }

-- "1m30s" -> 90; numbers are seconds. `level` is whom to blame.
function M.seconds(duration, level)
    if type(duration) == "number" then
        return duration
    end
    local total, rest = 0, duration
    repeat
        local number, unit, behind = rest:match "^([%d.]+)(%a+)(.*)$"
        if not (number and tonumber(number) and UNITS[unit]) then
            local text = '"%s" is no duration: write it as "90s", "10m" or "1h30m"'
            error(text:format(tostring(duration)), level or 2)
        end
        total, rest = total + tonumber(number) * UNITS[unit], behind
    until rest == ""
    return total
end

-- What a policy file returns; `source` in place of what it holds.
function M.load(path, source)
    if M.product then
        return M.product.load(path, source)
    end
    local origin = path
    if not source then
        source, origin = find_source(path)
    end
    return compile(source, origin, environment())()
end

return M
