-- One flood against a port, for floods.sh: luajit floods.lua PORT KIND SECONDS. Prints how often it went over a connection.
-- Kinds: spin (nothing but CPU), resets, continuations, settings, pings (HTTP/2 without TLS, connection after connection), and, where connections are held
-- until the end, half-open (they say nothing), slow-hello (a part of a TLS handshake), stalled (a whole hello).
package.path = "tests/support/?.lua;" .. package.path
local h2 = require "h2"
local socket = require "socket"

local port, kind, seconds = tonumber(arg[1]), arg[2], tonumber(arg[3])
local held_most = tonumber(os.getenv "FLOOD_HELD" or 10000)
local deadline = socket.gettime() + seconds
local f = h2.frame
local GET = h2.block(h2.request("GET", "/"))

local function resets()
    local out = {}
    for i = 0, 2999 do
        out[i + 1] = f(h2.HEADERS, 5, 2 * i + 1, GET) .. f(h2.RST_STREAM, 0, 2 * i + 1, h2.u32(h2.CANCEL))
    end
    return table.concat(out)
end

local POURED = {
    resets = resets,
    continuations = function()
        return f(h2.HEADERS, h2.END_STREAM, 1, GET) .. f(h2.CONTINUATION, 0, 1, h2.literal("x", ("y"):rep(100))):rep(2000)
    end,
    settings = function()
        return f(h2.SETTINGS, 0, 0, h2.u16(1) .. h2.u32(4096)):rep(10000)
    end,
    pings = function()
        return f(h2.PING, 0, 0, "12345678"):rep(10000)
    end,
}
-- A record that announces a handshake of 500 bytes, and ten of them.
local HELD = { ["half-open"] = "", ["slow-hello"] = "\22\3\1\1\244\1\0\1\240\3\3\1\2\3\4" }
if kind == "stalled" then
    HELD.stalled = require("tls_room").hello "shop.example"
end

local function pour(bytes)
    local count = 0
    while socket.gettime() < deadline do
        local sock = socket.tcp4()
        sock:settimeout(0.5)
        if sock:connect("127.0.0.1", port) then
            sock:send(h2.PREFACE .. f(h2.SETTINGS, 0, 0) .. bytes)
            sock:receive "*a"
            count = count + 1
        end
        sock:close()
    end
    return count
end

-- Opens as many as allowed, and those again that were closed.
local function hold(bytes)
    local socks, count, at = {}, 0, 0
    while socket.gettime() < deadline do
        at = at % held_most + 1
        local sock = socks[at]
        if sock then
            sock:settimeout(0)
            local _, err = sock:receive(1)
            if err == "closed" then
                sock:close()
                socks[at] = nil
            end
        end
        if not socks[at] then
            sock = socket.tcp4()
            sock:bind("127.0.0." .. (at % 200 + 2), 0)
            sock:settimeout(0.2)
            if sock:connect("127.0.0.1", port) then
                sock:send(bytes)
                socks[at], count = sock, count + 1
            else
                sock:close()
            end
        elseif at % 100 == 0 then
            socket.sleep(0.001)
        end
    end
    return count
end

if kind == "spin" then
    repeat until socket.gettime() >= deadline
elseif POURED[kind] then
    print(pour(POURED[kind]()))
else
    print(hold(assert(HELD[kind], "no such flood")))
end
