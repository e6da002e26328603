-- The access log, and the trace context that goes on to the backend.
local proxied = require "proxied"
local dkjson = require "dkjson"

describe("proxy, access log", function()
    local w, path

    local function world(log, more)
        path = os.tmpname()
        log.path = path
        w = proxied.start { cluster = { access_log = log }, route = { more = more } }
        return w
    end

    after_each(function()
        if w then
            local status = w:stop()
            w = nil
            os.remove(path)
            assert.equal(0, status, "the proxy's process ended badly")
        end
    end)

    -- The first `count` lines of the file, when they are there.
    local function lines(count, name)
        local out
        proxied.eventually(function()
            out = {}
            for line in io.lines(name or path) do
                out[#out + 1] = line
            end
            return #out >= count
        end, count .. " lines never came")
        return out
    end

    local function serve(c, request, answer)
        c:send(request)
        local u = w:accept()
        local head = u:read_head()
        u:send(answer)
        c:answer()
        u:close()
        return head
    end

    local OK = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"

    it("has a JSON line for each request, with what a client sent made harmless", function()
        world {}
        local c = w:client()
        local head = serve(c,
            "GET /a?b=\"c HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: x\"y\\z\200\r\nX-Request-Id: id-1\r\n\r\n", OK)
        c:send "BROKEN\r\n\r\n"
        c:answer()
        local got = lines(2)
        local first = assert(dkjson.decode(got[1]))
        assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ$", first.time)
        assert.is_true(first.ms >= 0)
        assert.equal(head:match "\r\ntraceparent: 00%-(%x+)", first.trace_id)
        first.time, first.ms, first.trace_id = nil, nil, nil
        assert.same({
            client = "127.0.0.1", method = "GET", protocol = "HTTP/1.1", host = "shop.example", path = '/a?b="c',
            status = 200, bytes = 5, service = "shop", backend = "shop-1", request_id = "id-1", user_agent = 'x"y\\z\195\136', retries = 0,
        }, first)
        local second = assert(dkjson.decode(got[2]))
        assert.same({ 400, "127.0.0.1" }, { second.status, second.client })
    end)

    it("tells what was not answered whole, what a backend lost, and who was refused", function()
        world({}, { max_body_bytes = 5 })
        serve(w:client(), "GET /cut HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\nhello")
        local c = w:client()
        c:send "POST /long HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n"
        assert.equal(413, (c:answer()))
        c = w:client()
        c:get "/lost"
        w:accept():reset()
        assert.equal(502, (c:answer()))
        local got = lines(3)
        local by = {}
        for i, line in ipairs(got) do
            local entry = assert(dkjson.decode(line), line)
            by[entry.path] = { entry.status, entry.cut or false, i }
        end
        assert.same({ 200, true, 1 }, by["/cut"])
        assert.same({ 413, false, 2 }, by["/long"])
        assert.same({ 502, false, 3 }, by["/lost"])
    end)

    it("has combined lines, and a new file after it is told to open it again", function()
        world { format = "combined" }
        serve(w:client(), "GET /a HTTP/1.1\r\nHost: a\r\nReferer: http://r/\r\nUser-Agent: \"\r\n"
            .. "X-Request-Id: id-\"1\r\n\r\n", OK)
        assert.matches('^127%.0%.0%.1 %- %- %[%d%d/%a+/%d+:%d%d:%d%d:%d%d %+0000%] "GET /a HTTP/1%.1" 200 5 '
            .. '"http://r/" "\\x22" "id%-\\x221"$', lines(1)[1])
        os.rename(path, path .. ".1")
        w:must "reopen"
        local head = serve(w:client(), "GET /b HTTP/1.1\r\nHost: a\r\n\r\n", OK)
        proxied.eventually(function()
            return io.open(path)
        end)
        assert.matches('"GET /b HTTP/1%.1" 200 5 "%-" "%-" "' .. head:match "X%-Request%-Id: (%x+)" .. '"$', lines(1)[1])
        assert.equal(1, #lines(1, path .. ".1"))
        os.remove(path .. ".1")
    end)

    it("keeps a sample, and its last lines when the process ends", function()
        world { sample = 0.5 }
        local c = w:client()
        for _ = 1, 200 do
            c:send "GET / HTTP/1.1\r\n\r\n"
            c:answer()
            c:close()
            c = w:client()
        end
        assert.equal(0, w:stop())
        w = nil
        local count = #lines(1)
        assert.is_true(count > 50 and count < 150, count .. " of 200")
        os.remove(path)
    end)

    it("cannot be where no file can be", function()
        world {}
        local reply = w:tell(w:configure({ {} }, { access_log = { path = "/nowhere/access.log" } }))
        assert.matches("^error access_log: /nowhere/access.log: ", reply)
    end)

    it("leaves a valid traceparent alone and replaces others", function()
        world {}
        local function sent(fields)
            return serve(w:client(), "GET / HTTP/1.1\r\nHost: a\r\n" .. fields .. "\r\n", OK)
        end
        local id, parent = ("0af7651916cd43dd"):rep(2), "b7ad6b7169203331"
        local valid = ("00-%s-%s-01"):format(id, parent)
        assert.matches("\r\ntraceparent: " .. valid:gsub("%-", "%%-") .. "\r\n", sent("Traceparent: " .. valid .. "\r\n"))
        for _, other in ipairs {
            "", "traceparent: " .. valid:upper() .. "\r\n", "traceparent: 01" .. valid:sub(3) .. "x\r\n",
            ("traceparent: 00-%s-%s-01\r\n"):format(("0"):rep(32), parent),
            ("traceparent: %s\r\n"):format(valid):rep(2),
        } do
            local head = sent(other)
            local own = head:match "\r\ntraceparent: 00%-(%x+)%-%x+%-01\r\n"
            assert.equal(32, own and #own, head)
            assert.is_true(own ~= id)
            assert.equal(1, select(2, head:lower():gsub("traceparent", "")))
        end
        -- What vendors noted of a trace goes with it, and does not stay behind it.
        local state = "TraceState: vendor=1\r\ntracestate: other=2\r\n"
        local with = sent("traceparent: " .. valid .. "\r\n" .. state)
        assert.matches("\r\nTraceState: vendor=1\r\ntracestate: other=2\r\n", with)
        assert.is_nil(sent(state):lower():find "tracestate")
        assert.is_nil(sent("traceparent: " .. valid:upper() .. "\r\n" .. state):lower():find "tracestate")
    end)
end)
