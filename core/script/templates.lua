-- templates.lua: the files of a new policy: policy, spec, and what editors and checkers want to know.
local check = require "script.check"
local stubs = require "script.stubs"
local views = require "tidegate.views"

local M = {}

-- NAME stands for the policy's. Each passes `tidegate check`, `tidegate policy test` and luacheck as it is.
local POLICIES, SPECS = {}, {}

POLICIES.scale = [[
-- NAME.lua: one instance for every `per` requests in flight.
--
-- Sees     in_flight
-- Answers  how many instances there should be, and why
-- Params   per (50)
-- Example  130 in flight at 50 each -> 3
return {
    name = "NAME",
    doc = "Keeps `per` requests in flight on each instance.",
    params = {
        per = { type = "number", default = 50, min = 1, doc = "requests in flight per instance" },
    },
    new = function(params)
        ---@type tidegate.Scale
        return function(s)
            if not s.in_flight then
                return nil, "no samples yet"
            end
            local want = math.ceil(s.in_flight / params.per)
            return want, ("%d in flight, %d each"):format(s.in_flight, params.per)
        end
    end,
    examples = {
        { params = { per = 50 }, given = { in_flight = 130, instances = 2 }, want = 3 },
        { given = { instances = 2 }, want = nil },
    },
}
]]

SPECS.scale = [[
    it("wants one for every `per` in flight", function()
        local decide = t.new("scale/NAME", { per = 20 })
        t.expect_scale(decide, { in_flight = 130, instances = 2 }, 7)
        t.expect_scale(decide, { instances = 2 }, nil)
    end)

    it("follows a load that rises and falls, within its bounds", function()
        local s = t.service("scale/NAME", { per = 50 }, { instances = 2, min = 1, max = 4 })
        s:set { in_flight = 150 }
        s:expect_scale(3)
        s:advance "90s"
        s:set { in_flight = 900 }
        s:expect_scale(4)
        s:advance "10m"
        s:set { in_flight = 0 }
        s:expect_scale(1)
    end)
]]

POLICIES.balance = [[
-- NAME.lua: the fewest requests in flight for its weight.
--
-- Sees     in_flight, weight
-- Answers  a score: the lowest gets the request
-- Params   none
-- Example  3 in flight against 1 -> the second
return {
    name = "NAME",
    doc = "Takes the backend with the fewest requests in flight for its weight.",
    params = {},
    needs = {},
    new = function()
        ---@type tidegate.Balance
        return {
            score = function(backend)
                return (backend.in_flight + 1) / backend.weight
            end,
        }
    end,
    examples = {
        { backends = { { in_flight = 3 }, { in_flight = 1 } }, want = 2 },
        { backends = { { in_flight = 3, weight = 4 }, { in_flight = 1 } }, want = 1 },
        { backends = { { eligible = 0 } }, want = nil },
    },
}
]]

SPECS.balance = [[
    it("spreads requests by weight", function()
        local shares = t.shares("balance/NAME", {}, { { weight = 1 }, { weight = 3 } }, 4000)
        t.expect_shares(shares, { 1, 3 }, 0.03)
    end)

    it("never chooses a backend that is not eligible", function()
        t.expect_shares(t.shares("balance/NAME", {}, { {}, { eligible = 0 }, {} }, 1000), { 1, 0, 1 })
    end)
]]

POLICIES.alert = [[
-- NAME.lua: slow answers while there is enough traffic to tell.
--
-- Sees     performance.p99, traffic.rate
-- Answers  whether to fire, the value, a message
-- Params   slower_than (500ms), at_least (1)
-- Example  a p99 of 0.8 s at 20 requests/s -> fires
return {
    name = "NAME",
    doc = "Fires while the 99th percentile is above `slower_than`.",
    params = {
        slower_than = { type = "duration", default = "500ms", min = 0.001, doc = "longest good p99" },
        at_least = { type = "number", default = 1, min = 0, doc = "requests/s; below it is quiet" },
    },
    new = function(params)
        ---@type tidegate.Alert
        return function(m)
            local p99 = m.performance.p99
            if m.traffic.rate < params.at_least then
                return false
            end
            return p99 > params.slower_than, p99, ("p99 is %.0f ms"):format(p99 * 1000)
        end
    end,
    examples = {
        { given = { performance = { p99 = 0.8 }, traffic = { rate = 20 } }, want = true },
        { given = { performance = { p99 = 0.1 }, traffic = { rate = 20 } }, want = false },
        { given = { performance = { p99 = 0.8 }, traffic = { rate = 0.1 } }, want = false },
    },
}
]]

SPECS.alert = [[
    it("fires above its limit, and says the value", function()
        local rule = t.alert("alert/NAME", { slower_than = "200ms" })
        local firing, value, message = rule { performance = { p99 = 0.3 }, traffic = { rate = 5 } }
        assert.is_true(firing)
        assert.equal(0.3, value)
        assert.equal("p99 is 300 ms", message)
    end)

    it("does not fire while a figure is not known, or nobody comes", function()
        local rule = t.alert "alert/NAME"
        assert.is_false((rule { traffic = { rate = 5 } }))
        assert.is_false((rule { performance = { p99 = 9 }, traffic = { rate = 0 } }))
    end)
]]

