-- aborts.lua: where LuaJIT's compiler gives up, as it says it itself; trusted. Called with (libraries):
--   watch(attach, util, known) -> take        of jit, jit.util, and names of jit.vmdef
-- and take() -> list of { at = "file:line", why = text, lasting = boolean } since the last call. `lasting`:
-- no other try will do better.
local lib = ...
local format, find, gsub = lib.string.format, lib.string.find, lib.string.gsub
local match, sub = lib.string.match, lib.string.sub
local type, tostring = lib.base.type, lib.base.tostring

-- What is written instead, by what the compiler says.
local INSTEAD = {
    FNEW = "makes a function for each request: make it once, in new()",
    UCLO = "makes a function for each request: make it once, in new()",
    ITERN = "pairs: use a numeric for over a list",
    VARG = "varargs: name the arguments",
    TSETM = "a table of varargs: name the arguments",
    CAT = "joins texts for each request: use numbers",
}

local function reason(known, code, extra)
    local text = known.traceerr[tostring(code)] or "reason " .. tostring(code)
    if find(text, "NYI: bytecode", 1, true) and type(extra) == "number" then
        local name = match(sub(known.bcnames, extra * 6 + 1, extra * 6 + 6), "%S+")
            or tostring(extra)
        return format("NYI: bytecode %s%s", name, INSTEAD[name] and ": " .. INSTEAD[name] or "")
    end
    local shown = type(extra) == "number" and (known.ffnames[tostring(extra)] or tostring(extra))
        or type(extra) == "string" and extra or "?"
    text = gsub(text, "%%%a", (gsub(shown, "%%", "%%%%")))
    return text
end

-- Given up for good; the others are how the compiler finds its way.
local LASTING = { "^NYI", "^blacklisted", "too many", "^bad ", "missing metamethod",
    "^store to", "^machine code" }

local function lasting(why)
    for i = 1, #LASTING do
        if find(why, LASTING[i]) then
            return true
        end
    end
    return false
end

return function(attach, util, known)
    local found, order = {}, {}

    local function add(func, pc, why, is_lasting)
        local info = util.funcinfo(func, pc)
        local source = info.source or ""
        local at = sub(source, 1, 1) == "@" and format("%s:%d", sub(source, 2), info.currentline)
        if at and not found[at .. why] then
            found[at .. why] = true
            order[#order + 1] = { at = at, why = why, lasting = is_lasting }
        end
    end

    attach(function(what, _, func, pc, code, extra)
        if what == "abort" and func then
            local why = type(code) == "number" and reason(known, code, extra) or tostring(code)
            add(func, pc, why, lasting(why))
        elseif what == "start" and extra == -1 then
            add(func, pc, "behind a call that is not compiled, which ended the trace", false)
        end
    end, "trace")

    return function()
        local list = order
        found, order = {}, {}
        return list
    end
end
