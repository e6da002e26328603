-- examples.lua: runs the examples that a policy carries: a made-up view, and the answer that it wants.
local check = require "script.check"
local values = require "script.values"
local views = require "tidegate.views"

-- run.KIND(load, policy, example, params, state) -> answer, reason or nil, what was given as text; raises on
-- a bad example.
local M = { run = {} }

-- A view as errors show it: { cpu_percent = 92, instances = 2 }.
function M.shown(value, depth)
    if type(value) ~= "table" then
        return values.describe(value)
    elseif depth > 3 then
        return "{...}"
    end
    local parts = {}
    for _, key in ipairs(values.sorted_keys(value)) do
        local item = M.shown(rawget(value, key), depth + 1)
        parts[#parts + 1] = type(key) == "number" and item or tostring(key) .. " = " .. item
    end
    return #parts == 0 and "{}" or "{ " .. table.concat(parts, ", ") .. " }"
end

local KEYS = { "params", "given", "want" }
local BALANCE_KEYS = { "params", "backends", "request", "want" }

-- What is wrong with a key of an example, or nil: a misspelt `want` would be one that wants nothing.
function M.odd_key(kind, example)
    local known = kind == "balance" and BALANCE_KEYS or KEYS
    for _, key in ipairs(check.sorted_keys(example)) do
        local found = false
        for _, name in ipairs(known) do
            found = found or key == name
        end
        if not found then
            return ("%s: %s"):format(tostring(key), check.unknown(tostring(key), known, "key"))
        end
    end
end

-- Whether an answer is the wanted one.
function M.same(got, want)
    if type(got) == "number" and type(want) == "number" then
        return math.abs(got - want) < 1e-9
    end
    return rawequal(got, want)
end

-- Fields of a class of views.lua with that mark: { name = what the mark says }.
local function marked(class, mark)
    local found = {}
    for _, entry in ipairs(views.list) do
        for _, field in ipairs(entry.class == class and entry.fields or {}) do
            found[field[1]] = field[mark]
        end
    end
    return found
end

-- What an example does not give; metrics that it does not give are unknown.
local USUAL_VIEW = marked("ServiceView", "usual")
local USUAL_BACKEND, USUAL_REQUEST = marked("Backend", "usual"), marked("Request", "usual")
-- What every policy gets of the request; the rest, and these of a backend, only when it needs it.
local FREE, COSTLY = marked("Request", "free"), marked("Backend", "costly")
local HASH_STEP = 2654435761 -- spreads the hashes of an example's backends

-- What is wrong with a scale policy's answer, or nil.
local function wrong_count(got)
    local is = "a whole number of instances, 0 or more, or nil for no opinion"
    if got == nil then
        return nil
    elseif type(got) ~= "number" then
        return "it is to be " .. is .. (tonumber(got) and ": tonumber(x)" or "")
    elseif got ~= got then
        return "0 divided by 0: look first whether the figure is known, " .. is
    elseif got < 0 or got % 1 ~= 0 then
        return "it is to be " .. is .. (got < 0 and ": math.max(x, 0)" or ": math.ceil(x)")
    end
end

function M.run.scale(load, policy, example, params, state)
    local given = rawget(example, "given") or {}
    local view = load.plain(given, "given", policy.report)
    local declared = load.host.strict {}
    for key in next, view do
        local _ = declared[key] -- raises and names the nearest field
    end
    for key, value in next, USUAL_VIEW do
        if view[key] == nil then
            view[key] = value
        end
    end
    view.desired = view.desired or view.instances
    local decide = policy.module.new(params, state)
    if type(decide) ~= "function" then
        error("`new` returned " .. values.describe(decide) .. ": it must return the function that decides", 0)
    end
    local got, reason = decide(load.host.strict(view))
    local wrong = wrong_count(got)
    if wrong then
        error(("%s: answered %s: %s"):format(load.host.function_at(decide), values.describe(got), wrong), 0)
    end
    return got, reason, M.shown(given, 1)
end

-- A view of watch; `now` and the rest are unknown unless given.
function M.run.alert(load, policy, example, params, state)
    local given = load.plain(rawget(example, "given") or {}, "given", policy.report)
    given.service = given.service or "example"
    local shown = M.shown(given, 1)
    local firing, _, message = load.host.judge(policy.module.new(params, state), given)
    return firing, message, shown
end

-- The answer as text: "ops, page".
function M.run.notify(load, policy, example, params, state)
    local given = load.plain(rawget(example, "given") or {}, "given", policy.report)
    local shown = M.shown(given, 1)
    given.severity, given.status = given.severity or "warning", given.status or "firing"
    given.channels, given.alerts = given.channels or {}, given.alerts or {}
    local channels = load.host.herald(policy.module.new(params, state), given)
    return channels and table.concat(channels, ", "), nil, shown
end

local function unknown_field(key, fields)
    return check.unknown(key, values.sorted_keys(fields), "field " .. values.describe(key))
end

-- A table of an example with what it leaves out; unknown fields raise.
local function filled(given, usual, what)
    if type(given) ~= "table" then
        error(("%s: expected a table, got %s"):format(what, values.describe(given)), 0)
    end
    for key in next, given do
        if usual[key] == nil then
            error(("%s: %s"):format(what, unknown_field(key, usual)), 0)
        end
    end
    local out = {}
    for name, value in next, usual do
        local own = rawget(given, name)
        out[name] = own == nil and value or own
    end
    return out
end

-- What `needs` may name.
M.needed_fields = {}
for _, fields in ipairs { USUAL_REQUEST, COSTLY } do
    for name in next, fields do
        M.needed_fields[name] = true
    end
end

-- Reading what `needs` (may be nil: everything) does not name raises, since a worker would not fill it.
local function needed(record, what, needs, usual)
    for name in next, needs and record or {} do
        local named = what == "request" and FREE[name] or what == "backend" and not COSTLY[name]
        for _, need in ipairs(needs) do
            named = named or need == name
        end
        if not named then
            record[name] = nil
        end
    end
    setmetatable(record, { __metatable = false, __index = function(_, key)
        if usual[key] == nil then
            error(("the %s: %s"):format(what, unknown_field(key, usual)), 2)
        end
        error(("the %s's field %s is not among the policy's needs"):format(what, values.describe(key)), 2)
    end })
end

-- The values `times` times over, then `more`: which of those is the first anomaly.
function M.run.anomaly(load, policy, example, params)
    local given = load.plain(rawget(example, "given") or {}, "given", policy.report)
    given = filled(given, { metric = "value", values = {}, times = 1, more = {}, every = 300 }, "given")
    local detects = policy.module.new(params, load.host.detector())
    local state, at, first = detects.learn(given.metric), 0, nil
    local function tell(value)
        at = at + given.every
        local score = detects.point(state, value, at, given.metric)
        if type(score) ~= "number" then
            error("point: expected a score, got " .. values.describe(score), 0)
        end
        return score >= 1
    end
    for _ = 1, given.times do
        for _, value in ipairs(given.values) do
            tell(value)
        end
    end
    for i, value in ipairs(given.more) do
        first = tell(value) and not first and i or first
    end
    return first, nil, M.shown(given, 1)
end

function M.run.balance(load, policy, example, params, state)
    local given, backends = rawget(example, "backends"), {}
    if type(given) ~= "table" or not check.list_length(given) then
        error("backends: expected a list, got " .. values.describe(given), 0)
    end
    for i = 1, check.list_length(given) do
        backends[i] = filled(given[i], USUAL_BACKEND, ("backends[%d]"):format(i))
        backends[i].index = i
        backends[i].weight = backends[i].weight * backends[i].ramp -- as in a worker
        if rawget(given[i], "hash") == nil then
            backends[i].hash = i * HASH_STEP % 2 ^ 32
        end
        needed(backends[i], "backend", policy.needs, USUAL_BACKEND)
    end
    local request = filled(rawget(example, "request") or {}, USUAL_REQUEST, "request")
    needed(request, "request", policy.needs, USUAL_REQUEST)
    local got = load.host.try(policy.module.new(params, state), backends, request)
    return got, nil, M.shown({ backends = given, request = rawget(example, "request") }, 1)
end

return M
