-- Traces: the traceparent that goes on, and whose spans are told.
local proxied = require "proxied"

local CAME = "4bf92f3577b34da6a3ce929d0e0e4736"

describe("proxy, traces", function()
    local w

    after_each(function()
        w = proxied.finish(w)
    end)

    local function parent_of(fields)
        local c = w:client()
        c:get("/", fields)
        local u = w:accept()
        local head = u:read_head()
        u:ok("", "Connection: close\r\n")
        assert.equal(200, (c:answer()))
        c:close()
        u:close()
        local trace, span, flags = head:match "\r\ntraceparent: 00%-(%x+)%-(%x+)%-(%x+)\r\n"
        assert.same({ 32, 16, 2 }, { #trace, #span, #flags })
        return trace, span, flags
    end

    local function came(flags)
        return ("traceparent: 00-%s-00f067aa0ba902b7-%s\r\n"):format(CAME, flags)
    end

    it("go on as they came where nothing is told", function()
        w = proxied.start {}
        assert.same({ CAME, "00f067aa0ba902b7", "00" }, { parent_of(came "00") })
        assert.equal("01", (select(3, parent_of "")))
    end)

    it("get a span of ours each where something is, told as the parent's or by chance", function()
        w = proxied.start { cluster = { zone = "", tracing = { sample = 0 } } }
        local trace, span, flags = parent_of(came "01")
        assert.same({ CAME, "01" }, { trace, flags })
        assert.not_equal("00f067aa0ba902b7", span)
        assert.equal("00", (select(3, parent_of(came "00"))))
        assert.equal("00", (select(3, parent_of "")))
        local other, own = parent_of(came "01" .. came "01")
        assert.not_equal(CAME, other, "two of them are none")
        assert.not_equal(own, (select(2, parent_of(came "01"))))
        w = proxied.finish(w)
        w = proxied.start { cluster = { zone = "", tracing = { sample = 1 } } }
        assert.equal("01", (select(3, parent_of "")))
        assert.equal("00", (select(3, parent_of(came "00"))))
    end)
end)
