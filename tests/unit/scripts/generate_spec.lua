-- What is made of policies/tidegate/views.lua: a copy of the files in which one is changed.
local FILES = "policies/tidegate/views.lua core/script/stubs.lua scripts/generate.lua policies/meta.lua "
    .. "policies/README.md .luarc.json .luacheckrc"

local dir

local function run(command)
    local pipe = io.popen(("cd %s && { %s; } 2>&1; echo $?"):format(dir, command))
    local text = pipe:read "*a"
    pipe:close()
    return text:match "^(.-)(%d+)\n$"
end

describe("scripts/generate.lua", function()
    before_each(function()
        local pipe = io.popen "mktemp -d"
        dir = pipe:read "*l"
        pipe:close()
        assert(os.execute("cp --parents " .. FILES .. " " .. dir) == 0)
    end)

    after_each(function()
        os.execute("rm -r " .. dir)
    end)

    it("finds nothing to do where all is generated", function()
        local text, code = run "luajit scripts/generate.lua --check"
        assert.same({ "", "0" }, { text, code })
    end)

    for _, file in ipairs { "policies/meta.lua", "policies/README.md", ".luarc.json", ".luacheckrc" } do
        it("finds a changed " .. file .. ", and writes it anew", function()
            run("sed -i 's/integer/number/; s/xpcall/ycall/; s/LuaJIT\"/Lua 5.1\"/' " .. file)
            local text, code = run "luajit scripts/generate.lua --check"
            assert.equal("1", code)
            assert.equal(file .. ": not what policies/tidegate/views.lua gives: run `scripts/dev generate`\n", text)
            assert.equal(file .. "\n", (run "luajit scripts/generate.lua"))
            assert.equal("0", select(2, run "luajit scripts/generate.lua --check"))
        end)
    end

    it("writes a new field into annotations and reference", function()
        run([[sed -i 's/{ "rate", "number",/{ "rote", "number",/' policies/tidegate/views.lua]])
        run "luajit scripts/generate.lua"
        assert.truthy(run("cat policies/meta.lua"):find("---@field rote? number", 1, true))
        assert.truthy(run("cat policies/README.md"):find("| `rote` | number, nil |", 1, true))
    end)
end)
