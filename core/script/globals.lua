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

local function opcode(host, source, at)
    return host.bytecode.funcbc(host.compile(source, "probe", {}), at) % 256
end

-- Calls each(name, line, written, depth) for every instruction that reads or writes a global; depth 0 is
-- the chunk itself, 1 a function in it and so on.
local function scan(host, chunk, each)
    local bytecode = host.bytecode
    local get, set = opcode(host, "return x", 1), opcode(host, "x = 1", 2)
    local function one(part, depth)
        local at, instruction = 0, bytecode.funcbc(part, 0)
        while instruction do
            local op = instruction % 256
            if op == get or op == set then -- the upper half says which constant is the name
                local name = bytecode.funck(part, -1 - math.floor(instruction / 65536) % 65536)
                each(name, bytecode.funcinfo(part, at).currentline, op == set, depth)
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
    local near = nearest(name, known)
    return ('undefined global "%s"'):format(name) .. (ABSENT[name] and ": " .. ABSENT[name] or
        near and (' (did you mean "%s"?)'):format(near) or ": make it a local or a parameter")
end

-- Reports to load.errors, once a name and file. `known` has the names that may be read; of a configuration
-- (`open`) the files themselves may write globals, its functions may not.
local function report(load, file, chunk, known, open)
    local seen, names = {}, check.sorted_keys(known)
    scan(load.host, chunk, function(name, line, written, depth)
        local text = written and not (open and depth == 0) and
            ('writes the global "%s": make it local'):format(name) or
            not written and not known[name] and undefined(name, names) or nil
        if text and not seen[text] then
            seen[text] = true
            load.errors.add(file, line, text)
        end
    end)
end

-- A policy or library. What does not compile is told by who runs it.
function M.policy(load, origin, source)
    local env = load.host.environment()
    local chunk = load.host.compile(source, origin, env)
    if chunk then
        report(load, origin, chunk, env, false)
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
            report(load, file, chunks[file], known, true)
        end
    end
end

return M
