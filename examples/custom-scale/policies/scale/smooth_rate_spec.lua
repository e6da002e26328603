-- smooth_rate_spec.lua: run by `tidegate policy test`; also by busted, with tidegate's policies on its path.
local t = require "tidegate.testing"

describe("scale/smooth_rate", function()
    local s

    before_each(function()
        s = t.service("scale/smooth_rate", { each = 50, memory = "60s", hold = "5m" },
            { instances = 2, min = 1, max = 9, rate = 100 })
        s:expect_scale(2)
    end)

    it("does as its examples say", function()
        assert.equal(3, t.examples "scale/smooth_rate")
    end)

    it("does not follow a blip", function()
        s:advance "5s"
        s:set { rate = 110 }
        s:expect_scale(3)
        s:advance "5s"
        s:set { rate = 400 }
        s:tick()
        assert.is_true(s.instances < 5)
    end)

    it("follows what stays, up to its bounds", function()
        s:set { rate = 400 }
        for _ = 1, 60 do
            s:advance "5s"
            s:tick()
        end
        assert.equal(8, s.instances)
        s:set { rate = 4000 }
        s:advance "5m"
        s:expect_scale(9)
    end)

    it("keeps a peak for `hold`, then goes down", function()
        s:set { rate = 300 }
        s:advance "10m"
        s:expect_scale(6)
        s:set { rate = 0 }
        s:advance "4m"
        s:expect_scale(6)
        s:advance "6m"
        s:expect_scale(1)
    end)

    it("remembers over a reload", function()
        s:set { rate = 300 }
        s:advance "10m"
        s:expect_scale(6)
        s:set { rate = 0 }
        s:reload()
        s:advance "1m"
        s:expect_scale(6)
    end)

    it("has no opinion before it has seen anything", function()
        t.expect_scale("scale/smooth_rate", { instances = 4 }, nil)
    end)

    it("keeps up with a spike that lasts", function()
        local trace = {}
        for minute = 0, 60 do
            trace[#trace + 1] = { minute * 60, minute >= 20 and minute < 40 and 600 or 100 }
        end
        local r = t.replay("scale/smooth_rate", { each = 70, memory = "10s", hold = "2m" }, trace)
        assert.is_true(r.violation_percent < 5, r.violation_percent .. " %")
        assert.equal(9, r.most)
        assert.is_true(r.flips <= 2)
    end)
end)
