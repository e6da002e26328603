-- A route's shadow policy: asked for some requests beside the route's own, never obeyed.
local tidegate = require "tidegate"

local SERVICE = [[
service "data" {
  command = { "@SERVICE@", "--host", "127.0.0.1", "--port", "$PORT" },
  health_check = { http = "/health", interval = "100ms", timeout = "1s", retries = 2 },
  scale = { instances = 3 },
  route = { listen = "127.0.0.1:@PORT@", balance = "first" @SHADOW@ },
}]]

-- A balance policy that picks by `body`.
local function policy(t, name, body)
    t:write("policies/balance/" .. name .. ".lua", ([[
return {
  name = "%s", doc = "for this test",
  new = function() return { pick = function(backends, n, request)
    %s
  end } end,
}]]):format(name, body))
end

local function start(t, shadow)
    policy(t, "first", "for i = 1, n do if backends[i].eligible ~= 0 then return i end end")
    policy(t, "last", "for i = n, 1, -1 do if backends[i].eligible ~= 0 then return i end end")
    policy(t, "broken", "return request.hash + nil")
    t:configure(SERVICE, { SHADOW = shadow })
    local admin = t:port "ADMIN"
    t:start { args = { "--admin", "127.0.0.1:" .. admin } }
    t:wait_up(3)
    return admin
end

local function shadow(t)
    return (t:of().route_shadows or {})[1]
end

-- Requests until the shadow was asked so often.
local function asked(t, times)
    t:wait("answers of the shadow", function()
        for _ = 1, 100 do
            assert.equal(200, t:get("/work").status)
        end
        return shadow(t).asked >= times
    end)
    return shadow(t)
end

describe("a route's shadow policy", function()
    it("is asked about some picks, and obeyed in none", tidegate.test(function(t)
        local admin = start(t, ', shadow = "last"')
        assert.same({ route = 1, path = "/", name = "last", asked = 0, differed = 0, errors = 0 }, shadow(t))
        local x = asked(t, 5)
        assert.same({ x.asked, 0 }, { x.differed, x.errors })
        local busy = 0
        for _, instance in pairs(t:instances()) do
            busy = busy + (instance.requests > 0 and 1 or 0)
        end
        assert.equal(1, busy)
        assert.matches("route 1 /: shadow last would have picked another backend in %d+ of %d+ picks", t:cli("status", "data").out)
        assert.truthy(t:get("/metrics", { port = admin }).body
            :match '\ntidegate_shadow_differences_total{point="balance",of="data",route="1",policy="last"} [1-9]')

        t:configure(SERVICE, { SHADOW = ', shadow = { "first" }' })
        assert.equal(0, t:cli("reload").code)
        assert.same({ "first", 0 }, { shadow(t).name, shadow(t).differed }) -- counts begin anew
        x = asked(t, 5)
        assert.same({ 0, 0 }, { x.differed, x.errors })

        t:configure(SERVICE, { SHADOW = "" })
        assert.equal(0, t:cli("reload").code)
        assert.is_nil(shadow(t))
    end))

    it("that fails is counted and rests after a while; no request fails", tidegate.test(function(t)
        start(t, ', shadow = "broken"')
        local x = asked(t, 20)
        assert.same({ x.asked, 0 }, { x.errors, x.differed })
        t:wait("its rest", function()
            for _ = 1, 100 do
                assert.equal(200, t:get("/work").status)
            end
            return t:log():find("shadow broken of route 1 is not asked until the next reload, for it failed 20 times in a row: "
                .. "policies/balance/broken.lua:4", 1, true)
        end)
        assert.equal(0, #t:ask("status").failing)
    end))
end)
