local C, ffi = require("ffi_room").load("base/buf.h", "base/map.h", "base/hash.h", "base/clock.h")

describe("base/buf", function()
    local function buf(limit)
        local b = ffi.new "struct buf"
        C.buf_init(b, limit)
        return ffi.gc(b, C.buf_free)
    end

    it("grows to its limit and not a byte further, all or nothing", function()
        local b = buf(10)
        assert.equal(0, C.buf_text(b, "12345"))
        assert.equal(-105, C.buf_text(b, "123456"))
        assert.equal("12345", ffi.string(C.buf_str(b)))
        assert.equal(0, C.buf_text(b, "67890"))
        assert.equal("1234567890", ffi.string(C.buf_str(b)))
    end)

    it("formats, drops from the front, and hands its bytes over", function()
        local b = buf(1000)
        C.buf_printf(b, "%d-%s", ffi.cast("int", 42), "x")
        C.buf_consume(b, 1)
        assert.equal("2-x", ffi.string(C.buf_str(b)))
        C.buf_consume(b, 100)
        assert.equal("", ffi.string(C.buf_str(b)))
        C.buf_text(b, "rest")
        ffi.cdef "void mem_free(void *);"
        local taken = C.buf_take(b)
        assert.equal("rest", ffi.string(taken))
        assert.equal(0, tonumber(b.len))
        C.mem_free(taken)
    end)

    it("leaves nothing of a secret behind its end, growing and shrinking", function()
        local b = buf(100000)
        b.secret = true
        for i = 1, 2000 do
            assert.equal(0, C.buf_text(b, ("secret %5d "):format(i)))
        end
        assert.equal("secret     1 ", ffi.string(C.buf_str(b), 13))
        assert.equal(26000, tonumber(b.len))
        C.buf_consume(b, 13 * 1999)
        assert.equal("secret  2000 ", ffi.string(C.buf_str(b)))
        assert.is_nil(ffi.string(b.data + 13, tonumber(b.cap) - 13):find("[^%z]"))
        C.buf_free(b)
        assert.is_true(b.secret)
    end)
end)

describe("base/map", function()
    it("agrees with a Lua table over 20,000 random steps", function()
        local m, truth, count = ffi.new "struct map", {}, 0
        math.randomseed(7)
        for step = 1, 20000 do
            local key = "k" .. math.random(1, 500)
            if math.random() < 0.6 then
                local before = C.map_put(m, key, ffi.cast("void *", step))
                assert.equal(truth[key] or 0, tonumber(ffi.cast("uintptr_t", before)))
                count = count + (truth[key] and 0 or 1)
                truth[key] = step
            else
                local before = C.map_remove(m, key)
                assert.equal(truth[key] or 0, tonumber(ffi.cast("uintptr_t", before)))
                count = count - (truth[key] and 1 or 0)
                truth[key] = nil
            end
            assert.equal(count, tonumber(m.count))
        end
        local at, key, value, seen = ffi.new "size_t[1]", ffi.new "const char *[1]", ffi.new "void *[1]", 0
        while C.map_next(m, at, key, value) do
            assert.equal(truth[ffi.string(key[0])], tonumber(ffi.cast("uintptr_t", value[0])))
            seen = seen + 1
        end
        assert.equal(count, seen)
        C.map_free(m)
        assert.is_true(C.map_get(m, "k1") == nil)
    end)
end)

describe("base/hash", function()
    it("writes 16 digits and spreads over low bits", function()
        local text, low = ffi.new "char[17]", {}
        C.hash_hex(C.hash_bytes("abc", 3), text)
        assert.equal(16, #ffi.string(text))
        for i = 1, 4096 do
            local key = "service-" .. i
            local bucket = tonumber(C.hash_bytes(key, #key) % 64ULL)
            low[bucket] = (low[bucket] or 0) + 1
        end
        for bucket = 0, 63 do
            assert.is_true(low[bucket] > 30 and low[bucket] < 110, "bucket " .. bucket .. ": " .. low[bucket])
        end
    end)
end)

describe("base/clock", function()
    it("writes wall time as ISO 8601 in UTC", function()
        local text = ffi.new "char[32]"
        C.clock_iso(1769860800123ULL, text, 32)
        assert.equal("2026-01-31T12:00:00.123Z", ffi.string(text))
    end)
end)
