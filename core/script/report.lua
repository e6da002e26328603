-- report.lua: collects what is wrong in a configuration, each with its place, and prints it in the order
-- of the files and lines.
local M = {}

-- `files` is the list of file names in the order in which they were read; it may grow later.
function M.new(files)
    local entries, seen, beside = {}, {}, 0
    local R = {}

    -- Something is wrong that is told elsewhere, and keeps nothing from being loaded.
    function R.aside()
        beside = beside + 1
    end

    -- line may be nil. The same words at the same place are kept once.
    function R.add(file, line, text)
        local place = line and ("%s:%d: "):format(file, line) or file .. ": "
        if not seen[place .. text] then
            seen[place .. text] = true
            entries[#entries + 1] = { file = file, line = line or 0, text = place .. text, order = #entries }
        end
    end

    -- A sentence that may begin with its own place, such as an error of Lua; otherwise(text) hears one that
    -- does not, or the first file is blamed.
    function R.add_sentence(sentence, otherwise)
        local file, line, text = sentence:match "^([^:]+):(%d+): (.*)$"
        if file then
            R.add(file, tonumber(line), text)
        elseif otherwise then
            otherwise(sentence)
        else
            R.add(files[1], nil, sentence)
        end
    end

    function R.count()
        return #entries + beside
    end

    function R.empty()
        return #entries == 0
    end

    -- One entry a line, "" when there is none.
    function R.text()
        local rank = {}
        for i, file in ipairs(files) do
            rank[file] = rank[file] or i
        end
        table.sort(entries, function(a, b)
            local x, y = rank[a.file] or 1e9, rank[b.file] or 1e9
            if x ~= y then
                return x < y
            elseif a.file ~= b.file then
                return a.file < b.file
            elseif a.line ~= b.line then
                return a.line < b.line
            end
            return a.order < b.order
        end)
        local out = {}
        for i, entry in ipairs(entries) do
            out[i] = entry.text
        end
        return table.concat(out, "\n")
    end

    return R
end

return M
