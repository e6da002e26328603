-- Three services on a Docker engine, as one would write them for docker compose: web, api, reports.
-- The image:             see ../quickstart/README.md, "As an image, without a registry"
-- Then, in this folder:  tidegate run

cluster { id = "shop", engine = "docker", sample_interval = "1s" }

local IMAGE = "tidegate-quickstart:1"
local HEALTHY = { http = "/health", interval = "1s", timeout = "1s", retries = 3, start_period = "10s" }

service "web" {
  image = IMAGE, ports = { "8080" }, health_check = HEALTHY,
  environment = { SERVICE_NAME = "web" },
  resources   = { memory = "128m", cpus = 0.5 },
  scale       = { instances = 2 },
  route       = { listen = "127.0.0.1:8080" },
}

-- The same address, another path; it goes up and down with its load.
service "api" {
  image = IMAGE, ports = { "8080" }, health_check = HEALTHY,
  environment = { SERVICE_NAME = "api" },
  resources   = { memory = "128m", cpus = 0.5 },
  scale       = { policy = "target_tracking", metric = "in_flight", target = 4, min = 1, max = 4,
                  interval = "1s", stabilize_down = "5s", down_cooldown = "5s" }, -- or leave these out
  route       = { listen = "127.0.0.1:8080", path = "/work" },
}

-- Nobody asks it from outside: no route. It keeps its files over restarts and deploys.
service "reports" {
  image = IMAGE, ports = { "8080" }, health_check = HEALTHY,
  environment    = { SERVICE_NAME = "reports" },
  volumes        = { "shop-reports:/var/reports" },
  scale          = { instances = 1 },
  restart_policy = "unless-stopped",
}
