-- live.lua: the real binary on a real, private Docker engine, for live specs.
--
--     local live = require "live"
--     live.describe("rolling", { "--live-restore" }, function(it, bed)
--         it("loses nothing", function(t)              -- t: as in tidegate.lua, and what is below
--             t:configure [[ service "data" { image = "quick:1", ... } ]]
--             t:start()
--             assert.equal(2, #t:containers())
--         end)
--     end)
--
-- One engine a describe. The spec's own process moves into the engine's network namespace, so that
-- the daemon, its clients and the load reach containers by their addresses. After each test no
-- container and no process of it may be left. Where no engine can run the whole is pending.
local docker_bed = require "docker_bed"
local ffi = require "ffi"
local json = require "dkjson"
local tidegate = require "tidegate"

ffi.cdef [[
int open(const char *path, int flags, ...);
int setns(int fd, int kind);
int close(int fd);
]]
local CLONE_NEWNET = 0x40000000

local M = {}

-- Moves this process to the network of a file descriptor, and closes that.
local function enter(fd)
    assert(fd >= 0 and ffi.C.setns(fd, CLONE_NEWNET) == 0, "cannot enter the network namespace")
    ffi.C.close(fd)
end

-- What t has beside the methods of tidegate.lua.
local Live = {}

-- A configuration with quick intervals around `services`; values as in fill, and CLUSTER: more keys.
function Live:configure(services, values)
    values = values or {}
    values.CLUSTER = values.CLUSTER or ""
    values.SOCKET = self.bed.socket
    return self:write("tidegate.lua", [[
cluster { id = "@ID@", engine = "docker", docker = { host = "unix://@SOCKET@" }, workers = 2, admin = false,
          sample_interval = "500ms", health_check_interval = "200ms", @CLUSTER@ }
]] .. services, values)
end

-- Body of a call to the engine as a table; nil and the text when it fails.
function Live:api(method, path, ...)
    local text, err = self.bed:api(method, path, ...)
    if not text then
        return nil, err
    end
    return json.decode(text) or {}
end

local function all(bed, id)
    local filters = ('{"label":["tidegate.cluster=%s"]}'):format(id):gsub('[{}"%[%]]', function(c)
        return ("%%%02X"):format(c:byte())
    end)
    return assert(json.decode(assert(bed:api("GET", "/containers/json?all=1&filters=" .. filters))))
end

-- Every container of the test's cluster in any state, as the engine lists it.
function Live:containers()
    return all(self.bed, self.id)
end

-- Their ids as keys.
function Live:container_ids()
    local ids = {}
    for _, c in ipairs(self:containers()) do
        ids[c.Id] = true
    end
    return ids
end

function Live:inspect(name)
    return assert(self:api("GET", "/containers/" .. name .. "/json"))
end

-- Insists that there are n containers, all running, one for each place.
function Live:assert_exactly(n)
    local places = {}
    local list = self:containers()
    for _, c in ipairs(list) do
        assert(c.State == "running", c.Names[1] .. " is " .. c.State)
        local place = c.Labels["tidegate.service"] .. "/" .. c.Labels["tidegate.slot"]
        assert(not places[place], "two containers for place " .. place)
        places[place] = true
    end
    assert(#list == n, ("%d containers, not %d"):format(#list, n))
end

-- Removes all that is left; says what it was.
local function sweep(bed, id)
    local names = {}
    local ok, list = pcall(all, bed, id)
    for _, c in ipairs(ok and list or {}) do
        names[#names + 1] = c.Names[1] .. " (" .. c.State .. ")"
        bed:api("DELETE", "/containers/" .. c.Id .. "?force=1&v=1")
    end
    bed:api("DELETE", "/networks/tidegate-" .. id)
    if not ok then
        return "the engine does not tell what is left: " .. tostring(list)
    end
    return #names > 0 and "containers left behind: " .. table.concat(names, ", ") or nil
end

local function test(bed, fn)
    return function()
        local id
        local ok, err = pcall(tidegate.test(function(t)
            id = t.id
            t.bed = bed
            for name, method in pairs(Live) do
                t[name] = method
            end
            fn(t)
        end))
        local left = sweep(bed, id)
        if not ok then
            error(err, 0)
        end
        if left then
            error(left, 0)
        end
    end
end

-- In a busted file: fn(it, bed); `options` go to `dockerd start`.
function M.describe(name, options, fn)
    local busted = require "busted"
    busted.describe(name, function()
        local possible, missing = docker_bed.possible()
        if not possible then
            busted.pending("cannot run here: " .. missing, function() end)
            return
        end
        local bed = setmetatable({}, { __index = function(_, key)
            error("no engine yet for " .. tostring(key))
        end })
        local home
        busted.setup(function()
            local started = docker_bed.start(options)
            setmetatable(bed, getmetatable(started))
            for key, value in pairs(started) do
                bed[key] = value
            end
            home = ffi.C.open("/proc/self/ns/net", 0)
            enter(ffi.C.open(bed.dir .. "/netns", 0))
        end)
        busted.teardown(function()
            if home then
                enter(home)
                bed:stop()
            end
        end)
        fn(function(title, body)
            busted.it(title, test(bed, body))
        end, bed)
    end)
end

M.now, M.sleep, M.alive, M.read_file = tidegate.now, tidegate.sleep, tidegate.alive, tidegate.read_file

return M
