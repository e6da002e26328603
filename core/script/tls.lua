-- tls.lua: `tls` of routes and of the cluster, and what the https listeners are that they make together.
--
-- A listener is one to its clients before any route is known: so all routes on an address share its
-- certificates and its settings, and those of the cluster come last. The JSON's "tls" is made here: one
-- object for each https listener, with paths only. The master alone opens them (app/certificates.c).
local acme = require "script.acme"
local check = require "script.check"
local schema = require "script.schema"
local values = require "script.values"

local M = {}
local types = check.types

-- What the routes of a listener can only say alike, and what it is when nobody says it.
local ALIKE = { "client_ca", "client", "min_version", "default" }

function types.pem(value, _, path, ctx)
    local text = types.text(value, { longest = 4000, example = 'such as "shop.pem"' }, path, ctx)
    return text and types.path(text, nil, path, ctx)
end

-- How backends are checked; the place is for what the master finds in the files.
function types.upstream_tls(value, field, path, ctx)
    if type(value) ~= "table" then
        return ctx.report(path, select(2, values.expected("a table " .. field.example, value)))
    end
    local t = check.record(schema.upstream_tls, value, path, ctx)
    if value.key ~= nil and value.certificate == nil then
        ctx.report(check.joined(path, "key"), 'belongs to a certificate: certificate = "client.pem"')
    end
    t.at = ctx.place(path)
    return t
end

-- Keeps what a record says of one certificate.
local function add_pair(sources, given, p, path, ctx)
    if given.certificate == nil then
        return ctx.report(path, 'certificate is missing: certificate = "shop.pem", key = "shop.key"')
    end
    sources[#sources + 1] = { certificate = p.certificate, key = p.key or p.certificate, ocsp = p.ocsp,
        at = ctx.place(path) }
end

local function add_list(sources, value, path, ctx)
    for i = 1, #value do
        local at = check.joined(path, i)
        if type(value[i]) == "table" then
            add_pair(sources, value[i], check.record(schema.tls_pair, value[i], at, ctx), at, ctx)
        else
            ctx.report(at, select(2, values.expected(
                'a table such as { certificate = "shop.pem", key = "shop.key" }', value[i])))
        end
    end
end

