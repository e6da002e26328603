local room = require "ffi_room"
local C, ffi = room.load("base/mem.h")

ffi.cdef [[
struct state;
struct state *script_test_state(int kind, size_t memory_bytes, char **reterr);
void script_test_state_free(struct state *s);
int script_test_eval(struct state *s, const char *source, size_t len, uint32_t budget_ms, char **ret_text);
int script_test_view(struct state *s, const char *source, const char *json, char **ret_text);
]]

local COLD, HOT, MIB = 0, 1, 1048576
local EINVAL, ETIME = -22, -62

local function state(kind, memory)
    local why = ffi.new "char *[1]"
    local s = C.script_test_state(kind or COLD, memory or 16 * MIB, why)
    assert(s ~= nil, why[0] ~= nil and ffi.string(why[0]))
    return ffi.gc(s, C.script_test_state_free)
end

local function taken(text)
    local copy = ffi.string(text[0])
    C.mem_free(text[0])
    return copy
end

-- What the chunk returned as text, or nil, the sentence and the code.
local function eval(s, source, budget_ms)
    local text = ffi.new "char *[1]"
    local code = C.script_test_eval(s, source, #source, budget_ms or 1000, text)
    if code == 0 then
        return taken(text)
    end
    return nil, taken(text), code
end

local function view(s, source, json)
    local text = ffi.new "char *[1]"
    local code = C.script_test_view(s, source, json, text)
    return code, taken(text)
end

local function contains(text, part)
    assert(text and text:find(part, 1, true), ("%q does not contain %q"):format(tostring(text), part))
end

local FILE = "policies/scale/test.lua"

for kind, label_of in pairs { [COLD] = "cold", [HOT] = "hot, not live" } do
    describe("script/state " .. label_of, function()
        local s
        before_each(function()
            s = state(kind)
        end)
        after_each(function()
            C.script_test_state_free(ffi.gc(s, nil))
        end)

        it("gives policies just the functions that views.lua lists", function()
            local wanted = {}
            for library, names in pairs(dofile "policies/tidegate/views.lua".functions) do
                for _, name in ipairs(names) do
                    wanted[#wanted + 1] = library .. "." .. name
                end
            end
            table.sort(wanted)
            local found = eval(s, [[
                local found = {}
                for name, value in pairs(_G) do
                    for key in pairs(type(value) == "table" and name ~= "_G" and value or {}) do
                        found[#found + 1] = name .. "." .. key
                    end
                    found[#found + 1] = type(value) ~= "table" and "base." .. name or nil
                end
                table.sort(found)
                return table.concat(found, " ")
            ]])
            assert.equal(table.concat(wanted, " "), found)
        end)

        it("runs text and returns its value", function()
            assert.equal("3", eval(s, "return 1 + 2"))
            assert.equal("1.50", eval(s, "return ('%.2f'):format(1.5)"))
        end)

        it("says where it failed", function()
            local cases = {
                { "local a\nreturn a.b", FILE .. ":2: attempt to index" },
                { "\nerror 'no'", FILE .. ":2: no" },
                { "\n\nerror { message = 'no' }", FILE .. ":3: no" },
                { "error({})", FILE .. ":1: raised a table value" },
                { "local function f() return 1 + f() end\nf()", FILE .. ": stack overflow" },
                { "local function f() ('a'):gsub('a', f) end\nf()", FILE .. ":1: stack overflow" },
                { "error(('x'):rep(1e6))", FILE .. ":1: xxx" },
                { "error()", FILE .. ":1: raised a nil value" },
                { "error(setmetatable({}, { __tostring = function() while true do end end }))",
                    FILE .. ":1: raised a table value" },
                { "return +", FILE .. ":1: unexpected symbol" },
                { "error('a: b', 0)", FILE .. ":1: a: b" },
                { "local t = require 'lib.raises'",
                    "policies/lib/raises.lua:3: no (called from " .. FILE .. ":1)" },
            }
            for _, case in ipairs(cases) do
                local value, why, code = eval(s, case[1])
                assert.is_nil(value, case[1])
                assert.equal(EINVAL, code)
                contains(why, case[2])
                assert.equal(1, (why:find(case[2], 1, true)), why)
            end
        end)

        -- Many more are in kills_spec.lua.
        it("stops a runaway after its CPU time", function()
            local value, why, code = eval(s, "while true do pcall(function() while true do end end) end", 20)
            assert.is_nil(value)
            assert.equal(ETIME, code)
            assert.equal(FILE .. ":1: ran longer than 20 ms of CPU time", why)
            assert.equal("2", eval(s, "return 1 + 1"))
        end)

        it("does not end what stays within its budget", function()
            assert.equal("done", eval(s, "for i = 1, 1e5 do end return 'done'", 2000))
        end)

        -- LuaJIT does not count C's stack, so each of these used to end the process.
        local descents = {
            gsub = "local function f() ('a'):gsub('a', f) end\nf()",
            gsub_pcall = "local function f() pcall(string.gsub, 'a', 'a', f) return 'x' end\nf()",
            gsub_index = "local t = setmetatable({}, {})\ngetmetatable(t).__index = function() return (('a'):gsub('a', t)) end\n"
                .. "local _ = t.a",
            sort = "local function f() table.sort({ 1, 2, 3 }, f) end\nf()",
            sort_less = "local m = {}\nlocal function f() return setmetatable({}, m) end\n"
                .. "m.__lt = function() table.sort { f(), f() } end\nm.__lt()",
            text = "local t = setmetatable({}, { __tostring = function(t) return ('%s'):format(t) end })\n"
                .. "return tostring(t)",
            text_pcall = "local m = {}\nlocal t = setmetatable({}, m)\nlocal function f() return ('%s %s'):format(t, t) end\n"
                .. "m.__tostring = function() return select(2, pcall(f)) end\nreturn f()",
            wrap = "local function f() return coroutine.wrap(f)() end\nf()",
            resume = "local function f() return coroutine.resume(coroutine.create(f)) end\nf()",
        }
        for label, source in pairs(descents) do
            it("survives a descent of C's stack: " .. label, function()
                local _, why = eval(s, source, 500)
                assert.is_true(why == nil or why:find "stack overflow" ~= nil or why:find "not enough memory" ~= nil
                    or why:find "ran longer" ~= nil, why)
                assert.equal("2", eval(s, "return 1 + 1"))
            end)
        end

        it("still has coroutines", function()
            assert.equal("6", eval(s, "local f = coroutine.wrap(function(a, b) return coroutine.yield(a + b) * 2 end)\n"
                .. "return f(f(1, 2))"))
            assert.equal("false x", eval(s, "local ok, why = coroutine.resume(coroutine.create(function() error('x', 0) end))\n"
                .. "return tostring(ok) .. ' ' .. why"))
        end)

        it("bounds what C functions would do at length", function()
            local cases = {
                "return ('x'):rep(1e9)", "return string.rep('xy', 1e6, 'z')",
                "table.insert({}, -1e9, 1)", "table.insert({}, 5, 1)", "table.insert({}, 1e9, 1)",
            }
            for _, source in ipairs(cases) do
                local value, why, code = eval(s, source)
                assert.is_nil(value, source)
                assert.equal(EINVAL, code, why)
            end
            assert.equal("nil", eval(s, "return table.remove({}, -1e9)"))
            assert.equal("0", eval(s, "return #(''):rep(2^31)"))
            assert.equal("a,a,a", eval(s, "return ('a'):rep(3, ',')"))
            assert.equal("1 x 2",
                eval(s, "local t = { 1, 2 } table.insert(t, 2, 'x') return table.concat(t, ' ')"))
            assert.equal("1", eval(s, "local t = {} table.insert(t, 'x') return #t"))
        end)

        it("sorts as Lua does", function()
            local cases = {
                "{ 3, 1, 2 }", "{}", "{ 1 }", "{ 'b', 'a', 'c', 'a' }", "{ 5, 5, 5, 5, 1 }",
                "{ 9, 8, 7, 6, 5, 4, 3, 2, 1, 0 }", "{ 1, 2, 3, 4 }, function(a, b) return a > b end",
            }
            for _, case in ipairs(cases) do
                local source = ("local function f(t, less) table.sort(t, less) return table.concat(t, ' ') end\n"
                    .. "local s = f(%s) return s"):format(case)
                assert.equal(assert(loadstring(source))(), eval(s, source), case)
            end
            local sorted = "local t, n = {}, 1 for i = 1, 5000 do n = n * 16807 % 2147483647 t[i] = n end "
                .. "table.sort(t) for i = 2, #t do assert(t[i - 1] <= t[i]) end return #t"
            assert.equal("5000", eval(s, sorted))
            local wrong = {
                { "table.sort({ 1, 'a' })", "attempt to compare" }, { "table.sort({ 1, 2 }, 3)", "function expected" },
                { "table.sort('x')", "table expected" },
                { "table.sort({ 1, 2, 3, 4, 5, 6 }, function() return true end)", "invalid order function" },
            }
            for _, case in ipairs(wrong) do
                local value, why = eval(s, case[1])
                assert.is_nil(value, case[1])
                contains(why, case[2])
                contains(why, FILE .. ":1: ")
            end
        end)

        it("shows no addresses", function()
            local values = {
                ["{}"] = "table", ["function() end"] = "function", ["coroutine.create(print)"] = "thread",
                ["1LL"] = "1LL", ["print"] = "function", ["1.5"] = "1.5", ["nil"] = "nil", ["'a: 0x1'"] = "a: 0x1",
                ["setmetatable({}, { __tostring = function() return 'mine' end })"] = "mine",
            }
            for value, text in pairs(values) do
                assert.equal(text, eval(s, ("return tostring(%s)"):format(value)))
                assert.equal(text .. "|" .. text, eval(s, ("local a = %s return ('%%s|%%s'):format(a, a)"):format(value)))
            end
            assert.equal("  ta|7 %p|", eval(s, "return ('%4.2s|%d %%p|'):format({}, 7)"))
            local cases = {
                { "local _ = ('%p'):format({})", ":1: string.format: %p: addresses are not shown" },
                { "local _ = ('%d %-5p'):format(1, 2)", ":1: string.format: %-5p: addresses" },
                { "local _ = ('%d'):format({})", ":1: bad argument #1 to 'format' (number expected, got table)" },
                { "local _ = ('%d'):format('x')", ":1: bad argument #1 to 'format' (number expected, got string)" },
                { "local _ = ('%s'):format(setmetatable({}, { __tostring = function() return {} end }))",
                    ":1: __tostring returned a table: a string is wanted" },
            }
            for _, case in ipairs(cases) do
                local value, why = eval(s, case[1])
                assert.is_nil(value, case[1])
                assert.equal(1, (why:find(FILE .. case[2], 1, true)), why)
            end
        end)

        it("offers nothing that reaches out", function()
            local absent = "io os debug package ffi jit load loadstring loadfile dofile module "
                .. "getfenv setfenv newproxy rawset collectgarbage gcinfo string.dump "
                .. "math.randomseed"
            for name in absent:gmatch "%S+" do
                assert.equal("nil", eval(s, "return " .. name), name)
            end
            local modules = { "ffi", "io", "jit.util", "string.buffer", "table.new", "../etc/passwd", "" }
            for _, module in ipairs(modules) do
                assert.is_nil((eval(s, ("return require %q"):format(module))), module)
            end
            assert.equal("false", eval(s, "return getmetatable('')"))
            assert.equal("nil", eval(s, "return ('').dump"))
        end)

        it("refuses bytecode", function()
            local value, why = eval(s, string.dump(function() return 1 end))
            assert.is_nil(value)
            contains(why, FILE .. ": ")
        end)

        it("keeps what one policy does to its libraries from the others", function()
            eval(s, "string.format = nil math.huge = 1 pairs = nil _G.type = nil leak = 1 string.len = error")
            assert.equal("1 inf function function nil",
                eval(s, "return ('%d %s %s %s %s'):format(1, math.huge, type(pairs), type(type), leak)"))
            assert.equal("2", eval(s, "return ('ab'):len()"))
        end)

        it("requires libraries, one instance for each policy", function()
            assert.equal("42", eval(s, "return require('lib.answer').value"))
            assert.equal("true 1", eval(s, "local a, b = require 'lib.answer', require 'lib.answer'\n"
                .. "return tostring(a == b) .. ' ' .. count"))
            local cases = {
                { "require 'lib.none'", FILE .. ":1: no library \"lib.none\"" },
                { "require 'lib.bad'", "policies/lib/bad.lua:2: unexpected symbol" },
                { "require 'lib.loop'", "policies/lib/loop.lua:1: library \"lib.loop\" requires itself" },
                { "require 'lib.ring'", "policies/lib/other.lua:1: library \"lib.ring\" requires itself: "
                    .. "lib.ring -> lib.other -> lib.ring" },
                { "require '../x'", FILE .. ":1: require takes a name" },
            }
            for _, case in ipairs(cases) do
                local value, why = eval(s, case[1])
                assert.is_nil(value)
                contains(why, case[2])
            end
        end)

        it("prints to the log, with the place", function()
            local log = room.load "base/log.h"
            local path = os.tmpname()
            log.log_open("unit", path, log.LOG_INFO, false)
            eval(s, "\nprint('queue', 7, nil, {})")
            log.log_open("unit", nil, log.LOG_INFO, false)
            local file = assert(io.open(path))
            contains(file:read "*a", 'msg="policy printed" at=' .. FILE .. ':2 text="queue 7 nil table"')
            file:close()
            os.remove(path)
        end)

        it("has strict views", function()
            local code, text = view(s, "local v = ...\nreturn v.cpu_percent", '{"cpu_percent":91.5}')
            assert.equal(0, code)
            assert.equal("91.5", text)
            assert.equal("nil", select(2, view(s, "local v = ...\nreturn v.memory_percent", "{}")))
            code, text = view(s, "local v = ...\nreturn v.cpu_percnt", '{"cpu_percent":91.5}')
            assert.equal(EINVAL, code)
            assert.equal(FILE .. ":2: the view has no field 'cpu_percnt': did you mean 'cpu_percent'?", text)
        end)

        it("gives the same chance to the same view", function()
            local source = "local v = ...\nlocal a = math.random(1e6) return a .. ' ' .. math.random(1e6)"
            local function drawn(hash)
                return select(2, view(s, source, ('{"hash":%s}'):format(hash)))
            end
            local one, other = drawn(0.25), drawn(0.5)
            assert.truthy(one:find "^%d+ %d+$", one)
            assert.not_equal(one, other)
            eval(s, "for i = 1, 7 do math.random() end")
            assert.equal(one, drawn(0.25))
            assert.equal(drawn "\"x\"", drawn(0))
        end)

        it("has the metrics in them as alerts see them", function()
            local given = '{"service":"shop","metrics":{"service":"shop","data_processing":{"queue_depth":7}}}'
            assert.equal("7", select(2, view(s, "local v = ...\nreturn v.metrics.data_processing.queue_depth", given)))
            assert.equal("false", select(2, view(s, "local v = ...\nreturn v.metrics.performance.p99 > 1", given)))
            assert.equal("false", select(2, view(s, "local v = ...\nreturn v.metrics.performance.p99 > 1", "{}")))
            local code, text = view(s, "local v = ...\nreturn v.metrics.traffic.retrys", given)
            assert.equal(EINVAL, code)
            assert.equal(FILE .. ":2: traffic has no field 'retrys': did you mean 'retries'?", text)
        end)

        it("calls the handler of xpcall after the error", function()
            assert.equal("caught " .. FILE .. ":1: x", eval(s,
                "local function h(e) return 'caught ' .. e end "
                .. "local _, v = xpcall(function() error 'x' end, h) return v"))
            assert.equal("7", eval(s, "local _, v = xpcall(function(a) return a end, error, 7) return v"))
        end)
    end)
end

describe("script/state", function()
    it("begins anew with chance in each run while cold, and goes on while hot", function()
        local cold, other, hot = state(COLD), state(COLD), state(HOT)
        local draw = "local a = math.random() return a"
        local first = eval(cold, draw)
        assert.equal(first, eval(cold, draw))
        assert.equal(first, eval(other, draw))
        assert.not_equal(eval(hot, draw), eval(hot, draw))
    end)
end)

describe("script/pattern", function()
    it("agrees with Lua's own functions", function()
        local s = state()
        local texts = { "", "a", "hello world", "  x = 10, y=20 ", "THE (quick) fox", "a(b(c)d)e", "\0a\0",
            "aXb%1" }
        local patterns = { "", "a", "^a", "%a+", "(%w+)%s*=%s*(%w+)", "^%s*(.-)%s*$", "%b()", "%f[%a]%a+",
            "[^%s]+", "()l()", "(.)%1", "x*", "o-r", "[a-e]+$", "[]]", "%z", "l?o", ".-", "%d%d$", "[%a-z]", "$",
            "%$?" }
        for _, text in ipairs(texts) do
            for _, pattern in ipairs(patterns) do
                local source = [[
                    local text, pattern = %q, %q
                    local out = {}
                    local function add(...)
                        for i = 1, select("#", ...) do out[#out + 1] = tostring((select(i, ...))) end
                    end
                    add(text:find(pattern)) add(text:find(pattern, 2)) add(text:match(pattern, -3))
                    add(text:gsub(pattern, "<%%0>")) add(text:gsub(pattern, { a = "A" }))
                    add(text:gsub(pattern, function(x) return x == "a" and 1 end, 2))
                    local n = 0
                    for a, b in text:gmatch(pattern) do n = n + 1 add(a, b) if n > 50 then break end end
                    add(text:find(pattern, 1, true))
                    return (table.concat(out, "|"):gsub("%%z", "NUL"))]]
                source = source:format(text, pattern)
                assert.equal(assert(loadstring(source))(), eval(s, source), pattern .. " on " .. text)
            end
        end
    end)

    it("reports malformed patterns", function()
        local s = state()
        for _, pattern in ipairs { "%", "[a", "(", ")", "%b", "%f", "%1", "[%", "(()" } do
            local value, why = eval(s, ("local i = ('x'):match(%q)"):format(pattern))
            assert.is_nil(value, pattern)
            contains(why, FILE .. ":1: ")
        end
    end)
end)
