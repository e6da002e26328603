-- Plants violations in a small house and sees each found.

local function sh(command)
    local pipe = io.popen(command .. " 2>&1; echo \" rc=$?\"")
    local out = pipe:read "*a"
    pipe:close()
    return out, tonumber(out:match "rc=(%d+)%s*$")
end

describe("scripts/layers.lua", function()
    local root

    local function write(path, text)
        sh(("mkdir -p '%s/%s'"):format(root, path:match "^(.*)/"))
        local file = assert(io.open(root .. "/" .. path, "w"))
        file:write(text)
        file:close()
    end

    local function check()
        return sh(("luajit scripts/layers.lua '%s'"):format(root))
    end

    before_each(function()
        root = os.tmpname()
        os.remove(root)
        write("core/base/str.h", "struct str;\n")
        write("tests/unit/base/str_spec.lua", "")
    end)

    after_each(function()
        sh(("rm -rf '%s'"):format(root))
    end)

    it("is content with a clean house", function()
        local out, rc = check()
        assert.equal(0, rc, out)
    end)

    local planted = {
        { "an include against the layers", "core/base/x.c", '#include "net/net.h"\n',
            "room base may not include room net" },
        { "a private header of another room", "core/engine/x.c", '#include "net/client.h"\n',
            "private to room net" },
        { "Lua outside of script", "core/fleet/x.c", "#include <lua.h>\n",
            "Lua belongs to another room" },
        { "libcurl outside of net", "core/engine/x.c", "#include <curl/curl.h>\n",
            "libcurl belongs to another room" },
        { "Lua in the master", "core/app/master.c", '#include "script/script.h"\n',
            "must never include" },
        { "the engine in the policy process", "core/app/policy.c", '#include "engine/engine.h"\n',
            "reaches too far" },
        { "the engine in a worker", "core/app/worker.c", '#include "fleet/fleet.h"\n',
            "reaches too far" },
        { "a folder that is no room", "core/misc/x.c", "\n", "is no room" },
        { "a long file", "core/base/x.c", ("int x;\n"):rep(701), "701 lines" },
        { "a long function", "core/base/x.c", "int f(void)\n{\n" .. ("    g();\n"):rep(81) .. "}\n",
            "function of 81 lines" },
        { "a long Lua file", "policies/x.lua", ("local x\n"):rep(701), "701 lines" },
        { "a mark of unfinished work", "core/base/x.c", "/* TO" .. "DO: more */\n", "a mark of unfinished work" },
        { "a room without tests", "core/ipc/x.c", "\n", "a room without tests" },
    }
    for _, case in ipairs(planted) do
        it("finds " .. case[1], function()
            write(case[2], case[3])
            local out, rc = check()
            assert.equal(1, rc, out)
            assert.is_truthy(out:find(case[4], 1, true), out)
        end)
    end
end)
