-- What makes a deploy fail on a real Docker engine: each has its own reason in the answer of
-- `deploy --wait`, in the log and in the status, the exit code 1, and the old instances stay.
local live = require "live"

-- A good service of two instances, or with other keys in place of some.
local function service(o)
    o = o or {}
    return ([[
service "data" {
  image = "%s",
  pull = "%s",
  ports = { "%s" },
  volumes = { %s },
  resources = { memory = "%s" },
  restart_policy = "no",
  health_check = { http = "%s", interval = "100ms", timeout = "1s", retries = 2 },
  deploy = { timeout = "3s" },
  scale = { instances = %d },
  route = { listen = "127.0.0.1:@PORT@" },
}]]):format(o.image or "quick:1", o.pull or "missing", o.ports or "8080", o.volumes or "",
        o.memory or "64m", o.health or "/health", o.instances or 2)
end

live.describe("a deploy on Docker that fails", {}, function(it, bed)
    -- Deploys the good one, then `bad` (keys of service()), and insists on the reason everywhere.
    local function fails(title, bad, reason, prepare)
        it(title, function(t)
            local n = bad.instances or 2
            t:configure(service { instances = n })
            t:start()
            local before = t:container_ids()
            if prepare then
                prepare(t)
            end
            local load = t:load { path = "/", rate = 100 }
            t:configure(service(bad), t.values)
            assert.equal(0, t:cli("reload").code)
            local result = t:cli("deploy", "data", "--wait", "--timeout", "30s")
            assert.equal(1, result.code, result.out .. result.err)
            assert.truthy(result.err:find(reason), result.err)
            assert.truthy(result.err:find("deploy of data failed", 1, true), result.err)
            local s = t:of()
            assert.equal("failed", s.deploy.state)
            assert.truthy(s.deploy.reason:find(reason), s.deploy.reason)
            assert.truthy(s.deploy.next_try_s)
            assert.truthy(t:log():find('msg="deploy failed"[^\n]*' .. reason))
            assert.equal(n, s.up)
            for id in pairs(before) do
                assert.is_true(t:inspect(id).State.Running)
            end
            load:run(20)
            load:stop_clean()
            -- And back: nothing of the failed one stays.
            t:configure(service { instances = n })
            assert.equal(0, t:cli("reload").code)
            t:wait_settled()
            t:wait("the failed ones to be gone", function()
                return #t:containers() == n
            end)
            assert.same(before, t:container_ids())
        end)
    end

    fails("tells of an image that no registry has", { image = "127.0.0.1:5000/data:9" }, "image not found: ", function()
        bed:registry "start"
    end)
    fails("tells of an image that is not to be pulled", { image = "data:9", pull = "never" }, "image not found: data:9")
    fails("tells of a volume that does not exist", { volumes = '"/no/such/folder:/data"' },
        "volume missing: .*/no/such/folder")
    fails("tells of a host port that another program has", { ports = "@TAKEN@:8080", instances = 1 },
        "port taken: .*in use", function(t)
            local socket = require "socket"
            t.taken = assert(socket.bind("0.0.0.0", 0))
            t.values = { TAKEN = select(2, t.taken:getsockname()) }
        end)
    fails("tells of a container that runs out of memory", { memory = "8m", health = "/leak/100" }, "OOM%-killed")
    fails("tells of a health path that answers 500", { health = "/work?status=500" },
        "GET /work%?status=500 answered 500")

    it("tells of a name that a foreign container has, and leaves that alone", function(t)
        t:configure(service())
        t:start()
        local name = "tg-" .. t.id .. "-data-3"
        local foreign = assert(t:api("POST", "/containers/create?name=" .. name, "-H", "Content-Type: application/json",
            "-d", '{"Image":"quick:1"}')).Id
        local load = t:load { path = "/", rate = 100 }
        local result = t:cli("deploy", "data", "--wait", "--timeout", "30s")
        assert.equal(1, result.code, result.out .. result.err)
        assert.truthy(result.err:find("name taken: " .. name, 1, true), result.err)
        assert.truthy(t:log():find('msg="deploy failed"[^\n]*name taken: '))
        -- The next try has another number.
        t:wait_settled()
        load:run(20)
        load:stop_clean()
        t:assert_exactly(2)
        assert.equal("created", t:inspect(foreign).State.Status)
        assert(t:api("DELETE", "/containers/" .. foreign))
    end)
end)
