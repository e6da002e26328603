-- dockerish.lua: answers as much of a Docker engine's API as `tidegate doctor` asks for, on a TCP port.
--
--   luajit tests/support/dockerish.lua PORT VERSION SECONDS [nomemory]      its clock is so many seconds ahead
local socket = require "socket"

local port, version, ahead, nomemory = arg[1], arg[2], tonumber(arg[3]), arg[4]
local server = assert(socket.bind("127.0.0.1", tonumber(port)))

local function answer(path)
    if path == "/version" then
        return ('{"Version":"%s","ApiVersion":"1.41"}'):format(version)
    elseif path == "/info" then
        return ('{"SystemTime":"%s.123456789Z","MemoryLimit":%s}'):format(
            os.date("!%Y-%m-%dT%H:%M:%S", os.time() + ahead), tostring(not nomemory))
    end
end

while true do
    local client = server:accept()
    client:settimeout(5)
    local line = client:receive "*l"
    repeat
        local field = client:receive "*l"
    until not field or field == ""
    local body = line and answer(line:match "^GET (%S+)")
    client:send(("HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"):format(
        body and "200 OK" or "404 Not Found", #(body or ""), body or ""))
    client:close()
end
