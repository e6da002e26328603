-- nearest.lua: the candidate that somebody meant by a misspelt word.
--
-- nearest("memroy", { "memory", "cpus" }) -> "memory"; nil when none is near.

-- Edits between two words: insert, delete, replace, swap neighbours (optimal string alignment).
local function distance(a, b)
    local before, row = nil, {}
    for j = 0, #b do
        row[j] = j
    end
    for i = 1, #a do
        local above = row
        row = { [0] = i }
        for j = 1, #b do
            local cost = a:byte(i) == b:byte(j) and 0 or 1
            local best = math.min(above[j] + 1, row[j - 1] + 1, above[j - 1] + cost)
            if before and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
                best = math.min(best, before[j - 2] + 1)
            end
            row[j] = best
        end
        before = above
    end
    return row[#b]
end

return function(word, candidates)
    if type(word) ~= "string" or #word > 64 then
        return nil
    end
    local lower, best, best_distance = word:lower(), nil, math.max(1, math.floor(#word / 3)) + 0.5
    for _, candidate in ipairs(candidates) do
        local d = distance(lower, candidate:lower())
        if #lower >= 3 and candidate:lower():sub(1, #lower) == lower then
            d = math.min(d, 1)
        end
        if d < best_distance then
            best, best_distance = candidate, d
        end
    end
    return best
end