-- { certificate =, key = } or a list of such, { folder = } ..., with the settings of the listener beside.
function types.tls(value, field, path, ctx)
    if type(value) ~= "table" then
        return ctx.report(path, select(2, values.expected("a table " .. field.example, value)))
    end
    local before, sources, settings, named = ctx.errors(), check.array(), {}, {}
    for key, item in next, value do
        if type(key) ~= "number" then
            named[key] = item
        end
    end
    local t = check.record(schema.tls, named, path, ctx)
    local single = named.certificate ~= nil or named.key ~= nil or named.ocsp ~= nil
    if single and value[1] ~= nil then
        ctx.report(path, "has certificates in a list and one beside it: put all of them in the list")
    elseif single then
        add_pair(sources, named, t, path, ctx)
    end
    add_list(sources, value, path, ctx)
    if t.folder then
        sources[#sources + 1] = { folder = t.folder, at = ctx.place(check.joined(path, "folder")) }
    end
    for _, key in ipairs(ALIKE) do
        if t[key] ~= nil then
            local at = check.joined(path, key)
            settings[key] = { value = t[key], at = ctx.place(at), path = at, ctx = ctx }
        end
    end
    if t.client_ca and named.client == nil then -- as binding as if it were written
        local at = check.joined(path, "client_ca")
        settings.client = { value = "require", at = ctx.place(at), path = at, ctx = ctx, implied = true }
    end
    return { sources = sources, settings = settings, acme = t.acme and check.joined(path, "acme") or nil,
        wrong = ctx.errors() > before }
end

-- What "https://" before an address and `tls` say of one route: kept for its listener.
function M.route(r, given, path, ctx)
    local scheme = type(given.listen) == "string" and given.listen:match "^(%a+)://"
    local own = r.tls
    r.tls = scheme == "https" or nil
    if own and not r.tls then
        ctx.report(check.joined(path, "tls"), scheme == "tcp" and
            "is for HTTP: connections of tcp:// are passed on as they are, encrypted ones too" or
            'is for https: write listen = "https://:8443"')
    end
    return own
end

-- ---- Listeners --------------------------------------------------------------------------------

-- Sets what a route or the cluster says, unless another said otherwise.
local function settle(listener, own)
    for _, key in ipairs(ALIKE) do
        local now, before = own.settings[key], listener.settings[key]
        if now and before and now.value ~= before.value then
            local text = "%s is %s at %s, on the same address %s: all routes of an address share it"
            now.ctx.report(now.path, text:format(key, values.describe(before.value), before.at,
                listener.listen))
        end
        listener.settings[key] = (not before or before.implied) and now or before
    end
end

local function add_sources(listener, own)
    for _, source in ipairs(own.sources) do
        local key = source.folder or source.certificate and source.certificate .. "\n" .. source.key
        if not key or not listener.known[key] then
            listener.sources[#listener.sources + 1] = source
            listener.known[key or source] = true
        end
    end
end

-- Notes the routes of one service. `shared` carries the listeners over services, by address, and what a plain
-- address is.
function M.listeners(ctx, shared)
    for _, entry in ipairs(ctx.routes) do
        local r = entry.route
        local other = r.listen and shared[r.tls and "plain" or "secure"][r.listen]
        if other then
            ctx.report(check.joined(entry.path, "listen"), ("%s is %s at %s: an address is either"):format(
                r.listen, r.tls and "without TLS" or "https", other))
        elseif r.listen and r.tls then
            local listener = shared.secure_listeners[r.listen]
            if not listener then
                listener = { listen = r.listen, at = r.at, ctx = ctx, path = entry.path, settings = {},
                    http2 = true, known = {}, sources = check.array(), hosts = check.array() }
                shared.secure_listeners[r.listen] = listener
                shared.secure_listeners[#shared.secure_listeners + 1] = listener
                shared.secure[r.listen] = r.at
            end
            listener.http2 = listener.http2 and r.http2 ~= false
            listener.hosts[#listener.hosts + 1] = { name = r.host or "", at = r.at }
            listener.wrong = listener.wrong or not entry.tls and entry.given.tls ~= nil
            if entry.tls then
                listener.wrong = listener.wrong or entry.tls.wrong
                settle(listener, entry.tls)
                add_sources(listener, entry.tls)
                acme.add(listener, shared, r, entry.tls.acme, ctx)
            end
        elseif r.listen then
            shared.plain[r.listen] = shared.plain[r.listen] or r.at
        end
    end
end

function M.new_shared()
    return { plain = {}, secure = {}, secure_listeners = {} }
end

-- The cluster's word counts where the routes say nothing.
local function add_cluster(listener, own)
    for _, key in ipairs(ALIKE) do
        local said = listener.settings[key]
        listener.settings[key] = (not said or said.implied) and own.settings[key] or said
    end
    add_sources(listener, own)
end

-- All https listeners for the JSON; `cluster` is its own `tls` or nil.
function M.finish(shared, cluster)
    local out = check.array()
    for _, l in ipairs(shared.secure_listeners) do
        if cluster then
            add_cluster(l, cluster)
        end
        if #l.sources == 0 and not l.wrong then
            l.ctx.report(check.joined(l.path, "listen"), 'https needs a certificate: add '
                .. 'tls = { certificate = "shop.pem", key = "shop.key" }, '
                .. 'or cluster { tls = { folder = "certs" } }')
        end
        local s = l.settings
        local client = s.client and s.client.value or s.client_ca and "require" or "none"
        if client ~= "none" and not s.client_ca and not l.wrong then
            s.client.ctx.report(s.client.path,
                'needs the authorities that sign them: client_ca = "clients.pem"')
        end
        out[#out + 1] = {
            listen = l.listen, at = l.at, sources = l.sources, hosts = l.hosts,
            client = client, client_ca = s.client_ca and { path = s.client_ca.value, at = s.client_ca.at },
            min_version = s.min_version and s.min_version.value or "1.2",
            default = s.default and { name = s.default.value, at = s.default.at }, http2 = l.http2,
        }
    end
    return out
end

return M
