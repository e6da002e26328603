-- A backend that speaks HTTP/2, scripted frame by frame over a connection of `proxied`; HPACK is nghttp2's.
--   local b = h2.serve(w:accept(1)); local r = b:request(); b:headers(r.id, { { ":status", "200" } }, true)
local ffi = require "ffi"

local lib = require "hpack"

local M = {}
M.DATA, M.HEADERS, M.RST_STREAM, M.SETTINGS, M.PING, M.GOAWAY, M.WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
M.END_STREAM, M.ACK, M.END_HEADERS = 1, 1, 4
M.NO_ERROR, M.PROTOCOL_ERROR, M.REFUSED_STREAM, M.CANCEL = 0, 1, 7, 8
M.MAX_CONCURRENT_STREAMS, M.INITIAL_WINDOW_SIZE = 3, 4
local PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
local EMIT, FINAL = 2, 1

local mt = {}
mt.__index = mt

function M.u32(n)
    return string.char(math.floor(n / 2 ^ 24) % 256, math.floor(n / 2 ^ 16) % 256, math.floor(n / 256) % 256, n % 256)
end

local function number(bytes, from, to)
    local n = 0
    for i = from, to do
        n = n * 256 + bytes:byte(i)
    end
    return n
end

function mt:frame(kind, flags, id, payload)
    payload = payload or ""
    local bytes = M.u32(#payload):sub(2) .. string.char(kind, flags) .. M.u32(id) .. payload
    if self.kept then
        self.kept[#self.kept + 1] = bytes
    else
        self.conn:send(bytes)
    end
end

-- What `write` sends goes out in one piece.
function mt:at_once(write)
    self.kept = {}
    write()
    local bytes = table.concat(self.kept)
    self.kept = nil
    self.conn:send(bytes)
end

-- { [M.MAX_CONCURRENT_STREAMS] = 1 }
function mt:settings(values)
    local out = {}
    for key, value in pairs(values or {}) do
        out[#out + 1] = string.char(0, key) .. M.u32(value)
    end
    self:frame(M.SETTINGS, 0, 0, table.concat(out))
end

-- Fields as { { name, value }, ... }.
function mt:headers(id, fields, last)
    local nva, keep = ffi.new("h2_nv[?]", #fields), {}
    for i, field in ipairs(fields) do
        local name, value = field[1], tostring(field[2])
        keep[#keep + 1], keep[#keep + 2] = name, value
        nva[i - 1] = { ffi.cast("uint8_t *", name), ffi.cast("uint8_t *", value), #name, #value, 0 }
    end
    local to = ffi.new("uint8_t[?]", 65536)
    local len = lib.nghttp2_hd_deflate_hd(self.deflater[0], to, 65536, nva, #fields)
    assert(len >= 0 and #keep > 0)
    self:frame(M.HEADERS, M.END_HEADERS + (last and M.END_STREAM or 0), id, ffi.string(to, len))
end

function mt:data(id, bytes, last)
    self:frame(M.DATA, last and M.END_STREAM or 0, id, bytes)
end

function mt:reset(id, code)
    self:frame(M.RST_STREAM, 0, id, M.u32(code))
end

function mt:goaway(last, code)
    self:frame(M.GOAWAY, 0, 0, M.u32(last) .. M.u32(code or 0))
end

function mt:window(id, more)
    self:frame(M.WINDOW_UPDATE, 0, id, M.u32(more))
end

function mt:inflate(block)
    local fields, nv, flags, at = {}, ffi.new "h2_nv[1]", ffi.new "int[1]", 0
    local bytes = ffi.cast("const uint8_t *", block)
    repeat
        flags[0] = 0
        local used = lib.nghttp2_hd_inflate_hd2(self.inflater[0], nv, flags, bytes + at, #block - at, 1)
        assert(used >= 0, "the proxy's fields cannot be read")
        at = at + tonumber(used)
        if bit.band(flags[0], EMIT) ~= 0 then
            fields[#fields + 1] = { ffi.string(nv[0].name, nv[0].namelen), ffi.string(nv[0].value, nv[0].valuelen) }
        end
    until bit.band(flags[0], FINAL) ~= 0
    lib.nghttp2_hd_inflate_end_headers(self.inflater[0])
    return fields
end

-- The next frame: kind, flags, id, payload; nil and why at the end. SETTINGS and PING are answered.
function mt:next()
    local head, why = self.conn:read(9)
    if not head or #head < 9 then
        return nil, why or "closed"
    end
    local kind, flags, id = head:byte(4), head:byte(5), number(head, 6, 9)
    local len = number(head, 1, 3)
    local payload = len > 0 and self.conn:read(len) or ""
    if kind == M.SETTINGS and bit.band(flags, M.ACK) == 0 then
        self:frame(M.SETTINGS, M.ACK, 0)
    elseif kind == M.PING and bit.band(flags, M.ACK) == 0 and not self.deaf then
        self:frame(M.PING, M.ACK, 0, payload)
    end
    return { kind = kind, flags = flags, id = id, payload = payload,
        last = (kind == M.DATA or kind == M.HEADERS) and bit.band(flags, M.END_STREAM) ~= 0 }
end

-- The next frame of that kind (and stream), others are passed over.
function mt:await(kind, id)
    for _ = 1, 10000 do
        local frame, why = self:next()
        assert(frame, why)
        if frame.kind == kind and (not id or frame.id == id) then
            return frame
        end
    end
    error "it never came"
end

-- The next request: id, last, fields in order, and by name.
function mt:request()
    local frame = self:await(M.HEADERS)
    local r = { id = frame.id, last = frame.last, order = self:inflate(frame.payload) }
    for _, field in ipairs(r.order) do
        r[field[1]] = field[2]
    end
    return r
end

-- Its body from here to its end.
function mt:body(id)
    local parts = {}
    repeat
        local frame = self:await(M.DATA, id)
        parts[#parts + 1] = frame.payload
    until frame.last
    return table.concat(parts)
end

-- The usual answer.
function mt:ok(id, body, more)
    local fields = { { ":status", "200" }, { "content-length", #(body or "") } }
    for _, field in ipairs(more or {}) do
        fields[#fields + 1] = field
    end
    self:headers(id, fields, not body or body == "")
    if body and body ~= "" then
        self:data(id, body, true)
    end
end

function mt:close()
    self.conn:close()
    lib.nghttp2_hd_deflate_del(self.deflater[0])
    lib.nghttp2_hd_inflate_del(self.inflater[0])
end

-- A connection that the proxy opened, its preface read and our settings sent.
function M.serve(conn, settings)
    local b = setmetatable({ conn = conn, deflater = ffi.new "void *[1]", inflater = ffi.new "void *[1]" }, mt)
    assert(lib.nghttp2_hd_deflate_new(b.deflater, 4096) == 0 and lib.nghttp2_hd_inflate_new(b.inflater) == 0)
    assert(conn:read(#PREFACE) == PREFACE, "no preface of HTTP/2 came")
    b:settings(settings)
    return b
end

return M
