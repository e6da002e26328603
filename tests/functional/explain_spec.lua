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

    it("counts tags, and says so when a policy has no scores", tidegate.test(function(t)
        begin(t, [[balance = "data_locality_aware"]])
        local answer, by = explain(t, "GET /x X-Data-Affinity: data:1, other")
        assert.equal(2, answer.tags_asked)
        local tagged = by["127.0.0.1:" .. t:port "PORT3"]
        assert.same({ 1, true }, { tagged.tags, tagged.chosen })
        assert.same({ "loop", nil }, { answer.decides, tagged.score })
        assert.matches("1 of 2.*by its own loop", t:cli("explain", "--like", "GET / X-Data-Affinity: data:1, other").out)
    end))

    it("leaves a policy's turns as they are", tidegate.test(function(t)
        begin(t, [[balance = "round_robin"]])
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
