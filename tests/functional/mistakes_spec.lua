-- What authors of policies get wrong, and what they are told: the file, the line, the value at fault, and what to do.
local shell = require "shell"
local tidegate = require "tidegate"

local CONFIG = [[
cluster { engine = "process" }
service "data" {
  command = { "true" }, ports = { 80 },
  scale = %s,
  route = { listen = ":8080", balance = %s },
}
]]

-- A scale policy whose function has `body` from its fifth line on.
local function decide(body, more)
    return ([[
return {
  name = "mine", doc = "for this test", %s
  new = function(params)
    return function(s)
%s
    end
  end,
  examples = { { given = { instances = 2, cpu_percent = 50 }, want = 2 } },
}
]]):format(more or "", body)
end

local PER = 'params = { per = { type = "number", default = 5, min = 1, max = 100 } },'
local NEW = "new = function() return function(s) return 2 end end"
local MINE = "policies/scale/mine.lua:"
local UNKNOWN = "what is not known is nil: write (x or 0), or answer nil for no opinion"

-- What it is, the policy, and what must be told; `use`: how the service names it.
local MISTAKES = {
    { "a misspelt field", decide "return s.instnces",
        MINE .. "5: the view has no field 'instnces': did you mean 'instances'?" },
    { "a figure that is not known", decide "local memory = s.memory_percent\nlocal target = 75\nreturn memory / target",
        MINE .. "7: attempt to perform arithmetic on local 'memory' (a nil value): " .. UNKNOWN, "memory = nil, target = 75)" },
    { "a field of what is not there", decide "return s.rate.x",
        MINE .. "5: attempt to index field 'rate' (a nil value): look first whether it is there", "instances = 2" },
    { "a figure that is not known in a text", decide "return 2, 'memory ' .. s.memory_percent",
        MINE .. "5: attempt to concatenate field 'memory_percent' (a nil value)", "write tostring(x)" },
    { "a number against a text", decide "return s.cpu_percent > '75' and 3 or 2",
        MINE .. "5: attempt to compare string with number: both must be numbers: tonumber(x)", "cpu_percent = 50" },
    { "a text for an answer", decide "return tostring(s.instances)",
        MINE .. '4: answered "2": it is to be a whole number of instances, 0 or more, or nil for no opinion: tonumber(x)' },
    { "a part of an instance", decide "return s.instances * 1.6",
        MINE .. "4: answered 3.2: it is to be a whole number of instances", "math.ceil(x)" },
    { "less than nothing", decide "return s.instances - 3", MINE .. "4: answered -1:", "math.max(x, 0)" },
    { "nothing by nothing", decide "return (s.rate or 0) / (s.in_flight or 0)",
        MINE .. "4: answered nan: 0 divided by 0: look first whether the figure is known" },
    { "no return", decide "local want = s.instances", MINE .. "8: examples[1]: given { cpu_percent = 50, instances = 2 } "
        .. "wanted 2, got nothing: is a return missing?" },
    { "a loop without an end", decide "while true do end",
        MINE .. "5: ran longer than 1000 ms of CPU time: is there a loop without an end?" },
    { "functions that call each other", "local a, b\nfunction a(n) return 1 + b(n) end\nfunction b(n) return 1 + a(n) end\n"
        .. decide "return a(1)", "stack overflow: does a function call itself without an end?", MINE },
    { "a table that grows", decide "local t = {}\nfor i = 1, 1e9 do t[i] = { i } end\nreturn 2",
        MINE, "not enough memory: a state may hold 64 MiB: does a table or a text grow without an end?" },
    { "a text that is too long", decide "return #('x'):rep(1e9)", MINE .. "5: string.rep: more than 1048576 bytes" },
    { "a pattern that takes for ever", decide "return ('a'):rep(65536):find 'a*b' and 1 or 2",
        MINE .. "5: ran longer than 1000 ms of CPU time" },
    { "a misspelt library", "local stats = require 'lib.sttas'\n" .. decide "return 2",
        MINE .. '1: no library "lib.sttas": looked for policies/lib/sttas.lua beside the configuration and among the shipped '
            .. 'ones: did you mean "lib.stats"?', files = { ["policies/lib/stats.lua"] = "return {}" } },
    { "a file that is no library", "\nlocal secrets = require '../secrets'\n" .. decide "return 2",
        MINE .. '2: nothing but libraries below policies/lib can be required, such as "lib.stats", not "../secrets"' },
    { "a rock", "local socket = require 'socket'\n" .. decide "return 2",
        MINE .. '1: nothing but libraries below policies/lib can be required, such as "lib.stats", not "socket"' },
    { "half a line", decide "return s.instances +", MINE .. "6: unexpected symbol near 'end': look at the line and the end "
        .. "of the one before it" },
    { "a forgotten end", decide "if s.instances > 2 then return 2", MINE .. "8: 'end' expected (to close 'function' at line 3) "
        .. "near '=': an `end` or a bracket is missing: each function, if, for and while has an `end` of its own" },
    { "another language's not equal", decide "if s.instances != 2 then return 3 end\nreturn 2",
        MINE .. "5: 'then' expected near '!': \"not equal\" is written ~=" },
    { "another language's increment", decide "local n = 1\nn += 1\nreturn n",
        MINE .. "6: '=' expected near '+': write n = n + 1" },
    { "another language's nothing", decide "return None", MINE .. '5: undefined global "None": in Lua it is nil' },
    { "a text for a number", decide("return 2", PER), 'tidegate.lua:4: service "data": scale.per: expected a number, got "ten"',
        use = '{ policy = "mine", per = "ten" }' },
    { "a parameter out of its range", decide("return 2", PER),
        'tidegate.lua:4: service "data": scale.per: must be between 1 and 100, got 1000', use = '{ policy = "mine", per = 1000 }' },
    { "a misspelt parameter", decide("return 2", PER),
        'tidegate.lua:4: service "data": scale.pre: unknown key: did you mean "per"?', use = '{ policy = "mine", pre = 3 }' },
    { "a parameter that is misspelt in the policy", decide("return params.pre", PER),
        MINE .. '5: params: unknown parameter "pre": did you mean "per"?' },
    { "a type that is none", decide("return 2", 'params = { per = { type = "nubmer" } },'),
        MINE .. '2: params.per: unknown type "nubmer": did you mean "number"?' },
    { "a misspelt global", decide "return maths.max(2, 1)", MINE .. '5: undefined global "maths" (did you mean "math"?)' },
    { "a misspelt function", decide "return math.cel(1.5)",
        MINE .. '5: math.cel: "math" has no function "cel" (did you mean "ceil"?)' },
    { "a function of another Lua", decide "return table.unpack { 2 }",
        MINE .. '5: table.unpack: "table" has no function "unpack": write unpack(t)' },
    { "a memory in a global", decide "count = 2\nreturn count", MINE .. '5: writes the global "count": make it local' },
    { "a clock", decide "return os.time() % 3", MINE .. '5: undefined global "os": a policy has no clock, files or processes: '
        .. "time is in what it is given" },
    { "a file", decide "local f = io.open('/etc/passwd')\nreturn 2", MINE .. '5: undefined global "io": a policy has no files' },
    { "a colon for a dot", decide "return s:instances()",
        MINE .. "5: attempt to call method 'instances' (a number value): a field is read with a dot" },
    { "a dot for a colon", decide "local text = 'ab'\nreturn #text.rep(3)",
        MINE .. "6: string.rep takes a string and a number" },
    { "an error that is a table", decide "error { code = 3 }",
        MINE .. "5: raised a table, { code = 3 }: error takes a text, or a table with a message" },
    { "a function for a module", "return function(s) return 2 end\n",
        MINE .. '1: returns a function: a policy file ends with return { name = "mine", doc = ..., new = ... }' },
    { "a module that is not returned", 'local M = { name = "mine", doc = "x", ' .. NEW .. " }\n",
        MINE .. '1: returns nothing: a policy file ends with return { name = "mine", doc = ..., new = ... }' },
    { "no new", 'return { name = "mine", doc = "x",\n  decide = function(s) return 2 end }\n',
        MINE .. "1: new: expected function(params) return function(s) ... end end, got nothing",
        MINE .. "2: decide: unknown key: there are name, doc, params, needs, timing, " },
    { "no name", 'return { doc = "x", ' .. NEW .. " }\n", MINE .. '1: name: expected "mine" as the file is called, got nothing' },
    { "no doc", 'return { name = "mine", ' .. NEW .. " }\n",
        MINE .. "1: doc: expected a sentence that says what it decides, got nothing" },
    { "a new that decides", 'return { name = "mine", doc = "x", new = function(s) return 2 end }\n',
        MINE .. "1: new: returned 2: it must return the function that decides, function(s) ... end" },
    { "an example that is wrong", decide "return s.instances + 1, 'one more'",
        MINE .. "8: examples[1]: given { cpu_percent = 50, instances = 2 } wanted 2, got 3 (one more)" },
    { "an example with a field that is none", 'return { name = "mine", doc = "x", ' .. NEW
        .. ",\n  examples = { { given = { instnces = 2 }, want = 2 } } }\n",
        MINE .. "2: examples[1]: the view has no field 'instnces': did you mean 'instances'?" },
    { "a policy of another kind", decide "return 2", 'tidegate.lua:4: service "data": scale.policy: "round_robin" is a policy of '
        .. "balance, not of scale: there are ", use = '{ policy = "round_robin" }' },
    { "a policy that is not there", decide "return 2",
        'tidegate.lua:4: service "data": scale.policy: unknown scale policy "treshold": did you mean "threshold"?',
        use = '{ policy = "treshold" }' },
    { "a function for a balance policy", 'return { name = "mine", doc = "x",\n  new = function() return function() return 1 end end }',
        "policies/balance/mine.lua:2: new: must return { score = function } or { pick = function }, got a function",
        kind = "balance" },
}

