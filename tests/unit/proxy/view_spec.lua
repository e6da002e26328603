-- What balance policies see of a request and of backends, over real sockets: a probe policy takes the second
-- backend when its expression over (b, n, r) holds, else the first.
local proxied = require "proxied"

local REQUEST = {
    tags = { "header:X-Data-Affinity", "query:data_affinity_tags" },
    dataset = { "header:X-Dataset-Id", "query:dataset_id" },
    processing = { "header:X-Processing-Type", "query:processing_type" },
    key = { n = 0 }, zone = { n = 0 },
}

local probes = 0

local function probe(expression, needs)
    probes = probes + 1
    local name = "probe" .. probes
    table.insert(proxied.policies, {
        kind = "balance", name = name, origin = "policies/balance/" .. name .. ".lua", needs = needs,
        source = ("return { name = '%s', doc = 'test', params = {}, new = function() return { pick = function(b, n, r) "
            .. "return (%s) and 2 or 1 end } end }"):format(name, expression),
    })
    return name
end

local function request_with(more)
    local request = {}
    for key, value in pairs(REQUEST) do
        request[key] = more and more[key] or value
    end
    return request
end

describe("proxy, what policies see", function()
    local w

    after_each(function()
        w = proxied.finish(w)
    end)

    -- One route to two backends for each expression; asks for it and tells which backend got it.
    local function world(routes, tags)
        for i, route in ipairs(routes) do
            route.path = "/" .. i
        end
        w = proxied.start { backends = 2, routes = routes }
        w:roster { w:entry(1, { tags = tags and tags[1] }), w:entry(2, { tags = tags and tags[2] }) }
    end

    local function goes(path, more)
        local c = w:client()
        c:get(path, more)
        local u, index = w:accept_any()
        assert.truthy(u:read_head())
        u:ok("", "Connection: close\r\n")
        local status, head = c:answer()
        assert.equal(200, status)
        c:close()
        u:close()
        return index, head
    end

    it("finds tags, data set and kind of work, in fields and in the query", function()
        local cases = {
            { "r.data == 1 and r.tag_count == 1 and bit.band(r.tags, b[2].tags) ~= 0", "", "X-Data-Affinity: dataset:orders\r\n" },
            { "r.tag_count == 2 and r.tags == b[2].tags and r.tags ~= 0 and r.tags ~= b[1].tags", "",
                "x-data-affinity:  dataset:orders ,,gpu,\r\n" },
            { "r.tag_count == 3 and r.tags == 0 and r.data == 1", "", "X-Data-Affinity: a, b, c\r\n" },
            { "r.tags == b[2].tags", "?x=1&data_affinity_tags=dataset%3Aorders,gpu&y", "" },
            { "r.data == 0 and r.tags == 0 and r.dataset == 0 and r.processing == 0 and r.tag_count == 0", "", "" },
            { "r.data == 0", "?data_affinity_tags=&xdataset_id=3", "X-Dataset-Id:\r\n" },
            { "r.dataset ~= 0 and r.data == 1 and bit.band(r.implied, b[2].tags) ~= 0 and bit.band(r.implied, b[1].tags) == 0",
                "?dataset_id=orders", "" },
            { "r.dataset ~= 0 and r.implied == 0 and r.tag_count == 0", "", "X-Dataset-Id: unheard\r\n" },
            { "r.processing ~= 0 and r.implied ~= 0 and r.tags == 0", "", "X-Processing-Type: batch\r\n" },
            { "r.implied == 0", "", "X-Dataset-Id: " .. ("x"):rep(3000) .. "\r\n" },
            { "r.tag_count == 64", "", "X-Data-Affinity: " .. ("t,"):rep(900) .. "\r\n" },
            { "r.sticky == 0 and r.method == 1 and r.path ~= 0 and r.attempt == 0", "", "Cookie: tidegate=x\r\n" },
        }
        local routes = {}
        for i, case in ipairs(cases) do
            routes[i] = { policy = probe(case[1]), more = { request = REQUEST } }
        end
        world(routes, { { "zone:a", "processing:batch" }, { "dataset:orders", "gpu" } })
        for i, case in ipairs(cases) do
            assert.equal(2, (goes("/" .. i .. case[2], case[3])), case[1])
        end
    end)

    it("looks only for what the policy needs", function()
        world({
            { policy = probe("r.dataset ~= 0 and r.tag_count == 0 and r.path == 0", { n = 0, "dataset" }),
                more = { request = REQUEST } },
            { policy = probe("r.dataset == 0 and r.data == 0 and r.key ~= 0", { n = 0 }), more = { request = REQUEST } },
        })
        for i = 1, 2 do
            assert.equal(2, (goes("/" .. i .. "?dataset_id=1&data_affinity_tags=x")))
        end
    end)

    it("takes key and zone from where the route says", function()
        local same = probe "r.key % 2 == 0"
        local function route(policy, more, params)
            return { policy = policy, more = { request = request_with(more), balance = { policy = policy, params = params or {} } } }
        end
        world {
            route(same, { key = { "header:X-User" } }), route(same, { key = { "cookie:session", "client" } }),
            route(same, { key = { "query:u" } }), route(same, { key = { "dataset" } }),
            route(same, {}, { key = "header:X-User" }),
            route(probe "r.zone == b[2].zone and r.zone ~= 0", { zone = { "header:X-Zone" } }),
        }
        w:roster { w:entry(1, { tags = { "zone:a" } }), w:entry(2, { tags = { "zone:b" } }) }
        for n = 1, 6 do
            local user = "user" .. n
            local by_header = goes("/1", "X-User: " .. user .. "\r\n")
            assert.equal(by_header, (goes("/2", "Cookie: a=b; session=" .. user .. "; c=d\r\n")))
            assert.equal(by_header, (goes("/3?a&u=" .. user)))
            assert.equal(by_header, (goes("/4", "X-Dataset-Id: " .. user .. "\r\n")))
            assert.equal(by_header, (goes("/5", "X-User: " .. user .. "\r\n")))
        end
        local none = goes("/1")
        assert.equal(none, (goes("/2", "Cookie: other=user1\r\n")))
        assert.equal(2, (goes("/6", "X-Zone: b\r\n")))
        assert.equal(1, (goes("/6", "X-Zone: a\r\n")))
        assert.equal(1, (goes("/6")))
        w:must(w:configure { zone = "b", { path = "/6", policy = probe "r.zone == b[2].zone", more = { request = REQUEST } } })
        w:must "commit"
        assert.equal(2, (goes("/6")))
    end)

    it("knows client and zone of a connection without heads", function()
        w = proxied.start { backends = 2, routes = { zone = "b", { more = { tcp = true, request = REQUEST },
            policy = probe "r.key ~= 0 and r.data == 0 and r.dataset == 0 and r.zone == b[2].zone and r.zone ~= 0" } } }
        w:roster { w:entry(1, { tags = { "zone:a" } }), w:entry(2, { tags = { "zone:b" } }) }
        local c = w:client()
        local u = w:accept(2)
        u:send "hello"
        assert.equal("hello", (c:read(5)))
        c:close()
        u:close()
    end)

    it("gives bits to the 32 tags that most backends have, and tells of the rest", function()
        local many, few = { "common" }, { "common" }
        for i = 1, 40 do
            many[#many + 1] = "tag" .. i
        end
        world({ { policy = probe "r.tags ~= 0 and bit.band(r.tags, b[1].tags, b[2].tags) == r.tags", more = { request = REQUEST } },
            { policy = probe "b[1].tags % 2^32 == 2^32 - 1 or b[1].tags == -1", more = { request = REQUEST } } }, { many, few })
        assert.equal(2, (goes("/1", "X-Data-Affinity: common\r\n")))
        assert.equal(2, (goes("/2")))
        assert.matches("tags: service shop: 41 different tags", w:must "fact")
    end)

    it("keeps sessions with their backend by a cookie, and moves them when it is out", function()
        world { { more = { sticky = { cookie = "sid", ttl_ms = 3600000 } } } }
        local first, head = goes "/1"
        local cookie = head:match "\r\nSet%-Cookie: (sid=%x%x%x%x%x%x%x%x); Path=/; Max%-Age=3600; HttpOnly; SameSite=Lax\r\n"
        assert.truthy(cookie, head)
        for _ = 1, 5 do
            local index, again = goes("/1", "Cookie: a=b; " .. cookie .. "\r\n")
            assert.equal(first, index)
            assert.is_nil(again:find "Set%-Cookie")
        end
        -- A cookie that names nobody, or nothing at all, is replaced.
        for _, bad in ipairs { "sid=00000001", "sid=zzzzzzzz", "sid=", "sid=123", "sid" } do
            assert.truthy((select(2, goes("/1", "Cookie: " .. bad .. "\r\n"))):find "Set%-Cookie: sid=%x+;", bad)
        end
        w:roster { w:entry(1, { draining = first == 1 }), w:entry(2, { draining = first == 2 }) }
        local moved, changed = goes("/1", "Cookie: " .. cookie .. "\r\n")
        assert.equal(3 - first, moved)
        local other = changed:match "Set%-Cookie: (sid=%x+);"
        assert.is_true(other ~= nil and other ~= cookie)
        w:roster { w:entry(1), w:entry(2) }
        assert.equal(moved, (goes("/1", "Cookie: " .. other .. "\r\n")))
    end)

    it("shows response times over all workers", function()
        world { { policy = probe "b[1].response_ms > 300 and b[1].response_ms < 5000" } }
        assert.equal(1, (goes "/1"))
        w:other_row(1, "response_ms", 1000, 1)
        proxied.eventually(function()
            return goes "/1" == 2
        end)
    end)

    it("weighs each worker's response times by the answers that they are of", function()
        world { { policy = probe "b[1].response_ms > 85 and b[1].response_ms < 95" } }
        assert.equal(1, (goes "/1"))
        w:other_row(1, "response_ms", 1000, 1)
        local own = w:row(1).response_ms
        own.value, own.weight = 80, 90 -- (80 * 90 + 1000) / 91 = 90.1
        proxied.eventually(function()
            return goes "/1" == 2
        end)
    end)

    it("shows the error rate over all workers", function()
        world { { policy = probe "b[1].error_rate > 0.2 and b[1].error_rate <= 0.5" } }
        assert.equal(1, (goes "/1"))
        w:other_row(1, "failed", 1, 1)
        proxied.eventually(function()
            return goes "/1" == 2
        end)
    end)

    it("shows the mean of the last 100 answers over all workers, to those who need it", function()
        world { { policy = probe("b[1].response_mean_ms >= 29 and b[1].response_mean_ms < 31.5", { "response_mean_ms" }) },
            { policy = probe("b[1].response_mean_ms ~= 0", {}) } }
        assert.equal(1, (goes "/1"))
        for i = 1, 99 do
            w:recent_add(1, i <= 39 and 2 or 48.7)
        end
        assert.equal(2, (goes "/1")) -- 30, and what the first answer took
        assert.equal(1, (goes "/2"))
        for _ = 1, 100 do
            w:recent_add(1, 30.5)
        end
        assert.equal(2, (goes "/1"))
    end)

    it("shows the mean of the last answers and hashes that stay", function()
        world { { policy = probe "b[1].response_mean_ms > 20 and b[1].response_mean_ms < 5000" },
            { policy = probe "b[1].hash ~= b[2].hash and b[1].hash ~= 0" } }
        assert.equal(1, (goes "/1"))
        local c = w:client()
        c:get "/1"
        local u = w:accept(1)
        u:read_head()
        assert.is_true(u:silent(0.06))
        u:ok("", "Connection: close\r\n")
        assert.equal(200, (c:answer()))
        assert.equal(2, (goes "/1"))
        assert.equal(2, (goes "/2"))
    end)
end)
