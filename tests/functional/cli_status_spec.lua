-- The commands against a running daemon, and against none.
local tidegate = require "tidegate"

local SERVICE = [[
service "data" {
  command = { "@SERVICE@", "--host", "127.0.0.1", "--port", "$PORT" },
  health_check = { http = "/health", interval = "100ms", timeout = "1s", retries = 2 },
  scale = { instances = 2 },
  route = { listen = "127.0.0.1:@PORT@", balance = "round_robin" },
}]]

describe("the command line", function()
    it("asks the daemon: status, drain, undrain, restart, stop, deploy", tidegate.test(function(t)
        t:configure(SERVICE)
        t:start()
        local ids = {}
        for id in pairs(t:instances()) do
            ids[#ids + 1] = id
        end
        local load = t:load { path = "/", rate = 100 }

        assert.equal(0, t:cli("drain", ids[1]).code)
        local one
        for _ = 1, 10 do
            local who = t:get("/").headers["x-instance"]
            assert.equal(one or who, who)
            one = who
        end
        assert.equal(0, t:cli("undrain", ids[1]).code)
        t:wait("both again", function()
            return t:get("/").headers["x-instance"] ~= one
        end)

        local pid = t:pid_of(t:instances()[ids[1]])
        assert.equal(0, t:cli("restart", ids[1]).code)
        t:wait("its replacement", function()
            local s = t:of()
            return not tidegate.alive(pid) and s.up == 2 and #s.instances == 2
        end)
        load:stop_clean()

        assert.equal(0, t:cli("stop", "data").code)
        t:wait("none", function()
            return #t:of().instances == 0
        end)
        assert.equal(503, t:get("/").status)
        local result = t:cli("deploy", "data", "--wait")
        assert.equal(0, result.code, result.err)
        t:wait_up(2)
        assert.equal(200, t:get("/").status)

        for _, words in ipairs { { "status", "nothing" }, { "drain", "nothing-1" }, { "restart", "nothing-1" },
            { "stop", "nothing" }, { "deploy", "nothing" }, { "decisions", "nothing" } } do
            result = t:cli(unpack(words))
            assert.equal(1, result.code, table.concat(words, " "))
            assert.truthy(result.err:find("^tidegate: "), result.err)
            assert.equal("", result.out)
        end
        for _, words in ipairs { { "status", "--colour" }, { "scale", "data" }, { "nonsense" } } do
            assert.equal(2, t:cli(unpack(words)).code, table.concat(words, " "))
        end
        local answer = t:ask("status", "data")
        assert.equal(1, #answer.services)
        assert.is_true(answer.ok)
    end))

    it("ends with 3 where no daemon is", tidegate.test(function(t)
        for _, words in ipairs { { "status" }, { "reload" }, { "scale", "data", "2" } } do
            local result = t:cli(unpack(words))
            assert.equal(3, result.code)
            assert.truthy(result.err:find("tidegate run", 1, true), result.err)
        end
        assert.equal(0, t:cli("version").code)
        assert.equal(0, t:cli("help", "scale").code)
    end))

    it("refuses garbage on the control socket and goes on", tidegate.test(function(t)
        t:configure(SERVICE)
        t:start()
        local path = ("%s/run/%s/control.sock"):format(t.dir, t.id)
        assert.equal("600", io.popen("stat -c %a '" .. path .. "'"):read "*l")
        for _, bytes in ipairs { "\n", "nonsense\n", "{}\n", "[1]\n", '{"command":7}\n', '{"command":"explode"}\n',
            "\0\1\2\n", '{"command":"status","service":{}}\n', '{"command":"scale","service":"data","instances":"x"}\n',
            ("[" ):rep(5000) .. "\n", ("x"):rep(4 * 1024 * 1024) } do
            local answer = t:control(bytes)
            if answer ~= "" or #bytes < 1000 then
                local parsed = tidegate.json.decode(answer)
                assert.truthy(parsed, "no JSON: " .. answer)
                if not bytes:find "status" then
                    assert.is_false(parsed.ok)
                end
            end
        end
        assert.equal(200, t:get("/").status)
        assert.equal(2, t:of().up)
    end))

    it("refuses a second daemon and names the first", tidegate.test(function(t)
        t:configure(SERVICE)
        local first = t:start()
        local second = t:start { wait = false }
        assert.equal(1, t:exit_code(second))
        table.remove(t.processes)
        t.daemon = first
        local err = tidegate.read_file(t.dir .. "/stderr")
        assert.truthy(err:find("pid " .. first.pid, 1, true), err)
        assert.equal(200, t:get("/").status)
        assert.equal(2, t:of().up)
    end))
end)
