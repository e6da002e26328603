local script = require "script_room"
local ffi = require "ffi"

local C = script.C

-- A policy that tells of values above 10 and counts in its state; `more` goes into its object.
local function counting(point, more)
    return ([[
return { name = "x", new = function(params, detector)
return {
    metrics = {
        { name = "p99", of = { "performance.p99" } },
        { name = "usage", of = { "resources.cpu_usage", "resources.memory_usage" }, per = "instance" },
    },
    learn = function() return { count = 0 } end,
    point = function(state, value, at, metric)
        state.count = state.count + 1
        %s
        return value > 10 and 2 or 0, { type = metric, severity = "high", description = "point " .. state.count .. " at " .. at }
    end,
    %s
} end }]]):format(point or "", more or "")
end

local function service(name, more)
    local anomaly = { policy = "x", params = {}, interval_ms = 15000, incident_ms = 900000 }
    for key, value in pairs(more or {}) do
        anomaly[key] = value
    end
    return { name = name, anomaly = anomaly }
end

-- A world of detectors: feed(at seconds, views, suppressed) -> answer.
local function world(sources, services)
    local config = script.config({ anomaly = sources }, { services = services })
    local a, why = script.anomaly(config)
    if not a then
        return nil, why
    end
    ffi.gc(a, C.script_anomaly_free)
    local self = { a = a }
    function self.feed(at, views, suppressed)
        local request = { wall_ms = at * 1000, views = { services = views }, suppressed = suppressed }
        return script.value(C.script_anomaly_feed(a, script.json(request)))
    end
    function self.save(most)
        local all, portions, at = {}, 0, ffi.new "size_t[1]"
        while true do
            local portion = C.script_anomaly_save(a, at, most or 100)
            if portion == nil then
                return all, portions
            end
            portions = portions + 1
            for key, value in pairs(script.value(portion)) do
                all[key] = value
            end
        end
    end
    function self.restore(learned)
        C.script_anomaly_restore(a, script.json(learned))
    end
    return self
end

local function p99(value)
    return { performance = { p99 = value } }
end

local function descriptions(answer)
    local list = {}
    for i, anomaly in ipairs(answer.anomalies) do
        list[i] = anomaly.description
    end
    return list
end

