-- The examples, as they stand, but for cluster ids, ports and the program: each does what it is there to show.
local certificates = require "certificates"
local cjson = require "cjson"
local socket = require "socket"
local tidegate = require "tidegate"

-- A copy of the example in the test's directory, beside a quickstart with the built service.
local function copy(t, name, changes)
    os.execute(("cp -r examples/%s %s/%s"):format(name, t.dir, name))
    os.execute(("mkdir -p %s/quickstart && ln -sf %s %s/quickstart/service"):format(t.dir, tidegate.service, t.dir))
    local path = ("%s/%s/tidegate.lua"):format(t.dir, name)
    local text, ids = tidegate.read_file(path):gsub('cluster { id = "[%w-]+"', ('cluster { id = "%s", workers = 2'):format(t.id))
    assert.equal(1, ids)
    for from, to in pairs(changes or {}) do
        local n
        text, n = text:gsub((from:gsub("%p", "%%%0")), (to:gsub("%%", "%%%%")))
        assert.truthy(n > 0, from)
    end
    local file = assert(io.open(path, "w"))
    file:write(text)
    file:close()
    return path
end

-- As its README.md says, but for the program that makes it.
local function certify(t, folder)
    local made = certificates.new(t.dir .. "/tls"):make { names = { "localhost", "127.0.0.1" } }
    os.execute(("cp %s %s/edge.pem && cp -p %s %s/edge.key"):format(made.certificate, folder, made.key, folder))
end

local function start(t, name, changes)
    changes = changes or {}
    changes["127.0.0.1:8080"] = "127.0.0.1:" .. t:port()
    t:start { config = copy(t, name, changes), args = { "--admin", "off" } }
end

