-- A scale policy of our own: policies/scale/smooth_rate.lua, with its spec beside it.
-- Build the service first:  cc -O2 -static -pthread -o ../quickstart/service ../quickstart/*.c
-- Then, in this folder:     tidegate policy test && tidegate run

cluster { id = "custom-scale", engine = "process", sample_interval = "500ms" }

service "data" {
  command      = { "../quickstart/service", "--host", "127.0.0.1", "--port", "$PORT" },
  health_check = { http = "/health", interval = "1s", timeout = "1s", retries = 2, start_period = "5s" },

  -- Small numbers, so that a minute shows it; in earnest: memory = "1m", hold = "5m", interval = "15s".
  scale = { policy = "smooth_rate", each = 50, memory = "1s", hold = "2s", min = 1, max = 5,
            interval = "500ms", up_cooldown = 0, down_cooldown = "1s" },

  route = { listen = "127.0.0.1:8080" },
}
