-- HTTP/2 by raw frames, for specs that must send what no real client sends. Fields go out as literals without Huffman coding
-- and without the dynamic table; what comes is decoded by nghttp2.
--   local c = h2.client(port); c:start(); c:headers(1, c.get "/a", "end"); local a = c:answer(1)
local bit = require "bit"
local ffi = require "ffi"
local socket = require "socket"

local lib = require "hpack"
local PATIENCE = 5
local M = {
    PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    DATA = 0, HEADERS = 1, PRIORITY = 2, RST_STREAM = 3, SETTINGS = 4, PUSH_PROMISE = 5, PING = 6, GOAWAY = 7,
    WINDOW_UPDATE = 8, CONTINUATION = 9,
    END_STREAM = 1, ACK = 1, END_HEADERS = 4, PADDED = 8, WITH_PRIORITY = 32,
    NO_ERROR = 0, PROTOCOL_ERROR = 1, INTERNAL_ERROR = 2, FLOW_CONTROL_ERROR = 3, SETTINGS_TIMEOUT = 4,
    STREAM_CLOSED = 5, FRAME_SIZE_ERROR = 6, REFUSED_STREAM = 7, CANCEL = 8, COMPRESSION_ERROR = 9,
    CONNECT_ERROR = 10, ENHANCE_YOUR_CALM = 11,
}
local client_mt = {}
client_mt.__index = client_mt

function M.u32(n)
    return string.char(bit.band(bit.rshift(n, 24), 255), bit.band(bit.rshift(n, 16), 255), bit.band(bit.rshift(n, 8), 255),
        bit.band(n, 255))
end

function M.u16(n)
    return M.u32(n):sub(3)
end

local function number(bytes)
    local n = 0
    for i = 1, #bytes do
        n = n * 256 + bytes:byte(i)
    end
    return n
end
M.number = number

