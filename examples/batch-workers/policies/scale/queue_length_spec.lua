-- queue_length_spec.lua: run by `tidegate policy test`.
local t = require "tidegate.testing"

local function waiting(jobs)
    return { data_processing = { queue_depth = jobs } }
end

describe("scale/queue_length", function()
    it("does as its examples say", function()
        assert.equal(3, t.examples "scale/queue_length")
    end)

    it("goes up with the queue and down behind it", function()
        local s = t.service("scale/queue_length", { per = 10 }, { instances = 1, min = 1, max = 4 })
        s:set { metrics = waiting(25) }
        s:expect_scale(3)
        s:set { metrics = waiting(400) }
        s:expect_scale(4)
        s:set { metrics = waiting(0) }
        s:expect_scale(1)
    end)
end)
