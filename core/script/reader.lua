-- reader.lua: a route's `request` function in a worker; trusted. Called with (host, environment, nearest),
-- returns
--   functions(program) -> { service = { [route] = function } }   those of the configuration
--   reader(f, head) -> read    read() -> data set, tags with commas, kind of work, key, zone: texts or nil
--
-- Functions do not travel between processes, sources do: `program` is the files of a configuration as the
-- policy process read them, and what `env` and `include` answered there. They run once more, in a sandbox
-- whose words only note routes, so whatever locals and helpers a function uses are there with it.
local host, environment, nearest = ...
local lib, ffi = host.libraries, host.ffi
local error, next, rawget, select = lib.base.error, lib.base.next, lib.base.rawget, lib.base.select
local setmetatable = lib.base.setmetatable
local tostring, type = lib.base.tostring, lib.base.type
local concat, format, gsub = lib.table.concat, lib.string.format, lib.string.gsub
local cast, text_of = ffi.cast, ffi.string

-- ---- The configuration once more ----------------------------------------------------------------

-- The request functions in what `route` says: one table or a list of them.
local function functions_of(route)
    local out = {}
    if type(route) == "table" then
        local list = rawget(route, 1) ~= nil and route or { route }
        for i = 1, #list do
            out[i] = type(list[i]) == "table" and rawget(list[i], "request") or nil
        end
    end
    return out
end

local function ignore() end

local function functions(program)
    local found, env = {}, environment()
    local function run(name)
        local chunk, why = host.compile(program.sources[name] or "", name, env)
        return chunk and chunk() or chunk == nil and error(why, 0)
    end
    local function note(name, body)
        if type(body) == "table" then
            found[name] = functions_of(rawget(body, "route"))
        end
    end
    -- `service "name" { ... }` or `service("name", { ... })`
    function env.service(name, ...)
        if select("#", ...) > 0 then
            return note(name, (...))
        end
        return function(body)
            note(name, body)
        end
    end
    function env.env(name, default)
        local value = program.answers[name]
        return value == nil and default or value
    end
    function env.include(name)
        name = gsub(name, "^%./", "")
        local list = program.lists[name]
        if not list then
            return run(name)
        end
        for i = 1, #list do
            run(list[i])
        end
    end
    local function other()
        return ignore
    end
    env.cluster, env.print, env.channel, env.alert, env.require = ignore, ignore, other, other, nil
    setmetatable(env, {
        __metatable = false,
        __index = function(_, key)
            error(format("unknown name \"%s\"", tostring(key)), 2)
        end,
    })
    run(program.main)
    return found
end

-- ---- A request ----------------------------------------------------------------------------------

-- The structs of script.h.
ffi.cdef [[
struct text { const char *ptr; size_t len; };
struct head {
    struct text method, host, path, query, client;
    const void *of;
    bool (*field)(const void *of, const char *name, size_t len, struct text *value);
};
]]
lib.base.assert(ffi.sizeof "struct head" == host.head_bytes)

local FIELDS = { "method", "host", "path", "query", "client", "header" }
local ANSWERS = { "dataset_id", "data_affinity_tags", "processing_type", "key", "zone" }
local KNOWN = {}
for i = 1, #ANSWERS do
    KNOWN[ANSWERS[i]] = true
end

local function suggest(name, list)
    local near = type(name) == "string" and nearest(name, list)
    return near and format("did you mean '%s'?", near) or "known are " .. concat(list, ", ")
end

local TEXTS = { method = true, host = true, path = true, query = true, client = true }

-- What a function sees: texts of the head of the call under way, copied when they are asked for.
local function request(head)
    local value = ffi.new "struct text[1]"
    local function header(name)
        if type(name) ~= "string" then
            error("r.header takes the name of a field, as in r.header \"X-User\"", 2)
        end
        if head.field(head.of, name, #name, value) then
            return text_of(value[0].ptr, value[0].len)
        end
        return nil
    end
    return setmetatable({}, {
        __metatable = false,
        __index = function(_, name)
            if name == "header" then
                return header
            elseif TEXTS[name] then
                local text = head[name]
                return text_of(text.ptr, text.len)
            end
            error(format("the request has no field '%s': %s", tostring(name), suggest(name, FIELDS)), 2)
        end,
        __newindex = function()
            error("the request can only be read", 2)
        end,
    })
end

-- A text of the answer; numbers are as good.
local function text(value, name)
    if value == nil or type(value) == "string" then
        return value
    elseif type(value) == "number" then
        return tostring(value)
    end
    return error(format("%s is a %s: a text, or nil for none", name, type(value)), 0)
end

local function tags_of(value)
    return text(type(value) == "table" and concat(value, ",") or value, "data_affinity_tags")
end

local requests = {} -- by address: one for all readers of a state

local function reader(f, pointer)
    local address = tostring(pointer)
    requests[address] = requests[address] or request(cast("const struct head *", pointer)[0])
    local r = requests[address]
    return function()
        local answer = f(r)
        if answer == nil then
            return nil
        elseif type(answer) ~= "table" then
            error("answered a " .. type(answer) .. ": a table such as { dataset_id = ... }, or nil", 0)
        end
        for name in next, answer do
            if not KNOWN[name] then
                error(format("answered '%s': %s", tostring(name), suggest(name, ANSWERS)), 0)
            end
        end
        local dataset, tags = text(answer.dataset_id, "dataset_id"), tags_of(answer.data_affinity_tags)
        local processing = text(answer.processing_type, "processing_type")
        return dataset, tags, processing, text(answer.key, "key"), text(answer.zone, "zone")
    end
end

return functions, reader
