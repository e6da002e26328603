-- fake_docker.lua: as much of a Docker engine as labels need, under a spec's control: containers are what the
-- spec says, events come when it says so, and any stream breaks when it wants.
--
--   luajit tests/support/fake_docker.lua PORT
--
-- POST /fake/containers BODY   what `GET /containers/json` answers from now on
-- POST /fake/event BODY        one line to all event streams
-- POST /fake/cut               all event streams end, the rest goes on
-- GET /fake/counts             {"lists":3,"streams":2} so far, and of now
local socket = require "socket"

local server = assert(socket.bind("127.0.0.1", tonumber(arg[1]), 64))
server:settimeout(0)

local containers, lists = "[]", 0
local readers, streams = {}, {} -- sockets: what was read of a request; true

local function respond(client, status, body, more)
    client:send(("HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s"):format(status, #body, more or "", body))
end

local function count(set)
    local n = 0
    for _ in pairs(set) do
        n = n + 1
    end
    return n
end

local control = {
    containers = function(body)
        containers = body
    end,
    event = function(body)
        for stream in pairs(streams) do
            stream:send(("%x\r\n%s\n\r\n"):format(#body + 1, body))
        end
    end,
    cut = function()
        for stream in pairs(streams) do
            stream:send "0\r\n\r\n"
            stream:close()
            readers[stream] = nil
        end
        streams = {}
    end,
    counts = function()
        return ('{"lists":%d,"streams":%d}'):format(lists, count(streams))
    end,
}

local function answer(client, path, body)
    local plain = path:gsub("^/v1%.%d+", ""):gsub("%?.*", "")
    local word = plain:match "^/fake/(%a+)$"
    if word then
        respond(client, "200 OK", control[word](body) or "{}")
    elseif plain == "/_ping" then
        respond(client, "200 OK", "OK", "Api-Version: 1.41\r\n")
    elseif plain == "/version" then
        respond(client, "200 OK", '{"Version":"20.10","ApiVersion":"1.41","MinAPIVersion":"1.12"}')
    elseif plain == "/info" then
        respond(client, "200 OK", '{"NCPU":2,"MemTotal":1e9}')
    elseif plain == "/containers/json" then
        local ours = path:find("tidegate.cluster", 1, true)
        lists = lists + (ours and 0 or 1)
        respond(client, "200 OK", ours and "[]" or containers)
    elseif plain == "/events" then
        client:send "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        streams[client] = true
    else
        respond(client, "404 Not Found", '{"message":"not here"}')
    end
end

-- Takes whole requests off what was read.
local function work(client, text)
    while true do
        local head, rest = text:match "^(.-)\r\n\r\n(.*)$"
        local length = head and tonumber(head:lower():match "content%-length: (%d+)") or 0
        if not head or #rest < length then
            return text
        end
        answer(client, head:match "^%u+ (%S+)", rest:sub(1, length))
        if head:find "\r\nConnection: close" then
            client:close()
            return nil
        end
        text = rest:sub(length + 1)
    end
end

while true do
    local watched = { server }
    for client in pairs(readers) do
        watched[#watched + 1] = client
    end
    for _, ready in ipairs((socket.select(watched))) do
        if ready == server then
            local client = server:accept()
            if client then
                client:settimeout(0)
                readers[client] = ""
            end
        elseif readers[ready] then
            local text, why, part = ready:receive(65536)
            text = text or part or ""
            if why == "closed" and text == "" then
                readers[ready], streams[ready] = nil, nil
                ready:close()
            else
                readers[ready] = work(ready, readers[ready] .. text)
            end
        end
    end
end
