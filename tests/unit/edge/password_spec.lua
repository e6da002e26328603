-- Digests, hashes of passwords as Apache's htpasswd and crypt write them, and Authorization fields.
local C, ffi = require("ffi_room").load("base/str.h", "edge/digest.h", "edge/password.h")

ffi.cdef "void mem_free(void *ptr);"

local function str(text)
    return ffi.new("struct str", { text, #text })
end

local function hex(bytes, len)
    return (ffi.string(bytes, len):gsub(".", function(c)
        return ("%02x"):format(c:byte())
    end))
end

local function digest(kind, text, step)
    local d, out = ffi.new "struct edge_digest", ffi.new "unsigned char[20]"
    C["edge_" .. kind .. "_begin"](d)
    for at = 1, #text, step or math.max(#text, 1) do
        local part = text:sub(at, at + (step or #text) - 1)
        C.edge_digest_add(d, part, #part)
    end
    C.edge_digest_end(d, out)
    return hex(out, kind == "md5" and 16 or 20)
end

describe("edge/digest", function()
    it("computes MD5 and SHA-1", function()
        for _, case in ipairs { -- RFC 1321 A.5, RFC 3174 7.3
            { "md5", "", "d41d8cd98f00b204e9800998ecf8427e" },
            { "md5", "abc", "900150983cd24fb0d6963f7d28e17f72" },
            { "md5", ("1234567890"):rep(8), "57edf4a22be3c955ac49da2e2107b67a" },
            { "sha1", "abc", "a9993e364706816aba3e25717850c26c9cd0d89d" },
            { "sha1", "", "da39a3ee5e6b4b0d3255bfef95601890afd80709" },
            { "sha1", ("a"):rep(1000000), "34aa973cd4c4daa4f61eeb2bdbad27316534016f" },
            { "sha1", ("01234567"):rep(80), "dea356a2cddd90c7a7ecedc5ebb563934f460452" },
        } do
            assert.equal(case[3], digest(case[1], case[2]))
            assert.equal(case[3], digest(case[1], case[2], 63))
        end
        for len = 50, 130 do -- padding at every edge of a block
            assert.equal(digest("md5", ("x"):rep(len)), digest("md5", ("x"):rep(len), 1))
        end
    end)

    it("computes HMAC", function() -- RFC 2202, 3: cases 1, 2 and 3
        local function mac(key, text)
            local out = ffi.new "unsigned char[20]"
            C.edge_hmac_sha1(key, #key, text, #text, out)
            return hex(out, 20)
        end
        assert.equal("b617318655057264e28bc0b6fb378c8ef146be00", mac(("\11"):rep(20), "Hi There"))
        assert.equal("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79", mac("Jefe", "what do ya want for nothing?"))
        assert.equal("125d7342b9ac11cd91a39af48aa17b4f63f175d3", mac(("\170"):rep(20), ("\221"):rep(50)))
    end)

    it("compares", function()
        assert.is_true(C.edge_equal("abc", "abc", 3))
        assert.is_false(C.edge_equal("abc", "abd", 3))
        assert.is_false(C.edge_equal("xbc", "abc", 3))
        assert.is_true(C.edge_equal("a", "b", 0))
    end)
end)

describe("edge/password", function()
    setup(function()
        assert.equal(0, C.edge_password_begin(nil))
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
