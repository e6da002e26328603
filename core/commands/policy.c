/* policy.c: `tidegate policy`: new policies from templates, and their examples and specs with line coverage. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "commands/commands.h"
#include "base/ban.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "script/kit.h"

enum {
    ARGUMENTS_MOST = 500
};

/* The directory of the configuration; owned. */
static char *directory_of(const struct command_call *call)
{
    const char *config = command_value(call, "config");
    const char *slash = config ? strrchr(config, '/') : NULL;
    return slash ? mem_copy_bytes(config, (size_t)(slash - config) + (slash == config))
                 : mem_copy(".");
}

/* ---- new ---- */

/* Makes the folders above a path. 0 or -errno. */
static int make_folders(const char *path)
{
    int code = 0;
    char *copy = mem_copy(path);
    for (char *at = strchr(copy + 1, '/'); at && !code; at = strchr(at + 1, '/')) {
        *at = '\0';
        code = mkdir(copy, 0777) < 0 && errno != EEXIST ? -errno : 0;
        *at = '/';
    }
    mem_free(copy);
    return code;
}

/* A new file; -EEXIST when there is one. */
static int write_new(const char *path, const char *text)
{
    int code = make_folders(path);
    int fd = code ? -1 : open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) {
        return code ? code : -errno;
    }
    size_t len = strlen(text), at = 0;
    while (at < len && !code) {
        ssize_t n = write(fd, text + at, len - at);
        code = n < 0 && errno != EINTR ? -errno : 0;
        at += n > 0 ? (size_t)n : 0;
    }
    return close(fd) < 0 && !code ? -errno : code;
}

/* Whether the file holds just this text. */
static bool holds(const char *path, const char *text)
{
    FILE *file = fopen(path, "re");
    size_t len = strlen(text);
    char *found = mem_new(len + 2);
    size_t got = file ? fread(found, 1, len + 1, file) : 0;
    bool same = got == len && !memcmp(found, text, len);
    if (file) {
        fclose(file);
    }
    mem_free(found);
    return same;
}

static int write_file(const char *directory, const struct cJSON *file)
{
    const char *name = json_str(file, "path", ""), *text = json_str(file, "text", "");
    char *path = mem_printf("%s/%s", directory, name);
    int code = write_new(path, text), exit_code = COMMAND_FINE;
    if (code == 0) {
        printf("wrote %s\n", name);
    } else if (code == -EEXIST) { /* one that several policies share: the others were looked for */
        if (!holds(path, text)) {
            printf("kept  %s: this version writes it otherwise: remove it to have that\n", name);
        }
    } else {
        exit_code = command_fail(COMMAND_NO, "%s: %s", path, err_text(code));
    }
    mem_free(path);
    return exit_code;
}

/* None of the policy's own files may be there. */
static int look_for(const char *directory, const struct cJSON *files)
{
    int code = COMMAND_FINE;
    for (const struct cJSON *f = json_first(files); f && !code; f = json_next(f)) {
        char *path = mem_printf("%s/%s", directory, json_str(f, "path", ""));
        if (!json_bool(f, "support", false) && access(path, F_OK) == 0) {
            code = command_fail(COMMAND_NO,
                                "%s is there already: choose another name, or move it away", path);
        }
        mem_free(path);
    }
    return code;
}

static int run_new(const struct command_call *call)
{
    const char *kind = command_arg(call, 1), *name = command_arg(call, 2);
    const char *config =
        command_value(call, "config") ? command_value(call, "config") : "tidegate.lua";
    struct cJSON *files = NULL;
    char *why = NULL;
    if (script_kit_new(kind, name, &files, &why) < 0) {
        int code = command_fail(COMMAND_WRONG_USAGE, "%s", why);
        mem_free(why);
        return code;
    }
    char *directory = directory_of(call);
    int code = access(config, F_OK) == 0
                   ? look_for(directory, files)
                   : command_fail(COMMAND_NO,
                                  "%s: %s: policies stand beside a configuration: go to its "
                                  "folder, or give --config PATH",
                                  config, err_text(-errno));
    for (const struct cJSON *f = json_first(files); f && !code; f = json_next(f)) {
        code = write_file(directory, f);
    }
    if (!code) {
        printf("next: edit policies/%s/%s.lua, run `tidegate policy test`, name it in %s, then "
               "`tidegate check` and `tidegate reload`\n",
               kind, name, config);
    }
    mem_free(directory);
    json_free(files);
    return code;
}

/* ---- test ---- */

static bool is_kind(const char *word, size_t len)
{
    for (const char *const *kind = script_kinds; *kind; kind++) {
        if (strlen(*kind) == len && !strncmp(*kind, word, len)) {
            return true;
        }
    }
    return false;
}

