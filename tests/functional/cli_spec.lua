-- The command line without a daemon: help, wrong words, exit codes, manual page, completions.
local shell = require "shell"

local COMMANDS = {
    "run", "check", "status", "decisions", "explain", "metrics", "scale", "deploy", "drain", "undrain", "backend",
    "weight", "restart", "approve", "stop", "reload", "repl", "anomaly", "simulate", "version", "help",
    "certificates",
}

describe("command line", function()
    local sh

    before_each(function()
        sh = shell.new()
    end)

    after_each(function()
        sh:close()
    end)

    local function run(args)
        return sh:run("$T " .. args)
    end

    it("lists every command in help and gives each an example", function()
        local code, out, err = run "help"
        assert.same({ 0, "" }, { code, err })
        for _, name in ipairs(COMMANDS) do
            assert.matches("\n  " .. name .. " ", out)
            local rc, text = run(name .. " --help")
            assert.equal(0, rc)
            assert.matches("usage: tidegate " .. name, text)
            assert.matches("example:\n  tidegate " .. name, text)
            assert.same({ 0, text, "" }, { run("help " .. name) }, name)
        end
        assert.same({ 0, out, "" }, { run "--help" })
    end)

    it("names the nearest command and option", function()
        for args, pattern in pairs {
            ["stauts"] = '^tidegate: unknown command "stauts": did you mean "status"%?\n$',
            ["decision"] = 'did you mean "decisions"',
            ["frobnicate"] = 'unknown command "frobnicate": see `tidegate help`\n$',
            ["status --jsno"] = 'unknown option "%-%-jsno" of status: did you mean "%-%-json"',
            ["scale shop 3 --fro 1m"] = 'did you mean "%-%-for"',
            ["status --zzzzzz"] = "see `tidegate status %-%-help`",
            ["help relaod"] = 'did you mean "reload"',
        } do
            local code, out, err = run(args)
            assert.same({ 2, "" }, { code, out }, args)
            assert.matches(pattern, err)
        end
    end)

    it("answers wrong usage with 2 and says what to do", function()
        for _, args in ipairs {
            "", "scale", "scale shop", "scale shop 3 4", "scale shop x", "scale shop -1", "scale shop 99999",
            "scale shop 3 --for", "scale shop 3 --for 3x", "deploy", "status a b", "status --json=yes", "status -j",
            "run --workers x", "run --workers 65", "run --log-format xml", "run --log-level loud",
            "decisions --since yesterday", "explain", "help --completions tcsh", "status --cluster ../x",
            "metrics a b", "metrics --instance a",
            "anomaly replay", "anomaly forget x.csv", "anomaly replay a.csv b.csv",
        } do
            local code, out, err = run(args)
            assert.same({ 2, "" }, { code, out }, args)
            assert.matches("^tidegate: [^\n]+: [^\n]+\n$", err)
        end
    end)

    it("answers 3 when there is no daemon", function()
        for _, args in ipairs {
            "status", "status --json", "decisions", "scale shop 3", "deploy shop --wait", "drain a", "undrain a",
            "backend add a 10.0.0.1:80", "weight a 5", "explain --like GET", "metrics",
            "restart a", "approve shop", "stop shop", "reload", "status --socket /nonexistent/x", "status --cluster shop",
        } do
            local code, out, err = run(args)
            assert.same({ 3, "" }, { code, out }, args)
            assert.matches("^tidegate: no daemon [^\n]+: start one with `tidegate run`", err)
        end
        assert.equal(3, (sh:run "TIDEGATE_SOCKET=/nonexistent/y $T status"))
    end)

    it("names the daemons when there are several", function()
        if not shell.find "socat" then
            pending "socat is not installed"
            return
        end
        local code, _, err = sh:run [[
            mkdir -p run/shop run/stock
            socat UNIX-LISTEN:run/shop/control.sock,fork /dev/null & a=$!
            socat UNIX-LISTEN:run/stock/control.sock,fork /dev/null & b=$!
            until [ -S run/shop/control.sock ] && [ -S run/stock/control.sock ]; do sleep 0.01; done
            $T status; rc=$?; kill $a $b; wait; exit $rc]]
        assert.equal(2, code)
        assert.matches("several daemons.*run/shop/control.sock.*choose one with %-%-cluster", (err:gsub("stock", "shop")))
    end)

    it("does not take another server for a daemon", function()
        if not shell.find "socat" then
            pending "socat is not installed"
            return
        end
        local code, _, err = sh:run [[
            socat UNIX-LISTEN:x.sock SYSTEM:'read line; echo hello' & a=$!
            until grep -q " 00010000 .*x.sock" /proc/net/unix; do sleep 0.01; done # it listens, not only exists
            $T status --socket x.sock; rc=$?; wait $a; exit $rc]]
        assert.equal(3, code)
        assert.matches("is no tidegate", err)
    end)

    it("prints its version", function()
        local code, out = run "version"
        assert.equal(0, code)
        assert.matches("^tidegate %d+%.%d+%.%d+\n$", out)
        assert.same({ 0, out, "" }, { run "--version" })
        assert.matches('^{"version":"%d[%d.]+"}\n$', select(2, run "version --json"))
    end)

    it("notices when the output cannot be written", function()
        local code, _, err = sh:run "$T help >/dev/full"
        assert.equal(1, code)
        assert.matches("cannot write the output: No space", err)
    end)

    it("checks: no file, every error with its place", function()
        local code, out, err = run "check nowhere.lua"
        assert.same({ 1, "" }, { code, out })
        assert.matches("nowhere.lua", err)
        sh:write("tidegate.lua", 'cluster { id = "shop", engine = "process" }\nservice "a" { imgae = "x" }\nservice "b" { scale = 5 }\n')
        code, out, err = run "check"
        assert.same({ 1, "" }, { code, out })
        assert.matches("tidegate.lua:2: [^\n]*image", err)
        assert.matches("tidegate.lua:3: ", err)
        local _, json = run "check --json"
        assert.matches('^{"ok":false,"error":".*tidegate.lua:2', json)
    end)

    it("renders a manual page that tells every command", function()
        local code, page = run "help --man"
        assert.equal(0, code)
        assert.matches("^%.TH TIDEGATE 1 ", page)
        for _, name in ipairs(COMMANDS) do
            assert.matches('%.SS "tidegate ' .. name, page)
        end
        if not shell.find "groff" then
            pending "groff is not installed"
            return
        end
        local _, out, err = sh:run "$T help --man | groff -ww -man -Tascii"
        assert.equal("", err)
        assert.matches("no daemon reachable", out)
    end)

    for name, check in pairs { bash = "bash -n", zsh = "zsh -n", fish = "fish -n" } do
        it("makes completions that " .. name .. " can read", function()
            if not shell.find(name) then
                pending(name .. " is not installed")
                return
            end
            local code, _, err = sh:run(("$T help --completions %s >c && %s c"):format(name, check))
            assert.same({ 0, "" }, { code, err })
        end)
    end

    it("completes commands, options and choices in bash", function()
        local function complete(...)
            local words = { ... }
            local quoted = {}
            for i, word in ipairs(words) do
                quoted[i] = "'" .. word .. "'"
            end
            local code, out, err = sh:run(('cat >t.bash <<\'END\'\n. <("$0" help --completions bash)\n'
                .. 'COMP_WORDS=(%s); COMP_CWORD=%d; compopt() { :; }; _tidegate; echo "${COMPREPLY[*]}"\nEND\n'
                .. "bash t.bash; true"):format(table.concat(quoted, " "), #words - 1):gsub('"$0"', '"$T"')
                :gsub("bash t.bash", "T=$T bash t.bash"))
            assert.same({ 0, "" }, { code, err })
            return out:gsub("\n$", "")
        end
        assert.equal("decisions deploy drain doctor", (complete("tidegate", "d")))
        assert.equal("--for", (complete("tidegate", "scale", "shop", "3", "--f")))
        assert.equal("debug info warn error", (complete("tidegate", "run", "--log-level", "")))
        assert.equal("deploy", (complete("tidegate", "help", "dep")))
    end)
end)
