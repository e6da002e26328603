-- kill -9 at any moment: what was told to be durable is there, batches are whole, opening is quick.
local room = require "store_room"
local ffi = room.ffi

ffi.cdef "int kill(int pid, int signal);"

local KILLS = 50

describe("a store whose process is killed", function()
    local dir

    before_each(function()
        dir = room.directory()
    end)

    after_each(function()
        room.remove(dir)
    end)

    -- Runs the victim until it has said `words` words that it is durable; what it said, the pipe to its end.
    local function kill_after(words)
        local pipe = assert(io.popen(room.script("victim", dir)))
        local pid = tonumber(pipe:read("*l"):match "^pid (%d+)$")
        local open_ms = tonumber(pipe:read("*l"):match "^open_ms (%d+)$")
        local acknowledged, at_ms = 0, room.now()
        local heard = 0
        for line in pipe:lines() do
            local n, at = line:match "^durable (%d+) (%d+)$"
            -- The last line may be cut off by the kill.
            if n then
                acknowledged, at_ms = tonumber(n), tonumber(at)
            end
            heard = heard + 1
            if heard == words then
                -- Not always just behind a transaction.
                local until_us = room.C.clock_now_us() + math.random(0, 4000)
                while room.C.clock_now_us() < until_us do -- luacheck: ignore 542
                end
                ffi.C.kill(pid, 9)
            end
        end
        pipe:close()
        assert.is_true(heard >= words, "the victim ended by itself")
        return acknowledged, at_ms, open_ms
    end

    local function check(acknowledged)
        local store = assert(room.open(dir))
        local figures = store:figures()
        local counter = tonumber(store:documents("counter").n)
        assert.is_true(counter >= acknowledged, ("acknowledged %d, there are %d"):format(acknowledged, counter))
        -- From the newest back to the first: none is missing, and the document is of the same transaction.
        local expected, before = counter, nil
        repeat
            local rows = store:events { before = before, limit = 500 }
            for _, row in ipairs(rows) do
                assert.equal(tostring(expected), row.subject)
                expected = expected - 1
                before = row.sequence
            end
        until #rows == 0
        assert.equal(0, expected)
        assert.same({}, store:notices())
        store:close()
        return tonumber(figures.open_ms)
    end

    it(("loses no acknowledged event over %d kills, and opens within a second"):format(KILLS), function()
        math.randomseed(os.time())
        local total, slowest = 0, 0
        for round = 1, KILLS do
            local acknowledged, _, open_ms = kill_after(math.random(1, 60))
            -- A look at all of them after each kill would measure the looking.
            if round % 5 == 0 then
                slowest = math.max(slowest, check(acknowledged))
            else
                local store = assert(room.open(dir))
                assert.is_true(tonumber(store:documents("counter").n) >= acknowledged)
                slowest = math.max(slowest, tonumber(store:figures().open_ms), open_ms)
                store:close()
            end
            total = acknowledged
        end
        assert.is_true(total > KILLS)
        assert.is_true(slowest < 1000, "opening took " .. slowest .. " ms")
    end)

    it("loses at most the last two seconds of samples", function()
        -- Long enough for some rounds of the writer.
        local _, at_ms = kill_after(2000)
        local store = assert(room.open(dir))
        local points = store:samples({ service = "kill", instance = "", metric = "clock", from_ms = at_ms - 600000,
            to_ms = at_ms + 600000 })[" clock"]
        assert.is_truthy(points, "no sample is left")
        assert.is_true(at_ms - points[1].last < 2000, ("%d ms are missing"):format(at_ms - points[1].last))
        assert.is_true(points[1].count > 10)
        store:close()
    end)
end)
