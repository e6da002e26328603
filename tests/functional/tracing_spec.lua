-- Spans of requests at a collector that really listens.
local cjson = require "cjson"
local receivers = require "receivers"
local tidegate = require "tidegate"

local SERVICE = [[
service "shop" { command = { "@SERVICE@" }, scale = { min = 1, max = 1 },
                 route = { listen = "127.0.0.1:@PORT@", path = "/" } }
]]

local function start(t, sample)
    t:configure(SERVICE, { CLUSTER = ([[tracing = { endpoint = "http://127.0.0.1:%d/v1/traces", sample = %s,
        service = "edge", headers = { ["X-Token"] = "t-1" } }]]):format(t:port "PORT2", sample) })
    t:start { args = { "--admin", "127.0.0.1:" .. t:port "ADMIN" } }
    t:wait_up(1)
end

local function page(t)
    return t:get("/metrics", { port = t:port "ADMIN" }).body
end

local function attributes(span)
    local out = {}
    for _, attribute in ipairs(span.attributes) do
        out[attribute.key] = attribute.value.stringValue or attribute.value.intValue
    end
    return out
end

-- All spans that the collector took, whole calls that it refused left out.
local function spans(collector, refused)
    local out, resource = {}, nil
    for i, call in ipairs(receivers.got(collector)) do
        if i > (refused or 0) and call.line:find "^POST" then
            assert.equal("POST /v1/traces HTTP/1.1", call.line)
            assert.same({ "application/json", "t-1" }, { call.headers["content-type"], call.headers["x-token"] })
            resource = cjson.decode(call.body).resourceSpans[1]
            for _, span in ipairs(resource.scopeSpans[1].spans) do
                out[#out + 1] = span
            end
        end
    end
    return out, resource
end

describe("tracing", function()
    it("sends spans by OTLP, those of a sampled trace whatever the sample", tidegate.test(function(t)
        local collector = receivers.start(t, "http", "PORT2", "200")
        start(t, 0)
        assert.equal(200, t:get("/?secret=1").status)
        local parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        assert.equal(404, t:get("/path?secret=1", { headers = { traceparent = parent } }).status)
        t:wait("the span", function()
            return #spans(collector) > 0
        end)
        local list, resource = spans(collector)
        assert.equal(1, #list)
        assert.same({ key = "service.name", value = { stringValue = "edge" } }, resource.resource.attributes[1])
        local span = list[1]
        assert.equal("4bf92f3577b34da6a3ce929d0e0e4736", span.traceId)
        assert.equal("00f067aa0ba902b7", span.parentSpanId)
        assert.matches("^%x+$", span.spanId)
        assert.same({ 16, "GET /", 2 }, { #span.spanId, span.name, span.kind })
        local took_ns = tonumber(span.endTimeUnixNano:sub(-12)) - tonumber(span.startTimeUnixNano:sub(-12))
        assert.is_true(took_ns >= 0 and took_ns < 60e9)
        assert.is_true(math.abs(tonumber(span.endTimeUnixNano:sub(1, 10)) - os.time()) < 60)
        local said = attributes(span)
        assert.same({ "GET", "/path", "http", "404", "127.0.0.1", "shop", "shop-1", "1.1", "1" }, {
            said["http.request.method"], said["url.path"], said["url.scheme"], said["http.response.status_code"],
            said["client.address"], said["tidegate.service"], said["tidegate.backend"], said["network.protocol.version"],
            said["tidegate.attempts"],
        })
        assert.is_nil(cjson.encode(span):find "secret")
        assert.truthy(page(t):find('tidegate_spans_total{result="exported"} 1', 1, true))
    end))

    it("waits for a collector that is busy, and drops what one refuses", tidegate.test(function(t)
        local collector = receivers.start(t, "http", "PORT2", "503", "200", "400", "200")
        start(t, 1)
        local function one(calls)
            assert.equal(200, t:get("/").status)
            receivers.wait_got(t, collector, calls)
        end
        one(2)
        one(3)
        one(4)
        local calls = receivers.got(collector)
        assert.equal(calls[1].body, calls[2].body, "the same spans again")
        assert.not_equal(calls[3].body, calls[4].body)
        t:wait("the counters", function()
            return page(t):find('tidegate_spans_total{result="exported"} 2', 1, true)
        end)
        assert.truthy(page(t):find('tidegate_spans_total{result="failed"} 1', 1, true))
    end))
end)
