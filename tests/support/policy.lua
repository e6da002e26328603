-- policy.lua: `tidegate.testing` for our own specs: with the shipped policies on the path, and the kernel of
-- anomaly policies by FFI.
package.path = "./policies/?.lua;" .. package.path

local M = require "tidegate.testing"

function M.detector()
    return require "detector"
end

return M
