-- schema.lua: the configuration's keys: type, default, range, meaning. Drives validation, defaults,
-- completion and documentation; check.lua tells what a field may say.
local edge = require "script.schema_edge"

local NAME = "^%w[%w_.-]*$"
local NAME_DOC = 'letters, digits, "-", "_" and "." after a letter or digit'
local MAX_INSTANCES = 1000

local S = {}

S.name = { type = "text", pattern = NAME, longest = 63, example = NAME_DOC }

-- Nothing is declared twice: what a service may leave out is taken from here.
S.cluster = {
  { "id", type = "text", default = "default", pattern = NAME, longest = 63, example = NAME_DOC,
    also = { "name", "cluster_id" }, doc = "name of the cluster: part of every instance's name and label" },
  { "engine", type = "enum", values = { "docker", "process" }, default = "docker",
    later = { swarm = "the swarm engine" }, doc = "what starts instances" },
  { "workers", type = "integer", default = 0, min = 0, max = 64, doc = "worker processes; 0 = one per core" },
  { "admin", type = "admin", default = "127.0.0.1:9880",
    doc = "address of /healthz and /metrics; false = off" },
  { "state_dir", type = "path", default = "",
    doc = "where instances of the process engine and their logs are kept" },
  { "runtime_dir", type = "path", default = "", doc = "where the control socket is" },
  { "zone", type = "text", default = "", empty = true, longest = 63,
    doc = "where this tidegate is: what the tag \"zone:...\" of near backends says" },
  { "sample_interval", type = "duration", default = "5s", min = 0.1, max = 3600, unit = "s",
    doc = "how often CPU, memory and load are measured" },
  { "grace", type = "duration", default = "30s", max = 3600, unit = "s",
    doc = "how long workers go on without a master, and finish requests at the end" },
  { "access_log", type = "record", optional = true, doc = "a line for each request", fields = {
    { "path", type = "path", required = 'path = "/var/log/tidegate/access.log"',
      doc = "file that lines are appended to, opened again on SIGUSR1" },
    { "format", type = "enum", values = { "json", "combined" }, default = "json",
      doc = "how a line is written" },
    { "sample", type = "number", default = 1, min = 0, max = 1, doc = "share of the requests that are told" },
  } },
  { "tracing", type = "record", optional = true, doc = "spans of requests, to a collector by OTLP over HTTP",
    fields = {
      { "endpoint", type = "text", required = 'endpoint = "http://127.0.0.1:4318/v1/traces"', longest = 2000,
        pattern = "^https?://[^/%s]+/%S+$", example = 'an address such as "http://127.0.0.1:4318/v1/traces"',
        doc = "the collector's address, path included" },
      { "sample", type = "number", default = 0.01, min = 0, max = 1,
        doc = "share of the requests that are told; those of a trace that came along as its flag says" },
      { "service", type = "text", default = "tidegate", longest = 255, doc = "service.name of the spans" },
      { "headers", type = "header_values", doc = "fields of the calls, such as a token" },
    } },
  { "history", type = "history", default = {}, example = 'such as { days = 14, bytes = "2g" }, or false',
    doc = "events and figures that are kept below state_dir; false = nothing; read at the start" },
  { "max_header_bytes", type = "size", out = "max_header_bytes", min = 256, max = 16384, unit = "bytes",
    doc = "longest head of a request: more is answered with 431; 16k when absent" },
  { "max_headers", type = "integer", min = 1, max = 100,
    doc = "most fields of a request's head: more is answered with 431; 100 when absent" },
  { "error_pages", type = "error_pages", route = false,
    doc = "pages for answers of tidegate's own, where a route has none: as route.error_pages" },
  { "trusted_proxies", type = "networks", example = 'such as { "10.0.0.0/8" }', out = false,
    doc = "load balancers in front: what they say of their clients counts, what others say is dropped" },
  { "spin_us", type = "integer", default = 0, min = 0, max = 1000,
    doc = "microseconds that a worker looks for the next event before it sleeps; 0 = sleeps at once" },
  { "policy_errors", type = "record", doc = "when a policy that fails is not asked until a reload", fields = {
    { "limit", type = "integer", default = 5, min = 0, max = 20,
      doc = "so many errors of one policy at one place within `window`; 0 = never" },
    { "window", type = "duration", default = "10m", min = 1, max = 86400, unit = "s",
      doc = "how long an error counts" },
  } },
  { "metrics", type = "record", doc = "limits of the /metrics page", fields = {
    { "max_series", type = "integer", default = 2000, min = 100, max = 1000000,
      doc = "most series of a family: more are folded into one" },
    { "max_values", type = "integer", default = 100, min = 1, max = 100000,
      doc = "most values of a label whose values come from outside: more are \"other\"" },
  } },
  { "tls", type = "tls", out = false, example = 'such as { folder = "certs" }',
    doc = "certificates and settings of all https listeners, where their routes say nothing else" },
  { "acme", type = "record", optional = true,
    doc = "where certificates of routes with tls = { acme = true } come from", fields = {
      { "email", type = "text", longest = 254, pattern = "^[^%s@,:?]+@[^%s@,:?]+$",
        example = 'an address such as "ops@shop.example"', doc = "whom the authority writes to" },
      { "agree", type = "boolean", default = false, also = { "agreed", "terms_of_service_agreed" },
        doc = "true: the authority's terms of service are agreed to; nothing is asked for without" },
      { "directory", type = "acme_directory", default = "https://acme-v02.api.letsencrypt.org/directory",
        also = { "server", "url" }, doc = "its directory (RFC 8555)" },
      { "ca", type = "pem", also = { "roots" },
        doc = "PEM file that its own https is checked with; the system's when absent" },
      { "challenge", type = "enum", values = { "http-01", "tls-alpn-01" }, default = "http-01",
        doc = "how a name is proved: by a request on port 80, or by a TLS connection on port 443" },
      { "retry", type = "duration", default = "1m", min = 1, max = 43200, unit = "s",
        doc = "how long after a failure it is tried again; three times as long with each in a row, to 12h" },
    } },
  { "docker", type = "record", doc = "the Docker engine", fields = {
    { "host", type = "docker_host", default = "",
      doc = "its address; by default $DOCKER_HOST, else unix:///var/run/docker.sock" },
    { "network", type = "text", default = "", empty = true,
      doc = "network that instances join; \"\" = the default one" },
    { "publish", type = "boolean", default = false,
      doc = "reach instances by ports published on the host instead of by their own address" },
    { "tls", type = "record", doc = "for tcp:// addresses", fields = {
      { "ca", type = "path", default = "", doc = "PEM file of the authority" },
      { "certificate", type = "path", default = "", also = { "cert" }, doc = "PEM file of our certificate" },
      { "key", type = "path", default = "", doc = "PEM file of our key" },
    } },
  } },
  { "labels", type = "label_settings", example = 'such as { listen = ":80" }, true or false',
    doc = "makes services of containers with labels that others start (docker); off when absent" },
  -- Defaults for services that say nothing of their own.
  { "min_instances", type = "integer", default = 2, min = 0, max = MAX_INSTANCES, out = false,
    doc = "scale.min of services" },
  { "max_instances", type = "integer", default = 20, min = 1, max = MAX_INSTANCES, out = false,
    doc = "scale.max of services" },
  { "cpu_threshold", type = "number", min = 1, max = 100, unit = "percent", out = false,
    doc = "cpu of the policy \"threshold\"" },
  { "memory_threshold", type = "number", min = 1, max = 100, unit = "percent", out = false,
    doc = "memory of the policy \"threshold\"" },
  { "scale_up_cooldown", type = "duration", default = "300s", out = false,
    doc = "scale.up_cooldown of services" },
  { "scale_down_cooldown", type = "duration", default = "600s", out = false,
    doc = "scale.down_cooldown of services" },
  { "backend_timeout", type = "duration", default = "300s", min = 0.001, out = false,
    doc = "route.backend_timeout of services" },
  { "max_retries", type = "integer", default = 3, min = 0, max = 10, out = false,
    doc = "route.max_retries of services" },
  { "health_check_interval", type = "duration", default = "30s", min = 0.01, unit = "s", out = false,
    doc = "health_check.interval of services" },
}

