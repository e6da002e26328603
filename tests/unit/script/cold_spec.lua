local script = require "script_room"

local C = script.C

local function service(name, policy, params)
    return { name = name, scale = { policy = policy, params = params } }
end

-- Decisions for views, by policies { name = source } and services.
local function decide(sources, services, views)
    local config = script.config({ scale = sources }, { services = services,
        libraries = { { name = "lib.half", origin = "policies/lib/half.lua",
            source = "return function(x) return x / 2 end" } } })
    local cold = assert(script.cold(config))
    local decisions = script.value(C.script_cold_decide(cold, script.json { now_ms = 1, services = views }))
    C.script_cold_free(cold)
    return decisions.services
end

local function policy(body)
    return "return { name = 'x', new = function(params)\nreturn function(s)\n" .. body .. "\nend end }"
end

local function one(body, view)
    return decide({ x = policy(body) }, { service("web", "x", { per = 10 }) }, { web = view or { instances = 2 } }).web
end

local X = "policies/scale/x.lua"

describe("script/cold", function()
    it("answers for each service that has a scale policy and a view", function()
        local threshold = script.read "policies/scale/threshold.lua"
        local got = decide({ threshold = threshold, x = policy "return s.in_flight / params.per" }, {
            service("catalog", "threshold", { cpu = 75, memory = 80 }),
            service("orders", "x", { per = 10 }),
            service("absent", "x", { per = 10 }),
            { name = "legacy" },
        }, {
            catalog = { instances = 2, min = 2, max = 20, cpu_percent = 91, memory_percent = 40.1 },
            orders = { instances = 2, in_flight = 30 },
            legacy = { instances = 1 },
        })
        assert.same({
            catalog = { want = 3, reason = "High resource usage - CPU: 91.0%, Memory: 40.1%",
                policy = "threshold", origin = "policies/scale/threshold.lua" },
            orders = { want = 3, reason = "", policy = "x", origin = X },
        }, got)
    end)

    local ffi = require "ffi"
    require("ffi_room").declare "base/record.h"

    -- What it answers to views that are records of these numbers; -1 = unknown.
    local function asker(cold, names)
        local fields = ffi.new("struct record_field[?]", #names)
        local record, decision = ffi.new("double[?]", #names), ffi.new "struct script_decision"
        for i, name in ipairs(names) do
            fields[i - 1].name, fields[i - 1].at = name, (i - 1) * 8
        end
        local view = ffi.new("struct script_view", { "web", fields, #names, record })
        return function(values)
            for i, name in ipairs(names) do
                record[i - 1] = values[name] or -1
            end
            if C.script_cold_answer(cold, view, decision) < 0 then
                return "nobody"
            end
            local function text(s)
                return s ~= nil and ffi.string(s) or nil
            end
            return { want = decision.opinion and decision.want or nil, reason = text(decision.reason),
                error = text(decision.error), policy = text(decision.policy), origin = text(decision.origin) },
                fields, record -- must live as long
        end
    end

    it("answers records as it answers JSON", function()
        local names = { "now", "instances", "desired", "cpu_percent", "rate", "hash" }
        for _, body in ipairs {
            "return s.instances + (s.rate or 4), s.service .. (s.cpu_percent or 'none')",
            "return nil, 'no opinion'", "return s.desird", "return 2.5", "return '3'", "error('no')",
            "return s.metrics.traffic.rate == s.metrics.traffic.rate and 1 or 2",
            "return rawget(s, 'cpu_percent') and 1 or 2", "return s.metrics.trafic.rate",
            "return math.random(1e6) + math.random(1e6)",
        } do
            local config = script.config({ scale = { x = policy(body) } }, { services = { service("web", "x") } })
            local cold = assert(script.cold(config))
            local ask = asker(cold, names)
            for _, values in ipairs { { now = 1, instances = 2, desired = 2, cpu_percent = 0, rate = 3, hash = 0.3 },
                { now = 2, instances = 2, desired = 2, hash = 0.7 } } do
                values.service = "web"
                local want = script.value(C.script_cold_decide(cold, script.json { services = { web = values } })).services.web
                want.input = nil -- of the JSON alone
                assert.same(want, (ask(values)), body)
            end
            C.script_cold_free(cold)
        end
    end)

    it("answers no record of a service that no policy scales", function()
        local config = script.config({ scale = { x = policy "return 1" } }, { services = { service("other", "x") } })
        local cold = assert(script.cold(config))
        assert.equal("nobody", asker(cold, { "now" }) {})
        C.script_cold_free(cold)
    end)

    it("answers with the JIT on to the last bit what it answers with it off", function()
        local names = { "now", "instances", "desired", "starting", "min", "max", "cpu_percent", "rate", "queue", "p95_ms" }
        local libraries = {}
        for _, name in ipairs { "demand", "forecast" } do
            libraries[#libraries + 1] = { name = "lib." .. name, origin = "policies/lib/" .. name .. ".lua",
                source = script.read("policies/lib/" .. name .. ".lua") }
        end
        -- What the policy wants, in full figures, and not only as whole instances.
        local source = script.read("policies/scale/error_budget.lua"):gsub('"%%%.[32]f", 1%d+', '"%%.17g", 1e17')
            :gsub("%%d (%a)", "%%.17g %1"):gsub("floor%((%a+) %+ 0%.5%)", "%1")
        assert.matches('%%%.17g an instance, %%s %%%% missed"%)', source)
        assert.matches('slowly%("%%%.17g", 1e17%), slowly%("%%%.17g", 1e17%)', source)
        local config = script.config({ scale = { error_budget = source } }, { libraries = libraries, services = {
            service("web", "error_budget", { slo = 0.4, budget = 0.5, startup = 0, capacity = 0, load = 0.9, least = 0.9,
                most = 0.97, hold = 180, drain = 20 }) } })
        local cold, live = assert(script.cold(config)), ffi.new "struct script_cold *[1]"
        assert.equal(0, C.script_cold_new_live(config, live, ffi.new "char *[1]"))
        local off, on = asker(cold, names), asker(live[0], names)
        local n, instances, noise = 6000, 3, 1
        for i = 1, n do
            noise = noise * 16807 % 2147483647
            local rate = 300 + 200 * math.sin(i / 500) + 40 * (noise / 2147483647)
            local view = { now = i * 5, instances = instances, desired = instances, starting = i % 50 < 6 and 1 or 0, min = 1,
                max = 40, cpu_percent = math.min(rate / instances, 100), rate = rate, queue = i % 97 == 0 and 30 or 0,
                p95_ms = rate / instances > 90 and 500 or 150 }
            local a, b = off(view), on(view)
            assert.same(a, b)
            assert.is_nil(a.error)
            instances = a.want or instances
        end
        C.script_cold_free(cold)
        C.script_cold_free(live[0])
    end)

    it("tells what a policy that failed was asked with, and asks one in quarantine no more", function()
        local config = script.config({ scale = { x = policy "error('no ' .. s.service)" } },
            { services = { service("a", "x"), service("b", "x") } })
        local cold = assert(script.cold(config))
        local function ask()
            return script.value(C.script_cold_decide(cold, script.json { services = {
                a = { service = "a", instances = 3, cpu_percent = 91.5, rate = 0.25, hash = 1 },
                b = { service = "b" } } })).services
        end
        assert.same({ error = X .. ":3: no a", input = "instances 3, cpu_percent 91.5, rate 0.25", policy = "x", origin = X },
            ask().a)
        C.script_cold_quarantine(cold, script.json { point = "scale", of = "a", error = X .. ":3: no a" })
        C.script_cold_quarantine(cold, script.json { point = "alert", of = "b", error = "?" })
        assert.same({ error = "in quarantine until the next reload, for it failed: " .. X .. ":3: no a", quarantined = true,
            policy = "x", origin = X }, ask().a)
        assert.equal(X .. ":3: no b", ask().b.error)
        C.script_cold_free(cold)
    end)

    it("keeps what a policy declared as its own state, for each service its own", function()
        local source = "local all = 0\nreturn { new = function()\nlocal n = 0\nreturn function()\n"
            .. "n, all = n + 1, all + 1\nreturn n * 10 + all end end }"
        local config = script.config({ scale = { x = source } }, { services = { service("a", "x"), service("b", "x") } })
        local cold = assert(script.cold(config))
        for i = 1, 3 do
            local got = script.value(C.script_cold_decide(cold,
                script.json { services = { a = { instances = 1 }, b = { instances = 1 } } })).services
            assert.equal(i * 11, got.a.want)
            assert.equal(i * 11, got.b.want)
        end
        C.script_cold_free(cold)
    end)

    it("needs the configuration only while it is made", function()
        local source = "return { new = function(params)\nreturn function()\n"
            .. "return require('lib.half')(params.per), 'half' end end }"
        local config = script.config({ scale = { x = source } }, { services = { service("web", "x", { per = 8 }) },
            libraries = { { name = "lib.half", origin = "policies/lib/half.lua",
                source = "return function(x) return x / 2 end" } } })
        local cold = assert(script.cold(config))
        C.json_free(require "ffi".gc(config, nil))
        local others = {} -- what was freed is taken again
        for i = 1, 200 do
            others[i] = script.json { name = "other", scale = { policy = "other" } }
        end
        local got = script.value(C.script_cold_decide(cold, script.json { services = { web = { instances = 1 } } }))
        C.script_cold_free(cold)
        assert.equal(200, #others)
        assert.same({ web = { want = 4, reason = "half", policy = "x", origin = X } }, got.services)
    end)

    it("takes nil as no opinion", function()
        local got = one "return nil, 'no samples yet'"
        assert.is_nil(got.want)
        assert.is_nil(got.error)
        assert.equal("no samples yet", got.reason)
        assert.is_nil(one("return").error)
    end)

    it("requires libraries of the configuration", function()
        assert.equal(4, one("return require('lib.half')(8)").want)
    end)

    it("refuses answers that are none", function()
        local cases = {
            { "return 2.5", X .. ":2: answered 2.5: a whole number of instances, 0 or more" },
            { "return -1", X .. ":2: answered -1" },
            { "return 0/0", X .. ":2: answered " },
            { "return 1/0", X .. ":2: answered inf" },
            { "return '3'", X .. ":2: answered a string: a whole number of instances, or nil" },
            { "return {}", X .. ":2: answered a table" },
            { "return false", X .. ":2: answered a boolean" },
            { "\nreturn s.cpu.percent", X .. ":4: the view has no field 'cpu': did you mean 'cpu_percent'?" },
            { "return s.cpu_percent + 1", X .. ":3: attempt to perform arithmetic" },
            { "while true do end", X .. ":3: ran longer than 50 ms of CPU time" },
            { "while true do pcall(function() while true do end end) end", X .. ":3: ran longer than 50 ms" },
            { "coroutine.wrap(function() while true do end end)()", X .. ":3: " },
            { "local t = {}\nfor i = 1, 1e9 do t[i] = ('x'):rep(1e5 + i) end", X .. ": not enough memory" },
            { "require 'io'", X .. ":3: no library \"io\"" },
            { "return io.open('/etc/passwd')", X .. ":3: attempt to index global 'io'" },
        }
        for _, case in ipairs(cases) do
            local got = one(case[1])
            assert.is_nil(got.want)
            assert.truthy(got.error and got.error:find(case[2], 1, true) == 1, case[1] .. " -> " .. tostring(got.error))
        end
    end)

    it("lets one service's failure touch no other", function()
        local bad = "return { new = function() return function(s)\nif s.rate > 1 then while true do end end\n"
            .. "local t = {} for i = 1, 1e9 do t[i] = {} end end end }"
        local good = "return { new = function() return function(s) return s.instances end end }"
        local config = script.config({ scale = { bad = bad, good = good } },
            { services = { service("a", "bad"), service("b", "good"), service("c", "bad"), service("d", "good") } })
        local cold = assert(script.cold(config))
        for _ = 1, 2 do
            local got = script.value(C.script_cold_decide(cold, script.json { services = {
                a = { rate = 2 }, b = { instances = 3 }, c = { rate = 0 }, d = { instances = 4 } } })).services
            assert.truthy(got.a.error:find("policies/scale/bad.lua:2: ran longer", 1, true), got.a.error)
            assert.truthy(got.c.error:find("not enough memory", 1, true)
                or got.c.error:find("ran longer", 1, true), got.c.error)
            assert.equal(3, got.b.want)
            assert.equal(4, got.d.want)
        end
        C.script_cold_free(cold)
    end)

    it("asks shadows the same, each with parameters of its own, and lets none touch the answer", function()
        local web = service("web", "x", { per = 10 })
        web.scale.shadows = { { name = "x", policy = "x", params = { per = 5 } }, { name = "y", policy = "y", params = {} } }
        local sources = { x = policy "return s.in_flight / params.per, 'so many'",
            y = policy("local n = s.in_flight\nerror 'broken'"):gsub("'x'", "'y'") }
        local got = decide(sources, { web }, { web = { instances = 2, in_flight = 30 } }).web
        assert.same({ 3, "so many", "x" }, { got.want, got.reason, got.policy })
        assert.same({ 2, "x", 6, "so many" }, { #got.shadows, got.shadows[1].name, got.shadows[1].want, got.shadows[1].reason })
        assert.same({ "y", "policies/scale/y.lua:4: broken" }, { got.shadows[2].name, got.shadows[2].error })
        assert.is_nil(decide(sources, { service("web", "x", { per = 10 }) }, { web = { in_flight = 30 } }).web.shadows)
    end)

    it("asks a shadow no more that failed three times in a row", function()
        local web = service("web", "x", {})
        web.scale.shadows = { { name = "y", policy = "y", params = {} } }
        local config = script.config({ scale = { x = policy "return 1",
            y = "local asked = 0 return { name = 'y', new = function() return function(s)\n"
                .. "asked = asked + 1 if s.instances == 9 then return 9 end error(asked .. ' times') end end }" } },
            { services = { web } })
        local cold = assert(script.cold(config))
        local function said(instances)
            return script.value(C.script_cold_decide(cold, script.json { services = { web = { instances = instances } } }))
                .services.web.shadows[1]
        end
        for n = 1, 2 do
            assert.matches(n .. " times", said(1).error)
        end
        assert.equal(9, said(9).want) -- which begins the row anew
        for n = 4, 6 do
            assert.matches(n .. " times", said(1).error)
        end
        for _ = 1, 2 do
            assert.matches("^not asked until the next reload, for it failed 3 times in a row: .*6 times", said(9).error)
        end
        C.script_cold_free(cold)
    end)

    it("bounds and cleans reasons", function()
        assert.equal(511, #one("return 1, ('x'):rep(10000)").reason)
        local got = one("return 1, 'caf\195\169 \255 \27[31m\\nline'")
        assert.equal("café ?  [31m line", got.reason)
        assert.equal(510, #one("return 1, ('\195\169'):rep(1000)").reason)
        assert.equal("", one("return 1, {}").reason)
    end)

    it("refuses a policy that cannot be built", function()
        local cases = {
            { "return 1", X .. ":1: a policy returns a table, this one a number" },
            { "return {}", X .. ":1: the policy has no function `new`" },
            { "return { new = function() end }", X .. ":1: `new` must return a function, not a nil" },
            { "return {\nnew = function() error 'no' end }", X .. ":2: no" },
            { "return {", X .. ":1: " },
            { "while true do end", X .. ":1: ran longer than 500 ms of CPU time" },
        }
        for _, case in ipairs(cases) do
            local config = script.config({ scale = { x = case[1] } }, { services = { service("web", "x") } })
            local cold, why = script.cold(config)
            assert.is_nil(cold)
            assert.truthy(why:find(case[2], 1, true) == 1, why)
        end
        local cold, why = script.cold(script.config({}, { services = { service("web", "none") } }))
        assert.is_nil(cold)
        assert.equal("service web: no scale policy \"none\"", why)
    end)

    it("makes the policies among parameters, each in an environment and with parameters of its own", function()
        local counts = "local all = 0\nreturn { new = function(params)\nlocal n = 0\nreturn function(s)\n"
            .. "n, all, params.by = n + 1, all + 1, params.by * 2\nreturn n * 100 + all * 10 + params.by, 'counted' end end }"
        local sum = "return { new = function(params)\nlocal a, b, c = params.of[1].new(), params.of[2].new(), params.of[2].new()\n"
            .. "return function(s) return a(s) + b(s) + c(s), params.of[1].name end end }"
        local of = { { policy = "counts", params = { by = 1 } }, { policy = "counts", params = { by = 2 } } }
        local got = decide({ counts = counts, sum = sum }, { service("web", "sum", { of = of }) }, { web = { instances = 1 } })
        assert.same({ web = { want = 112 + 114 + 114, reason = "counts", policy = "sum",
            origin = "policies/scale/sum.lua" } }, got)
    end)

    it("goes on with the others when one of max_of fails, and holds when it never ends", function()
        local function of_two(body)
            local of = { { policy = "x", params = { per = 1 } }, { policy = "threshold", params = { cpu = 75, memory = 80 } } }
            return decide({ x = policy(body), max_of = script.read "policies/scale/max_of.lua",
                threshold = script.read "policies/scale/threshold.lua" }, { service("web", "max_of", { of = of }) },
                { web = { instances = 2, desired = 2, min = 1, max = 9, cpu_percent = 91, memory_percent = 40 } }).web
        end
        local got = of_two "return s.cpu.percent"
        assert.equal(3, got.want)
        assert.equal("threshold 3: High resource usage - CPU: 91.0%, Memory: 40.0%; x failed: " .. X
            .. ":3: the view has no field 'cpu': did you mean 'cpu_percent'?", got.reason)
        assert.same({ "x", X .. ":3: the view has no field 'cpu': did you mean 'cpu_percent'?" },
            { got.part.policy, got.part.error })
        assert.matches("cpu_percent 91", got.part.input)
        assert.is_nil(of_two("return 2, 'fine'").part)
        assert.equal("(table)", of_two("error {}").part.error)
        assert.matches("ran longer than 50 ms", of_two("while true do end").error)
    end)

    it("names a policy among parameters that is not there", function()
        local config = script.config({ scale = { x = "return { new = function(p) return p.of.new() end }" } },
            { services = { service("web", "x", { of = { policy = "gone", params = {} } }) } })
        local cold, why = script.cold(config)
        assert.is_nil(cold)
        assert.matches('no scale policy "gone"', why)
    end)

    it("keeps the cooldowns of policies among parameters", function()
        local of = { { policy = "x", params = { per = 1 }, up_cooldown_ms = 60000, down_cooldown_ms = 120000 } }
        local function want(answer, view)
            view.instances, view.desired = 3, 3
            return decide({ x = policy("return " .. answer .. ", 'as told'"), max_of = script.read "policies/scale/max_of.lua" },
                { service("web", "max_of", { of = of }) }, { web = view }).web
        end
        assert.equal(5, want(5, {}).want)
        assert.equal(5, want(5, { since_up_s = 60 }).want)
        assert.equal("x 3: as told (cooldown)", want(5, { since_up_s = 59 }).reason)
        assert.equal(5, want(5, { since_down_s = 1 }).want)
        assert.equal(1, want(1, { since_up_s = 120, since_down_s = 120 }).want)
        assert.equal(3, want(1, { since_up_s = 119 }).want)
        assert.equal(3, want(1, { since_down_s = 119 }).want)
    end)

    it("opens windows by the clock of their zone, in summer and in winter", function()
        local there = io.open "/usr/share/zoneinfo/Europe/Berlin"
        if not there then
            return pending("no time zone database")
        end
        there:close()
        local params = { of = { policy = "x", params = { per = 1 } }, lead = 60,
            windows = { { cron = "0 8 * * 1-5", zone = "Europe/Berlin", lasting = 3600, min = 4 } } }
        local config = script.config({ scale = { x = policy "return 1", schedule = script.read "policies/scale/schedule.lua" } },
            { services = { service("web", "schedule", params) }, libraries = { { name = "lib.demand",
                origin = "policies/lib/demand.lua", source = script.read "policies/lib/demand.lua" } } })
        local cold = assert(script.cold(config))
        local function at(time)
            local view = { time = time, now = 5, instances = 1, desired = 1, starting = 0, min = 1, max = 9 }
            return script.value(C.script_cold_decide(cold, script.json { services = { web = view } })).services.web.want
        end
        -- 8:00 is 7:00 UTC on Friday, 2026-03-27, and 6:00 UTC on Monday, 2026-03-30.
        local friday, monday = 1774594800, 1774850400
        assert.same({ 1, 4, 4, 1 }, { at(friday - 61), at(friday - 60), at(friday + 3599), at(friday + 3600) })
        assert.same({ 1, 4, 4, 1 }, { at(monday - 61), at(monday - 60), at(monday + 3599), at(monday + 3600) })
        -- And back: 6:00 UTC on Friday, 2026-10-23, 7:00 UTC on Monday, 2026-10-26.
        friday, monday = 1792735200, 1792998000
        assert.same({ 1, 4, 1 }, { at(friday - 61), at(friday), at(friday + 3600) })
        assert.same({ 1, 4, 1 }, { at(monday - 61), at(monday), at(monday + 3600) })
        C.script_cold_free(cold)
    end)
end)