/* Takes the strings. Each policy once. */
static void add_unit(struct cJSON *units, char *directory, char *kind, char *name)
{
    bool known = false;
    for (const struct cJSON *u = json_first(units); u; u = json_next(u)) {
        known = known || (str_same(json_str(u, "directory", ""), directory) &&
                          str_same(json_str(u, "kind", ""), kind) &&
                          str_same(json_str(u, "name", ""), name));
    }
    if (!known) {
        struct cJSON *unit = json_object();
        json_set_str(unit, "directory", directory);
        json_set_str(unit, "kind", kind);
        json_set_str(unit, "name", name);
        json_set(units, NULL, unit);
    }
    mem_free(directory);
    mem_free(kind);
    mem_free(name);
}

/* The policy of ".../policies/KIND/NAME.lua" or ".../NAME_spec.lua". */
static int add_file(struct cJSON *units, const char *path)
{
    const char *folder = NULL;
    for (const char *at = strstr(path, "policies/"); at; at = strstr(at + 1, "policies/")) {
        folder = at == path || at[-1] == '/' ? at : folder;
    }
    const char *kind = folder ? folder + strlen("policies/") : "";
    size_t kind_len = strcspn(kind, "/"), len = strlen(path);
    const char *name = kind[kind_len] ? kind + kind_len + 1 : "";
    if (!is_kind(kind, kind_len) || strchr(name, '/') || !str_ends(str_of(path), ".lua") ||
        !str_same(path + len - 4, ".lua") || strlen(name) < 5) {
        return command_fail(COMMAND_WRONG_USAGE,
                            "%s is no policy: give policies/KIND/NAME.lua or its spec beside it, "
                            "policies/KIND/NAME_spec.lua",
                            path);
    }
    size_t name_len = strlen(name) - 4;
    if (name_len > 5 && !strncmp(name + name_len - 5, "_spec", 5)) {
        name_len -= 5;
    }
    add_unit(units, folder == path ? mem_copy(".") : mem_copy_bytes(path, (size_t)(folder - path)),
             mem_copy_bytes(kind, kind_len), mem_copy_bytes(name, name_len));
    return COMMAND_FINE;
}

static int is_policy(const struct dirent *entry)
{
    struct str name = str_of(entry->d_name);
    return entry->d_name[0] != '.' && str_ends(name, ".lua") && !str_ends(name, "_spec.lua");
}

