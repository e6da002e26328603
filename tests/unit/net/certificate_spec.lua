-- What certificates, keys and answers of authorities say, and each sentence about what is wrong with them.
local C, ffi = require("ffi_room").load("base/mem.h", "net/certificate.h")
local certificates = require "certificates"

local dir, store, root, middle, shop

local function sentence(reterr)
    local text = ffi.string(reterr[0])
    C.mem_free(reterr[0])
    return text
end

-- A certificate of PEM text; or nil and the sentence.
local function read(pem)
    local ret, reterr = ffi.new "struct certificate *[1]", ffi.new "char *[1]"
    local rc = C.certificate_new(pem, #pem, ret, reterr)
    if rc ~= 0 then
        return nil, sentence(reterr), rc
    end
    return ffi.gc(ret[0], C.certificate_free)
end

local function of(made)
    return assert(read(certificates.read(made.certificate)))
end

-- What is wrong with that text as its key, or nil.
local function key_of(c, pem)
    local reterr = ffi.new "char *[1]"
    return C.certificate_take_key(c, pem, #pem, reterr) ~= 0 and sentence(reterr) or nil
end

local function names(c)
    local list = {}
    for i = 0, tonumber(c.name_count) - 1 do
        list[i + 1] = ffi.string(c.names[i])
    end
    return list
end

-- What is said of it: "grave: ..." or "...".
local function looked(c, seconds)
    local list = {}
    local say = ffi.cast("certificate_say_fn *", function(_, grave, text)
        list[#list + 1] = (grave and "grave: " or "") .. ffi.string(text)
    end)
    C.certificate_look(c, os.time() + (seconds or 0), say, nil)
    say:free()
    return list
end

describe("certificates", function()
    setup(function()
        dir = os.tmpname()
        os.remove(dir)
        store = certificates.new(dir)
        root = store:authority "Root"
        middle = store:authority("Middle", root)
        shop = store:make { names = { "Shop.example", "*.shop.example", "127.0.0.1", "::1" }, by = middle }
    end)
    teardown(function()
        os.execute("rm -rf '" .. dir .. "'")
    end)

    it("say their names, issuer, serial, key and dates", function()
        local c = of(shop)
        assert.same({ "shop.example", "*.shop.example", "127.0.0.1", "::1" }, names(c))
        assert.equal("CN=Middle", ffi.string(c.issuer))
        assert.equal("CN=Shop.example", ffi.string(c.subject))
        assert.equal(shop.serial, ffi.string(c.serial))
        assert.equal("ECDSA P-256", ffi.string(c.key_type))
        assert.near(os.time() + 30 * 86400, tonumber(c.not_after_s), 60)
        assert.near(os.time() - 3600, tonumber(c.not_before_s), 60)
        assert.is_false(c.self_signed)
        assert.is_nil(key_of(c, certificates.read(shop.key)))
        assert.same({}, looked(c))
        local kinds = {}
        for i, o in ipairs { { kind = "rsa" }, { kind = "ed25519" }, { curve = "P-384" } } do
            o.names = { "kind.example" }
            kinds[i] = ffi.string(of(store:make(o)).key_type)
        end
        assert.same({ "RSA 2048", "Ed25519", "ECDSA P-384" }, kinds)
    end)

    it("cover the names that they have, a wildcard one label", function()
        local c = of(shop)
        local covered = {}
        for i, host in ipairs { "shop.example", "SHOP.example", "a.shop.example", "a.b.shop.example", "xshop.example", "*.shop.example",
            "127.0.0.1", "example", "*.example" } do
            covered[i] = C.certificate_covers(c, host)
        end
        assert.same({ true, true, true, false, false, true, true, false, false }, covered)
    end)

    it("give their chain anew, in order, without what else the file has", function()
        local function chain(pem)
            local c = assert(read(pem))
            local path = certificates.write(dir .. "/chain", ffi.string(c.chain))
            local _, count = ffi.string(c.chain):gsub("BEGIN CERTIFICATE", "")
            certificates.openssl("verify -CAfile '%s' -untrusted '%s' '%s'", root.certificate, path, path)
            assert.is_nil(ffi.string(c.chain):find("KEY", 1, true))
            return count, looked(c)
        end
        local own, between, top = certificates.read(shop.alone), certificates.read(middle.alone), certificates.read(root.alone)
        assert.equal(2, (chain(own .. between)))
        assert.equal(2, (chain(certificates.read(shop.key) .. own .. between)))
        local count, said = chain(own .. top .. between)
        assert.same({ 3, { "has its chain in another order than each behind the one it signed: sent in order" } }, { count, said })
        count, said = chain(own .. between .. certificates.read(store:make({ names = { "x.example" } }).alone))
        assert.same({ 2, { "has 1 certificates that are not of its chain: they are not sent" } }, { count, said })
    end)

    it("take only their own key, and say why another one is none", function()
        local c, own = of(shop), certificates.read(shop.key)
        local function say(text, pem)
            assert.equal(text, key_of(c, pem))
        end
        say(("is not the key of the certificate for shop.example (serial %s): they were not made together"):format(shop.serial),
            certificates.read(root.key))
        say("is the key of certificate number 2 in its file: put that one first", certificates.read(middle.key))
        say("is empty", "")
        say("has no key: expected PEM, which begins with -----BEGIN PRIVATE KEY-----", "secret")
        say("holds a certificate and no key: are certificate and key exchanged?", certificates.read(root.alone))
        say("is damaged: its key cannot be read", (own:gsub("\n(%w%w%w%w)", "\n!!!!", 2)))
        say("is damaged: its key cannot be read", own:sub(1, 100))
        local locked = store:make { names = { "locked.example" }, password = "secret" }
        say("is encrypted, and nobody is there to ask for its pass phrase: write it without: openssl pkey -in OLD -out NEW.key",
            certificates.read(locked.key))
        assert.is_nil(key_of(c, certificates.read(shop.certificate) .. own))
        local again = read(ffi.string(c.chain))
        assert.is_nil(key_of(again, ffi.string(c.key)))
    end)

    it("are refused when nothing of them can be served", function()
        local function say(text, pem)
            local c, why, rc = read(pem)
            assert.is_nil(c)
            assert.same({ text, -22 }, { why, rc })
        end
        say("is empty", "")
        say("has no certificate: expected PEM, which begins with -----BEGIN CERTIFICATE-----", "hello")
        say("holds a key and no certificate: are certificate and key exchanged?", certificates.read(shop.key))
        say("is DER and not PEM: convert it: openssl x509 -inform der -in OLD -out NEW.pem",
            certificates.openssl("x509 -in '%s' -outform der", shop.alone))
        say("holds a request: put in what the authority made of it",
            certificates.openssl("req -new -key '%s' -subj /CN=x", shop.key))
        say("is damaged: its certificate number 2 cannot be read",
            certificates.read(shop.alone) .. certificates.read(middle.alone):gsub("\n(%w%w%w%w)", "\n!!!!", 2))
        say("is damaged: its certificate number 1 cannot be read", certificates.read(shop.alone):sub(1, 200))
        local weak = store:make { names = { "weak.example" }, kind = "rsa", bits = 1024 }
        say("has a weak key (RSA 1024): make a new one, of ECDSA P-256 or RSA 2048", certificates.read(weak.certificate))
        local old = store:make { names = { "old.example" }, digest = "sha1", by = root }
        say("has a weak signature: its certificate number 1 is signed with SHA-1, which clients refuse: have it signed with SHA-256",
            certificates.read(old.certificate))
    end)

    it("say what clients will not like", function()
        local c = of(shop)
        assert.matches("^grave: expired on %d+%-%d+%-%d+T.-: clients refuse it: renew it$", looked(c, 31 * 86400)[1])
        assert.matches("^grave: is not valid before %d+.-: clients refuse it till then; is the clock right%?$", looked(c, -7200)[1])
        local plain = of(store:make { common_name = "plain.example" })
        assert.same({ "plain.example" }, names(plain))
        assert.same({ "grave: names no host in its subjectAltName, and clients look nowhere else: make one that does (openssl req "
            .. "-x509 ... -addext subjectAltName=DNS:shop.example)" }, looked(plain))
        assert.same({ "grave: is not meant for servers (extendedKeyUsage): clients refuse it" },
            looked(of(store:make { names = { "a.example" }, extensions = { "extendedKeyUsage = clientAuth" } })))
        assert.same({}, looked(of(store:make { names = { "a.example" }, extensions = { "extendedKeyUsage = serverAuth" } })))
        assert.same({ "grave: has no certificate of its issuer (CN=Root) behind it: many clients refuse it so: append the authority's chain" },
            looked(of(store:make { names = { "a.example" }, by = root,
                extensions = { "authorityInfoAccess = caIssuers;URI:http://ca.example/root.der" } })))
        assert.same({ 'grave: wants an answer of its authority with it (must-staple): name that: ocsp = "FILE"' },
            looked(of(store:make { names = { "a.example" }, by = root, extensions = { "tlsfeature = status_request" } })))
    end)

    it("take answers of their authority about them", function()
        local function staple(c, der)
            local reterr = ffi.new "char *[1]"
            return C.certificate_staple(c, der, #der, reterr) ~= 0 and sentence(reterr) or nil
        end
        local c, other = of(shop), of(root)
        local answer = certificates.read(store:ocsp(shop))
        assert.is_nil(staple(c, answer))
        assert.is_true(#ffi.string(c.ocsp) > #answer)
        assert.near(os.time() + 7 * 86400, tonumber(c.ocsp_until_s), 60)
        assert.same({}, looked(c))
        assert.equal("has an answer of its authority that is over: not sent: get a new one", looked(c, 8 * 86400)[1])
        assert.equal(("is an answer about another certificate than the one with serial %s"):format(root.serial), staple(other, answer))
        local nonsense = "is no answer of an authority: expected OCSP in DER, as openssl ocsp -respout writes it"
        assert.same({ nonsense, nonsense }, { staple(c, ""), staple(c, answer:sub(1, 100)) })
    end)

    it("of authorities are counted, and only those that may sign are taken", function()
        local function authorities(pem)
            local reterr = ffi.new "char *[1]"
            local count = C.certificate_authorities(pem, #pem, reterr)
            return count < 0 and sentence(reterr) or count
        end
        assert.equal(2, authorities(certificates.read(root.certificate) .. certificates.read(middle.alone)))
        assert.equal("has no certificate: expected PEM, which begins with -----BEGIN CERTIFICATE-----", authorities "x")
        assert.equal("has a certificate that may not sign others (CN=Shop.example): name the authority's",
            authorities(certificates.read(shop.alone)))
    end)

    it("survive any damage", function()
        local pem, key = certificates.read(shop.certificate), certificates.read(shop.key)
        local answer = certificates.read(store:ocsp(shop))
        for i = 1, 300 do
            local at = i * 7919 % #pem
            local bad = pem:sub(1, at) .. string.char(i % 256) .. pem:sub(at + 2)
            local c = read(bad) or of(shop)
            local from = i * 104729 % #key
            key_of(c, key:sub(1, from) .. string.char(i % 256) .. key:sub(from + 2))
            local reterr, cut = ffi.new "char *[1]", i * 31 % #answer
            local broken = answer:sub(1, cut) .. string.char(i % 256) .. answer:sub(cut + 2)
            if C.certificate_staple(c, broken, #broken, reterr) ~= 0 then
                sentence(reterr)
            end
        end
    end)

    it("makes random bytes that are never the same", function()
        local seen = {}
        for i = 1, 20 do
            local ret, reterr = ffi.new "char *[1]", ffi.new "char *[1]"
            assert.equal(0, C.certificate_random(80, ret, reterr))
            seen[i] = sentence(ret)
            assert.equal(108, #seen[i])
            assert.is_nil(seen[seen[i]])
            seen[seen[i]] = true
        end
    end)
end)
