local C, ffi = require("ffi_room").load("base/str.h")

local function S(text)
    return ffi.new("struct str", text, #text)
end

local function text(s)
    return ffi.string(s.ptr, s.len)
end

describe("base/str", function()
    it("compares with and without case", function()
        assert.is_true(C.str_is(S "Host", "Host"))
        assert.is_false(C.str_is(S "Host", "host"))
        assert.is_true(C.str_is_nocase(S "Host", "hOST"))
        assert.is_false(C.str_is_nocase(S "Hos", "host"))
    end)

    it("takes parts off, empty ones too, and ends", function()
        local rest, part, parts = S "a,,b", ffi.new "struct str[1]", {}
        local at = ffi.new("struct str[1]", { rest })
        while C.str_next(at, string.byte ",", part) do
            parts[#parts + 1] = text(part[0])
        end
        assert.same({ "a", "", "b" }, parts)
    end)

    it("reads decimal numbers strictly", function()
        local value = ffi.new "uint64_t[1]"
        assert.equal(0, C.str_to_u64(S "18446744073709551615", value))
        assert.is_true(value[0] == 18446744073709551615ULL)
        for _, bad in ipairs { "", "-1", "+1", " 1", "1 ", "0x1", "18446744073709551616" } do
            assert.is_true(C.str_to_u64(S(bad), value) < 0, bad)
        end
    end)

    it("trims blanks and clamps parts", function()
        assert.equal("a b", text(C.str_trim(S " \ta b\t ")))
        assert.equal("", text(C.str_sub(S "abc", 2, 1)))
        assert.equal("bc", text(C.str_sub(S "abc", 1, 99)))
    end)
end)
