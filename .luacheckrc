-- What Lua may use where. Configurations and policies run in tidegate's sandbox.
std = "luajit"
max_line_length = 110
include_files = { "core", "examples", "policies", "scripts", "tests" }

stds.configuration = {
    read_globals = { "cluster", "service", "channel", "alert", "env", "include" },
}

files["tests/"] = { std = "luajit+busted" }
files["examples/*/*.lua"] = { std = "luajit+configuration" }
files["policies/meta.lua"] = { ignore = { "211", "212" } }
