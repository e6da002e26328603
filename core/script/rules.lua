-- rules.lua: what must hold between the keys of a service and between services.
local check = require "script.check"
local edge = require "script.edge"

local M = {}

local DOCKER_LEAST_MEMORY = 6 * 2 ^ 20

-- Which of image, command and backends makes the service: "image", "command", "backends" or nil.
function M.source(body, engine, ctx)
    local image, command, backends = body.image ~= nil, body.command ~= nil, body.backends ~= nil
    if not image and not command and not backends and edge.all_answer(body.route) then
        return "backends" -- of which it needs none
    elseif not image and not command and not backends then
        ctx.report("", engine == "docker" and
            'needs an image, such as image = "acme/catalog:1.4", or backends' or
            'needs a command, such as command = { "./catalog", "--port", "$PORT" }, or backends')
        return nil
    elseif backends and (image or command) then
        ctx.report("backends", ("excludes %s: the service runs elsewhere, or here"):format(
            image and "image" or "command"))
    elseif backends then
        return "backends"
    elseif engine == "process" and image then
        ctx.report("image", command and "the process engine runs the command: leave image out" or
            'the process engine has no images: write command = { "./program" }, or engine = "docker"')
    elseif engine == "docker" and not image then
        ctx.report("command", 'the docker engine needs an image, such as image = "acme/catalog:1.4": ' ..
            'a command alone is for engine = "process"')
    end
    return image and "image" or "command"
end

-- Keys that make no sense for a service that runs elsewhere.
function M.only_own(fields, body, ctx)
    for _, field in ipairs(fields) do
        if field.own and body[field[1]] ~= nil and field[1] ~= "image" and field[1] ~= "command" then
            ctx.report(field[1], "is for services that tidegate runs: this one has backends" ..
                (field[1] == "scale" and ", which are not scaled" or ""))
        end
    end
end

local function check_ports(service, body, ctx, taken, clean)
    local max = service.scale and service.scale.max or 1
    for i, port in ipairs(service.ports) do
        local path = ("ports[%d]"):format(i)
        local key = ("%s:%d/%s"):format(port.host_ip, port.host, port.protocol)
        if port.host ~= 0 then
            if max > 1 then
                local text = 'port %d of the host can belong to one instance only, and scale.max is %d: ' ..
                    'write "%d", or scale = { instances = 1 }'
                ctx.report(path, text:format(port.host, max, port.container))
            end
            if taken[key] then
                ctx.report(path, ("port %d of the host is already taken at %s"):format(port.host, taken[key]))
            end
            taken[key] = ctx.place(path)
        end
    end
    if service.source ~= "image" or #service.ports > 0 or not clean then
        return
    end
    if body.route ~= nil then
        ctx.report("route", 'needs a port of the instances: ports = { "8080" }')
    elseif service.health_check and service.health_check.explicit and service.health_check.port == 0 and
        (service.health_check.kind ~= "none" and service.health_check.kind ~= "engine") then
        ctx.report("health_check", 'needs a port of the instances: ports = { "8080" }')
    end
end

local HELD = { limit = 100, timeout_ms = 30000 }

-- A service without instances needs routes whose requests wait for the first one; by default more of them and
-- for longer than where all are full.
local function check_zero(service, body, ctx)
    local scale = service.scale
    if not scale or scale.min ~= 0 or scale.max == 0 then
        if type(body.scale) == "table" and body.scale.idle ~= nil then
            ctx.report("scale.idle", "is for min = 0: without requests for so long no instance is left")
        end
        if scale then
            scale.idle_ms = nil
        end
        return
    end
    if #service.routes == 0 then
        ctx.report("scale.min", "0 needs a route, where requests wait until an instance is up: "
            .. 'add route = { listen = ":8080" }, or keep min = 1')
    end
    for _, entry in ipairs(ctx.routes) do
        local given, path = entry.given.queue, check.joined(entry.path, "queue")
        if given == false then
            ctx.report(path, "is where requests wait for the first instance of scale.min = 0: leave it on")
        elseif type(given) == "table" and given.when_down == false then
            ctx.report(check.joined(path, "when_down"), "must be true with scale.min = 0: leave it out")
        end
        local queue = entry.route.queue
        if queue and queue.limit then
            queue.when_down = true
            queue.limit = type(given) == "table" and given.limit and queue.limit or HELD.limit
            queue.timeout_ms = type(given) == "table" and given.timeout and queue.timeout_ms or
                HELD.timeout_ms
        end
    end
end

