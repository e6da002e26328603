-- console_help.lua: what `:help` says and what TAB completes.
--
-- Nothing is written twice: fields come from policies/tidegate/views.lua, commands from the command table,
-- policies from their own doc and params, words of the console from console_words.lua.
local nearest = require "script.nearest"
local print_module = require "script.console_print"
local simulate = require "script.console_simulate"
local stubs = require "script.stubs"
local schema = require "tidegate.views"

local M = {}

-- ---- Views ----------------------------------------------------------------------------------------

-- { [class] = { doc =, fields = { { name, type, doc } } } }; names without "tidegate.", "?" behind those of
-- fields that may be absent.
local function read_classes()
    local classes = {}
    for _, entry in ipairs(schema.list) do
        if entry.class then
            local class = { doc = entry.doc or "", fields = {} }
            for i, field in ipairs(entry.fields) do
                class.fields[i] = { field[1] .. (field.absent and "?" or ""), field[2], stubs.meaning(field) }
            end
            classes[entry.class] = class
        end
    end
    return classes
end

-- Names of a class's fields.
function M.fields(c, class)
    local names = {}
    for i, field in ipairs(c.annotations[class] and c.annotations[class].fields or {}) do
        names[i] = (field[1]:gsub("%?$", ""))
    end
    return names
end

local function field_line(field)
    return ("  %-18s %-10s %s"):format(field[1], field[2], field[3])
end

