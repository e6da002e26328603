-- A disk that fills up and gets room again; run by full_spec.lua on a small one of its own.
-- `luajit full.lua DIR`, says "well" at the end.
package.path = "./tests/support/?.lua;" .. package.path
local room = require "store_room"
local C = room.C

local disk, sent, now = arg[1], 0, room.now()
local dir = disk .. "/history"
local store = assert(room.open(dir, { reserve_bytes = 2 * 1024 * 1024 }))

local function events(count, bytes)
    local last
    for _ = 1, count do
        last = store:event("decision", { what = ("x"):rep(bytes) })
        assert(last > 0)
        sent = sent + 1
    end
    return last
end

local function sample()
    now = now + 1000
    store:sample("catalog", "", "rate", now, 1)
end

-- Fills the disk until `left` KB are free.
local function fill(left)
    os.execute(([[
        free=$(df --output=avail -k '%s' | tail -n 1)
        [ "$free" -gt %d ] && head -c $(((free - %d) * 1024)) /dev/zero >>'%s/filler' 2>/dev/null
    ]]):format(disk, left, left, disk))
end

local function noticed(what, name)
    store:wait(function()
        return store:noticed(what)
    end, name .. " is not told")
end

store:durable(events(10, 10))
sample()
store:taken(1)

-- Nearly full: samples stop, events do not.
fill(1500)
noticed(C.STORE_SAMPLES_STOPPED, "the end of samples")
assert(store:figures().samples_stopped)
store:durable(events(100, 100))
assert(not store:noticed(C.STORE_EVENTS_WAIT))
sample()
store:wait(function()
    return tonumber(store:figures().samples_lost) == 1
end, "a sample is taken though there is no room")

-- Full: the ballast is given up for events.
fill(0)
store:durable(events(20, 100))
store:wait(function()
    return not room.files(dir):find("ballast", 1, true) or store:noticed(C.STORE_EVENTS_WAIT)
end, "the ballast stays")
assert(not store:noticed(C.STORE_EVENTS_WAIT), "events wait though there was a ballast")

-- Full to the brim: events wait, none is refused.
local last
for _ = 1, 400 do
    last = events(10, 1000)
    fill(0)
    if store:noticed(C.STORE_EVENTS_WAIT) then
        break
    end
    store.run:run(5)
end
noticed(C.STORE_EVENTS_WAIT, "that events wait")

-- Room again: everything goes on.
os.remove(disk .. "/filler")
store:durable(last)
noticed(C.STORE_EVENTS_AGAIN, "that events go on")
noticed(C.STORE_SAMPLES_AGAIN, "that samples go on")
local before = tonumber(store:figures().samples)
sample()
store:taken(before + 1)

store:close()
store = assert(room.open(dir))
local _, told = store:events { limit = 0 }
assert(told == sent, ("%d of %d events are there"):format(told, sent))
local points = store:samples { service = "catalog", instance = "", metric = "rate", from_ms = now - 60000,
    to_ms = now + 1000 }
assert(points[" rate"][1].count == 2, "samples are missing")
store:close()
print "well"
