-- Data, zones, keys and sessions: requests that say where they belong get there, in a real daemon.
local tidegate = require "tidegate"

local SERVICE = [[
service "data" {
  command = { "@SERVICE@", "--host", "127.0.0.1", "--port", "$PORT" },
  health_check = { http = "/health", interval = "100ms", timeout = "1s", retries = 2 },
  scale = { instances = 3 },
  tags = function(i) return { "zone:" .. ("abc"):sub(i.index, i.index), "dataset:d" .. i.index, "all" } end,
  route = {
    { listen = "127.0.0.1:@PORT@", host = "data.example", balance = "data_locality_aware" },
    { listen = "127.0.0.1:@PORT@", host = "zone.example", balance = "zone_aware",
      request = { zone = "header:X-Zone" } },
    { listen = "127.0.0.1:@PORT@", host = "hash.example",
      balance = { policy = "consistent_hashing", key = "header:X-User" } },
    { listen = "127.0.0.1:@PORT@", host = "session.example", sticky = { cookie = "sid", ttl = "10m" } },
  },
}]]

describe("locality", function()
    it("brings requests to their data, their zone, their key's place and their session", tidegate.test(function(t)
        t:configure(SERVICE, { CLUSTER = 'zone = "b",' })
        t:start()
        local ask = t:asker()

        for round = 1, 4 do
            for index = 1, 3 do
                local d = "d" .. index
                assert.equal(index, (ask("data", "/", { ["X-Dataset-Id"] = d })), "by field, round " .. round)
                assert.equal(index, (ask("data", "/?x=1&dataset_id=" .. d)))
                assert.equal(index, (ask("data", "/", { ["X-Data-Affinity"] = "all, dataset:" .. d })))
                assert.equal(index, (ask("zone", "/", { ["X-Zone"] = ("abc"):sub(index, index) })))
            end
            assert.equal(2, (ask "zone")) -- where this tidegate is
        end

        -- Keys stay where they are, in both workers, and spread; when one leaves, only its keys move.
        local place, seen = {}, {}
        for user = 1, 60 do
            place[user] = ask("hash", "/", { ["X-User"] = "user" .. user })
            seen[place[user]] = (seen[place[user]] or 0) + 1
        end
        assert.is_true(#seen == 3 and seen[1] > 8 and seen[2] > 8 and seen[3] > 8)
        for user = 1, 60 do
            assert.equal(place[user], (ask("hash", "/", { ["X-User"] = "user" .. user })))
        end

        -- Sessions.
        local home, first = ask "session"
        local cookie = first.headers["set-cookie"]:match "^(sid=%x+); Path=/; Max%-Age=600; HttpOnly; SameSite=Lax$"
        assert.truthy(cookie, first.headers["set-cookie"])
        for _ = 1, 12 do
            local index, answer = ask("session", "/", { Cookie = cookie })
            assert.equal(home, index)
            assert.is_nil(answer.headers["set-cookie"])
        end

        -- One leaves: its keys, its session and its data go elsewhere, nothing else moves.
        for id, instance in pairs(t:instances()) do
            if instance.index == home then
                assert.equal(0, t:cli("drain", id).code)
            end
        end
        t:wait("the session to move", function()
            return ask("session", "/", { Cookie = cookie }) ~= home
        end)
        local quiet = 0 -- both workers have the roster when so many connections in a row went elsewhere
        t:wait("all workers to know", function()
            quiet = ask("data", "/", { ["X-Dataset-Id"] = "d" .. home }) ~= home and quiet + 1 or 0
            return quiet >= 30
        end)
        for user = 1, 60 do
            local index = ask("hash", "/", { ["X-User"] = "user" .. user })
            assert.is_true(index ~= home)
            if place[user] ~= home then
                assert.equal(place[user], index)
            end
        end
        local moved, answer = ask("session", "/", { Cookie = cookie })
        local other = assert(answer.headers["set-cookie"]):match "^sid=%x+"
        for _ = 1, 12 do
            assert.equal(moved, (ask("session", "/", { Cookie = other })))
        end
    end))
end)
