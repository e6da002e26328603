-- One decision told: `tidegate explain`.
local tidegate = require "tidegate"
local dkjson = require "dkjson"

-- A daemon of one worker over three backends; only the second has the tag "data:1".
local function begin(t, route)
    for _, name in ipairs { "PORT2", "PORT3", "PORT4" } do
        t:run_beside(tidegate.service, "--name", name, "--host", "127.0.0.1", "--port", t:port(name))
    end
    t:write("tidegate.lua", [[
cluster { id = "@ID@", engine = "process", workers = 1, admin = false, sample_interval = "100ms" }
service "shop" {
  backends = { { host = "127.0.0.1", port = @PORT2@, weight = 2 },
               { host = "127.0.0.1", port = @PORT3@, tags = { "data:1" } }, "127.0.0.1:@PORT4@" },
  health_check = { http = "/health", interval = "100ms", timeout = "500ms", retries = 2 },
  route = { listen = "127.0.0.1:@PORT@", ]] .. route .. [[ },
}]])
    t:start()
    t:wait("all to be up", function()
        return t:of().up == 3
    end)
end

local function explain(t, like)
    local result = t:cli("explain", "--json", "--like", like)
    local answer = dkjson.decode(result.out) or {}
    local by = {}
    for _, b in ipairs(answer.backends or {}) do
        by[b.address] = b
    end
    return answer, by, result
end

