-- The series of the metrics page, and the page in steps.
local C, ffi = require("ffi_room").load("base/buf.h", "base/mem.h", "watch/families.h", "watch/page.h")

local KEEP = 300000
local MIB = 1024 * 1024

describe("watch/families", function()
    local f, now

    local function new(most_series, most_values)
        f = ffi.gc(C.families_new(most_series or 2000, most_values or 100), C.families_free)
        now = 1000
        C.families_begin(f, now)
    end

    local function labels(...)
        local l = ffi.new "struct labels"
        C.labels_begin(l)
        local args = { ... }
        for i = 1, #args, 2 do
            C.labels_add(l, args[i], args[i + 1])
        end
        return l
    end

    local function add(family, value, ...)
        C.families_add(f, family, labels(...), value)
    end

    -- The samples of the pass, and another begun `later_ms` after it.
    local function page(later_ms, format)
        local buf, place = ffi.new "struct buf[1]", ffi.new "struct families_place"
        C.buf_init(buf, 64 * MIB)
        repeat
            assert.equal(0, C.families_render(f, format or C.FAMILIES_TEXT, place, 300, buf))
        until place.done
        local text = ffi.string(C.buf_str(buf), buf[0].len)
        C.buf_free(buf)
        local samples = {}
        for line in text:gmatch "[^\n]+" do
            local series, value = line:match "^([%w_]+%b{}) (%S+)$"
            if not series then
                series, value = line:match "^([%w_]+) (%S+)$"
            end
            if series and not line:find "^#" then
                assert.is_nil(samples[series], line)
                samples[series] = tonumber(value)
            end
        end
        now = now + (later_ms or 15000)
        C.families_begin(f, now)
        return samples, text
    end

    before_each(function()
        new()
    end)

    it("adds what is told of one series twice", function()
        add(C.FAMILY_ROUTE_REQUESTS, 2, "service", "a", "route", "/", "code", "2xx")
        add(C.FAMILY_ROUTE_REQUESTS, 3, "service", "a", "route", "/", "code", "2xx")
        add(C.FAMILY_ROUTE_REQUESTS, 4, "service", "a", "route", "/", "code", "5xx")
        local s = page()
        assert.equal(5, s['tidegate_route_requests_total{service="a",route="/",code="2xx"}'])
        assert.equal(4, s['tidegate_route_requests_total{service="a",route="/",code="5xx"}'])
    end)

    it("never lets a counter fall while its series is there", function()
        local name = 'tidegate_route_retries_total{service="a",route="/"}'
        local shown = 0
        for _, value in ipairs { 10, 14, 3, 5, 5, 0, 2 } do
            add(C.FAMILY_ROUTE_RETRIES, value, "service", "a", "route", "/")
            local s = page()
            assert.is_true(s[name] >= shown, ("%g after %g"):format(s[name], shown))
            shown = s[name]
        end
        assert.equal(14 + 2 + 2, shown)
    end)

    it("settles also what was never rendered", function()
        add(C.FAMILY_ROUTE_RETRIES, 10, "service", "a", "route", "/")
        page()
        add(C.FAMILY_ROUTE_RETRIES, 4, "service", "a", "route", "/")
        C.families_begin(f, now + 1)
        add(C.FAMILY_ROUTE_RETRIES, 5, "service", "a", "route", "/")
        assert.equal(11, page()['tidegate_route_retries_total{service="a",route="/"}'])
    end)

    it("keeps counters of what is gone for five minutes, gauges not at all", function()
        local counts = ffi.new("uint64_t[18]", { 1, 2 })
        local function tell()
            add(C.FAMILY_BACKEND_RETRIES, 7, "service", "a", "backend", "a-1")
            add(C.FAMILY_BACKEND_IN_FLIGHT, 1, "service", "a", "backend", "a-1")
            C.families_histogram(f, C.FAMILY_BACKEND_REQUEST_DURATION, labels("service", "a", "backend", "a-1"), counts, 0.5)
        end
        local function here(s)
            return { s['tidegate_backend_retries_total{service="a",backend="a-1"}'],
                s['tidegate_request_duration_seconds_count{service="a",backend="a-1"}'],
                s['tidegate_backend_in_flight{service="a",backend="a-1"}'] }
        end
        tell()
        assert.same({ 7, 3, 1 }, here(page(KEEP - 1)))
        assert.same({ 7, 3 }, here(page(1)))
        assert.same({}, here(page(1)))
        tell()
        assert.same({ 7, 3, 1 }, here(page()))
        local size = ffi.new "struct families_size"
        C.families_size(f, size)
        assert.equal(3, tonumber(size.series))
    end)

    it("makes cumulative histograms with the bounds as they are written", function()
        local counts = ffi.new("uint64_t[18]", { 1, 0, 2, 0, 0, 0, 0, 0, 0, 4 })
        C.families_histogram(f, C.FAMILY_DATA_SERVICE_REQUEST_DURATION,
            labels("service_name", "a", "endpoint", "/", "method", "GET"), counts, 12.25)
        local s = page()
        local function at(le)
            return s[('data_service_request_duration_seconds_bucket{service_name="a",endpoint="/",method="GET",le="%s"}'):format(le)]
        end
        assert.same({ 1, 1, 3, 3, 3, 3, 3, 3, 3, 7 }, { at "0.1", at "0.5", at "1.0", at "2.5", at "5.0", at "10.0",
            at "30.0", at "60.0", at "120.0", at "+Inf" })
        assert.equal(7, s['data_service_request_duration_seconds_count{service_name="a",endpoint="/",method="GET"}'])
        assert.equal(12.25, s['data_service_request_duration_seconds_sum{service_name="a",endpoint="/",method="GET"}'])
    end)

    it("folds what is too many into other, and counts that", function()
        new(3, 2)
        for i = 1, 10 do
            add(C.FAMILY_ROUTE_RETRIES, 1, "service", "a", "route", "/" .. i)
            add(C.FAMILY_CIRCUIT_STATE, 2, "service", "a", "backend", "a-" .. i)
        end
        C.families_own(f)
        local s = page()
        assert.equal(1, s['tidegate_route_retries_total{service="a",route="/3"}'])
        assert.is_nil(s['tidegate_route_retries_total{service="a",route="/4"}'])
        assert.equal(7, s['tidegate_route_retries_total{service="other",route="other"}'])
        assert.is_nil(s['tidegate_circuit_state{service="other",backend="other"}']) -- a sum of states is none
        -- The families of tidegate_metrics_* are held to the same limit.
        new(2000, 2)
        C.families_begin(f, now)
        local function value(text, label)
            return ffi.string(C.families_value(f, C.FAMILY_DATA_QUALITY_SCORE, label or 1, text))
        end
        assert.same({ "x", "y", "other", "x", "other" }, { value "x", value "y", value "z", value "x", value "w" })
        assert.equal("z", value("z", 2))
        C.families_own(f)
        s = page(KEEP)
        assert.equal(2, s['tidegate_metrics_series_dropped_total{family="data_quality_score"}'])
        assert.equal("z", value "z") -- the others were silent for long
    end)

    it("takes other limits", function()
        new(3, 2)
        local function told(series)
            for i = 1, 10 do
                local path = ffi.string(C.families_value(f, C.FAMILY_DATA_SERVICE_REQUESTS, 1, "/" .. i))
                add(C.FAMILY_ROUTE_RETRIES, 1, "service", "a", "route", path)
            end
            local s = page()
            return s[('tidegate_route_retries_total{service="a",route="%s"}'):format(series)]
        end
        assert.same({ 8 }, { told "other" })
        C.families_limit(f, 100, 20)
        assert.equal(1, told "/7")
        C.families_limit(f, 100, 1)
        assert.is_true(told "other" >= 9)
    end)

    it("counts the other one of a full family as one, whatever comes", function()
        new(2)
        for i = 1, 5000 do
            add(C.FAMILY_ROUTE_RETRIES, 1, "service", "a", "route", "/" .. i)
        end
        local size = ffi.new "struct families_size"
        C.families_size(f, size)
        assert.equal(3, tonumber(size.series))
    end)

    local hostile = {
        { 'a"b', 'a\\"b' }, { "a\\b", "a\\\\b" }, { "a\nb", "a\\nb" }, { "h\195\169", "h\195\169" },
        { "\255\254", "\239\191\189\239\191\189" }, { "\192\128", "\239\191\189\239\191\189" },
        { "\237\160\128", ("\239\191\189"):rep(3) }, { "\240\159", "\239\191\189\239\191\189" },
        { 'x"} 1\nevil{y="', 'x\\"} 1\\nevil{y=\\"' },
    }

    it("escapes values and makes them UTF-8 when a series is made", function()
        for _, pair in ipairs(hostile) do
            local l = labels("x", pair[1])
            assert.equal(('x="%s"'):format(pair[2]), ffi.string(l.text, l.len))
        end
        for _, long in ipairs { ("z"):rep(10 * MIB), ('"'):rep(10 * MIB), ("\255"):rep(10 * MIB), ("\226\130\172"):rep(MIB) } do
            local l = labels("a", long, "b", long, "c", long, "d", long)
            assert.is_true(l.len <= C.LABELS_BYTES)
            local text = ffi.string(l.text, l.len)
            assert.truthy(text:find '"$')
            assert.is_nil(text:gsub('\\"', ""):find '[^=]"[^,]')
        end
    end)

    it("makes one series of values that look the same", function()
        add(C.FAMILY_CONNECTIONS, 1, "worker", "\255")
        add(C.FAMILY_CONNECTIONS, 2, "worker", "\254")
        assert.equal(3, page()['tidegate_connections{worker="\239\191\189"}'])
    end)

    it("names counters as OpenMetrics wants, and ends the page", function()
        add(C.FAMILY_ROUTE_RETRIES, 1, "service", "a", "route", "/")
        local _, text = page(1, C.FAMILIES_OPENMETRICS)
        assert.truthy(text:find("# TYPE tidegate_route_retries counter\ntidegate_route_retries_total{", 1, true))
        assert.truthy(text:find "\n# EOF\n$")
        assert.is_nil(text:find "_created")
    end)

    it("writes numbers so that they can be read back", function()
        local room = ffi.new "char[32]"
        local function written(value)
            return ffi.string(room, C.exposition_number(room, value))
        end
        assert.same({ "0", "1", "-3", "0.000801", "12.5", "1234567890123456", "-0.25" },
            { written(0), written(1), written(-3), written(0.0005 + 0.000301), written(12.5), written(1234567890123456), written(-0.25) })
        for _, value in ipairs { 1e-9, 1 / 3, 1e300, 2 ^ 60, 1e15 + 0.5, 4.2e-7 } do
            assert.is_true(math.abs(tonumber(written(value)) - value) <= value * 1e-14, written(value))
        end
    end)
end)