-- Who may start containers may set labels: what these may not do stands here and in label_read.lua.
S.labels = {
  { "prefix", type = "text", default = "tidegate", pattern = "^%w[%w_-]*$", longest = 63,
    example = "a word of letters, digits, \"-\" and \"_\"", doc = "what labels begin with, a dot behind it" },
  { "network", type = "text", default = "", empty = true, longest = 255,
    doc = "network on which the containers are reached; \"\" = the only one that they have, or share "
      .. "with us" },
  { "listen", type = "label_listen", default = {}, example = 'such as ":80", or a list',
    doc = "addresses that their routes may listen on, the first when they name none; when absent those of "
      .. "the HTTP routes in the file" },
  { "hosts", type = "list", of = { type = "hostname" }, default = {}, most = 100,
    example = 'such as { "*.apps.example" }',
    doc = "hosts that their routes may name; every one when absent" },
  { "exposed_by_default", type = "boolean", default = false,
    doc = "containers with any label of ours count, also without PREFIX.enable=true" },
}

S.resources = {
  { "memory", type = "size", default = "1g", min = 65536, unit = "bytes", also = { "mem_limit", "mem" },
    doc = "limit of memory" },
  { "cpus", type = "number", default = 0, min = 0, max = 4096, also = { "cpu", "cpu_quota" },
    doc = "limit of CPU time in cores; 0 = none" },
  { "pids", type = "integer", default = 0, min = 0, doc = "limit of processes; 0 = none" },
  { "files", type = "integer", default = 0, min = 0, doc = "limit of open files; 0 = none" },
}

