-- `tidegate simulate`: policies over traces, with the real program.
local cjson = require "cjson"
local shell = require "shell"
local tidegate = require "tidegate"

local RECORDED = [[
service "data" {
  command = { "@SERVICE@", "--host", "127.0.0.1", "--port", "$PORT" },
  health_check = { http = "/health", interval = "100ms", timeout = "1s", retries = 2 },
  scale = { policy = "threshold", min = 1, max = 3, interval = "100ms" },
  route = { listen = "127.0.0.1:@PORT@", balance = "round_robin" },
}]]

describe("tidegate simulate", function()
    local sh

    before_each(function()
        sh = shell.new()
    end)

    after_each(function()
        sh:close()
    end)

    local function simulate(arguments)
        return sh:run("$T simulate " .. arguments)
    end

    it("prints policies side by side, the best plan, and the worst intervals with their decisions", function()
        local code, out, err = simulate "threshold threshold:cpu=50,interval=5s --trace spike --warm-up 2h"
        assert.equal("", err)
        assert.equal(0, code)
        assert.matches("POLICY +VIOLATED %% +BAD %% +HOURS +COST +ACTIONS/DAY +FLIPS/DAY", out)
        assert.matches("\nthreshold +%d+%.%d%d +%d+%.%d%d +%d+%.%d +%d%.%d%d", out)
        assert.matches("\nthreshold:cpu=50,interval=5s +%d", out)
        assert.matches("the best plan in hindsight: %d+%.%d instance hours of 22%.0 hours", out)
        assert.matches("threshold, worst:\n  at [%dhms]+ for [%dhms]+, %d+ instance seconds short\n +[%dhms]+: %a", out)
    end)

    it("answers the same for the same seed, in JSON too", function()
        local _, first = simulate "threshold --trace spike --json --seed 7"
        local _, again = simulate "threshold --trace spike --json --seed 7"
        local a, b = cjson.decode(first).runs[1], cjson.decode(again).runs[1]
        a.decide_us, b.decide_us = nil, nil
        assert.same(a, b)
        local _, other = simulate "threshold --trace spike --json --seed 8"
        assert.not_equal(a.oracle_hours, cjson.decode(other).runs[1].oracle_hours)
        assert.is_true(a.instance_hours >= a.oracle_hours and a.violation_percent > 0)
        local worst = a.worst[1]
        local record = worst.records[#worst.records]
        assert.is_true(#worst.records > 1 and record.at_s <= worst.until_s + 65 and record.until_s >= worst.from_s - 65)
        assert.same({ "threshold", "number", "table", "string" },
            { record.policy, type(record.inputs.cpu_percent), type(record.constraints), type(record.reason) })
        local held = false
        for _, one in ipairs(worst.records) do
            held = held or one.held_by == "cooldown" and one.constraints[1].rule == "cooldown" and one.constraints[1].before > one.was
        end
        assert.is_true(held)
    end)

    it("repeats with the values of a parameter", function()
        local code, out = simulate "threshold --trace ramp --sweep cpu=50..70:10 --json"
        assert.equal(0, code)
        local runs = cjson.decode(out).runs
        assert.same({ "threshold:cpu=50", "threshold:cpu=60", "threshold:cpu=70" },
            { runs[1].policy, runs[2].policy, runs[3].policy })
        assert.is_true(runs[1].instance_hours > runs[3].instance_hours)
    end)

    it("takes policies with policies among their parameters, as the configuration has them", function()
        local one = [['max_of:of={{policy="queue",each=90},{policy="threshold",cpu=60}},interval=10s']]
        local code, out, err = simulate(one .. " 'panic:window=4s,of=queue' --trace step --json")
        assert.equal("", err)
        assert.equal(0, code)
        local runs = cjson.decode(out).runs
        assert.equal(one:sub(2, -2), runs[1].policy)
        assert.is_true(runs[1].ups > 0 and runs[2].ups > 0)
        local scheduled = [['schedule:of={policy="queue",each=90},windows={{cron="0 3 * * *",lasting="1h",min=12}}']]
        code, out = simulate(scheduled .. " --trace daily --json")
        assert.equal(0, code)
        assert.is_true(cjson.decode(out).runs[1].instance_hours > 24 + 11) -- twelve for an hour, one at least
        local failed, _, why = simulate [['max_of:of={{policy="qeue"}}' --trace step]]
        assert.equal(1, failed)
        assert.matches('scale.of%[1%].policy: unknown scale policy "qeue": did you mean "queue"', why)
        assert.equal(2, (simulate [['max_of:of' --trace step]]))
    end)

    it("exits 1 unless all conditions hold", function()
        assert.equal(0, (simulate "threshold --trace daily --require 'viol<=50,cost<=9,acts <= 900'"))
        local code, _, err = simulate "threshold --trace daily --require 'viol<=50,cost<=1.0'"
        assert.equal(1, code)
        assert.matches("threshold: cost is %d%.%d+, which is above 1\n", err)
    end)

    it("runs a draft of a file, with its libraries, and tells where it fails", function()
        os.execute(("mkdir -p %s/x/policies/scale %s/x/policies/lib"):format(sh.dir, sh.dir))
        sh:write("x/policies/lib/two.lua", "return 2\n")
        sh:write("x/policies/scale/fixed.lua", 'local two = require "lib.two"\nreturn { name = "fixed", doc = "Two.",\n'
            .. "timing = { interval = '30s', up_cooldown = 0 },\n"
            .. "params = { fail = { type = 'boolean', default = false } },\nnew = function(params)\n"
            .. "return function(s)\nif params.fail then error 'no idea' end\nreturn two, 'always' end end }\n")
        local code, out, err = simulate "x/policies/scale/fixed.lua:saturation=false --trace daily --json --min 1"
        assert.equal("", err)
        assert.equal(0, code)
        local run = cjson.decode(out).runs[1]
        assert.near(47.9, run.instance_hours, 0.2) -- two for a day, from the first answer on
        assert.near(86400 / 30, run.decisions, 2) -- as the policy says of itself
        assert.is_true(run.violation_percent > 50)
        code, out = simulate "x/policies/scale/fixed.lua --trace daily --json --min 1"
        assert.equal(0, code)
        assert.is_true(cjson.decode(out).runs[1].violation_percent < run.violation_percent / 2) -- the guard rail
        code, out = simulate "x/policies/scale/fixed.lua:interval=1m --trace daily --json --min 1"
        assert.equal(0, code)
        assert.near(86400 / 60, cjson.decode(out).runs[1].decisions, 2) -- the service's own word wins
        code, out, err = simulate "x/policies/scale/fixed.lua:fail=true --trace daily"
        assert.equal(1, code)
        assert.matches("fixed.lua:fail=true failed, and its service was held as it was: "
            .. "policies/scale/fixed.lua:7: no idea", err)
        assert.matches("POLICY", out)
    end)

    it("draws what came of it, as a picture or as a page", function()
        sh:write("own.csv", "seconds,requests_per_second\n0,100\n3600,900\n7200,100\n")
        local code, out, err = simulate "threshold threshold:cpu=60 --trace ./own.csv --plot a.svg"
        assert.equal("", err)
        assert.equal(0, code)
        assert.matches("POLICY", out)
        local text = sh:read "a.svg"
        assert.matches("^<svg ", text)
        assert.matches(">Simulated: own.csv</text>", text)
        assert.matches(">threshold:cpu=60</text>", text)
        -- Times that are seconds since 1970 are told as such.
        sh:write("day.csv", "1769850000,100\n1769853600,900\n1769857200,100\n")
        code, out = simulate "threshold --trace ./day.csv --plot c.svg"
        assert.equal(0, code)
        assert.matches("\n  at 0[12]%-%d%d %d%d:%d%d:%d%d for ", out)
        assert.matches(">%d%d:00</text>", (sh:read "c.svg"))
        assert.equal(0, (simulate "threshold --trace flash --plot b.html --json"))
        text = sh:read "b.html"
        assert.matches("^<!doctype html>", text)
        assert.matches("<td>threshold</td><td>%d+%.%d%d</td>", text)
        assert.matches("<dd>%d+:%d%d:%d%d: scale up: ", text)
    end)

    it("replays what a daemon recorded, of one that runs and of one that ran", tidegate.test(function(t)
        t:configure(RECORDED)
        local process = t:start()
        t:wait_up(1)
        t:wait("some recorded load", function()
            local series = t:ask("history", "data", "rate", "--since", "1m", "--step", "1s", "--instance", "").series
            local points = series[1] and series[1].points or {}
            return #points > 2 and points[#points][1] - points[1][1] >= 16000
        end, 60)
        local live = t:cli("simulate", "threshold", "target_tracking", "--service", "data", "--from", "5m")
        assert.equal("", live.err)
        assert.matches("^Simulated: data, [%d-]+ [%d:]+ to [%d-]+ [%d:]+: 1 to 3 instances, each ready 30 s after its start, "
            .. "for 100 requests/s %(assumed: give a capacity%)\n", live.out)
        assert.matches("\ntarget_tracking +0.00", live.out)
        local given = t:cli("simulate", "threshold", "--service", "data", "--trace", "step")
        assert.matches("^Simulated: step: 1 to 3 instances, .* for 100 requests/s %(assumed: ", given.out)
        given = t:cli("simulate", "threshold", "--service", "dat", "--trace", "step")
        assert.same({ 1, "" }, { given.code, given.out })
        assert.matches("nothing was recorded of dat between", given.err)
        local asked = t:cli("repl", "--attach", "-e", 'simulate("target_tracking", "5m")')
        assert.equal("", asked.err)
        assert.matches("^Simulated: data, .*: 1 to 3 instances, .*\ndata as it is %(threshold%) +0.00 .*\ntarget_tracking +0.00 ",
            asked.out)
        t:stop(process)
        asked = t:cli("repl", "-e", 'simulate(nil, "5m").runs[1].policy')
        assert.same({ '"data as it is (threshold)"\n', "" }, { asked.out, asked.err })
        local after = t:cli("simulate", "threshold", "--service", "data", "--capacity", "20", "--plot", t.dir .. "/x.html")
        assert.equal("", after.err)
        assert.matches(": 1 to 40 instances, .* for 20 requests/s %(as given%)\n", after.out)
        assert.matches(">Simulated: data, [%d-]+ [%d:]+ to ", tidegate.read_file(t.dir .. "/x.html"))
        local figures = t:cli("simulate", "threshold", "--service", "data", "--cluster", t.id, "--json")
        figures = cjson.decode(figures.out)
        assert.is_true(figures.runs[1].hours > 0.001)
        assert.same({ 1, 40, 100, 0 }, { figures.options.min, figures.options.max, figures.options.capacity,
            figures.options.noise })
        local none = t:cli("simulate", "threshold", "--service", "other", "--from", "1h")
        assert.equal(1, none.code)
        assert.matches("nothing was recorded of other between", none.err)
    end))

    it("says what is wrong and what to do", function()
        sh:write("bad.csv", "0,1\nx\n")
        for _, case in ipairs {
            { "threshold", 2, "no trace: give %-%-trace FILE.csv" },
            { "threshold --trace weekly", 1, 'no trace "weekly": give a file, or one of step, ramp, spike, daily, flash' },
            { "threshold --trace bad.csv", 1, "bad.csv:2: no row of two numbers" },
            { "threshold --trace none.csv", 1, "none.csv: No such file or directory" },
            { "treshold --trace daily", 1,
                '^tidegate: no policy to simulate: scale.policy: unknown scale policy "treshold": did you mean "threshold"%?\n$' },
            { "threshold:cpu --trace daily", 2, "write name:key=value,key=value" },
            { "threshold:cups=1 --trace daily", 1, 'the policy "threshold" takes cpu, memory' },
            { "threshold --trace daily --sweep cpu", 2, "write parameter=from..to" },
            { "threshold --trace daily --capacity no", 2, '%-%-capacity: "no" is no number from 0.01 to' },
            { "threshold --trace daily --slo 10ms", 2, "give a longer %-%-slo" },
            { "threshold --trace daily --min 5 --max 4", 2, "%-%-min is more than %-%-max" },
            { "threshold --trace daily --warm-up 2d", 1, "the trace ends before the warm%-up does" },
            { "threshold --trace daily --require vile<=1", 2, "viol, bad, cost, hours, acts or flips" },
            { "threshold --trace daily --require viol", 2, '"viol": write viol' },
            { "threshold --trace daily --require ''", 2, "write viol, bad" },
            { "threshold --trace daily --require viol<=1,", 2, '"": write viol' },
            { "threshold --trace daily --require viol=1", 2, '"viol=1": write viol' },
            { "threshold --trace daily --sweep cpu=90..50", 2, "write parameter=from..to" },
            { "threshold --trace daily --sweep cpu=1..2:0", 2, "write parameter=from..to" },
            { "threshold --trace daily --sweep cups=1..2:1", 1, 'the policy "threshold" takes cpu, memory' },
            { "threshold --from 1h", 2, "add %-%-service NAME" },
            { "threshold --service shop --days 2", 2, "%-%-from and %-%-to say which part" },
            { "threshold --service shop --from noon", 2, '%-%-from: "noon" is no time: write 6h' },
            { "threshold --service shop --from 1h --to x", 2, '"x" is no time' },
            { "threshold --service shop --state-dir none", 1, "no history is kept below none" },
            { "threshold --trace daily --plot x.png", 2, "give the file a name that ends in .svg or .html" },
            { "threshold --trace daily --plot no/x.svg", 1, "%-%-plot: no/x.svg: " },
        } do
            local code, out, err = simulate((case[1]:gsub("<=", "\\<=")))
            assert.equal(case[2], code, case[1])
            assert.equal("", code == 2 and out or "", case[1]) -- wrong use is told before anything runs
            assert.matches(case[3], err)
        end
    end)
end)
