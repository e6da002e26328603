-- Certificates from a real ACME authority: Debian's pebble, which refuses half of all nonces.
local certificates = require "certificates"
local pebble = require "pebble"
local readme = require "readme"
local tidegate = require "tidegate"

local function test(fn)
    return function()
        local why = pebble.missing()
        if why then
            pending(why)
        end
        tidegate.test(fn)()
    end
end

-- One host by http-01: PORT is where the authority asks, PORT2 https.
local function configure(t, ca, more, routes)
    t:write("tidegate.lua", [[
cluster { id = "@ID@", engine = "process", workers = 2, admin = "127.0.0.1:@PORT9@", health_check_interval = "100ms",
    acme = { email = "ops@shop.example", agree = true, directory = "@DIRECTORY@", ca = "@CA@", retry = "1s", @MORE@ } }
alerting { interval = "1s" }
service "web" { command = { "@SERVICE@" }, scale = { instances = 1 }, route = {
    { listen = "127.0.0.1:@PORT@" },
    { listen = "https://127.0.0.1:@PORT2@", host = "shop.example", tls = { acme = true } }, ]] .. (routes or "") .. [[ } }
]], { DIRECTORY = ca.directory, CA = ca.ca, MORE = more or "" })
end

local function state(t, name)
    for _, one in ipairs(t:status().acme) do
        if one.name == (name or "shop.example") then
            return one
        end
    end
end

local function wait_valid(t, name)
    return t:wait("a certificate of " .. (name or "shop.example"), function()
        local one = state(t, name)
        return one.state == "valid" and not one.order and one
    end)
end

-- What curl gets that trusts the authority's root alone: status, or what it said.
local function get(t, ca, name)
    local pipe = io.popen(("curl -sS -o /dev/null -w '%%{http_code}' --cacert %s --resolve %s:%d:127.0.0.1 https://%s:%d/ 2>&1"):format(
        ca:root(), name, t:port "PORT2", name, t:port "PORT2"))
    local said = pipe:read "*a"
    pipe:close()
    return tonumber(said) or said
end

-- Serial of what is shown for a name, or nil and what openssl said.
local function shown(t, name, more)
    local one, why = certificates.shown("127.0.0.1:" .. t:port "PORT2", name, more)
    return one and one.serial, why
end

local function orders(ca)
    return ca:count "Added order"
end

local function events(t)
    local list = {}
    for i, event in ipairs(t:ask("events", "--kind", "certificate").events) do
        list[i] = event.what
    end
    return list
end

local function metric(t, result)
    local text = t:get("/metrics", { port = t:port "PORT9" }).body
    return tonumber(text:match('tidegate_acme_renewals_total{result="' .. result .. '"} (%d+)'))
end

