-- console_words.lua: the words of the console that compute: decide, score, pick, what_if, explain, try.
--
-- Each asks the policy of the service, or the draft that stands in its place, through an instance that begins
-- anew; nothing is done. Answers are plain tables with a text of their own for people (c.texts).
local policies = require "script.policies"
local print_module = require "script.console_print"
local report = require "script.report"
local views = require "script.console_views"
local values = require "script.values"

local M = {}

local show, columns = print_module.show, print_module.columns
local MOST_STEPS, MOST_PICKS = 1000, 1000000

-- ---- Policies and drafts --------------------------------------------------------------------------

local function policy_of(c, kind, name)
    for _, policy in ipairs(c.data.configuration.policies or {}) do
        if policy.kind == kind and policy.name == name then
            return policy
        end
    end
    error(("no %s policy \"%s\" is loaded"):format(kind, name), 0)
end

-- Whether a policy says how many instances a service has.
function M.scaled(config)
    return config.scale ~= nil and (config.scale.policy or "") ~= ""
end

-- Where a service names the policy: { policy =, params = }.
local function place_of(c, word, service, kind, route)
    local config = c.configs[service]
    if kind == "scale" then
        if not M.scaled(config) then
            error(("%s: %s has no scale policy: its backends are not ours to start"):format(word, service), 0)
        end
        return config.scale
    end
    local of = (config.routes or {})[route or 1]
    if not of then
        error(("%s: %s has no route %s, so nothing is balanced to it"):format(word, service, show(route
            or 1)), 0)
    end
    return of.balance, of
end

-- What decides for a service: made = what new(params) returned (begin() makes another), and where it comes
-- from.
local function decider(c, word, service, kind, route)
    local place, of = place_of(c, word, service, kind, route)
    local draft = c.drafts[kind .. "/" .. service]
    local policy, params
    if draft then
        policy, params = draft.policy, draft.params
    else
        policy, params = policy_of(c, kind, place.policy), place.params
    end
    local module = draft and draft.module or c.host.module(policy.origin, policy.source)
    local function make(part, its, ...)
        local found = policy_of(c, "scale", part)
        return c.host.module(found.origin, found.source).new(its, ...)
    end
    local own = c.host.given(c.plain(params or {}), draft and draft.make or make)
    local function begin()
        return module.new(own, {})
    end
    return { begin = begin, made = begin(), origin = policy.origin, name = policy.name, params = params or {},
        route = of, draft = draft ~= nil }
end

