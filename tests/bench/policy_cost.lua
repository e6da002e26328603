-- What a decision of the shipped scale policies costs: CPU time with the JIT off, as in the policy process, and on, as
-- in the simulator, each with the way through C; and memory of a service. Run by policies.sh:
--
--     TIDEGATE_BUILD=build/release luajit tests/bench/policy_cost.lua
package.path = "./tests/support/?.lua;" .. package.path
require "script_room"
local ffi = require "ffi"
local C = require("ffi_room").load("base/record.h", "base/clock.h", "fleet/fleet.h")

local DECISIONS, SERVICES = 40000, 10

-- The policy with its defaults, for `services` services.
local function config(name, services)
    local text = 'service("s%d", { image = "x", ports = { "8080" }, scale = { policy = "%s" } })\n'
    local source, made, why = {}, ffi.new "struct cJSON *[1]", ffi.new "char *[1]"
    for i = 1, services do
        source[i] = text:format(i, name)
    end
    if C.script_load_text("bench.lua", table.concat(source), made, why) < 0 then
        error(ffi.string(why[0]))
    end
    return ffi.gc(made[0], C.json_free)
end

local function cold_of(name, services, new)
    local cold, why = ffi.new "struct script_cold *[1]", ffi.new "char *[1]"
    if new(config(name, services), cold, why) < 0 then
        error(ffi.string(why[0]))
    end
    return ffi.gc(cold[0], C.script_cold_free)
end

-- A day and its noise, as one service would show it; each answer is followed at once.
local function feed(cold, service, from, to)
    local count, fleet_view, d = ffi.new "size_t[1]", ffi.new "struct fleet_view", ffi.new "struct script_decision"
    local view = ffi.new("struct script_view", { service, C.fleet_view_fields(count), 0, fleet_view })
    local instances, noise = 9, 1
    view.field_count = count[0]
    for i = from, to do
        noise = noise * 16807 % 2147483647
        local rate = 900 + 600 * math.sin(i / 2750) + 80 * noise / 2147483647
        local share = math.min(rate / instances, 100)
        fleet_view.service, fleet_view.now, fleet_view.min, fleet_view.max = service, i * 5, 1, 40
        fleet_view.instances, fleet_view.desired, fleet_view.starting = instances, instances, i % 200 < 6 and 1 or 0
        fleet_view.cpu_percent, fleet_view.memory_percent, fleet_view.rate, fleet_view.queue = share, 40, rate, 0
        fleet_view.p50_ms, fleet_view.p95_ms, fleet_view.p99_ms = 80, share > 90 and 500 or 150, 600
        fleet_view.since_up_s, fleet_view.since_down_s, fleet_view.sample_age_s = i % 900, i % 1300, 0.1
        if C.script_cold_answer(cold, view, d) < 0 or d.error ~= nil then
            error(d.error ~= nil and ffi.string(d.error) or "no answer")
        end
        instances = d.opinion and math.max(d.want, 1) or instances
    end
end

local function cost(name, new)
    local cold = cold_of(name, 1, new)
    feed(cold, "s1", 1, 5000)
    local before = C.clock_cpu_us()
    feed(cold, "s1", 5001, 5000 + DECISIONS)
    return tonumber(C.clock_cpu_us() - before) / DECISIONS
end

local function memory(name)
    local bytes = {}
    for i, services in ipairs { 1, 1 + SERVICES } do
        local cold = cold_of(name, services, C.script_cold_new)
        for k = 1, services do
            feed(cold, "s" .. k, 1, 20000)
        end
        bytes[i] = tonumber(C.script_cold_bytes(cold))
    end
    return (bytes[2] - bytes[1]) / SERVICES / 1024
end

-- With the loop of this file, which takes about 1 us.
print(("%-34s %12s %12s %12s"):format("cost of a decision", "us, JIT off", "us, JIT on", "KB/service"))
for _, name in ipairs { "threshold", "target_tracking", "latency_slo", "queue", "error_budget" } do
    print(("%-34s %12.1f %12.1f %12.0f"):format(name, cost(name, C.script_cold_new), cost(name, C.script_cold_new_live),
        memory(name)))
end
