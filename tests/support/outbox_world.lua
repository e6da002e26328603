-- The outbox and the senders of channels for specs: tests/unit/watch/outbox_world.h with Lua values.
--   local w = World.new { World.channel("ops") }
--   w:add(World.message("m1"))
--   w:decide("m1", "ops")
--   w:done("ops", "m1", "SENT")
local cjson = require "cjson"
local C, ffi = require("ffi_room").load()

local file = assert(io.open "tests/unit/watch/outbox_world.h")
ffi.cdef((file:read("*a"):gsub("\n#[^\n]*", "\n"):gsub("^#[^\n]*", "")))
file:close()

local RESULTS = { SENT = 0, AGAIN = 1, REFUSED = 2 }
local World = {}
World.__index = World

local function with(base, over)
    for key, value in pairs(over or {}) do
        base[key] = value
    end
    return base
end

function World.channel(name, over)
    return with({ name = name, kind = "webhook", to = { { text = "http://127.0.0.1:1/" .. name } }, headers = {},
        timeout_ms = 1000, send_resolved = true, give_up_ms = 86400000,
        rate = { per_minute = 60000, burst = 1000 } }, over)
end

function World.alert(over, labels)
    return with({
        status = "firing", fingerprint = "0123456789abcdef", startsAt = "2026-01-31T12:00:00.000Z",
        endsAt = "0001-01-01T00:00:00Z", generatorURL = "",
        labels = with({ alertname = "HighCPU", severity = "critical", service = "shop", instance = "shop-1" }, labels),
        annotations = { summary = "CPU of shop-1 is 97 %" },
    }, over)
end

function World.message(id, over, alerts)
    alerts = alerts or { World.alert() }
    over = over or {}
    return {
        id = id, reason = over.reason or "firing", keys = { "k" }, channels = over.channels, text = over.text,
        group = {
            version = "4", groupKey = over.group or "{}:{alertname=\"HighCPU\"}", truncatedAlerts = 0,
            status = over.status or alerts[1].status, receiver = "tidegate", groupLabels = {},
            commonLabels = { alertname = "HighCPU", service = "shop" }, commonAnnotations = {}, externalURL = "",
            alerts = alerts,
        },
    }
end

function World.new(channels, alerting)
    local self = setmetatable({ w = ffi.gc(C.outbox_world_new(), C.outbox_world_free) }, World)
    self:apply(channels, alerting)
    return self
end

function World:apply(channels, alerting)
    self.config = cjson.encode { channels = channels, alerting = alerting }
    C.outbox_world_apply(self.w, self.config)
end

function World:add(message)
    C.outbox_world_add(self.w, cjson.encode(message))
end

-- The policy says these channels, or tables { channel =, text = }.
function World:decide(id, ...)
    local send = {}
    for i, to in ipairs { ... } do
        send[i] = type(to) == "table" and to or { channel = to }
    end
    local list = #send > 0 and cjson.encode(send) or "[]"
    C.outbox_world_decide(self.w, ('{"id":%q,"send":%s}'):format(id, list))
end

function World:policy_dies()
    C.outbox_world_decide(self.w, nil)
end

-- Added and decided at once.
function World:post(id, channel, over)
    self:add(World.message(id, over))
    self:decide(id, channel)
end

function World:done(channel, id, result, o)
    o = o or {}
    C.outbox_world_done(self.w, channel, id .. " " .. channel, RESULTS[result], o.text or "", o.retry_after_ms or 0,
        o.reached or 0, o.unreached or false)
end

function World:run(ms)
    C.outbox_world_run(self.w, ms)
end

function World:restart()
    C.outbox_world_restart(self.w, self.config)
end

for _, name in ipairs { "tries", "questions", "facts", "disk", "figures" } do
    World[name] = function(self)
        return cjson.decode(ffi.string(C["outbox_world_" .. name](self.w)))
    end
end

-- Ids tried since the last look, in order.
function World:tried()
    local ids = {}
    for i, try in ipairs(self:tries()) do
        ids[i] = try.message.id
    end
    return table.concat(ids, " ")
end

function World:waiting()
    return tonumber(C.outbox_world_waiting(self.w))
end

-- ---- Senders ------------------------------------------------------------------------------------

World.wall_ms = 1769860860000 -- 2026-01-31 12:01:00

function World.posts(channel, message, reached)
    local text = C.channel_world_posts(cjson.encode(channel), cjson.encode(message), reached or 0, World.wall_ms)
    return cjson.decode(ffi.string(text))
end

function World.mail(channel, message)
    return ffi.string(C.channel_world_mail(cjson.encode(channel), cjson.encode(message), World.wall_ms))
end

function World.title(message)
    return ffi.string(C.channel_world_title(cjson.encode(message)))
end

function World.text(message)
    return ffi.string(C.channel_world_text(cjson.encode(message)))
end

function World.clean(channel, said)
    return ffi.string(C.channel_world_clean(cjson.encode(channel), said))
end

function World.retry_after(text, wall_ms)
    return tonumber(C.channel_world_retry_after(text, wall_ms or World.wall_ms))
end

function World.held(document, group, firing, wall_ms)
    local text = C.held_world(document, group and cjson.encode(group), firing and cjson.encode(firing),
        wall_ms or World.wall_ms)
    return ffi.string(text)
end

World.C = C

return World
