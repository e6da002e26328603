-- Samples: each is found exactly once, wherever it is: in memory, in the journal, in a day's file or
-- only as part of a roll-up.
local room = require "store_room"
local C = room.C

local DAY = 86400000
local MINUTE = 60000

describe("samples", function()
    local dir, store, today

    before_each(function()
        dir = room.directory()
        store = room.open(dir)
        today = room.now() - room.now() % DAY
    end)

    after_each(function()
        if store then
            store:close()
        end
        room.remove(dir)
    end)

    -- One sample each `every` ms: value = number of the sample.
    local function fill(metric, from, count, every)
        local before = tonumber(store:figures().samples)
        for i = 0, count - 1 do
            store:sample("catalog", "", metric, from + i * every, i)
        end
        store:taken(before + count)
    end

    local function total(points)
        local count, sum = 0, 0
        for _, p in ipairs(points or {}) do
            count = count + p.count
            sum = sum + p.mean * p.count
        end
        return count, math.floor(sum + 0.5)
    end

    local function ask(metric, from, to, step)
        return store:samples({ service = "catalog", instance = "", metric = metric, from_ms = from, to_ms = to,
            step_ms = step })[" " .. metric]
    end

    local function chunks(count)
        store:wait(function()
            return tonumber(store:figures().chunks) >= count
        end, "chunks are not written")
    end

    it("in memory are found at once", function()
        fill("rate", today, 10, 1000)
        local points = ask("rate", today, today + DAY, 5000)
        assert.same({
            { at_ms = today, min = 0, max = 4, mean = 2, last = 4, count = 5 },
            { at_ms = today + 5000, min = 5, max = 9, mean = 7, last = 9, count = 5 },
        }, points)
        assert.same({ { at_ms = today, min = 0, max = 9, mean = 4.5, last = 9, count = 10 } },
            ask("rate", today, today + DAY, 0))
    end)

    it("are counted once by samples and by roll-ups, half of them in files and half in memory", function()
        local from = today - DAY
        fill("rate", from, 5000, 1000)
        chunks(5000 / 120 - 1)
        for _, step in ipairs { 1000, 7000, MINUTE, 10 * MINUTE, DAY } do
            local count, sum = total(ask("rate", from, from + DAY, step))
            assert.equal(5000, count, "step " .. step)
            -- A roll-up's mean is one of 256 places.
            local off = math.abs(sum - 4999 * 2500) / (4999 * 2500)
            assert.is_true(off <= (step % MINUTE == 0 and 0.001 or 0), "step " .. step)
        end
        local points = ask("rate", from, from + DAY, MINUTE)
        local p = points[11]
        assert.same({ from + 10 * MINUTE, 600, 659, 659, 60 }, { p.at_ms, p.min, p.max, p.last, p.count })
        assert.is_true(math.abs(p.mean - 629.5) < 0.12)
    end)

    it("are cut to the range that is asked for", function()
        fill("rate", today - DAY, 3000, 1000)
        local from = today - DAY
        assert.equal(100, (total(ask("rate", from + 1500000, from + 1600000, 1000))))
        assert.equal(60, (total(ask("rate", from + 25 * MINUTE, from + 26 * MINUTE, MINUTE))))
        assert.is_nil(ask("rate", from + 3000000, from + DAY, 1000))
        assert.is_nil(ask("other", from, from + DAY, 1000))
    end)

    it("stand in the file of their day, and are found over midnight", function()
        fill("rate", today - 100 * 5000, 200, 5000)
        fill("rate", today + 100 * 5000, 130, 5000)
        chunks(2)
        assert.is_truthy(room.files(dir):find(os.date("!samples-%Y%m%d.db", (today - DAY) / 1000), 1, true))
        assert.equal(330, (total(ask("rate", today - DAY, today + DAY, 5000))))
        assert.equal(330, (total(ask("rate", today - DAY, today + DAY, MINUTE))))
    end)

    it("of many series do not mix", function()
        for i = 1, 40 do
            for at = 0, 150 do
                store:sample("catalog", "catalog-" .. i, "cpu", today - DAY + at * 5000, i)
            end
            store:sample("orders", "orders-" .. i, "cpu", today - DAY, 1000)
        end
        store:taken(40 * 152)
        local map = store:samples { service = "catalog", metric = "cpu", from_ms = today - DAY, to_ms = today }
        for i = 1, 40 do
            assert.same({ { at_ms = today - DAY, min = i, max = i, mean = i, last = i, count = 151 } },
                map["catalog-" .. i .. " cpu"])
        end
        assert.is_nil(map["orders-1 cpu"])
        assert.is_truthy(store:samples({ service = "catalog", from_ms = today - DAY, to_ms = today })["catalog-7 cpu"])
    end)

    it("that are unknown, twice or late are left out, after the clock was set back they go on", function()
        store:sample("catalog", "", "x", today + 100000, 1)
        store:sample("catalog", "", "x", today + 100000, 2)
        store:sample("catalog", "", "x", today + 99999, 3)
        store:sample("catalog", "", "x", today + 100001, 0 / 0)
        store:sample("catalog", "", "x", today + 100001, 1 / 0)
        store:sample("catalog", "", "x", today + 1000, 5)
        store:sample("catalog", "", "x", today + 2000, 6)
        store:taken(3)
        local points = ask("x", today, today + DAY, 1000)
        local seen = {}
        for _, p in ipairs(points) do
            seen[#seen + 1] = p.last
        end
        assert.same({ 5, 6, 1 }, seen)
        assert.equal(2, tonumber(store:figures().samples_lost))
    end)

    it("survive a restart without becoming a chunk, and go on", function()
        local from = room.now() - 60000
        fill("rate", from, 25, 1000)
        store:close()
        store = room.open(dir)
        assert.equal(25, (total(ask("rate", from, from + DAY, 5000))))
        assert.equal(0, tonumber(store:figures().chunks))
        store:sample("catalog", "", "rate", from + 25000, 25)
        store:taken(1)
        assert.equal(26, (total(ask("rate", from, from + DAY, 5000))))
    end)

    it("of a series that has ended stay, and its number is given to another", function()
        fill("rate", today, 20, 1000)
        local slot = store.slots["catalog\0\0rate"]
        C.store_series_end(store.store, slot)
        assert.equal(slot, C.store_series(store.store, "orders", "", "rate"))
        C.store_sample(store.store, slot, today, 77)
        store:taken(21)
        assert.equal(20, (total(ask("rate", today, today + DAY, 1000))))
        local other = store:samples { service = "orders", from_ms = today, to_ms = today + DAY }
        assert.equal(77, other[" rate"][1].last)
        store:close()
        store = room.open(dir)
        assert.equal(20, (total(ask("rate", today, today + DAY, 1000))))
    end)

    it("older than is kept go, their roll-ups stay", function()
        local from = today - 5 * DAY
        fill("rate", from, 600, 5000)
        fill("rate", today - DAY, 600, 5000)
        chunks(9)
        store:close()
        store = room.open(dir, { days = 3 })
        store:wait(function()
            return store:noticed(C.STORE_EXPIRED)
        end, "nothing is deleted")
        assert.is_nil(room.files(dir):find(os.date("!samples-%Y%m%d.db", from / 1000), 1, true))
        assert.is_truthy(room.files(dir):find(os.date("!samples-%Y%m%d.db", (today - DAY) / 1000), 1, true))
        -- Also asked for by seconds: minutes are what is left.
        local points = ask("rate", from, from + DAY, 1000)
        assert.is_true(total(points) >= 480 and points[1].count == 12)
        assert.is_true(total(ask("rate", from, today, MINUTE)) >= 1080)
    end)

    it("more than there is place for go, the oldest first", function()
        for back = 4, 1, -1 do
            for i = 0, 4000 do
                store:sample("catalog", "", "noise", today - back * DAY + i * 5000, (i * 7919 % 10007) / 7)
            end
        end
        store:taken(16000)
        chunks(120)
        store:close()
        local function day(back)
            return os.date("!samples-%Y%m%d.db", (today - back * DAY) / 1000)
        end
        local size = assert(io.open(dir .. "/" .. day(4))):seek "end"
        local all = tonumber(io.popen(("cat '%s'/*.db* | wc -c"):format(dir)):read "*n")
        store = room.open(dir, { bytes = all - size })
        store:wait(function()
            return store:noticed(C.STORE_EXPIRED)
        end, "nothing is deleted")
        assert.is_truthy(store:noticed(C.STORE_EXPIRED):find(day(4) .. " was deleted: more bytes", 1, true))
        assert.is_nil(room.files(dir):find(day(4), 1, true))
        assert.is_truthy(room.files(dir):find(day(1), 1, true))
        assert.is_true(total(ask("noise", today - 4 * DAY, today, MINUTE)) >= 15800)
    end)

    it("are found beside a day's file that has just been made and has no tables yet", function()
        fill("rate", today, 10, 1000)
        assert(io.open(dir .. "/" .. os.date("!samples-%Y%m%d.db", today / 1000), "w")):close()
        assert.equal(10, total(ask("rate", today, today + DAY, 1000)))
    end)

    it("a damaged day is moved aside and the samples go on", function()
        fill("rate", today, 300, 1000)
        chunks(1)
        store:close()
        local name = dir .. "/" .. os.date("!samples-%Y%m%d.db", today / 1000)
        local file = assert(io.open(name, "r+b"))
        file:write(("garbage!"):rep(2048))
        file:close()
        store = room.open(dir)
        fill("rate", today + 300000, 300, 1000)
        store:wait(function()
            return store:noticed(C.STORE_DAMAGED)
        end, "nothing is said")
        assert.is_true(total(ask("rate", today, today + DAY, 1000)) >= 300)
    end)

    it("questions that make no sense or are too many are refused", function()
        local ffi = room.ffi
        local function range(from, to, step)
            return C.storeseen_samples(store.seen, ffi.new("struct store_range",
                { service = "catalog", from_ms = from, to_ms = to, step_ms = step }))
        end
        assert.equal(-22, range(10, 10, 1))
        assert.equal(-22, range(0, 1e12, 1000))
        local rc, asked = 0, 0
        while rc == 0 and asked < 10000 do
            rc = range(0, 1e6, 1000)
            asked = asked + 1
        end
        assert.equal(-16, rc)
    end)
end)
