-- console.lua: the evaluator of the console for unit specs.
--
--     local c = console.new { attached = false, files = { ["policies/scale/x.lua"] = "return { ... }" } }
--     local printed, outcome = c:eval "1 + 1"         -- "2\n", "done"; what went wrong: nil, "failed", why
--     c:close()
local room = require "ffi_room"
local dkjson = require "dkjson"

local C, ffi = room.load("base/mem.h", "base/json.h", "script/script.h", "script/console.h")
ffi.cdef [[
struct console_driver;
struct console_driver *console_driver_new(const char *config_path, uint32_t budget_ms, bool json, bool attached,
                                          bool write, char **reterr);
void console_driver_free(struct console_driver *d);
struct script_console *console_driver_console(struct console_driver *d);
void console_driver_answer(struct console_driver *d, const char *json);
void console_driver_interrupt_after(struct console_driver *d, uint32_t prints);
const char *console_driver_printed(struct console_driver *d);
const char *console_driver_asked(struct console_driver *d);
void console_driver_clear(struct console_driver *d);
]]

local M = {}
local Console = {}
Console.__index = Console

local OUTCOMES = { [0] = "done", "more", "failed", "quit", "reload", "watch", "trace" }

M.CONFIG = [[
cluster { id = "shop", engine = "process" }
service "catalog" {
  command = { "./catalog", "--port", "$PORT" }, ports = { "8080" },
  tags = function(i) return { "zone:" .. i.index % 2, i.index == 2 and "dataset:orders" or "dataset:users" } end,
  scale = { policy = "threshold", min = 2, max = 4 },
  route = { listen = "127.0.0.1:18080", host = "catalog.local", balance = "data_locality_aware" },
}
service "legacy" {
  backends = { { host = "10.0.0.5", port = 9000, weight = 2 }, "10.0.0.6:9000" },
  route = { listen = "127.0.0.1:18080", host = "legacy.local", balance = "least_connections" },
}
service "sole" { backends = { "10.0.0.7:9000" } }
]]

local function taken(text)
    local copy = ffi.string(text)
    C.mem_free(text)
    return copy
end

local function write(dir, name, text)
    os.execute(("mkdir -p '%s'"):format((dir .. "/" .. name):match "^(.*)/"))
    local file = assert(io.open(dir .. "/" .. name, "w"))
    file:write(text)
    file:close()
end

-- Options: config, files, budget_ms, json, attached, write, status, metrics.
function M.new(o)
    o = o or {}
    local pipe = io.popen "mktemp -d"
    local self = setmetatable({ dir = pipe:read "*l" }, Console)
    pipe:close()
    write(self.dir, "tidegate.lua", o.config or M.CONFIG)
    for name, text in pairs(o.files or {}) do
        write(self.dir, name, text)
    end
    local why = ffi.new "char *[1]"
    self.driver = C.console_driver_new(self.dir .. "/tidegate.lua", o.budget_ms or 2000, o.json or false,
        o.attached or false, o.write or false, why)
    assert(self.driver ~= nil, why[0] ~= nil and ffi.string(why[0]))
    self.console = C.console_driver_console(self.driver)
    self:update(o)
    return self
end

function Console:configuration()
    local config, warnings, why = ffi.new "struct cJSON *[1]", ffi.new "char *[1]", ffi.new "char *[1]"
    assert(C.script_load(self.dir .. "/tidegate.lua", nil, config, warnings, why) == 0,
        why[0] ~= nil and ffi.string(why[0]))
    C.mem_free(warnings[0])
    local text = taken(C.json_text(config[0]))
    C.json_free(config[0])
    return dkjson.decode(text)
end

function Console:update(o, fresh)
    local text = dkjson.encode { configuration = self:configuration(), status = o.status, metrics = o.metrics,
        commands = { { name = "scale", usage = "scale SERVICE N", doc = "Sets it.", example = "tidegate scale x 2" } } }
    local data, why = C.json_parse(text, #text), ffi.new "char *[1]"
    local code = C.script_console_update(self.console, data, fresh or false, why)
    C.json_free(data)
    assert(code == 0, why[0] ~= nil and ffi.string(why[0]))
end

-- What it printed and how it ended; nil, "failed" and why; or what it printed, "watch" and its settings.
function Console:eval(text, o)
    o = o or {}
    local why, watch = ffi.new "char *[1]", ffi.new "struct script_console_watch"
    C.console_driver_clear(self.driver)
    local outcome = OUTCOMES[tonumber(C.script_console_eval(self.console, o.origin or "console", o.line or 1, text,
        o.final ~= false, watch, why))]
    local printed = ffi.string(C.console_driver_printed(self.driver))
    if outcome == "failed" then
        return nil, outcome, taken(why[0])
    end
    return printed, outcome, outcome == "watch" and watch or nil
end

-- The sentence of what must fail.
function Console:fails(text, o)
    local printed, outcome, why = self:eval(text, o)
    assert(outcome == "failed", ("%s: %s, printed %s"):format(text, outcome, tostring(printed)))
    return why
end

function Console:answer(value)
    C.console_driver_answer(self.driver, dkjson.encode(value))
end

function Console:asked()
    return ffi.string(C.console_driver_asked(self.driver))
end

function Console:interrupt_after(prints)
    C.console_driver_interrupt_after(self.driver, prints)
end

-- Words and how many bytes they replace.
function Console:complete(before)
    local replaced = ffi.new "size_t[1]"
    return taken(C.script_console_complete(self.console, before, replaced)), tonumber(replaced[0])
end

function Console:close()
    C.console_driver_free(self.driver)
    os.execute(("rm -rf '%s'"):format(self.dir))
end

return M
