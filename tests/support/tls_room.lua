-- tls_room.lua: net/tls through FFI, for specs: stores from tables, and both ends of a connection over a socketpair.
local certificates = require "certificates"
local C, ffi = require("ffi_room").load("net/tls.h", "base/json.h", "base/mem.h")

ffi.cdef [[
struct iovec { void *iov_base; size_t iov_len; };
int socketpair(int domain, int type, int protocol, int fds[2]);
int close(int fd);
int shutdown(int fd, int how);
int setsockopt(int fd, int level, int name, const void *value, unsigned len);
ssize_t send(int fd, const void *bytes, size_t len, int flags);
ssize_t recv(int fd, void *bytes, size_t len, int flags);
]]

local M = { C = C, ffi = ffi }
local NONBLOCKING_STREAM = 2049
local EAGAIN, ENOMSG, EPROTO = -11, -42, -71
M.EAGAIN, M.ENOMSG, M.EPROTO = EAGAIN, ENOMSG, EPROTO

local function encode(value)
    if type(value) == "table" then
        local parts = {}
        if value[1] ~= nil or next(value) == nil then
            for i, item in ipairs(value) do
                parts[i] = encode(item)
            end
            return "[" .. table.concat(parts, ",") .. "]"
        end
        for key, item in pairs(value) do
            parts[#parts + 1] = ("%q:%s"):format(key, encode(item))
        end
        return "{" .. table.concat(parts, ",") .. "}"
    elseif type(value) == "string" then
        return '"' .. value:gsub('[\\"]', "\\%0"):gsub("\n", "\\n") .. '"'
    end
    return tostring(value)
end

-- An entry of the message for a certificate of certificates.lua; more of its members as `more`.
function M.entry(made, names, more)
    local entry = { names = names, chain = certificates.read(made.certificate), key = certificates.read(made.key) }
    for key, value in pairs(more or {}) do
        entry[key] = value
    end
    return entry
end

-- A store, or nil and the sentence. `before` is another one.
function M.store(message, before)
    local text = encode(message)
    local json = C.json_parse(text, #text)
    assert(json ~= nil, "not JSON: " .. text)
    local ret, err = ffi.new "struct tls_store *[1]", ffi.new "char *[1]"
    local rc = C.tls_store_new(json, before, ret, err)
    C.json_free(json)
    if rc ~= 0 then
        local sentence = ffi.string(err[0])
        C.mem_free(err[0])
        return nil, sentence, rc
    end
    return ffi.gc(ret[0], C.tls_store_free)
end

local End = {}
End.__index = End

function M.over(t, fd, io)
    return setmetatable({ t = t, fd = fd, io = io }, End)
end

-- Both sides, not shaken hands yet: server, client.
function M.pair(server, client, host, peer)
    local fds = ffi.new "int[2]"
    assert(C.socketpair(1, NONBLOCKING_STREAM, 0, fds) == 0)
    local a, b = ffi.gc(C.tls_io_new(), C.tls_io_free), ffi.gc(C.tls_io_new(), C.tls_io_free)
    return M.over(server and C.tls_accept(a, server, fds[0]), fds[0], a),
        M.over(client and C.tls_connect(b, client, fds[1], host or "a.example", peer or "one"), fds[1], b)
end

-- Takes both through their handshakes; their results.
function M.shake(server, client)
    local s, c = 0, 0
    for _ = 1, 20 do
        c = c == 0 and C.tls_handshake(client.t) or c
        s = s == 0 and C.tls_handshake(server.t) or s
    end
    return s, c
end

function End:send(text)
    local iov = ffi.new("struct iovec[1]")
    iov[0].iov_base, iov[0].iov_len = ffi.cast("void *", text), #text
    return tonumber(C.tls_send(self.t, iov, 1))
end

-- Bytes, or the code.
function End:recv(size)
    local to = ffi.new("char[?]", size or 65536)
    local n = tonumber(C.tls_recv(self.t, to, size or 65536))
    return n > 0 and ffi.string(to, n) or n
end

function End:raw(text)
    assert(C.send(self.fd, text, #text, 0) == #text)
end

function End:raw_recv()
    local to = ffi.new "char[65536]"
    local n = tonumber(C.recv(self.fd, to, 65536, 0))
    return n > 0 and ffi.string(to, n) or n
end

function End:why()
    return ffi.string(C.tls_why(self.t))
end

function End:name()
    return ffi.string(C.tls_server_name(self.t))
end

function End:subject()
    return ffi.string(C.tls_subject(self.t))
end

function End:free()
    if self.t then
        C.tls_free(self.t)
        self.t = nil
    end
    if self.fd then
        C.close(self.fd)
        self.fd = nil
    end
end

return M