-- `length`: what the head says, where that is not the payload's.
function M.frame(kind, flags, stream, payload, length)
    payload = payload or ""
    return M.u32(length or #payload):sub(2) .. string.char(kind, flags) .. M.u32(stream) .. payload
end

-- An integer of RFC 7541 behind `prefix` bits, whose first byte has `first` above them.
local function integer(n, prefix, first)
    local most = 2 ^ prefix - 1
    if n < most then
        return string.char(first + n)
    end
    local out = { string.char(first + most) }
    n = n - most
    while n >= 128 do
        out[#out + 1] = string.char(n % 128 + 128)
        n = math.floor(n / 128)
    end
    return table.concat(out) .. string.char(n)
end
M.integer = integer

function M.literal(name, value)
    return "\0" .. integer(#name, 7, 0) .. name .. integer(#value, 7, 0) .. value
end

-- A list of { name, value }.
function M.block(fields)
    local out = {}
    for i, field in ipairs(fields) do
        out[i] = M.literal(field[1], field[2])
    end
    return table.concat(out)
end

-- The fields of a request with `more` behind them.
function M.request(method, path, more)
    local fields = { { ":method", method }, { ":scheme", "http" }, { ":authority", "shop.example" }, { ":path", path } }
    for _, field in ipairs(more or {}) do
        fields[#fields + 1] = field
    end
    return fields
end

function client_mt:send(bytes)
    return assert(self.sock:send(bytes))
end

-- Preface and SETTINGS ({ id, value } each).
function client_mt:start(settings)
    local payload = {}
    for i, pair in ipairs(settings or {}) do
        payload[i] = M.u16(pair[1]) .. M.u32(pair[2])
    end
    self:send(M.PREFACE .. M.frame(M.SETTINGS, 0, 0, table.concat(payload)))
    return self
end

-- A request's HEADERS, and CONTINUATIONs where it is long; `flags` are added to END_HEADERS.
function client_mt:headers(stream, fields, flags)
    local block, most = M.block(fields), 16384
    local frames = {}
    for at = 1, #block, most do
        local last = at + most > #block
        frames[#frames + 1] = M.frame(at == 1 and M.HEADERS or M.CONTINUATION, (last and M.END_HEADERS or 0)
            + (at == 1 and (flags or M.END_STREAM) or 0), stream, block:sub(at, at + most - 1))
    end
    self:send(table.concat(frames))
end

function client_mt:get(stream, path, more)
    self:headers(stream, M.request("GET", path or "/", more))
end

function client_mt:data(stream, bytes, flags)
    self:send(M.frame(M.DATA, flags or 0, stream, bytes))
end

function client_mt:inflate(block)
    local fields, order = {}, {}
    local nv, flags = ffi.new "h2_nv", ffi.new "int[1]"
    local at, bytes = 0, ffi.cast("const uint8_t *", block)
    while true do
        flags[0] = 0
        local n = tonumber(lib.nghttp2_hd_inflate_hd2(self.inflater, nv, flags, bytes + at, #block - at, 1))
        assert(n >= 0, "the answer's fields cannot be decoded")
        at = at + n
        if bit.band(flags[0], 2) ~= 0 then
            local name = ffi.string(nv.name, nv.namelen)
            fields[name] = ffi.string(nv.value, nv.valuelen)
            order[#order + 1] = name
        end
        if bit.band(flags[0], 1) ~= 0 then
            lib.nghttp2_hd_inflate_end_headers(self.inflater)
            return fields, order
        end
        assert(n > 0 or bit.band(flags[0], 2) ~= 0)
    end
end

-- The next frame: { type, flags, stream, payload, fields? }; nil and why at the end. SETTINGS are acknowledged.
function client_mt:frame()
    local head, err = self.sock:receive(9)
    if not head then
        return nil, err
    end
    local f = { type = head:byte(4), flags = head:byte(5), stream = bit.band(number(head:sub(6)), 0x7fffffff) }
    local length = number(head:sub(1, 3))
    f.payload = length == 0 and "" or assert(self.sock:receive(length))
    if f.type == M.HEADERS then
        assert(bit.band(f.flags, M.END_HEADERS) ~= 0, "no CONTINUATION is expected")
        f.fields, f.order = self:inflate(f.payload)
    elseif f.type == M.SETTINGS and f.flags == 0 and not self.deaf then
        self.sock:send(M.frame(M.SETTINGS, M.ACK, 0))
    elseif f.type == M.GOAWAY then
        f.last, f.error = number(f.payload:sub(1, 4)), number(f.payload:sub(5, 8))
    elseif f.type == M.RST_STREAM then
        f.error = number(f.payload)
    end
    return f
end

-- The next frame for which check(frame) holds.
function client_mt:await(check)
    while true do
        local f, err = self:frame()
        if not f or check(f) then
            return f, err
        end
    end
end

-- The answer on a stream: { status, fields, body, trailers, reset }; others' frames are kept for theirs.
function client_mt:answer(stream, grant)
    local a = self.answers[stream] or { body = {}, interim = {} }
    self.answers[stream] = a
    while not a.over do
        local f, err = self:frame()
        if not f then
            return nil, err
        end
        if f.type == M.GOAWAY then
            self.goaway = f
        end
        local of = f.stream > 0 and (self.answers[f.stream] or { body = {}, interim = {} })
        if of then
            self.answers[f.stream] = of
            if f.type == M.HEADERS and f.fields[":status"] and f.fields[":status"]:find "^1" then
                table.insert(of.interim, f.fields)
            elseif f.type == M.HEADERS and not of.fields then
                of.fields, of.status = f.fields, tonumber(f.fields[":status"])
            elseif f.type == M.HEADERS then
                of.trailers = f.fields
            elseif f.type == M.DATA then
                table.insert(of.body, f.payload)
                if grant ~= false and #f.payload > 0 then
                    self:send(M.frame(M.WINDOW_UPDATE, 0, 0, M.u32(#f.payload))
                        .. (f.flags % 2 == 0 and M.frame(M.WINDOW_UPDATE, 0, f.stream, M.u32(#f.payload)) or ""))
                end
            elseif f.type == M.RST_STREAM then
                of.reset, of.over = f.error, true
            end
            if (f.type == M.HEADERS or f.type == M.DATA) and bit.band(f.flags, M.END_STREAM) ~= 0 then
                of.over = true
            end
        end
    end
    if type(a.body) == "table" then
        a.body = table.concat(a.body)
    end
    return a
end

-- How the connection ends: the error of its GOAWAY, "closed" without one, or "timeout".
function client_mt:ending()
    local code
    while true do
        local f, err = self:frame()
        if not f then
            return code or (err == "timeout" and "timeout" or "closed")
        end
        code = f.type == M.GOAWAY and f.error or code
    end
end

-- A PING is answered: all that was sent before has been dealt with, and the connection lives.
function client_mt:alive()
    self:send(M.frame(M.PING, 0, 0, "tidegate"))
    local f = self:await(function(f)
        return f.type == M.GOAWAY or (f.type == M.PING and f.flags == M.ACK and f.payload == "tidegate")
    end)
    return f ~= nil and f.type == M.PING
end

function client_mt:close()
    self.sock:close()
end

-- `sock`: a connection that is there.
function M.over(sock)
    local inflater = ffi.new "void *[1]"
    assert(lib.nghttp2_hd_inflate_new(inflater) == 0)
    return setmetatable({ sock = sock, answers = {}, inflater = ffi.gc(inflater[0], lib.nghttp2_hd_inflate_del) },
        client_mt)
end

function M.client(port)
    local sock = assert(socket.connect("127.0.0.1", port))
    sock:settimeout(PATIENCE)
    sock:setoption("tcp-nodelay", true)
    return M.over(sock)
end

return M
