local configuration = require "configuration"
local load = configuration.load

local USES = [[service "web" { image = "web:1",
  scale = { policy = "own",
            %s } }]]

-- A scale policy "own" with these parts in place of its good ones.
local function policy(parts)
    parts = parts or {}
    local text = { "return {" }
    for _, key in ipairs { "name", "doc", "params", "new", "examples", "more" } do
        local good = {
            name = '"own"', doc = '"A policy."', params = '{ per = { type = "number", default = 50, min = 1 } }',
            new = "function(p) return function(s) return s.instances + (s.in_flight or 0) / p.per end end",
            examples = '{ { params = { per = 10 }, given = { in_flight = 20, instances = 2 }, want = 4 } }',
        }
        local part = parts[key] or good[key]
        text[#text + 1] = part and part ~= "" and ("  %s = %s,"):format(key, part) or "  --"
    end
    return table.concat(text, "\n") .. "\n}"
end

local function with(source, params, files)
    local all = { ["tidegate.lua"] = USES:format(params or ""), ["policies/scale/own.lua"] = source }
    for name, text in pairs(files or {}) do
        all[name] = text
    end
    return load(all)
end

local function fails(source, want, params)
    local config, why = with(source, params)
    assert.is_nil(config, source)
    assert.equal(want, why, source)
end

describe("script_load and policies", function()
    after_each(configuration.clean)

    it("prefers the operator's own file to the shipped one of the same name", function()
        local own = policy { name = '"threshold"', params = "{}", new = "function() return function() return 4 end end",
            examples = "{ { given = {}, want = 4 } }" }
        local config, warnings = load { ["tidegate.lua"] = 'service "x" { image = "x", anomaly = false }',
            ["policies/scale/threshold.lua"] = own }
        assert.same({ kind = "scale", name = "threshold", origin = "policies/scale/threshold.lua", source = own },
            config.policies[1])
        assert.same({}, config.services[1].scale.params)
        assert.equal("", warnings)
    end)

    it("gives each policy once, with checked parameters and defaults", function()
        local config = load { ["policies/scale/own.lua"] = policy(), ["tidegate.lua"] = [[
service "a" { image = "a", anomaly = false, scale = { policy = "own", per = 7 } }
service "b" { image = "b", anomaly = false, scale = { policy = "own" } }]] }
        assert.equal(1, #config.policies)
        assert.same({ { per = 7 }, { per = 50 } }, { config.services[1].scale.params, config.services[2].scale.params })
    end)

    it("holds a balance policy to the fields that it needs", function()
        local source = [[
return { name = "own", doc = "A policy.", needs = { %s }, new = function()
  return { score = function(b, r) return r.dataset + b.in_flight end } end, examples = { { backends = { {} }, want = 1 } } }]]
        local function text(needs)
            return select(2, load { ["policies/balance/own.lua"] = source:format(needs),
                ["tidegate.lua"] = 'service "x" { backends = { "a:1" }, route = { listen = ":1", balance = "own" } }' })
        end
        assert.equal("", text '"dataset"')
        assert.equal("", text "\"key\", 'dataset'")
        assert.truthy(text('"key"'):find('the request\'s field "dataset" is not among the policy\'s needs', 1, true))
        assert.truthy(text('"datset"'):find('unknown field "datset": did you mean "dataset"?', 1, true))
        assert.truthy(text("5"):find("unknown field 5", 1, true))
        source = source:gsub("b.in_flight", "b.response_mean_ms")
        assert.equal("", text '"dataset", "response_mean_ms"')
        assert.truthy(text('"dataset"'):find('the backend\'s field "response_mean_ms" is not among the policy\'s needs', 1, true))
        source = source:gsub("b.response_mean_ms", "b.in_fligth")
        assert.truthy(text('"dataset"'):find('the backend: unknown field "in_fligth": did you mean "in_flight"?', 1, true))
    end)

    it("names the nearest policy and the nearest parameter", function()
        local function why(text)
            return select(2, load { ["tidegate.lua"] = text, ["policies/scale/own.lua"] = policy() })
        end
        assert.equal('tidegate.lua:2: service "x": scale.policy: unknown scale policy "treshold": did you mean "threshold"?',
            why 'service "x" { image = "x",\n scale = { policy = "treshold" } }')
        assert.equal('tidegate.lua:1: service "x": scale.policy: unknown scale policy "owm": did you mean "own"?',
            why 'service "x" { image = "x", scale = { policy = "owm" } }')
        assert.equal('tidegate.lua:2: service "x": route.balance: unknown balance policy "round_robbin": did you mean '
            .. '"round_robin"?', why 'service "x" { backends = { "a:1" }, route = { listen = ":1",\n balance = "round_robbin" } }')
        assert.equal('tidegate.lua:1: service "x": route.balance[1]: expected the name of a policy, got "../x"',
            why 'service "x" { backends = { "a:1" }, route = { listen = ":1", balance = { "../x" } } }')
        assert.equal('tidegate.lua:2: service "x": scale.cpuu: unknown key: did you mean "cpu"?',
            why 'service "x" { image = "x", scale = {\n cpuu = 7 } }')
        assert.equal('tidegate.lua:1: service "x": scale.zzzz: unknown key: the policy "own" takes per',
            why 'service "x" { image = "x", scale = { policy = "own", zzzz = 7 } }')
        assert.equal('tidegate.lua:1: service "x": route.balance.zzzz: unknown key: the policy "round_robin" takes no parameters',
            why 'service "x" { backends = { "a:1" }, route = { listen = ":1", balance = { "round_robin", zzzz = 1 } } }')
        assert.equal('tidegate.lua:3: service "web": scale.per: must be at least 1, got 0',
            select(2, with(policy(), "per = 0")))
        assert.equal('tidegate.lua:3: service "web": scale.per: expected a number, got "a"',
            select(2, with(policy(), "per = 'a'")))
    end)

    it("tells what a policy file lacks, with its line", function()
        local at = "policies/scale/own.lua:"
        fails("return 5", at .. '1: returns 5: a policy file ends with return { name = "own", doc = ..., new = ... }')
        fails("return +", at .. "1: unexpected symbol near '+': look at the line and the end of the one before it")
        fails("\nlocal x = nil + 1", at .. "2: attempt to perform arithmetic on a nil value: what is not known is nil: "
            .. "write (x or 0), or answer nil for no opinion")
        fails("\27LJ", 'tidegate.lua:2: service "web": scale.policy: ' .. at:sub(1, -2) .. ": compiled Lua: only text is accepted")
        fails(policy { name = '"other"' }, at .. '2: name: expected "own" as the file is called, got "other"')
        fails(policy { doc = "" }, at .. "1: doc: expected a sentence that says what it decides, got nothing")
        fails(policy { new = "5" }, at .. "5: new: expected function(params) return function(s) ... end end, got 5")
        fails(policy { examples = "5" }, at .. "6: examples: expected a list, got 5")
        fails(policy { more = "5" }, at .. "7: more: unknown key: there are name, doc, params, needs, timing, state_version, migrate, new, examples")
        fails(policy { params = "{ per = 5 }" }, at .. '4: params.per: expected a table such as { type = "number", default = 1 }, got 5')
        fails(policy { params = "{ per = { type = 'nmber' } }" }, at .. '4: params.per: unknown type "nmber": did you mean "number"?')
        fails(policy { params = "{ per = { type = 'number', default = 'x' } }" },
            at .. '4: params.per.default: expected a number, got "x"')
        fails(policy { new = "function() return 7 end" }, at .. "5: new: returned 7: it must return the function that decides, function(s) ... end\n"
            .. at .. "6: examples[1]: `new` returned 7: it must return the function that decides")
    end)

    it("runs the examples and tells what was given, wanted and got", function()
        local at = "policies/scale/own.lua:6: examples[1]: "
        fails(policy { examples = "{ { given = { in_flight = 50, instances = 2 }, want = 4 } }" },
            at .. "given { in_flight = 50, instances = 2 } wanted 4, got 3")
        fails(policy { examples = "{ { given = {}, want = nil } }" }, at .. "given {} wanted nothing, got 2")
        fails(policy { new = 'function() return function() return 1, "so it is" end end',
            examples = "{ { given = { instances = 2 }, want = 2 } }" },
            at .. "given { instances = 2 } wanted 2, got 1 (so it is)")
        fails(policy { examples = "{ { params = { pre = 1 }, given = {} } }" }, at .. 'params.pre: unknown key: did you mean "per"?')
        fails(policy { examples = "{ { given = { in_fligth = 1 } } }" },
            at .. "the view has no field 'in_fligth': did you mean 'in_flight'?")
        fails(policy { examples = "{ { given = { in_flight = 50 }, wnat = 1 } }" }, at .. 'wnat: unknown key: did you mean "want"?')
        fails(policy { examples = "{ { { in_flight = 50 }, want = 1 } }" }, at .. "1: unknown key: there are params, given, want")
        fails(policy { examples = "{ 5 }" }, at .. "expected a table, got 5")
        fails(policy { new = "function() return function(s) return s.instnces end end", params = "{}",
            examples = "{ { given = {} } }" },
            at .. "policies/scale/own.lua:5: the view has no field 'instnces': did you mean 'instances'?")
    end)

    it("stops a policy that does not end, and one that takes too much memory", function()
        fails("while true do end", "policies/scale/own.lua:1: ran longer than 1000 ms of CPU time: "
            .. "is there a loop without an end?")
        fails(policy { new = "function() return function() while true do end end end" },
            "policies/scale/own.lua:6: examples[1]: policies/scale/own.lua:5: ran longer than 1000 ms of CPU time: "
                .. "is there a loop without an end?")
        local _, why = with("local t = {} for i = 1, 1e9 do t[i] = { i } end")
        assert.equal("policies/scale/own.lua:1: not enough memory: a state may hold 64 MiB: does a table or a text "
            .. "grow without an end?", why)
    end)

    it("tells where parameters are that `new` refuses", function()
        local source = policy { new = "function(p) if p.per > 60 then error('too many') end return function() end end",
            examples = "{ { given = {} } }" }
        assert.is_not_nil(with(source))
        fails(source, 'tidegate.lua:2: service "web": scale: the policy "own" refuses its parameters: '
            .. 'policies/scale/own.lua:5: too many', "per = 61")
    end)

    it("warns of a policy without examples", function()
        local _, warnings = with(policy { examples = "" })
        assert.equal("policies/scale/own.lua: has no examples: nothing was tried", warnings)
    end)

    it("tells what a balance policy's `new` may return", function()
        local cases = {
            ["{}"] = "must return { score = function } or { pick = function }, got neither",
            ["{ pick = f, score = f }"] = "must return { score = function } or { pick = function }, got both",
            ["{ pick = f, chose = f }"] = "chose is a function beside a score",
            ["{ score = f, prepare = 1 }"] = "prepare is a function beside a score",
            ["{ which = f }"] = "beside which = function stand the ways that it chooses from, in a list",
            ["{ which = f, { pick = f }, {} }"] =
                "must return [2] = { score = function } or { pick = function }, got neither",
            ["{ which = f, { pick = f, chose = f } }"] = "[1].chose is a function beside a score",
        }
        for made, want in pairs(cases) do
            local config, text = load {
                ["tidegate.lua"] = 'service "x" { backends = { "a:1" }, route = { listen = ":1", balance = "own" } }',
                ["policies/balance/own.lua"] = 'local function f() end\nreturn { name = "own", doc = "Own.", params = {},\n'
                    .. "new = function() return " .. made .. " end, examples = {} }",
            }
            assert.is_nil(config)
            assert.equal("policies/balance/own.lua:3: new: " .. want, text)
        end
    end)

    it("runs the examples of balance policies as a worker would pick", function()
        local function balance(examples)
            return load { ["tidegate.lua"] = 'service "x" { backends = { "a:1" }, route = { listen = ":1", balance = "b" } }',
                ["policies/balance/b.lua"] = [[
return { name = "b", doc = "d", params = { bias = { type = "number", default = 0 } },
  new = function(p) return { score = function(x) return x.in_flight - x.weight * p.bias end } end,
  examples = ]] .. examples .. " }" }
        end
        assert.is_not_nil(balance [[{
            { backends = { { in_flight = 2 }, { in_flight = 1 } }, want = 2 },
            { params = { bias = 2 }, backends = { { in_flight = 2, weight = 9 }, { in_flight = 1 } }, want = 1 },
            { backends = { { eligible = 0 } } } }]])
        local at = "policies/balance/b.lua:3: examples[1]: "
        for examples, want in pairs {
            ["{ { backends = { { in_flight = 2 }, {} }, want = 1 } }"] =
                "given { backends = { { in_flight = 2 }, {} } } wanted 1, got 2",
            ["{ { backends = { { in_fligth = 2 } }, want = 1 } }"] =
                'backends[1]: unknown field "in_fligth": did you mean "in_flight"?',
            ["{ { backends = 5 } }"] = "backends: expected a list, got 5",
            ["{ { given = {} } }"] = "given: unknown key: there are params, backends, request, want",
            ["{ { backends = {}, request = { hsah = 1 } } }"] = 'request: unknown field "hsah": did you mean "hash"?',
        } do
            assert.equal(at .. want, select(2, balance(examples)))
        end
    end)

    it("sends the libraries along that a policy requires, and those that these require", function()
        local source = "local a = require 'lib.a'\n" .. policy { new = "function() return function() return a.x end end",
            params = "{}", examples = "{ { given = {}, want = 3 } }" }
        local config = with(source, "", {
            ["policies/lib/a.lua"] = 'local b = require("lib.deep.b") return { x = b + 1 }',
            ["policies/lib/deep/b.lua"] = "return 2",
            ["policies/lib/unused.lua"] = "return +",
        })
        local names = {}
        for _, library in ipairs(config.libraries) do
            names[library.name] = library.origin .. " " .. #library.source
        end
        assert.same({ ["lib.a"] = "policies/lib/a.lua 52", ["lib.deep.b"] = "policies/lib/deep/b.lua 8" }, names)
        local _, why = with("local x = require 'lib.none'\n" .. policy(), "")
        assert.equal('policies/scale/own.lua:1: no library "lib.none": looked for policies/lib/none.lua beside the '
            .. 'configuration and among the shipped ones: there are lib.demand, lib.forecast', why)
    end)

    it("are named by what is known of a service when it names none", function()
        local function named(scale, route, cluster)
            local config, why = load { ["tidegate.lua"] = ('cluster { id = "x", %s }\nservice "web" { image = "web:1", %s %s }')
                :format(cluster or "", scale, route or "") }
            return assert(config, why).services[1].scale.policy
        end
        local http, tcp = 'ports = { "80" }, route = { listen = ":18080" }', 'ports = { "80" }, route = { listen = "tcp://:5432" }'
        assert.equal("error_budget", named("", http))
        assert.equal("error_budget", named("scale = { max = 9, budget = 1 },", http))
        assert.equal("error_budget", named("", 'ports = { "80" }, route = { { listen = "tcp://:5432" }, { listen = ":18080" } }'))
        assert.equal("threshold", named("scale = { max = 9 },"))
        assert.equal("threshold", named("scale = { max = 9 },", tcp))
        assert.equal("threshold", named("scale = { max = 9, cpu = 60 },", http))
        assert.equal("threshold", named("scale = { max = 9, memory = 60 },", http))
        assert.equal("threshold", named("", http, "cpu_threshold = 60"))
        assert.equal("queue", named('scale = { policy = "queue" },', http))
    end)

    describe("and policies among their parameters", function()
        local function scale(text)
            local config, why = load { ["tidegate.lua"] = [[service "web" { image = "web:1", anomaly = false,
  scale = { ]] .. text .. " } }", ["policies/scale/own.lua"] = policy(),
                ["policies/scale/refuses.lua"] = policy { name = '"refuses"', new = "function() error 'not so' end",
                    examples = "{}" } }
            return config and config.services[1].scale, why, config
        end

        it("gives them with their own parameters, checked, and carries them along", function()
            local s, _, config = scale 'policy = "max_of", of = { { policy = "own", per = 7 }, "threshold", { "own" } }'
            local function part(name, params, cooldown)
                return { policy = name, params = params, up_cooldown_ms = cooldown or 300000,
                    down_cooldown_ms = cooldown or 600000 }
            end
            assert.same({ of = { part("own", { per = 7 }), part("threshold", { cpu = 75, memory = 80 }),
                part("own", { per = 50 }) } }, s.params)
            local names = {}
            for _, listed in ipairs(config.policies) do
                names[#names + 1] = listed.name
            end
            table.sort(names)
            assert.equal("ewma max_of own threshold", table.concat(names, " "):gsub("ewma ?", "ewma "):gsub("^(max_of)", "ewma %1"))
            s = scale 'policy = "panic", of = { policy = "max_of", of = { "queue" } }'
            assert.same(part("max_of", { of = { part("queue", { each = 0, drain = 60, hold = 300 }, 0) } }, 0), s.params.of)
        end)

        it("is asked as often as the hastiest, and leaves cooldowns to its parts", function()
            local function timing(text)
                local s = scale(text)
                return { s.interval_ms, s.up_cooldown_ms, s.down_cooldown_ms }
            end
            assert.same({ 5000, 0, 0 }, timing 'policy = "max_of", of = { "queue", "target_tracking" }')
            assert.same({ 5000, 0, 0 }, timing 'policy = "max_of", of = { "queue", "threshold" }')
            assert.same({ 2000, 0, 0 }, timing 'policy = "panic", of = "queue"')
            assert.same({ 5000, 0, 0 }, timing 'policy = "max_of", of = { "own", { policy = "max_of", of = { "own", "queue" } } }')
            assert.same({ 9000, 1000, 0 },
                timing 'policy = "max_of", of = { "queue", "own" }, interval = "9s", up_cooldown = "1s"')
        end)

        it("names the line of what is wrong", function()
            local at = "tidegate.lua:%d: service \"web\": scale.%s"
            for _, case in ipairs {
                { 'policy = "max_of", of = {\n"queue",\n{ policy = "threshhold" } }', 4,
                    'of[2].policy: unknown scale policy "threshhold": did you mean "threshold"?' },
                { 'policy = "max_of", of = {\n{ policy = "own",\nper = 0 } }', 4, "of[1].per: must be at least 1, got 0" },
                { 'policy = "max_of", of = {\n{ policy = "own",\nmin = 3 } }', 4,
                    'of[1].min: unknown key: the policy "own" takes per' },
                { 'policy = "max_of", of = {}', 2, "of: has 0 items: at least 1" },
                { 'policy = "panic",\nof = { "queue", "own" }', 3, "of[2]: has no key: write key = value" },
                { 'policy = "panic"', 2, ' of is missing: of = { policy = "latency_slo" }' },
                { 'policy = "max_of", of = {\n"refuses" }', 3,
                    'of[1]: the policy "refuses" refuses its parameters: policies/scale/refuses.lua:5: not so' },
                { 'policy = "max_of", of = { { policy = "max_of", of = { { policy = "max_of", of = { { policy = "max_of",'
                    .. 'of = {\n"own" } } } } } } }', 3, "of[1].of[1].of[1].of[1]: stands within 4 others: at most 3" },
            } do
                local s, why = scale(case[1])
                assert.is_nil(s)
                assert.equal(at:format(case[2], case[3]):gsub("scale%. ", "scale: "), why)
            end
        end)

        it("checks the windows of a schedule", function()
            local windows = 'policy = "schedule", of = "queue", windows = {\n%s }'
            local s = scale(windows:format '{ cron = "0 8 * * 1-5", lasting = "10h", min = 4 }')
            assert.same({ { cron = "0 8 * * 1-5", zone = "UTC", lasting = 36000, min = 4 } }, s.params.windows)
            for _, case in ipairs {
                { '{ cron = "0 25 * * *",\nlasting = "1h", min = 1 }', 3, '[1].cron: "25" is no hour: 0 to 23, such as 0, 0-23, or a star' },
                { '{ cron = "0 8 * * *", lasting = "1h", min = 1,\nzone = "Europe/Berlni" }', 4,
                    '[1].zone: "Europe/Berlni": no such time zone: expected one such as "Europe/Berlin" or "UTC"' },
                { '{ cron = "0 8 31 4,6 *", lasting = "1h", min = 1 }', 3,
                    "[1].cron: never comes: no month that it names has such a day" },
                { '{ cron = "0 25 * * *", zone = "Europe/Berlni", lasting = "1h", min = 1 }', 3,
                    '[1].cron: "25" is no hour: 0 to 23, such as 0, 0-23, or a star\n'
                    .. 'tidegate.lua:3: service "web": scale.windows[1].zone: "Europe/Berlni": no such time zone: expected one such as '
                    .. '"Europe/Berlin" or "UTC"' },
                { '{ cron = "0 8 * * *", lasting = "1h" }', 3, "[1]: bounds nothing: give min, max or initial" },
                { '{ cron = "0 8 * * *", lasting = "1h", initial = 3, max = 2 }', 3,
                    "[1]: its max, which is 2, is less than its min or initial" },
                { '{ cron = "0 8 * * *", lasting = "5s", min = 2 }', 3, '[1].lasting: must be between 60 and 2678400 s, got "5s"' },
                { '{ cron = "0 8 * * *", min = 2 }', 3, '[1]: lasting is missing: lasting = "10h"' },
                { '{ cron = "0 8 * * *", lasting = "1h", mim = 2, max = 3 }', 3, '[1].mim: unknown key: did you mean "min"?' },
                { '7', 3, '[1]: expected a table such as { cron = "0 8 * * 1-5", lasting = "10h", min = 4 }, got 7' },
                { '', 2, ': expected a list such as { { cron = "0 8 * * 1-5", lasting = "10h", min = 4 } }, got a table' },
            } do
                local none, why = scale(windows:format(case[1]))
                assert.is_nil(none)
                assert.equal(('tidegate.lua:%d: service "web": scale.windows%s'):format(case[2], case[3]), why)
            end
        end)

        it("are not for policies of another kind, and have no default", function()
            fails(policy { params = '{ of = { type = "policy", default = "queue" } }', examples = "{}" },
                "policies/scale/own.lua:4: params.of: a policy has no default: write required = true")
            local _, why = load { ["tidegate.lua"] = 'service "x" { backends = { "a:1" }, route = { listen = ":1", balance = "own" } }',
                ["policies/balance/own.lua"] = policy { params = '{ of = { type = "policies" } }', examples = "{}" } }
            assert.equal('policies/balance/own.lua:4: params.of: type "policies" is for scale policies', why)
        end)
    end)
end)
