/* doctor_lua.c: whether the LuaJIT that is installed keeps what sandbox and budgets rest on. */
#include "commands/doctor.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/ban.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "script/script.h"

enum {
    PROBE_S = 5, /* of time for a child */
    LOOPS = 6,
    CRASHES = 300
};

/* Endless loops, by the request's attempt; 0 is a pick that ends. */
static const char LOOPING[] =
    "local function deep(n) if n > 0 then return deep(n - 1) end return deep(1e9) end\n"
    "local loops = {\n"
    "    function() while true do end end,\n"
    "    function() for i = 1, math.huge do end end,\n"
    "    function() return deep(1) end,\n"
    "    function() while true do pcall(function() while true do end end) end end,\n"
    "    function() local t = {} while true do t.x = (t.x or 0) + 1 end end,\n"
    "    function() repeat local s = ('x'):rep(10) until s == '' end,\n"
    "}\n"
    "return { name = 'probe', doc = 'x', new = function() return { pick = function(b, n, request)\n"
    "    if request.attempt > 0 then loops[request.attempt]() end\n"
    "    return 1\n"
    "end } end }\n";

/* CVE-2024-25177: a trace that gave up a table without a metatable crashes when it leaves. */
static const char CRASHING[] =
    "return { name = 'probe', doc = 'x', new = function() return { pick = function(b, n, request)\n"
    "    local kept, sum = nil, 0\n"
    "    for i = 1, 400 do\n"
    "        local t = setmetatable({}, nil)\n"
    "        local u = setmetatable({ i }, nil)\n"
    "        if i % 97 == request.hash % 97 then kept = t end\n"
    "        if i % 89 == request.hash % 89 then kept = u sum = sum + #u end\n"
    "    end\n"
    "    return kept and sum >= 0 and 1 or 1\n"
    "end } end }\n";

/* A picker of one row over a policy, live; 0. */
static int open_picker(const char *source, struct script_backend *row,
                       struct script_picker **ret_picker)
{
    struct cJSON *config = json_object(), *policies = json_array(), *policy = json_object();
    struct script_hot *hot = NULL;
    char *error = NULL;
    json_set_str(policy, "kind", "balance");
    json_set_str(policy, "name", "probe");
    json_set_str(policy, "origin", "probe.lua");
    json_set_str(policy, "source", source);
    json_set(policies, NULL, policy);
    json_set(config, "policies", policies);
    *row = (struct script_backend){.weight = 1, .eligible = 1, .index = 1};
    int rc = script_hot_new(config, NULL, &hot, &error);
    rc = rc ? rc : script_picker_new(hot, "probe", NULL, row, 1, ret_picker, &error);
    if (!rc) {
        script_picker_resize(*ret_picker, 1);
        script_hot_live(hot);
    }
    mem_free(error);
    json_free(config);
    return rc; /* what was made ends with the child */
}

/* In a child: 0 when every loop ended, and a pick works afterwards. */
static int probe_loops(void)
{
    struct script_backend row;
    struct script_picker *picker;
    if (open_picker(LOOPING, &row, &picker)) {
        return 2;
    }
    struct script_request good = {0};
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < CRASHES; i++) {
            if (script_pick(picker, &good) != 0) {
                return 3;
            }
        }
        for (int32_t loop = 1; loop <= LOOPS; loop++) {
            struct script_request bad = {.attempt = loop};
            if (script_pick(picker, &bad) >= 0 ||
                !strstr(script_picker_error(picker), "CPU time")) {
                return 4;
            }
        }
    }
    return script_pick(picker, &good) == 0 ? 0 : 3;
}

static int probe_crash(void)
{
    struct script_backend row;
    struct script_picker *picker;
    if (open_picker(CRASHING, &row, &picker)) {
        return 2;
    }
    for (uint32_t i = 0; i < CRASHES; i++) {
        struct script_request request = {.hash = i * 7};
        if (script_pick(picker, &request) != 0) {
            return 3;
        }
    }
    return 0;
}

/* Runs it in a child: its exit code, or the negative signal that ended it. */
static int in_child(int (*probe)(void), uint64_t *ret_took_ms)
{
    uint64_t from_ms = clock_now_ms();
    int status = 0;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        (void)alarm(PROBE_S);
        _exit(probe());
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid) {
        return 1;
    }
    *ret_took_ms = clock_now_ms() - from_ms;
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

void doctor_lua(struct doctor *d)
{
    static const char OTHER[] =
        "install LuaJIT 2.1 with the fixes of 2024 (Debian: libluajit-5.1-2), and not luajit2";
    char version[64];
    uint64_t loops_ms = 0, crash_ms = 0;
    script_lua_version(version, sizeof version);
    int crash = in_child(probe_crash, &crash_ms), loops = in_child(probe_loops, &loops_ms);
    if (crash) {
        doctor_say(d, "luajit", DOCTOR_FAIL, OTHER,
                   "%s crashes on setmetatable({}, nil) in a hot loop (%s %d)", version,
                   crash < 0 ? "signal" : "code", crash < 0 ? -crash : crash);
    } else if (loops) {
        doctor_say(d, "luajit", DOCTOR_FAIL, OTHER,
                   "%s: an endless loop in compiled code is not interrupted (%s %d)", version,
                   loops < 0 ? "signal" : "code", loops < 0 ? -loops : loops);
    } else {
        doctor_say(d, "luajit", DOCTOR_OK, "",
                   "%s: %d endless loops interrupted in %llu ms, no crash in %d tries", version,
                   2 * LOOPS, (unsigned long long)loops_ms, CRASHES);
    }
}
