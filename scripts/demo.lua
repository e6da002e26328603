-- demo.lua: the director of scripts/demo: drives the load, shows what happens, and judges it.
--
-- Everything it knows it asks of the running programs: `tidegate status --json`, `tidegate decisions
-- --json` and the figures of the load program. Exit 0: all that the demo promises has happened.
local ffi = require "ffi"
ffi.cdef [[ int usleep(unsigned us); int kill(int pid, int sig); int clock_gettime(int id, long *t); ]]
local SIGHUP, SIGKILL = 1, 9

local env = os.getenv
local dir, binary, port = env "DEMO_DIR", env "DEMO_BUILD" .. "/tidegate", env "DEMO_PORT"
local daemon, engine, plain = tonumber(env "DEMO_DAEMON"), env "DEMO_ENGINE", env "DEMO_PLAIN" == "1"
local rows, columns = (env "DEMO_SIZE" or ""):match "(%d+) (%d+)"
rows, columns = tonumber(rows) or 24, tonumber(columns) or 80
if rows < 10 or columns < 40 then
    rows, columns = 24, 80
end

local function now()
    local t = ffi.new "long[2]"
    ffi.C.clock_gettime(1, t)
    return tonumber(t[0]) + tonumber(t[1]) / 1e9
end
local start = now()

-- ---- JSON ---------------------------------------------------------------------------------------

local ESCAPES = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

