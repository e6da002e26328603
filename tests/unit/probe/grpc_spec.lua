-- The two messages of grpc.health.v1.
local C, ffi = require("ffi_room").load("base/str.h", "net/net.h", "probe/grpc.h")

describe("health by gRPC", function()
    it("asks for a service, or for the server", function()
        local to = ffi.new("char[?]", C.PROBE_GRPC_BYTES)
        local function asked(service)
            return ffi.string(to, C.probe_grpc_request(service, to))
        end
        assert.equal("\0\0\0\0\0", asked "")
        assert.equal("\0\0\0\0\10\10\8a.Health", asked "a.Health")
        local long = ("x"):rep(C.PROBE_GRPC_SERVICE_BYTES)
        assert.equal("\0\0\0\0\122\10\120" .. long, asked(long))
    end)

    it("understands every answer", function()
        local reason = ffi.new "char[256]"
        local function verdict(body, status, message, http)
            local answer = ffi.new "struct net_answer"
            answer.body, answer.body_len, answer.status = body, #body, http or 200
            answer.grpc_status, answer.grpc_message = status, message or ""
            local serving = C.probe_grpc_serving(answer, "a.B", reason, 256)
            return serving, ffi.string(reason)
        end
        assert.same({ true, "gRPC health: SERVING" }, { verdict("\0\0\0\0\2\8\1", "0") })
        assert.same({ false, "gRPC health: NOT_SERVING" }, { verdict("\0\0\0\0\2\8\2", "0") })
        assert.same({ false, "gRPC health: SERVICE_UNKNOWN" }, { verdict("\0\0\0\0\2\8\3", "0") })
        assert.same({ false, "gRPC health: UNKNOWN" }, { verdict("\0\0\0\0\0", "0") })
        for _, body in ipairs { "", "\0\0\0", "\1\0\0\0\2\8\1", "\0\0\0\0\2\8\4", "\0\0\0\0\2\8", "\0\0\0\0\2\16\1", "\0\0\0\0\3\8\1\0" } do
            assert.same({ false, "gRPC health: the answer is no HealthCheckResponse" }, { verdict(body, "0") })
        end
        assert.same({ false, 'gRPC health: NOT_FOUND, it knows no service "a.B"' }, { verdict("", "5") })
        assert.same({ false, "gRPC health: UNIMPLEMENTED, the server has no grpc.health.v1.Health" }, { verdict("", "12", "x") })
        assert.same({ false, "gRPC health: UNAVAILABLE, not now" }, { verdict("", "14", "not now") })
        assert.same({ false, "not an answer of gRPC: HTTP status 404" }, { verdict("", "", "", 404) })
    end)
end)
