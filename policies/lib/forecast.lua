-- forecast.lua: how much may come until an instance started now is ready: several experts, each with a record
-- of how wrong it was. forecast.new(memory) returns look(now, rate, lead, p, q), to be called about every
-- five seconds, which answers the p- and the q-quantile of the most that comes within `lead` seconds, and the
-- expert's name. What it learns it keeps in `memory`, a table of the policy's state, or nil.
--
-- An expert says a centre and a scale. When the lead has passed, (what came - centre) / scale goes into its
-- histogram for the trend that there was, which forgets half in three days. The expert whose p-quantiles were
-- nearest of late (by pinball loss, in requests: a miss at noon counts more than one at night) is believed.
local floor, max, min, sqrt = math.floor, math.max, math.min, math.sqrt

local demand = require "lib.demand"

local M = {}

local TICK = 5
local RING = 256                 -- of ticks: more than the longest lead, and the five minutes summed up
local LONGEST = RING - 6         -- lead in ticks
local BIN, LOW, BINS = 0.02, -1, 250
local GROWTH = 2 ^ (TICK / (3 * 86400))
local LOSS_WEIGHT = 1 - 0.5 ^ (TICK / 86400)
local ENOUGH = 120               -- answers until a histogram is believed more than the prior
local PRIOR = 0.3
local SLOTS = 288                -- of a day: five minutes each
local LEAST = 1e-6               -- scale
local UNIT, FADE = 1000, 1e12    -- weight of the first answer, and when weights begin anew; bins are whole
local NAMES = { "mean of 15 s", "mean of 60 s", "most of 2 min", "most of 5 min", "most of 10 min", "spread",
    "time of day", "line" }
local EXPERTS, SPREAD = #NAMES, 6
local CONTEXTS = 4

-- By the mean of 15 s as a part of that of 5 min.
local function context_of(ratio)
    return ratio < 0.93 and 1 or ratio < 1.10 and 2 or ratio < 1.4 and 3 or 4
end

-- u below which the parts p and q (the larger one) of all were; from above, since both are near one.
local function quantiles(bins, mass, p, q)
    local rest, seen, upper = mass * (1 - q), 0, nil
    for i = BINS, 1, -1 do
        seen = seen + bins[i]
        if not upper and seen > rest then
            upper = LOW + BIN * (i - 1 + (seen - rest) / bins[i])
            rest = mass * (1 - p)
        end
        if upper and seen > rest then
            return LOW + BIN * (i - 1 + (seen - rest) / bins[i]), upper
        end
    end
    return LOW, upper or LOW
end

-- What is kept: the last rates and what is known of the experts. Bins of a context share weight and mass:
-- newer answers weigh more, instead of fading the older ones each time.
local function recall(memory)
    local kept = memory or {}
    if not kept.weight then
        kept.weight, kept.mass, kept.bins, kept.loss, kept.rate, kept.profile = {}, {}, {}, {}, {}, {}
        kept.n = 0
    end
    for c = 1, CONTEXTS do
        kept.weight[c], kept.mass[c] = kept.weight[c] or UNIT, kept.mass[c] or 0
    end
    for e = 1, EXPERTS do
        kept.loss[e] = kept.loss[e] or 0
        kept.bins[e] = kept.bins[e] or {}
        for c = 1, CONTEXTS do
            local bins = kept.bins[e][c] or {}
            for i = #bins + 1, BINS do
                bins[i] = 0
            end
            kept.bins[e][c] = bins
        end
    end
    return kept
end

