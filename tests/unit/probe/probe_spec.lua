local loop = require "loop"
local C, ffi = require("ffi_room").load("net/net.h", "probe/probe.h")

ffi.cdef [[
struct probechange {
    char id[64], reason[256], body[520]; bool healthy; uint32_t attempts, took_ms; int32_t status;
};
struct proberecord { uint32_t count; struct probe_set *remove_from; struct probechange changes[64]; };
struct probe_set *proberecord_set(struct proberecord *r, struct uv_loop_s *loop, struct net_client *client);
]]

describe("probe", function()
    local run, client, server, set, seen

    before_each(function()
        run = loop.new()
        local ret = ffi.new "struct net_client *[1]"
        assert.equal(0, C.net_client_new(run:uv(), ret, ffi.new "char *[1]"))
        client = ret[0]
        server = run:server()
        seen = ffi.new "struct proberecord"
        set = C.proberecord_set(seen, run:uv(), client)
    end)

    after_each(function()
        C.probe_set_close(set)
        C.net_client_close(client)
        if server then
            server:close()
        end
        assert.equal(0, run:free())
    end)

    local function add(id, change)
        local spec = {
            kind = C.PROBE_HTTP, address = server and server:address(), path = "/health", interval_ms = 20,
            timeout_ms = 5000, start_period_ms = 0, retries = 3, rise = 1,
        }
        for key, value in pairs(change or {}) do
            spec[key] = value
        end
        return C.probe_add(set, id, ffi.new("struct probe_spec", spec))
    end

    -- The nth report.
    local function change(nth)
        assert.is_true(run:until_(ffi.cast("uint32_t *", seen), nth), "report " .. nth .. " did not come")
        local c = seen.changes[nth - 1]
        return c.healthy, loop.text(c.reason), c
    end

    local function requests_grow_by(count)
        local before = server:requests()
        assert.is_true(run:wait(function()
            return server:requests() >= before + count
        end))
    end

    local function last(id)
        local status, attempts = ffi.new "int[1]", ffi.new "uint32_t[1]"
        local reason = ffi.string(C.probe_last_reason(set, id, status, attempts))
        return reason, status[0], attempts[0]
    end

    it("reports health once, and each change after it", function()
        server:answer("/health", 200, "fine")
        assert.equal(0, add "a")
        local healthy, reason, c = change(1)
        assert.is_true(healthy)
        assert.equal("HTTP health check passed", reason)
        assert.same({ "a", 200, "fine", 1 }, { loop.text(c.id), c.status, loop.text(c.body), c.attempts })
        requests_grow_by(5)
        assert.equal(1, seen.count)

        server:answer("/health", 500, "disk full")
        healthy, reason, c = change(2)
        assert.is_false(healthy)
        assert.equal("GET /health answered 500", reason)
        assert.equal("disk full", loop.text(c.body))
        requests_grow_by(5)
        assert.equal(2, seen.count)

        server:answer("/health", 302, "")
        assert.is_true((change(3)))
    end)

    it("needs `retries` failures and `rise` successes in a row", function()
        server:answer("/health", 500, "")
        assert.equal(0, add("a", { retries = 4, rise = 3 }))
        local healthy, _, c = change(1)
        assert.is_false(healthy)
        assert.equal(4, c.attempts)
        assert.equal(4, server:requests())
        server:answer("/health", 200, "")
        healthy, _, c = change(2)
        assert.is_true(healthy)
        assert.is_true(c.attempts >= 3)
        assert.is_true(server:requests() >= 7)
    end)

    it("forgives failures in the start period", function()
        server:answer("/health", 503, "")
        assert.equal(0, add("a", { retries = 1, start_period_ms = 60000 }))
        requests_grow_by(5)
        assert.equal(0, seen.count)
        local reason, status, attempts = last "a"
        assert.same({ "GET /health answered 503", 503 }, { reason, status })
        assert.is_true(attempts >= 4)
        server:answer("/health", 200, "")
        assert.is_true((change(1)))
        server:answer("/health", 503, "")
        assert.is_false((change(2)))
    end)

    it("looks often while it waits, and at its interval when healthy", function()
        server:answer("/health", 503, "")
        assert.equal(0, add("a", { interval_ms = 600000, retries = 1000 }))
        requests_grow_by(2)
        server:answer("/health", 200, "")
        assert.is_true((change(1)))
        local requests = server:requests()
        run:run(50)
        assert.equal(requests, server:requests())
    end)

    it("hurries when traffic saw a failure", function()
        server:answer("/health", 200, "")
        assert.equal(0, add("a", { interval_ms = 600000, retries = 2 }))
        assert.is_true((change(1)))
        server:answer("/health", 500, "")
        for _ = 1, 100 do
            C.probe_hurry(set, "a")
        end
        assert.is_false((change(2)))
        assert.equal(3, server:requests())
        C.probe_hurry(set, "unknown")
    end)

    it("goes back to its interval after a false alarm", function()
        server:answer("/health", 200, "")
        assert.equal(0, add("a", { interval_ms = 600000 }))
        assert.is_true((change(1)))
        C.probe_hurry(set, "a")
        requests_grow_by(1)
        run:run(300)
        assert.equal(2, server:requests())
        assert.equal(1, seen.count)
    end)

    it("says what is wrong with a server", function()
        server:raw("/hang", "", loop.HANG)
        server:raw("/cut", "HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\nx", loop.CLOSE)
        server:raw("/junk", "\0\1\2\3\4\5\6\7junk", loop.CLOSE)
        local other = run:server()
        local refused = other:address()
        other:close()
        run:run(5)
        add("hang", { path = "/hang", timeout_ms = 40, retries = 1 })
        assert.equal("no answer within 40 ms", select(2, change(1)))
        add("cut", { path = "/cut", retries = 1 })
        assert.equal("connection closed before the answer was complete", select(2, change(2)))
        add("junk", { path = "/junk", retries = 1 })
        assert.is_truthy(select(2, change(3)):find("not an HTTP answer", 1, true))
        add("refused", { address = refused, retries = 1 })
        assert.equal("connection refused", select(2, change(4)))
        add("name", { address = "nowhere.invalid:80", retries = 1 })
        assert.is_truthy(select(2, change(5)):find "reached or resolved")
        add("missing", { path = "", retries = 1 })
        assert.equal("GET / answered 404", select(2, change(6)))
    end)

    it("judges by the status and keeps only the start of a body", function()
        server:answer("/health", 200, ("x"):rep(1000000))
        add "a"
        local healthy, reason, c = change(1)
        assert.is_true(healthy)
        assert.is_truthy(reason:find "only the start")
        assert.equal(("x"):rep(512), loop.text(c.body))
    end)

    it("opens a connection of its own, with the Host that was asked for", function()
        server:answer("/health", 200, "")
        add("a", { host = "shop.local" })
        change(1)
        requests_grow_by(3)
        assert.is_true(server:accepts() >= 4)
        assert.is_truthy(server:last():find("\r\nHost: shop.local\r\n", 1, true))
    end)

    it("connects by TCP, by name and to unix sockets", function()
        assert.equal(0, add("tcp", { kind = C.PROBE_TCP }))
        assert.is_true((change(1)))
        assert.equal(0, add("name", { kind = C.PROBE_TCP, address = "localhost:" .. server.port }))
        assert.is_true((change(2)))
        local path = os.tmpname()
        os.remove(path)
        local unix = run:server("unix:" .. path)
        unix:answer("/health", 200, "")
        assert.equal(0, add("unix", { address = "unix:" .. path }))
        assert.is_true((change(3)))
        assert.equal(0, add("unixtcp", { address = "unix:" .. path, kind = C.PROBE_TCP }))
        assert.is_true((change(4)))
        unix:close()
        os.remove(path)
        server:close()
        server = nil
        local unhealthy = {}
        for nth = 5, 8 do
            local healthy, _, c = change(nth)
            assert.is_false(healthy)
            unhealthy[loop.text(c.id)] = loop.text(c.reason)
        end
        assert.equal("connection refused", unhealthy.tcp)
        assert.equal("no such file or directory", unhealthy.unix)
    end)

    it("is silent about a check that was removed during an attempt", function()
        server:raw("/hang", "", loop.HANG)
        add("a", { path = "/hang", retries = 1, timeout_ms = 50 })
        requests_grow_by(1)
        C.probe_remove(set, "a")
        C.probe_remove(set, "a")
        assert.same({ "", 0, 0 }, { last "a" })
        add("t", { kind = C.PROBE_TCP, address = "localhost:1", retries = 1, interval_ms = 1 })
        run:run(1)
        C.probe_remove(set, "t")
        local count = seen.count -- the look-up may have been quick
        run:run(150)
        assert.equal(count, seen.count)
        for i = 0, count - 1 do
            assert.equal("t", loop.text(seen.changes[i].id))
        end
    end)

    it("may be told to remove a check from within its report, and to replace one", function()
        server:answer("/health", 200, "")
        seen.remove_from = set
        add "a"
        change(1)
        run:run(60)
        assert.equal(1, server:requests())
        seen.remove_from = nil
        add("a", { interval_ms = 600000 })
        add("a", { interval_ms = 600000 })
        change(2)
        run:run(60)
        assert.equal(2, seen.count)
        assert.equal(2, server:requests())
    end)

    it("spreads checks that were added together", function()
        server:answer("/health", 200, "")
        for i = 1, 40 do
            add("shop-" .. i, { interval_ms = 200 })
        end
        local early
        assert.is_true(run:wait(function()
            early = early or (server:requests() >= 5 and server:requests())
            return seen.count == 40
        end))
        assert.is_true(early < 35, "all at once")
    end)

    it("refuses what it cannot check", function()
        for _, bad in ipairs {
            { address = "nonsense" }, { address = "" }, { interval_ms = 0 }, { timeout_ms = 0 }, { retries = 0 },
            { rise = 0 },
        } do
            assert.equal(loop.E.INVAL, add("bad", bad))
        end
    end)
end)
