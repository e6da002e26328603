-- edge_browser.lua: the types of schema_edge.lua that are for browsers: CORS and HSTS.
local check = require "script.check"
local values = require "script.values"

local types = check.types

local function fail(ctx, path, what, value)
    ctx.report(path, select(2, values.expected(what, value)))
end

function types.hsts(value, field, path, ctx)
    if value == false then
        return nil
    elseif type(value) ~= "table" then
        value = { max_age = value }
    end
    local h = check.record(field.fields, value, path, ctx)
    local seconds = math.floor((h.max_age_ms or 0) / 1000)
    if h.preload and (not h.subdomains or seconds < 31536000) then
        ctx.report(check.joined(path, "preload"), 'needs subdomains = true and max_age = "365d" or more')
    end
    return ("max-age=%d%s%s"):format(seconds, h.subdomains and "; includeSubDomains" or "",
        h.preload and "; preload" or "")
end

-- Scheme, host and port as browsers write them; "*" for any.
function types.origin(value, _, path, ctx)
    local scheme, host, port = tostring(value):match "^(https?)://([^/:]+)(:?%d*)$"
    local fits = host and host == host:lower() and values.is_host((host:gsub("^%*%.", ""))) and port ~= ":"
    if type(value) ~= "string" or (value ~= "*" and not fits) then
        return fail(ctx, path, 'an origin such as "https://shop.example" or "https://*.shop.example"', value)
    elseif (scheme == "https" and port == ":443") or (scheme == "http" and port == ":80") then
        return ctx.report(path, ("browsers leave %s out for %s: leave it out"):format(port, scheme))
    end
    return value
end

function types.origins(value, _, path, ctx)
    local field = { of = { type = "origin" }, most = 100, least = 1,
        example = 'such as { "https://shop.example" }' }
    return types.list(type(value) == "string" and { value } or value, field, path, ctx)
end

function types.cors_names(value, field, path, ctx)
    local name = { type = "text", pattern = "^[%w!#$%%&'*+.^_`|~-]+$", longest = 128,
        example = "a field's name" }
    local list = types.list(type(value) == "string" and { value } or value,
        { of = name, most = 50, example = 'such as { "X-Total" }' }, path, ctx)
    return list and table.concat(list, ", ") or field.default
end

function types.cors_headers(value, field, path, ctx)
    return value == "*" and value or types.cors_names(value, field, path, ctx)
end

function types.cors(value, field, path, ctx)
    if value == false then
        return nil
    elseif type(value) == "string" then
        value = { origins = value }
    elseif type(value) ~= "table" then
        return fail(ctx, path, 'a table such as { origins = { "https://shop.example" } }', value)
    end
    local c = check.record(field.fields, value, path, ctx)
    for _, origin in ipairs(c.origins or {}) do
        if origin == "*" and c.credentials then
            ctx.report(check.joined(path, "credentials"),
                'goes with named origins only: browsers take no "*" with cookies')
        elseif origin == "*" and #c.origins > 1 then
            ctx.report(check.joined(path, "origins"), 'has "*", which is all: leave the others out')
        end
    end
    return { origins = c.origins, methods = table.concat(c.methods or {}, ", "), headers = c.headers,
        expose = c.expose, credentials = c.credentials, max_age_s = math.floor((c.max_age_ms or 0) / 1000) }
end
