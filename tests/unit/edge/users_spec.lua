-- Who may log in: users of a file, what requests say, and credentials that were proven of late.
local edge = require "edge_room"
local C, ffi = require("ffi_room").load("base/str.h", "base/json.h", "net/http1.h", "base/htpasswd.h", "edge/password.h",
    "edge/users.h")

local ALICE = "alice:{SHA}LGOa2vtqnMFbTOAPTsm+DWiuGCA=" -- s3cret word
local BOB = "bob:$apr1$M.5IfBRM$yp5m1GRCAJo/dScprglH80" -- the same
local NOW = 1000000

describe("edge/users", function()
    local proven

    before_each(function()
        proven = ffi.new "struct edge_proven"
    end)

    local function users(text, more)
        local value = { users = text or (ALICE .. "\n" .. BOB .. "\n"), realm = "ops" }
        for key, item in pairs(more or {}) do
            value[key] = item
        end
        return edge.make("edge_users", value)
    end

    local function base64(text)
        local pipe = io.popen(("printf %%s '%s' | base64 -w 0"):format(text))
        local out = pipe:read "*a"
        pipe:close()
        return out
    end

    local function ask(u, user, password, now)
        local field = user and "Authorization: Basic " .. base64(user .. ":" .. password) .. "\r\n" or ""
        local _, head = edge.request("GET /", { fields = field })
        local c = ffi.new "struct edge_credentials"
        return tonumber(C.edge_users_ask(u, proven, head, now or NOW, c)), c
    end

    local MISSING, PROVEN, UNPROVEN = 0, 1, 2

    local function right(c)
        local hash = ffi.new("struct str", { c.hash, #ffi.string(c.hash) })
        return C.edge_password_check(hash, c.password) and c.known
    end

    it("finds the hash of a user, and checks with it", function()
        local u = users()
        for _, name in ipairs { "alice", "bob" } do
            local result, c = ask(u, name, "s3cret word")
            assert.equal(UNPROVEN, result)
            assert.equal(name, ffi.string(c.user.ptr, c.user.len))
            assert.is_true(right(c))
            result, c = ask(u, name, "wrong")
            assert.equal(UNPROVEN, result)
            assert.is_false(right(c))
        end
        assert.equal('WWW-Authenticate: Basic realm="ops", charset="UTF-8"\r\n', edge.text(C.edge_users_challenge(u)))
        assert.is_false(C.edge_users_pass(u))
        assert.is_true(C.edge_users_pass(users(nil, { pass = true })))
    end)

    it("has a hash computed for who is not there, always the same, and lets nobody in by it", function()
        local u, seen = users(), {}
        for i = 1, 40 do
            local _, c = ask(u, "nobody" .. i, "s3cret word")
            local _, again = ask(u, "nobody" .. i, "other")
            assert.equal(ffi.string(c.hash), ffi.string(again.hash))
            assert.is_true(#ffi.string(c.hash) > 0)
            assert.is_false(c.known)
            assert.is_false(right(c))
            seen[ffi.string(c.hash)] = true
        end
        local kinds = 0
        for _ in pairs(seen) do
            kinds = kinds + 1
        end
        assert.equal(2, kinds) -- so that no kind of hash tells who is there
    end)

    it("remembers what was proven, for a while, and nothing else", function()
        local u = users()
        local _, c = ask(u, "alice", "s3cret word")
        C.edge_proven_add(proven, c.digest, NOW)
        assert.equal(PROVEN, (ask(u, "alice", "s3cret word")))
        assert.equal(PROVEN, (ask(u, "alice", "s3cret word", NOW + C.EDGE_PROVEN_MS - 1)))
        assert.equal(UNPROVEN, (ask(u, "alice", "s3cret word", NOW + C.EDGE_PROVEN_MS)))
        assert.equal(UNPROVEN, (ask(u, "alice", "s3cret wor")))
        assert.equal(UNPROVEN, (ask(u, "bob", "s3cret word")))
        local changed = users("alice:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n")
        assert.equal(UNPROVEN, (ask(changed, "alice", "s3cret word")))
        assert.equal(UNPROVEN, (ask(users(BOB .. "\n"), "alice", "s3cret word")))
        _, c = ask(u, "nobody", "x")
        C.edge_proven_add(proven, c.digest, NOW)
        assert.equal(UNPROVEN, (ask(u, "nobody", "x")))
        local bytes = ffi.string(proven, ffi.sizeof(proven))
        assert.is_nil(bytes:find("s3cret", 1, true))
    end)

    it("wants credentials that can be read", function()
        local u = users()
        assert.equal(MISSING, (ask(u)))
        for _, field in ipairs { "Bearer abc", "Basic", "Basic !", "Basic " .. base64 "nocolon",
            "Basic " .. base64(("x"):rep(300) .. ":p") } do
            local _, head = edge.request("GET /", { fields = "Authorization: " .. field .. "\r\n" })
            local result = C.edge_users_ask(u, proven, head, NOW, ffi.new "struct edge_credentials")
            assert.equal(MISSING, tonumber(result), field)
        end
    end)

    it("refuses what is no file of users", function()
        for _, text in ipairs { "", "# nobody\n", "alice:secret\n", ALICE .. "\nnocolon\n" } do
            local u, why = edge.try("edge_users", { users = text })
            assert.is_nil(u)
            assert.truthy(why:find "^basic_auth: line %d+: ", why)
            assert.is_nil(why:find("secret", 1, true))
        end
    end)
end)
