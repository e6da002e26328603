local policy = require "policy"

describe("policies/notify/by_severity", function()
    it("answers the channels of that severity, or nothing", function()
        local decide = policy.new("notify/by_severity", { critical = { "page", "ops" }, info = {} })
        assert.same({ "page", "ops" }, decide { severity = "critical" })
        assert.same({}, decide { severity = "info" })
        assert.is_nil(decide { severity = "warning" })
    end)
end)
