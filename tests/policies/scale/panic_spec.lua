local policy = require "policy"

-- One instance for each 100 requests/s, and one for each 100 that wait: what sizes on the backlog too.
local BY_RATE = { name = "by_rate", new = function()
    return function(s)
        local want = math.ceil((s.rate + (s.queue or 0)) / 100)
        return want ~= s.desired and want or nil, ("%.0f requests/s"):format(s.rate)
    end
end }

-- What is wanted at each second of `rates`, { rate, queue } or a rate, by instances that need 30 s to start.
local function play(rates, params, parts)
    params = params or {}
    params.of = parts or BY_RATE
    local decide = policy.new("scale/panic", params)
    local desired, coming, wants, reasons = 1, {}, {}, {}
    for second, now in ipairs(rates) do
        local rate, queue = now, 0
        if type(now) == "table" then
            rate, queue = now[1], now[2]
        end
        local up = math.min(desired, coming[second - 30] or 1)
        local want, reason = decide(policy.view { now = second, rate = rate, queue = queue, instances = up, desired = desired })
        desired = want or desired
        coming[second], wants[second], reasons[second] = desired, desired, reason
    end
    return wants, reasons
end

local function rates(...)
    local list = {}
    for _, part in ipairs { ... } do
        for _ = 1, part[2] do
            list[#list + 1] = part[1]
        end
    end
    return list
end

describe("policies/scale/panic", function()
    it("follows means of a minute while nothing is far off", function()
        local wants = play(rates({ 100, 60 }, { 190, 60 }))
        assert.equal(1, wants[60])
        assert.equal(2, wants[62]) -- 101.5 in the mean
        for _, want in ipairs(wants) do
            assert.is_true(want <= 2)
        end
    end)

    it("turns to the last seconds when they want twice what is up", function()
        local wants, reasons = play(rates({ 100, 60 }, { 600, 30 }))
        assert.is_true(wants[61] == 2 and wants[63] >= 3)
        assert.equal(6, wants[66])
        assert.equal("panic, no downs for 60 s: 600 requests/s", reasons[66])
        assert.equal(6, wants[90])
        -- Alone, on means of a minute, it would be there after a minute.
        local slow = play(rates({ 100, 60 }, { 600, 30 }), { threshold = 10 })
        assert.is_true(slow[66] <= 2)
    end)

    it("goes down a minute after the last breach, not before", function()
        local wants, reasons = play(rates({ 100, 60 }, { 600, 10 }, { 100, 200 }))
        local last
        for second, reason in ipairs(reasons) do
            last = reason:match "no downs for 60 s" and second or last
        end
        assert.is_true(last >= 70 and last < 110)
        for second = 66, last + 59 do
            assert.equal(6, wants[second], second)
        end
        assert.is_true(wants[last + 60] < 6)
        assert.equal(1, wants[270])
    end)

    it("keeps the most that was wanted, and no less than there was", function()
        local wants = play(rates({ 100, 60 }, { 400, 10 }, { 900, 10 }, { 300, 20 }))
        assert.equal(9, wants[80])
        assert.equal(9, wants[100])
    end)

    it("sizes on what comes, not on what waits since instances start", function()
        local list = rates({ 100, 60 })
        for second = 1, 30 do -- 300 come, 100 are answered
            list[#list + 1] = { 100, 200 * second }
        end
        local wants = play(list, nil, BY_RATE)
        assert.equal(3, math.max(unpack(wants, 61, 66)))
        -- The same policy by itself, with the same figures, goes for what piled up.
        local alone = BY_RATE.new()(policy.view { rate = 100, queue = 6000, instances = 1 })
        assert.equal(61, alone)
    end)

    it("knows nothing without figures", function()
        local nothing = { name = "nothing", new = function()
            return function()
                return nil, "no requests counted yet"
            end
        end }
        local want, reason = policy.new("scale/panic", { of = nothing })(policy.view { instances = 1 })
        assert.is_nil(want)
        assert.equal("no requests counted yet", reason)
    end)

    it("lets its policy see other fields, and no wrong ones", function()
        local function seeing(read)
            return { name = "seeing", new = function() return function(s) return read(s), "" end end }
        end
        local decide = policy.new("scale/panic", { of = seeing(function(s) return s.desired end) })
        assert.equal(2, (decide(policy.view { rate = 1, instances = 2 })))
        decide = policy.new("scale/panic", { of = seeing(function(s) return s.ratte end) })
        assert.has_error(function()
            decide(policy.view { rate = 1, instances = 2 })
        end)
    end)

    it("refuses a short window that is none", function()
        assert.has_error(function()
            policy.new("scale/panic", { of = BY_RATE, window = 60 })
        end)
    end)

    it("does as its examples say", function()
        assert.equal(3, policy.examples "scale/panic")
    end)
end)
