# SPDX-License-Identifier: Apache-2.0
"""A strict parser of OpenMetrics 1.0 text: what the specification forbids is a ParseError.

parse(text) gives {family: Family}. Of the types only those that have rules of their own here are
known: gauge, counter, histogram.
"""
import collections
import math
import re

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?|[+-]?Inf|NaN")
SUFFIXES = {"gauge": ("",), "counter": ("_total", "_created"),
            "histogram": ("_bucket", "_count", "_sum", "_created")}

Sample = collections.namedtuple("Sample", "name labels value")


class ParseError(Exception):
    pass


class Family:
    def __init__(self, name, kind):
        self.name, self.kind, self.unit, self.help, self.samples = name, kind, None, None, []

    def value(self, suffix="", **labels):
        """Of the one sample with exactly these labels."""
        found = [s.value for s in self.samples
                 if s.name == self.name + suffix and s.labels == labels]
        if len(found) != 1:
            raise KeyError((self.name + suffix, labels, len(found)))
        return found[0]


def require(condition, line, what):
    if not condition:
        raise ParseError(f"{what}: {line!r}")


def unescape(text, line, quotes):
    out, i = "", 0
    while i < len(text):
        if text[i] == "\\":
            require(i + 1 < len(text), line, "a backslash at the end")
            known = {"n": "\n", "\\": "\\", '"': '"'} if quotes else {"n": "\n", "\\": "\\"}
            require(text[i + 1] in known, line, "an unknown escape")
            out += known[text[i + 1]]
            i += 2
            continue
        require(not (quotes and text[i] == '"'), line, "a quote that is not escaped")
        out += text[i]
        i += 1
    return out


def parse_labels(text, line):
    """{labels}, rest of the line."""
    labels = {}
    at = 1
    while text[at:at + 1] != "}":
        name = LABEL_NAME.match(text, at)
        require(name, line, "no name of a label")
        require(name.group() not in labels, line, "a label that is there twice")
        at = name.end()
        require(text[at:at + 2] == '="', line, 'no =" after the label')
        end = at + 2
        while text[end:end + 1] not in ('"', ""):
            end += 2 if text[end] == "\\" else 1
        require(text[end:end + 1] == '"', line, "no end of the label's value")
        labels[name.group()] = unescape(text[at + 2:end], line, True)
        at = end + 1
        require(text[at:at + 1] in ",}", line, "neither a comma nor the end after a label")
        if text[at:at + 1] == ",":
            at += 1
            require(text[at:at + 1] != "}", line, "a comma after the last label")
    return labels, text[at + 1:]


def parse_number(text, line):
    require(NUMBER.fullmatch(text), line, "not a number")
    return float(text)


def parse_sample(line):
    name = NAME.match(line)
    require(name, line, "no name of a metric")
    rest, labels = line[name.end():], {}
    if rest.startswith("{"):
        labels, rest = parse_labels(rest, line)
    require(rest.startswith(" "), line, "no blank before the value")
    # Neither timestamps nor exemplars are written by gmemctl.
    return Sample(name.group(), labels, parse_number(rest[1:], line))


def check_gauge(family, line):
    for sample in family.samples:
        require("le" not in sample.labels, line, "a reserved label")


def check_counter(family, line):
    for sample in family.samples:
        require(sample.value >= 0 and not math.isnan(sample.value), line, "a negative counter")


def check_histogram(family, line):
    series = collections.defaultdict(dict)
    for sample in family.samples:
        labels = {k: v for k, v in sample.labels.items() if k != "le"}
        of = series[tuple(sorted(labels.items()))]
        if sample.name.endswith("_bucket"):
            require("le" in sample.labels, line, "a bucket without le")
            # As Go writes numbers: integers have a point, small ones an exponent of two digits.
            text = sample.labels["le"]
            require(re.fullmatch(r"\+Inf|\d+\.\d+|\d+(\.\d+)?e[+-]\d\d", text), text,
                    "no canonical number")
            of.setdefault("buckets", []).append((float(text), sample.value))
        else:
            require("le" not in sample.labels, line, "le on a sum or count")
            of[sample.name.removeprefix(family.name)] = sample.value
    for of in series.values():
        bounds = [bound for bound, _ in of.get("buckets", [])]
        counts = [count for _, count in of.get("buckets", [])]
        require(bounds and bounds == sorted(set(bounds)), line, "buckets out of order")
        require(bounds[-1] == math.inf, line, "no +Inf bucket")
        require(counts == sorted(counts), line, "buckets that are not cumulative")
        require(of.get("_count") == counts[-1], line, "a count that is not that of +Inf")
        require(of.get("_sum", -1) >= 0, line, "no sum")


CHECKS = {"gauge": check_gauge, "counter": check_counter, "histogram": check_histogram}


def check_family(family):
    line = family.name
    if family.unit:
        require(family.name.endswith("_" + family.unit), line, "a name that does not end in its unit")
    if family.kind == "counter":
        require(not family.name.endswith("_total"), line, "a family of counters called _total")
    seen = collections.Counter((s.name, tuple(sorted(s.labels.items()))) for s in family.samples)
    require(not seen or max(seen.values()) == 1, line, "a sample that is there twice")
    # All samples of one set of labels stand together.
    order = [tuple(sorted((k, v) for k, v in s.labels.items() if k != "le")) for s in family.samples]
    groups = [key for i, key in enumerate(order) if i == 0 or order[i - 1] != key]
    require(len(groups) == len(set(groups)), line, "metrics that are interleaved")
    CHECKS[family.kind](family, line)


def parse_metadata(line, families, current):
    words = line.split(" ", 3)
    require(len(words) == 4 and words[0] == "#" and words[1] in ("TYPE", "UNIT", "HELP"), line,
            "not a line of metadata")
    _, what, name, text = words
    require(NAME.fullmatch(name), line, "no name of a family")
    if what == "TYPE":
        require(text in SUFFIXES, line, "an unknown type")
        require(name not in families, line, "a family that is there twice")
        families[name] = Family(name, text)
        return families[name]
    require(current and current.name == name, line, "metadata of another family")
    require(not current.samples, line, "metadata after samples")
    key = what.lower()
    require(getattr(current, key) is None, line, "metadata that is there twice")
    setattr(current, key, unescape(text, line, False))
    return current


def parse(text):
    require(text.endswith("# EOF\n"), text[-20:], "no end")
    require("\r" not in text, "", "a carriage return")
    families, current = {}, None
    for line in text.split("\n")[:-2]:
        require(line != "# EOF", line, "an end before the end")
        require(line, line, "an empty line")
        if line.startswith("#"):
            current = parse_metadata(line, families, current)
            continue
        sample = parse_sample(line)
        require(current and sample.name in [current.name + s for s in SUFFIXES[current.kind]], line,
                "a sample of another family")
        current.samples.append(sample)
    # What one family's sample is called, another family may not be.
    names = [name + suffix for name, f in families.items() for suffix in SUFFIXES[f.kind]]
    require(len(names) == len(set(names)), "", "families whose samples have the same name")
    for family in families.values():
        check_family(family)
    return families
