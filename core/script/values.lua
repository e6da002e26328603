-- values.lua: the small notations of the configuration. Each function takes a value and returns what
-- the JSON gets, or nil and a sentence part: values.duration "90s" -> 90000; values.duration {} ->
-- nil, 'expected a duration such as "30s", got a table'.
local M = {}

local UNITS_MS = { ms = 1, s = 1000, m = 60000, h = 3600000, d = 86400000 }
local MAX_MS = 10 * 365 * 86400000
local UNITS_BYTES = { b = 1, k = 2 ^ 10, m = 2 ^ 20, g = 2 ^ 30, t = 2 ^ 40 }
local RESTART = { ["no"] = true, always = true, ["unless-stopped"] = true, ["on-failure"] = true }

-- What was given, in words, without running anything of the configuration's own.
function M.describe(value)
    local kind = type(value)
    if kind == "string" then
        return #value <= 60 and '"' .. value:gsub("%c", "?") .. '"' or "a long text"
    elseif kind == "number" then
        return ("%.14g"):format(value)
    elseif kind == "boolean" then
        return value and "true" or "false"
    elseif kind == "nil" then
        return "nothing"
    end
    return "a " .. kind
end

function M.expected(what, value)
    return nil, "expected " .. what .. ", got " .. M.describe(value)
end

local function is_finite(number)
    return number == number and number < math.huge and number > -math.huge
end

function M.duration(value)
    local what, total = 'a duration such as "30s"', 0
    if type(value) == "number" and is_finite(value) then
        total = value * 1000
    elseif type(value) == "string" and value ~= "" then
        local rest = value:gsub("(%d+%.?%d*)(%a+)", function(number, unit)
            total = total + tonumber(number) * (UNITS_MS[unit] or 0 / 0)
            return ""
        end)
        if rest ~= "" or total ~= total then
            return M.expected(what, value)
        end
    else
        return M.expected(what, value)
    end
    if total < 0 then
        return nil, "must not be negative, got " .. M.describe(value)
    elseif total > MAX_MS then
        return nil, "is longer than ten years: " .. M.describe(value)
    end
    return math.floor(total + 0.5)
end

function M.size(value)
    local what, bytes = 'a size such as "512m"', nil
    if type(value) == "number" and is_finite(value) then
        bytes = value
    elseif type(value) == "string" then
        local number, unit = value:lower():match "^(%d+%.?%d*)([kmgt]?)i?b?$"
        if number and not (unit == "" and value:lower():find "i") then
            bytes = tonumber(number) * UNITS_BYTES[unit == "" and "b" or unit]
        end
        if value:find "^[%d.]+$" then -- a bare number is bytes only when it is a number
            bytes = nil
        end
    end
    if not bytes then
        return M.expected(what, value)
    elseif bytes < 0 then
        return nil, "must not be negative, got " .. M.describe(value)
    elseif bytes > 2 ^ 53 then
        return nil, "is too large: " .. M.describe(value)
    end
    return math.floor(bytes + 0.5)
end

function M.is_port(number, least)
    return type(number) == "number" and number % 1 == 0 and number >= (least or 1) and number <= 65535
end

local function is_ipv4(text)
    local a, b, c, d = text:match "^(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)$"
    return a and tonumber(a) < 256 and tonumber(b) < 256 and tonumber(c) < 256 and tonumber(d) < 256
end

local function is_ipv6(text)
    local groups = select(2, text:gsub("%x+", ""))
    return text:find "^[%x:.]+$" and text:find ":" and not text:find ":::" and not text:find "%x%x%x%x%x" and
        groups <= 8 and (groups == 8 or text:find "::") and select(2, text:gsub("::", "")) <= 1
end

-- "10.0.0.0/8", "::1": a network of addresses, or one of them.
function M.network(value)
    local text = type(value) == "string" and value:lower() or ""
    local host, bits = text:match "^([%x.:]+)/(%d%d?%d?)$"
    host = host or text
    local most = is_ipv4(host) and 32 or is_ipv6(host) and 128
    if not most then
        return M.expected('an address or a network such as "10.0.0.0/8"', value)
    elseif bits and tonumber(bits) > most then
        return nil, ("a prefix of %s has at most %d bits, got %s"):format(host, most, M.describe(value))
    end
    return text
end

function M.is_host(text)
    return #text <= 253 and text:find "^[%w]" and not text:find "[^%w.-]" and not text:find "%.%." and
        not text:find "[-.]$"
end

-- "[::1]:80", "10.0.0.5:80", "name:80" -> host as written in brackets or not, port.
local function host_port(text)
    local host, port = text:match "^(%[[^%]]*%]):(%d+)$"
    if not host then
        host, port = text:match "^([^:]*):(%d+)$"
    end
    return host, tonumber(port)
end

local function unix_path(text)
    local path = text:match "^unix:(.*)$"
    path = path and path:gsub("^//", "")
    if not path then
        return nil
    end
    if path:sub(1, 1) ~= "/" then
        return nil, 'a unix socket needs an absolute path such as "unix:/run/x.sock", got ' ..
            M.describe(text)
    elseif #path > 107 then
        return nil, "the path of a unix socket has at most 107 bytes, this one " .. #path
    end
    return "unix:" .. path
end

local function not_yet(text, what)
    return nil, what .. " comes later: not supported by this version, got " .. M.describe(text)
end

