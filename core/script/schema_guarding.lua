-- schema_guarding.lua: the keys of a route that decide who is let through, and how answers go out;
-- schema_edge.lua adds them. Their types are in guarding.lua.
local G = {}

G.rate_limit = {
  { "rate", type = "number", min = 0.001, max = 1000000, required = "rate = 100", doc = "requests in `per`" },
  { "per", type = "duration", default = "1s", min = 0.001, max = 2592000, unit = "s",
    doc = "the time that rate is for" },
  { "burst", type = "integer", min = 1, max = 1000000,
    doc = "requests that may come at once; as many as rate when absent" },
  { "by", type = "limit_by", default = "address",
    doc = '"address" of the client (IPv6: its /64), "header:NAME", "cookie:NAME", or "route": all together' },
  { "status", type = "status", least = 400, most = 599, default = 429, doc = "what the others are answered" },
  { "headers", type = "boolean", default = false,
    doc = "whether answers that passed have RateLimit fields, too" },
}

G.basic_auth = {
  { "file", type = "htpasswd", out = "users", required = 'file = "users.htpasswd"',
    doc = "file beside the configuration, as htpasswd -B writes it" },
  { "realm", type = "text", default = "restricted", longest = 100, pattern = '^[^%c"\\\\\128-\255]+$',
    example = 'a text without quotes such as "ops"', doc = "what browsers call the place" },
  { "pass", type = "boolean", default = false,
    doc = "whether backends get the Authorization field, too" },
}

-- As compress.h has them: "text/" is all that begins so, "+json" all that ends so.
G.compress = {
  { "types", type = "media_types", default = { "text/", "application/json", "application/javascript",
    "application/xml", "application/wasm", "application/manifest+json", "+json", "+xml" },
    doc = 'types of answers: "text/html", "text/" and "+json" for all that begin and end so' },
  { "min", type = "size", default = 1024, min = 0, unit = "bytes", out = "min",
    doc = "shorter answers go out as they are" },
  { "level", type = "integer", default = 5, min = 1, max = 9, doc = "1: fast; 9: small (brotli: at most 5)" },
  { "brotli", type = "boolean", default = true,
    doc = "also br, for clients that take it, where libbrotlienc is installed" },
  { "secrets", type = "boolean", default = false,
    doc = "over TLS also answers that set cookies, and those to requests with Cookie or Authorization" },
}

G.forward_auth = {
  { "service", type = "text", required = 'service = "auth"', doc = "service that is asked" },
  { "path", type = "url_path", default = "/", doc = "what it is asked for" },
  { "headers", type = "header_names", default = {},
    doc = "fields of its answer that the request gets, in place of the client's own" },
  { "request_headers", type = "header_names", default = {},
    doc = "fields of the request that it gets, beside Cookie, Authorization, Accept and User-Agent" },
  { "timeout", type = "duration", default = "5s", min = 0.001, max = 300, unit = "s",
    doc = "for its answer; then it is 503" },
  { "url", type = "forward_url", out = false, doc = "no such key: a service is asked" },
}

G.mirror = {
  { "service", type = "text", required = 'service = "catalog-next"', doc = "service that gets copies" },
  { "percent", type = "number", default = 100, min = 0, max = 100, unit = "percent",
    doc = "of so many of the requests" },
  { "max_body", type = "size", default = "64k", min = 0, max = 65536, unit = "bytes", out = "max_body",
    doc = "requests with a longer body are not copied" },
  { "timeout", type = "duration", default = "10s", min = 0.001, max = 300, unit = "s",
    doc = "for its answer, which is dropped" },
}

G.route = {
  { "rate_limit", type = "rate_limit", fields = G.rate_limit,
    doc = 'how often it may be asked: { rate = 100, per = "1s", burst = 50, by = "address" }, or a list' },
  { "basic_auth", type = "basic_auth", fields = G.basic_auth,
    doc = 'who may log in: { file = "users.htpasswd", realm = "ops" }' },
  { "forward_auth", type = "forward_auth", fields = G.forward_auth,
    doc = 'asks a service who may come: { service = "auth", path = "/verify", headers = { "X-User" } }' },
  { "mirror", type = "mirror", fields = G.mirror,
    doc = 'sends copies of requests elsewhere: { service = "catalog-next", percent = 10 }' },
  { "compress", type = "compress", fields = G.compress,
    doc = "answers go out as gzip or br where clients take that: true, or { types, min, level, brotli }" },
}

return G
