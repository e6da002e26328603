local World = require "fleet_world"

describe("fleet drain", function()
    local w

    before_each(function()
        w = World.new { services = { World.service("shop", { scale = { min = 1 } }) } }
        w:settled("shop", 1)
        w:operate("scale", "shop", 2)
        w:settled("shop", 2)
    end)

    after_each(function()
        w:close()
    end)

    it("waits until nothing is in flight, then stops and removes", function()
        local slot = (w:backends "shop")["shop-2"].slot
        w:in_flight(slot, 3)
        w:in_flight((w:backends "shop")["shop-1"].slot, 9) -- the other one is busier
        w:operate("scale", "shop", 1)
        w:run(3000)
        local b = (w:backends "shop")["shop-2"]
        assert.is_true(b.draining)
        assert.equal("", w:log())
        assert.equal(1, w:service_status("shop").draining)
        w:in_flight(slot, 0)
        w:until_(function() return #w:containers() == 1 end, 2000)
        assert.is_nil((w:backends "shop")["shop-2"])
        assert.equal("stop c3\nremove c3\n", w:log())
    end)

    it("waits until all workers know that it drains", function()
        w:set { acks = false }
        w:operate("scale", "shop", 1)
        w:run(2000)
        assert.equal("", w:log())
        w:set { acks = true }
        w:until_(function() return #w:containers() == 1 end, 2000)
    end)

    it("stops it when the drain takes too long", function()
        local slot = (w:backends "shop")["shop-2"].slot
        w:in_flight(slot, 3)
        w:in_flight((w:backends "shop")["shop-1"].slot, 9)
        w:operate("scale", "shop", 1)
        local took = w:until_(function() return #w:containers() == 1 end, 10000)
        assert.is_true(took >= 5000, took)
        assert.matches("scaled down; drain time%-out with 3 in flight", w:facts())
    end)

    it("takes the least loaded first, the newest among equals", function()
        w:in_flight((w:backends "shop")["shop-2"].slot, 5)
        w:operate("scale", "shop", 1)
        w:until_(function() return #w:containers() == 1 end, 10000)
        assert.is_not_nil((w:backends "shop")["shop-2"])
        w:in_flight((w:backends "shop")["shop-2"].slot, 0)
        w:operate("scale", "shop", 2)
        w:settled("shop", 2)
        w:operate("scale", "shop", 1)
        w:settled("shop", 1)
        assert.is_not_nil((w:backends "shop")["shop-2"])
    end)

    it("takes unhealthy ones before healthy ones", function()
        w:sick("tg-t-shop-1", true)
        w:until_(function() return w:up "shop" == 1 end, 10000)
        w:operate("scale", "shop", 1)
        w:run(1000)
        assert.equal("2:1:ok:true", w:shape "shop")
    end)

    it("gives a row of the board out again only when no worker can touch it", function()
        local slot = (w:backends "shop")["shop-2"].slot
        w:in_flight(slot, 1)
        w:in_flight((w:backends "shop")["shop-1"].slot, 9)
        w:operate("scale", "shop", 1)
        w:until_(function() return #w:containers() == 1 end, 10000) -- by its time-out
        w:operate("scale", "shop", 2)
        w:settled("shop", 2)
        assert.are_not.equal(slot, (w:backends "shop")["shop-3"].slot)
        w:in_flight(slot, 0)
        w:operate("scale", "shop", 3)
        w:settled("shop", 3)
        assert.equal(slot, (w:backends "shop")["shop-4"].slot)
    end)

    it("does not give a row out before all workers have a roster without its owner", function()
        local slot = (w:backends "shop")["shop-2"].slot
        w:run(500)
        w:set { acks = false }
        w:die("tg-t-shop-2", 1)
        w:until_(function() return w:up "shop" == 2 end, 10000)
        assert.are_not.equal(slot, (w:backends "shop")["shop-3"].slot)
    end)

    it("keeps a backend out of traffic by hand, and gives it back", function()
        assert.same({ "shop-1" }, w:operate("drain", "shop-1").backends)
        assert.is_true((w:backends "shop")["shop-1"].draining)
        w:run(20000)
        assert.equal("", w:log())
        assert.is_true(w:instances("shop")["shop-1"].drained)
        local address = (w:backends "shop")["shop-1"].address
        assert.same({ "shop-1" }, w:operate("undrain", address).backends)
        assert.is_false((w:backends "shop")["shop-1"].draining)
        local answer = w:operate("drain", "nobody")
        assert.is_false(answer.ok)
        assert.matches("no such backend: nobody: ", answer.error)
    end)
end)

describe("fleet operators", function()
    local w

    before_each(function()
        w = World.new { services = { World.service "shop", World.service "cart",
            World.static("legacy", { { address = "10.0.0.5:9000" } }) } }
        w:settled("shop", 2)
        w:settled("cart", 2)
    end)

    after_each(function()
        w:close()
    end)

    it("restart an instance: the new one first, then the old one goes", function()
        w:operate("restart", "shop-1")
        local least = 2
        w:until_(function()
            local ready = 0
            for _, b in pairs((w:backends "shop")) do
                ready = ready + (b.draining and 0 or 1)
            end
            least = math.min(least, ready)
            return not w:instances("shop")["shop-1"]
        end, 10000)
        assert.equal(2, least)
        assert.equal("1:1:ok:true 2:1:ok:true", w:shape "shop")
        assert.is_false(w:operate("restart", "shop-1").ok)
        assert.is_false(w:operate("restart", "legacy@10.0.0.5:9000").ok)
    end)

    it("stop a service until it is deployed again", function()
        assert.is_true(w:operate("stop", "shop").ok)
        w:until_(function() return #w:containers() == 2 end, 10000)
        w:run(60000)
        assert.same({ 0, true }, { w:up "shop", w:service_status("shop").stopped })
        assert.equal(2, #w:containers())
        w:operate("deploy", "shop")
        w:settled("shop", 2)
    end)

    it("stop all of ours, and know when it is done", function()
        w:operate "stop_all"
        assert.is_false(w:operate "idle")
        w:until_(function() return w:operate "idle" end, 10000)
        assert.equal(0, #w:containers())
    end)

    it("get a sentence for what cannot be", function()
        for _, case in ipairs {
            { "scale", "nix", "no such service: nix: services are shop, cart, legacy" },
            { "scale", "shop", "shop: 9 is outside of min 2 and max 5: change them in the configuration and reload" },
            { "scale", "legacy", "legacy has backends of its own: they are not ours to start or stop" },
            { "deploy", "legacy", "legacy has backends of its own: they are not ours to start or stop" },
            { "restart", "nix", "no such instance: nix: give the id of one that `status` lists" },
        } do
            local answer = w:operate(case[1], case[2], 9)
            assert.same({ false, case[3] }, { answer.ok, answer.error })
        end
        assert.is_nil(w:status "nix")
        assert.is_nil(w:deploy_state "nix")
    end)
end)
