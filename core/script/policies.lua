-- policies.lua: finds the policies that a configuration names, holds them and their parameters against
-- what a policy must be, and runs their examples.
--
-- A policy is a table: name, doc, params (a schema as check.lua's, keys are names), new(params), which
-- returns the function that decides, and examples:
--   scale:   { params = { cpu = 75 }, given = { cpu_percent = 92, instances = 2 }, want = 3 }
--   balance: { params = {}, backends = { { in_flight = 3 }, { in_flight = 1 } }, request = {}, want = 2 }
--   anomaly: { params = {}, given = { values = { 10, 11 }, times = 80, more = { 11, 50 } }, want = 2 }
--   alert:   { params = {}, given = { performance = { p99 = 2 } }, want = true }
--   notify:  { params = {}, given = { severity = "critical" }, want = "ops, page" }
local advice = require "script.advice"
local check = require "script.check"
local examples = require "script.examples"
local globals = require "script.globals"
local lines = require "script.lines"
local nearest = require "script.nearest"
local schema = require "script.schema"
require "script.service" -- types of parameters
require "script.windows"
local values = require "script.values"

local M = {}

local KEYS = { "name", "doc", "params", "needs", "timing", "state_version", "migrate", "new", "examples" }
local PARAM_TYPES = {
    number = "number", integer = "integer", boolean = "boolean", string = "text", text = "text",
    duration = "seconds", size = "size", enum = "enum", source = "source", list = "list",
    policy = "policy_use", policies = "list", windows = "windows",
}
-- Parameters that `new` gets as tables with functions (parts.lua).
local BUILT = { policy = true, policies = true, windows = true }
local KINDS = { "balance", "scale", "alert", "anomaly", "notify" }
local SHAPES = {
    balance = '{ score = function(backend, request) ... end }', scale = 'function(s) ... end',
    alert = 'function(m) ... end', notify = 'function(n) ... end',
    anomaly = '{ metrics = { ... }, learn = function() ... end, point = function(state, value) ... end }',
}
local MOST_EXAMPLES, MOST_PARTS, DEEPEST = 100, 8, 4

-- ---- Finding ----------------------------------------------------------------------------------

local function names_of(host, kind)
    local names, seen = {}, {}
    local function add(name)
        if not seen[name] then
            seen[name], names[#names + 1] = true, name
        end
    end
    for _, file in ipairs(host.list("policies/" .. kind)) do
        if not file:find "_spec%.lua$" then
            add((file:gsub("%.lua$", "")))
        end
    end
    for _, name in ipairs(host.shipped_names(kind .. "/")) do
        add(name)
    end
    table.sort(names)
    return names
end

-- { kind, name, origin, source }, or nil and why.
local function find(host, kind, name)
    if not name:find "^[%w_]+$" or #name > 63 then
        return nil, "expected the name of a policy, got " .. values.describe(name)
    end
    local origin = ("policies/%s/%s.lua"):format(kind, name)
    local source, why, missing = host.read(origin)
    if not source and not missing then
        return nil, ("%s: %s"):format(origin, why)
    end
    source = source or host.shipped(kind .. "/" .. name)
    if not source then
        for _, other in ipairs(KINDS) do
            if other ~= kind and host.shipped(other .. "/" .. name) then
                return nil, ('"%s" is a policy of %s, not of %s: there are %s'):format(name, other, kind,
                    table.concat(names_of(host, kind), ", "))
            end
        end
        return nil, check.unknown(name, names_of(host, kind), ('%s policy "%s"'):format(kind, name))
    end
    return { kind = kind, name = name, origin = origin, source = source }
end

-- Where a library was looked for, and which one may be meant.
local function no_library(load, name, why)
    local path = name:match "^lib%.[%w_.]+$" and name:gsub("%.", "/")
    if not path then
        local text = 'nothing but libraries below policies/lib can be required, such as "lib.stats", not %s'
        return text:format(
            values.describe(name))
    elseif not why:find("no such file", 1, true) then
        return ('library "%s": %s'):format(name, why)
    end
    local names = names_of(load.host, "lib")
    for i, one in ipairs(names) do
        names[i] = "lib." .. one
    end
    local near = nearest(name, names)
    local text = 'no library "%s": looked for policies/%s.lua beside the configuration '
        .. "and among the shipped ones: "
    return text:format(name, path) .. (near and ('did you mean "%s"?'):format(near) or "there are "
        .. table.concat(names, ", "))
end

-- Libraries that a source names, and those that these name, are read now.
local function find_libraries(load, origin, source)
    for at, name in source:gmatch "()require%s*%(?%s*[\"']([^\"'\n]*)[\"']" do
        if not load.libraries[name] then
            load.libraries[name] = true
            local text, from = load.host.library(name)
            if text then
                globals.policy(load, from, text)
                find_libraries(load, from, text)
            else
                local _, lines_before = source:sub(1, at):gsub("\n", "")
                load.errors.add(origin, lines_before + 1, no_library(load, name, from))
            end
        end
    end
end

-- ---- Shape ------------------------------------------------------------------------------------

local function param_field(policy, key, spec)
    local path = ("params.%s"):format(type(key) == "string" and key or "?")
    local function bad(text)
        policy.report(path, text)
    end
    if type(key) ~= "string" or not key:find "^[%a_][%w_]*$" then
        return bad "names of parameters are words"
    elseif type(spec) ~= "table" then
        return bad('expected a table such as { type = "number", default = 1 }, got ' ..
            values.describe(spec))
    end
    local kind = rawget(spec, "type")
    if not PARAM_TYPES[kind] then
        local known = { "number", "integer", "boolean", "string", "duration", "size", "enum", "source",
            "list", "policy", "policies", "windows" }
        return bad(check.unknown(kind, known, "type " .. values.describe(kind)))
    elseif BUILT[kind] and (policy.kind ~= "scale" or rawget(spec, "default") ~= nil) then
        return bad(policy.kind == "scale" and ("a %s has no default: write required = true"):format(kind) or
            ("type %s is for scale policies"):format(values.describe(kind)))
    end
    local field = { key, type = PARAM_TYPES[kind], out = key, empty = true, built = BUILT[kind] }
    field.of = kind == "list" and { type = "text" } or nil
    if kind == "policy" then
        field.kind, field.example = "scale", "queue"
    end
    if kind == "policies" then
        field.of = { type = "policy_use", kind = "scale", example = "queue" }
        field.least, field.most = 1, MOST_PARTS
        field.example = 'such as { { policy = "queue" }, { policy = "target_tracking", target = 60 } }'
    end
    for _, name in ipairs { "default", "min", "max", "values", "doc", "unit", "required" } do
        field[name] = rawget(spec, name)
    end
    if field.type == "enum" and type(field.values) ~= "table" then
        return bad 'an enum needs values = { "a", "b" }'
    end
    if field.required then
        field.required = type(field.required) == "string" and field.required or "it has no default"
    end
    if field.default ~= nil then
        if check.value(field, field.default, path .. ".default", policy) == nil then
            field.default = nil
        end
    end
    return field
end

-- policy.fields from what the module says of its parameters.
local function read_params(policy, params)
    policy.fields = {}
    if type(params) ~= "table" then
        policy.report("params", "expected a table, got " .. values.describe(params))
        return
    end
    for _, key in ipairs(values.sorted_keys(params)) do
        policy.fields[#policy.fields + 1] = param_field(policy, key, rawget(params, key))
    end
end

-- policy.needs: fields of the request, and costly ones of a backend, that the policy reads; nil = any.
local function read_needs(policy, needs)
    if needs == nil then
        return
    elseif policy.kind ~= "balance" or type(needs) ~= "table" or not check.list_length(needs) then
        policy.report("needs", "expected a list of fields of the request, for a balance policy")
        return
    end
    local known, list = check.sorted_keys(examples.needed_fields), check.array()
    for i = 1, check.list_length(needs) do
        local name = rawget(needs, i)
        if type(name) ~= "string" or not examples.needed_fields[name] then
            policy.report("needs", check.unknown(name, known, "field " .. values.describe(name)))
        end
        list[i] = name
    end
    policy.needs, policy.listed.needs = list, list
end

-- policy.timing: how often a scale policy wants to be asked, and what it needs no cooldown for.
local function read_timing(policy, timing)
    policy.timing = {}
    if timing == nil then
        return
    elseif policy.kind ~= "scale" or type(timing) ~= "table" then
        policy.report("timing", 'expected a table such as { interval = "5s" }, for a scale policy')
        return
    end
    policy.timing = check.record(schema.timing, timing, "timing", policy)
end

-- policy.keeps: whether what it keeps goes on over reloads; that of workers and detectors is their own.
local function read_state(policy, module)
    local version, migrate = rawget(module, "state_version"), rawget(module, "migrate")
    policy.keeps = policy.kind ~= "balance" and policy.kind ~= "anomaly"
    if version ~= nil and not (type(version) == "number" and version >= 1 and version % 1 == 0) then
        policy.report("state_version", "expected a whole number from 1 on, got " .. values.describe(version))
    elseif migrate ~= nil and type(migrate) ~= "function" then
        policy.report("migrate", "expected a function(old, from), got " .. values.describe(migrate))
    end
    for _, name in ipairs { "state_version", "migrate" } do
        if rawget(module, name) ~= nil and not policy.keeps then
            policy.report(name, ("a policy of the kind %s keeps nothing over reloads"):format(policy.kind))
        end
    end
end

local function check_shape(policy, module)
    policy.examples = {}
    if type(module) ~= "table" then
        local text = 'returns %s: a policy file ends with return { name = "%s", doc = ..., new = ... }'
        policy.report("", text:format(values.describe(module), policy.name))
        return
    end
    for key in next, module do
        local known = false
        for _, name in ipairs(KEYS) do
            known = known or key == name
        end
        if not known then
            policy.report(type(key) == "string" and key or "?", check.unknown(key, KEYS, "key"))
        end
    end
    local name, doc, given = rawget(module, "name"), rawget(module, "doc"), rawget(module, "examples")
    if name ~= policy.name then
        policy.report("name", ('expected "%s" as the file is called, got %s'):format(policy.name,
            values.describe(name)))
    end
    if type(doc) ~= "string" or doc == "" then
        policy.report("doc", "expected a sentence that says what it decides, got " .. values.describe(doc))
    end
    if type(rawget(module, "new")) ~= "function" then
        policy.report("new", ("expected function(params) return %s end, got %s"):format(SHAPES[policy.kind],
            values.describe(rawget(module, "new"))))
    end
    if given ~= nil and (type(given) ~= "table" or not check.list_length(given)) then
        policy.report("examples", "expected a list, got " .. values.describe(given))
        given = nil
    end
    read_params(policy, rawget(module, "params") or {})
    read_needs(policy, rawget(module, "needs"))
    read_timing(policy, rawget(module, "timing"))
    read_state(policy, module)
    policy.module, policy.examples = module, given or {}
end

-- ---- Parameters -------------------------------------------------------------------------------

-- Checked parameters with defaults; report(path, text) hears what is wrong. `beside` are the fields that
-- stand in the same table; use(part) hears of policies among the parameters.
-- `calendar`: see calendar.h.
local function checked_params(policy, params, path, report, beside, use, calendar)
    local unknown = {}
    local ctx = { report = report, use = use, calendar = calendar }
    local out = check.record(policy.fields, params, path, ctx, unknown)
    local keys = check.keys(policy.fields)
    for _, key in ipairs(check.sorted_keys(unknown)) do
        local all = check.keys(policy.fields)
        for _, word in ipairs(check.keys(beside)) do
            all[#all + 1] = word
        end
        local near = check.meant(key, beside) or nearest(key, all)
        report(check.joined(path, key), near and ('unknown key: did you mean "%s"?'):format(near) or
            #keys == 0 and ('unknown key: the policy "%s" takes no parameters'):format(policy.name) or
            ('unknown key: the policy "%s" takes %s'):format(policy.name, table.concat(keys, ", ")))
    end
    return out
end

-- What `new` of an anomaly policy returned: metrics to watch, what learns and what tells.
local function check_detects(policy, made)
    for _, name in ipairs { "learn", "point" } do
        local got = type(made) == "table" and rawget(made, name) or nil
        if type(got) ~= "function" then
            local text = "must return { metrics = {...}, learn = function, point = function }: %s is %s"
            policy.report("new", text:format(name, values.describe(got)))
        end
    end
    local metrics = type(made) == "table" and rawget(made, "metrics") or nil
    if type(metrics) ~= "table" or not check.list_length(metrics) then
        policy.report("new", "metrics: expected a list, got " .. values.describe(metrics))
        return
    end
    for i, metric in ipairs(metrics) do
        local name, of = type(metric) == "table" and metric.name, type(metric) == "table" and metric.of
        if type(name) ~= "string" or type(of) ~= "table" or type(of[1]) ~= "string" then
            local text = 'metrics[%d]: expected { name = "p99", of = { "performance.p99" } }, got %s'
            policy.report("new", text:format(i, values.describe(metric)))
        end
    end
end

-- One way of a balance policy; `place` is where it stands in what `new` returned.
local function check_way(policy, way, place)
    local function has(name)
        return type(way) == "table" and type(rawget(way, name)) == "function"
    end
    local score, pick = has "score", has "pick"
    if score == pick then
        policy.report("new", ("must return %s{ score = function } or { pick = function }, got %s"):format(
            place == "" and "" or place .. " = ",
            score and "both" or type(way) == "table" and "neither" or values.describe(way)))
        return
    end
    local before = place == "" and "" or place .. "."
    for _, name in ipairs { "prepare", "chose" } do
        if rawget(way, name) ~= nil and not (score and has(name)) then
            policy.report("new", before .. name .. " is a function beside a score")
        end
    end
end

-- What `new` returned: the function that decides, or a table with what its kind must have.
local function check_made(policy, made)
    if policy.kind == "anomaly" then
        check_detects(policy, made)
        return
    elseif policy.kind ~= "balance" then
        if type(made) ~= "function" then
            policy.report("new", ("returned %s: it must return the function that decides, %s"):format(
                values.describe(made), SHAPES[policy.kind]))
        end
        return
    end
    if type(made) ~= "table" or rawget(made, "which") == nil then
        check_way(policy, made, "")
        return
    end
    if type(rawget(made, "which")) ~= "function" or #made == 0 then
        policy.report("new", "beside which = function stand the ways that it chooses from, in a list")
        return
    end
    for i = 1, #made do
        check_way(policy, made[i], ("[%d]"):format(i))
    end
end

-- How a policy wants to be used, where the service says nothing; nil is the cluster's. One with parts is
-- asked as often as the hastiest of them, and has no cooldowns: each part has its own (parts.lua).
local function timing_of(policy, parts)
    local timing = {}
    for key, value in next, policy.timing do
        timing[key] = value
    end
    for _, part in ipairs(parts) do
        local each = part.timing
        part.owner.up_cooldown_ms = each.up_cooldown_ms or part.cooldowns.up_ms
        part.owner.down_cooldown_ms = each.down_cooldown_ms or part.cooldowns.down_ms
        timing.interval_ms = policy.timing.interval_ms or
            math.min(timing.interval_ms or math.huge, each.interval_ms or 15000)
        timing.up_cooldown_ms = timing.up_cooldown_ms or 0
        timing.down_cooldown_ms = timing.down_cooldown_ms or 0
    end
    return timing
end

-- A misspelt parameter is nil when the daemon runs; here it raises and names the nearest one.
local function strict(policy, params)
    local names = check.keys(policy.fields)
    return setmetatable(params, { __metatable = false, __index = function(_, key)
        for _, name in ipairs(names) do
            if name == key then
                return nil
            end
        end
        error("params: " .. check.unknown(key, names, ("parameter %s"):format(values.describe(key))), 2)
    end })
end

-- What a use came to when the parts of its parameters are checked: whether the policy takes them.
local function made_step(use, policy, parts)
    local this = { failed = use.failed }
    function this.run(load)
        for _, part in ipairs(parts) do
            if part.refused then
                use.refused = true -- what is wrong with it was said
                return
            elseif not part.timing then
                load.steps[#load.steps + 1] = this -- behind those of its own parts
                return
            end
        end
        local timing = timing_of(policy, parts)
        if use.settle then
            use.settle(timing)
        end
        if use.wrong then
            use.refused = true
            return
        end
        local detector = policy.kind == "anomaly" and load.host.detector() or {} -- else a state
        local given = load.plain(use.owner.params, "params", use.ctx.report)
        local made = policy.module.new(strict(policy, load.host.given(given, M.maker(load))), detector)
        check_made(policy, made)
        use.timing = timing
    end
    return this
end

local use_part

-- The parameters of one place in the configuration.
local function use_step(use, policy)
    function use.failed(_, sentence)
        use.refused = true
        local text = 'the policy "%s" refuses its parameters: %s'
        use.ctx.report(use.path, text:format(policy.name, sentence))
    end
    return {
        run = function(load)
            if not policy.usable then
                use.refused = true -- what is wrong with it was said
                return
            end
            local params, parts = use.params, {}
            for key, value in next, use.inherited[use.name] or {} do
                if params[key] == nil then
                    params[key] = value
                end
            end
            local before = load.errors.count()
            local beside = use.beside or schema[use.kind] or { { "policy" } }
            local function keep(part)
                parts[#parts + 1] = part
            end
            use.owner.params = checked_params(policy, params, use.path, use.ctx.report, beside, keep,
                load.host.calendar)
            use.wrong = load.errors.count() > before
            for _, part in ipairs(parts) do
                use_part(load, use, part)
            end
            local made = made_step(use, policy, parts)
            if #parts == 0 then
                made.run(load)
            else
                load.steps[#load.steps + 1] = made
            end
        end,
        failed = use.failed,
    }
end

-- ---- Steps ------------------------------------------------------------------------------------

-- Parts of an example's parameters stand there as `new` gets them, so that it needs no other policy.
local function example_params(load, policy, given, report)
    local plain, fields = {}, {}
    for key, value in next, given do
        plain[key] = value
    end
    for _, field in ipairs(policy.fields) do
        if field.built then
            plain[field[1]] = nil
        else
            fields[#fields + 1] = field
        end
    end
    plain = load.plain(plain, "params", report)
    local params = checked_params({ name = policy.name, fields = fields }, plain, "params", report, {})
    for _, field in ipairs(policy.fields) do
        if field.built then
            params[field[1]] = rawget(given, field[1])
        end
    end
    return params
end

local function example_step(policy, number)
    local function blame(text)
        policy.report(("examples[%d]"):format(number), text)
    end
    return {
        run = function(load)
            local example = rawget(policy.examples, number)
            if not policy.usable then
                return
            elseif type(example) ~= "table" then
                return blame("expected a table, got " .. values.describe(example))
            end
            local odd_key = examples.odd_key(policy.kind, example)
            if odd_key then
                return blame(odd_key)
            end
            local before = load.errors.count()
            local function blame_part(path, text)
                blame(path .. ": " .. text)
            end
            local params = example_params(load, policy, rawget(example, "params") or {}, blame_part)
            if load.errors.count() > before then
                return
            end
            local state = {}
            local got, reason, given = examples.run[policy.kind](load, policy, example,
                strict(policy, params), state)
            local odd = policy.keeps and load.host.odd(state)
            if odd then
                blame(odd .. ": a state is plain data, since it goes on over reloads")
            end
            local want = rawget(example, "want")
            if not examples.same(got, want) then
                reason = type(reason) == "string" and " (" .. reason:sub(1, 200):gsub("%c", " ") .. ")" or ""
                local advised = got == nil and reason == "" and ": is a return missing?" or ""
                blame(("given %s wanted %s, got %s%s%s"):format(given, values.describe(want),
                    values.describe(got), reason, advised))
            end
        end,
        failed = function(_, sentence)
            blame(advice.limit(sentence))
        end,
    }
end

local function load_step(policy)
    return {
        run = function(load)
            local before = load.errors.count()
            find_libraries(load, policy.origin, policy.source)
            globals.policy(load, policy.origin, policy.source)
            if load.errors.count() > before then
                return -- run, it would say the same in other words
            end
            check_shape(policy, load.host.module(policy.origin, policy.source))
            policy.usable = load.errors.count() == before and policy.module ~= nil
            if policy.usable and #policy.examples == 0 then
                load.warnings.add(policy.origin, nil, "has no examples: nothing was tried")
            end
            for i = 1, math.min(#policy.examples, MOST_EXAMPLES) do
                load.steps[#load.steps + 1] = example_step(policy, i)
            end
        end,
        failed = function(load, sentence)
            sentence = advice.sentence(sentence, policy.origin, policy.source)
            load.errors.add_sentence(advice.limit(sentence), function(text)
                policy.report("", text)
            end)
        end,
    }
end

-- report(path, text) of a policy: with the line of that path in its table.
local function reporter(load, policy)
    local keys, first
    local function line_of(path)
        if not keys then
            keys = {}
            for _, block in ipairs(lines.blocks(policy.source, { ["return"] = true })) do
                local ours = block.keys.new or block.keys.name and block.keys.doc or not first
                keys, first = ours and block.keys or keys, ours and block.line or first
            end
        end
        while path ~= "" and not keys[path] do
            path = path:match "^(.*)%b[]$" or path:match "^(.*)%.[^.]*$" or ""
        end
        return keys[path] or first or 1
    end
    return function(path, text)
        load.errors.add(policy.origin, line_of(path), (path == "" and "" or path .. ": ") .. text)
    end
end

-- The policy of that name, or nil and why; the first time `steps` gets what loads it.
local function wanted(load, kind, name, steps)
    local key = kind .. "/" .. name
    if load.found[key] == nil then
        local policy, why = find(load.host, kind, name)
        load.found[key] = policy or { why = why }
        if policy then
            policy.report = reporter(load, policy)
            load.files[#load.files + 1] = policy.origin
            local list = load.config.policies
            policy.listed = { kind = policy.kind, name = policy.name, origin = policy.origin,
                source = policy.source }
            list[#list + 1] = policy.listed
            steps[#steps + 1] = load_step(policy)
        end
    end
    if load.found[key].why then
        return nil, load.found[key].why
    end
    return load.found[key]
end

-- A policy among the parameters of another: found, loaded and checked by the steps that come.
function use_part(load, use, part)
    part.ctx, part.inherited, part.beside = use.ctx, use.inherited, { { "policy" } }
    part.cooldowns = use.cooldowns or {}
    part.depth = (use.depth or 1) + 1
    local policy, why
    if part.depth > DEEPEST then
        why = ("stands within %d others: at most %d"):format(part.depth - 1, DEEPEST - 1)
    else
        policy, why = wanted(load, part.kind, part.name, load.steps)
    end
    if policy then
        load.steps[#load.steps + 1] = use_step(part, policy)
    else
        part.refused = true
        use.ctx.report(part.name_path, why)
    end
end

-- make(name, params, ...) of parts.lua: what `new` of a policy that was loaded returns.
function M.maker(load)
    return function(name, params, ...)
        return load.found["scale/" .. name].module.new(params, ...)
    end
end

-- One step for each policy, then one for each use of it; loading adds one for each example, and a use those
-- of the policies among its parameters.
function M.steps(load)
    local steps, uses = {}, {}
    load.libraries, load.found = {}, {}
    for _, use in ipairs(load.uses) do
        local policy, why = wanted(load, use.kind, use.name, steps)
        if policy then
            uses[#uses + 1] = use_step(use, policy)
        else
            use.ctx.report(use.name_path, why)
        end
    end
    for _, step in ipairs(uses) do
        steps[#steps + 1] = step
    end
    return steps
end

-- ---- Drafts -----------------------------------------------------------------------------------

-- A policy from a file that no configuration names: loaded and checked; its examples are steps of `load`
-- then.
-- What is wrong is in load.errors.
function M.draft(load, kind, name, origin, source)
    local policy = { kind = kind, name = name, origin = origin, source = source, listed = {} }
    policy.report = reporter(load, policy)
    load.files[#load.files + 1] = origin
    load_step(policy).run(load)
    return policy
end

-- Its parameters, checked, with defaults, in what is returned as `params` when the steps that this adds to
-- `load` have run; report(path, text) hears what is wrong.
function M.use(load, policy, params, report)
    local owner = {}
    load.steps[#load.steps + 1] = use_step({ kind = policy.kind, name = policy.name, params = params,
        inherited = {}, path = "params", ctx = { report = report }, owner = owner, beside = {} }, policy)
    return owner
end

return M
