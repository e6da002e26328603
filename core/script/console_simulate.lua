-- console_simulate.lua: `simulate(POLICY, LOAD, {...})`: what a policy would have done with a load.
--
-- Reads and checks what was typed; the host runs it: the real control code on a virtual clock.
local check = require "script.check"
local print_module = require "script.console_print"
local values = require "script.values"

local M = {}

local show = print_module.show

-- Settings by name: the member of the host's request, and the range of a number or how else it is read.
local SETTINGS = {
    service = { "service", "text" }, min = { "min", 1, 1000 }, max = { "max", 1, 1000 },
    capacity = { "capacity", 0.01, 1e6 }, peak = { "peak", 0.1, 1000 }, days = { "days", 0.01, 366 },
    seed = { "seed", 0, 1e15 }, noise = { "noise", 0, 1 }, startup = { "startup_ms", "duration" },
    slo = { "slo_ms", "duration" }, service_time = { "service_ms", "duration" },
    timeout = { "timeout_ms", "duration" }, warm_up = { "warm_up_ms", "duration" },
}
M.settings = print_module.sorted_keys(SETTINGS)

local MADE = { step = true, ramp = true, spike = true, daily = true, flash = true }
M.loads = { "1h", "24h", "daily", "flash", "ramp", "spike", "step", "today", "yesterday" }

local function setting(request, key, value)
    local how = SETTINGS[key]
    if not how then
        error("simulate: " .. check.unknown(key, M.settings, "setting " .. show(key)), 0)
    elseif how[2] == "duration" then
        local ms, why = values.duration(value)
        request[how[1]] = ms or error(("simulate: %s: %s"):format(key, why), 0)
    elseif how[3] and (type(value) ~= "number" or not (value >= how[2] and value <= how[3])) then
        error(("simulate: %s: expected a number from %g to %g, got %s"):format(key, how[2], how[3],
            show(value)), 0)
    elseif how[2] == "text" and type(value) ~= "string" then
        error(("simulate: %s: expected a text, got %s"):format(key, show(value)), 0)
    else
        request[how[1]] = value
    end
end

-- A draft that was tried stands for the policy of its name.
local function with_draft(c, word)
    local name = word:match "^scale/(.*)$" or word
    for _, place in ipairs(print_module.sorted_keys(c.drafts)) do
        local draft = c.drafts[place]
        if draft.kind == "scale" and draft.policy.name == name:match "^[^:]*" then
            local given = {}
            for _, key in ipairs(print_module.sorted_keys(draft.params)) do
                given[#given + 1] = ("%s=%s"):format(key, tostring(draft.params[key]))
            end
            local more = name:match ":(.*)$"
            given[#given + 1] = more
            return draft.policy.origin .. (#given > 0 and ":" .. table.concat(given, ",") or "")
        end
    end
    return word
end

local function policies_of(c, given)
    local list = {}
    for i, word in ipairs(type(given) == "table" and given or { given }) do
        if type(word) ~= "string" or word == "" then
            local text = "simulate: expected the name of a scale policy, got %s: simulate(\"queue\", \"6h\")"
            error(text:format(show(word)), 0)
        end
        list[i] = with_draft(c, word)
    end
    return list
end

-- The only service that is scaled; nil when there are several.
local function only_service(c)
    local found
    for _, name in ipairs(print_module.sorted_keys(c.configs)) do
        local scale = c.configs[name].scale
        if scale and (scale.policy or "") ~= "" then
            if found then
                return nil
            end
            found = name
        end
    end
    return found
end

local function service_for(c, request, recorded)
    local name = request.service
    if name and not c.configs[name] then
        error("simulate: " .. check.unknown(name, print_module.sorted_keys(c.configs), "service "
            .. show(name)), 0)
    end
    name = name or only_service(c)
    if not name and recorded then
        error(("simulate: which service's? Add { service = \"...\" }: there are %s"):format(
            table.concat(print_module.sorted_keys(c.configs), ", ")), 0)
    end
    return name
end

function M.simulate(c, policies, load, given)
    if type(load) ~= "string" or load == "" then
        error("simulate: expected a load, got " .. show(load) .. ": \"yesterday\", \"6h\" or \"10:00..12:00\""
            .. " for what was recorded, step, ramp, spike, daily or flash, or a CSV file", 0)
    elseif given ~= nil and type(given) ~= "table" then
        error("simulate: expected settings such as { startup = \"10s\" }, got " .. show(given), 0)
    end
    local request = { load = load, policies = policies_of(c, policies) }
    for _, key in ipairs(print_module.sorted_keys(given or {})) do
        setting(request, key, given[key])
    end
    request.service = service_for(c, request, not (MADE[load] or load:find "/" or load:find "%.csv$"))
    local answer = c.host.simulate(request)
    if not answer.ok then
        error("simulate: " .. print_module.harmless(tostring(answer.error)), 0)
    end
    local text = answer.text
    answer.ok, answer.text = nil, nil
    c.texts[answer] = text
    return answer
end

return M
