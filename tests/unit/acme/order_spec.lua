package.path = "./tests/unit/acme/?.lua;" .. package.path
local authority = require "authority"
local C, ffi = require("ffi_room").load("acme/acme.h", "net/jose.h", "net/tls.h", "base/mem.h")
assert(C.tls_load(ffi.new "char *[1]") == 0)

local problem = authority.problem
local T0 = 1790000000000

local function text(owned)
    local t = ffi.string(owned)
    C.mem_free(owned)
    return t
end

local function run(command)
    local pipe = assert(io.popen(command .. " 2>/dev/null"))
    local out = pipe:read "*a"
    pipe:close()
    return out
end

-- Signs a request as an authority does: with the key that is in it, for the name that is in it.
local function sign(csr, extra)
    local dir = os.tmpname()
    os.remove(dir)
    os.execute("mkdir " .. dir)
    local file = assert(io.open(dir .. "/r", "wb"))
    file:write(csr)
    file:close()
    local out = run(("cd %s && openssl req -inform DER -in r -out q && openssl ecparam -name prime256v1 -genkey -noout -out ca "
        .. "&& openssl req -x509 -key ca -subj /CN=authority -out root && printf 'subjectAltName=DNS:%s' >e "
        .. "&& openssl x509 -req -in q -CA root -CAkey ca -CAcreateserial -extfile e -days 90"):format(dir, extra or "shop.example"))
    os.execute("rm -r " .. dir)
    return out
end

-- What openssl makes of a text.
local function public(pem, command)
    local path = os.tmpname()
    local file = assert(io.open(path, "wb"))
    file:write(pem)
    file:close()
    local out = run(("openssl %s %s"):format(command, path))
    os.remove(path)
    return assert(out ~= "" and out)
end

local function new_key()
    local ret = ffi.new "struct jose_key *[1]"
    assert(C.jose_key_new(ret) == 0)
    return ret[0]
end

local function new_account(url, key)
    return ffi.gc(C.acme_account_new(authority.BASE .. "/directory", "ops@shop.example", key or new_key(), url or ""),
        C.acme_account_free)
end

local function new_order(account, challenge)
    return ffi.gc(C.acme_order_new(account, "shop.example", challenge or C.ACME_HTTP_01, new_key(), T0), C.acme_order_free)
end

-- Drives it to its end, or for `most` steps; what it came to, and when.
local function drive(order, ca, most)
    local want, now, steps = ffi.new "struct acme_want", T0, 0
    repeat
        local step = C.acme_order_next(order, now, want)
        if step == C.ACME_CALL then
            local asked = { method = ffi.string(want.method), url = ffi.string(want.url),
                body = want.body ~= nil and ffi.string(want.body) or nil }
            assert.equal(asked.method == "POST", asked.body ~= nil)
            local status, body, fields = ca:call(asked)
            local answer = ffi.new("struct acme_answer", { error = type(status) == "string" and status or nil,
                status = type(status) == "number" and status or 0, body = body or "", body_len = #(body or ""),
                nonce = fields.nonce or "", location = fields.location or "", retry_after = fields.retry_after or "" })
            C.acme_order_answer(order, answer, now)
        elseif step == C.ACME_WAIT then
            assert.is_true(tonumber(want.until_ms) > now)
            now = tonumber(want.until_ms)
        elseif step == C.ACME_PRESENT then
            ca.presented = { token = ffi.string(want.token), authorization = ffi.string(want.authorization) }
            C.acme_order_presented(order, ca.present_error)
        end
        steps = steps + 1
    until step == C.ACME_DONE or step == C.ACME_FAILED or steps >= (most or 1000)
    return want.step, now - T0
end

local function failure(order)
    local retry = ffi.new "uint64_t[1]"
    local why = ffi.string(C.acme_order_failure(order, retry))
    return why, tonumber(retry[0])
end

