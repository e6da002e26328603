-- The circuit as a state machine: explicit time, several workers taking turns.
local C, ffi = require("ffi_room").load("board/board.h", "board/circuit.h")

local WORKERS, SLOT = 3, 9
local CHANGES = {
    [0] = "", [C.BOARD_CHANGE_OPENED] = "opened", [C.BOARD_CHANGE_TRIED] = "tried",
    [C.BOARD_CHANGE_REOPENED] = "reopened", [C.BOARD_CHANGE_CLOSED] = "closed", [C.BOARD_CHANGE_EJECTED] = "ejected",
    [C.BOARD_CHANGE_RETURNED] = "returned",
}

describe("board/circuit", function()
    local b, c, rule, now

    before_each(function()
        local out = ffi.new "struct board *[1]"
        assert.equal(0, C.board_new(WORKERS, out))
        b = ffi.gc(out[0], C.board_free)
        c = C.board_circuit(b, SLOT)
        rule = ffi.new("struct board_rule", {
            failure_threshold = 5, success_threshold = 3, trials = 1, minimum_requests = 20, window_ms = 10000,
            recovery_ms = 60000, failure_rate = 0.5,
        })
        now = 1000000
    end)

    -- A ticket, or nil when it is not let through; and what that changed.
    local function enter()
        local ticket, change = ffi.new "struct board_ticket[1]", ffi.new "enum board_change[1]"
        local admits = C.board_circuit_admits(c, rule, now)
        local through = C.board_circuit_enter(c, rule, now, ticket, change)
        assert.equal(admits, through)
        return through and ticket or nil, CHANGES[tonumber(change[0])]
    end

    local function result(ticket, failed, worker)
        return CHANGES[tonumber(C.board_circuit_result(b, worker or 0, SLOT, rule, failed, now, ticket))]
    end

    local function state()
        return ffi.string(C.board_circuit_name(C.board_circuit_state(c)))
    end

    -- Runs requests one after the other: "f" failed, "s" succeeded, by the workers in turn.
    local function run(results)
        local changes = ""
        for i = 1, #results do
            changes = changes .. result(assert((enter())), results:sub(i, i) == "f", i % WORKERS)
        end
        return changes
    end

    it("counts up on failure, down on success, over all workers", function()
        for _, case in ipairs {
            { "ffff", 4, "closed" }, { "fffff", 5, "open" },
            { "ffsffsff", 4, "closed" }, { "ffsffsfff", 5, "open" },
            { "sssssfff", 3, "closed" }, -- successes are not saved up
        } do
            C.board_slot_reset(b, SLOT)
            run(case[1])
            assert.equal(case[2], tonumber(c.failures), case[1])
            assert.equal(case[3], state(), case[1])
        end
    end)

    it("does not open on volume: one in five fails for ever", function()
        for _ = 1, 2000 do
            run "fssss"
            now = now + 5
        end
        for _ = 1, 4 do
            run "ffffssssssssssssssss" -- the count comes near, again and again
            now = now + 50
        end
        assert.equal("closed", state())
        assert.equal(0, tonumber(c.opened))
    end)

    it("opens by the rate alone with enough requests, whatever the count", function()
        assert.equal("", run(("sf"):rep(9) .. "s")) -- 19 of them, count never above 1
        assert.equal("opened", run "f")
        assert.equal("open", state())
    end)

    it("opens when all fails in a row, whatever good answers lie behind it", function()
        run(("s"):rep(1000))
        assert.equal("", run(("f"):rep(9)))
        assert.equal("opened", run "f") -- 0.5 ^ 10 is less than 1/1000
    end)

    it("begins a row anew with every success, and knows none at a rate of 1", function()
        run(("s"):rep(1000))
        for _ = 1, 20 do
            assert.equal("", run "fffffffffs")
        end
        rule.failure_rate = 1
        assert.equal("", run(("f"):rep(200)))
        assert.equal("closed", state())
    end)

    it("forgets what is older than the window", function()
        run(("s"):rep(100))
        assert.equal("", run "fffff") -- 5 of 105
        now = now + 11000
        assert.equal("opened", run "f") -- count 6, and all of the window
    end)

    it("lets nobody through while open, and what comes late prolongs nothing", function()
        local late = {}
        for i = 1, 3 do
            late[i] = enter()
        end
        run "fffff"
        now = now + 59999
        assert.is_nil((enter()))
        assert.equal("", result(late[1], true))
        assert.equal("", result(late[2], false))
        assert.equal("open", state())
        now = now + 1
        local trial, change = enter()
        assert.equal("tried", change)
        assert.equal("", result(late[3], true)) -- nor does it count as a trial
        assert.equal("half-open", state())
        assert.equal("", result(trial, false))
    end)

    it("admits `trials` at a time, closes after enough, opens again at the first failure", function()
        rule.trials = 2
        run "fffff"
        now = now + 60000
        local one, two = enter(), enter()
        assert.is_nil((enter()))
        assert.equal("", result(one, false, 1))
        local three = enter()
        assert.is_nil((enter()))
        assert.equal("", result(two, false, 2))
        assert.equal("closed", result(three, false, 0))
        assert.equal("closed", state())
        assert.equal(0, tonumber(c.failures))
        assert.equal("opened", run "fffff")
        now = now + 60000
        local first, second = enter(), enter()
        assert.equal("reopened", result(first, true))
        assert.equal("", result(second, true)) -- of an older state
        assert.is_nil((enter()))
        assert.equal(3, tonumber(c.opened))
        now = now + 60000
        assert.is_truthy((enter()))
    end)

    it("makes each change once, whoever comes first", function()
        local tickets = {}
        for i = 1, 12 do
            tickets[i] = enter()
        end
        local changes = ""
        for i = 1, 12 do
            changes = changes .. result(tickets[i], true, i % WORKERS)
        end
        assert.equal("opened", changes)
        assert.equal(1, tonumber(c.opened))
    end)

    it("gives a place back that came to nothing, and one whose worker died", function()
        run "fffff"
        now = now + 60000
        local trial = enter()
        assert.is_nil((enter()))
        C.board_circuit_leave(c, trial)
        local lost = enter()
        assert.is_truthy(lost)
        now = now + 59999
        assert.is_nil((enter()))
        now = now + 1
        local next_one = enter()
        assert.is_truthy(next_one)
        assert.is_nil((enter()))
        assert.equal("", result(lost, true)) -- it was alive after all: too late
        assert.equal("half-open", state())
        assert.equal("", result(next_one, false))
    end)

    it("counts a ticket once", function()
        local ticket = enter()
        result(ticket, true)
        result(ticket, true)
        assert.equal(1, tonumber(c.failures))
    end)

    it("doubles ejections in succession, and forgives", function()
        local function eject()
            return CHANGES[tonumber(C.board_circuit_eject(c, 30000, 300000, now))]
        end
        local function spell()
            return tonumber(c.until_ms) - now
        end
        local function heal()
            now = tonumber(c.until_ms)
            assert.matches("returned$", run "sss")
            assert.equal("closed", state())
        end
        for _, want in ipairs { 30000, 60000, 120000, 240000, 300000, 300000 } do
            assert.equal("ejected", eject())
            assert.equal("", eject())
            assert.equal(want, spell())
            heal()
        end
        now = now + 30000 * 4
        assert.equal("ejected", eject())
        assert.equal(120000, spell()) -- six less four
        heal()
        now = now + 30000 * 40
        eject()
        assert.equal(30000, spell())
        assert.equal(8, tonumber(c.ejected))
        assert.equal(0, tonumber(c.opened))
    end)

    it("begins anew with its slot, and when its backend does", function()
        run "fffff"
        assert.equal(C.BOARD_CHANGE_CLOSED, C.board_circuit_reset(b, SLOT))
        assert.equal("closed", state())
        assert.equal(C.BOARD_CHANGE_NONE, C.board_circuit_reset(b, SLOT))
        C.board_circuit_eject(c, 30000, 300000, now)
        assert.equal(C.BOARD_CHANGE_RETURNED, C.board_circuit_reset(b, SLOT))
        assert.equal("", run "ffff")
        assert.equal(1, tonumber(c.opened))
        C.board_slot_reset(b, SLOT)
        assert.equal(0, tonumber(c.opened))
        assert.equal("", run "ffff")
    end)

    it("reserves places: never more than allowed over all workers", function()
        for _ = 1, 2 do
            assert.is_true(C.board_reserve(b, 0, SLOT, 3))
        end
        assert.is_true(C.board_reserve(b, 1, SLOT, 3))
        assert.is_false(C.board_reserve(b, 1, SLOT, 3))
        assert.is_false(C.board_reserve(b, 2, SLOT, 3))
        assert.equal(3, tonumber(C.board_in_flight(b, SLOT)))
        assert.is_true(C.board_reserve(b, 2, SLOT, 0))
        C.board_worker_reset(b, 0)
        assert.is_true(C.board_reserve(b, 1, SLOT, 3))
    end)
end)
