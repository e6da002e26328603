-- schema_edge.lua: the keys of a route that change or answer its requests; schema.lua adds them.
-- Their types are in edge.lua. All of them are for HTTP.
local guarding = require "script.schema_guarding"

local E = {}

E.redirect = {
  { "to", type = "redirect_to", required = 'to = "https", or to = "https://new.example{uri}"',
    doc = '"https", or where to: {host}, {path}, {query} and {uri} are those of the request' },
  { "port", type = "integer", min = 1, max = 65535, out = false,
    doc = 'port of to = "https"; 443 when absent' },
  { "status", type = "status", among = { 301, 302, 303, 307, 308 }, default = 301,
    doc = "301 or 308: for good; 302, 303 or 307: this time" },
}

E.answer = {
  { "status", type = "status", least = 200, most = 599, default = 200, doc = "status of the answer" },
  { "body", type = "text", empty = true, longest = 32768, doc = "what it says; 32k at most" },
  { "file", type = "page", out = false,
    doc = "file beside the configuration that says it, in place of body" },
  { "type", type = "text", longest = 200, pattern = "^[%w!#$&^_.+-]+/[%w!#$&^_.+-]+[ -~]*$",
    example = 'such as "text/html"', also = { "content_type" },
    doc = "its Content-Type; by the file's name, else text/plain" },
}

E.rewrite = {
  { "from", type = "path_pattern", required = 'from = "/old/{rest}"',
    doc = "a path: {name} is a part of one segment, and at the end all that is left" },
  { "to", type = "path_pattern", required = 'to = "/new/{rest}"', doc = "what takes its place" },
}

E.hsts = {
  { "max_age", type = "duration", default = "365d", min = 0, unit = "s", out = "max_age_ms",
    doc = "how long browsers use https only" },
  { "subdomains", type = "boolean", default = false, doc = "for all names below it, too" },
  { "preload", type = "boolean", default = false, doc = "may stand in the lists that browsers come with" },
}

E.maintenance = {
  { "retry_after", type = "duration", default = "1m", min = 1, max = 31536000, unit = "s",
    doc = "when clients are told to come again" },
  { "page", type = "page", doc = "file beside the configuration that they are shown" },
  { "allow", type = "networks", example = 'such as { "10.0.0.0/8" }', doc = "clients that pass" },
}

E.cors = {
  { "origins", type = "origins", required = 'origins = { "https://shop.example" }',
    doc = 'whose pages may ask: "https://shop.example", "https://*.shop.example", or "*" for all' },
  { "methods", type = "methods", default = { "GET", "HEAD", "POST" }, also = { "method" },
    doc = "methods that they may use" },
  { "headers", type = "cors_headers", default = "*",
    doc = 'request fields that they may set; "*" = whatever they ask for' },
  { "expose", type = "cors_names", default = {}, doc = "fields of answers that they may read" },
  { "credentials", type = "boolean", default = false, doc = "whether cookies go with it" },
  { "max_age", type = "duration", default = "10m", max = 86400, unit = "s",
    doc = "how long browsers remember a preflight" },
}

E.canary = {
  { "service", type = "text", required = 'service = "catalog-v2"', doc = "service that gets these requests" },
  { "percent", type = "number", min = 0, max = 100, unit = "percent", doc = "its part of the requests" },
  { "header", type = "token", doc = "and those with this header field" },
  { "cookie", type = "token", doc = "and those with this cookie" },
  { "value", type = "text", longest = 512, doc = "when it has exactly this value; any when absent" },
  { "key", type = "canary_key", out = false,
    doc = 'by what a client stays: "address", "header:X-User" or "cookie:session"; by chance when absent' },
}

E.error_pages = { type = "error_pages",
  doc = 'files for statuses: { [502] = "errors/502.html", ["5xx"] = "errors/5xx.html", intercept = true }' }

E.route = {
  { "strip_prefix", type = "strip_prefix",
    doc = "what is taken off the path before the backend gets it: true = the route's path, or a part of it" },
  { "add_prefix", type = "path_prefix", doc = "what is put before the path for the backend" },
  { "rewrite", type = "rewrite", fields = E.rewrite,
    doc = 'another path for the backend: { from = "/old/{rest}", to = "/new/{rest}" }, or a list of them' },
  { "canary", type = "canary", fields = E.canary,
    doc = 'a part goes to another service: { service = "catalog-v2", percent = 5 }, or a list of them' },
  { "hsts", type = "hsts", fields = E.hsts,
    doc = 'Strict-Transport-Security on https: "365d", or { max_age =, subdomains =, preload = }' },
  { "maintenance", type = "maintenance", fields = E.maintenance,
    doc = 'answers 503: true, or { retry_after = "10m", page = "file.html", allow = { "10.0.0.0/8" } }' },
  { "error_pages", type = "error_pages", doc = E.error_pages.doc },
  { "cors", type = "cors", fields = E.cors,
    doc = 'which pages of other origins may use it: { origins = { "https://shop.example" } }' },
  { "redirect", type = "redirect", fields = E.redirect,
    doc = 'sends clients elsewhere: "https", or { to = "https://new.example{uri}", status = 308 }' },
  { "answer", type = "answer", fields = E.answer,
    doc = "answers every request itself: a text, or { status = 200, body = ..., type = ... }" },
}

for _, field in ipairs(guarding.route) do
  E.route[#E.route + 1] = field
end

return E
