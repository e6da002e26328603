-- Writes events, documents and samples without an end and tells what is durable; killed by
-- kill_spec.lua. `luajit victim.lua DIR`
package.path = "./tests/support/?.lua;" .. package.path
local room = require "store_room"
local C, ffi = room.C, room.ffi
ffi.cdef "int getpid(void);"

local function say(...)
    io.write(table.concat({ ... }, " "), "\n")
    io.flush()
end

local store = assert(room.open(arg[1]))
say("pid", ffi.C.getpid())
say("open_ms", tonumber(store:figures().open_ms))
local n = tonumber(store:documents("counter").n or 0)
local number_of = {} -- by sequence: which n is durable with it
local told = 0
local slot = C.store_series(store.store, "kill", "", "clock")
math.randomseed(room.now())

while true do
    for _ = 1, math.random(1, 40) do
        n = n + 1
        C.store_batch_begin(store.store)
        store:event("decision", { subject = tostring(n), what = ("x"):rep(n % 50) })
        local sequence = tonumber(C.store_put(store.store, "counter", "n", tostring(n)))
        C.store_batch_commit(store.store)
        number_of[sequence] = n
    end
    local now = room.now()
    C.store_sample(store.store, slot, now, now)
    store.run:run(1)
    local durable = tonumber(store.seen.durable)
    if durable > told then
        told = durable
        say("durable", number_of[durable] or 0, now)
    end
end
