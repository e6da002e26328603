-- demand.lua: what scale policies for services behind the balancer know of demand: how many requests come,
-- what an instance can do, what was wanted of late. Each function returns one that keeps what it was told in
-- `memory`, a table of the policy's state, or nil. When the clock goes back, as it does when the machine
-- starts again, what was told before is forgotten.
local max, min = math.max, math.min

local M = {}

local LONGEST_GAP = 60 -- seconds that one figure may stand for

-- The table `name` of a policy's state, made when it is not there; a new one when there is no state.
function M.part(state, name)
    local part = state and state[name] or {}
    if state then
        state[name] = part
    end
    return part
end

-- Requests/s that come: those that were answered, and what the queue grew by.
function M.arrivals(memory)
    local m = memory or {}
    return function(s)
        local waits, before = s.queue or 0, m.before
        local grown = before and s.now > before and (waits - m.queue) / (s.now - before) or 0
        m.queue, m.before = waits, s.now
        return max(s.rate + grown, 0)
    end
end

-- Seconds from start to ready: `given`, or the mean of what was seen, 30 until then.
function M.startup(given, memory)
    if given > 0 then
        return function()
            return given
        end
    end
    local m = memory or {}
    m.learned, m.seen, m.starting = m.learned or 30, m.seen or 0, m.starting or 0
    return function(s)
        if s.starting > 0 and m.starting == 0 then
            m.since = s.now
        elseif s.starting < m.starting and m.since then
            if s.now >= m.since then
                m.seen = min(m.seen + 1, 20)
                m.learned = m.learned + (s.now - m.since - m.learned) / m.seen
            end
            m.since = nil
        end
        m.starting = s.starting
        return m.learned
    end
end

-- What was told, by number, with its time: at[first .. last]. Forgets what is of another clock.
local function record(memory)
    local m = memory or {}
    m.at, m.value, m.first, m.last = m.at or {}, m.value or {}, m.first or 1, m.last or 0
    return m
end

local function forget(m, upto)
    for i = m.first, upto do
        m.at[i], m.value[i] = nil, nil
    end
    m.first = upto + 1
end

-- Begins at 1 again now and then: tables whose numbers only rise are slow and large.
local function renumber(m)
    local before = m.first - 1
    if before < 64 or before < m.last - before then
        return
    end
    for i = m.first, m.last do
        m.at[i - before], m.value[i - before], m.at[i], m.value[i] = m.at[i], m.value[i], nil, nil
    end
    m.first, m.last = 1, m.last - before
end

local function add(m, now, value)
    renumber(m)
    if m.last >= m.first and m.at[m.last] > now then
        forget(m, m.last)
    end
    m.last = m.last + 1
    m.at[m.last], m.value[m.last] = now, value
end

-- Arrivals in two views. rates(s) -> the larger of the last
-- two figures' mean and the last one, and the mean of `window` seconds.
function M.rates(window, memory)
    local m = record(memory)
    local at, rate, arrivals = m.at, m.value, M.arrivals(M.part(m, "arrivals"))
    local function mean(now, seconds)
        local sum, count = 0, 0
        for i = m.last, m.first, -1 do
            if at[i] <= now - seconds and count > 0 then
                break
            end
            sum, count = sum + rate[i], count + 1
        end
        return sum / count
    end
    return function(s)
        add(m, s.now, arrivals(s))
        while at[m.first] <= s.now - window and m.first < m.last do
            forget(m, m.first)
        end
        return mean(s.now, 10), mean(s.now, window)
    end
end

-- The mean of what was told during `seconds`, the last one at least: mean(now, value).
function M.mean(seconds, memory)
    local m = record(memory)
    local at, value = m.at, m.value
    m.sum = m.sum or 0
    return function(now, new)
        add(m, now, new)
        m.sum = m.first == m.last and new or m.sum + new
        while at[m.first] <= now - seconds and m.first < m.last do
            m.sum = m.sum - value[m.first]
            forget(m, m.first)
        end
        return m.sum / (m.last - m.first + 1)
    end
end

-- Requests/s that an instance can do: `given`, or learned from use of CPU while nothing starts, over half an
-- hour; nil while unknown.
function M.capacity(given, memory)
    if given > 0 then
        return function()
            return given
        end
    end
    local m = memory or {}
    m.learned, m.known = m.learned or 0, m.known or 0
    return function(s)
        local cpu = s.cpu_percent
        local passed = m.before and M.clamp(s.now - m.before, 0, LONGEST_GAP) or 5
        m.before = s.now
        if cpu and cpu >= 25 and cpu <= 97 and s.starting == 0 and s.instances > 0 and s.rate then
            local each = s.rate / (s.instances * cpu / 100)
            local weight = 1 - 0.5 ^ (passed / 1800)
            m.known = m.known + (1 - m.known) * weight
            m.learned = m.known > 0 and m.learned + (each - m.learned) * weight / m.known or 0
        end
        if m.known > 0 then
            return m.learned
        end
        -- What is busy all the time answers what it can; who was turned away was not answered by it.
        local answered = (s.rate or 0) * (1 - (s.error_rate or 0))
        return cpu and cpu > 97 and s.instances > 0 and answered > 0 and answered / s.instances or nil
    end
end

-- The most of what was wanted during `seconds`: most(now, want).
function M.most(seconds, memory)
    local m = record(memory)
    local at, value = m.at, m.value
    return function(now, want)
        -- What is below what came later never counts again, so the first one is the most.
        local first, last = m.first, m.last
        while last >= first and (value[last] <= want or at[last] > now) do
            at[last], value[last], last = nil, nil, last - 1
        end
        last = last + 1
        at[last], value[last] = now, want
        while at[first] < now - seconds do
            at[first], value[first], first = nil, nil, first + 1
        end
        m.first, m.last = first, last
        renumber(m)
        return value[m.first]
    end
end

-- Not below `low` and not above `high`.
function M.clamp(value, low, high)
    return min(max(value, low), high)
end

return M
