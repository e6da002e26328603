-- Rates and quantiles of collected pages are what a real Prometheus makes of the same samples.
local C, ffi = require("ffi_room").load("base/json.h", "base/mem.h", "watch/promtext.h", "watch/scrape.h")
local cjson = require "cjson"
local find = require("shell").find
local tidegate = require "tidegate"

local STEP_S, PAGES = 15, 5

-- Counters that grow by chance, and begin anew once in a while: { name{labels} -> values by page }.
local function history(seed)
    math.randomseed(seed)
    local series, order = {}, {}
    local function set(name, page, value)
        if not series[name] then
            series[name] = {}
            order[#order + 1] = name
        end
        series[name][page] = value
    end
    for _, instance in ipairs { "a", "b", "c" } do
        local total, counts = math.random(1000), {}
        local bounds = { "0.005", "0.01", "0.1", "0.25", "1.0", "2.5", "+Inf" }
        for page = 1, PAGES do
            local anew = page > 1 and math.random() < 0.3
            total = (anew and 0 or total) + math.random(0, 500)
            set(('jobs_total{instance="%s"}'):format(instance), page, total)
            local sum = 0
            for i, bound in ipairs(bounds) do
                counts[i] = (anew and 0 or counts[i] or 0) + math.random(0, 5) ^ 3
                sum = sum + counts[i]
                set(('t_bucket{instance="%s",le="%s"}'):format(instance, bound), page, sum)
            end
        end
    end
    table.sort(order)
    return series, order
end

describe("collected pages", function()
    local start_s = math.floor(os.time() / 60) * 60 - 7200

    local function page(series, order, n)
        local lines, family = {}, nil
        for _, name in ipairs(order) do
            local now = name:match "^t_" and "# TYPE t histogram\n" or "# TYPE jobs_total counter\n"
            lines[#lines + 1] = (family ~= now and now or "") .. ("%s %d\n"):format(name, series[name][n])
            family = now
        end
        return table.concat(lines)
    end

    -- The group "prometheus" of a view after all pages; lines of instance `only` or of all in one page.
    local function ours(series, order, only)
        local scrape = ffi.gc(C.scrape_new(nil), C.scrape_free)
        local mine = {}
        for _, name in ipairs(order) do
            if not only or name:find('instance="' .. only .. '"', 1, true) then
                mine[#mine + 1] = name
            end
        end
        for n = 1, PAGES do
            local p, text = ffi.new "struct promtext", page(series, mine, n)
            local now_ms = 1000 + n * STEP_S * 1000
            C.scrape_begin(scrape, now_ms, now_ms)
            C.promtext_init(p, ffi.cast("promtext_sample_fn *", C.scrape_sample), scrape)
            C.promtext_feed(p, text, #text)
            C.promtext_end(p)
            C.promtext_free(p)
            C.scrape_end(scrape)
        end
        local list = ffi.new("struct scrape *[1]", scrape)
        local json = C.scrape_view(list, 1, 1000 + PAGES * STEP_S * 1000)
        local text = C.json_text(json)
        local view = cjson.decode(ffi.string(text))
        C.mem_free(text)
        C.json_free(json)
        return view
    end

    local function prometheus(t, series, order)
        local lines = { "# TYPE jobs counter" }
        for _, name in ipairs(order) do
            if name:match "^t_" and not lines.histogram then
                lines[#lines + 1] = "# TYPE t histogram"
                lines.histogram = true
            end
            for n = 1, PAGES do
                lines[#lines + 1] = ("%s %d %d"):format(name, series[name][n], start_s + (n - 1) * STEP_S)
            end
        end
        lines[#lines + 1] = "# EOF\n"
        t:write("pages.om", (table.concat(lines, "\n"):gsub("@", "")))
        t:write("prometheus.yml", "global: {}\n")
        assert.equal(0, os.execute(("promtool tsdb create-blocks-from openmetrics %s/pages.om %s/data >%s/promtool 2>&1")
            :format(t.dir, t.dir, t.dir)))
        t:run_beside(find "prometheus", "--config.file=" .. t.dir .. "/prometheus.yml", "--storage.tsdb.path=" .. t.dir .. "/data",
            "--web.listen-address=127.0.0.1:" .. t:port "PORT9", "--log.level=error")
        t:wait("Prometheus", function()
            local answer = t:get("/-/ready", { port = t:port "PORT9" })
            return answer and answer.status == 200
        end)
        return function(query)
            local encoded = query:gsub("[^%w]", function(c)
                return ("%%%02X"):format(c:byte())
            end)
            local answer = t:get(("/api/v1/query?time=%d&query=%s"):format(start_s + (PAGES - 1) * STEP_S, encoded),
                { port = t:port "PORT9" })
            assert.equal(200, answer.status, answer.body)
            local result = cjson.decode(answer.body).data.result
            assert.equal(1, #result, query)
            return tonumber(result[1].value[2])
        end
    end

    local function same(expected, got, what)
        assert.equal("number", type(got), what)
        assert.is_true(math.abs(expected - got) <= 1e-9 * math.max(1, math.abs(expected)),
            ("%s: %.17g, not %.17g"):format(what, got, expected))
    end

    it("mean what Prometheus says they mean", tidegate.test(function(t)
        if not (find "prometheus" and find "promtool") then
            pending "prometheus is not installed"
            return
        end
        local series, order = history(7)
        local resets = 0
        for _, values in pairs(series) do
            for n = 2, PAGES do
                resets = resets + (values[n] < values[n - 1] and 1 or 0)
            end
        end
        assert.is_true(resets > 0)
        local ask = prometheus(t, series, order)
        local window = ("[%ds]"):format((PAGES - 1) * STEP_S)
        for _, instance in ipairs { "a", "b", "c" } do
            local own, pick = ours(series, order, instance), ('{instance="%s"}'):format(instance)
            same(ask("rate(jobs_total" .. pick .. window .. ")"), own["jobs_total" .. pick .. ":rate"], "rate of " .. instance)
            for _, q in ipairs { 0.5, 0.95, 0.99 } do
                same(ask(("histogram_quantile(%g, rate(t_bucket%s%s))"):format(q, pick, window)),
                    own[("t%s:p%d"):format(pick, q * 100)], ("p%d of %s"):format(q * 100, instance))
            end
        end
    end))
end)
