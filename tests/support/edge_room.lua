-- edge_room.lua: the steps of room edge for unit specs: made of tables, asked with requests as text.
--
--   local r = edge.make("edge_redirect", { to = "/new" })     -- freed with it
--   C.edge_redirect_answer(r, edge.request "GET /x", edge.out(), answer)
local room = require "ffi_room"
local dkjson = require "dkjson"

local C, ffi = room.load("base/mem.h", "base/json.h", "base/str.h", "net/http1.h", "edge/edge.h")

local M = { C = C, ffi = ffi }
local kept = setmetatable({}, { __mode = "k" }) -- what a C object lends, by that object

function M.str(text)
    local s = ffi.new("struct str", text, #text)
    kept[s] = text
    return s
end

function M.text(s)
    return ffi.string(s.ptr, s.len)
end

-- `kind`_new of a table: the object; or nil and the sentence.
function M.try(kind, value)
    local text = dkjson.encode(value)
    local json = C.json_parse(text, #text)
    assert(json ~= nil, text)
    local it, why = ffi.new("struct " .. kind .. " *[1]"), ffi.new "char *[1]"
    local rc = C[kind .. "_new"](json, it, why)
    C.json_free(json)
    if rc < 0 then
        local sentence = ffi.string(why[0])
        C.mem_free(why[0])
        return nil, sentence
    end
    return ffi.gc(it[0], C[kind .. "_free"])
end

function M.make(kind, value)
    return assert(M.try(kind, value))
end

-- Memory for steps to write to.
function M.out(size)
    local out = ffi.new "struct edge_out"
    local bytes = ffi.new("char[?]", size or 65536)
    out.bytes, out.size = bytes, size or 65536
    kept[out] = bytes
    return out
end

-- "GET /x" as a request; `more`: host = text or false for none, route = host of the route, peer =, secure =,
-- fields = "Name: value\r\n...".
function M.request(line, more)
    more = more or {}
    local host = more.host == nil and "shop.example" or more.host
    local text = ("%s HTTP/1.%d\r\n%s%s\r\n"):format(line, host and 1 or 0, host and "Host: " .. host .. "\r\n" or "",
        more.fields or "")
    local head, used, status = ffi.new "struct http1_head", ffi.new "size_t[1]", ffi.new "int[1]"
    local bytes = ffi.new("char[?]", #text + 1, text)
    local result = C.http1_parse_request(ffi.new("struct str", bytes, #text), head, used, status)
    assert(result == C.HTTP1_DONE, "no request: " .. text)
    local request = ffi.new "struct edge_request"
    local route, peer = more.route or "", more.peer or "127.0.0.1"
    request.head, request.host, request.peer, request.secure = head, route, peer, more.secure or false
    kept[request] = { head, bytes, route, peer }
    return request, head
end

return M
