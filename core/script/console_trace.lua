-- console_trace.lua: `:trace balance`: the routing decisions of a daemon's workers, as they are made.
--
-- The first call says what is wanted and asks where each worker stands; each that follows asks what came
-- since then and prints it. Who calls, and how often, is the caller's.
local check = require "script.check"
local nearest = require "script.nearest"
local print_module = require "script.console_print"

local M = {}

local show, harmless = print_module.show, print_module.harmless
local MOST_SHOWN = 6 -- backends on a line

-- ---- What is wanted -------------------------------------------------------------------------------

-- "0.0.0.0:8080 catalog.local/" of every route, as workers compare it.
local function routes_of(c)
    local list = {}
    for _, name in ipairs(print_module.sorted_keys(c.configs)) do
        for _, route in ipairs(c.configs[name].routes or {}) do
            list[#list + 1] = ("%s %s%s"):format(route.listen, route.host or "", route.path or "")
        end
    end
    return list
end

local function is_route(c, text)
    for _, route in ipairs(routes_of(c)) do
        if route:find(text, 1, true) then
            return true
        end
    end
    return false
end

-- Words behind `balance`: a service, a part of a route, and how many.
local function wanted(c, words)
    local want = { left = math.huge }
    for word in words:gmatch "%S+" do
        if c.configs[word] and not want.service then
            want.service = word
        elseif word:find "^%d+$" and tonumber(word) > 0 then
            want.left = tonumber(word)
        elseif is_route(c, word) and not want.route then
            want.route = word
        else
            local names = print_module.sorted_keys(c.configs)
            local near = nearest(word, names)
            local text = "trace: %s is no service, no part of a route and no number: %s; routes are %s"
            error(text:format(show(word), near and ("did you mean \"%s\"?"):format(near) or "services are "
                .. table.concat(names, ", "), table.concat(routes_of(c), ", ")), 0)
        end
    end
    return want
end

-- ---- Lines ----------------------------------------------------------------------------------------

-- In local time.
local function clock(c, at_ms)
    local ms = math.floor(at_ms + c.host.zone_s * 1000) % 86400000
    return ("%02d:%02d:%02d.%03d"):format(ms / 3600000, ms / 60000 % 60, ms / 1000 % 60, ms % 1000)
end

local WHY = { session = "its session names it", builtin = "least connections, built in",
    nobody = "none may have it", loop = "by the policy's own loop" }

local function why(one)
    if one.decides == "score" then
        return one.equal > 1 and ("%d share the lowest score"):format(one.equal) or "lowest score"
    elseif one.policy_failed then
        return "the policy failed: least connections"
    end
    return WHY[one.decides] or one.decides
end

local function backend_text(b)
    local text = (b.chosen and "*" or "") .. b.backend
    if b.score then
        text = text .. (" %.4g"):format(b.score)
    end
    return b.reason ~= "" and ("%s (%s)"):format(text, b.reason) or text
end

-- Best first: those with the lowest score, then those that may have it, then the others.
local function in_order(backends)
    local list = {}
    for i, b in ipairs(backends) do
        list[i] = { b = b, rank = b.chosen and 0 or b.eligible and 1 or 2,
            score = b.score or math.huge, i = i }
    end
    table.sort(list, function(x, y)
        if x.rank ~= y.rank then
            return x.rank < y.rank
        end
        return x.score < y.score or x.score == y.score and x.i < y.i
    end)
    return list
end

local function backends_text(one)
    local parts = {}
    for i, entry in ipairs(in_order(one.backends)) do
        if i > MOST_SHOWN then
            parts[#parts + 1] = ("%d more"):format(#one.backends - MOST_SHOWN)
            break
        end
        parts[#parts + 1] = backend_text(entry.b)
    end
    return table.concat(parts, ", ")
end

local function outcome_text(outcome)
    if not outcome.ended then
        return "open"
    end
    local failure = outcome.failure ~= "" and " " .. outcome.failure or ""
    return ("%s%s %.1f ms"):format(outcome.status > 0 and ("%d"):format(outcome.status) or "-", failure,
        outcome.took_ms)
end

local function line_of(c, one)
    local attempt = one.attempt > 0 and (" attempt %d"):format(one.attempt + 1) or ""
    return harmless(("%s  %s%s -> %s  %s  %s  [%s]  %s"):format(clock(c, one.at_ms), one.service, attempt,
        one.chosen or "nobody", outcome_text(one.outcome), why(one), backends_text(one), one.request))
end

local function print_one(c, one)
    c.host.emit((c.host.json and print_module.json(one) or line_of(c, one)) .. "\n")
end

local function print_note(c, text)
    if not c.host.json then
        c.host.emit(text .. "\n")
    end
end

-- ---- The command ----------------------------------------------------------------------------------

local function ask(c)
    local t = c.trace
    local told = c.host.ask { command = "trace", service = t.service, route = t.route,
        after = t.after }
    if not told.ok then
        c.trace = nil
        error("trace: " .. harmless(tostring(told.error)), 0)
    end
    t.after = told.after
    return told
end

local function begin(c, words)
    local kind, rest = words:match "^(%S+)%s*(.*)$"
    if kind ~= "balance" then
        error("trace: " .. check.unknown(kind, { "balance" }, "kind " .. show(kind)), 0)
    elseif not c.host.attached then
        error("trace: there are no decisions without a daemon: start the console with --attach", 0)
    end
    c.trace = wanted(c, rest)
    ask(c)
    local t = c.trace
    print_note(c, ("decisions of %s%s; Ctrl-C ends it"):format(t.service or "all services", t.route and " on "
        .. t.route or ""))
    return "trace"
end

local function more(c)
    local told = ask(c)
    table.sort(told.found, function(a, b)
        return a.at_ms < b.at_ms
    end)
    if told.lost then
        print_note(c, "... some were forgotten before they could be told")
    end
    if told.left_out > 0 then
        print_note(c, ("... %d more before these"):format(told.left_out))
    end
    for _, one in ipairs(told.found) do
        print_one(c, one)
        c.trace.left = c.trace.left - 1
        if c.trace.left == 0 then
            c.trace = nil
            return "done"
        end
    end
    return "trace"
end

-- `:trace balance ...` begins one; `:trace` goes on with it.
function M.run(c, words)
    if words ~= "" then
        return begin(c, words)
    elseif not c.trace then
        error("trace: say of what: :trace balance, or :trace balance SERVICE", 0)
    end
    return more(c)
end

return M
