-- Code that does not end by itself, in the real program with the LuaJIT that it is linked with: one simulation,
-- whose policies have the JIT on, meets all of it.
local attacks = require "attacks"
local shell = require "shell"

describe("tidegate simulate", function()
    it("goes on after every runaway of a policy", function()
        local sh, functions = shell.new(), {}
        for _, attack in ipairs(attacks.runaways) do
            if attack[1] ~= "print" then -- the log takes ten lines a second
                functions[#functions + 1] = "function()\n" .. attack[2] .. "\nend"
            end
        end
        assert.equal(0, (sh:run "mkdir -p policies/scale"))
        sh:write("policies/scale/x.lua", "local attacks = {" .. table.concat(functions, ",\n") .. [[ }
return { name = "x", doc = "For this test.", new = function()
  local at, back = 0, 0
  return function(s)
    at = at + 1
    if attacks[at] then
      attacks[at]()
      back = back + 1
    elseif at == #attacks + 1 then
      print(("%d attacks, %d came back"):format(#attacks, back))
    end
    return s.instances
  end
end }]])
        sh:write("load.csv", ("0,50\n%d,50\n"):format((#functions + 20) * 5))
        local code, _, err = sh:run "$T simulate policies/scale/x.lua:interval=5s --trace load.csv"
        assert.equal(1, code, err) -- a policy failed
        assert.truthy(err:find(('text="%d attacks, 0 came back"'):format(#functions), 1, true), err)
        sh:close()
    end)
end)
