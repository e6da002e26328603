-- Asking a service whether a request may go on: the question, and what an answer means.
local edge = require "edge_room"
local C, ffi = require("ffi_room").load("base/str.h", "base/json.h", "net/http1.h", "edge/edge.h", "edge/forward.h")
local dkjson = require "dkjson"

local function made(value)
    local text = dkjson.encode(value)
    local json = C.json_parse(text, #text)
    local f = C.edge_forward_new(json)
    C.json_free(json)
    return f ~= nil and ffi.gc(f, C.edge_forward_free) or nil
end

local kept

local function answer(line, fields)
    kept = ("HTTP/1.1 %s\r\n%s\r\n"):format(line, fields or "")
    local head, used = ffi.new "struct http1_head", ffi.new "size_t[1]"
    local done = C.http1_parse_response(edge.str(kept), C.HTTP1_GET, head, used)
    assert.equal(tonumber(C.HTTP1_DONE), tonumber(done), kept)
    return head
end

local function written(out)
    return ffi.string(out.bytes, out.len)
end

describe("edge/forward", function()
    local f

    before_each(function()
        f = made { path = "/verify?a=b", headers = { "X-User", "X-Groups" }, request_headers = { "X-Api-Key" } }
    end)

    it("is only there when the route says so", function()
        assert.is_nil(made {})
    end)

    it("asks with what the request is, and nothing that its client says of that itself", function()
        local _, head = edge.request("DELETE /a/b?c=d", { fields = "Cookie: a=b\r\nAuthorization: Basic eDp5\r\nAccept: x/y\r\n"
            .. "X-Api-Key: k\r\nX-User: root\r\nX-Forwarded-Uri: /x\r\nX-Forwarded-Method: GET\r\nX-Forwarded-Host: evil\r\n"
            .. "Connection: accept\r\nContent-Length: 3\r\nX-Other: 1\r\nX-Forwarded-For: 10.0.0.1\r\n" })
        local out = edge.out()
        C.edge_forward_ask(f, head, "id-1", out)
        assert.equal("GET /verify?a=b HTTP/1.1\r\nHost: shop.example\r\nX-Request-Id: id-1\r\nX-Forwarded-Method: DELETE\r\nX-Forwarded-Uri: /a/b?c=d\r\n"
            .. "Cookie: a=b\r\nAuthorization: Basic eDp5\r\nX-Api-Key: k\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n", written(out))
        out = edge.out(40)
        C.edge_forward_ask(f, head, "id-1", out)
        assert.is_true(out.full)
    end)

    it("takes 2xx for yes, refusals for no, and all else for a failure", function()
        for status, word in pairs { [200] = "GRANTED", [204] = "GRANTED", [301] = "DENIED", [302] = "DENIED", [307] = "DENIED",
            [401] = "DENIED", [403] = "DENIED", [304] = "FAILED", [400] = "FAILED", [404] = "FAILED", [429] = "FAILED",
            [500] = "FAILED", [503] = "FAILED" } do
            assert.equal(tonumber(C["EDGE_WORD_" .. word]), tonumber(C.edge_forward_word(answer(status .. " X"))), status)
        end
    end)

    it("gives what was chosen of an answer", function()
        local request, reply = edge.out(), edge.out()
        local head = answer("200 OK", "x-user: alice\r\nX-Groups: a\r\nX-Groups: b\r\nX-Other: c\r\nSet-Cookie: s=1\r\n"
            .. "Connection: x-hop\r\nX-Hop: 1\r\n")
        assert.is_true(C.edge_forward_grant(f, head, request, reply))
        assert.equal("x-user: alice\r\nX-Groups: a\r\nX-Groups: b\r\n", written(request))
        assert.equal("Set-Cookie: s=1\r\n", written(reply))
        assert.is_false(C.edge_forward_grant(f, head, edge.out(10), reply))
        assert.is_false(C.edge_forward_grant(f, head, request, edge.out(10)))
    end)

    it("gives a refused client what it can use", function()
        local out = edge.out()
        local type = C.edge_forward_deny(answer("302 Found", "Location: /login\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n"
            .. "Content-Type: text/html\r\nX-Secret: s\r\nContent-Length: 3\r\n"), out)
        assert.equal("text/html", edge.text(type))
        assert.equal("Location: /login\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n", written(out))
    end)

    it("hides the client's own fields of these names, however they are spelled", function()
        for name, hidden in pairs { ["X-User"] = true, ["x_user"] = true, ["X-GROUPS"] = true, ["X-User2"] = false, ["XUser"] = false,
            ["X-Api-Key"] = false, ["X+User"] = false, ["X@User"] = false } do
            assert.equal(hidden, C.edge_forward_hides(f, edge.str(name)), name)
        end
    end)
end)