-- A text with each parameter that was set.
local function params_text(params)
    local parts = {}
    for _, key in ipairs(print_module.sorted_keys(params)) do
        parts[#parts + 1] = tostring(key) .. " " .. show(params[key])
    end
    return table.concat(parts, ", ")
end

local function about(d)
    return ("%s %s  %s  %s"):format(d.draft and "draft" or "policy", d.name, d.origin, params_text(d.params))
end

-- ---- decide, what_if ------------------------------------------------------------------------------

-- Asks a scale policy and holds its answer to what an answer is, as the daemon does.
local function ask_scale(c, d, view)
    local want, reason = d.made(c.host.strict(c.plain(view)))
    if want ~= nil and (type(want) ~= "number" or want ~= want or want < 0 or want > 2 ^ 32 - 1
        or want ~= math.floor(want)) then
        error(("%s: answered %s: a whole number of instances, 0 or more, or nil for no opinion"):format(
            type(d.made) == "function" and c.host.function_at(d.made) or d.origin, values.describe(want)), 0)
    end
    return want, type(reason) == "string" and print_module.harmless(reason:sub(1, 500):gsub("%c", " ")) or ""
end

-- What would come of it: bounds only; cooldowns and work under way are the daemon's.
local function bounded(want, view)
    if want == nil then
        return view.desired, nil
    elseif view.max and want > view.max then
        return view.max, "max"
    elseif view.min and want < view.min then
        return view.min, "min"
    end
    return want, nil
end

function M.decide(c, service, given)
    views.need(c, "decide", service)
    local d = decider(c, "decide", service, "scale")
    local view = views.view(c, "decide", service, given)
    local want, reason = ask_scale(c, d, view)
    local result, bound = bounded(want, view)
    local answer = { service = service, want = want, reason = reason, policy = d.name, origin = d.origin,
        now = view.desired, result = result, held_by = bound }
    local head = want and ("want %d"):format(want) or "no opinion"
    c.texts[answer] = ("%s (now %s%s): %s\n%s"):format(head, show(view.desired),
        bound and (", %s holds it at %d"):format(bound, result) or "", reason, about(d))
    return answer
end

local function sweep_of(given)
    local found
    for key, value in next, type(given) == "table" and given or {} do
        if type(value) == "table" and key ~= "metrics" then
            if found then
                error(("what_if: %s and %s both have a range: give one"):format(found, key), 0)
            end
            found = key
        end
    end
    local range = found and given[found]
    local from, to, step = range and range[1], range and range[2], range and range[3]
    if type(from) ~= "number" or type(to) ~= "number" or step ~= nil and type(step) ~= "number" then
        error("what_if: give one field a range { from, to, step }: { cpu_percent = { 40, 100, 5 } }", 0)
    end
    step = step or (to - from) / 10
    if not (step ~= 0 and (to - from) / step >= 0 and (to - from) / step < MOST_STEPS) then
        error(("what_if: { %s, %s, %s } is no range of at most %d steps"):format(show(from), show(to),
            show(step),
            MOST_STEPS), 0)
    end
    return found, from, to, step
end

function M.what_if(c, service, given)
    views.need(c, "what_if", service)
    local field, from, to, step = sweep_of(given)
    local d = decider(c, "what_if", service, "scale")
    local rows, lines = {}, {}
    for i = 0, math.floor((to - from) / step + 1e-9) do
        local here = {}
        for key, value in next, given do
            here[key] = value
        end
        here[field] = from + i * step
        local view = views.view(c, "what_if", service, here)
        d.made = i > 0 and d.begin() or d.made -- else what it kept of one value would tell on the next
        local want, reason = ask_scale(c, d, view)
        local result = bounded(want, view)
        local before = rows[#rows]
        rows[#rows + 1] = { value = here[field], want = want, result = result, reason = reason }
        local mark = before and before.result ~= result and "*" or ""
        lines[#lines + 1] = { print_module.number(here[field], field), want and show(want) or "-",
            show(result), mark,
            reason }
    end
    c.texts[rows] = columns({ field, "want", "result", "", "reason" }, lines) .. "\n" .. about(d)
    return rows
end

-- ---- score, pick ----------------------------------------------------------------------------------

-- The daemon's own figures of the backends of a route, as its first worker has them now.
local function refresh(c, service, route)
    if not c.host.attached then
        return
    end
    local host = (route.host or "") ~= "" and route.host or "localhost"
    local told = c.host.ask { command = "explain", listen = route.listen,
        like = ("GET %s Host: %s"):format((route.path or "") ~= "" and route.path or "/", host) }
    local live = {}
    for _, b in ipairs(told.ok and told.service == service and told.backends or {}) do
        live[b.backend] = b
    end
    for _, b in ipairs(c.services[service].backends) do
        local now = live[b.id]
        for _, key in ipairs(now and { "in_flight", "weight", "ramp", "response_ms", "error_rate", "circuit",
            "eligible", "reason" } or {}) do
            b[key] = now[key] == nil and rawget(b, key) or now[key]
        end
    end
end

local function picking(c, word, service, given)
    views.need(c, word, service)
    local number = type(given) == "table" and given.route or nil
    local d = decider(c, word, service, "balance", number)
    refresh(c, service, d.route)
    local rows, request, ids = views.field(c, word, service, given)
    local pick, resize, cost = c.host.picker(d.made, rows, request)
    for _, row in ipairs(rows) do
        request.in_flight = request.in_flight + (row.eligible ~= 0 and row.in_flight or 0)
    end
    resize(#rows)
    return { d = d, rows = rows, request = request, ids = ids, pick = pick, cost = cost }
end

local function any_eligible(rows)
    for _, row in ipairs(rows) do
        if row.eligible ~= 0 then
            return true
        end
    end
    return false
end

-- The index that was picked, checked as a worker does.
local function picked(p)
    if not any_eligible(p.rows) then
        return nil
    end
    local index = p.pick()
    if index == nil or index == 0 then
        return nil
    elseif type(index) ~= "number" or not p.rows[index] or p.rows[index].eligible == 0 then
        error(("%s: picked %s: the index of an eligible backend, or nil for none"):format(p.d.origin,
            values.describe(index)), 0)
    end
    return index
end

local function score_line(b, row, score, chosen)
    return { chosen and "->" or "", tostring(b.id), score and ("%.6g"):format(score) or "-",
        show(row.in_flight),
        show(row.weight), row.response_ms > 0 and ("%.1f"):format(row.response_ms) or "-",
        table.concat(b.tags, " "), row.eligible ~= 0 and "" or (rawget(b, "reason") or "") ~= "" and b.reason
        or b.circuit ~= "closed" and "circuit " .. tostring(b.circuit) or "not eligible" }
end

function M.score(c, service, given)
    local p = picking(c, "score", service, given)
    local scores, list, lines = {}, {}, {}
    for i = 1, p.cost and #p.rows or 0 do
        local score = p.rows[i].eligible ~= 0 and p.cost(i) or nil
        scores[i] = type(score) == "number" and score == score and math.abs(score) < math.huge and score
            or nil
    end
    local chosen = picked(p)
    for i, b in ipairs(c.services[service].backends) do
        list[i] = { backend = b.id, score = scores[i], chosen = i == chosen,
            eligible = p.rows[i].eligible ~= 0 }
        lines[i] = score_line(b, p.rows[i], scores[i], i == chosen)
    end
    c.texts[list] = columns({ "", "backend", "score", "in flight", "weight", "response ms", "tags",
        "not now" }, lines)
        .. "\n" .. about(p.d) .. (p.cost and "\nThe lowest score wins; equal ones take turns."
            or "\nThe policy decides by its own loop: no scores.") .. (chosen and "" or "\nNone is chosen.")
    return list
end

local STEP = 2654435761 -- spreads the chances of picks; odd, so that 2^32 of them are all different

-- Requests stay in flight as long as `open` others come in, so that policies see the load that they make.
local function run_picks(p, count, open, keyed)
    local counts, ring, none = {}, {}, 0
    for n = 1, count do
        p.request.hash = n * STEP % 2 ^ 32
        p.request.key = keyed and p.request.key or (n * STEP + 12345) * 69069 % 2 ^ 32
        p.request.now_ms = n
        local at = (n - 1) % open + 1
        local ended = ring[at]
        if ended then
            p.rows[ended].in_flight = p.rows[ended].in_flight - 1
            p.request.in_flight = p.request.in_flight - 1
        end
        local index = picked(p)
        ring[at] = index
        if index then
            counts[index] = (counts[index] or 0) + 1
            p.rows[index].in_flight = p.rows[index].in_flight + 1
            p.request.in_flight = p.request.in_flight + 1
        else
            none = none + 1
        end
    end
    return counts, none
end

function M.pick(c, service, given, count)
    count = count == nil and 1000 or count
    if type(count) ~= "number" or not (count >= 1 and count <= MOST_PICKS) or count ~= math.floor(count) then
        error(("pick: expected how many picks, 1 to %d, got %s"):format(MOST_PICKS, show(count)), 0)
    end
    local p = picking(c, "pick", service, given)
    local open = 4 * #p.rows
    local counts, none = run_picks(p, count, open, type(given) == "table" and given.key ~= nil)
    local answer, lines = {}, {}
    for i, id in ipairs(p.ids) do
        local n = counts[i] or 0
        answer[id] = n
        lines[i] = { id, show(n), ("%.1f %%"):format(100 * n / count),
            ("#"):rep(math.floor(40 * n / count + 0.5)) }
    end
    c.texts[answer] = columns({ "backend", "picks", "share", "" }, lines) .. (none > 0 and
        ("\n%d of %d picks found no backend"):format(none, count) or "")
            .. ("\n%s\n%d picks, %d in flight at once%s")
        :format(about(p.d), count, open, type(given) == "table" and given.key and ""
            or ", each of another client")
    return answer
end

-- ---- explain --------------------------------------------------------------------------------------

local function ask_about(c, id)
    local told = c.host.ask { command = "explain", request = id }
    if not told.ok then
        error("explain: " .. tostring(told.error), 0)
    end
    return told
end

-- " (held by max 99 -> 5, cooldown 5 -> 4)" of a decision of the daemon.
local function rules_text(last)
    local parts, held = {}, (last.held_by or "") ~= ""
    for _, one in ipairs(last.constraints or {}) do
        parts[#parts + 1] = one.before == one.after and one.rule or
            ("%s %s -> %s"):format(one.rule, show(one.before), show(one.after))
    end
    if #parts == 0 and held then
        parts[1] = last.held_by
    end
    return #parts == 0 and "" or (" (%s %s)"):format(held and "held by" or "raised by",
        table.concat(parts, ", "))
end

-- Of a service: what its policy sees and says, and what was last decided. Attached, also of a request's id.
function M.explain(c, what, given)
    if type(what) == "string" and not c.configs[what] and c.host.attached and #what >= 8 then
        return ask_about(c, what)
    end
    views.need(c, "explain", what)
    local answer = M.decide(c, what, given)
    answer.inputs = views.view(c, "explain", what, given)
    answer.inputs.metrics = nil
    local last = (c.live[what] or {}).last_decision
    answer.last = type(last) == "table" and last or nil
    c.texts[answer] = c.texts[answer] .. "\ninputs = " .. show(answer.inputs) .. (answer.last and
        ("\nlast decision %s: %s, %s -> %s%s: %s"):format(tostring(last.at), tostring(last.action),
            show(last.was),
            show(last.result), rules_text(last),
            tostring(last.reason)) or "")
    return answer
end

-- ---- try ------------------------------------------------------------------------------------------

local KINDS = { balance = true, scale = true }

-- The state that policies.lua loads into.
local function fresh_load(c)
    local files = {}
    return { host = c.host, files = files, errors = report.new(files), warnings = report.new(files),
        steps = {}, found = {},
        libraries = {}, config = { policies = {} }, plain = c.plain }
end

local function stop_on_errors(load)
    if load.errors.count() > 0 then
        error(load.errors.text(), 0)
    end
end

local function draft_of(c, path, params)
    local source, why, origin = c.host.file(path)
    if not source then
        error(("try: %s: %s"):format(path, why), 0)
    end
    local kind, name = origin:match "(%a+)/([%w_]+)%.lua$"
    if not KINDS[kind] then
        local text = "try: %s: the folder says the kind: .../scale/NAME.lua or .../balance/NAME.lua"
        error(text:format(path), 0)
    end
    local load = fresh_load(c)
    local policy = policies.draft(load, kind, name, origin, source)
    stop_on_errors(load)
    local examples = #load.steps
    local taken = policies.use(load, policy, params or {}, function(at, text)
        load.errors.add("try", nil, at .. ": " .. text)
    end)
    for _, step in ipairs(load.steps) do -- some add others
        step.run(load)
        stop_on_errors(load)
    end
    return { policy = policy, module = policy.module, params = taken.params, kind = kind, examples = examples,
        make = policies.maker(load) }
end

-- The services in which a draft takes its place: the one named, else those that use a policy of its name,
-- else all
-- that have a policy of its kind.
local function places_for(c, draft, service)
    local using, all = {}, {}
    for _, name in ipairs(print_module.sorted_keys(c.configs)) do
        local config = c.configs[name]
        local route = (config.routes or {})[1]
        local place
        if draft.kind == "scale" then
            place = M.scaled(config) and config.scale
        else
            place = route and route.balance
        end
        if place and place.policy then
            all[#all + 1] = name
            using[#using + 1] = place.policy == draft.policy.name and name or nil
        end
    end
    return service and { service } or #using > 0 and using or all
end

local function compare(c, draft, service)
    if draft.kind ~= "scale" then
        return nil
    end
    local key = "scale/" .. service
    local before = c.drafts[key]
    c.drafts[key] = nil
    local live = M.decide(c, service)
    c.drafts[key] = before
    local own = M.decide(c, service)
    return { service, live.want and show(live.want) or "-", own.want and show(own.want) or "-",
        live.result ~= own.result and "*" or "", own.reason }
end

function M.try(c, path, params, service)
    if path == nil then
        c.drafts = {}
        local answer = {}
        c.texts[answer] = "All drafts are gone: services decide by their own policies."
        return answer
    elseif type(path) ~= "string" or params ~= nil and type(params) ~= "table" then
        error("try: expected a file and parameters: try(\"policies/scale/mine.lua\", { per = 20 })", 0)
    elseif service ~= nil then
        views.need(c, "try", service)
        place_of(c, "try", service, path:match "(%a+)/[%w_]+%.lua$")
    end
    local draft = draft_of(c, path, params)
    local names, lines = places_for(c, draft, service), {}
    for _, name in ipairs(names) do
        c.drafts[draft.kind .. "/" .. name] = draft
    end
    for _, name in ipairs(names) do
        lines[#lines + 1] = compare(c, draft, name)
    end
    local answer = { policy = draft.policy.name, kind = draft.kind, params = draft.params, services = names,
        examples = draft.examples }
    local text = "draft %s (%s) decides for %s in this console: %s; %d examples pass%s; try() puts all back"
    c.texts[answer] = text:format(
        draft.policy.name, draft.kind, #names > 0 and table.concat(names, ", ") or "no service",
        params_text(draft.params), draft.examples,
        #lines > 0 and "\n" .. columns({ "service", "policy", "draft", "", "reason" }, lines) .. "\n" or "")
    return answer
end

return M
