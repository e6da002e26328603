local C, ffi = require("ffi_room").load("base/mem.h")

ffi.cdef [[
char *promtest_read(const char *page, size_t len, size_t step, unsigned long long *ret_bad);
char *promtest_labels(const char *labels, size_t len, const char *without, char *value, size_t size);
]]

-- A page as lines of "name{labels} value type [@time]", and how many lines were left out.
local function read(page, step)
    local bad = ffi.new "unsigned long long[1]"
    local out = C.promtest_read(page, #page, step or #page + 1, bad)
    local text = out ~= nil and ffi.string(out) or ""
    C.mem_free(out)
    return text, tonumber(bad[0])
end

local function labels(text, without)
    local value = ffi.new "char[32]"
    local out = C.promtest_labels(text, #text, without, value, 32)
    local result = out ~= nil and ffi.string(out) or nil
    C.mem_free(out)
    return result, ffi.string(value)
end

describe("watch/promtext", function()
    it("reads what Prometheus reads", function()
        local cases = {
            { "a 1\n", "a{} 1 untyped\n" },
            { "a 1", "a{} 1 untyped\n" }, -- no final newline
            { 'a{b="c"} 2 \n', 'a{b="c"} 2 untyped\n' },
            { "  a\t 3\n", "a{} 3 untyped\n" },
            { "a -1.5e-3\n", "a{} -0.0015 untyped\n" },
            { "a +Inf\na -Inf\na NaN\n", "a{} inf untyped\na{} -inf untyped\na{} nan untyped\n" },
            { "a 0.1\na 123456789012345678\n", "a{} 0.10000000000000001 untyped\na{} 1.2345678901234568e+17 untyped\n" },
            { "a 1 1700000000000\n", "a{} 1 untyped @1700000000000\n" },
            { "a 1 1700000000.5\n", "a{} 1 untyped @1700000000500\n" }, -- OpenMetrics: seconds
            { 'a{b="}\\"{\\\\"} 1\n', 'a{b="}\\"{\\\\"} 1 untyped\n' },
            { "# HELP a {\n# TYPE a counter\n# TYPE a gauge\na 1\n", "a{} 1 gauge\n" }, -- a second TYPE
            { "# TYPE a gauge\na 1\nb 2\na 3\n", "a{} 1 gauge\nb{} 2 untyped\na{} 3 gauge\n" }, -- a split family
            { "a 1\na 1\n", "a{} 1 untyped\na{} 1 untyped\n" }, -- twice: who receives them keeps the first
            { "a:b_total 1\n", "a:b_total{} 1 counter\n" },
            { "a 1\n# EOF\nb 2\n", "a{} 1 untyped\n" },
            { 'a_total 1 # {trace="x"} 0.5 1.1\n', "a_total{} 1 counter\n" }, -- an exemplar
            { "\n\n# just words\n", "" },
        }
        for _, case in ipairs(cases) do
            local got, bad = read(case[1])
            assert.equal(case[2], (got:gsub("%-nan", "nan")))
            assert.equal(0, bad, case[1])
        end
    end)

    it("leaves a line out where Prometheus loses the page", function()
        local cases = {
            { "a 1\r\nb 2\r\n", "a{} 1 untyped\nb{} 2 untyped\n", 0 },
            { "a 1e400\nb 2\n", "b{} 2 untyped\n", 1 },
            { 'a{b="\255"} 1\nb 2\n', "b{} 2 untyped\n", 1 },
            { 'a{b="\237\160\128"} 1\nb 2\n', "b{} 2 untyped\n", 1 }, -- a surrogate
            { 'a{b="c} 1\nb 2\n', "b{} 2 untyped\n", 1 },
            { 'a{b="c" 1\nb 2\n', "b{} 2 untyped\n", 1 },
            { "a\nb 2\n", "b{} 2 untyped\n", 1 },
            { "a one\nb 2\n", "b{} 2 untyped\n", 1 },
            { "1a 1\nb 2\n", "b{} 2 untyped\n", 1 },
            { "a 1 yesterday\nb 2\n", "b{} 2 untyped\n", 1 },
            { "a 1 2 3\nb 2\n", "b{} 2 untyped\n", 1 },
            { "<html><body>404</body></html>\n", "", 1 },
            { 'a{b="\226\130\172"} 1\n', 'a{b="\226\130\172"} 1 untyped\n', 0 },
        }
        for _, case in ipairs(cases) do
            local got, bad = read(case[1])
            assert.same({ case[2], case[3] }, { got, bad })
        end
    end)

    it("knows what counts in families", function()
        local got = read [[
# TYPE h histogram
h_bucket{le="1"} 1
h_bucket{le="+Inf"} 2
h_sum 3
h_count 4
# TYPE s summary
s{quantile="0.5"} 5
s_sum 6
s_count 7
# TYPE c counter
c 8
c_total 9
c_created 10
# TYPE g gauge
g 11
go 12
]]
        assert.equal([[
h_bucket{le="1"} 1 bucket
h_bucket{le="+Inf"} 2 bucket
h_sum{} 3 counter
h_count{} 4 counter
s{quantile="0.5"} 5 gauge
s_sum{} 6 counter
s_count{} 7 counter
c{} 8 counter
c_total{} 9 counter
c_created{} 10 untyped
g{} 11 gauge
go{} 12 untyped
]], got)
    end)

    it("reads the same in pieces of any size", function()
        local page = '# TYPE a counter\na{b="x\\"y"} 1.5 1700000000000\r\n\nbad line\n# HELP a x\na_total 7\nlast 8'
        local whole, bad = read(page)
        assert.equal(1, bad)
        for step = 1, #page do
            local got, worse = read(page, step)
            assert.same({ whole, bad }, { got, worse })
        end
    end)

    it("skips a line without an end, and goes on behind it", function()
        local long = 'a{b="' .. ("x"):rep(70000) .. '"} 1\nb 2\n'
        for _, step in ipairs { 100, 65536, 1e6 } do
            assert.same({ "b{} 2 untyped\n", 1 }, { read(long, step) })
        end
    end)

    it("makes labels regular", function()
        assert.equal('a="b",c="d"', (labels ' a = "b" , c="d", '))
        assert.equal("", (labels ""))
        assert.equal('a="x\\"\\\\\\n"', (labels 'a="x\\"\\\\\\n"'))
        assert.equal('a="xq"', (labels 'a="x\\q"'))
        local rest, le = labels('a="b",le="0.5"', "le")
        assert.same({ 'a="b"', "0.5" }, { rest, le })
        for _, wrong in ipairs { "a", "a=", "a=b", 'a="b" c="d"', 'a="b",a="c"', '1a="b"', '="b"', 'a="b' } do
            assert.is_nil(labels(wrong), wrong)
        end
    end)
end)
