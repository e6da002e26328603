local configuration = require "configuration"
local load = configuration.load

-- A scale policy with this in front of it, and this in its function.
local function policy(before, inside)
    return ([[%s return { name = "own", doc = "A policy.",
      new = function()
        return function(s)
          %s
          return s.instances
        end
      end,
      examples = { { given = { instances = 2 }, want = 2 } } }]]):format(before or "", inside or "")
end

local USE = 'service "web" { image = "web:1", anomaly = false, scale = { policy = "own" } }'

local function with(source, files)
    local all = { ["tidegate.lua"] = USE, ["policies/scale/own.lua"] = source }
    for name, text in pairs(files or {}) do
        all[name] = text
    end
    return load(all)
end

local function errors(...)
    local config, why = with(...)
    assert.is_nil(config)
    return why
end

describe("globals of", function()
    after_each(configuration.clean)

    it("a policy are found in lines that no example runs", function()
        for inside, want in pairs {
            ["if s.instances > 99 then return maths.floor(1) end"] = 'undefined global "maths" (did you mean "math"?)',
            ["if s.instances > 99 then return sumthing end"] = 'undefined global "sumthing": make it a local or a parameter',
            ["if s.instances > 99 then last = 1 end"] = 'writes the global "last": make it local',
            ["if s.instances > 99 then function helper() end end"] = 'writes the global "helper": make it local',
            ["if s.instances > 99 then return os.time() end"] =
                'undefined global "os": a policy has no clock, files or processes: time is in what it is given',
            ["local f = function() return function() return { x = pars } end end"] =
                'undefined global "pars" (did you mean "pairs"?)',
        } do
            assert.equal("policies/scale/own.lua:4: " .. want, errors(policy(nil, inside)))
        end
    end)

    it("a policy are told once a name, all of them, instead of what running it would say", function()
        assert.equal('policies/scale/own.lua:1: undefined global "mathh" (did you mean "math"?)\n' ..
            'policies/scale/own.lua:4: writes the global "n": make it local',
            errors(policy("local x = mathh.huge", "n = mathh.max(1, 2) n = 3")))
    end)

    it("libraries are found, also of those that libraries require", function()
        assert.equal('policies/lib/b.lua:2: undefined global "tabel" (did you mean "table"?)',
            errors(policy 'local a = require "lib.a"', {
                ["policies/lib/a.lua"] = 'return require "lib.b"',
                ["policies/lib/b.lua"] = "return {\n  join = function(t) return tabel.concat(t) end }",
            }))
    end)

    it("a policy that are locals, fields or the sandbox's are fine", function()
        local config, why = with(policy("local unpack, maths = unpack, math", [[
            local _ = _G.nothing, maths.floor(1), string.format("%d", 1), bit.band(1, 2), require, coroutine.yield,
                xpcall, select, rawget, next, print, setmetatable({}, nil)
            for k in pairs {} do local x = k end]]))
        assert.truthy(config, why)
    end)

    it("the configuration's functions are found; its files may define some for each other", function()
        local WEB = [[service "web" { image = "web:1", anomaly = false, tags = function(i)
            return i.index > 50 and zoen(i) or zone(i)
        end }]]
        assert.equal('tidegate.lua:2: undefined global "zoen" (did you mean "zone"?)',
            select(2, load { ["tidegate.lua"] = WEB .. ' include "z.lua"',
                ["z.lua"] = "function zone() return { 'zone:1' } end" }))
        assert.equal('tidegate.lua:2: writes the global "seen": make it local', select(2, load [[
alert "A" { when = function(m)
            seen = m.service return false
        end }]]))
        local config, why = load { ["tidegate.lua"] = 'include "z.lua" ' .. WEB:gsub("zoen", "zone"),
            ["z.lua"] = "if env('NONE', '') == '' then prefix = 'zone:' end "
                .. "function zone(i) return { prefix .. i.index % 2 } end" }
        assert.truthy(config, why)
    end)

    it("a configuration that does not load are not guessed at", function()
        assert.equal("tidegate.lua:1: oops", select(2, load 'error "oops" local f = function() return nothing end'))
        assert.equal('tidegate.lua:1: include "none.lua": no such file or directory',
            select(2, load 'include "none.lua" local f = function() return nothing end'))
    end)
end)