/* All below the configuration's directory. */
static void add_all(struct cJSON *units, const char *directory)
{
    for (const char *const *kind = script_kinds; *kind; kind++) {
        char *folder = mem_printf("%s/policies/%s", directory, *kind);
        struct dirent **entries = NULL;
        int n = scandir(folder, &entries, is_policy, alphasort);
        for (int i = 0; i < n; i++) {
            const char *name = entries[i]->d_name;
            add_unit(units, mem_copy(directory), mem_copy(*kind),
                     mem_copy_bytes(name, strlen(name) - 4));
            free(entries[i]); /* NOLINT: made by libc */
        }
        free(entries); /* NOLINT */
        mem_free(folder);
    }
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static const char *plural(int count)
{
    return count == 1 ? "" : "s";
}

/* ", not covered: x.lua:7,12-15" and a new line. */
static void show_missed(const char *policy, const struct cJSON *missed)
{
    int from = 0, to = 0;
    for (const struct cJSON *l = json_first(missed); l || from; l = l ? json_next(l) : NULL) {
        int line = l ? (int)json_value_num(l, 0) : 0;
        if (from && line == to + 1) {
            to = line;
            continue;
        }
        if (from && to > from) {
            printf("-%d", to);
        }
        if (line && from) {
            printf(",%d", line);
        } else if (line) {
            printf(", not covered: %s:%d", base_name(policy), line);
        }
        from = to = line;
    }
    puts("");
}

static void show_report(const struct cJSON *report)
{
    const struct cJSON *missed = json_get(report, "missed");
    int lines = (int)json_int(report, "lines", 0), gaps = (int)json_count(missed);
    const char *policy = json_str(report, "policy", "");
    int examples = (int)json_int(report, "examples", 0), specs = (int)json_int(report, "specs", 0);
    printf("%s %s: %d example%s, %d spec%s, %d/%d lines",
           json_count(json_get(report, "failures")) ? "FAIL" : "ok  ", policy, examples,
           plural(examples), specs, plural(specs), lines - gaps, lines);
    show_missed(policy, missed);
    for (const struct cJSON *f = json_first(json_get(report, "failures")); f; f = json_next(f)) {
        printf("     %s:\n       %s\n", json_str(f, "what", ""), json_str(f, "why", ""));
    }
}

struct totals {
    int policies, examples, specs, failures, lines, missed;
};

static void count(struct totals *t, const struct cJSON *report)
{
    t->policies++;
    t->examples += (int)json_int(report, "examples", 0);
    t->specs += (int)json_int(report, "specs", 0);
    t->failures += (int)json_count(json_get(report, "failures"));
    t->lines += (int)json_int(report, "lines", 0);
    t->missed += (int)json_count(json_get(report, "missed"));
}

static int read_least(const struct command_call *call, double *ret_least)
{
    const char *text = command_value(call, "least");
    uint64_t percent = 0;
    *ret_least = 0;
    if (text && (str_to_u64(str_of(text), &percent) || percent > 100)) {
        return command_fail(COMMAND_WRONG_USAGE, "--least: \"%s\" is no percentage from 0 to 100",
                            text);
    }
    *ret_least = (double)percent;
    return COMMAND_FINE;
}

/* Tests all units; the reports, or NULL when one could not be run. */
static struct cJSON *test_all(const struct cJSON *units, bool quiet, struct totals *t)
{
    struct cJSON *reports = json_array();
    for (const struct cJSON *u = json_first(units); u; u = json_next(u)) {
        struct cJSON *report = NULL;
        char *why = NULL;
        if (script_kit_test(json_str(u, "directory", "."), json_str(u, "kind", ""),
                            json_str(u, "name", ""), &report, &why) < 0) {
            (void)command_fail(COMMAND_NO, "%s", why);
            mem_free(why);
            json_free(reports);
            return NULL;
        }
        count(t, report);
        if (!quiet) {
            show_report(report);
        }
        json_set(reports, NULL, report);
    }
    return reports;
}

static int run_units(const struct command_call *call, const struct cJSON *units)
{
    struct totals t = {0};
    double least;
    int code = read_least(call, &least);
    bool json = command_value(call, "json") != NULL;
    struct cJSON *reports = code ? NULL : test_all(units, json, &t);
    if (!reports) {
        return code ? code : COMMAND_NO;
    }
    double covered = t.lines ? 100.0 * (t.lines - t.missed) / t.lines : 100;
    bool well = t.failures == 0 && covered >= least;
    if (json) {
        struct cJSON *answer = json_object();
        json_set_bool(answer, "ok", well);
        json_set_num(answer, "covered_percent", covered);
        json_set(answer, "policies", reports);
        char *text = json_text(answer);
        puts(text);
        mem_free(text);
        json_free(answer);
    } else {
        printf("%d %s: %d example%s and %d spec%s, %d failed, %d/%d lines\n", t.policies,
               t.policies == 1 ? "policy" : "policies", t.examples, plural(t.examples), t.specs,
               plural(t.specs), t.failures, t.lines - t.missed, t.lines);
        json_free(reports);
    }
    if (t.failures == 0 && !well) {
        return command_fail(COMMAND_NO, "%.1f %% of the lines ran: --least %.0f wants more specs",
                            covered, least);
    }
    return well ? COMMAND_FINE : COMMAND_NO;
}

static int run_test(const struct command_call *call)
{
    struct cJSON *units = json_array();
    int code = COMMAND_FINE;
    for (unsigned i = 1; i < call->arg_count && !code; i++) {
        code = add_file(units, command_arg(call, i));
    }
    if (!code && call->arg_count == 1) {
        char *directory = directory_of(call);
        add_all(units, directory);
        if (json_count(units) == 0) {
            code = command_fail(COMMAND_NO,
                                "no policies below %s/policies: `tidegate policy new scale NAME` "
                                "writes one",
                                directory);
        }
        mem_free(directory);
    }
    code = code ? code : run_units(call, units);
    json_free(units);
    return code;
}

static int run_policy(const struct command_call *call)
{
    const char *verb = command_arg(call, 0);
    if (str_same(verb, "new") && call->arg_count == 3) {
        return run_new(call);
    } else if (str_same(verb, "test")) {
        return run_test(call);
    }
    return command_fail(COMMAND_WRONG_USAGE,
                        "write policy new KIND NAME with a KIND of balance, scale, alert, anomaly "
                        "or notify, or policy test [FILE...]");
}

static const struct command_option OPTIONS[] = {
    {"config", "PATH", "configuration beside whose policies/ is meant (default ./tidegate.lua)"},
    {"least", "PERCENT", "test: exit code 1 when less of the lines ran"},
    {"json", NULL, "test: print the outcome as one line of JSON"},
    {NULL, NULL, NULL},
};

const struct command command_policy = {
    .name = "policy",
    .arguments = "new KIND NAME|test [FILE...]",
    .least = 1,
    .most = ARGUMENTS_MOST,
    .summary = "write a policy from a template, or run examples and specs of policies",
    .doc = "`policy new` writes policies/KIND/NAME.lua, a spec beside it, and annotations and "
           "settings for editors, luacheck and busted; what it writes passes as it is, and nothing "
           "is overwritten. KIND is balance, scale, alert, anomaly or notify. `policy test` runs "
           "the examples of policies and the specs beside them (NAME_spec.lua) in the sandbox that "
           "the daemon has, without a daemon, and tells which lines of the policies did not run: "
           "of the files named, or of all below policies/.",
    .example = "tidegate policy new scale queue_aware",
    .options = OPTIONS,
    .run = run_policy,
};
