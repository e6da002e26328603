-- What no policy may do, each rule by itself and what is written down of it. Samples come every second, policies are asked
-- every 5 s.
local World = require "fleet_world"

local FREE = { min = 1, max = 100, up_cooldown_ms = 1, down_cooldown_ms = 1, step_limits = {}, saturation = {}, churn = {} }

-- No rule that has settings, but those given.
local function config(over, service)
    local scale = {}
    for key, value in pairs(FREE) do
        scale[key] = value
    end
    for key, value in pairs(over or {}) do
        scale[key] = value
    end
    service = service or {}
    service.scale = scale
    return { services = { World.service("shop", service) } }
end

describe("fleet's guard rails", function()
    local w

    local function start(over, service)
        w = World.new(config(over, service))
        w:until_(function() return w:up "shop" == w:service_status("shop").desired end)
        w:run(3000)
        w:forget()
    end

    after_each(function()
        w:close()
    end)

    local function until_last(action, held, limit_ms)
        return w:until_(function()
            return w:last().action == action and w:last().held_by == held
        end, limit_ms or 20000, action .. " " .. held)
    end

    local function desired()
        return w:service_status("shop").desired
    end

    -- By hand, at once.
    local function count(n)
        assert.is_true(w:operate("scale", "shop", n, 0).ok)
        w:until_(function() return w:up "shop" == n end)
        w:run(3000)
    end

    local function rules()
        local list = {}
        for _, one in ipairs(w:last().constraints) do
            list[#list + 1] = ("%s %d -> %d"):format(one.rule, one.before, one.after)
        end
        return table.concat(list, ", ")
    end

    it("write down what each made of the number, in their order", function()
        start { min = 2, max = 5, up_cooldown_ms = 60000, down_cooldown_ms = 60000 }
        w:want(3)
        until_last("scale_up", "")
        assert.equal("", rules())
        w:want(99)
        until_last("hold", "cooldown")
        assert.equal("max 99 -> 5, cooldown 5 -> 3", rules())
        assert.same({ 99, 3, 3 }, { w:last().want, w:last().was, w:last().result })
        until_last("scale_up", "max", 70000)
        assert.equal("max 99 -> 5", rules())
        w:want(0)
        until_last("hold", "cooldown", 10000)
        assert.equal("min 0 -> 2, cooldown 2 -> 5", rules())
    end)

    it("keep apart in the records what was kept back by different rules", function()
        start { min = 2, max = 5, up_cooldown_ms = 60000 }
        w:want(3)
        until_last("scale_up", "")
        w:want(4)
        until_last("hold", "cooldown")
        local before = #w:decisions "shop"
        w:run(10000)
        assert.equal(before, #w:decisions "shop")
        assert.is_true(w:last().count > 1)
        w:want(9)
        w:until_(function() return rules() == "max 9 -> 5, cooldown 5 -> 3" end, 10000)
        assert.equal(before + 1, #w:decisions "shop")
    end)

    for name, answer in pairs {
        ["a text"] = { want = "7" }, ["a truth"] = { want = true }, ["a table"] = { want = { 7 } },
        ["a negative number"] = { want = -3 }, ["more than there are numbers"] = { want = 1e300 },
        ["an error"] = { error = "policies/scale/x.lua:3: attempt to index nil" },
    } do
        it("change nothing for " .. name .. " in place of a number", function()
            start()
            count(3)
            w:policy { shop = answer }
            until_last("hold", "policy_error")
            w:run(60000)
            assert.equal("policy_error 3 -> 3", rules())
            assert.equal(3, desired())
        end)
    end

    it("change nothing while the policy is silent", function()
        start()
        count(3)
        w:policy()
        until_last("hold", "policy_error", 20000)
        assert.equal("no answer from the policy", w:last().reason)
        w:run(60000)
        assert.equal(3, desired())
    end)

    it("let bounds that an operator changes win at once, whatever else holds", function()
        start { step_limits = { after_up_ms = 600000 }, up_cooldown_ms = 600000, down_cooldown_ms = 600000 }
        count(10)
        w:policy { shop = { error = "broken" } }
        w:apply(config { min = 1, max = 2, up_cooldown_ms = 600000, down_cooldown_ms = 600000 })
        assert.equal(2, desired())
        w:apply(config { min = 40, max = 50, up_cooldown_ms = 600000, down_cooldown_ms = 600000 })
        assert.equal(40, desired())
    end)

    it("take no instance away without figures; one may be added for what is known", function()
        start()
        count(3)
        w:fault("sample", { code = World.EAGAIN, times = 1000000 })
        w:run(4000)
        w:want(1)
        until_last("hold", "stale", 10000)
        assert.equal("stale 1 -> 3", rules())
        w:run(60000)
        assert.equal(3, desired())
        w:policy { shop = { reason = "no samples yet" } }
        w:until_(function() return w:last().reason == "no samples yet" end, 10000)
        assert.same({ "hold", "stale" }, { w:last().action, w:last().held_by })
        w:want(4)
        until_last("scale_up", "", 10000)
        w:want(1)
        w:fault("sample", { times = 0 })
        until_last("scale_down", "", 20000)
    end)

    it("take none away when fewer than half tell their figures", function()
        start()
        count(5)
        for n = 1, 3 do
            w:mute("tg-t-shop-" .. n, true)
        end
        w:run(5000)
        w:want(4)
        until_last("hold", "stale", 10000)
        w:run(60000)
        assert.equal(5, desired())
        w:mute("tg-t-shop-1", false) -- three of five
        until_last("scale_down", "", 20000)
    end)

    it("take totals that went back for no figures", function()
        w = World.new(config({}, { restart_policy = { name = "always", max_retries = 0 } }))
        w:image("ok", { restarts = true })
        w:until_(function() return w:up "shop" == 1 end)
        count(2)
        w:until_(function() return (w:instances("shop")["shop-1"] or {}).cpu_percent end, 10000)
        local id = next((w:backends "shop"))
        w:die("tg-t-" .. id, 1)
        w:until_(function() return w:up "shop" == 2 end)
        for _ = 1, 40 do
            w:run(100)
            for _, i in pairs(w:instances "shop") do
                assert.is_true((i.cpu_percent or 50) > 45 and (i.cpu_percent or 50) < 55, i.cpu_percent)
            end
        end
    end)

    it("leave the work of starting out of the means", function()
        start()
        w:run(10000) -- longer than a start takes from now on
        w:image("ok", { ready_ms = 8000 })
        count(2) -- starts take up to eight seconds, as is known now
        w:image("ok", { ready_ms = 500, start_cores = 1, start_ms = 7500 })
        count(3)
        w:want(3)
        local highest, seen = 0, 0
        for _ = 1, 12 do
            w:run(1000)
            local s = w:service_status "shop"
            highest = math.max(highest, s.resources.cpu_percent)
            for _, i in ipairs(s.instances) do
                seen = math.max(seen, i.cpu_percent or 0)
            end
        end
        assert.is_true(seen > 90, seen) -- it did use it
        assert.is_true(highest < 60, highest)
    end)

    it("count what there is while nobody is warm", function()
        start()
        w:run(10000) -- longer than a start takes from now on
        w:image("ok", { ready_ms = 8000 })
        count(2)
        w:image("ok", { ready_ms = 500 })
        w:operate("deploy", "shop")
        w:until_(function() return w:service_status("shop").deploy.state == "done" end)
        w:until_(function() return w:service_status("shop").resources.cpu_percent end, 5000)
    end)

    local function full(over, service)
        start(over, service)
        count(4)
        w:image("ok", { cores = 0.99 })
        w:run(2000)
    end

    it("add half as many when all are full and the policy wants no more", function()
        full { saturation = { cpu = 95, times = 3 }, down_cooldown_ms = 600000 }
        w:want(1)
        w:until_(function() return desired() == 6 end, 30000)
        assert.equal("saturation 1 -> 6", rules())
    end)

    it("add them three evaluations in a row later, and not again while they start", function()
        start { saturation = { cpu = 95, times = 3 } }
        count(4)
        w:run(10000)
        w:policy { shop = { error = "broken" } }
        until_last("hold", "policy_error")
        w:image("ok", { ready_ms = 9000, cores = 0.99 })
        assert.is_true(until_last("scale_up", "policy_error", 30000) >= 8000)
        assert.equal("policy_error 4 -> 4, saturation 4 -> 6", rules())
        w:until_(function() return w:up "shop" == 6 end, 20000)
        assert.equal(6, desired())
        w:until_(function() return desired() == 9 end, 40000)
    end)

    it("add them when requests wait long", function()
        start({ saturation = {} }, { routes = { { path = "/" } } })
        count(4)
        w:queue(0, 0, 100)
        w:want(4)
        w:run(30000)
        assert.equal(4, desired())
        w:apply(config({ saturation = { queue_wait_ms = 200, times = 3 } }, { routes = { { path = "/" } } }))
        w:until_(function() return desired() == 6 end, 30000)
    end)

    it("leave it to a policy that wants more how many, and add none beyond the bounds", function()
        full { saturation = { cpu = 95, times = 1 }, max = 5 }
        w:want(5)
        w:until_(function() return desired() == 5 end, 10000)
        assert.equal("", rules())
        w:until_(function() return w:up "shop" == 5 end, 20000)
        w:want(1)
        until_last("hold", "max", 20000)
        assert.equal("saturation 1 -> 8, max 8 -> 5", rules())
    end)

    it("limit how many are added at a time", function()
        start { step_limits = { up_factor = 4, up_count = 8, up_period_ms = 30000 } }
        w:want(90)
        until_last("scale_up", "step")
        assert.equal("step 90 -> 9", rules())
        until_last("hold", "step", 10000)
        assert.equal(9, desired())
        assert.is_true(w:until_(function() return desired() > 9 end, 40000) > 20000)
        assert.equal(36, desired())
    end)

    it("limit how many are taken away at a time", function()
        start { step_limits = { down_percent = 25, down_period_ms = 60000, after_up_ms = 0 } }
        count(12)
        w:want(1)
        until_last("scale_down", "step")
        assert.equal("step 1 -> 9", rules())
        until_last("hold", "step", 20000)
        w:until_(function() return desired() < 9 end, 70000)
        assert.equal(7, desired())
        w:until_(function() return desired() == 1 end, 600000)
    end)

    it("take none away soon after one was added", function()
        start { step_limits = { after_up_ms = 60000 } }
        w:want(3)
        until_last("scale_up", "")
        w:want(2)
        until_last("hold", "after_up", 10000)
        assert.is_true(until_last("scale_down", "", 70000) > 40000)
        w:want(3)
        until_last("scale_up", "", 10000) -- which no down keeps back
    end)

    it("freeze downs when a policy goes to and fro, and tell it", function()
        start { churn = { changes = 3, window_ms = 600000, freeze_ms = 120000 } }
        for n = 1, 5 do
            w:want(n % 2 == 1 and 2 or 1)
            until_last(n % 2 == 1 and "scale_up" or "scale_down", "", 20000)
            w:until_(function() return w:up "shop" == desired() end)
            w:run(2000)
        end
        assert.matches("service shop : downs are frozen: more than 3 changes of direction within 600 s: no down for 120 s",
            w:facts(), 1, true)
        assert.is_true(w:service_status("shop").frozen_for_s > 100)
        w:want(1)
        until_last("hold", "churn", 10000)
        assert.equal("churn 1 -> 2", rules())
        w:want(3)
        until_last("scale_up", "", 10000)
        w:want(1)
        until_last("hold", "churn", 20000)
        until_last("scale_down", "", 150000)
        assert.is_nil(w:service_status("shop").frozen_for_s)
    end)

    it("do not count what an operator does as to and fro", function()
        start { churn = { changes = 3, window_ms = 600000, freeze_ms = 120000 } }
        for n = 1, 8 do
            count(n % 2 == 1 and 2 or 1)
        end
        assert.is_nil(w:service_status("shop").frozen_for_s)
    end)

    it("start no more while starts fail", function()
        start()
        w:image("ok", { missing = true })
        w:want(3)
        until_last("scale_up", "")
        w:want(5)
        until_last("hold", "back_off", 20000)
        w:run(30000)
        assert.equal(3, desired())
        assert.equal(1, w:up "shop")
    end)

    it("cancel a start before a ready instance is stopped", function()
        start()
        count(2)
        w:run(25000)
        w:image("ok", { ready_ms = 20000 })
        w:operate("scale", "shop", 6, 0)
        w:run(2000)
        w:forget()
        w:operate("scale", "shop", 2, 0)
        w:until_(function() return #w:service_status("shop").instances == 2 end, 20000)
        assert.is_nil(w:log():find("tg-t-shop-1\n", 1, true))
        assert.is_nil(w:log():find("tg-t-shop-2\n", 1, true))
        assert.equal(2, w:up "shop")
    end)

    it("never take the last ready one", function()
        start()
        count(3)
        w:sick("tg-t-shop-1", true)
        w:sick("tg-t-shop-3", true)
        w:until_(function() return w:up "shop" == 1 end)
        w:operate("scale", "shop", 1, 0)
        for _ = 1, 200 do
            w:run(100)
            assert.is_true(w:up "shop" >= 1)
        end
        assert.equal("up", w:instances("shop")["shop-2"].state)
    end)
end)
