-- The simulation: its model against Erlang's formula, its oracle against plans by hand, traces, whole runs.
local ffi = require "ffi"
local C = require("ffi_room").load("base/mem.h", "base/json.h", "sim/sim.h")

ffi.cdef [[
double model_slower(double workers, double rate_each, double load, double t);
double oracle_ticks(const double *need, size_t count, size_t from, uint32_t min, uint32_t max, size_t startup_ticks);
void oracle_plan(const double *need, size_t count, uint32_t min, uint32_t max, size_t startup_ticks, double *ret_plan);
]]

local function options(over)
    local o = ffi.new("struct sim_options", { startup_ms = 30000, slo_ms = 400, timeout_ms = 5000, service_ms = 80,
        capacity = 100, noise = 1, seed = 1, min = 1, max = 40, warm_ticks = 0 })
    for key, value in pairs(over or {}) do
        o[key] = value
    end
    return o
end

-- Calls it with a char ** at the end; the sentence when it failed.
local function sentence(call)
    local why = ffi.new "char *[1]"
    local code = call(why)
    local text = why[0] ~= nil and ffi.string(why[0]) or nil
    C.mem_free(why[0])
    return code, text
end

local function with_file(text, use)
    local name = os.tmpname()
    local file = assert(io.open(name, "w"))
    file:write(text)
    file:close()
    local ok, why = pcall(use, name)
    os.remove(name)
    assert(ok, why)
end

local function read(name, days)
    local trace = ffi.new "struct sim_trace"
    local code, why = sentence(function(reterr) return C.sim_trace_read(name, days or 366, trace, reterr) end)
    return code == 0 and trace or nil, why
end

