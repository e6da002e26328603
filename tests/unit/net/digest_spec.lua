-- Digests of OpenSSL, loaded when they are asked for.
local alone = require "alone"
local C, ffi = require("ffi_room").load("net/digest.h", "base/mem.h")

local KINDS = { md5 = C.DIGEST_MD5, sha1 = C.DIGEST_SHA1, sha256 = C.DIGEST_SHA256 }
local BYTES = { md5 = C.DIGEST_MD5_BYTES, sha1 = C.DIGEST_SHA1_BYTES, sha256 = C.DIGEST_SHA256_BYTES }

local function hex(bytes, len)
    return (ffi.string(bytes, len):gsub(".", function(c)
        return ("%02x"):format(c:byte())
    end))
end

local function compute(d, kind, text, step)
    local out = ffi.new "unsigned char[32]"
    C.digest_begin(d, KINDS[kind])
    for at = 1, #text, step or math.max(#text, 1) do
        local part = text:sub(at, at + (step or #text) - 1)
        C.digest_add(d, part, #part)
    end
    assert.is_true(C.digest_end(d, out))
    return hex(out, BYTES[kind])
end

local function digest(kind, text, step)
    local d = ffi.new "struct digest"
    local got = compute(d, kind, text, step)
    C.digest_clear(d)
    assert.is_true(d.context == nil)
    return got
end

local function mac(key, text)
    local out = ffi.new "unsigned char[32]"
    assert.is_true(C.digest_hmac(key, #key, text, #text, out))
    return hex(out, 32)
end

describe("net/digest", function()
    setup(function()
        for _, kind in pairs(KINDS) do
            assert.equal(0, C.digest_load(kind, ffi.new "char *[1]"))
            assert.equal(0, C.digest_load(kind, ffi.new "char *[1]"))
        end
    end)

    local VECTORS = { -- RFC 1321 A.5, RFC 3174 7.3, RFC 6234 8.5
        { "md5", "", "d41d8cd98f00b204e9800998ecf8427e" },
        { "md5", "abc", "900150983cd24fb0d6963f7d28e17f72" },
        { "md5", ("1234567890"):rep(8), "57edf4a22be3c955ac49da2e2107b67a" },
        { "sha1", "abc", "a9993e364706816aba3e25717850c26c9cd0d89d" },
        { "sha1", "", "da39a3ee5e6b4b0d3255bfef95601890afd80709" },
        { "sha1", ("a"):rep(1000000), "34aa973cd4c4daa4f61eeb2bdbad27316534016f" },
        { "sha1", ("01234567"):rep(80), "dea356a2cddd90c7a7ecedc5ebb563934f460452" },
        { "sha256", "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
    }

    it("computes MD5, SHA-1 and SHA-256", function()
        for _, case in ipairs(VECTORS) do
            assert.equal(case[3], digest(case[1], case[2]))
            assert.equal(case[3], digest(case[1], case[2], 63))
        end
    end)

    it("begins again with the same memory, of any kind, also where one was left unfinished", function()
        local d = ffi.new "struct digest"
        for _ = 1, 3 do
            for _, case in ipairs(VECTORS) do
                assert.equal(case[3], compute(d, case[1], case[2]))
                assert.equal(case[3], compute(d, case[1], case[2]))
                C.digest_begin(d, KINDS[case[1]])
                C.digest_add(d, "left", 4)
            end
        end
        C.digest_clear(d)
    end)

    it("computes HMAC-SHA-256", function() -- RFC 4231, 4.2 to 4.4, 4.7 and 4.8
        assert.equal("b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            mac(("\11"):rep(20), "Hi There"))
        assert.equal("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            mac("Jefe", "what do ya want for nothing?"))
        assert.equal("773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
            mac(("\170"):rep(20), ("\221"):rep(50)))
        assert.equal("60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            mac(("\170"):rep(131), "Test Using Larger Than Block-Size Key - Hash Key First"))
        assert.equal("9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
            mac(("\170"):rep(131), "This is a test using a larger than block-size key and a larger than "
                .. "block-size data. The key needs to be hashed before being used by the HMAC algorithm."))
    end)

    it("compares", function()
        assert.is_true(C.digest_equal("abc", "abc", 3))
        assert.is_false(C.digest_equal("abc", "abd", 3))
        assert.is_false(C.digest_equal("xbc", "abc", 3))
        assert.is_true(C.digest_equal("a", "b", 0))
    end)

    it("gives zeros, and says so, for what is not loaded", function()
        assert.equal("false 0 false 0\n", (alone("net/digest.h", "", [[
            local d, out = ffi.new "struct digest", ffi.new("unsigned char[32]", { 1, 2 })
            C.digest_begin(d, C.DIGEST_MD5)
            C.digest_add(d, "a", 1)
            local ended = C.digest_end(d, out)
            local first = out[0]
            out[0] = 7
            print(ended, first, C.digest_hmac("k", 1, "a", 1, out), out[0]) ]]):gsub("\t", " ")))
    end)

    it("says what is missing where OpenSSL cannot be loaded", function()
        local dir = os.tmpname()
        os.remove(dir)
        os.execute(("mkdir %s && echo none >%s/libcrypto.so.3"):format(dir, dir))
        local said = alone("net/digest.h", "LD_LIBRARY_PATH=" .. dir, [[
            local error = ffi.new "char *[1]"
            print(C.digest_load(C.DIGEST_MD5, error), ffi.string(error[0])) ]])
        os.execute("rm -r " .. dir)
        assert.truthy(said:find("^-79\tOpenSSL 3 could not be loaded: .*; install it"), said)
    end)

    it("says which digest OpenSSL is configured not to have", function()
        local said = alone("net/digest.h", alone.NO_DIGESTS, [[
            local error = ffi.new "char *[1]"
            for kind = 0, C.DIGEST_KINDS - 1 do
                print(C.digest_load(kind, error), ffi.string(error[0]))
            end ]])
        for _, name in ipairs { "MD5", "SHA1", "SHA256" } do
            assert.truthy(said:find("-95\tOpenSSL has no " .. name .. " here: ", 1, true), said)
        end
    end)
end)
