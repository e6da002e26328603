-- What every engine does. A spec describes its side and calls the suite:
--
--   local suite = setfenv(assert(loadfile "tests/unit/engine/suite.lua"), getfenv())()
--   suite {
--       name = "process",
--       cluster = { id = "suite", engine = "process" },     -- "cluster" of a configuration
--       state_dir = function() return dir end,              -- or nil
--       -- a service's configuration that runs examples/quickstart/service; options:
--       --   args (list of its options), environment, restart_policy, memory_bytes, port (fixed, of the host)
--       config = function(options) ... end,
--       missing = function() ... end,                       -- one whose command or image does not exist
--       http = function(engine, address, path) ... end,     -- status and body, or nil; default: from here
--       memory_limits = true,                               -- false: something is missing here (pending)
--       no_memory_limits = true,                            -- this side has none
--   }
local loop = require "loop"
local room = require "engine_room"
local C, ffi, E = loop.C, loop.ffi, loop.E

-- Status and body of GET http://address/path, from this process; nil and the error.
local function http(engine, address, path)
    local r = engine.run:record()
    local request = ffi.new("struct net_request", { url = "http://" .. address .. path })
    request.timeout_ms, request.fresh = 5000, true
    assert(C.callrecord_call(r, engine.client, request, false) == 0)
    assert(engine.run:done(r))
    if r.error ~= 0 then
        return nil, r.error
    end
    return r.status, loop.body(r)
end

