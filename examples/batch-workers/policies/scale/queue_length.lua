-- queue_length.lua: a worker for every `per` jobs that wait, by what the workers tell of their queue.
--
-- Sees     metrics.data_processing.queue_depth (of all workers together), instances
-- Answers  ceil(jobs that wait / per), one at least while there are any
-- Params   per (100)
-- Example  250 jobs that wait at 100 each -> 3
return {
    name = "queue_length",
    doc = "Keeps a worker for every `per` jobs that wait.",
    params = {
        per = { type = "number", default = 100, min = 1, doc = "jobs that wait for each worker" },
    },
    new = function(params)
        ---@type tidegate.Scale
        return function(s)
            local waits = s.metrics.data_processing.queue_depth
            if waits ~= waits then -- NaN: no worker has told yet
                return nil, "the length of the queue is not known"
            end
            return math.ceil(waits / params.per), ("%d jobs wait, %d for each"):format(waits, params.per)
        end
    end,
    examples = {
        { params = { per = 100 }, given = { instances = 1, metrics = { service = "w",
            data_processing = { queue_depth = 250 } } }, want = 3 },
        { given = { instances = 3, metrics = { service = "w",
            data_processing = { queue_depth = 0 } } }, want = 0 },
        { given = { instances = 3 }, want = nil },
    },
}
