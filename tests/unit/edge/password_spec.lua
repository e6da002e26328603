-- Hashes of passwords as Apache's htpasswd and crypt write them, and Authorization fields.
local alone = require "alone"
local C, ffi = require("ffi_room").load("base/str.h", "edge/password.h")

ffi.cdef "void mem_free(void *ptr);"

local function str(text)
    return ffi.new("struct str", { text, #text })
end

describe("edge/password", function()
    setup(function()
        for kind = 0, C.HTPASSWD_KINDS - 1 do
            assert.equal(0, C.edge_password_begin(kind, ffi.new "char *[1]"))
        end
    end)

    -- Written by htpasswd 2.4 and openssl passwd.
    local HASHES = {
        ["s3cret word"] = {
            "$2y$05$iMimRCOTlJmZrFSqWyVT.eBVdmxKrBwGCBihbXuqPvA6n7YOwjf0W",
            "$apr1$M.5IfBRM$yp5m1GRCAJo/dScprglH80",
            "{SHA}LGOa2vtqnMFbTOAPTsm+DWiuGCA=",
            "$5$zz4F5AZJQwYx7nXB$K.5kHis4SRU51hVG898dx3sF5d4kAkdYBORlsWo9W39",
            "$6$uedNaZ91CnOyk8px$nj8zxFXJcjM5DjM5yHJNS2Ssa2LqwswmmnFAIRjKdg3UGWlLdakxcwUDz99aYwaop0iVMwxyj.SFDbwjLKoqO/",
        },
        x = {
            "$5$abcdefgh$sI6g8tHKrJ6RX7w.YoN9B7a/5wK5jYEOMmMnt3tPl0/",
            "$6$abc$K4v3HcZ8yAmpRfxML6S46NCcqy9r4/KdbQpFvqSWsBf4dgySOEOo1DHJTrmn2BsJK2aNmPN8Tfb826D2o9.z51",
        },
    }

    it("knows the passwords of all kinds, and no others", function()
        for password, hashes in pairs(HASHES) do
            for _, hash in ipairs(hashes) do
                assert.is_true(C.edge_password_check(str(hash), str(password)), hash)
                for _, other in ipairs { "", "wrong", password .. "x", password:sub(1, -2), password .. "\0" } do
                    assert.is_false(C.edge_password_check(str(hash), str(other)), hash .. " " .. other)
                end
            end
        end
    end)

    it("says what to do where OpenSSL may not compute it", function()
        local said = alone("edge/password.h", alone.NO_DIGESTS, [[
            local error = ffi.new "char *[1]"
            for _, kind in ipairs { C.HTPASSWD_APR1, C.HTPASSWD_SHA1 } do
                print(C.edge_password_begin(kind, error), ffi.string(error[0]))
            end ]])
        for _, name in ipairs { "MD5", "SHA1" } do
            assert.truthy(said:find("\n?-95\tOpenSSL has no " .. name .. " here: [^\n]*; let htpasswd %-B make"), said)
        end
    end)

    it("computes apr1 as openssl does, whatever the length", function()
        for _, len in ipairs { 1, 2, 7, 15, 16, 17, 31, 33, 64, 100, 200 } do
            local password = ("pass\226\130\172"):rep(40):sub(1, len)
            local pipe = io.popen(("openssl passwd -apr1 -salt 'ab./CD12' -stdin <<'END'\n%s\nEND\n"):format(password))
            local hash = pipe:read "*l"
            pipe:close()
            assert.is_true(C.edge_password_check(str(hash), str(password)), len)
            assert.is_false(C.edge_password_check(str(hash), str(password .. "x")), len)
        end
    end)

    local function basic(field)
        local to = ffi.new "char[512]"
        local user, password = ffi.new "struct str[1]", ffi.new "struct str[1]"
        if not C.edge_basic_read(str(field), to, user, password) then
            return nil
        end
        return ffi.string(user[0].ptr, user[0].len), ffi.string(password[0].ptr, password[0].len)
    end

    local function base64(text)
        local pipe = io.popen(("printf '%s' | base64 -w 0"):format(text:gsub(".", function(c)
            return ("\\%03o"):format(c:byte())
        end)))
        local out = pipe:read "*a"
        pipe:close()
        return out
    end

    it("reads Authorization fields", function()
        for _, case in ipairs { { "alice", "secret" }, { "alice", "a:b:c" }, { "", "x" }, { "a", "" },
            { "zo\195\171", "\226\130\172 p" }, { "a", ("b"):rep(400) } } do
            local user, password = basic("Basic " .. base64(case[1] .. ":" .. case[2]))
            assert.same(case, { user, password })
        end
        assert.equal("Aladdin", (basic "basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")) -- RFC 7617, 2
        assert.equal("Aladdin", (basic "BASIC   QWxhZGRpbjpvcGVuIHNlc2FtZQ=="))
    end)

    it("refuses what is none, or not whole", function()
        for _, field in ipairs { "", "Basic", "Basic ", "Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Basic !!!!",
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ", "Basic ====",
            "Basic QWxh=GRp", "Basic " .. base64 "nocolon", "Basic " .. base64 "a\1b:c",
            "Basic " .. base64("a:" .. ("x"):rep(600)), "Basic " .. base64 "a:b\127", "Basic a" } do
            assert.is_nil(basic(field), field)
        end
    end)
end)
