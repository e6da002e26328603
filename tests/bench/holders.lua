-- Clients that only hold their connections: luajit holders.lua idle|loris PORT COUNT [FIRST], on loopback.
--   idle    one request each, then silence with the connection kept open
--   loris   the head of a request, a byte a second each; whoever is cut off comes again
-- Prints "ready N" when all are there. Ends when its standard input does. Source addresses 127.0.0.2 and on, since one has
-- fewer ports than the clients may be; FIRST is the number of the first client, where several processes share them.
local socket = require "socket"
local mode, port, count, first = arg[1], tonumber(arg[2]), tonumber(arg[3]), tonumber(arg[4] or 0)
local PER_ADDRESS = 5000
local ffi = require "ffi"
ffi.cdef [[
struct pollfd { int fd; short events; short revents; };
int poll(struct pollfd *fds, unsigned long count, int timeout_ms);
]]

local function open(i)
    local conn = assert(socket.tcp4())
    assert(conn:bind("127.0.0." .. 2 + math.floor((first + i) / PER_ADDRESS), 0))
    assert(conn:connect("127.0.0.1", port))
    if mode == "idle" then
        conn:settimeout(10)
        conn:send "GET / HTTP/1.1\r\nHost: bench\r\n\r\n"
        local length
        repeat
            local line = assert(conn:receive "*l")
            length = tonumber(line:lower():match "^content%-length: (%d+)") or length
        until line == ""
        assert(conn:receive(length))
    else
        conn:settimeout(0)
        conn:send "GET / HTTP/1.1\r\nHost: bench\r\nX-Slow: "
    end
    return conn
end

local conns = {}
for i = 1, count do
    conns[i] = open(i)
end
print("ready " .. count)
io.stdout:flush()

-- Whether standard input has ended, waiting so long for it.
local function ended(wait_ms)
    local fd = ffi.new "struct pollfd"
    fd.fd, fd.events = 0, 1
    return ffi.C.poll(fd, 1, wait_ms) > 0
end

local cut = 0
while not ended(1000) do
    for i = 1, mode == "loris" and count or 0 do
        local sent, why = conns[i]:send "a"
        if not sent and why ~= "timeout" then
            conns[i]:close()
            cut = cut + 1
            conns[i] = open(i)
        end
    end
end
print("cut " .. cut)
