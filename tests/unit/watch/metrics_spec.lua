local C, ffi = require("ffi_room").load("base/buf.h", "base/json.h", "base/mem.h", "board/board.h",
    "board/traffic.h", "watch/watch.h", "watch/families.h")
local cjson = require "cjson"

local MIB = 1024 * 1024

-- A page as text, and as samples: { ["name{labels}"] = value }. Fails on what Prometheus would refuse or
-- misread: a sample outside its family, a series told twice, text that is no sample.
local function parse(text)
    local samples, families, family = {}, {}, nil
    assert.equal("\n", text:sub(-1))
    for line in text:gmatch "([^\n]*)\n" do
        local kind, name, rest = line:match "^# (%u+) ([%w_]+) (.+)$"
        if kind == "HELP" then
            assert.is_nil(families[name], name .. " twice")
            families[name] = "?"
            family = name
        elseif kind == "TYPE" then
            assert.equal(family, name)
            families[name] = rest
        else
            local series, value = line:match "^(.-) (%S+)$"
            local base = series:match "^[%a_][%w_]*"
            if families[family] == "histogram" then
                base = base:gsub("_bucket$", ""):gsub("_sum$", ""):gsub("_count$", "")
            end
            assert.equal(family, base, line)
            assert.is_nil(samples[series], "twice: " .. series)
            samples[series] = assert(tonumber(value), line)
        end
    end
    return samples, families
end

