-- alerts.lua: what tidegate watches without being told. Each is an alert as a configuration could have
-- it. `alerting { defaults = { HighLatency = { threshold = 0.5 }, DiskLow = false } }` changes one and
-- switches off another, `defaults = false` all, and an alert of the same name in the configuration takes
-- its place.

-- ---- Instances --------------------------------------------------------------------------------

alert "InstanceDown" {
    scope = "instance", severity = "critical", duration = "30s",
    when = { metric_path = "health.up", operator = "<", threshold = 1 },
    message = "{{instance}} of {{service}} is down",
}

alert "InstanceRestarting" {
    scope = "instance",
    when = { metric_path = "health.restarts_10m", operator = ">=", threshold = 3 },
    message = "{{instance}} of {{service}} restarted {{value}} times in ten minutes",
}

alert "InstanceUnhealthy" {
    scope = "instance", duration = "1m",
    when = { metric_path = "health.unhealthy", operator = ">", threshold = 0 },
    message = "{{instance}} of {{service}} runs, but its health check fails",
}

alert "InstanceOutOfMemory" {
    severity = "critical",
    when = { metric_path = "health.oom_kills_10m", operator = ">", threshold = 0 },
    message = "{{value}} of {{service}}'s instances were killed in the last ten minutes for want of memory",
}

alert "HighCPU" {
    scope = "instance", duration = "5m",
    when = { metric_path = "resources.cpu_usage", operator = ">", threshold = 90, clear = 80 },
    message = "{{instance}} of {{service}} uses {{value}} % of its CPU",
}

alert "HighMemory" {
    scope = "instance", duration = "2m",
    when = { metric_path = "resources.memory_usage", operator = ">", threshold = 90, clear = 85 },
    message = "{{instance}} of {{service}} uses {{value}} % of its memory",
}

alert "CollectionFailing" {
    scope = "instance", duration = "2m",
    when = { metric_path = "health.collected", operator = "<", threshold = 1 },
    message = "{{instance}} of {{service}} does not give its metrics",
}

-- ---- Services ---------------------------------------------------------------------------------

alert "NoHealthyBackend" {
    severity = "critical", duration = "10s",
    when = { metric_path = "traffic.backends", operator = "<", threshold = 1 },
    message = "{{service}} has no backend that could take a request",
}

alert "CircuitOpen" {
    duration = "5s",
    when = { metric_path = "traffic.open_circuits", operator = ">", threshold = 0 },
    message = "{{value}} circuits of {{service}} are open",
}

alert "HighErrorRate" {
    severity = "critical", duration = "1m",
    when = { metric_path = "traffic.error_rate", operator = ">", threshold = 0.05, clear = 0.02 },
    message = "{{value}} of the requests to {{service}} fail",
}

alert "HighLatency" {
    duration = "2m",
    when = { metric_path = "traffic.p99", operator = ">", threshold = 1, clear = 0.8 },
    message = "one in a hundred requests to {{service}} takes longer than {{value}} s",
}

alert "ScalerAtMax" {
    duration = "10m",
    when = { metric_path = "scale.wants_more", operator = ">", threshold = 0 },
    message = "{{service}} is at its most instances, and its policy wants more",
}

alert "DeployFailed" {
    when = { metric_path = "scale.deploy_failed", operator = ">", threshold = 0 },
    message = "the last deploy of {{service}} failed",
}

-- ---- tidegate itself --------------------------------------------------------------------------

alert "PolicyErrors" {
    scope = "tidegate",
    when = { metric_path = "policy_errors_5m", operator = ">", threshold = 0 },
    message = "policies failed {{value}} times in five minutes: {{failing}}",
}

alert "PolicyQuarantined" {
    scope = "tidegate",
    when = { metric_path = "policies_quarantined", operator = ">", threshold = 0 },
    message = "{{value}} policies are not asked until the next reload, as they failed too often: {{failing}}",
}

alert "ReloadFailed" {
    scope = "tidegate",
    when = { metric_path = "reload_failed", operator = ">", threshold = 0 },
    message = "the last reload was refused: the old configuration goes on",
}

alert "EngineDown" {
    scope = "tidegate", severity = "critical", duration = "30s",
    when = { metric_path = "engine_up", operator = "<", threshold = 1 },
    message = "the engine does not answer: nothing is started or stopped",
}

alert "LoopLag" {
    scope = "tidegate", duration = "30s",
    when = { metric_path = "loop_lag", operator = ">", threshold = 0.2 },
    message = "tidegate's own loop is {{value}} s late",
}

alert "OutOfDescriptors" {
    scope = "tidegate",
    when = { metric_path = "descriptors_exhausted_5m", operator = ">", threshold = 0 },
    message = "a worker ran out of descriptors: raise the limit of open files",
}

alert "DiskLow" {
    scope = "tidegate", duration = "1m",
    when = { metric_path = "disk_free", operator = "<", threshold = 0.05, clear = 0.1 },
    message = "the disk of the state directory has {{value}} of its space left",
}

alert "CertificateExpiring" {
    scope = "tidegate", missing = "ok",
    when = { metric_path = "certificate_days_left", operator = "<", threshold = 14 },
    message = "renew the certificate {{certificate}}",
}

alert "CertificateExpired" {
    scope = "tidegate", missing = "ok", severity = "critical",
    when = { metric_path = "certificate_days_left", operator = "<=", threshold = 0 },
    message = "clients refuse the certificate {{certificate}}",
}

alert "NotificationsFailing" {
    scope = "tidegate", duration = "5m",
    when = { metric_path = "notifications_waiting", operator = ">", threshold = 0 },
    message = "{{value}} notifications could not be delivered yet",
}
