-- Loads libtidegate_test.so for unit specs, with the declarations of the
-- public headers they name: `local C = require("ffi_room").load("base/str.h")`.
local ffi = require "ffi"

local M = {}
local seen = {}

local function build_dir()
    return os.getenv "TIDEGATE_BUILD" or "build/debug"
end

-- Declarations of a header without preprocessor lines, attributes, inline
-- functions and what another header has already declared.
local function declarations(path)
    local file = assert(io.open("core/" .. path))
    local text = file:read "*a"
    file:close()
    text = text:gsub("\\\n", " "):gsub("\n#include \"([^\"]+)\"", function(other)
        M.declare(other)
        return "\n"
    end)
    text = text:gsub("\n#[^\n]*", "\n"):gsub("^#[^\n]*", "")
    text = text:gsub("__attribute__%s*%b()", "")
    text = text:gsub("static inline [^\n]*%s*%b{}", "")
    return text
end

function M.declare(path)
    if seen[path] then
        return
    end
    seen[path] = true
    local text = declarations(path)
    -- Enumerators used as array sizes come from limits.h.
    if text:find "LIMIT_" and path ~= "base/limits.h" then
        M.declare "base/limits.h"
    end
    ffi.cdef(text)
end

function M.load(...)
    for _, path in ipairs { ... } do
        M.declare(path)
    end
    M.lib = M.lib or ffi.load(build_dir() .. "/libtidegate_test.so")
    return M.lib, ffi
end

return M
