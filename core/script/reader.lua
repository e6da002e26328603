-- reader.lua: a route's `request` function in a worker; trusted. Called with (host, nearest), returns
--   reader(f, head) -> read    read() -> data set, tags with commas, kind of work, key, zone: texts or nil
local host, nearest = ...
local lib, ffi = host.libraries, host.ffi
local error, next = lib.base.error, lib.base.next
local setmetatable = lib.base.setmetatable
local text_with_address, tostring, type = lib.base.tostring, host.text, lib.base.type
local concat, format = lib.table.concat, lib.string.format
local cast, text_of = ffi.cast, ffi.string

-- ---- A request ----------------------------------------------------------------------------------

-- The structs of script.h.
ffi.cdef [[
struct text { const char *ptr; size_t len; };
struct head {
    struct text method, host, path, query, client, subject;
    const void *of;
    bool (*field)(const void *of, const char *name, size_t len, struct text *value);
};
]]
lib.base.assert(ffi.sizeof "struct head" == host.head_bytes)

local FIELDS = { "method", "host", "path", "query", "client", "subject", "header" }
local ANSWERS = { "dataset_id", "data_affinity_tags", "processing_type", "key", "zone" }
local KNOWN = {}
for i = 1, #ANSWERS do
    KNOWN[ANSWERS[i]] = true
end

local function suggest(name, list)
    local near = type(name) == "string" and nearest(name, list)
    return near and format("did you mean '%s'?", near) or "known are " .. concat(list, ", ")
end

local TEXTS = { method = true, host = true, path = true, query = true, client = true, subject = true }

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
    local address = text_with_address(pointer)
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

return reader
