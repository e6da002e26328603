-- What a route allows is allowed once, not once in each worker.
local socket = require "socket"
local tidegate = require "tidegate"

describe("the limit of a client", function()
    it("holds over all workers, and a killed worker's part of it is free again", tidegate.test(function(t)
        t:run_beside(tidegate.service, "--name", "shop", "--host", "127.0.0.1", "--port", t:port "PORT2")
        t:configure([[
service "shop" {
  backends = { "127.0.0.1:@PORT2@" },
  health_check = { http = "/health", interval = "100ms" },
  route = { listen = "127.0.0.1:@PORT@", max_connections_per_client = 6 },
}]])
        t:start()
        local held = {}

        -- A request that will not be answered before the test is over: whether it was let in. One after the
        -- other, since of two that take the last place in the same moment both may be refused.
        local function ask()
            local conn = assert(socket.connect("127.0.0.1", t:port()))
            local before = t:of().traffic.in_flight
            conn:send "GET /work?latency_ms=120000 HTTP/1.1\r\nHost: a\r\n\r\n"
            return t:wait("an answer or a place", function()
                if socket.select({ conn }, nil, 0)[1] then
                    assert.equal("HTTP/1.1 429 Too Many Requests", conn:receive "*l")
                    conn:close()
                    return "refused"
                elseif t:of().traffic.in_flight > before then
                    held[#held + 1] = conn
                    return "let in"
                end
            end)
        end

        for i = 1, 20 do -- on connections of their own: both workers have some of them
            assert.equal(i <= 6 and "let in" or "refused", ask())
        end

        local pid = t:status().workers[1].pid
        t:kill(pid)
        t:wait("another worker", function()
            local now = t:status().workers[1].pid
            return now > 0 and now ~= pid
        end)
        local left = {}
        for _, conn in ipairs(held) do
            if not socket.select({ conn }, nil, 0)[1] then -- else it was the killed one's, and has ended
                left[#left + 1] = conn
            end
        end
        held = left
        t:wait("the killed one's requests to be gone", function()
            return t:of().traffic.in_flight == #left
        end)
        local free = 6 - #left
        for i = 1, 12 do
            assert.equal(i <= free and "let in" or "refused", ask())
        end
        for _, conn in ipairs(held) do
            conn:close()
        end
    end))
end)
