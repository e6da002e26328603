-- The load that a daemon recorded, read from its files when it does not run.
local room = require "store_room"
local C, ffi = require("ffi_room").load("base/mem.h", "sim/sim.h", "commands/recorded.h")

local FROM = 1769860800000 -- a minute begins

describe("commands/recorded", function()
    local base

    before_each(function()
        base = room.directory()
    end)

    after_each(function()
        room.remove(base)
    end)

    -- A history of samples at every 5 s: of(i) -> rate, up, cpu; nothing where it is nil.
    local function record(cluster, count, of)
        os.execute(("mkdir -p '%s/%s'"):format(base, cluster))
        local s, samples = assert(room.open(base .. "/" .. cluster .. "/history", { days = 3650 })), 0
        for i = 0, count - 1 do
            for n, value in ipairs { of(i) } do
                s:sample("shop", "", ({ "rate", "up", "cpu_percent" })[n], FROM + i * 5000, value)
                samples = samples + 1
            end
        end
        s:taken(samples)
        s:close()
    end

    local function read(o)
        local place, r, why = ffi.new "struct recorded_place", ffi.new "struct recorded", ffi.new "char *[1]"
        place.state_dir, place.cluster = base, o.cluster
        local from_ms = FROM + (o.from_s or 0) * 1000
        local code = (o.about and C.recorded_about or C.recorded_read)(place, o.service or "shop", from_ms, from_ms + (o.length_s or 3600) * 1000, r, why)
        if code ~= 0 then
            local text = ffi.string(why[0])
            C.mem_free(why[0])
            return nil, text
        end
        return ffi.gc(r, C.recorded_free)
    end

    it("gives rows and capacity", function()
        record("c", 400, function(i)
            return 100 + i, 2, (100 + i) / 2 / 250 * 100 -- of 250 requests/s each
        end)
        local r = read {}
        assert.equal(FROM, tonumber(r.from_ms))
        assert.equal(FROM + 399 * 5000, tonumber(r.to_ms))
        assert.equal(399, tonumber(r.trace.count))
        assert.equal(100, r.trace.rate[0])
        assert.equal(300, r.trace.rate[200])
        assert.near(250, r.capacity, 0.01)
        local about = read { about = true }
        assert.near(250, about.capacity, 0.01)
        assert.equal(0, tonumber(about.trace.count))
        assert.equal(0, r.gap_s)
        r = read { from_s = 500, length_s = 100 }
        assert.equal(200, r.trace.rate[0])
        assert.equal(FROM + 595000, tonumber(r.to_ms))
    end)

    it("leads a line over gaps and tells of them, and learns nothing from little", function()
        record("c", 100, function(i)
            if i < 20 or i >= 80 then
                return 10, 1, 1
            end
        end)
        local r = read {}
        assert.equal(99, tonumber(r.trace.count))
        assert.equal(10, r.trace.rate[50])
        assert.equal(300, r.gap_s)
        assert.equal(0, r.capacity)
    end)

    it("reads long times in steps of minutes", function()
        record("c", 3000, function(i)
            return i
        end)
        local r = read { length_s = 30 * 86400 }
        assert.equal(FROM, tonumber(r.from_ms))
        assert.equal(250, tonumber(r.trace.row_count))
        assert.near(5.5, r.trace.rows[0], 0.05) -- the mean of the first minute
    end)

    it("finds the only cluster, or says which there are", function()
        local _, why = read {}
        assert.matches("^no history is kept below ", why)
        record("c", 10, function() return 1 end)
        assert.is_truthy(read {})
        _, why = read { service = "other" }
        assert.matches("^nothing was recorded of other between [%d-]+ [%d:]+ and [%d-]+ [%d:]+: `tidegate history other", why)
        _, why = read { length_s = 10 }
        assert.matches("^too little was recorded of shop between .*: the load of 5 s, where 10 are needed$", why)
        _, why = read { from_s = 100 }
        assert.matches("^nothing was recorded of shop ", why)
        record("d", 10, function() return 1 end)
        _, why = read {}
        assert.matches("holds the history of several clusters %(.*%): choose one with %-%-cluster", why)
        assert.is_truthy(read { cluster = "d" })
        _, why = read { cluster = "e" }
        assert.matches("^no history is kept below .* of cluster e$", why)
        _, why = read { cluster = "../c" }
        assert.matches("^no history is kept", why)
    end)

    it("says when another process has it, and deletes nothing", function()
        record("c", 10, function() return 1 end)
        local s = assert(room.open(base .. "/c/history", {}))
        local _, why = read {}
        assert.matches("in use by another process", why)
        s:close()
        assert.is_truthy(read {})
        assert.is_truthy(read {})
    end)
end)
