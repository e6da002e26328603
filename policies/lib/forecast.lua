-- forecast.lua: how much may come until an instance started now is ready: several experts, each with a record
-- of how wrong it was. forecast.new(memory) returns look(now, rate, lead, p, q), to be called about every
-- five seconds, which answers the p- and the q-quantile of the most that comes within `lead` seconds, and the
-- expert's name. What it learns it keeps in `memory`, a table of the policy's state, or nil.
--
-- An expert says a centre and a scale. When the lead has passed, (what came - centre) / scale goes into its
-- histogram for the trend that there was, which forgets half in three days.
local floor, max, min, sqrt = math.floor, math.max, math.min, math.sqrt

local demand = require "lib.demand"

local M = {}

local TICK = 5
local RING = 512             -- of ticks: more than the ten minutes that are looked at
local BIN, LOW, BINS = 0.02, -1, 250
local HALF_LIFE = 3 * 86400
local LOSS_HALF_LIFE = 86400
local ENOUGH = 120           -- answers until a histogram is believed more than the prior
local PRIOR = 0.3
local SLOTS = 288            -- of a day: five minutes each
local CONTEXTS = { 0.93, 1.10, 1.4 }
local NAMES = { "mean of 15 s", "mean of 60 s", "most of 2 min", "most of 5 min", "most of 10 min", "spread",
    "time of day" }
local EXPERTS = #NAMES

local function histogram()
    local h = { mass = 0, weight = 1, bins = {} }
    for i = 1, BINS do
        h.bins[i] = 0
    end
    return h
end

-- Newer ones weigh more, instead of fading the older ones each time.
local function add(h, u)
    h.weight = h.weight * 2 ^ (TICK / HALF_LIFE)
    local i = min(max(floor((u - LOW) / BIN) + 1, 1), BINS)
    local bins = h.bins
    bins[i] = bins[i] + h.weight
    h.mass = h.mass + h.weight
    if h.weight > 1e9 then
        for k = 1, BINS do
            bins[k] = bins[k] / h.weight
        end
        h.mass, h.weight = h.mass / h.weight, 1
    end
end

-- u below which the part p of all was; from above, since p is near one.
local function quantile(h, p)
    local rest, seen, bins = h.mass * (1 - p), 0, h.bins
    for i = BINS, 1, -1 do
        seen = seen + bins[i]
        if seen > rest then
            return LOW + BIN * (i - 1 + (seen - rest) / bins[i])
        end
    end
    return LOW
end

local function believed(h, p)
    local mass = h.mass / h.weight
    if mass < 1 then
        return PRIOR
    end
    local share = min(mass / ENOUGH, 1)
    return share * quantile(h, p) + (1 - share) * PRIOR
end

local function context_of(ratio)
    for i = 1, #CONTEXTS do
        if ratio < CONTEXTS[i] then
            return i
        end
    end
    return #CONTEXTS + 1
end

