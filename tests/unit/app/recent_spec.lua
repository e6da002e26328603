-- The last views that policies were asked about.
local json = require "dkjson"
local C, ffi = require("ffi_room").load("base/mem.h", "base/json.h", "app/recent.h")

local function parsed(value)
    local text = json.encode(value)
    return ffi.gc(C.json_parse(text, #text), C.json_free)
end

local function told(recent)
    local value = C.recent_json(recent)
    local text = C.json_text(value)
    local out = ffi.string(text)
    C.mem_free(text)
    C.json_free(value)
    return json.decode(out), #out
end

describe("app/recent", function()
    local recent

    before_each(function()
        recent = ffi.new "struct recent"
    end)

    after_each(function()
        C.recent_free(recent)
    end)

    local function note(from, to, service)
        for i = from, to do
            C.recent_note(recent, parsed { services = { [service or "web"] = { now = i } } })
        end
    end

    local function nows(service)
        local out = {}
        for i, view in ipairs(told(recent).services[service or "web"]) do
            out[i] = view.now
        end
        return out
    end

    it("keeps the last 20 of each service, the oldest first", function()
        assert.same({}, told(recent).services)
        note(1, 3)
        assert.same({ 1, 2, 3 }, nows())
        note(4, 47)
        note(100, 101, "other")
        local got = nows()
        assert.same({ 20, 28, 47 }, { #got, got[1], got[20] })
        assert.same({ 100, 101 }, nows "other")
    end)

    it("goes on from what another process had, its question too", function()
        note(1, 5)
        note(1, 5, "gone")
        C.recent_note_question(recent, '{"views":{}} behind', 12)
        local before, config = parsed((told(recent))), parsed { services = { { name = "new" }, { name = "web" } } }
        C.recent_free(recent)
        C.recent_take(recent, before, config)
        assert.is_nil(told(recent).services.gone) -- not in the configuration any more
        note(6, 7)
        assert.same({ 1, 2, 3, 4, 5, 6, 7 }, nows())
        assert.same({ views = {} }, told(recent).question)
        C.recent_take(recent, nil, config)
    end)

    it("keeps fewer of each when there are many, and still the newest", function()
        local services = {}
        for i = 1, 400 do
            services["s" .. i] = { now = 0, metrics = ("x"):rep(4000) }
        end
        for now = 1, 12 do
            for _, view in pairs(services) do
                view.now = now
            end
            C.recent_note(recent, parsed { services = services })
        end
        local got, bytes = told(recent)
        assert.is_true(bytes < 9e6, bytes)
        local count = 0
        for _, views in pairs(got.services) do
            count = count + 1
            assert.equal(12, views[#views].now)
            assert.is_true(#views >= 4)
        end
        assert.equal(400, count)
    end)
end)