local function up(t, least, most)
    t:wait(("%d to %d instances up"):format(least, most), function()
        local s = t:of()
        return s.up >= least and s.up <= most and (least < most or s.up == #s.instances)
    end)
end

-- The reason of a decision that changed something.
local function decided(t, pattern)
    t:wait("a decision for " .. pattern, function()
        for _, d in ipairs(t:decisions()) do
            if d.result ~= d.was and (d.reason or ""):find(pattern) then
                return true
            end
        end
    end)
end

describe("examples/", function()
    it("all check", tidegate.test(function(t)
        local list = io.popen "ls examples"
        local count = 0
        for name in list:lines() do
            local path = ("%s/examples/%s/tidegate.lua"):format(os.getenv "PWD", name)
            if name == "edge" then
                path = copy(t, name)
                certify(t, t.dir .. "/edge")
            end
            local result = t:cli("check", path)
            assert.equal(0, result.code, name .. ": " .. result.err)
            count = count + 1
        end
        list:close()
        assert.is_true(count >= 8)
    end))

    it("quickstart: goes up under load and down behind it", tidegate.test(function(t)
        start(t, "quickstart")
        up(t, 2, 2)
        local load = t:load { path = "/work?cpu_ms=5", rate = 150, connections = 16 }
        up(t, 3, 6)
        decided(t, "CPU")
        local many = t:load { path = "/", rate = 300, connections = 4 }
        local alert = t:wait("the alert", function()
            for _, a in ipairs(t:ask("alerts").alerts) do
                if a.name == "ManyRequests" and a.state == "firing" then
                    return a
                end
            end
        end)
        assert.truthy(alert)
        assert.equal(0, load:stop().errors + many:stop().errors)
        up(t, 2, 2)
    end))

    it("edge: redirects, users, limits, a canary and CORS, by HTTP/2 over TLS", tidegate.test(function(t)
        local https = t:port "PORT2"
        local path = copy(t, "edge", { ["127.0.0.1:8080"] = "127.0.0.1:" .. t:port(),
            ["127.0.0.1:8443"] = "127.0.0.1:" .. https, ["port = 8443"] = "port = " .. https })
        certify(t, t.dir .. "/edge")
        t:start { config = path, args = { "--admin", "off" } }
        t:wait_up(2, "shop")
        t:wait_up(1, "shop-next")
        -- HTTP version, status and what follows of curl's own words.
        local function curl(url, options, format)
            local pipe = io.popen(("curl -s --cacert %s/edge/edge.pem -w '%%{http_version} %%{http_code} %s' -o %s/body %s %s"):format(
                t.dir, format or "", t.dir, options or "", url))
            local said = pipe:read "*a"
            pipe:close()
            return said
        end
        local at = ("https://localhost:%d"):format(https)
        assert.equal(("1.1 308 %s/x?y=1"):format(at), curl(("'http://localhost:%d/x?y=1'"):format(t:port()), "", "%{redirect_url}"))
        assert.equal("2 200 ", curl(at .. "/"))
        assert.equal("2 401 ", curl(at .. "/ops"))
        assert.equal("2 401 ", curl(at .. "/ops", "-u ops:wrong"))
        assert.equal("2 200 ", curl(at .. "/ops", "-u ops:tidegate"))
        assert.equal("2 200 ", curl(at .. "/", "-D " .. t.dir .. "/head -H 'X-Canary: 1'"))
        local head = tidegate.read_file(t.dir .. "/head")
        assert.matches("x%-instance: shop%-next%-1", head)
        assert.matches("strict%-transport%-security: max%-age=86400", head)
        local seen = {}
        for _ = 1, 14 do
            local said = curl(at .. "/login")
            seen[said] = (seen[said] or 0) + 1
        end
        assert.is_true(seen["2 200 "] >= 10 and (seen["2 429 "] or 0) >= 1, cjson.encode(seen))
        assert.equal("2 204 ", curl(at .. "/api/x", "-X OPTIONS -H 'Origin: https://www.shop.example' -H 'Access-Control-Request-Method: PUT'"))
        assert.equal("2 403 ", curl(at .. "/api/x", "-X OPTIONS -H 'Origin: https://evil.example' -H 'Access-Control-Request-Method: PUT'"))
        assert.equal("2 200 ", curl(at .. "/robots.txt"))
    end))

    it("data-locality: requests go where their data is", tidegate.test(function(t)
        start(t, "data-locality")
        local index_of = {}
        for id, instance in pairs(t:instances()) do
            index_of[id] = instance.index
        end
        local function asked(path, headers)
            local seen = {}
            for _ = 1, 30 do
                seen[index_of[t:get(path, { headers = headers }).headers["x-instance"]]] = true
            end
            return seen
        end
        assert.same({ [1] = true }, asked("/", { ["X-Dataset-Id"] = "orders" }))
        assert.same({ [3] = true }, asked("/", { ["X-Dataset-Id"] = "returns" }))
        assert.same({ [1] = true }, asked("/data/customers"))
        assert.is_nil(asked("/", { ["X-Dataset-Id"] = "clicks" })[1]) -- 2 or 3, whoever is faster
        assert.truthy(next(asked "/"))
    end))

    it("custom-scale: its spec passes, and its policy follows the load", tidegate.test(function(t)
        start(t, "custom-scale")
        local told = t:cli("policy", "test", "--least", "100", t.dir .. "/custom-scale/policies/scale/smooth_rate.lua")
        assert.equal(0, told.code, told.out .. told.err)
        up(t, 1, 1)
        local load = t:load { path = "/", rate = 180, connections = 4 }
        up(t, 3, 5)
        decided(t, "requests/s of late, 50 each")
        load:stop()
        up(t, 1, 1)
    end))

    it("webhook: a message when requests fail, and another when it is over", tidegate.test(function(t)
        local port = t:port "PORT2"
        local hook = t:run_beside("/usr/bin/luajit", "tests/support/receiver.lua", "http", port, "200")
        t:wait("the receiver", function()
            local probe = socket.tcp4()
            local ok = probe:connect("127.0.0.1", port)
            probe:close()
            return ok
        end)
        t.env.ALERT_URL = ("http://127.0.0.1:%d/alerts"):format(port)
        start(t, "webhook")
        local function message(beginning)
            return t:wait("a message " .. beginning, function()
                for line in (tidegate.read_file(hook.out) or ""):gmatch "[^\n]+" do
                    local got = cjson.decode(line)
                    if got.body:find(beginning, 1, true) then
                        return got
                    end
                end
            end)
        end
        local load = t:load { path = "/work", rate = 100, connections = 4 }
        local function all(path)
            for _, instance in pairs(t:instances()) do
                assert.equal(200, t:get(path, { method = "POST", port = tonumber(instance.address:match ":(%d+)$") }).status)
            end
        end
        all "/fail?rate=1"
        local got = message "firing: 100 % of the requests to data fail"
        assert.equal("shop", got.headers["x-team"])
        assert.matches("^POST /alerts", got.line)
        all "/fail?rate=0"
        message "resolved: "
        load:stop()
    end))

    it("batch-workers: more workers while jobs wait, one when they are done", tidegate.test(function(t)
        start(t, "batch-workers")
        up(t, 1, 1)
        local load = t:load { path = "/work?cpu_ms=20&records=1", rate = 0, connections = 40 }
        up(t, 3, 4)
        decided(t, "%d+ jobs wait, 10 for each")
        assert.equal(0, load:stop().errors)
        up(t, 1, 1)
        local told = t:cli("policy", "test", t.dir .. "/batch-workers/policies/scale/queue_length.lua")
        assert.equal(0, told.code, told.out .. told.err)
    end))
end)
