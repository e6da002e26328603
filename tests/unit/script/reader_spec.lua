-- Request functions of routes: a configuration is loaded, its functions are found again in a worker's state, and
-- are asked about requests.
local configuration = require "configuration"
local script = require "script_room"
local ffi = require "ffi"

local C = script.C
ffi.cdef [[
struct script_reader *script_test_reader(struct script_hot *hot, const char *service, uint32_t route, char **reterr);
int script_test_read(struct script_reader *reader, const char *head, char *to, size_t size);
double script_test_read_ns(struct script_reader *reader, const char *head, uint32_t count);
double script_test_kbytes(struct script_hot *hot);
]]

local HEAD = "GET\nshop.example\n/orders/7\nuser=4&x=1\n10.0.0.9\nX-User: anna\nX-Empty: \nCookie: a=b\n"

describe("script/reader", function()
    local hot

    after_each(function()
        C.script_hot_free(hot)
        hot = nil
        configuration.clean()
    end)

    -- The state of a configuration's worker.
    local function worker(files, live)
        local why
        local config, sentence = configuration.load(files, nil, function(json)
            hot, why = script.hot(json)
        end)
        assert(config, sentence)
        assert(hot, why)
        if live then
            C.script_hot_live(hot)
        end
        return config
    end

    local function reader(service, route)
        local why = ffi.new "char *[1]"
        local r = C.script_test_reader(hot, service or "web", route or 1, why)
        if r == nil then
            return nil, script.taken(why[0])
        end
        return r
    end

    -- What it says: "dataset|tags|processing|key|zone", or nil and why.
    local function read(r, head)
        local to = ffi.new "char[1024]"
        local code = C.script_test_read(r, head or HEAD, to, 1024)
        if code ~= 0 then
            assert.equal(-5, code)
            return nil, ffi.string(C.script_reader_error(r))
        end
        return ffi.string(to)
    end

    local function with(body, live)
        worker(([[
service "web" { backends = { "127.0.0.1:9" }, route = { listen = ":8080", request = function(r)
%s
end } }]]):format(body), live)
        local r, why = reader()
        assert(r ~= nil, why)
        return r
    end

    it("gives a function what it asks for, and takes its answer", function()
        for body, want in pairs {
            ["return nil"] = "||||",
            ["return {}"] = "||||",
            ["return { dataset_id = r.path:match '^/(%w+)', key = r.header 'x-user' }"] = "orders|||anna|",
            ["return { dataset_id = r.method .. r.host .. r.path .. r.query .. r.client }"] =
                "GETshop.example/orders/7user=4&x=110.0.0.9||||",
            ["return { key = r.subject }"] = "|||CN=alice|",
            ["return { key = r.header 'X-None', zone = r.header 'X-Empty', dataset_id = r.header 'COOKIE' }"] = "a=b||||",
            ["return { data_affinity_tags = { 'gpu', 'dataset:' .. 7 }, processing_type = 'batch' }"] = "|gpu,dataset:7|batch||",
            ["return { data_affinity_tags = 'a, b', zone = 'z', key = 42 }"] = "|a, b||42|z",
        } do
            assert.equal(want, read(with(body)), body)
            C.script_hot_free(hot)
        end
        hot = nil
    end)

    it("finds functions of many routes with the locals they use, over files and environment", function()
        local config = worker {
            ["tidegate.lua"] = [[
local prefix = env("TIDEGATE_TEST_NOT_SET", "none") .. ":" .. #env "PATH"
local function data(r) return { dataset_id = prefix .. r.path } end
cluster { id = "x" }
channel "ops" { webhook = "http://127.0.0.1/" }
include "more/*.lua"
service("web", { backends = { "127.0.0.1:9" }, route = {
  { listen = ":8080", path = "/a" }, { listen = ":8080", path = "/b", request = data },
} })
print "once"]],
            ["more/x.lua"] = [[
shared = "s"
service "other" { backends = { "127.0.0.1:9" }, route = { listen = ":8081", request = function(r)
  return { key = shared .. r.path } end } }]],
        }
        assert.equal("tidegate.lua:2", config.services[2].routes[2].request["function"])
        assert.same({}, config.services[2].routes[2].request.tags)
        assert.equal("more/x.lua:2", config.services[1].routes[1].request["function"])
        assert.is_nil(config.services[2].routes[1].request["function"])
        assert.equal(("none:%d/orders/7||||"):format(#os.getenv "PATH"), read(reader("web", 2)))
        assert.equal("|||s/orders/7|", read(reader("other", 1)))
        local none, why = reader("web", 1)
        assert.is_nil(none)
        assert.matches("^service web, route 1: request: .*the request function is not there", why)
    end)

    it("carries the files only where a function is", function()
        local config = worker [[service "web" { backends = { "127.0.0.1:9" }, route = { listen = ":8080", request = { key = "path" } } }]]
        assert.is_nil(config.program)
        assert.same({ "path" }, config.services[1].routes[1].request.key)
        assert.same({ "header:X-Dataset-Id", "query:dataset_id" }, config.services[1].routes[1].request.dataset)
        local none, why = configuration.load [[service "web" { backends = { "127.0.0.1:9" }, route = { listen = ":80", request = 5 } }]]
        assert.is_nil(none)
        assert.truthy(why:find('tidegate.lua:1: service "web": route.request: expected a table such as { dataset = '
            .. '"query:ds" }, or a function, got 5', 1, true), why)
    end)

    for _, live in ipairs { false, true } do
        it("tells what goes wrong with file and line, " .. (live and "live" or "not live"), function()
            for body, want in pairs {
                ["return { dataset_id = r.paths }"] = "tidegate.lua:2: the request has no field 'paths': did you mean 'path'?",
                ["r.path = 'x'"] = "tidegate.lua:2: the request can only be read",
                ["local x = r.header(5) return x"] = "tidegate.lua:2: r.header takes the name of a field, as in r.header \"X-User\"",
                ["return _G.undefined.x"] = 'tidegate.lua:2: unknown name "undefined"',
                ["error('no', 0)"] = "tidegate.lua:2: no",
                ["return 'orders'"] = "tidegate.lua:1: answered a string: a table such as { dataset_id = ... }, or nil",
                ["return { dataset = 'x' }"] =
                    "tidegate.lua:1: answered 'dataset': did you mean 'dataset_id'?",
                ["return { key = {} }"] = "tidegate.lua:1: key is a table: a text, or nil for none",
                ["return { data_affinity_tags = { {} } }"] = "tidegate.lua:1: ",
                ["while true do end"] = "tidegate.lua:2: ran longer than 10 ms of CPU time",
                ["local s = 'x' while true do s = s .. s end"] = "tidegate.lua:",
            } do
                local r = with(body, live)
                local said, why = read(r)
                assert.is_nil(said, body)
                assert.equal(want, why:sub(1, #want))
                assert.is_nil((read(r))) -- and again, in the same state
                C.script_hot_free(hot)
            end
            hot = nil
        end)
    end

    it("keeps nothing of a request, whatever the function keeps", function()
        worker [[
local kept
service "web" { backends = { "127.0.0.1:9" }, route = { listen = ":8080", request = function(r)
  kept = kept or r
  return { key = kept.path, dataset_id = rawequal(kept, r) and "same" or "other" }
end } }]]
        local r = reader()
        assert.equal("same|||/orders/7|", read(r))
        assert.equal("same|||/2|", read(r, "GET\nh\n/2\n\n10.0.0.9\n"))
    end)

    it("is compiled: a call costs little, and its garbage is collected", function()
        local r = with([[return { dataset_id = r.header "X-User", key = r.path }]], true)
        C.script_test_read_ns(r, HEAD, 100000)
        local before = C.script_test_kbytes(hot)
        local ns = C.script_test_read_ns(r, HEAD, 300000)
        assert.is_true(C.script_test_kbytes(hot) < before + 8192)
        if os.getenv "TIDEGATE_FIGURES" then
            print(("a request function with a header and a path: %.0f ns"):format(ns))
        end
    end)
end)
