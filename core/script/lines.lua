-- lines.lua: on which line each key of a configuration block stands.
--
-- Tables do not carry lines, so the source text is read a second time: a tokenizer and a reader of
-- table constructors that maps paths such as "scale.min" and "route[2].listen" to lines.
--
--   lines.blocks(source, keywords) -> list of
--     { keyword = "service", name = "catalog" | nil, line = 4, keys = { ["scale.min"] = 9 },
--       twice = { { path = "image", line = 7, first = 5 } } }
--
-- What is not written as a literal (`scale = my_defaults`) has the line of its key, no more.
local M = {}

local ESCAPES = { n = "\n", t = "\t", r = "\r", a = "\a", b = "\b", f = "\f", v = "\v" }

local function unescape(text)
    return (text:gsub("\\(%d%d?%d?)", function(n)
        return string.char(tonumber(n) % 256)
    end):gsub("\\(.)", function(c)
        return ESCAPES[c] or c
    end))
end

local function newlines(text)
    return select(2, text:gsub("\n", ""))
end

-- The end of a quoted string that begins at `from`; the end of the line when it is not closed.
local function quoted_end(source, from)
    local quote, at = source:sub(from, from), from + 1
    while true do
        local stop = source:find("[\\\n" .. quote .. "]", at)
        if not stop then
            return #source
        end
        if source:sub(stop, stop) ~= "\\" then
            return stop
        end
        at = stop + 2
    end
end

