"""Reads a page of metrics from stdin with the parsers of python3-prometheus-client: "openmetrics" (strict) or
"text". Beside what they refuse it refuses what they let pass: a series told twice, a family that is split or
told of twice, a label that is named twice, buckets that fall, a count that is not that of +Inf, a sample of
no number. Ends with 0 and one line, or with 1 and why."""
import re
import sys

from prometheus_client import parser
from prometheus_client.openmetrics import parser as strict

NAME = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)')


def fail(why):
    print(why)
    sys.exit(1)


def check_lines(text):
    seen, families, series, family = set(), set(), 0, None
    for line in text.split("\n")[:-1]:
        if line.startswith("# HELP "):
            family = line.split(" ")[2]
            if family in families:
                fail("a family told of twice: " + family)
            families.add(family)
        if line.startswith("#"):
            continue
        match = re.fullmatch(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(.*)\})? (\S+)", line)
        if not match:
            fail("no sample: " + line[:200])
        name, _, labels, value = match.groups()
        if not name.startswith(family):
            fail("outside its family: " + line[:200])
        if (name, labels) in seen:
            fail("told twice: " + line[:200])
        seen.add((name, labels))
        float(value)
        names, at = set(), 0
        while labels and at < len(labels):
            label = NAME.match(labels, at)
            if not label or label.group(1) in names:
                fail("bad labels: " + line[:200])
            names.add(label.group(1))
            at = label.end()
        series += 1
    return series


def check_histogram(family):
    last = {}
    for sample in family.samples:
        key = tuple(sorted((k, v) for k, v in sample.labels.items() if k != "le"))
        if sample.name.endswith("_bucket"):
            if sample.value < last.get(key, 0):
                fail("buckets fall: %s" % (sample,))
            last[key] = sample.value
            if sample.labels["le"] == "+Inf":
                last[key, "inf"] = sample.value
        elif sample.name.endswith("_count") and sample.value != last[key, "inf"]:
            fail("count is not that of +Inf: %s" % (sample,))


text = sys.stdin.buffer.read().decode("utf-8")
if not text.endswith("\n"):
    fail("no newline at the end")
count = check_lines(text)
try:
    parse = strict.text_string_to_metric_families if sys.argv[1] == "openmetrics" else parser.text_string_to_metric_families
    for one in parse(text):
        if one.type == "histogram":
            check_histogram(one)
except ValueError as error:
    fail("the parser refuses it: %s" % error)
print("%d samples" % count)
