-- What `tidegate history` and `tidegate events` print.
local C, ffi = require("ffi_room").load("base/buf.h", "base/json.h", "commands/screen.h", "commands/commands.h", "commands/plot.h")
local cjson = require "cjson"

local function printed(fill)
    local buf = ffi.new "struct buf[1]"
    C.buf_init(buf, 1024 * 1024)
    fill(buf)
    local out = ffi.string(C.buf_str(buf), buf[0].len)
    C.buf_free(buf)
    return out
end

local function json(value)
    local text = cjson.encode(value)
    return ffi.gc(C.json_parse(text, #text), C.json_free)
end

local function lines(text)
    local list = {}
    for line in text:gmatch "[^\n]+" do
        list[#list + 1] = line
    end
    return list
end

-- Dots of a Braille line from its first character on, as numbers.
local function dots(line)
    local list = {}
    for a, b in line:gmatch "\226([\160-\163])([\128-\191])" do
        list[#list + 1] = (a:byte() - 0xa0) * 64 + b:byte() - 0x80
    end
    return list
end

local function plot(values, width, height)
    return lines(printed(function(buf)
        C.plot_lines(buf, ffi.new("double[?]", #values, values), #values, width, height)
    end))
end

describe("a plot", function()
    it("rises from the lower left to the upper right", function()
        local rows = plot({ 0, 1, 2, 3, 4, 5, 6, 7 }, 14, 2)
        assert.equal(2, #rows)
        assert.is_truthy(rows[1]:find "^        7 ")
        assert.is_truthy(rows[2]:find "^        0 ")
        local upper, lower = dots(rows[1]), dots(rows[2])
        assert.equal(4, #upper)
        assert.equal(0, upper[1])
        assert.is_true(upper[4] > 0 and lower[1] > 0)
        assert.equal(0, lower[4])
    end)

    it("has a hole where nothing is known, and one line of what does not change", function()
        local rows = plot({ 5, 5, 0 / 0, 0 / 0, 5, 5 }, 13, 3)
        local all = {}
        for _, row in ipairs(rows) do
            for at, dot in ipairs(dots(row)) do
                all[at] = (all[at] or 0) + dot
            end
        end
        assert.is_true(all[1] > 0 and all[3] > 0)
        assert.equal(0, all[2])
    end)

    it("of nothing, or without room, does no harm", function()
        assert.same({}, plot({}, 80, 10))
        assert.equal(1, #plot({ 0 / 0, 1 / 0, 1 }, 1, 0))
        assert.equal(C.PLOT_HEIGHT, #plot({ 1, 2 }, 20, 1000))
    end)
end)

describe("what is shown of history", function()
    local answer = {
        service = "catalog", from_ms = 1700000000000, to_ms = 1700000060000, step_ms = 10000,
        series = { { instance = "", metric = "rate", points = { { 1700000000000, 1, 3, 2, 2.5, 5 },
            { 1700000050000, 10, 30, 20, 25, 5 } } } },
    }

    it("is a line a figure, a line a step, or a drawing", function()
        local value = json(answer)
        local series = C.json_first(C.json_get(value, "series"))
        local all = lines(printed(function(buf) C.commands_show_history(buf, value, 100, false) end))
        assert.is_truthy(all[2]:find "^%-%s+rate%s+2.5%s+1%s+2%s+3%s+5$")
        local steps = lines(printed(function(buf) C.commands_show_series(buf, series, 100, false) end))
        assert.equal(3, #steps)
        assert.is_truthy(steps[3]:find "^%d%d:%d%d:%d%d%s+10%s+20%s+30%s+25%s+5$")
        local drawn = lines(printed(function(buf) C.commands_show_plot(buf, value, series, 60) end))
        assert.equal(13, #drawn)
        assert.is_truthy(drawn[13]:find "^%s+%d%d:%d%d:%d%d%s+%d%d:%d%d:%d%d$")
    end)

    it("has events with control characters made harmless", function()
        local out = printed(function(buf)
            C.commands_show_events(buf, json { events = {
                { wall_ms = 1700000000000, kind = "operator", service = "catalog", subject = "", what = "scale\27[2J",
                    who = "uid 0 pid 7", detail = { instances = 2 }, bad = false },
                { wall_ms = 1700000000000, kind = "decision", service = "catalog", subject = "", what = "hold", who = "",
                    detail = { reason = "too early" }, bad = true },
            } }, 140, false)
        end)
        assert.is_nil(out:find "\27")
        assert.is_truthy(out:find('uid 0 pid 7  {"instances":2}', 1, true))
        assert.is_truthy(out:find("too early", 1, true))
        assert.equal("no events\n", printed(function(buf) C.commands_show_events(buf, json { events = {} }, 80, false) end))
    end)
end)
