-- kit.lua: `tidegate policy test`: runs a policy's examples and its spec and tells which lines ran.
--
-- kit.c calls it with `host` (host.c's) and `request`: { kind, name } and gets { step, failed, result }: the
-- work is a queue of steps, since each runs under a budget of its own. result() is what kit.h shows.
local check = require "script.check"
local coverage = require "script.coverage"
local examples = require "script.examples"
local policies = require "script.policies"
local report = require "script.report"
local specs = require "script.specs"

specs.shown = examples.shown

local M = {}

-- ---- What a spec sees -----------------------------------------------------------------------------

-- "scale/x" or "policies/scale/x.lua" -> its path below the configuration.
local function path_of(name)
    local path = name:match "policies/.*$" or "policies/" .. name
    return path:find "%.lua$" and path or path .. ".lua"
end

-- What `tidegate.testing` asks of the program, as it has no files here.
local function bridge(host)
    return {
        load = function(name, source)
            local origin = path_of(name)
            if not source then
                source = host.read(origin) or host.shipped((origin:gsub("^policies/", ""):gsub("%.lua$", "")))
            end
            if not source then
                error(("there is no policy %s"):format(origin), 0)
            end
            return host.module(origin, source)
        end,
        read = function(name)
            local text, why = host.read(name)
            return text, ("%s: %s"):format(name, why)
        end,
        detector = host.detector,
    }
end

local function spec_environment(host)
    local env, loaded = host.environment(), {}
    local outer = env.require
    env._TIDEGATE = bridge(host)
    function env.require(name)
        local shipped = type(name) == "string" and name:find "^tidegate%.%w+$"
            and host.shipped((name:gsub("%.", "/")))
        if not shipped then
            return outer(name)
        elseif not loaded[name] then
            local chunk, why = host.compile(shipped, "policies/" .. name:gsub("%.", "/") .. ".lua", env)
            loaded[name] = assert(chunk, why)()
        end
        return loaded[name]
    end
    return env
end

-- ---- Steps ----------------------------------------------------------------------------------------

local function fresh_load(host)
    local files = {}
    return { host = host, files = files, errors = report.new(files), warnings = report.new(files),
        steps = {}, libraries = {}, config = { policies = {} }, plain = M.plain }
end

-- A copy without metatables.
function M.plain(value, place, complain, depth)
    depth = depth or 1
    if type(value) ~= "table" then
        return value
    elseif depth > 16 then
        complain(place, "is nested too deeply")
        return {}
    end
    local out = {}
    for key, item in next, value do
        out[key] = M.plain(item, place, complain, depth + 1)
    end
    return out
end

local function fail(t, what, sentence)
    t.failures[#t.failures + 1] = { what = what, why = sentence }
end

-- What the loader's reports gained becomes failures.
local function take_errors(t, what)
    for line in t.load.errors.text():gmatch "[^\n]+" do
        if not t.told[line] then
            t.told[line] = true
            fail(t, what, line)
        end
    end
end

-- One of the loader's own steps, as one of ours.
local function loader_step(t, step, what)
    return {
        run = function()
            step.run(t.load)
            take_errors(t, what)
        end,
        failed = function(sentence)
            step.failed(t.load, sentence)
            take_errors(t, what)
        end,
    }
end

local function case_step(t, case)
    return {
        run = function()
            if case.run then
                t.specs = t.specs + 1
                case.run()
            else
                t.pending = t.pending + 1
            end
        end,
        failed = function(sentence)
            fail(t, case.name, sentence)
        end,
    }
end

local function spec_step(t, origin, source)
    return {
        run = function()
            local env = spec_environment(t.host)
            local root = specs.open(env)
            local chunk, why = t.host.compile(source, origin, env)
            if not chunk then
                error(why, 0)
            end
            chunk()
            for _, case in ipairs(specs.cases(root)) do
                t.steps[#t.steps + 1] = case_step(t, case)
            end
        end,
        failed = function(sentence)
            fail(t, origin, sentence)
        end,
    }
end

local function policy_step(t, request, origin, source)
    return {
        run = function()
            local load = t.load
            local policy = policies.draft(load, request.kind, request.name, origin, source)
            take_errors(t, origin)
            for i, step in ipairs(load.steps) do
                t.examples = t.examples + 1
                t.steps[#t.steps + 1] = loader_step(t, step, ("example %d"):format(i))
            end
            local spec, why, missing = t.host.read(t.spec)
            if spec and policy.usable then
                t.steps[#t.steps + 1] = spec_step(t, t.spec, spec)
            elseif not spec and not missing then
                fail(t, t.spec, ("%s: %s"):format(t.spec, why))
            end
            t.has_spec = spec ~= nil
        end,
        failed = function(sentence)
            fail(t, origin, sentence)
        end,
    }
end

-- { step, failed, result } for the policy of `request`.
function M.test(host, request)
    local origin = ("policies/%s/%s.lua"):format(request.kind, request.name)
    local source, why = host.read(origin)
    local t = { host = host, load = fresh_load(host), failures = {}, told = {}, examples = 0, specs = 0,
        pending = 0, spec = ("policies/%s/%s_spec.lua"):format(request.kind, request.name), at = 0 }
    t.steps = { source and policy_step(t, request, origin, source) or { run = function()
        error(("%s: %s"):format(origin, why), 0)
    end, failed = function(sentence)
        fail(t, origin, sentence)
    end } }
    local it = {}

    function it.step()
        t.at = t.at + 1
        t.now = t.steps[t.at]
        t.now.run()
        return t.at < #t.steps
    end

    function it.failed(sentence)
        t.now.failed(sentence)
        return t.at < #t.steps
    end

    -- `ran`: { [line] = true }.
    function it.result(ran)
        local lines, missed = source and coverage.lines(host, source) or {}, {}
        for _, line in ipairs(lines) do
            missed[#missed + 1] = not ran[line] and line or nil
        end
        return { policy = origin, spec = t.has_spec and t.spec or nil, examples = t.examples, specs = t.specs,
            pending = t.pending, lines = #lines, missed = check.array(missed),
            failures = check.array(t.failures) }
    end

    return it
end

return M
