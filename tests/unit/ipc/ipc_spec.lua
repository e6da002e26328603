local C, ffi = require("ffi_room").load "ipc/ipc.h"

ffi.cdef [[
struct ipc_test;
struct ipc_test *ipc_test_new(int raw_end);
void ipc_test_run(struct ipc_test *t, unsigned until_received, int until_closed);
int ipc_test_send(struct ipc_test *t, int type, unsigned generation, const char *data, size_t len, int fd);
void ipc_test_write_raw(struct ipc_test *t, const char *bytes, size_t len);
void ipc_test_close_raw(struct ipc_test *t);
int ipc_test_free(struct ipc_test *t);
struct ipc_seen { unsigned received, fds; unsigned long long bytes; unsigned generation;
                  int type, last_fd_error, closed, close_error; char text[256]; };
const struct ipc_seen *ipc_test_seen(const struct ipc_test *t);
int pipe(int fds[2]); int close(int fd);
]]

describe("ipc", function()
    it("delivers type, generation and payload in order", function()
        local t = C.ipc_test_new(0)
        assert.equal(0, C.ipc_test_send(t, C.IPC_CONFIG, 7, "first", 5, -1))
        assert.equal(0, C.ipc_test_send(t, C.IPC_ROSTER, 8, "second", 6, -1))
        C.ipc_test_run(t, 2, 0)
        local seen = C.ipc_test_seen(t)
        assert.equal(C.IPC_ROSTER, seen.type)
        assert.equal(8, seen.generation)
        assert.equal("second", ffi.string(seen.text))
        assert.equal(0, C.ipc_test_free(t))
    end)

    it("carries messages larger than the socket's buffer without blocking", function()
        local t, big = C.ipc_test_new(0), ("x"):rep(5000000)
        for _ = 1, 3 do
            assert.equal(0, C.ipc_test_send(t, C.IPC_PREPARE, 1, big, #big, -1))
        end
        C.ipc_test_run(t, 3, 0)
        assert.equal(15000000, tonumber(C.ipc_test_seen(t).bytes))
        assert.equal(0, C.ipc_test_free(t))
    end)

    it("carries certificates, which it wipes, between others", function()
        local t, big = C.ipc_test_new(0), ("x"):rep(3000000)
        for _, m in ipairs { { C.IPC_ROSTER, "first" }, { C.IPC_CERTIFICATES, big }, { C.IPC_CERTIFICATES, "y" }, { C.IPC_ROSTER, "last" } } do
            assert.equal(0, C.ipc_test_send(t, m[1], 1, m[2], #m[2], -1))
        end
        C.ipc_test_run(t, 4, 0)
        assert.equal(3000010, tonumber(C.ipc_test_seen(t).bytes))
        assert.equal("last", ffi.string(C.ipc_test_seen(t).text))
        assert.equal(0, C.ipc_test_free(t))
    end)

    it("passes descriptors with the message they belong to", function()
        local t, fds = C.ipc_test_new(0), ffi.new "int[2]"
        C.pipe(fds)
        for i = 1, 20 do
            C.ipc_test_send(t, C.IPC_LISTEN, i, "{}", 2, i % 2 == 0 and fds[1] or -1)
        end
        C.ipc_test_run(t, 20, 0)
        assert.equal(10, C.ipc_test_seen(t).fds)
        assert.equal(0, C.ipc_test_seen(t).last_fd_error)
        assert.equal(0, C.ipc_test_free(t))
        C.close(fds[0])
        C.close(fds[1])
    end)

    it("refuses what is over the limit", function()
        local t = C.ipc_test_new(0)
        assert.equal(-90, C.ipc_test_send(t, C.IPC_CONFIG, 1, "", 33554433, -1))
        assert.equal(0, C.ipc_test_free(t))
    end)

    it("closes the channel on garbage, and tells a clean end from it", function()
        local t = C.ipc_test_new(1)
        C.ipc_test_write_raw(t, ("\255"):rep(64), 64)
        C.ipc_test_run(t, 0, 1)
        assert.equal(-71, C.ipc_test_seen(t).close_error)
        C.ipc_test_close_raw(t)
        assert.equal(0, C.ipc_test_free(t))

        t = C.ipc_test_new(1)
        C.ipc_test_close_raw(t)
        C.ipc_test_run(t, 0, 1)
        assert.equal(0, C.ipc_test_seen(t).close_error)
        assert.equal(0, C.ipc_test_free(t))
    end)
end)
