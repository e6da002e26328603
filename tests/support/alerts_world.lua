-- Alerts on a virtual clock, for specs: tests/unit/watch/alerts_world.h with Lua values.
--   local w = World.new { World.rule("HighCPU", { when = { metric_path = "resources.cpu_usage", threshold = 90 } }) }
--   w:shop { resources = { cpu_usage = 95 } }       -- one evaluation with this view of the service `shop`
--   assert.equal("firing", w:state "HighCPU")
local cjson = require "cjson"
local C, ffi = require("ffi_room").load()

local file = assert(io.open "tests/unit/watch/alerts_world.h")
ffi.cdef((file:read("*a"):gsub("\n#[^\n]*", "\n"):gsub("^#[^\n]*", "")))
file:close()

local World = {}
World.__index = World

local function with(base, over)
    for key, value in pairs(over or {}) do
        base[key] = value
    end
    return base
end

-- A rule as script.h shapes it, with nothing that delays it.
function World.rule(name, over)
    local rule = with({
        name = name, scope = "service", severity = "warning", message = "", labels = {}, annotations = {},
        services = {}, duration_ms = 0, keep_firing_for_ms = 0, missing = "keep", cooldown_ms = 0, flap = {},
    }, over)
    rule.when = with({ operator = ">" }, rule.when)
    return rule
end

-- Groups that tell at once and as often as they like.
function World.config(rules, alerting)
    return {
        alerts = rules,
        alerting = with({ interval_ms = 5000, group_by = { "alertname", "service" }, group_wait_ms = 0,
            group_interval_ms = 0, repeat_interval_ms = 14400000, maintenance = true, inhibit = {} }, alerting),
    }
end

function World.new(rules, alerting)
    local self = setmetatable({ w = ffi.gc(C.alerts_world_new(), C.alerts_world_free) }, World)
    self:apply(rules, alerting)
    return self
end

function World:apply(rules, alerting)
    self.config = cjson.encode(World.config(rules, alerting))
    C.alerts_world_apply(self.w, self.config)
end

function World:run(ms)
    C.alerts_world_run(self.w, ms)
end

function World:restart(ms)
    C.alerts_world_restart(self.w, self.config, ms or 1000)
end

function World:restore(kind, key, json)
    C.alerts_world_restore(self.w, kind, key, json)
end

-- One evaluation of views = { services = {}, tidegate = {} }, as it stands; it stays for `go`.
function World:evaluate(views, results, suppressed)
    self.views = views
    C.alerts_world_evaluate(self.w, views and cjson.encode(views) or "", results and cjson.encode(results) or "",
        suppressed and cjson.encode(suppressed) or "")
end

-- One evaluation with this view of the service `shop`.
function World:shop(view, results, suppressed)
    self:evaluate({ services = { shop = view } }, results, suppressed)
end

-- `ms` go by with the last views, evaluated every five seconds.
function World:go(ms, suppressed)
    for _ = 1, ms / 5000 do
        self:run(5000)
        self:evaluate(self.views, nil, suppressed)
    end
    self:run(ms % 5000)
end

function World:told()
    return cjson.decode(ffi.string(C.alerts_world_told(self.w)))
end

function World:facts()
    return ffi.string(C.alerts_world_facts(self.w))
end

function World:documents()
    return cjson.decode(ffi.string(C.alerts_world_documents(self.w)))
end

function World:loose()
    return C.alerts_world_loose(self.w)
end

function World:batches()
    return C.alerts_world_batches(self.w)
end

function World:ask(what, object)
    local text = type(object) == "table" and cjson.encode(object) or object or ""
    return cjson.decode(ffi.string(C.alerts_world_ask(self.w, what, text)))
end

function World:silence(matchers, for_ms)
    return self:ask("silence", { matchers = matchers, for_ms = for_ms or 3600000 })
end

function World:count(state, severity)
    return C.alerts_world_count(self.w, state, severity or "warning")
end

function World:policy_errors()
    return tonumber(C.alerts_world_policy_errors(self.w))
end

-- The alert of this name (of this instance, if given) as the status has it.
function World:alert(name, instance)
    for _, one in ipairs(self:ask("status").alerts) do
        if one.name == name and (not instance or one.instance == instance) then
            return one
        end
    end
end

function World:state(name, instance)
    local one = self:alert(name, instance)
    return one and one.state or "inactive"
end

-- Messages in short: "firing: HighCPU shop-1 firing, HighCPU shop-2 resolved".
function World.short(messages)
    local out = {}
    for i, m in ipairs(messages) do
        local alerts = {}
        for k, a in ipairs(m.group.alerts) do
            local l = a.labels
            alerts[k] = ("%s %s %s"):format(l.alertname, l.instance or l.service or "tidegate", a.status)
        end
        out[i] = m.reason .. ": " .. table.concat(alerts, ", ")
    end
    return out
end

function World:heard()
    return World.short(self:told())
end

function World:cost_us(views, count)
    return tonumber(C.alerts_world_cost_us(self.w, cjson.encode(views), count))
end

function World.blocks()
    return tonumber(C.alerts_world_blocks())
end

return World
