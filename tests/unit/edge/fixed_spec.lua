-- Answers that are always the same.
local edge = require "edge_room"
local C = edge.C

describe("edge/fixed", function()
    it("says what it was given", function()
        local a = C.edge_fixed_answer(edge.make("edge_fixed", { status = 410, body = "gone", type = "text/html" }))
        assert.same({ 410, "gone", "text/html", "" }, { a.status, edge.text(a.body), edge.text(a.type), edge.text(a.fields) })
    end)

    it("is 200 and plain text otherwise, and refuses what is no status", function()
        local a = C.edge_fixed_answer(edge.make("edge_fixed", { body = "ok" }))
        assert.same({ 200, "ok", "text/plain; charset=utf-8" }, { a.status, edge.text(a.body), edge.text(a.type) })
        for _, status in ipairs { 0, 101, 199, 600 } do
            assert.is_nil(edge.try("edge_fixed", { status = status }))
        end
    end)
end)
