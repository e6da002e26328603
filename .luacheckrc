-- What Lua may use where. Configurations and policies run in tidegate's sandbox.
std = "luajit"
max_line_length = 110
include_files = { "**/*.lua" }
exclude_files = { "build" }

stds.configuration = {
    read_globals = { "cluster", "service", "channel", "alert", "alerting", "env", "include" },
}

-- Tables of raw cases read best with one case a line.
files["tests/"] = { std = "luajit+busted", max_line_length = 160 }
files["examples/*/*.lua"] = { std = "luajit+configuration" }
files["policies/alerts.lua"] = { std = "luajit+configuration" }
files["policies/meta.lua"] = { ignore = { "211", "212" } }
