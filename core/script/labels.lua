-- labels.lua: makes services of labelled containers, by the checks that the files' services pass.
--
-- request.labelled is what the master saw: sets of labels, in the order in which they count,
--   { set = "3f2a...", container = "shop-web-1", service = "web" (when no label names one),
--     labels = { ["tidegate.route.host"] = "shop.example", ... } }
-- Containers with equal labels are one set, so that others of the same kind change nothing here. Out comes,
-- as `labels` of the configuration,
--   { sets = { { set, service = "web" (absent: it serves nothing), port, network, weight, max_connections,
--     capacity, tags, verdicts = { { label, value, verdict = "used" | "wrong" | "unused", text } } } } }
-- A wrong label loses its route, its container when it is of that alone, else its service; files and other
-- services never hear of it. Who may start containers is no operator of ours: label_read.lua says what they
-- may set.
local check = require "script.check"
local reading = require "script.label_read"
local service_types = require "script.service"
local tree = require "script.label_tree"

local M = {}
local OWN, ALL, ROUTE = reading.OWN, reading.ALL, reading.ROUTE
local named, say, say_all, label_of = reading.named, reading.say, reading.say_all, reading.label_of

local MOST_SERVICES = 1024

-- ---- Rules of routes --------------------------------------------------------------------------

-- What labels may listen on: as configured, else where the file's own HTTP routes do.
local function allowed_addresses(settings, services)
    local out, seen = {}, {}
    for _, address in ipairs(settings.listen) do
        out[#out + 1] = address
    end
    for _, s in ipairs(#out == 0 and services or {}) do
        for _, r in ipairs(s.routes) do
            local address = r.listen and (r.tls and "https://" or "") .. r.listen
            if not r.tcp and address and not seen[address] then
                seen[address] = true
                out[#out + 1] = address
            end
        end
    end
    return out
end

local function address_of(text)
    local quiet = { report = function() end }
    local at = check.types.route_listen(text, nil, "", quiet)
    return at and service_types.scheme(text) .. at
end

-- Whether a certificate is there for a https address; labels bring none.
local function has_certificate(address, state)
    local listener = state.shared.tls.secure_listeners[address:match "^https://(.*)$"]
    return not address:find "^https://" or state.cluster_tls or listener and #listener.sources > 0
end

-- Why a route may not listen where it says, or the reason that it cannot be said; sets the default.
local function check_listen(body, state)
    local allowed, configured = state.allowed, #state.settings.listen > 0
    local choice = table.concat(allowed, ", ")
    if body.listen == nil and (#allowed == 1 or configured and #allowed > 0) then
        body.listen = allowed[1]
    elseif #allowed == 0 then
        return "nothing is there to listen on: write labels = { listen = \":80\" } into cluster { }"
    elseif body.listen == nil then
        return "on which address? Write it: one of " .. choice
    else
        local at = address_of(body.listen)
        local found = false
        for _, address in ipairs(allowed) do
            found = found or at == address
        end
        if at and not found then
            return ("labels may not listen on %s: they may on %s"):format(at, choice)
        end
    end
    local at = address_of(body.listen)
    local asked = body.tls and body.tls.acme == true
    if at and not asked and not has_certificate(at, state) then
        return ('%s has no certificate: write tls = { folder = "certs" } into cluster { }'):format(at)
    end
end

local function host_fits(host, hosts)
    host = tostring(host or ""):lower()
    for _, pattern in ipairs(hosts) do
        local below = pattern:match "^%*(%..*)$"
        if host == pattern or below and #host > #below and host:sub(-#below) == below then
            return true
        end
    end
    return #hosts == 0
end

local function check_route(body, state, wrong)
    local settings = state.settings
    if body.tls and not state.acme then
        wrong("tls.acme", "nobody is asked for certificates: the configuration has no "
            .. "cluster { acme = { ... } }")
    elseif body.tls and #settings.hosts == 0 then
        wrong("tls.acme", 'needs labels = { hosts = { "*.apps.example" } } in the configuration: the names '
            .. "that certificates may be asked for")
    end
    local why = check_listen(body, state)
    if why then
        wrong("listen", why)
    end
    if body.host == nil and body.path == nil and not tostring(body.listen):find "^tcp://" then
        wrong("host", "is missing: name a host, or path=/ for requests to any")
    elseif not host_fits(body.host, settings.hosts) then
        wrong("host", (body.host and "labels may not name this host" or "is missing: labels may not take "
            .. "requests to any host") .. ": they may name " .. table.concat(settings.hosts, ", "))
    end
end

-- ---- Services ---------------------------------------------------------------------------------

-- The service's declaration as the file would have it, without routes that are wrong.
local function body_of(entry)
    local body, routes = { backends = {} }, {}
    for key, value in next, entry.body do
        body[key] = value
    end
    body.balance = nil
    entry.kept = {}
    for i, route in ipairs(entry.routes) do
        if not route.bad then
            local one = { balance = entry.body.balance }
            for key, value in next, route.body do
                one[key] = value
            end
            routes[#routes + 1] = one
            entry.kept[#entry.kept + 1] = i
        end
    end
    body.route = #routes > 0 and routes or nil
    return body
end

-- The path in `entry.routes` of one in the body, where those that are wrong are left out.
local function true_path(entry, path)
    return (path:gsub("^route%[(%d+)%]", function(number)
        return ("route[%d]"):format(entry.kept[tonumber(number)])
    end))
end

-- Changes the context of a block: errors are told to the container's owner and not the operator.
local function context_of(load, entry)
    return function(ctx)
        ctx.labelled = true
        function ctx.report(path, text)
            load.errors.aside()
            path = true_path(entry, path)
            local number = path:match "^route%[(%d+)%]"
            if number and not entry.taken then
                entry.routes[tonumber(number)].bad = true
            else
                entry.bad = true
            end
            say(entry, label_of(entry, path), "wrong", text)
        end
        function ctx.warn()
        end
        function ctx.place()
            return entry.place
        end
        local use = ctx.use
        function ctx.use(one)
            if load.host.read(("policies/%s/%s.lua"):format(one.kind, tostring(one.name))) and
                not load.file_policies[one.kind .. "/" .. tostring(one.name)] then
                ctx.report(one.name_path, "is a policy beside the configuration, which does not use it "
                    .. "itself: labels may name shipped ones and those")
                return
            end
            use(one)
        end
    end
end

local function copy(list)
    local out = {}
    for key, value in next, list do
        out[key] = value
    end
    return out
end

-- Of what tls.listeners writes into.
local function copy_tls(tls)
    local out = copy(tls)
    out.plain, out.secure, out.secure_listeners = copy(tls.plain), copy(tls.secure), {}
    for i, listener in ipairs(tls.secure_listeners) do
        local one = copy(listener)
        one.hosts, one.known = check.array(copy(listener.hosts)), copy(listener.known)
        one.sources = check.array(copy(listener.sources))
        out.secure_listeners[i], out.secure_listeners[listener.listen] = one, one
    end
    return out
end

local function cut(list, count)
    for i = #list, count + 1, -1 do
        list[i] = nil
    end
end

-- The checked service of a set, or nil; the state of the load is as before when there is none.
local function attempt(load, entry, state)
    local uses, steps = #load.uses, #load.steps
    for _ = 0, #entry.routes do
        local wrong_before, shared = {}, copy(state.shared)
        shared.routes = copy(state.shared.routes)
        shared.tls = copy_tls(state.shared.tls)
        for i, route in ipairs(entry.routes) do
            wrong_before[i] = route.bad
        end
        local declared = { keyword = "service", name = entry.service, file = entry.place, line = 0,
            body = body_of(entry), adjust = context_of(load, entry) }
        -- Also when it is lost already: so that all that is wrong is told at once.
        local service = (#entry.kept > 0 or #entry.routes == 0) and state.check(load, declared, shared)
        local again = false
        for i, route in ipairs(entry.routes) do
            again = again or route.bad ~= wrong_before[i]
        end
        if service and not entry.bad and not again then
            state.shared.routes, state.shared.tls = shared.routes, shared.tls
            return service
        end
        cut(load.uses, uses)
        cut(load.steps, steps)
        if not again or entry.bad then
            return nil
        end
    end
end

local function check_routes(entry, state)
    for i, route in ipairs(entry.routes) do
        if not route.bad then
            check_route(route.body, state, function(key, text)
                route.bad = true
                local at = label_of(entry, ("route[%d].%s"):format(i, key))
                local whole = route.node.name .. "." .. key
                say(entry, whole, "wrong", text)
                if at ~= whole then
                    say(entry, at, "unused", whole .. " is wrong")
                end
            end)
        end
    end
    if #entry.routes == 0 then
        say(entry, entry.prefix .. ".route.host", "wrong",
            "is missing: without a host or a path nothing is sent to it")
    end
end

-- A label that must be the same for all containers of a service.
local function is_shared(entry, name)
    return not named(OWN, name:sub(#entry.prefix + 2)) and not name:find("^%.scale%f[%z.]", #entry.prefix + 1)
end

-- What another set of the same service says otherwise than the one that counts.
local function compare(entry, winner)
    for name, text in next, entry.labels do
        local other = winner.labels[name]
        if is_shared(entry, name) and other ~= text then
            local says = other and ('says "%s"'):format(other) or "does not say it"
            say(entry, name, "wrong", ("contradicts %s of the same service, which %s and counts"):format(
                winner.place, says))
        end
    end
    for name in next, winner.labels do
        if is_shared(entry, name) and not entry.labels[name] then
            say(entry, name, "wrong", ("is missing: %s of the same service has it, and counts"):format(
                winner.place))
        end
    end
end

-- The sets of one service name: the first that is right makes it, and all of them serve it.
local function take_service(load, group, state, out)
    local winner
    for _, entry in ipairs(group) do
        if not winner then
            check_routes(entry, state)
            local service = attempt(load, entry, state)
            if service then
                service.labelled, entry.taken, winner = true, service, entry
                out.service[#out.service + 1] = service
            end
        end
    end
    for _, entry in ipairs(group) do
        entry.winner = winner
        if winner and entry ~= winner then
            compare(entry, winner)
        end
    end
end

local function groups_of(entries)
    local groups, by_name = {}, {}
    for _, entry in ipairs(entries) do
        if entry.counts and entry.service then
            local group = by_name[entry.service]
            if not group then
                group = { name = entry.service }
                by_name[entry.service], groups[#groups + 1] = group, group
            end
            group[#group + 1] = entry
        end
    end
    return groups
end

-- Adds the services of labels to those of the files. `check_service(load, entry, shared)` is blocks.lua's.
-- `acme`: whether the cluster has an authority to ask for certificates.
function M.take(load, out, shared, check_service, acme)
    local settings = load.settings.labels
    if not settings then
        return
    end
    load.host.mark()
    local entries, declared = {}, {}
    local state = { settings = settings, shared = shared, check = check_service,
        acme = acme, cluster_tls = load.settings.tls ~= nil and #load.settings.tls.sources > 0,
        allowed = allowed_addresses(settings, out.service) }
    load.labels, load.file_policies = { entries = entries }, {}
    for _, use in ipairs(load.uses) do
        load.file_policies[use.kind .. "/" .. tostring(use.name)] = true
    end
    for _, s in ipairs(out.service) do
        declared[s.name] = s.at
    end
    for i, set in ipairs(load.request.labelled or {}) do
        entries[i] = reading.read(set, settings)
    end
    for _, group in ipairs(groups_of(entries)) do
        for _, entry in ipairs(group) do
            if declared[group.name] then
                say_all(entry, "unused", ('shadowed: the configuration declares service "%s" at %s'):format(
                    group.name, declared[group.name]))
            elseif #out.service >= MOST_SERVICES then
                say_all(entry, "wrong", ("there are %d services already: at most %d"):format(#out.service,
                    MOST_SERVICES))
            end
        end
        if not declared[group.name] and #out.service < MOST_SERVICES then
            take_service(load, group, state, out)
        end
    end
end

-- ---- What became of them ----------------------------------------------------------------------

-- "route.host = "shop.example"" of a label that is used.
local function used_as(entry, name)
    local path = name:sub(#entry.prefix + 2)
    local fields, field = ALL, nil
    for part in path:gmatch "[^.]+" do
        field = fields and named(fields, part)
        fields = field and (field[1] == "route" and ROUTE or field.fields) or field == nil and fields or nil
    end
    return ("%s = %s"):format(path, tree.plain(field, entry.labels[name]))
end

local function settle_verdicts(entry)
    local service = entry.winner and not entry.winner.bad and entry.winner.taken
    for name in next, entry.labels do
        local route = entry.route_of and entry.route_of[name]
        if route and route.bad then
            say(entry, name, "unused", "another label of this route is wrong")
        elseif service and entry.unfit then
            say(entry, name, "unused", "another label of this container is wrong")
        elseif not service then
            say(entry, name, "unused", entry.service and "what is wrong keeps its service from being made" or
                "it has no service")
        else
            say(entry, name, "used", used_as(entry, name))
        end
    end
    local out = check.array()
    for _, name in ipairs(check.sorted_keys(entry.verdicts)) do
        out[#out + 1] = entry.verdicts[name]
    end
    return out, not entry.unfit and service
end

-- When all steps have run: services whose policies refused go, and each label gets its verdict.
function M.settle(load)
    if not load.labels or not load.config then
        return
    end
    local services, sets = load.config.services, check.array()
    local lost = {}
    for _, entry in ipairs(load.labels.entries) do
        if entry.taken and entry.bad then
            lost[entry.taken] = true
        end
    end
    for i = #services, 1, -1 do
        if lost[services[i]] then
            table.remove(services, i)
        end
    end
    for i, entry in ipairs(load.labels.entries) do
        local verdicts, service = settle_verdicts(entry)
        local own = entry.own
        sets[i] = { set = entry.set, service = service and service.name or nil, port = own.port,
            network = own.network, weight = own.weight or 1, max_connections = own.max_connections or 100,
            capacity = own.capacity or 1000, tags = own.tags or check.array(), verdicts = verdicts,
            wanted = entry.counts and entry.service or nil }
    end
    load.config.labels = { sets = sets }
end

return M
