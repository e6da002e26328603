-- `tidegate repl`: on a terminal, with -e, from stdin, and attached to a daemon.
local pty = require "pty"
local tidegate = require "tidegate"

local OFFLINE = [[
cluster { id = "shop", engine = "process" }
service "catalog" {
  command = { "./catalog", "--port", "$PORT" }, ports = { "8080" }, scale = { policy = "threshold", min = 2, max = 4 },
  route = { listen = "127.0.0.1:18080", balance = "least_connections" },
}]]

local SERVICE = [[
service "data" {
  command = { "@SERVICE@", "--host", "127.0.0.1", "--port", "$PORT" }, environment = { PASSWORD = "hunter2" },
  health_check = { http = "/health", interval = "100ms", timeout = "1s", retries = 2 },
  scale = { policy = "threshold", min = 2, max = 4, interval = "1s" },
  route = { listen = "127.0.0.1:@PORT@", balance = "least_connections" },
}]]

-- The console on a terminal, in the test's directory.
local function open(t, ...)
    return pty.open({ tidegate.binary, "repl", ... }, { dir = t.dir, env = {
        TERM = "xterm", HOME = t.dir, XDG_STATE_HOME = t.dir .. "/home", TIDEGATE_RUNTIME_DIR = t.dir .. "/run",
        TIDEGATE_STATE_DIR = t.dir .. "/state", TIDEGATE_SOCKET = "", ASAN_OPTIONS = "detect_leaks=0",
    } })
end

-- Exit code, stdout and stderr of a shell line in the test's directory, in which $T is the program.
local function shell(t, line)
    local pipe = io.popen(("cd '%s' && export T='%s' TIDEGATE_RUNTIME_DIR='%s/run' TIDEGATE_SOCKET=; (%s) >out 2>err; echo $?")
        :format(t.dir, tidegate.binary, t.dir, line))
    local code = tonumber(pipe:read "*l")
    pipe:close()
    return code, tidegate.read_file(t.dir .. "/out"), tidegate.read_file(t.dir .. "/err")
end

describe("the console on a terminal", function()
    it("edits, completes, remembers, takes several lines, and is stopped by Ctrl-C", tidegate.test(function(t)
        t:write("tidegate.lua", OFFLINE)
        local c = open(t)
        c:wait "tidegate.lua with made-up views"
        c:wait "> "
        c:send "serv\t.cat\t.inst\t + 40\r"
        c:wait "\n42\r\n"
        c:send "for i = 1, 2 do\r"
        c:wait ">> "
        c:send "print('line', i)\r"
        c:wait ">> "
        c:send "end\r"
        c:wait "\nline\t1\r\nline\t2\r\n"
        c:wait "> "
        c:send "print 'now' while true do end\r"
        c:wait "\nnow\r\n"
        c:send "\3"
        c:wait "console:1: interrupted"
        c:wait "> "
        c:send "not to be run"
        c:wait "run"
        c:send "\3"
        c:wait "> "
        c:send "decide('catalog', { cpu\t = 92 }).want + 0.5\r"
        c:wait "\n3.5\r\n"
        c:send "'h\195\169' .. 'llo'\r"
        c:wait '\n"h\195\169llo"\r\n'
        c:wait "> "
        c:send "\27[A\27[A\r"
        c:wait "\n3.5\r\n"
        c:wait "> "
        c:send ":watch catalog 100ms\r"
        c:wait "\ncatalog  instances 2"
        c:wait "\ncatalog  instances 2"
        c:send "\3"
        c:wait "> "
        c:send "services.catlog\r"
        c:wait 'console:1: no service "catlog": did you mean "catalog"?'
        c:wait "> "
        c:send "\27[A" -- libedit shows a prompt a moment before it takes the terminal, in which Ctrl-D would be lost
        c:wait "services.catlog"
        assert.equal(0, c:close "\21\4")

        local again = open(t)
        again:wait "> "
        again:send "\27[A\27[A\27[A\27[A\r"
        again:wait '\n"h\195\169llo"\r\n'
        again:wait "> "
        assert.equal(0, again:close ":quit\r")
        local history = t.dir .. "/home/tidegate/console_history"
        assert.equal("600\n", io.popen("stat -c %a " .. history):read "*a")
    end))

    it("reads the configuration again, and keeps the old one when it does not load", tidegate.test(function(t)
        t:write("tidegate.lua", OFFLINE)
        local c = open(t)
        c:wait "> "
        t:write("tidegate.lua", (OFFLINE:gsub("max = 4", "max = 7")))
        c:send "mine = services.catalog.max\r"
        c:wait "> "
        c:send ":reload\r"
        c:wait "read again"
        c:send "mine + services.catalog.max\r"
        c:wait "\n11\r\n"
        t:write("tidegate.lua", "service {")
        c:send ":reload\r"
        c:wait "tidegate.lua:1: "
        c:send "services.catalog.max\r"
        c:wait "\n7\r\n"
        c:wait "> "
        assert.equal(0, c:close ":quit\r")
    end))

    it("simulates, and stops that at Ctrl-C", tidegate.test(function(t)
        t:write("tidegate.lua", OFFLINE)
        t:write("policies/scale/fixed.lua", 'return { name = "fixed", doc = "Three.", new = function()\n'
            .. 'return function() return 3, "always" end end }\n')
        local c = open(t)
        c:wait "> "
        c:send "simulate('fixed', 'daily').runs[2].policy\r"
        c:wait '\n"fixed"\r\n'
        c:wait "> "
        c:send "simulate('threshold:cpu=60', 'step', { days = 0.3 })\r"
        c:wait "POLICY"
        c:wait "catalog as it is (threshold)"
        c:wait "load, requests/s"
        c:wait "threshold:cpu=60, instances in traffic"
        c:wait "violated "
        c:wait "> "
        c:send "print 'now' simulate('threshold', 'daily', { days = 366 })\r"
        c:wait "\nnow\r\n"
        c:send "\3"
        c:wait "console:1: interrupted"
        c:wait "> "
        c:send "simulate('fixed', 'yesterday')\r"
        c:wait "console:1: simulate: no history is kept below "
        c:wait "> "
        assert.equal(0, c:close ":quit\r")
    end))

    it("lists what TAB may mean", tidegate.test(function(t)
        t:write("tidegate.lua", OFFLINE)
        local c = open(t)
        c:wait "> "
        c:send "services.catalog.p\t"
        c:wait "50_ms" -- not known yet: p50_ms, p95_ms, p99_ms
        c:wait "p99_ms"
        c:send "99\t\r"
        c:wait "\n50\r\n"
        c:wait "> "
        assert.equal(0, c:close ":quit\r")
    end))
end)

