local C, ffi = require("ffi_room").load("base/zone.h", "base/cron.h", "base/civil.h")

local FOLDER = "/usr/share/zoneinfo/"

local function zone(name)
    local z = ffi.new "struct zone[1]"
    return C.zone_load(name, z), z
end

local function there(name)
    local file = io.open(FOLDER .. name, "rb")
    return file and file:close()
end

-- Seconds since 1970 of "2026-03-29 01:00" in UTC.
local function utc(text)
    local year, month, day, hour, minute = text:match "^(%d+)-(%d+)-(%d+) (%d+):(%d+)$"
    return tonumber(C.civil_days(tonumber(year), tonumber(month), tonumber(day))) * 86400 + hour * 3600 + minute * 60
end

local function text_of(at)
    local days = math.floor(at / 86400)
    local date = ffi.new "int[3]"
    C.civil_date(days, date, date + 1, date + 2)
    local s = at - days * 86400
    return ("%04d-%02d-%02d %02d:%02d"):format(date[0], date[1], date[2], math.floor(s / 3600), math.floor(s % 3600 / 60))
end

local function parse(text)
    local c, why = ffi.new "struct cron[1]", ffi.new("char[?]", C.CRON_WHY_BYTES)
    if C.cron_parse(text, c, why) < 0 then
        return nil, ffi.string(why)
    end
    return c
end

