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

E.route = {
  { "redirect", type = "redirect", fields = E.redirect,
    doc = 'sends clients elsewhere: "https", or { to = "https://new.example{uri}", status = 308 }' },
  { "answer", type = "answer", fields = E.answer,
    doc = "answers every request itself: a text, or { status = 200, body = ..., type = ... }" },
}

for _, field in ipairs(guarding.route) do
  E.route[#E.route + 1] = field
end

return E
