-- A route's `request` function says what of a request counts: in every worker, after reloads and crashes, and
-- whatever is wrong with it, no request is lost.
local tidegate = require "tidegate"

-- Without a bound of load: a request that has just been answered may still count in the other worker's eyes,
-- and one of three is more than a backend's share.
local SERVICE = [[
local nearest = { policy = "data_locality_aware", balance_factor = 0 }
local names = { orders = "d1", customers = "d2" }
service "data" {
  command = { "@SERVICE@", "--host", "127.0.0.1", "--port", "$PORT" },
  health_check = { http = "/health", interval = "100ms", timeout = "1s", retries = 2 },
  scale = { instances = 3 },
  tags = function(i) return { "dataset:d" .. i.index, "zone:" .. i.index } end,
  route = {
    { listen = "127.0.0.1:@PORT@", host = "plain.example", balance = nearest },
    { listen = "127.0.0.1:@PORT@", host = "data.example", balance = nearest, request = function(r)
        @BODY@
      end },
    { listen = "127.0.0.1:@PORT@", host = "zone.example", balance = "zone_aware", request = function(r)
        return { zone = r.header "X-Where" }
      end },
    { listen = "127.0.0.1:@PORT@", host = "hash.example", balance = { policy = "consistent_hashing", key = "header:X-User" },
      request = function(r) return { key = r.query:match "u=(%w+)" } end },
    { listen = "127.0.0.1:@PORT@", host = "unread.example", balance = "round_robin",
      request = function() error "is never asked" end },
  },
}]]

local GOOD = 'return { dataset_id = names[r.query:match "table=(%w+)"], data_affinity_tags = r.header "X-Tags" }'

local function errors(t)
    local count = 0
    for _, worker in ipairs(t:status().workers) do
        count = count + worker.request_errors
    end
    return count
end

describe("a request function", function()
    it("says what counts, in place of fields and query, until it is changed", tidegate.test(function(t)
        t:configure(SERVICE, { BODY = GOOD })
        t:start()
        local ask = t:asker()
        for _ = 1, 6 do -- new connections: both workers have some
            assert.equal(1, (ask("data", "/?table=orders", { ["X-Dataset-Id"] = "d3" })))
            assert.equal(2, (ask("data", "/?table=customers", { ["X-Dataset-Id"] = "d3" })))
            assert.equal(3, (ask("data", "/", { ["X-Tags"] = "dataset:d3" })))
            assert.equal(3, (ask("plain", "/?table=orders", { ["X-Dataset-Id"] = "d3" })))
            assert.equal(2, (ask("zone", "/", { ["X-Where"] = "2" })))
            ask "unread"
        end
        for user = 1, 9 do -- the policy's own key counts where the function names none
            assert.equal(ask("hash", "/?u=user" .. user), ask("hash", "/", { ["X-User"] = "user" .. user }))
        end
        assert.equal(0, errors(t))
        t:configure(SERVICE, { BODY = 'return { dataset_id = "d3" }' })
        assert.equal(0, t:cli("reload").code)
        for _ = 1, 6 do
            assert.equal(3, (ask("data", "/?table=orders")))
        end
        local worker = t:status().workers[1]
        t:kill(worker.pid)
        t:wait("another worker", function()
            local now = t:status().workers[1]
            return now.pid ~= 0 and now.pid ~= worker.pid and now.generation > 0
        end)
        for _ = 1, 6 do
            assert.equal(3, (ask("data", "/?table=orders")))
        end
    end))

    it("that fails costs no request, and is told with file and line", tidegate.test(function(t)
        t:configure(SERVICE, { BODY = "return { dataset_id = r.paths }", CLUSTER = "policy_errors = { limit = 0 }," })
        t:start { args = { "--admin", "127.0.0.1:" .. t:port "ADMIN" } }
        local ask = t:asker()
        for _ = 1, 30 do
            ask("data", "/?table=orders")
        end
        assert.equal(30, errors(t))
        t:wait_log "the request has no field 'paths': did you mean 'path'?"
        assert.matches('of="request of data, route 2" policy=function generation=1 error="tidegate.lua:%d+: the request has', t:log())
        assert.matches('input="GET / of 127.0.0.1"', t:log())
        local page = t:get("/metrics", { port = t:port "ADMIN" }).body
        local total = 0
        for count in page:gmatch "\ntidegate_request_function_errors_total{[^}]*} (%d+)" do
            total = total + tonumber(count)
        end
        assert.equal(30, total)
        local said = t:cli("explain", "--like", "GET /?table=orders Host: data.example").out
        assert.matches("request function failed, so no data is known: tidegate.lua:%d+: the request has no field", said)
        -- One that never ends is interrupted, and rests.
        t:configure(SERVICE, { BODY = "while true do end", CLUSTER = "policy_errors = { limit = 0 }," })
        assert.equal(0, t:cli("reload").code)
        t:wait("the log to tell of it", function() -- a worker has one line a second for such news
            ask("data", "/?table=orders")
            return t:log():find("ran longer than 10 ms of CPU time", 1, true)
        end)
        -- One that says nothing is fine again.
        local before = errors(t)
        t:configure(SERVICE, { BODY = "" })
        assert.equal(0, t:cli("reload").code)
        for _ = 1, 6 do
            ask("data", "/?table=orders")
        end
        assert.equal(before, errors(t))
    end))
end)
