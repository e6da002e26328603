-- The quickstart: one data service on the process engine, which needs no Docker.
-- Build the service first:  cc -O2 -static -pthread -o service *.c
-- Then, in this folder:     tidegate run

cluster { id = "quickstart", engine = "process" }

service "data" {
  command      = { "./service", "--host", "127.0.0.1", "--port", "$PORT" },
  directory    = ".",                    -- where this file is
  environment  = { SERVICE_NAME = "data" },
  resources    = { memory = "256m", cpus = 1 },
  health_check = { http = "/health", interval = "1s", timeout = "1s", retries = 2, start_period = "5s" },

  -- Small numbers, so that a minute shows it all; in earnest: cpu = 75, "5m" up and "10m" down.
  scale = { policy = "threshold", min = 2, max = 6, cpu = 60, memory = 80,
            up_cooldown = "3s", down_cooldown = "6s" },
  -- A second opinion of our own, in policies/scale/busy.lua:
  -- scale = { policy = "busy", min = 2, max = 6, per = 8, up_cooldown = "3s", down_cooldown = "6s" },

  route = { listen = "127.0.0.1:8080", balance = "least_connections" },
}
