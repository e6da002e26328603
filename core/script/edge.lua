-- edge.lua: the types of schema_edge.lua: what a route does to requests and answers, in the words of
-- core/edge/edge.h.
--
-- Of a context (service.lua) it also uses read(name) -> text, or nil and why: files beside the configuration.
local check = require "script.check"
local schema = require "script.schema_edge"
local values = require "script.values"
require "script.guarding"

local M = {}
local types = check.types

local MOST_PAGE_BYTES = 32768

local function fail(ctx, path, what, value)
    ctx.report(path, select(2, values.expected(what, value)))
end

-- ---- Small types ------------------------------------------------------------------------------

function types.status(value, field, path, ctx)
    for _, status in ipairs(field.among or {}) do
        if value == status then
            return value
        end
    end
    if field.among then
        return fail(ctx, path, "a status of " .. table.concat(field.among, ", "), value)
    elseif type(value) ~= "number" or value % 1 ~= 0 or value < field.least or value > field.most then
        return fail(ctx, path, ("a status from %d to %d"):format(field.least, field.most), value)
    end
    return value
end

local TYPES = { html = "text/html", htm = "text/html", txt = "text/plain", css = "text/css",
    js = "text/javascript", json = "application/json", xml = "application/xml", svg = "image/svg+xml" }

-- A text file beside the configuration -> { body =, type = }.
function types.page(value, _, path, ctx)
    local name = types.text(value, { longest = 1000, example = 'such as "errors/502.html"' }, path, ctx)
    if not name then
        return nil
    end
    local text, why = ctx.read((name:gsub("^%./", "")))
    if not text then
        return ctx.report(path, ("%s: %s"):format(values.describe(name), why))
    elseif #text > MOST_PAGE_BYTES then
        return ctx.report(path, ("%s has %d bytes: at most %d"):format(values.describe(name), #text,
            MOST_PAGE_BYTES))
    end
    local kind = TYPES[name:match "%.(%w+)$"] or "text/plain"
    return { body = text, type = kind:find "^text/" and kind .. "; charset=utf-8" or kind }
end

-- ---- Redirects --------------------------------------------------------------------------------

local PLACES = { "host", "path", "query", "uri" }

-- What is wrong with a place to go, or nil. Of the request nothing may become the host but its own host.
local function wrong_target(to)
    if to:find "[^%w%-._~:/?#%[%]@!$&'()*+,;=%%{}]" then
        return "has characters that an address has not"
    end
    for word in to:gmatch "{([^{}]*)}" do
        local known = false
        for _, name in ipairs(PLACES) do
            known = known or name == word
        end
        if not known then
            return check.unknown(word, PLACES, "place {" .. word .. "}")
        end
    end
    if to:find "^{path}" or to:find "^{uri}" or to:find "^/[/\\]" then
        return 'must say where: "https://new.example{uri}", or a path such as "/new{path}"'
    elseif to:find "^/" then
        return nil
    end
    -- As it may come out: the host of the request is a name, its path and uri begin with a slash.
    local sample = to:gsub("{host}", "a.example"):gsub("{path}", "/"):gsub("{uri}", "/")
    local authority = sample:match "^https?://([^/?#]*)"
    local host = authority and authority:gsub(":%d+$", "")
    if not host or not (values.is_host(host) or host:find "^%[[%x:.]+%]$") then
        return 'is no address such as "https://new.example{uri}", and no path such as "/new{path}"'
    end
end

function types.redirect_to(value, _, path, ctx)
    local example = 'such as "https://new.example{uri}"'
    local to = types.text(value, { longest = 1000, example = example }, path, ctx)
    local wrong = to and to ~= "https" and wrong_target(to)
    if wrong then
        return ctx.report(path, wrong)
    end
    return to
end

function types.redirect(value, field, path, ctx)
    if type(value) == "string" then
        value = { to = value }
    elseif type(value) ~= "table" then
        return fail(ctx, path, '"https", or a table such as { to = "https://new.example{uri}" }', value)
    end
    local r, aside = check.record(field.fields, value, path, ctx)
    if r.to == "https" then
        r.to = ("https://{host}%s{uri}"):format(aside.port and aside.port ~= 443 and ":" .. aside.port or "")
        r.secures = true
    elseif aside.port then
        ctx.report(check.joined(path, "port"), 'goes with to = "https": write it into the address')
    end
    return r
end

-- ---- Answers ----------------------------------------------------------------------------------

function types.answer(value, field, path, ctx)
    if type(value) == "string" then
        value = { body = value }
    elseif type(value) ~= "table" then
        return fail(ctx, path, 'a text, or a table such as { status = 200, body = "ok" }', value)
    end
    local a, aside = check.record(field.fields, value, path, ctx)
    if aside.file and a.body then
        ctx.report(check.joined(path, "file"), "excludes body: keep one")
    elseif aside.file then
        a.body, a.type = aside.file.body, a.type or aside.file.type
    end
    a.body, a.type = a.body or "", a.type or "text/plain; charset=utf-8"
    return a
end

-- ---- What holds between them ------------------------------------------------------------------

-- Whether a route, as given, answers all of its requests itself: then its service needs nobody to run.
function M.answers_itself(route)
    return type(route) == "table" and (route.redirect ~= nil or route.answer ~= nil)
end

-- Whether all routes of a service, as given, do.
function M.all_answer(routes)
    if type(routes) ~= "table" or next(routes) == nil then
        return false
    end
    for _, route in ipairs(routes[1] and routes or { routes }) do
        if not M.answers_itself(route) then
            return false
        end
    end
    return true
end

-- Rules of one route: `r` as checked, `given` as written.
function M.route(r, given, path, ctx)
    if r.tcp then
        for _, field in ipairs(schema.route) do
            if given[field[1]] ~= nil then
                ctx.report(check.joined(path, field[1]), "is for HTTP: this route listens on tcp://")
            end
        end
        return
    end
    local one, other = given.redirect ~= nil and "redirect", given.answer ~= nil and "answer"
    if one and other then
        ctx.report(check.joined(path, other), ("is never given: the route has %s"):format(one))
    end
    if r.redirect and r.redirect.secures then
        if tostring(given.listen):find "^https://" then
            ctx.report(check.joined(path, "redirect"), "leads back here: this route is https already")
        end
        r.redirect.secures = nil
    end
end

return M
