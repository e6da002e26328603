-- Our reading of random heads against another parser's (Debian's libhttp-parser2.9): whatever we accept it
-- accepts too, and finds the same method, target, fields and framing. We may refuse more, never less.
local C, ffi = require("ffi_room").load("base/str.h", "net/http1.h")

ffi.cdef [[
typedef struct {
    unsigned int type : 2, flags : 8, state : 7, header_state : 7, index : 5;
    unsigned int uses_transfer_encoding : 1, allow_chunked_length : 1, lenient_http_headers : 1;
    uint32_t nread;
    uint64_t content_length;
    unsigned short http_major, http_minor;
    unsigned int status_code : 16, method : 8, http_errno : 7, upgrade : 1;
    void *data;
} other_parser;
typedef int (*other_data)(other_parser *, const char *, size_t);
typedef int (*other_event)(other_parser *);
typedef struct {
    other_event on_message_begin;
    other_data on_url, on_status, on_header_field, on_header_value;
    other_event on_headers_complete;
    other_data on_body;
    other_event on_message_complete, on_chunk_header, on_chunk_complete;
} other_settings;
void http_parser_init(other_parser *, int type);
size_t http_parser_execute(other_parser *, const other_settings *, const char *, size_t);
const char *http_method_str(int);
const char *http_errno_name(int);
]]

local ROUNDS = 20000
local CHUNKED = 1
local there, other
for _, name in ipairs { os.getenv "HTTP_PARSER_LIBRARY" or "libhttp_parser.so.2.9", "libhttp_parser.so" } do
    there, other = pcall(ffi.load, name)
    if there then
        break
    end
end

local head, used, status = ffi.new "struct http1_head", ffi.new "size_t[1]", ffi.new "int[1]"

local function text(s)
    return s.ptr ~= nil and ffi.string(s.ptr, s.len) or ""
end

local function trimmed(s)
    return (s:gsub("^[ \t]+", ""):gsub("[ \t]+$", ""))
end

