-- by_severity.lua: whom alerts tell by how bad they are.
--
-- Sees     severity (the worst in the group), channels (those that the alerts name)
-- Answers  the channels given for that severity; nil, which means those of the alerts, when none are given
-- Params   critical, warning, info   lists of channels; absent: as the alerts say; {}: nobody
-- Example  { severity = "critical" } with critical = { "page", "ops" } -> { "page", "ops" }
return {
    name = "by_severity",
    doc = "Whom alerts tell by how bad they are.",
    params = {
        critical = { type = "list", doc = "channels for critical alerts" },
        warning = { type = "list", doc = "channels for warnings" },
        info = { type = "list", doc = "channels for the rest" },
    },
    new = function(params)
        ---@type tidegate.Notify
        return function(n)
            return params[n.severity]
        end
    end,
    examples = {
        { params = { critical = { "page", "ops" } }, given = { severity = "critical" }, want = "page, ops" },
        { params = { critical = { "page" } }, given = { severity = "warning", channels = { "ops" } },
            want = nil },
        { params = { info = {} }, given = { severity = "info", channels = { "ops" } }, want = "" },
    },
}
