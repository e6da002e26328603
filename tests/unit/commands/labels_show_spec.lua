local C, ffi = require("ffi_room").load("base/buf.h", "base/json.h", "commands/screen.h", "commands/commands.h")
local cjson = require "cjson"

local function shown(answer, columns)
    local buf = ffi.new "struct buf[1]"
    C.buf_init(buf, 1024 * 1024)
    local text = cjson.encode(answer)
    local json = C.json_parse(text, #text)
    C.commands_show_labels(buf, json, columns or 160, false)
    C.json_free(json)
    local out = ffi.string(C.buf_str(buf), buf[0].len)
    C.buf_free(buf)
    return out
end

local WEB = { container = "shop-web-1", serves = true, service = "web", address = "172.18.0.3:8080",
    network = "shop_default", routes = { { listen = "0.0.0.0:80", host = "shop.example", path = "/" },
        { listen = "0.0.0.0:80", host = "", path = "/api" } },
    labels = { { label = "tidegate.enable", value = "true", verdict = "used", text = "enable = true" } } }

describe("labels for people", function()
    it("say when they are off, and when there are none", function()
        assert.equal("labels are off: write labels = true into cluster { } of the configuration\n",
            shown { ok = true, on = false, containers = cjson.empty_array })
        assert.equal("no container has labels\n", shown { ok = true, on = true, containers = cjson.empty_array })
    end)

    it("show where a container is reached, by which routes, and each label", function()
        local text = shown { ok = true, on = true, containers = { WEB } }
        assert.matches("^shop%-web%-1  gets requests\n  service web  0.0.0.0:80 shop.example/, 0.0.0.0:80 %*/api\n"
            .. "  at 172.18.0.3:8080 on network shop_default\n", text)
        assert.matches("\n  tidegate.enable=true%s+used%s+enable = true\n$", text)
    end)

    it("show why one gets none, and why labels wait", function()
        local text = shown { ok = true, on = true, waiting = "tidegate.lua:3: broken", containers = {
            { container = "x", serves = false, wrong = true, why = "is on several networks (a, b)",
                labels = { { label = "tidegate.prot", value = "80", verdict = "wrong",
                    text = "unknown label: did you mean tidegate.port?" },
                    { label = "tidegate.enable", verdict = "wrong", text = "is missing" } } }, WEB } }
        assert.matches("^labels are not taken up: tidegate.lua:3: broken\nx  gets no requests: is on several networks", text)
        assert.matches("\n  tidegate.prot=80%s+wrong%s+unknown label: did you mean tidegate.port%?\n", text)
        assert.matches("\n  tidegate.enable%s+wrong%s+is missing\n", text)
        assert.matches("\n\nshop%-web%-1  gets requests\n", text)
    end)

    it("show what others wrote without control characters, within the width", function()
        local text = shown({ ok = true, on = true, containers = { { container = "x\27[31m", serves = false,
            why = "a\nb", labels = { { label = "tidegate.x", value = ("\27"):rep(300), verdict = "unused",
                text = ("long "):rep(100) } } } } }, 80)
        assert.is_nil(text:find "[%z\1-\9\11-\31]")
        for line in text:gmatch "\n(  [^\n]+)" do
            assert.is_true(#line <= 80, line)
        end
    end)
end)
