-- pty.lua: a program on a terminal of its own, for specs of what people type.
--
--     local terminal = pty.open({ binary, "repl" }, { dir = dir, env = { TERM = "xterm" } })
--     terminal:wait "> "
--     terminal:send "1 + 1\r"
--     terminal:wait "\n2\r\n"
--     assert.equal(0, terminal:close "\4")
--
-- `wait` looks behind what the last one found, at what the program has written, and has a deadline.
local ffi = require "ffi"
local posix = {
    unistd = require "posix.unistd", signal = require "posix.signal", wait = require "posix.sys.wait",
    fcntl = require "posix.fcntl", poll = require "posix.poll",
}
local socket = require "socket"
local tidegate = require "tidegate"

ffi.cdef [[
int posix_openpt(int flags);
int grantpt(int fd);
int unlockpt(int fd);
char *ptsname(int fd);
int setsid(void);
struct pty_size { unsigned short rows, columns, x, y; };
int ioctl(int fd, unsigned long request, ...);
]]
local TIOCSCTTY, TIOCSWINSZ, O_NOCTTY, O_RDWR = 0x540E, 0x5414, 256, 2
local DEADLINE_S = 30

local M = {}
local Terminal = {}
Terminal.__index = Terminal

local function child(argv, o, name)
    ffi.C.setsid()
    local fd = posix.fcntl.open(name, posix.fcntl.O_RDWR)
    ffi.C.ioctl(fd, TIOCSCTTY, ffi.cast("int", 0))
    for to = 0, 2 do
        posix.unistd.dup2(fd, to)
    end
    tidegate.become(argv, o)
end

function M.open(argv, o)
    local fd = ffi.C.posix_openpt(O_RDWR + O_NOCTTY)
    assert(fd >= 0 and ffi.C.grantpt(fd) == 0 and ffi.C.unlockpt(fd) == 0, "no pseudo-terminal")
    local name = ffi.string(ffi.C.ptsname(fd))
    ffi.C.ioctl(fd, TIOCSWINSZ, ffi.new("struct pty_size", { 24, 100, 0, 0 }))
    local pid = assert(posix.unistd.fork())
    if pid == 0 then
        child(argv, o or {}, name)
    end
    return setmetatable({ fd = fd, pid = pid, text = "", at = 1 }, Terminal)
end

-- More of what the program wrote; false when it has ended.
function Terminal:read(timeout_s)
    local ready = posix.poll.rpoll(self.fd, math.ceil(timeout_s * 1000))
    if ready == 0 then
        return true
    end
    local part = posix.unistd.read(self.fd, 65536)
    if not part or part == "" then
        return false
    end
    self.text = self.text .. part
    return true
end

-- Until `text` has appeared; fails with what did instead. Returns what stood before it.
function Terminal:wait(text)
    local deadline = socket.gettime() + DEADLINE_S
    while true do
        local from, to = self.text:find(text, self.at, true)
        if from then
            local before = self.text:sub(self.at, from - 1)
            self.at = to + 1
            return before
        end
        local left = deadline - socket.gettime()
        if left <= 0 or not self:read(left) then
            error(("the terminal never showed %q but\n%s"):format(text, self.text:sub(self.at)), 2)
        end
    end
end

function Terminal:send(text)
    assert(posix.unistd.write(self.fd, text) == #text)
end

function Terminal:reap()
    local pid, how, status = posix.wait.wait(self.pid, posix.wait.WNOHANG)
    if pid == self.pid and how ~= "running" then
        self.code = how == "exited" and status or 128 + status
    end
    return self.code
end

-- Sends a last text and waits for the end; the exit code. What does not end is killed, and an error.
function Terminal:close(text)
    if self.code then
        return self.code
    end
    self:send(text or "")
    local deadline = socket.gettime() + DEADLINE_S
    while not self:reap() and socket.gettime() < deadline do
        if not self:read(0.1) then
            socket.sleep(0.01)
        end
    end
    if not self.code then
        posix.signal.kill(self.pid, posix.signal.SIGKILL)
        posix.wait.wait(self.pid)
        error("the program on the terminal did not end:\n" .. self.text:sub(self.at), 2)
    end
    posix.unistd.close(self.fd)
    return self.code
end

return M