describe("the console without a terminal", function()
    it("evaluates -e, with exit codes", tidegate.test(function(t)
        t:write("tidegate.lua", OFFLINE)
        assert.same({ 0, "2\n", "" }, { shell(t, "$T repl -e '1 + 1'") })
        assert.same({ 0, "3\n", "" }, { shell(t, [[$T repl tidegate.lua --eval='decide("catalog", { cpu_percent = 92 }).want']]) })
        assert.same({ 0, '{"ok":true,"value":2}\n', "" }, { shell(t, "$T repl --json -e services.catalog.instances") })
        assert.same({ 1, "", 'console:1: no service "x": there are catalog\n' }, { shell(t, "$T repl -e services.x") })
        assert.same({ 1, '{"ok":false,"error":"console:1: nope"}\n', "" }, { shell(t, [[$T repl --json -e 'error "nope"']]) })
        assert.same({ 1, "", "console:1: ran longer than 100 ms of CPU time: --timeout allows more\n" },
            { shell(t, "$T repl --timeout 100ms -e 'while true do end'") })
        assert.same({ 1, "", "console: not enough memory: a state may hold 128 MiB\n" },
            { shell(t, [[$T repl -e 'local t = {} while true do t[#t + 1] = ("x"):rep(1000000) .. #t end']]) })
    end))

    it("runs statements from stdin up to the first that fails", tidegate.test(function(t)
        t:write("tidegate.lua", OFFLINE)
        t:write("script", "#!/usr/bin/env tidegate repl\nx = 20\nfor i = 1, 2 do\n  x = x + i\nend\nx\n:show catalog\n")
        local code, out, err = shell(t, "$T repl <script")
        assert.same({ 0, "" }, { code, err })
        assert.matches("^23\ncatalog  instances 2 [^\n]*\n$", out)
        assert.same({ 1, "1\n", "stdin:3: boom\n" }, { shell(t, [[printf 'print(1)\n\nerror "boom"\nprint(2)\n' | $T repl]]) })
        local _, _, open_end = shell(t, "printf 'x = 1\nif true then\n' | $T repl")
        assert.matches("^stdin:%d: 'end' expected .*near '<eof>'\n$", open_end)
        assert.same({ 0, "1\n", "" }, { shell(t, [[printf 'print(1)\n:quit\nprint(2)\n' | $T repl]]) })
        local watched = { shell(t, "echo ':watch catalog 100ms 3' | $T repl") }
        assert.equal(3, select(2, watched[2]:gsub("catalog  instances", "")))
    end))

    it("says what is wrong with its words, and with the configuration", tidegate.test(function(t)
        t:write("tidegate.lua", OFFLINE)
        for args, want in pairs {
            ["--write"] = { 2, "tidegate: --socket, --cluster and --write are for a daemon: add --attach\n" },
            ["--attach x.lua"] = { 2, "tidegate: --attach takes the daemon's configuration: leave \"x.lua\" out\n" },
            ["--timeout x"] = { 2, 'tidegate: --timeout: "x" is no duration: write it as 90s, 10m or 1h30m\n' },
            ["--timeout 0"] = { 2, "tidegate: --timeout is from 1ms to 1h\n" },
            ["-x 1"] = { 2, 'tidegate: unknown option "-x" of repl: see `tidegate repl --help`\n' },
        } do
            local code, _, err = shell(t, "$T repl " .. args)
            assert.same(want, { code, err }, args)
        end
        assert.same({ 3, "" }, { (shell(t, "$T repl --attach -e 1")), "" })
        t:write("bad.lua", "service 'x' {\n  imag = 'y',\n}")
        local code, _, err = shell(t, "$T repl bad.lua -e 1")
        assert.equal(1, code)
        assert.matches("^tidegate: the console does not start:\n.*\nbad.lua:2: .*did you mean", err)
    end))
end)

