-- What a process of its own prints, in which no library is loaded yet:
-- alone("net/digest.h", "NAME=value" or "", chunk). The chunk finds C and ffi, and has no single quotes.
local M = {
    -- An OpenSSL that may use nothing but what a FIPS provider has, and has no such provider.
    NO_DIGESTS = {
        "openssl_conf = all", "[all]", "alg_section = algorithms", "[algorithms]", "default_properties = fips=yes",
    },
}

local function say(header, environment, chunk)
    local pipe = io.popen(("%s TIDEGATE_BUILD='%s' luajit -e '%s' 2>&1"):format(environment,
        os.getenv "TIDEGATE_BUILD" or "build/debug", ([[
            package.path = "./tests/support/?.lua;" .. package.path
            local C, ffi = require("ffi_room").load "%s" ]]):format(header) .. chunk))
    local said = pipe:read "*a"
    pipe:close()
    return said
end

return setmetatable(M, {
    __call = function(_, header, environment, chunk)
        if type(environment) == "string" then
            return say(header, environment, chunk)
        end
        local path = os.tmpname()
        local file = assert(io.open(path, "w"))
        file:write(table.concat(environment, "\n"), "\n")
        file:close()
        local said = say(header, "OPENSSL_CONF=" .. path, chunk)
        os.remove(path)
        return said
    end,
})
