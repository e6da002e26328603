-- stubs.lua: texts made of policies/tidegate/views.lua: editor annotations, settings of editors and luacheck,
-- the reference of policies/README.md.
--
-- Each function takes the table of views.lua. Called by scripts/generate.lua for this repository and by
-- kit.lua for an operator's folder; the same table gives the same text.
local M = {}

local WIDTH = 108

-- ---- Annotations ----------------------------------------------------------------------------------

-- Words of a text in lines, each behind `before`.
local function wrapped(text, before)
    local lines, line = {}, before
    for word in text:gmatch "%S+" do
        if #line + #word >= WIDTH and line ~= before then
            lines[#lines + 1], line = line, before
        end
        line = line .. " " .. word
    end
    lines[#lines + 1] = line
    return lines
end

-- What a field means, with its unit.
function M.meaning(field)
    return field[3] .. (field.unit and (" (%s)"):format(field.unit) or "")
end

local function add(lines, list)
    for _, line in ipairs(list) do
        lines[#lines + 1] = line
    end
end

local function class_lines(lines, entry)
    lines[#lines + 1] = ("---@class tidegate.%s"):format(entry.class)
    for _, field in ipairs(entry.fields) do
        local left = ("---@field %s%s %s"):format(field[1], field.absent and "?" or "", field[2])
        lines[#lines + 1] = ("%-48s %s"):format(left, M.meaning(field))
    end
    if entry.collect then
        lines[#lines + 1] = ("%-48s %s"):format("---@field [string] number", "what the service itself says")
    end
end

-- policies/meta.lua
function M.meta(views)
    local lines = {
        "---@meta",
        "-- meta.lua: every view that C gives to a policy and every answer it takes, for editors that",
        "-- understand LuaLS annotations. Nothing here runs. `?`: nil while unknown.",
        "-- Generated of policies/tidegate/views.lua by `scripts/dev generate`: change that one.",
    }
    for _, entry in ipairs(views.list) do
        lines[#lines + 1] = ""
        if entry.title then
            local title = "-- ---- " .. entry.title .. " "
            lines[#lines + 1] = title .. ("-"):rep(102 - #title)
        else
            add(lines, entry.doc and wrapped(entry.doc, "--") or {})
            if entry.class then
                class_lines(lines, entry)
            else
                lines[#lines + 1] = ("---@alias tidegate.%s %s"):format(entry.alias, entry.type)
            end
        end
    end
    return table.concat(lines, "\n") .. "\n"
end

-- ---- Settings -------------------------------------------------------------------------------------

local function quoted(names, before)
    local lines, line = {}, before
    for i, name in ipairs(names) do
        local text = (" %q%s"):format(name, i < #names and "," or "")
        if #line + #text > 100 then
            lines[#lines + 1], line = line, before
        end
        line = line .. text
    end
    lines[#lines + 1] = line
    return table.concat(lines, "\n")
end

-- Libraries beside "base", sorted.
local function libraries(views)
    local names = {}
    for name in next, views.functions do
        names[#names + 1] = name ~= "base" and name or nil
    end
    table.sort(names)
    return names
end

-- luacheck's standards of policies and of configurations.
function M.luacheck(views)
    local lines = {
        "-- Generated of policies/tidegate/views.lua by `scripts/dev generate`.",
        "stds.tidegate = { read_globals = {",
        quoted(views.functions.base, "   ") .. ",",
    }
    for _, name in ipairs(libraries(views)) do
        lines[#lines + 1] = ("    %s = { fields = {\n%s } },"):format(name,
            quoted(views.functions[name], "       "))
    end
    add(lines, { "} }", "stds.configuration = { read_globals = {", quoted(views.words, "   "), "} }" })
    return table.concat(lines, "\n") .. "\n"
end

-- The whole .luacheckrc of an operator's folder.
function M.luacheckrc(views)
    return "-- What Lua may use where: policies and configurations run in tidegate's sandbox.\n"
        .. M.luacheck(views) .. [[

std = "tidegate+configuration"
max_line_length = 120
files["policies/*/"] = { std = "tidegate" }
files["policies/*/*_spec.lua"] = { std = "max+busted" }
files["policies/tidegate/"] = { std = "max" }
files["policies/meta.lua"] = { ignore = { "211", "212", "631" } }
files[".busted"] = { std = "max" }
]]
end

-- .luarc.json; `sandbox`: nothing else but policies and configurations is in the folder.
function M.luarc(views, sandbox)
    local globals = {}
    for i, word in ipairs(views.words) do
        globals[i] = ("%q"):format(word)
    end
    local off = sandbox and [[

  "runtime.builtin": { "io": "disable", "os": "disable", "debug": "disable", "package": "disable",
    "ffi": "disable", "jit": "disable", "utf8": "disable" },]] or ""
    return ([[
{
  "runtime.version": "LuaJIT",%s
  "runtime.path": ["?.lua", "policies/?.lua"],
  "workspace.library": ["policies/meta.lua"],
  "diagnostics.globals": [%s]
}
]]):format(off, table.concat(globals, ", "))
end

-- ---- Reference ------------------------------------------------------------------------------------

local function cell(text)
    return (text:gsub("|", "\\|"):gsub("<", "&lt;"))
end

local function short_type(field)
    local text = field[2]:gsub("tidegate%.", "")
    return text .. (field.absent and ", nil" or "")
end

local function view_table(lines, entry, title)
    add(lines, { "", ("| %s | | |"):format(title), "|---|---|---|" })
    for _, field in ipairs(entry.fields) do
        lines[#lines + 1] = ("| `%s` | %s | %s |"):format(field[1], cell(short_type(field)),
            cell(M.meaning(field)))
    end
    if entry.collect then
        lines[#lines + 1] = ("| any other | number | what the service says under `collect.%s` |"):format(
            entry.collect)
    end
end

-- The part of policies/README.md that tells of views and functions.
function M.reference(views)
    local lines = { "", "`nil` in the second column: absent while unknown." }
    for _, entry in ipairs(views.list) do
        if entry.of then
            view_table(lines, entry, entry.of)
        elseif entry.group then
            view_table(lines, entry, ("`m.%s`"):format(entry.group))
        end
    end
    add(lines, { "", "| a policy may call | |", "|---|---|",
        "| | `" .. table.concat(views.functions.base, " ") .. "` |" })
    for _, name in ipairs(libraries(views)) do
        lines[#lines + 1] = ("| `%s.` | `%s` |"):format(name, table.concat(views.functions[name], " "))
    end
    return table.concat(lines, "\n") .. "\n\n"
end

return M
