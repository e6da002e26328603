-- Engines of any kind for specs: blocking calls over the records of
-- tests/unit/engine/driver.c. Every wait has a condition and a deadline.
local loop = require "loop"
local C, ffi = loop.C, loop.ffi

ffi.cdef [[
struct engine;
struct engine_sample_seen {
    double cpu_seconds, cpu_cores_allotted;
    uint64_t memory_bytes, memory_limit_bytes, at_us, network_rx_bytes, network_tx_bytes;
    uint32_t pids;
};
struct instanceseen {
    char id[80], name[200], service[64], spec_hash[64], health_output[512], address[128], error[512];
    uint32_t serial, slot, generation, pid, restarts;
    int32_t state, health, exit_code;
    bool oom_killed;
    uint64_t started_wall_ms;
};
struct enginerecord {
    uint32_t done;
    int32_t code;
    bool starting, reentered;
    char text[512], id[80];
    uint32_t count;
    struct instanceseen instances[128];
    struct engine_sample_seen sample;
    char log[65536];
    uint32_t log_len;
};
struct eventseen { int32_t kind, exit_code, health; char id[80], name[200], service[64]; };
struct enginenews {
    uint32_t ups, downs, events;
    char description[128], why[512];
    struct eventseen last[16384];
    uint32_t others;
    struct eventseen last_others[256];
};
struct enginerecord *enginerecord_new(void);
void enginerecord_free(struct enginerecord *r);
struct enginenews *enginenews_new(void);
void enginenews_free(struct enginenews *n);
struct engine *enginetest_new(struct uv_loop_s *loop, struct net_client *client, const char *cluster, const char *state_dir,
    struct enginenews *news, char **reterr);
void enginetest_open(struct engine *e);
void enginetest_close(struct engine *e);
int enginetest_create(struct engine *e, const char *spec, struct enginerecord *r);
int enginetest_start(struct engine *e, const char *id, struct enginerecord *r);
int enginetest_stop(struct engine *e, const char *id, uint32_t timeout_s, struct enginerecord *r);
int enginetest_remove(struct engine *e, const char *id, struct enginerecord *r);
int enginetest_inspect(struct engine *e, const char *id, struct enginerecord *r);
int enginetest_list(struct engine *e, struct enginerecord *r);
int enginetest_sample(struct engine *e, const char *id, struct enginerecord *r);
int enginetest_logs(struct engine *e, const char *id, uint32_t lines, struct enginerecord *r);
int enginetest_others(struct engine *e, const char *prefix, struct enginerecord *r);
void enginetest_follow(struct engine *e, bool on);
void mem_free(void *ptr);
]]

local M = { E = loop.E, C = C, text = loop.text }
M.STATES = { [0] = "created", "running", "restarting", "paused", "exited", "gone" }
M.HEALTHS = { [0] = "none", "starting", "healthy", "unhealthy" }
M.EVENTS = { [0] = "started", "died", "oom", "health", "removed", "paused", "unpaused" }

-- JSON text of tables (a table with [1], or M.list{}, is an array), strings, numbers and booleans.
local list_mark = {}
function M.list(t)
    return setmetatable(t, list_mark)
end

