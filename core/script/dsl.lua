-- dsl.lua: reads a configuration: runs its files, keeps what they declare, checks it.
--
-- load.c calls it with `host` (files, compiling, places; see load.c) and `request`:
--   { main = "tidegate.lua", directory = "/etc/tidegate", overrides = { engine = "process" },
--     labelled = nil | { ... } (labels.lua) }
-- and gets { step, failed, result }. The work is a queue of steps, since each runs under a budget of its
-- own: step() runs one and tells whether more are left; failed(sentence) tells that the present one was
-- stopped; result() returns { config, errors, warnings }, `config` only without errors.
local advice = require "script.advice"
local blocks = require "script.blocks"
local check = require "script.check"
local globals = require "script.globals"
local labels = require "script.labels"
local policies = require "script.policies"
local report = require "script.report"
local nearest = require "script.nearest"
local values = require "script.values"

local M = {}

local NAMES = require "tidegate.views".words
local MOST_INCLUDES = 256
local PACK = "policies/alerts.lua" -- the shipped alerts, or the operator's own file of that name

-- A copy of what a block was given, without metatables: nothing of the configuration's own runs while
-- it is checked. Functions stay.
local function plain(value, place, complain, depth, open)
    if type(value) ~= "table" then
        return value
    elseif open[value] or depth > 16 then
        complain(place, open[value] and "contains itself" or "is nested too deeply")
        return {}
    end
    open[value] = true
    local out = {}
    for key, item in next, value do
        if type(key) == "string" or type(key) == "number" then
            out[key] = plain(item, check.joined(place, key), complain, depth + 1, open)
        else
            complain(place, "keys must be text, got " .. values.describe(key))
        end
    end
    open[value] = nil
    return out
end

-- The state of one load, shared with blocks.lua and policies.lua.
local function new_load(host, request)
    local files = { request.main }
    return {
        host = host,
        request = request,
        files = files, -- names in the order of reading
        sources = {}, -- name -> text
        answers = {}, -- of `env`: name -> text
        lists = {}, -- of `include` with a pattern: pattern -> names
        errors = report.new(files),
        warnings = report.new(files),
        declared = {}, -- in order: { keyword, name, file, line, body }
        pack = {}, -- the shipped alerts, the same
        steps = {},
        plain = function(value, place, complain)
            return plain(value, place, complain, 1, {})
        end,
    }
end

-- ---- Words of the configuration ---------------------------------------------------------------

