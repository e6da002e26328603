-- attacks.lua: bodies of functions that do not end by themselves: { name, body, what else may stop them: a pattern }.
--
--     for _, attack in ipairs(attacks.runaways) do local name, body, otherwise = unpack(attack) ... end
local M = {}

M.runaways = {
    -- Loops.
    { "while", "while true do end" },
    { "for", "for _ = 1, math.huge do end" },
    { "repeat", "local i = 0\nrepeat i = i + 1 until false" },
    { "goto", "::again::\ngoto again" },
    { "nested loops", "while true do for _ = 1, 1000 do end end" },
    { "a loop of sums", "local x = 0\nwhile true do x = x + 1 end" },
    { "an iterator", "for _ in function() return 1 end do end" },
    { "tail calls", "local function f() return f() end\nreturn f()" },
    { "mutual tail calls", "local f, g\nfunction f() return g() end\nfunction g() return f() end\nreturn f()" },
    { "recursion", "local function f() return 1 + f() end\nreturn f()", "stack overflow" },
    { "recursion with varargs", "local function f(...) return f(1, ...) end\nreturn f()", "stack overflow" },
    { "growing a table that is walked", "local t = { 1 }\nfor i in ipairs(t) do t[i + 1] = i end", "not enough memory" },
    { "garbage", "while true do local t = { {} } end" },
    { "chance", "while true do math.random() end" },
    -- Errors that are swallowed.
    { "pcall in a loop", "while true do pcall(function() while true do end end) end" },
    { "pcall by name", "while true do pcall(error) end" },
    { "a tree of pcalls", "local function f() pcall(f) pcall(f) end\nf()" },
    { "xpcall in a loop", "while true do xpcall(function() while true do end end, function() end) end" },
    { "a handler that loops", "xpcall(function() error 'x' end, function() while true do end end)" },
    { "a handler that loops behind a loop",
        "local function loop() while true do end end\nxpcall(loop, loop)" },
    { "handlers of handlers", "local function f() xpcall(error, f) end\nwhile true do f() end" },
    -- Coroutines.
    { "a coroutine", "coroutine.wrap(function() while true do end end)()" },
    { "coroutines whose errors are swallowed",
        "while true do coroutine.resume(coroutine.create(function() while true do end end)) end" },
    { "a coroutine that yields in a loop",
        "local f = coroutine.wrap(function() while true do coroutine.yield() end end)\nwhile true do f() end" },
    -- Metamethods and functions that C calls.
    { "__index", "local t = setmetatable({}, { __index = function() while true do end end })\nreturn t.x" },
    { "__newindex", "local t = setmetatable({}, { __newindex = function() while true do end end })\nt.x = 1" },
    { "__lt", "local m = { __lt = function() while true do end end }\n"
        .. "return setmetatable({}, m) < setmetatable({}, m)" },
    { "__concat", "return setmetatable({}, { __concat = function() while true do end end }) .. ''" },
    { "__call", "setmetatable({}, { __call = function() while true do end end })()" },
    { "__tostring", "return tostring(setmetatable({}, { __tostring = function() while true do end end }))" },
    { "__tostring in format",
        "return (('%s'):format(setmetatable({}, { __tostring = function() while true do end end })))" },
    { "__index in a loop", "local t = setmetatable({}, { __index = function() return 1 end })\nwhile t.x do end" },
    { "an order function", "table.sort({ 1, 2, 3 }, function() while true do end end)" },
    { "a replacement", "local s = ('a'):gsub('a', function() while true do end end)" },
    { "a table of replacements",
        "local s = ('a'):gsub('a', setmetatable({}, { __index = function() while true do end end }))" },
    -- One call of C.
    { "find", "while true do local i = ('a'):rep(65536):find('a*b') end" },
    { "lazy find", "local i = ('a'):rep(10000):find('.-.-b$')" },
    { "find in pcall", "while true do pcall(string.find, ('a'):rep(200000), '.-.-.-b$') end" },
    { "match", "local s = ('a'):rep(10000):match('(.-)(.-)(.-)b')" },
    { "gmatch", "for _ in ('a'):rep(200000):gmatch('a*b') do end" },
    { "gsub", "local s = ('a'):rep(200000):gsub('a*b', '')" },
    { "balance", "local i = ('('):rep(200000):find('%b()')" },
    { "frontier", "while true do local i = ('a'):rep(200000):find('%f[b]') end" },
    { "plain find", "local s = ('a'):rep(1e6)\nwhile true do local i = s:find(('a'):rep(5e5) .. 'b', 1, true) end" },
    { "sort", "local t = {}\nfor i = 1, 2e5 do t[i] = i * 7919 % 1000003 end\nwhile true do table.sort(t) end" },
    { "insert at the front", "local t = {}\nwhile true do table.insert(t, 1, 1) end" },
    { "remove at the front",
        "local t = {}\nfor i = 1, 2e5 do t[i] = i end\nwhile true do table.remove(t, 1) t[#t + 1] = 1 end" },
    { "concat", "local t = {}\nfor i = 1, 1e4 do t[i] = 'abc' end\nwhile true do table.concat(t) end" },
    { "maxn", "local t = { [1e9] = 1 }\nwhile true do table.maxn(t) end" },
    { "copies of a text", "local s = ('a'):rep(1e6)\nwhile true do s = s:reverse():upper():lower() end" },
    { "numbers as texts", "while true do local n = tonumber(('9'):rep(1e5)) end" },
    { "format", "while true do local s = ('%99.99f'):format(1e300) end" },
    { "select", "while true do local n = select('#', unpack({}, 1, 5000)) end" },
    { "print", "while true do print() end" },
    { "require", "while true do pcall(require, 'lib.none') end" },
}

-- What would not end either, and is refused at once.
M.refused = {
    { "table.insert(t, -1e7, x)", "table.insert({}, -1e7, 1)", "position out of bounds" },
    { "table.insert(t, 1e9, x)", "table.insert({}, 1e9, 1)", "position out of bounds" },
    { "string.rep", "return ('x'):rep(1e9)", "more than 1048576 bytes" },
    { "a finalizer", "newproxy(true)", "newproxy" },
    { "unpack", "return select('#', unpack({}, 1, 1e8))", "too many results" },
    { "an error that loops as a text",
        "error(setmetatable({}, { __tostring = function() while true do end end }))", "raised a table value" },
    { "an error that loops when it is read",
        "error(setmetatable({}, { __index = function() while true do end end }))", "raised a table value" },
}

return M
