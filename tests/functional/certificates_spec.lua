-- Certificates from files to clients: what is served, what `check` and a reload refuse, and what happens when files
-- change under way.
local certificates = require "certificates"
local tidegate = require "tidegate"

local CONFIG = certificates.CONFIG
local configure, store, chmod = certificates.configure, certificates.shop, certificates.chmod

-- What a client that asks for `name` is shown; its serial.
local function serial(t, name)
    local shown = certificates.shown("127.0.0.1:" .. t:port(), name or "shop.example")
    return shown and shown.serial
end

local function wait_serial(t, wanted, name)
    t:wait("the certificate " .. wanted, function()
        return serial(t, name) == wanted
    end)
end

describe("certificates", function()
    it("are shown by name, and what a listener wants of clients holds", tidegate.test(function(t)
        local s = store(t)
        local rsa = s:make { file = "shop-rsa", names = { "shop.example" }, by = s.root, kind = "rsa" }
        local wild = s:make { file = "folder/wild", names = { "*.wild.example" }, by = s.root }
        s:ocsp(s.shop, "shop.ocsp")
        local joined = s:make { file = "joined", names = { "joined.example" }, by = s.root }
        os.rename(s:joined(joined), t.dir .. "/tls/folder/joined.pem")
        t:write("tidegate.lua", [[
cluster { id = "@ID@", engine = "process", workers = 2, admin = false, tls = { folder = "tls/folder" } }
service "shop" { backends = { "127.0.0.1:9" }, route = {
  { listen = "https://127.0.0.1:@PORT@", host = "shop.example", tls = {
      { certificate = "tls/shop.pem", key = "tls/shop.key", ocsp = "tls/shop.ocsp" },
      { certificate = "tls/shop-rsa.pem", key = "tls/shop-rsa.key" } } },
  { listen = "https://127.0.0.1:@PORT2@", tls = { client_ca = "tls/certificate-1.pem", min_version = "1.3",
      default = "a.wild.example" } } } }
]])
        t:start { cluster_only = true }
        t:wait_log "certificates in force"
        assert.equal(s.shop.serial, serial(t))
        local first = "127.0.0.1:" .. t:port()
        local stapled = certificates.shown(first, "shop.example", "-status").text
        assert.truthy(stapled:find("OCSP Response Status: successful", 1, true), stapled)
        assert.equal(rsa.serial, certificates.shown(first, "shop.example", "-tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256").serial)
        assert.equal(wild.serial, serial(t, "b.wild.example"))
        assert.equal(joined.serial, serial(t, "joined.example"))
        assert.equal(s.shop.serial, certificates.shown(first).serial)
        local none, why = certificates.shown(first, "nobody.example")
        assert.is_nil(none)
        assert.truthy(why:find("unrecognized name", 1, true), why)
        local second = "127.0.0.1:" .. t:port "PORT2"
        assert.equal(wild.serial, certificates.shown(second, "nobody.example").serial)
        assert.is_nil((certificates.shown(second, "a.wild.example", "-tls1_2")))
        assert.truthy(certificates.shown(second, "a.wild.example").text:find("CN = Root", 1, true))
    end))

    it("that have expired are served, with a warning", tidegate.test(function(t)
        local s = store(t)
        configure(t)
        s:make { file = "shop", names = { "shop.example" }, starts = -86400 * 3, ends = -86400 }
        t:start { cluster_only = true }
        t:wait_log "clients refuse it: renew it"
        wait_serial(t, serial(t))
        assert.is_not_nil(serial(t))
    end))

    it("that are wrong end a start, and a reload leaves those before", tidegate.test(function(t)
        local s = store(t)
        configure(t)
        local key = t.dir .. "/tls/shop.key"
        chmod("644", key)
        local daemon = t:start { wait = false }
        assert.equal(1, t:exit_code(daemon))
        local said = certificates.read(t.dir .. "/stderr")
        assert.truthy(said:find("tidegate.lua:4: " .. key .. ": is a key that others may read (mode 0644): chmod 600 " .. key, 1, true), said)
        chmod("600", key)
        t:start { cluster_only = true }
        wait_serial(t, s.shop.serial)
        configure(t, 'client_ca = "tls/none.pem"')
        local result = t:cli "reload"
        assert.equal(1, result.code)
        assert.truthy(result.err:find("tidegate.lua:4: " .. t.dir .. "/tls/none.pem: is not there: no such file", 1, true), result.err)
        assert.equal(s.shop.serial, serial(t))
        -- A reload that is only tried shows nobody another one, and leaves none behind.
        s:make { file = "other", names = { "shop.example" }, by = s.root }
        t:write("tidegate.lua", (CONFIG:gsub("shop%.pem", "other.pem"):gsub("shop%.key", "other.key")), { MORE = "" })
        assert.equal(0, t:cli("reload", "--dry-run").code)
        assert.equal(s.shop.serial, serial(t))
        configure(t)
        assert.equal(0, t:cli("reload").code)
        assert.equal(s.shop.serial, serial(t))
    end))

    it("change with their files, without a reload, whoever swaps them and however", tidegate.test(function(t)
        local s = store(t)
        -- As Kubernetes mounts secrets and certbot keeps them: files are links into a folder that a link points to.
        local function version(n)
            local made = s:make { file = ("v%d-shop"):format(n), names = { "shop.example" }, by = s.root }
            assert(os.execute(("cd '%s/tls' && mkdir -p v%d && cp v%d-shop.pem v%d/shop.pem && cp -p v%d-shop.key v%d/shop.key && "
                .. "ln -sfn v%d ..data.new && mv -T ..data.new ..data"):format(t.dir, n, n, n, n, n, n)) == 0)
            return made.serial
        end
        assert(os.execute(("cd '%s/tls' && rm shop.pem shop.key && ln -s ..data/shop.pem shop.pem && ln -s ..data/shop.key shop.key")
            :format(t.dir)) == 0)
        local first = version(1)
        configure(t)
        t:start { cluster_only = true }
        wait_serial(t, first)
        for n = 2, 3 do
            wait_serial(t, version(n))
        end
        -- As an editor saves: another file under the same name. The key comes later, and until then the old pair goes on.
        local before = serial(t)
        local new = s:make { file = "new", names = { "shop.example" }, by = s.root }
        assert(os.execute(("cd '%s/tls' && rm shop.pem && cp new.pem shop.tmp && mv shop.tmp shop.pem"):format(t.dir)) == 0)
        t:wait_log("/tls/shop.key: is not the key of the certificate for shop.example (serial " .. new.serial
            .. "): they were not made together; the certificate that was read before goes on")
        assert.equal(before, serial(t))
        assert(os.execute(("cd '%s/tls' && cp -p new.key shop.tmp && mv shop.tmp shop.key"):format(t.dir)) == 0)
        wait_serial(t, new.serial)
        local events = tidegate.json.decode(t:cli("events", "--kind", "certificate", "--json").out).events
        local last = events[#events]
        assert.same({ "shop.example", "changed", "kept: its files are no good now" }, { last.subject, last.what, events[#events - 1].what })
        assert.truthy(last.detail:find(new.serial, 1, true), last.detail)
        -- All of it gone is no reason to show nothing.
        os.remove(t.dir .. "/tls/shop.pem")
        t:wait_log "/tls/shop.pem: is not there: no such file; the certificate that was read before goes on"
        assert.equal(new.serial, serial(t))
    end))

    it("of a folder come and go", tidegate.test(function(t)
        local s = store(t)
        configure(t, nil, (CONFIG:gsub('certificate = .-@MORE@', 'folder = "tls/all"')))
        s:make { file = "all/shop", names = { "shop.example" }, by = s.root }
        t:start { cluster_only = true }
        t:wait_log "certificates in force"
        assert.is_nil(serial(t, "late.example"))
        local late = s:make { file = "all/late", names = { "late.example" }, by = s.root }
        wait_serial(t, late.serial, "late.example")
        os.remove(t.dir .. "/tls/all/late.pem")
        t:wait("it to go", function()
            return serial(t, "late.example") == nil
        end)
        t:wait_log "certificate removed"
        assert.is_not_nil(serial(t))
        os.remove(t.dir .. "/tls/all/shop.pem")
        t:wait_log "is gone, with all others of its listener: it goes on"
        assert.is_not_nil(serial(t))
    end))

    it("are with a worker that is started again, and with a new listener from its commit on", tidegate.test(function(t)
        local s = store(t)
        configure(t)
        t:start { cluster_only = true }
        wait_serial(t, s.shop.serial)
        local status = tidegate.json.decode(t:cli("status", "--json").out)
        t:kill(status.workers[1].pid)
        t:kill(status.workers[2].pid)
        t:wait_log("worker died: starting another", 2)
        wait_serial(t, s.shop.serial)
        t:write("tidegate.lua", CONFIG .. [[
service "more" { backends = { "127.0.0.1:9" }, route = { listen = "https://127.0.0.1:@PORT2@",
  tls = { certificate = "tls/shop.pem", key = "tls/shop.key" } } }]], { MORE = "" })
        assert.equal(0, t:cli("reload").code)
        assert.equal(s.shop.serial, certificates.shown("127.0.0.1:" .. t:port "PORT2", "shop.example").serial)
        t:write("tidegate.lua", (CONFIG:gsub("https://", ""):gsub("\n[^\n]*tls = .*$", "} }")))
        assert.equal(0, t:cli("reload").code)
        assert.is_nil(serial(t))
        configure(t)
        assert.equal(0, t:cli("reload").code)
        assert.equal(s.shop.serial, serial(t))
    end))

    it("leave sessions what they were: they are resumed with every worker, and over reloads and changes", tidegate.test(function(t)
        local s = store(t)
        configure(t)
        t:start { cluster_only = true }
        wait_serial(t, s.shop.serial)
        local address, session = "127.0.0.1:" .. t:port(), t.dir .. "/session"
        local function resumed()
            local shown = certificates.shown(address, "shop.example", ("-tls1_2 -sess_in '%s'"):format(session))
            return shown ~= nil and shown.text:find("Reused, TLSv1.2", 1, true) ~= nil
        end
        assert.is_not_nil(certificates.shown(address, "shop.example", ("-tls1_2 -sess_out '%s'"):format(session)))
        for _ = 1, 8 do -- whichever worker it comes to
            assert.is_true(resumed())
        end
        assert.equal(0, t:cli("reload").code)
        for _ = 1, 8 do
            assert.is_true(resumed())
        end
        wait_serial(t, s:make({ file = "shop", names = { "shop.example" }, by = s.root }).serial)
        assert.is_true(resumed())
    end))

    it("are listed, and told of before they expire", tidegate.test(function(t)
        local s = store(t)
        configure(t, nil, (CONFIG:gsub("admin = false }",
            'admin = "127.0.0.1:@ADMIN@", sample_interval = "100ms" }\nalerting { interval = "1s" }')))
        t:start { cluster_only = true }
        local listed = tidegate.json.decode(t:cli("certificates", "--json").out).certificates
        assert.equal(1, #listed)
        local one = listed[1]
        assert.same({ { "shop.example" }, "CN=Root", s.shop.serial, "ECDSA P-256", { "127.0.0.1:" .. t:port() }, s.shop.certificate },
            { one.names, one.issuer, one.serial, one.key_type, one.listeners, one.file })
        assert.near((os.time() + 30 * 86400) * 1000, one.not_after_ms, 60000)
        local text = t:cli("certificates").out
        assert.matches("NAMES +EXPIRES IN +KEY +ISSUER +LISTENERS +FROM\nshop%.example +29d23h +ECDSA P%-256 +CN=Root ", text)
        local page = t:get("/metrics", { port = t:port "ADMIN" }).body
        assert.equal(one.not_after_ms / 1000, tonumber(page:match('tidegate_certificate_not_after_timestamp_seconds'
            .. '{name="shop%.example",file="' .. s.shop.certificate:gsub("%p", "%%%0") .. '"} (%S+)')), page)
        local status = tidegate.json.decode(t:cli("status", "--json").out)
        assert.equal(1, status.certificates.count)
        assert.near(30, status.certificates.days_left, 0.01)
        assert.is_nil(t:cli("status").out:find("certificate", 1, true))
        s:make { file = "shop", names = { "shop.example" }, by = s.root, ends = 13 * 86400 }
        local words = ("renew the certificate of shop.example (%s), which expires on "):format(s.shop.certificate)
        t:wait("the alert", function()
            return t:cli("alerts").out:find(words:sub(1, 40), 1, true) ~= nil
        end)
        assert.truthy(t:cli("status").out:find(words, 1, true))
        s:make { file = "shop", names = { "shop.example" }, by = s.root, ends = -60 }
        t:wait("the critical one", function()
            return t:cli("alerts", "--json").out:find("clients refuse the certificate of shop.example", 1, true) ~= nil
        end)
        assert.truthy(t:cli("certificates").out:find("expired", 1, true))
    end))

    it("keep their keys from whoever has no use for them", tidegate.test(function(t)
        local s = store(t)
        configure(t)
        t:start { cluster_only = true }
        wait_serial(t, s.shop.serial)
        for _ = 1, 3 do
            local before = s.shop
            s.shop = s:make { file = "shop", names = { "shop.example" }, by = s.root }
            wait_serial(t, s.shop.serial)
            assert.not_equal(before.serial, s.shop.serial)
        end
        assert.equal(0, t:cli("reload").code)
        local secret = certificates.read(s.shop.key):match "\n(%S+)\n"
        -- Whether a process has the text of the key anywhere in its memory.
        local function knows(pid)
            local mem = assert(io.open(("/proc/%d/mem"):format(pid), "rb"))
            for line in io.lines(("/proc/%d/maps"):format(pid)) do
                local from, to, mode = line:match "^(%x+)%-(%x+) (r[w-])"
                local size = mode == "rw" and tonumber(to, 16) - tonumber(from, 16)
                -- Larger ones are pools of connections and blocks, touched in part.
                if size and size <= 64 * 2 ^ 20 and mem:seek("set", tonumber(from, 16)) then
                    local bytes = mem:read(size)
                    if bytes and bytes:find(secret, 1, true) then
                        mem:close()
                        return true
                    end
                end
            end
            mem:close()
            return false
        end
        local status = tidegate.json.decode(t:cli("status", "--json").out)
        assert.is_true(knows(status.pid)) -- it gives them to workers that are started later
        assert.is_false(knows(status.policy_pid))
        -- OpenSSL wipes keys and frees lines of their text, which a sanitizer then keeps.
        local sanitized = tidegate.read_file(("/proc/%d/maps"):format(status.pid)):find("libasan", 1, true)
        for _, worker in ipairs(status.workers) do
            assert.is_true(sanitized ~= nil or not knows(worker.pid))
        end
        local told = t:cli("status", "--json").out .. t:cli("certificates", "--json").out .. t:cli("events", "--json").out .. t:log()
        assert.is_nil(told:find(secret, 1, true))
        assert(os.execute(("! grep -rqF '%s' '%s/state' '%s/run'"):format(secret, t.dir, t.dir)) == 0, "it is on disk")
    end))
end)
