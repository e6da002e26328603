-- TLS with the real binary and real clients (curl, openssl): versions, names, resumption, certificates of clients, what is
-- no TLS, slow handshakes; and TLS to backends, which here are another listener of the same daemon.
local certificates = require "certificates"
local readme = require "readme"
local socket = require "socket"
local tidegate = require "tidegate"

local SERVICE = [[
service "shop" { command = { "@SERVICE@", "--host", "127.0.0.1", "--port", "$PORT" },
  route = { { listen = "https://127.0.0.1:@PORT@", client_timeout = "1s",
              tls = { certificate = "tls/shop.pem", key = "tls/shop.key" @MORE@ } },
            { listen = "127.0.0.1:@PORT2@" } } }
]]

local function store(t)
    local s = certificates.new(t.dir .. "/tls")
    s.root = s:authority "Root"
    s.shop = s:make { file = "shop", names = { "shop.example", "*.shop.example" }, by = s.root }
    return s
end

-- Starts a daemon with the service behind https; `more` goes into its tls, `rest` behind it.
local function begin(t, more, rest)
    t:configure(SERVICE .. (rest or ""), { MORE = more or "" })
    t:start()
end

local function sh(line, ...)
    local pipe = io.popen(("(" .. line .. ") 2>&1; echo \"=$?\""):format(...))
    local out, code = pipe:read("*a"):match "^(.*)=(%d+)\n$"
    pipe:close()
    return tonumber(code), out
end

-- curl to shop.example (or another host) at that port: exit code and all it says.
local function curl(t, options, path, host)
    host = host or "shop.example"
    local port = t:port()
    return sh("curl -sS --max-time 10 --cacert '%s/tls/certificate-1.pem' --resolve %s:%d:127.0.0.1 %s https://%s:%d%s",
        t.dir, host, port, options or "", host, port, path or "/")
end

-- Sends a plain request; what comes back.
local function plain(t, bytes)
    local c = assert(socket.connect("127.0.0.1", t:port()))
    c:settimeout(5)
    c:send(bytes)
    local text, why, part = c:receive "*a"
    c:close()
    return text or part, why
end

-- Does it until it is told: of such news a worker tells one a second.
local function told(t, text, try)
    t:wait(text, function()
        try()
        return t:log():find(text, 1, true) ~= nil
    end)
end

