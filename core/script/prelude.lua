-- prelude.lua: the trusted Lua of every state: strict views and pickers; sandboxes are sandbox.lua.
--
-- Called once by state.c with `host`: { libraries (the originals), nearest (the chunk of nearest.lua), own
-- (which compiles another file of this room), compile, depth, find, match, gmatch, gsub, sort, print,
-- library, and in hot states ffi, backend_bytes, request_bytes, head_bytes }. Returns the functions that C
-- calls. Policies see none of these locals but what `environment` copies.
local host = ...
local lib = host.libraries
local assert, error, pairs = lib.base.assert, lib.base.error, lib.base.pairs
local rawget, rawset = lib.base.rawget, lib.base.rawset
local setmetatable, tonumber, type, concat = lib.base.setmetatable, lib.base.tonumber, lib.base.type,
    lib.table.concat

local P = {}

local views = host.own "tidegate/views"()

P.seed = lib.math.randomseed -- math.random is as seeded: state.h
P.environment, host.text = host.own "script/sandbox"(host, views.functions)

-- ---- Strict views -------------------------------------------------------------------------------

local fields_of, not_a_field, strict_of, nearest = host.own "script/strict"(host, views, P.environment)

local of_service = strict_of("ServiceView", "the view")
local declared = of_service.__index
local strict = { service = of_service, notice = strict_of("Notice", "the message"),
    backend = strict_of("Backend", "the backend"), request = strict_of("Request", "the request") }

function of_service.__index(view, key)
    if key == "metrics" then
        local metrics = P.marked { service = rawget(view, "service") or "" }
        rawset(view, "metrics", metrics)
        return metrics
    end
    return declared(view, key)
end

P.given, P.failed = host.own "script/parts"(error, pairs, pcall, type, lib.math.huge, host.calendar)
P.judge, P.herald, P.marked = host.own "script/judge"(host, fields_of, not_a_field, strict.notice)

-- The metrics in a view are what alerts see: all groups are there, unknown numbers read as NaN. Without any
-- they are made when they are read. Chance comes with the view, so that a decision that is made again comes
-- out the same.
function P.strict(view, class)
    P.seed(tonumber(view.hash) or 0)
    if view.metrics then
        view.metrics = P.marked(view.metrics)
    end
    return setmetatable(view, strict[class])
end

-- Returns a function that makes a strict view of a service's name and of numbers in the order of `names`.
function P.viewer(names)
    local format, parameters, members, hash = lib.string.format, {}, {}, "nil"
    for i = 1, #names do
        hash = names[i] == "hash" and "v" .. i or hash
        parameters[i] = "v" .. i
        members[i] = format("%s = v%d", names[i], i)
    end
    local source = format("local setmetatable, strict, seed = ... return function(service, %s) seed(%s or 0) "
        .. "return setmetatable({ service = service, %s }, strict) end", concat(parameters, ", "), hash,
        concat(members, ", "))
    return host.compile(source, "view", {})(setmetatable, strict.service, P.seed)
end

-- ---- Pickers ------------------------------------------------------------------------------------

local ITS_FUNCTIONS = { "score", "pick", "prepare", "chose" }

local function compiled(parts, policy, ...)
    local drive = host.own("script/driver", true)(error, type, lib.math.huge, lib.string.format)
    local pick, resize, cost = drive(policy, ...)
    parts[#parts + 1] = pick
    for i = 1, #ITS_FUNCTIONS do
        parts[#parts + 1] = policy[ITS_FUNCTIONS[i]]
    end
    return pick, resize, cost
end

-- A policy may have several ways, each with its own loop and so with traces of its own: `which` says by the
-- request which one it is.
-- The functions that run for a pick go into the list `parts`.
local function driver(policy, rows, backends, request, parts)
    local which = type(policy) == "table" and policy.which
    if type(which) ~= "function" or type(policy[1]) ~= "table" then
        return compiled(parts, policy, rows, backends, request)
    end
    local picks, resizes, costs, n = {}, {}, {}, 0
    for i = 1, #policy do
        picks[i], resizes[i], costs[i] = compiled(parts, policy[i], rows, backends, request)
    end
    local function pick() local index = picks[which(backends, n, request)]() return index end
    local function resize(count)
        n = count
        for i = 1, #resizes do
            resizes[i](count)
        end
    end
    local function cost(i)
        local value = costs[which(backends, n, request)](i)
        return value
    end
    parts[#parts + 1] = pick
    parts[#parts + 1] = which
    return pick, resize, #costs == #picks and cost or nil
end

-- One pick among backends and for a request that are plain tables: for a policy's examples.
function P.try(policy, backends, request)
    request.in_flight = 0
    for i = 1, #backends do
        request.in_flight = request.in_flight + (backends[i].eligible ~= 0 and backends[i].in_flight or 0)
    end
    local pick, resize = driver(policy, backends, backends, request, {})
    resize(#backends)
    local index = pick()
    return index ~= 0 and index or nil
end

-- A picker over backends and a request that are plain tables, for the console: pick, resize, cost.
function P.tables(policy, backends, request)
    for i = 1, #backends do
        setmetatable(backends[i], strict.backend)
    end
    setmetatable(request, strict.request)
    return driver(policy, backends, backends, request, {})
end

-- ---- Functions of the configuration, and what they see ------------------------------------------

P.functions = host.own "script/again"(host, P.environment)

if not host.ffi then
    return P
end

-- The structs of script.h. Policies get const references to them: only scalars, so that nothing can be
-- written or read out of bounds. The pointers stay in this file.
local ffi = host.ffi
ffi.cdef [[
struct backend {
    double in_flight, weight, max_connections, capacity, response_ms, error_rate, age_s;
    double response_mean_ms, ramp;
    uint32_t tags, hash;
    int32_t zone, circuit, eligible, index;
};
struct request {
    double now_ms, in_flight;
    uint32_t changes, hash, key, tags, dataset, processing, path, implied;
    int32_t data, tag_count, zone, sticky, method, attempt;
};
]]
ffi.metatype("struct backend", { __index = strict.backend.__index }) -- asked only for what is no field
ffi.metatype("struct request", { __index = strict.request.__index })
assert(ffi.sizeof "struct backend" == host.backend_bytes)
assert(ffi.sizeof "struct request" == host.request_bytes)

local look = host.own "script/compiled"(host.funcbc)

-- `rows` and `request` are light userdata; the rows stay where they are as long as the picker lives.
function P.picker(policy, rows, capacity, request)
    local base, refs, backends, parts = ffi.cast("const struct backend *", rows), {}, {}, {}
    for i = 1, capacity do
        refs[i] = base[i - 1]
    end
    local view = ffi.cast("const struct request *", request)[0]
    local pick, resize, cost = driver(policy, base - 1, backends, view, parts)
    local function fit(count)
        for i = 1, capacity do
            backends[i] = i <= count and refs[i] or nil
        end
        resize(count)
    end
    -- Writes every backend's score to `to`, light userdata with room for them; what is no number is NaN.
    local function scores(to, count)
        local out = ffi.cast("double *", to)
        for i = 1, count do
            local value = cost(i)
            out[i - 1] = type(value) == "number" and value or 0 / 0
        end
    end
    return pick, fit, cost and scores, function()
        return look(parts)
    end
end

P.aborts = host.own "script/aborts"(lib)
P.reader = host.own "script/reader"(host, nearest)

return P
