local loop = require "loop"
local C, ffi, E = loop.C, loop.ffi, loop.E

local function parse(text)
    local addr = ffi.new "struct net_addr"
    local rc = C.net_addr_parse(text, addr)
    return rc == 0 and loop.text(addr.text) or rc
end

describe("net/addr", function()
    it("reads numeric endpoints and unix sockets", function()
        for text, want in pairs {
            ["10.0.0.5:80"] = "10.0.0.5:80",
            [":8080"] = "0.0.0.0:8080",
            ["[::1]:443"] = "[::1]:443",
            ["[0:0::1]:443"] = "[::1]:443",
            ["http://1.2.3.4:80"] = "1.2.3.4:80",
            ["tcp://1.2.3.4:2376"] = "1.2.3.4:2376",
            ["unix:/run/x.sock"] = "unix:/run/x.sock",
            ["unix:///run/x.sock"] = "unix:/run/x.sock",
        } do
            assert.equal(want, parse(text), text)
        end
    end)

    it("tells names, which need resolving, from mistakes", function()
        for _, name in ipairs { "db.example.com:80", "http://localhost:1", "a_b:65535" } do
            assert.equal(E.DESTADDRREQ, parse(name), name)
        end
        for _, bad in ipairs {
            "", "80", "1.2.3.4", "1.2.3.4:", "1.2.3.4:65536", "1.2.3.4:-1", "1.2.3:80", "1.2.3.4.5:80", "[::1]",
            "[::1:80", "[::1]80", "::1:80", "a b:80", "host:0", "unix:", "host:80/", "[::1%lo]:80", "1.2.3.4:8x",
        } do
            assert.equal(E.INVAL, parse(bad), bad)
        end
        assert.equal(E.INVAL, C.net_addr_parse(nil, ffi.new "struct net_addr"))
        assert.equal(E.NAMETOOLONG, parse("unix:/" .. ("x"):rep(108)))
    end)

    describe("listening", function()
        local run
        before_each(function()
            run = loop.new()
        end)
        after_each(function()
            assert.equal(0, run:free())
        end)

        local function listen(text, reuse)
            local addr, fd = ffi.new "struct net_addr", ffi.new "int[1]"
            assert.equal(0, C.net_addr_parse(text, addr))
            local rc = C.net_listen(addr, reuse or false, fd)
            return rc == 0 and fd[0] or nil, rc
        end

        it("refuses an address in use, unless both share it", function()
            local server = run:server()
            local _, rc = listen(server:address())
            assert.equal(E.ADDRINUSE, rc)
            server:close()
        end)

        it("shares a port with reuse_port", function()
            ffi.cdef "int close(int fd);"
            local server = run:server()
            local address = server:address()
            server:close()
            local first = assert(listen(address, true))
            local second = assert(listen(address, true))
            assert.is_nil((listen(address, false)))
            ffi.C.close(first)
            ffi.C.close(second)
        end)

        it("replaces a stale socket file, but neither a live one nor a file", function()
            local path = os.tmpname()
            local _, rc = listen("unix:" .. path)
            assert.equal(E.ADDRINUSE, rc)
            os.remove(path)
            local server = run:server("unix:" .. path)
            _, rc = listen("unix:" .. path)
            assert.equal(E.ADDRINUSE, rc)
            server:close()
            server = run:server("unix:" .. path)
            server:close()
            os.remove(path)
        end)
    end)
end)

describe("net/resolve and net/connect", function()
    local run
    before_each(function()
        run = loop.new()
    end)
    after_each(function()
        assert.equal(0, run:free())
    end)

    local function resolve(text)
        local r = run:record()
        local rc = C.callrecord_resolve(r, run:uv(), text)
        if rc ~= 0 then
            return rc
        end
        assert.is_true(run:done(r))
        assert.is_false(r.reentered)
        return r.error, loop.text(r.addr.text)
    end

    it("resolves names and numbers, later", function()
        assert.same({ 0, "127.0.0.1:80" }, { resolve "127.0.0.1:80" })
        assert.same({ 0, "[::1]:80" }, { resolve "http://[::1]:80" })
        local error, text = resolve "localhost:81"
        assert.equal(0, error)
        assert.is_truthy(text == "127.0.0.1:81" or text == "[::1]:81", text)
        error = resolve "nowhere.invalid:80"
        assert.is_true(error == E.HOSTUNREACH or error == E.AGAIN, tostring(error))
        assert.equal(E.INVAL, (resolve "unix:/x"))
        assert.equal(E.INVAL, (resolve "no port"))
    end)

    local function connect(address, ms)
        local r = run:record()
        assert.equal(0, C.callrecord_connect(r, run:uv(), address, ms or 5000))
        assert.is_true(run:done(r))
        run:run(20)
        assert.equal(1, r.done)
        assert.is_false(r.reentered)
        return r.error
    end

    it("connects over TCP and unix sockets", function()
        local server = run:server()
        local path = os.tmpname()
        os.remove(path)
        local unix = run:server("unix:" .. path)
        assert.equal(0, connect(server:address()))
        assert.equal(0, connect("unix:" .. path))
        unix:close()
        os.remove(path)
        local address = server:address()
        server:close()
        run:run(10)
        assert.equal(E.CONNREFUSED, connect(address))
        assert.equal(E.NOENT, connect("unix:" .. path))
    end)

    it("gives up when nothing answers", function()
        -- A full backlog drops further SYNs, so the connection stays half open.
        ffi.cdef [[
            int socket(int, int, int); int bind(int, const void *, unsigned); int listen(int, int);
            int getsockname(int, void *, unsigned *); int connect(int, const void *, unsigned);
        ]]
        local addr, len = ffi.new "struct net_addr", ffi.new("unsigned[1]", 16)
        C.net_addr_parse("127.0.0.1:0", addr)
        local fd, fillers = ffi.C.socket(2, 1, 0), {}
        ffi.C.bind(fd, addr.bytes, 16)
        ffi.C.listen(fd, 0)
        ffi.C.getsockname(fd, addr.bytes, len)
        for i = 1, 4 do
            fillers[i] = ffi.C.socket(2, 1 + 2048, 0) -- SOCK_NONBLOCK
            ffi.C.connect(fillers[i], addr.bytes, 16)
        end
        local port = addr.bytes[2] * 256 + addr.bytes[3]
        local error = connect("127.0.0.1:" .. port, 100)
        for _, filler in ipairs(fillers) do
            ffi.C.close(filler)
        end
        ffi.C.close(fd)
        assert.equal(E.TIMEDOUT, error)
    end)
end)
