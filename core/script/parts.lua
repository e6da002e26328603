-- parts.lua: parameters as `new` of a policy gets them; trusted. Returns given(params, make), failed().
--
-- Where a parameter of the configuration names another scale policy, { policy = "queue", params = { ... } }
-- alone or in a list, `new` gets { name = "queue", new = function }: each new() makes an instance of it.
-- make(name, params, ...) makes one of the policy of that name; new(...) passes on what it is given.
-- When such an instance raises, whoever called it may go on; failed() has policy and error of the first one
-- since it was called last, for the report.
-- A window { cron, zone, lasting, ... } gets a function began (calendar.h).
local error, pairs, pcall, type, huge, calendar = ...

local given
local failed_policy, failed_error

-- Each instance has parameters of its own.
local function copy(value)
    if type(value) ~= "table" then
        return value
    end
    local own = {}
    for key, item in pairs(value) do
        own[key] = copy(item)
    end
    return own
end

-- A part keeps its policy's own cooldowns, which the service as a whole does not have then: one that steps by
-- one needs them, and those beside it are not to wait for it.
local function paced(decide, use)
    local up, down = (use.up_cooldown_ms or 0) / 1000, (use.down_cooldown_ms or 0) / 1000
    if up == 0 and down == 0 then
        return decide
    end
    return function(s)
        local want, reason = decide(s)
        local since_up, since_down = s.since_up_s or huge, s.since_down_s or huge
        if type(want) ~= "number" or not (want > s.desired and since_up < up
            or want < s.desired and (since_up < down or since_down < down)) then
            return want, reason
        end
        return s.desired, type(reason) == "string" and reason .. " (cooldown)" or reason
    end
end

local function watched(decide, use)
    local function noted(ok, ...)
        if ok then
            return ...
        end
        local why = (...)
        if not failed_policy then
            failed_policy, failed_error = use.policy, type(why) == "string" and why or "(" .. type(why) .. ")"
        end
        error(why, 0)
    end
    return function(s)
        return noted(pcall(decide, s))
    end
end

local function part(use, make)
    return {
        name = use.policy,
        new = function(...)
            local decide = make(use.policy, given(copy(use.params or {}), make), ...)
            if type(decide) ~= "function" then
                error("the scale policy \"" .. use.policy .. "\": `new` must return a function, not a "
                    .. type(decide), 0)
            end
            return paced(watched(decide, use), use)
        end,
    }
end

local function built(value, make)
    if type(value) ~= "table" then
        return value
    elseif type(value.policy) == "string" then
        return part(value, make)
    elseif type(value.cron) == "string" then
        local began, _, why = calendar(value.cron, value.zone)
        value.began = began or error(value.zone .. ": " .. why, 0)
    end
    return value
end

function given(params, make)
    for key, value in pairs(params) do
        if type(value) == "table" then
            for i = 1, #value do
                value[i] = built(value[i], make)
            end
            params[key] = built(value, make)
        end
    end
    return params
end

return given, function()
    local policy, why = failed_policy, failed_error
    failed_policy, failed_error = nil, nil
    return policy, why
end
