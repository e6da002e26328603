-- tls_hold.lua: holds TLS connections open that have had an answer each, for tls.sh.
--
--     luajit tls_hold.lua PORT COUNT FILE     makes FILE when all are there, and ends when it is gone
package.path = "tests/support/?.lua;" .. package.path
local room = require "tls_room"
local socket = require "socket"

local port, count, path = tonumber(arg[1]), tonumber(arg[2]), arg[3]
local store = assert(room.store { upstreams = { { service = "s", verify = false } } })
local held = {}
for i = 1, count do
    local sock = assert(room.socket(assert(socket.connect("127.0.0.1", port)), room.C.tls_store_client(store, "s"),
        "shop.example"))
    assert(sock:send "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
    assert(sock:receive "*l")
    held[i] = sock
end
io.open(path, "w"):close()
assert(#held == count)
local file
repeat
    socket.sleep(0.05)
    file = io.open(path)
    if file then
        file:close()
    end
until not file
