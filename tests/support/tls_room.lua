-- tls_room.lua: net/tls through FFI, for specs: stores from tables, and both ends of a connection over a socketpair.
local certificates = require "certificates"
local C, ffi = require("ffi_room").load("net/tls.h", "base/json.h", "base/mem.h")

ffi.cdef [[
struct iovec { void *iov_base; size_t iov_len; };
struct pollfd { int fd; short events, revents; };
int poll(struct pollfd *fds, unsigned long count, int timeout);
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

function M.encode(value)
    if type(value) == "table" then
        local parts = {}
        if value[1] ~= nil or next(value) == nil then
            for i, item in ipairs(value) do
                parts[i] = M.encode(item)
            end
            return "[" .. table.concat(parts, ",") .. "]"
        end
        for key, item in pairs(value) do
            parts[#parts + 1] = ("%q:%s"):format(key, M.encode(item))
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
    local text = M.encode(message)
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

-- The first bytes of a client that asks for `name`.
function M.hello(name)
    local store = assert(M.store { upstreams = { { service = "s", verify = false } } })
    local server, client = M.pair(nil, C.tls_store_client(store, "s"), name)
    assert(C.tls_handshake(client.t) == 0)
    local bytes = server:raw_recv()
    server:free()
    client:free()
    return bytes
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

-- ---- A socket of luasocket's kind that speaks TLS ---------------------------------------------

local Sock = {}
Sock.__index = Sock

local function shaken(plain, begin)
    plain:settimeout(0)
    local io = ffi.gc(C.tls_io_new(), C.tls_io_free)
    local self = setmetatable({ plain = plain, io = io, buffer = "", seconds = 5, t = begin(io, plain:getfd()) }, Sock)
    local rc = 0
    while rc == 0 do
        rc = C.tls_handshake(self.t)
        if rc == 0 and not self:wait(1) then
            break
        end
    end
    if rc ~= 1 then
        local why = rc == 0 and "timeout" or ffi.string(C.tls_why(self.t))
        self:close()
        return nil, why
    end
    return self
end

-- `plain`: of luasocket, connected; takes it. Handshake done, or nil and why.
function M.socket(plain, client, host, peer)
    return shaken(plain, function(io, fd)
        return C.tls_connect(io, client, fd, host or "a.example", peer or "one")
    end)
end

-- The same for an accepted one.
function M.accepted(plain, server)
    return shaken(plain, function(io, fd)
        return C.tls_accept(io, server, fd)
    end)
end

-- Until the socket is readable (1) or writable (4).
function Sock:wait(what)
    local fds = ffi.new("struct pollfd[1]")
    fds[0].fd, fds[0].events = self.plain:getfd(), what
    return C.poll(fds, 1, math.floor(self.seconds * 1000)) > 0
end

function Sock:settimeout(seconds)
    self.seconds = seconds or 5
end

function Sock:setoption(...)
    return self.plain:setoption(...)
end

function Sock:getfd()
    return self.plain:getfd()
end

function Sock:dirty()
    return self.buffer ~= ""
end

function Sock:send(bytes, from)
    local at = (from or 1) - 1
    while at < #bytes do
        local iov = ffi.new("struct iovec[1]")
        iov[0].iov_base = ffi.cast("char *", bytes) + at
        iov[0].iov_len = math.min(#bytes - at, 65536)
        local n = tonumber(C.tls_send(self.t, iov, 1))
        if n < 0 then
            return nil, "closed", at
        elseif n == 0 and not self:wait(4) then
            return nil, "timeout", at
        end
        at = at + n
    end
    return at
end

-- More into the buffer; false and why.
function Sock:fill()
    local to = ffi.new "char[65536]"
    while true do
        local n = tonumber(C.tls_recv(self.t, to, 65536))
        if n > 0 then
            self.buffer = self.buffer .. ffi.string(to, n)
            return true
        elseif n ~= EAGAIN then
            return false, n == 0 and "closed" or ffi.string(C.tls_why(self.t))
        elseif not self:wait(1) then
            return false, "timeout"
        end
    end
end

function Sock:receive(what)
    while true do
        local line = what == "*l" and self.buffer:find("\n", 1, true)
        if line then
            local text = self.buffer:sub(1, line - 1):gsub("\r", "")
            self.buffer = self.buffer:sub(line + 1)
            return text
        elseif type(what) == "number" and #self.buffer >= what then
            local text = self.buffer:sub(1, what)
            self.buffer = self.buffer:sub(what + 1)
            return text
        end
        local ok, why = self:fill()
        if not ok then
            local part = self.buffer
            self.buffer = ""
            if what == "*a" and why == "closed" then
                return part
            end
            return nil, why, part
        end
    end
end

function Sock:shutdown()
    C.tls_close(self.t)
    self.plain:shutdown "send"
end

function Sock:close()
    if self.t then
        C.tls_close(self.t)
        C.tls_free(self.t)
        self.t = nil
    end
    self.plain:close()
end

return M
