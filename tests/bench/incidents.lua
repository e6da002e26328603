-- incidents.lua: false alarms and found incidents of anomaly detection on made-up series with points every 15 s.
--
--     luajit tests/bench/incidents.lua [SERIES] [zscore]      8 series of a kind by default; TIDEGATE_BUILD as for tests
--
-- Two tables: alarm-hours a series and day when nothing happens (14 days, after 3 to learn), and the share of incidents
-- (one a series, after 8 to 13 days) that are told within 30 min, leaks within 9 h. `zscore` measures the shipped
-- policy of that name in the same way. The generator shares nothing with the detector but its author, so the figures
-- say whether something broke; how good it is, others' data say. Ends with the cost of a point.
package.path = "./tests/support/?.lua;" .. package.path
local ffi = require "ffi"
local C = require("ffi_room").load "base/detect.h"

local SERIES, WHICH = tonumber(arg[1]) or 8, arg[2] or (not tonumber(arg[1]) and arg[1]) or "record"
local DAY, HOUR, STEP = 5760, 240, 15

-- ---- Chance: xorshift, the same on every machine ------------------------------------------------

local state = 1ULL
local function seed(a, b)
    state = 0x9E3779B97F4A7C15ULL * (a * 131 + b * 7 + 3)
end
local function uniform()
    state = bit.bxor(state, bit.lshift(state, 13))
    state = bit.bxor(state, bit.rshift(state, 7))
    state = bit.bxor(state, bit.lshift(state, 17))
    return (tonumber(bit.rshift(state, 11)) + 0.5) / 2 ^ 53
end
local function normal()
    return math.sqrt(-2 * math.log(uniform())) * math.cos(2 * math.pi * uniform())
end
local function poisson(mean)
    local limit, product, count = math.exp(-mean), uniform(), 0
    while product > limit do
        product, count = product * uniform(), count + 1
    end
    return count
end

-- ---- Kinds of series ------------------------------------------------------------------------------
-- new() -> value(i, at): the i-th point at second `at`. sd: what an incident is measured in; nil: of the whole series.

local function day(at)
    return math.sin(2 * math.pi * at / 86400)
end

local KINDS = {
    { "gaussian", function() return function() return 50 + 5 * normal() end end },
    { "lognormal", function() return function() return 0.05 * math.exp(0.5 * normal()) end end },
    { "ar1", function()
        local x = 0
        return function() x = 0.95 * x + normal() return 100 + 3 * x end
    end },
    { "daily sine", function() return function(_, at) return 100 + 50 * day(at) + 5 * normal() end end, sd = 5 },
    { "bursty", function()
        local left = 0
        return function()
            left = left > 0 and left - 1 or uniform() < 1 / 400 and 4 + 30 * uniform() or 0
            return 20 + 3 * normal() + (left > 0 and 40 + 5 * normal() or 0)
        end
    end },
    { "rare errors", function() return function() return uniform() < 0.01 and 0.02 * uniform() or 0 end end },
    { "poisson", function() return function(_, at) return poisson(40 + 25 * day(at)) / 15 end end },
    { "weekly", function()
        return function(_, at)
            local weekday = (math.floor(at / 86400) + 4) % 7
            local level = (weekday == 0 or weekday == 6) and 0.4 or 1
            return 100 * level * (1 + 0.5 * day(at)) + 6 * normal()
        end
    end, sd = 6 },
    { "deploys", function()
        local level = 0
        return function()
            level = uniform() < 1 / (2 * DAY) and 6 * (uniform() - 0.5) or level
            return 300 + 3 * level + 10 * normal()
        end
    end },
    { "cron", function()
        local first = math.floor(uniform() * HOUR)
        return function(i)
            return 30 + 3 * normal() + ((i - first) % HOUR < 6 and 35 + 4 * normal() or 0)
        end
    end },
    { "resets", function()
        local count = 0
        return function()
            count = uniform() < 1 / (3 * DAY) and 0 or count + poisson(20)
            return count
        end
    end, clean_only = true },
    { "gaps", function() return function() return 80 + 8 * normal() end end, gaps = true },
}

