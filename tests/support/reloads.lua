-- reloads.lua: reloads in a row under load, half of them broken in as many ways as we could think of.
--
--     local figures = reloads.run(t, 60)      t as tidegate.test gives it
--
-- Each good reload has the balance policy send everything to another instance, so that every answer tells which
-- generation chose. While a reload is under way connections to all workers ask without pause: on each of them the new
-- generation may follow the old one and never the other way round, a refused one may never be seen, and behind
-- the outcome of a reload no answer may come from the generation before.
local dirent = require "posix.dirent"
local signal = require "posix.signal"
local socket = require "socket"
local tidegate = require "tidegate"

local M = {}

local INSTANCES, CONNECTIONS = 4, 8

local MAIN = [[
cluster { id = "@ID@", engine = "process", workers = 2, admin = false }
include "parts/*.lua"
service "data" {
  command = { "@SERVICE@", "--host", "127.0.0.1", "--port", "$PORT" },
  health_check = { http = "/health", interval = "1s", timeout = "10s", retries = 5 },
  scale = { policy = "keeps", min = 4, max = 4, interval = "100ms", level = @LEVEL@ },
  route = { listen = "127.0.0.1:@PORT@", balance = "turn",
    request = function(r) return { key = prefix .. r.path } end },
}
service "far" { backends = { "127.0.0.1:1" }, route = { listen = "127.0.0.1:@PORT@", host = "far.example", queue = {} } }
@MORE@
alert "Busy" { when = function(m) return m.service == "none" end, channels = {} }
]]

local TURN = [[
local help = require "lib.help"
return {
  name = "turn", doc = "Everything to one instance.",
  new = function()
    local turn = help.turn(@TURN@)
    return { pick = function(backends, n, request)
      local i = turn % n + 1
      return backends[i].eligible ~= 0 and i or nil
    end }
  end,
  examples = { { backends = { {}, {}, {}, {} }, want = @TURN@ % 4 + 1 } },
}]]

