-- script_room.lua: the script room for unit specs: configurations from Lua tables, sentences as strings.
--
--   local script = require "script_room"
--   local config = script.config { scale = { x = "return { ... }" } }   -- sources by kind and name
--   local hot = script.hot(config)
local room = require "ffi_room"
local dkjson = require "dkjson"

local C, ffi = room.load("base/mem.h", "base/json.h", "script/script.h")

local M = { C = C }

-- A cJSON value of a Lua one; freed with it.
function M.json(value)
    local text = dkjson.encode(value)
    local json = C.json_parse(text, #text)
    assert(json ~= nil, text)
    return ffi.gc(json, C.json_free)
end

function M.read(path)
    local file = assert(io.open(path))
    local text = file:read "*a"
    file:close()
    return text
end

-- A string that C handed over.
function M.taken(text)
    local copy = ffi.string(text)
    C.mem_free(text)
    return copy
end

-- A Lua value of a cJSON one, which is freed.
function M.value(json)
    local value = dkjson.decode(M.taken(C.json_text(json)))
    C.json_free(json)
    return value
end

-- The configuration's JSON with these policies: { scale = { name = source } }, and what else is given.
function M.config(policies, rest)
    local config = { policies = {}, libraries = {} }
    for kind, sources in pairs(policies) do
        for name, source in pairs(sources) do
            local origin = ("policies/%s/%s.lua"):format(kind, name)
            config.policies[#config.policies + 1] = { kind = kind, name = name, origin = origin, source = source }
        end
    end
    for key, value in pairs(rest or {}) do
        config[key] = value
    end
    return M.json(config)
end

-- new(...) calling, what it made or nil and the sentence.
local function made(kind, fn, ...)
    local it, why = ffi.new(kind .. "[1]"), ffi.new "char *[1]"
    local count = select("#", ...)
    local args = { ... }
    args[count + 1], args[count + 2] = it, why
    local code = fn(unpack(args, 1, count + 2))
    if code < 0 then
        assert(code == -22, code)
        return nil, M.taken(why[0])
    end
    return it[0]
end

-- Free by C.script_cold_free.
function M.cold(config)
    return made("struct script_cold *", C.script_cold_new, config)
end

-- The same with the JIT on.
function M.cold_live(config)
    return made("struct script_cold *", C.script_cold_new_live, config)
end

-- The same that goes on from what script_cold_save said.
function M.cold_going_on(config, learned)
    return made("struct script_cold *", C.script_cold_go_on, config, learned)
end

-- Free by C.script_anomaly_free.
function M.anomaly(config)
    return made("struct script_anomaly *", C.script_anomaly_new, config)
end

function M.hot(config, heartbeat)
    return made("struct script_hot *", C.script_hot_new, config, heartbeat)
end

local lent = {} -- rows that pickers use live as long as the spec

function M.picker(hot, policy, params, rows, capacity)
    lent[#lent + 1] = rows
    return made("struct script_picker *", C.script_picker_new, hot, policy, M.json(params or {}), rows, capacity)
end

-- `capacity` rows, the first of them as given; by default eligible, idle, weight 1.
function M.rows(list, capacity)
    local rows = ffi.new("struct script_backend[?]", capacity or #list)
    for i = 1, capacity or #list do
        local row = rows[i - 1]
        row.weight, row.max_connections, row.capacity = 1, 100, 1000
        row.eligible, row.index, row.ramp, row.hash = 1, i, 1, i * 2654435761 % 2 ^ 32
        for key, value in pairs(list[i] or {}) do
            row[key] = value
        end
    end
    return rows
end

return M
