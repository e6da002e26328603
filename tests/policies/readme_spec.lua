-- The worked example of policies/README.md runs as it stands there.
local policy = require "policy"

local function blocks()
    local file = assert(io.open "policies/README.md")
    local text, found = file:read "*a", {}
    file:close()
    for code in text:gmatch "```lua\n(.-)```" do
        found[#found + 1] = code
    end
    return found
end

describe("policies/README.md", function()
    it("shows a policy that does as its examples say", function()
        local module = policy.load("policies/scale/queue_aware.lua", blocks()[1])
        assert.equal("queue_aware", module.name)
        for _, example in ipairs(module.examples) do
            local decide = policy.new(module, example.params)
            assert.equal(example.want, (decide(policy.view(example.given))))
        end
        local want, reason = policy.new(module)(policy.view { in_flight = 101 })
        assert.equal(3, want)
        assert.equal("101 in flight, 50 each", reason)
    end)

    it("shows a spec that compiles", function()
        assert.is_function(loadstring(blocks()[2]))
    end)
end)
