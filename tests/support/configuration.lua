-- configuration.lua: loads configurations through script_load, for unit specs.
--
--     local config, warnings = load [[ service "web" { image = "web:1" } ]]
--     local none, errors, code = load { ["tidegate.lua"] = "...", ["policies/scale/x.lua"] = "..." }
local room = require "ffi_room"
local C, ffi = room.load("base/json.h", "script/script.h")
pcall(ffi.cdef, "void mem_free(void *);")
local json = require "dkjson"
local lfs = require "lfs"

local M = { directories = {} }

local function make_folder(path)
    local at = ""
    for part in path:gmatch "[^/]+" do
        at = at .. "/" .. part
        lfs.mkdir(at)
    end
end

-- A new directory with these files; a text alone is its tidegate.lua.
function M.write(files)
    local directory = os.tmpname()
    os.remove(directory)
    make_folder(directory)
    M.directories[#M.directories + 1] = directory
    for name, text in pairs(type(files) == "table" and files or { ["tidegate.lua"] = files }) do
        local path = directory .. "/" .. name
        make_folder(path:match "^(.*)/")
        local file = assert(io.open(path, "wb"))
        file:write(text)
        file:close()
    end
    return directory
end

function M.clean()
    for _, directory in ipairs(M.directories) do
        os.execute("rm -rf '" .. directory .. "'")
    end
    M.directories = {}
end

local function taken(holder)
    local text = holder[0] ~= nil and ffi.string(holder[0]) or nil
    C.mem_free(holder[0])
    return text
end

-- The configuration as a table and its warnings, or nil, the errors and the code. `use(json)` sees it as C does.
-- `labelled`: sets of labels as script_load_labelled takes them.
function M.load_path(path, overrides, use, labelled)
    local config, warnings, why = ffi.new "struct cJSON *[1]", ffi.new "char *[1]", ffi.new "char *[1]"
    local given = overrides and C.json_parse(overrides, #overrides)
    local sets = labelled and json.encode(labelled)
    local sets_json = sets and C.json_parse(sets, #sets)
    local code = C.script_load_labelled(path, given, sets_json, config, warnings, why)
    C.json_free(sets_json)
    C.json_free(given)
    if code < 0 then
        return nil, taken(why), code
    end
    local text = ffi.new("char *[1]", C.json_text(config[0]))
    if use then
        use(config[0])
    end
    C.json_free(config[0])
    return json.decode(taken(text), 1, nil, nil, nil), taken(warnings)
end

function M.load(files, overrides, use, labelled)
    return M.load_path(M.write(files) .. "/tidegate.lua", overrides, use, labelled)
end

-- ---- One route ---------------------------------------------------------------------------------

-- A configuration with one service and one route of these keys, as `load` gives it.
function M.with_route(route, files)
    files = files or {}
    files["tidegate.lua"] = ([[
service "web" {
  backends = { "127.0.0.1:9" },
  route = { listen = ":8080",
    %s },
}]]):format(route)
    return M.load(files)
end

-- The route with these keys as it is taken, beside other files.
function M.route(text, files)
    local config, why = M.with_route(text, files)
    assert(config, why)
    return config.services[1].routes[1]
end

-- Nothing is taken, and this sentence tells why, with the keys' file and line.
function M.route_refused(text, sentence, files)
    local config, why = M.with_route(text, files)
    assert(config == nil, "was taken: " .. text)
    assert(why:find(sentence, 1, true) and why:find("tidegate.lua:4: ", 1, true), why)
end

return M
