-- Which sets of labels there are, and where containers are reached.
local C, ffi = require("ffi_room").load("base/mem.h", "base/json.h", "app/labelled.h")
local cjson = require "cjson"

local function json(value)
    local text = cjson.encode(value)
    local parsed = C.json_parse(text, #text)
    assert(parsed ~= nil, text)
    return ffi.gc(parsed, C.json_free)
end

local function list(t)
    return #t > 0 and t or cjson.empty_array
end

-- A running container on one network that exposes port 80; `over` changes it.
local function container(name, over)
    local c = { id = (name:gsub("%W", "") .. ("0"):rep(64)):sub(1, 64), name = name, created = 1000, state = "running",
        health = "none", cluster = "", project = "", service = "", oneoff = false, network_mode = "default",
        networks = { { name = "bridge", ipv4 = "172.17.0.2", ipv6 = "" } },
        ports = { { port = 80, host_ip = "", host_port = 0 } }, labels = { ["tidegate.enable"] = "true" } }
    for key, value in pairs(over or {}) do
        c[key] = value
    end
    if type(c.networks) == "table" then
        c.networks = list(c.networks)
    end
    c.ports = type(c.ports) == "table" and list(c.ports) or c.ports
    return c
end

local function net(name, ipv4, ipv6)
    return { name = name, ipv4 = ipv4 or "", ipv6 = ipv6 or "" }
end

-- Address and network, or nil and the sentence.
local function address(c, set, place, others)
    local all = { c }
    for _, other in ipairs(others or {}) do
        all[#all + 1] = other
    end
    local containers = json(all)
    place = place or {}
    local p = ffi.new("struct labelled_place", { prefix = "tidegate", network = place.network or "",
        self = place.self or "", host = place.host or "127.0.0.1", publish = place.publish or false })
    local network, why = ffi.new "const char *[1]", ffi.new "char *[1]"
    local text = C.labelled_address(containers, C.json_first(containers), json(set or cjson.decode "{}"), p,
        network, why)
    if text == nil then
        local sentence = ffi.string(why[0])
        C.mem_free(why[0])
        return nil, sentence
    end
    local out = ffi.string(text)
    C.mem_free(text)
    return out, ffi.string(network[0])
end

local function sets(containers, since)
    local all = json(list(containers))
    local out = C.labelled_sets(all, "tidegate", json(since or cjson.decode "{}"))
    local text = C.json_text(out)
    local value = cjson.decode(ffi.string(text))
    C.mem_free(text)
    C.json_free(out)
    return value
end

local function names(containers, since)
    local out = {}
    for i, s in ipairs(sets(containers, since)) do
        out[i] = s.container
    end
    return out
end

describe("app/labelled", function()
    describe("reaches a container", function()
        for title, case in pairs {
            ["on its only network"] = { container "a", nil, nil, "172.17.0.2:80", "bridge" },
            ["on the network that a label names"] = {
                container("a", { networks = { net("x", "10.0.0.2"), net("y", "10.1.0.2") } }), { network = "y" }, nil,
                "10.1.0.2:80", "y" },
            ["on the configured network"] = {
                container("a", { networks = { net("x", "10.0.0.2"), net("y", "10.1.0.2") } }), nil, { network = "x" },
                "10.0.0.2:80", "x" },
            ["rather on the label's than on the configured one"] = {
                container("a", { networks = { net("x", "10.0.0.2"), net("y", "10.1.0.2") } }), { network = "y" },
                { network = "x" }, "10.1.0.2:80", "y" },
            ["by compose's short word for a network"] = {
                container("a", { project = "shop", networks = { net("shop_default", "10.0.0.2"),
                    net("shop_db", "10.1.0.2") } }), { network = "db" }, nil, "10.1.0.2:80", "shop_db" },
            ["on the network that it shares with us"] = {
                container("a", { networks = { net("x", "10.0.0.2"), net("y", "10.1.0.2") } }), nil,
                { self = container("self").id }, "10.1.0.2:80", "y",
                { container("self", { networks = { net("y", "10.1.0.9"), net("z", "10.2.0.9") } }) } },
            ["at the port that a label names"] = { container "a", { port = 8080 }, nil, "172.17.0.2:8080", "bridge" },
            ["that has IPv6 only"] = { container("a", { networks = { net("six", "", "fd00::2") } }), nil, nil,
                "[fd00::2]:80", "six" },
            ["that shares the host's network"] = {
                container("a", { network_mode = "host", networks = { net "host" }, ports = {} }), { port = 8080 },
                nil, "127.0.0.1:8080", "host" },
            ["that lives in the network of another"] = {
                container("a", { network_mode = "container:" .. container("b").id, networks = {} }), nil, nil,
                "10.9.0.2:80", "x", { container("b", { networks = { net("x", "10.9.0.2") } }) } },
            ["by its published port"] = {
                container("a", { ports = { { port = 80, host_ip = "0.0.0.0", host_port = 32768 } } }), nil,
                { publish = true, host = "engine.example" }, "engine.example:32768", "" },
            ["by a port that is published on one address"] = {
                container("a", { ports = { { port = 80, host_ip = "192.0.2.7", host_port = 8080 } } }), nil,
                { publish = true }, "192.0.2.7:8080", "" },
        } do
            it(title, function()
                assert.same({ case[4], case[5] }, { address(case[1], case[2], case[3], case[6]) })
            end)
        end
    end)

    describe("says what to write for a container", function()
        for title, case in pairs {
            ["on several networks"] = {
                container("a", { networks = { net("x", "10.0.0.2"), net("y", "10.1.0.2") } }), nil, nil,
                'is on several networks (x, y): write tidegate.network=x, or another of them; or '
                    .. 'labels = { network = "x" } into the configuration, for all' },
            ["that shares several with us"] = {
                container("a", { networks = { net("x", "10.0.0.2"), net("y", "10.1.0.2"), net("z", "10.2.0.2") } }),
                nil, { self = container("self").id },
                'is on several networks (x, z): write tidegate.network=x, or another of them; or '
                    .. 'labels = { network = "x" } into the configuration, for all',
                { container("self", { networks = { net("x", "10.0.0.9"), net("z", "10.2.0.9") } }) } },
            ["that shares none with us"] = {
                container("a", { networks = { net("x", "10.0.0.2") } }), nil, { self = container("self").id },
                "shares no network with tidegate's own container: it is on x; connect one of them to the other's",
                { container("self", { networks = { net("y", "10.1.0.9") } }) } },
            ["that is not on the network named"] = { container "a", { network = "db" }, nil,
                "is not on network db: it is on bridge" },
            ["without a network"] = { container("a", { networks = {}, network_mode = "none" }), nil, nil,
                "has no network: nothing can be sent to it" },
            ["without an address there"] = { container("a", { networks = { net "x" } }), { network = "x" }, nil,
                "has no address on network x" },
            ["without a port"] = { container("a", { ports = {} }), nil, nil,
                "exposes no port: write tidegate.port=8080, or what it listens on" },
            ["with several ports"] = { container("a", { ports = { { port = 80, host_ip = "", host_port = 0 },
                { port = 443, host_ip = "", host_port = 0 } } }), nil, nil,
                "exposes several ports (80, 443): write tidegate.port=80, or another of them" },
            ["whose port is not published"] = { container "a", nil, { publish = true },
                "port 80 is not published on the host, which docker.publish = true of the configuration needs: "
                    .. "start it with -p 80" },
            ["on the host's network, while we are not"] = {
                container("a", { network_mode = "host", networks = {} }), nil, { self = container("self").id },
                "shares the host's network, which tidegate's own container does not reach: start one of them "
                    .. "otherwise", { container "self" } },
            ["in the network of one that is gone"] = { container("a", { network_mode = "container:abc" }), nil, nil,
                "lives in the network of container:abc, which is gone" },
        } do
            it(title, function()
                assert.same({ nil, case[4] }, { address(case[1], case[2], case[3], case[5]) })
            end)
        end
    end)

    it("takes containers with equal labels for one set, whatever their names are", function()
        local out = sets { container("web-2", { service = "web", created = 20 }),
            container("web-1", { service = "web", created = 10 }) }
        assert.equal(1, #out)
        assert.same({ "web-1", "web", "web" }, { out[1].container, out[1].service, out[1].group })
        assert.equal(2, #sets { container "a", container "b" })
        local labels = { ["tidegate.enable"] = "true", ["tidegate.service"] = "shop" }
        out = sets { container("a", { labels = labels }), container("b", { labels = labels }) }
        assert.same({ 1, "shop", "a" }, { #out, out[1].group, out[1].service })
    end)

    it("leaves out what has no labels, what a tidegate runs, and one-offs of compose", function()
        assert.same({}, sets { container("a", { labels = cjson.decode "{}" }), container("b", { cluster = "shop" }),
            container("c", { oneoff = true }) })
    end)

    it("orders them: services by age, in one those that run first, then by age", function()
        local function of(name, service, created, state)
            return container(name, { service = service, created = created, state = state or "running",
                labels = { ["tidegate.enable"] = "true", ["tidegate.port"] = name:match "%d+" } })
        end
        local all = { of("b-1", "b", 5), of("a-1", "a", 10, "exited"), of("a-2", "a", 30), of("a-3", "a", 20) }
        assert.same({ "b-1", "a-3", "a-2", "a-1" }, names(all))
        assert.same({ "a-3", "a-2", "a-1", "b-1" }, names(all, { a = 1 })) -- a service keeps its age
    end)

    it("finds a container by name, id and the beginning of that", function()
        local all = json { container "web-1", container "db" }
        local function found(id)
            local c = C.labelled_find(all, id)
            return c ~= nil and ffi.string(C.json_str(c, "name", "")) or nil
        end
        local id = container("db").id
        assert.same({ "web-1", "db", "db" }, { found "web-1", found(id), found(id:sub(1, 12)) })
        assert.is_nil(found(id:sub(1, 5)))
        assert.is_nil(found "")
    end)

    it("knows the container that it is in", function()
        local to = ffi.new "char[65]"
        local id = ("0123456789abcdef"):rep(4)
        local function self(text)
            C.labelled_self(text, to)
            return ffi.string(to)
        end
        assert.equal(id, self("1 2 0:1 / / rw\n3 4 254:1 /var/lib/docker/containers/" .. id
            .. "/hostname /etc/hostname rw\n"))
        assert.equal("", self "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n")
        assert.equal("", self("/containers/" .. id:sub(2) .. "/hostname"))
        assert.equal("", self("/containers/" .. id))
    end)
end)
