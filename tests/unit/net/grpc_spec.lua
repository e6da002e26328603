-- Deadlines and statuses of gRPC, as they stand in fields.
local C, ffi = require("ffi_room").load("base/str.h", "net/grpc.h")

local function str(text)
    return ffi.new("struct str", { text, #text }), text
end

describe("gRPC", function()
    it("is known by its content type", function()
        local types = {
            ["application/grpc"] = true, ["application/grpc+proto"] = true, ["Application/GRPC;charset=x"] = true,
            ["application/grpc-web"] = false, ["application/grpcs"] = false, ["application/json"] = false, [""] = false,
        }
        for text, expected in pairs(types) do
            assert.equal(expected, C.grpc_type((str(text))), text)
        end
    end)

    it("has deadlines of eight digits and a unit, and nothing else", function()
        local ms = ffi.new "uint64_t[1]"
        local good = { ["1H"] = 3600000, ["2M"] = 120000, ["3S"] = 3000, ["4m"] = 4, ["1u"] = 1, ["1001u"] = 2, ["1n"] = 1,
            ["99999999H"] = 99999999 * 3600000, ["0S"] = 0, ["00000001S"] = 1000, ["1000001n"] = 2 }
        for text, expected in pairs(good) do
            assert.equal(0, C.grpc_timeout((str(text)), ms), text)
            assert.equal(expected, tonumber(ms[0]), text)
        end
        for _, text in ipairs { "", "S", "1", "1s", "1 S", " 1S", "+1S", "-1S", "1.5S", "123456789S", "1SS", "0x1S", "1S " } do
            assert.is_true(C.grpc_timeout((str(text)), ms) < 0, text)
        end
    end)

    it("has statuses with names", function()
        local cases = { ["0"] = 0, ["14"] = 14, ["16"] = 16, ["17"] = 2, ["999"] = 2, ["x"] = -1, [""] = -1, ["-1"] = -1 }
        for text, expected in pairs(cases) do
            assert.equal(expected, C.grpc_status_parse((str(text))), text)
        end
        assert.equal("UNAVAILABLE", ffi.string(C.grpc_status_name(14)))
        assert.equal("", ffi.string(C.grpc_status_name(-1)))
        assert.equal("", ffi.string(C.grpc_status_name(17)))
    end)

    it("maps statuses of HTTP both ways", function()
        for http, grpc in pairs { [400] = 13, [401] = 16, [403] = 7, [404] = 12, [408] = 4, [413] = 8, [429] = 8, [500] = 2,
            [502] = 14, [503] = 14, [504] = 4, [301] = 2 } do
            assert.equal(grpc, tonumber(C.grpc_status_of_http(http)), http)
        end
        for grpc, http in pairs { [0] = 200, [1] = 499, [4] = 504, [5] = 404, [14] = 503, [-1] = 500, [17] = 500 } do
            assert.equal(http, C.grpc_status_to_http(grpc), grpc)
        end
        local failed = {}
        for status = -1, 17 do
            failed[#failed + 1] = C.grpc_status_failed(status) and status or nil
        end
        assert.same({ 2, 4, 13, 14, 15 }, failed)
    end)

    it("encodes messages, and never beyond their room", function()
        local function encoded(text, size)
            local to = ffi.new("char[?]", size + 1, ("Z"):rep(size))
            to[size] = 7
            C.grpc_message(str(text), to, size)
            assert.equal(7, to[size])
            return ffi.string(to)
        end
        assert.equal("plain text", encoded("plain text", 64))
        assert.equal("100%25 %C3%BC%0A", encoded("100% \195\188\n", 64))
        for size = 4, 40 do
            assert.is_true(#encoded(("\255"):rep(40), size) < size)
        end
    end)
end)