S.health_check = {
  { "http", type = "url_path", also = { "path" }, doc = "GET this path: 200 to 399 is healthy" },
  { "tcp", type = "boolean", out = false, doc = "true: a connection is enough" },
  { "grpc", type = "text", empty = true, longest = 120, pattern = "^[%w_.-]*$",
    example = 'a service such as "package.Service", or "" for the whole server', out = false,
    doc = "grpc.health.v1.Health/Check of this service, \"\" = the whole server: SERVING is healthy" },
  { "command", type = "command", also = { "test", "cmd" },
    doc = "the engine runs this inside the instance: 0 is healthy" },
  { "engine", type = "boolean", out = false, doc = "true: what the image itself declares" },
  { "port", type = "integer", default = 0, min = 0, max = 65535, doc = "which port; 0 = the first" },
  { "interval", type = "duration", min = 0.01, unit = "s", doc = "between checks" },
  { "timeout", type = "duration", min = 0.01, unit = "s", doc = "for one check" },
  { "retries", type = "integer", default = 3, min = 1, max = 100,
    doc = "failures in a row that make it unhealthy" },
  { "rise", type = "integer", default = 1, min = 1, max = 100,
    doc = "successes in a row that make it healthy" },
  { "start_period", type = "duration", default = "0s", doc = "failures before this age do not count" },
}

S.circuit_breaker = {
  { "failure_threshold", type = "integer", default = 5, min = 1, max = 1000000,
    doc = "failures that open the circuit" },
  { "recovery_timeout", type = "duration", default = "60s", min = 0.001, max = 86400, unit = "s",
    doc = "how long it stays open" },
  { "success_threshold", type = "integer", default = 3, min = 1, max = 10000,
    doc = "successes that close it again" },
  { "trials", type = "integer", default = 1, min = 1, max = 10000,
    doc = "requests at a time that try a half-open one" },
  { "failures_on", type = "list", of = { type = "enum", values = { "connect", "timeout", "reset", "5xx" } },
    default = { "connect", "timeout", "reset", "5xx" }, example = 'such as { "connect", "timeout" }',
    doc = "what counts as a failure" },
  { "window", type = "duration", default = "10s", min = 1, max = 30, unit = "s",
    doc = "requests of the last so long make the failure rate" },
  { "failure_rate", type = "number", default = 0.5, min = 0.01, max = 1,
    doc = "part of them that must have failed; or so many in a row (10) that it hardly is that low" },
  { "minimum_requests", type = "integer", default = 20, min = 1, max = 1000000,
    doc = "requests in the window from which the rate alone opens it" },
}

S.outlier_ejection = {
  { "max_ejected", type = "number", default = 50, min = 0, max = 100, unit = "percent",
    doc = "most backends put out; one may always go, and one always stays" },
  { "deviations", type = "number", default = 1.9, min = 0, max = 100,
    doc = "how far below the others' success rate, in their standard deviations; at least 0.1 anyway" },
  { "minimum_requests", type = "integer", default = 100, min = 1, max = 1000000,
    doc = "requests in the window for a backend to be compared" },
  { "window", type = "duration", default = "10s", min = 1, max = 30, unit = "s",
    doc = "requests of the last so long are compared" },
  { "base_time", type = "duration", default = "30s", min = 0.001,
    doc = "how long, doubled with each time in succession" },
  { "max_time", type = "duration", default = "5m", min = 0.001, doc = "how long at most" },
}

