-- demand.lua: what scale policies for services behind the balancer know of demand: how many requests come,
-- what an instance can do, what was wanted of late. Each function returns one that keeps what it was told.
local max, min = math.max, math.min

local M = {}

-- Requests/s that come: those that were answered, and what the queue grew by.
function M.arrivals()
    local queue, before = 0, nil
    return function(s)
        local waits = s.queue or 0
        local grown = before and s.now > before and (waits - queue) / (s.now - before) or 0
        queue, before = waits, s.now
        return max(s.rate + grown, 0)
    end
end

-- Seconds from start to ready: `given`, or the mean of what was seen, 30 until then.
function M.startup(given)
    if given > 0 then
        return function()
            return given
        end
    end
    local learned, seen, since, starting = 30, 0, nil, 0
    return function(s)
        if s.starting > 0 and starting == 0 then
            since = s.now
        elseif s.starting < starting and since then
            seen = min(seen + 1, 20)
            learned = learned + (s.now - since - learned) / seen
            since = nil
        end
        starting = s.starting
        return learned
    end
end

-- Arrivals in two views. rates(s) -> the larger of the last
-- two figures' mean and the last one, and the mean of `window` seconds.
function M.rates(window)
    local at, rate, first, last = {}, {}, 1, 0
    local arrivals = M.arrivals()
    local function mean(now, seconds)
        local sum, count = 0, 0
        for i = last, first, -1 do
            if at[i] <= now - seconds and count > 0 then
                break
            end
            sum, count = sum + rate[i], count + 1
        end
        return sum / count
    end
    return function(s)
        last = last + 1
        at[last], rate[last] = s.now, arrivals(s)
        while at[first] <= s.now - window and first < last do
            at[first], rate[first], first = nil, nil, first + 1
        end
        return mean(s.now, 10), mean(s.now, window)
    end
end

-- The mean of what was told during `seconds`, the last one at least: mean(now, value).
function M.mean(seconds)
    local at, value, first, last, sum = {}, {}, 1, 0, 0
    return function(now, new)
        last = last + 1
        at[last], value[last], sum = now, new, sum + new
        while at[first] <= now - seconds and first < last do
            sum = sum - value[first]
            at[first], value[first], first = nil, nil, first + 1
        end
        return sum / (last - first + 1)
    end
end

-- Requests/s that an instance can do: `given`, or learned from use of CPU while nothing starts, over half an
-- hour; nil while unknown.
function M.capacity(given)
    if given > 0 then
        return function()
            return given
        end
    end
    local learned, known, before = 0, 0, nil
    return function(s)
        local cpu, passed = s.cpu_percent, before and s.now - before or 5
        before = s.now
        if cpu and cpu >= 25 and cpu <= 97 and s.starting == 0 and s.instances > 0 and s.rate then
            local each = s.rate / (s.instances * cpu / 100)
            local weight = 1 - 0.5 ^ (passed / 1800)
            known = known + (1 - known) * weight
            learned = learned + (each - learned) * weight / known
        end
        if known > 0 then
            return learned
        end
        -- What is busy all the time answers what it can.
        return cpu and cpu > 97 and s.instances > 0 and s.rate and s.rate > 0 and s.rate / s.instances or nil
    end
end

-- The most of what was wanted during `seconds`: most(now, want).
function M.most(seconds)
    local at, value, first, last = {}, {}, 1, 0
    return function(now, want)
        -- What is below what came later never counts again.
        while last >= first and value[last] <= want do
            at[last], value[last], last = nil, nil, last - 1
        end
        last = last + 1
        at[last], value[last] = now, want
        while at[first] < now - seconds do
            at[first], value[first], first = nil, nil, first + 1
        end
        return max(want, value[first])
    end
end

-- Not below `low` and not above `high`.
function M.clamp(value, low, high)
    return min(max(value, low), high)
end

return M
