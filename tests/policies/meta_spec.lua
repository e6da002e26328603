-- policies/tidegate/views.lua describes what C really sends: these read the C side's own words.
local policy = require "policy"
local views = dofile "policies/tidegate/views.lua"

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

describe("policies/tidegate/views.lua", function()
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

    it("describes the fields that views are made of", function()
        local made = { service = true, metrics = true }
        for name, field in read "core/fleet/view.c":gmatch '{"([%w_]+)", offsetof%(struct fleet_view, ([%w_]+)%)}' do
            assert.equal(name, field)
            made[name] = true
        end
        assert.same(sorted(made), sorted(policy.fields "ServiceView"))
    end)

    it("describes every group of the metrics view", function()
        local groups = {}
        for _, entry in ipairs(views.list) do
            local name = entry.group and entry.group:match "^[^.]+"
            groups[name or ""] = true
            if name and not entry.group:find(".", 1, true) then
                assert.equal("tidegate." .. entry.class, policy.fields "MetricsView"[name])
            end
        end
        for name, kind in pairs(policy.fields "MetricsView") do
            assert.equal(kind:find "^tidegate%." ~= nil, groups[name] == true, name)
        end
    end)

    it("names no field twice and describes each", function()
        for _, entry in ipairs(views.list) do
            local seen = {}
            for _, field in ipairs(entry.fields or {}) do
                assert.is_nil(seen[field[1]], field[1])
                seen[field[1]] = true
                assert.truthy(#field[2] > 0 and #field[3] > 0, entry.class .. "." .. field[1])
            end
        end
    end)

    it("is what the generated files say", function()
        local differ = io.popen "luajit scripts/generate.lua --check 2>&1; echo done"
        assert.equal("done\n", differ:read "*a")
        differ:close()
    end)

    it("gives a type to every field", function()
        for _, class in ipairs { "Policy", "Param", "ServiceView", "Part", "Window", "ScaleExample", "Backend", "Request", "Balance",
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
