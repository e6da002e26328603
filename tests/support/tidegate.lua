-- tidegate.lua: the real binary in a directory of its own, for functional specs.
--
--     local tidegate = require "tidegate"
--     it("balances", tidegate.test(function(t)
--         t:write("tidegate.lua", [[ cluster { id = "@ID@", engine = "process" } ... listen = "127.0.0.1:@PORT@" ]])
--         t:start()
--         assert.equal(200, t:get("/").status)
--     end))
--
-- Each test has one directory below /tmp, one cluster id, and ports of its own, so that specs run side
-- by side. Every wait has a condition and a deadline. At the end of a test its daemons must end with 0,
-- leave no process, and have had nothing for a sanitizer to say; on failure the end of the log is shown.
local ffi = require "ffi"
local json = require "dkjson"
local socket = require "socket"
local posix = {
    unistd = require "posix.unistd", fcntl = require "posix.fcntl", signal = require "posix.signal",
    wait = require "posix.sys.wait", stdlib = require "posix.stdlib", stat = require "posix.sys.stat",
    dirent = require "posix.dirent",
}

ffi.cdef [[ int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d); ]]
local PR_SET_PDEATHSIG = 1

local M = { json = json, now = socket.gettime, sleep = socket.sleep }

local BUILD = os.getenv "TIDEGATE_BUILD" or "build/debug"
-- Far beyond what a busy machine needs: only reached when something is wrong.
local DEADLINE_S = 30

local function absolute(path)
    return path:sub(1, 1) == "/" and path or posix.unistd.getcwd() .. "/" .. path
end

M.build = absolute(BUILD)
M.binary = M.build .. "/tidegate"
M.service = M.build .. "/service"

local Test = {}
Test.__index = Test

local function read_file(path)
    local file = io.open(path, "rb")
    if not file then
        return nil
    end
    local text = file:read "*a"
    file:close()
    return text
end
M.read_file = read_file

-- ---- Processes ----------------------------------------------------------------------------------

-- In a child: nothing but 0 to 2 stays open, and it is the program from here on. Options: env, dir.
local function become(argv, o)
    for fd = 3, 64 do
        posix.unistd.close(fd)
    end
    for key, value in pairs(o.env or {}) do
        posix.stdlib.setenv(key, value)
    end
    if o.dir then
        posix.unistd.chdir(o.dir)
    end
    local rest = {}
    for i = 2, #argv do
        rest[i - 1] = tostring(argv[i])
    end
    posix.unistd.exec(argv[1], rest)
    posix.unistd._exit(127)
end
M.become = become

-- Runs argv[1] with its output in files; it ends when this process does. Options: stdin ("pipe"), out, err, env.
local function spawn(argv, o)
    local input, to_child
    if o.stdin == "pipe" then
        input, to_child = posix.unistd.pipe()
    else
        input = assert(posix.fcntl.open("/dev/null", posix.fcntl.O_RDONLY))
    end
    local flags = bit.bor(posix.fcntl.O_WRONLY, posix.fcntl.O_CREAT, posix.fcntl.O_APPEND)
    local out = assert(posix.fcntl.open(o.out, flags, 384))
    local err = assert(posix.fcntl.open(o.err, flags, 384))
    local pid = assert(posix.unistd.fork())
    if pid == 0 then
        ffi.C.prctl(PR_SET_PDEATHSIG, 9, 0, 0, 0)
        posix.unistd.dup2(input, 0)
        posix.unistd.dup2(out, 1)
        posix.unistd.dup2(err, 2)
        become(argv, o)
    end
    posix.unistd.close(input)
    posix.unistd.close(out)
    posix.unistd.close(err)
    return { pid = pid, input = to_child, out = o.out, err = o.err }
end

-- Takes the exit code (128 + n for signal n) if it has ended; else nil.
local function reap(process, block)
    if process.code then
        return process.code
    end
    local pid, how, status = posix.wait.wait(process.pid, block and 0 or posix.wait.WNOHANG)
    if pid == process.pid and how ~= "running" then
        process.code = how == "exited" and status or 128 + status
        if process.input then
            posix.unistd.close(process.input)
            process.input = nil
        end
    end
    return process.code
end

local function alive(pid)
    local stat = read_file("/proc/" .. pid .. "/stat")
    return stat ~= nil and not stat:match "%) [ZX]"
end

-- ---- Making and ending --------------------------------------------------------------------------

local count = 0
local next_port

