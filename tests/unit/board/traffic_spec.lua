-- What clients were answered, as the workers count it on the board.
local C, ffi = require("ffi_room").load("base/json.h", "board/board.h", "board/traffic.h")

local GET, POST = 1, 3

describe("board/traffic", function()
    local b

    local function side(worker)
        return ffi.gc(C.board_traffic_new(b, worker), C.board_traffic_free)
    end

    -- { ["route method status"] = count } over all workers.
    local function counts()
        local out = {}
        for w = 0, 1 do
            for i = 0, C.board_counts_used(b, w) - 1 do
                local c = C.board_count_at(b, w, i)
                if c.used and c.count > 0 then
                    local key = ("%d %d %d"):format(tonumber(c.route), c.method, c.status)
                    out[key] = (out[key] or 0) + tonumber(c.count)
                end
            end
        end
        return out
    end

    local function keep(traffic, routes, now_ms)
        C.board_traffic_keep(traffic, ffi.new("uint64_t[?]", #routes + 1, routes), #routes, now_ms)
    end

    before_each(function()
        local out = ffi.new "struct board *[1]"
        assert.equal(0, C.board_new(2, out))
        b = ffi.gc(out[0], C.board_free)
    end)

    it("counts by route, method and status, each worker for itself", function()
        local one, two = side(0), side(1)
        for _ = 1, 3 do
            C.board_traffic_count(one, 7, GET, 200)
        end
        C.board_traffic_count(one, 7, POST, 200)
        C.board_traffic_count(one, 7, GET, 503)
        C.board_traffic_count(two, 7, GET, 200)
        C.board_traffic_count(two, 8, GET, 200)
        assert.same({ ["7 1 200"] = 4, ["7 3 200"] = 1, ["7 1 503"] = 1, ["8 1 200"] = 1 }, counts())
    end)

    it("sorts durations, bounds included", function()
        local t = side(0)
        local times = C.board_traffic_times(t, 7, GET)
        assert.equal(times, C.board_traffic_times(t, 7, GET))
        assert.is_false(times == C.board_traffic_times(t, 7, POST))
        for _, us in ipairs { 0, 500, 501, 120000000, 120000001 } do
            C.board_traffic_observe(times, us)
        end
        assert.equal(2, tonumber(times.buckets[0]))
        assert.equal(1, tonumber(times.buckets[1]))
        assert.equal(1, tonumber(times.buckets[16]))
        assert.equal(1, tonumber(times.buckets[17]))
        assert.equal(240001002, tonumber(times.us_sum))
        for i = 1, C.BOARD_TIME_BUCKETS - 1 do
            assert.is_true(C.board_time_bound_us(i) > C.board_time_bound_us(i - 1))
        end
    end)

    it("goes on after a worker's death, without what it had in flight", function()
        local first = C.board_traffic_new(b, 0)
        C.board_traffic_count(first, 7, GET, 200)
        local times = C.board_traffic_times(first, 7, GET)
        C.board_add(ffi.cast("uint64_t *", ffi.cast("char *", times) + ffi.offsetof("struct board_times", "in_flight")), 3)
        C.board_traffic_observe(times, 10)
        C.board_traffic_free(first)
        C.board_worker_reset(b, 0)
        local second = side(0)
        C.board_traffic_count(second, 7, GET, 200)
        assert.same({ ["7 1 200"] = 2 }, counts())
        local again = C.board_traffic_times(second, 7, GET)
        assert.same({ 0, 1 }, { tonumber(again.in_flight), tonumber(again.buckets[0]) })
    end)

    it("gives the rows of a route away when it left long ago, not before", function()
        local t = side(0)
        C.board_traffic_count(t, 7, GET, 200)
        C.board_traffic_count(t, 8, GET, 200)
        local busy = C.board_traffic_times(t, 7, GET)
        busy.in_flight = 1
        keep(t, { 8 }, 1000)
        keep(t, { 8 }, 1000 + C.BOARD_TRAFFIC_KEEP_MS - 1)
        assert.same({ ["7 1 200"] = 1, ["8 1 200"] = 1 }, counts())
        keep(t, { 7, 8 }, 1000 + C.BOARD_TRAFFIC_KEEP_MS - 1) -- it is back
        keep(t, { 8 }, 900000)
        keep(t, { 7, 8 }, 900000 + C.BOARD_TRAFFIC_KEEP_MS) -- too late
        assert.same({ ["8 1 200"] = 1 }, counts())
        assert.equal(busy, C.board_traffic_times(t, 7, GET)) -- somebody holds on to it
        C.board_traffic_count(t, 9, GET, 200)
        assert.same({ ["8 1 200"] = 1, ["9 1 200"] = 1 }, counts())
        assert.equal(3, C.board_counts_used(b, 0)) -- the row was used again
    end)

    it("counts what finds no room as other", function()
        local t = side(0)
        for i = 1, C.BOARD_COUNT_ROWS + 9 do
            C.board_traffic_count(t, i, GET, 200)
        end
        for i = 1, C.BOARD_TIME_ROWS + 4 do
            C.board_traffic_observe(C.board_traffic_times(t, i, GET), 1)
        end
        assert.equal(10, counts()["0 0 0"])
        assert.equal(5, tonumber(C.board_times_at(b, 0, 0).buckets[0]))
        assert.equal(C.BOARD_COUNT_ROWS, C.board_counts_used(b, 0))
        assert.equal(1, counts()["500 1 200"])
    end)

    it("tells routes apart by service and what they ask of a request", function()
        local function identity(service, text)
            local json = C.json_parse(text, #text)
            local id = C.board_route_identity(service, json)
            C.json_free(json)
            return id
        end
        local one = identity("shop", '{"path":"/a","max_retries":3}')
        assert.is_true(one == identity("shop", '{"path":"/a","max_retries":5}'))
        assert.is_false(one == identity("shop", '{"path":"/b"}'))
        assert.is_false(one == identity("data", '{"path":"/a"}'))
        assert.is_false(one == identity("shop", '{"path":"/a","methods":["GET"]}'))
    end)
end)
