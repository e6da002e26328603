local C, ffi = require("ffi_room").load "admin/admin.h"
local cjson = require "cjson"

ffi.cdef [[
int admintest_start(const char *socket_path, const char *http, uint32_t timeout_ms, char *ret_error,
    size_t size);
int admintest_stop(int pid);
int admintest_connect(const char *address);
int admintest_send(int fd, const char *bytes, size_t len);
int admintest_shut(int fd);
int admintest_receive(int fd, char *to, size_t size, uint32_t timeout_ms);
int admintest_ask(const char *path, const char *json, uint32_t timeout_ms, char *to, size_t size);
int admintest_ask_as(uint32_t uid, const char *path, const char *json, char *to, size_t size);
int admintest_silent(const char *path);
bool admintest_hung_up(int fd, uint32_t timeout_ms);
int chmod(const char *path, unsigned mode);
unsigned umask(unsigned mask);
unsigned geteuid(void);
int getpid(void);
int close(int fd);
]]

local SIZE = 8 * 1024 * 1024
local ETIMEDOUT, ENOENT, ECONNREFUSED, EPROTO, EACCES = -110, -2, -111, -71, -13
local room = ffi.new("char[?]", SIZE)

describe("admin", function()
    local dir, path, http, pid

    local function start(timeout_ms, at)
        local got = C.admintest_start(at or path, http, timeout_ms or 10000, room, SIZE)
        return got, ffi.string(room)
    end

    local function ask(request, timeout_ms)
        local rc = C.admintest_ask(path, cjson.encode(request), timeout_ms or 5000, room, SIZE)
        return rc, rc == 0 and cjson.decode(ffi.string(room)) or nil
    end

    local function connect(address)
        local fd = C.admintest_connect(address or path)
        assert.is_true(fd >= 0, "connect: " .. fd)
        return fd
    end

    -- What comes back until the other side closes.
    local function rest(fd, timeout_ms)
        local len = C.admintest_receive(fd, room, SIZE, timeout_ms or 5000)
        assert.is_true(len >= 0, "receive: " .. len)
        C.close(fd)
        return ffi.string(room, len)
    end

    local function raw(bytes, address)
        local fd = connect(address)
        C.admintest_send(fd, bytes, #bytes)
        return rest(fd)
    end

    local function refused(answer, pattern)
        local line = answer:match "^([^\n]+)\n$"
        assert.is_string(line, "not one line: " .. answer:sub(1, 200))
        local object = cjson.decode(line)
        assert.is_false(object.ok)
        assert.matches(pattern, object.error)
    end

    -- Still there and well.
    local function alive()
        local rc, answer = ask { command = "echo" }
        assert.equal(0, rc)
        assert.is_true(answer.ok)
    end

    before_each(function()
        dir = io.popen("mktemp -d"):read "*l"
        path = dir .. "/control.sock"
        http = "127.0.0.1:" .. 20000 + C.getpid() % 12000
        pid = start()
        assert.is_true(pid > 0)
    end)

    after_each(function()
        if pid then
            assert.equal(0, C.admintest_stop(pid), "handles left open, or it died")
        end
        os.execute("rm -rf " .. dir)
    end)

    describe("control socket", function()
        it("carries a request and its answer, and tells who asks", function()
            local rc, answer = ask { command = "echo", text = "a\nb \"c\"" }
            assert.equal(0, rc)
            assert.equal("a\nb \"c\"", answer.got.text)
            assert.equal(("uid %d pid %d"):format(C.geteuid(), C.getpid()), answer.who)
        end)

        it("is closed to others whatever the umask, and gone afterwards", function()
            local other = dir .. "/other.sock"
            local old = C.umask(0)
            local second = C.admintest_start(other, "", 1000, room, SIZE)
            C.umask(old)
            assert.is_true(second > 0)
            assert.equal("600", io.popen("stat -c %a " .. other):read "*l")
            assert.equal(0, C.admintest_stop(second))
            assert.is_nil(io.open(other))
            assert.equal("", io.popen("ls " .. other .. " 2>/dev/null"):read "*a")
        end)

        it("refuses garbage", function()
            for _, bytes in ipairs {
                "hello\n", "\n", "{\n", "[1]\n", "42\n", "{}\n", '{"command":1}\n', '{"command":""}\n',
                "\0\1\2\255\n", '{"command":"echo"} x\n', ("["):rep(100000) .. "\n",
            } do
                refused(raw(bytes), "not a request")
            end
            alive()
        end)

        it("refuses a line that is too long, while it is sent and when it is complete", function()
            local long = '{"command":"echo","x":"' .. ("y"):rep(300 * 1024) .. '"}\n'
            refused(raw(long), "too long")
            local rc, answer = ask { command = "echo", x = ("y"):rep(300 * 1024) }
            assert.equal(0, rc)
            assert.matches("too long", answer.error)
            alive()
        end)

        it("takes a line up to the limit", function()
            local rc, answer = ask { command = "echo", x = ("y"):rep(255 * 1024) }
            assert.equal(0, rc)
            assert.equal(255 * 1024, #answer.got.x)
        end)

        it("refuses two requests at once, without doing the first", function()
            refused(raw '{"command":"hold"}\n{"command":"hold"}\n', "more than one line")
            local _, answer = ask { command = "held" }
            assert.equal(0, answer.held)
        end)

        it("refuses half a line", function()
            local fd = connect()
            C.admintest_send(fd, '{"command":', 11)
            C.admintest_shut(fd)
            refused(rest(fd), "broke off")
            C.close(connect())
            alive()
        end)

        it("answers one that only sends no more", function()
            local fd = connect()
            local line = '{"command":"later"}\n'
            C.admintest_send(fd, line, #line)
            C.admintest_shut(fd)
            assert.is_true(cjson.decode(rest(fd)).ok)
        end)

        it("cuts one that does not complete its line in time, however slowly it goes on", function()
            C.admintest_stop(pid)
            pid = start(200)
            local fd = connect()
            for _ = 1, 3 do
                C.admintest_send(fd, "{", 1)
            end
            refused(rest(fd, 3000), "in time")
            alive()
        end)

        it("cuts one that does not take its answer", function()
            C.admintest_stop(pid)
            pid = start(200)
            local fd = connect()
            local line = '{"command":"big","bytes":4000000}\n'
            C.admintest_send(fd, line, #line)
            assert.is_true(C.admintest_hung_up(fd, 5000))
            -- What the kernel had taken is all that ever comes.
            local len = C.admintest_receive(fd, room, SIZE, 2000)
            assert.is_true(len ~= ETIMEDOUT and len < 4000000)
            C.close(fd)
            alive()
        end)

        it("carries large answers", function()
            local rc, answer = ask { command = "big", bytes = 4000000 }
            assert.equal(0, rc)
            assert.equal(4000000, #answer.text)
        end)

        it("answers later, many at once, each once", function()
            local fds, line = {}, '{"command":"hold"}\n'
            for i = 1, 20 do
                fds[i] = connect()
                C.admintest_send(fds[i], line, #line)
            end
            local answer
            repeat
                answer = select(2, ask { command = "held" })
            until answer.held == 20
            assert.equal(20, select(2, ask { command = "release" }).released)
            for i = 1, 20 do
                assert.equal('{"ok":true}\n', rest(fds[i]))
            end
        end)

        it("survives clients that left before their answer", function()
            local line = '{"command":"hold"}\n'
            for _ = 1, 10 do
                local fd = connect()
                C.admintest_send(fd, line, #line)
                C.close(fd)
            end
            local answer
            repeat
                answer = select(2, ask { command = "held" })
            until answer.held == 10
            assert.equal(10, select(2, ask { command = "release" }).released)
            alive()
        end)

        it("serves a bounded number at once and says so to the next", function()
            local fds = {}
            for i = 1, 64 do
                fds[i] = connect()
            end
            local line = '{"command":"echo"}\n'
            for i = 1, 63 do -- all are accepted before the last is refused
                C.admintest_send(fds[i], "{", 1)
            end
            refused(rest(connect()), "too many")
            for i = 1, 10 do
                C.close(fds[i])
            end
            C.admintest_send(fds[64], line, #line)
            assert.matches('"ok":true', rest(fds[64]))
            local rc, answer
            repeat -- until the closed ones have been noticed
                rc, answer = ask { command = "echo" }
            until rc == 0 and answer.ok
            for i = 11, 63 do
                C.close(fds[i])
            end
        end)

        it("tells those who wait when it ends", function()
            local fd = connect()
            local line = '{"command":"hold"}\n'
            C.admintest_send(fd, line, #line)
            repeat
                local _, answer = ask { command = "held" }
            until answer.held == 1
            assert.equal(0, C.admintest_stop(pid))
            pid = nil
            refused(rest(fd), "ending")
        end)

        it("does not hear other users", function()
            if C.geteuid() ~= 0 then
                pending "needs root"
                return
            end
            os.execute("chmod 755 " .. dir)
            assert.equal(EACCES, C.admintest_ask_as(65534, path, '{"command":"echo"}', room, SIZE))
            C.chmod(path, tonumber("666", 8))
            assert.equal(0, C.admintest_ask_as(65534, path, '{"command":"echo"}', room, SIZE))
            refused(ffi.string(room) .. "\n", "only the user of the daemon")
        end)

        it("replaces a stale socket, but neither a living daemon's nor another file", function()
            local again, why = start()
            assert.equal(0, again)
            assert.matches("another daemon, pid %d+, listens", why)
            alive()
            local stale = dir .. "/stale.sock"
            C.close(C.admintest_silent(stale))
            local second = C.admintest_start(stale, "", 1000, room, SIZE)
            assert.is_true(second > 0)
            C.admintest_stop(second)
            assert(io.open(stale, "w")):close()
            assert.equal(0, (C.admintest_start(stale, "", 1000, room, SIZE)))
            assert.matches("is no socket", ffi.string(room))
            assert.equal(0, (C.admintest_start(dir .. ("/x"):rep(60), "", 1000, room, SIZE)))
            assert.matches("longer than 107 bytes", ffi.string(room))
        end)
    end)

    describe("client", function()
        it("tells why nobody answers", function()
            local real = path
            path = dir .. "/none.sock"
            assert.equal(ENOENT, (ask { command = "echo" }))
            local fd = C.admintest_silent(path)
            assert.equal(ETIMEDOUT, (ask({ command = "echo" }, 100)))
            C.close(fd)
            assert.equal(ECONNREFUSED, (ask { command = "echo" }))
            path = real
            assert.equal(ETIMEDOUT, (ask({ command = "hold" }, 100)))
        end)

        it("tells a server that speaks something else", function()
            local web = dir .. "/web.sock"
            local second = C.admintest_start(dir .. "/second.sock", "unix:" .. web, 1000, room, SIZE)
            assert.is_true(second > 0)
            assert.equal(EPROTO, C.admintest_ask(web, "{}", 1000, room, SIZE))
            assert.equal(0, C.admintest_stop(second))
        end)
    end)

    describe("HTTP", function()
        local function get(head)
            return raw(head .. "\r\nHost: x\r\n\r\n", http)
        end

        it("serves pages to GET and their heads to HEAD", function()
            local answer = get "GET /page?x=1 HTTP/1.1"
            assert.matches("^HTTP/1.1 200 OK\r\n", answer)
            assert.matches("\r\nContent%-Type: text/html\r\n", answer)
            assert.matches("\r\nConnection: close\r\n", answer)
            assert.matches("\r\n\r\nhello\n$", answer)
            local head = get "HEAD /page HTTP/1.1"
            assert.matches("\r\nContent%-Length: 6\r\n.*\r\n\r\n$", head)
        end)

        it("serves large pages whole", function()
            local answer = get "GET /huge HTTP/1.1"
            assert.equal(32 * 65536, #answer:match "\r\n\r\n(.*)$")
        end)

        it("hands on the fields of a request, those of one name as one", function()
            local answer = get "GET /fields HTTP/1.1\r\nAccept: a/b;q=0.5\r\nX-Twice: one\r\nx-twice: two"
            assert.matches("\r\n\r\na/b;q=0.5|one, two|$", answer)
            assert.matches("\r\nContent%-Encoding: identity\r\n", answer)
            assert.matches("\r\nVary: Accept, Accept%-Encoding\r\n", answer)
        end)

        it("may answer later, also when the client has left or the daemon ends", function()
            assert.matches("\r\n\r\nlate\n$", get "GET /later HTTP/1.1")
            local fd = connect(http)
            local head = "GET /later HTTP/1.1\r\nHost: x\r\n\r\n"
            C.admintest_send(fd, head, #head)
            C.close(fd)
            assert.matches("\r\n\r\nlate\n$", get "GET /later HTTP/1.1")
            fd = connect(http)
            head = "GET /never HTTP/1.1\r\nHost: x\r\n\r\n"
            C.admintest_send(fd, head, #head)
            assert.matches("^HTTP/1.1 200 OK\r\n", get "GET /page HTTP/1.1")
            assert.equal(0, C.admintest_stop(pid))
            pid = nil
            C.close(fd)
        end)

        it("answers what it does not serve", function()
            assert.matches("^HTTP/1.1 404 ", get "GET /other HTTP/1.1")
            assert.matches("^HTTP/1.1 405 .*\r\nAllow: GET, HEAD\r\n", get "DELETE /page HTTP/1.1")
            local post = "POST /page HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
            assert.matches("^HTTP/1.1 405 ", raw(post, http))
            assert.matches("^HTTP/1.1 400 ", raw("\1\2\3 garbage\r\n\r\n", http))
            assert.matches("^HTTP/1.1 400 ", raw("GET /page HTTP/1.1\r\n\r\n", http))
            assert.matches("^HTTP/1.1 4[13][14] ", raw("GET /" .. ("x"):rep(40000), http))
        end)

        it("survives many clients, and those that leave early", function()
            local fds = {}
            for i = 1, 100 do
                fds[i] = connect(http)
                C.admintest_send(fds[i], "GET /huge HT", 12)
            end
            for i = 1, 100 do
                C.close(fds[i])
            end
            local fd = connect(http)
            C.admintest_send(fd, "GET /huge HTTP/1.1\r\nHost: x\r\n\r\n", 32)
            C.close(fd)
            repeat
                local ok, answer = pcall(get, "GET /page HTTP/1.1")
            until ok and answer:find "200 OK"
            alive()
        end)
    end)
end)
