/* anomaly.c: `tidegate anomaly replay`: a series from a file through an anomaly policy. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands/commands.h"
#include "base/ban.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "script/script.h"

enum {
    LINE_BYTES = 4096
};

/* Days from 1970-01-01 to a day of the Gregorian calendar (Howard Hinnant, days_from_civil). */
static int64_t days_of(int year, int month, int day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* "", "Z", "+02:00" or "-0730" as seconds east of Greenwich. */
static bool read_zone(const char *text, int *ret_s)
{
    int hours = 0, minutes = 0, end = 0;
    *ret_s = 0;
    if (!*text || !strcmp(text, "Z")) {
        return true;
    }
    if (*text != '+' && *text != '-') {
        return false;
    }
    if ((sscanf(text + 1, "%2d:%2d%n", &hours, &minutes, &end) < 2 || text[1 + end]) &&
        (sscanf(text + 1, "%2d%2d%n", &hours, &minutes, &end) < 2 || text[1 + end])) {
        return false;
    }
    *ret_s = (*text == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
    return hours >= 0 && hours < 24 && minutes >= 0 && minutes < 60;
}

/* Seconds since 1970 of "2014-02-14 14:30:00", ISO 8601 or a plain number; UTC unless it says otherwise. */
static bool read_time(const char *text, double *ret_s)
{
    static const int DAYS[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year, month, day, hour, minute, end = 0, zone_s;
    unsigned second = 0;
    char between, *behind;
    double number = strtod(text, &behind), fraction = 0;
    if (behind != text && !*behind) {
        *ret_s = number;
        return number >= 0 && number < 1e15;
    }
    if (sscanf(text, "%4d-%2d-%2d%c%2d:%2d%n", &year, &month, &day, &between, &hour, &minute,
               &end) < 6 ||
        !end || (between != ' ' && between != 'T')) {
        return false;
    }
    text += end;
    if (*text == ':') {
        if (sscanf(text, ":%2u%n", &second, &end) < 1) {
            return false;
        }
        text += end;
    }
    if (*text == '.') {
        fraction = strtod(text, &behind);
        text = behind;
    }
    if (month < 1 || month > 12 || day < 1 || day > DAYS[month - 1] || hour < 0 || hour > 23 ||
        minute < 0 || minute > 59 || second > 60 || !read_zone(text, &zone_s)) {
        return false;
    }
    *ret_s = (double)(days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second) +
             fraction - zone_s;
    return *ret_s >= 0;
}

/* A number; NaN for "", "nan" and "null", which are gaps. */
static bool read_value(const char *text, double *ret_value)
{
    char *behind;
    *ret_value = (double)NAN;
    if (!*text || str_is_nocase(str_of(text), "nan") || str_is_nocase(str_of(text), "null")) {
        return true;
    }
    *ret_value = strtod(text, &behind);
    return behind != text && !*behind && isfinite(*ret_value);
}

/* The two fields of a row; *line is changed. */
static bool split(char *line, char **ret_time, char **ret_value)
{
    char *comma = strchr(line, ',');
    if (!comma || strchr(comma + 1, ',')) {
        return false;
    }
    *comma = '\0';
    *ret_time = line;
    *ret_value = comma + 1;
    return true;
}

static void print_row(bool json, const char *time, const char *text, double value, double score)
{
    if (!json) {
        printf("%s,%s,%.9g,%d\n", time, text, score, score >= 1);
        return;
    }
    struct cJSON *row = json_object();
    json_set_str(row, "timestamp", time);
    if (isfinite(value)) {
        json_set_num(row, "value", value);
    } else {
        json_set_str(row, "value", NULL);
    }
    json_set_num(row, "score", score);
    json_set_bool(row, "alarm", score >= 1);
    char *line = json_text(row);
    puts(line);
    mem_free(line);
    json_free(row);
}

struct source {
    FILE *file;
    const char *name;
    unsigned long line;
    char text[LINE_BYTES]; /* longer rows are refused */
};

/* The next row that is not empty; false at the end. Its line break is taken off. */
static bool next_row(struct source *s, bool *ret_whole)
{
    do {
        if (!fgets(s->text, sizeof s->text, s->file)) {
            return false;
        }
        s->line++;
        size_t len = strcspn(s->text, "\n");
        *ret_whole = s->text[len] == '\n' || feof(s->file);
        len -= len > 0 && s->text[len - 1] == '\r';
        s->text[len] = '\0';
    } while (!s->text[0]);
    return true;
}

static int bad_row(const struct source *s, const char *what)
{
    fflush(stdout);
    return command_fail(COMMAND_NO, "%s:%lu: %s", s->name, s->line, what);
}

static int replay_rows(struct script_replay *replay, struct source *s, bool json)
{
    bool whole = true, first = true;
    while (next_row(s, &whole)) {
        char *time, *text, *why = NULL;
        double at_s = 0, value = 0, score = 0;
        if (!whole || !split(s->text, &time, &text)) {
            return bad_row(s, "no row of two fields: write timestamp,value");
        }
        bool timed = read_time(time, &at_s), valued = read_value(text, &value);
        if (first && !timed && !valued) {
            first = false;
            continue; /* the names of the columns */
        }
        first = false;
        if (!timed) {
            return bad_row(
                s, "no time stamp: write 2014-02-14 14:30:00, ISO 8601 or seconds since 1970");
        }
        if (!valued) {
            return bad_row(s, "no value: write a number, or nothing for a gap");
        }
        if (script_replay_push(replay, at_s, value, &score, &why) < 0) {
            fflush(stdout);
            int code =
                command_fail(COMMAND_NO, "%s:%lu: the policy failed: %s", s->name, s->line, why);
            mem_free(why);
            return code;
        }
        print_row(json, time, text, value, score);
        if (s->file == stdin) {
            fflush(stdout); /* whoever pipes a live series in waits for it */
        }
    }
    return ferror(s->file) ? bad_row(s, "cannot be read on: is it a file?") : COMMAND_FINE;
}

static int run_anomaly(const struct command_call *call)
{
    const char *verb = command_arg(call, 0), *name = command_arg(call, 1);
    bool json = command_value(call, "json") != NULL;
    struct script_replay *replay = NULL;
    char *why = NULL;
    if (!str_same(verb, "replay")) {
        return command_fail(COMMAND_WRONG_USAGE, "anomaly cannot \"%s\": write anomaly replay FILE",
                            verb);
    }
    if (script_replay_new(command_value(call, "policy"), command_value(call, "config"), &replay,
                          &why) < 0) {
        int code = command_fail(COMMAND_NO, "no policy to replay with:\n%s", why ? why : "");
        mem_free(why);
        return code;
    }
    struct source s = {.name = name, .file = str_same(name, "-") ? stdin : fopen(name, "re")};
    int code = COMMAND_NO;
    if (!s.file) {
        code =
            command_fail(COMMAND_NO, "%s cannot be opened: give a file of timestamp,value", name);
        goto out;
    }
    if (!json && !command_value(call, "no-header")) {
        puts("timestamp,value,score,alarm");
    }
    code = replay_rows(replay, &s, json);
    if (s.file != stdin) {
        fclose(s.file);
    }
out:
    script_replay_free(replay);
    return code;
}

static const struct command_option ANOMALY[] = {
    {"policy", "NAME", "anomaly policy, such as record or zscore (default record)"},
    {"config", "FILE", "configuration whose policies and parameters are used"},
    {"json", NULL, "one JSON object a row"},
    {"no-header", NULL, "without the names of the columns"},
    {NULL, NULL, NULL},
};

const struct command command_anomaly = {
    .name = "anomaly",
    .arguments = "replay FILE.csv",
    .least = 2,
    .most = 2,
    .summary = "hold a recorded series against an anomaly policy",
    .doc = "Reads rows of timestamp,value (- for standard input) and prints for each row, in order "
           "and as "
           "it comes, its score and whether it is an alarm, which is from 1 on. The policy sees "
           "what it would "
           "have seen then: only the rows before. Times are written 2014-02-14 14:30:00 (UTC), as "
           "ISO 8601 "
           "or as seconds since 1970; a row without value is a gap.",
    .example = "tidegate anomaly replay p99.csv --policy zscore",
    .options = ANOMALY,
    .run = run_anomaly,
};
