local policy = require "policy"

-- A part that answers what `answers` has next, or what a function says.
local function part(name, answer)
    return { name = name, new = function()
        local n = 0
        return function(s)
            n = n + 1
            if type(answer) == "function" then
                return answer(s, n)
            end
            return answer, name .. "'s reason"
        end
    end }
end

local function decide(parts, view)
    return policy.new("scale/max_of", { of = parts })(policy.view(view))
end

describe("policies/scale/max_of", function()
    it("takes the most that is wanted, and tells what the others said", function()
        local want, reason = decide({ part("a", 3), part("b", 7), part("c", 5) }, { instances = 2 })
        assert.equal(7, want)
        assert.equal("b 7: b's reason; a 3: a's reason; c 5: c's reason", reason)
    end)

    it("takes the first of equal ones, and counts those of one name", function()
        local _, reason = decide({ part("a", 3), part("a", 3) }, { instances = 2 })
        assert.equal("a 3: a's reason; a 2 3: a's reason", reason)
    end)

    it("does not go below what is for one without opinion, which holds no up", function()
        assert.equal(5, (decide({ part("a", 3), part("b") }, { instances = 5 })))
        local want, reason = decide({ part("a", 8), part("b") }, { instances = 5 })
        assert.equal(8, want)
        assert.equal("a 8: a's reason; b stays: b's reason", reason)
    end)

    it("reports one that fails, and lets the others decide", function()
        local function broken()
            error("policies/scale/x.lua:3: no figure", 0)
        end
        local want, reason = decide({ part("x", broken), part("b", 8) }, { instances = 5 })
        assert.equal(8, want)
        assert.equal("b 8: b's reason; x failed: policies/scale/x.lua:3: no figure", reason)
        assert.equal(5, (decide({ part("x", broken), part("b", 2) }, { instances = 5 })))
        want, reason = decide({ part("x", function() return "7" end), part("y", function() return 0 / 0 end) }, { instances = 5 })
        assert.is_nil(want)
        assert.matches("^x failed: answered a string: .*; y failed: answered %-?nan: a whole number", reason)
        for _, odd in ipairs { -1, 2.5, 2 ^ 32, 1 / 0 } do
            assert.equal(7, (decide({ part("x", odd), part("b", 7) }, { instances = 5 })))
        end
    end)

    it("names who answered before who holds the same", function()
        local want, reason = decide({ part("a"), part("b", 5) }, { instances = 5 })
        assert.equal(5, want)
        assert.equal("b 5: b's reason; a stays: a's reason", reason)
    end)

    it("holds when none answers", function()
        local want, reason = decide({ part("a"), part("b") }, { instances = 5 })
        assert.is_nil(want)
        assert.equal("a stays: a's reason; b stays: b's reason", reason)
    end)

    it("goes down to the most of those that all answer", function()
        assert.equal(3, (decide({ part("a", 3), part("b", 2) }, { instances = 5 })))
    end)

    it("does as its examples say", function()
        assert.equal(4, policy.examples "scale/max_of")
    end)
end)
