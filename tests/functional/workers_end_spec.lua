-- Workers end by themselves, so that what they would leave open shows (a sanitizer's look at memory, too).
local tidegate = require "tidegate"

describe("workers at the end", function()
    it("are let go in their own time", tidegate.test(function(t)
        t:configure [[
service "data" {
  command = { "@SERVICE@", "--host", "127.0.0.1", "--port", "$PORT" },
  health_check = { http = "/health", interval = "100ms", timeout = "1s", retries = 2 },
  scale = { instances = 1 },
  route = { listen = "127.0.0.1:@PORT@" },
}]]
        t:start()
        assert.equal(200, t:get("/").status)
        assert.equal(0, t:stop())
        local ended = 0
        for line in t:log():gmatch '[^\n]*msg="worker ended"[^\n]*' do
            assert.truthy(line:find("status=0 signal=0", 1, true), line)
            ended = ended + 1
        end
        assert.equal(2, ended)
    end))
end)