describe("explain", function()
    it("prints scores, the winner, and why another is not for it", tidegate.test(function(t)
        begin(t, [[path = "/x", host = "*.example", balance = "least_connections"]])
        local address = {}
        for i = 2, 4 do
            address[i] = "127.0.0.1:" .. t:port("PORT" .. i)
        end
        local answer, by = explain(t, "GET /x/y Host: shop.example X-Dataset-Id: z")
        assert.same({ true, "shop", "least_connections", "score", "/x", "*.example", 3 },
            { answer.ok, answer.service, answer.policy, answer.decides, answer.route.path, answer.route.host,
                #answer.backends })
        local chosen, least = 0, math.huge
        for _, b in pairs(by) do
            least = math.min(least, b.score)
            chosen = chosen + (b.chosen and 1 or 0)
        end
        assert.equal(1, chosen)
        for _, b in pairs(by) do
            assert.is_true(not b.chosen or (b.score == least and b.backend == answer.chosen))
            assert.same({ true, "", 0 }, { b.eligible, b.reason, b.in_flight })
        end

        assert.equal(0, t:cli("drain", address[2]).code)
        assert.equal(200, t:get("/sick", { port = t:port "PORT3" }).status)
        t:wait("two to be out", function()
            by = select(2, explain(t, "GET /x Host: shop.example"))
            return by[address[3]].reason ~= "" and by[address[2]].reason ~= ""
        end)
        assert.equal("draining", by[address[2]].reason)
        assert.matches("503", by[address[3]].reason)
        assert.is_nil(by[address[3]].score)
        assert.is_true(by[address[4]].chosen)

        local text = t:cli("explain", "--like", "GET /x Host: shop.example").out
        assert.matches("%-> [^\n]*" .. address[4]:gsub("%p", "%%%0"), text)
        assert.matches("draining", text)
        for _, like in ipairs { "GET /other Host: shop.example", "GET /x Host: shop.test", "GET", "GET /x Host: a/b" } do
            local no, _, result = explain(t, like)
            assert.same({ 1, false }, { result.code, no.ok or false }, like)
        end
    end))

    it("counts tags", tidegate.test(function(t)
        begin(t, [[balance = "data_locality_aware"]])
        local answer, by = explain(t, "GET /x X-Data-Affinity: data:1, other")
        assert.equal(2, answer.tags_asked)
        local tagged = by["127.0.0.1:" .. t:port "PORT3"]
        assert.same({ 1, true }, { tagged.tags, tagged.chosen })
        assert.same({ "score", 2 }, { answer.decides, tagged.score })
        assert.matches("1 of 2", t:cli("explain", "--like", "GET / X-Data-Affinity: data:1, other").out)
    end))

    it("tells a request that was, from its id, whichever worker had it", tidegate.test(function(t)
        for _, name in ipairs { "PORT2", "PORT3" } do
            t:run_beside(tidegate.service, "--name", name, "--host", "127.0.0.1", "--port", t:port(name))
        end
        t:configure([[
service "shop" {
  backends = { "127.0.0.1:@PORT2@", { host = "127.0.0.1", port = @PORT3@, tags = { "data:1", "zone:b" } } },
  health_check = { http = "/health", interval = "100ms", timeout = "500ms", retries = 2 },
  route = { { listen = "127.0.0.1:@PORT@", host = "zone.example", balance = "zone_aware", request = { zone = "header:X-Zone" } },
            { listen = "127.0.0.1:@PORT@", path = "/", balance = "least_connections" },
            { listen = "127.0.0.1:@PORT@", host = "near.example", balance = "data_locality_aware" } },
}]])
        t:start()
        t:wait("both to be up", function()
            return t:of().up == 2
        end)
        local function asked(id)
            local result = t:cli("explain", "--json", id)
            assert.equal(0, result.code, result.err)
            local answer = assert(dkjson.decode(result.out))
            assert.equal(id, answer.request)
            return answer.found
        end
        local workers = {}
        for n = 1, 30 do -- new connections: both workers have some
            local id = "req-" .. n
            local got = t:get("/", { headers = { ["X-Request-Id"] = id } })
            local one = asked(id)[1]
            workers[one.worker] = true
            assert.same({ "least_connections", "score", 2, 200, "" },
                { one.policy, one.decides, #one.backends, one.outcome.status, one.outcome.failure })
            for _, b in ipairs(one.backends) do
                local here = "PORT" .. (b.address:find(tostring(t:port "PORT2"), 1, true) and 2 or 3)
                assert.equal(got.headers["x-instance"] == here, b.chosen)
                assert.is_true(b.eligible and b.score >= 0)
                assert.is_true(not b.chosen or b.backend == one.chosen)
            end
        end
        assert.same({ [0] = true, [1] = true }, workers)
        assert.equal("PORT3", t:get("/", { headers = { Host = "near.example", ["X-Request-Id"] = "near",
            ["X-Data-Affinity"] = "data:1" } }).headers["x-instance"])
        local near = asked("near")[1]
        assert.same({ "data_locality_aware", "score", 1, "near.example" },
            { near.policy, near.decides, near.tags_asked, near.route.host })
        local table_of = t:cli("explain", "near").out
        assert.matches("0 of 1", table_of)
        assert.matches("%-> .*1 of 1", table_of)
        t:get("/", { headers = { Host = "zone.example", ["X-Request-Id"] = "zone", ["X-Zone"] = "a" } })
        local zones = {}
        for _, b in ipairs(asked("zone")[1].backends) do
            zones[b.address:match "%d+$"] = b.zone or "none"
        end
        assert.same({ [tostring(t:port "PORT2")] = "none", [tostring(t:port "PORT3")] = "other" }, zones)
        assert.matches(":" .. t:port "PORT3" .. " .* other", t:cli("explain", "zone").out)
        local said = t:cli("explain", "req-30").out
        assert.matches("^request req%-30\nat      %d%d%d%d%-%d%d%-%d%dT[%d:.]+Z, attempt 1, worker %d\n"
            .. "route   127.0.0.1:%d+ %*/ %-> shop\npolicy  least_connections\n"
            .. "outcome done after %d+%.%d ms, the client was answered 200\n\n", said)

        local none = t:cli("explain", "req-31")
        assert.equal(1, none.code)
        assert.matches('tidegate: no decision on a request "req%-31" is known: none of the last %d+%.%d s is', none.err)
        assert.equal(2, t:cli("explain").code)
        assert.equal(2, t:cli("explain", "req-1", "--like", "GET /").code)

        -- A configuration later there are no scores, but all the rest.
        assert.equal(0, t:cli("reload").code)
        local old = asked("req-1")[1]
        assert.same({ 2, 1 }, { #old.backends, old.generation })
        assert.is_nil(old.policy or old.backends[1].score)
        assert.matches("Another configuration is in force now", t:cli("explain", "req-1").out)
    end))

    it("leaves a policy's turns as they are, and says so when it has no scores", tidegate.test(function(t)
        begin(t, [[balance = "round_robin"]])
        assert.matches("by its own loop", t:cli("explain", "--like", "GET /").out)
        for _ = 1, 3 do
            local seen, count = {}, 0
            for _ = 1, 3 do
                assert.equal("loop", explain(t, "GET /").decides)
                local name = t:get("/").headers["x-instance"]
                count = count + (seen[name] and 0 or 1)
                seen[name] = true
            end
            assert.equal(3, count)
        end
    end))
end)