describe("script/anomaly", function()
    it("tells of a service's figure with all that an alert needs", function()
        local w = world({ x = counting() }, { service "web" })
        assert.same({ anomalies = {}, errors = {} }, w.feed(1000, { web = p99(1) }))
        local got = w.feed(1015, { web = p99(50), other = p99(50) })
        assert.same({ { service = "web", metric = "p99", type = "p99", severity = "high", score = 2, value = 50,
            description = "point 2 at 1015", policy = "x", incident = "web@1970-01-01T00:16:55.000Z" } }, got.anomalies)
        assert.same({}, got.errors)
    end)

    it("marks those of a policy that is tried out", function()
        local web = service "web"
        web.anomaly.shadow = true
        local w = world({ x = counting() }, { web })
        w.feed(1000, { web = p99(1) })
        assert.is_true(w.feed(1015, { web = p99(50) }).anomalies[1].shadow)
    end)

    it("watches each instance for itself, by the mean of several figures", function()
        local w = world({ x = counting() }, { service "web" })
        local function usage(cpu, memory)
            return { resources = { cpu_usage = cpu, memory_usage = memory } }
        end
        w.feed(1000, { web = { instances = { ["web-1"] = usage(1, 1), ["web-2"] = usage(1, 1) } } })
        local got = w.feed(1015, { web = { instances = { ["web-1"] = usage(4, 5), ["web-2"] = usage(2, 40) } } })
        assert.equal(1, #got.anomalies)
        assert.same({ "web-2", 21, "point 2 at 1015" },
            { got.anomalies[1].instance, got.anomalies[1].value, got.anomalies[1].description })
        -- One of the two is not known: no point.
        got = w.feed(1030, { web = { instances = { ["web-2"] = usage(50, nil) } } })
        assert.same({}, got.anomalies)
        got = w.feed(1045, { web = { instances = { ["web-2"] = usage(50, 50) } } })
        assert.same({ "point 3 at 1045" }, descriptions(got))
    end)

    it("takes a point only from a newer view, an interval after the last one", function()
        local w = world({ x = counting() }, { service "web" })
        local function view(at, value)
            return { web = { at_ms = at * 1000, performance = { p99 = value } } }
        end
        assert.same({ "point 1 at 1000" }, descriptions(w.feed(1000, view(998, 50))))
        assert.same({}, descriptions(w.feed(1005, view(1003, 50)))) -- too soon
        assert.same({}, descriptions(w.feed(1020, view(998, 50)))) -- stale
        assert.same({ "point 2 at 1025" }, descriptions(w.feed(1025, view(1023, 50))))
    end)

    it("neither learns nor tells while a service is suppressed", function()
        local w = world({ x = counting() }, { service "web", service "shop" })
        local got = w.feed(1000, { web = p99(50), shop = p99(50) }, { "web" })
        assert.equal(1, #got.anomalies)
        assert.equal("shop", got.anomalies[1].service)
        assert.same({ "point 1 at 1015" }, descriptions(w.feed(1015, { web = p99(50) })))
    end)

    it("tells what failed and with what, and asks a policy in quarantine no more", function()
        local w = world({ x = counting "if value > 40 then error 'no' end" }, { service "web", service "api" })
        local error = w.feed(1000, { web = p99(50) }).errors[1]
        assert.same({ "web", "p99", "p99 50" }, { error.service, error.metric, error.input })
        C.script_anomaly_quarantine(w.a, script.json { point = "anomaly", of = "web", error = "?" })
        local got = w.feed(1015, { web = p99(50), api = p99(50) })
        assert.same({ 1, "api" }, { #got.errors, got.errors[1].service })
        assert.same({ 1, "api" }, { #w.feed(1030, { web = p99(20), api = p99(20) }).anomalies, "api" })
    end)

    it("groups by incidents: of a service, and of many services at once", function()
        local w = world({ x = counting() }, { service "a", service "b", service "c", service "d" })
        local function incident(at, name)
            return w.feed(at, { [name] = p99(50) }).anomalies[1].incident
        end
        local first = incident(100000, "a")
        assert.equal("a@1970-01-02T03:46:40.000Z", first)
        assert.equal(first, incident(100800, "a"))
        assert.equal(first, incident(101600, "a")) -- 15 min after the last one, not the first
        local second = incident(101610, "b")
        assert.matches("^b@", second)
        assert.equal(first, incident(101620, "c")) -- the third service: it is not about one of them
        assert.equal(first, incident(101630, "d"))
        assert.equal(second, incident(101640, "b"))
        assert.matches("^a@", incident(110000, "a"))
        assert.is_not.equal(first, incident(110100, "a"))
    end)

    it("keeps what one series raises from the others", function()
        local w = world({ x = counting 'if value > 90 then error("too much") end', y = counting() },
            { service "web", service("shop", { policy = "y" }) })
        local broken = { performance = { p99 = 99 },
            instances = { ["web-1"] = { resources = { cpu_usage = 50, memory_usage = 50 } } } }
        local got = w.feed(1000, { web = broken, shop = p99(50) })
        assert.equal(2, #got.anomalies)
        assert.equal(1, #got.errors)
        assert.same({ "web", "p99", "x" }, { got.errors[1].service, got.errors[1].metric, got.errors[1].policy })
        assert.matches("^policies/anomaly/x.lua:10: too much", got.errors[1].error)
    end)

    it("ends a policy that never does, and goes on with the next service", function()
        local w = world({ x = counting "while value > 90 do pcall(function() while true do end end) end",
            y = counting() }, { service "web", service("shop", { policy = "y" }) })
        local got = w.feed(1000, { web = p99(99), shop = p99(50) })
        assert.equal(1, #got.errors)
        assert.equal("web", got.errors[1].service)
        assert.same({ "point 1 at 1000" }, descriptions(got))
        assert.same({ "point 2 at 1015" }, { descriptions(w.feed(1015, { web = p99(50) }))[1] })
    end)

    it("names nonsense with file and line", function()
        for body, pattern in pairs {
            ['do return "high" end'] = "answered string: a score is a number, 0 or more",
            ["do return 0 / 0 end"] = "a score is a number, 0 or more",
            ["do return -1 end"] = "a score is a number, 0 or more",
            ["do return end"] = "answered nil",
        } do
            local got = world({ x = counting(body) }, { service "web" }).feed(1000, { web = p99(1) })
            assert.matches("^policies/anomaly/x.lua:%d+", got.errors[1].error)
            assert.matches(pattern, got.errors[1].error, 1, false)
        end
    end)

    it("lets the policy look at all anomalies of its service together", function()
        local w = world({ x = counting(nil, [[combine = function(list)
            if #list > 1 then list[1].severity = "medium" return { list[1] } end return {} end]]) }, { service "web" })
        local view = { performance = { p99 = 50 },
            instances = { i = { resources = { cpu_usage = 50, memory_usage = 50 } } } }
        assert.same({}, w.feed(1000, { web = p99(50) }).anomalies)
        local got = w.feed(1015, { web = view })
        assert.same({ 1, "p99", "medium" }, { #got.anomalies, got.anomalies[1].metric, got.anomalies[1].severity })
        w = world({ x = counting(nil, "combine = function() return 7 end") }, { service "web" })
        got = w.feed(1000, { web = p99(50) })
        assert.equal(1, #got.anomalies) -- as they were
        assert.matches("combine answered a number: expected a list", got.errors[1].error)
    end)

    it("saves what was learned in portions, and goes on from it", function()
        local first = world({ x = counting() }, { service "a", service "b", service "c" })
        for i = 1, 3 do
            first.feed(1000 + i * 15, { a = p99(1), b = p99(1), c = p99(1) })
        end
        local learned, portions = first.save(2)
        assert.same({ ["x|a||p99"] = { count = 3 }, ["x|b||p99"] = { count = 3 }, ["x|c||p99"] = { count = 3 } }, learned)
        assert.equal(2, portions)
        local second = world({ x = counting() }, { service "a", service "b", service "c" })
        learned["x|b||p99"] = "nonsense"
        second.restore(learned)
        local got = second.feed(2000, { a = p99(50), b = p99(50), c = p99(50) })
        assert.same({ "point 4 at 2000", "point 1 at 2000", "point 4 at 2000" }, descriptions(got))
    end)

    it("takes up the states of many series within the budget of one call", function()
        local views, learned = { instances = {} }, {}
        for i = 1, 1000 do
            views.instances["web-" .. i] = { resources = { cpu_usage = 50, memory_usage = 50 } }
        end
        for i = 1, 20000 do
            learned["x|web|web-" .. i .. "|usage"] = { count = i }
        end
        local w = world({ x = counting() }, { service "web" })
        w.restore(learned)
        local got = w.feed(1000, { web = views })
        assert.same({}, got.errors)
        assert.equal(1000, #got.anomalies)
        for _, anomaly in ipairs(got.anomalies) do
            assert.equal("point " .. anomaly.instance:match "%d+" + 1 .. " at 1000", anomaly.description)
        end
    end)

    it("keeps the kernel's states as text", function()
        local source = script.read "policies/anomaly/record.lua"
        local params = { metrics = { "performance.p99 up" }, half_life = 1209600, half_life_points = 10000,
            warm_up = 50, rest_points = 60, rest_share = 0, rest_most = 60, again = 1.5, strictness = 1, high = 2,
            together = 3 }
        local services = { service("web", { policy = "record", params = params }) }
        local one, two = world({ record = source }, services), world({ record = source }, services)
        for i = 1, 100 do
            assert.same({}, one.feed(i * 15, { web = p99(1 + i % 7) }).anomalies)
        end
        local learned = one.save()
        assert.matches("^record1:%x+:", learned["record|web||performance.p99"])
        two.restore(learned)
        local want, got = one.feed(1515, { web = p99(90) }), two.feed(1515, { web = p99(90) })
        assert.equal(1, #want.anomalies)
        assert.same(want, got)
    end)

    it("forgets instances that are gone for an hour", function()
        local w = world({ x = counting() }, { service "web" })
        local function view(name)
            return { web = { performance = { p99 = 1 },
                instances = { [name] = { resources = { cpu_usage = 1, memory_usage = 1 } } } } }
        end
        w.feed(1000, view "web-1")
        for at = 1015, 1000 + 3500, 600 do
            w.feed(at, view "web-2")
        end
        assert.truthy(w.save()["x|web|web-1|usage"])
        w.feed(6000, view "web-2")
        local left = w.save()
        assert.is_nil(left["x|web|web-1|usage"])
        assert.truthy(left["x|web|web-2|usage"])
        assert.truthy(left["x|web||p99"])
    end)

    it("does not build on what is no anomaly policy", function()
        for source, pattern in pairs {
            ["return { new = function() end }"] = "`new` must return a table",
            ["return { new = function() return { learn = 1 } end }"] = "learn: expected a function",
            ["return { new = function() error 'no' end }"] = "no",
            ["return 1"] = "a policy returns a table",
        } do
            local w, why = world({ x = source }, { service "web" })
            assert.is_nil(w)
            assert.matches(pattern, why)
        end
        local _, why = world({}, { service "web" })
        assert.matches('service web: no anomaly policy "x"', why)
        assert.truthy(world({}, { { name = "web", anomaly = {} }, { name = "old" } }))
    end)

    it("gives the kernel to anomaly policies with checks of its own", function()
        for call, pattern in pairs {
            ['detector.record { direction = "left" }'] = 'direction: expected "up"',
            ["detector.record { warm_up = -1 }"] = "warm_up: expected a number",
            ["detector.record { strictness = 0 }"] = "must be more than 0",
            ["detector.record()"] = "table expected",
            ["detector.record({}).push({}, 1, 2)"] = "expected a series",
        } do
            local w, why = world({ x = "return { new = function(params, detector) " .. call .. " end }" }, { service "web" })
            assert.is_nil(w, call)
            assert.matches(pattern, why)
        end
    end)
end)

describe("script_load and anomaly policies", function()
    local configuration = require "configuration"
    after_each(configuration.clean)

    it("names what is wrong with file and line", function()
        local function errors(main, files)
            files = files or {}
            files["tidegate.lua"] = main
            local config, text = configuration.load(files)
            assert.is_nil(config)
            return text
        end
        local head = 'service "web" { backends = { "127.0.0.1:1" },\n  anomaly = '
        assert.matches('tidegate.lua:2: .*anomaly.strictnes: unknown key: did you mean "strictness"', errors(head ..
            '{ strictnes = 1 } }'))
        assert.matches('tidegate.lua:2: .*unknown anomaly policy "recrd": did you mean "record"', errors(head ..
            '"recrd" }'))
        assert.matches('tidegate.lua:2: .*refuses its parameters: .*expected "path', errors(head ..
            '{ metrics = { "p99 sideways" } } }'))
        assert.matches("tidegate.lua:2: .*anomaly: expected a policy", errors(head .. "7 }"))
        assert.matches("policies/anomaly/own.lua:.* must return .*: point is nothing", errors(head .. '"own" }', {
            ["policies/anomaly/own.lua"] = [[return { name = "own", doc = "Tells nothing.", params = {},
                new = function() return { metrics = {}, learn = function() end } end }]] }))
        assert.matches("policies/anomaly/own.lua:2: examples%[1%].*wanted 1, got nothing", errors(head .. '"own" }', {
            ["policies/anomaly/own.lua"] = [[return { name = "own", doc = "Tells nothing.", params = {}, examples = {
                { given = { values = { 1 }, more = { 2 } }, want = 1 } },
                new = function() return { metrics = {}, learn = function() return {} end,
                    point = function() return 0 end } end }]] }))
    end)
end)
