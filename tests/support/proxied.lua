-- A proxy in a child process with scripted backends, for specs: the spec itself is client and backend,
-- one step at a time, over plain sockets.
--   local w = proxied.start { backends = 2 }
--   local c = w:client(); c:send "GET / ..."; local u = w:accept(1); u:read_head(); u:send "HTTP/1.1 ..."
local C, ffi = require("ffi_room").load("board/board.h")
local socket = require "socket"

ffi.cdef [[
struct proxydriver;
struct proxydriver *proxydriver_start(unsigned files);
const char *proxydriver_tell(struct proxydriver *d, const char *line);
int proxydriver_end(struct proxydriver *d);
struct board *proxydriver_board(struct proxydriver *d);
int kill(int pid, int signal);
]]

local PATIENCE = 5
local SIGCONT, SIGSTOP = 18, 19
local M = { policies = {} }
local conn_mt, world_mt = {}, {}
conn_mt.__index, world_mt.__index = conn_mt, world_mt

-- `sock`: of luasocket, or what has its methods.
local function wrap(sock)
    sock:settimeout(PATIENCE)
    if sock.getpeername then -- not on unix sockets
        sock:setoption("tcp-nodelay", true)
    end
    return setmetatable({ sock = sock }, conn_mt)
end

function conn_mt:send(bytes)
    return assert(self.sock:send(bytes))
end