-- A port below those of instances and of outgoing connections; 200 to each process that asks.
local function free_port()
    next_port = next_port or 10000 + (posix.unistd.getpid() * 211) % 9800
    for _ = 1, 200 do
        next_port = next_port + 1
        local probe = socket.tcp4()
        local ok = probe:bind("127.0.0.1", next_port) and probe:listen(1)
        probe:close()
        if ok then
            return next_port
        end
    end
    error "no free port"
end
M.free_port = free_port

local function new()
    count = count + 1
    local t = setmetatable({ processes = {}, others = {}, ports = {} }, Test)
    t.id = ("t%d-%d"):format(posix.unistd.getpid(), count)
    t.dir = assert(posix.stdlib.mkdtemp("/tmp/tidegate-" .. t.id .. "-XXXXXX"))
    t.log_path = t.dir .. "/log"
    t.env = {
        TIDEGATE_RUNTIME_DIR = t.dir .. "/run", TIDEGATE_STATE_DIR = t.dir .. "/state", TIDEGATE_SOCKET = "",
    }
    return t
end

-- Pids of processes with our directory or cluster id in their environment or command line.
local function leftovers(t)
    local found = {}
    for pid in posix.dirent.files "/proc" do
        if pid:match "^%d+$" and tonumber(pid) ~= posix.unistd.getpid() and alive(pid) then
            local environment = read_file("/proc/" .. pid .. "/environ") or ""
            local line = read_file("/proc/" .. pid .. "/cmdline") or ""
            local id = "=" .. t.id .. "%z"
            if environment:find(t.dir, 1, true) or line:find(t.dir, 1, true) or environment:find((id:gsub("-", "%%-"))) then
                found[#found + 1] = ("%s (%s)"):format(pid, (line:gsub("%z", " ")))
            end
        end
    end
    return found
end

local SANITIZERS = { "ERROR: AddressSanitizer", "runtime error:", "LeakSanitizer", "ThreadSanitizer", "status=99" }

local function complaints(t)
    for _, path in ipairs { t.dir .. "/stderr", t.log_path } do
        local text = read_file(path) or ""
        for _, word in ipairs(SANITIZERS) do
            local at = text:find(word, 1, true)
            if at then
                return ("%s in %s:\n%s"):format(word, path, text:sub(math.max(1, at - 200), at + 4000))
            end
        end
        if text:find("handles are still open", 1, true) then
            return "handles are still open at the end"
        end
    end
end

local function tail(path, bytes)
    local text = read_file(path) or ""
    return text:sub(-bytes)
end

-- Ends everything; what was wrong, or nil.
local function finish(t, well)
    local wrong = {}
    for _, process in ipairs(t.others) do
        if not reap(process) then
            posix.signal.kill(process.pid, 9)
            reap(process, true)
        end
    end
    for _, process in ipairs(t.processes) do
        if not reap(process) then
            local ok, code = pcall(t.stop, t, process)
            if not ok then
                posix.signal.kill(process.pid, 9)
                reap(process, true)
                wrong[#wrong + 1] = "the daemon did not end: " .. tostring(code)
            elseif code ~= 0 then
                wrong[#wrong + 1] = "the daemon ended with " .. code
            end
        end
    end
    if not t.leaves_services then
        local deadline = M.now() + (well and 5 or 1)
        local left = leftovers(t)
        while #left > 0 and M.now() < deadline do
            M.sleep(0.02)
            left = leftovers(t)
        end
        if #left > 0 then
            wrong[#wrong + 1] = "left behind: " .. table.concat(left, ", ")
        end
    end
    for _, line in ipairs(leftovers(t)) do
        posix.signal.kill(tonumber(line:match "^%d+"), 9)
    end
    wrong[#wrong + 1] = complaints(t)
    if #wrong > 0 or not well then
        io.stderr:write(("\n---- end of %s/log\n%s\n---- stderr\n%s\n----\n"):format(t.dir, tail(t.log_path, 6000),
            tail(t.dir .. "/stderr", 3000)))
    end
    if not os.getenv "TIDEGATE_KEEP" then
        os.execute("rm -rf '" .. t.dir .. "'")
    end
    return #wrong > 0 and table.concat(wrong, "; ") or nil
end

-- The body of an `it`: fn(t) with a fresh directory, ended and looked through whatever happens.
function M.test(fn)
    return function()
        local t = new()
        local ok, err = xpcall(fn, function(e)
            return type(e) == "string" and debug.traceback(e, 2) or e
        end, t)
        local wrong = finish(t, ok, t)
        if not ok then
            error(err, 0)
        end
        if wrong then
            error(wrong, 0)
        end
    end
end

-- ---- Files --------------------------------------------------------------------------------------

-- Replaces @NAME@: ID, DIR, SERVICE (the program), PORT, PORT2 ... (free ones), and what `values` has.
function Test:fill(text, values)
    return (text:gsub("@([A-Z]+%d*)@", function(name)
        local value = values and values[name]
        if value == nil and name:match "^PORT%d*$" then
            value = self:port(name)
        end
        value = value or ({ ID = self.id, DIR = self.dir, SERVICE = M.service })[name]
        return tostring(assert(value, "nothing for @" .. name .. "@"))
    end))
end

function Test:write(name, text, values)
    local path = self.dir .. "/" .. name
    local folder = path:match "^(.*)/"
    if not posix.stat.stat(folder) then
        assert(os.execute("mkdir -p '" .. folder .. "'"))
    end
    local file = assert(io.open(path, "w"))
    file:write(self:fill(text, values))
    file:close()
    return path
end

-- A configuration with quick intervals around `services`; `values` as in fill, and CLUSTER: more keys.
function Test:configure(services, values)
    values = values or {}
    values.CLUSTER = values.CLUSTER or ""
    return self:write("tidegate.lua", [[
cluster { id = "@ID@", engine = "process", workers = 2, admin = false, sample_interval = "100ms",
          health_check_interval = "100ms", @CLUSTER@ }
]] .. services, values)
end

function Test:port(name)
    name = name or "PORT"
    self.ports[name] = self.ports[name] or free_port()
    return self.ports[name]
end

function Test:log()
    return (read_file(self.log_path) or "")
end

-- ---- Waiting ------------------------------------------------------------------------------------

-- Until condition() is true; its last answer. `what` completes "waited 30 s for ...".
function Test:wait(what, condition, seconds) -- luacheck: ignore self
    local deadline = M.now() + (seconds or DEADLINE_S)
    repeat
        local answer = condition()
        if answer then
            return answer
        end
        M.sleep(0.02)
    until M.now() > deadline
    error(("waited %d s in vain for %s"):format(seconds or DEADLINE_S, what), 2)
end

-- Until the log has the plain text `times` times.
function Test:wait_log(text, times)
    return self:wait(("%q in the log"):format(text), function()
        local _, found = self:log():gsub((text:gsub("%p", "%%%0")), "")
        return found >= (times or 1)
    end)
end

-- ---- The daemon ---------------------------------------------------------------------------------

-- Starts `tidegate run`. Options: config, args (list), wait = false (do not wait for serving), keep (its
-- services outlive it), cluster_only = true (wait for serving, not for services).
function Test:start(o)
    o = o or {}
    local argv = { M.binary, "run", o.config or self.dir .. "/tidegate.lua", "--log-file", self.log_path }
    if not o.keep then
        argv[#argv + 1] = "--stop-services"
    end
    for _, arg in ipairs(o.args or {}) do
        argv[#argv + 1] = arg
    end
    local process = spawn(argv, { out = self.dir .. "/stdout", err = self.dir .. "/stderr", env = self.env,
        dir = self.dir })
    self.processes[#self.processes + 1] = process
    self.daemon = process
    if o.wait ~= false then
        self:wait("the daemon to serve", function()
            if reap(process) then
                error(("the daemon ended with %d: %s"):format(process.code, tail(self.dir .. "/stderr", 2000)), 0)
            end
            local serving = read_file(("%s/run/%s/serving"):format(self.dir, self.id))
            return serving and tonumber(serving) == process.pid
        end)
        if not o.cluster_only then
            self:wait_settled()
        end
    end
    return process
end

-- Asks it to end (SIGTERM) and waits; its exit code.
function Test:stop(process, signal)
    process = process or self.daemon
    posix.signal.kill(process.pid, signal or 15)
    self:wait("the daemon to end", function()
        return reap(process)
    end, 60)
    return process.code
end

function Test:kill(pid, signal) -- luacheck: ignore self
    assert(pid and pid > 1, "no pid to kill")
    assert(posix.signal.kill(pid, signal or 9))
end

-- SIGKILL to the daemon itself; its exit is expected.
function Test:crash(process)
    process = process or self.daemon
    self:kill(process.pid, 9)
    reap(process, true)
end

function Test:exit_code(process)
    process = process or self.daemon
    return self:wait("the daemon to end by itself", function()
        return reap(process)
    end)
end

M.alive = alive

-- Starts a program that the daemon knows nothing of; it ends with the test.
function Test:run_beside(program, ...)
    local name = ("%s/beside-%d"):format(self.dir, math.random(1e9))
    local process = spawn({ program, ... }, { out = name .. ".out", err = name .. ".err" })
    self.others[#self.others + 1] = process
    return process
end

-- ---- The command line ---------------------------------------------------------------------------

-- Runs a command to its end: { code, out, err }.
function Test:cli(...)
    local name = ("%s/cli-%d"):format(self.dir, math.random(1e9))
    local process = spawn({ M.binary, ... }, { out = name .. ".out", err = name .. ".err", env = self.env, dir = self.dir })
    local ok = pcall(self.wait, self, "the command", function()
        return reap(process)
    end, 60)
    if not ok then
        self:kill(process.pid, 9)
        reap(process, true)
        error("the command does not end: " .. table.concat({ ... }, " "), 2)
    end
    local result = { code = process.code, out = read_file(process.out), err = read_file(process.err) }
    os.remove(process.out)
    os.remove(process.err)
    return result
end

-- The same in the background; wait for it with t:finished(process).
function Test:cli_begin(...)
    local name = ("%s/cli-%d"):format(self.dir, math.random(1e9))
    local process = spawn({ M.binary, ... }, { out = name .. ".out", err = name .. ".err", env = self.env, dir = self.dir })
    self.others[#self.others + 1] = process
    return process
end

-- Its exit code when it has ended, else nil.
function Test:ended(process) -- luacheck: ignore self
    return reap(process)
end

function Test:finished(process)
    self:wait("the command", function()
        return reap(process)
    end, 60)
    return { code = process.code, out = read_file(process.out), err = read_file(process.err) }
end

-- Runs a command that must succeed, with --json; the answer as a table.
function Test:ask(...)
    local words = { ... }
    words[#words + 1] = "--json"
    local result = self:cli(unpack(words))
    if result.code ~= 0 then
        error(("`tidegate %s` ended with %d: %s%s"):format(table.concat(words, " "), result.code, result.out, result.err), 2)
    end
    return assert(json.decode(result.out))
end

-- What the control socket answers to `bytes`, whatever they are.
function Test:control(bytes)
    local unix = require "socket.unix"()
    unix:settimeout(10)
    assert(unix:connect(("%s/run/%s/control.sock"):format(self.dir, self.id)))
    unix:send(bytes)
    local text, _, part = unix:receive "*a"
    unix:close()
    return text or part
end

function Test:status()
    return self:ask "status"
end

-- The status of a service (the only one when unnamed).
function Test:of(name)
    for _, service in ipairs(self:status().services) do
        if not name or service.name == name then
            return service
        end
    end
    error("no service " .. tostring(name), 2)
end

-- Instances of a service, by id.
function Test:instances(name)
    local list = {}
    for _, instance in ipairs(self:of(name).instances) do
        list[instance.id] = instance
    end
    return list
end

function Test:decisions(...)
    return self:ask("decisions", ...).decisions
end

-- Until every service has as many up as it should, nothing on its way.
function Test:wait_settled(seconds)
    return self:wait("all services to settle", function()
        for _, s in ipairs(self:status().services) do
            -- Before the engine has listed what runs, nothing is desired yet.
            if s.source ~= "backends" and not s.stopped and s.desired < s.min then
                return false
            end
            if s.up ~= s.desired or s.starting ~= 0 or s.draining ~= 0 or s.rolling or #s.instances ~= s.desired then
                return false
            end
        end
        return true
    end, seconds)
end

-- Until the service has exactly n up and nothing else.
function Test:wait_up(n, name, seconds)
    return self:wait(n .. " instances up", function()
        local s = self:of(name)
        return s.up == n and #s.instances == n and s
    end, seconds)
end

-- Pid of an instance, as the engine knows it.
function Test:pid_of(instance) -- luacheck: ignore self
    assert(instance.pid and instance.pid > 1, "no pid of " .. instance.id)
    return instance.pid
end

-- Pids of all instances of a service, by id.
function Test:pids(name)
    local pids = {}
    for id, instance in pairs(self:instances(name)) do
        pids[id] = self:pid_of(instance)
    end
    return pids
end

-- ---- HTTP ---------------------------------------------------------------------------------------

-- One request on a connection of its own: { status, headers (lower case), body } or nil and why.
-- Options: port, method, headers (map), body, timeout, host (an address).
function Test:get(path, o)
    o = o or {}
    local conn = socket.tcp4()
    conn:settimeout(o.timeout or 10)
    local ok, err = conn:connect("127.0.0.1", o.port or self:port())
    if not ok then
        conn:close()
        return nil, err
    end
    local lines = { ("%s %s HTTP/1.1"):format(o.method or "GET", path), "Connection: close" }
    local headers = o.headers or {}
    if not headers.Host then
        lines[#lines + 1] = "Host: 127.0.0.1"
    end
    for key, value in pairs(headers) do
        lines[#lines + 1] = key .. ": " .. value
    end
    if o.body then
        lines[#lines + 1] = "Content-Length: " .. #o.body
    end
    conn:send(table.concat(lines, "\r\n") .. "\r\n\r\n" .. (o.body or ""))
    local text, why, part = conn:receive "*a"
    conn:close()
    text = text or part
    local head, body = (text or ""):match "^(.-)\r\n\r\n(.*)$"
    if not head then
        return nil, why or "no answer"
    end
    local answer = { status = tonumber(head:match "^HTTP/1%.%d (%d+)"), headers = {}, body = body }
    for key, value in head:gmatch "\r\n([^:\r\n]+):%s*([^\r\n]*)" do
        answer.headers[key:lower()] = value
    end
    if answer.headers["transfer-encoding"] == "chunked" then
        local whole, rest = {}, body
        while true do
            local size, behind = rest:match "^(%x+)[^\r\n]*\r\n(.*)$"
            size = size and tonumber(size, 16) or 0
            if size == 0 then
                break
            end
            whole[#whole + 1] = behind:sub(1, size)
            rest = behind:sub(size + 3)
        end
        answer.body = table.concat(whole)
    end
    return answer
end

-- A function that asks host "<name>.example": the index of the instance that answers, and the answer.
function Test:asker()
    local index_of = {}
    for id, instance in pairs(self:instances()) do
        index_of[id] = instance.index
    end
    return function(name, path, headers)
        local all = { Host = name .. ".example" }
        for field, value in pairs(headers or {}) do
            all[field] = value
        end
        local answer = assert(self:get(path or "/", { headers = all }))
        assert(answer.status == 200, answer.status)
        return assert(index_of[answer.headers["x-instance"]], answer.headers["x-instance"]), answer
    end
end

-- ---- Load ---------------------------------------------------------------------------------------

local Load = {}
Load.__index = Load

-- Starts the load program on `o.path` ("/work?cpu_ms=1"). Options: rate, connections, port, args (list).
function Test:load(o)
    local name = ("%s/load-%d"):format(self.dir, math.random(1e9))
    local argv = { M.build .. "/load", "--live", 50, "--control", "--connections", o.connections or 8 }
    for _, arg in ipairs(o.args or {}) do
        argv[#argv + 1] = arg
    end
    argv[#argv + 1] = ("http://127.0.0.1:%d%s"):format(o.port or self:port(), o.path or "/work")
    local process = spawn(argv, { out = name .. ".out", err = name .. ".err", stdin = "pipe" })
    self.others[#self.others + 1] = process
    local load = setmetatable({ t = self, process = process }, Load)
    load:say("rate " .. (o.rate or 200))
    load:run(20)
    return load
end

-- The newest live line.
function Load:live()
    local text = read_file(self.process.out) or ""
    local last
    for line in text:gmatch "[^\n]+\n" do
        last = line
    end
    return last and json.decode(last) or { requests = 0, errors = 0 }
end

-- Until `requests` more were answered.
function Load:run(requests)
    local from = self:live().requests
    self.t:wait(requests .. " more requests", function()
        return self:live().requests >= from + requests
    end)
end

function Load:say(command)
    posix.unistd.write(self.process.input, command .. "\n")
end

-- Ends it; all figures.
function Load:stop()
    if not reap(self.process) then
        self:say "end"
    end
    self.t:wait("the load program to end", function()
        return reap(self.process)
    end)
    return self:live()
end

-- Ends it and insists on no error at all.
function Load:stop_clean()
    local figures = self:stop()
    if figures.errors ~= 0 then
        error(("%d of %d requests failed: %s"):format(figures.errors, figures.requests,
            table.concat(figures.errors_text, "; ")), 2)
    end
    return figures
end

return M