-- One token from `at` (behind blanks): kind, text, first position behind it. Kinds: "name",
-- "string" (text is its value), "number", "sign", "comment"; nil at the end.
local function token_at(source, at)
    local c = source:sub(at, at)
    if c == "" then
        return nil
    end
    local long = source:match("^%-%-%[(=*)%[", at) or source:match("^%[(=*)%[", at)
    if long then
        local open = source:find("[", source:find("[", at, true) + 1, true)
        local _, stop = source:find("]" .. long .. "]", open, true)
        stop = stop or #source
        local kind = c == "-" and "comment" or "string"
        return kind, source:sub(open + 1, stop - #long - 2), stop + 1
    end
    if source:find("^%-%-", at) then
        local stop = source:find("\n", at, true) or #source + 1
        return "comment", "", stop
    end
    if c == '"' or c == "'" then
        local stop = quoted_end(source, at)
        return "string", unescape(source:sub(at + 1, stop - 1)), stop + 1
    end
    local _, stop = source:find("^[%a_][%w_]*", at)
    if stop then
        return "name", source:sub(at, stop), stop + 1
    end
    _, stop = source:find("^%.?%d[%w.]*", at)
    if stop then
        return "number", source:sub(at, stop), stop + 1
    end
    _, stop = source:find("^%.%.%.?", at)
    if not stop then
        _, stop = source:find("^[=~<>]=", at)
    end
    stop = stop or at
    return "sign", source:sub(at, stop), stop + 1
end

-- All tokens as parallel lists, without comments.
local function tokens_of(source)
    local t = { kind = {}, text = {}, line = {}, count = 0 }
    local at, line = source:find("^#") and (source:find("\n", 1, true) or #source + 1) or 1, 1
    while true do
        local blank_end = source:find("[^ \t\r\n\f\v]", at)
        if not blank_end then
            return t
        end
        line = line + newlines(source:sub(at, blank_end - 1))
        local kind, text, after = token_at(source, blank_end)
        if not kind then
            return t
        end
        if kind ~= "comment" then
            t.count = t.count + 1
            t.kind[t.count], t.text[t.count], t.line[t.count] = kind, text, line
        end
        line = line + newlines(source:sub(blank_end, after - 1))
        at = after
    end
end

local OPENS = { ["("] = 1, ["["] = 1, ["{"] = 1, ["function"] = 1, ["if"] = 1, ["do"] = 1, ["repeat"] = 1 }
local CLOSES = { [")"] = 1, ["]"] = 1, ["}"] = 1, ["end"] = 1, ["until"] = 1 }

local function is_sign(t, i, text)
    return t.kind[i] == "sign" and t.text[i] == text
end

-- The token behind an expression that begins at `i`: a `,` `;` `}` `)` or `]` at its own level, or the end.
local function expression_end(t, i)
    local depth = 0
    while i <= t.count do
        local kind, text = t.kind[i], t.text[i]
        if kind == "sign" or kind == "name" then
            if depth == 0 and (text == "," or text == ";" or text == "}" or text == ")" or text == "]") then
                return i
            end
            depth = depth + (OPENS[text] or 0) - (CLOSES[text] or 0)
        end
        i = i + 1
    end
    return i
end

-- The key at token `i` of a constructor: its path part, and the token of the value.
local function key_at(t, i, position)
    if t.kind[i] == "name" and is_sign(t, i + 1, "=") then
        return t.text[i], i + 2
    end
    if is_sign(t, i, "[") then
        local close = expression_end(t, i + 1)
        if is_sign(t, close, "]") and is_sign(t, close + 1, "=") then
            local plain = close == i + 2
            if plain and t.kind[i + 1] == "number" then
                return "[" .. t.text[i + 1] .. "]", close + 2
            end
            return plain and t.kind[i + 1] == "string" and t.text[i + 1] or "[?]", close + 2
        end
    end
    return "[" .. position .. "]", i
end

local function joined(path, key)
    if path == "" or key:sub(1, 1) == "[" then
        return path .. key
    end
    return path .. "." .. key
end

-- Reads the constructor whose `{` is token `i` into `block`; returns the token behind its `}`. `again`: it is
-- the value of a key that was given before; the last one counts, as in Lua.
local function read_table(t, i, path, block, depth, again)
    local position = 1
    i = i + 1
    while i <= t.count and not is_sign(t, i, "}") do
        local start = i
        local key, value = key_at(t, i, position)
        position = position + (value == i and 1 or 0)
        local full, line = joined(path, key), t.line[start]
        local before = block.keys[full]
        if before and not again and key ~= "[?]" then
            block.twice[#block.twice + 1] = { path = full, line = line, first = before }
        end
        block.keys[full] = line
        local after = expression_end(t, value)
        if is_sign(t, value, "{") and depth < 16 then
            local behind = read_table(t, value, full, block, depth + 1, again or before)
            after = behind > after and behind or after
        end
        i = after
        if is_sign(t, i, ",") or is_sign(t, i, ";") then
            i = i + 1
        elseif not is_sign(t, i, "}") then
            return t.count + 1
        end
    end
    return i + 1
end

-- `keyword "name" {`, `keyword("name"){`, `keyword (expression) {` or `keyword {` at token `i`: name and
-- the token of `{`, or nil.
local function block_start(t, i)
    if is_sign(t, i + 1, "{") then
        return nil, i + 1
    end
    if t.kind[i + 1] == "string" and is_sign(t, i + 2, "{") then
        return t.text[i + 1], i + 2
    end
    if is_sign(t, i + 1, "(") then
        local close = expression_end(t, i + 2)
        if is_sign(t, close, ")") and is_sign(t, close + 1, "{") then
            return close == i + 3 and t.kind[i + 2] == "string" and t.text[i + 2] or nil, close + 1
        end
    end
    return nil, nil
end

function M.blocks(source, keywords)
    local t, blocks = tokens_of(source), {}
    for i = 1, t.count do
        if t.kind[i] == "name" and keywords[t.text[i]] then
            local name, brace = block_start(t, i)
            if brace then
                local block = { keyword = t.text[i], name = name, line = t.line[i], keys = {}, twice = {} }
                read_table(t, brace, "", block, 1)
                blocks[#blocks + 1] = block
            end
        end
    end
    return blocks
end

return M
