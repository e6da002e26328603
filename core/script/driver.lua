-- driver.lua: the loop around a balance policy; trusted. Returns drive(policy, rows, backends, request) ->
--   pick()        the index of a backend, 0 or nil for none: no whole number raises, others C looks at
--   resize(count) the first `count` backends are in use
--   cost(i)       what a policy with a score gives backend i; nil for one with its own loop. Not for picks.
-- `rows` is for this file alone: rows[1] and so on, without a check of the index and at half the cost of
-- `backends`, the same as a table, which policies get.
--
-- Compiled anew for every picker: LuaJIT binds a trace to the functions it saw, and pickers that shared this
-- code would leave each other's traces at every row. And compiled as one line, without its comments: machine
-- code looks at every new line whether its time is over (budget.h). So no text here may have two hyphens.
local error, type, huge, format = ...

local function refuse(index, n)
    error(type(index) == "number" and format("picked %.17g of %d backends", index, n)
        or format("picked a %s: an index, or nil for none", type(index)), 0)
end

-- One pick by score: the lowest wins. The round begins behind the last one chosen, so that equal backends get
-- their turns evenly, however they lie among others. Two half loops and one branch a row: what LuaJIT likes.
local function scored(policy, rows, backends, request)
    local score, prepare, chose = policy.score, policy.prepare, policy.chose
    local n, last = 0, -1
    local function pick()
        if last < 0 then
            last = request.hash % n
        end
        if prepare then
            prepare(backends, n, request)
        end
        local best, chosen = huge, 0
        for i = last + 1, n do
            if rows[i].eligible ~= 0 then
                local cost = score(rows[i], request)
                if cost and cost < best then
                    best, chosen = cost, i
                end
            end
        end
        for i = 1, last do
            if rows[i].eligible ~= 0 then
                local cost = score(rows[i], request)
                if cost and cost < best then
                    best, chosen = cost, i
                end
            end
        end
        if chosen > 0 then
            last = chosen
            if chose then
                chose(rows[chosen])
            end
        end
        return chosen
    end
    local function resize(count)
        n = count
        last = n > 0 and last >= 0 and last % n or -1
    end
    local function cost(i)
        if prepare then
            prepare(backends, n, request)
        end
        local value = score(rows[i], request)
        return value
    end
    return pick, resize, cost
end

-- One pick by the policy's own loop. Not a tail call: LuaJIT compiles that badly when C is the caller.
local function picked(policy, backends, request)
    local choose, n = policy.pick, 0
    local function pick()
        local index = choose(backends, n, request)
        if index ~= nil and (type(index) ~= "number" or index % 1 ~= 0) then
            refuse(index, n)
        end
        return index
    end
    local function resize(count)
        n = count
    end
    return pick, resize
end

return function(policy, rows, backends, request)
    if type(policy) ~= "table" or (type(policy.score) == "function") == (type(policy.pick) == "function") then
        error("`new` must return { score = function } or { pick = function }", 0)
    end
    if policy.pick then
        return picked(policy, backends, request)
    end
    return scored(policy, rows, backends, request)
end
