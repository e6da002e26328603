-- shell.lua: shell lines in a directory of their own, for specs of commands that need no daemon.
--
--     local shell = require "shell"
--     local sh = shell.new()
--     sh:write("load.csv", "0,10\n")
--     local code, out, err = sh:run "$T simulate threshold --trace load.csv"
--     sh:close()
--
-- $T is the program. No daemon is reachable from the line: its runtime directory is the own one's.
local Shell = {}
Shell.__index = Shell

local BINARY = (os.getenv "TIDEGATE_BUILD" or "build/debug") .. "/tidegate"
local M = {}

local function said(command)
    local pipe = io.popen(command)
    local text = pipe:read "*a"
    pipe:close()
    return (text:gsub("\n$", ""))
end

-- Path of a program; nil: it is not installed.
function M.find(program)
    local path = said("command -v " .. program)
    return path ~= "" and path or nil
end

function M.new()
    return setmetatable({ dir = said "mktemp -d", binary = said("realpath " .. BINARY) }, Shell)
end

function Shell:write(name, text)
    local file = assert(io.open(self.dir .. "/" .. name, "w"))
    file:write(text)
    file:close()
end

function Shell:read(name)
    local file = assert(io.open(self.dir .. "/" .. name))
    local text = file:read "*a"
    file:close()
    return text
end

-- Exit code, stdout, stderr.
function Shell:run(line)
    local code = said(("cd '%s' && export T='%s' TIDEGATE_RUNTIME_DIR='%s/run'; unset TIDEGATE_SOCKET; "
        .. "(%s) >out 2>err; echo $?"):format(self.dir, self.binary, self.dir, line))
    return tonumber(code), self:read "out", self:read "err"
end

function Shell:close()
    os.execute("rm -rf '" .. self.dir .. "'")
end

return M
