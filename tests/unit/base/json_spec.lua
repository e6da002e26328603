local C, ffi = require("ffi_room").load "base/json.h"
ffi.cdef "void mem_free(void *);"

local function parse(text)
    local value = C.json_parse(text, #text)
    return value ~= nil and ffi.gc(value, C.json_free) or nil
end

describe("base/json", function()
    it("reads along paths with defaults for what is absent or of another type", function()
        local v = parse [[ {"a":{"b":{"n":7,"s":"x","t":true}}} ]]
        assert.equal("x", ffi.string(C.json_value_str(C.json_path(v, "a.b.s"), "-")))
        assert.equal(7, C.json_num(C.json_path(v, "a.b"), "n", 0))
        assert.equal(5, C.json_num(C.json_path(v, "a.b"), "s", 5))
        assert.is_true(C.json_bool(C.json_path(v, "a.b"), "t", false))
        assert.equal(9, C.json_num(nil, "n", 9))
        assert.is_true(C.json_path(v, "a.c.s") == nil)
    end)

    it("refuses what is not exactly one value", function()
        for _, bad in ipairs { "", "{", "{}x", "[1,]", "nul", "{\"a\":}" } do
            assert.is_nil(parse(bad), bad)
        end
        assert.is_not_nil(parse "{} \n")
    end)

    it("refuses nesting that would exhaust the stack, but not brackets inside strings", function()
        assert.is_nil(parse(("["):rep(100000) .. ("]"):rep(100000)))
        assert.is_not_nil(parse('"' .. ("["):rep(1000) .. '"'))
    end)

    it("keeps integers within what a double holds", function()
        local v = parse [[ {"big":1e300,"neg":-3,"ok":4294967296} ]]
        assert.equal(1, tonumber(C.json_int(v, "big", 1)))
        assert.equal(-3, tonumber(C.json_int(v, "neg", 1)))
        assert.equal(4294967296, tonumber(C.json_int(v, "ok", 1)))
    end)

    it("frees what is secret, however it is nested", function()
        for _, text in ipairs { "null", '"key"', '{"a":["x",{"b":"y"}],"c":"z","d":1}' } do
            C.json_free_secret(C.json_parse(text, #text))
        end
        C.json_free_secret(nil)
    end)

    it("builds and replaces members", function()
        local o = ffi.gc(C.json_object(), C.json_free)
        C.json_set_str(o, "a", "1")
        C.json_set_str(o, "a", "2")
        C.json_set_num(o, "n", 0.5)
        C.json_set_str(o, "none", nil)
        local text = C.json_text(o)
        assert.equal('{"a":"2","n":0.5,"none":null}', ffi.string(text))
        C.mem_free(text)
    end)

    it("writes compact text as cJSON does", function()
        ffi.cdef "char *cJSON_PrintUnformatted(const struct cJSON *value);"
        local function both(value)
            local ours, theirs = C.json_text(value), C.cJSON_PrintUnformatted(value)
            local a, b = ffi.string(ours), ffi.string(theirs)
            C.mem_free(ours)
            C.mem_free(theirs)
            assert.equal(b, a)
            return a
        end
        for _, text in ipairs { "{}", "[]", [=[[1,-7,0,0.5,-0.25,1e300,123456789012,999999999999999,1e15,1e-7,-0,4294967296]]=],
            [=[{"a":{"b":[true,false,null,{}]},"":"","x\\y":"q\"\\ /\b\f\n\r\t\u0001\u001f \u00e9 \u20ac"}]=] } do
            both(ffi.gc(C.json_parse(text, #text), C.json_free))
        end
        math.randomseed(7)
        local list = ffi.gc(C.json_array(), C.json_free)
        for i = 1, 2000 do
            C.json_add_num(list, (math.random() - 0.5) * 10 ^ math.random(-20, 20))
            C.json_add_num(list, math.floor(math.random() * 10 ^ (i % 19)))
        end
        for _, odd in ipairs { 0 / 0, 1 / 0, -1 / 0 } do
            C.json_add_num(list, odd)
        end
        assert.matches("null,null,null]$", both(list))
    end)

    it("writes no value as null", function()
        for _, write in ipairs { C.json_text, C.json_pretty } do
            local text = write(nil)
            assert.equal("null", ffi.string(text))
            C.mem_free(text)
        end
    end)
end)
