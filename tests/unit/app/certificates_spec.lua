-- What the master makes of certificates' files: the message for workers, what is kept when files are no good any more,
-- and what of a folder counts.
local C, ffi = require("ffi_room").load("base/json.h", "base/buf.h", "base/mem.h", "app/certificates.h")
local certificates = require "certificates"
local json = require "dkjson"

local dir, store, root

local function text_of(ret)
    local text = ret[0] ~= nil and ffi.string(ret[0]) or nil
    C.mem_free(ret[0])
    return text
end

-- A set of https listeners as script.h has them; or nil. Then warnings, errors.
local function load(listeners, before)
    local text = json.encode { tls = listeners }
    local config = C.json_parse(text, #text)
    local ret, warnings, errors = ffi.new "struct certificates_set *[1]", ffi.new "char *[1]", ffi.new "char *[1]"
    local rc = C.certificates_load(config, before, ret, warnings, errors)
    C.json_free(config)
    return rc == 0 and ffi.gc(ret[0], C.certificates_set_free) or nil, text_of(warnings), text_of(errors)
end

-- The message of a set as workers read it.
local function message(set, provided)
    local b = ffi.new "struct buf"
    C.buf_init(b, 1048576)
    b.secret = true
    local tickets = ffi.new("char *[2]", ffi.cast("char *", "bmV3"), ffi.cast("char *", "b2xk"))
    C.certificates_message(set, provided, tickets, 2, 7, b)
    local text = ffi.string(C.buf_str(b))
    C.buf_free(b)
    return assert(json.decode(text), text)
end

local function listener(more)
    local l = { listen = "0.0.0.0:8443", at = "t.lua:1", client = "none", min_version = "1.2", http2 = true,
        sources = {}, hosts = {} }
    for key, value in pairs(more or {}) do
        l[key] = value
    end
    return l
end

local function pair(made)
    return { certificate = made.certificate, key = made.key, at = "t.lua:2" }
end

local function serials(told)
    local list = {}
    for i, entry in ipairs(told.listeners[1].entries) do
        local path = certificates.write(dir .. "/told", entry.chain)
        list[i] = certificates.openssl("x509 -in '%s' -noout -serial", path):match "=(%x+)"
    end
    return list
end

describe("app/certificates", function()
    setup(function()
        dir = os.tmpname()
        os.remove(dir)
        store = certificates.new(dir)
        root = store:authority "Root"
    end)
    teardown(function()
        os.execute("rm -rf '" .. dir .. "'")
    end)

    it("tell workers all of it, and no more", function()
        local shop = store:make { names = { "shop.example", "*.shop.example" }, by = root }
        local other = store:make { names = { "other.example" }, kind = "rsa" }
        local both = store:joined(other, "both.pem")
        local set, said = load { listener { sources = { pair(shop), { certificate = both, key = both, at = "t.lua:3" } },
            client = "request", client_ca = { path = root.certificate, at = "t.lua:4" }, min_version = "1.3", http2 = false,
            default = { name = "other.example", at = "t.lua:5" } }, listener { listen = "[::1]:1", sources = { pair(shop) } } }
        assert.equal("", said)
        local told = message(set)
        assert.same({ 7, { "bmV3", "b2xk" }, 2 }, { told.version, told.tickets, #told.listeners })
        local l = told.listeners[1]
        assert.same({ "0.0.0.0:8443", "request", "1.3", false, certificates.read(root.certificate) },
            { l.listen, l.client, l.min_version, l.http2, l.client_ca })
        assert.same({ { "shop.example", "*.shop.example" }, { "other.example", "*" } }, { l.entries[1].names, l.entries[2].names })
        assert.equal(certificates.read(shop.certificate), l.entries[1].chain)
        assert.equal(certificates.read(other.certificate), l.entries[2].chain)
        assert.matches("^%-%-%-%-%-BEGIN PRIVATE KEY%-%-%-%-%-\n.*\n%-%-%-%-%-END PRIVATE KEY%-%-%-%-%-\n$", l.entries[1].key)
        assert.same({ shop.serial, other.serial }, serials(told))
        assert.same({ "[::1]:1", 1, { "shop.example", "*.shop.example" } },
            { told.listeners[2].listen, #told.listeners[2].entries, told.listeners[2].entries[1].names })
    end)

    it("give what was provided where the configuration wants it, and challenges everywhere", function()
        local shop = store:make { names = { "shop.example" }, by = root }
        local set = load { listener { sources = { { acme = "a.example", at = "t.lua:2" }, pair(shop) } },
            listener { listen = "0.0.0.0:2", sources = { pair(shop) } }, listener { listen = "0.0.0.0:3", sources = { { acme = "b.example", at = "t" } } } }
        local made = store:make { names = { "A.example" }, by = root }
        local info = load { listener { sources = { pair(made) } } }
        local function provided(id, alpn, next)
            return ffi.new("struct certificates_provided", { next = next, id = ffi.cast("char *", id),
                alpn = alpn and ffi.cast("char *", alpn) or nil, c = info.pairs.c })
        end
        local challenge = provided("c.example", "acme-tls/1")
        local told = message(set, provided("A.example", nil, challenge))
        assert.same({ made.serial, shop.serial, made.serial }, serials(told))
        assert.is_nil(told.listeners[1].entries[1].alpn)
        assert.same({ "acme-tls/1", "acme-tls/1", "acme-tls/1" }, { told.listeners[1].entries[3].alpn, told.listeners[2].entries[2].alpn,
            told.listeners[3].entries[1].alpn })
        assert.same({ 2, 1 }, { #told.listeners[2].entries, #told.listeners[3].entries })
    end)

    it("keep what was read before in place of what is no good now", function()
        local a = store:make { file = "keep/a", names = { "a.example" }, by = root }
        local b = store:make { file = "keep/b", names = { "b.example" }, by = root }
        certificates.write(dir .. "/keep/ca.pem", certificates.read(root.certificate))
        local listeners = { listener { sources = { pair(a), pair(b) }, client = "require",
            client_ca = { path = dir .. "/keep/ca.pem", at = "t.lua:4" } } }
        local before = load(listeners)
        certificates.write(a.key, certificates.read(b.key))
        certificates.write(dir .. "/keep/ca.pem", "half")
        local new = store:make { file = "keep/b", names = { "b.example" }, by = root }
        local none, _, why = load(listeners)
        assert.is_nil(none)
        assert.matches("^t%.lua:2: %S+/keep/a%.key: is not the key of the certificate for a%.example %(serial %x+%): they were not made "
            .. "together\nt%.lua:4: %S+/keep/ca%.pem: has no certificate: expected PEM, which begins with %-+BEGIN CERTIFICATE%-+$", why)
        local now, said = load(listeners, before)
        assert.matches("a%.key: is not the key .-; the certificate that was read before goes on\n", said)
        local told = message(now)
        assert.same({ a.serial, new.serial }, serials(told))
        assert.equal(certificates.read(root.certificate), told.listeners[1].client_ca)
        -- From what was kept on, as often as it takes.
        os.remove(a.certificate)
        assert.same({ a.serial, new.serial }, serials(message((load(listeners, now)))))
    end)

    it("take of a folder what is a certificate with a key", function()
        local function folder()
            return load { listener { sources = { { folder = dir .. "/all", at = "t.lua:2" } } } }
        end
        local made = {}
        for i, name in ipairs { "b", "a" } do
            made[i] = store:make { file = "all/" .. name, names = { name .. ".example" }, by = root }
        end
        os.rename(dir .. "/all/a.pem", dir .. "/all/a.crt")
        certificates.write(dir .. "/all/chain.pem", certificates.read(root.certificate))
        certificates.write(dir .. "/all/privkey.pem", certificates.read(made[1].key))
        certificates.write(dir .. "/all/.hidden.pem", "junk")
        certificates.write(dir .. "/all/readme.txt", "junk")
        local set, said = folder()
        assert.same({ made[2].serial, made[1].serial }, serials(message(set)))
        assert.equal(("t.lua:2: %s/all/chain.pem: is left out: its key is neither in it nor in %s/all/chain.key"):format(dir, dir), said)
        certificates.write(dir .. "/all/a.key", "junk")
        local none, _, why = folder()
        assert.is_nil(none)
        assert.equal(("t.lua:2: %s/all/a.key: has no key: expected PEM, which begins with -----BEGIN PRIVATE KEY-----"):format(dir), why)
    end)
end)
