-- Certificates that change under load, again and again: no request and no handshake fails, and each new one is shown.
-- SWAPS says how often (tests/bench/certificates.sh has a hundred).
local certificates = require "certificates"
local posix_signal = require "posix.signal"
local tidegate = require "tidegate"

local SWAPS = tonumber(os.getenv "SWAPS" or 5)

-- How files are put in place: renamed as editors do, written over as `cp` does (with a moment in which certificate
-- and key are not of one another), and by a link to a folder as Kubernetes and certbot do.
local WAYS = {
    "cd '%s' && cp -p new.pem a.tmp && cp -p new.key b.tmp && mv a.tmp shop.pem && mv b.tmp shop.key",
    "cd '%s' && cat new.pem >shop.pem && cat new.key >shop.key",
    "cd '%s' && rm -rf v$$ && mkdir v$$ && cp -p new.pem v$$/shop.pem && cp -p new.key v$$/shop.key && "
        .. "ln -sfn v$$/shop.pem a.tmp && ln -sfn v$$/shop.key b.tmp && mv a.tmp shop.pem && mv b.tmp shop.key",
}

local function figures(path)
    local text = tidegate.read_file(path)
    return text and tidegate.json.decode(text) or { requests = 0, handshakes = 0, serials = {} }
end

local function has(list, wanted)
    for _, one in ipairs(list) do
        if one == wanted then
            return true
        end
    end
    return false
end

describe("certificates that change under load", function()
    it("cost no request and no handshake", tidegate.test(function(t)
        local s = certificates.new(t.dir .. "/tls")
        local root = s:authority "Root"
        local shop = s:make { file = "shop", names = { "shop.example" }, by = root }
        t:configure [[
service "shop" {
  command = { "@SERVICE@", "--host", "127.0.0.1", "--port", "$PORT" },
  health_check = { http = "/health", interval = "100ms", timeout = "5s", retries = 5 },
  scale = { policy = "threshold", min = 2, max = 2, interval = "1h" },
  route = { listen = "https://127.0.0.1:@PORT@", tls = { certificate = "tls/shop.pem", key = "tls/shop.key" } },
}]]
        t:start()
        local out = t.dir .. "/load.json"
        local load = t:run_beside("/usr/bin/python3", "tests/support/tls_load.py", t:port(), "shop.example", root.certificate, out)
        t:wait("requests", function()
            return figures(out).requests > 100
        end)
        assert.is_true(has(figures(out).serials, shop.serial))
        for i = 1, SWAPS do
            local new = s:make { file = "new", names = { "shop.example" }, by = root }
            assert(os.execute(WAYS[i % #WAYS + 1]:format(t.dir .. "/tls")) == 0)
            if i % 2 == 0 then
                posix_signal.kill(t.daemon.pid, 1)
            end
            t:wait(("certificate %d, %s"):format(i, new.serial), function()
                return has(figures(out).serials, new.serial)
            end)
            -- From every worker: a handshake goes to whichever accepts it first.
            t:wait("all workers to show it", function()
                for _ = 1, 6 do
                    if certificates.shown("127.0.0.1:" .. t:port(), "shop.example").serial ~= new.serial then
                        return false
                    end
                end
                return true
            end)
        end
        certificates.write(out .. ".stop", "")
        t:wait("the load to end", function()
            return t:ended(load)
        end)
        local told = figures(out)
        assert.same({}, told.errors_text)
        assert.equal(0, told.errors)
        assert.is_true(#told.serials >= SWAPS + 1)
        assert.equal(0, select(2, t:log():gsub("reload refused", "")))
        if os.getenv "SWAPS" then
            print(("%d changes of certificates, every second with SIGHUP: %d requests, %d handshakes, %d serials shown, %d errors")
                :format(SWAPS, told.requests, told.handshakes, #told.serials, told.errors))
        end
    end))
end)
