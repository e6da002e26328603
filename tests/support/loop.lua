-- The loop, the records and the scripted server of tests/unit/net/*.c for
-- specs of asynchronous rooms. Every wait has a condition and a deadline.
local C, ffi = require("ffi_room").load "net/net.h"

ffi.cdef [[
struct looptest; struct testserver; struct uv_loop_s; struct net_client; struct net_call;
struct loop_buf { char *data; size_t len, cap, limit; bool secret; };
struct callrecord {
    uint32_t done, heads, pieces;
    int32_t error, status, head_status;
    uint32_t took_ms;
    bool reentered, starting;
    int32_t cancel;
    struct net_client *again;
    const struct net_request *next;
    struct net_call *call;
    char error_text[256], api_version[64], content_type[64], location[64], replay_nonce[64];
    struct net_addr addr;
    struct loop_buf body;
};
struct looptest *looptest_new(void);
struct uv_loop_s *looptest_loop(struct looptest *t);
bool looptest_until(struct looptest *t, const uint32_t *counter, uint32_t least, uint32_t ms);
void looptest_run(struct looptest *t, uint32_t ms);
int looptest_free(struct looptest *t);
void callrecord_init(struct callrecord *r);
void callrecord_free(struct callrecord *r);
int callrecord_call(struct callrecord *r, struct net_client *client, const struct net_request *request, bool stream);
int callrecord_connect(struct callrecord *r, struct uv_loop_s *loop, const char *address, uint32_t ms);
int callrecord_resolve(struct callrecord *r, struct uv_loop_s *loop, const char *host_port);
struct testserver *testserver_new(struct uv_loop_s *loop, const char *address);
uint32_t testserver_port(const struct testserver *s);
void testserver_route(struct testserver *s, const char *path, const char *bytes, size_t len, int then, uint32_t drip_ms);
void testserver_once(struct testserver *s, const char *path, const char *bytes, size_t len, int then, uint32_t drip_ms);
const char *testserver_log(const struct testserver *s, size_t *ret_len);
unsigned testserver_accepts(const struct testserver *s);
unsigned testserver_requests(const struct testserver *s);
unsigned testserver_open(const struct testserver *s);
const char *testserver_last(const struct testserver *s, size_t *ret_len);
void testserver_close(struct testserver *s);
]]

local M = { C = C, ffi = ffi, KEEP = 0, CLOSE = 1, HANG = 2, CANCEL_IN_HEAD = 1, CANCEL_IN_DATA = 2 }

-- errno by name, negative as the functions return them.
M.E = {
    NOENT = -2, IO = -5, AGAIN = -11, ACCES = -13, EXIST = -17, INVAL = -22, PIPE = -32, NAMETOOLONG = -36,
    PROTO = -71, DESTADDRREQ = -89, MSGSIZE = -90, ADDRINUSE = -98, TIMEDOUT = -110, CONNREFUSED = -111,
    HOSTUNREACH = -113, CANCELED = -125,
}

-- A wait's deadline: far beyond what a busy machine needs, only reached on failure.
M.DEADLINE_MS = 20000

local Loop = {}
Loop.__index = Loop

function M.new()
    return setmetatable({ t = C.looptest_new(), records = {} }, Loop)
end

function Loop:uv()
    return C.looptest_loop(self.t)
end

-- Runs until the uint32_t behind `counter` is at least `least`.
function Loop:until_(counter, least, ms)
    return C.looptest_until(self.t, counter, least or 1, ms or M.DEADLINE_MS)
end

-- Runs until `condition()` holds; false at the deadline.
function Loop:wait(condition, ms)
    local turns = math.ceil((ms or M.DEADLINE_MS) / 10)
    for _ = 1, turns do
        if condition() then
            return true
        end
        C.looptest_run(self.t, 10)
    end
    return condition()
end

function Loop:run(ms)
    C.looptest_run(self.t, ms)
end

function Loop:record()
    local record = ffi.new "struct callrecord"
    C.callrecord_init(record)
    self.records[#self.records + 1] = record
    return record
end

function Loop:done(record, times)
    return self:until_(ffi.cast("uint32_t *", record), times or 1)
end

-- Frees the records, runs the close callbacks; number of handles left open.
function Loop:free()
    local left = C.looptest_free(self.t)
    for _, record in ipairs(self.records) do
        C.callrecord_free(record)
    end
    return left
end

function M.text(chars)
    return ffi.string(chars)
end

function M.body(record)
    return record.body.len > 0 and ffi.string(record.body.data, record.body.len) or ""
end

local Server = {}
Server.__index = Server

function Loop:server(address)
    local s = C.testserver_new(self:uv(), address or "127.0.0.1:0")
    assert(s ~= nil, "server cannot listen on " .. (address or "loopback"))
    return setmetatable({ s = s, port = C.testserver_port(s) }, Server)
end

function Server:raw(path, bytes, after, drip_ms)
    C.testserver_route(self.s, path, bytes, #bytes, after or M.KEEP, drip_ms or 0)
end

-- The same, but goes before the others of its path and away after its use.
function Server:once(path, status, body, fields)
    local bytes = ("HTTP/1.1 %d X\r\n%sContent-Length: %d\r\n\r\n%s"):format(status, fields or "", #body, body)
    C.testserver_once(self.s, path, bytes, #bytes, M.KEEP, 0)
end

-- All requests so far, as text.
function Server:log()
    local len = ffi.new "size_t[1]"
    local bytes = C.testserver_log(self.s, len)
    return ffi.string(bytes, len[0])
end

function Server:answer(path, status, body, fields)
    self:raw(path, ("HTTP/1.1 %d X\r\n%sContent-Length: %d\r\n\r\n%s"):format(status, fields or "", #body, body))
end

function Server:address()
    return "127.0.0.1:" .. self.port
end

function Server:url(path)
    return "http://" .. self:address() .. path
end

function Server:last()
    local len = ffi.new "size_t[1]"
    local bytes = C.testserver_last(self.s, len)
    return ffi.string(bytes, len[0])
end

function Server:accepts()
    return C.testserver_accepts(self.s)
end

function Server:requests()
    return C.testserver_requests(self.s)
end

function Server:close()
    C.testserver_close(self.s)
end

return M
