-- detector.lua: what new(params, detector) of an anomaly policy gets, on the real kernel by FFI.
local room = require "ffi_room"

local M = {}

local methods = {}
methods.__index = methods

local DIRECTIONS = { up = 1, down = 2, both = 3 }

function methods:push(at, value)
    local C, usual = room.lib, tonumber(room.lib.detect_usual(self.state))
    local score = C.detect_push(self.state, self.settings, at, value, self.view)
    local view = require("ffi").string(C.detect_view_name(self.view[0]))
    return score, view, usual == usual and usual or value
end

function M.record(given)
    local C, ffi = room.load "base/detect.h"
    local self = { settings = ffi.new "struct detect_settings", state = ffi.new "struct detect",
        view = ffi.new "enum detect_view[1]" }
    C.detect_defaults(self.settings)
    C.detect_init(self.state)
    for key, value in pairs(given) do
        if key == "direction" then
            self.settings.directions = assert(DIRECTIONS[value])
        elseif key == "stuck" then
            self.settings.views = value and 127 or 63
        else
            self.settings[key] = value
        end
    end
    return setmetatable(self, methods)
end

return M
