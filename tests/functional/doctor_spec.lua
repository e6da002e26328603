-- `tidegate doctor`: what it says where all is well, and of each failure, which is made for real.
local cjson = require "cjson"
local shell = require "shell"
local socket = require "socket"
local tidegate = require "tidegate"

-- The checks of that name, and the exit code.
local function checks(out)
    local by_name = {}
    for _, one in ipairs(cjson.decode(out).checks) do
        by_name[one.name] = by_name[one.name] or {}
        table.insert(by_name[one.name], one)
    end
    return by_name
end

-- The one check of that name has this state, and what it says and advises match.
local function says(by_name, name, state, text, todo)
    local list = assert(by_name[name], "nothing of " .. name)
    assert.equal(1, #list, name)
    assert.equal(state, list[1].state, list[1].text)
    assert.matches(text, list[1].text)
    if todo then
        assert.matches(todo, list[1].todo)
    else
        assert.is_nil(list[1].todo)
    end
end

local PROCESS = 'cluster { engine = "process", admin = false, state_dir = "state", runtime_dir = "run" }\n'
local DOCKER = 'cluster { engine = "docker", admin = false, state_dir = "state", runtime_dir = "run", docker = { host = "%s" } }\n'

describe("tidegate doctor", function()
    local sh

    before_each(function()
        sh = shell.new()
    end)

    after_each(function()
        sh:close()
    end)

    local function doctor(before)
        local code, out, err = sh:run((before or "") .. " $T doctor tidegate.lua --json")
        assert.equal("", err)
        local answer = cjson.decode(out)
        assert.equal(answer.ok and 0 or 1, code)
        return checks(out), code
    end

    it("says of each thing that it is fine, and changes nothing", function()
        sh:write("tidegate.lua", PROCESS .. ('service "a" { command = { "true" }, route = { listen = "127.0.0.1:%d" } }'):format(
            tidegate.free_port()))
        local found, code = doctor()
        assert.equal(0, code)
        says(found, "luajit", "ok", "^LuaJIT 2.1.*: 12 endless loops interrupted in %d+ ms, no crash in 300 tries$")
        says(found, "configuration", "ok", "tidegate.lua, cluster default, 1 services")
        says(found, "daemon", "ok", "none runs for this cluster")
        says(found, "engine", "ok", "process: needs none")
        says(found, "state", "ok", "/state/default, %d+ MB free")
        says(found, "runtime", "ok", "/run/default")
        says(found, "listen", "ok", "^127.0.0.1:%d+ is free$")
        says(found, "libraries", "ok", "libuv [%d.]+, SQLite [%d.]+, zlib [%d.]+")
        says(found, "libcurl", "ok", "libcurl/[%d.]+")
        assert.truthy(found.clock and found.descriptors and found.memory and found["control groups"])
        assert.equal("err\nout\ntidegate.lua\n", (select(2, sh:run "LC_ALL=C ls")))
        local plain = select(2, sh:run "$T doctor tidegate.lua")
        assert.matches("^ok    luajit         LuaJIT 2.1", plain)
        assert.matches("\nok    daemon         none runs for this cluster\n", plain)
    end)

    it("goes on without a configuration, and with one that is broken", function()
        local code, out = sh:run "TIDEGATE_STATE_DIR=$PWD/s DOCKER_HOST=unix:///nowhere/docker.sock $T doctor"
        assert.equal(1, code) -- no engine
        assert.matches("\nwarn  configuration  no tidegate.lua here: defaults are assumed: name it", out)
        assert.matches("\nfail  engine         no socket at /nowhere/docker.sock: No such file", out)
        sh:write("tidegate.lua", PROCESS .. 'service "a" { command = { "a" }, enviroment = {} }')
        says((doctor()), "configuration", "fail", '^tidegate.lua:2: service "a": enviroment: unknown key: did you mean ',
            "tidegate check")
        says(checks(select(2, sh:run "$T doctor nowhere.lua --json")), "configuration", "fail", "nowhere.lua", "tidegate check")
    end)

    it("says of an engine's socket what is wrong with it", function()
        sh:write("tidegate.lua", DOCKER:format("unix://" .. sh.dir .. "/docker.sock"))
        says((doctor()), "engine", "fail", "^no socket at .*docker.sock: No such file", "start Docker")
        -- A socket that nobody listens on any more.
        local dead = require("posix.sys.socket")
        local fd = dead.socket(dead.AF_UNIX, dead.SOCK_STREAM, 0)
        assert(dead.bind(fd, { family = dead.AF_UNIX, path = sh.dir .. "/docker.sock" }))
        require("posix.unistd").close(fd)
        says((doctor()), "engine", "fail", "docker.sock does not answer: ", "is Docker running")
    end)

    it("says of the state directory that it cannot be written, has another owner, or is none", function()
        sh:write("tidegate.lua", PROCESS)
        sh:write("state", "a file")
        says((doctor()), "state", "fail", "Not a directory", "choose another directory")
        sh:run "rm state; mkdir -p state/default; chmod 777 state/default"
        says((doctor()), "state", "fail", "others may write to it", "chmod 700")
        if require("posix.unistd").geteuid() == 0 and shell.find "setpriv" then
            sh:run "chmod 755 . state; chmod 700 state/default; chmod 644 tidegate.lua"
            local found = doctor "setpriv --reuid=65534 --regid=65534 --clear-groups"
            says(found, "state", "fail", "cannot be written", "give it to the user")
        end
    end)

    it("says of descriptors and memory that they are few", function()
        sh:write("tidegate.lua", PROCESS)
        local found, code = doctor "ulimit -n 256;"
        assert.equal(1, code)
        says(found, "descriptors", "fail", "^256 at most for each process", "ulimit %-Hn 65536")
        found, code = doctor "ulimit -n 2048;"
        assert.equal(0, code)
        says(found, "descriptors", "warn", "^2048 at most", "LimitNOFILE")
        if select(2, sh:run "ldd $T"):find("libasan", 1, true) then
            return -- the sanitizer's own map is larger than any limit
        end
        says((doctor "ulimit -v 200000;"), "memory", "warn", "^195 MB can be used", "MemoryMax")
    end)

    it("says who has an address that is not free, and that there is no such address", function()
        local port = tidegate.free_port()
        local server = assert(socket.bind("127.0.0.1", port))
        sh:write("tidegate.lua", PROCESS .. ('service "a" { command = { "true" }, route = { listen = "127.0.0.1:%d" } }'):format(port))
        local found, code = doctor()
        assert.equal(1, code)
        says(found, "listen", "fail", "^tidegate.lua:2: 127.0.0.1:%d+: Address already in use", "ss %-ltnp")
        server:close()
        sh:write("tidegate.lua", PROCESS .. 'service "a" { command = { "true" }, route = { listen = "203.0.113.7:80" } }')
        says((doctor()), "listen", "fail", "^tidegate.lua:2: 203.0.113.7:80: ", "no such address")
    end)
end)

describe("tidegate doctor beside an engine", function()
    local function engine(t, ...)
        local port = t:port(select("#", ...) .. "ENGINE")
        t:run_beside("/usr/bin/luajit", "tests/support/dockerish.lua", port, ...)
        t:wait("the engine to listen", function()
            local client = socket.tcp4()
            local ok = client:connect("127.0.0.1", port)
            client:close()
            return ok
        end)
        t:write("tidegate.lua", DOCKER:format("tcp://127.0.0.1:" .. port))
        return checks(t:cli("doctor", t.dir .. "/tidegate.lua", "--json").out)
    end

    it("tells its version and how far its clock is off", tidegate.test(function(t)
        local found = engine(t, "20.10.24", 0)
        says(found, "engine", "ok", "^docker 20.10.24, API 1.41, tcp://127.0.0.1:%d+$")
        says(found, "engine clock", "ok", "^[012].%d s ")
    end))

    it("warns of a clock that is off, and of memory that is not limited", tidegate.test(function(t)
        local found = engine(t, "20.10.24", 90, "nomemory")
        says(found, "engine", "warn", "it cannot limit memory$", "memory controller")
        says(found, "engine clock", "warn", "^%d+.%d s ahead of this host's$", "time server")
    end))
end)

describe("tidegate doctor beside a daemon", function()
    it("knows its ports, a refused reload and policies that fail", tidegate.test(function(t)
        local config = [[
service "data" { command = { "@SERVICE@", "--port", "$PORT" }, route = { listen = "127.0.0.1:@PORT@" } }
alerting { interval = "100ms", defaults = false }
alert "Broken" { when = function(m) return m.scale.x end }
]]
        t:configure(config)
        t:start()
        t:wait("the alert to be in quarantine", function()
            local one = t:status().failing[1]
            return one and one.quarantined
        end)
        local function doctor()
            local result = t:cli("doctor", t.dir .. "/tidegate.lua", "--json")
            assert.equal("", result.err)
            return checks(result.out), result.code
        end
        local found, code = doctor()
        assert.equal(0, code)
        says(found, "daemon", "ok", "^pid " .. t.daemon.pid .. ", version [%d.]+, generation 1$")
        says(found, "listen", "ok", "is in use by the daemon$")
        says(found, "policies", "warn", "^alert Broken is in quarantine: tidegate.lua:%d+: scale has no field 'x'", "reload")
        assert.is_nil(found.reload)
        t:configure 'service "data" { imgae = "x" }'
        assert.equal(1, t:cli("reload").code)
        says((doctor()), "configuration", "fail", 'service "data"', "tidegate check")
        t:configure(config)
        says((doctor()), "reload", "warn", "generation 1 goes on", "tidegate status")
        t:kill(t.daemon.pid, 19) -- SIGSTOP
        found, code = doctor()
        t:kill(t.daemon.pid, 18)
        assert.equal(1, code)
        says(found, "daemon", "fail", "does not answer", "kill it when it hangs")
    end))
end)
