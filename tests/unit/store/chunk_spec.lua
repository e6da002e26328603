-- Chunks: what goes in comes out, in few bytes, and no bytes of anyone crash the reader.
local C, ffi = require("ffi_room").load("base/buf.h", "base/mem.h", "store/store.h", "store/chunk.h")

local START = 1700000000000

-- A generator of its own, so that a failure can be seen again.
local function random(seed)
    local state = seed
    return function()
        state = state * 16807 % 2147483647
        return state / 2147483647
    end
end

local function samples_of(count, value, time)
    local samples = ffi.new("struct chunk_sample[?]", count)
    for i = 0, count - 1 do
        samples[i].at_ms = time and time(i) or START + 15000 * i
        samples[i].value = C.chunk_round(value(i))
    end
    return samples
end

local function written(samples, count)
    local buf = ffi.new "struct buf"
    C.buf_init(buf, 1048576)
    assert.equal(0, C.chunk_write(buf, samples, count))
    local bytes = ffi.string(buf.data, buf.len)
    C.buf_free(buf)
    return bytes
end

local function read(bytes)
    local samples, count = ffi.new "struct chunk_sample *[1]", ffi.new "size_t[1]"
    local rc = C.chunk_read(bytes, #bytes, samples, count)
    if rc ~= 0 then
        return nil, rc
    end
    return ffi.gc(samples[0], C.mem_free), tonumber(count[0])
end

local function survives(samples, count)
    local bytes = written(samples, count)
    local back, got = read(bytes)
    assert.equal(count, got)
    for i = 0, count - 1 do
        assert.equal(samples[i].at_ms, back[i].at_ms)
        assert.equal(samples[i].value, back[i].value)
    end
    return #bytes / count
end

describe("a chunk", function()
    local cases = {
        constant = function() return 42 end,
        zero = function() return 0 end,
        counter = function(i) return 1e9 + 137 * i end,
        percent = function(_, r) return r() * 100 end,
        tiny = function(_, r) return r() * 1e-5 end,
        ["far too small for digits"] = function(_, r) return r() * 1e-300 end,
        ["bytes up and down"] = function(_, r) return math.floor(r() * 2 ^ 40) end,
        ["beyond whole numbers"] = function(_, r) return r() * 2 ^ 80 end,
        mixed = function(i, r) return i % 7 == 0 and 1e15 + i or r() end,
        negative = function(i, r) return (r() - 0.5) * i end,
    }
    for name, value in pairs(cases) do
        for _, count in ipairs { 1, 2, 3, 120, 1000 } do
            it(("of %d values: %s"):format(count, name), function()
                local r = random(count)
                survives(samples_of(count, function(i)
                    return value(i, r)
                end), count)
            end)
        end
    end

    it("keeps times with any distance between them", function()
        local r, at = random(5), START
        survives(samples_of(500, r, function()
            at = at + 1 + math.floor(r() ^ 8 * 1e9)
            return at
        end), 500)
    end)

    it("takes few bytes for what is seen in practice", function()
        local r = random(3)
        local jitter = function(i) return START + 15000 * i + math.floor(r() * 4) end
        assert.is_true(survives(samples_of(120, function() return 3 end, jitter), 120) < 0.8)
        assert.is_true(survives(samples_of(120, function(i) return 70 * i + math.floor(r() * 9) end, jitter), 120) < 1.6)
        assert.is_true(survives(samples_of(120, function() return 20 + r() * 30 end, jitter), 120) < 4)
    end)

    it("rounds to six digits and keeps whole numbers", function()
        assert.equal(9007199254740991, C.chunk_round(9007199254740991))
        assert.equal(12.3457, C.chunk_round(12.34567891))
        assert.equal(-0.000123457, C.chunk_round(-0.00012345678))
        assert.equal(0.333333, C.chunk_round(1 / 3))
        assert.equal(123457, C.chunk_round(123456.7))
        assert.equal(12.34, C.chunk_round(12.34))
        assert.equal("0", ("%g"):format(C.chunk_round(-0.0)))
    end)

    it("refuses what is cut off or changed, without reading beyond it", function()
        local r = random(9)
        local bytes = written(samples_of(120, function() return r() * 100 end), 120)
        for len = 0, #bytes - 2 do
            assert.is_nil((read(bytes:sub(1, len))))
        end
        for round = 1, 3000 do
            local at = 1 + math.floor(r() * #bytes)
            local changed = bytes:sub(1, at - 1) .. string.char(math.floor(r() * 256)) .. bytes:sub(at + 1)
            -- Either way; under AddressSanitizer nothing may be read or written out of place.
            local back, count = read(changed)
            assert.is_true(back == nil or count >= 1, "round " .. round)
        end
    end)
end)

describe("roll-ups", function()
    local function minutes(samples, count)
        local points = ffi.new("struct store_point[?]", count)
        return points, tonumber(C.chunk_minutes(samples, count, points))
    end

    it("are least, most, mean, last and count of each minute", function()
        local values = { 5, 1, 9, 3, 7, 7 }
        local samples = samples_of(6, function(i) return values[i + 1] end, function(i)
            return START - START % 60000 + 20000 * i
        end)
        local points, made = minutes(samples, 6)
        assert.equal(2, made)
        local p = points[0]
        assert.same({ 1, 9, 5, 9, 3 }, { p.min, p.max, p.mean, p.last, tonumber(p.count) })
        assert.equal(60000, tonumber(points[1].at_ms - p.at_ms))
        assert.same({ 3, 7, 7 }, { points[1].min, points[1].max, points[1].last })
    end)

    it("of counters are exact but for the mean", function()
        local samples = samples_of(120, function(i) return 9e9 + 13 * i * i end)
        local points, made = minutes(samples, 120)
        local buf = ffi.new "struct buf"
        C.buf_init(buf, 1048576)
        assert.equal(0, C.chunk_write_minutes(buf, points, made))
        local back, count = ffi.new "struct store_point *[1]", ffi.new "size_t[1]"
        assert.equal(0, C.chunk_read_minutes(buf.data, buf.len, back, count))
        for i = 0, made - 1 do
            assert.same({ points[i].min, points[i].max, points[i].last }, { back[0][i].min, back[0][i].max, back[0][i].last })
        end
        C.mem_free(back[0])
        C.buf_free(buf)
    end)

    it("come back as they were, mean and last as one of 256 places between least and most", function()
        local r = random(11)
        local samples = samples_of(120, function() return r() * 100 end)
        local points, made = minutes(samples, 120)
        local buf = ffi.new "struct buf"
        C.buf_init(buf, 1048576)
        assert.equal(0, C.chunk_write_minutes(buf, points, made))
        local back, count = ffi.new "struct store_point *[1]", ffi.new "size_t[1]"
        assert.equal(0, C.chunk_read_minutes(buf.data, buf.len, back, count))
        assert.equal(made, tonumber(count[0]))
        for i = 0, made - 1 do
            local a, b = points[i], back[0][i]
            assert.same({ a.min, tonumber(a.count), tonumber(a.at_ms) }, { b.min, tonumber(b.count), tonumber(b.at_ms) })
            assert.is_true(math.abs(a.max - b.max) <= a.max * 1e-5)
            assert.is_true(math.abs(a.mean - b.mean) <= (a.max - a.min) / 500)
            assert.is_true(math.abs(a.last - b.last) <= (a.max - a.min) / 500)
        end
        for len = 0, tonumber(buf.len) - 2 do
            assert.equal(-74, C.chunk_read_minutes(buf.data, len, back, count))
        end
        C.buf_free(buf)
    end)
end)
