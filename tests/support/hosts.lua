-- hosts.lua: every host that runs operators' code, as the product builds it, for specs that attack them.
--
--     for _, host in ipairs(hosts) do
--         local it, why = host.open(body)     -- the body of a function(view, backends, request); nil: refused
--         local text, error = it:run()        -- what it returned as text; or nil and the sentence
--         assert(it:healthy())                -- the same state still answers right
--         it:close()
--     end
--
-- host: name, jit, budget_ms, place (a pattern: file and line of the body, whose first line is 3).
local console = require "console"
local script = require "script_room"
local ffi = require "ffi"

local C = script.C

-- A policy that does as it should, and once it is told to calls the body and says what came of it.
local SCALE = [[
return { new = function() local tostring = tostring return function(s) local body = function(view, backends, request)
%s
end
if s.desired == 7 then return 1, "= " .. tostring((body(s))) end
return s.instances + 1, "fine" end end }]]
local BALANCE = [[
return { new = function() local tostring, error = tostring, error local body = function(view, backends, request)
%s
end
return { pick = function(backends, n, request)
if request.attempt == 1 then error("= " .. tostring((body(nil, backends, request))), 0) end
return n end } end }]]
local GOOD = "return { new = function() return function(s) return s.instances end end }"

local function lines(source, body)
    -- Line 3 for every host.
    return "\n" .. source:gsub("%%s", function() return body end)
end

-- ---- Scale policies -------------------------------------------------------------------------------

local Cold = {}
Cold.__index = Cold

function Cold:ask(desired)
    local got = script.value(C.script_cold_decide(self.cold, script.json { services = {
        web = { instances = 2, desired = desired, hash = 0.5 }, other = { instances = 4 } } })).services
    assert(got.other.want == 4, "another service's policy gave no answer")
    return got.web
end

function Cold:run()
    local got = self:ask(7)
    if got.error then
        return nil, got.error
    end
    return got.reason:sub(3)
end

function Cold:healthy()
    local got = self:ask(2)
    return got.want == 3 and got.reason == "fine"
end

function Cold:close()
    C.script_cold_free(self.cold)
end

local function cold(make)
    return function(body)
        local config = script.config({ scale = { x = lines(SCALE, body), good = GOOD } }, { services = {
            { name = "web", scale = { policy = "x" } }, { name = "other", scale = { policy = "good" } } } })
        local it, why = make(config)
        if not it then
            return nil, why
        end
        return setmetatable({ cold = it }, Cold)
    end
end

-- ---- Balance policies -----------------------------------------------------------------------------

local Hot = {}
Hot.__index = Hot

function Hot:pick(attempt)
    local request = ffi.new("struct script_request", { attempt = attempt, hash = 7 })
    return C.script_pick(self.picker, request)
end

function Hot:run()
    assert(self:pick(1) == -5)
    local why = ffi.string(C.script_picker_error(self.picker))
    local said = why:match ":%d+: = (.*)$"
    if said then
        return said
    end
    return nil, why
end

function Hot:healthy()
    for _ = 1, 300 do
        if self:pick(0) ~= 2 then
            return false
        end
    end
    return not self.live or C.script_picker_compiled(self.picker)
end

function Hot:close()
    C.script_hot_free(self.hot)
end

local function hot(live)
    return function(body)
        local h = assert(script.hot(script.config { balance = { x = lines(BALANCE, body) } }))
        if live then
            C.script_hot_live(h)
        end
        local picker, why = script.picker(h, "x", {}, script.rows { {}, {}, {} }, 3)
        if not picker then
            C.script_hot_free(h)
            return nil, why
        end
        C.script_picker_resize(picker, 3)
        return setmetatable({ hot = h, picker = picker, live = live }, Hot)
    end
end

-- ---- The prompt -----------------------------------------------------------------------------------

local Console = {}
Console.__index = Console

function Console:run()
    local printed, _, why = self.console:eval(self.text)
    if not printed then
        return nil, why
    end
    return printed:sub(1, -2)
end

function Console:healthy()
    return self.console:eval "20 + 1" == "21\n"
end

function Console:close()
    self.console:close()
end

local function prompt(body)
    return setmetatable({ console = console.new { budget_ms = 50 },
        text = "print((function(view, backends, request)\n\n" .. body .. "\nend)())" }, Console)
end

return {
    { name = "scale policies", budget_ms = 50, place = "policies/scale/x.lua:%d+: ", open = cold(script.cold) },
    { name = "scale policies in simulations", jit = true, budget_ms = 10, place = "policies/scale/x.lua:%d+: ",
        open = cold(script.cold_live) },
    { name = "balance policies", budget_ms = 10, place = "policies/balance/x.lua:%d+: ", open = hot(false) },
    { name = "balance policies that serve", jit = true, budget_ms = 10, place = "policies/balance/x.lua:%d+: ",
        open = hot(true) },
    { name = "the prompt", budget_ms = 50, place = "console:%d+: ", open = prompt },
}