local function decode(text)
    local at = 1
    local value

    local function blank()
        at = text:find("[^ \n\r\t]", at) or #text + 1
        return text:sub(at, at)
    end

    local function text_value()
        local finish = at
        repeat
            finish = assert(text:find('["\\]', finish + 1), "a text without end")
            local escape = text:sub(finish, finish) == "\\"
            finish = escape and finish + 1 or finish
        until not escape
        local raw = text:sub(at + 1, finish - 1)
        at = finish + 1
        return (raw:gsub("\\(.)(%x?%x?%x?%x?)", function(c, hex)
            if c == "u" then
                return tonumber(hex, 16) < 128 and string.char(tonumber(hex, 16)) or "?"
            end
            return (ESCAPES[c] or c) .. hex
        end))
    end

    local function members(close, add)
        at = at + 1
        while blank() ~= close do
            if text:sub(at, at) == "," then
                at = at + 1
                blank()
            end
            add()
        end
        at = at + 1
    end

    function value()
        local c = blank()
        if c == "{" then
            local map = {}
            members("}", function()
                local key = text_value()
                assert(blank() == ":")
                at = at + 1
                map[key] = value()
            end)
            return map
        elseif c == "[" then
            local list = {}
            members("]", function()
                list[#list + 1] = value()
            end)
            return list
        elseif c == '"' then
            return text_value()
        end
        local word = assert(text:match("^[%w+.-]+", at), "no JSON")
        at = at + #word
        if word == "true" or word == "false" then
            return word == "true"
        end
        return word ~= "null" and assert(tonumber(word)) or nil
    end
    return value()
end

-- ---- What the programs say ----------------------------------------------------------------------

local function ask(...)
    local pipe = io.popen(("'%s' %s --json 2>/dev/null"):format(binary, table.concat({ ... }, " ")))
    local text = pipe:read "*a"
    pipe:close()
    local ok, answer = pcall(decode, text)
    return ok and answer.ok and answer or nil
end

local live = { requests = 0, errors = 0, rate = 0, p50_ms = 0, p99_ms = 0, max_ms = 0 }
local load_file

-- Takes in the new lines of the load program; the newest whole one counts.
local function read_load()
    load_file = load_file or io.open(dir .. "/load.out")
    for line in function() return load_file and load_file:read "*l" end do
        local ok, figures = pcall(decode, line)
        live = ok and figures or live
    end
    if load_file then
        load_file:seek("cur", 0)
    end
end

local function tell_load(command)
    local file = assert(io.open(dir .. "/load.in", "w"))
    file:write(command, "\n")
    file:close()
end

-- ---- The picture --------------------------------------------------------------------------------

local phase = ""
local events = {} -- { at, text }
local status, service
local seen_decisions = {}
local ups, downs = {}, {}
local alert -- the one that fires, as `tidegate alerts` has it
local alert_news = {} -- "alert firing" and "alert resolved" -> how often
local edited_seen = false -- a decision bears the words that we edit in
local shown_at = 0

local function event(text)
    events[#events + 1] = { at = now() - start, text = text }
    if plain then
        print(("%5.1f s  %s"):format(now() - start, text))
        io.stdout:flush()
    end
end

local function figure(value, format)
    return value and format:format(value) or "-"
end

local function load_line()
    return ("%d requests/s   p50 %.1f ms   p99 %.1f ms   %d requests   %d failed"):format(live.rate or 0,
        live.p50_ms or 0, live.p99_ms or 0, live.requests, live.errors)
end

local function service_line()
    local used = service.resources or {}
    return ("%d up, %d wanted, %d to %d allowed   CPU %s   memory %s"):format(service.up, service.desired,
        service.min or 0, service.max or 0, figure(used.cpu_percent, "%.0f %%"),
        figure(used.memory_percent, "%.0f %%"))
end

local function repaint()
    local lines = {}
    local function line(format, ...)
        lines[#lines + 1] = format:format(...)
    end
    line("\27[1mtidegate\27[0m  %s engine  http://127.0.0.1:%s  %.0f s of about 60", engine, port,
        now() - start)
    line("\27[36m%s\27[0m", phase)
    line ""
    line("load      %s", load_line())
    if service then
        line("service   %s", service_line())
        line ""
        line("\27[2m%-12s %-10s %-22s %6s %8s %10s %8s\27[0m", "INSTANCE", "STATE", "ADDRESS", "CPU", "BUSY",
            "REQUESTS", "ERRORS")
        for _, i in ipairs(service.instances) do
            local colour = i.state == "up" and "\27[32m" or "\27[33m"
            line("%-12s %s%-10s\27[0m %-22s %6s %8d %10d %8d", i.id, colour, i.state, i.address or "",
                figure(i.cpu_percent, "%.0f %%"), i.in_flight or 0, i.requests or 0, i.errors or 0)
        end
    end
    if alert then
        line ""
        line("\27[31mALERT\27[0m     %s (%s) for %.0f s: %s", alert.name, alert.severity, alert.since_s,
            alert.message)
    end
    line ""
    local room = math.max(3, rows - #lines - 1)
    for i = math.max(1, #events - room + 1), #events do
        line("%6.1f s  %s", events[i].at, events[i].text)
    end
    local out = { "\27[H" }
    for i = 1, math.min(#lines, rows - 1) do
        -- Cut what is too long, not counting colours.
        local text, width = lines[i], 0
        text = text:gsub("(\27%[%d+m)", "\0%1\0"):gsub("[^%z]+", function(part)
            if part:sub(1, 1) == "\27" then
                return part
            end
            part = part:sub(1, math.max(0, columns - width))
            width = width + #part
            return part
        end):gsub("%z", "")
        out[#out + 1] = text .. "\27[K\r\n"
    end
    out[#out + 1] = "\27[J"
    io.write(table.concat(out))
    io.stdout:flush()
end

local function note_decision(d)
    local key = d.wall_ms .. d.action
    if seen_decisions[key] or d.action ~= "scale_up" and d.action ~= "scale_down" then
        return
    end
    seen_decisions[key] = true
    local list = d.action == "scale_up" and ups or downs
    list[#list + 1] = d
    edited_seen = edited_seen or (d.reason or ""):find("edited in mid-load", 1, true) ~= nil
    local way = d.action == "scale_up" and "up" or "down"
    event(("%s %d -> %d by %s: %s"):format(way, d.was, d.result, d.policy, d.reason))
end

-- What the history says of our alert, and what fires now.
local function note_alerts()
    local counts, past = {}, ask("events", "data", "--kind", "alert", "--since", "10m") or { events = {} }
    for _, e in ipairs(past.events) do
        if (e.detail or ""):find("ManyRequests", 1, true) then
            counts[e.what] = (counts[e.what] or 0) + 1
            if counts[e.what] > (alert_news[e.what] or 0) then
                event(("%s: %s"):format(e.what, e.detail))
            end
        end
    end
    alert_news, alert = counts, nil
    for _, one in ipairs((ask "alerts" or { alerts = {} }).alerts) do
        alert = one.name == "ManyRequests" and one.state == "firing" and one or alert
    end
end

-- Messages that the program of the alert's channel was given: one that fires, one that it is over.
local function told(what)
    local file = io.open(dir .. "/told.json")
    local text = file and file:read "*a" or ""
    if file then
        file:close()
    end
    local _, count = text:gsub('"status":"' .. what .. '","labels"', "")
    return count
end

local function look()
    read_load()
    status = ask "status" or status
    if status then
        service = status.services[1]
        local reason = (service.last_decision or {}).reason or ""
        edited_seen = edited_seen or reason:find("edited in mid-load", 1, true) ~= nil
    end
    for _, d in ipairs((ask "decisions" or { decisions = {} }).decisions) do
        note_decision(d)
    end
    note_alerts()
    if not plain then
        repaint()
    elseif service and now() - shown_at >= 2 then
        shown_at = now()
        print(("%5.1f s  %s | %s"):format(now() - start, load_line(), service_line()))
        io.stdout:flush()
    end
end

-- Looks until condition() holds or the time is over; whether it holds.
local function wait(seconds, condition)
    local deadline = now() + seconds
    repeat
        look()
        if condition and condition() then
            return true
        end
        if ffi.C.kill(daemon, 0) ~= 0 then
            return false
        end
        ffi.C.usleep(250000)
    until now() >= deadline
    return condition == nil
end

local function say(text)
    phase = text
    event(text)
end

-- ---- The acts -----------------------------------------------------------------------------------

local function edit(path, from, to)
    local file = assert(io.open(dir .. "/" .. path))
    local text = file:read "*a"
    file:close()
    local changed, count = text:gsub(from, to)
    assert(count > 0, path .. " has no " .. from)
    file = assert(io.open(dir .. "/" .. path, "w"))
    file:write(changed)
    file:close()
end

local function kill_one()
    local victim
    for _, i in ipairs(service.instances) do
        victim = i.state == "up" and (i.pid or 0) > 1 and i or victim
    end
    if not victim then
        return false
    end
    say(("SIGKILL to %s (pid %d) in mid-load"):format(victim.id, victim.pid))
    if engine == "docker" then
        local call = "curl -sS -X POST --unix-socket '%s' http://docker/containers/tg-%s-%s/kill?signal=KILL"
        os.execute(call:format(env "DEMO_SOCKET", env "DEMO_CLUSTER", victim.id))
    else
        ffi.C.kill(victim.pid, SIGKILL)
    end
    local wanted = service.desired
    -- First it is seen to be gone, then all are up without it.
    local replaced = wait(20, function()
        local fresh = 0
        for _, i in ipairs(service.instances) do
            if i.pid == victim.pid and i.state == "up" then
                return false
            end
            fresh = fresh + (i.state == "up" and i.pid ~= victim.pid and 1 or 0)
        end
        return fresh >= math.min(wanted, service.desired)
    end)
    if replaced then
        event "replaced: all instances are up again"
    end
    return replaced
end

local function reload()
    local before = status.generation
    say "policy file edited, SIGHUP: from \"threshold\" to our own \"busy\""
    edit("policies/scale/busy.lua", '"steady: ', '"steady (edited in mid-load): ')
    edit("policies/scale/busy.lua", '"busy: ', '"busy (edited in mid-load): ')
    edit("policies/scale/busy.lua", '"quiet: ', '"quiet (edited in mid-load): ')
    edit("tidegate.lua", 'policy = "threshold"', 'policy = "busy"')
    edit("tidegate.lua", "cpu = %d+, memory = %d+", "per = 3")
    ffi.C.kill(daemon, SIGHUP)
    local took = wait(15, function()
        return status.generation > before and edited_seen
    end)
    if took then
        event(("generation %d decides: %s"):format(status.generation, service.last_decision.reason))
    end
    return took
end

local checks = {}
local function check(name, ok, detail)
    checks[#checks + 1] = { name = name, ok = ok, detail = detail or "" }
end

local function run()
    say "starting two instances"
    if not wait(30, function() return service and service.up >= 2 end) then
        return check("start", false, "the service did not come up")
    end
    say "it serves: little load"
    tell_load "rate 10"
    wait(5)
    say "the load rises to 100, then 180 requests/s"
    tell_load "rate 100"
    local rose = wait(15, function() return #ups >= 1 and service.up >= 3 end)
    tell_load "rate 180"
    rose = wait(15, function() return #ups >= 2 and service.up >= 4 end) or rose
    check("scale-up", rose, ("%d steps, up to %d instances"):format(#ups, service.up))
    wait(6)
    local fired = wait(10, function() return alert_news["alert firing"] == 1 and told "firing" == 1 end)
    check("alert fires", fired, ("ManyRequests, at 180 requests/s; messages: %d"):format(told "firing"))
    check("SIGKILL of an instance", kill_one(), "replaced in mid-load")
    wait(6)
    check("reload of an edited policy", reload(), ("generation %d in mid-load"):format(status.generation))
    wait(6)
    say "the load falls to 10 requests/s: instances are drained and removed"
    tell_load "rate 10"
    local fell = wait(40, function()
        return #downs > 0 and service.up == service.min and #service.instances == service.min
    end)
    check("scale-down", fell, ("%d steps, down to %d instances"):format(#downs, service.up))
    local over = wait(20, function() return alert_news["alert resolved"] == 1 and told "resolved" == 1 end)
    check("alert resolves", over and alert_news["alert firing"] == 1 and told "firing" == 1,
        ("once, when the load has fallen; messages: %d"):format(told "resolved"))
    tell_load "end"
    wait(12, function() return live.by_status ~= nil end)
    check("failed requests", live.by_status ~= nil and live.requests > 0 and live.errors == 0,
        ("%d of %d %s"):format(live.errors, live.requests, (live.errors_text or {})[1] or ""))
end

if not plain then
    io.write "\27[?25l\27[2J"
end
local ok, problem = pcall(run)
if not plain then
    repaint()
    io.write "\27[?25h\n"
end
if not ok then
    check("demo", false, tostring(problem))
end

local failed = false
print(("\n%-28s %d in %.0f s, p50 %.1f ms, p99 %.1f ms, longest %.0f ms"):format("requests", live.requests,
    now() - start, live.p50_ms or 0, live.p99_ms or 0, live.max_ms or 0))
for _, c in ipairs(checks) do
    failed = failed or not c.ok
    print(("%-28s %s  %s"):format(c.name, c.ok and "ok  " or "FAIL", c.detail))
end
os.exit(failed and 1 or 0)
