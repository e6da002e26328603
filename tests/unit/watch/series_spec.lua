local C, ffi = require("ffi_room").load("watch/series.h")

local INF = math.huge

local function quantile(q, buckets)
    local list = ffi.new("struct series_bucket[?]", math.max(#buckets, 1))
    for i, b in ipairs(buckets) do
        list[i - 1].bound, list[i - 1].count = b[1], b[2]
    end
    return C.series_quantile(q, list, #buckets)
end

local function growth(points, now_ms)
    local s = ffi.new "struct series"
    for _, p in ipairs(points) do
        C.series_add(s, p[1], p[2])
    end
    local grown, seconds = ffi.new "double[1]", ffi.new "double[1]"
    if C.series_growth(s, now_ms or points[#points][1], grown, seconds) then
        return grown[0], seconds[0]
    end
end

describe("watch/series", function()
    it("grows from the first to the last point, without extrapolating", function()
        assert.same({ 30, 30 }, { growth { { 1000, 100 }, { 16000, 110 }, { 31000, 130 } } })
    end)

    it("needs two points", function()
        assert.is_nil(growth { { 1000, 100 } })
        assert.is_nil(growth { { 1000, 100 }, { 1000, 200 } })
    end)

    it("adds what a counter says after it began anew", function()
        assert.same({ 10 + 3 + 4, 45 }, { growth { { 0, 100 }, { 15000, 110 }, { 30000, 3 }, { 45000, 7 } } })
        assert.same({ 0, 15 }, { growth { { 0, 100 }, { 15000, 0 } } })
    end)

    it("keeps the last five points, and none of five minutes ago", function()
        local points = {}
        for i = 0, 9 do
            points[#points + 1] = { i * 10000, i * i }
        end
        assert.same({ 81 - 25, 40 }, { growth(points) })
        assert.same({ 5, 10 }, { growth({ { 0, 1 }, { 400000, 10 }, { 410000, 15 } }) })
        assert.is_nil(growth({ { 0, 1 }, { 10000, 10 } }, 400000))
    end)

    it("takes quantiles as PromQL does", function()
        local h = { { 0.1, 10 }, { 0.5, 60 }, { 1, 90 }, { INF, 100 } }
        assert.equal(0.1 + 0.4 * 40 / 50, quantile(0.5, h))
        assert.equal(0.05, quantile(0.05, h)) -- the first bucket begins at 0
        assert.equal(1, quantile(0.99, h)) -- above all finite bounds
        assert.equal(1, quantile(1, h))
        assert.equal(-INF, quantile(-0.1, h))
        assert.equal(INF, quantile(1.1, h))
    end)

    it("sorts, sums equal bounds and lets no count fall", function()
        assert.equal(quantile(0.9, { { 1, 10 }, { 2, 20 }, { INF, 20 } }),
            quantile(0.9, { { INF, 20 }, { 2, 15 }, { 1, 10 }, { 2, 5 } }))
        assert.equal(quantile(0.9, { { 1, 10 }, { 2, 10 }, { 3, 20 }, { INF, 20 } }),
            quantile(0.9, { { 1, 10 }, { 2, 8 }, { 3, 20 }, { INF, 19 } }))
    end)

    it("says nothing where there is nothing", function()
        for _, h in ipairs { {}, { { INF, 5 } }, { { 1, 5 }, { 2, 6 } }, { { 1, 0 }, { INF, 0 } } } do
            local value = quantile(0.5, h)
            assert.is_true(value ~= value)
        end
        local nan = quantile(0 / 0, { { 1, 5 }, { INF, 6 } })
        assert.is_true(nan ~= nan)
    end)

    it("answers a first bound at or below 0 with that bound", function()
        assert.equal(-1, quantile(0.1, { { -1, 10 }, { 1, 20 }, { INF, 20 } }))
    end)
end)
