-- console.lua: the console's prompt: runs what is typed, prints what came of it.
--
-- console.c calls new(host) once, then on what it returns: update(data), eval(origin, line, text, final),
-- complete(before).
-- `host` has what the configuration language gets (host.c) and: emit(text), ask(request), hash(text),
-- file(path),
-- picker(policy, backends, request), attached, write, json. `data` is script/console.h's.
--
-- Invariants: what is typed runs in an environment of its own; nothing here calls a metamethod of a value
-- that was
-- typed, but those of the sandbox's own functions.
local check = require "script.check"
local help = require "script.console_help"
local nearest = require "script.nearest"
local print_module = require "script.console_print"
local simulate = require "script.console_simulate"
local trace = require "script.console_trace"
local values = require "script.values"
local views = require "script.console_views"
local words = require "script.console_words"

local M = {}

local show = print_module.show

-- ---- Words ----------------------------------------------------------------------------------------

local WORDS = {
    { name = "services", usage = "services.NAME.FIELD", summary = "the services: views and backends",
        doc = "What a scale policy sees of each service, and in `backends` what a balance policy\n"
            .. "sees. Without a daemon they are made up, and may be set: services.catalog.cpu_percent = 92.",
        example = "services.catalog.instances" },
    { name = "decide", usage = "decide(SERVICE, {FIELD = N})", summary = "what the scale policy would say",
        doc = "Asks the service's scale policy about its view, with the fields given in its place.\n"
            .. "Nothing is done. Bounds are applied; cooldowns and work under way are the daemon's.",
        example = 'decide("catalog", { cpu_percent = 92 })' },
    { name = "what_if", usage = "what_if(SERVICE, {FIELD = {FROM, TO, STEP}})",
        summary = "the same over a range",
        doc = "Asks the scale policy for each value of the range and marks with * where the answer changes.",
        example = 'what_if("catalog", { cpu_percent = { 30, 100, 5 }, instances = 4 })' },
    { name = "score", usage = "score(SERVICE, {dataset_id = TEXT})",
        summary = "each backend's score, the winner marked",
        doc = "How the balance policy of the first route (or of `route` = 2, ...) sees such a request.",
        example = 'score("catalog", { dataset_id = "orders" })' },
    { name = "pick", usage = "pick(SERVICE, {REQUEST}, N)", summary = "how N picks spread over the backends",
        doc = "Picks N times (1000), with four requests in flight for each backend. Without `key` each\n"
            .. "is of another client.",
        example = 'pick("catalog", { dataset_id = "orders" }, 10000)' },
    { name = "explain", usage = "explain(SERVICE, {FIELD = N})",
        summary = "a decision with its inputs, and the last one",
        doc = "What the policy sees and says, what was last decided; attached, also of a request by its id.",
        example = 'explain("catalog")' },
    { name = "try", usage = "try(FILE, {PARAMS}, SERVICE)",
        summary = "a draft of a policy in place, here only",
        doc = "Loads a policy file, runs its examples, and lets it decide for the service, or all that use\n"
            .. "a policy of its name, or for all of its kind. try() puts everything back.",
        example = 'try("policies/scale/queue_aware.lua", { per = 20 })' },
    { name = "simulate", usage = "simulate(POLICY, LOAD, {SETTING = V})",
        summary = "what policies would have done with a load",
        doc = "Replays a load through the control code on a virtual clock: POLICY is a name, with\n"
            .. "settings as in \"threshold:cpu=60\", or a list of such; a draft that was tried stands\n"
            .. "for its name. LOAD is what was recorded (\"yesterday\", \"6h\", \"10:00..12:00\",\n"
            .. "\"2026-01-31\"), step, ramp, spike, daily or flash, or a CSV file of\n"
            .. "seconds,requests_per_second. The service's own policy comes first. SETTINGs:\n"
            .. table.concat(simulate.settings, " ") .. ".",
        example = 'simulate("queue", "yesterday", { service = "catalog", startup = "10s" })' },
    { name = "print", usage = "print(VALUE, ...)", summary = "prints values",
        doc = "Texts as they are, all else as results are shown." },
    { name = "help", usage = "help(NAME)", summary = "the same as :help NAME",
        doc = "Tells of a word, a field, a policy or a command." },
}

