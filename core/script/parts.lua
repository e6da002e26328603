-- parts.lua: parameters as `new` of a policy gets them; trusted. Returns given(params, make).
--
-- Where a parameter of the configuration names another scale policy, { policy = "queue", params = { ... } }
-- alone or in a list, `new` gets { name = "queue", new = function }: each new() makes an instance.
-- make(name, params, ...) makes one of the policy of that name; new(...) passes on what it is given.
local error, pairs, type = ...

local given

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

local function part(use, make)
    return {
        name = use.policy,
        new = function(...)
            local decide = make(use.policy, given(copy(use.params or {}), make), ...)
            if type(decide) ~= "function" then
                error("the scale policy \"" .. use.policy .. "\": `new` must return a function, not a "
                    .. type(decide), 0)
            end
            return decide
        end,
    }
end

local function is_part(value)
    return type(value) == "table" and type(value.policy) == "string"
end

function given(params, make)
    for key, value in pairs(params) do
        if is_part(value) then
            params[key] = part(value, make)
        elseif type(value) == "table" then
            for i = 1, #value do
                value[i] = is_part(value[i]) and part(value[i], make) or value[i]
            end
        end
    end
    return params
end

return given
