-- Checks the structure of the house: who includes whom, which libraries stay in
-- one room, how long files and functions are, and that every room has tests.
--
--     luajit scripts/layers.lua [ROOT]     exit 1 with one line a violation
--
-- tests/unit/scripts/layers_spec.lua plants violations and sees them found.

local root = (arg and arg[1]) or "."

-- Rooms by layer; `may` lists the rooms whose headers a room may include.
local ROOMS = {
    base = { may = {} },
    board = { may = { "base" } },
    ipc = { may = { "base" } },
    net = { may = { "base" } },
    script = { may = { "base", "board" } },
    edge = { may = { "base", "board", "net" } },
    engine = { may = { "base", "net" } },
    probe = { may = { "base", "net" } },
    store = { may = { "base" } },
    acme = { may = { "base", "net/certificate.h", "net/jose.h" } },
    proxy = { may = { "base", "board", "ipc", "net", "edge", "script" } },
    -- Of engine and probe only the interface: fleet starts work through a table and through ports.
    fleet = { may = { "base", "board", "engine/engine.h", "probe/probe.h" } },
    watch = { may = { "base", "board", "net", "store" } },
    admin = { may = { "base", "ipc", "net", "store", "fleet", "watch" } },
    sim = { may = { "base", "board", "script", "engine/engine.h", "fleet" } },
    app = {
        may = {
            "base", "board", "ipc", "net", "script", "engine", "probe", "store", "proxy", "fleet", "watch",
            "acme", "admin",
        },
    },
    commands = { may = "all" },
}

-- Headers that other rooms may see. The leaf modules of base are all public.
local PUBLIC = {
    ["edge/compress.h"] = true, ["edge/forward.h"] = true, ["edge/limit.h"] = true,
    ["edge/users.h"] = true, ["edge/password.h"] = true,
    ["board/circuit.h"] = true, ["board/rate.h"] = true, ["board/share.h"] = true, ["board/traffic.h"] = true,
    ["script/console.h"] = true, ["script/kit.h"] = true,
    ["app/certificates.h"] = true, ["app/children.h"] = true, ["app/paths.h"] = true, ["app/run.h"] = true,
    ["net/certificate.h"] = true, ["net/digest.h"] = true, ["net/grpc.h"] = true,
    ["net/http1.h"] = true, ["net/jose.h"] = true, ["net/net.h"] = true,
    ["net/peer.h"] = true, ["net/tls.h"] = true,
    ["watch/alerts.h"] = true, ["watch/catalog.h"] = true,
    ["watch/collect.h"] = true, ["watch/exposition.h"] = true, ["watch/families.h"] = true,
    ["watch/page.h"] = true, ["watch/view.h"] = true, ["watch/outbox.h"] = true,
    ["watch/channel.h"] = true, ["watch/held.h"] = true,
}

-- Narrower than their room: what a process must not be able to reach.
local FILES = {
    ["app/worker.c"] = { "base", "board", "ipc", "net", "script", "proxy", "app" },
    ["app/policy.c"] = { "base", "board", "ipc", "script", "app" },
}
local FILES_NEVER = { ["app/master.c"] = { "script" }, ["app/master.h"] = { "script" } }

-- Library headers that belong to one room.
local LIBRARIES = {
    { pattern = "^lua", rooms = { script = true }, what = "Lua" },
    { pattern = "^curl/", rooms = { net = true }, what = "libcurl" },
    { pattern = "^cjson/", rooms = { base = true }, what = "cJSON" },
    { pattern = "^sqlite3", rooms = { store = true }, what = "SQLite" },
    { pattern = "^openssl/", rooms = { net = true }, what = "OpenSSL" },
    { pattern = "^nghttp2/", rooms = { proxy = true }, what = "nghttp2" },
    { pattern = "^brotli/", rooms = { edge = true }, what = "brotli" },
}

-- Written apart, so that this file has none itself.
local MARKS = { "TO" .. "DO", "FIX" .. "ME" }

local LIMITS = { file = 700, func = 80 }

