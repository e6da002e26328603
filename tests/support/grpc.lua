-- Real gRPC servers and a real gRPC client (Debian's python3-grpcio), all in one process: see grpc_peer.py for what
-- can be asked of them.
--   local peer = grpc.new(); peer:ask { ["do"] = "serve", port = 9001, name = "a" }; peer:close()
local json = require "dkjson"
local tidegate = require "tidegate"
local posix = { unistd = require "posix.unistd", poll = require "posix.poll", wait = require "posix.sys.wait" }

local PYTHON = "/usr/bin/python3"
local PATIENCE_MS = 60000
local mt = {}
mt.__index = mt
local M = {}

function M.missing()
    local ok = os.execute(PYTHON .. " -c 'import grpc' 2>/dev/null")
    return ok ~= 0 and ok ~= true and "python3-grpcio is not installed" or nil
end

function M.new()
    local from_us, to_peer = posix.unistd.pipe()
    local from_peer, to_us = posix.unistd.pipe()
    local pid = assert(posix.unistd.fork())
    if pid == 0 then
        posix.unistd.dup2(from_us, 0)
        posix.unistd.dup2(to_us, 1)
        tidegate.become({ PYTHON, "tests/support/grpc_peer.py" }, { env = { GRPC_VERBOSITY = "NONE" } })
    end
    posix.unistd.close(from_us)
    posix.unistd.close(to_us)
    return setmetatable({ pid = pid, to = to_peer, from = from_peer, got = "" }, mt)
end

-- Tells it something; what it answers comes by `answer`.
function mt:tell(order)
    local line, at = json.encode(order) .. "\n", 1
    while at <= #line do
        at = at + assert(posix.unistd.write(self.to, line:sub(at)))
    end
end

function mt:answer()
    while not self.got:find("\n", 1, true) do
        assert(posix.poll.rpoll(self.from, PATIENCE_MS) == 1, "the gRPC peer says nothing")
        local bytes = posix.unistd.read(self.from, 65536)
        assert(bytes and #bytes > 0, "the gRPC peer has ended")
        self.got = self.got .. bytes
    end
    local line, rest = self.got:match "^([^\n]*)\n(.*)$"
    self.got = rest
    local answer = assert(json.decode(line))
    assert(not answer.error, answer.error)
    return answer
end

function mt:ask(order)
    self:tell(order)
    return self:answer()
end

function mt:close()
    posix.unistd.close(self.to)
    posix.unistd.close(self.from)
    posix.wait.wait(self.pid)
end

return M
