-- The quickstart on a Docker engine; README.md tells how the image is made without a registry.
-- In this folder:  tidegate run docker.lua

cluster { id = "quickstart", engine = "docker", sample_interval = "1s" }

service "data" {
  image        = "tidegate-quickstart:1",
  ports        = { "8080" },
  resources    = { memory = "256m", cpus = 0.25 },
  health_check = { http = "/health", interval = "1s", timeout = "1s", retries = 2, start_period = "5s" },

  -- Small numbers, so that a minute and little load show it all; in earnest: cpu = 75, cooldowns
  -- "5m" and "10m".
  scale = { policy = "threshold", min = 2, max = 6, cpu = 60, memory = 80,
            interval = "1s", up_cooldown = "3s", down_cooldown = "4s" },

  route = { listen = "127.0.0.1:8080", balance = "least_connections" },
}
