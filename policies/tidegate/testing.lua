-- testing.lua: specs of policies, without a daemon: `local t = require "tidegate.testing"`.
--
--   t.policy "scale/mine"                 its module, in the sandbox that the product gives it
--   t.new("scale/mine", { per = 50 })     what new(params) returns, with the defaults of its params
--   t.view { cpu_percent = 90 }           a view with defaults; other fields raise and name the nearest one
--   t.expect_scale(decide, { cpu_percent = 90, instances = 2 }, 3)
--   t.service("scale/mine", params, { instances = 2 })   a service under a fake clock: see below
--   t.replay("scale/mine", params, "load.csv")           what it would have done with a trace: see below
--   t.picker("balance/mine", params, t.backends { {}, { weight = 2 } })(t.request { hash = 7 })   an index
--   t.shares("balance/mine", params, { {}, { weight = 2 } }, 10000)   { 0.33, 0.67 }
--   t.expect_shares(shares, { 1, 2 })     in that proportion, within 1 %
--   t.alert("alert/mine", params)(fields), t.notify("notify/mine", params)(fields)
--   t.scores(t.new "anomaly/mine", "value", { 1, 2, 50 })
--   t.examples "scale/mine"               runs the policy's own examples
--
-- Pure Lua: runs in `tidegate policy test` and in busted, with LuaJIT or another Lua.
local loading = require "tidegate.loading"
local replay = require "tidegate.replay"
local strict = require "tidegate.strict"

local M = {}

-- ---- Small things ---------------------------------------------------------------------------------

-- An error where the caller of the function that called us stands.
local function fail(text, ...)
    error(select("#", ...) > 0 and text:format(...) or text, 3)
end