local function class_help(c, name)
    local class = c.annotations[name]
    local lines = { "tidegate." .. name .. (class.doc ~= "" and ": " .. class.doc or "") }
    for _, field in ipairs(class.fields) do
        lines[#lines + 1] = field_line(field)
    end
    return table.concat(lines, "\n")
end

-- What every class says of a field of that name.
local function field_help(c, name)
    local lines = {}
    for _, class in ipairs(print_module.sorted_keys(c.annotations)) do
        for _, field in ipairs(c.annotations[class].fields) do
            if field[1]:gsub("%?$", "") == name then
                lines[#lines + 1] = "of " .. class .. ":\n" .. field_line(field)
            end
        end
    end
    return #lines > 0 and table.concat(lines, "\n") or nil
end

-- ---- Words, commands, policies --------------------------------------------------------------------

local function entry_help(entry)
    local text = entry.usage .. "\n  " .. entry.doc:gsub("\n", "\n  ")
    return entry.example and text .. "\n  example: " .. entry.example:gsub("\n", "\n           ") or text
end

local function find_entry(list, name)
    for _, entry in ipairs(list) do
        if entry.name == name then
            return entry
        end
    end
end

local function policy_help(c, name)
    local texts = {}
    for _, policy in ipairs(c.data.configuration.policies or {}) do
        if policy.name == name then
            local module = c.host.module(policy.origin, policy.source)
            local lines = { ("%s policy %s (%s): %s"):format(policy.kind, name, policy.origin, module.doc
                or "") }
            for _, key in ipairs(print_module.sorted_keys(module.params or {})) do
                local spec = module.params[key]
                lines[#lines + 1] = ("  %-18s %-10s %s%s"):format(key, spec.type, spec.doc or "",
                    spec.default ~= nil and "; default " .. print_module.show(spec.default) or "")
            end
            texts[#texts + 1] = table.concat(lines, "\n")
        end
    end
    return #texts > 0 and table.concat(texts, "\n") or nil
end

local HELP_COLUMNS = 98

local function overview(c)
    local lines = { "Lua expressions and statements; `_` is the last value." }
    local function add(title, entries)
        lines[#lines + 1] = title
        for _, entry in ipairs(entries) do
            lines[#lines + 1] = ("  %-46s %s"):format(entry.usage, entry.summary)
        end
    end
    add("Words:", c.words)
    add("Commands:", c.commands)
    lines[#lines + 1] = ":help NAME tells of a word, a command (also of `tidegate`), a policy, a field like "
        .. "cpu_percent,\nor a view:"
    for _, view in ipairs(print_module.sorted_keys(c.annotations)) do
        local longer = lines[#lines] .. " " .. view
        if #(longer:match "[^\n]*$") > HELP_COLUMNS then
            lines[#lines + 1] = "  " .. view
        else
            lines[#lines] = longer
        end
    end
    return table.concat(lines, "\n")
end

local function all_topics(c)
    local names = {}
    for _, list in ipairs { c.words, c.commands, c.data.commands or {} } do
        for _, entry in ipairs(list) do
            names[#names + 1] = entry.name
        end
    end
    for class in next, c.annotations do
        names[#names + 1] = class
        for _, name in ipairs(M.fields(c, class)) do
            names[#names + 1] = name
        end
    end
    for _, policy in ipairs(c.data.configuration.policies or {}) do
        names[#names + 1] = policy.name
    end
    table.sort(names)
    return names
end

function M.help(c, topic)
    if topic == "" then
        return overview(c)
    end
    local name, texts = topic:gsub("^:", ""), {}
    local function add(text)
        texts[#texts + 1] = text
    end
    local word, command = find_entry(c.words, name), find_entry(c.commands, name)
    local shell = find_entry(c.data.commands or {}, name)
    add(word and topic == name and entry_help(word) or nil)
    add(command and entry_help(command) or nil)
    add(shell and entry_help { usage = "in a shell: tidegate " .. shell.usage, doc = shell.doc,
        example = shell.example } or nil)
    add(c.annotations[name] and class_help(c, name) or nil)
    add(policy_help(c, name))
    add(field_help(c, name))
    if #texts == 0 then
        local near = nearest(name, all_topics(c))
        error(("no help on \"%s\": %s"):format(topic, near and ("did you mean \"%s\"?"):format(near) or
            "`:help` lists what there is"), 0)
    end
    return table.concat(texts, "\n")
end

-- ---- Completion -----------------------------------------------------------------------------------

-- Fields of the second argument, by the word before it.
local ARGUMENT = { decide = "view", what_if = "view", explain = "view", score = "request", pick = "request" }

local function service_names(c)
    return print_module.sorted_keys(c.services)
end

local function with_prefix(names, prefix)
    local found, seen = {}, {}
    for _, name in ipairs(names) do
        if type(name) == "string" and name:sub(1, #prefix) == prefix and not seen[name] then
            seen[name], found[#found + 1] = true, name
        end
    end
    table.sort(found)
    return found
end

-- What stands before the last dot, read raw; nil when it is no table.
local function along(c, path)
    local value = c.env
    for name in path:gmatch "[%w_]+" do
        value = type(value) == "table" and rawget(value, name) or nil
    end
    return type(value) == "table" and value or nil
end

local function names_in(value, hidden)
    local names = {}
    for _, key in ipairs(print_module.sorted_keys(value)) do
        if type(key) == "string" and key:find "^[%a_][%w_]*$" and not (hidden and hidden[key]) then
            names[#names + 1] = key .. (type(rawget(value, key)) == "function" and "(" or "")
        end
    end
    return names
end

-- Names of the policies of a kind that the configuration uses, and of those that are shipped.
local function scale_policies(c)
    local names = {}
    for _, policy in ipairs(c.data.configuration.policies or {}) do
        names[#names + 1] = policy.kind == "scale" and policy.name or nil
    end
    for _, name in ipairs(c.host.shipped_names "scale/") do
        names[#names + 1] = name
    end
    return names
end

-- What the first text of a word is, where it is no service.
local FIRST = { simulate = scale_policies, try = function() return {} end }

-- Names of the commands that begin with a colon.
function M.command_names(c)
    local names = {}
    for i, entry in ipairs(c.commands) do
        names[i] = entry.name
    end
    return names
end

-- What may stand behind the name of a command.
local BEHIND = {
    help = all_topics,
    trace = function(c, words)
        return words == "" and { "balance " } or service_names(c)
    end,
}

local function of_colon(c, before)
    local name, words, prefix = before:match "^:(%a+)%s+(.-)([%w_-]*)$"
    if name then
        return with_prefix((BEHIND[name] or service_names)(c, words), prefix), #prefix
    end
    prefix = before:match "^:(%a*)$"
    local names = {}
    for i, entry in ipairs(c.commands) do
        names[i] = entry.usage:find " " and entry.name .. " " or entry.name
    end
    return prefix and with_prefix(names, prefix) or {}, #(prefix or "")
end

-- What may stand behind `before`: a list of words, and how many bytes of `before` they replace.
function M.complete(c, before)
    if before:find "^%s*:" then
        return of_colon(c, (before:gsub("^%s+", "")))
    end
    local word, text = before:match "([%a_]+)%s*%(%s*{?%s*[\"']([%w_-]*)$"
    if text then
        return with_prefix((FIRST[word] or service_names)(c), text), #text
    end
    text = before:match "simulate%s*%([^()]*,%s*[\"']([%w_-]*)$"
    if text then
        return with_prefix(simulate.loads, text), #text
    end
    local fields
    word, fields = before:match "([%a_]+)%s*%(%s*[\"'][^\"']*[\"']%s*,%s*{([^{}]*)$"
    local field = fields and (fields:match "^%s*([%w_]*)$" or fields:match ",%s*([%w_]*)$")
    if field and ARGUMENT[word] then
        local names = ARGUMENT[word] == "view" and M.fields(c, "ServiceView") or c.request_fields
        return with_prefix(names, field), #field
    end
    field = before:match "simulate%s*%([^()]*,%s*{([^{}]*)$"
    field = field and (field:match "^%s*([%w_]*)$" or field:match ",%s*([%w_]*)$")
    if field then
        return with_prefix(simulate.settings, field), #field
    end
    local path, name = before:match "([%a_][%w_%.]*)[%.]([%w_]*)$"
    if path then
        local value = along(c, path)
        return value and with_prefix(names_in(value), name) or {}, #name
    end
    name = before:match "([%a_][%w_]*)$" or ""
    if name == "" and before:find "%S" then
        return {}, 0
    end
    return with_prefix(names_in(c.env, c.hidden), name), #name
end

function M.new(c)
    c.annotations = read_classes()
end

return M
