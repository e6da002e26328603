-- pebble.lua: a real ACME authority for functional specs: Debian's pebble, with pebble-challtestsrv as the DNS in which
-- every name is 127.0.0.1. All that it knows is in its memory.
--
--     local ca = pebble.start(t, { http = t:port "PORT", tls = t:port "PORT2" })
--     ca.directory, ca.ca (file of its https certificate), ca:root() (file of the root that it issues under)
--     ca:stop(); ca:again()
--
-- http, tls: ports where it looks for challenges. validity: of certificates, in seconds. nonces: percent that it refuses.
-- place: another number for each of several.
local certificates = require "certificates"
local socket = require "socket"
local tidegate = require "tidegate"

local M = {}
local Authority = {}
Authority.__index = Authority

local PEBBLE, DNS = "/usr/bin/pebble", "/usr/bin/pebble-challtestsrv"

-- Why it cannot be had here, or nil.
function M.missing()
    for _, program in ipairs { PEBBLE, DNS, "/usr/bin/curl", "/usr/bin/openssl" } do
        if not tidegate.read_file(program) then
            return program .. " is not installed"
        end
    end
end

local function wait_port(t, what, port)
    t:wait(what .. " to listen", function()
        local client = socket.tcp4()
        local ok = client:connect("127.0.0.1", port)
        client:close()
        return ok
    end)
end

function Authority:again()
    local t = self.t
    self.process = t:run_beside("/usr/bin/env", "PEBBLE_VA_NOSLEEP=1", "PEBBLE_AUTHZREUSE=0",
        "PEBBLE_WFE_NONCEREJECT=" .. self.nonces, PEBBLE, "-config", self.config, "-dnsserver", "127.0.0.1:" .. self.dns_port)
    wait_port(t, "pebble", self.port)
    wait_port(t, "pebble's management", self.management_port)
end

function Authority:stop()
    self.t:kill(self.process.pid)
    self.t:wait("pebble to end", function()
        return self.t:ended(self.process)
    end)
end

-- What it wrote of itself since it was started.
function Authority:log()
    return (tidegate.read_file(self.process.out) or "") .. (tidegate.read_file(self.process.err) or "")
end

-- How often something stands in that.
function Authority:count(text)
    return select(2, self:log():gsub((text:gsub("%p", "%%%0")), ""))
end

-- Another one after each start.
function Authority:root()
    local path = self.t.dir .. "/pebble-root.pem"
    local url = ("https://127.0.0.1:%d/roots/0"):format(self.management_port)
    assert(os.execute(("curl -sf --cacert %s -o %s %s"):format(self.ca, path, url)) == 0, "no root of pebble's")
    return path
end

function M.start(t, o)
    local place = o.place or 90
    local function port(i)
        return t:port("PORT" .. place + i)
    end
    local own = certificates.new(("%s/pebble%d"):format(t.dir, place)):make { names = { "localhost", "127.0.0.1" } }
    local self = setmetatable({ t = t, ca = own.certificate, nonces = o.nonces or 0, port = port(0),
        management_port = port(1), dns_port = port(2) }, Authority)
    self.directory = ("https://127.0.0.1:%d/dir"):format(self.port)
    self.config = t:write(("pebble%d.json"):format(place), tidegate.json.encode { pebble = {
        listenAddress = "127.0.0.1:" .. self.port, managementListenAddress = "127.0.0.1:" .. self.management_port,
        certificate = own.certificate, privateKey = own.key, httpPort = o.http, tlsPort = o.tls or port(3),
        ocspResponderURL = "", certificateValidityPeriod = o.validity } })
    t:run_beside(DNS, "-dns01", "127.0.0.1:" .. self.dns_port, "-http01", "", "-https01", "", "-tlsalpn01", "",
        "-management", "127.0.0.1:" .. port(4), "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "")
    wait_port(t, "the DNS", port(4))
    self:again()
    return self
end

return M
