-- Who is let through routes, with the real binary.
local readme = require "readme"
local socket = require "socket"
local tidegate = require "tidegate"

describe("Guarding routes", function()
    it("README.md shows what check takes", tidegate.test(function(t)
        t:write("users.htpasswd", "alice:$2y$05$iMimRCOTlJmZrFSqWyVT.eBVdmxKrBwGCBihbXuqPvA6n7YOwjf0W\n")
        for i, text in ipairs(readme.configurations "Guarding routes") do
            t:write("shown.lua", (text:gsub("@", "@@")))
            local result = t:cli("check", t.dir .. "/shown.lua")
            assert.equal(0, result.code, ("block %d: %s\n%s"):format(i, result.err, text))
        end
    end))
end)

describe("a rate limit", function()
    local LIMITED = [[
service "limited" {
  route = {
    { listen = "127.0.0.1:@PORT@", path = "/often", answer = "ok", rate_limit = { rate = @RATE@, burst = 1000, by = "route" } },
    { listen = "127.0.0.1:@PORT@", path = "/seldom", answer = "ok", rate_limit = { rate = 1, per = "1h", burst = 40, by = "address" } },
  },
}]]

    -- So many requests at once on each of 8 connections: how many of them were let through.
    local function volley(conns, path, each)
        local request, through = ("GET %s HTTP/1.1\r\nHost: a\r\n\r\n"):format(path):rep(each), 0
        for _, conn in ipairs(conns) do
            assert(conn:send(request))
        end
        for _, conn in ipairs(conns) do
            for _ = 1, each do
                local status, length = assert(conn:receive "*l"):match "^HTTP/1.1 (%d+)", 0
                assert(status == "200" or status == "429", status)
                through = through + (status == "200" and 1 or 0)
                repeat
                    local line = assert(conn:receive "*l")
                    length = tonumber(line:match "^Content%-Length: (%d+)") or length
                until line == ""
                assert(conn:receive(length))
            end
        end
        return through
    end

    local function connect(t, count)
        local conns = {}
        for i = 1, count do
            conns[i] = assert(socket.connect("127.0.0.1", t:port()))
            conns[i]:settimeout(10)
        end
        return conns
    end

    it("lets burst and rate through within 1 %, over four workers", tidegate.test(function(t)
        t:write("tidegate.lua", 'cluster { id = "@ID@", engine = "process", workers = 4, admin = false }\n' .. LIMITED, { RATE = 1000 })
        t:start()
        local conns = connect(t, 16)
        local began, through, asked, last = socket.gettime(), 0, 0
        repeat
            last = socket.gettime()
            through = through + volley(conns, "/often", 20)
            asked = asked + 16 * 20
        until last - began > 3
        -- What is let through between the last look at the clock and the last answer may be either.
        local least, most = 1000 + 1000 * (last - began), 1000 + 1000 * (socket.gettime() - began)
        assert.is_true(asked > 1.5 * most, asked .. " asked")
        assert.is_true(through >= 0.99 * least and through <= 1.01 * most,
            ("%d, not %d to %d"):format(through, least, most))
        local used = 0
        for _, worker in ipairs(t:status().workers) do
            used = used + (worker.pid > 0 and 1 or 0)
        end
        assert.equal(4, used)
        for _, conn in ipairs(conns) do
            conn:close()
        end
    end))

    it("goes on counting over a reload and the death of a worker", tidegate.test(function(t)
        local admin = { RATE = 1000, CLUSTER = ('admin = "127.0.0.1:%d"'):format(t:port "ADMIN") }
        t:write("tidegate.lua", 'cluster { id = "@ID@", engine = "process", workers = 2, @CLUSTER@ }\n' .. LIMITED, admin)
        t:start()
        local conns = connect(t, 4)
        assert.equal(20, volley(conns, "/seldom", 5))
        admin.RATE = 900
        t:write("tidegate.lua", 'cluster { id = "@ID@", engine = "process", workers = 2, @CLUSTER@ }\n' .. LIMITED, admin)
        assert.equal(0, t:cli("reload").code)
        assert.equal(12, volley(conns, "/seldom", 3))
        local pid = t:status().workers[1].pid
        t:kill(pid)
        t:wait("another worker", function()
            local now = t:status().workers[1].pid
            return now > 0 and now ~= pid
        end)
        for _, conn in ipairs(conns) do
            conn:close()
        end
        conns = connect(t, 4)
        assert.equal(8, volley(conns, "/seldom", 4)) -- of 40 in all
        assert.equal(0, volley(conns, "/seldom", 2))
        for _, conn in ipairs(conns) do
            conn:close()
        end
        local answer = t:get "/seldom"
        assert.same({ 429, "40", "0", "1;w=3600;burst=40" }, { answer.status, answer.headers["ratelimit-limit"],
            answer.headers["ratelimit-remaining"], answer.headers["ratelimit-policy"] })
        assert.is_true(tonumber(answer.headers["retry-after"]) > 3500)
        local page = t:get("/metrics", { port = t:port "ADMIN" }).body
        local counted = 0
        for number in page:gmatch "tidegate_rate_limited_total{[^}]*} (%d+)" do
            counted = counted + tonumber(number)
        end
        assert.is_true(counted > 0, page)
    end))
end)

