std = "luajit"
max_line_length = 110
files["tests/"] = { std = "luajit+busted" }
files["policies/meta.lua"] = { ignore = { "211", "212" } }
