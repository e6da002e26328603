-- What policies keep over reloads: new(params, state), state_version, migrate.
local configuration = require "configuration"
local ffi = require "ffi"
local script = require "script_room"

local C = script.C
local KEY = "scale:x|web|"

-- A scale policy with these lines before and in its function, and more of its module.
local function policy(new, call, more)
    return ("return { name = 'x', %s\nnew = function(params, state)\n%s\nreturn function(s)\n%s\nend end }"):format(
        more or "", new or "", call or "return s.instances")
end

local function config(source, rest)
    local all = { services = { { name = "web", scale = { policy = "x", params = {} } } } }
    for key, value in pairs(rest or {}) do
        all[key] = value
    end
    return script.config({ scale = { x = source } }, all)
end

-- What the policy says after so many calls, what it keeps then (as JSON text), and a policy process after that.
local function keeps(source, calls, learned)
    local cold, why = script.cold_going_on(config(source), learned)
    if not cold then
        return nil, why
    end
    local said
    for i = 1, calls or 1 do
        said = script.value(C.script_cold_decide(cold,
            script.json { now_ms = i, services = { web = { instances = 2, now = i } } })).services.web
    end
    local at = ffi.new "size_t[1]"
    local saved = C.script_cold_save(cold, at, 10)
    saved = saved ~= nil and script.taken(C.json_text(ffi.gc(saved, C.json_free))) or nil
    assert(C.script_cold_save(cold, at, 10) == nil)
    C.script_cold_free(cold)
    return said, saved
end

