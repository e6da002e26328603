-- Stretches of time as people say them, in a time zone that changes its clocks.
local C, ffi = require("ffi_room").load("base/mem.h", "commands/range.h")

ffi.cdef [[
int setenv(const char *name, const char *value, int overwrite);
int unsetenv(const char *name);
void tzset(void);
]]

describe("commands/range", function()
    setup(function()
        ffi.C.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1)
        ffi.C.tzset()
    end)

    teardown(function()
        ffi.C.unsetenv "TZ"
        ffi.C.tzset()
    end)

    local NOW = 1769864700 -- 2026-01-31 14:05:00 of that zone, 13:05 UTC

    -- From and to in seconds before now; nil and why.
    local function read(from, to, now_s)
        local a, b, why = ffi.new "uint64_t[1]", ffi.new "uint64_t[1]", ffi.new "char *[1]"
        now_s = now_s or NOW
        if C.range_read(from, to, now_s * 1000ULL, a, b, why) ~= 0 then
            local text = ffi.string(why[0])
            C.mem_free(why[0])
            return nil, text
        end
        return { now_s - tonumber(a[0]) / 1000, now_s - tonumber(b[0]) / 1000 }
    end

    it("reads moments and stretches", function()
        local day, since_midnight = 86400, 14 * 3600 + 300
        for said, want in pairs {
            ["1h"] = { 3600, 0 }, ["1h30m"] = { 5400, 0 }, ["2h..1h"] = { 7200, 3600 }, ["today"] = { since_midnight, 0 },
            ["yesterday"] = { since_midnight + day, since_midnight }, ["yesterday..now"] = { since_midnight + day, 0 },
            ["14:00"] = { 300, 0 }, ["13:59:30..14:04"] = { 330, 60 }, ["2026-01-31"] = { since_midnight, 0 },
            ["2026-01-29"] = { since_midnight + 2 * day, since_midnight + day },
            ["2026-01-29..2026-01-31"] = { since_midnight + 2 * day, since_midnight },
            ["2026-01-30 14:05"] = { day, 0 }, ["2026-01-30T14:05:10"] = { day - 10, 0 },
            ["2026-01-31T12:05:00Z"] = { 3600, 0 }, ["2026-01-31T12:05:00Z..2026-01-31T12:35Z"] = { 3600, 1800 },
        } do
            assert.same(want, read(said), said)
        end
        assert.same({ 7200, 3600 }, read("2h", "1h"))
        assert.same({ since_midnight + day, since_midnight }, read("yesterday", "today"))
        assert.same({ 3600, 0 }, read("1h", "15:00")) -- what is to come is not known
    end)

    it("knows days that are shorter and longer", function()
        local noon = 1774778400 -- 2026-03-29 12:00 CEST: this morning the clocks went forward
        assert.same({ 11 * 3600, 0 }, read("today", nil, noon))
        assert.same({ 35 * 3600, 11 * 3600 }, read("yesterday", nil, noon))
        assert.same({ 34 * 3600 + 86400, 34 * 3600 + 86400 - 23 * 3600 }, read("2026-03-29", nil, noon + 86400 + 23 * 3600))
    end)

    it("says what is no time", function()
        for said, want in pairs {
            ["noon"] = '"noon" is no time: write 6h', [""] = '"" is no time', ["25:00"] = '"25:00" is no time',
            ["2026-02-31"] = '"2026%-02%-31" is no time', ["2026-1-1"] = '"2026%-1%-1" is no time',
            ["2026-01-31x"] = "is no time", ["2026-01-31T10"] = "is no time", ["10:00..x"] = '"x" is no time',
            ["10:0"] = "is no time", ["2026-01-31T10:00Zx"] = "is no time", ["10:00.."] = '"" is no time',
            ["1h..2h"] = "there is no time between 01%-31 13:05 and 01%-31 12:05: give the earlier one first",
            ["now"] = "there is no time between", ["15:00"] = "there is no time between",
        } do
            local _, why = read(said)
            assert.matches(want, why or "nothing", said)
        end
    end)

    it("tells local time", function()
        local text = ffi.new "char[32]"
        C.range_text(NOW * 1000ULL, text)
        assert.equal("01-31 14:05", ffi.string(text))
        assert.equal(NOW + 3600, tonumber(C.range_local_s(NOW * 1000ULL)))
    end)
end)
