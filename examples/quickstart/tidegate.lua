-- The quickstart: one data service on the process engine, which needs no Docker.
-- Build the service first:  cc -O2 -static -pthread -o service *.c
-- Then, in this folder:     tidegate run

cluster { id = "quickstart", engine = "process", sample_interval = "1s" }

service "data" {
  command      = { "./service", "--host", "127.0.0.1", "--port", "$PORT" },
  directory    = ".",                    -- where this file is
  environment  = { SERVICE_NAME = "data" },
  resources    = { memory = "256m", cpus = 0.25 },
  health_check = { http = "/health", interval = "1s", timeout = "1s", retries = 2, start_period = "5s" },

  -- Small numbers, so that a minute and little load show it all; in earnest: cpu = 75, cooldowns
  -- "5m" and "10m".
  scale = { policy = "threshold", min = 2, max = 6, cpu = 60, memory = 80,
            interval = "1s", up_cooldown = "3s", down_cooldown = "4s" },
  -- A second opinion of our own, in policies/scale/busy.lua:
  -- scale = { policy = "busy", min = 2, max = 6, per = 8,
  --           interval = "1s", up_cooldown = "3s", down_cooldown = "4s" },

  route = { listen = "127.0.0.1:8080", balance = "least_connections" },

  -- What the service tells of itself, for alerts and policies: `tidegate metrics data`.
  collect = { performance = "/performance", data = "/data", prometheus = "/metrics", interval = "2s" },
}

-- One alert that a minute shows: it fires while the load is high, and ends when it has fallen. What is
-- shipped (policies/alerts.lua) is watched beside it. In earnest: interval "5s", group_wait "10s", and
-- maintenance left on, so that no alert is told of a service that tidegate itself is scaling.
alerting { interval = "250ms", group_wait = "0s", group_interval = "1s", maintenance = false }
-- A program of yours gets each message on its standard input.
channel "note" { exec = { "/usr/bin/tee", "-a", "told.json" } }

alert "ManyRequests" {
  when     = { metric_path = "traffic.rate", operator = ">", threshold = 120, clear = 60 },
  duration = "1s", severity = "warning",
  message  = "{{service}} gets {{value}} requests a second, more than {{threshold}}",
}
