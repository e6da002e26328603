local World = require "alerts_world"
local rule = World.rule

describe("alert rules", function()
    local function fires(when, view, over)
        local w = World.new { rule("R", require("pl.tablex").merge({ when = when }, over or {}, true)) }
        w:shop(view)
        return w:state "R" == "firing"
    end

    it("compare with six operators", function()
        local expected = {
            [">"] = { false, false, true }, ["<"] = { true, false, false }, [">="] = { false, true, true },
            ["<="] = { true, true, false }, ["=="] = { false, true, false }, ["!="] = { true, false, true },
        }
        for operator, list in pairs(expected) do
            for i, value in ipairs { 1, 2, 3 } do
                assert.equal(list[i], fires({ metric_path = "traffic.rate", operator = operator, threshold = 2 },
                    { traffic = { rate = value } }), operator .. " " .. value)
            end
        end
    end)

    it("follow a path, also where names have dots, braces or quotes", function()
        local name = [[http_seconds{quantile="0.99",path="/a.b"}]]
        assert.is_true(fires({ metric_path = "prometheus." .. name, threshold = 1 }, { prometheus = { [name] = 2 } }))
        assert.is_true(fires({ metric_path = "performance.own.deep.x", threshold = 1 },
            { performance = { own = { deep = { x = 2 } } } }))
        assert.is_true(fires({ metric_path = "top", threshold = 1 }, { top = 2 }))
        assert.is_true(fires({ metric_path = "health.ready", operator = "<", threshold = 1 }, { health = { ready = false } }))
        assert.is_false(fires({ metric_path = "performance.own", threshold = 1 }, { performance = { own = { x = 2 } } }))
        assert.is_false(fires({ metric_path = "performance.own.x", threshold = 1 }, { performance = { own = "2" } }))
    end)

    it("look at services, instances or tidegate itself", function()
        local when = { metric_path = "n", threshold = 0 }
        local w = World.new {
            rule("S", { when = when }), rule("I", { when = when, scope = "instance" }),
            rule("T", { when = when, scope = "tidegate" }), rule("Only", { when = when, services = { "cart" } }),
        }
        w:evaluate { services = {
            shop = { n = 1, instances = { ["shop-1"] = { n = 1 }, ["shop-2"] = { n = 0 } } }, cart = { n = 1 },
        }, tidegate = { n = 1 } }
        local seen = {}
        for _, one in ipairs(w:ask("status").alerts) do
            seen[#seen + 1] = ("%s %s %s"):format(one.name, one.service or "-", one.instance or "-")
        end
        table.sort(seen)
        assert.same({ "I shop shop-1", "Only cart -", "S cart -", "S shop -", "T - -" }, seen)
    end)

    it("take outcomes of functions and policies, and keep the state without one or at an error", function()
        local w = World.new { rule("F", { when = { operator = nil, ["function"] = "x.lua:3" }, scope = "instance" }),
            rule("M", { when = { metric_path = "n", threshold = 0 } }) }
        local view = { n = 1, instances = { ["shop-1"] = { n = 1 } } }
        w:shop(view, { rules = { F = { ["shop/shop-1"] = { firing = true, value = 7, message = "seven of them" } } } })
        local one = w:alert "F"
        assert.same({ "firing", 7, "seven of them" }, { one.state, one.value, one.message })
        w:run(5000)
        w:shop(view)
        assert.equal("firing", w:state "F")
        w:shop(view, { rules = { F = { ["shop/shop-1"] = { error = "x.lua:3: boom" } } } })
        assert.equal("firing", w:state "F")
        assert.equal(1, w:policy_errors())
        assert.equal("firing", w:state "M")
        w:shop(view, { rules = { F = { ["shop/shop-1"] = { firing = false } } } })
        assert.equal("inactive", w:state "F")
        w:shop(view, { rules = { F = { ["shop/shop-1"] = { error = "again" } }, M = { shop = { firing = false } } } })
        assert.equal("inactive", w:state "F")
        assert.equal("firing", w:state "M") -- not the policy process's to say
    end)

    it("say what a missing number means: keep, ok, alert", function()
        local when = { metric_path = "n", threshold = 0 }
        local w = World.new {
            rule("Keep", { when = when }), rule("Ok", { when = when, missing = "ok" }),
            rule("Alert", { when = when, missing = "alert" }),
        }
        w:shop {}
        assert.same({ "inactive", "inactive", "firing" }, { w:state "Keep", w:state "Ok", w:state "Alert" })
        w:shop { n = 1 }
        assert.same({ "firing", "firing", "firing" }, { w:state "Keep", w:state "Ok", w:state "Alert" })
        w:shop {}
        assert.same({ "firing", "inactive", "firing" }, { w:state "Keep", w:state "Ok", w:state "Alert" })
    end)

    it("say it of functions, too", function()
        local fn = { operator = nil, ["function"] = "x.lua:3" }
        local w = World.new {
            rule("Keep", { when = fn }), rule("Ok", { when = fn, missing = "ok" }), rule("Alert", { when = fn, missing = "alert" }),
        }
        local function all(answer)
            w:shop({}, { rules = { Keep = { shop = answer }, Ok = { shop = answer }, Alert = { shop = answer } } })
            return { w:state "Keep", w:state "Ok", w:state "Alert" }
        end
        assert.same({ "inactive", "inactive", "firing" }, all { missing = true })
        assert.same({ "firing", "firing", "firing" }, all { firing = true })
        assert.same({ "firing", "inactive", "firing" }, all { missing = true })
    end)

    it("fill in messages in human numbers", function()
        local function message(text, path, value, over)
            local w = World.new { rule("Rule", require("pl.tablex").merge({ message = text, scope = "instance",
                labels = { team = "data" }, when = { metric_path = path, threshold = 0.05 } }, over or {}, true)) }
            local view = { [path:match "^%w+"] = { [path:match "%.(.*)"] = value } }
            w:shop { instances = { ["shop-1"] = view } }
            return w:alert("Rule").message
        end
        assert.equal("Rule shop-1 of shop: data, warning", message("{{name}} {{instance}} of {{service}}: {{labels.team}}, {{ severity }}", "t.x", 1))
        assert.equal("5.34 % > 5 %", message("{{value}} > {{threshold}}", "traffic.error_rate", 0.05339))
        assert.equal("100 %", message("{{value}}", "traffic.error_rate", 1))
        assert.equal("1.5 GB", message("{{value}}", "resources.memory_bytes", 1.5 * 2 ^ 30))
        assert.equal("91.2", message("{{value}}", "resources.cpu_usage", 91.23456))
        assert.equal("1234", message("{{value}}", "t.x", 1234))
        assert.equal("1235", message("{{value}}", "t.x", 1234.5678))
        assert.equal("0.0812", message("{{value}}", "t.x", 0.08123))
        assert.equal("0s {{unknown}} {{", message("{{duration}} {{unknown}} {{", "t.x", 1))
        assert.equal("Rule: shop-1 of shop: 1", message("", "t.x", 1))
        assert.equal(2000, #message(("x"):rep(3000), "t.x", 1))
    end)

    it("cost what views and rules cost, and remember nothing of what does not hold", function()
        local rules, instances = {}, {}
        for i = 1, 200 do
            rules[i] = rule("R" .. i, { scope = "instance", when = { metric_path = "prometheus.m" .. i, threshold = 1 } })
        end
        for i = 1, 20 do
            local m = {}
            for k = 1, 200 do
                m["m" .. k] = 1
            end
            instances["shop-" .. i] = { prometheus = m }
        end
        local w = World.new(rules)
        local views = { services = { shop = { instances = instances } } }
        w:evaluate(views)
        w:cost_us(views, 1)
        collectgarbage()
        local before = World.blocks()
        w:cost_us(views, 50)
        assert.equal(before, World.blocks())
        assert.equal(0, w:batches() - 0)
        assert.same({}, w:ask("status").alerts)
    end)
end)
