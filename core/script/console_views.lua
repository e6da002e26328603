-- console_views.lua: `services` of the console: views of scale policies, and backends as balance policies
-- see them.
--
-- Attached they are the daemon's status; without a daemon they are made up: a healthy service that is
-- half loaded. Either way plain tables, which may be changed at the prompt; reading a field that there is
-- not raises
-- and names the nearest one.
local check = require "script.check"
local nearest = require "script.nearest"
local print_module = require "script.console_print"

local M = {}

-- ---- Strict tables --------------------------------------------------------------------------------

local function names_of(t)
    local names = {}
    for _, key in ipairs(print_module.sorted_keys(t)) do
        names[#names + 1] = type(key) == "string" and key or nil
    end
    return names
end

local function or_known(near, names)
    return near and ("did you mean \"%s\"?"):format(near) or #names > 0 and "there are "
        .. table.concat(names, ", ")
        or "there are none"
end

-- Unknown fields raise. `optional` ones are nil while unknown.
local function strict(t, what, optional)
    return setmetatable(t, { __metatable = false, __index = function(_, key)
        if type(key) ~= "string" or optional and optional[key] then
            return nil
        end
        local names = names_of(t)
        error(("%s \"%s\": %s"):format(what, key, or_known(nearest(key, names), names)), 0)
    end })
end

-- ---- Views ----------------------------------------------------------------------------------------

local MADE_UP = {
    now = 1000, time = 1790000000, starting = 0, cpu_percent = 50, memory_percent = 50, error_rate = 0,
    p50_ms = 5, p95_ms = 20, p99_ms = 50, queue = 0,
    since_up_s = 3600, since_down_s = 3600, sample_age_s = 0, hash = 0.5,
}

local function made_up(config)
    local scale = config.scale or {}
    local count = scale.min and math.max(scale.min, math.min(2, scale.max)) or #(config.backends or {})
    local view = { service = config.name, instances = count, desired = count, min = scale.min or count,
        max = scale.max or count, in_flight = 4 * count, rate = 100 * count }
    for key, value in next, MADE_UP do
        view[key] = value
    end
    return view
end

-- What the last decision was asked, with the figures of now.
local function of_status(config, status, metrics)
    local view = { service = config.name, starting = status.starting, instances = status.up, min = status.min,
        max = status.max, desired = status.desired, hash = 0.5, metrics = metrics }
    for _, part in ipairs { (status.last_decision or {}).inputs or {}, status.resources or {},
        status.traffic or {} } do
        for key, value in next, part do
            view[key] = value
        end
    end
    view.instances, view.desired, view.starting = status.up, status.desired, status.starting
    view.min, view.max = status.min, status.max
    view.now = view.now or 0
    return view
end

-- ---- Backends -------------------------------------------------------------------------------------

local USUAL_BACKEND = {
    in_flight = 0, weight = 1, max_connections = 100, capacity = 1000, response_ms = 0, error_rate = 0,
        age_s = 3600,
    response_mean_ms = 0, ramp = 1, circuit = "closed", eligible = true,
}
M.backend_fields = USUAL_BACKEND

local function backend(of, id, address, tags)
    local b = { id = id, address = address, tags = {} }
    for key, value in next, USUAL_BACKEND do
        b[key] = of[key] == nil and value or of[key]
    end
    for i, tag in ipairs(tags or {}) do
        b.tags[i] = tag
    end
    return strict(b, "a backend has no field")
end

local function tags_of(config, index)
    local tags = config.tags or {}
    return #tags == 1 and tags[1] or tags[index]
end

local function made_up_backends(config, count)
    local list = {}
    for i, own in ipairs(config.backends or {}) do
        list[i] = backend(own, own.address, own.address, own.tags)
    end
    for i = #list + 1, count do
        list[i] = backend(config, ("%s-%d"):format(config.name, i), "made up", tags_of(config, i))
    end
    return list
end

local function live_backends(config, status)
    local list, own = {}, {}
    for _, one in ipairs(config.backends or {}) do
        own[one.address] = one
    end
    for _, instance in ipairs(status.instances or {}) do
        local of = own[instance.address] or own[instance.id]
        local b = backend(of or config, instance.id, instance.address, of and of.tags or tags_of(config,
            instance.index))
        b.in_flight, b.circuit = instance.in_flight or 0, instance.circuit or "closed"
        b.age_s = instance.age_s or b.age_s
        b.eligible = instance.state == "up" and b.circuit ~= "open"
        b.state, b.reason = instance.state, instance.reason
        list[#list + 1] = b
    end
    return list
end

-- ---- Services -------------------------------------------------------------------------------------

local function service_of(c, config, status)
    local view = status and of_status(config, status, (c.data.metrics or {})[config.name]) or made_up(config)
    view.backends = status and live_backends(config, status) or made_up_backends(config, view.instances)
    return strict(view, ("services.%s has no field"):format(config.name), c.view_fields)
end

-- c.services and c.configs anew from c.data.
function M.update(c)
    local live = {}
    for _, one in ipairs((c.data.status or {}).services or {}) do
        live[one.name] = one
    end
    c.services, c.configs, c.live = {}, {}, live
    for _, config in ipairs(c.data.configuration.services or {}) do
        c.configs[config.name] = config
        c.services[config.name] = service_of(c, config, live[config.name])
    end
    strict(c.services, "no service")
    c.env.services = c.services
end

-- The name of a service, or an error.
function M.need(c, word, name)
    local names = names_of(c.configs)
    if type(name) ~= "string" then
        error(("%s: expected the name of a service, got %s: %s"):format(word, print_module.show(name),
            or_known(nil, names)), 0)
    elseif not c.configs[name] then
        error(("%s: no service \"%s\": %s"):format(word, name, or_known(nearest(name, names), names)), 0)
    end
    return name
end

-- The view of a scale policy: the service's, with what is given in its place.
function M.view(c, word, name, given)
    local of = c.services[name]
    local view = {}
    for _, field in ipairs(c.view_list) do
        view[field] = rawget(of, field)
    end
    if given ~= nil and type(given) ~= "table" then
        error(("%s: expected fields such as { cpu_percent = 92 }, got %s"):format(word,
            print_module.show(given)), 0)
    end
    for key, value in next, given or {} do
        if not c.view_fields[key] then
            error(("%s: %s"):format(word, check.unknown(key, c.view_list, "field "
                .. print_module.show(key))), 0)
        elseif key ~= "metrics" and key ~= "service" and type(value) ~= "number" then
            error(("%s: %s: expected a number, got %s"):format(word, key, print_module.show(value)), 0)
        end
        view[key] = value
    end
    return view
end

-- ---- Rows of a balance policy ---------------------------------------------------------------------

local CIRCUITS = { closed = 0, ["half-open"] = 1, open = 2 }
local TAG_BITS = 32

-- Bits of the tags that the backends have, most frequent first.
local function tag_bits(list)
    local count, names, bits = {}, {}, {}
    for _, b in ipairs(list) do
        for _, tag in ipairs(b.tags) do
            if not count[tag] then
                names[#names + 1] = tag
            end
            count[tag] = (count[tag] or 0) + 1
        end
    end
    table.sort(names, function(a, b)
        return count[a] > count[b] or count[a] == count[b] and a < b
    end)
    for i = 1, math.min(#names, TAG_BITS) do
        bits[names[i]] = 2 ^ (i - 1)
    end
    return bits
end

local function zone_hash(c, zone)
    return c.host.hash(zone) % 2 ^ 32
end

local function row_of(c, b, index, bits)
    local row = { index = index, hash = c.host.hash(b.id), zone = 0, tags = 0 }
    for _, key in ipairs { "in_flight", "weight", "max_connections", "capacity", "response_ms",
        "error_rate", "age_s",
        "response_mean_ms", "ramp" } do
        row[key] = b[key]
        if type(row[key]) ~= "number" then
            error(("%s of backend %s is %s: it must be a number"):format(key, tostring(b.id),
                print_module.show(row[key])), 0)
        end
    end
    for _, tag in ipairs(b.tags) do
        row.tags = row.tags + (bits[tag] or 0)
        local zone = tag:match "^zone:(.+)$"
        row.zone = zone and row.zone == 0 and zone_hash(c, zone) or row.zone
    end
    row.weight = row.weight * row.ramp
    row.circuit = CIRCUITS[b.circuit] or 0
    row.eligible = b.eligible and row.in_flight < row.max_connections and 1 or 0
    return row
end

local METHODS = { GET = 1, HEAD = 2, POST = 3, PUT = 4, DELETE = 5, PATCH = 9 }

-- What score and pick take of a request.
M.request_fields = { "attempt", "data_affinity_tags", "dataset_id", "key", "method", "path",
    "processing_type", "route",
    "zone" }

local function text_of(given, key)
    local value = given[key]
    if value ~= nil and type(value) ~= "string" and type(value) ~= "number" then
        error(("%s: expected a text, got %s"):format(key, print_module.show(value)), 0)
    end
    return value ~= nil and value ~= "" and tostring(value) or nil
end

local function tags_asked(given)
    local value, tags = given.data_affinity_tags, {}
    if type(value) == "string" then
        for tag in value:gmatch "[^,%s]+" do
            tags[#tags + 1] = tag
        end
    elseif type(value) == "table" then
        for _, tag in ipairs(value) do
            tags[#tags + 1] = tostring(tag)
        end
    elseif value ~= nil then
        error("data_affinity_tags: expected a list such as { \"zone:1\" }, got "
            .. print_module.show(value), 0)
    end
    return tags
end

local function request_of(c, word, given, bits)
    for key in next, given do
        if not c.request_known[key] then
            error(("%s: %s"):format(word, check.unknown(key, M.request_fields, "field "
                .. print_module.show(key))), 0)
        end
    end
    local hash = c.host.hash
    local dataset, processing = text_of(given, "dataset_id"), text_of(given, "processing_type")
    local zone, key, path = text_of(given, "zone"), text_of(given, "key"), text_of(given, "path")
    local tags = tags_asked(given)
    zone = zone or ((c.data.configuration.cluster or {}).zone or "") ~= ""
        and c.data.configuration.cluster.zone or nil
    local r = {
        now_ms = 0, in_flight = 0, changes = 0, hash = 0, key = key and hash(key) or 0, tags = 0,
        dataset = dataset and hash(dataset) or 0, processing = processing and hash(processing) or 0,
        path = hash(path or "/"), implied = 0, data = (dataset or processing or #tags > 0) and 1 or 0,
        tag_count = #tags, zone = zone and zone_hash(c, zone) or 0, sticky = 0,
        method = METHODS[text_of(given, "method") or "GET"] or 0, attempt = tonumber(given.attempt) or 0,
    }
    for _, tag in ipairs(tags) do
        local own = bits[tag] or 0
        r.tags = bit.band(r.tags, own) == 0 and r.tags + own or r.tags
    end
    r.implied = (dataset and bits["dataset:" .. dataset] or 0) + (processing and bits["processing:"
        .. processing] or 0)
    return r
end

-- Rows and request of one decision of a service, by what was typed.
function M.field(c, word, name, given)
    if given ~= nil and type(given) ~= "table" then
        error(("%s: expected a request such as { dataset_id = \"orders\" }, got %s"):format(word,
            print_module.show(given)), 0)
    end
    local list = c.services[name].backends
    if type(list) ~= "table" or #list == 0 then
        error(("%s: %s has no backends now"):format(word, name), 0)
    end
    for i, b in ipairs(list) do
        if type(b) ~= "table" or type(rawget(b, "tags")) ~= "table" or type(rawget(b, "id")) ~= "string" then
            error(("services.%s.backends[%d] is no backend: it needs an id and tags"):format(name, i), 0)
        end
    end
    local bits, rows, ids = tag_bits(list), {}, {}
    for i, b in ipairs(list) do
        rows[i], ids[i] = row_of(c, b, i, bits), tostring(b.id)
    end
    return rows, request_of(c, word, given or {}, bits), ids
end

function M.new(c)
    c.request_fields, c.request_known = M.request_fields, {}
    for _, name in ipairs(M.request_fields) do
        c.request_known[name] = true
    end
    c.view_fields = {}
    for _, name in ipairs(c.view_list) do
        c.view_fields[name] = true
    end
end

return M
