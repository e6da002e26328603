-- Pictures of simulations: what is drawn where, that they are well-formed, and that they need nothing from elsewhere.
local ffi = require "ffi"
local C = require("ffi_room").load("base/mem.h", "base/buf.h", "base/json.h", "sim/sim.h")

-- Names of the elements in their order; fails where they are not closed in turn.
local function elements(text)
    local open, seen = {}, {}
    for closing, name, rest in text:gsub("<!.->", ""):gmatch "<(/?)([%a][%w]*)([^>]*)>" do
        if closing == "/" then
            assert.equal(open[#open], name)
            open[#open] = nil
        else
            seen[#seen + 1] = name
            if not rest:find "/$" and name ~= "meta" then
                open[#open + 1] = name
            end
        end
    end
    assert.same({}, open)
    return seen
end

local function count(list, name)
    local n = 0
    for _, one in ipairs(list) do
        n = n + (one == name and 1 or 0)
    end
    return n
end

describe("sim plot", function()
    -- Runs of `ticks`: load i, one instance in traffic, two paid for, the best plan three; violated where violated(i).
    local function picture(how, names, ticks, violated, begin_s)
        local hold, runs = {}, ffi.new("struct sim_plot_run[?]", #names)
        local function series(value)
            local list = ffi.new("double[?]", ticks)
            for i = 0, ticks - 1 do
                list[i] = value or i
            end
            hold[#hold + 1] = list
            return list
        end
        for n, name in ipairs(names) do
            local result, bad = ffi.new "struct sim_result", ffi.new("bool[?]", ticks)
            for i = 0, ticks - 1 do
                bad[i] = violated(i)
            end
            result.ready, result.wanted, result.best, result.rate = series(1), series(2), series(3), series()
            result.violated, result.ticks, result.hours, result.cost, result.violation_pct = bad, ticks, 24, 1.25, 0.5
            local decisions = ffi.new("char[64]", "15 s: scale up: 1 -> 2: <b>\n")
            result.worst_count, result.worst[0] = 1, { from_s = 3600, until_s = 3660, excess = 60, decisions = decisions }
            hold[#hold + 1], hold[#hold + 2], hold[#hold + 3], hold[#hold + 4] = result, bad, name, decisions
            runs[n - 1].name, runs[n - 1].result = name, result
        end
        local o = ffi.new("struct sim_options", { startup_ms = 30000, slo_ms = 400, service_ms = 80, capacity = 100, max = 4 })
        local plot = ffi.new("struct sim_plot", { title = "a & b", options = o, runs = runs, count = #names,
            begin_s = begin_s or -1 })
        local out = ffi.new "struct buf"
        C.buf_init(out, 32 * 1048576)
        C["sim_plot_" .. how](out, plot)
        local text = ffi.string(C.buf_str(out))
        C.buf_free(out)
        return text
    end

    local function never()
        return false
    end

    it("draws the load and a panel for each run", function()
        local text = picture("svg", { "threshold", "target_tracking:cpu=60" }, 600, never)
        local all = elements(text)
        assert.equal("svg", all[1])
        assert.equal(1, count(all, "svg"))
        for _, class in ipairs { "load", "billed", "ready", "best" } do
            local _, n = text:gsub('class="' .. class .. '" d="M56', "")
            assert.equal(class == "load" and 1 or 2, n, class)
        end
        assert.matches(">load, requests/s</text>", text)
        assert.matches(">a &amp; b</text>", text)
        assert.matches(">target_tracking:cpu=60</text>", text)
        assert.matches(">0.50 %% of the time violated, cost 1.25, ", text)
        assert.matches("prefers%-color%-scheme:dark", text)
        -- three is the most, at the height of 3 of 3: the best plan is a line at the panel's upper edge
        local best = tonumber(text:match 'class="best" d="M56 ([%d.]+)H976"')
        local ready = tonumber(text:match 'class="ready" d="M56 ([%d.]+)H976"')
        assert.near(2 / 3 * 120, ready - best, 0.2)
    end)

    it("needs nothing from elsewhere", function()
        for _, how in ipairs { "svg", "html" } do
            local text = picture(how, { "threshold" }, 100, never)
            text = text:gsub('xmlns="http://www.w3.org/2000/svg"', "")
            for _, what in ipairs { "http", "src=", "href", "@import", "url%(", "<script" } do
                assert.is_nil(text:find(what), what)
            end
        end
    end)

    it("hangs bars as long as the part of a column that was violated", function()
        local function bars(ticks, violated)
            local path = picture("svg", { "x" }, ticks, violated):match 'class="violated" d="([^"]*)"'
            local list = {}
            for x, to, length in path:gmatch "M([%d.]+) [%d.]+H([%d.]+)v([%d.]+)" do
                list[#list + 1] = { tonumber(x), tonumber(to), tonumber(length) }
            end
            return list
        end
        assert.same({}, bars(920, never))
        -- a tick a column: as high as the panel
        assert.same({ { 56 + 100, 56 + 101, 120 } }, bars(920, function(i) return i == 100 end))
        -- ten ticks a column, five of them
        assert.same({ { 56 + 10, 56 + 11, 60 } }, bars(9200, function(i) return i >= 100 and i < 105 end))
        -- however short it was, it is seen
        assert.same({ { 56, 57, 2 } }, bars(920 * 500, function(i) return i == 7 end))
    end)

    it("tells hours since the beginning, or of the clock", function()
        local text = picture("svg", { "x" }, 17280, never)
        assert.matches('class="hour"[^>]*>0h<', text)
        assert.matches(">21h<", text)
        text = picture("svg", { "x" }, 17280, never, 1769860200) -- 2026-01-31 11:50
        assert.matches(">12:00<", text)
        assert.matches(">09:00<", text)
        assert.matches(">3d<", (picture("svg", { "x" }, 17280 * 5, never)))
        assert.matches(">02%-03<", (picture("svg", { "x" }, 17280 * 5, never, 1769860200)))
        assert.matches(">0:10<", (picture("svg", { "x" }, 720, never)))
    end)

    it("writes a page with the figures and the worst intervals", function()
        local text = picture("html", { "x", "y" }, 720, never)
        local all = elements(text)
        assert.equal(1, count(all, "svg"))
        assert.equal(3, count(all, "tr"))
        assert.matches("<h2>x: worst intervals, with the decisions around their end</h2>", text)
        assert.matches("<dt>1:00:00, for 60 s, 60 instance seconds short</dt>\n"
            .. "<dd>0:00:15: scale up: 1 %-&gt; 2: &lt;b&gt;</dd>", text)
        assert.matches("<title>a &amp; b</title>", text)
        assert.matches("<dt>01%-31 12:50:00, for", (picture("html", { "x" }, 720, never, 1769860200)))
    end)

    it("says so when it draws not all", function()
        local names = {}
        for i = 1, 30 do
            names[i] = "p" .. i
        end
        local text = picture("html", names, 50, never)
        assert.matches("<p>The first 24 of 30 runs are drawn.</p>", text)
        assert.equal(24, select(2, text:gsub('class="best" d="M56', "")))
    end)
end)
