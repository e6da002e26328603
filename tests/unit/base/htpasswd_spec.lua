-- Files of users and hashes: what is read, and what is wrong with a line.
local C, ffi = require("ffi_room").load("base/str.h", "base/htpasswd.h")

local GOOD = {
    { "alice", "$2y$05$iMimRCOTlJmZrFSqWyVT.eBVdmxKrBwGCBihbXuqPvA6n7YOwjf0W", "BCRYPT" },
    { "bob", "$apr1$M.5IfBRM$yp5m1GRCAJo/dScprglH80", "APR1" },
    { "carol", "{SHA}LGOa2vtqnMFbTOAPTsm+DWiuGCA=", "SHA1" },
    { "dave", "$5$zz4F5AZJQwYx7nXB$K.5kHis4SRU51hVG898dx3sF5d4kAkdYBORlsWo9W39", "SHA256" },
    { "erin", "$6$abc$K4v3HcZ8yAmpRfxML6S46NCcqy9r4/KdbQpFvqSWsBf4dgySOEOo1DHJTrmn2BsJK2aNmPN8Tfb826D2o9.z51",
        "SHA512" },
    { "f r a n k", "$5$rounds=1000$abcdefgh$sI6g8tHKrJ6RX7w.YoN9B7a/5wK5jYEOMmMnt3tPl0/", "SHA256" },
    { "zo\195\171", "$2b$15$iMimRCOTlJmZrFSqWyVT.eBVdmxKrBwGCBihbXuqPvA6n7YOwjf0W", "BCRYPT" },
}

-- Everything of a text: entries as { line, user, hash, kind }, errors as { line, why }.
local function read(text)
    local at = ffi.new("struct htpasswd", { rest = { text, #text } })
    local entry, why, out = ffi.new "struct htpasswd_entry", ffi.new "const char *[1]", {}
    while true do
        local rc = C.htpasswd_next(at, entry, why)
        if rc == 0 then
            return out
        elseif rc == 1 then
            out[#out + 1] = { at.line, ffi.string(entry.user.ptr, entry.user.len),
                ffi.string(entry.hash.ptr, entry.hash.len), tonumber(entry.kind) }
        else
            out[#out + 1] = { at.line, ffi.string(why[0]) }
        end
    end
end

describe("base/htpasswd", function()
    it("reads the kinds of hashes, comments and empty lines left out", function()
        local lines, want = { "# users", "", "   " }, {}
        for i, one in ipairs(GOOD) do
            lines[#lines + 1] = one[1] .. ":" .. one[2]
            want[i] = { #lines, one[1], one[2], tonumber(C["HTPASSWD_" .. one[3]]) }
        end
        assert.same(want, read(table.concat(lines, "\n")))
        assert.same(want, read(table.concat(lines, "\r\n") .. "\r\n"))
        assert.same({}, read "")
        assert.same({}, read "\n\n")
    end)

    it("says what is wrong with a line, and goes on behind it", function()
        local bcrypt = GOOD[1][2]
        for _, case in ipairs {
            { "alice", "no \":\"" },
            { ":" .. bcrypt, "name of the user is missing" },
            { ("x"):rep(256) .. ":" .. bcrypt, "longer than 255" },
            { "a\tb:" .. bcrypt, "control character" },
            { "alice:secret", "plain text" },
            { "alice:", "plain text" },
            { "alice:rqXexS6ZhobKA", "plain text, or one of the old crypt" },
            { "alice:$1$abc$0123456789012345678901", "kind of hash is not known" },
            { "alice:{SSHA}abcdef", "kind of hash is not known" },
            { "alice:" .. bcrypt:sub(1, -2), "bcrypt hash is not whole" },
            { "alice:" .. bcrypt .. "x", "bcrypt hash is not whole" },
            { "alice:" .. bcrypt:gsub("%$05", "$$1"), "bcrypt hash is not whole" },
            { "alice:" .. bcrypt:gsub("%$05", "$03"), "bcrypt hash is not whole" },
            { "alice:" .. bcrypt:gsub("%$05", "$16"), "cost above 15" },
            { "alice:" .. bcrypt .. " ", "bcrypt hash is not whole" },
            { "alice:$apr1$$yp5m1GRCAJo/dScprglH80", "apr1 hash is not whole" },
            { "alice:$apr1$123456789$yp5m1GRCAJo/dScprglH80", "apr1 hash is not whole" },
            { "alice:{SHA}LGOa2vtqnMFbTOAPTsm+DWiuGCA", "28 digits" },
            { "alice:" .. GOOD[4][2]:sub(1, -2), "hash of crypt is not whole" },
            { "alice:$5$rounds=0$a$" .. GOOD[4][2]:sub(-43), "hash of crypt is not whole" },
            { "alice:$5$rounds=1000", "hash of crypt is not whole" },
            { "alice:$5$rounds=5000000$a$" .. GOOD[4][2]:sub(-43), "more than 999999 rounds" },
            { "alice:$6$", "hash of crypt is not whole" },
        } do
            local got = read("# first\n" .. case[1] .. "\nbob:" .. bcrypt)
            assert.equal(2, #got, case[1])
            assert.equal(2, got[1][1])
            assert.truthy(got[1][2]:find(case[2], 1, true), got[1][2])
            assert.is_nil(got[1][2]:find("secret", 1, true)) -- what may be a password is not told on
            assert.same({ 3, "bob", bcrypt, 0 }, got[2])
        end
    end)

    it("takes any bytes", function()
        local seed = 7
        local function random(n)
            seed = (seed * 1103515245 + 12345) % 2147483648
            return math.floor(seed / 65536) % n
        end
        local bits = { ":", "$", "\n", "\r", "2y", "apr1", "{SHA}", "\0", "\255", "5", "6", "rounds=", "a" }
        for _ = 1, 2000 do
            local parts = {}
            for i = 1, random(20) do
                parts[i] = bits[random(#bits) + 1]
            end
            read(table.concat(parts))
        end
    end)
end)
