package.path = "core/?.lua;" .. package.path
local values = require "script.values"
local nearest = require "script.nearest"

-- { value, what comes out } or { value, nil, the sentence }
local function check(parse, cases)
    for _, case in ipairs(cases) do
        local result, why = parse(case[1])
        assert.same({ case[2], case[3] }, { result, why }, "for " .. tostring(case[1]))
    end
end

describe("script/values", function()
    it("reads durations", function()
        local what = 'expected a duration such as "30s", got '
        check(values.duration, {
            { "90s", 90000 }, { "5m", 300000 }, { "1h30m", 5400000 }, { "250ms", 250 }, { "1.5s", 1500 },
            { "1d", 86400000 }, { 30, 30000 }, { 0.25, 250 }, { 0, 0 }, { "0s", 0 }, { "1m30s500ms", 90500 },
            { "90", nil, what .. '"90"' }, { "", nil, what .. '""' }, { "5x", nil, what .. '"5x"' },
            { "5m!", nil, what .. '"5m!"' }, { "s", nil, what .. '"s"' }, { {}, nil, what .. "a table" },
            { true, nil, what .. "true" }, { 0 / 0, nil, what .. ("%.14g"):format(0 / 0) },
            { print, nil, what .. "a function" }, { "-5s", nil, what .. '"-5s"' },
            { -1, nil, "must not be negative, got -1" }, { "5000d", nil, 'is longer than ten years: "5000d"' },
        })
    end)

    it("reads sizes", function()
        local what = 'expected a size such as "512m", got '
        check(values.size, {
            { "512m", 536870912 }, { "1g", 1073741824 }, { "64k", 65536 }, { "10MiB", 10485760 }, { "10MB", 10485760 },
            { "1.5g", 1610612736 }, { 4096, 4096 }, { "100b", 100 }, { "1t", 1099511627776 }, { 0, 0 },
            { "512", nil, what .. '"512"' }, { "m", nil, what .. '"m"' }, { "5x", nil, what .. '"5x"' },
            { "5ib", nil, what .. '"5ib"' }, { {}, nil, what .. "a table" }, { "", nil, what .. '""' },
            { -1, nil, "must not be negative, got -1" }, { 1e300, nil, "is too large: 1e+300" },
        })
    end)

    it("reads listening addresses", function()
        check(values.listen, {
            { ":8080", "0.0.0.0:8080" }, { "127.0.0.1:8080", "127.0.0.1:8080" }, { "[::1]:8080", "[::1]:8080" },
            { "[::]:80", "[::]:80" }, { "unix:/run/x.sock", "unix:/run/x.sock" }, { 8080, "0.0.0.0:8080" },
            { "http://127.0.0.1:80", "127.0.0.1:80" }, { "*:80", "0.0.0.0:80" }, { "[FE80::1]:1", "[fe80::1]:1" },
            { "tcp://:9000", nil, 'balancing plain TCP comes later: not supported by this version, got "tcp://:9000"' },
            { "https://:443", nil, 'TLS is for routes, got "https://:443"' },
            { ":0", nil, "port 0 is out of range: 1 to 65535" }, { ":65536", nil, "port 65536 is out of range: 1 to 65535" },
            { "8080", nil, 'expected an address such as ":8080" or "127.0.0.1:8080", got "8080"' },
            { "localhost:80", nil, '"localhost" is not a numeric address: listen on one such as "127.0.0.1:8080"' },
            { "1.2.3.256:80", nil, '"1.2.3.256" is not a numeric address: listen on one such as "127.0.0.1:8080"' },
            { "[::zz]:80", nil, '"[::zz]" is not an IPv6 address' }, { "[1:2]:80", nil, '"[1:2]" is not an IPv6 address' },
            { "unix:x", nil, 'a unix socket needs an absolute path such as "unix:/run/x.sock", got "unix:x"' },
            { "unix:/" .. ("x"):rep(107), nil, "the path of a unix socket has at most 107 bytes, this one 108" },
            { {}, nil, 'expected an address such as ":8080" or "127.0.0.1:8080", got a table' },
        })
    end)

    it("reads backends", function()
        local what = 'expected an address such as "10.0.0.5:9000" or "unix:/run/x.sock", got '
        check(values.backend, {
            { "10.0.0.5:9000", "10.0.0.5:9000" }, { "db.internal:9000", "db.internal:9000" },
            { "http://10.0.0.5:9000/", "10.0.0.5:9000" }, { "unix:/run/x.sock", "unix:/run/x.sock" },
            { "[::1]:80", "[::1]:80" }, { "10.0.0.5", nil, what .. '"10.0.0.5"' }, { 9000, nil, what .. "9000" },
            { "a b:80", nil, '"a b" is neither an address nor a host name' },
            { "10.0.0.999:80", nil, '"10.0.0.999" is neither an address nor a host name' },
            { "x:99999", nil, "port 99999 is out of range: 1 to 65535" },
            { "https://x:1", nil, 'TLS to backends comes later: not supported by this version, got "https://x:1"' },
        })
    end)

    it("reads ports, volumes and restart policies", function()
        local function port(container, host, publish, ip, protocol)
            return { container = container, host = host, publish = publish, host_ip = ip or "", protocol = protocol or "tcp" }
        end
        check(values.port, {
            { "8080", port(8080, 0, false) }, { 8080, port(8080, 0, false) }, { "8080:80", port(80, 8080, true) },
            { "127.0.0.1:8080:80", port(80, 8080, true, "127.0.0.1") }, { "127.0.0.1::80", port(80, 0, true, "127.0.0.1") },
            { "[::1]:8080:80", port(80, 8080, true, "::1") }, { "53/udp", port(53, 0, false, "", "udp") },
            { "0", nil, "port 0 is out of range: 1 to 65535" }, { "70000:80", nil, "port 70000 is out of range: 1 to 65535" },
            { 80.5, nil, 'expected a port such as "8080" or "8080:80", got 80.5' },
            { -1, nil, "port -1 is out of range: 1 to 65535" },
            { "x:80:80", nil, '"x" is not a numeric address' }, { "80/sctp", nil, 'unknown protocol "sctp": tcp or udp' },
            { "http", nil, 'expected a port such as "8080" or "8080:80", got "http"' },
        })
        local function volume(source, target, read_only, bind)
            return { source = source, target = target, read_only = read_only, bind = bind }
        end
        check(values.volume, {
            { "data:/var/data", volume("data", "/var/data", false, false) },
            { "/srv:/var/data:ro", volume("/srv", "/var/data", true, true) },
            { "data:/x:rw", volume("data", "/x", false, false) },
            { "data", nil, 'expected a volume such as "name:/path" or "/host:/path:ro", got "data"' },
            { "data:x", nil, 'the path in the container must begin with /, got "x"' },
            { "data:/x:rx", nil, 'unknown mode "rx": ro or rw' },
            { "./a:/x", nil, '"./a" is neither an absolute path nor the name of a volume' },
        })
        local what = 'expected "no", "always", "unless-stopped", "on-failure" or "on-failure:3", got '
        check(values.restart_policy, {
            { "no", { name = "no", max_retries = 0 } }, { "on-failure:3", { name = "on-failure", max_retries = 3 } },
            { "unless-stopped", { name = "unless-stopped", max_retries = 0 } }, { "never", nil, what .. '"never"' },
            { "on-failure:", nil, what .. '"on-failure:"' }, { 3, nil, what .. "3" }, { "always:3", nil, what .. '"always:3"' },
        })
    end)

    it("finds the nearest word, and none when none is near", function()
        local words = { "memory", "cpus", "environment", "image" }
        for given, want in pairs { memroy = "memory", Memory = "memory", env = "environment", imge = "image", cpu = "cpus" } do
            assert.equal(want, nearest(given, words), given)
        end
        for _, far in ipairs { "zzzzzz", "x", "", ("m"):rep(100) } do
            assert.is_nil(nearest(far, words), far)
        end
    end)
end)