S.queue = {
  { "limit", type = "integer", default = 1000, min = 1, max = 1000000, doc = "requests that may wait" },
  { "timeout", type = "duration", default = "5s", min = 0.001, max = 3600, unit = "s",
    doc = "how long, then it is 503" },
  { "when_down", type = "boolean",
    doc = "when no backend is ready, too: all down, or none started yet; when absent only for "
      .. "`timeout` after the last one went" },
}

S.retry_budget = {
  { "percent", type = "number", default = 20, min = 0, max = 1000, unit = "percent",
    doc = "repeats for a hundred requests of the last ten seconds" },
  { "min_per_second", type = "number", default = 10, min = 0, max = 1000000,
    doc = "repeats that are always allowed, over all workers" },
}

S.header_changes = {
  { "set", type = "header_values", doc = "fields that are set, in place of those that came" },
  { "remove", type = "header_names", doc = "fields that are left out" },
}

-- What a balance policy sees of a request; the defaults are the names that data services use.
S.request = {
  { "tags", type = "sources", default = { "header:X-Data-Affinity", "query:data_affinity_tags" },
    also = { "data_affinity_tags" }, doc = "the tags asked for, with commas between them" },
  { "dataset", type = "sources", default = { "header:X-Dataset-Id", "query:dataset_id" },
    also = { "dataset_id" }, doc = "the data set asked for" },
  { "processing", type = "sources", default = { "header:X-Processing-Type", "query:processing_type" },
    also = { "processing_type" }, doc = "the kind of work asked for" },
  { "key", type = "sources", default = {}, whole = true,
    doc = "what is hashed; the client's address when the request has none of it" },
  { "zone", type = "sources", default = {}, doc = "the zone to stay in; the cluster's when it has none" },
}

S.sticky = {
  { "cookie", type = "text", default = "tidegate", pattern = "^[%w!#$%%&'*+.^_`|~-]+$", longest = 64,
    example = "the name of a cookie", also = { "name" }, doc = "cookie that names the backend of a session" },
  { "ttl", type = "duration", default = "1h", max = 31536000, unit = "s", also = { "max_age" },
    doc = "how long the cookie lives; 0 = as long as the browser" },
}

S.tls_pair = {
  { "certificate", type = "pem", also = { "cert", "crt", "chain" },
    doc = "PEM file: the certificate, behind it those of the authorities in between" },
  { "key", type = "pem", also = { "private_key" },
    doc = "PEM file of its key, which none but its owner may read; the certificate's file when absent" },
  { "ocsp", type = "pem", doc = "DER file: what the authority last said of it, handed to clients" },
}

-- One certificate, or other sources of them, and settings of the listener.
S.tls = {
  S.tls_pair[1], S.tls_pair[2], S.tls_pair[3],
  { "folder", type = "pem", also = { "directory", "path" },
    doc = "folder of certificates: NAME.pem or NAME.crt with NAME.key, or both in one file" },
  { "acme", type = "boolean",
    doc = "true: a certificate for the route's host is got as cluster { acme } says" },
  { "client_ca", type = "pem", also = { "ca" },
    doc = "PEM file of the authorities that sign certificates of clients" },
  { "client", type = "enum", values = { "none", "request", "require" },
    doc = "whether clients are asked for one; require when there is a client_ca" },
  { "min_version", type = "enum", values = { "1.2", "1.3" },
    doc = "oldest TLS that is spoken; 1.2 when absent" },
  { "default", type = "hostname",
    doc = "name whose certificate is shown to clients that name one that none is for; they are refused when "
      .. "absent. Those that name none at all get the first" },
}

S.upstream_tls = {
  { "ca", type = "pem", doc = "PEM file of the authorities that are believed; the system's when absent" },
  { "name", type = "hostname", also = { "sni", "server_name" },
    doc = "name that their certificates are for; else the host they are written with, else their address" },
  { "verify", type = "boolean", default = true,
    doc = "false takes any certificate, also one of an attacker" },
  { "certificate", type = "pem", also = { "cert" }, doc = "PEM file of a certificate that is shown to them" },
  { "key", type = "pem", doc = "PEM file of its key; the certificate's file when absent" },
}

