-- policies/meta.lua describes what C really sends: these read the C side's own words.
local policy = require "policy"

local function read(path)
    local file = assert(io.open(path))
    local text = file:read "*a"
    file:close()
    return text
end

-- Fields of a C struct in a text: { name = "number" | "integer" }.
local function c_fields(text, struct)
    local body = assert(text:match("struct " .. struct .. " {(.-)\n}"), struct)
    local fields = {}
    for kind, names in body:gsub("/%*.-%*/", ""):gmatch "(%w+) ([%w_, ]+);" do
        for name in names:gmatch "[%w_]+" do
            fields[name] = kind == "double" and "number" or "integer"
        end
    end
    return fields
end

local function sorted(set)
    local list = {}
    for name in pairs(set) do
        list[#list + 1] = name
    end
    table.sort(list)
    return list
end

describe("policies/meta.lua", function()
    for class, struct in pairs { Backend = "backend", Request = "request" } do
        it("describes the fields of struct script_" .. struct, function()
            local header = c_fields(read "core/script/script.h", "script_" .. struct)
            assert.same(header, policy.fields(class))
            assert.same(header, c_fields(read "core/script/prelude.lua", struct))
        end)
    end

    it("describes what request functions get and answer", function()
        local source = read "core/script/reader.lua"
        local function listed(name)
            local list = {}
            for word in assert(source:match("local " .. name .. " = {(.-)}")):gmatch '"([%w_]+)"' do
                list[#list + 1] = word
            end
            table.sort(list)
            return list
        end
        assert.same(listed "FIELDS", sorted(policy.fields "RequestHead"))
        assert.same(listed "ANSWERS", sorted(policy.fields "RequestData"))
    end)

    it("describes the snapshot of a service", function()
        local comment = assert(read("core/fleet/fleet.h"):match 'SNAPSHOT as JSON:.-"catalog": {(.-)}')
        local sent = {}
        for name in comment:gmatch '"([%w_]+)":' do
            sent[name] = true
        end
        assert.same(sorted(sent), sorted(policy.fields "ServiceView"))
    end)

    it("describes what the strict view knows", function()
        local names = assert(read("core/script/prelude.lua"):match "local declared = {%s*service = (.-),\n}")
        local known = {}
        for name in names:gsub('[".]+', " "):gmatch "[%w_]+" do
            known[name] = true
        end
        assert.same(sorted(known), sorted(policy.fields "ServiceView"))
    end)

    it("describes the fields that alerts may read", function()
        local source = read "core/script/judge.lua"
        local function words(text)
            local set = {}
            for word in text:gsub('[".]+', " "):gmatch "[%w_]+" do
                set[word] = true
            end
            return sorted(set)
        end
        assert.same(words(source:match "local GROUPS = (.-)\nlocal"), sorted(policy.fields "MetricsView"))
        local own = words(source:match "local TIDEGATE = (.-)\n\n" )
        local described = policy.fields "OwnView"
        described.at_ms, described.now, described.wall_ms, described.labels = true, true, true, true
        assert.same(own, sorted(described))
        assert.same(words(source:match '\n    traffic = (.-),\n'), sorted(policy.fields "Traffic"))
        assert.same(words(source:match '\n    resources = (.-),\n'), sorted(policy.fields "Resources"))
    end)

    it("gives a type to every field", function()
        for _, class in ipairs { "Policy", "Param", "ServiceView", "ScaleExample", "Backend", "Request", "Balance",
            "RequestHead", "RequestData", "BalanceExample", "Anomaly", "Metric", "Note", "Detector", "Series",
            "AnomalyExample" } do
            assert.is_true(next(policy.fields(class)) ~= nil, class)
        end
    end)
end)

-- What every shipped policy must have, whatever its kind.
describe("shipped policies", function()
    local shipped = {}
    for _, kind in ipairs { "anomaly", "balance", "scale" } do
        local list = io.popen("ls policies/" .. kind)
        for file in list:lines() do
            shipped[#shipped + 1] = kind .. "/" .. file:gsub("%.lua$", "")
        end
        list:close()
    end

    for _, path in ipairs(shipped) do
        it(path .. " is complete", function()
            local module = policy.load(path)
            assert.equal(path:match "[^/]+$", module.name)
            assert.truthy(#module.doc > 20 and module.doc:find "%.$")
            assert.is_function(module.new)
            for name, spec in pairs(module.params) do
                assert.truthy(spec.type and spec.doc, name)
                assert.truthy(spec.default ~= nil or spec.required, name)
            end
            assert.is_true(policy.examples(path) > 2)
            local head = read("policies/" .. path .. ".lua"):match "^(.-)\nreturn {"
            for _, word in ipairs { "Sees", "Answers", "Params", "Example" } do
                assert.truthy(head and head:find("-- " .. word .. " ", 1, true), word)
            end
            assert.is_true(io.open("tests/policies/" .. path .. "_spec.lua") ~= nil, "no spec")
        end)
    end
end)
