-- readme.lua: the configurations that a section of README.md shows, for specs that check them.
--
--     for _, text in ipairs(readme.configurations "Routing extras") do ... end
local M = {}

-- Indented blocks of a section of "The edge" that begin with a word of the configuration, each as one file.
-- A line that begins with "route = " begins another one, and stands in a service of its own.
function M.configurations(section)
    local file = assert(io.open "README.md")
    local chapter = file:read("*a"):match "\n## The edge\n(.-\n)## "
    file:close()
    local text = (assert(chapter, "README.md has no chapter on the edge") .. "\n### "):match("\n### " .. section .. "\n(.-)\n### ")
    local out, block = {}, {}
    local function finish()
        local whole = table.concat(block, "\n")
        block = {}
        if whole:find "^route = " then
            whole = 'service "shown" {\n  backends = { "127.0.0.1:9" },\n' .. whole .. "\n}"
        end
        if whole:find "^%l+ [{\"]" then
            out[#out + 1] = (whole:find "^cluster " and "" or 'cluster { engine = "process" }\n') .. whole
        end
    end
    for line in (assert(text, "no section " .. section) .. "\nend\n"):gmatch "(.-)\n" do
        local inside = line:find "^    " or (line == "" and #block > 0)
        if not inside or line:find "^    route = " then
            finish()
        end
        if inside then
            block[#block + 1] = line:sub(5)
        end
    end
    assert(#out > 0, section .. " shows no configuration")
    return out
end

return M