S.route = {
  { "listen", type = "route_listen", required = 'listen = ":8080"', also = { "address", "port" },
    doc = "where requests come in; \"https://\" before it is TLS, \"tcp://\" connections of any protocol" },
  { "tls", type = "tls", example = 'such as { certificate = "shop.pem", key = "shop.key" }',
    doc = "certificates of an https listener: one pair, a list of them, or a folder" },
  { "host", type = "hostname", default = "",
    doc = "Host of the requests, or \"*.shop.example\" for all below it; any when absent" },
  { "path", type = "url_path", default = "/", doc = "their path, or what it begins with" },
  { "methods", type = "methods", also = { "method" }, doc = "their methods; every one when absent" },
  { "headers", type = "header_values", also = { "header" },
    doc = "fields that they have with exactly these values" },
  { "request_headers", type = "record", optional = true, fields = S.header_changes,
    doc = "changes fields on the way to the backend" },
  { "answer_headers", type = "record", optional = true, also = { "response_headers" },
    fields = S.header_changes, doc = "changes fields of the backend's answers" },
  { "max_body", type = "size", min = 1, also = { "client_max_body_size", "body_limit" },
    doc = "longest body of a request: more is answered with 413" },
  { "max_connections_per_client", type = "integer", min = 1, max = 1000000,
    doc = "requests under way for one client address: more are answered with 429" },
  { "trusted_proxies", type = "networks", example = 'such as { "10.0.0.0/8" }',
    doc = "in place of the cluster's; {} trusts nobody" },
  { "proxy_protocol", type = "boolean",
    doc = "connections of trusted_proxies begin with a PROXY header (version 1 or 2), others with none" },
  { "http2", type = "boolean",
    doc = "false: only HTTP/1 on this address; else clients may speak HTTP/2, by ALPN or at once" },
  { "forwarded", type = "boolean", doc = "backends get a Forwarded field (RFC 7239) beside X-Forwarded-For" },
  { "timeouts", type = "record", optional = true, out = false, doc = "time-outs by name", fields = {
    { "client_header", type = "duration", min = 0.001, unit = "s",
      doc = "for a whole request head; 10s, or client_idle when that is shorter" },
    { "client_idle", type = "duration", min = 0.001, unit = "s",
      doc = "longest silence of the client, between requests too; as client_timeout" },
    { "connect", type = "duration", min = 0.001, unit = "s", doc = "to connect; as connect_timeout" },
    { "first_byte", type = "duration", min = 0.001, unit = "s",
      doc = "for the head of the answer; by default backend_timeout" },
    { "idle", type = "duration", min = 0.001, unit = "s",
      doc = "longest silence of the backend within its answer; by default backend_timeout" },
    { "slow_body", type = "duration",
      doc = "how long a client may send slower than min_body_rate; 20s when absent" },
    { "total", type = "duration", doc = "for a request, all attempts included; 0 = no limit" },
  } },
  { "min_body_rate", type = "size", min = 1, out = "min_body_rate",
    doc = "bytes per second of a request's body that a client may not stay below; off when absent" },
  { "balance", type = "balance", default = "ewma", also = { "algorithm" },
    doc = "policy that picks the backend: \"name\" or { \"name\", parameter = ... }" },
  { "shadow", type = "balance",
    doc = "policy that is asked about one pick in 16 and never obeyed; as balance" },
  { "max_retries", type = "integer", min = 0, max = 10, also = { "retries" },
    doc = "other backends tried when one fails before it answers" },
  { "response_buffer", type = "size", default = "16k", min = 0, max = 65536, unit = "bytes",
    out = "response_buffer",
    doc = "answers up to this length wait until whole: another backend is asked if one never is; 0 = none" },
  { "backend_timeout", type = "duration", min = 0.001, unit = "s", also = { "timeout" },
    doc = "longest silence of the backend" },
  { "connect_timeout", type = "duration", default = "2s", min = 0.001, unit = "s",
    doc = "to connect to a backend" },
  { "client_timeout", type = "duration", default = "60s", min = 0.001, unit = "s",
    doc = "longest silence of the client" },
  { "request", type = "request", default = {}, fields = S.request,
    example = 'such as { dataset = "query:ds" }',
    doc = "where the data that policies see of a request come from: places, or function(r)" },
  { "sticky", type = "sticky",
    doc = "a session stays with its backend: { cookie = \"name\", ttl = \"1h\" } or true" },
  { "idle_timeout", type = "duration", min = 0.001, unit = "s",
    doc = "longest silence of a TCP connection or a tunnel; as timeouts.idle" },
  { "circuit_breaker", type = "guard", default = {}, fields = S.circuit_breaker,
    example = "such as { failure_threshold = 5 }, or false", doc = "stops asking a backend that fails" },
  { "outlier_ejection", type = "guard", default = {}, fields = S.outlier_ejection,
    example = "such as { max_ejected = 50 }, or false",
    doc = "puts a backend out for a while that fails more than the others" },
  { "panic_threshold", type = "number", default = 50, min = 0, max = 100, unit = "percent",
    doc = "with fewer of the backends left by circuits, all are asked again; 0 = never" },
  { "queue", type = "guard", default = {}, fields = S.queue, example = "such as { limit = 100 }, or false",
    doc = "where requests wait when all backends are full" },
  { "retry_budget", type = "guard", default = {}, fields = S.retry_budget,
    example = "such as { percent = 20 }, or false", doc = "how many requests may be repeated" },
  { "slow_start", type = "duration", max = 86400, unit = "s",
    doc = "a new backend's share grows over so long; the service's when absent" },
}

