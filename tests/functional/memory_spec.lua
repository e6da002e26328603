-- What the processes that multiply have in memory: no library that only the master uses.
local tidegate = require "tidegate"

describe("memory", function()
    it("of workers and policy process holds nothing of libcurl, and is small", tidegate.test(function(t)
        t:configure([[
service "legacy" { backends = { "127.0.0.1:9" }, route = { listen = "127.0.0.1:@PORT@" } }]])
        local daemon = t:start { cluster_only = true }
        local worker = t:status().workers[1].pid
        local policy
        for pid in io.popen("pgrep -P " .. daemon.pid):lines() do
            local words = tidegate.read_file(("/proc/%s/cmdline"):format(pid)) or ""
            policy = words:find("--policy", 1, true) and pid or policy
        end
        assert.is_truthy(policy)
        assert.is_truthy(tidegate.read_file(("/proc/%d/maps"):format(daemon.pid)):find("libcurl", 1, true))
        for _, pid in ipairs { worker, policy } do
            local maps = tidegate.read_file(("/proc/%s/maps"):format(pid))
            assert.is_truthy(maps:find("libc.so", 1, true), "its mappings cannot be read")
            for _, library in ipairs { "libcurl", "libcrypto", "libgnutls" } do
                assert.is_nil(maps:find(library, 1, true), library .. " is mapped")
            end
            if not maps:find("libasan", 1, true) then
                local kb = tonumber(tidegate.read_file(("/proc/%s/smaps_rollup"):format(pid)):match "Rss:%s+(%d+) kB")
                assert.is_true(kb <= 6 * 1024, ("%d kB are resident"):format(kb))
            end
        end
    end))
end)
