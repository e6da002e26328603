-- What happens when the disk is full: needs a small file system, which only root can have.
local room = require "store_room"

local function run(command)
    local pipe = io.popen(command)
    local text = pipe:read "*a"
    pipe:close()
    return text
end

describe("a store on a full disk", function()
    it("stops samples first, never loses an event, and goes on when there is room", function()
        if not run("unshare -m true 2>&1 && echo may"):find "may" then
            pending "mounting needs root"
            return
        end
        local dir = room.directory()
        local said = run(([[unshare -m sh -c "mount -t tmpfs -o size=8m none '%s' &&
            %s" 2>&1]]):format(dir, room.script("full", dir)))
        room.remove(dir)
        assert.equal("well\n", said)
    end)
end)
