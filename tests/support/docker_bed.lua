-- A private Docker engine for specs: tests/support/dockerd from Lua, with the
-- quickstart service as image quick:1. Or Podman, by tests/support/podman.
--
--     local bed = docker_bed.start { "--live-restore" }        -- nil and why when it cannot run here
--     bed:sh("kill")  bed:api("GET", "/info")  bed:get("172.18.0.2:8080", "/health")  bed:stop()
local BUILD = os.getenv "TIDEGATE_BUILD" or "build/debug"

local M = {}
local Bed = {}
Bed.__index = Bed

local function quote(text)
    return "'" .. tostring(text):gsub("'", "'\\''") .. "'"
end

-- Output and exit code of a command, which is not to be checked when a sanitizer checks us.
local function capture(words, quiet)
    local parts = {}
    for i, word in ipairs(words) do
        parts[i] = quote(word)
    end
    local pipe = io.popen("env -u LD_PRELOAD " .. table.concat(parts, " ") .. (quiet and " 2>/dev/null" or " 2>&1") .. "; echo \"=$?\"")
    local text = pipe:read "*a"
    pipe:close()
    local output, code = text:match "^(.*)=(%d+)\n$"
    return output, tonumber(code)
end

local DOCKER, PODMAN = "tests/support/dockerd", "tests/support/podman"

-- Whether it can run here; otherwise what is missing.
function M.possible(podman)
    local output, code = capture { podman and PODMAN or DOCKER, "check" }
    return code == 0, (output:gsub("\n$", ""))
end

function M.start(options)
    local dir = os.tmpname()
    os.remove(dir)
    local self = setmetatable({ script = DOCKER, dir = dir, socket = dir .. "/docker.sock" }, Bed)
    self:sh("start", unpack(options or {}))
    local ok, err = pcall(self.sh, self, "image", "quick:1", BUILD .. "/service")
    if not ok then
        self:stop()
        error(err, 0)
    end
    return self
end

-- The image is localhost/quick:1.
function M.start_podman()
    local dir = os.tmpname()
    os.remove(dir)
    local self = setmetatable({ script = PODMAN, dir = dir, socket = dir .. "/podman.sock" }, Bed)
    self:sh "start"
    self:sh("image", "quick", BUILD .. "/service")
    return self
end

-- A command of the script, such as "kill"; its output. Raises when it fails.
function Bed:sh(command, ...)
    local output, code = capture { self.script, command, self.dir, ... }
    assert(code == 0, command .. ": " .. output)
    return output
end

function Bed:registry(command, ...)
    local output, code = capture { self.script, "registry", command, self.dir, ... }
    assert(code == 0, "registry " .. command .. ": " .. output)
    return output
end

-- Body of a call to the engine; nil and the body when it fails.
function Bed:api(method, path, ...)
    local output, code = capture({ self.script, "api", self.dir, method, path, ... }, true)
    if code ~= 0 then
        return nil, output
    end
    return output
end

-- Status and body of a GET to an address that only the engine's network reaches; nil when none came.
function Bed:get(address, path)
    local output = capture({
        self.script, "exec", self.dir, "curl", "-s", "-m", "5", "-w", "\n%{http_code}", "http://" .. address .. path,
    }, true)
    local body, status = output:match "^(.*)\n(%d+)$"
    status = tonumber(status)
    if status and status > 0 then
        return status, body
    end
end

function Bed:stop()
    self:sh "stop"
    os.execute("rm -rf " .. quote(self.dir))
end

return M
