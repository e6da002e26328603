-- Steps of routes on the way of a request: what is answered here, on the wire and in the numbers.
local proxied = require "proxied"
local C = require("ffi_room").load("board/board.h", "board/traffic.h")

describe("proxy, steps", function()
    local w

    after_each(function()
        w = proxied.finish(w)
    end)

    local function world(more)
        w = proxied.start { route = { more = more } }
        return w:client()
    end

    it("answer on a connection that goes on, HEAD too, and no backend hears of it", function()
        local c = world { answer = { status = 410, body = "gone", type = "text/html" } }
        for _ = 1, 2 do
            c:get "/x"
            local status, head, body = c:answer()
            assert.same({ 410, "gone" }, { status, body })
            assert.truthy(head:find("\r\nContent-Type: text/html\r\n", 1, true), head)
            assert.truthy(head:find "\r\nX%-Request%-Id: %x+\r\n" and head:find "\r\nDate: ", head)
        end
        c:send "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
        local status, head = c:answer "HEAD"
        assert.equal(410, status)
        assert.truthy(head:find("\r\nContent-Length: 4\r\n", 1, true), head)
        c:get "/again"
        assert.equal(410, (c:answer()))
        assert.is_true(w:unwanted())
        assert.equal(0, tonumber(w:row(1).in_flight))
    end)

    it("have no body with 204", function()
        local c = world { answer = { status = 204, body = "no" } }
        c:get "/"
        local status, head = c:answer()
        assert.equal(204, status)
        assert.is_nil(head:lower():find "content%-")
        c:get "/"
        assert.equal(204, (c:answer()))
    end)

    it("end a connection whose request has a body that nobody reads", function()
        local c = world { redirect = { to = "/new{path}", status = 307 } }
        c:send "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
        local status, head = c:answer()
        assert.equal(307, status)
        assert.truthy(head:find("\r\nLocation: /new/x\r\n", 1, true), head)
        assert.truthy(head:find("\r\nConnection: close\r\n", 1, true), head)
        assert.is_true(c:closed())
    end)

    it("are counted as requests of their route, by status", function()
        local c = world { answer = { status = 418, body = "short" } }
        for _ = 1, 3 do
            c:get "/"
            assert.equal(418, (c:answer()))
        end
        local board, count, in_flight = C.proxydriver_board(w.driver), 0, 0
        for i = 0, C.board_counts_used(board, 0) - 1 do
            local row = C.board_count_at(board, 0, i)
            count = count + (row.status == 418 and tonumber(row.count) or 0)
        end
        for i = 0, C.board_times_used(board, 0) - 1 do
            in_flight = in_flight + tonumber(C.board_times_at(board, 0, i).in_flight)
        end
        assert.same({ 3, 0 }, { count, in_flight })
    end)
end)
