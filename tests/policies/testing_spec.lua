-- tidegate.testing itself: what it gives specs of policies, and that what it expects can fail.
local t = require "policy"

local function module_of(kind, body)
    return t.load("policies/" .. kind .. "/mine.lua", "return { name = 'mine', params = { per = { default = 50 } }, "
        .. "new = function(params, state) " .. body .. " end }")
end

local PER = "return function(s) return math.ceil(s.in_flight / params.per), 'because' end"

describe("tidegate.testing", function()
    it("gives the functions of the sandbox, and no others", function()
        local seen = module_of("scale", "return { io, os, debug, loadstring, string.dump, math.floor, params }").new {}
        assert.is_nil(seen[1] or seen[2] or seen[3] or seen[4] or seen[5])
        assert.equal(math.floor, seen[6])
    end)

    it("raises on fields that a view does not have, and names the nearest", function()
        for pattern, f in pairs {
            ["the view has no field 'cpu_percnt': did you mean 'cpu_percent'%?"] = function()
                return t.view { cpu_percnt = 1 }
            end,
            ["the view has no field 'in_flght': did you mean 'in_flight'%?"] = function()
                return t.view {}.in_flght
            end,
            ["a backend has no field 'wait'"] = function()
                return t.backends { { wait = 1 } }
            end,
            ["m.traffic has no field 'rte': did you mean 'rate'%?"] = function()
                return t.metrics {}.traffic.rte
            end,
            ["the view has no field 'trafic': did you mean 'traffic'%?"] = function()
                return t.metrics { trafic = {} }
            end,
        } do
            assert.error_matches(f, pattern)
        end
        local m = t.metrics { performance = { p99 = 1, own = 2 } }
        assert.same({ 1, 2 }, { m.performance.p99, m.performance.own })
        assert.is_true(m.performance.p50 ~= m.performance.p50, "unknown numbers are NaN")
        assert.is_true(m.resources.network.sent_bytes_per_second ~= 0)
    end)

    it("expects what a scale policy wants", function()
        local module = module_of("scale", PER)
        assert.equal("because", t.expect_scale(t.new(module), { in_flight = 130 }, 3))
        assert.error_matches(function()
            t.expect_scale(t.new(module), { in_flight = 130 }, 4)
        end, "given { in_flight = 130 } wanted 4, got 3 %(because%)")
        assert.error_matches(function()
            t.new(module, { pr = 3 })
        end, "params of mine has no field 'pr': did you mean 'per'%?")
    end)

    it("keeps a service under a clock of its own", function()
        local s = t.service(module_of("scale", PER), {}, { instances = 2, max = 5, in_flight = 100 })
        s:expect_scale(2)
        s:set { in_flight = 1000 }
        s:expect_scale(5)
        s:advance "1m30s"
        s:set { in_flight = 60 }
        s:expect_scale(2)
        assert.equal(1090, s.clock.now)
        assert.error_matches(function()
            s:expect_scale(3)
        end, "after 90 s wanted 3 instances, there are 2 %(because%)")
        local waits = t.service(module_of("scale", "return function(s) return s.since_up_s < 60 and 3 or 4 end"), {},
            { instances = 2, since_up_s = 0 })
        waits:expect_scale(3)
        waits:advance(59)
        waits:expect_scale(3)
        waits:advance "2s"
        waits:expect_scale(4)
    end)

    it("gives a policy the state that it keeps", function()
        local counts = module_of("scale", "return function() state.n = (state.n or 0) + 1 return state.n end")
        local state = { n = 4 }
        t.expect_scale(t.new(counts, nil, state), {}, 5)
        assert.equal(5, state.n)
    end)

    it("carries a state over a reload, and through migrate", function()
        local counts = module_of("scale", "return function() state.n = (state.n or 0) + 1 return state.n end")
        local s = t.service(counts, {}, { instances = 1 })
        s:expect_scale(1)
        s:expect_scale(2)
        s:reload()
        s:expect_scale(3)
        local newer = module_of("scale", "return function() state.m = state.m + 1 return state.m end")
        newer.state_version = 2
        newer.migrate = function(old, from) return { m = old.n * 10 + from } end
        s:reload(newer)
        s:expect_scale(32)
        s:reload(counts) -- another version without migrate: begins anew
        s:expect_scale(1)
        local bad = module_of("scale", "state.f = { print } return function() return 1 end")
        assert.error_matches(function() t.service(bad, {}, {}):reload() end, "state.f.1 is a function: a state is plain data")
    end)

    it("begins chance anew with each policy that is loaded", function()
        local function three()
            local r = module_of("scale", "return math.random").new {}
            return { r(), r(), r() }
        end
        assert.same(three(), three())
    end)

    it("reads durations", function()
        assert.same({ 90, 0.25, 5400, 7 }, { t.seconds "90s", t.seconds "250ms", t.seconds "1h30m", t.seconds(7) })
        assert.has_error(function() t.seconds "3x" end)
    end)

    it("replays a trace: more instances miss less and cost more", function()
        local csv = { "seconds,requests_per_second" }
        for minute = 0, 120 do
            csv[#csv + 1] = ("%d,%d"):format(minute * 60, minute > 30 and minute < 90 and 900 or 200)
        end
        csv = table.concat(csv, "\n")
        local few = t.replay(module_of("scale", "return function() return 3 end"), {}, csv)
        local follows = t.replay("scale/threshold", { cpu = 70 }, csv)
        local many = t.replay(module_of("scale", "return function() return 30 end"), {}, csv)
        assert.is_true(few.violation_percent > 40)
        assert.is_true(follows.violation_percent < few.violation_percent and follows.violation_percent > 0, "follows")
        assert.is_true(many.violation_percent < 5 and many.instance_hours > follows.instance_hours)
        assert.is_true(follows.ups > 3 and follows.most >= 10 and follows.downs > 0)
        assert.error_matches(function() t.replay("scale/threshold", {}, csv, { capcity = 3 }) end, "no option capcity")
    end)

    it("counts shares, and holds them against what they should be", function()
        local shares = t.shares("balance/least_connections", {}, { {}, { weight = 3 }, { eligible = 0 } }, 4000)
        t.expect_shares(shares, { 1, 3, 0 }, 0.03)
        assert.error_matches(function()
            t.expect_shares(shares, { 1, 1, 0 })
        end, "backend 1 should have 50.0 %% of the picks and has 2%d")
        assert.error_matches(function()
            t.shares(module_of("balance", "return { pick = function() return 2 end }"), {}, { {}, { eligible = 0 } }, 9)
        end, "pick 1 chose 2, which is no eligible backend")
    end)

    it("asks alert, notify and anomaly policies", function()
        local rule = t.alert(module_of("alert", "return function(m) return m.traffic.rate > 5, m.traffic.rate end"))
        assert.same({ true, 9 }, { rule { traffic = { rate = 9 } } })
        assert.is_false((rule {}))
        local tell = t.notify(module_of("notify", "return function(n) return { n.severity } end"))
        assert.same({ "critical" }, tell { severity = "critical" })
    end)

    it("finds an example that is wrong", function()
        local module = module_of("scale", PER)
        module.examples = { { given = { in_flight = 50 }, want = 1 }, { given = { in_flight = 50 }, want = 2 } }
        assert.error_matches(function()
            t.examples(module)
        end, "mine: example 2: wanted 2, got 1")
    end)
end)
