-- Alerts to a webhook: one that fires while too many requests fail, in our own words.
-- Build the service first:  cc -O2 -static -pthread -o ../quickstart/service ../quickstart/*.c
-- Then, in this folder:     tidegate run

cluster { id = "webhook", engine = "process", sample_interval = "500ms" }

service "data" {
  command      = { "../quickstart/service", "--host", "127.0.0.1", "--port", "$PORT" },
  health_check = { http = "/health", interval = "1s", timeout = "1s", retries = 2, start_period = "5s" },
  scale        = { instances = 2 },
  route        = { listen = "127.0.0.1:8080", max_retries = 0, circuit_breaker = false,
                   outlier_ejection = false },
}

-- So that a minute shows it. In earnest: interval "5s", group_wait "10s", group_interval "5m", maintenance
-- left on, so that no alert is told of a service that tidegate itself is starting or scaling.
alerting { interval = "250ms", group_wait = "0s", group_interval = "1s", maintenance = false,
           channels = { "hook" } }

-- Where the address is a secret: webhook = { env = "ALERT_URL" }, or { file = "/run/secrets/alert_url" }.
channel "hook" {
  webhook  = env("ALERT_URL", "http://127.0.0.1:9099/alerts"),
  headers  = { ["X-Team"] = "shop" },
  template = function(n)
    return ("%s: %s"):format(n.status, n.alerts[1].annotations.summary)
  end,
}

alert "ManyErrors" {
  when     = { metric_path = "traffic.error_rate", operator = ">", threshold = 0.2, clear = 0.05 },
  duration = "1s", severity = "critical",
  message  = "{{value}} of the requests to {{service}} fail",
}
