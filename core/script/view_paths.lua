-- view_paths.lua: which numbers a view can have (core/watch/view.h), so that an alert that would never find
-- its number is told when it is read, not missed when it counts.
--
-- Members of `health`, `performance` and the groups below are also what a service tells of itself: where one
-- collects that, any name may come. Behind "prometheus." all is one name.
local nearest = require "script.nearest"

local M = {}

local TRAFFIC = { "rate", "in_flight", "queue", "p50", "p95", "p99", "error_rate", "retries", "backends",
    "open_circuits" }
local SCALE = { "desired", "up", "min", "max", "at_max", "wants_more", "deploy_failed" }
local RESOURCES = { "cpu_usage", "memory_usage", "memory_bytes", "network.received_bytes_per_second",
    "network.sent_bytes_per_second" }
local HEALTH = { "up", "unhealthy", "restarts", "restarts_10m", "oom_kills_10m", "collected" }
local PERFORMANCE = { "avg_response_time", "p50", "p95", "p99", "throughput", "error_rate" }
local OWN = { "policy_errors_5m", "reload_failed", "engine_up", "loop_lag", "descriptors_exhausted_5m",
    "disk_free", "disk_free_bytes", "workers", "notifications_waiting", "store_errors" }

-- Group -> its members, and the key of `collect` that brings others.
local GROUPS = {
    traffic = { TRAFFIC }, scale = { SCALE }, resources = { RESOURCES },
    health = { HEALTH, "health" }, performance = { PERFORMANCE, "performance" },
    data_processing = { {}, "data" }, data_quality = { {}, "data" }, prometheus = { {}, "prometheus" },
}

local function has(list, name)
    for _, item in ipairs(list) do
        if item == name then
            return true
        end
    end
    return false
end

-- All paths of a service or an instance that are ours.
local function known(scope)
    local paths = {}
    for group, one in pairs(GROUPS) do
        for _, name in ipairs(one[1]) do
            if scope == "service" or group ~= "scale" then
                paths[#paths + 1] = group .. "." .. name
            end
        end
    end
    table.sort(paths)
    return paths
end

-- "traffic.que" -> 'no view has "traffic.que": did you mean "traffic.queue"?'
local function unknown(path, candidates, shown)
    local near = nearest(path, candidates)
    for _, candidate in ipairs(near and {} or candidates) do
        near = near or candidate:match "[^.]*$" == path:match "[^.]*$" and candidate
    end
    return ('no view has "%s": %s'):format(path, near and ('did you mean "%s"?'):format(near) or shown)
end

-- Why no view of that scope can have the number, or nil. `services`: those that the alert is about, as the
-- configuration has them.
function M.why_not(path, scope, services)
    if scope == "tidegate" then
        return not has(OWN, path) and unknown(path, OWN, "there are " .. table.concat(OWN, ", ")) or nil
    end
    local group, name = path:match "^([%w_]+)%.(.+)$"
    local one = GROUPS[group]
    if not one then
        return unknown(path, known(scope), "`tidegate metrics SERVICE` shows what there is")
    elseif group == "scale" and scope == "instance" then
        return ('no instance has "%s": write scope = "service"'):format(path)
    elseif has(one[1], name) then
        return nil
    elseif not one[2] then
        local list = ("there are %s.{%s}"):format(group, table.concat(one[1], ", "))
        return unknown(path, known(scope), list)
    end
    for _, service in ipairs(services) do
        if service.collect and service.collect[one[2]] then
            return nil
        end
    end
    local near = nearest(path, known(scope))
    return ('no service tells "%s": %swrite collect = { %s = "/..." } in the service'):format(path,
        near and ('did you mean "%s"? Else '):format(near) or "", one[2])
end

return M
