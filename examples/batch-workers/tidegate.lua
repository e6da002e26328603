-- Batch workers, scaled on the length of their queue: as many as work it off.
-- Build the service first:  cc -O2 -static -pthread -o ../quickstart/service ../quickstart/*.c
-- Then, in this folder:     tidegate run

cluster { id = "batch", engine = "process", sample_interval = "500ms" }

service "workers" {
  -- One job at a time; what else comes waits in the worker, which tells how much at /data.
  command      = { "../quickstart/service", "--host", "127.0.0.1", "--port", "$PORT", "--threads", "1" },
  health_check = { http = "/health", interval = "1s", timeout = "1s", retries = 2, start_period = "5s" },
  collect      = { data = "/data", interval = "500ms" },

  -- policies/scale/queue_length.lua. In earnest: interval = "15s", down_cooldown = "5m".
  scale = { policy = "queue_length", per = 10, min = 1, max = 4,
            interval = "500ms", up_cooldown = "1s", down_cooldown = "1s" },

  -- A worker that is being removed finishes what it has.
  drain_timeout = "5m",
  route = { listen = "127.0.0.1:8080", balance = "least_connections", max_retries = 0,
            backend_timeout = "10m" },
}

alert "QueueGrows" {
  when = function(m)
    return m.data_processing.queue_depth > 1000 and m.scale.at_max == 1
  end,
  duration = "5m", severity = "warning", message = "{{service}} does not keep up with its queue",
}
