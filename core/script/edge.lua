-- edge.lua: the types of schema_edge.lua: what a route does to requests and answers, in the words of
-- core/edge/edge.h.
local check = require "script.check"
local inner = require "script.inner"
local schema = require "script.schema_edge"
local values = require "script.values"
require "script.edge_browser"
require "script.edge_pages"
local guarding = require "script.guarding"

local M = {}
local types = check.types

guarding.steps = schema.route

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

-- ---- Paths ------------------------------------------------------------------------------------

local MOST_CAPTURES, MOST_RULES = 8, 32

-- Whether a segment is "..", in the spellings that the proxy answers with 400 (core/edge/path.c).
local function climbs(text)
    text = text:gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end)
    for segment in text:gmatch "[^/\\]+" do
        if segment:match "^[^;%z]*" == ".." then
            return true
        end
    end
    return false
end

local CLIMBS = 'climbs by "..": every such request would be answered with 400: write the path without it'

-- Without its last slash.
function types.path_prefix(value, field, path, ctx)
    local text = types.url_path(value, field, path, ctx)
    if text and text:find "[{}?]" then
        return ctx.report(path, "a prefix has no {name} and no query: write rewrite = { from =, to = }")
    elseif text and climbs(text) then
        return ctx.report(path, CLIMBS)
    end
    return text and text:gsub("/+$", "")
end

function types.strip_prefix(value, field, path, ctx)
    if value == false then
        return nil
    end
    return value == true or types.path_prefix(value, field, path, ctx)
end

-- A path with {name} in it; what is left when these are out has no braces.
function types.path_pattern(value, _, path, ctx)
    local text = types.text(value, { longest = 1000, example = 'such as "/old/{rest}"' }, path, ctx)
    if not text then
        return nil
    elseif not text:find "^/" or text:find "[%s%c?#]" then
        return ctx.report(path, 'expected a path such as "/old/{rest}": the query stays as it is')
    elseif text:gsub("{[%a_][%w_]*}", ""):find "[{}]" then
        return ctx.report(path, "a place is written {name}, with letters, digits and _")
    elseif climbs(text) then
        return ctx.report(path, CLIMBS)
    end
    return text
end

