-- Memory that runs out: by what a policy allocates, and by one allocation anywhere that fails. Always a clean
-- sentence, and the state goes on.
local configuration = require "configuration"
local console = require "console"
local script = require "script_room"
local ffi = require "ffi"

local C = script.C
pcall(ffi.cdef, "struct state;")
ffi.cdef [[
struct state *script_test_state(int kind, size_t memory_bytes, char **reterr);
void script_test_state_free(struct state *s);
void script_test_state_live(struct state *s);
int script_test_eval(struct state *s, const char *source, size_t len, uint32_t budget_ms, char **ret_text);
void memory_fail(uint64_t nth, bool sticky);
uint64_t memory_asked(void);
]]

local ENOMEM, ETIME, EINVAL = -12, -62, -22
local FILE = "policies/scale/test.lua"
local NO_MEMORY = ": not enough memory: a state may hold %d MiB"

local function eval(s, source)
    local text = ffi.new "char *[1]"
    local code = C.script_test_eval(s, source, #source, 20000, text)
    return code, script.taken(text[0])
end

-- ---- Bombs ----------------------------------------------------------------------------------------

local BOMBS = {
    { "a table", "local t = {}\nfor i = 1, 1e9 do t[i] = i end" },
    { "a hash", "local t = {}\nfor i = 1, 1e9 do t[i + 0.5] = i end" },
    { "tables", "local t = {}\nwhile true do t = { t } end" },
    { "texts", "local s = 'x'\nwhile true do s = s .. s end" },
    { "many texts", "local t = {}\nfor i = 1, 1e9 do t[i] = ('%d'):format(i) end" },
    { "closures", "local t\nwhile true do local u = t t = function() return u end end" },
    { "coroutines", "local t = {}\nfor i = 1, 1e9 do t[i] = coroutine.create(print) end" },
    { "concat", "local t = {}\nfor i = 1, 1e5 do t[i] = ('x'):rep(1e3 + i) end\nreturn #table.concat(t)" },
    { "gsub", "local s = ('x'):rep(1e6)\nreturn #s:gsub('x', ('y'):rep(100))" },
    { "rep", "local t = {}\nfor i = 1, 1e9 do t[i] = ('x'):rep(1e6 - i) end" },
    { "boxed integers", "local t, n = {}, 1LL\nfor i = 1, 1e9 do n = n + 1LL t[i] = n end" },
    { "swallowed", "local t = {}\nlocal function f()\nfor i = 1, 1e9 do t[#t + 1] = ('%d'):format(i) end end\n"
        .. "for i = 1, 3 do pcall(f) end\nf()" },
    { "varargs", "local function f(...) return f(1, ...) end\nreturn f()", "stack overflow" },
}

local MIB = 1048576

-- In the third kind the JIT is on, and a call has 10 to 24 ms whatever it is given.
for _, kind in ipairs { { "cold", 0 }, { "hot, not live", 1 }, { "live", 1, live = true } } do
    describe("a memory bomb in a state that is " .. kind[1], function()
        for _, bomb in ipairs(BOMBS) do
            local name, source, otherwise = unpack(bomb)
            it("ends cleanly: " .. name, function()
                local why = ffi.new "char *[1]"
                local s = ffi.gc(C.script_test_state(kind[2], 4 * MIB, why), C.script_test_state_free)
                if kind.live then
                    C.script_test_state_live(s)
                end
                for _ = 1, 3 do
                    local code, text = eval(s, source)
                    if otherwise and code == EINVAL then
                        assert.truthy(text:find(otherwise, 1, true), text)
                    elseif kind.live and code == ETIME then -- before the cap was reached
                        assert.truthy(text:find("ran longer than 10 ms", 1, true), text)
                    else
                        assert.equal(ENOMEM, code, text)
                        assert.equal(FILE .. NO_MEMORY:format(4), text)
                    end
                    assert.same({ 0, "1000" }, { eval(s, "local t = {} for i = 1, 1000 do t[i] = {} end return #t") })
                end
                C.script_test_state_free(ffi.gc(s, nil))
            end)
        end
    end)
end

-- ---- One allocation that fails ----------------------------------------------------------------------

-- Runs `work` while each of up to `times` of its allocations fails, alone and with all behind it; work returns what
-- came of it, or nil and why. Afterwards it must say `want` again.
local function inject(times, want, work, patterns)
    C.memory_fail(0, false)
    local first, sentence = work()
    assert.equal(want, first, sentence)
    C.memory_fail(0, false)
    work()
    local all, failures, injected = tonumber(C.memory_asked()), 0, 0
    local step = math.max(1, (all - 1) / times)
    local at = 1
    while at <= all + 1 do
        for _, sticky in ipairs { false, true } do
            C.memory_fail(math.floor(at), sticky)
            local got, why = work()
            C.memory_fail(0, false)
            injected = injected + 1
            if got ~= want then
                assert.is_nil(got)
                local known = false
                for _, pattern in ipairs(patterns) do
                    known = known or why:find(pattern) ~= nil
                end
                assert.is_true(known, ("allocation %d of %d%s: %s"):format(at, all, sticky and " and later" or "", why))
                failures = failures + 1
                assert.equal(want, (work()))
            end
        end
        at = at + step
    end
    assert.is_true(failures > injected / 4, ("%d of %d failed"):format(failures, injected))
    return injected
end

local CLEAN = { "not enough memory" }

describe("an allocation that fails", function()
    after_each(function()
        C.memory_fail(0, false)
        configuration.clean()
    end)

    it("ends a load with a sentence", function()
        local directory = configuration.write {
            ["tidegate.lua"] = [[
service "web" { image = "web:1", ports = { "80" }, scale = { policy = "own", per = 5 },
  route = { listen = ":8080", balance = "ewma", request = function(r) return { key = r.path } end } }
alert "Slow" { when = function(m) return m.performance.p99 > 1 end }]],
            ["policies/scale/own.lua"] = [[
local twice = require "lib.twice"
return { name = "own", doc = "Own.", params = { per = { type = "number", default = 5 } },
  new = function(params) return function(s) return twice(s.instances) end end,
  examples = { { given = { instances = 2 }, want = 4 } } }]],
            ["policies/lib/twice.lua"] = "return function(x) return x * 2 end",
        }
        inject(120, "loaded", function()
            local config, why = configuration.load_path(directory .. "/tidegate.lua")
            return config and "loaded" or nil, why
        end, CLEAN)
    end)

    it("ends a decision with a sentence", function()
        local source = [[
return { new = function() local seen = {} return function(s)
seen[#seen % 10 + 1] = { at = s.now, text = ("%d instances"):format(s.instances) }
local parts = {}
for word in ("a b c"):gmatch "%a" do parts[#parts + 1] = word .. s.instances end
table.sort(parts, function(a, b) return a > b end)
return s.instances + 1, table.concat(parts, " ") .. (s.metrics.traffic.rate > 0 and "" or "!") end end }]]
        local config = script.config({ scale = { x = source } },
            { services = { { name = "web", scale = { policy = "x" } } } })
        local made = 0
        inject(60, "made", function()
            local cold, why = script.cold(config)
            if not cold then
                return nil, why
            end
            made = made + 1
            C.script_cold_free(cold)
            return "made"
        end, CLEAN)
        assert.is_true(made > 60)
        local cold = assert(script.cold(config))
        local function decide(n)
            local got = script.value(C.script_cold_decide(cold,
                script.json { services = { web = { instances = n, now = 1, hash = 0.5 } } })).services.web
            return got.want and got.want .. " " .. got.reason, got.error
        end
        inject(200, "3 c2 b2 a2!", function()
            return decide(2)
        end, CLEAN)
        C.script_cold_free(cold)
    end)

    for _, live in ipairs { false, true } do
        it("ends a pick with a sentence, " .. (live and "live" or "not live"), function()
            local x = [[
return { new = function() return { pick = function(backends, n, request)
local t = { n, request.hash } local f = function() return t[1] end
return f() - (#(n .. "x" .. request.hash) > 1 and 0 or 1) end } end }]]
            local config = script.config { balance = { x = x, ewma = script.read "policies/balance/ewma.lua" } }
            local rows, ewma = script.rows { {}, {}, { in_flight = 1 } }, { penalty = 1, choices_above = 16 }
            local request = ffi.new "struct script_request"
            local number = 0
            inject(live and 50 or 500, "picked", function() -- also where half a state is to be freed
                local hot, why = script.hot(config)
                if not hot then
                    return nil, why
                end
                if live then
                    C.script_hot_live(hot)
                end
                local got
                local p
                p, why = script.picker(hot, "ewma", ewma, rows, 3)
                if p then
                    C.script_picker_resize(p, 3)
                    for _ = 1, 100 do -- with the JIT on, traces are made meanwhile
                        got = C.script_pick(p, request)
                        if got < 0 then
                            why = got == -2 and "not enough memory: no rows" or ffi.string(C.script_picker_error(p))
                            break
                        end
                    end
                end
                C.script_hot_free(hot)
                return got and got >= 0 and "picked" or nil, why
            end, CLEAN)
            local hot = assert(script.hot(config))
            if live then
                C.script_hot_live(hot)
            end
            local p = assert(script.picker(hot, "x", {}, rows, 3))
            C.script_picker_resize(p, 3)
            inject(100, "2", function()
                for _ = 1, 3 do
                    number = number + 1 -- another text each time, so that it is allocated
                    request.hash = number
                    local got = C.script_pick(p, request)
                    if got < 0 then
                        return nil, ffi.string(C.script_picker_error(p))
                    elseif got ~= 2 then
                        return tostring(got)
                    end
                end
                return "2"
            end, CLEAN)
            C.script_hot_free(hot)
        end)
    end

    it("ends an evaluation at the prompt with a sentence", function()
        local c = console.new()
        local text = '("%d"):format(#services.catalog.service) .. decide("catalog", { cpu_percent = 92 }).want'
        local want = c:eval(text)
        assert.is_string(want)
        inject(200, want, function()
            local printed, _, why = c:eval(text)
            return printed, why
        end, CLEAN)
        c:close()
    end)
end)