POLICIES.anomaly = [[
-- NAME.lua: a figure that is more than `times` its usual value.
--
-- Sees     performance.p99 of a service
-- Answers  a score, from 1 on an anomaly
-- Params   times (3), warm_up (20)
-- Example  10 twenty times, then 50 -> an anomaly
return {
    name = "NAME",
    doc = "Tells of response times beyond `times` what is usual.",
    params = {
        times = { type = "number", default = 3, min = 1, doc = "how much more than usual" },
        warm_up = { type = "integer", default = 20, min = 1, doc = "points before the first alarm" },
    },
    new = function(params)
        ---@type tidegate.Anomaly
        return {
            metrics = { { name = "p99", of = { "performance.p99" }, per = "service" } },
            learn = function()
                return { usual = 0, points = 0 }
            end,
            point = function(state, value)
                local ready = state.points >= params.warm_up
                local score = ready and state.usual > 0 and value / (params.times * state.usual) or 0
                state.points = state.points + 1
                state.usual = state.usual + (value - state.usual) / math.min(state.points, 100)
                if score < 1 then
                    return score
                end
                return score, { type = "slow", severity = score >= 2 and "high" or "medium",
                    description = ("%.3g s, usual %.3g s"):format(value, state.usual) }
            end,
        }
    end,
    examples = {
        { given = { values = { 10, 11 }, times = 20, more = { 12, 50 } }, want = 2 },
        { given = { values = { 10, 11 }, times = 20, more = { 12, 9 } }, want = nil },
    },
}
]]

SPECS.anomaly = [[
    it("tells of the one point beyond what is usual", function()
        local scores, note = t.scores(t.new("anomaly/NAME", { warm_up = 3 }), "p99", { 1, 1, 1, 1.2, 9, 1 })
        assert.is_true(scores[5] >= 1)
        assert.is_true(scores[4] < 1 and scores[6] < 1)
        assert.equal("slow", note.type)
    end)
]]

POLICIES.notify = [[
-- NAME.lua: who is told depends on how bad it is.
--
-- Sees     severity, status
-- Answers  names of channels; nil: those that the alerts name
-- Params   critical ({}: those that the alerts name)
-- Example  a critical alert with critical = { "page" } -> page
return {
    name = "NAME",
    doc = "Sends what is critical to channels of its own.",
    params = {
        critical = { type = "list", default = {}, doc = "channels for severity critical" },
    },
    new = function(params)
        ---@type tidegate.Notify
        return function(n)
            if n.severity == "critical" and #params.critical > 0 then
                return params.critical
            end
            return nil
        end
    end,
    examples = {
        { params = { critical = { "page" } }, given = { severity = "critical" }, want = "page" },
        { params = { critical = { "page" } }, given = { severity = "warning" }, want = nil },
    },
}
]]

SPECS.notify = [[
    it("tells the channels of its severity, else those that the alerts name", function()
        local notify = t.notify("notify/NAME", { critical = { "page", "ops" } })
        assert.same({ "page", "ops" }, notify { severity = "critical" })
        assert.is_nil(notify { severity = "info", channels = { "ops" } })
    end)
]]

local SPEC = [[
-- NAME_spec.lua: run by `tidegate policy test`; also by busted, in the folder of the configuration.
local t = require "tidegate.testing"

describe("KIND/NAME", function()
    it("does as its examples say", function()
        assert.is_true(t.examples "KIND/NAME" > 0)
    end)

%send)
]]

local BUSTED = [[
-- For `busted` in this folder: specs stand beside their policies.
return { _all = { lpath = "./policies/?.lua", ROOT = { "policies" }, pattern = "_spec" } }
]]

local KINDS = { "balance", "scale", "alert", "anomaly", "notify" }

-- The list of kit.h, or nil and why.
function M.files(host, kind, name)
    if not POLICIES[kind] then
        return nil, check.unknown(kind, KINDS, ('kind of policy "%s"'):format(kind))
    elseif not name:find "^%a[%w_]*$" or #name > 58 or name:find "_spec$" then
        local text = '"%s" is no name of a policy: letters, digits and _, a letter first, and no _spec behind'
        return nil, text:format(name)
    elseif host.shipped(kind .. "/" .. name) then
        return nil, ('a policy "%s" is shipped: choose another name, or to change that one write its text to '
            .. "policies/%s/%s.lua"):format(name, kind, name)
    end
    local files = check.array()
    local function add(path, text, support)
        files[#files + 1] = { path = path, text = text, support = support }
    end
    local spec = SPEC:format(SPECS[kind]):gsub("KIND", kind):gsub("NAME", name)
    add(("policies/%s/%s.lua"):format(kind, name), (POLICIES[kind]:gsub("NAME", name)), false)
    add(("policies/%s/%s_spec.lua"):format(kind, name), spec, false)
    add("policies/meta.lua", stubs.meta(views), true)
    for _, file in ipairs(host.shipped_names "tidegate/") do
        add(("policies/tidegate/%s.lua"):format(file), host.shipped("tidegate/" .. file), true)
    end
    add(".luarc.json", stubs.luarc(views, true), true)
    add(".luacheckrc", stubs.luacheckrc(views), true)
    add(".busted", BUSTED, true)
    return files
end

return M
