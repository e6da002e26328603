-- A fleet on a virtual clock with a fake engine, for specs: tests/unit/fleet/world.h with Lua values.
--   local w = World.new { services = { World.service("shop") } }
--   w:until_(function() return w:up("shop") == 2 end)
local cjson = require "cjson"
local C, ffi = require("ffi_room").load()

local file = assert(io.open "tests/unit/fleet/world.h")
ffi.cdef((file:read("*a"):gsub("\n#[^\n]*", "\n"):gsub("^#[^\n]*", "")))
file:close()

local World = {}
World.__index = World
World.EMPTY = false -- an empty array: cjson would write an object

World.OPS = { create = 0, start = 1, inspect = 2, list = 3, stop = 4, remove = 5, sample = 6, logs = 7 }
World.ETIMEDOUT, World.EADDRINUSE, World.ENOENT, World.EAGAIN, World.ECANCELED = -110, -98, -2, -11, -125

local function merged(base, over)
    for key, value in pairs(over or {}) do
        if type(value) == "table" and type(base[key]) == "table" and #value == 0 then
            merged(base[key], value)
        else
            base[key] = value
        end
    end
    return base
end

-- A service as script.h shapes it, with short times.
function World.service(name, over)
    return merged({
        name = name, source = "image", image = "ok",
        environment = { A = "1", B = "2" }, resources = { memory_bytes = 1000, cpus = 1 },
        ports = { { container = 8080, host = 0 } },
        restart_policy = { name = "unless-stopped", max_retries = 0 },
        health_check = { kind = "http", path = "/health", port = 0, interval_ms = 1000, timeout_ms = 500,
            retries = 3, rise = 1, start_period_ms = 0, explicit = true },
        deploy = { timeout_ms = 10000 }, stop_timeout_ms = 1000, drain_timeout_ms = 5000,
        scale = { policy = "threshold", params = {}, min = 2, max = 5,
            up_cooldown_ms = 60000, down_cooldown_ms = 120000, interval_ms = 5000 },
        weight = 1, max_connections = 100, capacity = 1000,
    }, over)
end

-- A service of addresses that are not ours to start.
function World.static(name, backends, over)
    return merged({
        name = name, source = "backends", backends = backends, drain_timeout_ms = 5000,
        health_check = { kind = "tcp", interval_ms = 1000, timeout_ms = 500, retries = 3, rise = 1, explicit = false },
    }, over)
end

function World.new(config)
    local self = setmetatable({ w = ffi.gc(C.world_new(), C.world_free) }, World)
    if config then
        self:apply(config)
    end
    return self
end

function World:close()
    C.world_free(ffi.gc(self.w, nil))
    self.w = nil
end

function World:apply(config)
    C.world_apply(self.w, cjson.encode { cluster = { id = "t", sample_interval_ms = 1000 },
        services = config.services })
end

function World:run(ms)
    C.world_run(self.w, ms)
end

-- Runs until `condition` holds; fails after so many virtual milliseconds.
function World:until_(condition, limit_ms, what)
    local waited = 0
    while not condition() do
        assert(waited < (limit_ms or 60000), (what or "condition") .. " did not come true:\n" .. self:facts())
        self:run(50)
        waited = waited + 50
    end
    return waited
end

local function value(text)
    local decoded = cjson.decode(ffi.string(text))
    if decoded == cjson.null then
        return nil
    end
    return decoded
end

function World:set(t) C.world_set(self.w, cjson.encode(t)) end
function World:image(name, t) C.world_image(self.w, name, cjson.encode(t)) end
function World:foreign(name) C.world_foreign(self.w, name) end
function World:die(name, code, oom) assert(C.world_die(self.w, name, code or 1, oom or false)) end
function World:sick(name, sick) assert(C.world_sick(self.w, name, sick)) end
function World:mute(name, mute) assert(C.world_mute(self.w, name, mute)) end
function World:pause(name, paused) assert(C.world_pause(self.w, name, paused)) end
function World:vanish(name) C.world_vanish(self.w, name) end
function World:host(address, answers) C.world_host(self.w, address, answers) end
function World:in_flight(slot, n) C.world_in_flight(self.w, slot, n) end
function World:queue(worker, route, n) C.world_queue(self.w, worker, route, n) end
function World:requests(...) C.world_requests(self.w, ...) end
function World:crash() C.world_crash(self.w) end
function World:boot() C.world_boot(self.w) end
function World:forget() C.world_forget(self.w) end
function World:facts() return ffi.string(C.world_facts(self.w)) end
function World:log() return ffi.string(C.world_log(self.w)) end
function World:kept() return value(C.world_kept(self.w)) end
function World:keep(kind, key, json) C.world_keep(self.w, kind, key, json) end
function World:containers() return value(C.world_containers(self.w)) end
function World:engine() return value(C.world_engine(self.w)) end
function World:roster() return value(C.world_roster(self.w)) end
function World:asked() return value(C.world_asked(self.w)) end
function World:status(service) return value(C.world_status(self.w, service or "")) end
function World:deploy_state(service) return value(C.world_deploy_state(self.w, service)) end
function World:decisions(service) return (value(C.world_decisions(self.w, service or "")) or {}).decisions end
function World:tick_cost_us(count) return tonumber(C.world_tick_cost_us(self.w, count)) end

-- The policy of the service "shop" wants n.
function World:want(n, reason)
    self:policy { shop = { want = n, reason = reason or "as told", policy = "threshold", origin = "t.lua" } }
end

-- Its last decision; {} when there is none.
function World:last()
    local all = self:decisions "shop"
    return all and all[#all] or {}
end

function World:fault(op, t)
    t.op = World.OPS[op]
    self:set { fault = t }
end

function World:delay(op, ms)
    self:set { delay = { op = World.OPS[op], ms = ms } }
end

function World:calls(op)
    return self:engine().calls[World.OPS[op] + 1].count
end

function World:policy(services)
    C.world_policy(self.w, services and cjson.encode { services = services } or "")
end

function World:operate(what, object, count, hold_ms)
    return value(C.world_operate(self.w, what, object or "", count or 0, hold_ms or 0))
end

function World:service_status(name)
    return self:status(name).services[1]
end

function World:up(name)
    return self:service_status(name).up
end

-- The roster's backends of a service, by id.
function World:backends(name)
    local by_id, count = {}, 0
    for _, service in ipairs(self:roster().services) do
        for _, backend in ipairs(service.name == name and service.backends or {}) do
            by_id[backend.id] = backend
            count = count + 1
        end
    end
    return by_id, count
end

-- Instances of a service by id, as status shows them.
function World:instances(name)
    local by_id = {}
    for _, instance in ipairs(self:service_status(name).instances) do
        by_id[instance.id] = instance
    end
    return by_id
end

-- "place:generation:image" of all running containers of a service, sorted: the shape of an end state.
function World:shape(name)
    local all = {}
    for _, c in ipairs(self:containers()) do
        if c.service == name then
            all[#all + 1] = ("%d:%d:%s:%s"):format(c.place, c.generation, c.image, tostring(c.running))
        end
    end
    table.sort(all)
    return table.concat(all, " ")
end

-- Deploys it whole and forgets how.
function World:settled(name, count)
    self:until_(function()
        local s = self:service_status(name)
        return s.up == count and not s.rolling and #s.instances == count
    end, 60000, name .. " settled")
    self:run(200)
    self:forget()
    return self
end

return World
