-- compiled.lua: whether LuaJIT runs functions as machine code; trusted. Returns look(functions) -> boolean.
--
-- A function or loop that LuaJIT gave up on is marked in its own bytecode, and so is one with a trace.
-- Nothing is attached to the compiler: in some versions that crashes. The numbers of the opcodes are found
-- at functions that are known: behind each plain one stand the one given up and the compiled one.
local funcbc = ...

local function opcode(f, pc)
    local instruction = funcbc(f, pc)
    return instruction and instruction % 256
end

local FUNCF = opcode(function() end, 0)
local FORL = opcode(function() for _ = 1, 2 do end end, 5) -- behind three constants and FORI
local LOOP = opcode(function() while true do end end, 1)

return function(functions)
    local some = false
    for i = 1, #functions do
        local pc = 0
        local op = opcode(functions[i], pc)
        while op do
            if op == FUNCF + 1 or op == FORL + 1 or op == LOOP + 1 then
                return false
            end
            some = some or op == FUNCF + 2 or op == FORL + 2 or op == LOOP + 2
            pc = pc + 1
            op = opcode(functions[i], pc)
        end
    end
    return some
end