local function lines(text)
    local out = {}
    for line in text:gmatch "[^\n]+" do
        out[#out + 1] = line
    end
    return out
end

local function suite(side)
    describe("engine suite on " .. side.name, function()
        local engine, names, serial
        local get = side.http or http

        before_each(function()
            names, serial = {}, 0
            engine = assert(room.new(side.cluster, side.state_dir and side.state_dir())):open()
            engine:up()
        end)

        after_each(function()
            for _, name in ipairs(names) do
                engine:call("remove", name)
            end
            assert.equal(0, engine:close())
        end)

        local function spec(options)
            serial = serial + 1
            local name = ("tg-%s-data-%d"):format(side.cluster.id, serial)
            names[#names + 1] = name
            return {
                name = name, cluster = side.cluster.id, service = "data", serial = serial, slot = serial + 1,
                generation = 3, hash = "0123456789abcdef", config = side.config(options or {}),
            }
        end

        local function create(options)
            local s = spec(options)
            local r = engine:call("create", s)
            assert.equal(0, r.code, r.text)
            return s.name, r.id
        end

        local function answers(name)
            return engine:wait_for(name, function(i)
                return i.state == "running" and i.address ~= "" and get(engine, i.address, "/health") == 200
            end)
        end

        -- A running instance that answers.
        local function start(options)
            local name, id = create(options)
            local r = engine:call("start", name)
            assert.equal(0, r.code, r.text)
            return name, assert(answers(name), "it does not answer"), id
        end

        local function wait_state(name, state)
            return assert(engine:wait_for(name, function(i)
                return i.state == state
            end), name .. " is not " .. state)
        end

        it("creates, and gives back what it was told", function()
            local name, id = create()
            assert.is_true(#id > 0 and #id < 80)
            for _, key in ipairs { name, id } do
                local i = assert(engine:look(key))
                assert.same({ name, id, "created", "data", "0123456789abcdef", 1, 2, 3, "", 0 }, {
                    i.name, i.id, i.state, i.service, i.spec_hash, i.serial, i.slot, i.generation, i.address, i.pid,
                })
            end
            local other = create()
            local found = {}
            for _, i in ipairs(engine:call("list").instances) do
                found[i.name] = i.state .. " " .. i.serial
            end
            assert.equal("created 1", found[name])
            assert.equal("created 2", found[other])
        end)

        it("starts, tells so, and has an address that answers", function()
            local name, i, id = start()
            assert.equal("running", i.state)
            assert.is_true(i.started_wall_ms > 0)
            assert.is_truthy(engine:event("started", id))
            local again = engine:call("start", name)
            assert.equal(0, again.code, again.text)
            assert.equal(i.pid, engine:look(name).pid)
        end)

        it("runs instances beside each other", function()
            local _, a = start()
            local _, b = start()
            assert.are_not.equal(a.address, b.address)
        end)

        it("stops with grace, and once more", function()
            local name, i, id = start()
            local r = engine:call("stop", name, 10)
            assert.equal(0, r.code, r.text)
            local gone = engine:look(name)
            assert.same({ "exited", 0, "", 0 }, { gone.state, gone.exit_code, gone.address, gone.pid })
            assert.equal(0, engine:event("died", id).exit_code)
            assert.is_nil((get(engine, i.address, "/health")))
            assert.equal(0, engine:call("stop", name, 10).code)
        end)

        it("kills when the time-out of a stop is over", function()
            local name, _, id = start { args = { "--ignore-term" } }
            local before = os.time()
            assert.equal(0, engine:call("stop", name, 1).code)
            assert.is_true(os.time() - before < 9)
            assert.equal(137, engine:look(name).exit_code)
            assert.equal(137, engine:event("died", id).exit_code)
        end)

        it("starts what it stopped", function()
            local name = start()
            engine:call("stop", name, 10)
            assert.equal(0, engine:call("start", name).code)
            assert.is_truthy(answers(name))
        end)

        it("tells the exit code of a crash", function()
            local name, i, id = start()
            get(engine, i.address, "/exit/7")
            assert.equal(7, wait_state(name, "exited").exit_code)
            assert.equal(7, engine:event("died", id).exit_code)
        end)

        it("restarts by policy, until it is stopped", function()
            local name, i = start { restart_policy = { name = "unless-stopped", max_retries = 0 } }
            for turn = 1, 2 do
                get(engine, i.address, "/exit/3")
                i = assert(engine:wait_for(name, function(now)
                    return now.restarts >= turn and now.state == "running" and get(engine, now.address, "/health") == 200
                end), "it was not restarted")
            end
            assert.equal(0, engine:call("stop", name, 10).code)
            assert.equal("exited", engine:look(name).state)
            engine.run:run(500)
            assert.equal("exited", engine:look(name).state)
        end)

        it("gives up after so many failures", function()
            local name, i = start { restart_policy = { name = "on-failure", max_retries = 1 } }
            get(engine, i.address, "/exit/3")
            i = assert(engine:wait_for(name, function(now)
                return now.restarts == 1 and now.state == "running" and get(engine, now.address, "/health") == 200
            end))
            get(engine, i.address, "/exit/4")
            assert.equal(4, wait_state(name, "exited").exit_code)
        end)

        it("does not restart after a success when only failures count", function()
            local name, i = start { restart_policy = { name = "on-failure", max_retries = 0 } }
            get(engine, i.address, "/exit/0")
            assert.equal(0, wait_state(name, "exited").exit_code)
        end)

        it("removes what runs, and what is not there", function()
            local name, i, id = start()
            local r = engine:call("remove", name)
            assert.equal(0, r.code, r.text)
            assert.is_truthy(engine:event("removed", id))
            assert.is_nil((get(engine, i.address, "/health")))
            local _, code = engine:look(name)
            assert.equal(E.NOENT, code)
            assert.equal(0, engine:call("remove", name).code)
            for _, left in ipairs(engine:call("list").instances) do
                assert.are_not.equal(name, left.name)
            end
        end)

        it("knows the last lines of output", function()
            local name, i = start()
            assert.equal(200, (get(engine, i.address, "/log/50")))
            local last
            assert.is_true(engine.run:wait(function()
                last = engine:call("logs", name, 3)
                return last.code == 0 and #lines(last.log) == 3 and last.log:find "50" ~= nil
            end))
            assert.is_true(#lines(engine:call("logs", name, 1000).log) >= 51)
            engine:call("stop", name, 5)
            assert.is_true(#lines(engine:call("logs", name, 10).log) == 10)
        end)

        it("samples CPU and memory", function()
            local name, i = start { memory_bytes = 256 * 1024 * 1024 }
            local first = engine:call("sample", name)
            assert.equal(0, first.code, first.text)
            local before = { cpu = first.sample.cpu_seconds, at = first.sample.at_us }
            assert.is_true(first.sample.memory_bytes > 50000ULL)
            assert.is_true(first.sample.memory_limit_bytes == 256ULL * 1024 * 1024)
            assert.is_true(first.sample.cpu_cores_allotted > 0)
            get(engine, i.address, "/burn?seconds=30&threads=1")
            assert.equal(200, (get(engine, i.address, "/leak/20")))
            assert.is_true(engine.run:wait(function()
                local now = engine:call("sample", name).sample
                return now.cpu_seconds > before.cpu + 0.2 and now.at_us > before.at and now.memory_bytes > 20000000ULL
            end), "CPU or memory did not grow")
        end)

        it("says what does not exist", function()
            for _, call in ipairs { { "start" }, { "inspect" }, { "stop", 1 }, { "sample" }, { "logs", 5 } } do
                local r = engine:call(call[1], "tg-nobody", call[2])
                assert.equal(E.NOENT, r.code, call[1])
                assert.is_true(#r.text > 0)
            end
        end)

        it("says that a name is taken", function()
            local name = create()
            serial = serial - 1
            local r = engine:call("create", spec())
            assert.equal(E.EXIST, r.code)
            assert.is_true(#r.text > 0)
            assert.equal("created", engine:look(name).state)
        end)

        it("says which command or image is missing", function()
            local s = spec()
            s.config = side.missing()
            local r = engine:call("create", s)
            if r.code == 0 then
                r = engine:call("start", s.name)
                assert.is_true(#engine:look(s.name).error > 0)
            end
            assert.equal(E.NOENT, r.code)
            assert.is_truthy(r.text:find("not found", 1, true), r.text)
        end)

        it("says that a port is taken", function()
            local port = side.free_port and side.free_port() or 21987
            start { port = port }
            local second = create { port = port }
            local r = engine:call("start", second)
            assert.equal(E.ADDRINUSE, r.code, r.text)
            assert.is_truthy(r.text:find(tostring(port), 1, true), r.text)
            assert.are_not.equal("running", engine:look(second).state)
        end)

        local memory_it = side.no_memory_limits and function() end or it
        memory_it("tells that memory ran out", function()
            if not side.memory_limits then
                pending "memory limits are not enforced here"
                return
            end
            local name, i, id = start { memory_bytes = 32 * 1024 * 1024 }
            get(engine, i.address, "/leak/200")
            local dead = wait_state(name, "exited")
            assert.same({ 137, true }, { dead.exit_code, dead.oom_killed })
            assert.is_truthy(engine:event("oom", id))
        end)

        it("answers calls under way when it closes", function()
            local name = start { args = { "--ignore-term" } }
            local stop = engine:start_call("stop", name, 60)
            engine.run:run(50)
            local list = engine:start_call "list"
            C.enginetest_close(engine.e)
            assert.same({ 0, 0 }, { stop.done, list.done })
            assert.is_true(engine.run:wait(function()
                return stop.done == 1 and list.done == 1
            end))
            assert.same({ E.CANCELED, E.CANCELED }, { stop.code, list.code })
            assert.equal(0, stop.reentered and 1 or 0)
            engine.e = nil
            engine:close()
            engine = assert(room.new(side.cluster, side.state_dir and side.state_dir())):open()
            engine:up()
            assert.is_truthy(answers(name), "it did not outlive the engine")
        end)
    end)
end

return suite
