local script = require "script_room"
local reference = require "policy"
local ffi = require "ffi"
local vmdef = require "jit.vmdef"

local C = script.C
ffi.cdef [[
double script_test_picks(struct script_picker *picker, uint32_t count, uint32_t seed, uint32_t *ret_counts,
                         uint32_t *ret_failed);
double script_test_kbytes(struct script_hot *hot);
int script_test_opcodes(struct script_hot *hot, const struct script_picker *picker, uint8_t *ret_ops, int most);
]]

local ENOENT, EIO = -2, -5
local X = "policies/balance/x.lua"

local NAMES = {
    "round_robin", "weighted_round_robin", "least_connections", "least_response_time", "ewma", "zone_aware",
    "consistent_hashing", "data_locality_aware",
}
local shipped = {}
for _, name in ipairs(NAMES) do
    shipped[name] = script.read("policies/balance/" .. name .. ".lua")
end

local open = {}

local function hot(sources, heartbeat)
    local config = script.config { balance = sources }
    local h, why = script.hot(config, heartbeat)
    assert(h, why)
    open[#open + 1] = { h, config }
    return h
end

local function picker(h, policy, rows, count, params)
    local given = shipped[policy] and reference.params(reference.load("balance/" .. policy), params) or {}
    local p, why = script.picker(h, policy, given, rows, count)
    assert(p, why)
    C.script_picker_resize(p, count)
    return p
end

local function pick(p, given)
    local request = ffi.new("struct script_request", given or {})
    return C.script_pick(p, request)
end

local function why(p)
    return ffi.string(C.script_picker_error(p))
end

-- A policy whose pick or score has this body.
local function source(kind, body)
    local args = kind == "pick" and "backends, n, request" or "backend, request"
    return ("return { new = function(params)\nreturn { %s = function(%s)\n%s\nend } end }"):format(kind, args, body)
end

local function begins(text, part)
    assert(text:find(part, 1, true) == 1, ("%q does not begin with %q"):format(text, part))
end

describe("script/hot", function()
    after_each(function()
        for _, it in ipairs(open) do
            C.script_hot_free(it[1])
        end
        open = {}
    end)

    for _, live in ipairs { false, true } do
        for name in pairs(shipped) do
            it(("picks with %s as the reference does, %s"):format(name, live and "live" or "not live"), function()
                local h = hot(shipped)
                if live then
                    C.script_hot_live(h)
                end
                local random = 12345
                local function chance(n)
                    random = (random * 16807) % 2147483647
                    return random % n
                end
                for n = 1, 12 do
                    local list = {}
                    for i = 1, n do
                        list[i] = { weight = 1 + chance(3) }
                    end
                    local rows, backends = script.rows(list), reference.backends(list)
                    local p = picker(h, name, rows, n)
                    local expected = reference.picker("balance/" .. name, {}, backends)
                    for _ = 1, live and 500 or 50 do
                        local i = chance(n)
                        rows[i].in_flight, rows[i].eligible = chance(4), chance(4) > 0 and 1 or 0
                        backends[i + 1].in_flight, backends[i + 1].eligible = rows[i].in_flight, rows[i].eligible
                        local hash = chance(4294967296)
                        local request = reference.request { hash = hash }
                        local want = expected(request)
                        assert.equal(want and want - 1 or ENOENT,
                            pick(p, { hash = hash, in_flight = request.in_flight, changes = request.changes }))
                    end
                    C.script_picker_free(p)
                end
            end)
        end
    end

    it("checks every answer", function()
        local cases = {
            { "pick", "return nil", ENOENT },
            { "pick", "return 0", ENOENT },
            { "pick", "return", ENOENT },
            { "pick", "return 4", EIO, X .. ":2: picked 4 of 3 backends" },
            { "pick", "return -1", EIO, X .. ":2: picked -1 of 3 backends" },
            { "pick", "return 1.5", EIO, X .. ":2: picked 1.5 of 3 backends" },
            { "pick", "return 0/0", EIO, X .. ":2: picked " },
            { "pick", "return 1/0", EIO, X .. ":2: picked inf of 3 backends" },
            { "pick", "return 2^32 + 1", EIO, X .. ":2: picked 4294967297 of 3 backends" },
            { "pick", "return 2", EIO, X .. ":2: picked backend 2, which is not eligible" },
            { "pick", "return '1'", EIO, X .. ":2: picked a string: an index, or nil for none" },
            { "pick", "return backends[1]", EIO, X .. ":2: picked a cdata" },
            { "pick", "return backends[1], 2", EIO, X .. ":2: picked a cdata" },
            { "pick", "return backends[9].weight", EIO, X .. ":3: attempt to index" },
            { "score", "return nil", ENOENT },
            { "score", "return 1/0", ENOENT },
            { "score", "return 0/0", ENOENT },
            { "score", "return 'x'", EIO, X .. ":2: attempt to compare" },
            { "score", "return {}", EIO, X .. ":2: attempt to compare" },
            { "score", "error 'no'", EIO, X .. ":3: no" },
            { "score", "error {}", EIO, X .. ":3: raised a table value" },
            { "score", "return backend.wait", EIO, X .. ":3: the backend has no field 'wait': its fields are" },
            { "score", "return backend.in_fligth", EIO, X .. ":3: the backend has no field 'in_fligth': did you mean 'in_flight'?" },
            { "pick", "return request.kee", EIO, X .. ":3: the request has no field 'kee': did you mean 'key'?" },
            { "score", "backend.wait = 1", EIO, X .. ":3: attempt to write to constant location" },
            { "score", "backend.eligible = 1", EIO, X .. ":3: attempt to write to constant location" },
            { "score", "return backend[1]", EIO, X .. ":3: the backend has no field '(number)'" },
            { "score", "return backend + 1", EIO, X .. ":3: attempt to perform arithmetic" },
            { "score", "return request.hash.x", EIO, X .. ":3: attempt to index" },
            { "score", "return ffi.cast", EIO, X .. ":3: attempt to index global 'ffi'" },
            { "score", "local x = require 'ffi'", EIO, X .. ":3: no library" },
        }
        for _, live in ipairs { false, true } do
            for _, case in ipairs(cases) do
                local h = hot { x = source(case[1], case[2]), rr = shipped.round_robin }
                if live then
                    C.script_hot_live(h)
                end
                local rows = script.rows { {}, { eligible = 0 }, {} }
                local p, other = picker(h, "x", rows, 3), picker(h, "rr", rows, 3)
                for _ = 1, live and 200 or 2 do
                    assert.equal(case[3], pick(p), case[2])
                    assert.equal(0, pick(other) % 2)
                end
                if case[4] then
                    begins(why(p), case[4])
                end
            end
        end
    end)

    it("follows the roster", function()
        local rows = script.rows({}, 8)
        local h = hot(shipped)
        C.script_hot_live(h)
        for _, name in ipairs { "round_robin", "weighted_round_robin", "least_connections", "least_response_time" } do
            local params = reference.params(reference.load("balance/" .. name))
            local p = assert(script.picker(h, name, params, rows, 8))
            assert.equal(ENOENT, pick(p))
            for _, count in ipairs { 3, 8, 1, 0, 5 } do
                C.script_picker_resize(p, count)
                local seen = {}
                for i = 1, count * 2 do
                    local index = pick(p, { hash = i * 7919 })
                    assert.is_true(index >= 0 and index < count)
                    seen[index] = (seen[index] or 0) + 1
                end
                for i = 0, count - 1 do
                    assert.equal(2, seen[i])
                end
                assert.equal(count == 0 and ENOENT or 0, math.min(pick(p), 0))
            end
        end
    end)

    it("shows a policy only the backends in use", function()
        local h = hot { x = source("pick", "if backends[n + 1] or #backends ~= n then error 'more' end\nreturn n") }
        local p = assert(script.picker(h, "x", {}, script.rows({}, 8), 8))
        for _, count in ipairs { 8, 2, 5 } do
            C.script_picker_resize(p, count)
            assert.equal(count - 1, pick(p))
        end
    end)

    it("goes the way that `which` says, and tells a score what it came to", function()
        local h = hot { x = [[return { new = function()
            local base, told = 0, 0
            return { which = function(backends, n, request) return request.tag_count + (n - #backends) end,
                { score = function(backend) return base - backend.in_flight + told end,
                    prepare = function(backends, n, request) base = request.key + n - #backends end,
                    chose = function(backend) told = told + backend.index end },
                { pick = function(_, n, request) return request.attempt == 1 and told or n end } }
        end }]] }
        C.script_hot_live(h)
        local p = picker(h, "x", script.rows { { in_flight = 1 }, { in_flight = 3 }, { in_flight = 2 } }, 3)
        assert.equal(1, pick(p, { tag_count = 1 }))
        assert.equal(2, pick(p, { tag_count = 2 }))
        assert.equal(1, pick(p, { tag_count = 2, attempt = 1 })) -- told once, the second
        for _ = 1, 200 do
            assert.equal(1, pick(p, { tag_count = 1, key = 7 }))
            assert.equal(2, pick(p, { tag_count = 2 }))
        end
        assert.equal(EIO, pick(p, { tag_count = 3 }))
        begins(why(p), X .. ":3: ")
    end)

    -- Many more, in `pick`, are in kills_spec.lua.
    for _, body in ipairs { "while true do end", "while true do pcall(function() while true do end end) end",
        "while true do local i = ('a'):rep(10000):find('a*b') end", "while true do local t = { {} } end" } do
        it("stops a runaway score while live: " .. body, function()
            local h = hot { x = source("score", "if request.attempt == 1 then\n" .. body .. "\nend\nreturn 1") }
            C.script_hot_live(h)
            local p = picker(h, "x", script.rows { {}, {} }, 2)
            for _ = 1, 3 do
                for _ = 1, 300 do
                    assert.is_true(pick(p) >= 0, why(p))
                end
                assert.equal(EIO, pick(p, { attempt = 1 }))
                assert.truthy(why(p):find("^policies/balance/x.lua:4: ran longer than 10 ms"), why(p))
            end
            assert.is_true(pick(p) >= 0)
        end)
    end

    it("stops runaways of the passive generation and of the one that follows", function()
        local body = "if request.attempt == 1 then while true do end end\nreturn 1"
        local rows = script.rows { {}, {} }
        local old, new = hot { x = source("pick", body) }, hot { x = source("pick", body) }
        local first, second = picker(old, "x", rows, 2), picker(new, "x", rows, 2)
        for _, turn in ipairs { old, new, old, new } do
            C.script_hot_live(turn)
            for _, p in ipairs { first, second } do
                for _ = 1, 200 do
                    assert.equal(0, pick(p))
                end
                assert.equal(EIO, pick(p, { attempt = 1 }))
                begins(why(p), X .. ":3: ran longer than 10 ms")
            end
        end
    end)

    it("survives a policy that eats memory", function()
        local h = hot { x = source("pick", "if request.attempt == 1 then\nlocal t = {}\n"
            .. "while true do t[#t + 1] = ('x'):rep(1000000 - #t) end end\nreturn 1") }
        C.script_hot_live(h)
        local p = picker(h, "x", script.rows { {}, {} }, 2)
        for _ = 1, 3 do
            assert.equal(EIO, pick(p, { attempt = 1 }))
            assert.truthy(why(p):find "not enough memory" or why(p):find "ran longer", why(p))
            assert.equal(0, pick(p))
        end
    end)

    it("gives each worker a chance of its own", function()
        local seen, kinds = {}, 0
        for _ = 1, 8 do
            local h = hot { x = source("pick", "return math.random(n)") }
            C.script_hot_live(h)
            local p, drawn = picker(h, "x", script.rows({}, 1000), 1000), {}
            for i = 1, 3 do
                drawn[i] = pick(p)
            end
            local text = table.concat(drawn, " ")
            kinds = kinds + (seen[text] and 0 or 1)
            seen[text] = true
        end
        assert.is_true(kinds >= 7, kinds)
    end)

    it("beats odd inside Lua and even outside", function()
        local rows = script.rows { {}, {} }
        local beat = ffi.cast("uint64_t *", ffi.cast("char *", rows) + ffi.offsetof("struct script_backend", "age_s"))
        beat[0] = 7 -- left by a worker that was killed inside Lua
        -- The beat's bits are those of a tiny number: so many times the tiniest.
        local h = hot({ x = source("pick", "return backends[1].age_s / 5e-324 % 2 == 1 and 2 or 1") }, beat)
        assert.is_true(beat[0] % 2 == 0)
        local p = picker(h, "x", rows, 2)
        for i = 1, 3 do
            local before = beat[0]
            assert.equal(1, pick(p))
            assert.is_true(beat[0] == before + 2)
            if i == 1 then
                C.script_hot_live(h)
            end
        end
    end)

    local variants = {
        { "least_response_time", { scoring = "seed" } }, { "data_locality_aware", { scoring = "seed" } },
        { "ewma", { choices_above = 2 } }, { "consistent_hashing", { balance_factor = 0 } },
    }
    for _, name in ipairs(NAMES) do
        variants[#variants + 1] = { name }
    end
    for number, variant in ipairs(variants) do
        local name = variant[1]
        it(("leaves no garbage and is compiled: %s, variant %d"):format(name, number), function()
            local h = hot(shipped)
            C.script_hot_live(h)
            local list = {}
            for i = 1, 10 do
                list[i] = { in_flight = i % 3, eligible = i == 4 and 0 or 1, tags = i, response_ms = i % 5, zone = i % 2 }
            end
            local p = picker(h, name, script.rows(list), 10, variant[2])
            local counts, failed = ffi.new "uint32_t[10]", ffi.new "uint32_t[1]"
            C.script_test_picks(p, 150000, 1, counts, failed)
            -- A side path that only now becomes hot is compiled once; garbage is left in each round.
            local left = {}
            for round = 1, 4 do
                local before = C.script_test_kbytes(h)
                C.script_test_picks(p, 100000, 1 + round, counts, failed)
                left[round] = C.script_test_kbytes(h) - before
                if left[round] == 0 then
                    break
                end
            end
            assert.equal(0, left[#left], table.concat(left, " "))
            assert.equal(0, failed[0])
            assert.equal(0, counts[3])

            local ops, seen = ffi.new "uint8_t[512]", {}
            local count = C.script_test_opcodes(h, p, ops, 512)
            assert.is_true(count > 5)
            for i = 0, count - 1 do
                seen[vmdef.bcnames:sub(ops[i] * 6 + 1, ops[i] * 6 + 6):gsub(" ", "")] = true
            end
            for _, blacklisted in ipairs { "IFUNCF", "IFORL", "ILOOP", "IITERL" } do
                assert.is_nil(seen[blacklisted], blacklisted)
            end
            assert.is_true(seen.JFUNCF or seen.JFORL or seen.JLOOP)
            assert.is_true(C.script_picker_compiled(p)) -- the policy's own functions, too
        end)
    end

    it("tells what LuaJIT gives up", function()
        local bodies = {
            closure = "local function f() return n end\nreturn f()",
            rest = "local t = { 1, 2, n }\ntable.sort(t, function(a, b) return a > b end)\nreturn 1",
        }
        for label, body in pairs(bodies) do
            local h = hot { x = source("pick", body) }
            C.script_hot_live(h)
            local p = picker(h, "x", script.rows { {}, {} }, 2)
            local counts, failed = ffi.new "uint32_t[2]", ffi.new "uint32_t[1]"
            C.script_test_picks(p, 2048, 1, counts, failed)
            assert.equal(0, failed[0], label)
            assert.is_false(C.script_picker_compiled(p), label)
            begins(ffi.string(C.script_picker_origin(p)), X .. ":2")
        end
        local one = hot { x = source("pick", "return n"), y = source("score", "return -backend.index") }
        C.script_hot_live(one)
        for _, name in ipairs { "x", "y" } do
            local p = picker(one, name, script.rows { {}, {} }, 2)
            assert.is_false(C.script_picker_compiled(p)) -- not asked yet
            C.script_test_picks(p, 2048, 1, ffi.new "uint32_t[2]", ffi.new "uint32_t[1]")
            assert.is_true(C.script_picker_compiled(p), name)
        end
    end)

    it("costs so much", function()
        local h = hot(shipped)
        C.script_hot_live(h)
        local lines = {}
        for _, name in ipairs(NAMES) do
            for _, n in ipairs { 3, 10, 100 } do
                local p = picker(h, name, script.rows({}, n), n)
                local counts, failed, best = ffi.new("uint32_t[?]", n), ffi.new "uint32_t[1]", math.huge
                for round = 1, 5 do
                    best = math.min(best, C.script_test_picks(p, 40000, round, counts, failed))
                end
                lines[#lines + 1] = ("%s of %d: %.0f ns"):format(name, n, best)
            end
        end
        -- Pickers in turn must not push each other's compiled code out.
        local pickers, counts, failed = {}, ffi.new "uint32_t[4]", ffi.new "uint32_t[1]"
        local rows, sum = script.rows({}, 4), 0
        for i = 1, 200 do
            pickers[i] = picker(h, "least_connections", rows, 4)
        end
        for round = 1, 400 do
            for _, p in ipairs(pickers) do
                sum = sum + (C.script_test_picks(p, 4, round, counts, failed) * (round > 300 and 1 or 0))
            end
        end
        lines[#lines + 1] = ("least_connections of 4, 200 pickers in turn: %.0f ns"):format(sum / 100 / 200)
        print("\nCPU of one pick: " .. table.concat(lines, ", "))
    end)

    it("tells a policy's scores without taking a turn", function()
        local h = hot {
            cost = source("score", "if backend.index == 3 then return nil end return backend.in_flight + request.tag_count"),
            bad = source("score", "return backend.nothing"), rr = shipped.round_robin,
        }
        local rows = script.rows { { in_flight = 4 }, { in_flight = 1, eligible = 0 }, {}, { in_flight = 4 } }
        local p, scores = picker(h, "cost", rows, 4), ffi.new "double[4]"
        local request = ffi.new("struct script_request", { tag_count = 2 })
        local first = pick(p)
        for _ = 1, 3 do
            assert.equal(0, C.script_picker_scores(p, request, scores))
            assert.same({ 6, 3, 6 }, { scores[0], scores[1], scores[3] })
            assert.is_true(scores[2] ~= scores[2])
        end
        assert.equal(3 - first, pick(p)) -- of rows 0 and 3 the other one
        assert.equal(-95, C.script_picker_scores(picker(h, "rr", rows, 4), request, scores))
        local failing = picker(h, "bad", rows, 4)
        assert.equal(EIO, C.script_picker_scores(failing, request, scores))
        begins(why(failing), "policies/balance/bad.lua:")
    end)

    it("refuses what is no balance policy", function()
        local cases = {
            { "return { new = function() return 1 end }", "must return { score = function }" },
            { "return { new = function() return {} end }", "must return { score = function }" },
            { "return { new = function() return { pick = print, score = print } end }", "must return { score" },
            { "return { new = function() return { which = print, {} } end }", "must return { score" },
            { "return { new = function()\nerror 'no' end }", X .. ":2: no" },
            { "return +", X .. ":1: unexpected symbol" },
        }
        for _, case in ipairs(cases) do
            local p, text = script.picker(hot { x = case[1] }, "x", {}, script.rows({}, 2), 2)
            assert.is_nil(p)
            begins(text, "policies/balance/x.lua:")
            assert.truthy(text:find(case[2], 1, true), text)
        end
        local p, text = script.picker(hot {}, "none", {}, script.rows({}, 2), 2)
        assert.is_nil(p)
        assert.equal("no balance policy \"none\"", text)
    end)
end)