-- Rules of one checked service; `taken` carries host ports from service to service; `clean`: nothing was
-- wrong with it so far.
function M.service(service, body, ctx, taken, clean)
    local memory = service.resources and service.resources.memory_bytes
    local ours = service.source ~= "backends"
    if ctx.engine == "docker" and ours and memory and memory < DOCKER_LEAST_MEMORY then
        ctx.report("resources.memory", "docker needs at least 6m")
    end
    check_zero(service, body, ctx)
    if service.upstream_tls and service.protocol ~= "https" and service.protocol ~= "h2" then
        ctx.report("upstream_tls", 'is for backends that speak TLS: protocol = "https"')
    end
    if service.send_proxy and (service.protocol == "h2c" or service.protocol == "h2") then
        ctx.report("send_proxy", 'connections of HTTP/2 are shared by clients, so no header can name one: ' ..
            'leave it out, or write protocol = "http"')
    end
    if service.source == "backends" then
        local seen = {}
        local none = #service.backends == 0 and type(body.backends) == "table" and next(body.backends) == nil
        if none and not ctx.labelled then
            ctx.report("backends", 'names none: write backends = { "10.0.0.5:9000" }')
        end
        for i, backend in ipairs(service.backends) do
            if seen[backend.address] then
                ctx.report(check.joined("backends", i), ("%s is given twice"):format(backend.address))
            end
            seen[backend.address] = true
        end
    elseif service.ports then
        check_ports(service, body, ctx, taken, clean)
    end
end

-- Whether two listening addresses would meet: the same, or one port on all addresses and on one of them.
local function meet(a, b)
    if a == b then
        return true
    end
    local host_a, port_a = a:match "^(.*):(%d+)$"
    local host_b, port_b = b:match "^(.*):(%d+)$"
    return port_a ~= nil and port_a == port_b and (host_a == "0.0.0.0" or host_b == "0.0.0.0" or
        host_a == "[::]" or host_b == "[::]")
end

-- The conditions of a route beside host and path, in words; each of its methods makes one of them.
local function conditions(r)
    local fields = {}
    for i, pair in ipairs(r.headers or {}) do
        fields[i] = pair.name:lower() .. ": " .. pair.value
    end
    table.sort(fields)
    local rest = #fields > 0 and ", " .. table.concat(fields, ", ") or ""
    local out = {}
    for i, method in ipairs(r.methods or {}) do
        out[i] = rest .. ", method " .. method
    end
    return #out > 0 and out or { rest }
end

-- Connections begin before their route is known: all routes of an address agree on who sends PROXY headers.
local function check_proxied(entry, ctx, seen)
    local r = entry.route
    local says = r.proxy_protocol and ("of %s"):format(table.concat(r.trusted_proxies or {}, ", ")) or "none"
    local key = "proxied " .. r.listen
    seen[key] = seen[key] or { says = says, at = r.at }
    if seen[key].says ~= says then
        ctx.report(check.joined(entry.path, "proxy_protocol"),
            ("PROXY headers on %s: %s here, and %s at %s: they come before a route is known, so all of its "
                .. "routes say the same"):format(r.listen, says, seen[key].says, seen[key].at))
    end
end

-- No two routes on one address with the same host, path and conditions; none on the admin address. `seen`
-- carries over services.
function M.routes(ctx, admin, seen)
    for _, entry in ipairs(ctx.routes) do
        local r = entry.route
        if r.listen and r.host and r.path then
            local own, kind = {}, r.listen .. (r.tcp and " as HTTP" or " as TCP")
            local sole = r.listen .. (r.tcp and " as TCP" or " as HTTP")
            if seen[kind] then
                ctx.report(entry.path, ("%s is already the route at %s: TCP shares no address"):format(
                    kind, seen[kind]))
            end
            seen[sole] = seen[sole] or r.at
            check_proxied(entry, ctx, seen)
            for _, condition in ipairs(conditions(r)) do
                local key = r.listen .. " " .. r.host .. " " .. r.path .. condition
                if seen[key] and not own[key] then
                    ctx.report(entry.path, ("%s, host %s, path %s%s is already the route at %s"):format(
                        r.listen, r.host == "" and "any" or r.host, r.path, condition, seen[key]))
                    break
                end
                seen[key], own[key] = r.at, true
            end
            if meet(r.listen, admin or "") then
                local text = "%s meets the admin address %s: change one of them"
                ctx.report(check.joined(entry.path, "listen"), text:format(r.listen, admin))
            end
        end
    end
end

return M