describe("watch/metrics", function()
    local board, counters, routes, data

    -- One pass over all that a status tells.
    local function page(status, later)
        local families = later or C.families_new(2000, 100)
        local text = cjson.encode(status)
        local json = C.json_parse(text, #text)
        C.families_begin(families, 1000)
        C.watch_master(families, board, counters, status.engine ~= nil and status.engine.state == "up")
        local function each(object, fn)
            local item = object ~= nil and C.json_first(object) or nil
            while item ~= nil do
                fn(item)
                item = C.json_next(item)
            end
        end
        each(C.json_get(json, "services"), function(s)
            C.watch_service(families, s)
            each(C.json_get(s, "instances"), function(i)
                C.watch_instance(families, board, C.json_str(s, "name", "?"), i)
            end)
        end)
        local at = ffi.new "uint64_t[1]"
        while C.watch_routes_write(routes, families, board, 1000, at) do
        end
        C.watch_data_write(data, families, 1000)
        C.families_own(families)
        local buf, place = ffi.new "struct buf[1]", ffi.new "struct families_place"
        C.buf_init(buf, 64 * MIB)
        repeat
            assert.equal(0, C.families_render(families, C.FAMILIES_TEXT, place, 1000, buf))
        until place.done
        C.json_free(json)
        local out = ffi.string(C.buf_str(buf), buf[0].len)
        C.buf_free(buf)
        if not later then
            C.families_free(families)
        end
        return out
    end

    local function service(name, instances, more)
        local s = more or {}
        s.name, s.instances = name, instances
        return s
    end

    before_each(function()
        local out = ffi.new "struct board *[1]"
        assert.equal(0, C.board_new(2, out))
        board = ffi.gc(out[0], C.board_free)
        counters = ffi.new "struct watch_counters"
        routes = ffi.gc(C.watch_routes_new(), C.watch_routes_free)
        data = ffi.gc(C.watch_data_new(), C.watch_data_free)
    end)

    it("adds a backend's figures over the workers", function()
        for w = 0, 1 do
            local row = C.board_row(board, w, 5)
            row.outcomes[C.BOARD_2XX] = 10
            row.outcomes[C.BOARD_NO_ANSWER] = 1
            row.in_flight, row.retries, row.bytes_in, row.bytes_out = 2, 3, 100, 1000
        end
        local s = parse((page {
            engine = { state = "up" },
            services = { service("shop", { { id = "shop-1", slot = 5, state = "up" } }, {
                shadows = { { name = "queue", asked = 9, differed = 4, errors = 1, would = 6 }, { name = "panic", asked = 0 } },
                desired = 2, recommended = 3, min = 1, max = 4, traffic = { queue = 7 },
            }) },
        }))
        local who = 'service="shop",backend="shop-1"'
        assert.equal(20, s["tidegate_backend_requests_total{" .. who .. ',code="2xx"}'])
        assert.equal(2, s["tidegate_backend_requests_total{" .. who .. ',code="none"}'])
        assert.equal(0, s["tidegate_backend_requests_total{" .. who .. ',code="5xx"}'])
        assert.equal(4, s["tidegate_backend_in_flight{" .. who .. "}"])
        assert.equal(6, s["tidegate_backend_retries_total{" .. who .. "}"])
        assert.equal(200, s["tidegate_backend_received_bytes_total{" .. who .. "}"])
        assert.equal(2000, s["tidegate_backend_sent_bytes_total{" .. who .. "}"])
        assert.equal(1, s['tidegate_instances{service="shop",state="up"}'])
        assert.equal(0, s['tidegate_instances{service="shop",state="down"}'])
        assert.equal(2, s['tidegate_instances_desired{service="shop"}'])
        assert.equal(3, s['tidegate_instances_recommended{service="shop"}'])
        assert.equal(6, s['tidegate_shadow_instances{service="shop",policy="queue"}'])
        assert.is_nil(s['tidegate_shadow_instances{service="shop",policy="panic"}'])
        local of = '{point="scale",of="shop",route="",policy="queue"}'
        assert.same({ 9, 4, 1 }, { s["tidegate_shadow_answers_total" .. of], s["tidegate_shadow_differences_total" .. of],
            s["tidegate_shadow_errors_total" .. of] })
        assert.equal(4, s['tidegate_instances_max{service="shop"}'])
        assert.equal(7, s['tidegate_service_queue_length{service="shop"}'])
        assert.equal(1, s["tidegate_engine_up"])
    end)

    it("sorts latencies into the histogram's buckets", function()
        for latency_us, times in pairs { [300] = 1, [800] = 2, [3000] = 4, [90000] = 8, [2e7] = 16 } do
            for i = 1, times do
                C.board_observe(board, i % 2, 9, latency_us)
            end
        end
        C.board_row(board, 0, 9).latency_us_sum = 1500000
        local s = parse((page { services = { service("shop", { { id = "a", slot = 9, state = "up" } }) } }))
        local function le(bound)
            return s['tidegate_request_duration_seconds_bucket{service="shop",backend="a",le="' .. bound .. '"}']
        end
        assert.same({ 1, 3, 3, 7, 7 }, { le "0.0005", le "0.001", le "0.0025", le "0.005", le "0.05" })
        assert.same({ 15, 15, 31 }, { le "0.1", le "10.0", le "+Inf" })
        assert.equal(31, s['tidegate_request_duration_seconds_count{service="shop",backend="a"}'])
        assert.equal(1.5, s['tidegate_request_duration_seconds_sum{service="shop",backend="a"}'])
    end)

    it("tells what workers and master count", function()
        local w = C.board_worker(board, 1)
        w.connections, w.accepted, w.picks, w.pick_ns_sum, w.policy_errors = 3, 50, 40, 2000000000, 5
        w.interpreted = 1
        counters.reloads_ok, counters.reloads_failed = 2, 1
        counters.anomalies_high = 2
        counters.decisions, counters.decisions_up, counters.decisions_held = 10, 3, 4
        counters.loop_lag_us_max, counters.config_hash = 2500, 255
        C.watch_time(counters.loop_lag, C.FAMILY_LOOP_LAG, 0.0025)
        local question = "decide"
        counters.answers[0].what = question
        C.watch_time(counters.answers[0], C.FAMILY_POLICY_ANSWER, 9)
        local kind = "circuit_opened"
        counters.events[0].kind, counters.events[0].count = kind, 3
        local s = parse((page { engine = { state = "down" }, services = {} }))
        assert.equal(3, s['tidegate_connections{worker="1"}'])
        assert.equal(0, s['tidegate_connections{worker="0"}'])
        assert.equal(50, s['tidegate_connections_accepted_total{worker="1"}'])
        assert.equal(2, s['tidegate_pick_seconds_total{worker="1"}'])
        assert.equal(5, s['tidegate_balance_errors_total{worker="1"}'])
        assert.equal(1, s['tidegate_balance_interpreted{worker="1"}'])
        assert.equal(1, s['tidegate_reloads_total{result="refused"}'])
        assert.equal(3, s['tidegate_decisions_total{action="scale_up"}'])
        assert.equal(3, s['tidegate_decisions_total{action="no_change"}'])
        assert.equal(0, s["tidegate_engine_up"])
        assert.same({ 2, 0 }, { s['tidegate_anomalies_total{severity="high"}'], s['tidegate_anomalies_total{severity="medium"}'] })
        assert.equal(3, s['tidegate_events_total{kind="circuit_opened"}'])
        assert.equal(0.0025, s["tidegate_loop_lag_max_seconds"])
        assert.same({ 0, 1, 1 }, { s['tidegate_loop_lag_seconds_bucket{le="0.001"}'],
            s['tidegate_loop_lag_seconds_bucket{le="0.005"}'], s["tidegate_loop_lag_seconds_count"] })
        assert.equal(1, s['tidegate_policy_answer_seconds_count{question="decide"}'])
        assert.equal(1, s['tidegate_config_info{hash="00000000000000ff"}'])
        assert.is_true(s["process_resident_memory_bytes"] > MIB)
        assert.is_true(s["process_open_fds"] >= 3)
    end)

    it("leaves out what is not known", function()
        local s = parse((page {
            services = { service("shop", { { id = "a", slot = 4096 }, { id = "b" }, { slot = -1 } },
                { resources = { cpu_percent = 42.5, memory_percent = "?" } }) },
        }))
        assert.equal(0.425, s['tidegate_service_cpu_ratio{service="shop"}'])
        for series in pairs(s) do
            assert.is_nil(series:find "backend=")
        end
        assert.equal(2, s['tidegate_instances{service="shop",state="other"}'] - 1)
    end)

    local hostile = {
        'a"b', "a\\b", "a\nb", "a\\", 'x"} 1\nevil{y="', "\255\254", "\192\128", "\237\160\128", "\240\159",
        "h\195\169", ("z"):rep(10000), ('"'):rep(10000), "", "a\r\tb",
    }

    it("escapes every label, tells no series twice, and promtool agrees", function()
        local services = {}
        for i, name in ipairs(hostile) do
            -- cJSON gives bytes through as they are; cjson encodes them so.
            services[i] = service(name, {
                { id = name, slot = i, state = name },
                { id = name, slot = i + 100, state = "up" },
            }, { desired = 1, generation = 2, resources = { cpu_percent = 1 } })
        end
        local text = page { engine = { state = "up" }, services = services }
        local s = parse(text)
        assert.is_nil(s["evil"])
        assert.equal(1, s['tidegate_instances_desired{service="a\\"b"}'])
        assert.equal(1, s['tidegate_instances_desired{service="a\\\\b"}'])
        assert.equal(1, s['tidegate_instances_desired{service="a\\nb"}'])
        assert.equal(1, s['tidegate_instances_desired{service="h\195\169"}'])
        -- Three of them look the same: they are one series.
        assert.equal(3, s['tidegate_instances_desired{service="\239\191\189\239\191\189"}'])

        if os.execute "command -v promtool >/dev/null 2>&1" ~= 0 then
            pending "promtool is not installed"
            return
        end
        local name = os.tmpname()
        local file = assert(io.open(name, "w"))
        file:write(text)
        file:close()
        local pipe = io.popen("promtool check metrics <" .. name .. " 2>&1; echo rc=$?")
        local said = pipe:read "*a"
        pipe:close()
        os.remove(name)
        assert.equal("rc=0\n", said)
    end)

    local function apply(config, now_ms)
        local text = cjson.encode(config)
        local json = C.json_parse(text, #text)
        C.watch_routes_apply(routes, json, now_ms or 0)
        local ids = {}
        for _, s in ipairs(config.services) do
            for _, route in ipairs(s.routes) do
                local one = cjson.encode(route)
                local parsed = C.json_parse(one, #one)
                ids[#ids + 1] = C.board_route_identity(s.name, parsed)
                C.json_free(parsed)
            end
        end
        C.json_free(json)
        return unpack(ids)
    end

    it("tells what clients were answered by the path of the route, as the seed does and as we do", function()
        local id, same = apply { services = { { name = "shop", routes = { { path = "/api" }, { path = "/api", host = "b.example" } } } } }
        for w = 0, 1 do
            local t = C.board_traffic_new(board, w)
            for _, route in ipairs { id, same } do
                C.board_traffic_count(t, route, 1, 200)
                C.board_traffic_count(t, route, 0, 503)
                local times = C.board_traffic_times(t, route, 1)
                times.in_flight, times.repeated = 2, 1
                C.board_traffic_observe(times, 800)
                C.board_traffic_observe(times, 3000000)
            end
            C.board_traffic_count(t, 12345, 1, 200) -- a route that nobody knows
            C.board_traffic_free(t)
        end
        local s = parse(page { services = {} })
        local who = 'service_name="shop",endpoint="/api",method="GET"'
        assert.equal(4, s["data_service_requests_total{" .. who .. ',status="200"}'])
        assert.equal(4, s['data_service_requests_total{service_name="shop",endpoint="/api",method="other",status="503"}'])
        local function le(bound)
            return s["data_service_request_duration_seconds_bucket{" .. who .. ',le="' .. bound .. '"}']
        end
        assert.same({ 4, 4, 8, 8 }, { le "0.1", le "2.5", le "5.0", le "+Inf" })
        assert.equal(8, s["data_service_request_duration_seconds_count{" .. who .. "}"])
        assert.is_true(math.abs(12.0032 - s["data_service_request_duration_seconds_sum{" .. who .. "}"]) < 1e-9)
        local route = 'service="shop",route="/api"'
        assert.equal(4, s["tidegate_route_requests_total{" .. route .. ',code="5xx"}'])
        assert.equal(0, s["tidegate_route_requests_total{" .. route .. ',code="4xx"}'])
        assert.equal(0, s["tidegate_route_request_duration_seconds_bucket{" .. route .. ',le="0.0005"}'])
        assert.equal(4, s["tidegate_route_request_duration_seconds_bucket{" .. route .. ',le="0.001"}'])
        assert.same({ 8, 4 }, { s["tidegate_route_in_flight{" .. route .. "}"], s["tidegate_route_retries_total{" .. route .. "}"] })
        for series in pairs(s) do
            assert.is_nil(series:find "12345")
        end
    end)

    it("has the seed's and our own bounds among those of the board", function()
        local on_board = {}
        for i = 0, C.BOARD_TIME_BUCKETS - 2 do
            on_board[tonumber(C.board_time_bound_us(i))] = true
        end
        for _, family in ipairs { C.FAMILY_DATA_SERVICE_REQUEST_DURATION, C.FAMILY_ROUTE_REQUEST_DURATION } do
            for i = 0, C.family_bounds(family) - 1 do
                local bound = C.family_kind(family).bounds[i]
                assert.is_true(on_board[math.floor(bound.value * 1e6 + 0.5)], ffi.string(bound.text))
            end
        end
    end)

    it("tells what came of a channel's messages", function()
        local families = ffi.gc(C.families_new(2000, 100), C.families_free)
        local name, channel = 'o"ps', ffi.new "struct watch_channel"
        channel.channel, channel.sent, channel.failed, channel.dropped, channel.waiting = name, 5, 4, 1, 2
        C.families_begin(families, 1000)
        C.watch_channel(families, channel)
        local buf, place = ffi.new "struct buf[1]", ffi.new "struct families_place"
        C.buf_init(buf, MIB)
        repeat
            assert.equal(0, C.families_render(families, C.FAMILIES_TEXT, place, MIB, buf))
        until place.done
        local s = parse(ffi.string(C.buf_str(buf), buf[0].len))
        C.buf_free(buf)
        local who = '{channel="o\\"ps"'
        assert.same({ 5, 4, 1, 2 }, { s["tidegate_notifications_total" .. who .. ',result="sent"}'],
            s["tidegate_notifications_total" .. who .. ',result="failed"}'],
            s["tidegate_notifications_total" .. who .. ',result="dropped"}'], s["tidegate_notifications_waiting" .. who .. "}"] })
    end)

    it("names a container by 12 digits, a process by its instance", function()
        local s = parse(page {
            services = { service("shop", {
                { id = "shop-1", engine_id = ("0123456789abcdef"):rep(4), cpu_percent = 12.5, memory_bytes = 1000 },
                { id = "shop-2", engine_id = "12345", cpu_percent = 0 },
            }) },
        })
        assert.equal(12.5, s['data_service_cpu_usage_percent{service_name="shop",container_id="0123456789ab"}'])
        assert.equal(1000, s['data_service_memory_usage_bytes{service_name="shop",container_id="0123456789ab"}'])
        assert.equal(0, s['data_service_cpu_usage_percent{service_name="shop",container_id="shop-2"}'])
        assert.is_nil(s['data_service_memory_usage_bytes{service_name="shop",container_id="shop-2"}'])
    end)

    local function said(views, families)
        local text = cjson.encode(views)
        local json = C.json_parse(text, #text)
        C.families_begin(families, 1000)
        C.watch_data_service(data, families, "shop", json, 1000)
        C.json_free(json)
        local out = parse((page({ services = {} }, families)))
        return out
    end

    it("counts what services say of their data, over instances that come, begin anew and go", function()
        local families = ffi.gc(C.families_new(2000, 100), C.families_free)
        local records = 'data_processing_records_total{service_name="shop",dataset_type="orders",processing_stage="load"}'
        local function views(counts)
            local out = {}
            for id, count in pairs(counts) do
                out[id] = { data_processing = { records = { orders = { load = count } } } }
            end
            return out
        end
        for _, step in ipairs {
            { { a = 10 }, 10 }, { { a = 15, b = 5 }, 20 }, { { b = 6 }, 21 }, { { b = 2 }, 23 }, { { b = 2 }, 23 },
            { { c = 100 }, 123 }, { { b = 3, c = 100 }, 124 },
        } do
            assert.equal(step[2], said(views(step[1]), families)[records])
        end
    end)

    it("maps the rest of the data answer, and leaves out what is no number", function()
        local families = ffi.gc(C.families_new(2000, 100), C.families_free)
        local one = { data_processing = {
            records = { orders = 7, bad = "x", worse = { load = -1, ["tidy\n\""] = 2 } },
            errors = { parse = { warning = 3 }, lost = 1 },
            latency_seconds = {
                merge = { count = 10, sum = 4.5, buckets = { ["0.01"] = 1, ["0.1"] = 4, ["0.3"] = 6, ["1"] = 9, ["+Inf"] = 10 } },
                sort = { count = 4, sum = 1 }, none = { count = "x" },
            },
            rows_per_second = 12,
        }, data_quality = { orders = { completeness = 0.5 }, freshness = 0.75 } }
        local two = { data_quality = { orders = { completeness = 1 }, freshness = 0.75 } }
        local s = said({ a = one, b = two }, families)
        assert.equal(7, s['data_processing_records_total{service_name="shop",dataset_type="orders",processing_stage="all"}'])
        assert.equal(2, s['data_processing_records_total{service_name="shop",dataset_type="worse",processing_stage="tidy\\n\\""}'])
        assert.is_nil(s['data_processing_records_total{service_name="shop",dataset_type="worse",processing_stage="load"}'])
        assert.equal(3, s['data_processing_errors_total{service_name="shop",error_type="parse",severity="warning"}'])
        assert.equal(1, s['data_processing_errors_total{service_name="shop",error_type="lost",severity="error"}'])
        assert.equal(0.75, s['data_quality_score{service_name="shop",dataset_id="orders",quality_dimension="completeness"}'])
        assert.equal(0.75, s['data_quality_score{service_name="shop",dataset_id="all",quality_dimension="freshness"}'])
        local function le(operation, bound)
            return s[('data_processing_latency_seconds_bucket{service_name="shop",operation_type="%s",le="%s"}'):format(operation, bound)]
        end
        assert.same({ 1, 4, 6, 9, 9, 9, 9, 10 }, { le("merge", "0.01"), le("merge", "0.1"), le("merge", "0.5"), le("merge", "1.0"),
            le("merge", "5.0"), le("merge", "10.0"), le("merge", "30.0"), le("merge", "+Inf") })
        assert.same({ 0, 4 }, { le("sort", "0.1"), le("sort", "0.5") }) -- without buckets: at the mean
        assert.equal(4.5, s['data_processing_latency_seconds_sum{service_name="shop",operation_type="merge"}'])
        assert.is_nil(le("none", "+Inf"))
    end)

    it("keeps what services say within the limits of series and labels", function()
        local families = ffi.gc(C.families_new(2000, 100), C.families_free)
        local records = {}
        for i = 1, 5000 do
            records["set" .. i] = { [("stage"):rep(1000)] = 1 }
        end
        local s = said({ a = { data_processing = { records = records } } }, families)
        local count = 0
        for series in pairs(s) do
            count = count + (series:find "^data_processing_records_total" and 1 or 0)
        end
        assert.equal(101, count)
        assert.is_true(s['tidegate_metrics_series_dropped_total{family="data_processing_records_total"}'] > 0)
    end)
end)
