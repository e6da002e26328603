-- policies/scale/busy.lua: as many instances as the requests in flight keep busy.
--
-- Looks at:  s.in_flight (requests in flight on all instances), s.instances, s.min, s.max
-- Answers:   how many instances there should be, and why
-- Example:   40 in flight on 2 instances with per = 8  ->  5
--
-- Up at once to what the load needs; down one at a time, and only when one instance less would
-- still have a quarter of its places free, so that it does not swing around the border.
return {
  name = "busy",
  doc = "Keeps `per` requests in flight on each instance.",
  params = {
    per = { type = "number", default = 8, min = 1, doc = "requests in flight that keep an instance busy" },
  },

  new = function(params)
    local per = params.per

    return function(s) ---@param s tidegate.ServiceView
      local need = math.ceil(s.in_flight / per)
      if need > s.instances then
        return math.min(need, s.max), ("busy: %d in flight, %d each"):format(s.in_flight, per)
      end
      if s.instances > s.min and s.in_flight < 0.75 * per * (s.instances - 1) then
        return s.instances - 1, ("quiet: %d in flight, %d each"):format(s.in_flight, per)
      end
      return s.instances, ("steady: %d in flight, %d each"):format(s.in_flight, per)
    end
  end,

  examples = {
    { params = { per = 8 }, given = { in_flight = 40, instances = 2, min = 2, max = 6 }, want = 5 },
    { params = { per = 8 }, given = { in_flight = 90, instances = 4, min = 2, max = 6 }, want = 6 },
    { params = { per = 8 }, given = { in_flight = 20, instances = 3, min = 2, max = 6 }, want = 3 },
    { params = { per = 8 }, given = { in_flight = 10, instances = 3, min = 2, max = 6 }, want = 2 },
    { params = { per = 8 }, given = { in_flight = 0, instances = 2, min = 2, max = 6 }, want = 2 },
  },
}
