-- Clients behind Debian's HAProxy, and HAProxy as a backend: PROXY headers as others write and read them.
local certificates = require "certificates"
local cjson = require "cjson"
local readme = require "readme"
local tidegate = require "tidegate"

describe("The edge, client addresses", function()
    it("README.md shows what check takes", tidegate.test(function(t)
        for _, section in ipairs { "gRPC and HTTP/2 to backends", "Client addresses", "Traces", "Docker labels" } do
            for i, text in ipairs(readme.configurations(section)) do
                t:write("shown.lua", text)
                local result = t:cli("check", t.dir .. "/shown.lua")
                assert.equal(0, result.code, ("%s, block %d: %s\n%s"):format(section, i, result.err, text))
            end
        end
    end))

    it("come from HAProxy with both versions, and reach it with both", tidegate.test(function(t)
        local backend = t:run_beside(tidegate.service, "--name", "it", "--host", "127.0.0.1", "--port", t:port "PORT4")
        t:write("haproxy.cfg", [[
global
  log stdout format raw local0
defaults
  mode http
  log global
  log-format "from %ci"
  timeout connect 5s
  timeout client 5s
  timeout server 5s
listen in_front_1
  bind 127.0.0.1:@PORT2@
  server tidegate 127.0.0.1:@PORT@ send-proxy
listen in_front_2
  bind 127.0.0.1:@PORT3@
  server tidegate 127.0.0.1:@PORT5@ send-proxy-v2
listen behind
  bind 127.0.0.1:@PORT6@ accept-proxy
  server it 127.0.0.1:@PORT4@
]])
        t:configure([[
service "one" { backends = { "127.0.0.1:@PORT6@" }, health_check = false, send_proxy = 1,
    route = { { listen = "127.0.0.1:@PORT@", proxy_protocol = true } } }
service "two" { backends = { "127.0.0.1:@PORT6@" }, health_check = false, send_proxy = 2,
    route = { { listen = "127.0.0.1:@PORT5@", proxy_protocol = true } } }
]], { CLUSTER = [[trusted_proxies = { "127.0.0.1" }, access_log = { path = "]] .. t.dir .. [[/access.log" },]] })
        local haproxy = t:run_beside("/usr/sbin/haproxy", "-db", "-f", t.dir .. "/haproxy.cfg")
        t:start()
        for i, port in ipairs { t:port "PORT2", t:port "PORT3" } do
            local client = "127.0.0." .. (i + 1)
            t:wait("an answer through " .. port, function()
                return os.execute(("curl -sf -o /dev/null --interface %s http://127.0.0.1:%d/"):format(client, port)) == 0
            end)
            t:wait("the access log", function()
                for line in (tidegate.read_file(t.dir .. "/access.log") or ""):gmatch "[^\n]+" do
                    local said = cjson.decode(line)
                    if said.client == client and said.status == 200 then
                        return true
                    end
                end
            end)
            t:wait("HAProxy behind us to hear of " .. client, function()
                local _, count = (tidegate.read_file(haproxy.out) or ""):gsub("from " .. client:gsub("%.", "%%."), "")
                return count >= 2 -- in front of us, and behind
            end)
        end
        assert.truthy(backend)
    end))

    it("come before TLS, too, and each stream of HTTP/2 has the connection's", tidegate.test(function(t)
        local made = certificates.new(t.dir .. "/tls"):make { names = { "localhost" } }
        t:write("haproxy.cfg", [[
defaults
  mode tcp
  timeout connect 5s
  timeout client 5s
  timeout server 5s
listen in_front
  bind 127.0.0.1:@PORT2@
  server tidegate 127.0.0.1:@PORT@ send-proxy-v2
]])
        t:configure(([[
service "shop" { command = { "@SERVICE@" }, scale = { min = 1, max = 1 },
    route = { listen = "https://127.0.0.1:@PORT@", tls = { certificate = "%s", key = "%s" }, proxy_protocol = true } }
]]):format(made.certificate, made.key), { CLUSTER = [[trusted_proxies = { "127.0.0.1" }, access_log = { path = "]] .. t.dir .. [[/access.log" },]] })
        t:run_beside("/usr/sbin/haproxy", "-db", "-f", t.dir .. "/haproxy.cfg")
        t:start()
        t:wait_up(1)
        t:wait("two answers by HTTP/2", function()
            local pipe = io.popen(("curl -s --cacert %s --interface 127.0.0.9 -o /dev/null -o /dev/null -w '%%{http_version} %%{http_code} ' %s %s")
                :format(made.certificate, ("https://localhost:%d/"):format(t:port "PORT2"), ("https://localhost:%d/"):format(t:port "PORT2")))
            local said = pipe:read "*a"
            pipe:close()
            return said == "2 200 2 200 "
        end)
        t:wait("the access log", function()
            local _, count = (tidegate.read_file(t.dir .. "/access.log") or ""):gsub('"client":"127.0.0.9","status":200', "")
            return count >= 2
        end)
    end))

    it("are asked for: without trusted proxies check says what to write", tidegate.test(function(t)
        t:configure [[
service "one" { backends = { "127.0.0.1:9" }, route = { listen = "127.0.0.1:@PORT@", proxy_protocol = true } }
service "two" { backends = { "127.0.0.1:9" }, route = { listen = "127.0.0.1:@PORT2@", trusted_proxys = { "::1" } } }
]]
        local result = t:cli("check", t.dir .. "/tidegate.lua")
        assert.equal(1, result.code)
        assert.matches('tidegate.lua:3: service "one": route.proxy_protocol: from whom%? Write trusted_proxies = { "10.0.0.0/8" }', result.err)
        assert.matches('tidegate.lua:4: service "two": route.trusted_proxys: unknown key: did you mean "trusted_proxies"%?', result.err)
    end))
end)