-- Kept are the last rates and what is known of the experts; what they said and what is summed up is not.
function M.new(memory)
    local kept = memory or {}
    local rate, histograms = demand.part(kept, "rate"), demand.part(kept, "histograms")
    local loss, profile = demand.part(kept, "loss"), demand.part(kept, "profile")
    local sums, squares, centre, scale, context, bound, cached = {}, {}, {}, {}, {}, {}, {}
    local n = kept.n or 0
    local longest = { demand.most(120, demand.part(kept, "two")), demand.most(300, demand.part(kept, "five")),
        demand.most(600, demand.part(kept, "ten")) }
    for e = 1, EXPERTS do
        histograms[e], loss[e] = histograms[e] or {}, loss[e] or 0
        centre[e], scale[e], bound[e], cached[e] = {}, {}, {}, {}
        for c = 1, #CONTEXTS + 1 do
            histograms[e][c] = histograms[e][c] or histogram()
            cached[e][c] = { at = -math.huge }
        end
    end

    local function at(k)
        return k % RING + 1
    end

    local begun = n - min(n, RING - 1)
    sums[at(begun)], squares[at(begun)] = 0, 0
    for k = begun + 1, n do
        local x = rate[at(k)]
        sums[at(k)], squares[at(k)] = sums[at(k - 1)] + x, squares[at(k - 1)] + x * x
    end

    local function mean(ticks)
        local from = max(n - ticks, 0)
        return (sums[at(n)] - sums[at(from)]) / (n - from)
    end

    local function spread(ticks)
        local from = max(n - ticks, 0)
        local m = mean(ticks)
        return sqrt(max((squares[at(n)] - squares[at(from)]) / (n - from) - m * m, 0))
    end

    -- The most of the means of two ticks.
    local function most_between(from, to)
        local most = 0
        for k = from, to do
            most = max(most, (rate[at(k)] + rate[at(max(k - 1, 1))]) / 2)
        end
        return most
    end

    local function usual(now, lead, m60)
        local slot = floor(now / 300) % SLOTS
        local here, most = profile[slot], 0
        for k = slot, slot + floor(lead / 300) + 1 do
            most = max(most, profile[k % SLOTS] or 0)
        end
        if not here or here <= 0 or most <= 0 then
            return m60
        end
        return m60 * min(max(most / here, 0.5), 4)
    end

    local function note_profile(now)
        local slot = floor(now / 300) % SLOTS
        profile[slot] = profile[slot] and profile[slot] + (rate[at(n)] - profile[slot]) * 0.01 or rate[at(n)]
    end

    local function say(now, lead)
        local m15, m60, k = mean(3), mean(12), at(n)
        local c = centre
        c[1][k], c[2][k] = m15, m60
        for i = 1, 3 do
            c[2 + i][k] = longest[i](now, mean(2))
        end
        c[6][k] = m60
        c[7][k] = usual(now, lead, m60)
        for e = 1, EXPERTS do
            scale[e][k] = max(c[e][k], 1e-6)
        end
        scale[6][k] = max(spread(60) + 0.03 * m60, 1e-6)
        context[k] = context_of(m15 / max(mean(60), 1e-6))
    end

    -- What came of what was said `ticks` ago.
    local function learn(ticks, p)
        local k = n - ticks
        if k < 1 or not context[at(k)] then
            return
        end
        local came, where = most_between(k + 1, n), context[at(k)]
        for e = 1, EXPERTS do
            local u = (came - centre[e][at(k)]) / scale[e][at(k)]
            add(histograms[e][where], u)
            local missed = came - bound[e][at(k)]
            local pinball = (missed > 0 and p * missed or (p - 1) * missed) / max(came, 1e-6)
            loss[e] = loss[e] + (pinball - loss[e]) * (1 - 0.5 ^ (TICK / LOSS_HALF_LIFE))
        end
    end

    -- Quantiles of a histogram change slowly: looked up anew after a minute, or when p is another one.
    local function factor(e, where, now, p, q)
        local known = cached[e][where]
        if now - known.at >= 60 or now < known.at then
            known.at, known.p = now, believed(histograms[e][where], p)
            known.q = believed(histograms[e][where], q)
        end
        return known
    end

    return function(now, x, lead, p, q)
        n = n + 1
        kept.n = n
        local k = at(n)
        rate[k] = x
        sums[k], squares[k] = sums[at(n - 1)] + x, squares[at(n - 1)] + x * x
        note_profile(now)
        say(now, lead)
        learn(min(floor(lead / TICK) + 2, RING / 2), p)
        local best, where = 1, context[k]
        for e = 1, EXPERTS do
            local known = factor(e, where, now, p, q)
            bound[e][k] = centre[e][k] + known.p * scale[e][k]
            best = loss[e] < loss[best] and e or best
        end
        local known = cached[best][where]
        return bound[best][k], centre[best][k] + known.q * scale[best][k], NAMES[best]
    end
end

return M
