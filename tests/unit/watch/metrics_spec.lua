local C, ffi = require("ffi_room").load("base/buf.h", "base/json.h", "base/mem.h", "board/board.h", "watch/watch.h")
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
    local board, counters

    local function page(status, limit)
        local buf = ffi.new "struct buf[1]"
        C.buf_init(buf, limit or 8 * MIB)
        local text = cjson.encode(status)
        local json = C.json_parse(text, #text)
        local rc = C.watch_metrics(buf, board, json, counters)
        C.json_free(json)
        local out = ffi.string(C.buf_str(buf), buf[0].len)
        C.buf_free(buf)
        return out, rc
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
            services = { service("shop", { { id = "shop-1", slot = 5, state = "up" } }, { desired = 2, min = 1, max = 4, traffic = { queue = 7 } }) },
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
        counters.decisions, counters.decisions_up, counters.decisions_held = 10, 3, 4
        counters.loop_lag_us_max = 2500
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
        assert.equal(3, s['tidegate_events_total{kind="circuit_opened"}'])
        assert.equal(0.0025, s["tidegate_loop_lag_seconds"])
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
        parse((page(cjson.null)))
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
        assert.equal(1, s['tidegate_instances_desired{service="\239\191\189\239\191\189"}'])

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

    it("says so when the page does not fit", function()
        local _, rc = page({ services = {} }, 1000)
        assert.equal(-105, rc)
    end)
end)