describe("acme/order", function()
    local ca, account

    before_each(function()
        ca = authority.new(sign)
        account = new_account()
    end)

    local function fails(why, retry_ms, challenge)
        local order = new_order(account, challenge)
        assert.equal(C.ACME_FAILED, drive(order, ca))
        local said, retry = failure(order)
        assert.equal(why, said)
        assert.equal(retry_ms or 0, retry)
    end

    it("goes the whole way", function()
        local order = new_order(account)
        assert.equal(C.ACME_DONE, drive(order, ca))
        assert.same({ "GET directory", "HEAD nonce", "POST account", "POST new_order", "POST authz/1", "POST challenge/1", "POST authz/1",
            "POST order", "POST finalize", "POST order", "POST certificate" }, ca.log)
        assert.same({ { type = "dns", value = "shop.example" } }, ca.asked.identifiers)
        assert.equal("https://ca.example/account/1", ffi.string(C.acme_account_url(account)))
        assert.equal("https://ca.example/account/1", ca.kid)
        local ret = ffi.new "struct jose_key *[1]"
        assert.equal(0, C.jose_key_read(text(C.acme_account_key(account)), ret))
        assert.equal("token-1." .. text(C.jose_thumbprint(ret[0])), ca.presented.authorization)
        C.jose_key_free(ret[0])
        local key = ffi.new "char *[1]"
        local chain = ffi.string(C.acme_order_certificate(order, key))
        assert.equal(public(text(key[0]), "pkey -pubout -in"), public(chain, "x509 -noout -pubkey -in"))
    end)

    it("keeps account, directory and nonce for the next order", function()
        assert.equal(C.ACME_DONE, drive(new_order(account), ca))
        ca.log, ca.order, ca.authorizations = {}, "pending", { "valid" } -- proved a moment ago
        assert.equal(C.ACME_DONE, drive(new_order(account), ca))
        assert.same({ "POST new_order", "POST finalize", "POST order", "POST certificate" }, ca.log)
        assert.equal(1, ca.accounts)
    end)

    it("goes on with an account of an earlier run", function()
        account = new_account("https://ca.example/account/7")
        assert.equal(C.ACME_DONE, drive(new_order(account), ca))
        assert.is_nil(ca.accounts)
        assert.equal("https://ca.example/account/7", ca.kid)
    end)

    it("registers anew, once, where the account is not known any more", function()
        account = new_account("https://ca.example/account/7")
        ca.forgotten = "https://ca.example/account/7"
        assert.equal(C.ACME_DONE, drive(new_order(account), ca))
        assert.equal("https://ca.example/account/1", ffi.string(C.acme_account_url(account)))
        ca.forgotten = "https://ca.example/account/2"
        ca.answers.new_order = { { problem(400, "accountDoesNotExist", "gone") } }
        ca.accounts, ca.order = 1, "pending"
        fails "ordering: refused: accountDoesNotExist: who?"
        assert.equal(2, ca.accounts)
    end)

    it("repeats what a bad nonce refused, but not for ever", function()
        for _, path in ipairs { "account", "new_order", "authz/1", "challenge/1", "finalize", "certificate" } do
            ca.answers[path] = { { problem(400, "badNonce", "old") }, { problem(400, "badNonce", "old", { no_nonce = true }) } }
        end
        assert.equal(C.ACME_DONE, drive(new_order(account), ca))
        assert.equal(1, ca.accounts)
        ca.answers.new_order = {}
        for i = 1, 100 do
            ca.answers.new_order[i] = { problem(400, "badNonce", "old") }
        end
        fails "each nonce is refused"
        assert.equal(100 - C.ACME_NONCES - 1, #ca.answers.new_order)
    end)

    it("says what was refused and until when nobody should ask", function()
        local cases = {
            { "new_order", { problem(429, "rateLimited", "too many certificates", { retry_after = "3600" }) },
                "ordering: refused: rateLimited: too many certificates", T0 + 3600000 },
            { "new_order", { problem(429, "rateLimited", "too many", { retry_after = "Mon, 21 Sep 2026 15:13:20 GMT" }) },
                "ordering: refused: rateLimited: too many", 1790003600000 },
            { "new_order", { problem(429, "rateLimited", "too many") }, "ordering: refused: rateLimited: too many", T0 + 3600000 },
            { "account", { problem(403, "userActionRequired", "read the terms") },
                "registering the account: refused: userActionRequired: read the terms" },
            { "account", { 403, "not JSON" }, "registering the account: answered 403" },
            { "account", { 201, '{"status":"revoked"}', { location = "https://ca.example/account/1" } }, "the account is revoked" },
            { "account", { 201, '{"status":"valid"}' }, "the authority did not say where the account is" },
            { "new_order", { problem(400, "rejectedIdentifier", "no\nsuch\27name") },
                "ordering: refused: rejectedIdentifier: no such name" },
            { "new_order", { 201, "<html>" }, "ordering: the answer is no JSON" },
            { "new_order", { 201, "{}", {} }, "the authority did not say where the order is" },
            { "authz/1", { 200, '{"status":"expired"}' }, "the authorization is expired" },
            { "authz/1", { 200, '{"status":"pending"}' }, "the authority offers no http-01 for shop.example" },
            { "authz/1", { 404, '{"type":"about:blank","detail":"it expired"}' }, "authorizing: refused: about:blank: it expired" },
            { "order", { 200, '{"status":"invalid","error":{"type":"urn:ietf:params:acme:error:caa","detail":"forbidden"}}' },
                "the order is invalid: caa: forbidden" },
            { "order", { 200, '{"status":"odd"}' }, 'the order is "odd", which is no state of one' },
            { "finalize", { problem(400, "badCSR", "weak") }, "finalizing: refused: badCSR: weak" },
            { "certificate", { 200, "nonsense" }, "what was issued has no certificate: expected PEM, which begins with -----BEGIN CERTIFICATE-----" },
            { "directory", { 200, "{}" }, "the directory's address does not lead to an ACME directory" },
            { "directory", { 404, "" }, "reading the directory: answered 404" },
            { "nonce", { 200, "", { nonce = "" } }, "the authority gave no nonce" },
        }
        for _, case in ipairs(cases) do
            ca, account = authority.new(sign), new_account()
            ca.answers[case[1]] = { case[2] }
            fails(case[3], case[4])
        end
    end)

    it("says why a name was not proved", function()
        ca.outcome = "invalid"
        fails "shop.example was not proved by http-01 (invalid): connection: 192.0.2.1: refused"
    end)

    it("takes no token that would not stand in a path, and no challenge that is not offered", function()
        ca.token = "../etc/passwd"
        fails "the challenge has no token or no address"
        ca = authority.new(sign)
        ca.challenges = { "dns-01" }
        fails("the authority offers no tls-alpn-01 for shop.example", 0, C.ACME_TLS_ALPN_01)
    end)

    it("takes no certificate of another key or name", function()
        ca.certificate = function(csr) return sign(csr, "other.example") end
        fails "what was issued is not for the name in the request"
        ca = authority.new(function()
            return run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null -subj /CN=x "
                .. "-addext subjectAltName=DNS:shop.example")
        end)
        local order = new_order(account)
        assert.equal(C.ACME_FAILED, drive(order, ca))
        assert.matches("^what was issued is not the key of the certificate for shop.example", (failure(order)))
    end)

    it("gives up when the challenge cannot be made answerable", function()
        ca.present_error = "nobody listens"
        fails "nobody listens"
        assert.same({ "account", "new_order", "authz/1" }, ca.messages) -- it was not told to look
    end)

    it("waits as it is asked to, and looks less and less often", function()
        local many = {}
        for i = 1, 6 do
            many[i] = { 200, '{"status":"pending"}' }
        end
        many[3] = { 200, '{"status":"pending"}', { retry_after = "30" } }
        ca.answers.order = { { 200, '{"status":"processing"}' } }
        local order = new_order(account)
        ca.answers["authz/1"] = nil
        local call = ca.call
        function ca.call(self, want)
            if want.url:find "challenge" then
                self.answers["authz/1"] = many
            end
            return call(self, want)
        end
        local step, took = drive(order, ca)
        assert.equal(C.ACME_DONE, step)
        -- challenge 1, then 2, 4, 30, 15, 15, 15; order 1; finalize 1
        assert.equal((1 + 2 + 4 + 30 + 15 + 15 + 15 + 1 + 1) * 1000, took)
    end)

    it("ends an order that never ends", function()
        local order = new_order(account)
        function ca.proved() end
        ca.outcome = "pending"
        local step, took = drive(order, ca)
        assert.equal(C.ACME_FAILED, step)
        assert.equal("not done within 300 s: it was still validating", (failure(order)))
        assert.is_true(took > 300000 and took < 320000)
    end)

    it("asks again when a call comes to nothing, three times, but not for the directory", function()
        ca.answers.new_order = { { "connection refused" }, { 503, "" } }
        ca.answers.finalize = { { 500, "oops" } }
        assert.equal(C.ACME_DONE, drive(new_order(account), ca))
        ca, account = authority.new(sign), new_account()
        ca.answers.new_order = { { "connection refused" }, { "connection refused" }, { "connection refused" }, { "no route" } }
        fails "ordering: no route"
        ca, account = authority.new(sign), new_account()
        ca.answers.nonce = { { 503, "", { retry_after = "7200" } } }
        fails("registering the account: answered 503", T0 + 7200000)
        assert.equal(2, #ca.log)
        account = new_account()
        ca.answers.directory = { { "connection refused" }, { 503, "", { retry_after = "7200" } } }
        fails "reading the directory: connection refused"
        fails("reading the directory: answered 503", T0 + 7200000)
        assert.equal(4, #ca.log)
    end)

    it("survives answers of any other shape", function()
        local json = require "dkjson"
        local odd = { json.null, true, false, 17, "", "x", ("u"):rep(5000), {}, { "x" }, { a = { b = {} } } }
        local function spoil(value)
            local i = math.random(#odd + 2)
            if i <= #odd or type(value) ~= "table" then
                return odd[math.min(i, #odd)]
            end
            local keys = {}
            for key in pairs(value) do
                keys[#keys + 1] = key
            end
            if #keys > 0 then
                local key = keys[math.random(#keys)]
                value[key] = spoil(value[key])
            end
            return value
        end
        math.randomseed(17)
        local ends = {}
        for _ = 1, 1500 do
            ca = authority.new(function() return "no certificate" end)
            account = new_account(math.random(2) == 1 and "https://ca.example/account/1" or "")
            local call, at = ca.call, math.random(11)
            function ca.call(self, want)
                local status, body, fields = call(self, want)
                if #self.log == at then
                    local value = json.decode(body)
                    body = value and math.random(8) > 1 and json.encode(spoil(value)) or body:sub(1, math.random(#body + 1) - 1)
                    fields.location = math.random(4) == 1 and odd[math.random(5, 7)] or fields.location
                end
                return status, body, fields
            end
            function ca.proved(self)
                self.order = "ready"
            end
            local order = new_order(account)
            assert.equal(C.ACME_FAILED, drive(order, ca)) -- at the latest for want of a certificate
            ends[failure(order):gsub("%d+", "")] = true
        end
        local count = 0
        for _ in pairs(ends) do
            count = count + 1
        end
        assert.is_true(count > 10, count)
    end)

    it("proves each of several authorizations", function()
        ca.authorizations = { "pending", "valid", "pending" }
        assert.equal(C.ACME_DONE, drive(new_order(account), ca))
        assert.same({ "account", "new_order", "authz/1", "challenge/1", "authz/1", "authz/2", "authz/3", "challenge/3", "authz/3", "order",
            "finalize", "order", "certificate" }, ca.messages)
        assert.equal("token-3", ca.presented.token)
    end)
end)
