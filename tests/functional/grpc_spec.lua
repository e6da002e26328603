-- gRPC through the real binary: grpcio's servers behind it, its client and curl before it.
local certificates = require "certificates"
local grpc = require "grpc"
local tidegate = require "tidegate"

local missing = grpc.missing()
local test = missing and function()
    return function()
        pending(missing)
    end
end or tidegate.test

-- A message as it goes over the wire.
local function framed(message)
    return "\0" .. string.char(0, 0, 0, #message) .. message
end

describe("gRPC", function()
    local peer

    setup(function()
        peer = not missing and grpc.new() or nil
    end)

    teardown(function()
        if peer then
            peer:close()
        end
    end)

    local function serve(t, name, key)
        local port = t.ports[key] or t:port(key)
        peer:ask { ["do"] = "serve", port = port, name = name }
        return port
    end

    local function stop(...)
        for _, port in ipairs { ... } do
            peer:ask { ["do"] = "stop", port = port, grace = 0 }
        end
    end

    it("passes a call of an HTTP/1.1 client with its trailers", test(function(t)
        local port = serve(t, "http1", "PORT2")
        t:configure [[
service "echo" { backends = { "127.0.0.1:@PORT2@" }, protocol = "h2c",
  route = { listen = "127.0.0.1:@PORT@" } }]]
        t:start()
        t:write("call", framed "hello")
        local out = assert(io.popen(("curl -sS --raw -i --http1.1 -H 'TE: trailers' -H 'Connection: TE' "
            .. "-H 'Content-Type: application/grpc' --data-binary @%s/call http://127.0.0.1:%d/echo.Echo/Unary")
            :format(t.dir, t.ports.PORT)))
        local text = out:read "*a"
        out:close()
        assert.matches("^HTTP/1.1 200 OK\r\n", text)
        assert.matches("content%-type: application/grpc\r\n", text)
        assert.truthy(text:find(framed "http1:hello", 1, true), text)
        assert.matches("\r\n0\r\n.*grpc%-status: 0\r\n", text)
        assert.matches("\r\n0\r\n.*x%-server: http1\r\n", text)
        stop(port)
    end))

    -- A call through the daemon; what it came to.
    local function call(t, order)
        order["do"], order.target = "call", "127.0.0.1:" .. t.ports.PORT
        order.timeout = order.timeout or 20
        return peer:ask(order)
    end

    local function seen(name)
        return peer:ask { ["do"] = "seen", name = name }
    end

    local function one_backend(t, name, route)
        serve(t, name, "PORT2")
        t:configure(([[
service "echo" { backends = { "127.0.0.1:@PORT2@" }, protocol = "h2c",
  route = { listen = "127.0.0.1:@PORT@", %s } }]]):format(route or ""))
        t:start()
    end

    local function two_backends(t, a, b, route)
        serve(t, a, "PORT2")
        serve(t, b, "PORT3")
        t:configure(([[
service "echo" { backends = { "127.0.0.1:@PORT2@", "127.0.0.1:@PORT3@" }, protocol = "h2c",
  health_check = { tcp = true, interval = "50ms", retries = 2 },
  route = { listen = "127.0.0.1:@PORT@", balance = "round_robin", %s } }]]):format(route or ""))
        t:start()
    end

    it("passes calls of all four kinds with their metadata", test(function(t)
        one_backend(t, "kinds")
        local r = call(t, { method = "Unary", body = "hi", metadata = { ["x-mine"] = "1" } })
        assert.same({ "OK", { "kinds:hi" } }, { r.code, r.messages })
        assert.equal("kinds", r.trailing["x-server"])
        assert.equal("00ff", r.trailing["x-bytes-bin"])
        r = call(t, { method = "ServerStream", body = "s", metadata = { times = 4, delay = 0.05 } })
        assert.same({ "OK", { "0:s", "1:s", "2:s", "3:s" } }, { r.code, r.messages })
        assert.equal("kinds", r.trailing["x-server"])
        r = call(t, { method = "ClientStream", body = "abc", messages = 50 })
        assert.same({ "OK", { "50 messages, 150 bytes" } }, { r.code, r.messages })
        r = call(t, { method = "Bidi", body = "b", messages = 3 })
        assert.same({ "OK", { "kinds:b", "kinds:b", "kinds:b" } }, { r.code, r.messages })
        r = call(t, { method = "Unary", metadata = { fail = 5 } })
        assert.same({ "NOT_FOUND", "told to: 100% \195\188ber" }, { r.code, r.details })
        r = call(t, { method = "Missing", body = "" })
        assert.equal("UNIMPLEMENTED", r.code)
        stop(t.ports.PORT2)
    end))

    it("lets both sides talk in turn", test(function(t)
        one_backend(t, "pingpong")
        peer:ask { ["do"] = "open", id = "x", target = "127.0.0.1:" .. t.ports.PORT, timeout = 30 }
        for i = 1, 20 do
            peer:ask { ["do"] = "send", id = "x", body = "m" .. i }
            assert.equal("pingpong:m" .. i, peer:ask({ ["do"] = "receive", id = "x" }).message)
        end
        local told = peer:ask { ["do"] = "end", id = "x" }
        assert.same({ "OK", {} }, { told.code, told.messages })
        stop(t.ports.PORT2)
    end))

    it("ends at its deadline, and the backend knows of it", test(function(t)
        one_backend(t, "late")
        local r = call(t, { method = "Unary", timeout = 0.4, metadata = { sleep = 20 } })
        assert.equal("DEADLINE_EXCEEDED", r.code)
        t:wait("the backend to be told", function()
            return seen("late").cancelled == 1
        end)
        local deadline = seen("late").deadlines[1]
        assert.is_true(deadline > 0 and deadline <= 0.41, deadline)
        r = call(t, { method = "ServerStream", timeout = 0.5, metadata = { times = 100, delay = 0.1 } })
        assert.equal("DEADLINE_EXCEEDED", r.code)
        assert.is_true(#r.messages >= 1)
        stop(t.ports.PORT2)
    end))

    it("is cancelled at the backend when its client gives up", test(function(t)
        one_backend(t, "cancelled")
        peer:ask { ["do"] = "open", id = "c", target = "127.0.0.1:" .. t.ports.PORT }
        peer:ask { ["do"] = "send", id = "c", body = "one" }
        assert.equal("cancelled:one", peer:ask({ ["do"] = "receive", id = "c" }).message)
        peer:ask { ["do"] = "cancel", id = "c" }
        -- It waits for messages: only the end of the call ends it, which grpcio does not always tell as a cancellation.
        t:wait("the backend to be told", function()
            local told = seen "cancelled"
            return told.cancelled + told.finished == 1
        end)
        peer:ask { ["do"] = "end", id = "c" }
        stop(t.ports.PORT2)
    end))

    it("goes to another backend when one is unavailable", test(function(t)
        two_backends(t, "busy", "idle")
        for i = 1, 6 do
            local r = call(t, { method = "Unary", body = "x",
                metadata = { fail = 14, fail_first = "k" .. i, fail_times = 0 } })
            assert.equal("OK", r.code)
        end
        -- Each backend fails the first call of a key that it sees, so all calls need a third try: there is none.
        local r = call(t, { method = "Unary", body = "x", metadata = { fail = 14, fail_first = "both" } })
        assert.equal("UNAVAILABLE", r.code)
        local before = seen("busy").started + seen("idle").started
        r = call(t, { method = "Unary", body = "x", metadata = { fail = 13 } })
        assert.equal("INTERNAL", r.code)
        assert.equal(before + 1, seen("busy").started + seen("idle").started)
        -- In the middle of a stream nothing is repeated.
        r = call(t, { method = "ServerStream", metadata = { times = 5, fail_after = 2 } })
        assert.same({ "UNAVAILABLE", 2, "in the middle" }, { r.code, #r.messages, r.details })
        stop(t.ports.PORT2, t.ports.PORT3)
    end))

    it("is answered by a status of its own when nobody can have it", test(function(t)
        t:port "PORT2"
        t:configure [[
service "echo" { backends = { "127.0.0.1:@PORT2@" }, protocol = "h2c", health_check = false,
  route = { listen = "127.0.0.1:@PORT@", host = "127.0.0.1", path = "/echo.Echo/Unary", queue = false, circuit_breaker = false } }]]
        t:start()
        local r = call(t, { method = "Unary" })
        assert.same({ "UNAVAILABLE", "no backend answered" }, { r.code, r.details })
        r = call(t, { method = "Bidi" })
        assert.same({ "UNIMPLEMENTED", "no service is here" }, { r.code, r.details })
    end))

    it("passes large messages past a slow reader in bounded memory", test(function(t)
        one_backend(t, "large")
        local function resident()
            local most = 0
            for _, worker in ipairs(t:status().workers) do
                local text = tidegate.read_file("/proc/" .. worker.pid .. "/status")
                most = math.max(most, tonumber(text:match "VmHWM:%s+(%d+) kB"))
            end
            return most
        end
        local before = resident()
        local r = call(t, { method = "Unary", metadata = { size = 10000000 } })
        assert.same({ "OK", { 10000000 } }, { r.code, r.messages })
        r = call(t, { method = "ServerStream", slow = 0.1, metadata = { times = 4, size = 10000000 } })
        assert.same({ "OK", 4 }, { r.code, #r.messages })
        r = call(t, { method = "ClientStream", bytes = 10000000, messages = 3 })
        assert.same({ "OK", { "3 messages, 30000000 bytes" } }, { r.code, r.messages })
        local grown = resident() - before
        assert.is_true(grown < 6000, grown .. " kB more than before")
        stop(t.ports.PORT2)
    end))

    it("reaches a canary, also of a service that speaks another protocol", test(function(t)
        serve(t, "canary", "PORT2")
        t:run_beside(tidegate.service, "--name", "old", "--host", "127.0.0.1", "--port", t:port "PORT3")
        t:configure [[
service "old" { backends = { "127.0.0.1:@PORT3@" },
  route = { listen = "127.0.0.1:@PORT@", canary = { service = "new", percent = 0, header = "x-canary", value = "1" } } }
service "new" { backends = { "127.0.0.1:@PORT2@" }, protocol = "h2c" }]]
        t:start()
        for _ = 1, 3 do
            assert.same({ "canary:x" }, call(t, { method = "Unary", body = "x", metadata = { ["x-canary"] = "1" } }).messages)
            assert.equal("old", assert(t:get "/").headers["x-instance"])
        end
        stop(t.ports.PORT2)
    end))

    it("never hangs while a server is restarted under load", test(function(t)
        two_backends(t, "stays", "restarts")
        peer:tell { ["do"] = "load", target = "127.0.0.1:" .. t.ports.PORT, seconds = 3, threads = 4,
            restart = { port = t.ports.PORT3, name = "restarts", grace = 2 } }
        local told = peer:answer()
        -- grpcio itself cancels what reaches it while it stops.
        local cut, others = (told.codes.UNAVAILABLE or 0) + (told.codes.CANCELLED or 0), 0
        for code, count in pairs(told.codes) do
            others = others + ((code == "OK" or code == "UNAVAILABLE" or code == "CANCELLED") and 0 or count)
        end
        assert.equal(0, others, tidegate.json.encode(told))
        assert.is_true(told.codes.OK > 100 and cut < 20, tidegate.json.encode(told))
        assert.is_true(told.longest < 5, told.longest)
        stop(t.ports.PORT2, t.ports.PORT3)
    end))

    it("decides on health by grpc.health.v1", test(function(t)
        serve(t, "well", "PORT2")
        t:configure [[
service "echo" { backends = { "127.0.0.1:@PORT2@" }, protocol = "h2c",
  health_check = { grpc = "echo.Echo", interval = "50ms", retries = 2 },
  route = { listen = "127.0.0.1:@PORT@", queue = false } }]]
        t:start()
        local function reason()
            local _, instance = next(t:instances())
            return instance.reason or ""
        end
        assert.equal("OK", call(t, { method = "Unary" }).code)
        assert.matches("gRPC health: SERVING", reason())
        peer:ask { ["do"] = "health", name = "well", status = 2 }
        t:wait("NOT_SERVING to be told", function()
            return t:of().up == 0 and reason():find("gRPC health: NOT_SERVING", 1, true)
        end)
        assert.same({ "UNAVAILABLE", "no backend is ready" },
            { call(t, { method = "Unary" }).code, call(t, { method = "Unary" }).details })
        peer:ask { ["do"] = "health", name = "well", status = 1 }
        t:wait("it to return", function()
            return t:of().up == 1
        end)
        peer:ask { ["do"] = "health", name = "well", status = 0 }
        t:wait("NOT_FOUND to be told", function()
            return reason():find('gRPC health: NOT_FOUND, it knows no service "echo.Echo"', 1, true)
        end)
        stop(t.ports.PORT2)
    end))

    it("goes over TLS on both sides", test(function(t)
        local store = certificates.new(t.dir .. "/tls")
        local root = store:authority "Root"
        store:make { file = "echo", names = { "echo.example", "127.0.0.1", "localhost" }, by = root }
        peer:ask { ["do"] = "serve", port = t:port "PORT2", name = "secure", certificate = t.dir .. "/tls/echo.pem",
            key = t.dir .. "/tls/echo.key" }
        t:configure([[
service "echo" { backends = { "127.0.0.1:@PORT2@" }, protocol = "h2",
  upstream_tls = { ca = "@CA@", name = "echo.example" },
  health_check = { grpc = "", interval = "50ms" },
  route = { listen = "https://127.0.0.1:@PORT@", tls = { certificate = "tls/echo.pem", key = "tls/echo.key" } } }]],
            { CA = root.certificate })
        t:start()
        local r = call(t, { method = "Unary", body = "hi", ca = root.certificate })
        assert.same({ "OK", { "secure:hi" } }, { r.code, r.messages }, r.details)
        r = call(t, { method = "Bidi", body = "b", messages = 3, ca = root.certificate })
        assert.same({ "OK", { "secure:b", "secure:b", "secure:b" } }, { r.code, r.messages })
        r = call(t, { method = "Unary", metadata = { size = 5000000 }, ca = root.certificate })
        assert.same({ "OK", { 5000000 } }, { r.code, r.messages })
        local _, instance = next(t:instances())
        assert.matches("gRPC health: SERVING", instance.reason)
        stop(t.ports.PORT2)
    end))
end)
