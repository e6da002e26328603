-- advice.lua: what to do about what Lua says of a file: of its syntax, of time and memory.
local M = {}

-- Signs of other languages in a line: a pattern, and what it is in Lua.
local FOREIGN = {
    { "!=", '"not equal" is written ~=' },
    { "[%+%-%*/%.]=", "write n = n + 1" }, { "%+%+", "write n = n + 1" },
    { "&&", "write and" }, { "||", "write or" }, { "!%w", "write not" },
    { "^%s*//", "comments begin with --" }, { "^%s*#", "comments begin with --" },
    { "%f[%w]else%s+if%f[%W]", "write elseif" },
    { "%f[%w]const%f[%W]", "write local" }, { "%f[%w]var%f[%W]", "write local" },
    { "%f[%w]let%f[%W]", "write local" },
    { "=>", "a function is written function(x) ... end" },
    { "^%s*import%f[%W]", 'write local x = require "lib.x"' },
}

local function line_of(source, number)
    local at = 0
    for line in (source .. "\n"):gmatch "(.-)\r?\n" do
        at = at + 1
        if at == number then
            return line
        end
    end
    return ""
end

local function about(text, source, number)
    if text:find("'end' expected", 1, true) or text:find("near '<eof>'", 1, true) then
        return "an `end` or a bracket is missing: each function, if, for and while has an `end` of its own"
    elseif text:find("'<eof>' expected near 'end'", 1, true) then
        return "there is one `end` too many"
    end
    local line = line_of(source, number)
    for _, sign in ipairs(FOREIGN) do
        if line:find(sign[1]) then
            return sign[2]
        end
    end
    if line:find "%f[%w]if%f[%W]" and text:find("'then' expected", 1, true) and line:find "[^=~<>]=[^=]" then
        return '"equal" is written =='
    elseif text:find "^'[=%(]+' expected" or text:find("unexpected symbol", 1, true) then
        return "look at the line and the end of the one before it"
    end
end

-- What Lua's compiler said of a line of `source`, with a remedy where one is known.
function M.syntax(text, source, number)
    local advice = about(text, source, number)
    return advice and ("%s: %s"):format(text, advice) or text
end

-- The same of a whole sentence, "file:line: what". What came of running a file is left as it is.
function M.sentence(sentence, file, source)
    local number, text = sentence:match("^" .. file:gsub("%p", "%%%0") .. ":(%d+): (.*)$")
    if text and (text:find " expected" or text:find "^unexpected " or text:find "^unfinished "
        or text:find "^malformed ") then
        return ("%s:%s: %s"):format(file, number, M.syntax(text, source, tonumber(number)))
    end
    return sentence
end

-- What a policy or an example ran into.
function M.limit(sentence)
    if sentence:find("ms of CPU time", 1, true) then
        return sentence .. ": is there a loop without an end?"
    elseif sentence:find("not enough memory", 1, true) then
        return sentence .. ": does a table or a text grow without an end?"
    end
    return sentence
end

return M
