-- schedule.lua: what another policy wants, within bounds that go by the calendar.
--
-- Sees     time, desired, starting, min, max, and what the policy sees: with the bounds of now as min and max
-- Answers  what the policy wants, but no less than min and no more than max of the windows that are open. The
--          min is there in time: it counts from `lead` before its window on. A policy that fails holds what
--          is, within the bounds.
-- Params   of        the policy, with its parameters
--          windows   { cron, zone ("UTC"), lasting, min, max, initial }: each begins as the cron line says by
--                    the clock of that zone, summer time included, and lasts so long; `initial` counts until
--                    it is there, then min does. Of several the highest min and the lowest max
--          lead      from the start of instances until they are up; 0s = learned             0s
-- Example  { of = "queue", windows = { { cron = "0 8 * * 1-5", lasting = "10h", min = 4 } } }
--          -> 4 at 8:00 UTC, "at least 4 (0 8 * * 1-5 UTC); queue stays: 0 come a second, 0 wait"
local function always(want)
    return { name = "always", new = function()
        return function()
            return want, "as told"
        end
    end }
end

-- A window from 10000 to 13600.
local function window(bounds)
    bounds.cron, bounds.zone, bounds.lasting = "0 8 * * *", "UTC", 3600
    bounds.began = function(at, within)
        return at >= 10000 and at - within < 10000 and 10000 or nil
    end
    return bounds
end

return {
    name = "schedule",
    doc = "What another policy wants, within bounds that go by the calendar.",
    params = {
        of = { type = "policy", required = 'of = { policy = "error_budget" }', doc = "the policy" },
        windows = { type = "windows", doc = "when which bounds are in force",
            required = 'windows = { { cron = "0 8 * * 1-5", lasting = "10h", min = 4 } }' },
        lead = { type = "duration", default = 0, max = 3600, doc = "from start to ready; 0s = learned" },
    },
    new = function(params, state)
        local demand = require "lib.demand"
        local decide, name = params.of.new(demand.part(state, "of")), params.of.name
        local startup = demand.startup(params.lead, demand.part(state, "startup"))
        local reached = demand.part(state, "reached") -- by window: the beginning whose `initial` was there

        -- Bounds of now, and what says so; nil: nothing.
        local function bounds(s, lead)
            local least, most, low, high = s.min, s.max, nil, nil
            for _, w in ipairs(params.windows) do
                local key = ("%s %s %d"):format(w.cron, w.zone, w.initial or 0)
                local began = w.began(s.time + lead, w.lasting + lead) -- open, or about to
                local min = began and w.min or 0
                if began and w.initial and s.desired >= w.initial and began <= s.time then
                    reached[key] = began
                elseif began and w.initial and reached[key] ~= began then
                    min = math.max(min, w.initial)
                end
                if min > least then
                    least, low = min, w
                end
                if w.max and w.max < most and w.began(s.time, w.lasting) then
                    most, high = w.max, w
                end
            end
            least = math.min(least, s.max)
            return least, math.max(most, least), low, high
        end

        ---@type tidegate.Scale
        return function(s)
            local least, most, low, high = bounds(s, startup(s))
            local narrowed = setmetatable({ min = least, max = most }, { __index = s })
            local ok, want, reason = pcall(decide, narrowed)
            local failed = not ok and tostring(want) or type(want) ~= "number" and want ~= nil
                and "answered a " .. type(want)
            want = not failed and want or nil
            local result = demand.clamp(want or s.desired, least, most)
            if failed and result == s.desired then
                error(failed, 0)
            end
            local answer = want and ("%.14g"):format(want) or "stays"
            local said = failed and ("%s failed: %s"):format(name, failed)
                or ("%s %s: %s"):format(name, answer, tostring(reason or ""))
            if result == least and low then
                said = ("at least %d (%s %s); %s"):format(result, low.cron, low.zone, said)
            elseif result == most and high then
                said = ("at most %d (%s %s); %s"):format(result, high.cron, high.zone, said)
            end
            if not want and result == s.desired then
                return nil, said
            end
            return result, said
        end
    end,
    examples = {
        { params = { of = always(2), windows = { window { min = 4 } } },
            given = { time = 10000, instances = 2 }, want = 4 },
        { params = { of = always(2), windows = { window { min = 4 } } },
            given = { time = 13600, instances = 4 }, want = 2 },
        { params = { of = always(9), windows = { window { max = 5 } } },
            given = { time = 11000, instances = 5 }, want = 5 },
        { params = { of = always(nil), windows = { window { min = 4 } }, lead = 60 },
            given = { time = 9940, instances = 2 }, want = 4 },
    },
}
