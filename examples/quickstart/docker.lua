-- The quickstart on a Docker engine; README.md tells how the image is made without a registry.
-- In this folder:  tidegate run docker.lua

cluster { id = "quickstart", engine = "docker" }

service "data" {
  image        = "tidegate-quickstart:1",
  ports        = { "8080" },
  resources    = { memory = "256m", cpus = 1 },
  health_check = { http = "/health", interval = "1s", timeout = "1s", retries = 2, start_period = "5s" },

  -- Small numbers, so that a minute shows it all; in earnest: cpu = 75, "5m" up and "10m" down.
  scale = { policy = "threshold", min = 2, max = 6, cpu = 60, memory = 80,
            up_cooldown = "3s", down_cooldown = "6s" },

  route = { listen = "127.0.0.1:8080", balance = "least_connections" },
}
