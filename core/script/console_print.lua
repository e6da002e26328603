-- console_print.lua: values as the console shows them, and as JSON.
--
-- Everything is read raw: no metamethod of what was typed runs here. Sizes are bounded, so that a value
-- that contains itself, or a million rows, is a short text too.
local M = {}

local WIDTH = 76       -- a table that fits is one line
local DEPTH = 4        -- tables below are {...}
local ROWS = 100       -- items shown of one table
local NODES = 5000     -- of one value
local TEXT = 2000      -- bytes shown of one text
local JSON_DEPTH = 32

local KEYWORDS = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat return then
    true until while]]):gmatch "%a+" do
    KEYWORDS[word] = true
end

-- ---- Texts and numbers ----------------------------------------------------------------------------

-- Bytes that a terminal would obey are shown as they would be written.
local function harmless(text)
    return (text:gsub("[%z\1-\8\11-\31\127]", function(c)
        return ("\\%03d"):format(c:byte())
    end))
end
M.harmless = harmless

local function quoted(text)
    local cut = #text > TEXT and ("... %d bytes more"):format(#text - TEXT) or ""
    text = text:sub(1, TEXT):gsub('[\\"]', "\\%0"):gsub("\n", "\\n"):gsub("\t", "\\t")
    return '"' .. harmless(text) .. '"' .. cut
end

local function plain_number(number)
    if number ~= number then
        return "nan"
    elseif number == math.huge or number == -math.huge then
        return number > 0 and "inf" or "-inf"
    elseif number == math.floor(number) and math.abs(number) < 1e15 then
        return ("%d"):format(number)
    end
    return ("%.6g"):format(number)
end

local function bytes(number)
    local unit = 1
    local names = { "B", "KiB", "MiB", "GiB", "TiB" }
    while number >= 1024 and unit < #names do
        number, unit = number / 1024, unit + 1
    end
    return plain_number(math.floor(number * 10 + 0.5) / 10) .. " " .. names[unit]
end

-- Milliseconds since 1970 as "2026-01-31T12:00:00Z"; the days by Howard Hinnant's civil_from_days.
local function moment(ms)
    local floor = math.floor
    local seconds = floor(ms / 1000)
    local z = floor(seconds / 86400) + 719468
    local era = floor(z / 146097)
    local doe = z - era * 146097
    local yoe = floor((doe - floor(doe / 1460) + floor(doe / 36524) - floor(doe / 146096)) / 365)
    local doy = doe - (365 * yoe + floor(yoe / 4) - floor(yoe / 100))
    local mp = floor((5 * doy + 2) / 153)
    local month = mp < 10 and mp + 3 or mp - 9
    local year = yoe + era * 400 + (month <= 2 and 1 or 0)
    return ("%04d-%02d-%02dT%02d:%02d:%02dZ"):format(year, month, doy - floor((153 * mp + 2) / 5) + 1,
        floor(seconds / 3600) % 24, floor(seconds / 60) % 60, seconds % 60)
end

local LONG_AGO_MS = 1e12 -- less is no time of day but a length

-- What a field's name says of its unit.
local UNITS = {
    { "percent$", "%" }, { "_usage$", "%" }, { "_bytes$", bytes }, { "_per_second$", "/s" },
    { "at_ms$", moment }, { "wall_ms$", moment }, { "_ms$", "ms" }, { "_s$", "s" }, { "^p%d%d$", "s" },
    { "^avg_response_time$", "s" }, { "^rate$", "/s" }, { "^capacity$", "/s" }, { "^throughput$", "/s" },
}

-- With a unit it is a figure that was measured: four digits say enough.
local function short_number(number)
    if number == math.floor(number) or number ~= number or math.abs(number) == math.huge then
        return plain_number(number)
    end
    return (math.abs(number) >= 1000 and "%.0f" or "%.4g"):format(number)
end

local function with_unit(number, key)
    for _, unit in ipairs(type(key) == "string" and UNITS or {}) do
        if key:find(unit[1]) then
            if unit[2] == moment and not (number >= LONG_AGO_MS and number < 1e15) then
                return short_number(number) .. " ms"
            elseif type(unit[2]) == "function" then
                return unit[2](number)
            end
            return short_number(number) .. (unit[2] == "/s" and "" or " ") .. unit[2]
        end
    end
    return plain_number(number)
end
M.number = with_unit

-- ---- Tables ---------------------------------------------------------------------------------------

local RANK = { number = 1, string = 2, boolean = 3 }