function M.json(value)
    if type(value) == "string" then
        return '"' .. value:gsub('[%c"\\]', function(c)
            return ("\\u%04x"):format(c:byte())
        end) .. '"'
    elseif type(value) == "table" then
        local parts = {}
        if value[1] ~= nil or getmetatable(value) == list_mark then
            for i, item in ipairs(value) do
                parts[i] = M.json(item)
            end
            return "[" .. table.concat(parts, ",") .. "]"
        end
        for key, item in pairs(value) do
            parts[#parts + 1] = M.json(key) .. ":" .. M.json(item)
        end
        table.sort(parts)
        return "{" .. table.concat(parts, ",") .. "}"
    end
    return type(value) == "number" and ("%.17g"):format(value) or tostring(value)
end

local function plain_instance(seen)
    local out = {}
    for _, key in ipairs { "id", "name", "service", "spec_hash", "health_output", "address", "error" } do
        out[key] = ffi.string(seen[key])
    end
    for _, key in ipairs { "serial", "slot", "generation", "pid", "restarts", "exit_code", "oom_killed" } do
        out[key] = seen[key]
    end
    out.state, out.health = M.STATES[seen.state], M.HEALTHS[seen.health]
    out.started_wall_ms = tonumber(seen.started_wall_ms)
    return out
end

local Engine = {}
Engine.__index = Engine

-- cluster: the "cluster" of a configuration (script.h) as a table. Returns nil and the sentence when
-- it is refused. Not opened yet. `run` may be shared: a loop of require("loop").
function M.new(cluster, state_dir, run)
    local self = setmetatable({ own_loop = not run, run = run or loop.new(), records = {} }, Engine)
    local client, err = ffi.new "struct net_client *[1]", ffi.new "char *[1]"
    assert(C.net_client_new(self.run:uv(), client, err) == 0)
    self.client, self.news = client[0], C.enginenews_new()
    self.e = C.enginetest_new(self.run:uv(), self.client, M.json(cluster), state_dir or "", self.news, err)
    if self.e == nil then
        local sentence = ffi.string(err[0])
        C.mem_free(err[0])
        self.e = nil
        self:close()
        return nil, sentence
    end
    return self
end

function Engine:open()
    C.enginetest_open(self.e)
    return self
end

-- Waits until it has been up `times` times, and returns its description.
function Engine:up(times, ms)
    assert(self.run:wait(function()
        return self.news.ups >= (times or 1)
    end, ms), "engine is not up: " .. ffi.string(self.news.why))
    return ffi.string(self.news.description)
end

-- Waits until it has been down `times` times, and returns why.
function Engine:down(times, ms)
    assert(self.run:wait(function()
        return self.news.downs >= (times or 1)
    end, ms), "engine is not down")
    return ffi.string(self.news.why)
end

-- Starts a call; `finish` waits for it.
function Engine:start_call(name, ...)
    local record = C.enginerecord_new()
    self.records[#self.records + 1] = record
    local args = { ... }
    args[#args + 1] = record
    assert(C["enginetest_" .. name](self.e, unpack(args)) == 0)
    return record
end

-- { code, text, id, instances, sample, log } of a call.
function Engine:finish(record, ms)
    assert(self.run:until_(ffi.cast("uint32_t *", record), 1, ms), "no callback came")
    self.run:run(2)
    assert(record.done == 1, "the callback came twice")
    assert(not record.reentered, "the callback came from inside the start")
    local out = {
        code = record.code, text = ffi.string(record.text), id = ffi.string(record.id), instances = {},
        sample = record.sample, log = ffi.string(record.log, record.log_len),
    }
    for i = 0, tonumber(record.count) - 1 do
        out.instances[i + 1] = plain_instance(record.instances[i])
    end
    return out
end

-- engine:call("start", id), engine:call("stop", id, 5), engine:call("create", spec_table)
function Engine:call(name, first, ...)
    if type(first) == "table" then
        first = M.json(first)
    end
    if first == nil then
        return self:finish(self:start_call(name))
    end
    return self:finish(self:start_call(name, first, ...), 60000)
end

-- The instance, or nil and the code.
function Engine:look(id)
    local r = self:call("inspect", id)
    return r.instances[1], r.code, r.text
end

-- Inspects until `condition(instance)` holds; the instance, or nil at the deadline.
function Engine:wait_for(id, condition, ms)
    local found
    self.run:wait(function()
        found = self:look(id)
        return found and condition(found)
    end, ms or 30000)
    return found and condition(found) and found or nil
end

-- Events so far: list of { kind, id, name, service, exit_code, health }.
function Engine:events()
    local out = {}
    for i = 0, math.min(tonumber(self.news.events), 16384) - 1 do
        local seen = self.news.last[i]
        out[#out + 1] = {
            kind = M.EVENTS[seen.kind], id = ffi.string(seen.id), name = ffi.string(seen.name),
            service = ffi.string(seen.service), exit_code = seen.exit_code, health = M.HEALTHS[seen.health],
        }
    end
    return out
end

-- Waits for an event of a kind (and of an instance's id or name, when given).
function Engine:event(kind, of, ms)
    local found
    self.run:wait(function()
        for _, event in ipairs(self:events()) do
            if event.kind == kind and (not of or event.id == of or event.name == of) then
                found = event
            end
        end
        return found ~= nil
    end, ms)
    return found
end

-- Closes engine and client; returns how many handles stayed open (own loop only).
function Engine:close()
    if self.e then
        C.enginetest_close(self.e)
        self.e = nil
        self.run:run(5)
    end
    C.net_client_close(self.client)
    self.run:run(5)
    local left = self.own_loop and self.run:free() or 0
    for _, record in ipairs(self.records) do
        C.enginerecord_free(record)
    end
    C.enginenews_free(self.news)
    return left
end

return M
