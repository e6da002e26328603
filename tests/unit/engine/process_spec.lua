-- The process engine: the common suite, and what only it does.
local loop = require "loop"
local room = require "engine_room"
local ffi, E = loop.ffi, loop.E
-- In busted's environment, which dofile would not pass on.
local suite = setfenv(assert(loadfile "tests/unit/engine/suite.lua"), getfenv())()

ffi.cdef [[
int waitpid(int pid, int *status, int options);
int setenv(const char *, const char *, int);
int unsetenv(const char *);
]]

-- A sanitizer's runtime is for this process, not for every shell.
local PRELOAD = os.getenv "LD_PRELOAD" or ""
ffi.C.unsetenv "LD_PRELOAD"

local function sh(command)
    local pipe = io.popen("{ " .. command .. "\n} 2>/dev/null")
    local out = pipe:read "*a"
    pipe:close()
    return (out:gsub("%s+$", ""))
end

local BUILD = os.getenv "TIDEGATE_BUILD" or "build/debug"
local SERVICE = sh("realpath " .. BUILD .. "/service")
local ROOT = sh "id -u" == "0"
local V1_MEMORY = sh "test -w /sys/fs/cgroup/memory && echo yes" == "yes"
local LIMITS = ROOT and (V1_MEMORY or sh "grep -w memory /sys/fs/cgroup/cgroup.controllers" ~= "")


local dir
local function new_dir()
    dir = sh "mktemp -d /tmp/tidegate-unit-XXXXXX"
    return dir
end

