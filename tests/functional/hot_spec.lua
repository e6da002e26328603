-- `tidegate check --hot`: what picks cost, and what LuaJIT does not compile.
local cjson = require "cjson"
local shell = require "shell"

local POLICY = [[
return {
    name = "NAME", doc = "For a spec.", params = {}, needs = {},
    new = function()
        return { score = function(backend)
            BODY
        end }
    end,
    examples = { { backends = { { in_flight = 3 }, { in_flight = 1 } }, want = WANT } },
}
]]

local CONFIG = [[
cluster { id = "x", engine = "process" }
service "shop" { backends = { "127.0.0.1:9" }, route = { listen = "127.0.0.1:18080", balance = "NAME" } }
]]

describe("tidegate check --hot", function()
    local sh

    before_each(function()
        sh = shell.new()
        os.execute("mkdir -p " .. sh.dir .. "/policies/balance")
    end)

    after_each(function()
        sh:close()
    end)

    local function check(name, body, options, want)
        local text = POLICY:gsub("NAME", name):gsub("BODY", (body:gsub("%%", "%%%%"))):gsub("WANT", want or "2")
        if body ~= "" then
            sh:write("policies/balance/" .. name .. ".lua", text)
        end
        sh:write("tidegate.lua", (CONFIG:gsub("NAME", name)))
        return sh:run("$T check --hot " .. (options or ""))
    end

    it("tells time and garbage of a pick that is compiled", function()
        local code, out, err = check("ewma", "")
        assert.same({ 0, "" }, { code, err })
        assert.matches("\nok   ewma %(policies/balance/ewma.lua%), shop route 1: %d+ ns and 0 bytes of garbage a pick\n", out)
    end)

    it("names file and line of what is not compiled, what it leaves, and what to write instead", function()
        local code, out, err = check("mine", "local f = function() return backend.in_flight end\n return f()")
        assert.equal(1, code)
        assert.matches("FAIL mine .*: %d+ ns and %d%d+ bytes of garbage a pick, not compiled", out)
        assert.matches("policies/balance/mine.lua:5: NYI: bytecode FNEW: makes a function for each request: make it once, in new", out)
        assert.matches("1 balance policy fails or does not run as machine code", err)
    end)

    it("tells where a pick fails that no example shows", function()
        local code, out = check("mine", "return backend.in_flight > 10 and backend.zones or 1", "", "1")
        assert.equal(1, code)
        assert.matches("FAIL mine .*: policies/balance/mine.lua:5: .*zones", out)
    end)

    it("is one line of JSON", function()
        local code, out = check("least_connections", "", "--json")
        local one = cjson.decode(out).hot[1]
        assert.same({ 0, true, 0, "shop route 1" }, { code, one.compiled, one.bytes, one.at })
        assert.is_true(one.ns > 1 and one.ns < 5000)
    end)
end)
