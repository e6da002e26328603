local C, ffi = require("ffi_room").load "board/board.h"

local function board(workers)
    local out = ffi.new "struct board *[1]"
    assert.equal(0, C.board_new(workers, out))
    return ffi.gc(out[0], C.board_free)
end

describe("board", function()
    it("keeps each worker's row apart and sums them", function()
        local b = board(3)
        for w = 0, 2 do
            C.board_add(C.board_row(b, w, 7).outcomes + C.BOARD_2XX, w + 1)
            local row = C.board_row(b, w, 7)
            row.in_flight = 10 * (w + 1)
        end
        local sum = ffi.new "struct board_sum"
        C.board_sum(b, 7, sum)
        assert.equal(6, tonumber(sum.answered))
        assert.equal(60, tonumber(sum.in_flight))
        assert.equal(60, tonumber(C.board_in_flight(b, 7)))
        assert.equal(0, tonumber(C.board_in_flight(b, 8)))
    end)

    it("is seen through a second mapping of its descriptor", function()
        ffi.cdef "int dup(int);"
        local b, other = board(2), ffi.new "struct board *[1]"
        assert.equal(0, C.board_open(C.dup(C.board_fd(b)), other))
        C.board_row(b, 1, 4095).retries = 42
        assert.equal(42, tonumber(C.board_row(other[0], 1, 4095).retries))
        C.board_free(other[0])
    end)

    it("refuses a descriptor that is no board", function()
        ffi.cdef "int open(const char *, int, ...); int close(int);"
        local fd = C.open("LICENSE", 0)
        assert.equal(-22, C.board_open(fd, ffi.new "struct board *[1]"))
        C.close(fd)
    end)

    it("drops a dead worker's gauges but keeps its counters", function()
        local b = board(2)
        local row = C.board_row(b, 1, 3)
        row.in_flight, row.pooled, row.retries = 5, 2, 9
        C.board_row(b, 0, 3).in_flight = 1
        C.board_worker_reset(b, 1)
        assert.equal(1, tonumber(C.board_in_flight(b, 3)))
        assert.equal(0, tonumber(row.pooled))
        assert.equal(9, tonumber(row.retries))
        C.board_slot_reset(b, 3)
        assert.equal(0, tonumber(row.retries))
    end)

    it("keeps the last 100 answers of a backend until its slot is given out again", function()
        local b = board(2)
        local recent = C.board_recent(b, 3)
        assert.equal(0, C.board_recent_mean(recent))
        C.board_recent_add(b, 3, 900)
        assert.equal(900, C.board_recent_mean(recent))
        for _ = 1, 99 do
            C.board_recent_add(b, 3, 10)
        end
        assert.is_true(math.abs(C.board_recent_mean(recent) - 18.9) < 0.001)
        C.board_recent_add(b, 3, 10) -- the 900 goes
        assert.equal(10, C.board_recent_mean(recent))
        assert.equal(0, C.board_recent_mean(C.board_recent(b, 2)))
        C.board_slot_reset(b, 3)
        assert.equal(0, C.board_recent_mean(recent))
    end)

    it("places every latency in a bucket that holds it, within 6.25 % of its edges", function()
        local us = 1
        while us < 2 ^ 27 do
            local bucket = C.board_bucket_of(us)
            local low, high = tonumber(C.board_bucket_floor_us(bucket)),
                tonumber(C.board_bucket_floor_us(bucket + 1))
            assert.is_true(low <= us and us < high, us .. " in " .. low .. ".." .. high)
            assert.is_true(us < 16 or (high - low) / low <= 0.0626)
            us = math.ceil(us * 1.37)
        end
        assert.equal(C.BOARD_BUCKETS - 1, C.board_bucket_of(2 ^ 40))
    end)

    it("answers quantiles within 3.2 %", function()
        local b = board(2)
        for i = 1, 10000 do
            C.board_observe(b, i % 2, 1, i * 10)
        end
        local buckets = ffi.new("uint64_t[?]", C.BOARD_BUCKETS)
        C.board_histogram(b, 1, buckets)
        for _, q in ipairs { 0.5, 0.95, 0.99 } do
            local got, want = tonumber(C.board_quantile_us(buckets, q)), q * 100000
            assert.is_true(math.abs(got - want) / want <= 0.032, q .. ": " .. got)
        end
    end)

    it("answers several quantiles as one by one, of few requests too", function()
        local q = ffi.new("double[5]", { 0, 0.5, 0.95, 0.99, 1 })
        local together = ffi.new "uint64_t[5]"
        for _, latencies in ipairs { {}, { 0 }, { 7 }, { 2 ^ 40 }, { 3, 3, 900 }, { 100, 20000, 20001, 5000000 } } do
            local b, buckets = board(1), ffi.new("uint64_t[?]", C.BOARD_BUCKETS)
            for _, us in ipairs(latencies) do
                C.board_observe(b, 0, 1, us)
            end
            C.board_histogram(b, 1, buckets)
            C.board_quantiles_us(buckets, q, 5, together)
            for k = 0, 4 do
                -- the bucket of the value with that rank
                local rank = math.max(math.ceil(q[k] * #latencies), 1)
                local at = latencies[rank] and C.board_bucket_of(latencies[rank])
                local middle = at and (C.board_bucket_floor_us(at) + C.board_bucket_floor_us(at + 1)) / 2 or 0
                assert.equal(tonumber(middle), tonumber(together[k]), k .. " of " .. #latencies)
                assert.equal(together[k], C.board_quantile_us(buckets, q[k]))
            end
        end
    end)

    it("counts requests and failures as the sums do", function()
        local b = board(2)
        for w = 0, 1 do
            for o = 0, C.BOARD_OUTCOMES - 1 do
                C.board_row(b, w, 5).outcomes[o] = (w + 1) * 10 ^ o
            end
        end
        local sum, requests, failures = ffi.new "struct board_sum", ffi.new "uint64_t[1]", ffi.new "uint64_t[1]"
        C.board_sum(b, 5, sum)
        C.board_requests(b, 5, requests, failures)
        assert.equal(sum.answered + sum.outcomes[C.BOARD_NO_ANSWER], requests[0])
        assert.equal(sum.outcomes[C.BOARD_5XX] + sum.outcomes[C.BOARD_NO_ANSWER], failures[0])
    end)
end)
