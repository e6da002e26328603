-- globals.lua: what a chunk takes for globals, found in its bytecode without running it; trusted.
--
-- A misspelt name is nil until the line that has it runs, which may be in the first bad night. A write makes
-- a memory that nobody carries over a reload.
-- The numbers of the opcodes are found at chunks that are known: versions of LuaJIT differ in them.
local check = require "script.check"
local nearest = require "script.nearest"

local M = {}

-- What other Lua has and a sandbox has not, each with what to do instead.
local ABSENT = {
    os = "a policy has no clock, files or processes: time is in what it is given",
    io = "a policy has no files: what it needs are parameters, or a library of policies/lib",
    debug = "the sandbox does not have it", package = "the sandbox does not have it",
    ffi = "the sandbox does not have it", jit = "the sandbox does not have it",
    load = "no code is made at run time: write a function",
    loadstring = "no code is made at run time: write a function",
    dofile = 'use require "lib.name"', loadfile = 'use require "lib.name"',
    rawset = "assign: t[key] = value",
    setfenv = "the sandbox does not have it", getfenv = "the sandbox does not have it",
    collectgarbage = "the host collects between calls", newproxy = "the sandbox does not have it",
    module = "a file returns its table",
}

-- What people write who think of another language.
local FOREIGN = {
    None = "nil", null = "nil", NULL = "nil", undefined = "nil", NaN = "0 / 0", True = "true",
    False = "false", TRUE = "true", FALSE = "false", len = "#t", this = "the parameter",
}
local ABSENT_FIELDS = {
    ["math.randomseed"] = "chance is seeded by the host, so that a decision can be repeated",
    ["string.dump"] = "the sandbox does not have it", ["table.unpack"] = "write unpack(t)",
    ["table.pack"] = "write { ... }", ["table.getn"] = "write #t", ["table.size"] = "write #t",
    ["table.foreach"] = "write for k, v in pairs(t)", ["math.round"] = "write math.floor(x + 0.5)",
    ["math.clamp"] = "write math.max(low, math.min(x, high))", ["string.split"] = "write s:gmatch",
    ["string.contains"] = "write s:find(text, 1, true)",
    ["string.trim"] = 'write s:match "^%s*(.-)%s*$"',
}

local function opcode(host, source, at)
    return host.bytecode.funcbc(host.compile(source, "probe", {}), at) % 256
end

-- Calls each(name, line, written, depth, field) for every instruction that reads or writes a global; depth 0
-- is the chunk itself, 1 a function in it and so on; field: what is read of it at once, as in math.floor.
local function scan(host, chunk, each)
    local bytecode = host.bytecode
    local get, set = opcode(host, "return x", 1), opcode(host, "x = 1", 2)
    local get_field = opcode(host, "return x.y", 2)
    -- The name of the field that the instruction at `at` reads of the register `of`, when it does.
    local function field_at(part, at, of)
        local instruction = bytecode.funcbc(part, at)
        local reads = instruction and instruction % 256 == get_field
        if reads and math.floor(instruction / 2 ^ 24) % 256 == of then
            return bytecode.funck(part, -1 - math.floor(instruction / 65536) % 256)
        end
    end
    local function one(part, depth)
        local at, instruction = 0, bytecode.funcbc(part, 0)
        while instruction do
            local op = instruction % 256
            if op == get or op == set then -- the upper half says which constant is the name
                local name = bytecode.funck(part, -1 - math.floor(instruction / 65536) % 65536)
                local field = op == get and field_at(part, at + 1, math.floor(instruction / 256) % 256) or nil
                each(name, bytecode.funcinfo(part, at).currentline, op == set, depth, field)
            end
            at = at + 1
            instruction = bytecode.funcbc(part, at)
        end
        local index = -1
        local constant = bytecode.funck(part, index)
        while constant ~= nil do
            if type(constant) == "proto" then
                one(constant, depth + 1)
            end
            index = index - 1
            constant = bytecode.funck(part, index)
        end
    end
    one(chunk, 0)
end

local function undefined(name, known)
    if FOREIGN[name] then
        return ('undefined global "%s": in Lua it is %s'):format(name, FOREIGN[name])
    end
    local near = nearest(name, known)
    return ('undefined global "%s"'):format(name) .. (ABSENT[name] and ": " .. ABSENT[name] or
        near and (' (did you mean "%s"?)'):format(near) or ": make it a local or a parameter")
end

-- A function that a library of the sandbox does not have, and the file does not give it: text, or nil.
local function not_of_library(env, source, name, field)
    local library = type(field) == "string" and rawget(env, name)
    if type(library) ~= "table" or library == env or rawget(library, field) ~= nil
        or source:find(("%s%%.%s%%s*=[^=]"):format(name, field))
        or source:find(("function%%s+%s%%.%s%%f[%%W]"):format(name, field)) then
        return nil
    end
    local whole = name .. "." .. field
    local near = nearest(field, check.sorted_keys(library))
    return ('%s: "%s" has no function "%s"'):format(whole, name, field) .. (ABSENT_FIELDS[whole] and ": "
        .. ABSENT_FIELDS[whole] or near and (' (did you mean "%s"?)'):format(near)
        or ": there are " .. table.concat(check.sorted_keys(library), ", "))
end

-- Reports to load.errors, once a name and file. `known` has the names that may be read; of a configuration
-- (`open`) the files themselves may write globals, its functions may not.
local function report(load, file, source, known, open, env)
    local seen, names = {}, check.sorted_keys(known)
    scan(load.host, load.host.compile(source, file, env), function(name, line, written, depth, field)
        local text = written and not (open and depth == 0) and
            ('writes the global "%s": make it local'):format(name) or
            not written and not known[name] and undefined(name, names) or
            not_of_library(env, source, name, field)
        if text and not seen[text] then
            seen[text] = true
            load.errors.add(file, line, text)
        end
    end)
end

-- A policy or library. What does not compile is told by who runs it.
function M.policy(load, origin, source)
    local env = load.host.environment()
    if load.host.compile(source, origin, env) then
        report(load, origin, source, env, false, env)
    end
end

-- The files of a configuration after they have run in `env`: one may use what another defined.
function M.configuration(load, env)
    local known, chunks = {}, {}
    for name in next, env do
        known[name] = true
    end
    for _, file in ipairs(load.files) do
        chunks[file] = load.sources[file] and load.host.compile(load.sources[file], file, env)
        if chunks[file] then
            scan(load.host, chunks[file], function(name, _, written, depth)
                known[name] = known[name] or written and depth == 0 or nil
            end)
        end
    end
    for _, file in ipairs(load.files) do
        if chunks[file] then
            report(load, file, load.sources[file], known, true, env)
        end
    end
end

return M
