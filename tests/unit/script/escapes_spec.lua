-- Ways out of the sandbox, in every host that runs operators' code: what each must come to, and that the state
-- goes on. Where a body is run often enough to be compiled, it comes to the same.
local hosts = require "hosts"
local script = require "script_room"

local C = script.C

-- Each: name, body, the text that it must come to; or in a table a pattern of the sentence that it must end with.
local ABSENT = "io os debug package ffi jit load loadstring loadfile dofile module getfenv setfenv newproxy rawset "
    .. "collectgarbage gcinfo string.dump math.randomseed table.new table.clear string.buffer coroutine.isyieldable "
    .. "_ENV arg _VERSION tidegate host print.x"

local cases = {}
local function add(name, body, want)
    cases[#cases + 1] = { name = name, body = body, want = want }
end

for name in ABSENT:gmatch "%S+" do
    if name ~= "print.x" then
        add(name .. " is not there", ("return %s == nil"):format(name), "true")
        add(name .. " is not there by way of _G", ("local t = _G\nfor part in (%q):gmatch '[^.]+' do t = t and t[part] end\n"
            .. "return t == nil"):format(name), "true")
    end
end

-- Loading code.
for _, module in ipairs { "ffi", "io", "os", "jit", "jit.util", "jit.opt", "string.buffer", "table.new", "bit", "_G", "package",
    "script.prelude", "tidegate.views", "balance.ewma", "lib.", "lib..x", "../lib/x", "lib/../x", "/etc/passwd", "", ".", "lib.x\0y" } do
    add(("require %q"):format(module), ("return require(%q)"):format(module), { "no library", "takes a name", "unknown name",
        "attempt to call" })
end
for _, value in ipairs { "nil", "5", "{}", "true", "print" } do
    add("require of " .. value, ("return require(%s)"):format(value), { "takes a name", "attempt to call" })
end
add("bytecode in a text", "return #'\\27LJ\\2' == 4", "true")

-- Metatables of what all share.
add("the metatable of texts", "return getmetatable('')", "false")
add("another metatable for texts", "setmetatable('', {})", { "bad argument", "table expected" })
add("methods of texts", "('').rep = 1", { "attempt to index" })
add("dump as a method", "return ('').dump == nil", "true")
add("methods that a policy changed", "string.rep = nil\nstring.find = nil\nreturn (('ab'):rep(2):find 'b')", "2")
add("methods that a policy added", "string.own = function() return 1 end\nreturn ('').own == nil", "true")
add("the metatable of nil", "return getmetatable(nil) == nil and getmetatable(print) == nil and getmetatable(1) == nil", "true")
add("the metatable of a coroutine", "return getmetatable(coroutine.create(print)) == nil", "true")
add("a metatable for a function", "setmetatable(print, {})", { "bad argument" })
add("a protected metatable", "local t = setmetatable({}, { __metatable = 1 })\nsetmetatable(t, {})", { "protected metatable" })
add("a finalizer", "setmetatable({}, { __gc = function() error 'never' end })\nreturn 1", "1")

-- Numbers that are cdata without FFI.
add("the metatable of 1LL", "return getmetatable(1LL)", "ffi")
add("another metatable for 1LL", "setmetatable(1LL, {})", { "bad argument" })
add("an index of 1LL", "return (1LL)[1]", { "cannot be indexed" })
add("a field of 1LL", "return (1LL).x", { "has no member" })
add("a field of 1i that it has", "return (3i).im", "3")
add("a field of 1i that it has not", "return (3i).next", { "has no member" })
add("an index of 1i far away", "local x = (3i)[1e6]\nreturn x == 0 or x == 3", "true")
add("a field of 1LL, written", "(1LL).x = 1", { "has no member" })
add("a call of 1LL", "return (1LL)()", { "not callable" })
add("1LL as a key", "local t = {}\nt[1LL] = 1\nreturn t[1] == nil", "true")
add("division by 0LL", "return tostring(1LL / 0LL)", "-9223372036854775808LL")
add("the least LL by -1", "return tostring(-0x8000000000000000LL / -1LL)", "-9223372036854775808LL")
add("a LL in format", "return ('%d %x'):format(-1LL, 255ULL)", "-1 ff")
add("a LL in bit", "return tostring(bit.band(0xffffffffffLL, 0xf0LL))", "240LL")

-- Globals, environments.
add("_G is its own", "_G.leak = 1\nlocal was = leak\n_G.leak = nil\nreturn was", "1")
add("a metatable for _G", "local ok = pcall(setmetatable, _G, nil)\nreturn ok == true or ok == false", "true")
add("a global function in place of a shared one", "local was = pairs\npairs = 5\nlocal is = pairs\npairs = was\nreturn is", "5")
add("_G._G", "return _G._G == _G", "true")

-- Coroutines.
add("the main coroutine", "return coroutine.running() == nil", "true")
add("a yield of the host", "coroutine.yield(1)", { "yield" })
add("globals of a coroutine", "return coroutine.wrap(function() return io == nil and _G.os == nil end)()", "true")
add("a coroutine that resumes itself",
    "local co co = coroutine.create(function() return coroutine.resume(co) end)\nreturn (select(2, coroutine.resume(co)))", "false")
add("a dead coroutine", "local f = coroutine.wrap(function() end)\nf()\nf()", { "dead coroutine" })
add("a coroutine without a function", "coroutine.create(5)", { "bad argument" })
add("a yield across gsub", "coroutine.wrap(function() ('a'):gsub('a', coroutine.yield) end)()", { "yield" })
add("a yield across sort", "coroutine.wrap(function() table.sort({ 1, 2 }, coroutine.yield) end)()", { "yield" })

-- Errors of any kind.
add("nil as an error", "error()", { "raised a nil value" })
add("a table as an error", "error({})", { "raised a table value" })
add("a message in a table", "error({ message = 'mine' })", { "mine" })
add("a message that is a table", "error({ message = {} })", { "raised a table" })
add("a message by __index", "error(setmetatable({}, { __index = function() while true do end end }))", { "raised a table value" })
add("a function as an error", "error(print)", { "raised a function value" })
add("a coroutine as an error", "error(coroutine.create(print))", { "raised a thread value" })
add("a number as an error", "error(42)", { "42" })
add("a boolean as an error", "error(true)", { "raised a boolean value" })
add("1LL as an error", "error(1LL)", { "raised a cdata value" })
add("a level far away", "error('far', 1e9)", { "far" })
add("a level before the first", "error('before', -1)", { "before" })
add("an error in a handler", "return (xpcall(error, error))", "false")
add("a handler that is none", "return (xpcall(error, nil))", "false")
add("an error with a zero in it", "error('a\\0b')", { "a" })
add("an error with bytes that a terminal obeys", "error('\\27[2J')", { "%[2J" })
add("pcall of nothing", "return pcall()", { "bad argument" })
add("pcall of what is no function", "return (pcall(5))", "false")
add("assert with a table", "assert(false, {})", { "raised a table value" })

-- Arguments beyond what is sound.
add("unpack of too much", "return unpack({}, 1, 1e8)", { "too many results" })
add("unpack beyond 2^31", "return select('#', unpack({}, 2^31, 2^31))", { "too many results", "" })
add("select before the first", "return select(-1e9, 1)", { "out of range" })
add("byte of a long text", "return ('x'):rep(1e6):byte(1, -1)", { "too long" })
add("char of no byte", "return string.char(256)", { "bad argument" })
add("rep of a negative number", "return #('x'):rep(-1)", "0")
add("rep of NaN", "return ('x'):rep(0/0)", { "string.rep" })
add("rep of infinity", "return ('x'):rep(1/0)", { "string.rep" })
add("rep of an empty text for ever", "return #(''):rep(1e18)", "0")
add("sub beyond the end", "return #('abc'):sub(-1e9, 1e9)", "3")
add("insert before the first", "table.insert({}, -1, 1)", { "out of bounds" })
add("insert at NaN", "table.insert({}, 0/0, 1)", { "out of bounds" })
add("insert into no table", "table.insert('x', 1, 1)", { "out of bounds" })
add("remove far away", "return table.remove({}, 2^53) == nil", "true")
add("concat of a range without values", "return table.concat({}, ',', 1, 3)", { "invalid value" })
add("concat by __index", "return table.concat(setmetatable({}, { __index = function() return 'x' end }), '', 1, 3)", { "invalid value" })
add("a key of NaN", "local t = {}\nt[0/0] = 1", { "NaN" })
add("a key of nil", "local t = {}\nt[nil] = 1", { "nil" })
add("next with a key that is none", "return next({}, 1)", { "invalid key", "" })
add("format with a width too wide", "return ('%1000d'):format(1)", { "invalid" })
add("format of an address", "return ('%p'):format({})", { "addresses are not shown" })
add("format with too little", "return ('%d'):format()", { "bad argument" })
add("tonumber in base 37", "return tonumber('z', 37)", { "base out of range" })
add("tonumber of a long text", "return tonumber(('9'):rep(1e5))", "inf")
add("random of an empty interval", "return type(math.random(2, 1))", "number")
add("random of a wide one", "local x = math.random(1, 2^52)\nreturn x >= 1 and x <= 2^52", "true")
add("shift by much", "return bit.lshift(1, 1e9) ~= nil", "true")
add("a pattern that ends early", "return ('x'):find('%')", { "malformed pattern" })
add("a pattern with many captures", "return ('x'):rep(99):match(('(.)'):rep(40))", { "too many captures" })
add("a pattern that nests", "return ('x'):match(('('):rep(300) .. (')'):rep(300))", { "too many captures", "too complex" })
add("a back reference to nothing", "return ('x'):match('%1')", { "invalid capture" })
add("gsub with a replacement beyond", "return ('x'):gsub('x', '%9')", { "invalid capture" })
add("gsub whose function answers a table", "return ('x'):gsub('x', function() return {} end)", { "invalid replacement" })
add("sort with a function that lies", "table.sort({ 3, 1, 2, 5, 4, 6, 7 }, function() return true end)", { "invalid order function", "attempt to compare" })
add("sort that empties its list", "local t = { 3, 2, 1, 5, 4 }\ntable.sort(t, function(a, b) for i = 1, 5 do t[i] = nil end return (a or 0) < (b or 0) end)\n"
    .. "return 1", "1")
add("a walk over a table that changes", "local t = { a = 1, b = 2 }\nfor k in pairs(t) do t[k] = nil end\nreturn next(t) == nil", "true")

-- Addresses.
for _, value in ipairs { "{}", "print", "function() end", "coroutine.create(print)", "setmetatable({}, {})", "_G", "string" } do
    add("the address of " .. value, ("local v = %s\nreturn not (tostring(v) .. ('%%s'):format(v)):find '0x'"):format(value), "true")
end

-- What the host handed over. `view` is of scale policies, `backends` and `request` of balance policies.
local VIEW = {
    { "the view's metatable", "return getmetatable(view)", "false" },
    { "another metatable for the view", "setmetatable(view, {})", { "protected metatable" } },
    { "the metatable of its metrics", "return getmetatable(view.metrics)", "false" },
    { "another metatable for its metrics", "setmetatable(view.metrics.traffic, {})", { "protected metatable" } },
    { "a field that is none", "return view.cpu", { "has no field 'cpu'" } },
    { "a field of a number", "return view[1]", { "has no field '%(number%)'" } },
    { "a field of a table", "return view[{}]", { "has no field '%(table%)'" } },
    { "rawget of a field that is none", "return rawget(view, 'cpu') == nil", "true" },
    { "what is written", "local was = view.instances\nview.instances = 99\nreturn was", "2" },
}
local BACKENDS = {
    { "the kind of a backend", "return type(backends[1])", "cdata" },
    { "its metatable", "return getmetatable(backends[1])", "ffi" },
    { "another metatable", "setmetatable(backends[1], {})", { "bad argument" } },
    { "a field, written", "backends[1].in_flight = 5", { "constant" } },
    { "a field that is none, written", "backends[1].own = 5", { "constant", "no member" } },
    { "a field that is none", "return backends[1].__index", { "has no field '__index'" } },
    { "an index", "return backends[1][0]", { "has no field" } },
    { "an index far away", "return backends[1][1e6]", { "has no field" } },
    { "a negative index", "return backends[1][-1]", { "has no field" } },
    { "an index, written", "backends[1][0] = 1", { "constant", "cannot" } },
    { "pointer arithmetic", "return backends[1] + 1", { "attempt to perform arithmetic" } },
    { "a difference", "return backends[2] - backends[1]", { "attempt to perform arithmetic" } },
    { "an order", "return backends[1] < backends[2]", { "attempt to compare" } },
    { "equality", "return backends[1] == backends[1] and backends[1] ~= backends[2]", "true" },
    { "a call", "return backends[1]()", { "not callable" } },
    { "its length", "return #backends[1]", { "attempt to get length" } },
    { "a minus", "return -backends[1]", { "attempt to perform arithmetic" } },
    { "concatenation", "return backends[1] .. ''", { "attempt to concatenate" } },
    { "pairs", "for k in pairs(backends[1]) do return k end", { "__pairs" } },
    { "ipairs", "for k in ipairs(backends[1]) do return k end", { "__ipairs" } },
    { "next", "return next(backends[1])", { "bad argument" } },
    { "rawget", "return rawget(backends[1], 'weight')", { "bad argument" } },
    { "unpack", "return unpack(backends[1])", { "bad argument", "attempt" } },
    { "tonumber", "return tonumber(backends[1]) == nil", "true" },
    { "format as a number", "return ('%d'):format(backends[1])", { "number expected" } },
    { "format as an address", "return ('%p'):format(backends[1])", { "addresses are not shown" } },
    { "its address as a text", "return not (tostring(backends[1]) .. ('%s'):format(backends[1])):find '0x'", "true" },
    { "bit", "return bit.band(backends[1], 1)", { "attempt", "bad argument" } },
    { "math", "return math.floor(backends[1])", { "bad argument" } },
    { "concat", "return table.concat({ backends[1] })", { "invalid value" } },
    { "a text's length", "return ('x'):rep(backends[1])", { "takes a string and a number" } },
    { "a loop's bound", "for i = 1, backends[1] do return i end", { "must be a number" } },
    { "1LL beside it", "return 1LL + backends[1]", { "attempt to perform arithmetic" } },
    { "as an error", "error(backends[1])", { "raised a cdata value" } },
    { "the row before the first", "return backends[0] == nil", "true" },
    { "a row behind the last", "return backends[4] == nil and backends[1e6] == nil", "true" },
    { "the request, written", "request.hash = 1", { "constant" } },
    { "an index of the request", "return request[1]", { "has no field" } },
    { "the request's address", "return not tostring(request):find '0x'", "true" },
    { "a hundred rows in a table of its own", "local t = {}\nfor i = 1, 100 do t[i] = backends[i % 3 + 1] end\nreturn t[100].weight", "1" },
}
for _, case in ipairs(VIEW) do
    cases[#cases + 1] = { name = case[1], body = case[2], want = case[3], only = "^scale" }
end
for _, case in ipairs(BACKENDS) do
    cases[#cases + 1] = { name = "a backend: " .. case[1], body = case[2], want = case[3], only = "^balance" }
end

describe("a policy beside another", function()
    it("sees nothing of what the other did to its globals and libraries", function()
        local config = script.config({ scale = {
            bad = "leak, string.format, table.concat, math.huge, pairs, tostring, error = 1, nil, error, 1, nil, nil, nil\n"
                .. "_G.type = function() return 'mine' end\nlocal l = require 'lib.both'\nl.value = 'bad'\n"
                .. "return { new = function(params) params.per = 'bad' return function(s) s.instances = 9 return 1 end end }",
            good = "local l = require 'lib.both'\nreturn { new = function(params) return function(s)\n"
                .. "return s.instances, ('%s %s %s %s %s'):format(leak, type(pairs), math.huge, l.value, params.per) end end }",
        } }, { libraries = { { name = "lib.both", origin = "policies/lib/both.lua", source = "return { value = 'own' }" } }, services = {
            { name = "a", scale = { policy = "bad", params = { per = 5 } } },
            { name = "b", scale = { policy = "good", params = { per = 5 } } },
            { name = "c", scale = { policy = "bad", params = { per = 5 } } } } })
        local cold = assert(script.cold(config))
        for _ = 1, 2 do
            local view = { instances = 4 }
            local got = script.value(C.script_cold_decide(cold, script.json { services = { a = view, b = view, c = view } })).services
            assert.same({ 1, 4, 1 }, { got.a.want, got.b.want, got.c.want })
            assert.equal("nil function inf own 5", got.b.reason)
        end
        C.script_cold_free(cold)
    end)
end)

-- The body so often that LuaJIT compiles what can be; the last time counts.
local function often(body)
    return "local body = function(view, backends, request)\n" .. body .. "\nend\nfor i = 1, 70 do pcall(body, view, backends, request) end\n"
        .. "return body(view, backends, request)"
end

for _, host in ipairs(hosts) do
    describe("an escape from " .. host.name, function()
        for _, case in ipairs(cases) do
            if not case.only or host.name:find(case.only) then
                it("leads nowhere: " .. case.name, function()
                    local slow = case.body:find "while true" or case.body:find "1e6" or case.body:find "1e5"
                    for _, body in ipairs { case.body, not slow and host.jit and often(case.body) or nil } do
                        if body ~= case.body and case.name == "what is written" then
                            break -- by the first of seventy
                        end
                        local it_ = assert(host.open(body))
                        local text, why = it_:run()
                        if type(case.want) == "string" then
                            assert.equal(case.want, text, why)
                        else
                            local known = false
                            for _, pattern in ipairs(case.want) do
                                known = known or (why or text or ""):find(pattern) ~= nil
                            end
                            assert.is_true(known, ("%s, %s"):format(tostring(text), tostring(why)))
                            assert.falsy((why or ""):find "0x%x%x%x")
                        end
                        assert.is_true(it_:healthy())
                        it_:close()
                    end
                end)
            end
        end
    end)
end