describe("basic_auth", function()
    local function authorization(text)
        local pipe = io.popen(("printf %%s '%s' | base64 -w 0"):format(text))
        local out = pipe:read "*a"
        pipe:close()
        return { Authorization = "Basic " .. out }
    end

    it("lets in the users of a file, a new one after a reload, and tells the log who came", tidegate.test(function(t)
        t:run_beside(tidegate.service, "--name", "shop", "--host", "127.0.0.1", "--port", t:port "PORT2")
        local function write(users)
            local file = assert(io.open(t.dir .. "/users.htpasswd", "w"))
            for user, password in pairs(users) do
                local pipe = io.popen(("htpasswd -nbB %s '%s'"):format(user, password))
                file:write(pipe:read "*l", "\n")
                pipe:close()
            end
            file:close()
        end
        write { alice = "s3cret word" }
        t:configure([[
service "shop" {
  backends = { "127.0.0.1:@PORT2@" },
  health_check = { http = "/health", interval = "100ms" },
  route = { listen = "127.0.0.1:@PORT@", basic_auth = { file = "users.htpasswd", realm = "ops" } },
}]], { CLUSTER = ('access_log = { path = "%s/access.log", format = "combined" }'):format(t.dir) })
        t:start()
        local answer = t:get "/work"
        assert.same({ 401, 'Basic realm="ops", charset="UTF-8"' }, { answer.status, answer.headers["www-authenticate"] })
        assert.equal(401, t:get("/work", { headers = authorization "alice:wrong" }).status)
        assert.equal(401, t:get("/work", { headers = authorization "bob:hello" }).status)
        assert.equal(200, t:get("/work", { headers = authorization "alice:s3cret word" }).status)

        write { bob = "hello" }
        assert.equal(0, t:cli("reload").code)
        assert.equal(401, t:get("/work", { headers = authorization "alice:s3cret word" }).status)
        assert.equal(200, t:get("/work", { headers = authorization "bob:hello" }).status)

        local file = assert(io.open(t.dir .. "/users.htpasswd", "a"))
        file:write "carol:plain\n"
        file:close()
        local result = t:cli "reload"
        assert.not_equal(0, result.code)
        assert.truthy(result.err:find("users.htpasswd:2: this is no hash but a password in plain text", 1, true), result.err)
        assert.equal(200, t:get("/work", { headers = authorization "bob:hello" }).status)

        t:wait("lines of the access log", function()
            local log = io.open(t.dir .. "/access.log")
            local text = log and log:read "*a" or ""
            if log then
                log:close()
            end
            return text:find '127.0.0.1 %- alice %[[^%]]+%] "GET /work HTTP/1.1" 200 ' and
                text:find '127.0.0.1 %- bob %[' and text:find '127.0.0.1 %- %- %[[^%]]+%] "GET /work HTTP/1.1" 401 '
        end)
    end))
end)