local function shown(value)
    if type(value) == "string" then
        return ("%q"):format(value)
    elseif type(value) ~= "table" then
        return tostring(value)
    end
    local keys, parts = {}, {}
    for key in pairs(value) do
        keys[#keys + 1] = key
    end
    table.sort(keys, function(a, b)
        return tostring(a) < tostring(b)
    end)
    for i, key in ipairs(keys) do
        parts[i] = (type(key) == "number" and "" or tostring(key) .. " = ") .. shown(value[key])
    end
    return #parts == 0 and "{}" or "{ " .. table.concat(parts, ", ") .. " }"
end

local kinds = setmetatable({}, { __mode = "k" })

-- The module of a policy such as "scale/mine", or of a source.
function M.load(path, source)
    local module = loading.load(path, source)
    if type(module) ~= "table" then
        fail("%s returns %s: a policy file returns a table", path, type(module))
    end
    kinds[module] = path:match "(%a+)/[%w_]+$" or path:match "(%a+)/[%w_]+%.lua$"
    return module
end

M.policy = M.load

-- The kernel of anomaly policies; specs of the product set another one.
function M.detector()
    if loading.product then
        return loading.product.detector()
    end
    return { record = function()
        error("detector.record: the kernel is in the product: run this spec by `tidegate policy test`", 2)
    end }
end

local function default_of(spec)
    local value = spec.default
    if spec.type == "duration" and value ~= nil then
        return loading.seconds(value)
    end
    return value
end

-- `given` with the defaults of the policy's params.
local function params_of(module, given, level)
    local params, names = {}, {}
    for name, spec in pairs(module.params or {}) do
        params[name], names[#names + 1] = default_of(spec), name
    end
    table.sort(names)
    for name, value in pairs(given or {}) do
        if not (module.params or {})[name] then
            error(strict.unknown("params of " .. tostring(module.name), name, names), level)
        end
        local duration = module.params[name].type == "duration" and type(value) == "string"
        params[name] = duration and loading.seconds(value) or value
    end
    return params
end

function M.params(module, given)
    return params_of(module, given, 3)
end

-- What new(params) returns; `policy` is a path or a module. `state` is what it keeps its memory in.
function M.new(policy, given, state)
    local module = type(policy) == "string" and M.load(policy) or policy
    return module.new(params_of(module, given, 3), kinds[module] == "anomaly" and M.detector() or state or {})
end

M.seconds, M.trace, M.fields, M.metrics = loading.seconds, replay.trace, strict.fields, strict.metrics

-- What a scale policy sees.
function M.view(given)
    local view = strict.strict("ServiceView", {}, given)
    if rawget(view, "desired") == nil then
        view.desired = view.instances
    end
    view.metrics = M.metrics(given and given.metrics or { service = view.service })
    return view
end

local HASH_STEP = 2654435761 -- odd, so that multiples of it are all different below 2^32

-- What a balance policy sees of its backends: { {}, { weight = 2 }, { eligible = 0 } }.
function M.backends(list)
    local backends = {}
    for i, given in ipairs(list) do
        backends[i] = strict.strict("Backend", { hash = i * HASH_STEP % 2 ^ 32, index = i }, given)
        backends[i].weight = backends[i].weight * backends[i].ramp -- as the product does
    end
    return backends
end

-- And of the request.
function M.request(given)
    return strict.strict("Request", {}, given)
end

-- ---- Scale ----------------------------------------------------------------------------------------

-- That the policy's function (or a policy by its path, with its defaults) wants so many at that view.
function M.expect_scale(decide, given, want)
    decide = type(decide) == "string" and M.new(decide) or decide
    local got, reason = decide(M.view(given))
    if got ~= want then
        fail("given %s wanted %s, got %s%s", shown(given), tostring(want), tostring(got),
            reason and (" (%s)"):format(tostring(reason)) or "")
    end
    return reason
end

-- A clock that only stands still or is set forward: clock.now, clock:advance "90s".
function M.clock(now)
    local clock = { now = now or 1000 }
    function clock:advance(by)
        self.now = self.now + loading.seconds(by, 3)
        return self.now
    end
    return clock
end

-- A copy of what a policy keeps, as it is carried over: plain data only.
local function carried(value, path, level)
    if type(value) == "function" or type(value) == "userdata" or type(value) == "thread"
        or getmetatable(value) ~= nil and type(value) == "table" then
        error(("%s is a %s%s: a state is plain data"):format(path, type(value),
            type(value) == "table" and " with a metatable" or ""), level)
    elseif type(value) ~= "table" then
        return value
    end
    local out = {}
    for key, item in pairs(value) do
        out[key] = carried(item, path .. "." .. tostring(key), level + 1)
    end
    return out
end

-- A service that does at once what its policy says, within its bounds:
--   local s = t.service("scale/mine", { per = 50 }, { instances = 2, max = 9 })
--   s:set { in_flight = 300 }        figures of from now on
--   s:advance "90s"                  the clock, which its since_up_s and since_down_s follow
--   s:tick()                         asks the policy: what it wants and why
--   s:expect_scale(6)                asks, and holds what there should be then against it
--   s:reload()                       a new generation, or s:reload(module) of another version, goes on with
--                                    a copy of the state
function M.service(policy, given, fields)
    local module = type(policy) == "string" and M.load(policy) or policy
    local state = {}
    local s = { clock = M.clock(), fields = {}, decide = M.new(module, given, state) }
    for key, value in pairs(fields or {}) do
        s.fields[key] = value
    end
    s.instances = s.fields.instances or 2
    local up_at, down_at

    function s:set(values)
        for key, value in pairs(values) do
            self.fields[key] = value
            self.instances = key == "instances" and value or self.instances
        end
        return self
    end

    function s:advance(by)
        self.clock:advance(by)
        return self
    end

    function s:tick()
        local view = {}
        for key, value in pairs(self.fields) do
            view[key] = value
        end
        view.instances, view.desired, view.now = self.instances, self.instances, self.clock.now
        view.since_up_s = up_at and self.clock.now - up_at or view.since_up_s
        view.since_down_s = down_at and self.clock.now - down_at or view.since_down_s
        view = M.view(view)
        local want, reason = self.decide(view)
        local to = want and math.max(view.min, math.min(view.max, want)) or self.instances
        up_at = to > self.instances and self.clock.now or up_at
        down_at = to < self.instances and self.clock.now or down_at
        self.instances = to
        return want, reason
    end

    function s:reload(other)
        local kept, was = carried(state, "state", 3), module.state_version or 1
        module = other or type(policy) == "string" and M.load(policy) or module
        if (module.state_version or 1) ~= was then
            kept = module.migrate and module.migrate(kept, was) or {}
        end
        state, self.decide = kept, M.new(module, given, kept)
        return self
    end

    function s:expect_scale(wanted)
        local _, reason = self:tick()
        if self.instances ~= wanted then
            fail("after %g s wanted %s instances, there are %d%s", self.clock.now - 1000, tostring(wanted),
                self.instances, reason and (" (%s)"):format(tostring(reason)) or "")
        end
        return self
    end

    return s
end

-- What a scale policy wants at views that follow each other by `step` seconds: nil stays as it was.
function M.play(path, params, step, list)
    local decide, desired, answers = M.new(path, params), nil, {}
    for i, view in ipairs(list) do
        view.now = 1000 + step * i
        view.desired = view.desired or desired or view.instances
        local want = decide(M.view(view))
        desired = want or view.desired
        answers[i] = desired
    end
    return answers
end

-- A trace through a scale policy, with a simple model of instances: a CSV file of
-- seconds,requests_per_second, its text, or a list of pairs. Options: capacity (requests/s of one: 100),
-- startup ("30s"), service_time ("80ms"), slo ("400ms", for 95 of 100), step ("5s"), min (1), max (40),
-- up_cooldown, down_cooldown (0). Returns { violation_percent, instance_hours, ups, downs, flips, most,
-- least }.
-- With the product's own guard rails and model: `tidegate simulate`.
function M.replay(policy, given, trace, options)
    return replay.run(M.new(policy, given), M.view, trace, options)
end

-- ---- Balance --------------------------------------------------------------------------------------

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

-- pick(request) -> index or nil, as the product would. Fills in what the product knows of all backends
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

-- Shares of n picks (10000) over the backends, each for another client: a list of numbers from 0 to 1.
-- `open` requests (4 a backend) are in flight at once, so that the policy sees the load that it makes;
-- `asked` are fields of the request, or a function(i) that returns them.
function M.shares(policy, given, list, n, asked, open)
    local backends = M.backends(list)
    local pick, counts, ring = M.picker(policy, given, backends), {}, {}
    n, open = n or 10000, open or 4 * #backends
    for i = 1, #backends do
        counts[i] = 0
    end
    for i = 1, n do
        local fields = { hash = i * HASH_STEP % 2 ^ 32, key = (i * HASH_STEP + 12345) * 69069 % 2 ^ 32,
            now_ms = i }
        for key, value in pairs(type(asked) == "function" and asked(i) or asked or {}) do
            fields[key] = value
        end
        local at = (i - 1) % math.max(open, 1) + 1
        local ended = ring[at] and backends[ring[at]]
        if ended then
            ended.in_flight = ended.in_flight - 1
        end
        local index = pick(M.request(fields))
        if index and (not backends[index] or backends[index].eligible == 0) then
            fail("pick %d chose %s, which is no eligible backend", i, tostring(index))
        end
        ring[at] = open > 0 and index or nil
        if index then
            counts[index] = counts[index] + 1
            backends[index].in_flight = backends[index].in_flight + (open > 0 and 1 or 0)
        end
    end
    for i = 1, #counts do
        counts[i] = counts[i] / n
    end
    return counts
end

-- That shares are as `wanted` (in any unit), within `tolerance` (0.01 of all).
function M.expect_shares(shares, wanted, tolerance)
    local total = 0
    for _, part in ipairs(wanted) do
        total = total + part
    end
    for i, part in ipairs(wanted) do
        local share = shares[i] or 0
        if math.abs(share - part / total) > (tolerance or 0.01) then
            fail("backend %d should have %.1f %% of the picks and has %.1f %%: %s", i, 100 * part / total,
                100 * share, shown(shares))
        end
    end
end

-- ---- Alert, notify, anomaly -----------------------------------------------------------------------

-- f(fields of the metrics view) -> firing, value, message
function M.alert(policy, given, class)
    local rule = M.new(policy, given)
    return function(fields)
        return rule(strict.metrics(fields, class))
    end
end

-- f(fields of the notice) -> channels or nil
function M.notify(policy, given)
    local notify = M.new(policy, given)
    return function(fields)
        return notify(strict.strict("Notice", { severity = "warning", status = "firing", channels = {},
            alerts = {}, groupLabels = {}, commonLabels = {}, commonAnnotations = {} }, fields))
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

-- ---- Examples -------------------------------------------------------------------------------------

-- The first alarm among `more`, after `values` so many times.
local function first_anomaly(module, example)
    local given, all = example.given, {}
    for _ = 1, given.times or 1 do
        for _, value in ipairs(given.values) do
            all[#all + 1] = value
        end
    end
    local before = #all
    for _, value in ipairs(given.more or {}) do
        all[#all + 1] = value
    end
    local scores = M.scores(M.new(module, example.params), given.metric or "value", all, given.every)
    for i = before + 1, #all do
        if scores[i] >= 1 then
            return i - before
        end
    end
end

local run = {}

function run.scale(module, example)
    return (M.new(module, example.params)(M.view(example.given)))
end

function run.balance(module, example)
    return M.picker(module, example.params, M.backends(example.backends))(M.request(example.request))
end

run.anomaly = first_anomaly

function run.alert(module, example)
    local own = example.given and (example.given.policy_errors_5m or example.given.engine_up)
    return (M.alert(module, example.params, own and "OwnView" or nil)(example.given))
end

function run.notify(module, example)
    local channels = M.notify(module, example.params)(example.given)
    return channels and table.concat(channels, ", ")
end

local function kind_of(module, example)
    return kinds[module] and run[kinds[module]] and kinds[module] or example.backends and "balance"
        or example.given.values and "anomaly" or "scale"
end

-- Runs the policy's own examples; returns how many.
function M.examples(policy)
    local module = type(policy) == "string" and M.load(policy) or policy
    for i, example in ipairs(module.examples or {}) do
        local got = run[kind_of(module, example)](module, example)
        if got ~= example.want then
            fail("%s: example %d: wanted %s, got %s", tostring(module.name), i, tostring(example.want),
                tostring(got))
        end
    end
    return #(module.examples or {})
end

return M
