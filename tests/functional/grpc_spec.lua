-- gRPC through the real binary: grpcio's servers behind it, its client and curl before it.
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
end)