describe("compress", function()
    it("gives each client what it takes", tidegate.test(function(t)
        t:run_beside(tidegate.service, "--name", "shop", "--host", "127.0.0.1", "--port", t:port "PORT2")
        t:configure [[
service "shop" {
  backends = { "127.0.0.1:@PORT2@" },
  health_check = { http = "/health", interval = "100ms" },
  route = { listen = "127.0.0.1:@PORT@", compress = { types = { "text/", "application/json" }, min = 0 } },
}]]
        t:start()
        local plain = t:get("/work", {})
        assert.equal(200, plain.status)
        assert.is_nil(plain.headers["content-encoding"])
        assert.equal("Accept-Encoding", plain.headers.vary)
        for coding, program in pairs { gzip = "gzip", br = "brotli" } do
            local answer = t:get("/work", { headers = { ["Accept-Encoding"] = coding } })
            assert.same({ 200, coding }, { answer.status, answer.headers["content-encoding"] })
            local path = t.dir .. "/body"
            local file = assert(io.open(path, "wb"))
            file:write(answer.body)
            file:close()
            local pipe = io.popen(("%s -dc <'%s'"):format(program, path))
            local body = pipe:read "*a"
            pipe:close()
            assert.truthy(#body > 0 and body:sub(1, 1) == plain.body:sub(1, 1), body)
        end
    end))
end)

describe("forward_auth and mirror", function()
    it("ask a service, and send copies to another", tidegate.test(function(t)
        for name, port in pairs { shop = "PORT2", auth = "PORT3", next = "PORT4" } do
            t:run_beside(tidegate.service, "--name", name, "--host", "127.0.0.1", "--port", t:port(port))
        end
        local admin = { CLUSTER = ('admin = "127.0.0.1:%d"'):format(t:port "ADMIN") }
        t:write("tidegate.lua", [[
cluster { id = "@ID@", engine = "process", workers = 2, sample_interval = "100ms", health_check_interval = "100ms", @CLUSTER@ }
service "auth" { backends = { "127.0.0.1:@PORT3@" }, health_check = { http = "/health", interval = "100ms" } }
service "next" { backends = { "127.0.0.1:@PORT4@" }, health_check = { http = "/health", interval = "100ms" } }
service "shop" {
  backends = { "127.0.0.1:@PORT2@" },
  health_check = { http = "/health", interval = "100ms" },
  route = {
    { listen = "127.0.0.1:@PORT@", forward_auth = { service = "auth", path = "/work" }, mirror = { service = "next" } },
    { listen = "127.0.0.1:@PORT@", path = "/closed", forward_auth = { service = "auth", path = "/nothing/here" } },
  },
}]], admin)
        t:start()
        t:wait("all services", function()
            local answer = t:get "/work"
            return answer and answer.status == 200
        end)
        local function metric(name)
            local sum = 0
            for number in t:get("/metrics", { port = t:port "ADMIN" }).body:gmatch(name .. "{[^}]*} (%d+)") do
                sum = sum + tonumber(number)
            end
            return sum
        end
        local before = metric "tidegate_mirrored_total"
        for _ = 1, 20 do
            local answer = t:get "/work"
            assert.equal(200, answer.status)
        end
        t:wait("copies", function()
            return metric "tidegate_mirrored_total" >= before + 20
        end)
        assert.equal(502, t:get("/closed").status)
        assert.is_true(metric "tidegate_auth_errors_total" >= 1)
        assert.equal(0, t:cli("reload").code)
        assert.equal(200, t:get("/work").status)
    end))
end)

describe("what guards routes", function()
    it("is the same for HTTP/2", tidegate.test(function(t)
        t:run_beside(tidegate.service, "--name", "shop", "--host", "127.0.0.1", "--port", t:port "PORT2")
        t:write("users.htpasswd", "bob:$2y$05$iMimRCOTlJmZrFSqWyVT.eBVdmxKrBwGCBihbXuqPvA6n7YOwjf0W\n")
        t:configure [[
service "shop" {
  backends = { "127.0.0.1:@PORT2@" },
  health_check = { http = "/health", interval = "100ms" },
  route = {
    { listen = "127.0.0.1:@PORT@", basic_auth = "users.htpasswd", compress = { types = { "text/", "application/json" }, min = 0 } },
    { listen = "127.0.0.1:@PORT@", path = "/limited", answer = "ok", rate_limit = { rate = 1, per = "1h", burst = 1 } },
  },
}]]
        t:start()
        local function curl(arguments)
            local pipe = io.popen(("curl -s --http2-prior-knowledge --max-time 10 %s http://127.0.0.1:%d%s"):format(
                arguments[1], t:port(), arguments[2]))
            local out = pipe:read "*a"
            pipe:close()
            return (out:gsub("\r", ""))
        end
        t:wait("the backend", function()
            return curl { "-u 'bob:s3cret word' -o /dev/null -w '%{http_code}'", "/work" } == "200"
        end)
        local head = curl { "-D- -o /dev/null -u 'bob:s3cret word' -H 'Accept-Encoding: gzip'", "/work" }
        assert.truthy(head:find "^HTTP/2 200" and head:find("\ncontent-encoding: gzip\n", 1, true), head)
        assert.equal(curl { "-u 'bob:s3cret word'", "/work" }, curl { "-u 'bob:s3cret word' --compressed", "/work" })
        head = curl { "-D- -o /dev/null -u bob:wrong", "/work" }
        assert.truthy(head:find "^HTTP/2 401" and head:find("\nwww-authenticate: Basic ", 1, true), head)
        -- The body waits with the request: another password, so that it is not known yet.
        local status = curl { ("-o /dev/null -w '%%{http_code}' -u bob:no -d '%s'"):format(("x"):rep(3000)), "/work" }
        assert.equal("401", status)
        assert.equal("200", curl { "-o /dev/null -w '%{http_code}'", "/limited" })
        head = curl { "-D- -o /dev/null", "/limited" }
        assert.truthy(head:find "^HTTP/2 429" and head:find "\nratelimit%-remaining: 0\n" and head:find "\nretry%-after: %d+\n", head)
    end))
end)
