-- How often something is let through, over all workers.
local C, ffi = require("ffi_room").load("board/board.h", "board/rate.h")

ffi.cdef [[
uint64_t rate_storm(struct board *b, unsigned processes, double rate, uint32_t burst, unsigned ms,
                    uint64_t *ret_asked);
]]

local SECOND = 1000000
local NOW = 5000 * SECOND

describe("board/rate", function()
    local b

    before_each(function()
        local out = ffi.new "struct board *[1]"
        assert.equal(0, C.board_new(4, out))
        b = ffi.gc(out[0], C.board_free)
    end)

    local function limit(rate, period_ms, burst)
        return ffi.new("struct board_rate[1]", { C.board_rate_limit(rate, period_ms, burst) })
    end

    local function key(value, of)
        return C.board_rate_key(b, of or 1, value, #value)
    end

    local function take(rate, k, now, look)
        return C.board_rate_take(b, rate, k, now, look or false)
    end

    -- How many of n at that moment are let through.
    local function through(rate, k, n, now)
        local count = 0
        for _ = 1, n do
            count = count + (take(rate, k, now).allowed and 1 or 0)
        end
        return count
    end

    it("lets a burst through and then the rate", function()
        local r, k = limit(10, 1000, 5), key "a"
        assert.equal(5, through(r, k, 20, NOW))
        assert.equal(0, through(r, k, 3, NOW + 99000))
        assert.equal(1, through(r, k, 3, NOW + 100000))
        assert.equal(3, through(r, k, 20, NOW + 400000))
        assert.equal(5, through(r, k, 20, NOW + 60 * SECOND)) -- never more than the burst
    end)

    it("says what is left, when to come again, and when all is there again", function()
        local r, k = limit(2, 1000, 3), key "a"
        local one = take(r, k, NOW)
        assert.same({ true, 2, 0, 500000 },
            { one.allowed, one.remaining, tonumber(one.retry_us), tonumber(one.reset_us) })
        through(r, k, 2, NOW)
        local none = take(r, k, NOW + 100000)
        assert.same({ false, 0, 400000, 1400000 },
            { none.allowed, none.remaining, tonumber(none.retry_us), tonumber(none.reset_us) })
        local fresh = take(r, key "b", NOW, true)
        assert.same({ true, 3, 0, 0 },
            { fresh.allowed, fresh.remaining, tonumber(fresh.retry_us), tonumber(fresh.reset_us) })
    end)

    it("counts nothing when it is only looked at", function()
        local r, k = limit(1, 1000, 1), key "a"
        for _ = 1, 10 do
            assert.is_true(take(r, k, NOW, true).allowed)
        end
        assert.equal(1, through(r, k, 5, NOW))
        assert.is_false(take(r, k, NOW, true).allowed)
    end)

    it("tells keys, limits and boards apart", function()
        local r = limit(1, 1000, 1)
        assert.equal(1, through(r, key "a", 5, NOW))
        assert.equal(1, through(r, key "b", 5, NOW))
        assert.equal(1, through(r, key("a", 2), 5, NOW))
        assert.is_true(key "a" == key "a")
        local out = ffi.new "struct board *[1]"
        assert.equal(0, C.board_new(1, out))
        assert.is_false(key "a" == C.board_rate_key(out[0], 1, "a", 1))
        C.board_free(out[0])
    end)

    it("is exact for very slow and very fast limits", function()
        local slow, k = limit(3, 86400000, 2), key "slow"
        assert.equal(2, through(slow, k, 9, NOW))
        assert.equal(0, through(slow, k, 9, NOW + 28799 * SECOND))
        assert.equal(1, through(slow, k, 9, NOW + 28801 * SECOND))
        local fast, f, count = limit(100000, 1000, 100), key "fast", 0
        for us = 0, SECOND - 1, 5 do
            count = count + (take(fast, f, NOW + us).allowed and 1 or 0)
        end
        assert.is_true(math.abs(count - 100100) < 100, tostring(count))
    end)

    it("is not misled by a worker whose clock was read a little earlier", function()
        local r, k = limit(10, 1000, 1), key "a"
        assert.equal(1, through(r, k, 1, NOW + 300))
        assert.equal(0, through(r, k, 5, NOW))
        assert.equal(1, through(r, k, 5, NOW + 100300))
    end)

    -- Keys of one bucket.
    local function neighbours(count)
        local list, at = {}, ffi.cast("uint64_t", 4711)
        for i = 1, count do
            list[i] = at + ffi.cast("uint64_t", i) * 2 ^ 48
        end
        return list
    end

    it("gives a cell that says nothing any more to another key, without loss", function()
        local r, keys = limit(10, 1000, 2), neighbours(40)
        for i, k in ipairs(keys) do
            assert.equal(2, through(r, k, 5, NOW + i * SECOND), i)
        end
    end)

    it("lets through rather than refuse when a bucket is full, and takes the cell that is free soonest", function()
        local r, keys = limit(1, 1000, 10), neighbours(C.BOARD_RATE_CELLS + 1)
        for i = 1, C.BOARD_RATE_CELLS do
            assert.equal(10, through(r, keys[i], 11, NOW + i))
        end
        local late = keys[C.BOARD_RATE_CELLS + 1]
        assert.equal(10, through(r, late, 11, NOW + 100)) -- in place of the first
        assert.equal(0, through(r, keys[4], 3, NOW + 100))
        assert.equal(0, through(r, late, 3, NOW + 100))
        assert.equal(10, through(r, keys[1], 11, NOW + 200)) -- which begins anew
    end)

    it("goes on when a worker died between the two words of a cell", function()
        local r, k = limit(1, 1000, 2), neighbours(1)[1]
        assert.equal(2, through(r, k, 5, NOW))
        local line = C.board_rates(b, 4711)
        line[0] = 0 -- the key never came
        local before = through(r, k, 5, NOW + 1)
        assert.equal(2, before) -- anew, in another cell
        assert.equal(0, through(r, k, 5, NOW + 2))
        assert.equal(2, through(r, k, 5, NOW + 10 * SECOND))
    end)

    it("survives the death of a worker", function()
        local r, k = limit(1, 1000, 2), key "a"
        through(r, k, 2, NOW)
        C.board_worker_reset(b, 0)
        assert.equal(0, through(r, k, 3, NOW))
    end)

    it("lets through burst and rate, within 1 %, whoever asks at once", function()
        local asked = ffi.new "uint64_t[1]"
        for _, case in ipairs { { 20000, 1000 }, { 2000, 50 }, { 100, 1 } } do
            local rate, burst, ms = case[1], case[2], 2000
            local out = ffi.new "struct board *[1]"
            assert.equal(0, C.board_new(4, out))
            local count = tonumber(C.rate_storm(out[0], 4, rate, burst, ms, asked))
            C.board_free(out[0])
            local want = burst + rate * ms / 1000
            assert.equal(ms * 200, tonumber(asked[0]))
            assert.is_true(math.abs(count - want) <= want * 0.01, ("%d, not %d"):format(count, want))
        end
    end)
end)
