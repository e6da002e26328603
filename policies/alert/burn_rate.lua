-- burn_rate.lua: fires when errors use up the month's error budget too fast, in a long and a short window.
--
-- Sees     traffic.rate (requests/s), traffic.error_rate (0..1), now (s)
-- Answers  whether both windows burn faster than `factor`; the short one's rate; a sentence
-- Params   objective  share of the requests that must succeed     0.999
--          factor     budget burnt, 1 = used up just in 30 days    14.4
--          long       window that says it matters                  1h
--          short      window that says it still goes on            5m
-- Example  two in a hundred fail against 0.999: burns twenty times too fast
-- Source   Google SRE Workbook, chapter 5, "Multiwindow, Multi-Burn-Rate Alerts". The windows are decayed
--          means weighted by requests, with the window as time constant: no ring of samples is kept.
local function window(seconds)
    local bad, all, last = 0, 0, nil
    return function(now, rate, error_rate)
        local step = last and now - last or 0
        local keep = last and math.exp(-step / seconds) or 0
        bad, all = bad * keep + rate * error_rate * (1 - keep), all * keep + rate * (1 - keep)
        last = now
        return all > 0 and bad / all or 0
    end
end

return {
    name = "burn_rate",
    doc = "Fires when errors use up the error budget too fast, in a long and a short window.",
    params = {
        objective = { type = "number", default = 0.999, min = 0.5, max = 0.999999,
            doc = "share of the requests that must succeed" },
        factor = { type = "number", default = 14.4, min = 0.01,
            doc = "budget burnt; 1 = used up in 30 days" },
        long = { type = "duration", default = "1h", min = 1, doc = "window that says it matters" },
        short = { type = "duration", default = "5m", min = 1, doc = "window that says it still goes on" },
    },
    new = function(params)
        local of = {} -- windows by service
        ---@type tidegate.Alert
        return function(m)
            local t, budget = m.traffic, 1 - params.objective
            if not (t.rate >= 0 and t.error_rate >= 0) then
                return nil -- nothing is known of the traffic
            end
            local windows = of[m.service] or { long = window(params.long), short = window(params.short) }
            of[m.service] = windows
            local long = windows.long(m.now, t.rate, t.error_rate) / budget
            local short = windows.short(m.now, t.rate, t.error_rate) / budget
            return long > params.factor and short > params.factor, short,
                ("the error budget burns %.1f times too fast"):format(short)
        end
    end,
    examples = {
        { given = { service = "x", now = 0, traffic = { rate = 10, error_rate = 0.02 } }, want = true },
        { given = { service = "x", now = 0, traffic = { rate = 10, error_rate = 0.01 } }, want = false },
        { params = { factor = 1 },
            given = { service = "x", now = 0, traffic = { rate = 10, error_rate = 0.01 } }, want = true },
        { given = { service = "x", now = 0, traffic = { rate = 0, error_rate = 0 } }, want = false },
        { given = { service = "x", now = 0 }, want = nil },
    },
}
