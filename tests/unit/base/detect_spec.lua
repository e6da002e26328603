local C, ffi = require("ffi_room").load "base/detect.h"

-- A generator of our own: the same numbers on every machine.
local function random(seed)
    local state = seed * 7919 + 17
    local function uniform()
        state = (state * 1103515245 + 12345) % 2147483648
        return (state + 0.5) / 2147483648
    end
    local function normal()
        return math.sqrt(-2 * math.log(uniform())) * math.cos(2 * math.pi * uniform())
    end
    return uniform, normal
end

local function settings(given)
    local s = ffi.new "struct detect_settings"
    C.detect_defaults(s)
    for key, value in pairs(given or {}) do
        s[key] = value
    end
    return s
end

local function fresh()
    local d = ffi.new "struct detect"
    C.detect_init(d)
    return d
end

local START = 1700000000

-- Scores of values (a list), one every `step` seconds or at `times`; and the views.
local function scores(values, given)
    given = given or {}
    local d, s = given.state or fresh(), settings(given.settings)
    local out, views, view = {}, {}, ffi.new "enum detect_view[1]"
    for i, value in ipairs(values) do
        local at = given.times and given.times[i] or START + (i - 1) * (given.step or 300)
        out[i] = C.detect_push(d, s, at, value, view)
        views[i] = ffi.string(C.detect_view_name(view[0]))
    end
    return out, views, d
end