-- What the other parser makes of exactly these bytes.
local function other_reading(settings, seen, bytes)
    local parser = ffi.new "other_parser"
    seen.url, seen.fields, seen.complete, seen.last = "", {}, false, nil
    other.http_parser_init(parser, 0)
    other.http_parser_execute(parser, settings, bytes, #bytes)
    local fields = {}
    for i, field in ipairs(seen.fields) do
        fields[i] = field[1] .. "=" .. trimmed(field[2])
    end
    return {
        error = parser.http_errno ~= 0 and ffi.string(other.http_errno_name(parser.http_errno)) or nil,
        complete = seen.complete, url = seen.url, fields = table.concat(fields, "|"),
        method = ffi.string(other.http_method_str(parser.method)), minor = parser.http_minor, chunked = seen.chunked,
        length = seen.length,
    }
end

local function callbacks(seen)
    local settings, kept = ffi.new "other_settings", {}
    local function set(name, kind, fn)
        kept[name] = ffi.cast(kind, fn)
        settings[name] = kept[name]
    end
    set("on_url", "other_data", function(_, at, len)
        seen.url = seen.url .. ffi.string(at, len)
        return 0
    end)
    set("on_header_field", "other_data", function(_, at, len)
        if seen.last ~= "name" then
            seen.fields[#seen.fields + 1] = { "", "" }
        end
        seen.last = "name"
        seen.fields[#seen.fields][1] = seen.fields[#seen.fields][1] .. ffi.string(at, len)
        return 0
    end)
    set("on_header_value", "other_data", function(_, at, len)
        seen.last = "value"
        seen.fields[#seen.fields][2] = seen.fields[#seen.fields][2] .. ffi.string(at, len)
        return 0
    end)
    set("on_headers_complete", "other_event", function(parser)
        seen.complete = true
        seen.chunked = bit.band(parser.flags, CHUNKED) ~= 0
        seen.length = parser.content_length
        return 0
    end)
    return settings, kept
end

local LINES = { "GET / HTTP/1.1", "POST /a?b=c HTTP/1.1", "PUT /x/%20y HTTP/1.0", "DELETE http://b.example:81/p?q HTTP/1.1",
    "OPTIONS * HTTP/1.1", "HEAD //a/../b HTTP/1.1" }
local FIELDS = { "Host: a", "host: b.example:80", "Content-Length: 5", "Content-Length: 0", "Transfer-Encoding: chunked",
    "transfer-encoding: Chunked", "Connection: close", "Connection: keep-alive, x-a", "X-A: 1", "X:", "X:  padded \t",
    "Transfer-Encoding: gzip, chunked", "Accept: */*", "X-Long: " .. ("y"):rep(200), "Content-Length: 007", "X: \195\164",
    "Connection: upgrade", "Upgrade: websocket", "Expect: 100-continue" }
local ODD = { "\r", "\n", "\0", " ", "\t", ":", ",", ";", "\127", "\128", "\255", "0", "A", "x", "\r\n", "\r\n ", "HTTP/1.1", "chunked" }

local function random_head()
    local lines = { LINES[math.random(#LINES)], FIELDS[math.random(2)] }
    for _ = 1, math.random(0, 4) do
        lines[#lines + 1] = FIELDS[math.random(#FIELDS)]
    end
    local bytes = table.concat(lines, "\r\n") .. "\r\n\r\n"
    for _ = 1, math.random(0, 2) do
        local at, piece = math.random(#bytes), ODD[math.random(#ODD)]
        local way = math.random(3)
        bytes = bytes:sub(1, at - 1) .. (way == 1 and piece or way == 2 and "" or piece .. bytes:sub(at, at))
            .. bytes:sub(at + 1)
    end
    return bytes
end

-- Where the other one is wrong: it takes longer names for the framing's, and a tab behind a value for a part of it.
local function known_fault(bytes)
    local lower = bytes:lower()
    return lower:find "transfer%-encoding[^:]" or lower:find "content%-length[^:]" or lower:find "\t\r\n"
end

describe("net/http1 beside another parser", function()
    it("reads every head that it accepts as the other one does", function()
        if not there then
            pending "libhttp-parser2.9 is not installed"
            return
        end
        jit.off(other_reading)
        local seen = {}
        local settings, kept = callbacks(seen)
        local seed = tonumber(os.getenv "SEED") or 1
        math.randomseed(seed)
        local accepted, refused = 0, 0
        for round = 1, ROUNDS do
            local bytes = random_head()
            local result = tonumber(C.http1_parse_request(ffi.new("struct str", bytes, #bytes), head, used, status))
            if result == tonumber(C.HTTP1_DONE) then
                accepted = accepted + 1
                local own = bytes:sub(1, tonumber(used[0]))
                local it = other_reading(settings, seen, own)
                local fields = {}
                for i = 0, tonumber(head.field_count) - 1 do
                    fields[#fields + 1] = text(head.fields[i].name) .. "=" .. text(head.fields[i].value)
                end
                local case = ("seed %d, round %d: %q"):format(seed, round, own)
                -- The other one knows a fixed list of methods only.
                if it.error ~= "HPE_INVALID_METHOD" and not known_fault(own) then
                    assert.is_nil(it.error, case)
                    assert.is_true(it.complete, case)
                    assert.same({ text(head.method_text), text(head.target), table.concat(fields, "|"), head.minor },
                        { it.method, it.url, it.fields, it.minor }, case)
                    assert.equal(it.chunked, head.framing == C.HTTP1_CHUNKED, case)
                    if head.has_content_length then
                        assert.is_true(it.length == head.content_length, case)
                    end
                end
            else
                refused = refused + 1
            end
        end
        for _, callback in pairs(kept) do
            callback:free()
        end
        assert.is_true(accepted > ROUNDS / 10 and refused > ROUNDS / 10, accepted .. " accepted, " .. refused .. " refused")
    end)
end)