local READS = {
    { name = "status", usage = "status(SERVICE)", takes = { "service" }, summary = "the daemon's status" },
    { name = "decisions", usage = "decisions(SERVICE)", takes = { "service" },
        summary = "what was decided, newest last" },
    { name = "metrics", usage = "metrics(SERVICE, INSTANCE)", takes = { "service", "instance" },
        summary = "what alerts and policies see" },
    { name = "events", usage = "events(SERVICE)", takes = { "service" }, summary = "what happened" },
    { name = "alerts", usage = "alerts()", takes = {}, summary = "pending, firing and silenced alerts" },
}

local WRITES = {
    { name = "scale", usage = "scale(SERVICE, N, FOR)", takes = { "service", "instances", "hold_ms" },
        needs = 2,
        summary = "sets the number of instances for a while (\"10m\")" },
    { name = "deploy", usage = "deploy(SERVICE)", takes = { "service" }, needs = 1,
        summary = "rolls the service again" },
    { name = "drain", usage = "drain(BACKEND)", takes = { "backend" }, needs = 1, also = { drain = true },
        summary = "no new requests for a backend" },
    { name = "undrain", usage = "undrain(BACKEND)", takes = { "backend" }, needs = 1,
        also = { drain = false },
        command = "drain", summary = "requests for it again" },
    { name = "restart", usage = "restart(INSTANCE)", takes = { "instance" }, needs = 1,
        summary = "replaces an instance" },
    { name = "weight", usage = "weight(BACKEND, N)", takes = { "backend", "weight" }, needs = 2,
        summary = "another weight for a backend" },
    { name = "approve", usage = "approve(SERVICE)", takes = { "service" }, needs = 1,
        summary = "does what its policy recommends" },
    { name = "stop", usage = "stop(SERVICE)", takes = { "service" }, needs = 1,
        summary = "drains and removes all instances" },
    { name = "reload", usage = "reload()", takes = {}, needs = 0,
        summary = "makes the daemon read its configuration again" },
}

local COMMANDS = {
    { name = "help", usage = ":help NAME", summary = "what there is; or of a word, field, policy, command",
        doc = "Without a name lists the words and commands of the console." },
    { name = "show", usage = ":show SERVICE", summary = "one line: the service and what its policy says",
        doc = "Load, latency and decision of now." },
    { name = "watch", usage = ":watch SERVICE EVERY TIMES",
        summary = "that line again and again, until Ctrl-C",
        doc = "EVERY is a duration (2s); TIMES ends it by itself.", example = ":watch catalog 5s" },
    { name = "trace", usage = ":trace balance SERVICE",
        summary = "routing decisions as they are made, until Ctrl-C",
        doc = "Of a daemon (--attach): who was chosen and what came of it, why, every backend with its\n"
            .. "score or what kept it out, and the request's id for `tidegate explain`. Without SERVICE of\n"
            .. "all; a part of \"ADDRESS:PORT HOST/PATH\" narrows it to routes; a number ends it after so\n"
            .. "many. At most 16 a worker and time, four times a second.",
        example = ":trace balance catalog    :trace balance /orders 10" },
    { name = "reload", usage = ":reload", summary = "reads configuration and policies again",
        doc = "From the files or the daemon. Drafts are gone. If it does not load, all stays." },
    { name = "quit", usage = ":quit", summary = "ends the console; so does Ctrl-D",
        doc = "Ends the console." },
}

local NUMBERS = { instances = true, weight = true }

-- The arguments of a word that asks the daemon, checked.
local function request_for(word, ...)
    local request, given = { command = word.command or word.name }, { ... }
    for i, key in ipairs(word.takes) do
        local value = given[i]
        if value == nil and i <= (word.needs or 0) then
            error(("%s: %s is missing: %s"):format(word.name, key, word.usage), 0)
        elseif key == "hold_ms" and value ~= nil then
            local ms, why = values.duration(value)
            request[key] = ms or error(("%s: %s"):format(word.name, why), 0)
        elseif value ~= nil and type(value) ~= (NUMBERS[key] and "number" or "string") then
            error(("%s: %s: expected a %s, got %s"):format(word.name, key, NUMBERS[key] and "number"
                or "text",
                show(value)), 0)
        else
            request[key] = value
        end
    end
    for key, value in next, word.also or {} do
        request[key] = value
    end
    return request