local violations = {}
local function violation(file, line, text)
    violations[#violations + 1] = ("%s:%d: %s"):format(file, line, text)
end

local function lines_of(command)
    local list = {}
    local pipe = assert(io.popen(command))
    for line in pipe:lines() do
        list[#list + 1] = line
    end
    pipe:close()
    return list
end

local function contains(list, item)
    for _, one in ipairs(list) do
        if one == item then
            return true
        end
    end
    return false
end

local function check_room_include(file, number, path)
    local room, own = path:match "^([%w_]+)/", file:match "^core/([%w_]+)/"
    if not room or not ROOMS[room] then
        violation(file, number, ("includes \"%s\", which is in no room"):format(path))
        return
    end
    local short = file:gsub("^core/", "")
    if FILES[short] and not contains(FILES[short], room) then
        violation(file, number, ("must not include \"%s\": it reaches too far for this process"):format(path))
    elseif FILES_NEVER[short] and contains(FILES_NEVER[short], room) then
        violation(file, number, ("must never include \"%s\""):format(path))
    end
    if room == own then
        return
    end
    local public = room == "base" or path == room .. "/" .. room .. ".h" or PUBLIC[path]
    if not public then
        violation(file, number, ("includes \"%s\", which is private to room %s"):format(path, room))
    end
    local may = ROOMS[own].may
    if may ~= "all" and not contains(may, room) and not contains(may, path) then
        violation(file, number, ("room %s may not include room %s (\"%s\")"):format(own, room, path))
    end
end

local function check_library_include(file, number, path)
    local own = file:match "^core/([%w_]+)/"
    for _, library in ipairs(LIBRARIES) do
        if path:match(library.pattern) and not library.rooms[own] then
            violation(file, number, ("<%s>: %s belongs to another room"):format(path, library.what))
        end
    end
end

-- A function body starts with "{" alone in column 1 and ends with "}" there (the format is enforced).
local function check_sizes(file, lines)
    if #lines > LIMITS.file then
        violation(file, #lines, ("%d lines: split it, %d is the limit"):format(#lines, LIMITS.file))
    end
    local start
    for number, line in ipairs(lines) do
        if line == "{" then
            start = number
        elseif line:match "^}" and start then
            local length = number - start - 1
            if length > LIMITS.func then
                violation(file, start, ("function of %d lines: %d is the limit"):format(length, LIMITS.func))
            end
            start = nil
        end
    end
end

local function read_lines(path)
    local lines = {}
    for line in assert(io.open(root .. "/" .. path)):lines() do
        lines[#lines + 1] = line
    end
    return lines
end

local function check_core_file(file)
    local own = file:match "^core/([%w_]+)/"
    if own and not ROOMS[own] then
        violation(file, 1, ("core/%s is no room: name it in scripts/layers.lua and the map"):format(own))
        return
    end
    local lines = read_lines(file)
    for number, line in ipairs(lines) do
        local quoted = line:match '^%s*#%s*include%s+"([^"]+)"'
        local angled = line:match "^%s*#%s*include%s+<([^>]+)>"
        if quoted and own then
            check_room_include(file, number, quoted)
        elseif angled and own then
            check_library_include(file, number, angled)
        end
        for _, mark in ipairs(MARKS) do
            if line:match("%f[%w]" .. mark .. "%f[%W]") then
                violation(file, number, "a mark of unfinished work")
            end
        end
    end
    check_sizes(file, lines)
end

local function find(what)
    return lines_of(("cd '%s' && find %s 2>/dev/null | sort"):format(root, what))
end

for _, path in ipairs(find "core examples -name '*.[ch]'") do
    check_core_file(path)
end

local OTHERS = "core policies scripts tests -type f ! -name '*.md' ! -path '*/corpus/*' ! -path 'core/*.[ch]'"
for _, path in ipairs(find(OTHERS)) do
    local lines = read_lines(path)
    if #lines > LIMITS.file then
        violation(path, #lines, ("%d lines: split it, %d is the limit"):format(#lines, LIMITS.file))
    end
end

for _, path in ipairs(find "core -mindepth 1 -maxdepth 1 -type d") do
    local room = path:match "([%w_]+)$"
    local specs = find(("tests/unit/%s -name '*_spec.lua'"):format(room))
    if #specs == 0 then
        violation("core/" .. room, 1, "a room without tests: tests/unit/" .. room .. " has no spec")
    end
end

for _, line in ipairs(violations) do
    print(line)
end
os.exit(#violations == 0 and 0 or 1)