describe("certificates by ACME", function()
    it("README.md shows what check takes", tidegate.test(function(t)
        for i, text in ipairs(readme.configurations "ACME") do
            t:write("shown.lua", text)
            local result = t:cli("check", t.dir .. "/shown.lua")
            assert.equal(0, result.code, ("block %d: %s\n%s"):format(i, result.err, text))
        end
    end))

    it("want a root that can be read", tidegate.test(function(t)
        local ca = { directory = "https://127.0.0.1:1/dir", ca = t.dir .. "/roots.pem" }
        configure(t, ca)
        local function check()
            local result = t:cli("check", t.dir .. "/tidegate.lua")
            return result.code == 0 and "" or result.err
        end
        assert.matches("tidegate.lua:2: " .. ca.ca:gsub("%p", "%%%0") .. ": is not there: ", check())
        t:write("roots.pem", "nothing of use")
        assert.matches("tidegate.lua:2: .*/roots.pem: has no certificate", check())
        os.execute(("cp %s %s"):format(certificates.new(t.dir .. "/tls"):authority("Root").certificate, ca.ca))
        assert.equal("", check())
    end))

    it("are got by http-01, one a host, and a restart asks for none again", test(function(t)
        local ca = pebble.start(t, { http = t:port "PORT", nonces = 50 })
        configure(t, ca, "", '{ listen = "https://127.0.0.1:@PORT2@", host = "www.shop.example", tls = { acme = true } },')
        t:start()
        local one, other = wait_valid(t), wait_valid(t, "www.shop.example")
        assert.same({ 0, 0 }, { one.failures, other.failures })
        assert.same({ 200, 200 }, { get(t, ca, "shop.example"), get(t, ca, "www.shop.example") })
        assert.not_equal(shown(t, "shop.example"), shown(t, "www.shop.example"))
        local serial = shown(t, "shop.example")
        assert.is_true(one.next < one.valid_until)
        -- Without a refused nonce each of these is called once a certificate, the first one once.
        local calls = 0
        for _, path in ipairs { "sign-me-up", "order-plz", "chalZ/", "finalize-order/", "certZ/" } do
            calls = calls + ca:count("POST /" .. path)
        end
        assert.is_true(calls > 9, "no nonce was refused")
        assert.same({ "issued", "issued" }, events(t))
        assert.equal(2, metric(t, "ok"))
        assert.equal(1, ca:count "accounts in memory")
        t:stop()
        local before = orders(ca)
        t:start()
        assert.same({ one.valid_until, one.next }, { state(t).valid_until, state(t).next })
        t:ask "reload"
        assert.equal("valid", state(t).state)
        assert.equal(before, orders(ca))
        assert.equal(serial, shown(t, "shop.example"))
        -- Files with keys are their owner's alone.
        local modes = io.popen(("stat -c %%a %s/state/%s/history/*.db*"):format(t.dir, t.id)):read "*a"
        assert.matches("^[60\n]+$", modes)
    end))

    it("are got by tls-alpn-01", test(function(t)
        local ca = pebble.start(t, { http = t:port "PORT3", tls = t:port "PORT2", nonces = 50 })
        configure(t, ca, 'challenge = "tls-alpn-01"', '{ listen = "https://127.0.0.1:@PORT2@", host = "www.shop.example", tls = { acme = true } },')
        t:start()
        wait_valid(t)
        wait_valid(t, "www.shop.example")
        assert.same({ 200, 200 }, { get(t, ca, "shop.example"), get(t, ca, "www.shop.example") })
        -- The certificate of the challenge was for the authority alone, and is gone.
        t:wait("the challenge's certificate to go", function()
            return not shown(t, "shop.example", "-alpn acme-tls/1")
        end)
    end))

    it("are renewed when two thirds of their time are over, with the account that was kept", test(function(t)
        local ca = pebble.start(t, { http = t:port "PORT", validity = 9 })
        configure(t, ca)
        t:start()
        local first, serial = wait_valid(t).valid_until, shown(t, "shop.example")
        t:wait("another certificate", function()
            return state(t).valid_until > first
        end)
        assert.equal("valid", state(t).state)
        assert.same({ "issued", "renewed" }, events(t))
        t:wait("the new one to be shown", function()
            return shown(t, "shop.example") ~= serial
        end)
        assert.equal(200, get(t, ca, "shop.example"))
        -- One that is renewed in time alerts nobody, though it is good for seconds.
        assert.is_nil(t:cli("alerts", "--json").out:find("CertificateExpir", 1, true))
        assert.equal(1, ca:count "accounts in memory")
        -- An authority that lost its memory: the account is made anew with the same key.
        first = state(t).valid_until
        ca:stop()
        ca:again()
        t:wait("one of the new authority", function()
            return state(t).valid_until > first
        end)
        assert.equal(1, ca:count "accounts in memory")
    end))

    it("are asked for again, later and later, while the authority is away", test(function(t)
        local ca = pebble.start(t, { http = t:port "PORT" })
        configure(t, ca)
        ca:stop()
        t:start()
        local one = t:wait("a failure", function()
            local one = state(t)
            return one.failures >= 1 and one
        end)
        assert.equal("missing", one.state)
        assert.is_nil((shown(t, "shop.example"))) -- no certificate that nobody trusts
        assert.matches("^reading the directory: .*127.0.0.1", one.error)
        t:stop() -- what failed is not forgotten with a restart
        t:start()
        assert.is_true(state(t).failures >= 1)
        assert.matches("shop.example +missing.*shop.example, failed %d times?: reading the directory: ", t:cli("status").out)
        ca:again()
        assert.equal(0, wait_valid(t).failures)
        assert.is_nil(state(t).error)
        assert.equal("could not be got", events(t)[1])
    end))

    it("say why a name could not be proved", test(function(t)
        local ca = pebble.start(t, { http = t:port "PORT3" }) -- where nobody listens
        configure(t, ca)
        t:start()
        local one = t:wait("a failure", function()
            local one = state(t)
            return one.failures >= 1 and one
        end)
        assert.matches("^shop.example was not proved by http%-01 %(invalid%): connection: ", one.error)
        assert.is_true(metric(t, "failed") >= 1)
        t:wait("the alert", function()
            return t:cli("alerts", "--json").out:find("clients refuse the certificate of shop.example (acme), which could not be got: "
                .. "shop.example was not proved by http-01", 1, true)
        end)
        t:wait_log "no certificate"
        -- Put right by a reload: another authority, or the same at another place, is asked at once.
        local right = pebble.start(t, { http = t:port "PORT", place = 80 })
        configure(t, right)
        t:ask "reload"
        wait_valid(t)
        t:wait("the alert to end soon", function()
            local said = t:cli("alerts", "--json").out
            return said:find("CertificateExpired", 1, true) and said:find('"next":"ends in', 1, true)
        end)
        -- Nobody wants one any more.
        t:write("tidegate.lua", [[
cluster { id = "@ID@", engine = "process", workers = 2, admin = "127.0.0.1:@PORT9@" }
service "web" { command = { "@SERVICE@" }, scale = { instances = 1 }, route = { listen = "127.0.0.1:@PORT@" } }
]])
        t:ask "reload"
        assert.same({}, t:status().acme)
    end))
end)
