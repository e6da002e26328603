local policy = require "policy"

local DAY = 86400

local function part(name, answer)
    return { name = name, new = function()
        return function(s)
            if type(answer) == "function" then
                return answer(s)
            end
            return answer, "as told"
        end
    end }
end

-- A window of each day: begins `from` seconds after midnight. What tidegate gives in place of `began` has the zone.
local function window(from, lasting, bounds)
    bounds.cron, bounds.zone, bounds.lasting = "0 8 * * *", "UTC", lasting
    function bounds.began(at, within)
        local last = math.floor((at - from) / DAY) * DAY + from
        return last > at - within and last or nil
    end
    return bounds
end

local function decider(of, windows, lead)
    return policy.new("scale/schedule", { of = of, windows = windows, lead = lead or 60 })
end

local function at(hour, minute, given)
    given = given or {}
    given.time = 20000 * DAY + hour * 3600 + (minute or 0) * 60
    given.instances = given.instances or 2
    return policy.view(given)
end

describe("policies/scale/schedule", function()
    it("bounds what its policy wants while a window is open, and says so", function()
        local decide = decider(part("queue", 2), { window(8 * 3600, 36000, { min = 4, max = 6 }) })
        assert.equal(2, (decide(at(7))))
        local want, reason = decide(at(8))
        assert.equal(4, want)
        assert.equal("at least 4 (0 8 * * * UTC); queue 2: as told", reason)
        assert.equal(4, (decide(at(17, 59))))
        assert.equal(2, (decide(at(18))))
        want, reason = decider(part("queue", 9), { window(8 * 3600, 36000, { min = 4, max = 6 }) })(at(9, 0))
        assert.equal(6, want)
        assert.equal("at most 6 (0 8 * * * UTC); queue 9: as told", reason)
    end)

    it("has the fewest up when the window opens, and the most only then", function()
        local decide = decider(part("queue", 9), { window(8 * 3600, 3600, { min = 4, max = 6 }) }, 300)
        assert.equal(9, (decide(at(7, 56))))
        decide = decider(part("queue", 1), { window(8 * 3600, 3600, { min = 4 }) }, 300)
        assert.equal(1, (decide(at(7, 54))))
        assert.equal(4, (decide(at(7, 55))))
        assert.equal(4, (decide(at(8, 59))))
        assert.equal(1, (decide(at(9, 0))))
    end)

    it("learns how long a start takes", function()
        local decide = decider(part("queue", 1), { window(8 * 3600, 3600, { min = 4 }) }, 0)
        assert.equal(1, (decide(at(7, 59, { now = 0 })))) -- 30 s are assumed
        for _, step in ipairs { { 10, 1 }, { 250, 0 } } do
            decide(at(3, 0, { now = step[1], starting = step[2] }))
        end
        assert.equal(1, (decide(at(7, 55, { now = 300 }))))
        assert.equal(4, (decide(at(7, 57, { now = 400 }))))
    end)

    it("keeps max through a window that begins anew when it ends", function()
        local decide = decider(part("queue", 9), { window(0, DAY, { max = 3 }) }, 600)
        for _, hour in ipairs { 0, 12, 23 } do
            assert.equal(3, (decide(at(hour, 59))))
        end
    end)

    it("takes the highest min and the lowest max of those that are open; min wins", function()
        local both = { window(8 * 3600, 36000, { min = 3, max = 9 }), window(10 * 3600, 3600, { min = 5, max = 7 }) }
        assert.equal(3, (decider(part("queue", 1), both)(at(9))))
        assert.equal(5, (decider(part("queue", 1), both)(at(10))))
        assert.equal(7, (decider(part("queue", 9), both)(at(10))))
        local against = { window(0, DAY, { max = 2 }), window(8 * 3600, 3600, { min = 4 }) }
        assert.equal(4, (decider(part("queue", 1), against)(at(8))))
    end)

    it("has `initial` until it is there once", function()
        local decide = decider(part("queue", 2), { window(8 * 3600, 36000, { initial = 6, min = 3 }) })
        assert.equal(6, (decide(at(7, 59))))
        assert.equal(6, (decide(at(8, 0, { desired = 2 }))))
        assert.equal(6, (decide(at(8, 1, { desired = 4 }))))
        assert.equal(3, (decide(at(8, 2, { desired = 6 }))))
        assert.equal(3, (decide(at(8, 30, { desired = 3 }))))
        local tomorrow = at(8, 0)
        tomorrow.time = tomorrow.time + DAY
        assert.equal(6, (decide(tomorrow)))
    end)

    it("stays within the service's own bounds, which its policy sees narrowed", function()
        local seen
        local decide = decider(part("queue", function(s)
            seen = { s.min, s.max, s.instances }
            return 1, ""
        end), { window(8 * 3600, 3600, { min = 40 }) })
        assert.equal(10, (decide(at(8, 0, { max = 10 }))))
        assert.same({ 10, 10, 2 }, seen)
    end)

    it("has no opinion where its policy has none and the bounds fit", function()
        local decide = decider(part("queue", nil), { window(8 * 3600, 3600, { min = 2 }) })
        local want, reason = decide(at(12))
        assert.is_nil(want)
        assert.equal("queue stays: as told", reason)
        assert.equal(2, (decide(at(8, 0, { instances = 1 }))))
    end)

    it("keeps bounds when its policy fails, and fails with it where they change nothing", function()
        local decide = decider(part("queue", function()
            error("policies/scale/queue.lua:9: no", 0)
        end), { window(8 * 3600, 3600, { min = 4 }) })
        local want, reason = decide(at(8))
        assert.equal(4, want)
        assert.equal("at least 4 (0 8 * * * UTC); queue failed: policies/scale/queue.lua:9: no", reason)
        local ok, why = pcall(decide, at(12))
        assert.same({ false, "policies/scale/queue.lua:9: no" }, { ok, why })
    end)

    it("does as its examples say", function()
        assert.equal(4, policy.examples "scale/schedule")
    end)
end)
