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
}