describe("tidegate check", function()
    local sh

    before_each(function()
        sh = shell.new()
        sh:run "mkdir -p policies/scale policies/balance policies/lib"
    end)

    after_each(function()
        sh:close()
    end)

    for _, mistake in ipairs(MISTAKES) do
        local name, source = mistake[1], mistake[2]
        it("says of " .. name .. " where it is and what to do", function()
            local kind, use = mistake.kind or "scale", mistake.use or '{ policy = "mine", min = 1, max = 5 }'
            sh:write(("policies/%s/mine.lua"):format(kind), source)
            for path, text in pairs(mistake.files or {}) do
                sh:write(path, text)
            end
            sh:write("tidegate.lua", kind == "scale" and CONFIG:format(use, '"ewma"') or CONFIG:format("{ min = 1 }", use:gsub(
                ", min = 1, max = 5", "")))
            local code, out, err = sh:run "$T check tidegate.lua"
            assert.equal(1, code, out)
            for i = 3, #mistake do
                assert.truthy(err:find(mistake[i], 1, true), ("%s\n   lacks\n%s"):format(err, mistake[i]))
            end
        end)
    end
end)

-- What no example met: the daemon runs into it.
local AT_RUN_TIME = {
    { "Misspelt", "return m.performnce.p99 > 1", "the view has no field 'performnce': did you mean 'performance'?" },
    { "Group", "return m.resources.cpu > 1", "resources has no field 'cpu': did you mean 'cpu_usage'?" },
    { "Index", "return m.scale.desired.x == 1", "attempt to index field 'desired' (a number value): a number has no fields" },
    { "Compare", "return m.scale.desired > '2'", "attempt to compare string with number: both must be numbers: tonumber(x)" },
    { "Answer", "return 1", "answered a number: true, false, or nil for not known" },
    { "Loop", "while true do end", "ran longer than 50 ms of CPU time" },
    { "Value", "local wanted, secret = 7, 'x'\n  return wanted()", "attempt to call local 'wanted' (a number value): it is not a function "
        .. "(here m = { at_ms = ", "wanted = 7, secret = ***)" },
    { "Table", "error { code = 3 }", "raised a table, { code = 3 }: error takes a text" },
}

describe("the daemon", function()
    it("says of what fails at run time where it is, the values, and what to do", tidegate.test(function(t)
        local alerts = {}
        for i, mistake in ipairs(AT_RUN_TIME) do
            alerts[i] = ('alert "%s" { when = function(m)\n  %s\nend }'):format(mistake[1], mistake[2])
        end
        t:configure([[
service "data" { command = { "@SERVICE@", "--port", "$PORT" }, scale = { min = 1, max = 3 } }
alerting { interval = "100ms", defaults = false }
]] .. table.concat(alerts, "\n"))
        t:start()
        local by_alert = {}
        t:wait("all of them to fail", function()
            local count = 0
            for _, one in ipairs(t:status().failing) do
                by_alert[one.of], count = one, count + 1
            end
            return count == #AT_RUN_TIME
        end)
        for _, mistake in ipairs(AT_RUN_TIME) do
            local one = by_alert[mistake[1]]
            assert.matches("^tidegate.lua:%d+: ", one.error)
            for i = 3, #mistake do
                assert.truthy(one.error:find(mistake[i], 1, true), one.error)
            end
            assert.matches("^data: scale.desired 1, ", one.input)
        end
    end))
end)
