local C, ffi = require("ffi_room").load("base/buf.h", "base/json.h", "commands/screen.h", "commands/commands.h")
local cjson = require "cjson"

local function shown(show, answer, ...)
    local buf = ffi.new "struct buf[1]"
    C.buf_init(buf, 1024 * 1024)
    local text = cjson.encode(answer)
    local json = C.json_parse(text, #text)
    show(buf, json, ...)
    C.json_free(json)
    local out = ffi.string(C.buf_str(buf), buf[0].len)
    C.buf_free(buf)
    return out
end

local function alert(name, over)
    local one = { name = name, state = "firing", severity = "warning", service = "shop", fingerprint = "0123456789abcdef",
        message = "shop-1 of shop uses 95 % of its CPU", since_s = 125, next = "told in 8s" }
    for key, value in pairs(over or {}) do
        one[key] = value
    end
    return one
end

local function alerts(list, all, columns, colour)
    return shown(C.commands_show_alerts, { ok = true, rules = 20, alerts = list }, all or false, columns or 200, colour or false)
end

describe("alerts for people", function()
    it("say that nothing fires", function()
        assert.equal("nothing fires: 20 rules are watched\n", alerts {})
    end)

    it("have a line each, with what comes next", function()
        local text = alerts { alert("InstanceDown", { severity = "critical", instance = "shop-1" }),
            alert("HighCPU", { state = "pending", next = "fires in 40s" }), alert("Own", { service = cjson.null }) }
        assert.matches("^2 firing, 1 pending\n", text)
        assert.matches("\ncritical%s+InstanceDown%s+shop%-1%s+2m05s%s+01234567%s+told in 8s\n +shop%-1 of shop uses 95 %% of its CPU\n", text)
        assert.matches("\npending%s+HighCPU%s+shop%s.-fires in 40s\n", text)
        assert.matches("\nwarning%s+Own%s+tidegate%s", text)
    end)

    it("are shown when they are of a shadow rule, and count apart", function()
        local text = alerts { alert("A", { shadow = true, next = "" }), alert("B") }
        assert.matches("^1 firing, 0 pending, 1 of shadow rules\n", text)
        assert.matches("warning%s+A%s+shop%s.-shadow: nobody is told\n", text)
    end)

    it("leave out what nobody is told of, unless asked", function()
        local list = { alert("A", { silenced = "3f2a9c01" }), alert("B", { inhibited = "InstanceDown" }), alert("C", { state = "resolved" }),
            alert("D", { acknowledged = { who = "ann" }, flapping = true, escalated = true }) }
        local text = alerts(list)
        assert.matches("^1 firing, 0 pending, 3 silenced, explained or over %(%-%-all shows them%)\n", text)
        assert.matches("acknowledged by ann, escalated, flapping, told in 8s", text)
        assert.is_nil(text:find("3f2a9c01", 1, true))
        text = alerts(list, true)
        for _, expected in ipairs { "silenced by 3f2a9c01", "explained by InstanceDown", "resolved" } do
            assert.truthy(text:find(expected, 1, true), text)
        end
    end)

    it("keep to the width, show no control bytes, and colour what is bad", function()
        local list = { alert("HighCPU", { message = ("long "):rep(50) .. "\27[31m", instance = ("x"):rep(60) }) }
        for columns = 60, 140, 20 do
            for line in alerts(list, false, columns):gmatch "[^\n]+" do
                assert.is_true(#line <= columns, line)
            end
        end
        assert.is_nil(alerts(list):find "\27")
        assert.truthy(alerts(list, false, 100, true):find("\27[33mwarning", 1, true))
        assert.truthy(alerts({ alert("X", { severity = "critical" }) }, false, 100, true):find("\27[31mcritical", 1, true))
    end)
end)

describe("silences for people", function()
    it("have a line each", function()
        assert.equal("no silences\n", shown(C.commands_show_silences, { silences = {} }, 100, false))
        local text = shown(C.commands_show_silences, { silences = { { id = "3f2a9c01", matchers = { "service=shop", "instance=~a.*" },
            author = "ann", comment = "disks", ends_in_s = 7200, matches = 2 } } }, 100, false)
        assert.matches("3f2a9c01%s+2h00m%s+2%s+service=shop instance=~a%.%*%s+ann%s+disks\n", text)
    end)
end)
