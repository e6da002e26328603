local loop = require "loop"
local C, ffi, E = loop.C, loop.ffi, loop.E

ffi.cdef [[
int net_curl_load(const char *name, void *ret_curl, char **reterr);
void mem_free(void *ptr);
]]

describe("net/curl", function()
    local function load(name)
        local err = ffi.new "char *[1]"
        local rc = C.net_curl_load(name, ffi.new "char[1024]", err)
        local text = err[0] ~= nil and ffi.string(err[0]) or ""
        C.mem_free(err[0])
        return rc, text
    end

    it("says what is missing", function()
        local rc, text = load "libcurl.so.999"
        assert.equal(-79, rc) -- ELIBACC
        assert.matches("^libcurl could not be loaded: libcurl.so.999: .*; install it %(Debian: libcurl4", text)
        rc, text = load "libm.so.6"
        assert.equal(-79, rc)
        assert.matches("^libcurl is not one that fits: .*curl_global_init", text)
    end)
    it("loads it under its usual name", function()
        assert.same({ 0, "" }, { load(nil) })
    end)
end)

describe("net/client", function()
    local run, client, server

    before_each(function()
        run = loop.new()
        local ret = ffi.new "struct net_client *[1]"
        assert.equal(0, C.net_client_new(run:uv(), ret, ffi.new "char *[1]"))
        client = ret[0]
        server = run:server()
    end)

    after_each(function()
        C.net_client_close(client)
        server:close()
        assert.equal(0, run:free())
    end)

    -- Starts a call; the record is filled when it is done.
    local function start(request, stream, cancel)
        local r = run:record()
        r.cancel = cancel or 0
        assert.equal(0, C.callrecord_call(r, client, ffi.new("struct net_request", request), stream or false))
        return r
    end

    local function call(request, stream, cancel)
        local r = start(request, stream, cancel)
        assert.is_true(run:done(r), "no callback came")
        run:run(5)
        assert.equal(1, r.done)
        assert.is_false(r.reentered)
        return r
    end

    it("gets an answer with its fields", function()
        server:answer("/a", 200, "hello", "Api-Version: 1.41\r\ncontent-type:  application/json \r\n"
            .. "location: /b\r\nReplay-Nonce: oFvnlFP1wIhRlYS2jTaXbA\r\n")
        local r = call { url = server:url "/a" }
        assert.equal(0, r.error)
        assert.equal(200, r.status)
        assert.equal("hello", loop.body(r))
        assert.equal("1.41", loop.text(r.api_version))
        assert.equal("application/json", loop.text(r.content_type))
        assert.equal("/b", loop.text(r.location))
        assert.equal("oFvnlFP1wIhRlYS2jTaXbA", loop.text(r.replay_nonce))
        assert.equal("", loop.text(r.error_text))
        assert.is_truthy(server:last():find("GET /a HTTP/1.1\r\n", 1, true))
    end)

    it("takes any status for an answer and follows no redirect", function()
        server:answer("/e", 500, "broken")
        server:answer("/r", 302, "", "Location: /e\r\n")
        assert.equal(500, call({ url = server:url "/e" }).status)
        assert.equal(302, call({ url = server:url "/r" }).status)
    end)

    it("sends methods, bodies and headers", function()
        server:answer("/b", 201, "")
        local lines = ffi.new("const char *[3]", { "Content-Type: application/json", "X-A: 1" })
        local body = '{"a":1}'
        call { url = server:url "/b", method = "POST", headers = lines, body = body, body_len = #body }
        local seen = server:last()
        assert.is_truthy(seen:find("^POST /b "))
        assert.is_truthy(seen:find("\r\nContent%-Type: application/json\r\n"))
        assert.is_truthy(seen:find("\r\nX%-A: 1\r\n"))
        assert.is_nil(seen:find "Expect")
        assert.equal(body, seen:sub(-#body))
        call { url = server:url "/b", method = "POST" }
        assert.is_truthy(server:last():find("\r\nContent%-Length: 0\r\n"))
        call { url = server:url "/b", method = "DELETE" }
        assert.is_truthy(server:last():find("^DELETE /b "))
        call { url = server:url "/b", method = "PUT", body = "x", body_len = 1 }
        assert.is_truthy(server:last():find("^PUT /b "))
        server:raw("/h", "HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\n")
        assert.equal(0, call({ url = server:url "/h", method = "HEAD" }).error)
    end)

    it("uploads a file in chunks", function()
        ffi.cdef "int open(const char *path, int flags); int close(int fd);"
        server:answer("/up", 200, "")
        local path = os.tmpname()
        local file = io.open(path, "w")
        file:write(("0123456789"):rep(20000))
        file:close()
        local fd = ffi.C.open(path, 0)
        local r = call { url = server:url "/up", method = "POST", upload_fd = fd }
        ffi.C.close(fd)
        os.remove(path)
        assert.equal(0, r.error)
        assert.is_truthy(server:last():find("^POST /up "))
        assert.is_true(#server:last() > 200000)
        r = call { url = server:url "/up", method = "POST", upload_fd = 9999 }
        assert.equal(E.IO, r.error)
    end)

    it("streams head and body as they come", function()
        server:raw("/s", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            .. "3\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n", loop.KEEP, 1)
        local r = call({ url = server:url "/s" }, true)
        assert.equal(0, r.error)
        assert.equal(1, r.heads)
        assert.equal(200, r.head_status)
        assert.equal("abcde", loop.body(r))
        assert.is_true(r.pieces >= 2)
    end)

    it("bounds the body", function()
        server:answer("/big", 200, ("x"):rep(1000))
        assert.equal(0, call({ url = server:url "/big", body_limit = 1000 }).error)
        local r = call { url = server:url "/big", body_limit = 999 }
        assert.equal(E.MSGSIZE, r.error)
        assert.equal(200, r.status)
        assert.is_truthy(loop.text(r.error_text):find "999")
    end)

    it("names what went wrong", function()
        server:raw("/cut", "HTTP/1.1 200 X\r\nContent-Length: 10\r\n\r\nabc", loop.CLOSE)
        server:raw("/none", "", loop.CLOSE)
        server:raw("/junk", "SSH-2.0-x\r\n\r\n", loop.CLOSE)
        server:raw("/hang", "", loop.HANG)
        assert.equal(E.PIPE, call({ url = server:url "/cut" }).error)
        assert.equal(E.PIPE, call({ url = server:url "/none" }).error)
        assert.equal(E.PROTO, call({ url = server:url "/junk" }).error)
        assert.equal(E.TIMEDOUT, call({ url = server:url "/hang", timeout_ms = 50 }).error)
        assert.equal(E.HOSTUNREACH, call({ url = "http://nowhere.invalid/" }).error)
        assert.equal(E.INVAL, call({ url = "http://" }).error)
        assert.equal(E.PROTO, call({ url = "file:///etc/passwd" }).error)
        local other = run:server()
        local url = other:url "/"
        other:close()
        run:run(5)
        local r = call { url = url }
        assert.equal(E.CONNREFUSED, r.error)
        assert.is_true(#loop.text(r.error_text) > 0)
    end)

    it("ends a call that falls silent, not one that is slow", function()
        server:raw("/drip", "HTTP/1.1 200 X\r\nContent-Length: 4\r\n\r\nabcd", loop.KEEP, 8)
        server:raw("/stop", "HTTP/1.1 200 X\r\nContent-Length: 10\r\n\r\nabc", loop.HANG)
        assert.equal(0, call({ url = server:url "/drip", silence_ms = 200 }).error)
        local r = call({ url = server:url "/stop", silence_ms = 100 }, true)
        assert.equal(E.TIMEDOUT, r.error)
        assert.equal("abc", loop.body(r))
        assert.is_true(r.took_ms >= 99)
        assert.is_truthy(loop.text(r.error_text):find "100 ms")
    end)

    it("speaks over a unix socket", function()
        local path = os.tmpname()
        os.remove(path)
        local unix = run:server("unix:" .. path)
        unix:answer("/u", 200, "unix")
        local r = call { url = "http://docker/u", unix_path = path }
        assert.equal("unix", loop.body(r))
        assert.is_truthy(unix:last():find("\r\nHost: docker\r\n"))
        unix:close()
        os.remove(path)
        run:run(10)
        assert.equal(E.NOENT, call({ url = "http://docker/v", unix_path = path }).error)
    end)

    it("reuses connections, but not fresh ones", function()
        server:answer("/k", 200, "ok")
        for _ = 1, 20 do
            assert.equal(0, call({ url = server:url "/k" }).error)
        end
        assert.equal(1, server:accepts())
        call { url = server:url "/k", fresh = true }
        assert.equal(2, server:accepts())
        call { url = server:url "/k" }
        assert.equal(2, server:accepts())
    end)

    it("carries many calls at once", function()
        server:answer("/m", 200, "ok")
        local records = {}
        for i = 1, 200 do
            records[i] = start { url = server:url "/m" }
        end
        for _, r in ipairs(records) do
            assert.is_true(run:done(r))
            assert.equal(0, r.error)
            assert.equal(1, r.done)
        end
        assert.equal(200, server:requests())
    end)

    it("starts a call from within a callback", function()
        server:answer("/n", 200, "ok")
        local r = run:record()
        local request = ffi.new("struct net_request", { url = server:url "/n" })
        r.again, r.next = client, request
        assert.equal(0, C.callrecord_call(r, client, request, false))
        assert.is_true(run:done(r, 2))
        assert.equal(0, r.error)
        assert.equal("okok", loop.body(r))
    end)

    it("cancels before, during and within the stream, later and once", function()
        server:raw("/hang", "HTTP/1.1 200 X\r\nContent-Length: 10\r\n\r\nabc", loop.HANG)
        local r = start { url = server:url "/hang" }
        C.net_call_cancel(r.call)
        assert.equal(0, r.done)
        assert.is_true(run:done(r))
        assert.equal(E.CANCELED, r.error)

        r = start({ url = server:url "/hang" }, true)
        assert.is_true(run:wait(function()
            return r.pieces > 0
        end))
        C.net_call_cancel(r.call)
        C.net_call_cancel(r.call)
        assert.equal(0, r.done)
        assert.is_true(run:done(r))
        assert.equal(E.CANCELED, r.error)

        r = call({ url = server:url "/hang" }, true, loop.CANCEL_IN_HEAD)
        assert.same({ E.CANCELED, 1, 0 }, { r.error, r.heads, r.pieces })
        r = call({ url = server:url "/hang" }, true, loop.CANCEL_IN_DATA)
        assert.same({ E.CANCELED, 1, 1 }, { r.error, r.heads, r.pieces })
    end)

    it("cancels everything when it closes, and starts nothing more", function()
        server:raw("/hang", "", loop.HANG)
        local running = start { url = server:url "/hang" }
        assert.is_true(run:wait(function()
            return server:requests() == 1
        end))
        local queued = start { url = server:url "/hang" }
        running.again, running.next = client, ffi.new("struct net_request", { url = server:url "/hang" })
        C.net_client_close(client)
        assert.same({ 1, E.CANCELED, 1, E.CANCELED }, { running.done, running.error, queued.done, queued.error })
        client = nil
    end)

    it("ignores proxies of the environment", function()
        ffi.cdef "int setenv(const char *, const char *, int); int unsetenv(const char *);"
        ffi.C.setenv("http_proxy", "http://127.0.0.1:1", 1)
        server:answer("/p", 200, "direct")
        local r = call { url = server:url "/p" }
        ffi.C.unsetenv "http_proxy"
        assert.equal("direct", loop.body(r))
    end)
end)

describe("net/client with TLS", function()
    local function sh(command)
        local pipe = io.popen(command .. " 2>/dev/null")
        local out = pipe:read "*a"
        pipe:close()
        return out
    end
    if sh "command -v openssl" == "" then
        pending "needs openssl"
        return
    end

    local dir, pid, port, run, client

    setup(function()
        dir = sh("mktemp -d"):gsub("%s", "")
        sh(([[cd %s && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
            -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem]]):format(dir))
        run = loop.new()
        local probe = run:server()
        port = probe.port
        probe:close()
        run:run(5)
        pid = sh(("cd %s && { openssl s_server -accept 127.0.0.1:%d -cert cert.pem -key key.pem -CAfile cert.pem "
            .. "-Verify 1 -verify_return_error -www >log 2>&1 </dev/null & echo $!; }"):format(dir, port)):match "%d+"
        local ret = ffi.new "struct net_client *[1]"
        assert.equal(0, C.net_client_new(run:uv(), ret, ffi.new "char *[1]"))
        client = ret[0]
        assert.is_true(run:wait(function()
            local r = run:record()
            assert.equal(0, C.callrecord_connect(r, run:uv(), "127.0.0.1:" .. port, 1000))
            assert.is_true(run:done(r))
            return r.error == 0
        end))
    end)

    teardown(function()
        C.net_client_close(client)
        assert.equal(0, run:free())
        sh("kill " .. pid)
        sh("rm -r " .. dir)
    end)

    local function get(tls)
        local r = run:record()
        local request = ffi.new("struct net_request", { url = "https://127.0.0.1:" .. port .. "/", tls = tls })
        request.timeout_ms = 10000
        request.fresh = true
        assert.equal(0, C.callrecord_call(r, client, request, false))
        assert.is_true(run:done(r))
        return r
    end

    it("verifies both ends with the given files", function()
        local cert, key = dir .. "/cert.pem", dir .. "/key.pem"
        local r = get(ffi.new("struct net_tls", { ca = cert, certificate = cert, key = key }))
        assert.same({ 0, 200 }, { r.error, r.status }, loop.text(r.error_text))
        assert.equal(E.ACCES, get(ffi.new("struct net_tls", { certificate = cert, key = key })).error)
        assert.is_true(get(ffi.new("struct net_tls", { ca = cert })).error < 0)
        assert.equal(E.INVAL, get(ffi.new("struct net_tls", { ca = dir .. "/none", certificate = cert })).error)
        r = get(ffi.new("struct net_tls", { skip_verify = true, certificate = cert, key = key }))
        assert.equal(0, r.error)
    end)
end)
