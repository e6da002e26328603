-- Decisions of late: what is known of a request afterwards, and for how long.
local proxied = require "proxied"
local dkjson = require "dkjson"

describe("proxy, decisions of late", function()
    local w

    after_each(function()
        w = proxied.finish(w)
    end)

    local function world(backends, more, policy)
        w = proxied.start { backends = backends, routes = { { more = more, policy = policy } } }
        local entries = {}
        for i = 1, backends do
            entries[i] = w:entry(i)
        end
        w:roster(entries)
    end

    local function past(id)
        return assert(dkjson.decode(w:must("past " .. id)))
    end

    -- The only decision on a request, and its backends by name.
    local function only(id)
        local found = past(id).found
        assert.equal(1, #found, id)
        local by = {}
        for _, b in ipairs(found[1].backends) do
            by[b.backend] = b
        end
        return found[1], by
    end

    -- Asks with this id; a backend answers with the status. Its number, and the id that it got.
    local function ask(id, status)
        local c = w:client()
        c:get("/", id and "X-Request-Id: " .. id .. "\r\n")
        local u, i = w:accept_any()
        local head = u:read_head()
        u:send(("HTTP/1.1 %d X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"):format(status or 200))
        assert.equal(status or 200, (c:answer()))
        u:close()
        c:close()
        return i, head:match "\r\nX%-Request%-Id: ([^\r]+)"
    end

    it("are known by a client's id and by ours, with every backend and the outcome", function()
        world(2, nil, "least_connections")
        local began = os.time()
        local i = ask "mine"
        local _, ours = ask()
        local one, by = only "mine"
        assert.same({ "shop", 0, 2, false, "shop-" .. i }, { one.service, one.attempt, one.count, one.panic, one.chosen })
        assert.same({ "least_connections", "/", "front" }, { one.policy, one.route.path, one.route.listen })
        assert.is_true(math.abs(one.at_ms / 1000 - began) < 5)
        assert.same({ true, 200, "" }, { one.outcome.ended, one.outcome.status, one.outcome.failure })
        assert.is_true(one.outcome.took_ms > 0)
        for n = 1, 2 do
            local b = by["shop-" .. n]
            assert.same({ n == i, true, "", "127.0.0.1:" .. w.ports[n], 0, 1 },
                { b.chosen, b.eligible, b.reason, b.address, b.in_flight, b.weight })
        end
        assert.equal(32, #ours)
        assert.equal(200, only(ours).outcome.status)
        local none = past "min"
        assert.same({ 0, 2, true }, { #none.found, none.kept, none.complete })
        assert.is_true(none.reaches_s >= 0 and none.reaches_s < 60)
    end)

    it("tell every attempt of a request that was repeated, and why it was", function()
        world(2)
        local c = w:client()
        c:get("/", "X-Request-Id: again\r\n")
        local u, first = w:accept_any()
        u:read_head()
        local open = past("again").found
        assert.same({ 1, false, 0 }, { #open, open[1].outcome.ended, open[1].outcome.status })
        u:reset()
        local other, second = w:accept_any()
        other:read_head()
        other:ok("", "Connection: close\r\n")
        assert.equal(200, (c:answer()))
        local found = past("again").found
        assert.equal(2, #found)
        assert.same({ 0, "shop-" .. first, "cut off or malformed" },
            { found[1].attempt, found[1].chosen, found[1].outcome.failure })
        assert.same({ 1, "shop-" .. second, "", 200 },
            { found[2].attempt, found[2].chosen, found[2].outcome.failure, found[2].outcome.status })
        for _, b in ipairs(found[2].backends) do
            assert.equal(b.backend == "shop-" .. first and "tried" or "", b.reason)
        end
        assert.equal(1, past("again").failed_kept - 1)
    end)

    it("tell what kept each backend out at that moment", function()
        world(3)
        w:roster { w:entry(1, { draining = true }), w:entry(2, { max_connections = 1 }), w:entry(3) }
        local c = w:client()
        repeat
            c:get "/"
            local u, i = w:accept_any()
            u:read_head()
            if i ~= 2 then
                u:ok("", "Connection: close\r\n")
                c:answer()
            end
        until i == 2 -- its one place is taken now
        ask "out"
        w:roster { w:entry(1), w:entry(2), w:entry(3) }
        local _, by = only "out"
        assert.same({ "draining", "full: 1 of 1", "" }, { by["shop-1"].reason, by["shop-2"].reason, by["shop-3"].reason })
        assert.same({ false, 1, true }, { by["shop-1"].eligible, by["shop-2"].in_flight, by["shop-3"].chosen })
    end)

    it("tell of open circuits, of ejections, and of requests that nobody could have", function()
        world(2, { circuit_breaker = { failure_threshold = 2, recovery_timeout_ms = 60000 }, panic_threshold = 0 })
        for n = 1, 20 do
            ask("fails" .. n, 500)
            local _, by = only("fails" .. n)
            if by["shop-1"].reason ~= "" or by["shop-2"].reason ~= "" then
                break
            end
        end
        local c = w:client()
        proxied.eventually(function()
            c:get("/", "X-Request-Id: nobody\r\n")
            local u = not w:unwanted(1) and w:accept(1) or not w:unwanted(2) and w:accept(2)
            if u then
                u:read_head()
                u:send "HTTP/1.1 500 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            end
            return c:answer() == 503
        end)
        local found = past("nobody").found
        local one = found[#found]
        assert.same({ "nobody", 503, nil }, { one.decides, one.outcome.status, one.chosen })
        for _, b in ipairs(one.backends) do
            assert.same({ false, "circuit open", "open" }, { b.eligible, b.reason, b.circuit })
        end
    end)

    it("keep the names of backends that left, and inputs when the configuration changed", function()
        world(2)
        local i = ask "before"
        w:roster { w:entry(3 - i) }
        assert.equal("shop-" .. i, only("before").chosen)
        w:must(w:configure { {} })
        w:must "commit"
        local one, by = only "before"
        assert.same({ "shop-" .. i, "127.0.0.1:" .. w.ports[i] }, { one.chosen, by["shop-" .. i].address })
    end)

    it("are told as they are made, once their outcome is known, of a service or a route", function()
        world(2, nil, "least_connections")
        local function trace(after, filter)
            return assert(dkjson.decode(w:must(("trace %.0f%s"):format(after, filter and " " .. filter or ""))))
        end
        local function ids(told)
            local list = {}
            for i, one in ipairs(told.found) do
                list[i] = one.request
            end
            return list
        end
        ask "before"
        local begin = trace(-1)
        assert.same({}, begin.found)
        ask "one"
        ask "two"
        local told = trace(begin.after)
        assert.same({ "one", "two" }, ids(told))
        assert.same({ 200, "loop", 2, false }, { told.found[1].outcome.status, told.found[1].decides,
            #told.found[1].backends, told.lost })
        assert.same({}, ids(trace(told.after)))
        assert.same({ "one", "two" }, ids(trace(begin.after, "shop")))
        assert.same({}, ids(trace(begin.after, "other")))
        assert.same({ "one", "two" }, ids(trace(begin.after, "- front")))
        assert.same({ "one", "two" }, ids(trace(begin.after, "shop front /")))
        assert.same({}, ids(trace(begin.after, "- elsewhere")))
        -- One that is open is waited for, and so are those behind it, for a second.
        local c = w:client()
        c:get("/", "X-Request-Id: slow\r\n")
        local u = w:accept_any()
        u:read_head()
        assert.same({}, ids(trace(told.after)))
        local found
        proxied.eventually(function()
            found = trace(told.after).found
            return #found == 1
        end)
        assert.same({ "slow", false }, { found[1].request, found[1].outcome.ended })
        u:ok("", "Connection: close\r\n")
        c:answer()
        -- More than are told at once.
        begin = trace(-1)
        for n = 1, 20 do
            ask("n" .. n)
        end
        told = trace(begin.after)
        assert.same({ 16, 4, "n5", "n20" }, { #told.found, told.left_out, told.found[1].request, told.found[16].request })
        -- A place in a worker that is no more.
        assert.is_true(#trace(1e12).found > 0)
        -- ... in whose time this one had already come further: it is in the middle of something here.
        local whole = ids(trace(0))
        for _, within in ipairs { 1, 7, 8, 24, 40 } do
            assert.same(whole, ids(trace(begin.after + within)))
        end
    end)

    it("are forgotten when so many came behind them, those that failed last", function()
        world(1)
        ask("good", 200)
        ask("bad", 500)
        local c, u = w:client(), nil
        local count = 0
        repeat
            for _ = 1, 500 do
                c:get("/", "X-Request-Id: " .. ("x"):rep(100) .. "\r\n")
                u = u or w:accept()
                u:read_head()
                u:ok ""
                c:answer()
                count = count + 1
            end
        until not past("none").complete or count > 20000
        local many = past(("x"):rep(100))
        assert.same({ 16, many.kept - 16 }, { #many.found, many.left_out })
        local now = past "good"
        assert.same({ 0, false }, { #now.found, now.complete })
        assert.is_true(now.kept > 2000 and now.kept <= count, now.kept .. " of " .. count)
        assert.is_true(now.reaches_s < now.failed_reaches_s)
        local bad = only "bad"
        assert.same({ "shop-1", 500 }, { bad.chosen, bad.outcome.status })
        c:get("/", "X-Request-Id: last\r\n")
        u:read_head()
        u:ok ""
        assert.equal(200, (c:answer()))
        assert.equal("shop-1", only("last").chosen)
    end)

    it("of many backends keep all figures only now and then", function()
        w = proxied.start { backends = 1, routes = { {} } }
        local entries = {}
        for i = 1, 40 do
            entries[i] = { id = "shop-" .. i, slot = i, address = "127.0.0.1:" .. w.ports[1] }
        end
        w:roster(entries)
        local whole = 0
        for n = 1, 9 do
            ask("n" .. n)
            local one = only("n" .. n)
            assert.equal(40, one.count)
            assert.is_true(#one.backends == 40 or (#one.backends == 1 and one.backends[1].chosen))
            whole = whole + (#one.backends == 40 and 1 or 0)
        end
        assert.equal(3, whole)
    end)
end)
