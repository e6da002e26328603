-- What routes share over all workers: queues, places of a client, repeats. Several workers take turns.
local C, ffi = require("ffi_room").load("board/board.h", "board/share.h")

local WORKERS, ROUTE = 3, 5

describe("board/share", function()
    local b

    before_each(function()
        local out = ffi.new "struct board *[1]"
        assert.equal(0, C.board_new(WORKERS, out))
        b = ffi.gc(out[0], C.board_free)
    end)

    it("sums the queues of a route over the workers, without the dead", function()
        C.board_route(b, 0, ROUTE).queued = 2
        C.board_route(b, 2, ROUTE).queued = 3
        assert.equal(5, tonumber(C.board_queue_length(b, ROUTE)))
        assert.equal(0, tonumber(C.board_queue_length(b, 4)))
        C.board_worker_reset(b, 2)
        assert.equal(2, tonumber(C.board_queue_length(b, ROUTE)))
    end)

    describe("clients", function()
        local function key(address, route)
            return C.board_client_key(b, route or 1, address)
        end

        local function count(k)
            return tonumber(C.board_client_count(b, k))
        end

        it("are told apart by route and address, and not by who else has a board", function()
            local one = key "10.0.0.1"
            assert.is_true(one == key "10.0.0.1")
            assert.is_false(one == key "10.0.0.2")
            assert.is_false(one == key("10.0.0.1", 2))
            local out = ffi.new "struct board *[1]"
            assert.equal(0, C.board_new(1, out))
            assert.is_false(one == C.board_client_key(out[0], 1, "10.0.0.1"))
            C.board_free(out[0])
        end)

        it("are counted over all workers, and given back one by one", function()
            local k, other = key "10.0.0.1", key "10.0.0.2"
            for w = 0, 2 do
                assert.is_true(C.board_client_enter(b, w, k))
            end
            assert.is_true(C.board_client_enter(b, 2, k))
            assert.is_true(C.board_client_enter(b, 0, other))
            assert.same({ 4, 1 }, { count(k), count(other) })
            C.board_client_leave(b, 2, k)
            C.board_client_leave(b, 0, k)
            assert.same({ 2, 1 }, { count(k), count(other) })
            C.board_client_leave(b, 0, other)
            C.board_client_leave(b, 1, k)
            C.board_client_leave(b, 2, k)
            assert.same({ 0, 0 }, { count(k), count(other) })
        end)

        it("of a dead worker count no more", function()
            local k = key "10.0.0.1"
            C.board_client_enter(b, 0, k)
            C.board_client_enter(b, 1, k)
            C.board_client_enter(b, 1, k)
            C.board_worker_reset(b, 1)
            assert.equal(1, count(k))
            assert.is_true(C.board_client_enter(b, 1, k)) -- its successor begins anew
            assert.equal(2, count(k))
        end)

        it("are counted exactly whatever comes and goes, until a bucket is full", function()
            local seed, keys, held = 42, {}, {}
            local function random(n)
                seed = (seed * 1103515245 + 12345) % 2147483648
                return math.floor(seed / 65536) % n + 1
            end
            for i = 1, 500 do
                keys[i] = key("10.1." .. math.floor(i / 250) .. "." .. i % 250)
            end
            for _ = 1, 20000 do
                local i, w = random(#keys), random(WORKERS) - 1
                local at = i * WORKERS + w
                held[at] = held[at] or 0
                if random(2) == 1 and held[at] > 0 then
                    C.board_client_leave(b, w, keys[i])
                    held[at] = held[at] - 1
                elseif C.board_client_enter(b, w, keys[i]) then
                    held[at] = held[at] + 1
                end
            end
            for i = 1, #keys do
                local want = 0
                for w = 0, WORKERS - 1 do
                    want = want + (held[i * WORKERS + w] or 0)
                end
                assert.equal(want, count(keys[i]), i)
            end
        end)

        it("beyond what a bucket holds are not counted, and disturb nobody", function()
            local cells, keys = C.BOARD_CLIENT_CELLS, {}
            for i = 0, cells do -- all of one bucket
                keys[i] = ffi.cast("uint64_t", 7 + (i + 1) * 2 ^ 40)
            end
            for i = 0, cells - 1 do
                assert.is_true(C.board_client_enter(b, 0, keys[i]))
            end
            assert.is_false(C.board_client_enter(b, 0, keys[cells]))
            assert.is_true(C.board_client_enter(b, 0, keys[3])) -- who is there may come again
            assert.is_true(C.board_client_enter(b, 1, keys[cells])) -- and there is room elsewhere
            assert.same({ 1, 2, 1 }, { count(keys[0]), count(keys[3]), count(keys[cells]) })
            C.board_client_leave(b, 0, keys[0])
            assert.is_true(C.board_client_enter(b, 0, keys[cells]))
            assert.same({ 0, 2 }, { count(keys[0]), count(keys[cells]) })
        end)

        it("are not counted beyond what a cell holds", function()
            local k = ffi.cast("uint64_t", 9 * 2 ^ 40)
            C.board_clients(b, 0, 0)[3] = k + 2 ^ 24 - 1
            assert.is_false(C.board_client_enter(b, 0, k))
            assert.equal(2 ^ 24 - 1, count(k))
        end)
    end)

    describe("repeats", function()
        local function ask(worker, n, now)
            for _ = 1, n do
                C.board_budget_ask(b, worker, ROUTE, now)
            end
        end

        -- How many of n attempts may be repeated.
        local function repeats(worker, n, now, ratio, per_second)
            local may = 0
            for _ = 1, n do
                may = may + (C.board_budget_repeat(b, worker, ROUTE, ratio, per_second, now) and 1 or 0)
            end
            return may
        end

        it("are a part of what all workers were asked", function()
            ask(0, 60, 50000)
            ask(1, 40, 50000)
            assert.equal(15, repeats(2, 15, 50000, 0.2, 0))
            assert.equal(5, repeats(0, 15, 50000, 0.2, 0))
            assert.equal(0, repeats(1, 15, 50000, 0.2, 0))
            ask(1, 10, 50000)
            assert.equal(2, repeats(2, 15, 50000, 0.2, 0))
        end)

        it("are always allowed so often, over all workers together", function()
            assert.equal(12, repeats(0, 12, 50000, 0, 3))
            assert.equal(18, repeats(1, 30, 50000, 0, 3)) -- 3 a second for ten seconds
            assert.equal(0, repeats(2, 1, 50000, 0, 3))
        end)

        it("are free again after ten seconds, also where the ring comes round", function()
            ask(0, 100, 50000)
            assert.equal(20, repeats(1, 30, 50000, 0.2, 0))
            assert.equal(0, repeats(1, 1, 59999, 0.2, 0))
            ask(0, 100, 60000)
            assert.equal(20, repeats(2, 30, 60000, 0.2, 0))
            assert.equal(0, repeats(2, 1, 76000, 0.2, 0)) -- nothing was asked of late
            ask(0, 10, 76000) -- the bucket of 60000
            assert.equal(2, repeats(2, 30, 76000, 0.2, 0))
        end)

        it("of one route take nothing from another's", function()
            assert.equal(10, repeats(0, 10, 50000, 0, 1))
            assert.is_true(C.board_budget_repeat(b, 0, ROUTE + 1, 0, 1, 50000))
        end)

        it("of a dead worker stay counted", function()
            assert.equal(6, repeats(0, 6, 50000, 0, 1))
            C.board_worker_reset(b, 0)
            assert.equal(4, repeats(1, 10, 50000, 0, 1))
        end)
    end)
end)