local KEEPS = [[
return {
  name = "keeps", doc = "Keeps a list.", params = { level = { type = "number", default = 1 } },
  state_version = @VERSION@,
  migrate = function(old, from) old.migrated = from return old end,
  new = function(params, state)
    state.list = state.list or {}
    return function(s)
      state.list[#state.list % 100 + 1] = s.now
      return 4, "level " .. params.level
    end
  end,
  examples = { { given = { instances = 4 }, want = 4 } },
}]]

local FILES = {
    ["tidegate.lua"] = MAIN,
    ["parts/prefix.lua"] = "prefix = 'p'\n",
    ["policies/lib/help.lua"] = "return { turn = function(n) return n end }\n",
    ["policies/balance/turn.lua"] = TURN,
    ["policies/scale/keeps.lua"] = KEEPS,
}

local function filled(text, values)
    return (text:gsub("@([A-Z]+)@", function(name)
        return values[name] and tostring(values[name])
    end))
end

local function path_of(w, name)
    return w.t.dir .. "/" .. name
end

-- The files of the generation `turn`, as they should be.
local function write_all(w, turn, changes)
    local values = { TURN = turn, LEVEL = turn, VERSION = 1 + math.floor(turn / 10), MORE = "" }
    if turn % 3 == 1 then
        values.MORE = 'service "more" { backends = { "127.0.0.1:1" }, route = { listen = "127.0.0.1:@PORT2@" } }'
    end
    for key, value in pairs(changes or {}) do
        values[key] = value
    end
    for name, text in pairs(FILES) do
        os.execute("rm -rf '" .. path_of(w, name) .. "'")
        w.t:write(name, filled(text, values))
    end
end

local function replaced(name, pattern, by)
    return function(w)
        local text = tidegate.read_file(path_of(w, name))
        local other, count = text:gsub(pattern, by)
        assert(count > 0, "nothing to break in " .. name)
        local file = assert(io.open(path_of(w, name), "wb"))
        file:write(other)
        file:close()
    end
end

local function put(name, text)
    return function(w)
        w.t:write(name, text)
    end
end

local function shell(line)
    return function(w)
        assert(os.execute(("cd '%s' && %s"):format(w.t.dir, line)) == 0)
    end
end

local TURN_FILE, KEEPS_FILE, HELP = "policies/balance/turn.lua", "policies/scale/keeps.lua", "policies/lib/help.lua"

local function loop_in_new(body)
    return replaced(KEEPS_FILE, "state.list = state.list or {}", body)
end

-- { what, how, words of the error (nil: any) }
M.BROKEN = {
    { "syntax error", put("tidegate.lua", "cluster { id = "), "tidegate.lua:1" },
    { "syntax error in an included file", put("parts/prefix.lua", "prefix = = 1"), "parts/prefix.lua:1" },
    { "syntax error in a policy", replaced(TURN_FILE, "return {", "return {{", 1), "turn.lua" },
    { "syntax error in a library", put(HELP, "return +"), "help.lua:1" },
    { "unknown key", replaced("tidegate.lua", "health_check =", "helth_check ="), "health_check" },
    { "unknown nested key", replaced("tidegate.lua", "retries =", "retrys ="), "retries" },
    { "no main file", shell "rm tidegate.lua", "tidegate.lua" },
    { "no policy", shell "rm policies/scale/keeps.lua", "keeps" },
    { "no library", shell "rm policies/lib/help.lua", "help" },
    { "what an included file defines is gone", shell "rm parts/prefix.lua", 'undefined global "prefix"' },
    { "a directory for the main file", shell "rm tidegate.lua && mkdir tidegate.lua", "regular file" },
    { "a directory for a policy", shell "rm policies/scale/keeps.lua && mkdir policies/scale/keeps.lua", "regular file" },
    { "a pipe for a policy", shell "rm policies/scale/keeps.lua && mkfifo policies/scale/keeps.lua", "regular file" },
    { "a link that leads to itself", shell "ln -sf turn.lua policies/balance/turn.lua" },
    { "a link that leads out", shell "ln -sf /etc/passwd policies/balance/turn.lua", "outside" },
    { "a link to a device", shell "ln -sf /dev/zero tidegate.lua" },
    { "truncated main file", shell "head -c 300 tidegate.lua > x && mv x tidegate.lua", "tidegate.lua" },
    { "truncated policy", shell "head -c 150 policies/scale/keeps.lua > x && mv x policies/scale/keeps.lua", "keeps.lua" },
    { "binary file", shell "head -c 5000 /bin/sh > tidegate.lua", "NUL" },
    { "compiled Lua", put(TURN_FILE, "\27LJ\2\0\0"), "compiled" },
    { "UTF-16", put("parts/prefix.lua", "\255\254p\0r\0e\0f\0i\0x\0"), "NUL" },
    { "bytes of no encoding", put("parts/prefix.lua", "prefix = \255\254\253"), "prefix.lua:1" },
    { "a file of 2 MiB", shell "yes -- '-- nothing' 2>/dev/null | head -c 2097152 > parts/prefix.lua", "1 MiB" },
    { "an empty policy", put(TURN_FILE, ""), "turn.lua" },
    { "a policy that is a number", put(TURN_FILE, "return 5"), "turn.lua" },
    { "a policy of another name", replaced(TURN_FILE, '"turn"', '"torn"'), "turn.lua" },
    { "a policy without new", replaced(KEEPS_FILE, "new =", "now ="), "keeps.lua" },
    { "endless loop in the configuration", put("parts/prefix.lua", "while true do end"), "parts/prefix.lua:1" },
    { "endless loop that swallows errors", put("parts/prefix.lua", "while true do pcall(function() while true do end end) end") },
    { "endless loop in a policy", put(HELP, "while true do end"), "ran longer" },
    { "endless loop in new", loop_in_new "while true do end", "keeps.lua" },
    { "a pattern that takes for ever", put("parts/prefix.lua", "local x = ('a'):rep(1e6):find('.-.-.-b$')") },
    { "endless recursion", put("parts/prefix.lua", "local function f() return 1 + f() end f()"), "stack overflow" },
    { "a string that doubles", put("parts/prefix.lua", "local s = 'x' while true do s = s .. s end") },
    { "a table that grows", put(HELP, "local t = {} for i = 1, 1e9 do t[i] = { i } end") },
    { "an error that is a table", put("parts/prefix.lua", "error({ 1 })") },
    { "an error that loops when it is shown",
        put("parts/prefix.lua", "error(setmetatable({}, { __tostring = function() while true do end end }))") },
    { "failing example", replaced(TURN_FILE, "%% 4 %+ 1", "%% 4 + 2"), "examples[1]" },
    { "undefined global", loop_in_new "state.list = state.list or maths.huge", 'undefined global "maths"' },
    { "global written", loop_in_new "list = {} state.list = list", 'writes the global "list"' },
    { "io", loop_in_new "io.open('/etc/passwd')", '"io"' },
    { "migrate raises", replaced(KEEPS_FILE, "state_version = %d+,(.*)old.migrated = from", "state_version = 999,%1error 'no'"),
        "keeps.lua:4: no" },
    { "migrate gives a number", replaced(KEEPS_FILE, "state_version = %d+,(.*)return old end", "state_version = 999,%1return 7 end"),
        "migrate" },
    { "migrate gives a function",
        replaced(KEEPS_FILE, "state_version = %d+,(.*)return old end", "state_version = 999,%1return { f = print } end"),
        "state.f is a function" },
    { "migrate loops", replaced(KEEPS_FILE, "state_version = %d+,(.*)return old end",
        "state_version = 999,%1while true do end end"), "keeps.lua:4" },
    { "a state that is no data", replaced(KEEPS_FILE, "state.list%[.-%] = s.now", "state.f = print"), "state.f is a function" },
    { "new raises on the state it gets", loop_in_new "state.list = state.list and error 'old' or {}", "keeps.lua" },
    { "wrong type", replaced("tidegate.lua", "level = %d+", "level = 'high'"), "level" },
    { "wrong duration", replaced("tidegate.lua", '"100ms"', '"soon"'), "soon" },
    { "a number for a table", replaced("tidegate.lua", 'alert "Busy" {', 'alert "Busy" (5) local x = {'), "Busy" },
    { "duplicate service", replaced("tidegate.lua", 'service "far"', 'service "data"'), "data" },
    { "duplicate route", replaced("tidegate.lua", 'host = "far.example"', 'path = "/"') },
    { "no such host to listen on", replaced("tidegate.lua", 'listen = "127.0.0.1:%d+", balance', 'listen = "no.such.host.invalid:80", balance'),
        "listen" },
    { "address of another machine", function(w)
        write_all(w, w.turn + 1, { MORE = 'service "x" { backends = { "127.0.0.1:1" }, route = { listen = "192.0.2.1:80" } }' })
    end, "cannot listen" },
    { "port in use", function(w)
        write_all(w, w.turn + 1, { MORE = 'service "x" { backends = { "127.0.0.1:1" }, route = { listen = "127.0.0.1:@PORT3@" } }' })
    end, "cannot listen" },
    { "what only a restart can change", replaced("tidegate.lua", "cluster {", "cluster { state_dir = '/tmp/elsewhere',"), "restart" },
    { "unknown engine", replaced("tidegate.lua", 'engine = "process"', 'engine = "dcoker"'), "docker" },
    { "includes itself", put("parts/prefix.lua", 'include "tidegate.lua"'), "itself" },
    { "includes what is not there", put("parts/prefix.lua", 'prefix = "" include "none.lua"'), "none.lua" },
    { "a library that requires itself", put(HELP, 'return require "lib.help"'), "itself" },
    { "an unknown policy", replaced("tidegate.lua", 'balance = "turn"', 'balance = "trun"'), "turn" },
    { "a variable that is not set", put("parts/prefix.lua", 'prefix = env "NO_SUCH_VARIABLE"'), "NO_SUCH_VARIABLE" },
    { "the loading process is killed", put("parts/prefix.lua", "local s = 0 for i = 1, 1e12 do s = s + i end"), nil, "kill" },
    { "a worker hangs", function() end, "not all workers were ready", "stop" },
}

-- ---- Asking -----------------------------------------------------------------------------------

-- Who answers on connection `c`, which is kept.
local function ask(w, c)
    assert(c:send "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    local length, who = 0, nil
    repeat
        local head = assert(c:receive "*l")
        who = head:lower():match "^x%-instance: (%S+)" or who
        length = tonumber(head:lower():match "^content%-length: (%d+)") or length
        assert(not head:find "^HTTP" or head:find "^HTTP/1.1 200 ", head)
    until head == ""
    if length > 0 then
        assert(c:receive(length))
    end
    w.asked = w.asked + 1
    return assert(who, "no X-Instance")
end

local function connect(w)
    local list = {}
    for i = 1, CONNECTIONS do
        list[i] = socket.tcp4()
        list[i]:settimeout(20)
        assert(list[i]:connect("127.0.0.1", w.t:port()))
        list[i]:setoption("tcp-nodelay", true)
    end
    return list
end

-- ---- Figures ----------------------------------------------------------------------------------

-- Inodes of TCP sockets that are connected.
local function connected()
    local inodes = {}
    for line in io.lines "/proc/net/tcp" do
        local state, inode = line:match "^%s*%d+: %x+:%x+ %x+:%x+ (%x+) %S+ %S+ %S+%s+%d+%s+%d+ (%d+)"
        if inode and state ~= "0A" then
            inodes[inode] = true
        end
    end
    return inodes
end

-- Descriptors of a process that are no TCP connections, and those that are: of clients, and kept ones to instances.
local function descriptors(pid)
    local inodes, others, connections = connected(), 0, 0
    for line in io.popen(("ls -l /proc/%d/fd"):format(pid)):lines() do
        local target = line:match " %-> (.*)$"
        if target and inodes[target:match "^socket:%[(%d+)%]$"] then
            connections = connections + 1
        elseif target and not target:find("/history/", 1, true) then -- of a day, when its first samples come
            others = others + 1
        end
    end
    return others, connections
end

-- Memory of its own that it wrote to (kB), descriptors and threads of a process.
local function process_figures(pid)
    local rollup = tidegate.read_file(("/proc/%d/smaps_rollup"):format(pid)) or ""
    local status = tidegate.read_file(("/proc/%d/status"):format(pid)) or ""
    local files, connections = descriptors(pid)
    return { kb = tonumber(rollup:match "Private_Dirty:%s+(%d+) kB"), files = files, connections = connections,
        threads = tonumber(status:match "Threads:%s+(%d+)") }
end

local function children_of(w)
    local pids = {}
    for task in dirent.files(("/proc/%d/task"):format(w.t.daemon.pid)) do
        local list = tidegate.read_file(("/proc/%d/task/%s/children"):format(w.t.daemon.pid, task)) or ""
        for pid in list:gmatch "%d+" do
            pids[#pids + 1] = pid
        end
    end
    return pids
end

local function figures(w)
    local status = w.t:status()
    local out = { master = process_figures(w.t.daemon.pid), policy = process_figures(status.policy_pid) }
    for i, worker in ipairs(status.workers) do
        out["worker " .. i] = process_figures(worker.pid)
    end
    out.processes = #children_of(w)
    return out
end

-- ---- Reloading --------------------------------------------------------------------------------

-- The process that loads: a policy process that is not the one in force.
local function candidate_of(w, policy_pid)
    for _, pid in ipairs(children_of(w)) do
        local line = tidegate.read_file(("/proc/%s/cmdline"):format(pid)) or ""
        if line:find("--policy", 1, true) and tonumber(pid) ~= policy_pid then
            return tonumber(pid)
        end
    end
end

local function disturb(w, how, status)
    if how == "kill" then
        w.t:wait("the process that loads", function()
            local pid = candidate_of(w, status.policy_pid)
            return pid and signal.kill(pid, 9) == 0
        end)
    end
end

-- Stops a worker while it waits in the kernel: one that stands still inside a policy would be killed, and rightly so.
local function stop(w, pid)
    w.t:wait("the worker to stop outside of a policy", function()
        signal.kill(pid, 19)
        w.t:wait("it to stand", function()
            return (tidegate.read_file(("/proc/%d/stat"):format(pid)) or ""):find "%) T"
        end)
        if (tidegate.read_file(("/proc/%d/syscall"):format(pid)) or ""):find "^%d" then
            return true
        end
        signal.kill(pid, 18)
    end)
end

-- Runs `tidegate reload` with requests on all connections meanwhile; the outcome. `was` and `new` (nil: it must never be
-- seen) are who answers.
local function reload(w, was, new, how)
    local status = w.t:status()
    local stopped = how == "stop" and status.workers[1].pid
    if stopped then
        stop(w, stopped)
    end
    local process, seen = w.t:cli_begin "reload", {}
    disturb(w, how, status)
    while not stopped and not w.t:ended(process) do
        for i, c in ipairs(w.connections) do
            local who = ask(w, c)
            if who ~= was and who ~= new or seen[i] and who ~= new then
                error(("connection %d: %s answers, expected %s%s"):format(i, who, seen[i] and "" or was .. " or ", tostring(new)), 0)
            end
            seen[i] = new and new ~= was and who == new
        end
        socket.sleep(0.001) -- the daemon, too, is to get on
    end
    local result = w.t:finished(process)
    if stopped then
        signal.kill(stopped, 18)
    end
    os.remove(process.out)
    os.remove(process.err)
    return result
end

-- From now on only `who` answers, on kept connections and on new ones.
local function only(w, who)
    for round = 1, 2 do
        for i, c in ipairs(w.connections) do
            local other = ask(w, c)
            assert(other == who, ("connection %d answers as %s, expected %s"):format(i, other, who))
        end
        if round == 1 then
            local fresh = w.t:get "/"
            assert(fresh.headers["x-instance"] == who, fresh.headers["x-instance"])
        end
    end
end

local function good(w)
    local was = w.who[w.turn % INSTANCES]
    w.turn = w.turn + 1
    write_all(w, w.turn)
    local new = w.who[w.turn % INSTANCES]
    local result = reload(w, was, new)
    assert(result.code == 0, result.err)
    w.generation = w.generation + 1
    only(w, new)
end

local function broken(w, case)
    local was = w.who[w.turn % INSTANCES]
    write_all(w, w.turn + 1) -- what must not be seen
    case[2](w)
    local result = reload(w, was, nil, case[4])
    local what = case[1] .. ": " .. result.out .. result.err
    assert(result.code == 1, what)
    assert(not case[3] or result.err:find(case[3], 1, true), ("%q is missing in %s"):format(case[3] or "", what))
    only(w, was)
end

-- Figures in a generation without the service "more", whose listeners are descriptors. The least of a second, as health
-- checks and processes that end come and go.
local function comparable(w)
    repeat
        good(w)
    until w.turn % 3 == 0
    local least = figures(w)
    local over = tidegate.now() + 1
    while tidegate.now() < over do
        local now = figures(w)
        least.processes = math.min(least.processes, now.processes)
        for name, one in pairs(now) do
            if name ~= "processes" then
                least[name].files = math.min(least[name].files, one.files)
            end
        end
    end
    return least
end

-- Who answers for which turn, learned before it counts.
local function calibrate(w)
    w.who = {}
    for turn = 1, INSTANCES do
        write_all(w, turn)
        local result = w.t:cli "reload"
        assert(result.code == 0, result.err)
        w.who[turn % INSTANCES] = w.t:get("/").headers["x-instance"]
    end
    w.turn = INSTANCES
end

-- `count` reloads, half of them broken. Returns figures before and after: { warm, over, requests, ... }.
function M.run(t, count)
    local w = { t = t, generation = 0, asked = 0, turn = 0 }
    write_all(w, 0)
    t:start { cluster_only = true } -- "far" is never up
    t:wait_up(INSTANCES, "data")
    calibrate(w)
    local holder = socket.tcp4()
    assert(holder:bind("127.0.0.1", t:port "PORT3"))
    assert(holder:listen(1))
    w.connections = connect(w)
    local load = t:load { path = "/work?latency_ms=2", rate = 200, connections = 16 }
    local warm_at, warm = math.max(16, math.floor(count / 5)), nil
    local began = tidegate.now()
    local tried = {}
    for i = 1, count do
        if i % 2 == 1 then
            good(w)
        else
            local case = M.BROKEN[(i / 2 - 1) % #M.BROKEN + 1]
            tried[case[1]] = true
            broken(w, case)
        end
        if i == warm_at then
            warm = comparable(w)
        end
    end
    local over, took = comparable(w), tidegate.now() - began
    local status = t:status()
    local kinds = 0
    for _ in pairs(tried) do
        kinds = kinds + 1
    end
    for _, c in ipairs(w.connections) do
        c:close()
    end
    holder:close()
    return { warm = warm, over = over, load = load:stop_clean(), asked = w.asked, seconds = took, kinds = kinds,
        accepted = w.generation, status = status }
end

return M