for _, field in ipairs(edge.route) do
  S.route[#S.route + 1] = field
end

-- Guard rails that have settings; the others (fleet.h) have none.
S.step_limits = {
  { "up_factor", type = "number", default = 4, min = 1, max = 1000,
    doc = "within `up_period` at most so many times as many" },
  { "up_count", type = "integer", default = 8, min = 1, max = MAX_INSTANCES,
    doc = "or so many more, if that is more" },
  { "up_period", type = "duration", default = "30s", max = 3600, unit = "s", doc = "of steps up" },
  { "down_percent", type = "number", default = 25, min = 0.1, max = 100, unit = "percent",
    doc = "within `down_period` at most so many of them fewer, though always one" },
  { "down_period", type = "duration", default = "60s", max = 3600, unit = "s",
    doc = "of steps down; the service's or cluster's own down_cooldown when that is shorter" },
  { "after_up", type = "duration", default = "60s", max = 86400, unit = "s",
    doc = "no step down for so long after one up, whatever the policy's cooldown; as down_period" },
}

S.saturation = {
  { "cpu", type = "number", default = 95, min = 1, max = 100, unit = "percent",
    doc = "CPU above which instances are full" },
  { "queue_wait", type = "duration", default = "200ms", max = 3600, unit = "s",
    doc = "or how long requests wait for one" },
  { "times", type = "integer", default = 3, min = 1, max = 1000,
    doc = "evaluations in a row, while none starts" },
  { "more", type = "number", default = 50, min = 1, max = 1000, unit = "percent", out = "more_percent",
    doc = "so many more are started then, bounds and cooldown permitting" },
}

S.churn = {
  { "changes", type = "integer", default = 12, min = 1, max = 100,
    doc = "changes of direction within `window` that are too many" },
  { "window", type = "duration", default = "1h", min = 1, max = 604800, unit = "s", doc = "of them" },
  { "freeze", type = "duration", default = "30m", min = 1, max = 604800, unit = "s",
    doc = "how long there are no steps down then" },
}

S.scale = {
  { "policy", type = "text",
    doc = "error_budget with an HTTP route, threshold otherwise or with cpu or memory" },
  { "min", type = "integer", min = 0, max = MAX_INSTANCES, also = { "min_instances" },
    doc = "fewest instances" },
  { "max", type = "integer", min = 1, max = MAX_INSTANCES, also = { "max_instances" },
    doc = "most instances" },
  { "instances", type = "integer", min = 0, max = MAX_INSTANCES, out = false,
    doc = "exactly so many: min and max" },
  { "up_cooldown", type = "duration", also = { "cooldown", "scale_up_cooldown" },
    doc = "shortest time between two steps up" },
  { "down_cooldown", type = "duration", also = { "scale_down_cooldown" },
    doc = "shortest time from a step, up or down, to one down" },
  { "interval", type = "duration", min = 0.1, unit = "s",
    doc = "how often the policy is asked: as it says itself, else 15s" },
  { "mode", type = "enum", values = { "active", "recommend", "shadow", "paused", "pinned" },
    doc = "active; recommend: waits for `tidegate approve`; shadow: the policy only reports; paused: it "
      .. "rests; pinned: to `pinned` instances" },
  { "pinned", type = "integer", min = 0, max = MAX_INSTANCES, doc = "so many, in mode pinned" },
  { "step_limits", type = "guard", default = {}, fields = S.step_limits,
    example = "such as { up_count = 4 }, or false", doc = "how far it goes at a time" },
  { "saturation", type = "guard", default = {}, fields = S.saturation,
    example = "such as { cpu = 90 }, or false",
    doc = "when more are started although the policy wants none" },
  { "churn", type = "guard", default = {}, fields = S.churn,
    example = "such as { changes = 20 }, or false", doc = "when a policy goes to and fro too often" },
  { "idle", type = "duration", default = "15m", min = 1, unit = "s",
    doc = "with min = 0: after so long without a request none is left; the next one waits for the first" },
  { "shadow", type = "shadows", out = "shadows",
    doc = "policies that are asked beside it and only report: \"name\", a table as here with `policy`, "
      .. "or a list" },
}

-- What a scale policy says itself of how it is to be used; the service's own settings win.
S.timing = {
  { "interval", type = "duration", min = 0.1, unit = "s", doc = "how often it is asked" },
  { "up_cooldown", type = "duration", doc = "scale.up_cooldown" },
  { "down_cooldown", type = "duration", doc = "scale.down_cooldown" },
}

S.history = {
  { "enabled", type = "boolean", default = true, doc = "whether anything is kept" },
  { "days", type = "integer", default = 14, min = 1, max = 3650, doc = "how long figures are kept" },
  { "bytes", type = "size", default = "2g", min = 1048576, unit = "bytes", out = "bytes",
    doc = "what all of it takes at most, about" },
  { "rollup_days", type = "integer", default = 90, min = 1, max = 3650,
    doc = "how long the figures of each minute are kept" },
}

S.anomaly = {
  { "policy", type = "text", default = "record", doc = "policy that says what is unusual" },
  { "interval", type = "duration", default = "15s", min = 1, max = 86400, unit = "s",
    doc = "between two points of a series" },
  { "incident", type = "duration", default = "15m", min = 1, max = 604800, unit = "s",
    doc = "what comes within so long of the last one belongs to the same incident" },
  { "shadow", type = "boolean", doc = "to try it out: anomalies are shown and noted, and nobody is told" },
}

S.backend = {
  { "address", type = "backend", doc = "\"10.0.0.5:9000\" or \"unix:/run/x.sock\"" },
  { "host", type = "text", out = false, doc = "in place of address, with port" },
  { "port", type = "integer", min = 1, max = 65535, out = false, doc = "in place of address, with host" },
  { "weight", type = "integer", default = 1, min = 1, max = 1000, doc = "share of the requests" },
  { "max_connections", type = "integer", default = 100, min = 1, max = 1000000,
    doc = "most requests at a time" },
  { "capacity", type = "number", default = 1000, min = 1, also = { "data_processing_capacity" },
    doc = "requests per second" },
  { "tags", type = "tags", default = {}, also = { "data_affinity_tags" },
    doc = "what the backend is near to" },
}

S.collect = {
  { "health", type = "url_path",
    doc = "path of its health figures (a JSON object)" },
  { "performance", type = "url_path", doc = "path of its performance figures (a JSON object)" },
  { "data", type = "url_path", doc = "path of its data figures (a JSON object)" },
  { "prometheus", type = "url_path", doc = "path of its metrics (Prometheus text)" },
  { "interval", type = "duration", default = "15s", min = 0.1, unit = "s", doc = "how often" },
  { "timeout", type = "duration", min = 0.001, unit = "s",
    doc = "for one of them; interval or 10s when absent" },
  { "max_body", type = "size", default = "4m", min = 1024, unit = "bytes",
    doc = "longest answer that is read" },
  { "max_samples", type = "integer", default = 10000, min = 1, max = 1000000,
    doc = "most samples of one page of metrics" },
}

-- `own`: only for services that tidegate runs, not for those with `backends`.
S.service = {
  { "image", type = "text", own = true, longest = 255, pattern = "^[%w][%w./:@_-]*$",
    example = 'an image such as "acme/catalog:1.4"', doc = "image of the instances (docker)" },
  { "command", type = "list", of = { type = "text", empty = true }, default = {}, own = true,
    example = 'such as { "./catalog", "--port", "$PORT" }', also = { "cmd", "args" },
    doc = "program and arguments (process); with an image: its arguments" },
  { "pull", type = "enum", values = { "missing", "always", "never" }, default = "missing", own = true,
    also = { "pull_policy" }, doc = "when the image is pulled" },
  { "directory", type = "path", default = ".", own = true, also = { "working_dir", "workdir", "cwd" },
    doc = "working directory of the command (process), from the configuration's" },
  { "user", type = "text", default = "", empty = true, own = true, doc = "who runs it" },
  { "environment", type = "map", of = { type = "scalar" }, default = {}, own = true, also = { "env" },
    key_pattern = "^[^=%z]+$", key_doc = "names of variables are text without =",
    example = 'such as { LOG_LEVEL = "info" }', doc = "environment variables" },
  { "resources", type = "record", fields = S.resources, own = true, also = { "limits" },
    example = 'such as { memory = "512m", cpus = 0.5 }', doc = "limits of one instance" },
  { "ports", type = "list", of = { type = "port" }, default = {}, own = true, also = { "port" }, most = 64,
    example = 'such as { "8080" }', doc = "\"container\" or \"host:container\"; the first one is balanced" },
  { "volumes", type = "list", of = { type = "volume" }, default = {}, own = true,
    example = 'such as { "data:/var/lib/data" }',
      doc = "\"name:/path\" or \"/host:/path\", with :ro behind" },
  { "restart_policy", type = "restart_policy", default = "unless-stopped", own = true, also = { "restart" },
    doc = "what the engine does when an instance ends" },
  { "health_check", type = "health_check", also = { "healthcheck" },
    doc = "when an instance may get requests; false = always" },
  { "deploy", type = "record", own = true, doc = "starting instances", fields = {
    { "timeout", type = "duration", default = "120s", min = 0.1, unit = "s", doc = "for becoming healthy" },
  } },
  { "stop_timeout", type = "duration", default = "10s", max = 3600, unit = "s", own = true,
    doc = "between TERM and KILL" },
  { "drain_timeout", type = "duration", default = "30s", max = 86400, unit = "s",
    doc = "for requests in flight before an instance is stopped" },
  { "tags", type = "service_tags", own = true,
    doc = "a list, or function(i) that returns the list of instance i.index" },
  { "scale", type = "scale", own = true, example = "such as { min = 2, max = 20 }",
    doc = "how many instances" },
  { "route", type = "routes", out = "routes", also = { "routes" },
    doc = "where its requests come from: one table or a list" },
  { "backends", type = "list", of = { type = "backend_entry" }, also = { "servers", "upstreams" },
    example = 'such as { "10.0.0.5:9000" }',
      doc = "in place of image or command: a service that runs elsewhere" },
  { "protocol", type = "enum", values = { "http", "https", "h2c", "h2" }, default = "http",
    doc = "what backends speak, health checks too: h2 is HTTP/2 over TLS, h2c without, as gRPC wants them" },
  { "upstream_tls", type = "upstream_tls", optional = true, example = 'such as { ca = "ca.pem" }',
    doc = "how backends of \"https\" and \"h2\" are checked; by the system's authorities when absent" },
  { "send_proxy", type = "integer", min = 1, max = 2,
    doc = "connections to its backends begin with a PROXY header of that version, one for each client" },
  { "slow_start", type = "duration", default = "0s", max = 86400, unit = "s",
    doc = "a new instance's share grows from a tenth over so long" },
  { "collect", type = "record", optional = true, fields = S.collect, doc = "what to ask the service for" },
  { "anomaly", type = "anomaly", default = "record", example = 'such as "record", or false',
    doc = "policy that tells what is unusual: \"name\" or { policy = \"name\", parameter = ... }" },
  { "weight", type = "integer", default = 1, min = 1, max = 1000, own = true,
    doc = "share of each instance" },
  { "max_connections", type = "integer", default = 100, min = 1, max = 1000000, own = true,
    doc = "most requests at a time for each instance" },
  { "capacity", type = "number", default = 1000, min = 1, own = true,
    doc = "requests per second of each instance" },
}

return S