-- Values and times of `count` points; their mean and the size of an incident.
local function make(kind, number, count)
    seed(number, #kind[1])
    local values, times = ffi.new("double[?]", count), ffi.new("double[?]", count)
    local value, at = kind[2](), 1.76e9 + math.floor(uniform() * 86400)
    local sum, squares = 0, 0
    for i = 0, count - 1 do
        at = at + STEP * (kind.gaps and uniform() < 1 / DAY and math.floor(20 + 1000 * uniform()) or 1)
        values[i], times[i] = value(i, at), at
        sum, squares = sum + values[i], squares + values[i] ^ 2
    end
    local mean = sum / count
    return values, times, mean, kind.sd or math.sqrt(math.max(squares / count - mean ^ 2, 1e-12))
end

-- ---- Incidents ------------------------------------------------------------------------------------
-- change(value, k, sd, mean, held): the k-th point of it, or nil when it is over.

local INCIDENTS = {
    { "spike", function(v, k, sd) return k < 4 and v + 10 * sd end },
    { "level", function(v, k, sd) return k < 720 and v + 4 * sd end },
    { "leak", function(v, k, sd) return k < 2160 and v + 8 * sd * k / 2160 end, within = 2160 },
    { "stuck", function(_, k, _, _, held) return k < 720 and held end },
    { "to zero", function(_, k) return k < HOUR and 0 end },
    { "noise x3", function(v, k, sd) return k < 720 and v + math.sqrt(8) * sd * normal() end },
    { "load x2", function(v, k, _, mean) return k < 720 and v + math.abs(mean) end },
}

-- ---- Detectors ------------------------------------------------------------------------------------

local detectors = {}
function detectors.record()
    local d, s = ffi.new "struct detect", ffi.new "struct detect_settings"
    C.detect_defaults(s)
    return function(at, value)
        return C.detect_push(d, s, at, value, nil) >= 1
    end
end
function detectors.zscore()
    local detects = require("policy").new "anomaly/zscore"
    local learned = detects.learn "value"
    return function(at, value)
        return detects.point(learned, value, at, "value") >= 1
    end
end
local new_detector = assert(detectors[WHICH], "record or zscore")

-- ---- Measuring ------------------------------------------------------------------------------------

local function clean(kind)
    local hours = 0
    for number = 1, SERIES do
        local values, times = make(kind, number, 17 * DAY)
        local tell, last = new_detector(), -1
        for i = 0, 17 * DAY - 1 do
            local hour = math.floor(i / HOUR)
            if tell(times[i], values[i]) and i >= 3 * DAY and hour ~= last then
                hours, last = hours + 1, hour
            end
        end
    end
    return hours / (14 * SERIES)
end

local function found(kind, incident)
    local count = 0
    for number = 1, SERIES do
        local values, times, mean, sd = make(kind, number, 14 * DAY)
        seed(number, #incident[1] + 1000)
        local from, within = math.floor((8 + 5 * uniform()) * DAY), incident.within or 120
        local tell, held = new_detector(), values[from]
        for i = 0, from + within do
            local value = values[i]
            if i >= from then
                value = incident[2](value, i - from, sd, mean, held) or value
            end
            if tell(times[i], value) and i >= from then
                count = count + 1
                break
            end
        end
    end
    return 100 * count / SERIES
end

print(WHICH .. ": alarm-hours a series and day when nothing happens, and incidents told in time (%)")
io.write(("%-12s %8s"):format("", "clean"))
for _, incident in ipairs(INCIDENTS) do
    io.write((" %9s"):format(incident[1]))
end
print()
local rates, shares, cases = 0, 0, 0
for _, kind in ipairs(KINDS) do
    local rate = clean(kind)
    rates = rates + rate
    io.write(("%-12s %8.2f"):format(kind[1], rate))
    for _, incident in ipairs(kind.clean_only and {} or INCIDENTS) do
        local zeros = kind[1] == "rare errors" and (incident[1] == "stuck" or incident[1] == "to zero")
        if zeros then
            io.write((" %9s"):format "-") -- that is what it mostly is
        else
            local share = found(kind, incident)
            shares, cases = shares + share, cases + 1
            io.write((" %9.0f"):format(share))
        end
    end
    print()
end
print(("mean: %.2f alarm-hours a series and day, %.1f %% of the incidents"):format(rates / #KINDS, shares / cases))

if WHICH == "record" then
    local values, times = make(KINDS[4], 1, 17 * DAY)
    local best, d, s = math.huge, ffi.new "struct detect", ffi.new "struct detect_settings"
    C.detect_defaults(s)
    for _ = 1, 10 do
        C.detect_init(d)
        local before = os.clock()
        for i = 0, 17 * DAY - 1 do
            C.detect_push(d, s, times[i], values[i], nil)
        end
        best = math.min(best, (os.clock() - before) / (17 * DAY))
    end
    print(("cost: %.0f ns of CPU a point (best of 10), %d bytes a series"):format(best * 1e9, ffi.sizeof "struct detect"))
end
