local World = require "alerts_world"
local rule = World.rule

local WHEN = { metric_path = "n", threshold = 10 }

describe("silences", function()
    local w

    before_each(function()
        w = World.new({ rule("High", { when = WHEN, scope = "instance", labels = { team = "data" } }) }, { group_by = {} })
    end)

    local function high(...)
        local list = {}
        for _, name in ipairs { ... } do
            list[name] = { n = 11 }
        end
        w:shop { instances = list }
    end

    it("keep from being told what they match, for their time", function()
        local made = w:silence({ "service=shop", "instance=~a.*" }, 60000)
        assert.is_true(made.ok)
        assert.equal("2026-01-01T00:01:00.000Z", made.ends)
        high("a1", "b1")
        assert.same({ "firing: High b1 firing" }, w:heard())
        assert.equal(made.id, w:alert("High", "a1").silenced)
        assert.is_nil(w:alert("High", "b1").silenced)
        local list = w:ask("silences").silences
        assert.equal(1, #list)
        assert.same({ "ann", "known", 60, 1 }, { list[1].author, list[1].comment, list[1].ends_in_s, list[1].matches })
        assert.same({ "service=shop", "instance=~a.*" }, list[1].matchers)
        w:run(59900)
        assert.same({}, w:told())
        w:run(200)
        assert.same({ "firing: High a1 firing, High b1 firing" }, w:heard())
        assert.same({}, w:ask("silences").silences)
        assert.is_nil(w:documents()["silence " .. made.id])
    end)

    it("match by four operators, whole values, absent labels as empty", function()
        local cases = {
            ["team=data"] = true, ["team=dat"] = false, ["team!=data"] = false, ["team!=web"] = true,
            ["team=~da|web"] = false, ["team=~da.*|web"] = true, ["team!~da.*"] = false, ["team!~web"] = true,
            ['team="data"'] = true, ["alertname=High"] = true, ["severity=~warn.*"] = true,
        }
        high "a"
        for text, expected in pairs(cases) do
            local made = w:silence { text, "service=shop" }
            assert.is_true(made.ok, text)
            assert.equal(expected and 1 or 0, made.matches, text)
            assert.is_true(w:ask("unsilence", made.id).ok)
        end
        assert.equal(1, w:silence { "absent!=x", "service=shop" }.matches)
    end)

    it("that are wrong are refused with what to do", function()
        for text, why in pairs {
            ["service"] = 'chooses nothing: write service=shop', ["=x"] = "chooses nothing", ["1a=x"] = "chooses nothing",
            ["service!shop"] = "chooses nothing", ["service=~("] = "regular expression is wrong",
            ["service=~((a{1,255}){1,255}){1,255}"] = "regular expression is wrong",
            ["service=~.*"] = "would silence everything", ["nothing!=x"] = "would silence everything",
            ["service=" .. ("x"):rep(400)] = "at most 300 bytes",
        } do
            local answer = w:silence { text }
            assert.is_false(answer.ok, text)
            assert.matches(why, answer.error, 1, true)
        end
        assert.matches("1 to 32 matchers", w:silence({}).error)
        assert.matches("lasts from", w:silence({ "a=b" }, 0).error)
        assert.matches("no such silence", w:ask("unsilence", "nope").error)
        assert.same({}, w:ask("silences").silences)
    end)

    it("tell the end of what was told before they came", function()
        high "a"
        w:told()
        w:silence({ "service=shop" }, 86400000)
        w:go(14400000 + 5000)
        assert.same({}, w:told()) -- not even again
        w:shop { instances = { a = { n = 1 } } }
        assert.same({ "resolved: High a resolved" }, w:heard())
    end)
end)

describe("inhibition", function()
    it("hides what a shipped alert explains: a dead instance its own warnings", function()
        local w = World.new {
            rule("InstanceDown", { scope = "instance", severity = "critical", when = { metric_path = "down", threshold = 0 } }),
            rule("High", { scope = "instance", when = WHEN }),
        }
        w:shop { instances = { a = { down = 1, n = 11 }, b = { down = 0, n = 11 } } }
        local heard = w:heard()
        table.sort(heard)
        assert.same({ "firing: High b firing", "firing: InstanceDown a firing" }, heard)
        assert.equal("InstanceDown", w:alert("High", "a").inhibited)
        w:shop { instances = { a = { down = 0, n = 11 }, b = { down = 0, n = 11 } } }
        heard = w:heard()
        table.sort(heard)
        assert.same({ "firing: High a firing, High b firing", "resolved: InstanceDown a resolved" }, heard)
    end)

    it("hides under NoHealthyBackend its service's symptoms, not those of others", function()
        local function named(name, over)
            return rule(name, require("pl.tablex").merge({ when = WHEN }, over or {}, true))
        end
        local w = World.new { named("HighLatency"), named("HighErrorRate", { severity = "critical" }), named("CircuitOpen"),
            named("InstanceDown", { scope = "instance", severity = "critical" }), named("Own"),
            named("NoHealthyBackend", { when = { metric_path = "none", threshold = 0 }, severity = "critical" }) }
        w:evaluate { services = { shop = { n = 11, none = 1, instances = { a = { n = 11 } } }, cart = { n = 11, none = 0 } } }
        local heard = w:heard()
        table.sort(heard)
        assert.same({ "firing: CircuitOpen cart firing", "firing: HighErrorRate cart firing", "firing: HighLatency cart firing",
            "firing: NoHealthyBackend shop firing", "firing: Own cart firing", "firing: Own shop firing" }, heard)
    end)

    it("is what the configuration says, too, and two alike do not hide each other", function()
        local w = World.new({ rule("A", { when = WHEN, severity = "critical" }), rule("B", { when = WHEN }) }, { inhibit = {
            { source = { severity = "critical" }, target = { severity = "warning" }, equal = { "service" } },
            { source = { service = "shop" }, target = { service = "shop" }, equal = {} },
        } })
        w:shop { n = 11 }
        assert.same({ "firing: A shop firing" }, w:heard())
        assert.same({ "critical", 1 }, { w:alert("B").inhibited and "critical", w:count "firing" })
    end)

    it("hides until its reason is over, also what was told", function()
        local w = World.new({ rule("A", { when = { metric_path = "m", threshold = 0 }, severity = "critical" }), rule("B", { when = WHEN }) },
            { repeat_interval_ms = 60000, inhibit = { { source = { alertname = "A" }, target = { alertname = "B" }, equal = {} } } })
        w:shop { n = 11, m = 0 }
        w:shop { n = 11, m = 1 }
        assert.same({ "firing: B shop firing", "firing: A shop firing" }, w:heard())
        w:go(90000)
        assert.same({ "repeat: A shop firing" }, w:heard())
        w:shop { n = 1, m = 1 }
        assert.same({ "resolved: B shop resolved" }, w:heard())
    end)
end)

describe("maintenance", function()
    local function world(over, alerting)
        over = over or {}
        over.when = over.when or WHEN
        return World.new({ rule("High", over) }, alerting)
    end

    it("holds alerts of a service until own work on it is over, and a little longer", function()
        local w = world { scope = "instance" }
        w:evaluate({ services = { shop = { instances = { a = { n = 11 } } } } }, nil, { "shop" })
        w:go(120000, { "shop" })
        local one = w:alert "High"
        assert.same({ "pending", true, "held: shop is under maintenance" }, { one.state, one.maintenance, one.next })
        w:go(25000, {})
        assert.equal("pending", w:state "High")
        w:go(10000, {})
        assert.equal("firing", w:state "High")
    end)

    it("forgets what was over before it was", function()
        local w = world()
        w:evaluate({ services = { shop = { n = 11 } } }, nil, { "shop" })
        w:go(20000, { "shop" })
        w:shop({ n = 1 }, nil, { "shop" })
        w:go(60000, {})
        assert.same({}, w:told())
        assert.equal("inactive", w:state "High")
    end)

    it("holds nothing of other services, of tidegate, or when it is off", function()
        local rules = { rule("High", { when = WHEN }), rule("Own", { when = WHEN, scope = "tidegate" }) }
        local views = { services = { shop = { n = 11 }, cart = { n = 11 } }, tidegate = { n = 11 } }
        local w = World.new(rules)
        w:evaluate(views, nil, { "shop" })
        assert.same({ 2, 1 }, { w:count "firing", w:count "pending" })
        w = World.new(rules, { maintenance = false })
        w:evaluate(views, nil, { "shop" })
        assert.equal(3, w:count "firing")
    end)

    it("does not hide for ever behind work that is stuck: ten minutes, two for what is critical", function()
        for severity, ms in pairs { warning = 600000, critical = 120000 } do
            local w = world { severity = severity, duration_ms = 30000 }
            w:evaluate({ services = { shop = { n = 11 } } }, nil, { "shop" })
            w:go(30000 + ms - 5000, { "shop" })
            assert.equal("pending", w:state "High")
            w:go(5000, { "shop" })
            assert.equal("firing", w:state "High")
        end
    end)

    it("leaves firing what fired before", function()
        local w = world()
        w:shop { n = 11 }
        w:go(60000, { "shop" })
        assert.equal("firing", w:state "High")
    end)
end)

describe("shadow rules", function()
    local function rules(shadow)
        return {
            rule("InstanceDown", { scope = "instance", severity = "critical", when = { metric_path = "down", threshold = 0 },
                shadow = shadow, escalate = { after_ms = 1000, channels = { "boss" } } }),
            rule("High", { scope = "instance", when = WHEN }),
        }
    end

    it("are shown and noted, told to nobody, and hide no other", function()
        local w = World.new(rules(true))
        w:shop { instances = { a = { down = 1, n = 11 } } }
        assert.same({ "firing: High a firing" }, w:heard())
        local one = w:alert("InstanceDown", "a")
        assert.same({ "firing", true, false, "" }, { one.state, one.shadow, one.told, one.next })
        assert.is_nil(w:alert("High", "a").inhibited)
        assert.is_nil(w:alert("High", "a").shadow)
        local facts = w:facts()
        assert.matches("shadow alert firing|InstanceDown|", facts, 1, true)
        assert.matches("\nalert firing|High|", facts, 1, true)
        w:run(60000)
        w:shop { instances = { a = { down = 0, n = 11 } } }
        assert.same({}, w:heard())
        assert.matches("shadow alert resolved", w:facts())
        assert.equal("inactive", w:state("InstanceDown", "a"))
    end)

    it("are told once they are none any more, and ended to who heard of them when they become one", function()
        local w = World.new(rules(true))
        w:shop { instances = { a = { down = 1 } } }
        assert.same({}, w:heard())
        w:apply(rules())
        w:shop { instances = { a = { down = 1 } } }
        assert.same({ "firing: InstanceDown a firing" }, w:heard())
        w:apply(rules(true))
        w:shop { instances = { a = { down = 0 } } }
        assert.same({ "resolved: InstanceDown a resolved" }, w:heard())
    end)
end)
