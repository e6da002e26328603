-- run.lua: see ../ranking.sh.
--
-- An instance serves 8 requests at a time, each for 16 ms in the mean and 40 us of CPU: 500 requests/s, and the
-- objective is five times its mean time, as with the simulator's instances (80 ms and 100 requests/s: more of them
-- a second make up for seconds that are shorter). It is ready 30 s of the day after its start. The load follows
-- the trace by a new rate each half second, at random around it.
package.path = "./tests/support/?.lua;" .. package.path
package.loaded.dkjson = require "cjson" -- quicker, and the same two functions
local json = require "cjson"
local tidegate = require "tidegate"

local PEAK, EACH = 10, 500 -- instances that the trace's peak needs, requests/s that each can do
local CPUS = 0.04         -- of a core, of each: some 90 % of it when it does that much
local STARTUP, OBJECTIVE_MS, STEP_S = 30, 80, 0.5
local DAY = 86400

-- Of the simulated world; `every` and the cooldowns are the seed's, or the policy's own.
local POLICIES = {
    threshold = { every = 30, up = 300, down = 600 },
    target_tracking = { every = 15, up = 0, down = 0 },
    latency_slo = { every = 5, up = 0, down = 0 },
    error_budget = { every = 5, up = 0, down = 0 },
}

local trace_path, day, times = arg[1], tonumber(arg[2] or 8), tonumber(arg[3] or 60)
local names = { select(4, unpack(arg)) }
if #names == 0 then
    names = { "threshold", "target_tracking", "error_budget" }
end

