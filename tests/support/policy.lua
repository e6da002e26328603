-- policy.lua: runs a policy file unchanged in a spec, without the program.
--
--   local policy = require "policy"
--   local decide = policy.new("scale/threshold", { cpu = 50 })
--   local want, reason = decide(policy.view { cpu_percent = 60 })
--   local pick = policy.picker("balance/round_robin", {}, policy.backends { {}, { eligible = 0 } })
--   local index = pick(policy.request { hash = 7 })
--
-- The environment holds the names that the sandbox allows; views, backends and requests raise on a field that
-- policies/tidegate/views.lua does not have, as in the program.
local M = {}

local allowed = {
    base = "assert error getmetatable ipairs next pairs pcall print rawequal rawget select setmetatable "
        .. "tonumber tostring type unpack xpcall",
    string = "byte char find format gmatch gsub len lower match rep reverse sub upper",
    table = "concat insert maxn remove sort",
    math = "abs acos asin atan atan2 ceil cos cosh deg exp floor fmod frexp huge ldexp log log10 max min "
        .. "modf pi pow rad sin sinh sqrt tan tanh",
    bit = "arshift band bnot bor bswap bxor lshift rol ror rshift tobit tohex",
    coroutine = "create resume running status wrap yield",
}

local function environment()
    local env, loaded = {}, {}
    for part, names in pairs(allowed) do
        local into, from = env, _G
        if part ~= "base" then
            env[part] = {}
            into, from = env[part], part == "bit" and require "bit" or _G[part]
        end
        for name in names:gmatch "%S+" do
            into[name] = from[name]
        end
    end
    env._G = env
    function env.require(name)
        if not loaded[name] then
            loaded[name] = setfenv(assert(loadfile("policies/" .. name:gsub("%.", "/") .. ".lua")), env)()
        end
        return loaded[name]
    end
    return env
end

-- The module table of policies/<path>.lua, or of a source.
function M.load(path, source)
    local chunk = source and assert(loadstring(source, "@" .. path)) or assert(loadfile("policies/" .. path .. ".lua"))
    return setfenv(chunk, environment())()
end

-- `given` with the defaults of the policy's schema.
function M.params(module, given)
    local params = {}
    for name, spec in pairs(module.params) do
        params[name] = spec.default
    end
    for name, value in pairs(given or {}) do
        assert(module.params[name], "no parameter " .. name)
        params[name] = value
    end
    return params
end

-- What new(params) returns; `policy` is a path or a module.
function M.new(policy, given)
    local module = type(policy) == "string" and M.load(policy) or policy
    return module.new(M.params(module, given), require "detector")
end

local classes = {}
for _, entry in ipairs(dofile "policies/tidegate/views.lua".list) do
    classes[entry.class or ""] = entry.fields
end

-- Fields of a class of policies/tidegate/views.lua: { name = type }.
function M.fields(class)
    local found = {}
    for _, field in ipairs(assert(classes[class], "policies/tidegate/views.lua has no class " .. class)) do
        found[field[1]] = field[2]
    end
    return found
end

local function strict(class, defaults, given)
    local fields, view = M.fields(class), {}
    for _, from in ipairs { defaults, given or {} } do
        for key, value in pairs(from) do
            assert(fields[key], class .. " has no field " .. key)
            view[key] = value
        end
    end
    return setmetatable(view, {
        __index = function(_, key)
            if not fields[key] then
                error(class .. " has no field " .. tostring(key), 2)
            end
        end,
    })
end

function M.view(given)
    return strict("ServiceView", {
        service = "example", now = 1000, instances = 2, desired = given and given.instances or 2, starting = 0,
        min = 1, max = 1000, sample_age_s = 0, since_up_s = 3600, since_down_s = 3600, hash = 0.5,
    }, given)
end

-- What a scale policy wants at views that follow each other by `step` seconds: nil stays as it was.
function M.play(path, params, step, views)
    local decide, desired, answers = M.new(path, params), nil, {}
    for i, view in ipairs(views) do
        view.now = 1000 + step * i
        view.desired = view.desired or desired or view.instances
        local want = decide(M.view(view))
        desired = want or view.desired
        answers[i] = desired
    end
    return answers
