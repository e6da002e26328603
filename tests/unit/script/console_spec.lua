-- The evaluator of `tidegate repl`, without a terminal and without a daemon.
local console = require "console"
local dkjson = require "dkjson"

local QUEUE_AWARE = [[
return {
  name = "queue_aware", doc = "Keeps `per` requests in flight on each instance.",
  params = { per = { type = "number", default = 50, min = 1 } },
  new = function(params)
    return function(s) return math.ceil(s.in_flight / params.per), ("%d in flight"):format(s.in_flight) end
  end,
  examples = { { params = { per = 50 }, given = { in_flight = 130 }, want = 3 } },
}
]]

describe("script/console", function()
    local c

    local function new(o)
        c = console.new(o)
        return c
    end

    after_each(function()
        c:close()
    end)

    it("prints values of expressions, keeps globals and the last value", function()
        new()
        for text, printed in pairs {
            ["1 + 1"] = "2\n", ["=1 + 1"] = "2\n", ["1, nil, 'x'"] = '1\nnil\n"x"\n', ["nil"] = "nil\n", ["x = 5"] = "",
            ["({ b = 1, a = { 2, 3 }, [10] = true })"] = "{ [10] = true, a = { 2, 3 }, b = 1 }\n",
            ["1 -- a comment"] = "1\n", [""] = "", ["'\\27[31m'"] = '"\\027[31m"\n', ["print('\\27', 1)"] = "\\027\t1\n",
            ["{ cpu_percent = 61.2345, memory_bytes = 1536, p99_ms = 3, rate = 10 }"] =
                "{ cpu_percent = 61.23 %, memory_bytes = 1.5 KiB, p99_ms = 3 ms, rate = 10/s }\n",
            ["{ wall_ms = 1769860800123, rate = 12345.67, p50 = 0.00028123 }"] =
                "{ p50 = 0.0002812 s, rate = 12346/s, wall_ms = 2026-01-31T12:00:00Z }\n",
            ["{ at_ms = 951782400000, wall_ms = 1500.4 }"] = "{ at_ms = 951782400000 ms, wall_ms = 1500 ms }\n",
            ["{ at_ms = 1709251199999 }"] = "{ at_ms = 2024-02-29T23:59:59Z }\n",
            ["print"] = "function\n", ["do local y = 2 print(y) end"] = "2\n",
        } do
            assert.same({ printed, "done" }, { c:eval(text) }, text)
        end
        c:eval "y = 20"
        assert.equal("21\n", (c:eval "y + 1"))
        assert.equal("42\n", (c:eval "_ * 2"))
    end)

    it("guesses what a name was to be, and forbids no name", function()
        new()
        assert.equal('console:1: there is no "prnt": did you mean "print"?', c:fails "prnt(1)")
        assert.equal('console:2: there is no "service": did you mean "services"?', c:fails "\nservice.catalog")
        assert.equal("nil\n", (c:eval "mine"))
        assert.equal("1\n", (c:eval "(function() prnt = 1 return prnt end)()"))
    end)

    it("asks for more lines until a statement is complete", function()
        new()
        for _, text in ipairs { "for i = 1, 2 do", "f(", "{ 1,", "x = {", "[[ text", "if true then\nprint(1)" } do
            local _, outcome = c:eval(text, { final = false })
            assert.equal("more", outcome, text)
            assert.matches("^console:%d+: .*near '<eof>'$", c:fails(text))
        end
        assert.equal("1\n2\n", (c:eval("for i = 1, 2 do\nprint(i)\nend", { final = false })))
        assert.matches("^stdin:7: .*near 'y'", c:fails("x y", { origin = "stdin", line = 7 }))
    end)

    it("shows what contains itself, is deep, or is long, in bounds", function()
        new()
        assert.equal("{ a = { itself } }\n", (c:eval "t = {} t.a = t return t"))
        assert.equal("{ a = { a = { a = { a = {...} } } } }\n",
            (c:eval "{ a = { a = { a = { a = { a = { a = 1 } } } } } }"))
        assert.matches("%.%.%. 9900 more", (c:eval "(function() local t = {} for i = 1, 10000 do t[i] = i end return t end)()"))
        local wide = c:eval [[(function() local t = {} for i = 1, 90 do t[i] = {} for j = 1, 90 do t[i][j] = { j, j } end end
            return t end)()]]
        assert.is_true(#wide < 200000)
        assert.matches("... 7000 bytes more\n$", (c:eval "('x'):rep(9000)"))
    end)

    it("survives everything that may be typed", function()
        new { budget_ms = 100 }
        for text, pattern in pairs {
            ["while true do end"] = "^console:1: ran longer than 100 ms of CPU time: %-%-timeout allows more$",
            ["while true do pcall(function() while true do end end) end"] = "ran longer",
            ["coroutine.wrap(function() while true do end end)()"] = "ran longer",
            ["local function f() return 1 + f() end f()"] = "stack overflow",
            ["local function f() return coroutine.wrap(f)() end f()"] = ".", -- stack or memory
            ["local function f() coroutine.wrap(f)() end f()"] = ".",
            ["local function f() ('a'):gsub('a', f) end f()"] = ".",
            ["services.catalog.backends = { 1 } score 'catalog'"] = "backends%[1%] is no backend",
            ["services.catalog.backends = 1 score 'catalog'"] = "has no backends now",
            ["local t = {} while true do t[#t + 1] = ('x'):rep(1000000) .. #t end"] = "not enough memory",
            ["('a'):rep(1e9)"] = "string.rep",
            ["('a'):rep(65536):find(('a*'):rep(30) .. 'b')"] = ".",
            ["error()"] = "raised a nil value", ["error({})"] = "raised a table value",
            ["error(setmetatable({}, { __tostring = function() while true do end end }))"] = "raised a table value",
            ["nothing.x"] = "attempt to index global 'nothing'", ["io.open('x')"] = "global 'io'",
            ["os.exit()"] = "global 'os'", ["require 'ffi'"] = "no library", ["string.dump(print)"] = "dump",
            ["x = ("] = "<eof>", ["\27Lua"] = "wrong mode", [("("):rep(5000)] = ".",
        } do
            assert.matches(pattern, c:fails(text), text)
        end
        for _, text in ipairs { "setmetatable(_G, { __index = function() error 'no' end })", "services = nil", "print = nil",
            "setmetatable({}, { __index = error, __tostring = error, __metatable = 1 })", "string = nil" } do
            assert.same({ "done" }, { select(2, c:eval(text)) }, text)
        end
        c:update {}
        assert.equal("2\n", (c:eval "1 + 1"))
        assert.matches("want 3", (c:eval 'decide("catalog", { cpu_percent = 92 })'))
    end)

    it("is interrupted in the middle, and goes on after it", function()
        new()
        c:interrupt_after(3)
        assert.equal("console:1: interrupted", c:fails "while true do print 'x' end")
        assert.equal("2\n", (c:eval "1 + 1"))
    end)

    it("decides on made-up views with what is given in their place", function()
        new()
        assert.equal("2\n", (c:eval "services.catalog.instances"))
        assert.equal("want 3 (now 2): High resource usage - CPU: 92.0%, Memory: 50.0%\n"
            .. "policy threshold  policies/scale/threshold.lua  cpu 75, memory 80\n",
            (c:eval 'decide("catalog", { cpu_percent = 92 })'))
        assert.matches("^no opinion %(now 2%)", (c:eval 'decide "catalog"'))
        c:eval "services.catalog.cpu_percent = 80"
        assert.equal("3\n", (c:eval 'decide("catalog").want'))
        local answer = c:eval [[(function() local a = decide("catalog", { cpu_percent = 92, max = 2 }) return a.want, a.result end)()]]
        assert.equal("nil\n2\n", answer)
    end)

    it("says what would be over a range", function()
        new()
        local text = c:eval 'what_if("catalog", { cpu_percent = { 30, 90, 20 }, memory_percent = 20 })'
        assert.matches("cpu_percent  want  result     reason\n", text)
        assert.matches("\n       30 %%     %-       2     Resource", text)
        assert.matches("\n       90 %%     3       3  %*  High", text)
        for given, pattern in pairs {
            ["{}"] = "give one field a range", ["{ cpu_percent = { 1 } }"] = "give one field a range",
            ["{ cpu_percent = { 1, 100, 0.001 } }"] = "no range of at most 1000 steps",
            ["{ cpu_percent = { 1, 100, 0 } }"] = "no range", ["{ cpu_percent = { 100, 1, 1 } }"] = "no range",
            ["{ cpu = { 1, 100 } }"] = 'did you mean "cpu_percent"',
        } do
            assert.matches(pattern, c:fails(('what_if("catalog", %s)'):format(given)), given)
        end
    end)

    it("begins anew with each value of a range, so that none tells on the next", function()
        new { files = { ["policies/scale/sums.lua"] = [[
return { name = "sums", doc = "Adds up.", params = {}, new = function(_, state)
    return function(s) state.sum = (state.sum or 0) + s.in_flight return state.sum end
end, examples = { { given = { in_flight = 3 }, want = 3 } } }]] },
            config = 'cluster { id = "shop", engine = "process" }\n'
                .. 'service "catalog" { command = { "x" }, ports = { "80" }, scale = { policy = "sums", max = 9 } }' }
        assert.equal("1\n2\n3\n", (c:eval [[(function()
            local rows = what_if("catalog", { in_flight = { 1, 3, 1 } })
            return rows[1].want, rows[2].want, rows[3].want end)()]]))
    end)

    it("knows a time of day without a daemon, for schedules", function()
        new { config = [[cluster { id = "shop", engine = "process" }
service "catalog" { command = { "x" }, ports = { "80" }, scale = { policy = "schedule",
            of = "threshold", max = 9, windows = { { cron = "0 0 * * *", lasting = "1d", min = 4 } } } }]] }
        assert.matches("^want 4 %(now 2%): at least 4 ", (c:eval 'decide "catalog"'))
    end)

    it("scores backends for a request and marks the winner", function()
        new()
        local text = c:eval 'score("catalog", { dataset_id = "orders" })'
        assert.matches("\n%->  catalog%-2  ", text)
        assert.matches("zone:0 dataset:orders", text)
        assert.matches("\n%->  catalog%-1  ", (c:eval 'score("catalog", { dataset_id = "users" })'))
        assert.equal("true\n", (c:eval 'score("catalog", { dataset_id = "users" })[1].chosen'))
        c:eval "services.catalog.backends[2].eligible = false"
        assert.matches("\n%->  catalog%-1  .*not eligible", (c:eval 'score("catalog", { dataset_id = "orders" })'))
        c:eval "services.catalog.backends[1].in_flight = 100"
        assert.matches("None is chosen", (c:eval 'score "catalog"'))
    end)

    it("spreads picks as the weights say", function()
        new()
        local text = c:eval 'pick("legacy", nil, 9000)["10.0.0.5:9000"]'
        assert.is_true(tonumber(text) > 5400 and tonumber(text) < 6300, text)
        c:eval 'spread = pick("catalog", { dataset_id = "orders" })'
        assert.equal("1000\n", (c:eval 'spread["catalog-1"] + spread["catalog-2"]'))
        assert.matches("expected how many picks", c:fails 'pick("legacy", {}, 1e9)')
        assert.matches("expected how many picks", c:fails 'pick("legacy", {}, "x")')
    end)

    it("lets a draft decide in this console, once its examples pass", function()
        new { files = { ["policies/scale/queue_aware.lua"] = QUEUE_AWARE,
            ["policies/scale/broken.lua"] = "return {\nname = 'broken',,\n}",
            ["policies/scale/wrong.lua"] = (QUEUE_AWARE:gsub("queue_aware", "wrong"):gsub("want = 3", "want = 4")) } }
        local text = c:eval 'try("policies/scale/queue_aware.lua", { per = 2 })'
        assert.matches("^draft queue_aware %(scale%) decides for catalog in this console: per 2; 1 examples pass", text)
        assert.matches("\ncatalog       %-      4  %*  8 in flight\n", text)
        assert.matches("^want 40 %(now 2, max holds it at 4%).*\ndraft queue_aware", (c:eval 'decide("catalog", { in_flight = 80 })'))
        c:update({}, false)
        assert.matches("draft queue_aware", (c:eval 'decide "catalog"'))
        assert.matches("All drafts are gone", (c:eval "try()"))
        assert.matches("policy threshold", (c:eval 'decide "catalog"'))
        for code, pattern in pairs {
            ['try "policies/scale/broken.lua"'] = "^policies/scale/broken.lua:2: ",
            ['try "policies/scale/wrong.lua"'] = "^policies/scale/wrong.lua:%d+: examples%[1%]: .*wanted 4, got 3",
            ['try("policies/scale/queue_aware.lua", { pre = 2 })'] = 'params.pre: unknown key: did you mean "per"',
            ['try("policies/scale/queue_aware.lua", { per = 0 })'] = "params.per: ",
            ['try "policies/scale/absent.lua"'] = "absent.lua: No such file",
            ['try "tidegate.lua"'] = "the folder says the kind", ['try "/etc/passwd"'] = "no Lua file", ["try(1)"] = "expected a file",
            ['try("policies/scale/queue_aware.lua", {}, "legacy")'] = "legacy has no scale policy",
        } do
            assert.matches(pattern, c:fails(code), code)
        end
        c:eval 'try("policies/scale/queue_aware.lua", { per = 2 })'
        c:update({}, true)
        assert.matches("policy threshold", (c:eval 'decide "catalog"'))
    end)

    it("asks policies that take others, as configured and as drafts", function()
        new { files = { ["policies/scale/queue_aware.lua"] = QUEUE_AWARE,
            ["policies/scale/first.lua"] = "return { name = 'first', doc = 'The first.', params = { of = { type = 'policies',"
            .. " required = true } },\nnew = function(p) return p.of[1].new() end, examples = {} }" },
            config = console.CONFIG:gsub('policy = "threshold"',
                'policy = "max_of", of = { "threshold", { policy = "queue_aware", per = 10 } }') }
        assert.matches("^want 4 %(now 2%): queue_aware 4: 40 in flight; threshold ",
            (c:eval 'decide("catalog", { instances = 2, desired = 2, in_flight = 40, cpu_percent = 60 })'))
        c:eval 'try("policies/scale/first.lua", { of = { { policy = "queue", each = 10 } } })'
        assert.matches("^want 3 .*come a second", (c:eval 'decide("catalog", { instances = 2, rate = 30, queue = 0 })'))
        assert.matches('params.of%[1%]: unknown scale policy "qeue": did you mean "queue"',
            c:fails 'try("policies/scale/first.lua", { of = { "qeue" } })')
    end)

    it("reports what a policy does wrong with its file and line", function()
        local function policy(body)
            return ("return { name = 'x', doc = 'x', new = function()\nreturn function(s)\n%s\nend end }"):format(body)
        end
        new { budget_ms = 200, files = { ["policies/scale/x.lua"] = policy "return s.cpuu" } }
        local function try(body)
            local file = assert(io.open(c.dir .. "/policies/scale/x.lua", "w"))
            file:write(policy(body))
            file:close()
            local _, outcome, why = c:eval 'try("policies/scale/x.lua", {}, "catalog")'
            return outcome == "failed" and why or c:fails 'decide "catalog"'
        end
        assert.matches("^policies/scale/x.lua:3: .*did you mean 'cpu_percent'", try "return s.cpu_percnt")
        assert.matches("^policies/scale/x.lua:3: ran longer", try "while true do end")
        assert.matches("x.lua:2: answered 1.5: a whole number of instances", try "return 1.5")
        assert.matches('x.lua:2: answered "x": a whole number', try "return 'x'")
        assert.matches("x.lua:2: answered nan", try "return 0 / 0")
        assert.equal("2\n", (c:eval "1 + 1"))
    end)

    it("names what is wrong with what was typed, and the nearest right word", function()
        new()
        for code, sentence in pairs {
            ["services.catlog"] = 'console:1: no service "catlog": did you mean "catalog"?',
            ["services.catalog.cpu"] = 'console:1: services.catalog has no field "cpu": did you mean "cpu_percent"?',
            ['decide("catlog")'] = 'console:1: decide: no service "catlog": did you mean "catalog"?',
            ["decide()"] = "console:1: decide: expected the name of a service, got nil: there are catalog, legacy, sole",
            ['decide("catalog", 5)'] = "console:1: decide: expected fields such as { cpu_percent = 92 }, got 5",
            ['decide("catalog", { cpu_percent = "x" })'] = 'console:1: decide: cpu_percent: expected a number, got "x"',
            ['decide("legacy")'] = "console:1: decide: legacy has no scale policy: its backends are not ours to start",
            ['score("sole")'] = "console:1: score: sole has no route 1, so nothing is balanced to it",
            ['score("catalog", { dataset = "x" })'] = 'console:1: score: unknown field "dataset": did you mean "dataset_id"?',
            ['score("catalog", { dataset_id = {} })'] = "console:1: dataset_id: expected a text, got {}",
            ["status()"] = "console:1: status: there is no daemon here: start the console with --attach",
            ['scale("catalog", 3)'] = "console:1: scale: there is no daemon here: start the console with --attach",
            [":halp"] = 'console: unknown command ":halp": did you mean "help"?',
            [":show catlog"] = 'console: show: no service "catlog": did you mean "catalog"?',
            [":watch catalog x"] = 'console: watch: expected a duration such as "30s", got "x"',
            [":watch catalog 2s x"] = 'console: watch: "x" is no number of times: as in :watch catalog 5s 3',
            [":help cpu_percnt"] = 'console: no help on "cpu_percnt": did you mean "cpu_percent"?',
        } do
            assert.equal(sentence, c:fails(code), code)
        end
    end)

    it("helps with words, commands, fields, views and policies", function()
        new()
        for topic, pattern in pairs {
            [""] = "Words:.*decide%(SERVICE.*Commands:.*:watch SERVICE", decide = "example: decide%(",
            cpu_percent = "of ServiceView:\n  cpu_percent%?", Backend = "^tidegate.Backend: .*\n  in_flight",
            threshold = "^scale policy threshold .*\n  cpu .*default 75", scale = "in a shell: tidegate scale SERVICE N",
            [":watch"] = "example: :watch catalog 5s",
        } do
            assert.matches(pattern, (c:eval(":help " .. topic)), topic)
        end
        assert.equal(c:eval ":help decide", (c:eval 'help "decide"'))
    end)

    it("tells its caller of commands that are the caller's", function()
        new()
        assert.same({ "", "quit" }, { c:eval ":quit" })
        assert.same({ "", "reload" }, { c:eval " :reload" })
        local _, outcome, watch = c:eval ":watch catalog 500ms 3"
        assert.equal("watch", outcome)
        assert.same({ "catalog", 500, 3 }, { require "ffi".string(watch.service), watch.every_ms, watch.times })
        assert.matches("^catalog  instances 2  desired 2  cpu 50 %%  .*%-> stay: ", (c:eval ":show catalog"))
        assert.matches("^legacy  instances 2 ", (c:eval ":show legacy"))
    end)

    it("completes services, fields, functions and commands", function()
        new()
        c:eval "mine = { alpha = 1, beta = print }"
        for before, want in pairs {
            ["ser"] = { "services", 3 }, ["services.cat"] = { "catalog", 3 }, ["services."] = { "catalog\nlegacy\nsole", 0 },
            ["services.catalog.cpu"] = { "cpu_percent", 3 }, ["x = wha"] = { "what_if(", 3 }, ['decide("le'] = { "legacy", 2 },
            ['decide("catalog", { cpu'] = { "cpu_percent", 3 }, ['decide("catalog", { max = 1, memo'] = { "memory_percent", 4 },
            ['score("catalog", { data'] = { "data_affinity_tags\ndataset_id", 4 }, [":wa"] = { "watch ", 2 },
            ["dec"] = { "decide(", 3 }, [":qu"] = { "quit", 2 },
            [":watch ca"] = { "catalog", 2 }, [":help cpu_p"] = { "cpu_percent", 5 }, ["mine.b"] = { "beta(", 1 },
            ["string.fo"] = { "format(", 2 }, ["nothing.x"] = { "", 1 }, ["1 + "] = { "", 0 },
        } do
            assert.same(want, { c:complete(before) }, before)
        end
    end)

    it("prints results as lines of JSON", function()
        new { json = true }
        for text, printed in pairs {
            ["1 + 1"] = '{"ok":true,"value":2}', ["1, 'x'"] = '{"ok":true,"value":1,"values":[1,"x"]}',
            ["x = 1"] = '{"ok":true,"value":null}', ["{ b = 0 / 0, a = { 1, true } }"] = '{"ok":true,"value":{"a":[1,true],"b":null}}',
            ["'\\1\\255\195\169'"] = '{"ok":true,"value":"\\u0001?\195\169"}', ["{}"] = '{"ok":true,"value":{}}',
            ["print(1) return 2"] = '{"printed":"1"}\n{"ok":true,"value":2}',
        } do
            assert.equal(printed .. "\n", (c:eval(text)), text)
        end
        local got = dkjson.decode((c:eval 'decide("catalog", { cpu_percent = 92 })'))
        assert.same({ 3, "threshold" }, { got.value.want, got.value.policy })
        assert.equal("catalog", dkjson.decode((c:eval "services.catalog")).value.service)
        assert.matches("contains itself", c:fails "t = {} t.a = t t.b = t return t")
        assert.matches("nested more than", c:fails "(function() local t = {} for _ = 1, 99 do t = { t } end return t end)()")
    end)
end)

describe("script/console attached", function()
    local c

    local STATUS = { services = {
        { name = "catalog", desired = 3, up = 3, starting = 1, min = 2, max = 4, resources = { cpu_percent = 88 },
            traffic = { rate = 310.5, in_flight = 12 },
            last_decision = { inputs = { memory_percent = 10, since_up_s = 7 }, action = "scale_up", was = 2, result = 3,
                reason = "High", at = "2026-01-31T12:00:00Z" },
            instances = { { id = "catalog-7", index = 1, state = "up", address = "127.0.0.1:1", in_flight = 5 },
                { id = "catalog-8", index = 2, state = "draining", address = "127.0.0.1:2", reason = "rolled" } } },
    } }

    after_each(function()
        c:close()
    end)

    it("sees the daemon's figures, the newest of each", function()
        c = console.new { attached = true, status = STATUS, metrics = { catalog = { service = "catalog" } } }
        assert.equal("3\n88\n10\n7\n12\n", (c:eval [[(function(s)
            return s.instances, s.cpu_percent, s.memory_percent, s.since_up_s, s.in_flight
        end)(services.catalog)]]))
        assert.equal("4\n", (c:eval 'decide("catalog").want'))
        c:answer { ok = true, service = "catalog", backends = { { backend = "catalog-7", response_ms = 9, in_flight = 1 } } }
        local text = c:eval 'score "catalog"'
        assert.equal('{"command":"explain","like":"GET / Host: catalog.local","listen":"127.0.0.1:18080"}\n', c:asked())
        assert.matches("\n%->  catalog%-7  .* 1  .* 9%.0 ", text)
        assert.matches("catalog%-8 .*rolled", text)
        assert.matches("last decision 2026%-01%-31T12:00:00Z: scale_up, 2 %-> 3: High", (c:eval 'explain "catalog"'))
    end)

    it("tells which guard rails the last decision met, as the daemon does", function()
        local status = require("pl.tablex").deepcopy(STATUS)
        local last = status.services[1].last_decision
        for want, constraints in pairs {
            [" (held by max 9 -> 4, cooldown 4 -> 3): High"] =
                { { rule = "max", before = 9, after = 4 }, { rule = "cooldown", before = 4, after = 3 } },
            [" (held by policy_error): High"] = { { rule = "policy_error", before = 3, after = 3 } },
            [" (raised by saturation 3 -> 5): High"] = { { rule = "saturation", before = 3, after = 5 } },
        } do
            last.constraints, last.held_by = constraints, want:find "held" and "cooldown" or ""
            c = console.new { attached = true, status = status, metrics = { catalog = { service = "catalog" } } }
            assert.matches(want, c:eval 'explain "catalog"', 1, true)
            c:close()
        end
        c = console.new {}
    end)

    it("asks the daemon, and changes nothing without --write", function()
        c = console.new { attached = true, status = STATUS }
        assert.equal("decide(\ndecisions(", (c:complete "dec"))
        assert.equal("", (c:complete "undr"))
        c:answer { ok = true, decisions = {} }
        assert.equal("{ decisions = {} }\n", (c:eval 'decisions "catalog"'))
        assert.equal('{"command":"decisions","from":"console","service":"catalog"}\n', c:asked())
        for _, code in ipairs { 'scale("catalog", 3)', 'deploy "catalog"', 'drain "catalog-7"', 'undrain "catalog-7"', "reload()",
            'restart "catalog-7"', 'weight("catalog-7", 2)', 'approve "catalog"', 'stop "catalog"' } do
            assert.matches("^console:1: %a+ changes the running system: start the console with %-%-attach %-%-write$", c:fails(code))
            assert.equal("", c:asked())
        end
    end)

    it("asks for changes with --write", function()
        c = console.new { attached = true, write = true, status = STATUS }
        c:answer { ok = true }
        for code, asked in pairs {
            ['scale("catalog", 3, "10m")'] = '{"command":"scale","from":"console","hold_ms":600000,"instances":3,"service":"catalog"}',
            ['drain "catalog-7"'] = '{"backend":"catalog-7","command":"drain","drain":true,"from":"console"}',
            ['undrain "catalog-7"'] = '{"backend":"catalog-7","command":"drain","drain":false,"from":"console"}',
            ['approve "catalog"'] = '{"command":"approve","from":"console","service":"catalog"}',
            ["reload()"] = '{"command":"reload","from":"console"}',
        } do
            assert.equal("{}\n", (c:eval(code)), code)
            assert.equal(asked .. "\n", c:asked())
        end
        assert.matches("scale: instances is missing: scale%(SERVICE, N, FOR%)", c:fails 'scale "catalog"')
        assert.matches('scale: instances: expected a number, got "x"', c:fails 'scale("catalog", "x")')
        assert.matches("scale: expected a duration", c:fails 'scale("catalog", 2, "x")')
        c:answer { ok = false, error = "no such service: x" }
        assert.equal("console:1: stop: no such service: x", c:fails 'stop "x"')
    end)
end)

describe("script/console simulate", function()
    local c

    after_each(function()
        c:close()
    end)

    -- What the host is asked for.
    local function asked(code)
        c:answer { ok = true, text = "the table", title = "x", runs = {} }
        assert.same({ "the table\n", "done" }, { c:eval(code) })
        return dkjson.decode(c:asked())
    end

    it("asks for policies, a load, and settings", function()
        c = console.new()
        assert.same({ policies = { "queue" }, load = "yesterday", service = "catalog" }, asked 'simulate("queue", "yesterday")')
        assert.same({ policies = { "queue:each=5", "threshold" }, load = "./x.csv", service = "catalog", startup_ms = 10000, min = 3,
            warm_up_ms = 3600000 }, asked 'simulate({ "queue:each=5", "threshold" }, "./x.csv", { startup = "10s", min = 3, warm_up = "1h" })')
        assert.same({ policies = {}, load = "daily", service = "legacy" }, asked 'simulate(nil, "daily", { service = "legacy" })')
        assert.equal("x\n", (c:eval "_.title"):gsub('"', ""))
    end)

    it("takes a draft for the policy of its name", function()
        c = console.new { files = { ["policies/scale/queue_aware.lua"] = QUEUE_AWARE } }
        local path = c.dir .. "/policies/scale/queue_aware.lua"
        c:eval(('try("%s", { per = 20 })'):format(path))
        assert.same({ path .. ":per=20" }, asked('simulate("queue_aware", "daily")').policies)
        assert.same({ path .. ":per=20,min=3" }, asked('simulate("scale/queue_aware:min=3", "daily")').policies)
        c:eval "try()"
        assert.same({ "queue_aware" }, asked('simulate("queue_aware", "daily")').policies)
    end)

    it("says what is wrong", function()
        local two = console.CONFIG:gsub('service "sole" { backends = { "10.0.0.7:9000" } }',
            'service "sole" { command = { "./x" }, ports = { "80" }, scale = { policy = "threshold", max = 2 } }')
        c = console.new { config = two }
        for code, why in pairs {
            ['simulate("queue")'] = "expected a load, got nil: \"yesterday\"",
            ['simulate("queue", 5)'] = "expected a load, got 5",
            ['simulate(5, "daily")'] = "expected the name of a scale policy, got 5",
            ['simulate("queue", "daily", { service = "catlog" })'] = 'service "catlog": did you mean "catalog"?',
            ['simulate("queue", "daily", { starup = 5 })'] = 'setting "starup": did you mean "startup"?',
            ['simulate("queue", "daily", { startup = "x" })'] = "startup: ",
            ['simulate("queue", "daily", { min = "x" })'] = 'min: expected a number from 1 to 1000, got "x"',
            ['simulate("queue", "daily", { days = 367 })'] = "days: expected a number from 0.01 to 366, got 367",
            ['simulate("queue", "daily", { seed = -1 })'] = "seed: expected a number from 0 to 1e+15, got -1",
            ['simulate("queue", "daily", 7)'] = "expected settings such as { startup = \"10s\" }, got 7",
            ['simulate("queue", "yesterday")'] = "which service's? Add { service = \"...\" }: there are catalog, legacy, sole",
        } do
            local text = c:fails(code)
            assert.is_truthy(text:find("simulate: ", 1, true) and text:find(why, 1, true), text)
        end
        c:answer { ok = false, error = "no\27 way" }
        assert.equal("console:1: simulate: no\\027 way", c:fails 'simulate("queue", "daily")')
    end)

    it("is completed: policies, loads and settings", function()
        c = console.new()
        assert.equal("target_tracking", (c:complete 'simulate("targ'))
        assert.equal("target_tracking", (c:complete 'simulate({ "targ'))
        assert.equal("yesterday", (c:complete 'simulate("queue", "y'))
        assert.equal("startup", (c:complete 'simulate("queue", "y", { start'))
        assert.equal("slo", (c:complete 'simulate("queue", "y", { startup = "1s", sl'))
        assert.equal("", (c:complete 'try("cat'))
        assert.equal("catalog", (c:complete 'decide("cat'))
    end)
end)

describe("script/console :trace", function()
    local c

    local function new(o)
        c = console.new(o)
    end

    after_each(function()
        c:close()
    end)

    local function decision(o)
        local one = { at_ms = 1790000000123, service = "catalog", attempt = 0, chosen = "catalog-1", decides = "score", equal = 1,
            request = "req-1", outcome = { ended = true, status = 200, failure = "", took_ms = 3.14 }, policy_failed = false,
            backends = { { backend = "catalog-2", chosen = false, eligible = true, reason = "", score = 2 },
                { backend = "catalog-3", chosen = false, eligible = false, reason = "circuit open" },
                { backend = "catalog-1", chosen = true, eligible = true, reason = "", score = 0.5 } } }
        for key, value in pairs(o or {}) do
            one[key] = value
        end
        return one
    end

    local function answer(found, more)
        local told = { ok = true, found = found, after = { ["0"] = 8 }, left_out = 0, lost = false }
        for key, value in pairs(more or {}) do
            told[key] = value
        end
        c:answer(told)
    end

    it("begins, goes on where it was, and ends after so many", function()
        new { attached = true }
        answer {}
        assert.same({ "decisions of catalog on 127.0.0.1:18080; Ctrl-C ends it\n", "trace" },
            { c:eval ":trace balance catalog 127.0.0.1:18080 3" })
        assert.same({ command = "trace", service = "catalog", route = "127.0.0.1:18080" }, dkjson.decode(c:asked()))
        answer { decision() }
        local text, outcome = c:eval ":trace"
        assert.same({ ["0"] = 8 }, dkjson.decode(c:asked()).after)
        assert.equal("trace", outcome)
        assert.matches("^%d%d:%d%d:20%.123  catalog %-> catalog%-1  200 3.1 ms  lowest score  "
            .. "%[%*catalog%-1 0.5, catalog%-2 2, catalog%-3 %(circuit open%)%]  req%-1\n$", text)
        answer { decision { at_ms = 1790000000300, request = "b" }, decision { at_ms = 1790000000200, request = "a" } }
        text, outcome = c:eval ":trace"
        assert.matches("  a\n.*  b\n$", text) -- workers are put together by time
        assert.equal("done", outcome)
        assert.matches("say of what: :trace balance", c:fails ":trace")
    end)

    it("tells what was left out, and why without scores", function()
        new { attached = true }
        answer {}
        c:eval ":trace balance"
        answer({ decision { decides = "nobody", outcome = { ended = true, status = 503, failure = "", took_ms = 0 } } },
            { left_out = 4, lost = true })
        local text = c:eval ":trace"
        assert.matches("^... some were forgotten before they could be told\n... 4 more before these\n.*  none may have it  ", text)
        answer { decision { decides = "builtin", policy_failed = true, attempt = 1, request = "\27[31m",
            outcome = { ended = true, status = 0, failure = "cannot connect", took_ms = 1 } },
            decision { equal = 2, outcome = { ended = false, status = 0, failure = "", took_ms = 0 } } }
        text = c:eval ":trace"
        assert.matches("catalog attempt 2 %-> catalog%-1  %- cannot connect 1.0 ms  the policy failed: least connections  "
            .. ".*\\027%[31m\n", text)
        assert.matches("  open  2 share the lowest score  ", text)
    end)

    it("says what is wrong, and goes on with nothing then", function()
        new()
        assert.matches("no decisions without a daemon: start the console with %-%-attach", c:fails ":trace balance")
        c:close()
        new { attached = true }
        assert.matches('kind "scale"', c:fails ":trace scale")
        assert.matches('"catlog" is no service, no part of a route and no number: did you mean "catalog"?',
            c:fails ":trace balance catlog", 1, true)
        assert.matches("routes are 127.0.0.1:18080 catalog.local/, 127.0.0.1:18080 legacy.local/", c:fails ":trace balance xyz", 1, true)
        c:answer { ok = false, error = "no\27 way" }
        assert.matches("^console: trace: no\\027 way$", c:fails ":trace balance")
        assert.matches("say of what", c:fails ":trace")
    end)

    it("is completed", function()
        new { attached = true }
        assert.equal("trace ", (c:complete ":tr"))
        assert.equal("balance ", (c:complete ":trace b"))
        assert.equal("catalog", (c:complete ":trace balance cat"))
    end)
end)
