-- generate.lua: writes what is made of policies/tidegate/views.lua: policies/meta.lua, .luarc.json, and the
-- marked parts of .luacheckrc and policies/README.md.
--
--     luajit scripts/generate.lua [--check]     --check writes nothing; exit 1 names the files that differ
local views = dofile "policies/tidegate/views.lua"
local stubs = dofile "core/script/stubs.lua"
local check = arg[1] == "--check"
local differ = 0

local function read(path)
    local file = io.open(path, "rb")
    local text = file and file:read "*a" or ""
    return text, file and file:close()
end

local function keep(path, text)
    if read(path) == text then
        return
    end
    differ = differ + 1
    if check then
        io.stderr:write(path, ": not what policies/tidegate/views.lua gives: run `scripts/dev generate`\n")
        return
    end
    local file = assert(io.open(path, "wb"))
    assert(file:write(text))
    assert(file:close())
    print(path)
end

-- `text` in place of what stands between two marks.
local function keep_part(path, from, to, text)
    local whole = read(path)
    local _, begins = whole:find(from, 1, true)
    local ends = whole:find(to, begins or 1, true)
    assert(begins and ends, path .. ": the marks are missing: " .. from .. " and " .. to)
    keep(path, whole:sub(1, begins) .. "\n" .. text .. whole:sub(ends))
end

keep("policies/meta.lua", stubs.meta(views))
keep(".luarc.json", stubs.luarc(views, false))
keep_part(".luacheckrc", "-- <generated>", "-- </generated>", stubs.luacheck(views))
keep_part("policies/README.md", "<!-- generated -->", "<!-- /generated -->", stubs.reference(views))
os.exit(check and differ > 0 and 1 or 0)
