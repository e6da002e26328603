-- replay.lua: a trace through a scale policy, with a simple model of instances. Part of `tidegate.testing`.
local loading = require "tidegate.loading"

local M = {}

-- { { seconds, requests_per_second }, ... } of CSV: a file or its text.
function M.trace(csv)
    if type(csv) == "table" then
        return csv
    end
    if not csv:find "\n" then
        csv = loading.read(csv)
    end
    local points = {}
    for line in csv:gmatch "[^\r\n]+" do
        local at, rate = line:match "^%s*([%d.]+)%s*[,;]%s*([%d.]+)"
        if at then
            points[#points + 1] = { tonumber(at), tonumber(rate) }
        end
    end
    return points
end

local MODEL = { capacity = 100, startup = 30, service_time = 0.08, slo = 0.4, step = 5, min = 1, max = 40,
    up_cooldown = 0, down_cooldown = 0 }

local function model_of(options)
    local model = {}
    for key, value in pairs(MODEL) do
        model[key] = value
    end
    for key, value in pairs(options or {}) do
        if not MODEL[key] then
            error("replay has no option " .. tostring(key), 4)
        end
        model[key] = loading.seconds(value)
    end
    return model
end

-- The view of a moment: M/M/c below full load (waiting time by Sakasegawa), a queue above.
-- And whether 95 % are within the objective.
local function moment(model, world, rate)
    local able = world.up * model.capacity
    local load = able > 0 and rate / able or 2
    world.queue = math.max(0, world.queue + (rate - able) * model.step)
    local workers = math.max(1, model.capacity * model.service_time)
    local wait = math.min(load, 1) ^ math.sqrt(2 * (workers + 1)) / (workers * math.max(1 - load, 0.001))
        * model.service_time + (able > 0 and world.queue / able or 5)
    local mean, p95 = model.service_time + wait, 3 * (model.service_time + wait)
    return {
        now = world.now, instances = world.up, desired = world.desired, starting = world.desired - world.up,
        min = model.min, max = model.max, rate = rate, queue = world.queue,
        cpu_percent = math.min(load, 1) * 100, in_flight = rate * math.min(mean, 5) + world.queue,
        p50_ms = mean * 700, p95_ms = p95 * 1000,
        p99_ms = p95 * 1500, error_rate = 0, memory_percent = 30, sample_age_s = 0,
        since_up_s = world.now - world.up_at, since_down_s = world.now - world.down_at,
    }, p95 <= model.slo
end

local function take_step(model, world, want)
    want = math.max(model.min, math.min(model.max, want))
    if want > world.desired and world.now - world.up_at >= model.up_cooldown then
        world.ups, world.up_at = world.ups + 1, world.now
        world.coming[#world.coming + 1] = { at = world.now + model.startup, count = want - world.desired }
        world.flips = world.flips + (world.last == "down" and 1 or 0)
        world.desired, world.last = want, "up"
    elseif want < world.desired
        and world.now - math.max(world.up_at, world.down_at) >= model.down_cooldown then
        world.downs, world.down_at = world.downs + 1, world.now
        world.flips = world.flips + (world.last == "up" and 1 or 0)
        world.desired, world.last, world.up = want, "down", math.min(world.up, want)
    end
end

-- What decide(view) would have done with a trace; `made` makes a strict view. See testing.lua.
function M.run(decide, made, trace, options)
    local points, model = M.trace(trace), model_of(options)
    if #points < 2 then
        error("a trace has lines of seconds,requests_per_second, two at least", 3)
    end
    local world = { now = points[1][1], queue = 0, up_at = -1e9, down_at = -1e9, coming = {}, ups = 0,
        downs = 0, flips = 0 }
    world.desired = math.max(model.min, math.min(model.max, math.ceil(points[1][2] / model.capacity / 0.7)))
    world.up = world.desired
    local ticks, bad, busy, at, most, least = 0, 0, 0, 1, world.up, world.up
    while world.now <= points[#points][1] do
        while points[at + 1] and points[at + 1][1] <= world.now do
            at = at + 1
        end
        local ready = 0
        for i = #world.coming, 1, -1 do
            if world.coming[i].at <= world.now then
                ready = ready + table.remove(world.coming, i).count
            end
        end
        world.up = math.min(world.desired, world.up + ready)
        local view, well = moment(model, world, points[at][2])
        ticks, bad, busy = ticks + 1, bad + (well and 0 or 1), busy + world.desired
        local want = decide(made(view))
        take_step(model, world, want or world.desired)
        most, least = math.max(most, world.desired), math.min(least, world.desired)
        world.now = world.now + model.step
    end
    return { violation_percent = 100 * bad / ticks, instance_hours = busy * model.step / 3600,
        ups = world.ups, downs = world.downs, flips = world.flips, most = most, least = least }
end

return M
