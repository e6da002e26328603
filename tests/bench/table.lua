-- The table of proxy.sh, tls.sh, h2.sh and h2_backends.sh: reads "scenario TAB proxy TAB value" lines on standard input.
-- A line a scenario and proxy: median, least and most of its values. The ratio is tidegate's value by the other's
-- of the same turn, the median of all turns; the goal is what it, or for figures without peers the median,
-- must not exceed.
local OWN = "tidegate"
local ORDER = { "tidegate", "tidegate-spin", "haproxy", "haproxy-splice", "nginx", "nginx-unbuffered", "nginx+lua" }

local function ratios(haproxy, nginx, lua)
    return { haproxy = haproxy, nginx = nginx, ["nginx+lua"] = lua }
end
-- Scenario, unit, goals of ratios, goals of values.
local SCENARIOS = {
    { "100 B, c=64", "us CPU a request", ratios(0.88, 0.92, 0.85) },
    { "100 B, c=256", "us CPU a request", ratios(0.72, 0.75, 0.72) },
    { "100 B, c=8", "us CPU a request", ratios(1, 1, 1) },
    { "close, c=64", "us CPU a request", ratios(0.70, 0.70, 0.70) },
    { "10 KB, c=256", "us CPU a request", ratios(0.82, 0.80, 0.78) },
    { "1 MB, c=16", "us CPU a request", { ["haproxy-splice"] = 0.88, nginx = 0.20, ["nginx+lua"] = 0.20 } },
    { "p50 at c=1", "us", ratios(1, 1, 1) },
    { "p50 at c=1", "us", ratios(0.65, 0.65, 0.65), own = "tidegate-spin", name = "p50 at c=1, spin_us = 50" },
    { "syscalls, keep-alive", "a request", {}, { tidegate = 4.3 } },
    { "syscalls, close", "a request", {}, { tidegate = 6.5 } },
    { "Lua's part of a pick, 3 backends", "ns", {}, { ewma = 100, least_connections = 100 } },
    { "Lua's part of a pick, 100 backends", "ns", {}, { ewma = 250, least_connections = 250 } },
    { "RSS idle", "MB", {}, { tidegate = 6 } },
    { "PSS idle", "MB", {}, { tidegate = 6 } },
    { "RSS after load", "MB", {}, {} },
    { "PSS after load", "MB", {}, {} },
    { "h2c, 100 B, c=8", "us CPU a request", { nginx = 0.95 } },
    { "h2c, 100 B, c=64", "us CPU a request", { nginx = 0.95 } },
    { "h2c, 100 B, 1 stream, c=64", "us CPU a request", { nginx = 0.95 } },
    { "h2c, 10 KB, c=8", "us CPU a request", { nginx = 0.95 } },
    { "h2, 100 B, c=8", "us CPU a request", { nginx = 0.95 } },
    { "gRPC calls, 8 connections, 10 streams", "us CPU a call", ratios(1, 1) },
    { "gRPC calls, 64 connections, 1 stream", "us CPU a call", ratios(1, 1) },
    { "TLS 1.3, new connections", "us CPU a connection", { nginx = 1 } },
    { "TLS 1.3, resumed", "us CPU a connection", { nginx = 1 } },
    { "TLS keep-alive, 100 B, c=64", "us CPU a request", { haproxy = 0.95 } },
    { "TLS memory", "KB an idle connection", {}, {} },
    { "requests that failed", "", {}, {} },
}

for _, kind in ipairs { "resets", "continuations", "settings", "pings", "half-open", "slow-hello", "stalled" } do
    table.insert(SCENARIOS, #SCENARIOS, { ("p99 during a flood of %s, by that beside a spinner"):format(kind), "", {}, { tidegate = 2 } })
    table.insert(SCENARIOS, #SCENARIOS, { "connections of a flood of " .. kind, "", {}, {} })
end

local figures = {}
for line in io.lines() do
    local scenario, proxy, value = line:match "^([^\t]+)\t([^\t]+)\t([%d.]+)$"
    assert(value, "not a figure: " .. line)
    figures[scenario] = figures[scenario] or {}
    local of = figures[scenario][proxy] or {}
    figures[scenario][proxy] = of
    of[#of + 1] = tonumber(value)
end

local function median(values)
    local sorted = { unpack(values) }
    table.sort(sorted)
    local middle = math.floor(#sorted / 2)
    return #sorted % 2 == 1 and sorted[middle + 1] or (sorted[middle] + sorted[middle + 1]) / 2
end

local function ratio(own, other)
    local turns = {}
    for i = 1, math.min(#own, #other) do
        turns[i] = own[i] / other[i]
    end
    return median(turns)
end

local met, missed = 0, 0
local function verdict(value, goal)
    if not goal then
        return ""
    end
    met, missed = met + (value <= goal and 1 or 0), missed + (value <= goal and 0 or 1)
    return ("<= %-6g %s"):format(goal, value <= goal and "met" or "MISSED")
end

local function number(value)
    return ("%9." .. (value >= 100 and "1" or "2") .. "f"):format(value)
end

-- Those of ORDER first, then what else there is, by name.
local function names(of)
    local list, seen = {}, {}
    for _, name in ipairs(ORDER) do
        list[#list + 1] = of[name] and name
        seen[name] = true
    end
    local rest = {}
    for name in pairs(of) do
        rest[#rest + 1] = not seen[name] and name or nil
    end
    table.sort(rest)
    for _, name in ipairs(rest) do
        list[#list + 1] = name
    end
    return list
end

local function show(scenario)
    local of, own_name = figures[scenario[1]], scenario.own or OWN
    print(("\n%s%s"):format(scenario.name or scenario[1], scenario[2] ~= "" and " (" .. scenario[2] .. ")" or ""))
    for _, name in ipairs(names(of)) do
        local values, goal = of[name], scenario[3][name]
        local line = ("  %-18s%s%s%s"):format(name, number(median(values)), number(math.min(unpack(values))),
            number(math.max(unpack(values))))
        local own = of[own_name]
        if name ~= own_name and own and next(scenario[3]) and name:sub(1, #OWN) ~= OWN then
            local value = ratio(own, values)
            line = line .. ("  %5.2f  %s"):format(value, verdict(value, goal))
        elseif scenario[4] and scenario[4][name] then
            line = line .. "         " .. verdict(median(values), scenario[4][name])
        end
        if name:sub(1, #OWN) ~= OWN or name == own_name then
            print((line:gsub("%s+$", "")))
        end
    end
end

print(("%-20s%9s%9s%9s  ratio  goal"):format("", "median", "least", "most"))
for _, scenario in ipairs(SCENARIOS) do
    if figures[scenario[1]] then
        show(scenario)
    end
end
print(("\n%d goals met, %d missed"):format(met, missed))
