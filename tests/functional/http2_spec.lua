-- HTTP/2 through the real binary with real clients: curl, nghttp and h2load, through deaths of backends, reloads and drains.
local readme = require "readme"
local tidegate = require "tidegate"

local CONFIG = [[
service "web" {
  command = { "@SERVICE@" }, scale = { instances = 2 },
  route = { listen = "127.0.0.1:@PORT@" },
}
]]

local function ready(t)
    t:configure(CONFIG)
    t:start { args = { "--admin", "127.0.0.1:" .. t:port "ADMIN" } }
    return "http://127.0.0.1:" .. t.ports.PORT
end

local function output(format, ...)
    local pipe = assert(io.popen(format:format(...) .. " 2>&1"))
    local text = pipe:read "*a"
    pipe:close()
    return text
end

-- What h2load counted: requests in all, and those that had a 2xx.
local function counted(text)
    return tonumber(text:match "requests: (%d+) total"), tonumber(text:match "status codes: (%d+) 2xx"), text
end

describe("HTTP/2", function()
    it("README.md shows what check takes", tidegate.test(function(t)
        for i, text in ipairs(readme.configurations "HTTP/2") do
            t:write("shown.lua", text)
            local result = t:cli("check", t.dir .. "/shown.lua")
            assert.equal(0, result.code, ("block %d: %s"):format(i, result.err))
        end
    end))

    it("serves curl, nghttp and h2load", tidegate.test(function(t)
        local url = ready(t)
        local text = output("curl -sS -i --http2-prior-knowledge %s/echo/some?x=1", url)
        assert.matches("^HTTP/2 200", text)
        assert.matches("\nvia: 1.1 tidegate", text)
        text = output("head -c 3000000 /dev/zero | curl -sS --http2-prior-knowledge --data-binary @- -o %s/echoed "
            .. "-w '%%{http_code} %%{http_version} %%{size_upload}' %s/echo/body", t.dir, url)
        assert.equal("200 2 3000000", text)
        text = output("nghttp -n -s %s/ %s/?1 %s/?2", url, url, url)
        assert.matches("%f[%d]200%f[%D].*%f[%d]200%f[%D].*%f[%d]200%f[%D]", text)
        local all, fine, told = counted(output("h2load -n 3000 -c 3 -m 100 %s/", url))
        assert.same({ 3000, 3000 }, { all, fine }, told)
        local page = t:get("/metrics", { port = t:port "ADMIN" }).body
        assert.matches('\ntidegate_http2_requests_total{worker="%d"} %d+\n', page)
        assert.matches('\ntidegate_http2_floods_total{worker="%d",reason="resets"} 0\n', page)
    end))

    it("loses no stream when instances die and the configuration is reloaded", tidegate.test(function(t)
        local url = ready(t)
        local path = t.dir .. "/h2load"
        local load = t:run_beside("/bin/sh", "-c", ("exec h2load -D 4 -c 4 -m 10 %s/ >%s 2>&1"):format(url, path))
        for _ = 1, 3 do
            t:kill(t:pid_of(t:of("web").instances[1]))
            assert.equal(0, t:cli("reload").code)
            t:wait_up(2, "web")
        end
        t:finished(load)
        local all, fine, told = counted(tidegate.read_file(path))
        assert.is_true(all > 1000, told)
        assert.equal(all, fine, told)
    end))

    it("finishes streams under way before the daemon ends", tidegate.test(function(t)
        local url = ready(t)
        local path = t.dir .. "/slow"
        local client = t:run_beside("/bin/sh", "-c",
            ("exec curl -sS --http2-prior-knowledge -w ' %%{http_code}' '%s/sleep/1500' >%s 2>&1"):format(url, path))
        t:wait("the request to be under way", function()
            local page = t:get("/metrics", { port = t:port "ADMIN" }).body
            return page:find '\ntidegate_http2_connections{worker="%d"} 1\n'
        end)
        assert.equal(0, t:stop())
        t:finished(client)
        assert.matches(" 200$", tidegate.read_file(path))
    end))
end)