-- The keys of a table in the order in which they are shown.
local function sorted_keys(t)
    local keys = {}
    for key in next, t do
        keys[#keys + 1] = key
    end
    table.sort(keys, function(a, b)
        local x, y = RANK[type(a)] or 4, RANK[type(b)] or 4
        if x ~= y then
            return x < y
        elseif x <= 2 then
            return a < b
        end
        return x == 3 and not a and b
    end)
    return keys
end
M.sorted_keys = sorted_keys

local function key_text(key)
    if type(key) == "string" and key:find "^[%a_][%w_]*$" and not KEYWORDS[key] then
        return key
    elseif type(key) == "string" then
        return "[" .. quoted(key) .. "]"
    elseif type(key) == "number" then
        return "[" .. plain_number(key) .. "]"
    end
    return "[" .. (type(key) == "boolean" and (key and "true" or "false") or "a " .. type(key)) .. "]"
end

local show

local function items_of(t, run, depth)
    local parts, expected, shown = {}, 1, 0
    local keys = sorted_keys(t)
    for _, key in ipairs(keys) do
        if shown == ROWS or run.nodes > NODES then
            parts[#parts + 1] = ("... %d more"):format(#keys - shown)
            break
        end
        local text = show(rawget(t, key), key, run, depth + 1)
        if key == expected then
            expected = expected + 1
        else
            text = key_text(key) .. " = " .. text
        end
        parts[#parts + 1] = text
        shown = shown + 1
    end
    return parts
end

local function table_text(t, run, depth)
    if run.open[t] then
        return "{ itself }"
    elseif next(t) == nil then
        return "{}"
    elseif depth >= DEPTH then
        return "{...}"
    end
    run.open[t] = true
    local parts = items_of(t, run, depth)
    run.open[t] = nil
    local line, indent = table.concat(parts, ", "), ("  "):rep(depth + 1)
    if #line + #indent <= WIDTH and not line:find("\n", 1, true) then
        return "{ " .. line .. " }"
    end
    return "{\n" .. indent .. table.concat(parts, ",\n" .. indent) .. "\n" .. ("  "):rep(depth) .. "}"
end

function show(value, key, run, depth)
    run.nodes = run.nodes + 1
    local kind = type(value)
    if kind == "string" then
        return quoted(value)
    elseif kind == "number" then
        return with_unit(value, key)
    elseif kind == "table" then
        return table_text(value, run, depth)
    elseif kind == "nil" or kind == "boolean" then
        return tostring(value)
    end
    return kind
end

-- `key` may say what a number means, as in M.show(61.2, "cpu_percent") -> "61.2 %".
function M.show(value, key)
    return show(value, key, { nodes = 0, open = {} }, 0)
end

local function is_number(cell)
    return cell == "" or cell == "-" or cell:find "^%-?[%d.]+%s?[%%/%a]*$" ~= nil
end

-- Rows of cells as aligned lines; columns of numbers stand to the right.
function M.columns(titles, rows)
    local widths, right = {}, {}
    for i, title in ipairs(titles) do
        widths[i], right[i] = #title, #rows > 0
        for _, row in ipairs(rows) do
            widths[i] = math.max(widths[i], #row[i])
            right[i] = right[i] and is_number(row[i])
        end
    end
    local lines = {}
    local function add(row)
        local cells = {}
        for i, cell in ipairs(row) do
            local space = (" "):rep(widths[i] - #cell)
            cells[i] = right[i] and space .. cell or cell .. space
        end
        lines[#lines + 1] = (table.concat(cells, "  "):gsub("%s+$", ""))
    end
    add(titles)
    for _, row in ipairs(rows) do
        add(row)
    end
    return table.concat(lines, "\n")
end

-- ---- JSON -----------------------------------------------------------------------------------------

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

-- Bytes that are no UTF-8 become question marks.
local function json_text(text)
    text = text:gsub('[%z\1-\31"\\\127]', function(c)
        return ESCAPES[c] or ("\\u%04x"):format(c:byte())
    end)
    text = text:gsub("[\128-\191]*[\192-\255]?[\128-\191]*", function(run)
        local lead = run:byte()
        local length = not lead and 0 or lead >= 0xf0 and lead <= 0xf4 and 4 or lead >= 0xe0 and lead < 0xf0
            and 3
            or lead >= 0xc2 and lead < 0xe0 and 2 or -1
        return #run ~= length and ("?"):rep(#run) or nil
    end)
    return '"' .. text .. '"'
end

local json

local function json_table(t, open, depth)
    if open[t] then
        error("the value contains itself: JSON cannot say that", 0)
    elseif depth > JSON_DEPTH then
        error("the value is nested more than " .. JSON_DEPTH .. " deep: JSON would be too", 0)
    end
    open[t] = true
    local keys, parts = sorted_keys(t), {}
    local list = #keys > 0
    for i, key in ipairs(keys) do
        list = list and key == i
    end
    for _, key in ipairs(keys) do
        local name = type(key) == "string" and key or type(key) == "number" and plain_number(key)
            or tostring(key)
        local item = json(rawget(t, key), open, depth + 1)
        parts[#parts + 1] = list and item or json_text(name) .. ":" .. item
    end
    open[t] = nil
    return (list and "[" or "{") .. table.concat(parts, ",") .. (list and "]" or "}")
end

function json(value, open, depth)
    local kind = type(value)
    if kind == "string" then
        return json_text(value)
    elseif kind == "boolean" then
        return tostring(value)
    elseif kind == "number" and value == value and value ~= math.huge and value ~= -math.huge then
        return (value == math.floor(value) and math.abs(value) < 1e15 and "%d" or "%.14g"):format(value)
    elseif kind == "table" then
        return json_table(value, open, depth)
    end
    return "null"
end

function M.json(value)
    return json(value, {}, 1)
end

return M
