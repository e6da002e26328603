package.path = "core/?.lua;" .. package.path
local lines = require "script.lines"

local KEYWORDS = { service = true, cluster = true }

local function first(source)
    return lines.blocks(source, KEYWORDS)[1]
end

describe("script/lines", function()
    it("finds blocks with their names and lines", function()
        local blocks = lines.blocks('cluster { id = "a" }\n\nservice "x" {\n}\nservice("y"){}\nservice [[z]] {}\n' ..
            'service ("a" .. 1) {}', KEYWORDS)
        local seen = {}
        for _, b in ipairs(blocks) do
            seen[#seen + 1] = b.line .. b.keyword .. (b.name or "?")
        end
        assert.same({ "1cluster?", "3servicex", "5servicey", "6servicez", "7service?" }, seen)
    end)

    it("maps paths of keys to lines", function()
        local keys = first([[
service "x" { -- a comment with { and "
  image = "a{b}", --[=[ long
  comment } ]=] command = { "a",
     "b" },
  scale = {
    min = 2,
    ["max"] = 3; cpu = 1
  },
  route = { { listen = ":1" },
            { listen = ":2",
              path = "/" } },
  [7] = 1,
}
]]).keys
        assert.same({
            image = 2, command = 3, ["command[1]"] = 3, ["command[2]"] = 4, scale = 5, ["scale.min"] = 6,
            ["scale.max"] = 7, ["scale.cpu"] = 7, route = 9, ["route[1]"] = 9, ["route[1].listen"] = 9,
            ["route[2]"] = 10, ["route[2].listen"] = 10, ["route[2].path"] = 11, ["[7]"] = 12,
        }, keys)
    end)

    it("steps over functions and expressions with commas of their own", function()
        local keys = first([[
service "x" {
  tags = function(i)
    local t = { a = 1, b = 2 }
    if i.index > 1 then for k = 1, 2 do t.c = k end end
    while false do end
    repeat t.d = f(1, 2) until true
    return t, 2
  end,
  image = pick(a, { q = 1 }, "x,y") .. 'it\'s',
  weight = x and { 1, 2 } or { 3 },
  last = 5 }
]]).keys
        assert.same({ tags = 2, image = 9, weight = 10, ["weight[1]"] = nil, last = 11 }, {
            tags = keys.tags, image = keys.image, weight = keys.weight, last = keys.last,
        })
        assert.is_nil(keys["tags.a"])
        assert.is_nil(keys.q)
    end)

    it("tells keys that are given twice", function()
        assert.same({ { path = "image", line = 3, first = 2 } },
            first("service 'x' {\n image = 1,\n image = 2 }").twice)
        assert.same({}, first("service 'x' { a, a, [f()] = 1, [g()] = 2 }").twice)
    end)

    it("survives source that is no Lua", function()
        for _, source in ipairs { "service 'x' {", "service 'x' { [", "service '", "service 'x' { a = ", "service [[",
            "--[[", "service 'x' { a = } }", "service (", "\27\0\1", "#!shebang", "service 'x' { [1", "}}}" } do
            lines.blocks(source, KEYWORDS)
        end
    end)

    it("counts lines as Lua does behind a shebang and long strings", function()
        local blocks = lines.blocks("#!/x\nlocal s = [==[\n]]\n]==]\nlocal t = 'a\\\nb'\nservice 'x' { a = 1 }", KEYWORDS)
        assert.equal(7, blocks[1].line)
        assert.equal(7, blocks[1].keys.a)
    end)
end)
