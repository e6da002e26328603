-- Events and documents: what is durable is there again, in order, whatever happened to the file.
local room = require "store_room"
local C, ffi = room.C, room.ffi

ffi.cdef [[
typedef struct sqlite3 sqlite3;
int sqlite3_open(const char *path, sqlite3 **ret);
int sqlite3_exec(sqlite3 *db, const char *text, void *fn, void *arg, char **reterr);
int sqlite3_close(sqlite3 *db);
]]
local sqlite = ffi.load "libsqlite3.so.0"

local function run_sql(path, text)
    local db = ffi.new "sqlite3 *[1]"
    assert(sqlite.sqlite3_open(path, db) == 0)
    assert(sqlite.sqlite3_exec(db[0], text, nil, nil, nil) == 0, "not run: " .. text)
    sqlite.sqlite3_close(db[0])
end

describe("events and documents", function()
    local dir, store
    local start = room.now() - 1000000

    before_each(function()
        dir = room.directory()
        store = room.open(dir)
    end)

    after_each(function()
        if store then
            store:close()
        end
        room.remove(dir)
    end)

    local function again(options)
        store:close()
        store = nil
        local opened, text, rc = room.open(dir, options)
        store = opened
        return opened, text, rc
    end

    it("come back newest first, with everything that was said", function()
        store:event("deploy", { service = "catalog", subject = "catalog-7", what = "began", who = "uid 0", detail = "{}",
            bad = true, wall_ms = start })
        store:durable(store:event("alert", { service = "orders", wall_ms = start + 1 }))
        local rows = store:events()
        assert.same({ 2, 1 }, { rows[1].sequence, rows[2].sequence })
        assert.same({ sequence = 1, wall_ms = start, kind = "deploy", service = "catalog", subject = "catalog-7",
            what = "began", who = "uid 0", detail = "{}", bad = true }, rows[2])
        assert.same({ "", false }, { rows[1].who, rows[1].bad })
    end)

    it("are found by kind, service, subject, time and sequence", function()
        local last
        for i = 1, 100 do
            last = store:event(i % 2 == 0 and "decision" or i % 3 == 0 and "deploy" or "circuit",
                { service = "s" .. i % 5, subject = "s-" .. i, wall_ms = start + 1000 * i })
        end
        store:durable(last)
        local function count(filter)
            return #(store:events(filter))
        end
        assert.equal(50, count { kind = "decision" })
        assert.equal(67, count { kind = "decision,deploy" })
        assert.equal(20, count { service = "s3" })
        assert.equal(10, count { service = "s3", kind = "decision" })
        assert.equal(1, count { subject = "s-77" })
        assert.equal(11, count { since_ms = start + 90000 })
        assert.equal(10, count { since_ms = start + 80000, to_ms = start + 90000 })
        assert.equal(0, count { kind = "x' OR 1=1 --" })
        local page = store:events { limit = 7 }
        assert.equal(94, page[7].sequence)
        assert.equal(93, store:events({ before = page[7].sequence, limit = 7 })[1].sequence)
    end)

    it("keep their order and rise over restarts", function()
        store:durable(store:event "reload")
        assert.is_truthy(again())
        local sequence = store:event "reload"
        assert.equal(2, sequence)
        C.store_put(store.store, "hold", "a", "1")
        again()
        assert.equal(4, store:event "reload")
    end)

    it("documents are replaced, removed, and there at the next start", function()
        C.store_put(store.store, "silence", "a", '{"n":1}')
        C.store_put(store.store, "silence", "b", '{"n":2}')
        C.store_put(store.store, "hold", "a", '{"n":3}')
        C.store_put(store.store, "silence", "a", '{"n":4}')
        store:durable(tonumber(C.store_remove(store.store, "silence", "b")))
        again()
        assert.same({ a = '{"n":4}' }, store:documents "silence")
        assert.same({ a = '{"n":3}' }, store:documents "hold")
        assert.same({}, store:documents "outbox")
    end)

    it("can be read by their owner alone, whatever the directory lets in", function()
        C.store_put(store.store, "acme", "key", '"a private key"')
        store:durable(store:event "reload")
        local function modes()
            local pipe = io.popen(("chmod 755 '%s'; stat -c '%%n %%a' '%s'/*.db* | sed 's,.*/,,'"):format(dir, dir))
            local text = pipe:read "*a"
            pipe:close()
            assert.matches("events.db 600\n", text)
            assert.matches("events.db%-wal 600\n", text)
            assert.not_matches(" [0-7]*[1-7][0-7]?\n", (text:gsub(" 600\n", "\n")))
        end
        modes()
        os.execute(("chmod 644 '%s'/*.db*"):format(dir))
        again()
        C.store_put(store.store, "acme", "key", '"another"')
        store:durable(store:event "reload")
        modes()
    end)

    it("what is queued when it closes is written", function()
        for _ = 1, 3000 do
            store:event "decision"
        end
        again()
        local _, told = store:events { limit = 0 }
        assert.equal(3000, told)
    end)

    it("a full queue refuses and says so, and loses nothing that it took", function()
        local taken, refused = 0, 0
        -- One batch, so that the writer does not get any of it yet.
        C.store_batch_begin(store.store)
        for _ = 1, C.STORE_EVENTS_QUEUED + 10 do
            if store:event "decision" > 0 then
                taken = taken + 1
            else
                refused = refused + 1
            end
        end
        C.store_batch_commit(store.store)
        assert.same({ C.STORE_EVENTS_QUEUED, 10 }, { taken, refused })
        store:durable(taken)
        assert.is_truthy(store:noticed(C.STORE_EVENTS_LOST))
        assert.equal(10, tonumber(store:figures().events_lost))
        assert.equal(taken + 1, store:event "decision")
    end)

    it("a directory has one store", function()
        local other, text = room.open(dir)
        assert.is_nil(other)
        assert.is_truthy(text:find("in use by another process", 1, true))
    end)

    it("a directory that cannot be made is told", function()
        local other, text = room.open "/proc/none/here"
        assert.is_nil(other)
        assert.is_truthy(text:find("/proc/none/here cannot be made", 1, true))
    end)

    it("are removed when they are old", function()
        store:event("decision", { wall_ms = room.now() - 3 * 86400000 })
        store:durable(store:event "decision")
        again { event_days = 2 }
        store:wait(function()
            return #(store:events()) == 1
        end, "the old event stays")
    end)

    describe("in a file", function()
        local path

        local function closed_with(events)
            for i = 1, events do
                C.store_put(store.store, "hold", "key" .. i % 10, tostring(i))
                store:event("decision", { service = "s" .. i, what = ("x"):rep(50) })
            end
            store:close()
            store = nil
            path = dir .. "/events.db"
        end

        local function overwrite(at, bytes)
            local file = assert(io.open(path, "r+b"))
            file:seek("set", at)
            file:write(bytes)
            file:close()
        end

        local function open_damaged()
            store = assert(room.open(dir))
            store:wait(function()
                return store:noticed(C.STORE_DAMAGED)
            end, "nothing is said")
            assert.is_truthy(room.files(dir):find("events.db.damaged-", 1, true))
            return store:noticed(C.STORE_DAMAGED)
        end

        it("that is no database are moved aside, and it goes on", function()
            closed_with(10)
            overwrite(0, ("garbage!"):rep(1000))
            assert.is_truthy(open_damaged():find("0 events and 0 documents", 1, true))
            store:durable(store:event "decision")
            assert.equal(1, #(store:events()))
        end)

        it("with a bad page are saved but for that page, and numbers do not come twice", function()
            closed_with(2000)
            -- In the middle of the events' pages.
            overwrite(4096 * 40, ("\255"):rep(4096))
            local said = open_damaged()
            local _, told = store:events { limit = 0 }
            assert.is_true(told >= 1800, said)
            local count = 0
            for key in pairs(store:documents "hold") do
                count = count + (key:find "^key%d$" and 1 or 0)
            end
            assert.equal(10, count)
            assert.is_true(store:event "decision" > 4000)
        end)

        it("of an older version are brought up to date", function()
            closed_with(5)
            run_sql(path, "DROP INDEX event_service; DROP INDEX event_kind; DROP INDEX event_time; PRAGMA user_version=1;")
            store = assert(room.open(dir))
            assert.equal(5, #(store:events()))
            assert.equal(1, #(store:events { service = "s3" }))
            store:close()
            store = nil
            -- Fails when an index is missing.
            run_sql(path, "DROP INDEX event_service; DROP INDEX event_kind; DROP INDEX event_time;")
        end)

        it("of a newer version are left alone", function()
            closed_with(1)
            run_sql(path, "PRAGMA user_version=99")
            local opened, text = room.open(dir)
            assert.is_nil(opened)
            assert.is_truthy(text:find("written by a newer tidegate", 1, true))
        end)
    end)
end)
