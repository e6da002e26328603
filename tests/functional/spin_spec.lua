-- cluster.spin_us: a worker that looks for the next event before it sleeps, and sleeps when none comes.
local tidegate = require "tidegate"

local function cpu_s(pid)
    local ns = 0
    for line in io.popen(("cat /proc/%d/task/*/schedstat"):format(pid)):lines() do
        ns = ns + tonumber(line:match "^%d+")
    end
    return ns / 1e9
end

describe("spin_us", function()
    it("answers as without it, and is idle when nothing comes", tidegate.test(function(t)
        local port = t:port "PORT2"
        t:run_beside(tidegate.service, "--host", "127.0.0.1", "--port", port)
        t:configure([[
service "legacy" { backends = { "127.0.0.1:@PORT2@" }, route = { listen = "127.0.0.1:@PORT@" } }]],
            { CLUSTER = "spin_us = 200" })
        t:start()
        local load = t:load { path = "/", rate = 0, connections = 1 }
        load:run(50)
        load:stop_clean()
        local pid = t:status().workers[1].pid
        local before, from = cpu_s(pid), tidegate.now()
        tidegate.sleep(0.5) -- what is measured is how busy it is while time passes
        local share = (cpu_s(pid) - before) / (tidegate.now() - from)
        assert.is_true(share < 0.3, ("idle, it uses %.2f of a core"):format(share))
    end))
end)
