local policy = require "policy"

-- What the policy says after each of `seconds` steps of ten seconds with this rate of errors.
local function run(decide, from, steps, error_rate, rate)
    local firing, value
    for i = 1, steps do
        firing, value = decide { service = "web", now = from + i * 10, traffic = { rate = rate or 100, error_rate = error_rate } }
    end
    return firing, value, from + steps * 10
end

describe("policies/alert/burn_rate", function()
    it("fires when both windows burn the budget faster than the factor", function()
        local decide = policy.new("alert/burn_rate", { objective = 0.99, factor = 5, long = 3600, short = 300 })
        local firing, _, at = run(decide, 0, 360, 0.001)
        assert.is_false(firing)
        firing, _, at = run(decide, at, 3, 0.5)
        assert.is_false(firing) -- the long window has not seen enough of it
        firing, _, at = run(decide, at, 60, 0.5)
        assert.is_true(firing)
        firing = run(decide, at, 120, 0)
        assert.is_false(firing) -- over for the short one, though the long one still remembers
    end)

    it("weighs by requests and keeps services apart", function()
        local decide = policy.new("alert/burn_rate", { objective = 0.99, factor = 5, long = 3600, short = 300 })
        local _, _, at = run(decide, 0, 360, 0, 1000)
        assert.is_false((run(decide, at, 30, 1, 0.1))) -- a few failures at night
        assert.is_true((decide { service = "api", now = at, traffic = { rate = 1, error_rate = 1 } }))
    end)

    it("does not know without traffic figures", function()
        local decide = policy.new("alert/burn_rate", { long = 3600, short = 300 })
        assert.is_nil((decide { service = "web", now = 1, traffic = { rate = 0 / 0, error_rate = 0 / 0 } }))
    end)
end)
