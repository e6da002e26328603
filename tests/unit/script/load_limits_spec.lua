local configuration = require "configuration"
local load = configuration.load

local function why(files)
    local config, text, code = load(files)
    assert.is_nil(config)
    return text, code
end

describe("script_load", function()
    after_each(configuration.clean)

    it("stops a configuration that does not end, and says where", function()
        local cases = {
            ["\n\nwhile true do end"] = "tidegate.lua:3: ",
            ["local function f() return f() end\nf()"] = "tidegate.lua:1: ",
            ["while true do\npcall(function() while true do end end) end"] = "tidegate.lua:2: ",
            ["service 'x' { image = 'x',\ntags = function() while true do end end }"] = "tidegate.lua:2: ",
        }
        for source, place in pairs(cases) do
            assert.equal(place .. "ran longer than 1000 ms of CPU time", (why(source)), source)
        end
    end)

    it("stops one that takes too much memory, and still tells what was wrong before", function()
        assert.equal('tidegate.lua: not enough memory: a state may hold 64 MiB\n'
            .. 'tidegate.lua:1: service "x": imgae: unknown key: did you mean "image"?',
            (why "service 'x' { image = 'x', imgae = 1 } local t = {} for i = 1, 1e9 do t[i] = { i } end"))
    end)

    it("bounds what recursion can do", function()
        assert.equal('tidegate.lua:3: service "x": environment.A: contains itself',
            (why "local t = {}\nt.A = t\nservice 'x' { image = 'x', environment = t }"):gsub("\n.*", ""))
        assert.truthy(why("local t = {} local u = t for i = 1, 50 do u.a = {} u = u.a end service 'x' { image = t }")
            :find "is nested too deeply")
        assert.truthy(why("local function f() return 1 + f() end\nf()"):find "^tidegate.lua:1: stack overflow")
        assert.truthy(why("service 'x' " .. ("{"):rep(5000)):find "^tidegate.lua:1: ")
    end)

    it("accepts text only, of a bounded size", function()
        local cases = {
            ["\27LJ\2\10"] = "compiled Lua: only text is accepted",
            ["-- \0"] = "contains a NUL byte: only text is accepted",
            [("-"):rep(2 ^ 20 + 1)] = "larger than 1 MiB: split it and include the parts",
        }
        for source, want in pairs(cases) do
            local text, code = why(source)
            assert.truthy(text:find("/tidegate.lua: " .. want, 1, true), text)
            assert.equal(-22, code)
            assert.equal('tidegate.lua:1: include "x.lua": ' .. want,
                (why { ["tidegate.lua"] = "include 'x.lua'", ["x.lua"] = source }))
        end
        local big = ("service 'x' { image = 'x', weight = 1 }\n"):rep(1) .. ("-- comment\n"):rep(90000)
        assert.is_not_nil(load(big))
    end)

    it("loads a large configuration whole", function()
        local parts = {}
        for i = 1, 1000 do
            parts[i] = ("service 's%d' { image = 'x:1', ports = { 80 }, environment = { A = 1, B = 2 },\n  "
                .. "scale = { max = 2 }, route = { listen = ':80', host = 's%d.example', path = '/' } }"):format(i, i)
        end
        local config, text = load(table.concat(parts, "\n"))
        assert.is_not_nil(config, text)
        assert.equal("tidegate.lua:1999", config.services[1000].at)
        parts[#parts + 1] = ("service 'y' { image = 'x' }\n"):rep(25):gsub("y", function()
            parts.n = (parts.n or 0) + 1
            return "y" .. parts.n
        end)
        assert.equal("tidegate.lua: 1025 services: at most 1024", (why(table.concat(parts, "\n"))))
    end)

    it("says why a file cannot be read", function()
        local directory = configuration.write "-- x"
        local function path_error(path)
            local _, text, code = configuration.load_path(path)
            return text, code
        end
        local text, code = path_error(directory .. "/none.lua")
        assert.same({ directory .. "/none.lua: no such file or directory", -2 }, { text, code })
        text, code = path_error(directory .. "/none/tidegate.lua")
        assert.same({ directory .. "/none/tidegate.lua: no such file or directory: give the path of a configuration", -2 },
            { text, code })
        assert.same({ directory .. "/: not a regular file", -22 }, { path_error(directory .. "/") })
        os.execute("mkfifo " .. directory .. "/fifo.lua")
        assert.same({ directory .. "/fifo.lua: not a regular file", -22 }, { path_error(directory .. "/fifo.lua") })
    end)

    it("reads nothing outside of the configuration's directory", function()
        local outside = configuration.write { ["secret.lua"] = "service 'leak' { image = 'x' }" }
        local inside = configuration.write { ["tidegate.lua"] = "include 'link.lua'", ["d/x.lua"] = "" }
        os.execute(("ln -s %s/secret.lua %s/link.lua; ln -s %s %s/folder"):format(outside, inside, outside, inside))
        local function error_of(source)
            local file = assert(io.open(inside .. "/tidegate.lua", "w"))
            file:write(source)
            file:close()
            return (select(2, configuration.load_path(inside .. "/tidegate.lua")))
        end
        local out = ": outside of the configuration's directory"
        for _, name in ipairs { "link.lua", "folder/secret.lua", "d/../link.lua" } do
            assert.equal(('tidegate.lua:1: include "%s"'):format(name) .. out, error_of(("include '%s'"):format(name)))
        end
        local up = "../" .. outside:match "[^/]+$" .. "/secret.lua"
        assert.equal(('tidegate.lua:1: include "%s"'):format(up) .. out, error_of(("include '%s'"):format(up)))
        assert.equal('tidegate.lua:1: include: expected a file such as "services.lua", got "/etc/passwd"',
            error_of "include '/etc/passwd'")
        assert.equal("tidegate.lua: declares no service: write service \"name\" { ... }", error_of "include 'folder/*.lua'")
        -- A link that stays inside is as good as its file.
        os.execute(("printf 'service(' >%s/d/y.lua; ln -s %s/d/y.lua %s/y.lua; ln -s d %s/e"):format(inside, inside, inside, inside))
        for _, name in ipairs { "y.lua", "e/y.lua", "d/../e/y.lua" } do
            assert.matches("^" .. name:gsub("[.]", "%%.") .. ":1: ", (error_of(("include '%s'"):format(name))))
        end
    end)

    it("names a cycle of includes", function()
        assert.equal('b.lua:2: include "a.lua": includes itself: tidegate.lua -> a.lua -> b.lua -> a.lua', (why {
            ["tidegate.lua"] = "include 'a.lua'", ["a.lua"] = "include 'b.lua'", ["b.lua"] = "\ninclude 'a.lua'",
        }))
        assert.equal('tidegate.lua:1: include "./tidegate.lua": includes itself: tidegate.lua -> tidegate.lua',
            ((why "include './tidegate.lua'"):gsub('"tidegate', '"./tidegate')))
    end)

    it("tells errors of included files with their own names, after those of the main file", function()
        assert.equal([[
tidegate.lua:2: service "m": imgae: unknown key: did you mean "image"?
b.lua:1: service "x": is already declared at a.lua:1
b.lua:2: service "y": weight: must be between 1 and 1000, got 0]], (why {
            ["tidegate.lua"] = "include 'b.lua'\nservice 'm' { image = 'm', imgae = 1 }",
            ["b.lua"] = "include 'a.lua' service 'x' { image = 'x' }\nservice 'y' { image = 'y', weight = 0 }",
            ["a.lua"] = "service 'x' { image = 'x' }",
        }))
    end)

    it("leaves nothing behind that another load could see", function()
        assert.is_not_nil(load "string.rep = nil function leak() end service 'x' { image = 'x' }")
        assert.equal("tidegate.lua:1: unknown name \"leak\": only what the configuration itself defines, and the safe part "
            .. "of Lua, is known", (why "leak()"))
        assert.is_not_nil(load "service('x' .. string.rep('a', 2)) { image = ('x'):rep(3) }")
    end)
end)