describe("watch/page", function()
    it("speaks OpenMetrics to who prefers it", function()
        local scraper = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
            .. "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
        local cases = {
            { "", 0 }, { "*/*", 0 }, { scraper, 1 }, { "text/plain", 0 }, { "application/openmetrics-text", 1 },
            { "application/openmetrics-text; version=1.0.0; charset=utf-8;q=0.3, text/plain;q=0.4", 0 },
            { "application/openmetrics-text;version=2.0.0,text/plain;q=0.5", 0 },
            { "application/openmetrics-text;q=0", 0 }, { "APPLICATION/OpenMetrics-Text;Version=1.0.0", 1 },
            { "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6," .. scraper, 1 },
            { "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", 0 },
            { ",,;;q=,;=", 0 }, { "application/openmetrics-text;q=x", 0 },
        }
        for _, case in ipairs(cases) do
            assert.equal(case[2], tonumber(C.page_format(case[1])), case[1])
        end
        for accepted, wanted in pairs { [""] = false, gzip = true, ["deflate, gzip;q=1.0, *;q=0.5"] = true, ["gzip;q=0"] = false,
            ["*"] = true, identity = false, ["gzip;q=0, *"] = false, ["GZIP"] = true, ["gzipped"] = false } do
            assert.equal(wanted, C.page_gzip(accepted), accepted)
        end
    end)
end)
