-- coverage.lua: which lines of a source have code that can run, by its bytecode.
local M = {}

-- Lines that only close something, which some paths leave without passing them.
local function closes(line)
    local rest = line:gsub("%-%-.*$", ""):gsub("%f[%w]end%f[%W]", ""):gsub("%f[%w]else%f[%W]", "")
    return not rest:find "[^%s%)%]},;]"
end

local function add_lines(bytecode, part, found)
    local count = bytecode.funcinfo(part).bytecodes
    for at = 1, count - 1 do
        found[bytecode.funcinfo(part, at).currentline] = true
    end
    local index = -1
    local constant = bytecode.funck(part, index)
    while constant ~= nil do
        if type(constant) == "proto" then
            add_lines(bytecode, constant, found)
        end
        index = index - 1
        constant = bytecode.funck(part, index)
    end
end

-- A sorted list of numbers; nil when the source does not compile.
function M.lines(host, source)
    local chunk = host.compile(source, "lines", {})
    if not chunk then
        return nil
    end
    local found, texts, list = {}, {}, {}
    add_lines(host.bytecode, chunk, found)
    for line in (source .. "\n"):gmatch "(.-)\n" do
        texts[#texts + 1] = line
    end
    for line in next, found do
        if texts[line] and not closes(texts[line]) then
            list[#list + 1] = line
        end
    end
    table.sort(list)
    return list
end

return M
