-- windows.lua: parameters of type windows: spans of time that begin as a cron line says.
local check = require "script.check"
local values = require "script.values"

local MOST, LONGEST_S, MOST_INSTANCES = 32, 31 * 86400, 1000

local FIELDS = {
    { "cron", type = "text", required = 'cron = "0 8 * * 1-5"', longest = 200,
        doc = "when it begins: minute, hour, day of the month, month, day of the week" },
    { "zone", type = "text", default = "UTC", longest = 64, doc = 'of the clock, such as "Europe/Berlin"' },
    { "lasting", type = "seconds", required = 'lasting = "10h"', min = 60, max = LONGEST_S, unit = "s",
        out = "lasting", doc = "how long it takes" },
    { "min", type = "integer", min = 0, max = MOST_INSTANCES, doc = "fewest instances in it" },
    { "max", type = "integer", min = 1, max = MOST_INSTANCES, doc = "most instances in it" },
    { "initial", type = "integer", min = 1, max = MOST_INSTANCES, doc = "fewest at its beginning" },
}

local function one(value, path, ctx)
    if type(value) ~= "table" then
        local what = 'a table such as { cron = "0 8 * * 1-5", lasting = "10h", min = 4 }'
        return ctx.report(path, select(2, values.expected(what, value)))
    end
    local w = check.record(FIELDS, value, path, ctx)
    if not w.min and not w.max and not w.initial then
        ctx.report(path, "bounds nothing: give min, max or initial")
    elseif w.max and math.max(w.min or 0, w.initial or 0) > w.max then
        ctx.report(path, ("its max, which is %d, is less than its min or initial"):format(w.max))
    end
    if w.cron and w.zone then
        local _, which, why = ctx.calendar(w.cron, w.zone)
        if which == "cron" then
            ctx.report(check.joined(path, "cron"), why)
            _, which, why = ctx.calendar("* * * * *", w.zone) -- one mistake is not to hide the other
        end
        if which == "zone" then
            ctx.report(check.joined(path, "zone"), values.describe(w.zone) .. ": " .. why)
        end
    end
    return w
end

function check.types.windows(value, _, path, ctx)
    local count = type(value) == "table" and check.list_length(value)
    if not count or count == 0 then
        local what = 'a list such as { { cron = "0 8 * * 1-5", lasting = "10h", min = 4 } }'
        return ctx.report(path, select(2, values.expected(what, value)))
    elseif count > MOST then
        return ctx.report(path, ("has %d items: at most %d"):format(count, MOST))
    end
    local out = check.array()
    for i = 1, count do
        out[i] = one(value[i], check.joined(path, i), ctx)
    end
    return out
end