end

local function asking(c, word, writes)
    return function(...)
        if not c.host.attached then
            error(("%s: there is no daemon here: start the console with --attach"):format(word.name), 0)
        elseif writes and not c.host.write then
            local text = "%s changes the running system: start the console with --attach --write"
            error(text:format(word.name), 0)
        end
        local request = request_for(word, ...)
        request.from = "console"
        local answer = c.host.ask(request)
        if not answer.ok then
            error(("%s: %s"):format(word.name, print_module.harmless(tostring(answer.error))), 0)
        end
        answer.ok = nil
        return answer
    end
end

local function list_words(c)
    c.words, c.commands = {}, COMMANDS
    for _, word in ipairs(WORDS) do
        c.words[#c.words + 1] = word
    end
    c.hidden = {} -- cannot be used here: TAB and :help do not speak of them
    for _, list in ipairs { READS, WRITES } do
        local usable = c.host.attached and (list == READS or c.host.write)
        for _, word in ipairs(list) do
            c.hidden[word.name] = not usable or nil
        end
        for _, word in ipairs(usable and list or {}) do
            local note = list == WRITES and "Asks the daemon, which notes it with who asked."
                or "Asks the daemon."
            c.words[#c.words + 1] = { name = word.name, usage = word.usage, summary = word.summary,
                doc = note }
        end
    end
end

-- ---- Output ---------------------------------------------------------------------------------------

local function shown(c, value)
    return type(value) == "table" and c.texts[value] or show(value)
end

local function print_word(c)
    return function(...)
        local parts = {}
        for i = 1, select("#", ...) do
            local value = (select(i, ...))
            parts[i] = type(value) == "string" and print_module.harmless(value) or shown(c, value)
        end
        local text = table.concat(parts, "\t")
        c.host.emit(c.host.json and ('{"printed":%s}\n'):format(print_module.json(text)) or text .. "\n")
    end
end

local function emit_results(c, count, results)
    if c.host.json then
        local all = {}
        for i = 1, count do
            all[i] = print_module.json(results[i])
        end
        c.host.emit(('{"ok":true,"value":%s%s}\n'):format(all[1] or "null",
            count > 1 and ',"values":[' .. table.concat(all, ",") .. "]" or ""))
        return
    end
    for i = 1, count do
        c.host.emit(shown(c, results[i]) .. "\n")
    end
end

-- A text that is an answer by itself.
local function emit_text(c, text)
    c.host.emit(c.host.json and ('{"ok":true,"value":%s}\n'):format(print_module.json(text)) or text .. "\n")
end

-- ---- Colon commands -------------------------------------------------------------------------------

local function line_of(c, service)
    views.need(c, "show", service)
    local view = views.view(c, "show", service)
    local parts = { service }
    for _, field in ipairs { "instances", "desired", "cpu_percent", "memory_percent", "rate", "in_flight",
        "p99_ms" } do
        if view[field] ~= nil then
            parts[#parts + 1] = ("%s %s"):format((field:gsub("_percent$", ""):gsub("_ms$", ""):gsub("_",
                " ")),
                print_module.number(view[field], field))
        end
    end
    if words.scaled(c.configs[service]) then
        local answer = words.decide(c, service)
        parts[#parts + 1] = answer.want and ("-> %d: %s"):format(answer.want, answer.reason) or "-> stay: "
            .. answer.reason
    end
    return table.concat(parts, "  ")
end

local colon = {}

function colon.help(c, rest)
    emit_text(c, help.help(c, rest))
    return "done"
end

function colon.show(c, rest)
    emit_text(c, line_of(c, rest))
    return "done"
end

function colon.quit()
    return "quit"
end

function colon.reload()
    return "reload"
end

function colon.watch(c, rest)
    local service, every, times = rest:match "^([%w_-]*)%s*(%S*)%s*(%S*)$"
    views.need(c, "watch", service or rest)
    local ms, why = values.duration(every == "" and "2s" or every)
    if not ms or ms < 100 then
        error(("watch: %s"):format(why or "not more often than every 100ms"), 0)
    elseif times ~= "" and not times:find "^%d+$" then
        error("watch: " .. show(times) .. " is no number of times: as in :watch catalog 5s 3", 0)
    end
    return "watch", service, ms, tonumber(times) or 0
end

function colon.trace(c, rest)
    return trace.run(c, rest)
end

local function command(c, text)
    local name, rest = text:match "^%s*:%s*(%a*)%s*(.-)%s*$"
    if not (name and colon[name]) then
        error(check.unknown(name, help.command_names(c), ("command \":%s\""):format(name or "")), 0)
    end
    return colon[name](c, rest)
end

-- ---- Evaluation -----------------------------------------------------------------------------------

local function same(...)
    return ...
end

-- A chunk of what was typed, to be called with `same`: an expression, `= expression`, or statements. nil
-- and true: more
-- lines are needed. An expression is an argument and not what is returned, since a tail call would lose its
-- line
-- (unless it ends in a comment).
local function compile(c, origin, line, text)
    local before, expression = ("\n"):rep(line - 1), text:gsub("^%s*=", "")
    local chunk, first = c.host.compile(before .. "return " .. expression, origin, c.env)
    if chunk then
        return c.host.compile(before .. "return (...)(" .. expression .. ")", origin, c.env) or chunk
    end
    local why
    chunk, why = c.host.compile(before .. text, origin, c.env)
    if chunk then
        return chunk
    end
    local open = "near '<eof>'$"
    return nil, first:find(open) ~= nil or why:find(open) ~= nil, first:find(open) and first or why
end

local function evaluate(c, origin, line, text, final)
    if text:find "^%s*:" then
        return command(c, text)
    elseif not text:find "%S" then
        return "done"
    end
    local chunk, more, why = compile(c, origin, line, text)
    if not chunk then
        if more and not final then
            return "more"
        end
        error(why, 0)
    end
    local function finish(...)
        if select("#", ...) > 0 then
            c.env._ = (...)
        end
        emit_results(c, select("#", ...), { ... })
    end
    finish(chunk(same))
    return "done"
end

-- ---- The console ----------------------------------------------------------------------------------

local PLAIN_DEPTH = 16

-- A copy without metatables.
local function plain(value, depth)
    if type(value) ~= "table" then
        return value
    elseif depth > PLAIN_DEPTH then
        error("a table is nested too deeply, or contains itself", 0)
    end
    local out = {}
    for key, item in next, value do
        out[key] = plain(item, depth + 1)
    end
    return out
end

-- A name that is nothing yet, but nearly that of a word, is a slip.
local function guess_slips(c)
    local names = { "services" }
    for _, list in ipairs { WORDS, READS, WRITES } do
        for _, word in ipairs(list) do
            names[#names + 1] = word.name
        end
    end
    setmetatable(c.env, { __index = function(_, key)
        local near = nearest(key, names)
        if near then
            error(("there is no \"%s\": did you mean \"%s\"?"):format(key, near), 2)
        end
    end })
end

local function fill_environment(c)
    for _, word in ipairs(WORDS) do
        local run = words[word.name] or simulate[word.name]
        if run then
            c.env[word.name] = function(...)
                return run(c, ...)
            end
        end
    end
    for _, word in ipairs(READS) do
        c.env[word.name] = asking(c, word, false)
    end
    for _, word in ipairs(WRITES) do
        c.env[word.name] = asking(c, word, true)
    end
    c.env.print = print_word(c)
    c.env.help = function(name)
        emit_text(c, help.help(c, type(name) == "string" and name or ""))
    end
    guess_slips(c)
end

function M.new(host)
    local c = { host = host, drafts = {}, env = host.environment(), data = {} }
    c.texts = setmetatable({}, { __mode = "k" })
    c.plain = function(value)
        return plain(value, 1)
    end
    help.new(c)
    c.view_list = help.fields(c, "ServiceView")
    views.new(c)
    list_words(c)
    fill_environment(c)
    local it = {}

    function it.update(data, keep_drafts)
        local drafts = keep_drafts and c.drafts or {}
        if not data.configuration then
            data.configuration = c.data.configuration -- the daemon's is the one that is known
        end
        c.data, c.drafts = data, drafts
        views.update(c)
    end

    function it.eval(origin, line, text, final)
        return evaluate(c, origin, line, text, final)
    end

    function it.complete(before)
        local found, length = help.complete(c, before)
        return table.concat(found, "\n"), length
    end

    return it
end

return M