-- { { seconds, rate }, ... } of one day, scaled so that the whole trace's 99.9 % needs PEAK instances.
local function read_day()
    local rows, rates = {}, {}
    for line in io.lines(trace_path) do
        local at, rate = line:match "^([%d.]+),([%d.eE+-]+)"
        if at then
            rows[#rows + 1] = { tonumber(at), tonumber(rate) }
            rates[#rates + 1] = tonumber(rate)
        end
    end
    table.sort(rates)
    local scale = PEAK * EACH * 0.9 / rates[math.ceil(#rates * 0.999)]
    local from, list = rows[1][1] + (day - 1) * DAY, {}
    for _, row in ipairs(rows) do
        if row[1] >= from and row[1] <= from + DAY then
            list[#list + 1] = { row[1] - from, row[2] * scale }
        end
    end
    assert(#list > 1, "the trace has no day " .. day)
    return list
end

-- The rate at a moment of the day, straight between two rows.
local function rate_at(list, at)
    local low, high = 1, #list
    while high - low > 1 do
        local middle = math.floor((low + high) / 2)
        if list[middle][1] <= at then
            low = middle
        else
            high = middle
        end
    end
    local a, b = list[low], list[high]
    local part = b[1] > a[1] and math.min(math.max((at - a[1]) / (b[1] - a[1]), 0), 1) or 0
    return a[2] + (b[2] - a[2]) * part
end

local SERVICE = [[
service "data" {
  command = { "/bin/sh", "-c",
    "sleep @DELAY@; exec @BACKENDS@ $PORT 1 service_ms=16 kind=exponential slots=8 burn_us=40" },
  resources = { cpus = @CPUS@ },
  health_check = { http = "/control", interval = "100ms", timeout = "2s", retries = 5 },
  scale = { policy = "compressed", min = 1, max = 24, interval = "@EVERY@ms", up_cooldown = "@UP@ms",
            down_cooldown = "@DOWN@ms", times = @TIMES@, startup = @STARTUP@,
            step_limits = { up_period = "@UPSTEP@ms", down_period = "@DOWNSTEP@ms", after_up = "@DOWNSTEP@ms" },
            churn = { window = "@CHURN@ms", freeze = "@FREEZE@ms" } },
  route = { listen = "127.0.0.1:@PORT@" },
}]]

local function begin(t, name)
    local timing = assert(POLICIES[name], "no settings for policy " .. name)
    t:write("policies/scale/compressed.lua", tidegate.read_file "tests/bench/ranking/compressed.lua")
    t:write("policies/lib/inner.lua", assert(tidegate.read_file("policies/scale/" .. name .. ".lua")))
    local function short(seconds)
        return math.floor(seconds * 1000 / times + 0.5)
    end
    t:configure(SERVICE, {
        CPUS = CPUS, DELAY = STARTUP / times, BACKENDS = tidegate.build .. "/backends",
        EVERY = math.max(short(timing.every), 100), UP = short(timing.up),
        UPSTEP = short(30), DOWNSTEP = short(60), CHURN = short(3600), FREEZE = short(1800),
        DOWN = short(timing.down), TIMES = times, STARTUP = STARTUP,
    })
    t:start()
    local load = t:load { rate = 1, connections = 256, path = "/",
        args = { "--poisson", "--timeout", "30000", "--live", STEP_S * 1000 } }
    return { name = name, t = t, load = load, hours = 0, ups = 0, downs = 0, billed = 1 }
end

-- Instances that run, ready or not, as an operator pays for them.
local function look(run, passed)
    local answer = json.decode(run.t:control '{"command":"status"}\n')
    local now = 0
    for _ in pairs(answer.services[1].instances) do
        now = now + 1
    end
    run.hours = run.hours + run.billed * passed * times / 3600
    run.ups = run.ups + math.max(now - run.billed, 0)
    run.downs = run.downs + math.max(run.billed - now, 0)
    run.billed = now
end

local function follow(runs, list)
    local began = tidegate.now()
    local last = began
    while tidegate.now() - began < DAY / times do
        local now = tidegate.now()
        for _, run in ipairs(runs) do
            run.load:say(("rate %.2f"):format(math.max(rate_at(list, (now - began) * times), 0.1)))
            look(run, now - last)
        end
        last = now
        tidegate.sleep(math.max(STEP_S - (tidegate.now() - now), 0))
    end
end

local function report(run)
    local figures = run.load:stop()
    local bad, count = 0, 0
    for line in tidegate.read_file(run.load.process.out):gmatch "[^\n]+" do
        local live = json.decode(line)
        if live.live then
            count = count + 1
            bad = bad + (live.p95_ms > OBJECTIVE_MS and 1 or 0)
        end
    end
    print(("%-18s %8.2f %10.1f %6d %6d %9d %7d"):format(run.name, 100 * bad / count, run.hours, run.ups, run.downs,
        figures.requests, figures.errors))
end

-- Each in a directory and with a daemon of its own: one inside the other.
local function with_all(at, runs, list)
    if at > #names then
        follow(runs, list)
        print(("%-18s %8s %10s %6s %6s %9s %7s"):format("policy", "viol %", "inst. h", "ups", "downs", "requests",
            "errors"))
        for _, run in ipairs(runs) do
            report(run)
        end
        return
    end
    tidegate.test(function(t)
        runs[at] = begin(t, names[at])
        with_all(at + 1, runs, list)
    end)()
end

local function simulated(list)
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    for _, row in ipairs(list) do
        file:write(("%d,%.4f\n"):format(row[1], row[2]))
    end
    file:close()
    for _, name in ipairs(names) do
        local pipe = io.popen(("%s simulate %s:interval=%ds --trace %s --startup %ds --capacity %d --max 24 --json"):format(
            tidegate.binary, name, POLICIES[name].every, path, STARTUP, EACH))
        local result = json.decode(pipe:read "*a").runs[1]
        pipe:close()
        print(("%-18s %8.2f %10.1f %6d %6d"):format(name, result.violation_percent, result.instance_hours, result.ups,
            result.downs))
    end
    os.remove(path)
end

local list = read_day()
print(("day %d of %s, %.0f times faster, on real processes:"):format(day, trace_path:match "[^/]+$", times))
io.stdout:flush()
with_all(1, {}, list)
print "\nthe same day in the simulator:"
simulated(list)
