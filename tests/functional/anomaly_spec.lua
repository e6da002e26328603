-- `tidegate anomaly replay`: series from files through anomaly policies, with the real program.
local shell = require "shell"

describe("tidegate anomaly replay", function()
    local sh

    before_each(function()
        sh = shell.new()
    end)

    after_each(function()
        sh:close()
    end)

    -- Exit code, lines, stderr.
    local function replay(args, input)
        if input then
            sh:write("input", input)
        end
        local code, out, err = sh:run(("$T anomaly replay %s %s"):format(args, input and "<input" or ""))
        local lines = {}
        for row in out:gmatch "[^\n]+" do
            lines[#lines + 1] = row
        end
        return code, lines, err
    end

    -- Rows every 5 min from 2014-02-14 on: 10 to 19, and at row 800 a spike.
    local function rows(count, spike)
        local list = {}
        for i = 1, count do
            list[i] = os.date("!%Y-%m-%d %H:%M:%S,", 1392336000 + i * 300) .. (i == spike and 60 or 10 + i * 7 % 10)
        end
        return "timestamp,value\n" .. table.concat(list, "\n") .. "\n"
    end

    local function alarms(lines)
        local found = {}
        for i, row in ipairs(lines) do
            local score, alarm = row:match ",([%d.e+-]+),([01])$"
            if score then
                assert.equal(tonumber(score) >= 1, alarm == "1", row)
                found[#found + 1] = alarm == "1" and i - 1 or nil
            end
        end
        return found
    end

    it("prints a score and an alarm for each row, in order", function()
        sh:write("x.csv", rows(1000, 800))
        local code, lines, err = replay "x.csv"
        assert.same({ 0, "", 1001, "timestamp,value,score,alarm" }, { code, err, #lines, lines[1] })
        assert.equal(0, lines[2]:find "2014%-02%-14 00:05:00,17,0,0" and 0 or lines[2])
        assert.same({ 800 }, alarms(lines))
        local _, bare = replay "x.csv --no-header"
        assert.same({ unpack(lines, 2) }, bare)
    end)

    it("does not look ahead: the first rows score the same without the others", function()
        sh:write("whole.csv", rows(1000, 800))
        sh:write("part.csv", rows(805, 800))
        for _, policy in ipairs { "record", "zscore" } do
            local _, whole = replay("whole.csv --policy " .. policy)
            local _, part = replay("part.csv --policy " .. policy)
            assert.equal(806, #part)
            assert.same({ unpack(whole, 1, 806) }, part)
        end
    end)

    it("takes the seed's policy, with three deviations", function()
        sh:write("x.csv", rows(1000, 800))
        local code, lines = replay "x.csv --policy zscore"
        assert.equal(0, code)
        assert.same({ 800 }, alarms(lines))
        local mean, sd, values = 0, 0, {}
        for i = 1, 799 do
            values[i] = 10 + i * 7 % 10
            mean = mean + values[i] / 799
        end
        for i = 1, 799 do
            sd = sd + (values[i] - mean) ^ 2 / 798
        end
        local score = tonumber(lines[801]:match ",([%d.]+),1$")
        assert.is_true(math.abs(score - (60 - mean) / math.sqrt(sd) / 3) < 1e-4)
    end)

    it("reads all ways to write a time, gaps, and a series as it comes", function()
        local code, lines = replay("- --json", table.concat({ "time,v", "1392388200,1", "2014-02-14 14:30:15,2",
            "2014-02-14T14:30:30Z,3", "2014-02-14T15:30:45+01:00,", "2014-02-14T14:31:00.5Z,nan",
            "2014-02-14 14:31,1e3\r", "" }, "\n"))
        assert.equal(0, code)
        assert.equal(6, #lines)
        assert.equal('{"timestamp":"1392388200","value":1,"score":0,"alarm":false}', lines[1])
        assert.equal('{"timestamp":"2014-02-14T15:30:45+01:00","value":null,"score":0,"alarm":false}', lines[4])
        assert.matches('"value":1000,', lines[6])
    end)

    it("puts a point into the time of day that its zone says", function()
        -- The same moments, written in two zones.
        local function written(zone, offset)
            local list = {}
            for i = 1, 900 do
                local at = 1392336000 + i * 900
                list[i] = os.date("!%Y-%m-%dT%H:%M:%S", at + offset) .. zone .. "," .. i % 96 * (i == 700 and 3 or 1)
            end
            return table.concat(list, "\n")
        end
        sh:write("utc.csv", written("Z", 0))
        sh:write("east.csv", written("+05:30", 19800))
        local _, utc = replay "utc.csv"
        local _, east = replay "east.csv"
        for i = 2, 901 do
            assert.equal(utc[i]:match ",.*", east[i]:match ",.*")
        end
    end)

    it("stops at a bad row with file and line, after what was before", function()
        for row, what in pairs {
            ["yesterday,1"] = "no time stamp", ["2014-13-01 00:00:00,1"] = "no time stamp",
            ["2014-01-01 25:00:00,1"] = "no time stamp", ["2014-01-01T00:00:00+25:00,1"] = "no time stamp",
            ["-5,1"] = "no time stamp", ["7,high"] = "no value", ["7,inf"] = "no value", ["7,1x"] = "no value",
            ["7"] = "no row of two fields", ["7,1,2"] = "no row of two fields",
            [("9"):rep(5000)] = "no row of two fields",
        } do
            sh:write("x.csv", "timestamp,value\n1,1\n2,2\n" .. row .. "\n9,9\n")
            local code, lines, err = replay "x.csv"
            assert.same({ 1, 3 }, { code, #lines }, row)
            assert.matches("^tidegate: x.csv:4: " .. what .. "[^\n]*: [^\n]+\n$", err)
        end
    end)

    it("says what is wrong with a policy or a file", function()
        sh:write("x.csv", "1,1\n")
        for args, pattern in pairs {
            ["x.csv --policy recrd"] = 'did you mean "record"',
            ["x.csv --policy ../x"] = "no name of a policy",
            ["nowhere.csv"] = "nowhere.csv cannot be opened",
            ["x.csv --config nowhere.lua"] = "nowhere.lua",
            ["."] = "cannot be read",
        } do
            local code, _, err = replay(args)
            assert.equal(1, code, args)
            assert.matches(pattern, err)
        end
    end)

    it("takes policies and parameters from a configuration", function()
        os.execute("mkdir -p " .. sh.dir .. "/conf/policies/anomaly")
        sh:write("conf/policies/anomaly/above.lua", [[
return {
    name = "above",
    doc = "Tells of values above a limit.",
    params = { limit = { type = "number", default = 10, doc = "highest usual value" } },
    new = function(params)
        return {
            metrics = { { name = "p99", of = { "performance.p99" } } },
            learn = function() return {} end,
            point = function(_, value)
                if value == 13 then error("bad luck") end
                return value / params.limit
            end,
        }
    end,
    examples = { { given = { more = { 9, 11 } }, want = 2 } },
}]])
        sh:write("conf/tidegate.lua", [[
service "a" { backends = { "127.0.0.1:1" }, anomaly = { policy = "above", limit = 5 } }
service "b" { backends = { "127.0.0.1:2" } }]])
        sh:write("x.csv", "1,4\n2,6\n3,12\n")
        local _, lines = replay "x.csv --no-header --config conf/tidegate.lua"
        assert.same({ "1,4,0.8,0", "2,6,1.2,1", "3,12,2.4,1" }, lines)
        _, lines = replay "x.csv --no-header --config conf/tidegate.lua --policy above"
        assert.equal("2,6,1.2,1", lines[2])
        -- A policy that no service uses has its defaults; it is looked for beside the configuration.
        sh:write("conf/tidegate.lua", 'service "a" { backends = { "127.0.0.1:1" }, anomaly = false }')
        _, lines = replay "x.csv --no-header --config conf/tidegate.lua --policy above"
        assert.same({ "1,4,0.4,0", "2,6,0.6,0", "3,12,1.2,1" }, lines)
        sh:write("x.csv", "1,4\n2,13\n")
        local code, _, err = replay "x.csv --config conf/tidegate.lua --policy above"
        assert.equal(1, code)
        assert.matches("x.csv:2: the policy failed: policies/anomaly/above.lua:10: bad luck", err)
    end)
end)
