-- edge_pages.lua: the types of schema_edge.lua that are pages: answers, maintenance, error pages.
--
-- Of a context (service.lua) they also use read(name) -> text, or nil and why: files beside the main one.
local check = require "script.check"
local values = require "script.values"

local MOST_PAGE_BYTES = 32768

local types = check.types

local function fail(ctx, path, what, value)
    ctx.report(path, select(2, values.expected(what, value)))
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

-- ---- Pages ------------------------------------------------------------------------------------

local MAINTENANCE = [[
<!doctype html><meta charset="utf-8"><title>Under maintenance</title>
<p>This is under maintenance. Please come again in a while.</p>
]]

function types.maintenance(value, field, path, ctx)
    if value == false then
        return nil
    elseif value ~= true and type(value) ~= "table" then
        return fail(ctx, path, 'true, false, or a table such as { retry_after = "10m" }', value)
    end
    local m = check.record(field.fields, value == true and {} or value, path, ctx)
    local page = m.page or { body = MAINTENANCE, type = "text/html; charset=utf-8" }
    return { retry_after_s = math.ceil((m.retry_after_ms or 0) / 1000), allow = m.allow, body = page.body,
        type = page.type }
end

-- 404 -> 404, 404; "5xx" -> 500, 599; else nil.
local function statuses(key)
    if type(key) == "string" and key:find "^[45]xx$" then
        return key:sub(1, 1) * 100, key:sub(1, 1) * 100 + 99
    end
    local status = tonumber(key)
    return status and status % 1 == 0 and status >= 400 and status <= 599 and status or nil, status
end

-- Exact statuses stand first.
function types.error_pages(value, field, path, ctx)
    if type(value) ~= "table" then
        return fail(ctx, path, 'a table such as { [502] = "errors/502.html" }', value)
    end
    local exact, classes, out = {}, {}, { intercept = false }
    for _, key in ipairs(check.sorted_keys(value)) do
        local at = check.joined(path, type(key) == "number" and key or tostring(key))
        local from, to = statuses(key)
        if key == "intercept" and field.route ~= false then
            out.intercept = types.boolean(value[key], field, at, ctx) or false
        elseif not from then
            ctx.report(at, key == "intercept" and "is for routes: here there is no backend" or
                'expected a status from 400 to 599, "4xx" or "5xx"')
        else
            local page = types.page(value[key], nil, at, ctx)
            local list = from == to and exact or classes
            list[#list + 1] = page and { from = from, to = to, body = page.body, type = page.type }
        end
    end
    for _, page in ipairs(classes) do
        exact[#exact + 1] = page
    end
    if #exact == 0 then
        return next(value) == nil and ctx.report(path, 'names none: write [502] = "errors/502.html"') or nil
    end
    out.pages = check.array(exact)
    return out
end
