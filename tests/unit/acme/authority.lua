-- authority.lua: an ACME server without a network, for order_spec.lua: `ca:call(want, now)` is what it answers.
--
-- It keeps to RFC 8555 where a client could go wrong: each nonce is good once, messages are signed for their URL, an
-- account is known by its key or its address. A spec changes what happens by fields: `answers[path]` is a list of
-- { status, body, fields } given in place of the next answers of that path.
local json = require "dkjson"
local mime = require "mime"

local BASE = "https://ca.example"
local A = {}
A.__index = A

local function new(certificate)
    return setmetatable({ nonces = 0, good = {}, answers = {}, log = {}, messages = {}, certificate = certificate,
        authorizations = { "pending" }, order = "pending", challenges = { "http-01", "tls-alpn-01", "dns-01" } }, A)
end

local function decode(text)
    local padded = text:gsub("-", "+"):gsub("_", "/") .. ("="):rep(-#text % 4)
    return (mime.unb64(padded)) or ""
end

function A:nonce()
    self.nonces = self.nonces + 1
    local nonce = "nonce-" .. self.nonces
    self.good[nonce] = true
    return nonce
end

local function problem(status, kind, detail, fields)
    return status, json.encode { type = "urn:ietf:params:acme:error:" .. kind, detail = detail, status = status }, fields
end
A.problem = problem

function A:order_json()
    local list = {}
    for i in ipairs(self.authorizations) do
        list[i] = BASE .. "/authz/" .. i
    end
    return json.encode { status = self.order, authorizations = list, finalize = BASE .. "/finalize",
        certificate = self.order == "valid" and BASE .. "/certificate" or nil, error = self.error }
end

function A:proved()
    for _, status in ipairs(self.authorizations) do
        if status ~= "valid" then
            return
        end
    end
    self.order = "ready"
end

-- One function a path; they get the payload and the number behind the path.
local paths = {}
function paths.account(self)
    self.accounts = (self.accounts or 0) + 1
    return 201, '{"status":"valid"}', { location = BASE .. "/account/" .. self.accounts }
end
function paths.new_order(self, payload)
    self.asked = payload
    self:proved()
    return 201, self:order_json(), { location = BASE .. "/order" }
end
function paths.order(self)
    if self.order == "processing" then
        self.order = "valid"
    end
    return 200, self:order_json()
end
function paths.authz(self, _, i)
    local list = {}
    for j, kind in ipairs(self.challenges) do
        list[j] = { type = kind, status = "pending", url = ("%s/challenge/%d"):format(BASE, i), token = self.token or "token-" .. i,
            error = self.authorizations[i] == "invalid" and json.decode((select(2, problem(400, "connection", "192.0.2.1: refused")))) or nil }
    end
    return 200, json.encode { status = self.authorizations[i], challenges = list }
end
function paths.challenge(self, payload, i)
    assert(next(payload) == nil, "a challenge is answered with {}")
    assert(self.presented and self.presented.token == "token-" .. i, "told before it was answerable")
    self.authorizations[i] = self.outcome or "valid"
    self:proved()
    return 200, '{"status":"pending"}'
end
function paths.finalize(self, payload)
    self.csr = decode(payload.csr)
    self.order = "processing"
    return 200, self:order_json()
end
function paths.certificate(self)
    return 200, self.certificate(self.csr)
end

function A:message(url, body)
    local jws = assert(json.decode(body))
    local head = json.decode(decode(jws.protected))
    assert(head.url == url and head.alg == "ES256")
    if not self.good[head.nonce] then
        return nil, { problem(400, "badNonce", "used") }
    end
    self.good[head.nonce] = nil
    assert((head.jwk ~= nil) ~= (head.kid ~= nil))
    assert(head.jwk ~= nil == (url == BASE .. "/account"), "only a new account shows its key")
    if head.kid and (self.forgotten == head.kid) then
        return nil, { problem(400, "accountDoesNotExist", "who?") }
    end
    self.kid = head.kid
    local payload = decode(jws.payload)
    return payload == "" and "" or assert(json.decode(payload))
end

function A:answer(path, want)
    local given = self.answers[path]
    if given and #given > 0 then
        return unpack(table.remove(given, 1))
    end
    if path == "directory" then
        return 200, json.encode { newNonce = BASE .. "/nonce", newAccount = BASE .. "/account", newOrder = BASE .. "/new_order" }
    elseif path == "nonce" then
        return 200, ""
    end
    local payload, refusal = self:message(want.url, want.body)
    if refusal then
        return unpack(refusal)
    end
    self.messages[#self.messages + 1] = path
    local name, number = path:match "^([%a_]+)/?(%d*)$"
    return assert(paths[name], path)(self, payload, tonumber(number))
end

-- status, body, fields (location, retry_after, nonce)
function A:call(want)
    local path = want.url == BASE .. "/directory" and "directory" or want.url:sub(#BASE + 2)
    self.log[#self.log + 1] = want.method .. " " .. path
    local status, body, fields = self:answer(path, want)
    fields = fields or {}
    if path ~= "directory" and not fields.no_nonce then
        fields.nonce = fields.nonce or self:nonce()
    end
    return status, body, fields
end

return { new = new, BASE = BASE, problem = problem }
