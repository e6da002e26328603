-- What Lua may use where. Configurations and policies run in tidegate's sandbox.
std = "luajit"
max_line_length = 110
include_files = { "**/*.lua" }
exclude_files = { "build" }

-- <generated>
-- Generated of policies/tidegate/views.lua by `scripts/dev generate`.
stds.tidegate = { read_globals = {
    "assert", "error", "getmetatable", "ipairs", "next", "pairs", "pcall", "print", "rawequal",
    "rawget", "require", "select", "setmetatable", "tonumber", "tostring", "type", "unpack",
    "xpcall",
    bit = { fields = {
        "arshift", "band", "bnot", "bor", "bswap", "bxor", "lshift", "rol", "ror", "rshift",
        "tobit", "tohex" } },
    coroutine = { fields = {
        "create", "resume", "running", "status", "wrap", "yield" } },
    math = { fields = {
        "abs", "acos", "asin", "atan", "atan2", "ceil", "cos", "cosh", "deg", "exp", "floor",
        "fmod", "frexp", "huge", "ldexp", "log", "log10", "max", "min", "modf", "pi", "pow", "rad",
        "random", "sin", "sinh", "sqrt", "tan", "tanh" } },
    string = { fields = {
        "byte", "char", "find", "format", "gmatch", "gsub", "len", "lower", "match", "rep",
        "reverse", "sub", "upper" } },
    table = { fields = {
        "concat", "insert", "maxn", "remove", "sort" } },
} }
stds.configuration = { read_globals = {
    "alert", "alerting", "channel", "cluster", "env", "include", "service"
} }
-- </generated>

-- Tables of raw cases read best with one case a line.
files["tests/"] = { std = "luajit+busted", max_line_length = 160 }
files["examples/*/*.lua"] = { std = "tidegate+configuration" }
files["examples/*/policies/*/"] = { std = "tidegate" }
files["examples/*/policies/*/*_spec.lua"] = { std = "luajit+busted" }
files["policies/*/"] = { std = "tidegate" }
files["policies/tidegate/"] = { std = "luajit" }
files["policies/alerts.lua"] = { std = "tidegate+configuration" }
files["policies/meta.lua"] = { ignore = { "211", "212", "631" } }
