-- What policies keep: it goes on over reloads, over the death of the policy process and that of the daemon.
local tidegate = require "tidegate"

local CONFIG = [[
service "data" {
  command = { "@SERVICE@", "--host", "127.0.0.1", "--port", "$PORT" },
  health_check = { http = "/health", interval = "100ms", timeout = "1s", retries = 2 },
  scale = { policy = "count", min = 1, max = 3, interval = "100ms" },
}]]

-- Counts its calls under `field`; the reason says them.
local function policy(t, field, more)
    t:write("policies/scale/count.lua", ([[
return {
  name = "count", doc = "for this test", @MORE@
  new = function(params, state)
    state.@FIELD@ = state.@FIELD@ or 0
    return function(s)
      state.@FIELD@ = state.@FIELD@ + 1
      return nil, "@FIELD@ " .. state.@FIELD@
    end
  end,
}]]):gsub("@FIELD@", field):gsub("@MORE@", more or ""))
end

-- How often it has counted, by the last decision.
local function calls(t, field)
    local last = t:of().last_decision
    return last and tonumber(last.reason:match("^" .. (field or "calls") .. " (%d+)$"))
end

local function wait_calls(t, n, field)
    local now
    t:wait(("%d calls"):format(n), function()
        now = calls(t, field)
        return now and now >= n
    end)
    return now
end

describe("the state of a policy", function()
    it("goes on over reloads, and over the deaths of the policy process and of the daemon", tidegate.test(function(t)
        policy(t, "calls")
        t:configure(CONFIG)
        t:start { keep = true }
        wait_calls(t, 5)
        for _ = 1, 5 do
            local before = calls(t)
            assert.equal(0, t:cli("reload").code)
            assert.is_true(wait_calls(t, before + 1) < before + 30)
        end
        local before = calls(t)
        assert.is_true(before >= 10)
        assert.equal(0, t:cli("reload").code) -- the master knows it now
        local process = t:status().policy_pid
        t:kill(process, 9)
        t:wait("a new policy process", function()
            local now = t:status().policy_pid
            return now ~= process and now > 0
        end)
        assert.is_true(wait_calls(t, before + 1) > before)
        t:stop()
        t:start()
        assert.is_true(calls(t) == nil or calls(t) >= before)
        wait_calls(t, before + 1)
    end))

    it("is migrated by the next version, or the reload is refused and nothing changes", tidegate.test(function(t)
        policy(t, "calls")
        t:configure(CONFIG)
        t:start()
        local before = wait_calls(t, 5)
        policy(t, "count", "state_version = 2,\n  migrate = function(old, from)\n    return { count = old.cals + 1000 }\n  end,")
        local result = t:cli "reload"
        assert.equal(1, result.code)
        assert.truthy(result.err:find("policies/scale/count.lua:4: attempt to perform arithmetic on field 'cals'", 1, true),
            result.err)
        assert.equal(1, t:status().generation)
        assert.truthy(t:cli("reload", "--dry-run").err:find("count.lua:4:", 1, true))
        assert.is_true(wait_calls(t, before + 3) < 1000)

        policy(t, "count", "state_version = 2,\n  migrate = function(old, from)\n    return { count = old.calls + 1000 }\n  end,")
        assert.equal(0, t:cli("reload").code)
        local now = wait_calls(t, 1000 + before, "count")
        policy(t, "count", "state_version = 2,")
        assert.equal(0, t:cli("reload").code)
        wait_calls(t, now + 1, "count")

        policy(t, "other", "state_version = 3,") -- no migrate: it begins anew
        assert.equal(0, t:cli("reload").code)
        assert.is_true(wait_calls(t, 1, "other") < 1000)
    end))
end)
