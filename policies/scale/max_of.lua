-- max_of.lua: asks several policies and takes the most that one of them wants.
--
-- Sees     what they see
-- Answers  the largest answer. A policy with no opinion, or one that fails, wants the number that is wanted
--          now: it holds no up, and nothing goes down below it. None if none answers.
-- Params   of   the policies, each with its own parameters
-- Example  { of = { { policy = "target_tracking", target = 70 }, { policy = "queue", each = 10 } } }
--          -> 6, "queue 6: 25 come a second, 900 wait; target_tracking 4: cpu at 1.30 of its target"
local function says(name, want)
    return { name = name, new = function()
        return function()
            return want, "as told"
        end
    end }
end

local function fails(name)
    return { name = name, new = function()
        return function()
            error("no such figure", 0)
        end
    end }
end

return {
    name = "max_of",
    doc = "The most of what several policies want; one that fails or has no opinion only holds downs.",
    params = {
        of = { type = "policies", required = 'of = { { policy = "queue" } }',
            doc = "the policies, each with its own parameters" },
    },
    new = function(params, state)
        local decides, names, seen = {}, {}, {}
        for i, part in ipairs(params.of) do
            seen[part.name] = (seen[part.name] or 0) + 1
            names[i] = seen[part.name] == 1 and part.name or part.name .. " " .. seen[part.name]
            if state then
                state[names[i]] = state[names[i]] or {}
            end
            decides[i] = part.new(state and state[names[i]])
        end

        local wants, texts, said = {}, {}, {}

        local function is_count(want)
            return type(want) == "number" and want >= 0 and want < 2 ^ 32 and want % 1 == 0
        end

        -- What the i-th of them wants; nothing said counts as what is.
        local function ask(i, s)
            local ok, want, reason = pcall(decides[i], s)
            local text = type(reason) == "string" and reason or ""
            if ok and want ~= nil and not is_count(want) then
                ok, want = false, ("answered %s: a whole number of instances, or nil"):format(
                    type(want) == "number" and tostring(want) or "a " .. type(want))
            end
            said[i] = ok and want ~= nil
            wants[i] = said[i] and want or s.desired
            texts[i] = not ok and names[i] .. " failed: " .. tostring(want) or
                ("%s %s: %s"):format(names[i], want and ("%d"):format(want) or "stays", text)
        end

        ---@type tidegate.Scale
        return function(s)
            local best, any = 1, false
            for i = 1, #decides do
                ask(i, s)
                local more = wants[i] - wants[best]
                best = (more > 0 or more == 0 and said[i] and not said[best]) and i or best
                any = any or said[i]
            end
            local reason = { texts[best] }
            for i = 1, #decides do
                reason[#reason + 1] = i ~= best and texts[i] or nil
            end
            reason = table.concat(reason, "; ")
            if not any then
                return nil, reason
            end
            return wants[best], reason
        end
    end,
    examples = {
        { params = { of = { says("a", 4), says("b", 6) } }, given = { instances = 2 }, want = 6 },
        { params = { of = { says("a", 3), says("b", nil) } }, given = { instances = 5 }, want = 5 },
        { params = { of = { says("a", 3), fails "b" } }, given = { instances = 2 }, want = 3 },
        { params = { of = { fails "a", says("b", nil) } }, given = { instances = 2 }, want = nil },
    },
}