describe("the console attached to a daemon", function()
    it("sees it as it is, and changes nothing", tidegate.test(function(t)
        t:configure(SERVICE)
        t:start()
        t:wait_up(2)
        assert.same({ 0, "2\n", "" }, { shell(t, "$T repl --attach -e services.data.instances") })
        local code, out = shell(t, "$T repl --attach -e 'score \"data\"'")
        assert.equal(0, code)
        for id in pairs(t:instances()) do
            assert.is_truthy(out:find(id, 1, true), out)
        end
        assert.matches("policy least_connections", out)
        local refused = { shell(t, "$T repl --attach -e 'scale(\"data\", 3)'") }
        assert.same({ 1, "", "console:1: scale changes the running system: start the console with --attach --write\n" }, refused)
        local all = { shell(t, "$T repl --attach --json -e 'status(\"data\")'") }
        assert.equal("data", tidegate.json.decode(all[2]).value.services[1].name)
        local snapshot = t:control('{"command":"snapshot"}\n')
        assert.equal("data", tidegate.json.decode(snapshot).configuration.services[1].name)
        assert.is_nil(snapshot:find("hunter2", 1, true))
        assert.is_nil(t:log():find("who=", 1, true))
    end))

    it("acts with --write, and the daemon notes it; views are those of now", tidegate.test(function(t)
        t:configure(SERVICE)
        t:start()
        t:wait_up(2)
        local c = open(t, "--attach", "--write")
        c:wait "and may change it"
        c:wait "> "
        c:send "services.data.instances\r"
        c:wait "\n2\r\n"
        c:send "scale('data', 3, '1m')\r"
        c:wait "instances = 3"
        t:wait_up(3)
        c:send "services.data.instances\r"
        c:wait "\n3\r\n"
        c:wait "> "
        assert.equal(0, c:close ":quit\r")
        assert.matches("operator[^\n]*who=[^\n]*asks=[^\n]*console", t:log())
        t:wait("the event", function()
            local events = shell(t, "$T events --kind operator --json") == 0 and tidegate.read_file(t.dir .. "/out") or ""
            return events:find("scale", 1, true) and events:find("console", 1, true)
        end)
    end))

    it("traces routing decisions as they are made", tidegate.test(function(t)
        t:configure(SERVICE)
        t:start()
        t:wait_up(2)
        local http = require "socket.http"
        local function request(id)
            local _, code = http.request { url = ("http://127.0.0.1:%d/"):format(t:port()), headers = { ["X-Request-Id"] = id } }
            return code
        end
        local c = open(t, "--attach")
        c:wait "> "
        c:send ":tr\tbal\tda\t\r"
        c:wait "decisions of data; Ctrl-C ends it\r\n"
        local code = request "first-one"
        local line = c:wait "first-one\r\n"
        assert.matches("^%d%d:%d%d:%d%d%.%d%d%d  data %-> data%-%d  " .. code
            .. " [%d.]+ ms  .* lowest score  %[%*data%-%d [%d.]+, data%-%d [%d.]+%]  $", line)
        request "second-one"
        c:wait "second-one\r\n"
        c:send "\3"
        c:wait "> "
        c:send ":trace balance dat\r"
        c:wait '"dat" is no service, no part of a route and no number: did you mean "data"?; routes are 127.0.0.1:'
        c:wait "> "
        assert.equal(0, c:close ":quit\r")
        -- A number ends it.
        local process = t:cli_begin("repl", "--attach", "--json", "-e", ":trace balance 127.0.0.1:" .. t:port() .. " 2")
        t:wait("what it tells", function()
            request "again"
            return tidegate.read_file(process.out):find "again"
        end)
        t:wait("its end", function()
            request "more"
            return not tidegate.alive(process.pid)
        end)
        local told = t:finished(process)
        assert.same({ 0, "" }, { told.code, told.err })
        local first, second, rest = told.out:match "^([^\n]+)\n([^\n]+)\n(.*)$"
        assert.same({ "again", "data", "" }, { tidegate.json.decode(first).request, tidegate.json.decode(second).service, rest })
    end))

    it("goes on with the old views when the daemon is gone", tidegate.test(function(t)
        t:configure(SERVICE)
        local process = t:start()
        t:wait_up(2)
        local c = open(t, "--attach")
        c:wait "read-only"
        c:wait "> "
        t:stop(process)
        c:send "services.data.max\r"
        c:wait "the views are those of before"
        c:wait "\n4\r\n"
        c:send "status()\r"
        c:wait "console:1: status: the daemon does not answer on "
        c:wait "> "
        assert.equal(0, c:close ":quit\r")
    end))
end)
