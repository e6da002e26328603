-- specs.lua: runs specs as busted would: describe, it, before_each, after_each, pending, and luassert's
-- common assertions, so that an operator needs nothing installed and the same file passes under busted.
local values = require "script.values"

local M = {}

-- ---- Assertions -----------------------------------------------------------------------------------

local function same(a, b, depth)
    if type(a) ~= "table" or type(b) ~= "table" then
        return rawequal(a, b) or a == b
    elseif depth > 32 then
        return false
    end
    for key, value in next, a do
        if not same(value, rawget(b, key), depth + 1) then
            return false
        end
    end
    for key in next, b do
        if rawget(a, key) == nil then
            return false
        end
    end
    return true
end

local function is_type(name)
    return function(value)
        return type(value) == name, ("a %s"):format(name), value
    end
end

local function fails(f, text, plain)
    local ok, why = pcall(f)
    if ok then
        return false, "an error", "none"
    elseif text == nil then
        return true, "no error", why
    end
    return why == text or type(why) == "string" and why:find(text, 1, plain) ~= nil, text, why
end

-- Each answers: whether it holds, what was wanted, what there was.
local CHECKS = {
    equal = function(want, got)
        return want == got, want, got
    end,
    same = function(want, got)
        return same(want, got, 1), want, got
    end,
    near = function(want, got, tolerance)
        return math.abs(want - got) <= tolerance, want, got
    end,
    truthy = function(value)
        return value and true or false, "something true", value
    end,
    falsy = function(value)
        return not value, "nil or false", value
    end,
    ["true"] = function(value)
        return value == true, true, value
    end,
    ["false"] = function(value)
        return value == false, false, value
    end,
    ["nil"] = function(value)
        return value == nil, nil, value
    end,
    matches = function(pattern, text)
        return type(text) == "string" and text:find(pattern) ~= nil, pattern, text
    end,
    error = function(f, text)
        return fails(f, text, false)
    end,
    error_matches = function(f, pattern)
        return fails(f, pattern, false)
    end,
    unique = function(list)
        local seen = {}
        for _, value in ipairs(list) do
            if seen[value] then
                return false, "each once", value
            end
            seen[value] = true
        end
        return true
    end,
}
for _, name in ipairs { "number", "string", "table", "boolean", "function" } do
    CHECKS[name] = is_type(name)
end
local ALSO = { equals = "equal", match = "matches", errors = "error", error_match = "error_matches" }
local FILLERS = { is = true, are = true, was = true, has = true, have = true, does = true, be = true,
    a = true }
local NEGATIONS = { ["not"] = true, no = true }

local function show(value)
    return type(value) == "table" and M.shown(value, 1) or values.describe(value)
end

local function complain(negated, name, want, got, note)
    local what = name == "equal" or name == "same" or name == "near" or name == "matches"
    local text = ("expected %s%s, got %s"):format(negated and "not " or "",
        type(want) == "string" and not what and want or show(want), show(got))
    error(type(note) == "string" and note .. ": " .. text or text, 3)
end

-- assert.is_true, assert.are.equal, assert.is_not.equal, assert.has_error and so on: words before the check.
local function asserting(words)
    return setmetatable({}, {
        __index = function(_, key)
            local all = words
            for word in tostring(key):gmatch "[^_]+" do
                all = all .. " " .. word
            end
            return asserting(all)
        end,
        __call = function(_, ...)
            if words == "" then
                if not (...) then
                    local why = select(2, ...)
                    error(why == nil and "assertion failed!" or why, type(why) == "string" and 2 or 0)
                end
                return ...
            end
            local name, negated = nil, false
            for word in words:gmatch "%S+" do
                if NEGATIONS[word] then
                    negated = not negated
                elseif name or not FILLERS[word] then
                    name = name and name .. "_" .. word or word
                end
            end
            name = ALSO[name] or name
            local check = CHECKS[name]
            if not check then
                error("assert has no " .. words:sub(2):gsub(" ", "_"), 2)
            end
            local ok, want, got = check(...)
            if ok == negated then
                complain(negated, name, want, got, (select(name == "near" and 4 or 3, ...)))
            end
            return ...
        end,
    })
end

-- ---- Blocks ---------------------------------------------------------------------------------------

local function block(parent, name)
    return { name = name, parent = parent, before = {}, after = {}, items = {} }
end

-- The words of a spec in `env`; what they declare hangs on the block that is returned.
function M.open(env)
    local root = block(nil, nil)
    local at = root
    local function describe(name, body)
        local inner = block(at, tostring(name))
        at.items[#at.items + 1] = inner
        local outer = at
        at = inner
        body()
        at = outer
    end
    env.describe, env.context, env.insulate = describe, describe, describe
    function env.it(name, body)
        at.items[#at.items + 1] = { name = tostring(name), body = body, parent = at }
    end
    function env.pending(name)
        at.items[#at.items + 1] = { name = tostring(name), pending = true, parent = at }
    end
    env.spec = env.it
    function env.before_each(f)
        at.before[#at.before + 1] = f
    end
    function env.after_each(f)
        at.after[#at.after + 1] = f
    end
    env.setup, env.teardown = env.before_each, env.after_each
    env.assert = asserting ""
    return root
end

-- What is to run before or after a case, in order.
local function around(item, key, outermost_first)
    local chain, list = {}, {}
    while item do
        table.insert(chain, outermost_first and 1 or #chain + 1, item)
        item = item.parent
    end
    for _, one in ipairs(chain) do
        for _, f in ipairs(one[key]) do
            list[#list + 1] = f
        end
    end
    return list
end

-- Without anything behind it, a case is not caught: one that runs for too long is stopped at its own line.
local function run_case(item)
    for _, f in ipairs(around(item.parent, "before", true)) do
        f()
    end
    local after = around(item.parent, "after", false)
    if #after == 0 then
        item.body()
        return
    end
    local ok, why = pcall(item.body)
    for _, f in ipairs(after) do
        f()
    end
    if not ok then
        error(why, 0)
    end
end

-- All cases below a block, in order: { name = "a b c", run = function }, those pending without `run`.
function M.cases(root)
    local list = {}
    local function title(item)
        local names = {}
        while item and item.name do
            table.insert(names, 1, item.name)
            item = item.parent
        end
        return table.concat(names, " ")
    end
    local function collect(one)
        for _, item in ipairs(one.items) do
            if item.items then
                collect(item)
            else
                list[#list + 1] = { name = title(item), run = not item.pending and function()
                    run_case(item)
                end or nil }
            end
        end
    end
    collect(root)
    return list
end

return M