local function trace_of(rates)
    local trace = ffi.new "struct sim_trace"
    trace.count = #rates
    trace.rate = ffi.cast("double *", C.mem_array(#rates, 8))
    for i, rate in ipairs(rates) do
        trace.rate[i - 1] = rate
    end
    return trace
end

-- A policy over a trace: figures, ready and billed instances by tick.
local function run(policy, params, trace, over)
    local o, config, result = options(over), ffi.new "struct cJSON *[1]", ffi.new "struct sim_result"
    local code, why = sentence(function(reterr) return C.sim_policy_load(policy, params, o, config, reterr) end)
    assert(code == 0, why)
    code, why = sentence(function(reterr) return C.sim_run(o, trace, config[0], result, reterr) end)
    assert(code == 0, why)
    C.json_free(config[0])
    return ffi.gc(result, C.sim_result_free)
end

describe("sim", function()
    it("knows the highest load that keeps the objective", function()
        -- 8 servers of 12.5/s, 95 % within 400 ms: 0.902
        assert.near(0.902, C.sim_highest_load(options()), 0.001)
        assert.near(0.05, C.model_slower(8, 12.5, C.sim_highest_load(options()), 0.4), 1e-6)
        -- one server: M/M/1, whose response time is exponential with the spare rate
        assert.near(math.exp(-(10 - 6) * 0.5), C.model_slower(1, 10, 0.6, 0.5), 1e-9)
    end)

    it("plans best: runs on need, through gaps as long as a start, and pays each start", function()
        local function ticks(need, startup, min, from)
            return C.oracle_ticks(ffi.new("double[?]", #need, need), #need, from or 0, min or 1, 3, startup)
        end
        assert.equal(6, ticks({ 1, 1, 1, 1, 1, 1 }, 2))
        assert.equal(6 + 2 + 2, ticks({ 1, 2, 2, 1, 1, 1 }, 2)) -- two of use, two to start
        assert.equal(6 + 2 + 4, ticks({ 1, 2, 1, 1, 2, 1 }, 2)) -- a gap of two is kept
        assert.equal(6 + 2 + 4, ticks({ 1, 2, 1, 2, 2, 1 }, 2))
        assert.equal(6 + 3 + 3, ticks({ 1, 2, 1, 1, 1, 2 }, 2) - 0) -- of three not: another start
        assert.equal(12, ticks({ 1, 1, 1, 1, 1, 1 }, 2, 2))
        assert.equal(2 + 2 + 2, ticks({ 9, 9 }, 0)) -- never more than max
        assert.equal(2, ticks({ 2, 1, 1, 1 }, 1, 1, 2)) -- only what is scored
    end)

    it("draws the best plan tick by tick, as it is paid", function()
        local function plan(need, startup)
            local drawn, all = ffi.new("double[?]", #need), {}
            C.oracle_plan(ffi.new("double[?]", #need, need), #need, 1, 3, startup, drawn)
            for i = 1, #need do
                all[i] = drawn[i - 1]
            end
            return all
        end
        assert.same({ 1, 2, 2, 2, 2, 1 }, plan({ 1, 1, 1, 2, 2, 1 }, 2)) -- begun two before
        assert.same({ 2, 2, 2, 2, 2, 1 }, plan({ 1, 1, 2, 1, 2, 1 }, 2)) -- a gap is kept
        assert.same({ 1, 2, 2, 1, 2, 2, 1 }, plan({ 1, 1, 2, 1, 1, 2, 1 }, 1)) -- a longer one is not
        assert.same({ 3, 3 }, plan({ 9, 9 }, 2))
        -- Wherever starts lie within the trace it comes to the same sum.
        local need, sum = {}, 0
        for i = 1, 400 do
            need[i] = i > 20 and 1 + (i * 7919 % 13 == 0 and 2 or 0) + (i % 50 < 20 and 1 or 0) or 1
        end
        for _, ticks in ipairs(plan(need, 6)) do
            sum = sum + ticks
        end
        assert.equal(C.oracle_ticks(ffi.new("double[?]", 400, need), 400, 0, 1, 3, 6), sum)
    end)

    it("takes what is above the objective with short breaks as one interval, and ends when it is told to", function()
        local rates = {}
        for i = 1, 720 do -- full load for 20 s of every 40 s, three times, and once more half an hour later
            local busy = i > 100 and i <= 120 and (i - 101) % 8 < 4 or i > 500 and i <= 504
            rates[i] = busy and 300 or 20
        end
        local trace = trace_of(rates)
        local r = run("threshold", "up_cooldown = 3000,", trace, { noise = 0, max = 1 })
        assert.equal(100 * (16 + 4) / 720, r.unavoidable_pct) -- and each time it takes a tick to work off who waited
        assert.equal(2, tonumber(r.worst_count))
        assert.equal(500, r.worst[0].from_s)
        assert.is_true(r.worst[0].until_s < 700 and r.worst[0].until_s >= 500 + 20 * 5 - 20)
        assert.equal(2500, r.worst[1].from_s)
        assert.is_true(r.worst[0].excess > 2 * r.worst[1].excess)
        local violated = 0
        for i = 0, 719 do
            violated = violated + (r.violated[i] and 1 or 0)
        end
        assert.near(r.violation_pct + r.unavoidable_pct, 100 * violated / 720, 1e-9)
        assert.equal(300, r.rate[500])
        C.sim_trace_free(trace)

        trace = trace_of(rates)
        local o, config = options { stop = ffi.new("int[1]", 1) }, ffi.new "struct cJSON *[1]"
        sentence(function(reterr) return C.sim_policy_load("threshold", "", o, config, reterr) end)
        local code, why = sentence(function(reterr)
            return C.sim_run(o, trace, config[0], ffi.new "struct sim_result", reterr)
        end)
        assert.same({ -125, "it was stopped" }, { code, why }) -- -ECANCELED
        C.json_free(config[0])
        C.sim_trace_free(trace)
    end)

    it("reads traces and interpolates between rows", function()
        with_file("seconds,requests_per_second\n0,10\n10,30\n30,30\n", function(name)
            local trace = read(name)
            assert.equal(6, tonumber(trace.count))
            assert.same({ 10, 20, 30, 30 }, { trace.rate[0], trace.rate[1], trace.rate[2], trace.rate[3] })
            C.sim_trace_scale(trace, 1, 60)
            assert.equal(20, trace.rate[0])
            for quantile, first in pairs { [0.4] = 20, [0.3] = 60 } do -- the second of the three rows, and the first
                local other = read(name)
                C.sim_trace_scale(other, quantile, 60)
                assert.equal(first, other.rate[0])
                C.sim_trace_free(other)
            end
            C.sim_trace_free(trace)
            assert.equal(2, tonumber(read(name, 15 / 86400).count))
        end)
    end)

    it("says line and remedy of a bad trace", function()
        local cases = {
            { "0,1\n5\n", ":2: no row of two numbers: write seconds,requests_per_second" },
            { "0,1\n5,-1\n", ":2: a negative rate: write requests per second, 0 or more" },
            { "5,1\n5,2\n", ":2: the time does not rise: sort the rows by seconds" },
            { "0,1\n1e12,2\n", ":2: more than three years after the first row: are these seconds?" },
            { "0,1\n5,nan\n", ":2: no row of two numbers: write seconds,requests_per_second" },
            { "a,b\n0,1\n", ": fewer than two rows: write seconds,requests_per_second" },
        }
        for _, case in ipairs(cases) do
            with_file(case[1], function(name)
                local _, why = read(name)
                assert.equal(name .. case[2], why)
            end)
        end
    end)

    it("makes traces whose peak is as asked", function()
        for _, kind in ipairs { "step", "ramp", "spike", "daily", "flash" } do
            local trace, most = ffi.new "struct sim_trace", 0
            assert.equal(0, (sentence(function(reterr) return C.sim_trace_make(kind, 1, 500, trace, reterr) end)))
            for i = 0, tonumber(trace.count) - 1 do
                assert.is_true(trace.rate[i] >= 0)
                most = math.max(most, trace.rate[i])
            end
            assert.equal(17280, tonumber(trace.count))
            assert.near(500, most, 20)
            C.sim_trace_free(trace)
        end
    end)

    it("runs fleet and policy: a step up is followed by one instance a cooldown, ready a start-up time later", function()
        local rates = {}
        for i = 1, 720 do
            rates[i] = i <= 60 and 50 or 350
        end
        local trace = trace_of(rates)
        local r = run("threshold", "interval = 5, up_cooldown = 60, down_cooldown = 60,", trace, { noise = 0 })
        local ups, billed = {}, {}
        for i = 10, 719 do -- the first one is there
            if r.ready[i] > r.ready[i - 1] then
                ups[#ups + 1] = i
            end
            if r.wanted[i] > r.wanted[i - 1] then
                billed[#billed + 1] = i
            end
        end
        assert.equal(4, #ups) -- 350 of 500/s is 70 %
        assert.equal(5, r.ready[719])
        -- Ready in the first whole tick after 30 s.
        assert.same({ 7, 7, 7, 7 }, { ups[1] - billed[1], ups[2] - billed[2], ups[3] - billed[3], ups[4] - billed[4] })
        assert.same({ 12, 12, 12 }, { ups[2] - ups[1], ups[3] - ups[2], ups[4] - ups[3] })
        assert.is_true(billed[1] >= 61 and billed[1] <= 63, billed[1])
        assert.equal(4, r.ups)
        assert.equal(0, r.downs)
        -- 350/s need four, which are there at the third up, and then 30 s to work off who waited: 5 s of 300/s.
        assert.near(100 * (ups[3] - 60 + 6) / 720, r.violation_pct, 0.01)
        assert.is_true(r.bad_pct > 0)
        assert.is_true(ffi.string(r.worst[0].decisions):find "scale up: 4 %-> 5: High resource usage" ~= nil)
        C.sim_trace_free(trace)
    end)

    it("lets every start succeed, however long it takes", function()
        local rates = {}
        for i = 1, 400 do
            rates[i] = i <= 60 and 50 or 250
        end
        local trace = trace_of(rates)
        local r = run("threshold", "interval = 5, up_cooldown = 60,", trace, { noise = 0, startup_ms = 300000 })
        assert.is_true(r.ready[399] >= 3, r.ready[399])
        C.sim_trace_free(trace)
    end)

    it("gives the same answer for the same seed, and another for another", function()
        local trace = ffi.new "struct sim_trace"
        sentence(function(reterr) return C.sim_trace_make("daily", 0.5, 900, trace, reterr) end)
        local function figures(seed)
            local r = run("threshold", "", trace, { seed = seed })
            return { r.violation_pct, r.instance_hours, r.oracle_hours, r.bad_pct }
        end
        local first = figures(3)
        assert.same(first, figures(3))
        assert.not_same(first, figures(4))
        C.sim_trace_free(trace)
    end)

    it("gives a policy's chance by the seed, too", function()
        local rates = {}
        for i = 1, 400 do
            rates[i] = 100
        end
        local trace, folder = trace_of(rates), os.tmpname()
        os.remove(folder)
        assert.equal(0, os.execute(("mkdir -p '%s/policies/scale'"):format(folder)))
        local path = folder .. "/policies/scale/dice.lua"
        local file = assert(io.open(path, "w"))
        file:write 'return { name = "dice", doc = "Dice.", new = function() return function() return math.random(1, 9) end end }'
        file:close()
        local function billed(seed)
            return run(path, "interval = 5, up_cooldown = 0, down_cooldown = 0,", trace, { seed = seed, noise = 0 }).instance_hours
        end
        local first, seen = billed(3), {}
        assert.equal(first, billed(3))
        for seed = 1, 6 do
            seen[billed(seed)] = true
        end
        local kinds = 0
        for _ in pairs(seen) do
            kinds = kinds + 1
        end
        assert.is_true(kinds >= 5, kinds)
        C.sim_trace_free(trace)
        os.execute(("rm -rf '%s'"):format(folder))
    end)

    it("does not count what max cannot do, and tells errors of policies", function()
        local rates = {}
        for i = 1, 200 do
            rates[i] = 1000
        end
        local trace = trace_of(rates)
        local r = run("threshold", "", trace, { min = 2, max = 2 })
        assert.equal(100, r.unavoidable_pct)
        assert.equal(0, r.violation_pct)
        assert.near(1, r.cost, 1e-9)
        assert.is_true(r.error == nil)
        C.sim_trace_free(trace)
        for i = 101, 200 do
            rates[i] = 150 -- and then who waits is worked off, which takes the most instances 4 ticks
        end
        trace = trace_of(rates)
        r = run("threshold", "", trace, { min = 2, max = 2, noise = 0 })
        assert.near(52, r.unavoidable_pct, 0.51)
        assert.equal(0, r.violation_pct)
        C.sim_trace_free(trace)
    end)

    it("refuses what is no policy", function()
        local function why(policy)
            local config = ffi.new "struct cJSON *[1]"
            return select(2, sentence(function(reterr)
                return C.sim_policy_load(policy, "", options(), config, reterr)
            end))
        end
        assert.matches("unknown scale policy \"treshold\": did you mean \"threshold\"%?", why "treshold")
        assert.matches("is no name of a policy", why "a b")
        assert.matches("a scale policy stands in a folder policies/scale", why "x/y.lua")
    end)
end)
