-- The Docker engine on Podman's compatible socket: the common suite, but for
-- what Podman does not tell (that memory ran out).
local bed_of = require "docker_bed"

local suite = setfenv(assert(loadfile "tests/unit/engine/suite.lua"), getfenv())()
local possible, missing = bed_of.possible(true)

if not possible then
    describe("engine/docker on Podman", function()
        pending("cannot run here: " .. missing, function() end)
    end)
    return
end

local function config(o)
    local command = { "/service" }
    for _, arg in ipairs(o.args or {}) do
        command[#command + 1] = arg
    end
    return {
        name = "web", source = "image", image = o.image or "localhost/quick:1", pull = o.pull, command = command,
        environment = o.environment or {}, ports = { { container = 8080, host = o.port or 0 } },
        resources = { memory_bytes = o.memory_bytes or 256 * 1024 * 1024, cpus = o.cpus or 0 },
        restart_policy = o.restart_policy or { name = "no", max_retries = 0 }, stop_timeout_ms = 5000,
    }
end

describe("engine/docker on Podman", function()
    local bed
    local cluster = { id = "live", engine = "docker" }

    setup(function()
        bed = bed_of.start_podman()
        cluster.docker = { host = "unix://" .. bed.socket }
    end)

    teardown(function()
        bed:stop()
    end)

    suite {
        name = "podman",
        cluster = cluster,
        config = config,
        missing = function()
            return config { image = "localhost/missing:1", pull = "never" }
        end,
        http = function(_, address, path)
            return bed:get(address, path)
        end,
        no_memory_limits = true,
    }
end)
