-- How well policies balance: discrete events over backends of four slots each, with the figures that a worker
-- keeps (core/proxy/tally.c). Lognormal work of 10 ms in the mean, requests at random; times in ms.
local policy = require "policy"

local FADE_MS, SLOTS, MEAN_MS = 5000, 4, 10

local function faded(value, age)
    local x = age / FADE_MS
    return value / (1 + x + x * x / 2 + x * x * x / 6)
end

-- An average of at most so many samples, older ones fading.
local function note(average, sample, at, most)
    local left = faded(1, at - average.at)
    average.weight = math.min(average.weight * left, left / (1 - left), most - 1) + 1
    average.value = average.value + (sample - average.value) / average.weight
    average.at = at
end

-- A chance of its own, so that every run is the same.
local function chances(seed)
    return function()
        seed = seed * 16807 % 2147483647
        return seed / 2147483647
    end
end

-- Completions, earliest first: a binary heap of { at, backend, arrived, failed }.
local function push(heap, item)
    local i = #heap + 1
    heap[i] = item
    while i > 1 and heap[math.floor(i / 2)].at > item.at do
        local up = math.floor(i / 2)
        heap[i], heap[up] = heap[up], item
        i = up
    end
end

local function pop(heap)
    local top, last = heap[1], table.remove(heap)
    local n, i = #heap, 1
    if n == 0 then
        return top
    end
    while true do
        local child = 2 * i
        if child > n then
            break
        end
        child = child < n and heap[child + 1].at < heap[child].at and child + 1 or child
        if heap[child].at >= last.at then
            break
        end
        heap[i], i = heap[child], child
    end
    heap[i] = last
    return top
end

-- Options: load (0..1), seconds, seed, speed(index, t) (1 = usual), fails(index, t). Returns p99 of the answers, errors,
-- requests, and share(index, from, to).
local function run(path, o)
    local n, random = 10, chances(o.seed or 42)
    local list, numbers, heap, log, took = {}, {}, {}, {}, {}
    for i = 1, n do
        list[i] = {}
        numbers[i] = { response = { value = 0, weight = 0, at = 0 }, failed = { value = 0, weight = 0, at = 0 },
            free = { 0, 0, 0, 0 } }
    end
    local backends = policy.backends(list)
    local pick, request = policy.picker(path, {}, backends), policy.request {}
    local errors, now, gap = 0, 0, MEAN_MS / (o.load * n * SLOTS)

    local function finish(done)
        local at, b = done.at, numbers[done.backend]
        local ms = at - done.arrived
        backends[done.backend].in_flight = backends[done.backend].in_flight - 1
        note(b.response, ms, at, 400)
        note(b.failed, done.failed and 1 or 0, at, 100)
        errors = errors + (done.failed and 1 or 0)
        if not done.failed then
            took[#took + 1] = ms
        end
    end

    while now < o.seconds * 1000 do
        now = now - gap * math.log(random())
        while heap[1] and heap[1].at <= now do
            finish(pop(heap))
        end
        for i, b in ipairs(numbers) do
            backends[i].response_ms = faded(b.response.value, now - b.response.at)
            backends[i].error_rate = faded(b.failed.value, now - b.failed.at)
        end
        request.hash = math.floor(random() * 4294967296)
        local index = pick(request)
        local b, work = numbers[index], 1
        backends[index].in_flight = backends[index].in_flight + 1
        log[#log + 1] = { now, index }
        local failed = o.fails and o.fails(index, now / 1000)
        if not failed then
            local normal = math.sqrt(-2 * math.log(random())) * math.cos(2 * math.pi * random())
            work = MEAN_MS * math.exp(normal - 0.5) / (o.speed and o.speed(index, now / 1000) or 1)
        end
        local slot = 1
        for i = 2, SLOTS do
            slot = b.free[i] < b.free[slot] and i or slot
        end
        b.free[slot] = math.max(now, b.free[slot]) + work
        push(heap, { at = b.free[slot], backend = index, arrived = now, failed = failed })
    end
    table.sort(took)
    return took[math.ceil(#took * 0.99)], errors, #log, function(which, from, to)
        local mine, all = 0, 0
        for _, entry in ipairs(log) do
            if entry[1] >= from * 1000 and entry[1] < to * 1000 then
                all, mine = all + 1, mine + (entry[2] == which and 1 or 0)
            end
        end
        return mine / all
    end
end

local function slow(index, t)
    return index == 4 and t >= 5 and t < 15 and 0.1 or 1
end

describe("the quality of balance/ewma", function()
    local EWMA = "balance/ewma"

    it("keeps p99 within 1.5 times when one of ten is ten times slower", function()
        local usual = run(EWMA, { load = 0.7, seconds = 25 })
        local hurt = run(EWMA, { load = 0.7, seconds = 25, speed = slow })
        local in_turn = run("balance/round_robin", { load = 0.7, seconds = 25, speed = slow })
        assert.is_true(hurt <= 1.5 * usual, ("%.0f ms against %.0f"):format(hurt, usual))
        assert.is_true(in_turn > 10 * usual)
    end)

    it("is no worse than least connections on unequal servers", function()
        local function unequal(index)
            return index <= 5 and 1 or index <= 8 and 0.5 or 0.25
        end
        local ewma, least = 0, 0
        for _, seed in ipairs { 42, 7 } do
            local options = { load = 0.49, seconds = 20, speed = unequal, seed = seed }
            ewma = ewma + run(EWMA, options)
            least = least + run("balance/least_connections", options)
        end
        assert.is_true(ewma <= 0.77 * least, ("%.0f ms against %.0f"):format(ewma, least))
    end)

    -- The least and the mean share of the once slow one in some runs, from 10 s to 30 s after it is well again.
    local function recovered(load)
        local least, sum = 1, 0
        for seed = 1, 4 do
            local _, _, _, share = run(EWMA, { load = load, seconds = 45, speed = slow, seed = seed * 7919 })
            assert.is_true(share(4, 6, 15) < 0.05, share(4, 6, 15))
            least, sum = math.min(least, share(4, 25, 45)), sum + share(4, 25, 45)
        end
        return least, sum / 4
    end

    it("gives a recovered one at least 8 % within 30 s", function()
        local least = recovered(0.7)
        assert.is_true(least >= 0.08, least)
        local _, mean = recovered(0.35)
        assert.is_true(mean >= 0.08, mean)
    end)

    it("asks a recovered one again also with next to nothing to do", function()
        local _, mean = recovered(0.05) -- who had luck with its last answers gets the next ones
        assert.is_true(mean >= 0.04, mean)
    end)

    it("keeps away from one that fails fast", function()
        local _, errors, requests = run(EWMA, { load = 0.7, seconds = 30, fails = function(index, t)
            return index == 4 and t >= 5 and t < 15
        end })
        assert.is_true(errors / requests < 0.001, ("%d of %d"):format(errors, requests))
    end)
end)
