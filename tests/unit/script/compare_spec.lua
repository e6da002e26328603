-- What another generation would have decided.
local script = require "script_room"

local C = script.C

local function config(body, names, rest)
    local services = {}
    for i, name in ipairs(names or { "web" }) do
        services[i] = { name = name, scale = { policy = "x", params = {}, min = 1, max = 9 } }
    end
    local all = { services = services }
    for key, value in pairs(rest or {}) do
        all[key] = value
    end
    return script.config({ scale = { x = "return { name = 'x', new = function(params, state)\nreturn function(s)\n" .. body
        .. "\nend end }" } }, all)
end

local function views(names, count)
    local out = {}
    for _, name in ipairs(names or { "web" }) do
        out[name] = {}
        for i = 1, count do
            out[name][i] = { service = name, now = 5 * i, instances = 2, desired = 2, min = 1, max = 9, rate = i }
        end
    end
    return script.json { services = out }
end

local function compare(was, now, learned, recent)
    return script.value(C.script_compare(was, now, learned, recent or views(nil, 20)))
end

describe("script_compare", function()
    it("tells services that would have another number, with the last view that differs", function()
        local same = config "return nil, 'stays'"
        assert.same({ views = 20, partial = false, services = {}, alerts = {} }, compare(same, same))
        local diff = compare(same, config "if s.rate % 7 == 0 then return 20, 'seventh' end return 2, 'as it is'")
        assert.same({ { service = "web", was = "x", now = "x", views = 20, differ = 2, last = { desired = 2,
            was = { want = 2, reason = "stays" }, now = { want = 9, reason = "seventh" } } } }, diff.services)
    end)

    it("tells what fails, and asks that no more than needed", function()
        local one = compare(config "return 3", config "return nothing.x").services[1]
        assert.equal(3, one.differ)
        assert.same({ want = 3, reason = "" }, one.last.was)
        assert.matches("^policies/scale/x.lua:3: ", one.last.now.error)
    end)

    it("lets both go on from copies of what is kept, at times that lie behind it", function()
        local learned = script.json { ["scale:x|web|"] = { version = 1, state = { last = 100, n = 3 } } }
        local body = "if s.now <= state.last then error('the clock went back') end state.last = s.now "
            .. "state.n = state.n + 1 return state.n > %d and 5 or 4"
        assert.equal(13, compare(config(body:format(99)), config(body:format(10)), learned).services[1].differ)
        assert.same({}, compare(config(body:format(10)), config(body:format(10)), learned).services)
    end)

    it("leaves out services that only one of them scales", function()
        local names = { "web", "new" }
        assert.same({}, compare(config "return 3", config("return 4", { "new" }), nil, views(names, 5)).services)
    end)

    it("ends after two seconds, and says that it did", function()
        local names = {}
        for i = 1, 30 do
            names[i] = "s" .. i
        end
        local slow = config("for i = 1, 2e6 do end return 3", names)
        local began = os.clock()
        assert.is_true(compare(slow, slow, nil, views(names, 20)).partial)
        assert.is_true(os.clock() - began < 4)
    end)
end)
