-- receivers.lua: starts tests/support/receiver.lua for a functional spec, and reads what it got.
local cjson = require "cjson"
local socket = require "socket"
local tidegate = require "tidegate"

local M = {}

-- Starts one at a named port; its answers are words of its script.
function M.start(t, kind, port, ...)
    local process = t:run_beside("/usr/bin/luajit", "tests/support/receiver.lua", kind, t:port(port), ...)
    t:wait("the receiver to listen", function()
        local client = socket.tcp4()
        local ok = client:connect("127.0.0.1", t:port(port))
        client:close()
        return ok
    end)
    return process
end

-- What it got so far.
function M.got(process)
    local list = {}
    for line in (tidegate.read_file(process.out) or ""):gmatch "[^\n]+" do
        list[#list + 1] = cjson.decode(line)
    end
    return list
end

function M.wait_got(t, process, count)
    t:wait(count .. " messages at the receiver", function()
        return #M.got(process) >= count
    end)
    return M.got(process)
end

return M