-- All moments in (from, until], the latest first, in UTC.
local function moments(cron, name, from, till)
    local c, at, ret = assert(parse(cron)), utc(till), ffi.new "int64_t[1]"
    local code, z = zone(name)
    assert(code == 0, name)
    local list = {}
    while C.cron_last(c, z, utc(from), at, ret) do
        at = tonumber(ret[0]) - 1
        list[#list + 1] = text_of(at + 1)
    end
    return list
end

describe("base/civil", function()
    it("counts days as the calendar does, there and back", function()
        for text, days in pairs { ["1970-01-01"] = 0, ["2000-02-29"] = 11016, ["2026-11-22"] = 20779, ["1969-12-31"] = -1 } do
            local y, m, d = text:match "(%d+)-(%d+)-(%d+)"
            assert.equal(days, tonumber(C.civil_days(tonumber(y), tonumber(m), tonumber(d))))
        end
        for days = -800000, 800000, 997 do
            local date = ffi.new "int[3]"
            C.civil_date(days, date, date + 1, date + 2)
            assert.equal(days, tonumber(C.civil_days(date[0], date[1], date[2])))
        end
        assert.equal(4, C.civil_weekday(0))
        assert.equal(0, C.civil_weekday(20779))
        assert.equal(3, C.civil_weekday(-1))
    end)
end)

describe("base/zone", function()
    it("knows UTC without a database, and refuses what is no zone", function()
        local code, z = zone "UTC"
        assert.same({ 0, 0, -1 }, { code, C.zone_offset(z, 1790000000), C.zone_change(z, 1790000000) })
        for _, name in ipairs { "", "Europe/Berlni", "../etc/passwd", "/etc/passwd", "Europe/", "Europe", "a//b", ("x"):rep(80),
            "zone.tab" } do
            assert.is_true(zone(name) < 0, name)
        end
    end)

    for _, name in ipairs { "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kolkata",
        "Europe/Dublin", "Africa/Casablanca", "Pacific/Apia", "America/Godthab" } do
        it("agrees with the system about " .. name, function()
            if not there(name) then
                return pending("no time zone database")
            end
            local code, z = zone(name)
            assert.equal(0, code)
            local instants = {}
            for year = 1970, 2060, 5 do
                for month = 1, 12 do
                    instants[#instants + 1] = utc(("%d-%02d-17 11:30"):format(year, month))
                end
            end
            local pipe = io.popen(("for t in %s; do TZ=%s date -d @$t +%%z; done"):format(table.concat(instants, " "), name))
            for _, at in ipairs(instants) do
                local sign, hours, minutes = pipe:read("*l"):match "([+-])(%d%d)(%d%d)"
                local offset = (sign == "-" and -1 or 1) * (hours * 3600 + minutes * 60)
                assert.equal(offset, C.zone_offset(z, at), text_of(at))
            end
            pipe:close()
        end)
    end

    it("reads files of both versions, and what they say by rule", function()
        local function u32(n)
            n = n % 2 ^ 32
            return string.char(math.floor(n / 2 ^ 24) % 256, math.floor(n / 2 ^ 16) % 256, math.floor(n / 256) % 256, n % 256)
        end
        local function u64(n)
            return (n < 0 and ("\255"):rep(4) or ("\0"):rep(4)) .. u32(n)
        end
        local function body(times, wide)
            local text, kinds = {}, {}
            for i, at in ipairs(times) do
                text[i], kinds[i] = wide and u64(at) or u32(at), string.char(i % 2)
            end
            return table.concat(text) .. table.concat(kinds) .. u32(3600) .. "\0\0" .. u32(7200) .. "\1\0" .. "CET\0"
        end
        local function header(version, count)
            return "TZif" .. version .. ("\0"):rep(15) .. u32(0) .. u32(0) .. u32(0) .. u32(count) .. u32(2) .. u32(4)
        end
        local times = { 1000000, 20000000 }
        local one = header("\0", 2) .. body(times)
        local two = header("2", 0) .. body {} .. header("2", 2) .. body(times, true) .. "\nCET-1CEST,M3.5.0,M10.5.0/3\n"
        local z = ffi.new "struct zone[1]"
        assert.equal(0, C.zone_parse(one, #one, z))
        assert.same({ 3600, 7200, 3600 }, { C.zone_offset(z, 0), C.zone_offset(z, 1000000), C.zone_offset(z, 2 ^ 31) })
        assert.equal(0, C.zone_parse(two, #two, z))
        assert.same({ 3600, 7200, 3600, 7200, 3600 }, { C.zone_offset(z, -5), C.zone_offset(z, 1000000),
            C.zone_offset(z, 20000000), C.zone_offset(z, utc "2055-07-01 00:00"), C.zone_offset(z, utc "2055-12-01 00:00") })
        for cut = 0, #two - 1 do
            assert.is_true(C.zone_parse(two:sub(1, cut), cut, z) < 0, cut)
        end
        local early = header("2", 0) .. body {} .. header("2", 1) .. "\255" .. ("\0"):rep(7) .. "\1" .. body({}, true)
            .. "\nCET-1CEST,M3.5.0,M10.5.0/3\n" -- a change before there was a world
        assert.equal(0, C.zone_parse(early, #early, z))
        assert.same({ 7200, 3600 }, { C.zone_offset(z, utc "2026-07-01 00:00"), C.zone_offset(z, utc "2026-12-01 00:00") })
        local late = header("2", 0) .. body {} .. header("2", 1) .. "\127" .. ("\255"):rep(7) .. "\1" .. body({}, true)
            .. "\nCET-1\n" -- a change behind which there is no second
        assert.equal(0, C.zone_parse(late, #late, z))
        assert.equal(3600, C.zone_offset(z, utc "2026-07-01 00:00"))
        for _, rule in ipairs { "CET", "CET-999", "CET-99", "CET-1CEST,M13.1.0,M10.5.0", "CET-1CEST,M3.5.0",
            "CET-1CEST,x", "C-1", "CET-99CEST,M3.5.0,M10.5.0" } do
            local text = two:gsub("CET%-1CEST.*", rule:gsub("%%", "%%%%") .. "\n")
            assert.is_true(C.zone_parse(text, #text, z) < 0, rule)
        end
    end)
end)

describe("base/cron", function()
    it("reads fields, and says which is wrong", function()
        for _, good in ipairs { "* * * * *", "0 8 * * 1-5", "*/15 0,12 1-31/2 JAN-mar sun", "59 23 31 12 7", "0 0 29 2 *",
            "0 0 31 */2 *", "0 8 31 2 1", " 0\t8 * * *  " } do
            assert.truthy(parse(good), good)
        end
        local star = "such as 0, 0-59, or a star"
        for bad, why in pairs {
            ["60 * * * *"] = '"60" is no minute: 0 to 59, ' .. star, ["x * * * *"] = '"x" is no minute: 0 to 59, ' .. star,
            ["* 24 * * *"] = '"24" is no hour: 0 to 23, ', ["* * 0 * *"] = '"0" is no day of the month: 1 to 31, ',
            ["* * * feb-jan *"] = '"feb-jan" is no month: 1 to 12, ', ["* * * * 8"] = '"8" is no day of the week: 0 to 7, ',
            ["*/0 * * * *"] = '"*/0" is no minute', ["1, * * * *"] = '"1," is no minute', ["-1 * * * *"] = '"-1" is no minute',
            ["* * * *"] = "has 4 fields: minute, hour, ", ["* * * * * *"] = "has 6 fields", [""] = "has 0 fields",
            ["0 8 31 2 *"] = "never comes: no month that it names has such a day", ["0 8 30-31 feb *"] = "never comes",
            ["0 8 31 4,6,9,11 *"] = "never comes", ["0 8 31 2 */2"] = "never comes",
            [("9"):rep(300) .. " * * * *"] = "99999999999999999999\" is no minute",
        } do
            local c, sentence = parse(bad)
            assert.is_nil(c)
            assert.truthy(sentence:find(why, 1, true), bad .. ": " .. sentence)
        end
    end)

    it("finds the last moment, the bound itself counting", function()
        assert.same({ "2026-11-23 08:00", "2026-11-20 08:00", "2026-11-19 08:00" },
            moments("0 8 * * 1-5", "UTC", "2026-11-18 08:00", "2026-11-23 08:00"))
        assert.same({}, moments("0 8 * * 1-5", "UTC", "2026-11-20 08:00", "2026-11-23 07:59"))
        assert.same({ "2026-01-01 00:00", "2025-12-31 23:45" },
            moments("*/15 * * * *", "UTC", "2025-12-31 23:30", "2026-01-01 00:14"))
        assert.same({ "2028-02-29 00:00", "2024-02-29 00:00" }, moments("0 0 29 2 *", "UTC", "2021-01-01 00:00", "2030-01-01 00:00"))
    end)

    it("takes days of the month or of the week when both are given", function()
        assert.same({ "2026-11-16 00:00", "2026-11-13 00:00", "2026-11-09 00:00" },
            moments("0 0 13 * mon", "UTC", "2026-11-03 00:00", "2026-11-20 00:00"))
    end)

    it("takes 0 and 7 for Sunday", function()
        assert.same({ "2026-11-22 12:00" }, moments("0 12 * * 7", "UTC", "2026-11-16 00:00", "2026-11-23 00:00"))
        assert.same({ "2026-11-22 12:00" }, moments("0 12 * * 0", "UTC", "2026-11-16 00:00", "2026-11-23 00:00"))
    end)

    describe("where clocks change", function()
        local function berlin(cron, from, till)
            if not there "Europe/Berlin" then
                return pending("no time zone database")
            end
            return moments(cron, "Europe/Berlin", from, till)
        end

        it("keeps the hour on the wall, in both directions", function()
            assert.same({ "2026-03-30 06:00", "2026-03-29 06:00", "2026-03-28 07:00" },
                berlin("0 8 * * *", "2026-03-27 12:00", "2026-03-30 12:00"))
            assert.same({ "2026-10-26 07:00", "2026-10-25 07:00", "2026-10-24 06:00" },
                berlin("0 8 * * *", "2026-10-23 12:00", "2026-10-26 12:00"))
        end)

        it("has what the spring leaves out when the clock is put forward", function()
            -- 2026-03-29: 2:00 becomes 3:00, at 1:00 UTC.
            assert.same({ "2026-03-30 00:30", "2026-03-29 01:00", "2026-03-28 01:30" },
                berlin("30 2 * * *", "2026-03-28 00:00", "2026-03-30 12:00"))
            assert.same({ "2026-03-29 01:00" }, berlin("0 3 * * *", "2026-03-29 00:00", "2026-03-29 12:00"))
            assert.same({ "2026-03-29 01:00" }, berlin("*/20 2 * * *", "2026-03-29 00:00", "2026-03-29 12:00"))
        end)

        it("has what the autumn repeats once, the first time", function()
            -- 2026-10-25: 3:00 becomes 2:00, at 1:00 UTC.
            assert.same({ "2026-10-26 01:30", "2026-10-25 00:30", "2026-10-24 00:30" },
                berlin("30 2 * * *", "2026-10-24 00:00", "2026-10-26 12:00"))
            assert.same({ "2026-10-25 02:00" }, berlin("0 3 * * *", "2026-10-25 00:00", "2026-10-25 12:00"))
        end)

        it("goes on through both hours with a star for the hour", function()
            assert.same({ "2026-10-25 02:00", "2026-10-25 01:30", "2026-10-25 01:00", "2026-10-25 00:30" },
                berlin("*/30 * * * *", "2026-10-25 00:00", "2026-10-25 02:00"))
            assert.same({ "2026-03-29 01:30", "2026-03-29 01:00", "2026-03-29 00:30" },
                berlin("*/30 * * * *", "2026-03-29 00:00", "2026-03-29 01:30"))
        end)
    end)
end)