local function captures(pattern)
    local names = {}
    for name in pattern:gmatch "{([%w_]+)}" do
        names[#names + 1], names[name] = name, true
    end
    return names
end

local function check_rule(rule, path, ctx)
    if not rule.from or not rule.to then
        return
    end
    local from, at = captures(rule.from), check.joined(path, "from")
    for i, name in ipairs(from) do
        for k = 1, i - 1 do
            if from[k] == name then
                ctx.report(at, ("has {%s} twice"):format(name))
            end
        end
    end
    if #from > MOST_CAPTURES then
        ctx.report(at, ("has %d places: at most %d"):format(#from, MOST_CAPTURES))
    elseif rule.from:find("}{", 1, true) then
        ctx.report(at, "has two places side by side: nothing says where one ends")
    end
    for _, name in ipairs(captures(rule.to)) do
        if not from[name] then
            ctx.report(check.joined(path, "to"), check.unknown(name, from, "place {" .. name .. "}"))
        end
    end
end

function types.rewrite(value, field, path, ctx)
    if type(value) ~= "table" then
        return fail(ctx, path, 'a table such as { from = "/old/{rest}", to = "/new/{rest}" }', value)
    end
    local list = value[1] ~= nil and value or { value }
    if #list > MOST_RULES then
        return ctx.report(path, ("has %d rules: at most %d"):format(#list, MOST_RULES))
    end
    local out = check.array()
    for i, item in ipairs(list) do
        local at = list == value and check.joined(path, i) or path
        local rule = types.record(item, field, at, ctx)
        if rule then
            check_rule(rule, at, ctx)
            out[#out + 1] = rule
        end
    end
    return out
end

-- Whether a path lies below another one, or is it.
local function begins(text, with)
    with = with:gsub("/+$", "")
    return (text .. "/"):sub(1, #with + 1) == with .. "/"
end

-- strip_prefix, add_prefix and rewrite of a checked route as one.
local function change_path(r, path, ctx)
    local strip, add, rules = r.strip_prefix, r.add_prefix, r.rewrite
    r.strip_prefix, r.add_prefix, r.rewrite = nil, nil, nil
    if strip == true then
        strip = r.path and r.path:gsub("/+$", "")
    end
    local at = check.joined(path, "strip_prefix")
    if strip and rules then
        ctx.report(at, "goes without rewrite: write what is left into its `to`")
    elseif strip == "" then
        ctx.report(at, 'is nothing: give the route a path, such as path = "/api"')
    elseif strip and r.path and not begins(strip, r.path) and not begins(r.path, strip) then
        ctx.report(at, ("no request begins with %s: the path of the route is %s"):format(strip, r.path))
    end
    if strip or add or rules then
        r.path_change = { strip = strip, add = add ~= "" and add or nil, rules = rules }
    end
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

-- ---- Canaries ---------------------------------------------------------------------------------

local TOKEN = "^[%w!#$%%&'*+.^_`|~-]+$"
local MOST_CANARIES = 8

function types.token(value, _, path, ctx)
    local field = { pattern = TOKEN, longest = 128, example = 'such as "X-Canary"' }
    return types.text(value, field, path, ctx)
end

function types.canary_key(value, _, path, ctx)
    local place, name = tostring(value):match "^(%a+):(.+)$"
    if value ~= "address" and not ((place == "header" or place == "cookie") and name:find(TOKEN)) then
        return fail(ctx, path, '"address", "header:NAME" or "cookie:NAME"', value)
    end
    return value
end

local function one_canary(value, field, path, ctx)
    local c, aside = check.record(field.fields, value, path, ctx)
    if not c.percent and not c.header and not c.cookie then
        ctx.report(path, "says of no request that it goes there: write percent = 5, or a header or cookie")
    elseif c.value and not c.header and not c.cookie then
        ctx.report(check.joined(path, "value"), "of what? Write a header or cookie beside it")
    elseif aside.key and not c.percent then
        ctx.report(check.joined(path, "key"), "goes with percent")
    end
    c.percent = c.percent or 0
    return c, aside.key
end

-- One or a list of them; the key is that of the whole route.
function types.canary(value, field, path, ctx)
    if type(value) ~= "table" then
        return fail(ctx, path, 'a table such as { service = "catalog-v2", percent = 5 }', value)
    end
    local list = value[1] ~= nil and check.list_length(value) and value or { value }
    local out, sum = { services = check.array() }, 0
    if #list > MOST_CANARIES then
        return ctx.report(path, ("has %d services: at most %d"):format(#list, MOST_CANARIES))
    end
    for i, item in ipairs(list) do
        local at = list == value and check.joined(path, i) or path
        if type(item) ~= "table" then
            return fail(ctx, at, 'a table such as { service = "catalog-v2", percent = 5 }', item)
        end
        local c, key = one_canary(item, field, at, ctx)
        if key and out.key and key ~= out.key then
            ctx.report(check.joined(at, "key"), ("is %s above: a route has one"):format(out.key))
        end
        out.key, out.services[i], sum = out.key or key, c, sum + c.percent
    end
    if sum > 100 then
        ctx.report(path, ("is %.14g percent together: at most 100"):format(sum))
    end
    return out
end

-- What an inner route has of the one that it belongs to: all but the steps, which it shares.
local function inner_route(r, service, place, number)
    local copy = inner.copy(r, schema.route, { "path_change" })
    copy.inner = { service = service.name, place = place, canary = number }
    return copy
end

-- Gives the services that canaries name an inner route each. `list`: of each route that has some
-- { service =, route =, place =, path =, ctx = }; `services`: all of them, checked.
function M.canaries(list, services)
    local find = inner.finder(services)
    for _, entry in ipairs(list) do
        local several = #entry.route.canary.services > 1
        for i, c in ipairs(entry.route.canary.services) do
            local at = check.joined(entry.path, "canary")
            at = check.joined(several and check.joined(at, i) or at, "service")
            local to, wrong
            if c.service then
                to, wrong = find(c.service, entry.service)
            end
            if wrong then
                entry.ctx.report(at, wrong)
            elseif to then
                to.routes[#to.routes + 1] = inner_route(entry.route, entry.service, entry.place, i)
            end
        end
    end
end

-- ---- What holds between them ------------------------------------------------------------------

-- Whether a route, as given, answers all of its requests itself: then its service needs nobody to run.
function M.answers_itself(route)
    if type(route) ~= "table" then
        return false
    end
    local resting = route.maintenance
    return route.redirect ~= nil or route.answer ~= nil or resting == true or
        (type(resting) == "table" and resting.allow == nil)
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
    local answers = given.answer ~= nil and "answer" or
        given.redirect ~= nil and not (r.redirect and r.redirect.secures) and "redirect"
    for _, key in ipairs(answers and { "canary", "strip_prefix", "add_prefix", "rewrite" } or {}) do
        if given[key] ~= nil then
            ctx.report(check.joined(path, key), ("is never used: %s answers every request"):format(answers))
        end
    end
    local one, other = given.redirect ~= nil and "redirect", given.answer ~= nil and "answer"
    if one and other then
        ctx.report(check.joined(path, other), ("is never given: the route has %s"):format(one))
    end
    if r.redirect and r.redirect.secures then
        if tostring(given.listen):find "^https://" then
            ctx.report(check.joined(path, "redirect"), "leads back here: this route is https already")
        end
    end
    change_path(r, path, ctx)
end

return M
