-- A backend that fails every request: luajit faulty.lua reset|half PORT, on loopback.
--   reset   takes the connection and resets it
--   half    promises 1000 bytes, sends 500, closes
local socket = require "socket"
local mode, port = arg[1], tonumber(arg[2])

local server = assert(socket.bind("127.0.0.1", port, 256))
while true do
    local conn = server:accept()
    if conn and mode == "reset" then
        conn:setoption("linger", { on = true, timeout = 0 })
        conn:close()
    elseif conn then
        conn:settimeout(1)
        local line
        repeat
            line = conn:receive "*l"
        until not line or line == ""
        conn:send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" .. ("x"):rep(500))
        conn:close()
    end
end
