-- Addresses, networks, PROXY headers and the fields that tell of a client.
local C, ffi = require("ffi_room").load "net/peer.h"

local EPROTO, EINVAL, MOST = -71, -22, 4096

local function str(text)
    return ffi.new("struct str", { ffi.cast("const char *", text), #text })
end

local function ip(text)
    local out = ffi.new "struct net_ip"
    assert.equal(0, C.net_ip_parse(str(text), out), text)
    return out
end

local function text(of)
    local out = ffi.new "char[46]"
    C.net_ip_text(of, out)
    return ffi.string(out)
end

local function networks(list)
    local out = ffi.new("struct net_network[?]", #list + 1)
    for i, item in ipairs(list) do
        assert.equal(0, C.net_network_parse(str(item), out + (i - 1)), item)
    end
    return out, #list
end

describe("net/peer, addresses", function()
    it("reads them, IPv4 within IPv6 as IPv4, and nothing else", function()
        assert.equal("10.0.0.1", text(ip "10.0.0.1"))
        assert.equal("2001:db8::1", text(ip "2001:0db8::1"))
        assert.equal("10.0.0.1", text(ip "::ffff:10.0.0.1"))
        for _, bad in ipairs { "", "10.0.0", "10.0.0.1:80", "[::1]", "::1%lo", "a", "10.0.0.256", "10.0.0.1\0", (":"):rep(80) } do
            assert.equal(EINVAL, C.net_ip_parse(str(bad), ffi.new "struct net_ip"), bad)
        end
        assert.equal("unknown", text(ffi.new "struct net_ip"))
    end)

    it("holds them against networks", function()
        local list, count = networks { "10.0.0.0/8", "192.168.1.64/26", "2001:db8::/33", "::1", "0.0.0.0/32" }
        for address, inside in pairs {
            ["10.255.0.1"] = true, ["11.0.0.1"] = false, ["192.168.1.64"] = true, ["192.168.1.127"] = true,
            ["192.168.1.63"] = false, ["192.168.1.128"] = false, ["2001:db8:7fff::1"] = true, ["2001:db8:8000::1"] = false,
            ["::1"] = true, ["::2"] = false, ["::ffff:10.1.1.1"] = true, ["0.0.0.1"] = false,
        } do
            assert.equal(inside, C.net_networks_have(list, count, ip(address)), address)
        end
        assert.is_true(C.net_networks_have(networks { "0.0.0.0/0" }, 1, ip "203.0.113.9"))
        assert.is_false(C.net_networks_have(networks { "0.0.0.0/0" }, 1, ip "::2"))
        assert.is_false(C.net_networks_have(networks { "0.0.0.0/0" }, 1, ffi.new "struct net_ip"))
        for _, bad in ipairs { "10.0.0.0/", "10.0.0.0/33", "/8", "10.0.0.0/8/8", "::/129", "10.0.0.0/-1", "x/8" } do
            assert.equal(EINVAL, C.net_network_parse(str(bad), ffi.new "struct net_network"), bad)
        end
    end)
end)

local SIGNATURE = "\r\n\r\n\0\r\nQUIT\n"

-- { from, to, ports as text } or the result when it is not a whole header.
local function parse(bytes, most)
    local out = ffi.new "struct net_proxied"
    local rc = tonumber(C.net_proxied_parse(str(bytes), most or MOST, out))
    if rc <= 0 then
        return rc
    end
    return rc, ("%s:%d %s:%d"):format(text(out.from), out.from_port, text(out.to), out.to_port)
end

local function second(command, family, payload)
    return SIGNATURE .. string.char(command, family, math.floor(#payload / 256), #payload % 256) .. payload
end

describe("net/peer, PROXY headers", function()
    local four = "\192\0\2\1\10\0\0\1" .. "\199\56\1\187"

    it("of version 1", function()
        local line = "PROXY TCP4 192.0.2.1 10.0.0.1 51000 443\r\n"
        assert.same({ #line, "192.0.2.1:51000 10.0.0.1:443" }, { parse(line .. "GET / HTTP/1.1\r\n") })
        assert.same({ 45, "2001:db8::1:65535 ::1:0" }, { parse "PROXY TCP6 2001:db8:0:0:0:0:0:1 ::1 65535 0\r\n" })
        assert.same({ 15, "unknown:0 unknown:0" }, { parse "PROXY UNKNOWN\r\n" })
        assert.same({ #"PROXY UNKNOWN whatever it is\r\n", "unknown:0 unknown:0" }, { parse "PROXY UNKNOWN whatever it is\r\n" })
        for i = 0, #line - 1 do
            assert.equal(0, parse(line:sub(1, i)), "the first " .. i)
        end
        for _, bad in ipairs {
            "GET / HTTP/1.1\r\n", "PROXY", "proxy TCP4", "PROXY TCP4\r\n", "PROXY TCP4 192.0.2.1 10.0.0.1 51000\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 51000 443\n", "PROXY TCP4 192.0.2.1 10.0.0.1 51000 443 \r\n",
            "PROXY TCP4  192.0.2.1 10.0.0.1 51000 443\r\n", "PROXY TCP4 ::1 ::1 1 2\r\n", "PROXY TCP6 1.2.3.4 ::1 1 2\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 65536 443\r\n", "PROXY TCP4 192.0.2.1 10.0.0.1 051 443\r\n",
            "PROXY TCP4 192.0.2.256 10.0.0.1 1 2\r\n", "PROXY UDP4 192.0.2.1 10.0.0.1 1 2\r\n", "\r\n\r\n\0\r\nQUIX\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 +1 2\r\n", "PROXY UNKNOWN" .. (" "):rep(100) .. "\r\n", "PROXY \r\n", "\r\nPROXY",
        } do
            assert.equal(bad == "PROXY" and 0 or EPROTO, (parse(bad)), bad)
        end
    end)

    it("of version 2, whatever stands behind the addresses", function()
        local head = second(0x21, 0x11, four .. "\4\0\3abc")
        assert.same({ #head, "192.0.2.1:51000 10.0.0.1:443" }, { parse(head .. "GET /") })
        local six = ("\32\1\13\184" .. ("\0"):rep(11) .. "\1"):rep(2) .. "\0\80\0\81"
        assert.same({ 52, "2001:db8::1:80 2001:db8::1:81" }, { parse(second(0x21, 0x21, six)) })
        local mapped = (("\0"):rep(10) .. "\255\255\192\0\2\7"):rep(2) .. "\0\1\0\2"
        assert.same({ 52, "192.0.2.7:1 192.0.2.7:2" }, { parse(second(0x21, 0x21, mapped)) })
        assert.same({ 28, "unknown:0 unknown:0" }, { parse(second(0x20, 0x11, four)) }, "LOCAL tells none")
        assert.same({ 16, "unknown:0 unknown:0" }, { parse(second(0x21, 0x00, "")) })
        assert.same({ 232, "unknown:0 unknown:0" }, { parse(second(0x21, 0x31, ("x"):rep(216))) }, "unix sockets")
        for i = 0, #head - 1 do
            assert.equal(0, parse(head:sub(1, i)), "the first " .. i)
        end
        for _, bad in ipairs {
            second(0x11, 0x11, four), second(0x22, 0x11, four), second(0x21, 0x11, four:sub(2)), second(0x21, 0x21, four),
            second(0x21, 0x11, four .. ("x"):rep(MOST)),
        } do
            assert.equal(EPROTO, (parse(bad)))
        end
        assert.equal(EPROTO, (parse(head, #head - 1)), "longer than allowed")
    end)

    it("are written as they are read", function()
        local bytes = ffi.new "char[108]"
        for _, pair in ipairs { { "192.0.2.1", "10.0.0.1" }, { "2001:db8::1", "::1" },
            { ("ffff:"):rep(7) .. "ffff", ("ffff:"):rep(7) .. "fffe" } } do
            local said = ffi.new("struct net_proxied", { ip(pair[1]), ip(pair[2]), 65535, 443 })
            for version = 1, 2 do
                local len = tonumber(C.net_proxied_write(said, version, bytes))
                assert.same({ len, ("%s:65535 %s:443"):format(pair[1], pair[2]) }, { parse(ffi.string(bytes, len)) })
            end
        end
        for version, want in ipairs { "PROXY UNKNOWN\r\n", SIGNATURE .. "\32\0\0\0" } do
            local mixed = ffi.new("struct net_proxied", { ip "::1", ip "10.0.0.1", 1, 2 })
            assert.equal(want, ffi.string(bytes, C.net_proxied_write(mixed, version, bytes)))
        end
    end)
end)

describe("net/peer, forwarded fields", function()
    local function client(fields, rfc7239, peer, trusted)
        local list, count = networks(trusted or { "10.0.0.0/8", "::1" })
        local values = ffi.new("struct str[?]", #fields + 1)
        for i, field in ipairs(fields) do
            values[i - 1] = str(field)
        end
        return text(C.net_forwarded_client(values, #fields, rfc7239, list, count, ip(peer or "10.0.0.1")))
    end

    it("go back to the last one that is not believed", function()
        for _, case in ipairs {
            { { "203.0.113.7" }, "203.0.113.7" }, { { "1.1.1.1, 203.0.113.7" }, "203.0.113.7" },
            { { "1.1.1.1, 203.0.113.7 , 10.9.9.9" }, "203.0.113.7" }, { { "1.1.1.1", "203.0.113.7", "10.2.0.1" }, "203.0.113.7" },
            { { "10.3.0.1, 10.2.0.1" }, "10.3.0.1" }, { { "203.0.113.7:4711" }, "203.0.113.7" },
            { { "[2001:db8::7]:4711" }, "2001:db8::7" }, { { "2001:db8::7" }, "2001:db8::7" },
            { { "1.1.1.1, unknown" }, "10.0.0.1" }, { { "1.1.1.1, evil, 10.2.0.1" }, "10.2.0.1" }, { {}, "10.0.0.1" },
            { { "" }, "10.0.0.1" }, { { ",, 203.0.113.7,," }, "203.0.113.7" }, { { "[::7" }, "10.0.0.1" },
            { { "[2001:db8::7]x" }, "10.0.0.1" },
        } do
            assert.equal(case[2], client(case[1], false), table.concat(case[1], " | "))
        end
        assert.equal("192.0.2.9", client({ "203.0.113.7" }, false, "192.0.2.9"), "the peer itself is not believed")
        assert.equal("203.0.113.7", client({ ("9.9.9.9, "):rep(50) .. "203.0.113.7" .. (", 10.1.1.1"):rep(20) }, false))
    end)

    it("of RFC 7239, quoted and with other parameters", function()
        for _, case in ipairs {
            { { "for=203.0.113.7" }, "203.0.113.7" }, { { 'For="[2001:db8::7]:4711";proto=https' }, "2001:db8::7" },
            { { "for=1.1.1.1, by=x;for=203.0.113.7;host=a, for=10.2.0.1" }, "203.0.113.7" },
            { { 'for="203.0.113.7";host="a,b;c"' }, "203.0.113.7" }, { { "for=_hidden" }, "10.0.0.1" },
            { { 'host="\\", for=1.1.1.1' }, "10.0.0.1" }, { { "proto=https" }, "10.0.0.1" },
            { { "for=203.0.113.7", "for=10.2.0.1;proto=http" }, "203.0.113.7" },
        } do
            assert.equal(case[2], client(case[1], true), table.concat(case[1], " | "))
        end
        local function proto(field)
            local value = C.net_forwarded_proto(str(field))
            return value.ptr ~= nil and ffi.string(value.ptr, value.len) or ""
        end
        assert.same({ "https", "http", "" }, { proto "for=a;proto=http, for=b;proto=https", proto 'proto="http"', proto "for=a" })
    end)
end)
