local C, ffi = require("ffi_room").load "base/log.h"

local function logged(json, write)
    local path = os.tmpname()
    assert.equal(0, C.log_open("spec", path, C.LOG_INFO, json))
    write()
    C.log_open("spec", nil, C.LOG_INFO, false)
    local file = io.open(path)
    local text = file:read "*a"
    file:close()
    os.remove(path)
    return text
end

describe("base/log", function()
    it("writes one line of key=value with quoting where needed", function()
        local text = logged(false, function()
            C.log_write(C.LOG_WARN, "instance down", "service=%s count=%d reason=%s ratio=%.2f none=%s", "web",
                ffi.cast("int", 3), 'it said "no"\nand left', 0.25, nil)
        end)
        assert.is_truthy(text:find(
            ' warn spec msg="instance down" service=web count=3 reason="it said \\"no\\"\\nand left" ratio=0.25 none=-\n',
            1, true), text)
    end)

    it("writes JSON that parses, whatever the values hold", function()
        local text = logged(true, function()
            C.log_write(C.LOG_INFO, "x", "a=%s n=%llu", '\1"\\', ffi.cast("unsigned long long", 18446744073709551615ULL))
        end)
        assert.is_truthy(text:find('"a":"\\u0001\\"\\\\","n":18446744073709551615}', 1, true), text)
    end)

    it("is silent below its level and bounded in length", function()
        assert.equal("", logged(false, function()
            C.log_write(C.LOG_DEBUG, "x", "")
        end))
        local text = logged(false, function()
            C.log_write(C.LOG_INFO, "x", "a=%s", ("y"):rep(100000))
        end)
        assert.is_true(#text <= 8192)
        assert.equal("\n", text:sub(-1))
    end)

    it("lets a bounded number through each second and counts the rest", function()
        local limit, skipped, passed = ffi.new "struct log_limit", ffi.new "unsigned[1]", 0
        for _ = 1, 1000 do
            passed = passed + (C.log_allowed(limit, 5, skipped) and 1 or 0)
        end
        assert.is_true(passed >= 5 and passed <= 10, passed)
    end)
end)
