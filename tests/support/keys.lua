-- keys.lua: which backend each of many keys gets, over one connection.
--   luajit tests/support/keys.lua PORT COUNT    one line a key: key, backend
-- As a module: ask(port, count) -> { [key] = backend }. The key is in X-Key, the backend in X-Instance.
local socket = require "socket"
local M = {}

function M.ask(port, count)
    local conn, got = assert(socket.connect("127.0.0.1", port)), {}
    conn:settimeout(10)
    conn:setoption("tcp-nodelay", true)
    for key = 1, count do
        assert(conn:send(("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Key: user-%d\r\n\r\n"):format(key)))
        assert(assert(conn:receive "*l"):match "^HTTP/1.1 200", "a key was not answered with 200")
        local length = 0
        while true do
            local line = assert(conn:receive "*l")
            if line == "" then
                break
            end
            local name, value = line:match "^(.-):%s*(.*)$"
            if name:lower() == "x-instance" then
                got[key] = value
            elseif name:lower() == "content-length" then
                length = tonumber(value)
            end
        end
        assert(conn:receive(length))
    end
    conn:close()
    return got
end

-- How many keys have another backend.
function M.moved(before, after)
    local count = 0
    for key, backend in pairs(before) do
        count = count + (after[key] ~= backend and 1 or 0)
    end
    return count
end

if arg and arg[0] and arg[0]:match "keys%.lua$" then
    for key, backend in ipairs(M.ask(tonumber(arg[1]), tonumber(arg[2]))) do
        print(key, backend)
    end
end

return M