describe("TLS of clients", function()
    it("is spoken in both versions, by names and wildcards", tidegate.test(function(t)
        store(t)
        begin(t)
        for _, version in ipairs { "--tlsv1.2 --tls-max 1.2", "--tlsv1.3" } do
            local code, out = curl(t, version .. " --http1.1 -o /dev/null -w '%{http_code} %{ssl_verify_result}'")
            assert.same({ 0, "200 0" }, { code, out })
        end
        local code, out = curl(t, "-o /dev/null -w '%{http_code}'", "/", "a.shop.example")
        assert.same({ 0, "200" }, { code, out })
        code, out = curl(t, nil, "/", "other.example")
        assert.equal(35, code, out)
        assert.matches("unrecognized name", out)
        t:wait_log "no certificate is here for the name"
        assert.is_truthy(select(2, sh("openssl s_client -connect 127.0.0.1:%d -tls1_1 </dev/null", t:port())):find "alert protocol version"
            or select(2, sh("openssl s_client -connect 127.0.0.1:%d -tls1_1 </dev/null", t:port())):find "no protocols available")
    end))

    it("resumes sessions at any worker, and beyond a reload", tidegate.test(function(t)
        store(t)
        begin(t)
        local session = t.dir .. "/session"
        -- With -ign_eof it stays until the answer, and with it the ticket, has come.
        local function visit(version, with)
            local code, out = sh("printf 'GET / HTTP/1.1\\r\\nHost: shop.example\\r\\nConnection: close\\r\\n\\r\\n' | openssl s_client "
                .. "-connect 127.0.0.1:%d -servername shop.example -%s -ign_eof %s '%s'", t:port(), version, with, session)
            assert.equal(0, code, out)
            return out:find("\nReused, ", 1, true) ~= nil
        end
        for _, version in ipairs { "tls1_3", "tls1_2" } do
            assert.is_false(visit(version, "-sess_out"))
            for _ = 1, 8 do -- two workers
                assert.is_true(visit(version, "-sess_in"))
            end
            assert.equal(0, t:cli("reload").code)
            for _ = 1, 4 do
                assert.is_true(visit(version, "-sess_in"))
            end
        end
    end))

    it("asks clients for certificates", tidegate.test(function(t)
        local s = store(t)
        local people = s:authority "People"
        s:make { file = "alice", common_name = "alice", names = { "alice" }, by = people }
        s:make { file = "bob", common_name = "bob", names = { "bob" }, by = people, starts = -7200, ends = -3600 }
        os.rename(people.certificate, t.dir .. "/tls/people.pem")
        begin(t, ', client_ca = "tls/people.pem"')
        local function as(who)
            return curl(t, ("--cert '%s/tls/%s.pem' --key '%s/tls/%s.key' -H 'X-Client-Cert-Subject: CN=root'"):format(t.dir, who,
                t.dir, who), "/echo")
        end
        local code, out = as "alice"
        assert.equal(0, code, out)
        code = as "bob"
        assert.not_equal(0, code)
        t:wait_log "the client's certificate is not accepted: certificate has expired"
        told(t, "peer did not return a certificate", function()
            assert.not_equal(0, (curl(t)))
        end)
        -- A client of TLS 1.3 sends its request before it can know; it must not lose the alert to a reset.
        local client = [[python3 -c '
import select, socket, ssl
context = ssl.create_default_context(cafile="%s/tls/certificate-1.pem")
c = context.wrap_socket(socket.create_connection(("127.0.0.1", %d), 10), server_hostname="shop.example")
select.select([c], [], [], 10)
for _ in range(20):
    c.send(b"GET / HTTP/1.1\r\n")
try:
    c.recv(1)
except ssl.SSLError as e:
    print(e.reason)']]
        code, out = sh(client, t.dir, t:port())
        assert.same({ 0, "TLSV13_ALERT_CERTIFICATE_REQUIRED\n" }, { code, out })
    end))

    it("tells a route's function whose certificate it is, over HTTP/1.1 and HTTP/2", tidegate.test(function(t)
        local s = store(t)
        local people = s:authority "People"
        s:make { file = "alice", common_name = "alice", names = { "alice" }, by = people }
        os.rename(people.certificate, t.dir .. "/tls/people.pem")
        t:configure [[
service "shop" { command = { "@SERVICE@", "--host", "127.0.0.1", "--port", "$PORT" }, scale = { instances = 3 },
  tags = function(i) return i.index == 2 and { "dataset:CN=alice" } or {} end,
  route = { listen = "https://127.0.0.1:@PORT@", balance = "data_locality_aware",
            request = function(r) return { dataset_id = r.subject } end,
            tls = { certificate = "tls/shop.pem", key = "tls/shop.key", client_ca = "tls/people.pem", client = "request" } } }
]]
        t:start()
        t:wait_up(3)
        local function seen(options)
            local all = {}
            for _ = 1, 12 do
                local code, out = curl(t, options .. " -D - -o /dev/null", "/")
                assert.equal(0, code, out)
                all[out:lower():match "x%-instance: ([%w-]+)"] = true
            end
            return all
        end
        local certificate = ("--cert '%s/tls/alice.pem' --key '%s/tls/alice.key'"):format(t.dir, t.dir)
        assert.same({ ["shop-2"] = true }, seen(certificate .. " --http1.1"))
        assert.same({ ["shop-2"] = true }, seen(certificate .. " --http2"))
        assert.not_same({ ["shop-2"] = true }, seen "-H 'X-Client-Cert-Subject: CN=alice'")
    end))

    it("tells plain HTTP to use https, and closes TLS on a plain port", tidegate.test(function(t)
        store(t)
        begin(t)
        local text = plain(t, "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        assert.matches("^HTTP/1.1 400 ", text)
        assert.matches("this port speaks TLS: use https://", text, 1, true)
        t:wait_log "is told to use https://"
        told(t, "a client spoke TLS on a port that is plain", function()
            assert.equal(35, (sh("curl -sS --max-time 10 -k https://127.0.0.1:%d/", t:port "PORT2")))
        end)
    end))

    it("ends handshakes that take too long, and half-open ones leave others alone", tidegate.test(function(t)
        store(t)
        begin(t)
        local slow = {}
        for i = 1, 60 do
            slow[i] = assert(socket.connect("127.0.0.1", t:port()))
            slow[i]:settimeout(5)
            if i % 2 == 0 then
                slow[i]:send "\22\3\1\2\0\1"
            end
        end
        local code, out = curl(t, "-o /dev/null -w '%{http_code}'")
        assert.same({ 0, "200" }, { code, out })
        for i = 2, 60, 2 do
            local byte, why = slow[i]:receive(1)
            assert.is_nil(byte)
            assert.not_equal("timeout", why)
            slow[i]:close()
        end
    end))
end)

describe("TLS to backends", function()
    local OUTER = [[
service "outer" { backends = { "127.0.0.1:@PORT@" }, protocol = "https", @UPSTREAM@
  collect = { health = "/health", interval = "100ms" },
  health_check = { http = "/health", interval = "100ms" }, route = { listen = "127.0.0.1:@PORT3@" } }
]]
    local function start(t, upstream, check)
        local text = OUTER:gsub("@UPSTREAM@", ("upstream_tls = { %s },"):format(upstream))
        text = check and text:gsub("health_check = [^}]+}", "health_check = " .. check) or text
        t:configure(SERVICE .. text, { MORE = "" })
        t:start { cluster_only = true }
        t:wait("the service behind", function()
            return t:of("shop").up >= 1
        end)
    end

    it("is checked, by requests and by health checks", tidegate.test(function(t)
        store(t)
        start(t, 'ca = "tls/certificate-1.pem", name = "shop.example"')
        t:wait("the one in front", function()
            return t:of("outer").up == 1
        end)
        for _ = 1, 10 do
            assert.equal(200, t:get("/", { port = t:port "PORT3" }).status)
        end
        t:wait("what it tells of itself", function()
            local health = t:ask("metrics", "outer").metrics.health
            return health and health.collected == 1
        end)
    end))

    it("carries HTTP/2 by ALPN", tidegate.test(function(t)
        store(t)
        OUTER = OUTER:gsub('"https"', '"h2"')
        start(t, 'ca = "tls/certificate-1.pem", name = "shop.example"')
        OUTER = OUTER:gsub('"h2"', '"https"')
        t:wait("the one in front", function()
            return t:of("outer").up == 1
        end)
        assert.equal(200, t:get("/", { port = t:port "PORT3" }).status)
    end))

    it("is refused for strangers, and says what helps", tidegate.test(function(t)
        store(t)
        start(t, 'name = "shop.example"', "false")
        t:wait("an answer that is none of the backend's", function()
            local answer = t:get("/", { port = t:port "PORT3" })
            return answer and answer.status == 502
        end)
        t:wait_log "name its authority: upstream_tls = { ca ="
    end))

    it("is configured as the README has it", tidegate.test(function(t)
        local s = store(t)
        local inside = s:authority("Inside", nil, { file = "inside" })
        assert.equal(t.dir .. "/tls/inside.pem", inside.certificate)
        s:authority("People", nil, { file = "people" })
        for i, text in ipairs(readme.configurations "TLS") do
            local path = t:write(("tls/readme-%d.lua"):format(i), text)
            local result = t:cli("check", path)
            assert.equal(0, result.code, result.err .. text)
        end
    end))

    it("is told of in `check` when a file is no good", tidegate.test(function(t)
        store(t)
        local path = t:configure(SERVICE .. OUTER:gsub("@UPSTREAM@", 'upstream_tls = { ca = "tls/none.pem" },'), { MORE = "" })
        local result = t:cli("check", path)
        assert.equal(1, result.code)
        assert.matches("tidegate.lua:%d+: .*/tls/none.pem: is not there: no such file", result.err)
        path = t:configure(SERVICE .. OUTER:gsub("@UPSTREAM@", 'upstream_tls = { ca = "tls/shop.key" },'), { MORE = "" })
        assert.equal(1, t:cli("check", path).code)
        path = t:configure((SERVICE .. OUTER:gsub("@UPSTREAM@", 'upstream_tls = { verify = false },')):gsub('protocol = "https",', ""),
            { MORE = "" })
        result = t:cli("check", path)
        assert.equal(1, result.code)
        assert.truthy(result.err:find('upstream_tls: is for backends that speak TLS: protocol = "https"', 1, true), result.err)
    end))
end)
