local json = require "dkjson"
local mime = require "mime"
local C, ffi = require("ffi_room").load("net/jose.h", "net/tls.h", "base/mem.h")
assert(C.tls_load(ffi.new "char *[1]") == 0)

local EINVAL = -22

-- RFC 7515, A.3.1: the key of the example for ES256.
local RFC_KEY = [[
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgjpsQnnGQmL+YBIff
H1136cspYG6+0iY7X1fCE9+E9LKhRANCAAR/zc4ncPbEXUGDy+5v20t7WAczNXvp
7xO6z248e9FURcfxRM0bvZt+hyzf7bnuufSzaV1uqQskrYpGIyiFiOWt
-----END PRIVATE KEY-----
]]

local function text(owned)
    local t = ffi.string(owned)
    C.mem_free(owned)
    return t
end

local function decode(base64url)
    return (mime.unb64((base64url:gsub("-", "+"):gsub("_", "/") .. ("="):rep(-#base64url % 4))))
end

local function key_of(pem)
    local ret = ffi.new "struct jose_key *[1]"
    local rc = pem and C.jose_key_read(pem, ret) or not pem and C.jose_key_new(ret) or 0
    return rc == 0 and ffi.gc(ret[0], C.jose_key_free) or nil, rc
end

-- What openssl prints; `files` by the name they have in the command.
local function openssl(command, files)
    local dir = os.tmpname()
    os.remove(dir)
    os.execute("mkdir " .. dir)
    for name, content in pairs(files) do
        local file = assert(io.open(dir .. "/" .. name, "wb"))
        file:write(content)
        file:close()
    end
    local pipe = assert(io.popen(("cd %s && openssl %s 2>&1"):format(dir, command)))
    local out = pipe:read "*a"
    pipe:close()
    os.execute("rm -r " .. dir)
    return out
end

-- ASN.1 of a signature in two halves.
local function der(signature)
    local function integer(n)
        n = n:gsub("^%z+", "")
        n = n:byte() >= 128 and "\0" .. n or n
        return "\2" .. string.char(#n) .. n
    end
    local both = integer(signature:sub(1, 32)) .. integer(signature:sub(33))
    return "\48" .. string.char(#both) .. both
end

describe("net/jose", function()
    it("writes base64url (RFC 7515, appendix C; RFC 4648, 10)", function()
        assert.equal("A-z_4ME", text(C.jose_base64url("\3\236\255\224\193", 5)))
        for plain, coded in pairs { [""] = "", f = "Zg", fo = "Zm8", foo = "Zm9v", foob = "Zm9vYg", fooba = "Zm9vYmE", foobar = "Zm9vYmFy" } do
            assert.equal(coded, text(C.jose_base64url(plain, #plain)))
        end
    end)

    it("reads its own keys and no others", function()
        local key = key_of()
        local pem = text(C.jose_key_pem(key))
        assert.matches("^%-%-%-%-%-BEGIN PRIVATE KEY%-%-%-%-%-\n", pem)
        assert.equal(text(C.jose_jwk(key)), text(C.jose_jwk((key_of(pem)))))
        assert.not_equal(text(C.jose_jwk(key)), text(C.jose_jwk((key_of()))))
        for _, other in ipairs {
            "", "nonsense", pem:sub(1, 60),
            openssl("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 2>/dev/null", {}),
            openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384", {}),
            openssl("pkcs8 -topk8 -in k -passout pass:secret", { k = pem }),
        } do
            assert.equal(EINVAL, select(2, key_of(other)))
        end
    end)

    it("tells the public half and its thumbprint (RFC 7638)", function()
        local key = key_of(RFC_KEY)
        assert.equal('{"crv":"P-256","kty":"EC","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",'
            .. '"y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}', text(C.jose_jwk(key)))
        assert.equal("oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U", text(C.jose_thumbprint(key)))
    end)

    it("signs what others accept, each time differently (RFC 7515, A.3)", function()
        local key = key_of(RFC_KEY)
        local payload = '{"iss":"joe",\r\n "exp":1300819380,\r\n "http://example.com/is_root":true}'
        local public = openssl("pkey -in k -pubout", { k = RFC_KEY })
        local seen = {}
        for _ = 1, 20 do -- halves that begin with a zero byte are among them
            local jws = json.decode(text(C.jose_sign(key, '{"alg":"ES256"}', payload)))
            assert.equal("eyJhbGciOiJFUzI1NiJ9", jws.protected)
            assert.equal("eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
                jws.payload)
            local signature = decode(jws.signature)
            assert.equal(64, #signature)
            assert.is_nil(seen[signature])
            seen[signature] = true
            assert.matches("Verified OK", openssl("dgst -sha256 -verify p -signature s m",
                { p = public, s = der(signature), m = jws.protected .. "." .. jws.payload }))
        end
    end)

    it("asks for a certificate of one name", function()
        local key, ret = key_of(), ffi.new "char *[1]"
        assert.equal(0, C.jose_csr(key, "shop.example", ret))
        local said = openssl("req -inform DER -in r -noout -text -verify", { r = decode(text(ret[0])) })
        assert.matches("verify OK", said)
        assert.matches("CN ?= ?shop.example", said)
        assert.matches("DNS:shop.example\n", said)
        local long = ("a"):rep(60) .. ".shop.example"
        assert.equal(0, C.jose_csr(key, long, ret))
        said = openssl("req -inform DER -in r -noout -text -verify", { r = decode(text(ret[0])) })
        assert.matches("DNS:" .. long:gsub("%.", "%%."), said)
        assert.not_matches("CN", said)
        for _, bad in ipairs { "", "*.shop.example", "a.example,DNS:b.example", "a b", ("a."):rep(127) .. "b" } do
            assert.equal(EINVAL, C.jose_csr(key, bad, ret))
        end
    end)

    it("makes the certificate of a TLS-ALPN-01 challenge (RFC 8737)", function()
        local chain, key = ffi.new "char *[1]", ffi.new "char *[1]"
        local proof = "token.thumbprint"
        assert.equal(0, C.jose_alpn_certificate("shop.example", proof, chain, key))
        local pem, pem_key = text(chain[0]), text(key[0])
        local said = openssl("x509 -in c -noout -text", { c = pem })
        local digest = openssl("dgst -sha256 p", { p = proof }):match "= (%x+)"
        assert.matches("1%.3%.6%.1%.5%.5%.7%.1%.31: critical", said)
        assert.matches("DNS:shop.example\n", said)
        assert.truthy(openssl("asn1parse -in c", { c = pem }):lower():find("0420" .. digest, 1, true))
        assert.equal(openssl("x509 -in c -noout -pubkey", { c = pem }), openssl("pkey -in k -pubout", { k = pem_key }))
        assert.matches("OK", openssl("x509 -in c -noout -checkend 86400 && echo OK", { c = pem }))
        assert.equal(EINVAL, C.jose_alpn_certificate("a,DNS:b", proof, chain, key))
    end)
end)
