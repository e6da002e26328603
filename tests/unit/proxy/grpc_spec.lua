-- Calls of gRPC: deadlines, statuses, and another backend for UNAVAILABLE. The client speaks HTTP/1.1, the backends HTTP/2.
local h2 = require "h2_backend"
local proxied = require "proxied"

describe("a call of gRPC", function()
    local w

    local function start(options)
        options = options or {}
        options.route = options.route or {}
        options.route.protocol = "h2c"
        w = proxied.start(options)
        return w
    end

    after_each(function()
        w = proxied.finish(w)
    end)

    local function call(more, body)
        local c = w:client()
        body = body or "\0\0\0\0\2hi"
        c:send("POST /echo.Echo/Unary HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc+proto\r\n"
            .. "TE: trailers\r\nConnection: te\r\nContent-Length: " .. #body .. "\r\n" .. (more or "") .. "\r\n" .. body)
        return c
    end

    -- Status of the head, grpc-status, grpc-message.
    local function told(c)
        local status, head = c:answer()
        assert.matches("Content%-Type: application/grpc\r\n", head)
        return status, tonumber(head:match "grpc%-status: (%d+)\r\n"), head:match "grpc%-message: ([^\r]*)\r\n"
    end

    local function serve(i)
        w.links = w.links or {}
        w.links[i] = w.links[i] or h2.serve(w:accept(i))
        return w.links[i]
    end

    -- Trailers-Only, in one frame or in two.
    local function unavailable(b, id, apart)
        local status = { { "grpc-status", 14 }, { "grpc-message", "not now" } }
        if apart then
            b:at_once(function()
                b:headers(id, { { ":status", 200 }, { "content-type", "application/grpc" } })
                b:headers(id, status, true)
            end)
        else
            b:headers(id, { { ":status", 200 }, { "content-type", "application/grpc" }, status[1], status[2] }, true)
        end
    end

    it("gets our own answers as a status of gRPC", function()
        start { route = { max_retries = 0, more = { max_body_bytes = 10 } } }
        local c = call(nil, ("x"):rep(11))
        local status = c:answer() -- before there is an exchange it is plain HTTP to a client of HTTP/1.1
        assert.equal(413, status)
        c = call("grpc-timeout: soon\r\n")
        status = { told(c) }
        assert.same({ 200, 13, "grpc-timeout is not a deadline" }, status)
        w:roster {}
        w:must(w:configure { { protocol = "h2c", more = { queue = { when_down = false, limit = 1, timeout_ms = 1 } } } })
        w:must "commit"
        assert.same({ 200, 14, "no backend is ready" }, { told(call()) })
    end)

    it("ends with its deadline, which goes on to the backend and tells nothing against it", function()
        start()
        local calls = {}
        for i, text in ipairs { "90m", "30m", "60m", "5S" } do
            calls[i] = call("grpc-timeout: " .. text .. "\r\n")
        end
        local b = serve(1)
        local seen, last = {}, nil
        for _ = 1, 4 do
            local r = b:request()
            seen[r["grpc-timeout"]] = true
            last = r["grpc-timeout"] == "5S" and r.id or last
        end
        assert.same({ ["90m"] = true, ["30m"] = true, ["60m"] = true, ["5S"] = true }, seen)
        for i = 1, 3 do
            assert.same({ 200, 4, "the deadline of the call is over" }, { told(calls[i]) })
        end
        for _ = 1, 3 do
            assert.equal(h2.CANCEL, b:await(h2.RST_STREAM).payload:byte(4))
        end
        assert.equal(0, tonumber(w:row(1).consecutive_failures))
        b:headers(last, { { ":status", 200 }, { "grpc-status", 0 } }, true)
        assert.equal(200, (calls[4]:answer()))
    end)

    it("is asked of another backend when one is unavailable and said nothing else", function()
        for _, apart in ipairs { false, true } do
            start { backends = 2 }
            local c = call()
            local conn, first = w:accept_any()
            w.links = { [first] = h2.serve(conn) }
            local b = serve(first)
            local r = b:request()
            assert.equal("\0\0\0\0\2hi", b:body(r.id))
            unavailable(b, r.id, apart)
            local other = serve(3 - first)
            local r2 = other:request()
            assert.equal("\0\0\0\0\2hi", other:body(r2.id))
            other:headers(r2.id, { { ":status", 200 }, { "content-type", "application/grpc" } })
            other:data(r2.id, "\0\0\0\0\2yo")
            other:headers(r2.id, { { "grpc-status", 0 } }, true)
            local status, _, body = c:answer()
            assert.same({ 200, nil }, { status, body }) -- `answer` reads no trailers
            assert.equal(1, tonumber(w:row(first).retries))
            w = proxied.finish(w)
        end
    end)

    it("is told of unavailability when there is no other backend, or after a message", function()
        start { backends = 1 }
        local c = call()
        local b = serve(1)
        unavailable(b, b:request().id)
        local _, head = c:answer()
        assert.matches("grpc%-message: not now\r\n", head)
        w = proxied.finish(w)
        start { backends = 2 }
        c = call()
        local conn, first = w:accept_any()
        b = h2.serve(conn)
        local r = b:request()
        b:headers(r.id, { { ":status", 200 }, { "content-type", "application/grpc" } })
        b:data(r.id, "\0\0\0\0\1a")
        b:headers(r.id, { { "grpc-status", 14 } }, true)
        assert.matches("^HTTP/1.1 200", (c:read_head()))
        local rest = "6\r\n\0\0\0\0\1a\r\n0\r\ngrpc-status: 14\r\n\r\n"
        assert.equal(rest, c:read(#rest))
        assert.is_true(w:unwanted(3 - first))
    end)

    it("has its trailers also behind a body whose length was said", function()
        start()
        local c = call()
        local b = serve(1)
        local r = b:request()
        b:headers(r.id, { { ":status", 200 }, { "content-length", 6 } })
        b:data(r.id, "\0\0\0\0\1a")
        local head = c:read_head()
        assert.matches("Transfer%-Encoding: chunked", head)
        assert.not_matches("[Cc]ontent%-[Ll]ength", head)
        b:headers(r.id, { { "grpc-status", 0 } }, true)
        local rest = "6\r\n\0\0\0\0\1a\r\n0\r\ngrpc-status: 0\r\n\r\n"
        assert.equal(rest, c:read(#rest))
    end)

    it("that fails counts for the circuit, in the head or in trailers", function()
        for _, case in ipairs { { 14, true }, { 2, true }, { 13, true }, { 5, false }, { 12, false } } do
            for _, late in ipairs { false, true } do
                start { route = { max_retries = 0, more = { circuit_breaker = { failure_threshold = 3, recovery_timeout_ms = 60000,
                    success_threshold = 1, minimum_requests = 100, explicit = true } } } }
                local b
                local opened = false
                for _ = 1, 10 do
                    opened = w:tell("news"):find("circuit_opened", 1, true) ~= nil
                    if opened then
                        break
                    end
                    local c = call()
                    b = b or h2.serve(w:accept(1))
                    local r = b:request()
                    b:body(r.id)
                    if late then
                        b:headers(r.id, { { ":status", 200 } })
                        b:data(r.id, "\0\0\0\0\0")
                        c:read_head()
                        c:read(#"5\r\n\0\0\0\0\0\r\n")
                        b:headers(r.id, { { "grpc-status", case[1] } }, true)
                        c:read(#"0\r\n" + #("grpc-status: " .. case[1]) + 4)
                    else
                        b:headers(r.id, { { ":status", 200 }, { "grpc-status", case[1] } }, true)
                        c:answer()
                    end
                    c:close()
                end
                local text = ("status %d, late %s"):format(case[1], tostring(late))
                assert.equal(case[2], opened, text)
                w = proxied.finish(w)
            end
        end
    end)

    it("may be quiet for longer than other clients while it streams", function()
        start { route = { client_timeout_ms = 60, more = { idle_timeout_ms = 5000 } } }
        local c = w:client()
        c:send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n"
            .. "5\r\n\0\0\0\0\0\r\n")
        local b = serve(1)
        local r = b:request()
        b:await(h2.DATA, r.id)
        assert.is_true(c:silent(0.3))
        c:send "5\r\n\0\0\0\0\0\r\n0\r\n\r\n"
        b:body(r.id)
        b:headers(r.id, { { ":status", 200 }, { "grpc-status", 0 } }, true)
        assert.equal(200, (c:answer()))
    end)
end)