local function parsed(text)
    return ffi.gc(C.json_parse(text, #text), C.json_free)
end

local COUNTS = policy("state.calls = state.calls or 0", "state.calls = state.calls + 1 return state.calls")

describe("script/memory: what policies keep", function()
    after_each(configuration.clean)

    it("goes on from what was saved, when policy, service and version are the same", function()
        local said, saved = keeps(COUNTS, 3)
        assert.equal(3, said.want)
        assert.equal(('{"%s":{"version":1,"state":{"calls":3}}}'):format(KEY), saved)
        assert.equal(4, keeps(COUNTS, 1, parsed(saved)).want)
        assert.equal(1, keeps(COUNTS, 1, parsed((saved:gsub("web", "other")))).want)
        assert.equal(1, keeps(COUNTS, 1, parsed((saved:gsub("scale:x", "scale:y")))).want)
        assert.equal(1, keeps(COUNTS, 1, parsed((saved:gsub("1,", "2,", 1)))).want)
    end)

    it("keeps all kinds of plain data as they are", function()
        local values = [[{ list = { 1, 2.5, -0.1, 1e300, 2 ^ 40 }, empty = {}, deep = { { { x = true, y = false } } },
            text = "aé\n\"", [1] = "one", [2.5] = "half", [-3] = 0, [true] = "yes", ["#"] = "hash", ["#n"] = "inf",
            odd = { 0 / 0, math.huge, -math.huge }, sparse = { [3] = 3, [4] = 4 }, flags = { true, false } }]]
        local same = [[
            local function same(a, b)
                if type(a) ~= "table" or type(b) ~= "table" then return a == b or a ~= a and b ~= b end
                for k, v in pairs(a) do if not same(v, b[k]) then return false end end
                for k in pairs(b) do if a[k] == nil then return false end end
                return true
            end]]
        local source = policy(same .. "\nstate.all = state.all or " .. values,
            "return same(state.all, " .. values .. ") and 1 or 0")
        local said, saved = keeps(source)
        assert.equal(1, said.want)
        local again = policy(same, "return same(state.all, " .. values .. ") and 1 or 0")
        local later, twice = keeps(again, 1, parsed(saved))
        assert.equal(1, later.want)
        assert.equal(1, keeps(again, 1, parsed(twice)).want)
    end)

    it("gives a state of another version to migrate, and refuses what goes wrong there", function()
        local _, saved = keeps(COUNTS, 5)
        local function with(migrate)
            return policy("", "return state.count",
                "state_version = 2, migrate = function(old, from)\n" .. migrate .. "\nend,")
        end
        assert.equal(105, keeps(with "return { count = old.calls + 100 * from }", 1, parsed(saved)).want)
        for migrate, want in pairs {
            ["return old.cals.x"] = "policies/scale/x.lua:2: attempt to index field 'cals' (a nil value)",
            ["error('no way', 0)"] = "policies/scale/x.lua:2: no way",
            ["return 5"] = "policies/scale/x.lua:1: migrate must return the new state, a table, not a number",
            ["return { count = { f = print } }"] =
                "policies/scale/x.lua:1: migrate: state.count.f is a function: plain data only",
            ["while true do end"] = "policies/scale/x.lua:2: ran longer than",
        } do
            local none, why = keeps(with(migrate), 1, parsed(saved))
            assert.is_nil(none, migrate)
            assert.equal(want, why:sub(1, #want))
        end
    end)

    it("does not save what is no plain data, and says where it is", function()
        for call, want in pairs {
            ["state.history = { 1, 2, function() end }"] = "state.history[3] is a function",
            ["state.m = setmetatable({}, {})"] = "state.m is a table with a metatable",
            ["state.a = state"] = "is nested too deeply",
            ["state[{}] = 1"] = "state[a table] is keyed by what is no text, number or boolean",
            ["state.co = coroutine.create(function() end)"] = "state.co is a coroutine",
            ["state.t = 'a\\0b'"] = "state.t is a text with a NUL byte",
            ["for i = 1, 60000 do state[i] = 0 end"] = "is more than 50000 values",
        } do
            local _, why = configuration.load {
                ["tidegate.lua"] = 'service "web" { image = "x", anomaly = false, scale = { policy = "x" } }',
                ["policies/scale/x.lua"] = ("return { name = 'x', doc = 'A policy.', new = function(params, state)\n"
                    .. "return function(s) %s return 2 end end,\nexamples = { { given = {}, want = 2 } } }"):format(call),
            }
            assert.truthy(why:find("policies/scale/x.lua:3: examples[1]: ", 1, true), why)
            assert.truthy(why:find(want, 1, true), why)
            local said, saved = keeps(policy("", call .. " return 7"))
            assert.equal(7, said.want)
            assert.equal("{}", saved)
        end
        assert.equal("{}", select(2, keeps(policy("", "state.t = ('x'):rep(140000) return 1"))))
    end)

    it("is a shadow's own, and there when the shadow becomes the service's policy", function()
        local function scaled(own, shadows)
            return script.config({ scale = { x = COUNTS, y = (COUNTS:gsub("'x'", "'y'")) } },
                { services = { { name = "web", scale = { policy = own, params = {}, shadows = shadows } } } })
        end
        local function asked(cold)
            return script.value(C.script_cold_decide(cold, script.json { now_ms = 1, services = { web = { instances = 2 } } })).services.web
        end
        local shadows = { { name = "y", policy = "y", params = {} }, { name = "y 2", policy = "y", params = {} },
            { name = "x", policy = "x", params = {} } }
        local cold = assert(script.cold(scaled("x", shadows)))
        asked(cold)
        assert.equal(2, asked(cold).want)
        local saved = C.script_cold_save(cold, ffi.new "size_t[1]", 10)
        local twice = { version = 1, state = { calls = 2 } }
        assert.same({ ["scale:x|web|"] = twice, ["scale:y|web|"] = twice, ["shadow:y 2|web|"] = twice, ["shadow:x|web|"] = twice },
            script.value(C.json_copy(saved)))
        C.script_cold_free(cold)
        cold = assert(script.cold_going_on(scaled("y"), ffi.gc(saved, C.json_free)))
        assert.equal(3, asked(cold).want)
        C.script_cold_free(cold)
    end)

    it("is there for alert and notify policies, too, and for policies within policies", function()
        local source = "return { name = 'x', new = function(params, state) return function() "
            .. "state.n = (state.n or 0) + 1 return false end end }"
        local all = script.config({ alert = { x = source }, notify = { x = (source:gsub("false", "{}")) } }, {
            services = {}, alerts = { { name = "A", when = { policy = "x", params = {} }, services = {} } },
            alerting = { notify = { policy = "x", params = {} } } })
        local cold = assert(script.cold(all))
        C.json_free(C.script_cold_evaluate(cold, script.json { views = { services = { web = {} }, tidegate = {} } }))
        C.json_free(C.script_cold_notify(cold, script.json { id = 1, about = { alerts = {}, channels = {} } }))
        local saved = script.value(C.script_cold_save(cold, ffi.new "size_t[1]", 10))
        assert.same({ version = 1, state = { n = 1 } }, saved["alert:x|A|"])
        assert.same({ version = 1, state = { n = 1 } }, saved["notify:x||"])
        C.script_cold_free(cold)

        local outer = policy("local part = params.of.new(state)", "return part(s)")
        local function both(inner, learned)
            local it = script.config({ scale = { x = outer, y = inner } },
                { services = { { name = "web", scale = { policy = "x",
                    params = { of = { policy = "y", params = {} } } } } } })
            local made, why = script.cold_going_on(it, learned)
            if not made then
                return nil, why
            end
            local said = script.value(C.script_cold_decide(made,
                script.json { services = { web = { instances = 2 } } })).services.web.want
            local kept = C.script_cold_save(made, ffi.new "size_t[1]", 10)
            C.script_cold_free(made)
            return said, ffi.gc(kept, C.json_free)
        end
        local said, kept = both(COUNTS)
        assert.equal(1, said)
        assert.equal(2, (both(COUNTS, kept)))
        local newer = policy("", "return state.count",
            "state_version = 2, migrate = function(old) return { count = old.calls + 10 } end,")
        assert.equal(11, (both(newer, kept)))
    end)

    it("lets shipped scale policies go on as if nothing had happened", function()
        local uses = {
            error_budget = "", latency_slo = "", queue = "", target_tracking = "", threshold = "",
            max_of = 'of = { { policy = "target_tracking" }, { policy = "queue" } }',
            panic = 'of = { policy = "latency_slo" }',
        }
        -- A day in 1,500 ticks with a bump now and then; what an instance does is 100 requests/s.
        local function view(i)
            local rate = 900 + 500 * math.sin(i / 240) + (i % 97 < 9 and 400 or 0)
            local instances = 12 + i % 3
            return { service = "web", now = 5 * i, rate = rate, instances = instances, desired = instances, starting = i % 50 < 6 and 1 or 0,
                min = 1, max = 40, queue = i % 97 == 3 and 200 or 0, cpu_percent = rate / instances, memory_percent = 30,
                in_flight = rate / 10, p95_ms = rate > 1500 and 500 or 200 }
        end
        local function run(cold, from, to)
            local wants = {}
            for i = from, to do
                local said = script.value(C.script_cold_decide(cold, script.json { services = { web = view(i) } })).services.web
                assert.is_nil(said.error)
                wants[#wants + 1] = said.want or "stays"
            end
            return wants
        end
        for name, params in pairs(uses) do
            local loaded, why
            configuration.load(('service "web" { image = "x", anomaly = false, scale = { policy = "%s", min = 1, max = 40, %s } }'):format(
                name, params), nil, function(json) -- borrowed
                    loaded = ffi.gc(C.json_copy(json), C.json_free)
                end)
            local cold = assert(script.cold(loaded), name)
            run(cold, 1, 1500)
            local saved = C.script_cold_save(cold, ffi.new "size_t[1]", 10)
            local text = script.taken(C.json_text(saved))
            assert.truthy(text:find("scale:" .. name, 1, true), name .. " was not saved")
            assert.is_true(#text < 100000, ("%s keeps %d bytes"):format(name, #text))
            local later
            later, why = script.cold_going_on(loaded, saved)
            assert(later, why)
            local went_on, taken_up, other = run(cold, 1501, 1800), run(later, 1501, 1800), 0
            for i, want in ipairs(went_on) do
                other = other + (taken_up[i] ~= want and 1 or 0)
            end
            -- What experts said and had no outcome yet is not kept.
            assert.is_true(other <= (name == "error_budget" and 9 or 0), ("%s decides otherwise %d times"):format(name, other))
            -- And without it, who keeps something says something else.
            if name == "error_budget" then
                local anew = assert(script.cold(loaded))
                assert.not_same(run(later, 1801, 1900), run(anew, 1801, 1900))
                C.script_cold_free(anew)
            end
            -- A clock that begins anew.
            run(later, 1, 400)
            C.json_free(saved)
            C.script_cold_free(cold)
            C.script_cold_free(later)
        end
    end)

    it("checks what a module says of its state", function()
        local function why(more, kind)
            kind = kind or "scale"
            local use = kind == "scale" and 'scale = { policy = "x" }' or 'route = { listen = ":80", balance = "x" }'
            return select(2, configuration.load {
                ["tidegate.lua"] = 'service "web" { image = "x", ports = { 80 }, anomaly = false, ' .. use .. " }",
                ["policies/" .. kind .. "/x.lua"] = "return { name = 'x', doc = 'A policy.',\n" .. more
                    .. " new = function() return function() return 2 end end }",
            })
        end
        assert.matches("x.lua:2: state_version: expected a whole number from 1 on, got 1.5", (why "state_version = 1.5,"))
        assert.matches("x.lua:2: migrate: expected a function%(old, from%), got 7", (why "migrate = 7,"))
        assert.matches("x.lua:2: state_version: a policy of the kind balance keeps nothing over reloads",
            (why("state_version = 2,", "balance")))
    end)
end)