-- Bytes up to and with the empty line.
function conn_mt:read_head()
    local lines = {}
    repeat
        local line, err = self.sock:receive "*l"
        if not line then
            return nil, err
        end
        lines[#lines + 1] = line .. "\r\n"
    until line:gsub("\r", "") == ""
    return (table.concat(lines):gsub("\r\r\n", "\r\n"))
end

function conn_mt:read(n)
    local bytes, err, part = self.sock:receive(n)
    return bytes or part, err
end

-- Everything until the other side ends; second result is "closed" or "timeout" or a reset's text.
function conn_mt:read_all()
    local bytes, err, part = self.sock:receive "*a"
    return bytes or part, err
end

-- Head and body by its framing: status, head, body. Body nil when it is cut.
function conn_mt:answer(method)
    local head, err = self:read_head()
    if not head then
        return nil, err
    end
    local status = tonumber(head:match "^HTTP/1%.1 (%d+)")
    local length = tonumber(head:lower():match "\r\ncontent%-length: (%d+)")
    if method == "HEAD" or status < 200 or status == 204 or status == 304 then
        return status, head, ""
    end
    if head:lower():match "\r\ntransfer%-encoding: chunked" then
        local body = {}
        while true do
            local line = self.sock:receive "*l"
            local size = line and tonumber(line:match "^%x+", 16)
            if not size then
                return status, head, nil
            end
            local piece = size == 0 and "" or self.sock:receive(size)
            if not piece or self.sock:receive(2) ~= "\r\n" then
                return status, head, nil
            end
            if size == 0 then
                return status, head, table.concat(body)
            end
            body[#body + 1] = piece
        end
    end
    if length then
        return status, head, length == 0 and "" or (self.sock:receive(length))
    end
    local body, why = self:read_all()
    return status, head, (why == nil or why == "closed") and body or nil
end

function conn_mt:get(path, more)
    self:send("GET " .. path .. " HTTP/1.1\r\nHost: shop.example\r\n" .. (more or "") .. "\r\n")
end

-- The usual 200 of a backend.
function conn_mt:ok(body, more)
    body = body or ""
    self:send("HTTP/1.1 200 OK\r\nContent-Length: " .. #body .. "\r\n" .. (more or "") .. "\r\n" .. body)
end

function conn_mt:half_close()
    self.sock:shutdown "send"
end

function conn_mt:close()
    self.sock:close()
end

-- Closes with a reset.
function conn_mt:reset()
    self.sock:setoption("linger", { on = true, timeout = 0 })
    self.sock:close()
end

-- Whether the other side has closed; waits for it.
function conn_mt:closed()
    local byte, err = self.sock:receive(1)
    return byte == nil and err ~= "timeout"
end

-- Whether nothing comes within a short while.
function conn_mt:silent(seconds)
    local ready = socket.select({ self.sock }, nil, seconds or 0.05)
    return ready[1] == nil
end

-- JSON of plain tables; arrays are tables with [1] or marked by n = 0.
local function json(value)
    if type(value) ~= "table" then
        return type(value) == "string" and ("%q"):format(value):gsub("\n", "n") or tostring(value)
    end
    local out = {}
    if value[1] ~= nil or value.n == 0 then
        for i, item in ipairs(value) do
            out[i] = json(item)
        end
        return "[" .. table.concat(out, ",") .. "]"
    end
    for key, item in pairs(value) do
        out[#out + 1] = ("%q:%s"):format(key, json(item))
    end
    return "{" .. table.concat(out, ",") .. "}"
end

function world_mt:tell(line)
    return ffi.string(C.proxydriver_tell(self.driver, line))
end

function world_mt:must(line)
    local reply = self:tell(line)
    assert(not reply:find "^error", line:sub(1, 80) .. " -> " .. reply)
    return reply
end

-- Routes are { service, path =, host =, ..., more = { key = of the JSON }, of_service = { key = of its service } };
-- policies' sources serve where the real script room is linked.
function world_mt.configure(_, routes, cluster, builtin)
    local services, order = {}, { n = 0 }
    for _, route in ipairs(routes) do
        local name = route.service or "shop"
        if not services[name] then
            services[name] = { name = name, source = "backends", routes = {}, backends = { n = 0 }, protocol = route.protocol }
            order[#order + 1] = services[name]
            for key, value in pairs(route.of_service or {}) do
                services[name][key] = value
            end
        end
        local json_route = {
            listen = route.listen or "front", host = route.host or "", path = route.path or "/",
            balance = { policy = route.policy or "round_robin", params = {} },
            max_retries = route.max_retries or 3, backend_timeout_ms = route.backend_timeout_ms or 5000,
            connect_timeout_ms = 1000, client_timeout_ms = route.client_timeout_ms or 5000,
        }
        for key, value in pairs(route.more or {}) do
            json_route[key] = value
        end
        table.insert(services[name].routes, json_route)
    end
    return "prepare " .. json { generation = "1", cluster = cluster or { zone = routes.zone or "" }, services = order, policies = M.policies,
        builtin_balance = builtin }
end

-- `lost`: ids of those that the service shop lost.
function world_mt:roster(backends, lost)
    self.version = (self.version or 0) + 1
    local services, order = {}, { n = 0 }
    for _, b in ipairs(backends) do
        local name = b.service or "shop"
        if not services[name] then
            services[name] = { name = name, backends = { n = 0 } }
            order[#order + 1] = services[name]
        end
        table.insert(services[name].backends, {
            id = b.id, slot = b.slot, address = b.address, weight = 1,
            max_connections = b.max_connections or 100, capacity = 1000, tags = b.tags or { n = 0 },
            draining = b.draining or false, joined_ms = b.joined_ms or 0,
        })
    end
    if lost then
        if not services.shop then
            services.shop = { name = "shop", backends = { n = 0 } }
            order[#order + 1] = services.shop
        end
        services.shop.lost = lost
    end
    self:must("roster " .. json { version = self.version, services = order })
end

function world_mt:entry(i, more)
    local b = { id = "shop-" .. i, slot = i, address = "127.0.0.1:" .. self.ports[i] }
    for key, value in pairs(more or {}) do
        b[key] = value
    end
    return b
end

M.wrap = wrap

function world_mt:client()
    return wrap(assert(socket.connect("127.0.0.1", self.port)))
end

-- The next connection that the proxy opened to backend i.
function world_mt:accept(i)
    self.servers[i or 1]:settimeout(PATIENCE)
    return wrap(assert(self.servers[i or 1]:accept(), "no connection came to the backend"))
end

-- Whichever backend gets the next connection: it and its number.
function world_mt:accept_any()
    local ready = socket.select(self.servers, nil, PATIENCE)
    for i, server in ipairs(self.servers) do
        if server == ready[1] then
            return wrap(assert(server:accept())), i
        end
    end
    error "no connection came to any backend"
end

function world_mt:unwanted(i)
    return socket.select({ self.servers[i or 1] }, nil, 0.05)[1] == nil
end

function world_mt:numbers()
    return C.board_worker(C.proxydriver_board(self.driver), 0)
end

function world_mt:row(slot)
    return C.board_row(C.proxydriver_board(self.driver), 0, slot)
end

-- The row of a worker that is not there, as if it had measured when ours did last: the average `field`
-- ("response_ms", "failed") with the weight of so many samples.
function world_mt:other_row(slot, field, value, weight)
    local row = C.board_row(C.proxydriver_board(self.driver), 1, slot)
    local average = row[field]
    average.value, average.weight, average.at_us = value, weight, self:row(slot)[field].at_us
    return row
end

function world_mt:recent_add(slot, ms)
    C.board_recent_add(C.proxydriver_board(self.driver), slot, ms)
end

local function child()
    local children = io.open "/proc/thread-self/children"
    local pid = children:read "*n"
    children:close()
    return pid
end

-- While the proxy stands still, so that it sees what act() does all at once and in that order.
function world_mt.stopped(_, act)
    local pid = child()
    assert(ffi.C.kill(pid, SIGSTOP) == 0)
    local fine, why = pcall(act)
    assert(ffi.C.kill(pid, SIGCONT) == 0)
    assert(fine, why)
end

-- Ends of pipes that the proxy holds.
function world_mt.pipes()
    local list = io.popen(("ls -l /proc/%d/fd"):format(child()))
    local _, count = list:read("*a"):gsub("pipe:", "")
    list:close()
    return count
end

-- Sends of `bytes` behind the first `sent` what can be sent while nobody reads; how much is sent then.
function M.stuff(conn, bytes, sent)
    local still = 0
    conn.sock:settimeout(0)
    while sent < #bytes and still < 50 do
        local last, _, part = conn.sock:send(bytes, sent + 1)
        still = (last or part) == sent and still + 1 or 0
        sent = last or part
        socket.sleep(still > 0 and 0.002 or 0)
    end
    conn.sock:settimeout(PATIENCE)
    return sent
end

-- Sends `bytes` behind the first `sent` and returns what comes out at the other end, as many bytes as that are.
function M.pump(from, to, bytes, sent)
    local got, size, limit = {}, 0, socket.gettime() + 4 * PATIENCE
    from.sock:settimeout(0)
    to.sock:settimeout(0)
    while size < #bytes and socket.gettime() < limit do
        if sent < #bytes then
            local last, _, part = from.sock:send(bytes, sent + 1)
            sent = last or part
        end
        local some, err, part = to.sock:receive(math.min(65536, #bytes - size))
        if err and err ~= "timeout" then
            break
        end
        some = some or part
        size = size + #some
        got[#got + 1] = some
    end
    from.sock:settimeout(PATIENCE)
    to.sock:settimeout(PATIENCE)
    return table.concat(got)
end

-- All of `bytes` while nobody reads, as far as that goes; then reads at the other end.
function M.flood(from, to, bytes)
    return M.pump(from, to, bytes, M.stuff(from, bytes, 0))
end

-- Waits until check() is true.
-- Ends a test's world, if it began one; returns nil for the variable that held it.
function M.finish(world)
    if world then
        assert(world:stop() == 0, "the proxy's process ended badly")
    end
end

function M.eventually(check, what)
    local limit = socket.gettime() + PATIENCE
    while not check() do
        assert(socket.gettime() < limit, what or "it never came")
        socket.sleep(0.005)
    end
end

function world_mt:stop()
    for _, server in ipairs(self.servers) do
        server:close()
    end
    return C.proxydriver_end(self.driver)
end

function M.start(options)
    options = options or {}
    local w = setmetatable({ servers = {}, ports = {} }, world_mt)
    w.driver = C.proxydriver_start(options.files or 0)
    for i = 1, options.backends or 1 do
        w.servers[i] = assert(socket.bind("127.0.0.1", 0, 64))
        w.ports[i] = select(2, w.servers[i]:getsockname())
    end
    w.port = tonumber(w:must "listen front")
    w:must(w:configure(options.routes or { options.route or {} }, options.cluster))
    w:must "commit"
    local entries = {}
    for i = 1, options.backends or 1 do
        entries[i] = w:entry(i, options.backend)
    end
    w:roster(entries)
    return w
end

-- Policies by name; where the room `script` is not linked, its double knows the same names.
local sources = {
    round_robin = "local last = 0 return function(b, n) for _ = 1, n do last = last % n + 1 "
        .. "if b[last].eligible ~= 0 then return last end end return nil end",
    least_connections = "return function(b, n) local best for i = 1, n do if b[i].eligible ~= 0 and "
        .. "(not best or b[i].in_flight < b[best].in_flight) then best = i end end return best end",
    by_weight = "return function(b, n) local best, chosen = math.huge for i = 1, n do "
        .. "local cost = b[i].eligible ~= 0 and (b[i].in_flight + 1) / b[i].weight or math.huge "
        .. "if cost < best then best, chosen = cost, i end end return chosen end",
    raises = "return function() error('raised') end",
    wild = "return function() return 4000 end",
    none = "return function() return nil end",
    closure = "return function(_, n) local function f() return n end return f() end", -- LuaJIT makes none
}
for name, body in pairs(sources) do
    M.policies[#M.policies + 1] = {
        kind = "balance", name = name, origin = "policies/balance/" .. name .. ".lua",
        source = ("return { name = '%s', doc = 'test', params = {}, new = function() "
            .. "local pick = (function() %s end)() return { pick = pick } end, examples = {} }"):format(name, body),
    }
end
return M
