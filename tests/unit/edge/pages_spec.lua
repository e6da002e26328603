-- Pages for errors and for maintenance.
local edge = require "edge_room"
local C, ffi = edge.C, edge.ffi

local function ask(p, status, id, size)
    local answer = ffi.new "struct edge_answer[1]"
    if C.edge_pages_answer(p, status, id or "abc", edge.out(size), answer) then
        return edge.text(answer[0].body), edge.text(answer[0].type), answer[0].status
    end
end

describe("edge/pages", function()
    local function pages(intercept)
        return edge.make("edge_pages", { intercept = intercept, pages = {
            { from = 502, to = 502, type = "text/html", body = "<b>{status} {reason}</b> {request_id}" },
            { from = 500, to = 599, body = "5xx {status}" },
        } })
    end

    it("say status, reason and id; the first that is for a status counts", function()
        local p = pages()
        assert.same({ "<b>502 Bad Gateway</b> abc", "text/html", 502 }, { ask(p, 502) })
        assert.same({ "5xx 503", "text/plain; charset=utf-8", 503 }, { ask(p, 503) })
        assert.is_nil((ask(p, 404)))
        assert.is_nil((ask(p, 502, "abc", 10)))
    end)

    it("repeat nothing of an id that means something to a browser", function()
        assert.equal("<b>502 Bad Gateway</b> _script_alert_1__/script_a-b_", (ask(pages(), 502, "<script>alert(1)</script>a-b&")))
        assert.equal(#"<b>502 Bad Gateway</b> " + 128, #(ask(pages(), 502, ("x"):rep(300))))
    end)

    it("take the place of a backend's answers only where that is asked for", function()
        assert.is_true(C.edge_pages_intercept(pages(true), 500))
        assert.is_false(C.edge_pages_intercept(pages(true), 404))
        assert.is_false(C.edge_pages_intercept(pages(), 500))
        assert.is_nil(edge.try("edge_pages", {}))
    end)
end)

describe("edge/maintenance", function()
    local function ask_as(m, peer)
        local answer = ffi.new "struct edge_answer[1]"
        if C.edge_maintenance_answer(m, edge.request("GET /", { peer = peer }), "abc", edge.out(), answer) then
            return answer[0].status, edge.text(answer[0].body), edge.text(answer[0].fields)
        end
    end

    it("says 503 and when to come again, to all but those that may pass", function()
        local m = edge.make("edge_maintenance", { body = "later {request_id}", retry_after_s = 600,
            allow = { "10.0.0.0/8", "::1" } })
        local status, body, fields = ask_as(m, "192.0.2.1")
        assert.same({ 503, "later abc" }, { status, body })
        assert.truthy(fields:find("Retry-After: 600\r\n", 1, true) and fields:find("no-store", 1, true), fields)
        assert.is_nil((ask_as(m, "10.1.2.3")))
        assert.is_nil((ask_as(m, "::1")))
        assert.equal(503, (ask_as(m, "")), "a client without an address")
        assert.equal(503, (ask_as(edge.make("edge_maintenance", { body = "x" }), "10.1.2.3")))
        assert.is_nil(edge.try("edge_maintenance", { allow = { "nobody" } }))
    end)
end)
