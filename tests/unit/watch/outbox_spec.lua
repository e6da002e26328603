local World = require "outbox_world"
local C = World.C

local function ops(over)
    return { World.channel("ops", over) }
end

describe("outbox: what is kept", function()
    it("keeps a message before it asks, and until it was delivered", function()
        local w = World.new(ops())
        w:add(World.message "m1")
        assert.is_table(w:disk()["m1"])
        assert.equal(0, #w:tries())
        w:decide("m1", "ops")
        assert.is_nil(w:disk()["m1"])
        assert.equal("ops", w:disk()["m1 ops"].channel)
        assert.equal("m1", w:tried())
        w:done("ops", "m1", "SENT")
        assert.same({}, w:disk())
        assert.equal(0, w:waiting())
        assert.equal(0, C.outbox_world_loose(w.w))
    end)

    it("sends when it is on disk, and does not wait for a disk for ever", function()
        local w = World.new(ops())
        C.outbox_world_slow_disk(w.w)
        w:post("m1", "ops")
        w:run(500)
        assert.equal("", w:tried())
        C.outbox_world_durable(w.w)
        assert.equal("m1", w:tried())
        w:done("ops", "m1", "SENT")
        w:post("m2", "ops")
        w:run(900)
        assert.equal("", w:tried())
        w:run(200)
        assert.equal("m2", w:tried())
    end)

    it("tells what a kill left, in its order, with the same ids", function()
        local w = World.new(ops { send_resolved = true })
        for i = 1, 12 do
            w:post("m" .. i, "ops")
        end
        w:add(World.message "undecided")
        w:tries()
        w:restart()
        w:run(3000) -- nobody answers for the last one
        local seen = {}
        for _ = 1, 13 do
            local id = w:tried()
            seen[#seen + 1] = id
            w:done("ops", id, "SENT")
        end
        assert.equal("m1 m2 m3 m4 m5 m6 m7 m8 m9 m10 m11 m12 undecided", table.concat(seen, " "))
        assert.same({}, w:disk())
    end)

    it("goes on numbering behind what was there", function()
        local w = World.new(ops())
        w:post("m1", "ops")
        w:restart()
        w:post("m2", "ops")
        w:restart()
        w:run(100)
        assert.equal("m1", w:tried():match "%S+$")
    end)

    it("takes the same news once", function()
        local w = World.new(ops())
        w:add(World.message "m1")
        w:add(World.message "m1")
        w:decide("m1", "ops")
        w:add(World.message "m1")
        assert.equal(1, w:waiting())
    end)

    it("leaves out documents that are no messages", function()
        local w = World.new(ops())
        for _, text in ipairs { "{}", "[", "null", '{"message":{"id":"x"},"channel":"ops"}' } do
            C.outbox_world_restart(w.w, w.config)
            w:post("m", "ops")
            local _ = text
        end
        assert.equal(1, w:waiting())
    end)
end)

describe("outbox: who hears of it", function()
    local two = { World.channel "ops", World.channel "page" }

    it("asks with severity, reason and the channels", function()
        local w = World.new(two)
        w:add(World.message("m1", { channels = { "page" } }))
        w:add(World.message("m2", { reason = "escalation" }))
        local asked = w:questions()
        assert.same({ "page" }, asked[1].about.channels)
        assert.equal("critical", asked[1].about.severity)
        assert.equal("HighCPU", asked[1].about.alerts[1].labels.alertname)
        assert.is_nil(asked[1].fixed)
        assert.same({ "ops", "page" }, asked[2].about.channels)
        assert.is_true(asked[2].fixed)
    end)

    it("sends what the policy says, in the template's words", function()
        local w = World.new(two)
        w:add(World.message "m1")
        w:decide("m1", { channel = "page", text = "wake up" }, "nobody")
        local tries = w:tries()
        assert.equal(1, #tries)
        assert.equal("page", tries[1].channel)
        assert.equal("wake up", tries[1].message.text)
        assert.equal("page", tries[1].message.group.receiver)
    end)

    it("tells nobody when the policy says so", function()
        local w = World.new(two)
        w:add(World.message "m1")
        w:decide("m1")
        assert.same({}, w:disk())
        assert.equal(0, #w:tries())
    end)

    it("sends as the alerts say when nobody answers, when the process dies, and when there is none", function()
        local w = World.new(two)
        w:add(World.message("m1", { channels = { "page" } }))
        w:run(1900)
        assert.equal("", w:tried())
        w:run(200)
        assert.equal("m1", w:tried())
        w:done("page", "m1", "SENT")
        w:add(World.message("m2", { channels = { "page" } }))
        w:policy_dies()
        assert.equal("m2", w:tried())
        w:done("page", "m2", "SENT")
        C.outbox_world_policy(w.w, false)
        w:add(World.message "m3")
        w:run(2100)
        assert.equal("m3 m3", w:tried())
    end)

    it("asks a process that comes back in time", function()
        local w = World.new(two)
        C.outbox_world_policy(w.w, false)
        w:add(World.message "m1")
        w:run(500)
        C.outbox_world_policy(w.w, true)
        w:run(100)
        assert.equal(1, #w:questions())
        w:run(300)
        assert.equal(0, #w:questions())
    end)

    it("tells only the channels that alerting names when an alert names none", function()
        local w = World.new(two, { channels = { "page" } })
        w:add(World.message "m1")
        w:policy_dies()
        assert.equal("page", w:tries()[1].channel)
    end)

    it("keeps the end of alerts from channels that do not want it", function()
        local w = World.new(ops { send_resolved = false })
        local over = World.alert { status = "resolved", fingerprint = "ff" }
        w:add(World.message("m1", { status = "firing" }, { World.alert(), over }))
        w:decide("m1", "ops")
        local tries = w:tries()
        assert.equal(1, #tries[1].message.group.alerts)
        w:done("ops", "m1", "SENT")
        w:add(World.message("m2", nil, { over }))
        w:decide("m2", "ops")
        assert.equal(0, #w:tries())
        assert.same({}, w:disk())
    end)
end)

describe("outbox: failures", function()
    it("tries again later each time, with the same message, up to an hour", function()
        local w = World.new(ops { give_up_ms = 10 * 86400000 })
        w:post("m1", "ops")
        local last, gaps = w:tries()[1].at, {}
        for i = 1, 16 do
            w:done("ops", "m1", "AGAIN", { text = "answered 500" })
            local tries = {}
            while #tries == 0 do
                w:run(100)
                tries = w:tries()
            end
            gaps[i], last = tries[1].at - last, tries[1].at
            local least = math.min(3600000, 1000 * 2 ^ (i - 1)) / 2
            assert.is_true(gaps[i] >= least, i .. ": " .. gaps[i])
            assert.is_true(gaps[i] <= least * 2 + 100, i .. ": " .. gaps[i])
        end
        local f = w:figures().ops
        assert.equal(16, f.failed)
        assert.equal(1, f.retried)
        assert.equal("answered 500", f.last_error)
        w:done("ops", "m1", "SENT")
        f = w:figures().ops
        assert.same({ 1, "", false, 0 }, { f.sent, f.last_error, f.failing, f.waiting })
    end)

    it("does not come back with all channels at once", function()
        local channels = {}
        for i = 1, 20 do
            channels[i] = World.channel("c" .. i)
        end
        local w = World.new(channels)
        w:add(World.message "m1")
        w:policy_dies()
        local rests, different = {}, 0
        for i = 1, 20 do
            w:done("c" .. i, "m1", "AGAIN")
            local ms = w:figures()["c" .. i].rests_ms
            different = different + (rests[ms] and 0 or 1)
            rests[ms] = true
        end
        assert.is_true(different > 10)
    end)

    it("waits at least as long as it is asked to", function()
        local w = World.new(ops())
        w:post("m1", "ops")
        w:done("ops", "m1", "AGAIN", { retry_after_ms = 90000 })
        w:tries()
        w:run(89000)
        assert.equal("", w:tried())
        w:run(1100)
        assert.equal("m1", w:tried())
    end)

    it("costs a dead receiver's channel one try at a time, whatever waits", function()
        local w = World.new(ops())
        for i = 1, 200 do
            w:post("m" .. i, "ops", { group = "g" .. i })
        end
        local tries = #w:tries()
        for _ = 1, 60 do
            for _, try in ipairs(w:tries()) do
                local _ = try
                tries = tries + 1
            end
            w:run(1000)
        end
        assert.equal(1, tries) -- it hangs
        w:done("ops", "m1", "AGAIN", { unreached = true })
        for _ = 1, 600 do
            w:run(1000)
            for _, try in ipairs(w:tries()) do
                tries = tries + 1
                w:done("ops", try.message.id, "AGAIN", { unreached = true })
            end
        end
        assert.is_true(tries < 20, tries .. " tries in ten minutes")
    end)

    it("delivers all soon after a receiver is back", function()
        local w = World.new(ops())
        for i = 1, 50 do
            w:post("m" .. i, "ops", { group = "g" .. i })
        end
        for _ = 1, 600 do
            for _, try in ipairs(w:tries()) do
                w:done("ops", try.message.id, "AGAIN", { unreached = true })
            end
            w:run(1000)
        end
        local sent = {}
        for _ = 1, 7200 do
            w:run(1000)
            local try = w:tries()[1]
            while try do
                assert.is_nil(sent[try.message.id])
                sent[try.message.id] = true
                w:done("ops", try.message.id, "SENT")
                try = w:tries()[1]
            end
            if w:waiting() == 0 then
                break
            end
        end
        assert.equal(0, w:waiting())
    end)

    it("does not hold up others with a message that its receiver cannot take now", function()
        local w = World.new(ops())
        w:post("bad", "ops", { group = "bad" })
        for i = 1, 20 do
            w:post("m" .. i, "ops", { group = "g" .. i })
        end
        local sent = 0
        for _ = 1, 100 do
            for _, try in ipairs(w:tries()) do
                local bad = try.message.id == "bad"
                sent = sent + (bad and 0 or 1)
                w:done("ops", try.message.id, bad and "AGAIN" or "SENT", { text = "answered 500" })
            end
            w:run(100)
        end
        assert.equal(20, sent)
        assert.equal(1, w:waiting())
    end)

    it("keeps the order within a group", function()
        local w = World.new(ops())
        w:post("firing", "ops", { group = "g" })
        w:done("ops", "firing", "AGAIN")
        w:post("resolved", "ops", { group = "g" })
        w:post("other", "ops", { group = "h" })
        w:tries()
        w:run(1100)
        assert.equal("other", w:tried())
        w:done("ops", "other", "SENT")
        w:run(1100)
        assert.equal("firing", w:tried())
        w:done("ops", "firing", "SENT")
        assert.equal("resolved", w:tried())
    end)

    it("drops what is refused, and says so", function()
        local w = World.new(ops())
        w:post("m1", "ops")
        w:post("m2", "ops")
        w:facts()
        w:done("ops", "m1", "REFUSED", { text = "answered 400: no" })
        assert.same({ "ops m1 dropped: answered 400: no" }, w:facts())
        assert.equal("m1 m2", w:tried())
        assert.equal(1, w:figures().ops.dropped)
        assert.is_nil(w:disk()["m1 ops"])
    end)

    it("gives up after give_up", function()
        local w = World.new(ops { give_up_ms = 60000 })
        w:post("m1", "ops")
        w:done("ops", "m1", "AGAIN", { retry_after_ms = 3600000 })
        w:run(59000)
        assert.equal(1, w:waiting())
        w:run(2000)
        assert.equal(0, w:waiting())
        assert.same({}, w:disk())
        assert.equal("ops m1 dropped: it could not be delivered for too long", w:facts()[2])
    end)

    it("drops the oldest when too many wait", function()
        local w = World.new(ops())
        for i = 1, 1003 do
            w:post("m" .. i, "ops", { group = "g" .. i })
        end
        w:run(100)
        assert.equal(1000, w:figures().ops.waiting)
        assert.equal(3, w:figures().ops.dropped)
        assert.is_table(w:disk()["m1 ops"]) -- it is being tried
        assert.is_nil(w:disk()["m2 ops"])
    end)

    it("tells of failures once, and of the end of them", function()
        local w = World.new(ops())
        w:post("m1", "ops")
        w:done("ops", "m1", "AGAIN", { text = "answered 500" })
        w:run(3000)
        w:done("ops", "m1", "AGAIN", { text = "answered 500" })
        w:run(6000)
        w:done("ops", "m1", "SENT")
        assert.same({ "ops m1 not delivered: answered 500", "ops m1 delivers again" }, w:facts())
    end)

    it("does not tell addresses again that took it", function()
        local w = World.new(ops())
        w:post("m1", "ops")
        w:tries()
        w:done("ops", "m1", "AGAIN", { reached = 2 })
        w:run(1100)
        assert.equal(2, w:tries()[1].reached)
    end)
end)

describe("outbox: channels", function()
    it("keeps to the rate", function()
        local w = World.new(ops { rate = { per_minute = 60, burst = 3 } })
        for i = 1, 10 do
            w:post("m" .. i, "ops")
        end
        local sent = 0
        local function pump()
            for _, try in ipairs(w:tries()) do
                sent = sent + 1
                w:done("ops", try.message.id, "SENT")
            end
        end
        for _ = 1, 5 do
            pump()
        end
        assert.equal(3, sent)
        for _ = 1, 31 do
            w:run(100)
            pump()
        end
        assert.equal(6, sent)
    end)

    it("drops what waits for a channel that is gone", function()
        local w = World.new { World.channel "ops", World.channel "page" }
        w:add(World.message "m1")
        w:decide("m1", "ops", "page")
        w:add(World.message "m2")
        w:decide("m2", "ops", "page")
        w:facts()
        w:apply { World.channel "page" }
        assert.is_table(w:disk()["m1 ops"]) -- it is being tried
        assert.is_nil(w:disk()["m2 ops"])
        w:done("ops", "m1", "AGAIN")
        assert.is_nil(w:disk()["m1 ops"])
        assert.is_nil(w:figures().ops)
        assert.equal(2, w:figures().page.waiting)
    end)

    it("drops it after a restart, too", function()
        local w = World.new { World.channel "ops" }
        w:post("m1", "ops")
        w.config = '{"channels":[]}'
        w:restart()
        assert.same({}, w:disk())
    end)

    it("tries again at once when it was configured anew", function()
        local w = World.new(ops())
        w:post("m1", "ops")
        w:done("ops", "m1", "AGAIN", { retry_after_ms = 3600000, unreached = true })
        w:apply(ops())
        assert.equal(0, w:figures().ops.rests_ms)
    end)

    it("tries a test at once and once, whatever the channel does", function()
        local w = World.new(ops { rate = { per_minute = 0.01, burst = 1 } })
        local cjson = require "cjson"
        local function test(id)
            return C.outbox_world_test(w.w, "ops", cjson.encode(World.message(id)))
        end
        w:post("m1", "ops")
        assert.equal("m1", w:tried())
        assert.equal(0, test "t1")
        assert.equal("", w:tried()) -- one try at a time
        assert.equal(-16, test "t2")
        w:done("ops", "m1", "AGAIN", { retry_after_ms = 3600000 })
        assert.equal("t1", w:tried())
        w:done("ops", "t1", "AGAIN")
        w:run(5000)
        assert.equal("", w:tried())
        assert.equal(1, w:figures().ops.failed)
        assert.equal(1, w:waiting())
        assert.equal(-2, C.outbox_world_test(w.w, "nobody", cjson.encode(World.message "t3")))
        assert.is_nil(w:disk()["t1 ops"])
    end)
end)