end

function M.backends(list)
    local backends = {}
    for i, given in ipairs(list) do
        backends[i] = strict("Backend", {
            in_flight = 0, weight = 1, max_connections = 100, capacity = 1000, response_ms = 0, error_rate = 0,
            age_s = 60, response_mean_ms = 0, ramp = 1, tags = 0, hash = i * 2654435761 % 2 ^ 32, zone = 0, circuit = 0,
            eligible = 1, index = i,
        }, given)
        backends[i].weight = backends[i].weight * backends[i].ramp -- as the program does
    end
    return backends
end

function M.request(given)
    return strict("Request", {
        now_ms = 0, in_flight = 0, changes = 0, hash = 0, key = 0, tags = 0, dataset = 0, processing = 0, path = 0, implied = 0, data = 0,
        tag_count = 0, zone = 0, sticky = 0, method = 0, attempt = 0,
    }, given)
end

-- The lowest score of the eligible, the first one behind the last chosen when scores are equal.
local function scored(balance, backends)
    local last
    return function(request)
        last = last or request.hash % #backends
        if balance.prepare then
            balance.prepare(backends, #backends, request)
        end
        local best, chosen = math.huge, nil
        for step = 1, #backends do
            local backend = backends[(last + step - 1) % #backends + 1]
            local cost = backend.eligible ~= 0 and balance.score(backend, request)
            if cost and cost < best then
                best, chosen = cost, backend.index
            end
        end
        last = chosen or last
        if chosen and balance.chose then
            balance.chose(backends[chosen])
        end
        return chosen
    end
end

local function chooser(balance, backends)
    if balance.pick then
        return function(request)
            local index = balance.pick(backends, #backends, request)
            return index ~= 0 and index or nil
        end
    end
    return scored(balance, backends)
end

-- pick(request) -> index or nil, as the program would. Fills in what the program knows of all backends
-- together: request.in_flight and request.changes.
function M.picker(policy, given, backends)
    local balance, ways, seen, changes = M.new(policy, given), {}, nil, 0
    if balance.which then
        for i, way in ipairs(balance) do
            ways[i] = chooser(way, backends)
        end
    else
        ways[1] = chooser(balance, backends)
    end
    return function(request)
        local now = {}
        request.in_flight = 0
        for i, backend in ipairs(backends) do
            request.in_flight = request.in_flight + (backend.eligible ~= 0 and backend.in_flight or 0)
            now[i] = backend.eligible .. ":" .. backend.weight
        end
        now = table.concat(now, " ")
        seen, changes = now, seen == now and changes or changes + 1
        request.changes = changes
        return ways[balance.which and balance.which(backends, #backends, request) or 1](request)
    end
end

-- Scores of values, one every `every` seconds, by an anomaly policy's object; and the last note.
function M.scores(detects, metric, values, every, state)
    local scores, note = {}, nil
    state = state or detects.learn(metric)
    for i, value in ipairs(values) do
        local told
        scores[i], told = detects.point(state, value, i * (every or 300), metric)
        note = told or note
    end
    return scores, note
end

-- The first alarm among `more`, after `values` so many times.
local function first_anomaly(module, example)
    local given, all = example.given, {}
    for _ = 1, given.times do
        for _, value in ipairs(given.values) do
            all[#all + 1] = value
        end
    end
    local before = #all
    for _, value in ipairs(given.more) do
        all[#all + 1] = value
    end
    local scores = M.scores(M.new(module, example.params), given.metric or "value", all)
    for i = before + 1, #all do
        if scores[i] >= 1 then
            return i - before
        end
    end
end

-- Runs the policy's own examples; returns how many.
function M.examples(path)
    local module = M.load(path)
    for i, example in ipairs(module.examples) do
        local got
        if example.given and example.given.values then
            got = first_anomaly(module, example)
        elseif example.given then
            got = M.new(module, example.params)(M.view(example.given))
        else
            got = M.picker(module, example.params, M.backends(example.backends))(M.request(example.request))
        end
        assert(got == example.want, ("%s: example %d: wanted %s, got %s"):format(path, i, tostring(example.want),
            tostring(got)))
    end
    return #module.examples
end

return M
