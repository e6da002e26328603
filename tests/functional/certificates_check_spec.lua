-- What `check` says of certificates: refused with file, line, what is wrong and what to do, or warned of.
local certificates = require "certificates"
local readme = require "readme"
local tidegate = require "tidegate"

local CONFIG = certificates.CONFIG
local configure, store, chmod = certificates.configure, certificates.shop, certificates.chmod

-- `check` says just this; @DIR@ in it is our directory.
local function check_says(t, code, text)
    local result = t:cli "check"
    local said = result.err:gsub("^tidegate: tidegate%.lua does not load:\n", ""):gsub("\n+$", "")
    assert.equal(t:fill(text), said)
    assert.equal(code, result.code)
end

describe("tidegate check, certificates", function()
    it("takes what README.md shows", tidegate.test(function(t)
        local s = certificates.new(t.dir)
        local shop = s:make { file = "shop", names = { "shop.example" }, by = s:authority("Clients", nil, { file = "clients" }) }
        s:make { file = "admin-ecdsa", names = { "admin.example" } }
        s:joined(s:make { names = { "admin.example" }, kind = "rsa" }, "admin-rsa.pem")
        s:make { file = "certs/other", names = { "other.example" } }
        s:ocsp(shop, "shop.ocsp")
        local shown = readme.configurations "Certificates"
        assert.equal(1, #shown)
        t:write("tidegate.lua", shown[1])
        local result = t:cli "check"
        assert.same({ 0, "" }, { result.code, result.err })
    end))

    it("that are wrong are refused with file, line, what is wrong and what to do", tidegate.test(function(t)
        local s = store(t)
        local other = s:make { file = "other", names = { "shop.example" } }
        configure(t)
        assert.equal(0, t:cli("check").code)
        local place = "tidegate.lua:4: @DIR@/tls/"
        local shop, key = t.dir .. "/tls/shop.pem", t.dir .. "/tls/shop.key"
        local good, good_key = certificates.read(shop), certificates.read(key)
        local function bad_key(text, sentence, mode)
            certificates.write(key, text)
            chmod(mode or "600", key)
            check_says(t, 1, place .. sentence)
            certificates.write(key, good_key)
            chmod("600", key)
        end
        local function bad_certificate(text, sentence)
            certificates.write(shop, text)
            check_says(t, 1, place .. sentence)
            certificates.write(shop, good)
        end
        bad_key(certificates.read(other.key), "shop.key: is not the key of the certificate for shop.example (serial " .. s.shop.serial
            .. "): they were not made together")
        bad_key(good_key, "shop.key: is a key that others may read (mode 0644): chmod 600 @DIR@/tls/shop.key", "644")
        bad_key(good_key, "shop.key: is a key that others may change (mode 0602): chmod 600 @DIR@/tls/shop.key", "602")
        bad_key("", "shop.key: is empty")
        bad_certificate("junk", "shop.pem: has no certificate: expected PEM, which begins with -----BEGIN CERTIFICATE-----")
        bad_certificate(good_key, "shop.pem: holds a key and no certificate: are certificate and key exchanged?")
        bad_certificate(certificates.read(s:make({ names = { "shop.example" }, kind = "rsa", bits = 1024 }).certificate),
            "shop.pem: has a weak key (RSA 1024): make a new one, of ECDSA P-256 or RSA 2048")
        os.rename(key, key .. ".away")
        check_says(t, 1, place .. "shop.key: is not there: no such file")
        os.rename(key .. ".away", key)
        chmod("640", key) -- root's own, for a group: as distributions have it
        assert.equal(0, t:cli("check").code)
        chmod("600", key)
        configure(t, 'default = "other.example", client_ca = "tls/shop.pem", ocsp = "tls/shop.key"')
        check_says(t, 1, "tidegate.lua:4: @DIR@/tls/shop.key: is no answer of an authority: expected OCSP in DER, as openssl "
            .. "ocsp -respout writes it\ntidegate.lua:4: @DIR@/tls/shop.pem: has a certificate that may not sign others "
            .. "(CN=shop.example): name the authority's")
        configure(t, 'default = "other.example"')
        check_says(t, 1, 'tidegate.lua:4: default is "other.example", and no certificate on 127.0.0.1:@PORT@ is for it')
        configure(t, nil, (CONFIG:gsub('certificate = .-@MORE@', 'certificate = "tls/shop.pem"')))
        check_says(t, 1, place .. 'shop.pem: has no key beside the certificate: name its file: key = "shop.key"')
        configure(t, nil, (CONFIG:gsub('certificate = .-@MORE@', 'folder = "none"')))
        check_says(t, 1, "tidegate.lua:4: @DIR@/none: is no folder that can be read: no such file or directory")
        configure(t, nil, (CONFIG:gsub('certificate = .-@MORE@', 'folder = "."')))
        check_says(t, 1, "tidegate.lua:3: 127.0.0.1:@PORT@ has no certificate to show: in @DIR@ there is no NAME.pem or NAME.crt")
        configure(t, nil, (CONFIG:gsub('certificate = .-@MORE@', 'certificate = "tls"')))
        check_says(t, 1, 'tidegate.lua:4: @DIR@/tls: is no file: write folder = "..." for all certificates in a folder')
    end))

    it("that cannot be read are refused with who it is that cannot", tidegate.test(function(t)
        store(t)
        configure(t)
        chmod("600", t.dir .. "/tls/shop.key")
        chmod("755", t.dir)
        -- Root reads everything, so it is tried as somebody else; the program is where nobody else may have a look.
        local program = t.dir .. "/tidegate"
        assert(os.execute(("cp '%s' '%s' && chmod 755 '%s'"):format(tidegate.binary, program, program)) == 0)
        local command = "cd '%s' && setpriv --reuid 65534 --regid 65534 --clear-groups '%s' check 2>&1"
        local pipe = io.popen(command:format(t.dir, program))
        local said = pipe:read "*a"
        pipe:close()
        if said:find("^setpriv: ") then
            pending "only root can be somebody else"
            return
        end
        assert.equal(t:fill "tidegate: tidegate.lua does not load:\ntidegate.lua:4: @DIR@/tls/shop.key: cannot be read by the user that "
            .. "tidegate runs as (uid 65534): permission denied\n", said)
    end))

    it("that clients will not like are served, with a warning", tidegate.test(function(t)
        local s = store(t)
        configure(t)
        s:make { file = "shop", names = { "other.example" }, starts = -86400 * 3, ends = -86400 }
        local result = t:cli "check"
        assert.equal(0, result.code)
        assert.matches("^tidegate%.lua:4: " .. t.dir:gsub("%p", "%%%0") .. "/tls/shop%.pem: expired on %d+%-%d%d%-%d%dT.-: clients "
            .. "refuse it: renew it\ntidegate%.lua:3: no certificate on 127%.0%.0%.1:%d+ is for shop%.example: clients that ask for it "
            .. 'are refused: add one, or say which they get: tls = { default = "NAME" }\n', result.err)
    end))
end)
