local C = require("ffi_room").load "acme/acme.h"

local DAY = 86400000
local T0 = 1790000000000

local function n(x)
    return tonumber(x)
end

describe("acme/renew", function()
    it("renews when two thirds of the time are over, not all names at once", function()
        local seen, least, most = {}, math.huge, 0
        for i = 1, 1000 do
            local after = n(C.acme_renew_ms(T0, T0 + 90 * DAY, "shop-" .. i)) - T0
            least, most = math.min(least, after), math.max(most, after)
            seen[math.floor(after / DAY * 4)] = true
        end
        assert.is_true(least >= 60 * DAY and least < 60.1 * DAY)
        assert.is_true(most <= 63 * DAY and most > 62.9 * DAY)
        local count = 0
        for _ in pairs(seen) do
            count = count + 1
        end
        assert.equal(12, count) -- each quarter of the three days
        -- A restart does not move it.
        assert.equal(n(C.acme_renew_ms(T0, T0 + DAY, "a")), n(C.acme_renew_ms(T0, T0 + DAY, "a")))
        assert.equal(T0, n(C.acme_renew_ms(T0, T0, "a")))
    end)

    it("waits three times as long with each failure, half a day at most", function()
        local function wait(failures, chance, not_before)
            return (n(C.acme_retry_ms(T0, 60000, failures, chance, not_before or 0)) - T0) / 1000
        end
        for failures, seconds in ipairs { 60, 180, 540, 1620, 4860, 14580, 43200, 43200 } do
            assert.near(seconds, wait(failures, 0.5), 0.01)
            assert.near(seconds * 0.8, wait(failures, 0), 0.01)
            assert.near(seconds * 1.2, wait(failures, 1), 0.01)
        end
        assert.near(43200, wait(4000000000, 0.5), 0.01)
        assert.equal(100000, wait(1, 0.5, T0 + 100000000))
        assert.near(60, wait(1, 0.5, T0 + 10), 0.01)
    end)

    it("reads Retry-After", function()
        for field, at in pairs {
            [""] = 0, ["soon"] = 0, ["-1"] = 0, ["0"] = T0, [" 120 "] = T0 + 120000, ["99999999999999"] = T0 + 366 * DAY,
            ["Mon, 21 Sep 2026 15:13:20 GMT"] = 1790003600000, ["Mon, 21 Sep 2099 15:13:20 GMT"] = T0 + 366 * DAY,
        } do
            assert.equal(at, n(C.acme_retry_after_ms(field, T0)), field)
        end
    end)
end)