local function alarms(list, from, to)
    local found = {}
    for i = from or 1, to or #list do
        if list[i] >= 1 then
            found[#found + 1] = i
        end
    end
    return found
end

-- 3000 points every 5 min: a daily wave with noise, from point 2000 what `change(i, value)` makes of it.
local function wave(change, seed)
    local _, normal = random(seed or 1)
    local values = {}
    for i = 1, 3000 do
        values[i] = 100 + 40 * math.sin(i / 288 * 2 * math.pi) + 3 * normal()
        if change and i >= 2000 then
            values[i] = change(i, values[i])
        end
    end
    return values
end

describe("base/detect", function()
    it("is small", function()
        assert.is_true(ffi.sizeof "struct detect" <= 1024)
    end)

    local incidents = {
        spike = { function(i, v) return i < 2004 and v + 80 or v end, 4 },
        level = { function(i, v) return i < 2200 and v + 60 or v end, 12 },
        leak = { function(i, v) return v + (i - 2000) * 0.5 end, 200 },
        noise = { function(i, v) return v + (i % 2 * 2 - 1) * 40 end, 20 },
        stuck = { function(i, v) return i < 2200 and 100 or v end, 60 },
        zero = { function(i) return i < 2200 and 0 or 100 end, 12 },
    }
    for name, incident in pairs(incidents) do
        it("finds an incident: " .. name, function()
            local list = scores(wave(incident[1]))
            assert.is_true(#alarms(list, 2000, 1999 + incident[2]) >= 1)
        end)
    end

    it("says which view saw it", function()
        local change = function(i, v) return i < 2200 and 137.25 or v end
        local list, views = scores(wave(change), { settings = { views = 64 } })
        assert.equal("stuck", views[alarms(list, 2000)[1]])
    end)

    it("is quiet in a series that goes on as it was", function()
        local total = 0
        for seed = 1, 10 do
            total = total + #alarms(scores(wave(nil, seed)), 1000)
        end
        assert.is_true(total <= 10, total .. " alarms in 20,000 points")
    end)

    it("does not look ahead", function()
        local values = wave(incidents.level[1])
        local whole = scores(values)
        for _, count in ipairs { 150, 1999, 2003, 2500 } do
            local part = scores { unpack(values, 1, count) }
            for i = 1, count do
                assert.equal(whole[i], part[i])
            end
        end
    end)

    it("knows no units: a factor and an offset change no alarm", function()
        for name, incident in pairs(incidents) do
            local values = wave(incident[1], #name)
            local whole = scores(values)
            local want = alarms(whole)
            for _, change in ipairs { { 1024, 0 }, { 3.7e-9, 0 }, { -1, 0 }, { 1e12, 0 }, { 1, 1000 }, { 1, -1e6 },
                { 0.001, 55 }, { 1e250, 0 }, { 1e-250, 0 } } do
                local other = {}
                for i, value in ipairs(values) do
                    other[i] = value * change[1] + change[2]
                end
                local list = scores(other)
                assert.same(want, alarms(list), ("%s * %g + %g"):format(name, change[1], change[2]))
                for i = 1, change[1] == 1024 and #list or 0 do
                    assert.equal(whole[i], list[i])
                end
            end
        end
    end)

    it("tells the first change of a constant", function()
        local values = {}
        for i = 1, 1000 do
            values[i] = i < 900 and 0.1 or 0.2
        end
        assert.same({ 900 }, alarms((scores(values))))
    end)

    it("rests after an alarm, but not from something much bigger", function()
        local values = wave(function(i, v)
            return i == 2000 and v + 100 or i == 2020 and v + 101 or i == 2040 and v + 5000 or v
        end)
        assert.same({ 2000, 2040 }, alarms(scores(values), 1990, 2060))
        local short = scores(values, { settings = { rest_points = 0, rest_share = 0 } })
        assert.is_true(#alarms(short, 1990, 2060) >= 2)
    end)

    it("is silent while it warms up", function()
        local values = { 1, 2, 1, 2, 1, 1000, 1, 2 }
        assert.same({}, alarms((scores(values))))
        assert.same({ 6 }, alarms((scores(values, { settings = { warm_up = 3 } }))))
    end)

    it("counts only the directions and effects that were asked for", function()
        local up, down = wave(function(i, v) return i < 2050 and v + 80 or v end),
            wave(function(i, v) return i < 2050 and v - 160 or v end)
        local function found(values, given)
            return #alarms(scores(values, { settings = given }), 2000, 2004) > 0
        end
        assert.is_true(found(up, { directions = C.DETECT_UP, views = 31 }))
        assert.is_false(found(up, { directions = C.DETECT_DOWN, views = 31 }))
        assert.is_true(found(down, { directions = C.DETECT_DOWN, views = 31 }))
        assert.is_false(found(down, { directions = C.DETECT_UP, views = 31 }))
        assert.is_true(found(up, { least_effect = 50 }))
        assert.is_false(found(up, { least_effect = 500 }))
        assert.is_false(found(up, { strictness = 100 }))
    end)

    it("skips what is no number, and bears time that stands, jumps and goes back", function()
        local values = wave(incidents.level[1])
        local plain = scores(values)
        local holed, times, at = {}, {}, START
        for _, value in ipairs(values) do
            for _, bad in ipairs { 0 / 0, math.huge, -math.huge } do
                holed[#holed + 1], times[#times + 1] = bad, at
            end
            holed[#holed + 1], times[#times + 1] = value, at
            at = at + 300
        end
        local list = scores(holed, { times = times })
        for i, score in ipairs(plain) do
            assert.equal(score, list[i * 4])
            assert.equal(0, list[i * 4 - 1])
        end
        local uniform = random(9)
        for i = 1, #values do
            times[i] = START + (i - 1) * 300 + (uniform() < 0.1 and -7200 or uniform() < 0.1 and 864000 or 0)
        end
        for _, odd in ipairs { 0 / 0, -1, 1e300 } do
            assert.equal(0, C.detect_push(fresh(), settings(), odd, 1, nil))
        end
        for i, score in ipairs(scores(values, { times = times })) do
            assert.is_true(score >= 0 and score <= 2000, "score of point " .. i)
        end
    end)

    it("bears any finite value", function()
        local uniform = random(5)
        local values = {}
        for i = 1, 2000 do
            local kind = uniform()
            values[i] = kind < 0.1 and 1e308 or kind < 0.2 and -1e308 or kind < 0.3 and 5e-324 or kind < 0.4 and 0 or
                uniform()
        end
        local list, _, d = scores(values)
        for i, score in ipairs(list) do
            assert.is_true(score >= 0 and score <= 2000, "score of point " .. i)
        end
        for _, name in ipairs { "slow", "fast", "range", "variance", "log_usual", "season_fast" } do
            assert.is_true(math.abs(d[name]) < 1e300, name)
        end
    end)

    it("asks more of a series with more points a day", function()
        local function chances(step)
            local _, _, d = scores(wave(), { step = step })
            return d.chances
        end
        assert.equal(1, chances(3600))
        assert.equal(1, chances(300))
        assert.is_true(math.abs(chances(15) - (1 + 0.04 * math.log(20))) < 1e-9)
    end)

    it("goes on from its saved state as if nothing had been", function()
        local values = wave(incidents.spike[1])
        local whole = scores(values)
        local _, _, d = scores { unpack(values, 1, 1990) }
        local text, back = ffi.new("char[?]", C.DETECT_TEXT_BYTES), fresh()
        local len = C.detect_save(d, text)
        assert.equal(tonumber(len), #ffi.string(text))
        assert.equal(0, C.detect_restore(text, back))
        local s = settings()
        for i = 1991, 3000 do
            assert.equal(whole[i], C.detect_push(back, s, START + (i - 1) * 300, values[i], nil))
        end
    end)

    it("refuses a state that it did not save, and leaves the old one", function()
        local _, _, d = scores { 1, 2, 3 }
        local text = ffi.new("char[?]", C.DETECT_TEXT_BYTES)
        C.detect_save(d, text)
        local good = ffi.string(text)
        local into = fresh()
        into.count = 77
        for _, bad in ipairs { "", "record1:", good:sub(1, -2), good .. "A", (good:gsub("record1", "record0")),
            (good:gsub("A", "B", 1)), (good:gsub("A(.)$", "*%1")) } do
            if bad ~= good then
                assert.is_true(C.detect_restore(bad, into) < 0, bad)
            end
        end
        assert.equal(77, into.count)
    end)

    it("says what is usual", function()
        local _, _, d = scores(wave())
        assert.is_true(math.abs(C.detect_usual(d) - 100) < 20)
        local none = C.detect_usual(fresh())
        assert.is_true(none ~= none)
    end)
end)