local function endpoint(text, what, names_allowed)
    local unix, why = unix_path(text)
    if unix or why then
        return unix, why
    end
    local host, port = host_port(text)
    if not host then
        return M.expected(what, text)
    elseif not M.is_port(port) then
        return nil, ("port %d is out of range: 1 to 65535"):format(port)
    end
    if host:sub(1, 1) == "[" then
        if not is_ipv6(host:sub(2, -2)) then
            return nil, M.describe(host) .. " is not an IPv6 address"
        end
        return host:lower() .. ":" .. port
    elseif is_ipv4(host) or (names_allowed and not host:find "^[%d.]+$" and M.is_host(host)) then
        return host .. ":" .. port
    elseif names_allowed then
        return nil, M.describe(host) .. " is neither an address nor a host name"
    end
    return nil, M.describe(host) .. " is not a numeric address: listen on one such as \"127.0.0.1:8080\""
end

-- Where to listen: as net_addr writes it.
function M.listen(value)
    local what = 'an address such as ":8080" or "127.0.0.1:8080"'
    if M.is_port(value) then
        return "0.0.0.0:" .. ("%d"):format(value)
    elseif type(value) ~= "string" then
        return M.expected(what, value)
    elseif value:find "^tcp://" then
        return not_yet(value, "balancing plain TCP")
    elseif value:find "^https://" then
        return nil, "TLS is for routes, got " .. M.describe(value)
    end
    local text = value:gsub("^http://", ""):gsub("/$", "")
    if text:find "^:%d+$" then
        text = "0.0.0.0" .. text
    elseif text:find "^%*:%d+$" then
        text = "0.0.0.0" .. text:sub(2)
    end
    return endpoint(text, what, false)
end

-- A backend that is not ours: a host name is allowed.
function M.backend(value)
    local what = 'an address such as "10.0.0.5:9000" or "unix:/run/x.sock"'
    if type(value) ~= "string" then
        return M.expected(what, value)
    elseif value:find "^https://" then
        return not_yet(value, "TLS to backends")
    elseif value:find "^tcp://" then
        return not_yet(value, "balancing plain TCP")
    end
    return endpoint(value:gsub("^http://", ""):gsub("/$", ""), what, true)
end

-- "8080", "8080:80", "127.0.0.1:8080:80", "127.0.0.1::80", each with /tcp or /udp behind.
function M.port(value)
    local what = 'a port such as "8080" or "8080:80"'
    local text = type(value) == "number" and ("%.14g"):format(value) or value
    if type(text) ~= "string" then
        return M.expected(what, value)
    end
    local protocol = text:match "/(%a+)$" or "tcp"
    text = text:gsub("/%a+$", "")
    if protocol ~= "tcp" and protocol ~= "udp" then
        return nil, "unknown protocol " .. M.describe(protocol) .. ": tcp or udp"
    end
    local ip, host, container = "", "", text:match "^%-?%d+$"
    if not container then
        host, container = text:match "^(%-?%d+):(%-?%d+)$"
    end
    if not container then
        ip, host, container = text:match "^(.+):(%d*):(%d+)$"
    end
    if not container then
        return M.expected(what, value)
    end
    for _, part in ipairs { container, host ~= "" and host or nil } do
        if not M.is_port(tonumber(part)) then
            return nil, ("port %s is out of range: 1 to 65535"):format(part)
        end
    end
    ip = ip:gsub("^%[(.*)%]$", "%1")
    if ip ~= "" and not is_ipv4(ip) and not is_ipv6(ip) then
        return nil, M.describe(ip) .. " is not a numeric address"
    end
    return {
        container = tonumber(container),
        host = tonumber(host) or 0,
        publish = host ~= "" or ip ~= "",
        host_ip = ip,
        protocol = protocol,
    }
end

-- "name:/path", "/host:/path", each with :ro or :rw behind.
function M.volume(value)
    local what = 'a volume such as "name:/path" or "/host:/path:ro"'
    if type(value) ~= "string" then
        return M.expected(what, value)
    end
    local source, target, mode = value:match "^([^:]+):([^:]+):?([^:]*)$"
    if not source or value:find ":$" then
        return M.expected(what, value)
    elseif mode ~= "" and mode ~= "ro" and mode ~= "rw" then
        return nil, "unknown mode " .. M.describe(mode) .. ": ro or rw"
    elseif target:sub(1, 1) ~= "/" then
        return nil, "the path in the container must begin with /, got " .. M.describe(target)
    end
    local bind = source:sub(1, 1) == "/"
    if not bind and not source:find "^%w[%w_.-]+$" then
        return nil, M.describe(source) .. " is neither an absolute path nor the name of a volume"
    end
    return { source = source, target = target, read_only = mode == "ro", bind = bind }
end

function M.restart_policy(value)
    if type(value) == "string" then
        local name, retries = value, value:match "^on%-failure:(%d+)$"
        if retries then
            name = "on-failure"
        end
        if RESTART[name] and #(retries or "") < 7 then
            return { name = name, max_retries = tonumber(retries) or 0 }
        end
    end
    return M.expected('"no", "always", "unless-stopped", "on-failure" or "on-failure:3"', value)
end

-- The keys of a table, in the order of their texts.
function M.sorted_keys(t)
    local keys = {}
    for key in next, t do
        keys[#keys + 1] = key
    end
    table.sort(keys, function(a, b)
        return tostring(a) < tostring(b)
    end)
    return keys
end

return M
