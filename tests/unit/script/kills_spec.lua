-- Code that does not end by itself, in every host that runs operators' code, with the JIT and without: it is
-- stopped within its CPU time, the sentence says where, and the state goes on as if nothing had been.
local attacks = require "attacks"
local hosts = require "hosts"
local C = require("ffi_room").load "base/log.h"

setup(function()
    C.log_open("unit", nil, C.LOG_ERROR, false) -- what they print is no news
end)

teardown(function()
    C.log_open("unit", nil, C.LOG_INFO, false)
end)

local MOST_S = 1 -- of CPU, where the budget is 0.05 at most: a busy machine counts ticks late

for _, host in ipairs(hosts) do
    describe("a runaway in " .. host.name, function()
        local it_

        after_each(function()
            if it_ then
                it_:close()
                it_ = nil
            end
        end)

        for _, attack in ipairs(attacks.runaways) do
            local name, body, otherwise = unpack(attack)
            it("is stopped: " .. name, function()
                it_ = assert(host.open(body))
                assert.is_true(it_:healthy())
                for _ = 1, host.jit and 2 or 1 do
                    local began = os.clock()
                    local text, why = it_:run()
                    assert.is_true(os.clock() - began < MOST_S, os.clock() - began)
                    assert.is_nil(text)
                    local stopped = why:find("ran longer than " .. host.budget_ms .. " ms of CPU time", 1, true)
                    assert.is_truthy(stopped or otherwise and why:find(otherwise), why)
                    if stopped then
                        assert.truthy(why:find("^" .. host.place), why)
                    end
                    assert.is_true(it_:healthy())
                end
            end)
        end

        for _, attack in ipairs(attacks.refused) do
            local name, body, sentence = unpack(attack)
            it("is refused: " .. name, function()
                it_ = assert(host.open(body))
                local text, why = it_:run()
                assert.is_nil(text)
                assert.truthy(why:find("^" .. host.place) and why:find(sentence, 1, true), why)
                assert.is_true(it_:healthy())
            end)
        end
    end)
end
