-- certificates.lua: keys and certificates, made with the openssl program, for specs that want real ones.
--
--     local c = certificates.new(t.dir .. "/tls")
--     local root = c:authority "Root"                                     -- { certificate, key, serial, name }
--     local shop = c:make { names = { "shop.example", "127.0.0.1" }, by = root }
--
-- All but serial and name are paths. What nothing is said about: an ECDSA key, signed by itself, good from an
-- hour ago for 30 days, the key readable by its owner alone. Nothing here is shared between two directories, so
-- specs may run side by side.
local stat = require "posix.sys.stat"

local M = {}
local Store = {}
Store.__index = Store

-- What `openssl ca` wants; it alone of openssl 3.0 takes any dates.
local SETTINGS = [[
[ca]
default_ca = store
[store]
database = %s/index
new_certs_dir = %s/issued
rand_serial = yes
unique_subject = no
policy = any
email_in_dn = no
x509_extensions = none
[any]
commonName = optional
[none]
]]

local function write(path, text)
    local file = assert(io.open(path, "wb"))
    file:write(text)
    file:close()
    return path
end
M.write = write

local function read(path)
    local file = assert(io.open(path, "rb"))
    local text = file:read "*a"
    file:close()
    return text
end
M.read = read

-- Runs openssl; what it prints. Raises with all that it said when it fails.
local function openssl(text, ...)
    local log = os.tmpname()
    local command = ("openssl " .. text):format(...)
    local pipe = assert(io.popen(("(%s) 2>%s; echo \"=$?\""):format(command, log)))
    local out, code = pipe:read("*a"):match "^(.*)=(%d+)\n$"
    pipe:close()
    local said = read(log)
    os.remove(log)
    assert(code == "0", command .. ": " .. said)
    return out
end
M.openssl = openssl

function M.available()
    return os.execute "command -v openssl >/dev/null 2>&1" == 0
end

-- A directory (made when it is not there) that certificates are made in.
function M.new(directory)
    local self = setmetatable({ directory = directory, count = 0 }, Store)
    assert(os.execute(("mkdir -p '%s/.ca/issued'"):format(directory)) == 0)
    local place = directory .. "/.ca"
    write(place .. "/index", "")
    write(place .. "/index.attr", "unique_subject = no\n")
    write(place .. "/settings", SETTINGS:format(place, place))
    return self
end

local function time(seconds)
    return os.date("!%Y%m%d%H%M%SZ", os.time() + seconds)
end

-- A key: kind "ecdsa" (curve) or "rsa" (bits) or "ed25519"; with a password it is encrypted.
local function make_key(path, o)
    local kind = o.kind or "ecdsa"
    local options = kind == "rsa" and "RSA -pkeyopt rsa_keygen_bits:" .. (o.bits or 2048) or
        kind == "ecdsa" and "EC -pkeyopt ec_paramgen_curve:" .. (o.curve or "P-256") or "ED25519"
    local secret = o.password and (" -aes-256-cbc -pass pass:" .. o.password) or ""
    openssl("genpkey -algorithm %s -out '%s'%s", options, path, secret)
    assert(stat.chmod(path, o.mode or 384)) -- 0600
end

