-- `tidegate policy`: new ones from templates, and their examples and specs with line coverage.
local cjson = require "cjson"
local shell = require "shell"
local tidegate = require "tidegate"

local KINDS = { "scale", "balance", "alert", "anomaly", "notify" }

local POLICY = [[
return {
    name = "mine",
    doc = "Something for a spec.",
    params = { per = { type = "number", default = 50 } },
    new = function(params)
        return function(s)
            if s.in_flight == 1 then
                while true do end
            end
            if s.in_flight == 2 then
                return s.metrics.perfrmance
            end
            return math.ceil(s.in_flight / params.per)
        end
    end,
    examples = { { given = { in_flight = 100 }, want = WANT } },
}
]]

describe("tidegate policy", function()
    local sh

    before_each(function()
        sh = shell.new()
        sh:write("tidegate.lua", 'cluster { id = "x" }\n')
        os.execute("mkdir -p " .. sh.dir .. "/policies/scale")
    end)

    after_each(function()
        sh:close()
    end)

    local function policy(arguments)
        return sh:run("cd " .. sh.dir .. " && $T policy " .. arguments)
    end

    it("writes policies that pass at once, in the program, in busted and in luacheck", function()
        for _, kind in ipairs(KINDS) do
            local code, out, err = policy(("new %s my_%s"):format(kind, kind))
            assert.same({ 0, "" }, { code, err })
            assert.matches(("wrote policies/%s/my_%s_spec.lua"):format(kind, kind), out)
        end
        local code, out, err = policy "test --least 100"
        assert.same({ 0, "" }, { code, err })
        assert.matches("5 policies: 12 examples and 13 specs, 0 failed, (%d+)/%1 lines", out)
        local own = shell.find "lua5.1" and "lua5.1 $(command -v busted)"
        for _, command in ipairs { "busted", "busted --lua=luajit", own } do
            local _, told = sh:run(("cd %s && %s 2>&1"):format(sh.dir, command))
            assert.matches("13 successes / 0 failures / 0 errors", told)
        end
        local _, checked = sh:run(("cd %s && luacheck --no-color . 2>&1"):format(sh.dir))
        assert.matches("Total: 0 warnings / 0 errors in 17 files", checked)
    end)

    it("writes what the daemon takes as it is", function()
        policy "new scale mine"
        policy "new balance near"
        sh:write("tidegate.lua", [[
            cluster { id = "x", engine = "process" }
            service "a" { command = { "true" }, scale = { policy = "mine", per = 9, min = 1, max = 2 },
                          route = { listen = "127.0.0.1:18080", balance = "near" } }
        ]])
        local code, out = sh:run("cd " .. sh.dir .. " && $T check")
        assert.equal(0, code)
        assert.matches("policies.* mine.*", out)
    end)

    it("overwrites nothing, and says what it kept", function()
        assert.equal(0, (policy "new scale mine"))
        sh:write("policies/scale/mine.lua", "-- my own\n")
        local code, _, err = policy "new scale mine"
        assert.equal(1, code)
        assert.matches("policies/scale/mine.lua is there already: choose another name", err)
        assert.equal("-- my own\n", sh:read "policies/scale/mine.lua")
        sh:write(".luacheckrc", "std = 'max'\n")
        local _, out = policy "new scale other"
        assert.matches("kept  .luacheckrc: this version writes it otherwise: remove it to have that", out)
        assert.equal("std = 'max'\n", sh:read ".luacheckrc")
    end)

    it("refuses names and places that will not do", function()
        for arguments, pattern in pairs {
            ["new scle x"] = 'unknown kind of policy "scle": did you mean "scale"%?',
            ["new scale ../x"] = '"../x" is no name of a policy',
            ["new scale x_spec"] = "no name of a policy",
            ["new scale threshold"] = 'a policy "threshold" is shipped: choose another name',
            ["new scale"] = "write policy new KIND NAME",
            ["test x.lua"] = "x.lua is no policy: give policies/KIND/NAME.lua",
            ["test policies/lib/x.lua"] = "is no policy",
            ["test --least much"] = 'no policies below',
        } do
            local code, _, err = policy(arguments)
            assert.is_true(code > 0)
            assert.matches(pattern, err)
        end
        local code, _, err = policy "new scale x --config other.lua"
        assert.equal(1, code)
        assert.matches("other.lua: No such file or directory: policies stand beside a configuration", err)
    end)

    it("tells which lines did not run, and where each failure is", function()
        sh:write("policies/scale/mine.lua", (POLICY:gsub("WANT", "3")))
        sh:write("policies/scale/mine_spec.lua", [[
local t = require "tidegate.testing"
describe("mine", function()
    local made
    before_each(function() made = t.new "scale/mine" end)
    it("hopes", function() t.expect_scale(made, { in_flight = 100 }, 4) end)
    it("misspells", function() made(t.view { in_flight = 2 }) end)
    it("gives too much", function() t.view { cpu_percnt = 2 } end)
    it("is fine", function() assert.equal(2, (made(t.view { in_flight = 100 }))) end)
    it("wants files", function() io.open "x" end)
    pending "later"
end)
]])
        local code, out = policy "test policies/scale/mine_spec.lua policies/scale/mine.lua"
        assert.equal(1, code)
        for _, line in ipairs {
            "FAIL policies/scale/mine.lua: 1 example, 5 specs, 7/8 lines, not covered: mine.lua:8",
            "policies/scale/mine.lua:16: examples[1]: given { in_flight = 100 } wanted 3, got 2",
            "mine hopes:\n       policies/scale/mine_spec.lua:5: given { in_flight = 100 } wanted 4, got 2",
            "policies/scale/mine.lua:11: the view has no field 'perfrmance': did you mean 'performance'?",
            "policies/scale/mine_spec.lua:7: the view has no field 'cpu_percnt': did you mean 'cpu_percent'?",
            "policies/scale/mine_spec.lua:9: attempt to index global 'io' (a nil value)",
            "1 policy: 1 example and 5 specs, 5 failed, 7/8 lines",
        } do
            assert.truthy(out:find(line, 1, true), line .. "\nin\n" .. out)
        end
        assert.is_nil(out:find("is fine", 1, true))
    end)

    it("stops what does not end, at its line", function()
        sh:write("policies/scale/mine.lua", (POLICY:gsub("WANT", "2")))
        sh:write("policies/scale/mine_spec.lua", [[
local t = require "tidegate.testing"
it("loops", function() t.new "scale/mine"(t.view { in_flight = 1 }) end)
it("goes on", function() assert.is_true(true) end)
]])
        local code, out = policy "test --json"
        local told = cjson.decode(out)
        assert.same({ 1, false, 1 }, { code, told.ok, #told.policies[1].failures })
        assert.equal("loops", told.policies[1].failures[1].what)
        assert.matches("^policies/scale/mine.lua:8: ran longer than %d+ ms", told.policies[1].failures[1].why)
        assert.same({ 11 }, told.policies[1].missed)
    end)

    it("judges assertions as busted does", function()
        local expressions = {
            "assert(1)", "assert(nil)", "assert(false, 'why')", "assert.equal(1, 1)", "assert.equal(1, '1')", "assert.equals(1, 2)",
            "assert.are.equal(2, 2)", "assert.is.equal({}, {})", "assert.same({ 1, { 2 } }, { 1, { 2 } })", "assert.same({ 1 }, { 1, 2 })",
            "assert.are.same({ a = 1 }, { a = 1, b = 2 })", "assert.is_true(true)", "assert.is_true(1)", "assert.is_false(false)",
            "assert.is_false(nil)", "assert.is_nil(nil)", "assert.is_nil(false)", "assert.is_not_nil(1)", "assert.is_not_nil(nil)",
            "assert.is_not.equal(1, 2)", "assert.are_not.equal(1, 1)", "assert.not_equal(1, 1)", "assert.truthy(0)", "assert.truthy(nil)",
            "assert.is_truthy(false)", "assert.falsy(nil)", "assert.falsy(1)", "assert.is_number(1)", "assert.is_number('1')",
            "assert.is_string('')", "assert.is_table({})", "assert.is_table(1)", "assert.is_function(print)", "assert.is_boolean(nil)",
            "assert.near(1, 1.05, 0.1)", "assert.near(1, 1.2, 0.1)", "assert.is_near(1, 1.05, 0.1)", "assert.matches('a+', 'caat')",
            "assert.matches('^a', 'ba')", "assert.has_match('b', 'abc')", "assert.has_error(function() error 'x' end)",
            "assert.has_error(function() end)", "assert.has_no.errors(function() end)", "assert.has_no.errors(function() error 'x' end)",
            "assert.has.errors(function() error('x', 0) end, 'x')", "assert.has_error(function() error('x', 0) end, 'y')",
            "assert.error_matches(function() error 'some x' end, 'me x')", "assert.error_matches(function() error 'some' end, 'x')",
            "assert.is_not_true(false)", "assert.is_not_true(true)", "assert.are_not.same({ 1 }, { 1 })", "error 'x'", "error({})",
        }
        local lines = {}
        for i, expression in ipairs(expressions) do
            lines[i] = ("it('%d', function() %s end)"):format(i, expression)
        end
        policy "new scale mine"
        sh:write("policies/scale/mine_spec.lua", table.concat(lines, "\n"))
        local _, own = policy "test --json"
        local _, theirs = sh:run("busted -o json")
        local failed, wanted = {}, {}
        for _, one in ipairs(cjson.decode(own).policies[1].failures) do
            failed[#failed + 1] = expressions[tonumber(one.what)]
        end
        local told = cjson.decode(theirs)
        for _, list in ipairs { told.failures, told.errors } do
            for _, one in ipairs(list) do
                wanted[#wanted + 1] = expressions[tonumber(one.name)]
            end
        end
        table.sort(failed)
        table.sort(wanted)
        assert.same(wanted, failed)
        assert.is_true(#wanted > 20 and #wanted < #expressions - 20)
    end)

    it("knows the lines of functions that were never made, and none that only close", function()
        sh:write("policies/scale/mine.lua", [[
local function never(a)
    return a
        + 1
end
return {
    name = "mine",
    doc = "Something for a spec.",
    params = {},
    new = function()
        return function(s)
            if s.in_flight > 5 then
                local inner = function()
                    return never(1)
                end
                return inner()
            else
                return 1
            end
        end
    end,
    examples = { { given = { in_flight = 1 }, want = 1 } },
}
]])
        local _, out = policy "test --json"
        local one = cjson.decode(out).policies[1]
        assert.same({ 3, 13, 15 }, one.missed) -- an expression has the line of its last part, a function that of its end
    end)

    it("wants as many lines as it is told to", function()
        sh:write("policies/scale/mine.lua", (POLICY:gsub("WANT", "2")))
        assert.equal(0, (policy "test --least 60"))
        local code, _, err = policy "test --least 90"
        assert.equal(1, code)
        assert.matches("%d+%.%d %% of the lines ran: %-%-least 90 wants more specs", err)
    end)
end)

describe("policies/README.md, from template to running", function()
    -- The chapter's own lines, in its order; `$EDITOR` is ours.
    local function lines()
        local list = {}
        local chapter = tidegate.read_file("policies/README.md"):match "## From template to running\n(.-)\n## "
        for line in chapter:gmatch "\n    ([^\n]+)" do
            list[#list + 1] = line:gsub("%s+#.*$", "")
        end
        return list
    end

    it("is a daemon that goes by the new policy", tidegate.test(function(t)
        t:configure [[
service "data" { command = { "@SERVICE@", "--port", "$PORT" },
                 scale = { policy = "threshold", min = 1, max = 4, interval = "100ms", up_cooldown = 0, down_cooldown = 0 },
                 route = { listen = "127.0.0.1:@PORT@" } }
]]
        t:start()
        local load = t:load { path = "/work?latency_ms=100", rate = 0, connections = 12 }
        local ran = {}
        for _, line in ipairs(lines()) do
            if line == "$EDITOR tidegate.lua" then
                local text, n = tidegate.read_file(t.dir .. "/tidegate.lua"):gsub('policy = "threshold"',
                    'policy = "queue_aware", per = 4')
                assert.equal(1, n)
                t:write("tidegate.lua", text)
            elseif not line:find "^%$EDITOR" then
                local words = {}
                for word in line:gmatch "%S+" do
                    words[#words + 1] = word
                end
                assert.equal("tidegate", table.remove(words, 1))
                local result = t:cli(unpack(words))
                assert.equal(0, result.code, line .. "\n" .. result.out .. result.err)
                ran[#ran + 1] = table.concat(words, " ", 1, math.min(#words, 2))
            end
        end
        assert.same({ "policy new", "policy test", "check", "simulate queue_aware", "reload", "decisions" }, ran)
        t:wait("three instances by the new policy", function()
            local d = t:of().last_decision
            return t:of().up == 3 and d.policy == "queue_aware" and d.reason:find "in flight, 4 each"
        end)
        assert.equal(0, load:stop().errors)
    end))
end)
