-- A store in a directory of its own, with blocking calls over tests/unit/store/driver.c. Every wait
-- has a condition and a deadline.
local loop = require "loop"
local C, ffi = require("ffi_room").load("store/store.h")

ffi.cdef [[
struct storeseen {
    uint32_t answers, closed, notice_count;
    int32_t rc;
    uint64_t durable;
    struct store *store;
    char error[256];
    struct { int32_t what; char text[300]; } notices[64];
    uint32_t row_count, rows_told;
    struct {
        uint64_t sequence, wall_ms;
        bool bad;
        char kind[32], service[64], subject[64], what[64], who[64], detail[64];
    } rows[512];
    uint32_t series_count, point_count;
    struct { char instance[64], metric[64]; uint32_t from, count; } series[64];
    struct store_point points[8192];
};
struct storeseen *storeseen_new(void);
void storeseen_free(struct storeseen *r);
int storeseen_open(struct storeseen *r, struct uv_loop_s *loop, const struct store_options *options);
void storeseen_close(struct storeseen *r);
int storeseen_events(struct storeseen *r, const struct store_filter *f);
int storeseen_samples(struct storeseen *r, const struct store_range *range);
int storeseen_documents(struct storeseen *r, const char *kind);
uint64_t clock_wall_ms(void);
uint64_t clock_now_us(void);
int unsetenv(const char *name);
int setenv(const char *name, const char *value, int overwrite);
]]

-- A sanitizer's library is for this process and those that load the store, not for every shell.
-- Kept in the environment, since each spec file loads this anew.
local preload = os.getenv "SPEC_PRELOAD" or os.getenv "LD_PRELOAD" or ""
ffi.C.setenv("SPEC_PRELOAD", preload, 1)
ffi.C.unsetenv "LD_PRELOAD"

local M = { C = C, ffi = ffi }
local Store = {}
Store.__index = Store

function M.directory()
    local pipe = io.popen "mktemp -d"
    local dir = pipe:read "*l"
    pipe:close()
    return dir
end

function M.remove(dir)
    os.execute(("rm -rf '%s'"):format(dir))
end

-- The command that runs one of the scripts beside the specs.
function M.script(name, dir)
    return ("exec env LD_PRELOAD='%s' luajit tests/unit/store/%s.lua '%s'"):format(preload, name, dir)
end

function M.files(dir)
    local pipe = io.popen(("ls '%s'"):format(dir))
    local text = pipe:read "*a"
    pipe:close()
    return text
end

function M.now()
    return tonumber(C.clock_wall_ms())
end

-- nil and the sentence when it cannot be opened.
function M.open(dir, options)
    local run, seen = loop.new(), C.storeseen_new()
    local o = ffi.new("struct store_options", options or {})
    o.dir = dir
    local self = setmetatable({ run = run, seen = seen, dir = dir, slots = {} }, Store)
    local rc = C.storeseen_open(seen, run:uv(), o)
    if rc ~= 0 then
        local text = ffi.string(seen.error)
        run:free()
        C.storeseen_free(seen)
        return nil, text, rc
    end
    self.store = seen.store
    return self
end

function Store:close()
    C.storeseen_close(self.seen)
    assert(self.run:wait(function()
        return self.seen.closed == 1
    end), "the store does not close")
    assert(self.run:free() == 0, "handles are left open")
    local notices = self:notices()
    C.storeseen_free(self.seen)
    return notices
end

function Store:wait(condition, what)
    assert(self.run:wait(condition), what or "the condition does not come true")
end

-- Numbers and texts of what was noticed so far.
function Store:notices()
    local list = {}
    for i = 0, self.seen.notice_count - 1 do
        list[#list + 1] = { what = self.seen.notices[i].what, text = ffi.string(self.seen.notices[i].text) }
    end
    return list
end

function Store:noticed(what)
    for _, notice in ipairs(self:notices()) do
        if notice.what == what then
            return notice.text
        end
    end
end

function Store:event(kind, fields)
    local e = ffi.new("struct store_event", fields or {})
    e.kind = kind
    e.wall_ms = fields and fields.wall_ms or M.now()
    return tonumber(C.store_event(self.store, e))
end

function Store:durable(sequence)
    self:wait(function()
        return self.seen.durable >= sequence
    end, "not durable: " .. sequence)
end

local function answer(self, rc, before)
    assert(rc == 0, "refused: " .. rc)
    self:wait(function()
        return self.seen.answers > before
    end, "no answer")
    assert(self.seen.rc == 0, "the answer is " .. self.seen.rc)
end

local TEXTS = { "kind", "service", "subject", "what", "who", "detail" }

function Store:events(filter)
    local f, before = ffi.new("struct store_filter", filter or {}), self.seen.answers
    answer(self, C.storeseen_events(self.seen, f), before)
    local rows = {}
    for i = 0, self.seen.row_count - 1 do
        local from = self.seen.rows[i]
        local row = { sequence = tonumber(from.sequence), wall_ms = tonumber(from.wall_ms), bad = from.bad }
        for _, name in ipairs(TEXTS) do
            row[name] = ffi.string(from[name])
        end
        rows[#rows + 1] = row
    end
    return rows, self.seen.rows_told
end

function Store:documents(kind)
    assert(C.storeseen_documents(self.seen, kind) == 0)
    local map = {}
    for i = 0, self.seen.row_count - 1 do
        map[ffi.string(self.seen.rows[i].subject)] = ffi.string(self.seen.rows[i].detail)
    end
    return map
end

function Store:sample(service, instance, metric, at_ms, value)
    local key = table.concat({ service, instance, metric }, "\0")
    local slot = self.slots[key]
    if not slot then
        slot = C.store_series(self.store, service, instance, metric)
        self.slots[key] = slot
    end
    C.store_sample(self.store, slot, at_ms, value)
end

function Store:figures()
    local f = ffi.new "struct store_figures"
    C.store_figures(self.store, f)
    return f
end

-- Waits until the writer has taken so many samples.
function Store:taken(samples)
    self:wait(function()
        return tonumber(self:figures().samples) >= samples
    end, "samples are not taken")
end

-- { ["instance metric"] = { { at_ms, min, max, mean, last, count }, ... } }
function Store:samples(range)
    local r, before = ffi.new("struct store_range", range), self.seen.answers
    answer(self, C.storeseen_samples(self.seen, r), before)
    local map = {}
    for i = 0, self.seen.series_count - 1 do
        local from, list = self.seen.series[i], {}
        for at = from.from, from.from + from.count - 1 do
            local p = self.seen.points[at]
            list[#list + 1] = {
                at_ms = tonumber(p.at_ms), min = p.min, max = p.max, mean = p.mean, last = p.last,
                count = tonumber(p.count),
            }
        end
        map[ffi.string(from.instance) .. " " .. ffi.string(from.metric)] = list
    end
    return map
end

return M
