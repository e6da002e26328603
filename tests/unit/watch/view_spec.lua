local C, ffi = require("ffi_room").load("base/json.h", "base/mem.h", "board/board.h", "watch/view.h")
local cjson = require "cjson"

describe("watch/view", function()
    local board, views, own

    before_each(function()
        local out = ffi.new "struct board *[1]"
        assert.equal(0, C.board_new(2, out))
        board = ffi.gc(out[0], C.board_free)
        views = ffi.gc(C.views_new(board), C.views_free)
        own = ffi.new("struct views_own", { disk_free = -1, disk_free_bytes = -1, notifications_waiting = -1,
            store_errors = -1, workers = 2 })
    end)

    local function json(t)
        local text = cjson.encode(t)
        return ffi.gc(C.json_parse(text, #text), C.json_free)
    end

    local function sample(status, now_ms)
        C.views_sample(views, json(status), own, now_ms)
    end

    local function build(status, now_ms)
        local built = C.views_build(views, json(status), nil, now_ms, 1.7e12)
        local text = C.json_text(built)
        local t = cjson.decode(ffi.string(text))
        C.mem_free(text)
        C.json_free(built)
        return t
    end

    local function instance(id, slot, more)
        local i = { id = id, slot = slot, state = "up", running = true, restarts = 0, oom_kills = 0, circuit = "closed",
            in_flight = 0, drained = false }
        for key, value in pairs(more or {}) do
            i[key] = value
        end
        return i
    end

    local function status(instances, more)
        local s = { name = "shop", source = "image", desired = #instances, up = #instances, min = 1, max = 4,
            stopped = false, oom_kills = 0, deploy = { state = "done" }, traffic = { in_flight = 3, queue = 1 },
            instances = instances }
        for key, value in pairs(more or {}) do
            s[key] = value
        end
        return { services = { s }, engine = { state = "up" } }
    end

    -- n answers of slot at worker w, each of ms; `bad` of them 5xx.
    local function answers(w, slot, n, ms, bad)
        local row = C.board_row(board, w, slot)
        row.outcomes[C.BOARD_2XX] = row.outcomes[C.BOARD_2XX] + n - (bad or 0)
        row.outcomes[C.BOARD_5XX] = row.outcomes[C.BOARD_5XX] + (bad or 0)
        row.latency_us_sum = row.latency_us_sum + n * ms * 1000
        for _ = 1, n do
            C.board_observe(board, w, slot, ms * 1000)
        end
    end

    local function close(expected, got)
        assert.is_true(math.abs(expected - got) <= 0.033 * expected, ("%s, not %s"):format(got, expected))
    end

    it("has all that the shipped alerts read", function()
        local pack = assert(io.open "policies/alerts.lua"):read "*a"
        local s = status({ instance("shop-1", 0, { cpu_percent = 5, memory_percent = 6, memory_bytes = 7 }) },
            { last_decision = { held_by = "max" }, desired = 4 })
        own.disk_free, own.notifications_waiting = 0.5, 0
        own.has_certificates, own.certificate_days_left = true, -1.5
        sample(s, 1000)
        answers(0, 0, 10, 20)
        sample(s, 6000)
        local all = build(s, 6000)
        local service, seen = all.services.shop, 0
        for block in pack:gmatch 'alert "%w+" (%b{})' do
            local path, scope = block:match 'metric_path = "([%w_.]+)"', block:match 'scope = "(%w+)"'
            local view = scope == "tidegate" and all.tidegate or scope == "instance" and service.instances["shop-1"] or service
            local at = view
            for key in path:gmatch "[^.]+" do
                at = type(at) == "table" and at[key]
            end
            seen = seen + 1
            if path ~= "health.collected" then -- collect_spec
                assert.equal("number", type(at), path)
            end
        end
        assert.is_true(seen >= 15)
    end)

    it("has the balancer's figures of the last window, of instances and of all", function()
        local s = status { instance("shop-1", 0), instance("shop-2", 1) }
        sample(s, 1000)
        assert.is_nil(build(s, 1000).services.shop.performance)
        answers(0, 0, 100, 10)
        answers(1, 0, 100, 10, 20)
        answers(1, 1, 50, 100)
        C.board_row(board, 0, 1).retries = 5
        sample(s, 6000)
        local shop = build(s, 6000).services.shop
        local one, two = shop.instances["shop-1"], shop.instances["shop-2"]
        assert.same({ 40, 0.1, 0 }, { one.traffic.rate, one.traffic.error_rate, one.traffic.retries })
        close(0.01, one.performance.p99)
        close(0.01, one.performance.avg_response_time)
        close(0.1, two.performance.p50)
        assert.same({ 10, 1 }, { two.performance.throughput, two.traffic.retries })
        assert.same({ 50, 3, 1, 2, 0 }, { shop.traffic.rate, shop.traffic.in_flight, shop.traffic.queue,
            shop.traffic.backends, shop.traffic.open_circuits })
        close(20 / 250, shop.performance.error_rate)
        close(0.01, shop.performance.p50)
        close(0.1, shop.performance.p99)
        close((200 * 0.01 + 50 * 0.1) / 250, shop.performance.avg_response_time)
        sample(s, 11000) -- nothing in this window
        shop = build(s, 11000).services.shop
        assert.same({ 0 }, { shop.traffic.rate, shop.traffic.error_rate, shop.traffic.p99 })
        assert.same({ throughput = 0 }, shop.performance)
    end)

    it("knows who is up, unhealthy, restarted or killed", function()
        local s = status({ instance("shop-1", 0), instance("shop-2", 1, { state = "down" }),
            instance("shop-3", -1, { state = "waiting" }), instance("shop-4", 2, { state = "down", running = false }) })
        sample(s, 1000)
        local shop = build(s, 1000).services.shop
        local function health(n)
            local h = shop.instances["shop-" .. n].health
            return { h.up, h.unhealthy }
        end
        assert.same({ { 1, 0 }, { 0, 1 }, {}, { 0, 0 } }, { health(1), health(2), health(3), health(4) })
        assert.same({ 0, 1, 1 }, { shop.health.up, shop.health.unhealthy, shop.traffic.backends })
        assert.same({ 0, 0 }, { shop.health.restarts_10m, shop.health.oom_kills_10m })

        s.services[1].instances[1].restarts, s.services[1].instances[1].oom_kills = 2, 1
        s.services[1].oom_kills = 3 -- two that are gone
        sample(s, 60000)
        shop = build(s, 60000).services.shop
        assert.same({ 2, 1 }, { shop.instances["shop-1"].health.restarts_10m, shop.instances["shop-1"].health.oom_kills_10m })
        assert.same({ 2, 3 }, { shop.health.restarts_10m, shop.health.oom_kills_10m })
        sample(s, 661000)
        shop = build(s, 661000).services.shop
        assert.same({ 0, 0, 2 }, { shop.health.restarts_10m, shop.health.oom_kills_10m, shop.health.restarts })
    end)

    it("counts no restarts of before it looked", function()
        local s = status { instance("shop-1", 0, { restarts = 7 }) }
        sample(s, 1000)
        assert.equal(0, build(s, 1000).services.shop.instances["shop-1"].health.restarts_10m)
    end)

    it("tells scaling, and nothing of bounds that are none", function()
        local s = status({ instance("shop-1", 0) }, { min = 1, max = 1 })
        assert.same({ desired = 1, up = 1, deploy_failed = 0 }, build(s, 0).services.shop.scale)
        s = status({ instance("shop-1", 0) }, { desired = 4, last_decision = { held_by = "max" }, deploy = { state = "failed" } })
        assert.same({ desired = 4, up = 1, min = 1, max = 4, at_max = 1, wants_more = 1, deploy_failed = 1 },
            build(s, 0).services.shop.scale)
    end)

    it("expects no backend of a service that is stopped or scaled to nothing", function()
        assert.is_nil(build(status({}, { stopped = true, desired = 2 }), 0).services.shop.traffic.backends)
        assert.is_nil(build(status({}, { desired = 0 }), 0).services.shop.traffic.backends)
        assert.equal(0, build(status({}, { desired = 2 }), 0).services.shop.traffic.backends)
    end)

    it("means resources and sums bytes over instances; what is unknown is absent", function()
        local s = status { instance("shop-1", 0, { cpu_percent = 20, memory_percent = 10, memory_bytes = 100,
            received_bytes_per_second = 5, sent_bytes_per_second = 6 }),
            instance("shop-2", 1, { cpu_percent = 40, memory_percent = 30, memory_bytes = 300,
                received_bytes_per_second = 7, sent_bytes_per_second = 8 }), instance("shop-3", 2) }
        local shop = build(s, 0).services.shop
        assert.same({ cpu_usage = 30, memory_usage = 20, memory_bytes = 400,
            network = { received_bytes_per_second = 12, sent_bytes_per_second = 14 } }, shop.resources)
        assert.is_nil(shop.instances["shop-3"].resources)
        assert.same({ service = "shop", instance = "shop-3" }, shop.instances["shop-3"].labels)
    end)

    it("tells of tidegate itself, over time", function()
        own.policy_errors, own.loop_lag_s = 3, 0.5
        C.board_worker(board, 1).exhausted = 4
        sample(status {}, 1000)
        local t = build(status {}, 1000).tidegate
        assert.same({ 3, 4, 0.5, 1, 2, 0 }, { t.policy_errors_5m, t.descriptors_exhausted_5m, t.loop_lag, t.engine_up,
            t.workers, t.reload_failed })
        assert.is_nil(t.disk_free)
        assert.is_nil(t.notifications_waiting)
        assert.is_nil(t.certificate_days_left)
        own.loop_lag_s, own.reload_failed = 0, true
        sample(status {}, 20000)
        t = build(status {}, 20000).tidegate
        assert.same({ 3, 0, 1 }, { t.policy_errors_5m, t.loop_lag, t.reload_failed })
        sample(status {}, 400000)
        assert.equal(0, build(status {}, 400000).tidegate.policy_errors_5m)
    end)

    it("finds numbers by path", function()
        local view = json { traffic = { p99 = 0.5 }, health = { ready = true, status = "up" },
            prometheus = { ['x{a="b.c"}'] = 7 } }
        local value = ffi.new "double[1]"
        local function at(path)
            return C.views_number(view, path, value) and value[0] or nil
        end
        assert.same({ 0.5, 1, 7 }, { at "traffic.p99", at "health.ready", at 'prometheus.x{a="b.c"}' })
        assert.is_nil(at "health.status")
        assert.is_nil(at "traffic.p50")
        assert.is_nil(at "prometheus.x")
    end)
end)
