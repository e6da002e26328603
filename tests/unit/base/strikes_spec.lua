local C, ffi = require("ffi_room").load "base/strikes.h"

-- What each of a list of { at_ms, calls } answers.
local function answers(limit, window_ms, list)
    local s, out = ffi.new "struct strikes[1]", {}
    for i, one in ipairs(list) do
        out[i] = C.strikes_add(s, limit, window_ms, one[1], one[2] or 0)
    end
    return out
end

describe("base/strikes", function()
    it("says so at the last of as many as are allowed, within the window", function()
        assert.same({ false, false, true, true }, answers(3, 1000, { { 1 }, { 2 }, { 1001 }, { 1002 } }))
        assert.same({ false, false, false, true }, answers(3, 1000, { { 1 }, { 500 }, { 1002 }, { 1400 } }))
        assert.same({ true, true }, answers(1, 1000, { { 5 }, { 5000 } }))
    end)

    it("does not mind a few out of very many calls", function()
        assert.same({ false, false, false }, answers(3, 1000, { { 1, 1000 }, { 2, 1200 }, { 3, 1400 } }))
        assert.same({ false, false, true }, answers(3, 1000, { { 1, 1000 }, { 2, 1100 }, { 3, 1300 } }))
        assert.same({ false, false, true }, answers(3, 1000, { { 1, 9e15 }, { 2, 9e15 }, { 3, 9e15 } }))
    end)

    it("never says so with a limit of 0, and takes no more than it has room for", function()
        assert.same({ false, false }, answers(0, 1000, { { 1 }, { 1 } }))
        local many = {}
        for i = 1, C.STRIKES_MOST do
            many[i] = { 1 }
        end
        local got = answers(1000, 1000, many)
        assert.is_false(got[C.STRIKES_MOST - 1])
        assert.is_true(got[C.STRIKES_MOST])
    end)
end)
