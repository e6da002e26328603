-- The worked example of policies/README.md runs as it stands there.
local policy = require "policy"
local shell = require "shell"

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

    it("shows a spec that passes, under busted and in the program", function()
        local sh = shell.new()
        sh:write("tidegate.lua", 'cluster { id = "x" }')
        sh:run "$T policy new scale queue_aware"
        sh:write("policies/scale/queue_aware.lua", blocks()[1])
        sh:write("policies/scale/queue_aware_spec.lua", blocks()[2])
        local code, out = sh:run "$T policy test"
        assert.matches("^ok   policies/scale/queue_aware.lua: 2 examples, 3 specs", out)
        assert.equal(0, code)
        local _, told = sh:run "busted --lua=luajit"
        assert.matches("3 successes / 0 failures / 0 errors", told)
        sh:close()
    end)
end)
