-- examples/docker on a real engine, as it stands, but for cluster id, port and the name of the image.
local live = require "live"
local tidegate = require "tidegate"

local function service_of(t, path)
    local answer = t:get(path)
    return answer and answer.status == 200 and answer or nil
end

live.describe("examples/docker", {}, function(it)
    it("runs three services, two behind one address, one that scales with its load", function(t)
        local text = tidegate.read_file "examples/docker/tidegate.lua"
        local made, n = text:gsub('cluster { id = "shop", engine = "docker"', 'cluster { id = "@ID@", engine = "docker", '
            .. 'docker = { host = "unix://@SOCKET@" }, workers = 2, admin = false')
        assert.equal(1, n)
        made, n = made:gsub("127%.0%.0%.1:8080", "127.0.0.1:@PORT@")
        assert.equal(2, n)
        made, n = made:gsub("tidegate%-quickstart:1", "quick:1")
        assert.equal(1, n)
        t:write("tidegate.lua", made, { SOCKET = t.bed.socket })
        t:start()

        assert.equal(2, t:of("web").up)
        assert.equal(1, t:of("reports").up)
        assert.matches('"service":"web"', service_of(t, "/health").body)
        local function answering(path)
            local seen, count = {}, 0
            for _ = 1, 20 do
                local instance = service_of(t, path).headers["x-instance"]
                count, seen[instance] = count + (seen[instance] and 0 or 1), true
            end
            return seen, count
        end
        local web, of_web = answering "/"
        local api, of_api = answering "/work"
        assert.is_true(of_web <= 2 and of_api == 1)
        assert.is_nil(web[next(api)])

        local mounts = t:inspect("tg-" .. t.id .. "-" .. next(t:instances "reports")).Mounts
        assert.equal("/var/reports", mounts[1].Destination)

        local load = t:load { path = "/work?latency_ms=200", rate = 0, connections = 12 }
        t:wait_up(3, "api")
        assert.equal(0, load:stop().errors)
        t:wait_up(1, "api")
        assert.equal(2, t:of("web").up)
    end)
end)
