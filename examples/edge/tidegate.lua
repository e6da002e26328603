-- What stands in front of services: TLS and HTTP/2, redirects, users, limits, a canary, CORS.
-- Make a certificate first: openssl, in README.md
-- Build the service:        cc -O2 -static -pthread -o ../quickstart/service ../quickstart/*.c
-- Then, in this folder:     tidegate run

cluster { id = "edge", engine = "process", sample_interval = "1s" }

local SERVICE = { "../quickstart/service", "--host", "127.0.0.1", "--port", "$PORT" }
local HEALTH = { http = "/health", interval = "1s", timeout = "1s", retries = 2, start_period = "5s" }
local HTTPS = "https://127.0.0.1:8443"

-- Plain HTTP only says where to go.
service "plain" {
  route = { listen = "127.0.0.1:8080", redirect = { to = "https", port = 8443, status = 308 } },
}

service "shop" {
  command = SERVICE, health_check = HEALTH, scale = { instances = 2 },
  route = {
    { listen = HTTPS, tls = { certificate = "edge.pem", key = "edge.key" }, hsts = "1d", compress = true,
      canary = { service = "shop-next", percent = 10, header = "X-Canary", value = "1" } },
    -- Ten at once, then one a second, for each client; over all workers.
    { listen = HTTPS, path = "/login", rewrite = { from = "/login", to = "/" },
      rate_limit = { rate = 1, per = "1s", burst = 10 } },
    -- User ops, password tidegate: htpasswd -nB ops
    { listen = HTTPS, path = "/ops", strip_prefix = true,
      basic_auth = { file = "users.htpasswd", realm = "ops" } },
    { listen = HTTPS, path = "/api", strip_prefix = true,
      cors = { origins = { "https://*.shop.example" }, methods = { "GET", "PUT" }, max_age = "1h" } },
    { listen = HTTPS, path = "/robots.txt", answer = "User-agent: *\nDisallow: /\n" },
  },
}

service "shop-next" { command = SERVICE, health_check = HEALTH, scale = { instances = 1 } }