function M.new(memory)
    local kept = recall(memory)
    local rate, loss, profile = kept.rate, kept.loss, kept.profile
    -- Rings by tick: sums and squares of rates up to it, the mean of two, what was said, in which context,
    -- and which p-quantiles (of each expert) were believed then.
    local sums, squares, pair, context, spread, quantile = {}, {}, {}, {}, {}, {}
    local centre = {}
    local believed = {} -- of a context: { at, p = { of each expert }, q = { } }
    local n = kept.n
    local two = demand.most(120, demand.part(kept, "two"))
    local five = demand.most(300, demand.part(kept, "five"))
    local ten = demand.most(600, demand.part(kept, "ten"))
    for e = 1, EXPERTS do
        centre[e] = {}
    end
    centre[SPREAD] = centre[2]
    for c = 1, CONTEXTS do
        believed[c] = { at = -math.huge }
    end

    local function at(k)
        return k % RING + 1
    end

    local function note(k, x)
        local i, before = at(k), at(k - 1)
        sums[i], squares[i] = sums[before] + x, squares[before] + x * x
        pair[i] = ((rate[before] or x) + x) / 2
    end

    local begun = n - min(n, RING - 1)
    sums[at(begun)], squares[at(begun)] = 0, 0
    for k = begun + 1, n do
        note(k, rate[at(k)])
    end

    local function mean(ticks)
        local from = n > ticks and n - ticks or 0
        return (sums[n % RING + 1] - sums[from % RING + 1]) / (n - from)
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

    local function note_profile(now, x)
        local slot = floor(now / 300) % SLOTS
        local known = profile[slot]
        profile[slot] = known and known + (x - known) * 0.01 or x
    end

    local function say(now, k, lead)
        local m15, m60, m300, last = mean(3), mean(12), mean(60), pair[k]
        centre[1][k], centre[2][k] = m15, m60
        centre[3][k], centre[4][k], centre[5][k] = two(now, last), five(now, last), ten(now, last)
        centre[7][k] = usual(now, lead, m60)
        -- The middles of the two means are 22.5 s apart; the lead, two ticks and 7.5 s lie ahead of the last.
        centre[8][k] = m15 > m60 and m15 + (m15 - m60) / 22.5 * (lead + 17.5) or m15
        local from = n > 60 and n - 60 or 0
        local square = (squares[k] - squares[from % RING + 1]) / (n - from)
        spread[k] = sqrt(max(square - m300 * m300, 0)) + 0.03 * m60
        context[k] = context_of(m15 / max(m300, LEAST))
    end

    local function scale_of(e, k)
        local scale = e == SPREAD and spread[k] or centre[e][k]
        return scale > LEAST and scale or LEAST
    end

    local function fade(c)
        local part, mass = UNIT / kept.weight[c], 0
        for e = 1, EXPERTS do
            local bins = kept.bins[e][c]
            mass = 0
            for i = 1, BINS do
                bins[i] = floor(bins[i] * part + 0.5)
                mass = mass + bins[i]
            end
        end
        kept.mass[c], kept.weight[c] = mass, UNIT
    end

    -- What came of what was said `ticks` ago.
    local function learn(ticks, p)
        local k = (n - ticks) % RING + 1
        local c = n > ticks and context[k]
        if not c then
            return
        end
        local came = 0
        for i = n - ticks + 1, n do
            local x = pair[i % RING + 1]
            came = x > came and x or came
        end
        local weight, bins, believed_then = kept.weight[c] * GROWTH, kept.bins, quantile[k]
        local whole = floor(weight + 0.5)
        kept.weight[c], kept.mass[c] = weight, kept.mass[c] + whole
        for e = 1, EXPERTS do
            local scale = scale_of(e, k)
            local u = (came - centre[e][k]) / scale
            local i = floor((u - LOW) / BIN) + 1
            local mine = bins[e][c]
            i = i < 1 and 1 or i > BINS and BINS or i
            mine[i] = mine[i] + whole
            local missed = (u - believed_then[e]) * scale
            local pinball = missed > 0 and p * missed or (p - 1) * missed
            loss[e] = loss[e] + (pinball - loss[e]) * LOSS_WEIGHT
        end
        if weight > FADE then
            fade(c)
        end
    end

    -- Quantiles of a histogram change slowly: looked up anew after a minute.
    local function believe(c, now, p, q)
        local known, mass = believed[c], kept.mass[c] / kept.weight[c]
        local share = min(mass / ENOUGH, 1)
        known.at, known.p, known.q = now, {}, {} -- anew: `quantile` has those before
        for e = 1, EXPERTS do
            local lower, upper = PRIOR, PRIOR
            if mass >= 1 then
                lower, upper = quantiles(kept.bins[e][c], kept.mass[c], p, q)
            end
            known.p[e] = share * lower + (1 - share) * PRIOR
            known.q[e] = share * upper + (1 - share) * PRIOR
        end
    end

    return function(now, x, lead, p, q)
        n = n + 1
        kept.n = n
        local k = at(n)
        rate[k] = x
        note(n, x)
        note_profile(now, x)
        say(now, k, lead)
        learn(min(floor(lead / TICK) + 2, LONGEST), p)
        local best, known = 1, believed[context[k]]
        if now - known.at >= 60 or now < known.at then
            believe(context[k], now, p, q)
        end
        quantile[k] = known.p
        for e = 2, EXPERTS do
            best = loss[e] < loss[best] and e or best
        end
        local middle, scale = centre[best][k], scale_of(best, k)
        return middle + known.p[best] * scale, middle + known.q[best] * scale, NAMES[best]
    end
end

return M