-- `keyword "name" { ... }`, or `keyword { ... }` when it is nameless.
local function declare(load, keyword, name, file, line, body)
    local list = file == PACK and load.pack or load.declared
    local entry = { keyword = keyword, name = name, file = file, line = line, body = body }
    if type(body) ~= "table" then
        load.errors.add(file, line, ("%s%s: expected a table, got %s"):format(keyword,
            name and (' "%s"'):format(name) or "", values.describe(body)))
        return
    end
    list[#list + 1] = entry
end

local function named(load, keyword)
    return function(name, ...)
        local file, line = load.host.at()
        if type(name) ~= "string" then
            load.errors.add(file, line, ('%s: expected a name, as in %s "name" { ... }, got %s'):format(
                keyword, keyword, values.describe(name)))
            name = "?"
        end
        local waiting = { file = file, line = line, keyword = keyword, name = name }
        load.waiting[waiting] = true
        local function take(body)
            load.waiting[waiting] = nil
            declare(load, keyword, name, file, line, body)
        end
        if select("#", ...) > 0 then
            take((...))
            return nil
        end
        return take
    end
end

local function nameless(load, keyword)
    return function(body)
        local file, line = load.host.at()
        declare(load, keyword, nil, file, line, body)
    end
end

-- env "NAME" or env("NAME", default)
local function env_word(load)
    return function(name, default)
        local file, line = load.host.at()
        if type(name) ~= "string" or not name:find "^[%a_][%w_]*$" then
            load.errors.add(file, line, "env: expected the name of a variable, got " .. values.describe(name))
            return ""
        end
        local value = load.host.getenv(name)
        load.answers[name] = value
        if value == nil and default == nil then
            local text = 'env: %s is not set: set it, or give a default: env("%s", "...")'
            load.errors.add(file, line, text:format(name, name))
            return ""
        end
        return value == nil and default or value
    end
end

local function run_file(load, name, source, chain)
    load.sources[name] = source
    local chunk, why = load.host.compile(source, name, load.env)
    if not chunk then
        load.errors.add_sentence(advice.sentence(why, name, source))
        load.broken = true
        return
    end
    chain[#chain + 1] = name
    local result = chunk()
    chain[#chain] = nil
    return result
end

local function include_one(load, name, chain, file, line)
    local function refuse(text)
        load.errors.add(file, line, ('include "%s": %s'):format(name, text))
        load.broken = true
    end
    for _, open in ipairs(chain) do
        if open == name then
            return refuse("includes itself: " .. table.concat(chain, " -> ") .. " -> " .. name)
        end
    end
    if #load.files >= MOST_INCLUDES then
        return refuse(("more than %d files"):format(MOST_INCLUDES))
    end
    local source = load.sources[name] -- each file is read once, so that it is one text
    if not source then
        local text, why = load.host.read(name)
        if not text then
            return refuse(why)
        end
        source, load.files[#load.files + 1] = text, name
    end
    return run_file(load, name, source, chain)
end

-- include "other.lua" or include "services/*.lua", from the directory of the main file.
local function include(load, chain)
    return function(name)
        local file, line = load.host.at()
        if type(name) ~= "string" or not name:find "^[%w_./*-]+%.lua$" then
            load.errors.add(file, line, 'include: expected a file such as "services.lua", got ' ..
                values.describe(name))
            return nil
        end
        name = name:gsub("^%./", "")
        local folder, pattern = name:match "^(.-)/?([^/]*%*[^/]*)$"
        if not folder then
            return include_one(load, name, chain, file, line)
        end
        pattern = "^" .. pattern:gsub("[-.]", "%%%0"):gsub("%*", "[^/]*") .. "$"
        local list = check.array()
        load.lists[name] = list
        for _, found in ipairs(load.host.list(folder == "" and "." or folder)) do
            if found:find(pattern) then
                list[#list + 1] = (folder == "" and "" or folder .. "/") .. found
                include_one(load, list[#list], chain, file, line)
            end
        end
    end
end

local function environment(load, chain)
    local env = load.host.environment()
    env.require = nil
    env.env, env.include = env_word(load), include(load, chain)
    env.cluster, env.alerting = nameless(load, "cluster"), nameless(load, "alerting")
    for _, keyword in ipairs { "service", "channel", "alert" } do
        env[keyword] = named(load, keyword)
    end
    function env.print(...)
        local file, line = load.host.at()
        local parts = {}
        for i = 1, select("#", ...) do
            parts[i] = tostring((select(i, ...)))
        end
        load.warnings.add(file, line, "print: " .. table.concat(parts, " "):gsub("%c", " "))
    end
    return setmetatable(env, {
        __metatable = false,
        __index = function(_, key)
            local near = nearest(key, NAMES)
            local hint = near and (': did you mean "%s"?'):format(near) or
                ": only what the configuration itself defines, and the safe part of Lua, is known"
            error(('unknown name "%s"%s'):format(tostring(key), hint), 2)
        end,
    })
end

-- What another process needs to run the files once more, for the functions in them (again.lua).
local function program(load)
    return { main = load.request.main, pack = load.sources[PACK] and PACK, sources = load.sources,
        answers = load.answers, lists = load.lists }
end

-- ---- Steps ------------------------------------------------------------------------------------

local function read_step(load)
    local chain = {}
    load.waiting = {}
    load.env = environment(load, chain)
    run_file(load, load.request.main, load.request.source, chain)
    load.read = true
end

-- The shipped alerts are read as if they were included last.
local function pack_step(load)
    local source, why, missing = load.host.read(PACK)
    if not source and not missing then
        load.errors.add(PACK, nil, why)
        return
    end
    load.files[#load.files + 1] = PACK
    source = source or load.host.shipped "alerts"
    run_file(load, PACK, source, {})
    load.pack_read = true
end

-- Not when reading was stopped: files that did not run have defined nothing.
local function globals_step(load)
    if load.read and load.pack_read and not load.broken then
        globals.configuration(load, load.env)
    end
end

local function check_step(load)
    for waiting in next, load.waiting do
        load.errors.add(waiting.file, waiting.line, ('%s "%s": has no table behind its name'):format(
            waiting.keyword, waiting.name))
    end
    load.config = blocks.check(load)
end

local function policy_steps(load)
    if not load.config then
        return -- the check was stopped
    end
    for _, step in ipairs(policies.steps(load)) do
        load.steps[#load.steps + 1] = step
    end
end

function M.new(host, request)
    local load = new_load(host, request)
    load.steps = {
        { run = read_step },
        { run = pack_step },
        { run = globals_step },
        { run = check_step },
        { run = policy_steps },
    }
    local at = 0
    return {
        step = function()
            at = at + 1
            local step = load.steps[at]
            step.run(load)
            return load.steps[at + 1] ~= nil
        end,
        failed = function(sentence)
            local step, prefix = load.steps[at], request.main .. ": "
            if sentence:sub(1, #prefix) == prefix then
                sentence = sentence:sub(#prefix + 1) -- state_run's word for "no line is known"
            end
            sentence = sentence:gsub("^script/[%w_]+:%d+: ", "") -- our own place tells an operator nothing
            if step and step.failed then -- none has begun when memory was short for calling the first
                step.failed(load, sentence)
            else
                load.errors.add_sentence(sentence)
            end
            return load.steps[at + 1] ~= nil
        end,
        result = function()
            local ok = load.errors.empty()
            labels.settle(load)
            if ok and load.run_again then
                load.config.program = program(load)
            end
            return { config = ok and load.config or nil, errors = load.errors.text(),
                warnings = load.warnings.text() }
        end,
    }
end

return M
