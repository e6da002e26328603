local loop = require "loop"
local C, ffi = require("ffi_room").load("base/json.h", "base/mem.h", "base/clock.h", "net/net.h", "watch/collect.h")
local cjson = require "cjson"

describe("watch/collect", function()
    local run, client, server, collect

    before_each(function()
        run = loop.new()
        local ret = ffi.new "struct net_client *[1]"
        assert.equal(0, C.net_client_new(run:uv(), ret, ffi.new "char *[1]"))
        client = ret[0]
        server = run:server()
        collect = C.collect_new(client, nil, nil)
    end)

    after_each(function()
        C.collect_close(collect)
        C.net_client_close(client)
        server:close()
        assert.equal(0, run:free())
    end)

    local function with(t, fn)
        local text = cjson.encode(t)
        local json = C.json_parse(text, #text)
        fn(json)
        C.json_free(json)
    end

    local function apply(what, alerts)
        what.interval_ms = what.interval_ms or 100
        with({ services = { { name = "shop", collect = what } }, alerts = alerts or {} }, function(json)
            C.collect_apply(collect, json)
        end)
    end

    local function follow(instances)
        local list = {}
        for id, address in pairs(instances) do
            list[#list + 1] = { id = id, address = address, state = "up" }
        end
        with({ services = { { name = "shop", instances = list } } }, function(json)
            C.collect_follow(collect, json, C.clock_now_ms())
        end)
    end

    local function view(instance, now_ms)
        local json = C.collect_view(collect, "shop", instance or "shop-1", now_ms or C.clock_now_ms())
        local text = C.json_text(json)
        local t = cjson.decode(ffi.string(text))
        C.mem_free(text)
        C.json_free(json)
        return t
    end

    local function failures()
        local count = 0
        local fn = ffi.cast("collect_failures_fn *", function(_, _, n)
            count = tonumber(n)
        end)
        C.collect_failures(collect, fn, nil)
        fn:free()
        return count
    end

    local function targets()
        local all = {}
        local fn = ffi.cast("collect_target_fn *", function(_, t)
            all[ffi.string(t.instance) .. "/" .. ffi.string(C.collect_endpoint_name(t.endpoint))] = {
                tried = t.tried, up = t.up, fresh = t.fresh, error = ffi.string(t.error), tries = tonumber(t.tries),
                samples = tonumber(t.samples), bad = tonumber(t.bad),
            }
        end)
        C.collect_each(collect, C.clock_now_ms(), fn, nil)
        fn:free()
        return all
    end

    local function wait(condition)
        return assert.is_true(run:wait(function()
            C.collect_tick(collect, C.clock_now_ms())
            return condition() and true or false
        end))
    end

    local function collected(value)
        return function()
            return view().collected == value
        end
    end

    -- Until every target was asked `times` more.
    local function wait_tries(times)
        local before = targets()
        wait(function()
            for name, t in pairs(targets()) do
                if t.tries < (before[name] and before[name].tries or 0) + times then
                    return false
                end
            end
            return true
        end)
    end

    it("puts answers into their groups", function()
        server:answer("/health", 503, '{"status":"degraded","queue":7}')
        server:answer("/perf", 200, '{"p99":0.25,"throughput":12}')
        server:answer("/data", 200, '{"records_total":100,"data_quality":{"completeness":0.9}}')
        server:answer("/metrics", 200, "# TYPE jobs_total counter\njobs_total 5\ntemperature 21.5\n")
        apply { health = "/health", performance = "/perf", data = "/data", prometheus = "/metrics" }
        assert.same({ performance = cjson.null }, view()) -- and never the balancer's word in its place
        follow { ["shop-1"] = server:address() }
        assert.is_nil(view().collected)
        wait_tries(1)
        local v = view()
        assert.same({ status = "degraded", queue = 7 }, v.health)
        assert.same({ p99 = 0.25, throughput = 12 }, v.performance)
        assert.same({ { records_total = 100 }, { completeness = 0.9 } }, { v.data_processing, v.data_quality })
        assert.same({ 5, 21.5, 1 }, { v.prometheus.jobs_total, v.prometheus.temperature, v.collected })
        assert.equal(0, failures())
        server:answer("/metrics", 200, "# TYPE jobs_total counter\njobs_total 9\n")
        wait(function()
            return (view().prometheus["jobs_total:rate"] or 0) > 0
        end)
        assert.is_nil(view().prometheus.temperature)
        assert.is_true(server:accepts() <= 4, "connections are kept")
    end)

    it("makes figures absent when a try fails, counts it, and shows them again", function()
        server:answer("/perf", 200, '{"p99":0.25}')
        apply { performance = "/perf" }
        follow { ["shop-1"] = server:address() }
        wait(collected(1))
        local cases = {
            { function() server:answer("/perf", 500, '{"p99":1}') end, "it answered 500" },
            { function() server:answer("/perf", 200, "<html>") end, "its answer is no JSON object" },
            { function() server:answer("/perf", 200, "[1]") end, "its answer is no JSON object" },
            { function() server:raw("/perf", "HTTP/1.1 200 X\r\nContent-Length: 50\r\n\r\n{", loop.CLOSE) end, "." },
            { function() server:raw("/perf", "garbage garbage\r\n\r\n", loop.CLOSE) end, "." },
        }
        for _, case in ipairs(cases) do
            local before = failures()
            case[1]()
            wait(collected(0))
            assert.is_true(failures() > before)
            assert.equal(cjson.null, view().performance)
            assert.matches(case[2], targets()["shop-1/performance"].error)
            server:answer("/perf", 200, '{"p99":0.5}')
            wait(collected(1))
            assert.equal(0.5, view().performance.p99)
        end
    end)

    it("waits for nobody who hangs, and for no other because of it", function()
        server:raw("/slow", "", loop.HANG)
        server:answer("/health", 200, '{"fine":true}')
        apply { health = "/health", performance = "/slow", timeout_ms = 100 }
        follow { ["shop-1"] = server:address(), ["shop-2"] = "127.0.0.1:1" }
        wait(function()
            local t = targets()
            return t["shop-1/health"].tries > 3 and t["shop-1/performance"].tries > 0 and t["shop-2/health"].tries > 0
        end)
        assert.is_true(view().health.fine)
        assert.equal(0, view().collected)
        assert.is_false(targets()["shop-1/performance"].up)
        assert.equal(0, view("shop-2").collected)
    end)

    it("takes no more than it wants", function()
        local long = '{"a":"' .. ("x"):rep(5000) .. '"}'
        server:answer("/perf", 200, long)
        server:answer("/metrics", 200, ("jobs 1\n"):rep(1000))
        apply { performance = "/perf", prometheus = "/metrics", max_body_bytes = 4000 }
        follow { ["shop-1"] = server:address() }
        wait_tries(1)
        assert.matches("longer than 4000 bytes", targets()["shop-1/performance"].error)
        assert.matches("longer than 4000 bytes", targets()["shop-1/prometheus"].error)
        assert.equal(cjson.null, view().prometheus)
        apply { performance = "/perf", prometheus = "/metrics", max_samples = 10, interval_ms = 101 }
        server:answer("/perf", 200, cjson.encode { list = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 } })
        follow { ["shop-1"] = server:address() }
        wait_tries(1)
        assert.matches("more than 10 numbers", targets()["shop-1/performance"].error)
        assert.matches("more than 10 samples", targets()["shop-1/prometheus"].error)
    end)

    it("keeps figures for a while when no try comes back, then they are stale", function()
        server:answer("/perf", 200, '{"p99":0.25}')
        apply { performance = "/perf", interval_ms = 1000, timeout_ms = 500 }
        follow { ["shop-1"] = server:address() }
        wait(collected(1))
        local now_ms = C.clock_now_ms()
        assert.equal(0.25, view("shop-1", now_ms + 1900).performance.p99)
        assert.equal(cjson.null, view("shop-1", now_ms + 2600).performance)
    end)

    it("sums a service's pages: counters, rates and buckets; means of the rest", function()
        local other = run:server()
        local function page(n, last)
            return ([[
# TYPE jobs_total counter
jobs_total{kind="a"} %d
# TYPE t histogram
t_bucket{le="0.1"} %d
t_bucket{le="1"} %d
t_bucket{le="+Inf"} %d
t_count %d
g %d
]]):format(n, n, last, last, last, n)
        end
        server:answer("/metrics", 200, page(0, 0))
        other:answer("/metrics", 200, page(0, 0))
        apply { prometheus = "/metrics" }
        follow { ["shop-1"] = server:address(), ["shop-2"] = other:address() }
        wait_tries(1)
        server:answer("/metrics", 200, page(90, 100))
        other:answer("/metrics", 200, page(0, 100))
        wait(function()
            local all = view("").prometheus
            return view("shop-1").prometheus["t:p50"] and view("shop-2").prometheus["t:p50"] and all.t_count == 200 and
                all['jobs_total{kind="a"}'] == 90 and all
        end)
        local all, one, two = view("").prometheus, view("shop-1").prometheus, view("shop-2").prometheus
        assert.equal(45, all.g)
        assert.is_true(all["t_count:rate"] > 0)
        assert.is_true(one["t:p50"] < 0.1 and two["t:p50"] > 0.1)
        assert.is_true(all["t:p50"] > 0.1 and all["t:p50"] < two["t:p50"])
        other:close()
    end)

    it("forgets who is gone, also while it is asked", function()
        server:raw("/slow", "", loop.HANG)
        apply { health = "/slow" }
        follow { ["shop-1"] = server:address() }
        wait(function()
            return server:requests() > 0
        end)
        follow {}
        assert.same({}, targets())
        follow { ["shop-1"] = server:address() }
        assert.is_not_nil(targets()["shop-1/health"])
        with({ services = {} }, function(json)
            C.collect_apply(collect, json)
        end)
        follow { ["shop-1"] = server:address() }
        assert.same({}, targets())
    end)

    it("keeps what rules name of a page however long it is", function()
        local lines = {}
        for i = 1, 1000 do
            lines[i] = ("metric_%d 1\n"):format(i)
        end
        lines[#lines + 1] = "# TYPE jobs_total counter\njobs_total 7\n"
        server:answer("/metrics", 200, table.concat(lines))
        apply({ prometheus = "/metrics" }, { { when = { metric_path = "prometheus.jobs_total:rate" } } })
        follow { ["shop-1"] = server:address() }
        wait(function()
            local page = view().prometheus
            return page ~= cjson.null and page["jobs_total:rate"]
        end)
        local v = view().prometheus
        assert.same({ 1, 7 }, { v.metric_500, v.jobs_total })
        assert.is_nil(v.metric_501)
        assert.equal(1001, targets()["shop-1/prometheus"].samples)
    end)
end)