local function config(options)
    local command = { SERVICE, "--host", "127.0.0.1", "--port", "$PORT" }
    for _, arg in ipairs(options.args or {}) do
        command[#command + 1] = arg
    end
    return {
        name = "data", source = "command", command = options.command or command,
        directory = options.directory or "", environment = options.environment or {},
        resources = {
            memory_bytes = options.memory_bytes or 0, cpus = options.cpus or 0, pids = options.pids or 0,
            files = options.files or 0,
        },
        ports = options.port and { { container = 8080, host = options.port } } or room.list {},
        restart_policy = options.restart_policy or { name = "no", max_retries = 0 },
    }
end

-- How many processes carry the mark of this test's state directory.
local function marked()
    local count = sh("grep -lz '^TIDEGATE_STATE_DIR=" .. dir .. "$' /proc/[0-9]*/environ | wc -l")
    return tonumber(count)
end

local function clean()
    local C = require("ffi_room").load "base/hash.h"
    local hex = ffi.new "char[17]"
    C.hash_hex(C.hash_bytes(dir, #dir), hex)
    local groups = "tidegate-unit-" .. ffi.string(hex, 8)
    assert.equal("", sh(("ls -d /sys/fs/cgroup/*/%s /sys/fs/cgroup/%s"):format(groups, groups)))
    sh("rm -r " .. dir)
end

for _, control_groups in ipairs { true, false } do
    local cluster = { id = "unit", engine = "process", process = { control_groups = control_groups } }
    describe(control_groups and "with control groups" or "without control groups", function()
        setup(new_dir)
        teardown(clean)
        suite {
            name = "process" .. (control_groups and "" or " without control groups"),
            cluster = cluster,
            state_dir = function()
                return dir
            end,
            config = config,
            missing = function()
                return config { command = { "./no-such-program" } }
            end,
            memory_limits = LIMITS,
            no_memory_limits = not control_groups,
        }
    end)

    describe("engine/process " .. (control_groups and "with" or "without") .. " control groups", function()
        local engine

        local function open()
            engine = assert(room.new(cluster, dir)):open()
            engine:up()
        end

        before_each(function()
            new_dir()
            open()
        end)

        after_each(function()
            for _, i in ipairs(engine:call("list").instances) do
                engine:call("remove", i.name)
            end
            assert.equal(0, engine:close())
            assert.equal(0, marked())
            clean()
        end)

        local function create(name, options)
            local r = engine:call("create", {
                name = name, cluster = "unit", service = "data", serial = 4, slot = 1, generation = 1, hash = "h",
                config = config(options or {}),
            })
            assert.equal(0, r.code, r.text)
        end

        local function start(name, options)
            create(name, options)
            return engine:call("start", name)
        end

        local function state_is(state)
            return function(i)
                return i.state == state
            end
        end

        -- What a shell command writes when it runs as an instance.
        local function output(script, options)
            options = options or {}
            options.command = { "sh", "-c", script }
            local r = start("out", options)
            assert.equal(0, r.code, r.text)
            assert.is_truthy(engine:wait_for("out", state_is "exited"))
            local log = engine:call("logs", "out", 1000).log
            engine:call("remove", "out")
            return (log:gsub("%s+$", ""))
        end

        it("leaves nothing that a command started, after a stop or a crash", function()
            local script = "setsid sleep 1000 & (setsid sleep 1001 &) ; wait"
            assert.equal(0, start("a", { command = { "sh", "-c", script } }).code)
            assert.is_true(engine.run:wait(function()
                return marked() == 3
            end))
            assert.equal(0, engine:call("stop", "a", 0).code)
            assert.equal(0, marked())

            assert.equal(0, start("b", { command = { "sh", "-c", "setsid sleep 1000 & sleep 0.1; exit 5" } }).code)
            assert.equal(5, engine:wait_for("b", state_is "exited").exit_code)
            assert.is_true(engine.run:wait(function()
                return marked() == 0
            end))
        end)

        it("waits until all processes have ended before a stop is done", function()
            local script = "(trap '' TERM; setsid sh -c 'sleep 0.3') & exit 0 & wait"
            assert.equal(0, start("a", { command = { "sh", "-c", script } }).code)
            assert.is_true(engine.run:wait(function()
                return marked() >= 2
            end))
            assert.equal(0, engine:call("stop", "a", 20).code)
            assert.equal(0, marked())
        end)

        it("adopts what runs, and sees it end", function()
            start("a")
            start("b", { command = { "sh", "-c", "exec sleep 1000" } })
            create "c"
            start("d")
            local before = { engine:look "a", engine:look "b" }
            engine:call("stop", "d", 5)
            assert.equal(0, engine:close())
            sh("kill -9 " .. before[2].pid)
            open()
            local a, b, c, d = engine:look "a", engine:look "b", engine:look "c", engine:look "d"
            assert.same({ "running", before[1].pid, before[1].address, before[1].id, 4 },
                { a.state, a.pid, a.address, a.id, a.serial })
            -- Known, since this process is still the parent; see kill -9 below for the other case.
            assert.same({ "exited", 137 }, { b.state, b.exit_code })
            assert.equal("created", c.state)
            assert.same({ "exited", 0 }, { d.state, d.exit_code })
            sh("kill -9 " .. a.pid)
            assert.is_truthy(engine:event("died", "a"))
            assert.equal("exited", engine:look("a").state)
        end)

        it("stops what it adopted, and kills what was left behind meanwhile", function()
            start("a")
            start("b", { command = { "sh", "-c", "setsid sleep 1000 & wait" } })
            local b = engine:look "b"
            assert.is_true(engine.run:wait(function()
                return marked() == 3
            end))
            assert.equal(0, engine:close())
            sh("kill -9 " .. b.pid)
            open()
            assert.is_true(engine.run:wait(function()
                return marked() == 1
            end))
            assert.equal(0, engine:call("stop", "a", 5).code)
            assert.equal(0, marked())
        end)

        it("restarts an adopted one by its policy", function()
            start("a", { restart_policy = { name = "always" } })
            local pid = engine:look("a").pid
            assert.equal(0, engine:close())
            open()
            sh("kill -9 " .. pid)
            local again = engine:wait_for("a", function(i)
                return i.state == "running" and i.pid ~= pid
            end)
            assert.equal(1, again.restarts)
        end)

        it("says why a command cannot run", function()
            sh(("cd %s && echo text >plain && chmod 644 plain && mkdir sub && echo junk >junk && chmod 755 junk"):format(dir))
            for name, case in pairs {
                missing = { E.NOENT, "command not found: ./nothing", { command = { "./nothing" } } },
                path = { E.NOENT, "command not found: no-such-program-anywhere", { command = { "no-such-program-anywhere" } } },
                denied = { E.ACCES, "permission denied: ./plain", { command = { "./plain" }, directory = dir } },
                directory = { E.NOENT, "directory not found: /nowhere", { command = { "true" }, directory = "/nowhere" } },
                empty = { E.INVAL, "command: it is empty", { command = { "" } } },
                variable = { E.INVAL, "command: there is no variable $PRT", { command = { "true", "$PRT" } } },
            } do
                local r = start(name, case[3])
                assert.equal(case[1], r.code, name)
                assert.equal(case[2], r.text:sub(1, #case[2]))
                local i = engine:look(name)
                assert.same({ "created", 127, r.text }, { i.state, i.exit_code, i.error })
            end
            assert.equal(0, marked())
        end)

        it("is refused without a command, and with a name that is no file name", function()
            local r = engine:call("create", { name = "x", cluster = "unit", config = { command = room.list {} } })
            assert.equal(E.INVAL, r.code)
            assert.is_false(pcall(engine.call, engine, "create", { name = "../x", config = config {} }))
        end)

        it("never touches a process that has taken a recorded number", function()
            start("a")
            local pid = engine:look("a").pid
            assert.equal(0, engine:close())
            sh("kill -9 " .. pid)
            assert.equal(pid, ffi.C.waitpid(pid, nil, 0))
            local bystander = sh "sleep 1000 >/dev/null & echo $!"
            local path = dir .. "/instances/a.json"
            local text = sh("cat " .. path)
            local file = io.open(path, "w")
            file:write((text:gsub('"pid":%d+', '"pid":' .. bystander)))
            file:close()
            open()
            assert.equal("exited", engine:look("a").state)
            engine:call("stop", "a", 0)
            engine:call("remove", "a")
            assert.equal("alive", sh("kill -0 " .. bystander .. " && echo alive"))
            sh("kill " .. bystander)
        end)

        it("sets unreadable records aside", function()
            create "a"
            assert.equal(0, engine:close())
            for name, text in pairs { bad = "{ not json", other = '{"name":"else","config":{}}', empty = "" } do
                local file = io.open(("%s/instances/%s.json"):format(dir, name), "w")
                file:write(text)
                file:close()
            end
            open()
            assert.equal(1, #engine:call("list").instances)
            assert.equal("bad.json.bad empty.json.bad other.json.bad", sh("cd " .. dir .. "/instances && echo *.bad"))
        end)

        it("backs off between restarts", function()
            start("a", { command = { "sh", "-c", "exit 9" }, restart_policy = { name = "always" } })
            local began = tonumber(sh "date +%s%N")
            assert.is_truthy(engine:wait_for("a", function(i)
                return i.restarts >= 4
            end))
            -- 100 + 200 + 400 + 800 ms
            assert.is_true((tonumber(sh "date +%s%N") - began) / 1e6 > 1300)
            assert.equal("restarting", engine:wait_for("a", state_is "restarting").state)
            assert.equal(0, engine:call("stop", "a", 5).code)
            local restarts = engine:look("a").restarts
            engine.run:run(100)
            local i = engine:look "a"
            assert.same({ "exited", restarts, 9 }, { i.state, i.restarts, i.exit_code })
        end)

        it("gives a child its environment and nothing else", function()
            ffi.C.setenv("SECRET_OF_OURS", "x", 1)
            local seen = {}
            for line in output("env", { environment = { A = "1 2", SERVICE_NAME = "mine", PORT = "1" } }):gmatch "[^\n]+" do
                local key, value = line:match "^([%w_]+)=(.*)"
                seen[key] = value
            end
            for _, ignored in ipairs { "PWD", "SHLVL", "_", "OLDPWD", "LANG", "HOME" } do
                seen[ignored] = nil
            end
            assert.is_truthy(seen.DEPLOYMENT_TIME:find "^%d+-%d+-%d+T")
            assert.is_true(tonumber(seen.PORT) > 1024)
            seen.DEPLOYMENT_TIME, seen.PORT = nil, nil
            assert.same({
                PATH = os.getenv "PATH", A = "1 2", SERVICE_NAME = "mine", CLUSTER_ID = "unit", INSTANCE = "data-4",
                DATA_PROCESSING_MODE = "production", TIDEGATE_INSTANCE = "out", TIDEGATE_STATE_DIR = dir,
            }, seen)
        end)

        it("replaces variables in arguments", function()
            assert.equal(0, start("a", {
                command = { "sh", "-c", 'for a; do echo "[$$a]"; done', "x", "$INSTANCE", "a${A}b$A.c", "$$HOME", "5$", "$1" },
                environment = { A = "v$B" },
            }).code)
            assert.is_truthy(engine:wait_for("a", state_is "exited"))
            assert.equal("[data-4]\n[av$Bbv$B.c]\n[$HOME]\n[5$]\n[$1]\n", engine:call("logs", "a", 9).log)
        end)

        it("passes no descriptors and signals on, and begins a session", function()
            assert.equal("0 1 2 3", output "cd /proc/self/fd && echo *") -- 3 is the shell's own look
            -- The lower halves: the C library keeps two signals of the upper one to itself.
            local masks = output(
                "while read -r k v; do case $$k in SigBlk:|SigIgn:) printf '%s ' $$v;; esac; done </proc/self/status")
            -- Number 32, the highest bit of the lower half, is one of them.
            for half in masks:gmatch "%x%x%x%x%x%x%x%x(%x%x%x%x%x%x%x%x)" do
                assert.is_truthy(half:find "^[08]0000000$", masks)
            end
            assert.equal("same", output "set -- $$(cut -d' ' -f1,5,6 /proc/$$$$/stat); [ $$1 = $$2 ] && [ $$2 = $$3 ] && echo same")
        end)

        it("keeps to directory and limits", function()
            assert.equal("/tmp", output("pwd", { directory = "/tmp" }))
            assert.equal("123", output("ulimit -n", { files = 123 }))
            if not control_groups then
                assert.equal(tostring(64 * 1024), output("ulimit -d", { memory_bytes = 64 * 1024 * 1024 }))
            elseif LIMITS then
                assert.equal("unlimited", output("ulimit -d", { memory_bytes = 64 * 1024 * 1024 }))
                assert.is_truthy(output("sleep 1 & sleep 1 & sleep 1 & wait", { pids = 2 }):find "ork")
            end
        end)

        it("keeps the port over restarts, and leaves one that was taken", function()
            start("a")
            local address = engine:look("a").address
            engine:call("stop", "a", 5)
            engine:call("start", "a")
            assert.equal(address, engine:look("a").address)
            engine:call("stop", "a", 5)
            local server = engine.run:server(address)
            assert.equal(0, engine:call("start", "a").code)
            assert.are_not.equal(address, engine:look("a").address)
            server:close()
        end)

        it("turns its logs over", function()
            create "a"
            local path = dir .. "/logs/a.log"
            sh(("yes 0123456789abcde | head -c 18000000 >%s"):format(path))
            engine:call("start", "a")
            assert.equal("4194304", sh("stat -c %s " .. path .. ".1"))
            assert.is_true(tonumber(sh("stat -c %s " .. path)) < 1000)
            assert.equal(100, select(2, engine:call("logs", "a", 100).log:gsub("\n", "")))
            engine:call("remove", "a")
            assert.equal("", sh("ls " .. dir .. "/logs"))
        end)

        it("takes a kill -9 at any moment", function()
            local victim = ([[
                package.path = "./tests/support/?.lua;" .. package.path
                local room = require "engine_room"
                local engine = assert(room.new({ id = "unit", engine = "process",
                    process = { control_groups = %s } }, %q)):open()
                for i = 1, 40 do
                    local name = "v" .. i
                    engine:call("create", { name = name, cluster = "unit", service = "data", serial = i, slot = i,
                        generation = 1, hash = "h", config = { command = { "sleep", "1000" } } })
                    engine:call("start", name)
                end
            ]]):format(tostring(control_groups), dir)
            local script = dir .. "/victim.lua"
            local file = io.open(script, "w")
            file:write(victim)
            file:close()
            assert.equal(0, engine:close())
            local most = 0
            for round = 1, 8 do
                sh(([[LD_PRELOAD='%s' luajit %s & pid=$!
                    until ls %s/instances/*.json; do sleep 0.002; done
                    sleep 0.%03d; kill -9 $pid; wait $pid]]):format(PRELOAD, script, dir, round * 11))
                open()
                assert.is_true(engine.run:wait(function()
                    local running = 0
                    for _, i in ipairs(engine:call("list").instances) do
                        running = running + (i.state == "running" and 1 or 0)
                    end
                    most = math.max(most, running)
                    return running == marked()
                end, 3000), "a process without a record, or the other way round")
                local first = engine:look "v1"
                if first and first.state == "running" then
                    sh("kill -9 " .. first.pid)
                    assert.equal(-1, engine:wait_for("v1", state_is "exited").exit_code)
                end
                for _, i in ipairs(engine:call("list").instances) do
                    assert.equal(0, engine:call("remove", i.name).code)
                end
                assert.equal(0, marked())
                assert.equal(0, engine:close())
            end
            assert.is_true(most > 1, "killed too early to tell")
            open()
        end)
    end)
end

describe("engine/process", function()
    it("says where it cannot write", function()
        local engine, sentence = room.new({ id = "unit", engine = "process" }, "/proc/nowhere")
        assert.is_nil(engine)
        assert.is_truthy(sentence:find("state_dir", 1, true))
    end)

    it("leaves no zombie behind", function()
        assert.equal("", sh(("ps -o stat=,args= --ppid %d | grep '^Z'"):format(tonumber(sh "echo $PPID"))))
    end)
end)
