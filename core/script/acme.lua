-- acme.lua: `acme` of the cluster, and the routes whose certificates come from there.
--
-- An authority proves one name at a time, by asking for it on port 80 (http-01) or 443 (tls-alpn-01): so a
-- route's host has to be one name, and something has to listen there.
local check = require "script.check"
local values = require "script.values"

local M = {}
local types = check.types

function types.acme_directory(value, _, path, ctx)
    local text = types.text(value, { longest = 500 }, path, ctx)
    if text and not text:find "^https://[%w.%[%]:-]+/?[%w%p]*$" then
        return ctx.report(path, select(2, values.expected(
            'the address of a directory such as "https://acme-v02.api.letsencrypt.org/directory"', value)))
    end
    return text
end

-- Behind the cluster's own check; `given` is what it says of acme, checked, or nil; `history` likewise.
function M.cluster(given, history, ctx)
    if given and history and history.enabled == false then
        ctx.report("acme", "needs the history, where account and certificates are kept: without, each start "
            .. "would ask for all of them anew, which authorities refuse soon")
    end
    if given and not given.agree then
        ctx.report("acme.agree", "is missing: an authority issues only to who agrees to its terms of "
            .. "service, which " .. given.directory .. " names: read them and write agree = true")
    end
    if given then
        given.agree, given.at = nil, ctx.place "acme"
    end
end

-- Why no authority proves this host, or nil.
local function trouble(host)
    if host == "" then
        return 'needs the name to ask for: write host = "shop.example" beside it'
    elseif host:find "^%*%." then
        return ("a certificate for %s takes a proof that tidegate does not make (dns-01): name the hosts one "
            .. "by one, or give a certificate"):format(values.describe(host))
    elseif host:find "^[%d.]+$" then
        return ("is for names: %s is an address"):format(values.describe(host))
    end
end

-- Notes that `route` of a listener wants one; `path` is that of acme itself, nil = it does not.
function M.add(listener, shared, route, path, ctx)
    if not path then
        return
    end
    local why = trouble(route.host or "")
    shared.acme = shared.acme or { ctx = ctx, path = path }
    shared.acme_443 = shared.acme_443 or listener.listen:find ":443$" ~= nil
    if why then
        listener.wrong = true
        return ctx.report(path, why)
    end
    if not listener.known["acme " .. route.host] then
        listener.known["acme " .. route.host] = true
        listener.sources[#listener.sources + 1] = { acme = route.host, at = ctx.place(path) }
    end
end

-- With all listeners known; `given` as in M.cluster, of whose block `ctx` is.
function M.finish(shared, given, ctx)
    local wanted = shared.acme
    if not wanted then
        if given then
            ctx.warn("acme", "no route has tls = { acme = true }: nothing is asked for")
        end
        return
    elseif not given then
        wanted.ctx.report(wanted.path,
            'who is asked? write cluster { acme = { email = "ops@shop.example", agree = true } }')
        return
    end
    local plain_80 = false
    for address in next, shared.plain do
        plain_80 = plain_80 or address:find ":80$" ~= nil
    end
    if given.challenge == "http-01" and not plain_80 then
        ctx.warn("acme", 'nothing listens on port 80, where http-01 is asked: add a route with '
            .. 'listen = ":80", '
            .. "see that the host's port 80 leads to one without TLS, or write challenge = \"tls-alpn-01\"")
    elseif given.challenge == "tls-alpn-01" and not shared.acme_443 then
        ctx.warn("acme", "none of these routes listens on port 443, where tls-alpn-01 is asked: see that the "
            .. "host's port 443 leads to one of them")
    end
end

return M
