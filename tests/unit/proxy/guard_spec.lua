-- The data plane over real sockets: circuits, comparison of backends, panic, retry budget, queues, slow start.
local proxied = require "proxied"
local socket = require "socket"
local C, ffi = require("ffi_room").load("board/board.h", "board/circuit.h", "base/clock.h")

describe("proxy, guards", function()
    local w

    -- `more`: keys of the route as the configuration has them.
    local function world(backends, more, options)
        options = options or {}
        w = proxied.start { backends = backends, backend = options.backend,
            route = { policy = options.policy, more = more, max_retries = options.max_retries } }
        return w
    end

    after_each(function()
        w = proxied.finish(w)
    end)

    local function circuit(slot)
        return C.board_circuit(C.proxydriver_board(w.driver), slot)
    end

    local function state(slot)
        return ffi.string(C.board_circuit_name(C.board_circuit_state(circuit(slot))))
    end

    local function eject(slot)
        assert.is_true(C.board_circuit_eject(circuit(slot), 60000, 60000, C.clock_now_ms()) ~= 0)
    end

    local function reply(u, status)
        u:send("HTTP/1.1 " .. status .. " X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    end

    -- One request on a connection of its own, answered by codes[backend], 200 by default: who got it, and the answer.
    local function ask(codes)
        local c = w:client()
        c:get "/"
        local u, i = w:accept_any()
        u:read_head()
        reply(u, codes and codes[i] or 200)
        local status = c:answer()
        c:close()
        u:close()
        return i, status
    end

    -- How many of n requests each backend gets.
    local function shares(n, codes)
        local got = { 0, 0, 0, 0 }
        for _ = 1, n do
            local i = ask(codes)
            got[i] = got[i] + 1
        end
        return got
    end

    local BREAKER = { failure_threshold = 3, recovery_timeout_ms = 300, success_threshold = 2 }

    it("opens on 5xx, tries one at a time when its time has come, and closes", function()
        world(2, { circuit_breaker = BREAKER })
        local failed = 0
        while state(1) == "closed" do
            local i, status = ask { 500 }
            failed = failed + (i == 1 and 1 or 0)
            assert.equal(i == 1 and 500 or 200, status)
        end
        assert.equal(3, failed)
        assert.same({ 0, 6, 0, 0 }, shares(6))
        assert.matches("circuit_opened shop/shop%-1 circuit open %(answered 5xx%), next trial in 300 ms; ", w:must "news")
        socket.sleep(0.31)
        local c, trial = w:client()
        repeat
            c:get "/"
            local u, i = w:accept_any()
            u:read_head()
            if i == 1 then
                trial = u
            else
                u:ok("", "Connection: close\r\n")
                c:answer()
            end
        until trial
        assert.equal("half-open", state(1))
        assert.same({ 0, 6, 0, 0 }, shares(6)) -- its one place is taken
        reply(trial, 200)
        assert.equal(200, (c:answer()))
        while state(1) ~= "closed" do
            ask()
        end
        assert.same({ 3, 3, 0, 0 }, shares(6))
        assert.matches("circuit_half_open shop/shop%-1 circuit half%-open: trying; .*"
            .. "circuit_closed shop/shop%-1 circuit closed: trials succeeded; ", w:must "news")
        assert.equal(1, tonumber(circuit(1).opened))
    end)

    it("opens again when the trial fails, and frees its place when the client leaves", function()
        world(2, { circuit_breaker = { failure_threshold = 1, recovery_timeout_ms = 100 } })
        while state(1) ~= "open" do
            ask { 500 }
        end
        socket.sleep(0.11)
        local c = w:client()
        local trial
        repeat
            c:get "/"
            local u, i = w:accept_any()
            u:read_head()
            trial = i == 1 and u or nil
            if not trial then
                u:ok("", "Connection: close\r\n")
                c:answer()
            end
        until trial
        c:reset()
        assert.is_true(trial:closed())
        local again
        repeat -- a place is free again: nobody waits for the recovery time
            again = ask { 500 }
        until again == 1
        assert.equal("open", state(1))
        assert.equal(2, tonumber(circuit(1).opened))
        assert.matches("circuit_opened shop/shop%-1 circuit open again: a trial failed", w:must "news")
    end)

    it("counts only what the route names", function()
        world(2, { circuit_breaker = { failure_threshold = 3, recovery_timeout_ms = 60000, failures_on = { "connect" } } })
        shares(20, { 500 })
        assert.equal("closed", state(1))
        w.servers[1]:close()
        w.servers[1] = w.servers[2]
        for _ = 1, 20 do
            assert.equal(200, (select(2, ask())))
        end
        assert.equal("open", state(1))
        assert.equal(10, tonumber(w:row(1).outcomes[0])) -- beside ten answers: half of the window
        assert.matches("backend_failed shop/shop%-1 cannot connect; ", w:must "news")
    end)

    it("takes a cut answer for a failure, and a client that leaves for none", function()
        world(1, { response_buffer = 0, circuit_breaker = { failure_threshold = 3, recovery_timeout_ms = 60000 } })
        local function half()
            local c = w:client()
            c:get "/"
            local u = w:accept()
            u:read_head()
            u:send "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"
            assert.is_truthy(c:read_head())
            return c, u
        end
        for _ = 1, 5 do
            local c, u = half()
            c:reset()
            assert.is_true(u:closed())
        end
        assert.equal("closed", state(1))
        assert.equal(0, tonumber(circuit(1).failures))
        for i = 1, 5 do -- half of the window then
            assert.equal("closed", state(1), i)
            local c, u = half()
            u:close()
            assert.is_true(c:read(4) == "abc" and c:closed())
        end
        proxied.eventually(function()
            return state(1) == "open"
        end)
        assert.matches("circuit open %(cut off or malformed%)", w:must "news")
    end)

    it("asks for a check of a backend at its first failure, not at each", function()
        world(2, { circuit_breaker = { failure_threshold = 100, recovery_timeout_ms = 1000 } })
        w.servers[1]:close()
        w.servers[1] = w.servers[2]
        shares(20)
        local _, count = w:must("news"):gsub("backend_failed shop/shop%-1 cannot connect", "")
        assert.equal(1, count)
    end)

    it("has no circuits without the keys", function()
        world(2)
        shares(40, { 500 })
        assert.equal("closed", state(1))
        eject(1)
        assert.same({ 3, 3, 0, 0 }, shares(6))
    end)

    it("ignores circuits when too few are left: panic", function()
        world(3, { circuit_breaker = BREAKER })
        eject(1)
        assert.same({ 0, 3, 3, 0 }, shares(6)) -- two of three are enough
        assert.equal(0, tonumber(w:numbers().panics))
        eject(2)
        proxied.eventually(function() -- what others change is looked up each millisecond
            ask { 200 }
            return w:numbers().panics > 0
        end)
        local before = tonumber(w:numbers().panics)
        assert.same({ 2, 2, 2, 0 }, shares(6))
        assert.equal(6, tonumber(w:numbers().panics) - before)
        -- Told once, not for each request.
        local news = w:must "news"
        assert.matches("panic shop 1 of 3 backends were let through: the circuits are ignored; ", news)
        assert.equal(1, select(2, news:gsub("panic shop", "")))
    end)

    it("lets an ejected one back when its trials succeed", function()
        world(3, { outlier_ejection = { minimum_requests = 5, base_time_ms = 50, max_ejected = 50 } })
        shares(30, { 500 })
        proxied.eventually(function()
            ask { 500 }
            return state(1) == "open"
        end)
        proxied.eventually(function()
            ask()
            return state(1) == "closed"
        end)
        assert.matches("backend_returned shop/shop%-1 circuit closed: back from its ejection; ", w:must "news")
    end)

    it("never panics at 0, and then says 503", function()
        world(2, { circuit_breaker = BREAKER, panic_threshold = 0 })
        eject(1)
        assert.same({ 0, 4, 0, 0 }, shares(4))
        eject(2)
        local c = w:client()
        c:get "/"
        local status, head = c:answer()
        assert.equal(503, status)
        assert.matches("\r\nRetry%-After: 1\r\n", head)
        assert.is_true(w:unwanted(1) and w:unwanted(2))
    end)

    it("respects the circuit of an only backend where the route has asked for circuits", function()
        world(1, { circuit_breaker = BREAKER })
        eject(1)
        assert.same({ 2, 0, 0, 0 }, shares(2)) -- it did not: nobody loses all for a default
        assert.equal(2, tonumber(w:numbers().panics))
        w = proxied.finish(w)
        local declared = { explicit = true }
        for key, value in pairs(BREAKER) do
            declared[key] = value
        end
        world(1, { circuit_breaker = declared, queue = { limit = 10, timeout_ms = 5000 } })
        eject(1)
        local c = w:client()
        c:get "/"
        assert.equal(503, (c:answer())) -- at once: no reason to wait
        assert.equal(0, tonumber(w:numbers().queued_total + w:numbers().panics))
        assert.is_true(w:unwanted(1))
    end)

    it("puts out who does worse than the others, up to the cap", function()
        world(3, { outlier_ejection = { minimum_requests = 5, base_time_ms = 60000, max_ejected = 50 } })
        shares(30, { 500 })
        proxied.eventually(function() -- they are compared twice a second
            ask { 500 }
            return state(1) == "open"
        end)
        assert.equal(1, tonumber(circuit(1).ejected))
        assert.matches("backend_ejected shop/shop%-1 circuit ejected: does worse than the others; ", w:must "news")
        local got = shares(30, { 500, 500 })
        assert.same({ 0, 15, 15, 0 }, got)
        assert.equal("closed", state(2)) -- two alone are not compared, and one in three is the cap
    end)

    it("puts nobody out when all do as badly", function()
        world(3, { outlier_ejection = { minimum_requests = 5 } })
        shares(40, { 500, 500, 500 })
        for i = 1, 3 do
            assert.equal("closed", state(i))
        end
    end)

    -- The answers to n requests while one of two backends is gone.
    local function with_one_gone(n)
        w.servers[1]:close()
        w.servers[1] = w.servers[2]
        local codes = {}
        for i = 1, n do
            local c = w:client()
            c:get "/"
            if socket.select({ w.servers[2], c.sock }, nil, 2)[1] == w.servers[2] then
                local u = w:accept(2)
                u:read_head()
                reply(u, 200)
            end
            codes[i] = c:answer()
        end
        table.sort(codes)
        return codes
    end

    it("repeats no more than the budget allows", function()
        world(2, { retry_budget = { percent = 0, min_per_second = 0.2 } }) -- two in ten seconds
        assert.same({ 200, 200, 200, 200, 502, 502 }, with_one_gone(6))
        assert.equal(2, tonumber(w:numbers().retries_denied))
    end)

    it("has one budget for all workers", function()
        world(2, { retry_budget = { percent = 10, min_per_second = 0.1 } })
        local board = C.proxydriver_board(w.driver)
        local theirs, now = C.board_route(board, 1, 0).asked, math.floor(tonumber(C.clock_now_ms()) / 1000)
        for second = now - 5, now + 5 do -- whenever it looks, five or six of them count
            theirs[(second + 1) % C.BOARD_BUDGET_RING] = { at = second + 1, all = 0, repeated = 1 }
        end
        assert.same({ 200, 200, 200, 502, 502, 502 }, with_one_gone(6)) -- theirs used it up
        assert.equal(3, tonumber(w:numbers().retries_denied))
        for second = now - 5, now + 5 do
            theirs[(second + 1) % C.BOARD_BUDGET_RING].all = 100 -- but theirs were of many
        end
        local c = w:client()
        for _ = 1, 2 do -- one of them goes to who is gone first
            c:get "/"
            local u = w:accept(2)
            u:read_head()
            reply(u, 200)
            assert.equal(200, (c:answer()))
        end
        assert.equal(3, tonumber(w:numbers().retries_denied))
    end)

    local function queued(n)
        proxied.eventually(function()
            return tonumber(w:numbers().queued) == n
        end, "the queue never had " .. n)
    end

    -- A client whose request is under way or waits.
    local function waiting(path)
        local c = w:client()
        c:get(path)
        return c
    end

    it("queues when all are full: in order, up to the limit", function()
        world(1, { queue = { limit = 2, timeout_ms = 5000 } }, { backend = { max_connections = 1 } })
        local a = waiting "/a"
        local u = w:accept()
        assert.matches("^GET /a ", (u:read_head()))
        local b = waiting "/b"
        queued(1)
        local c = waiting "/c"
        queued(2)
        local d = waiting "/d"
        local status, head = d:answer()
        assert.equal(503, status)
        assert.matches("\r\nRetry%-After: 1\r\n", head)
        u:ok ""
        assert.equal(200, (a:answer()))
        a:get "/a2" -- behind those who wait
        for _, case in ipairs { { "/b", b }, { "/c", c }, { "/a2", a } } do
            assert.matches("^GET " .. case[1] .. " ", (u:read_head()))
            u:ok ""
            assert.equal(200, (case[2]:answer()))
        end
        assert.equal(0, tonumber(w:numbers().queued))
        assert.equal(0, tonumber(C.board_queue_length(C.proxydriver_board(w.driver), 0)))
        assert.equal(3, tonumber(w:numbers().queued_total))
        assert.equal(1, tonumber(w:numbers().queue_refused))
        proxied.eventually(function()
            return tonumber(w:row(1).in_flight) == 0
        end, "something stays in flight")
    end)

    it("lets nobody wait longer than the time-out", function()
        world(1, { queue = { limit = 10, timeout_ms = 100 } }, { backend = { max_connections = 1 } })
        local a = waiting "/a"
        local u = w:accept()
        u:read_head()
        local b = waiting "/b"
        assert.equal(503, (b:answer()))
        queued(0)
        u:ok ""
        assert.equal(200, (a:answer()))
        b:get "/b" -- the connection goes on
        u:read_head()
        u:ok ""
        assert.equal(200, (b:answer()))
    end)

    it("drops who leaves the queue, by reset or end", function()
        world(1, { queue = { limit = 10, timeout_ms = 5000 } }, { backend = { max_connections = 1 } })
        local a = waiting "/a"
        local u = w:accept()
        u:read_head()
        local b, c, d = waiting "/b", waiting "/c", waiting "/d"
        queued(3)
        b:reset()
        queued(2)
        c:close()
        queued(1)
        u:ok ""
        assert.equal(200, (a:answer()))
        assert.matches("^GET /d ", (u:read_head()))
        u:ok ""
        assert.equal(200, (d:answer()))
    end)

    it("sees the places of other workers, and waits for them without a spin", function()
        world(1, { queue = { limit = 10, timeout_ms = 5000 } }, { backend = { max_connections = 2 } })
        local board = C.proxydriver_board(w.driver)
        local theirs = C.board_row(board, 1, 1)
        theirs.in_flight = 2
        local a = waiting "/a"
        queued(1)
        assert.is_true(w:unwanted())
        theirs.in_flight = 1
        local u = w:accept()
        u:read_head()
        local b = waiting "/b" -- one of ours and one of theirs: full
        queued(1)
        C.board_route(board, 1, 0).queued = 9 -- theirs wait too: with ours the limit
        local c = waiting "/c"
        assert.equal(503, (c:answer()))
        u:ok ""
        assert.equal(200, (a:answer()))
        u:read_head()
        u:ok ""
        assert.equal(200, (b:answer()))
    end)

    it("serves the queue when a backend joins, and cuts it at the end", function()
        world(2, { queue = { limit = 10, timeout_ms = 5000 } }, { backend = { max_connections = 1 } })
        w:roster { w:entry(1, { max_connections = 1 }) }
        local a = waiting "/a"
        local u = w:accept(1)
        u:read_head()
        local b = waiting "/b"
        queued(1)
        w:roster { w:entry(1, { max_connections = 1 }), w:entry(2, { max_connections = 1 }) }
        local v = w:accept(2)
        assert.matches("^GET /b ", (v:read_head()))
        v:ok ""
        assert.equal(200, (b:answer()))
        local c = waiting "/c"
        assert.matches("^GET /c ", (v:read_head()))
        local d = waiting "/d"
        queued(1)
        assert.is_truthy(a and c and d and u and v) -- ends with all of them open
    end)

    -- "wild" fails, so C decides.
    for _, name in ipairs { "wild", "by_weight" } do
        it("gives a new backend a growing share: " .. name, function()
            local now = tonumber(C.clock_now_ms())
            world(2, { slow_start_ms = 100000 }, { policy = name })
            w:roster { w:entry(1, { joined_ms = now - 200000 }), w:entry(2, { joined_ms = now - 44444 }) } -- half: 0.5
            local held, got = {}, { 0, 0 }
            for i = 1, 30 do
                local c = waiting "/"
                local u, at = w:accept_any()
                held[i] = { c, u } -- collected, they would close
                got[at] = got[at] + 1
            end
            assert.equal(30, #held)
            assert.is_true(math.abs(got[1] - 20) <= 1, got[1] .. " of 30") -- 1 : 0.5
        end)
    end
end)