local function extensions(o)
    local names = {}
    for i, name in ipairs(o.names or {}) do
        local address = name:find "^%d+%.%d+%.%d+%.%d+$" or name:find ":"
        names[i] = (address and "IP:" or "DNS:") .. name
    end
    local lines = {
        "basicConstraints = critical," .. (o.authority and "CA:TRUE" or "CA:FALSE"),
        o.authority and "keyUsage = critical,keyCertSign,cRLSign,digitalSignature" or
            "keyUsage = critical,digitalSignature",
        "subjectKeyIdentifier = hash",
    }
    if #names > 0 then
        lines[#lines + 1] = "subjectAltName = " .. table.concat(names, ",")
    end
    for _, line in ipairs(o.extensions or {}) do
        lines[#lines + 1] = line
    end
    return table.concat(lines, "\n") .. "\n"
end

-- Options: names; file = the base of the files' names; by = an authority (else itself); key = of another one, to
-- be signed again; kind, bits, curve, password, mode as of keys; starts, ends = seconds from now; digest = "sha1";
-- common_name; extensions = lines of openssl; authority = true. The certificate's file has those of the
-- authorities in between behind it, the root's not.
function Store:make(o)
    self.count = self.count + 1
    local base = ("%s/%s"):format(self.directory, o.file or ("certificate-%d"):format(self.count))
    assert(os.execute(("mkdir -p \"$(dirname '%s')\""):format(base)) == 0)
    local place = ("%s/.ca/%d"):format(self.directory, self.count)
    local made = { certificate = base .. ".pem", key = o.key or base .. ".key", by = o.by,
        name = o.common_name or o.names and o.names[1] or "example" }
    local secret = o.password and " -passin pass:" .. o.password or ""
    if not o.key then
        make_key(made.key, o)
    end
    openssl("req -new -key '%s' -subj '/CN=%s' -out '%s.csr'%s", made.key, made.name, place, secret)
    write(place .. ".ext", extensions(o))
    openssl("ca -config '%s/.ca/settings' -batch -notext -in '%s.csr' -out '%s.crt' -extfile '%s.ext' "
        .. "-startdate %s -enddate %s -md %s %s", self.directory, place, place, place, time(o.starts or -3600),
        time(o.ends or 30 * 86400), o.kind == "ed25519" and not o.by and "null" or o.digest or "sha256",
        o.by and ("-cert '%s' -keyfile '%s'"):format(o.by.alone, o.by.key) or
        ("-selfsign -keyfile '%s'%s"):format(made.key, secret))
    made.alone = place .. ".crt"
    local chain, above = read(made.alone), o.by
    while above and above.by do
        chain = chain .. read(above.alone)
        above = above.by
    end
    write(made.certificate, chain)
    made.serial = openssl("x509 -in '%s' -noout -serial", made.alone):match "=(%x+)"
    return made
end

-- One that signs others; `by` another when it is one in between.
function Store:authority(name, by, o)
    local options = { authority = true, common_name = name or "Root", by = by, ends = 3650 * 86400 }
    for key, value in pairs(o or {}) do
        options[key] = value
    end
    return self:make(options)
end

-- Both in one file, as some programs have it; its path.
function Store:joined(made, name)
    local path = write(("%s/%s"):format(self.directory, name or "joined.pem"),
        read(made.certificate) .. read(made.key))
    assert(stat.chmod(path, 384))
    return path
end

-- An answer of the authority about one of its certificates (DER); its path.
function Store:ocsp(made, name)
    local path = ("%s/%s"):format(self.directory, name or "answer.ocsp")
    openssl("ocsp -issuer '%s' -cert '%s' -no_nonce -reqout '%s.req'", made.by.alone, made.alone, path)
    openssl("ocsp -index '%s/.ca/index' -CA '%s' -rsigner '%s' -rkey '%s' -reqin '%s.req' -respout '%s' -ndays 7 >&2",
        self.directory, made.by.alone, made.by.alone, made.by.key, path, path)
    os.remove(path .. ".req")
    return path
end

-- What a listener shows to one who asks for `name`: { serial, subject, text }, or nil and what openssl said.
-- More options of `openssl s_client` as `more`.
function M.shown(address, name, more)
    local log = os.tmpname()
    local pipe = io.popen(("openssl s_client -connect %s %s %s </dev/null 2>%s"):format(address,
        name and "-servername " .. name or "-noservername", more or "", log))
    local text = pipe:read "*a"
    pipe:close()
    local said = read(log)
    os.remove(log)
    local pem = text:match "(%-%-%-%-%-BEGIN CERTIFICATE.-%-%-%-%-%-END CERTIFICATE%-%-%-%-%-)"
    if not pem then
        return nil, text .. said
    end
    local path = os.tmpname()
    write(path, pem .. "\n")
    local lines = openssl("x509 -in '%s' -noout -serial -subject", path)
    os.remove(path)
    return { serial = lines:match "serial=(%x+)", subject = lines:match "subject=(.-)\n", text = text .. said }
end

-- ---- A service behind https, for functional specs ------------------------------------------------

M.CONFIG = [[
cluster { id = "@ID@", engine = "process", workers = 2, admin = false }
service "shop" { backends = { "127.0.0.1:9" },
  route = { listen = "https://127.0.0.1:@PORT@", host = "shop.example",
    tls = { certificate = "tls/shop.pem", key = "tls/shop.key" @MORE@ } } }
]]

-- Writes that configuration, or `text`; `more` goes into its tls.
function M.configure(t, more, text)
    return t:write("tidegate.lua", text or M.CONFIG, { MORE = more and ", " .. more or "", ADMIN = t:port "ADMIN" })
end

-- The folder tls of a test with a root and its shop.pem.
function M.shop(t)
    local s = M.new(t.dir .. "/tls")
    s.root = s:authority "Root"
    s.shop = s:make { file = "shop", names = { "shop.example" }, by = s.root }
    return s
end

function M.chmod(mode, path)
    assert(os.execute(("chmod %s '%s'"):format(mode, path)) == 0)
end

return M
