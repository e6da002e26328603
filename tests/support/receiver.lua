-- receiver.lua: a receiver of messages for specs: what it answers is scripted, what it got is one JSON line
-- on its output.
--
--   luajit tests/support/receiver.lua http PORT 429:1 500 hang half drop 200     the last one for ever
--   luajit tests/support/receiver.lua smtp PORT 451 ok
--
-- http: a status (429:1 with Retry-After: 1), "hang" (never answers), "half" (the beginning of a body), "drop" (closes).
-- smtp: "ok", a code that RCPT is answered with, "auth" (wants user and password: it says which ones it got).
local json = require "dkjson"
local mime = require "mime"
local socket = require "socket"

local kind, port = arg[1], tonumber(arg[2])
local script, turn = { unpack(arg, 3) }, 0
local server = assert(socket.bind("127.0.0.1", port))
io.stdout:setvbuf "line"

local function record(got)
    io.stdout:write(json.encode(got), "\n")
    io.stdout:flush()
end

local function next_word()
    turn = math.min(turn + 1, #script)
    return script[turn]
end

local function http(client)
    local line = client:receive "*l"
    if not line then
        return -- it only looked whether somebody is there
    end
    local got = { line = line, headers = {} }
    for field in function() return client:receive "*l" end do
        if field == "" then
            break
        end
        local name, value = field:match "^([^:]+):%s*(.*)$"
        got.headers[name:lower()] = value
    end
    local len = tonumber(got.headers["content-length"]) or 0
    got.body = len > 0 and client:receive(len) or ""
    local word = next_word()
    got.answer, got.at = word, socket.gettime()
    record(got)
    local status, after = word:match "^(%d+):?(%d*)$"
    if word == "hang" then
        client:receive "*l" -- until it goes
    elseif word == "half" then
        client:send "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"
    elseif status then
        local body = status == "200" and "ok" or "no " .. (got.line:match " (%S+) ")
        client:send(("HTTP/1.1 %s X\r\nContent-Length: %d\r\nConnection: close\r\n%s\r\n%s"):format(status, #body,
            after ~= "" and "Retry-After: " .. after .. "\r\n" or "", body))
    end
end

local function read_mail(client)
    local lines = {}
    for line in function() return client:receive "*l" end do
        if line == "." then
            return table.concat(lines, "\n")
        end
        lines[#lines + 1] = line:gsub("^%.", "")
    end
end

local function smtp(client)
    local got, word = { to = {} }, nil
    client:send "220 receiver\r\n"
    for line in function() return client:receive "*l" end do
        local verb = line:match("^%a+"):upper()
        word = word or next_word()
        if verb == "EHLO" then
            client:send(word == "auth" and "250-receiver\r\n250 AUTH PLAIN\r\n" or "250 receiver\r\n")
        elseif verb == "AUTH" then
            client:send "334 \r\n"
            got.auth = mime.unb64(client:receive "*l"):gsub("%z", "/")
            client:send "235 welcome\r\n"
        elseif verb == "RCPT" then
            got.to[#got.to + 1] = line:match "<(.-)>"
            client:send(word:match "^%d" and word .. " no such mailbox\r\n" or "250 ok\r\n")
        elseif verb == "MAIL" then
            got.from = line:match "<(.-)>"
            client:send "250 ok\r\n"
        elseif verb == "DATA" then
            client:send "354 go on\r\n"
            got.mail = read_mail(client)
            client:send "250 queued as 4711\r\n"
        elseif verb == "QUIT" then
            client:send "221 bye\r\n"
            break
        else
            client:send "250 ok\r\n"
        end
    end
    got.answer = word
    if word then -- else it only looked whether somebody is there
        record(got)
    end
end

while true do
    local client = server:accept()
    client:settimeout(60)
    pcall(kind == "smtp" and smtp or http, client)
    client:close()
end
