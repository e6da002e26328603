-- Routes that change or answer their requests themselves, with the real binary.
local readme = require "readme"
local tidegate = require "tidegate"

describe("The edge, routing extras", function()
    it("README.md shows what check takes", tidegate.test(function(t)
        for i, text in ipairs(readme.configurations "Routing extras") do
            t:write("shown.lua", (text:gsub("@", "@@")))
            local result = t:cli("check", t.dir .. "/shown.lua")
            assert.equal(0, result.code, ("block %d: %s\n%s"):format(i, result.err, text))
        end
    end))

    it("redirects and answers without a backend, and counts that", tidegate.test(function(t)
        t:write("robots.txt", "User-agent: *\n")
        t:configure [[
service "moved" {
  route = {
    { listen = "127.0.0.1:@PORT@", host = "moved.example", redirect = { to = "https", port = 8443, status = 308 } },
    { listen = "127.0.0.1:@PORT@", path = "/robots.txt", answer = { file = "robots.txt" } },
    { listen = "127.0.0.1:@PORT@", path = "/gone", answer = { status = 410, type = "application/json", body = "{}" } },
  },
}]]
        t:start()
        local moved = t:get("/a?b=c", { headers = { Host = "moved.example:80" } })
        assert.same({ 308, "https://moved.example:8443/a?b=c" }, { moved.status, moved.headers.location })
        local robots = t:get "/robots.txt"
        assert.same({ 200, "User-agent: *\n", "text/plain; charset=utf-8" },
            { robots.status, robots.body, robots.headers["content-type"] })
        local gone = t:get "/gone/for/good"
        assert.same({ 410, "{}", "application/json" }, { gone.status, gone.body, gone.headers["content-type"] })
        assert.equal(404, t:get("/").status)
        assert.equal(0, t:cli("status").code)
    end))
end)
