-- What a reload would have decided otherwise, on the last figures.
local tidegate = require "tidegate"

local CONFIG = [[
service "data" {
  command = { "@SERVICE@", "--host", "127.0.0.1", "--port", "$PORT" },
  health_check = { http = "/health", interval = "100ms", timeout = "1s", retries = 2 },
  scale = { policy = "@POLICY@", min = 1, max = @MAX@, interval = "100ms", @PARAMS@ },
}
alerting { interval = "1s" }
alert "Busy" { when = function(m)
  return m.service == "data" and @BUSY@ == 0
end, channels = {}, services = { "data" } }]]

local function policy(t, name, body)
    t:write("policies/scale/" .. name .. ".lua", ([[
return {
  name = "%s", doc = "for this test", params = { n = { type = "number", default = 1 } },
  new = function(params, state)
    return function(s)
%s
    end
  end,
}]]):format(name, body))
end

describe("a reload tells", function()
    it("decisions and alerts that differ on the last views", tidegate.test(function(t)
        policy(t, "steady", "return params.n, 'n is ' .. params.n")
        policy(t, "broken", "return s.instances + nil")
        local values = { POLICY = "steady", PARAMS = "n = 1", MAX = 3, BUSY = 9 }
        local function with(changes)
            for key, value in pairs(changes) do
                values[key] = value
            end
            t:configure(CONFIG, values)
        end
        with {}
        t:start()
        t:wait("views", function()
            local diff = t:ask("reload", "--dry-run").diff
            return diff and diff.views == 20
        end)
        assert.truthy(t:cli("reload", "--dry-run").out:find("no decision differs on the last 20 views", 1, true))

        with { PARAMS = "n = 2", POLICY = "steady" }
        local one = t:ask("reload", "--dry-run").diff.services[1]
        assert.same({ "data", 20, 20 }, { one.service, one.views, one.differ })
        assert.same({ want = 1, reason = "n is 1" }, one.last.was)
        assert.same({ want = 2, reason = "n is 2" }, one.last.now)
        local out = t:cli("reload", "--dry-run").out
        assert.truthy(out:find("data: 20 of the last 20 decisions differ\n  1 (n is 1)\n  -> 2 (n is 2)", 1, true), out)
        assert.equal(1, t:status().generation)
        assert.is_nil(t:log():find("decides otherwise", 1, true))

        with { PARAMS = "n = 5" } -- held to the bounds of its generation
        assert.equal(3, t:ask("reload", "--dry-run").diff.services[1].last.now.want)
        with { PARAMS = "n = 1", POLICY = "broken" }
        out = t:cli("reload", "--dry-run").out
        assert.truthy(out:find("steady -> broken", 1, true), out)
        assert.truthy(out:find("-> policies/scale/broken.lua:5: attempt to perform arithmetic on a nil value", 1, true), out)
        with { POLICY = "steady", BUSY = 0 }
        t:wait("the last question about alerts", function()
            return t:cli("reload", "--dry-run").out:find("alert Busy would fire for data", 1, true)
        end)

        -- For good: the log tells in short, and the next generation compares on the same views.
        with { PARAMS = "n = 2" }
        assert.equal(20, t:ask("reload").diff.services[1].differ)
        assert.truthy(t:log():find('decides otherwise than before" service=data differ=20 of=20 was=1 now=2', 1, true))
        with { PARAMS = "n = 3" }
        assert.equal(20, t:ask("reload").diff.services[1].views)
    end))

    it("what policies that keep something would say as they are now", tidegate.test(function(t)
        policy(t, "steady", "state.calls = (state.calls or 0) + 1 return state.calls > 1000 and 2 or 1")
        t:configure(CONFIG, { POLICY = "steady", PARAMS = "", MAX = 3, BUSY = 9 })
        t:start()
        t:wait("views", function()
            local diff = t:ask("reload", "--dry-run").diff
            return diff and diff.views == 20
        end)
        assert.same({}, t:ask("reload", "--dry-run").diff.services)
        policy(t, "steady", "state.calls = (state.calls or 0) + 1 return state.calls > 5 and 2 or 1")
        assert.equal(20, t:ask("reload", "--dry-run").diff.services[1].differ)
    end))
end)
