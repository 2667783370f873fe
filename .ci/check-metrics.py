#!/usr/bin/env python3
"""Compares METRICS.md with the sources, and dashboards and alerts with METRICS.md.

Each metric that a program writes stands on the page with its type and labels, and nothing else does; each name and label
that an expression of a dashboard or an alert uses is on the page. Standard library only.
`--rules FILE` writes those expressions as a rule file, for promtool to check their syntax.
"""

import json
import pathlib
import re
import sys

REPO = pathlib.Path(__file__).resolve().parent.parent
MONITORING = REPO / "k8s/components/monitoring"
# Given by the scraper (PodMonitor, Prometheus of compose), or by Prometheus itself.
SCRAPED = {"pod", "app_kubernetes_io_name", "job", "instance", "le"}
OTHERS = {"up"}

problems = []


def balanced(text, start):
    """The text from `start`, behind an opening bracket, to its closing one."""
    depth = 1
    for end in range(start, len(text)):
        depth += (text[end] in "([{") - (text[end] in ")]}")
        if depth == 0:
            return text[start:end]
    return text[start:]


def in_sources():
    """name -> (type, labels, where), from every call of the three macros outside tests."""
    found = {}
    for path in sorted(REPO.glob("*/src/**/*.rs")):
        text = path.read_text().split("#[cfg(test)]")[0]
        for match in re.finditer(r"\bmetrics::(counter|gauge|histogram)!\(", text):
            where = f"{path.relative_to(REPO)}:{text.count(chr(10), 0, match.start()) + 1}"
            call = balanced(text, match.end())
            name = re.match(r'\s*"(\w+)"', call)
            if not name:
                problems.append(f"{where}: a metric whose name is not written there")
                continue
            labels = set(re.findall(r'"(\w+)"\s*=>', call))
            if "&labels" in call:
                last = text.rfind("let labels = [", 0, match.start())
                labels |= set(re.findall(r'\("(\w+)",', balanced(text, last + len("let labels = ["))))
            kind = match.group(1)
            known = found.setdefault(name.group(1), (kind, labels, where))
            if known[:2] != (kind, labels):
                problems.append(f"{where}: {name.group(1)} differs in type or labels from {known[2]}")
    return found


def on_page():
    """name -> (type, labels), from the tables of the page."""
    rows = {}
    for line in (REPO / "METRICS.md").read_text().splitlines():
        if not line.startswith("| `"):
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 4 or cells[1] not in ("counter", "gauge", "histogram"):
            problems.append(f"METRICS.md: not a row of name, type, labels, meaning: {line}")
            continue
        name = cells[0].strip("`")
        if name in rows:
            problems.append(f"METRICS.md: {name} stands there twice")
        if not cells[3]:
            problems.append(f"METRICS.md: {name} has no meaning")
        rows[name] = (cells[1], set(re.findall(r"`(\w+)`", cells[2])))
    return rows


def expressions():
    """(where, expression) of every alert and every panel."""
    for line in (MONITORING / "alerts.yaml").read_text().splitlines():
        if match := re.match(r"\s*expr: (.*)", line):
            if match.group(1) in ("|", ">", ">-", "|-"):
                problems.append("alerts.yaml: an expression over several lines is not read here")
            yield "alerts.yaml", match.group(1)
    for path in sorted((MONITORING / "dashboards").glob("*.json")):
        board = json.loads(path.read_text())
        for panel in board["panels"]:
            where = f"{path.name}: {panel.get('title')}"
            for target in panel.get("targets", []):
                yield where, target["expr"]
        for variable in board.get("templating", {}).get("list", []):
            if variable["type"] == "query":
                query = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
                if query:  # label_values is Grafana's own; the same names as an expression
                    yield f"{path.name}: ${variable['name']}", f"sum by ({query.group(2)}) ({query.group(1)})"
                else:
                    problems.append(f"{path.name}: the query of ${variable['name']} is not read here")


def check_expression(where, expression, page):
    expression = re.sub(r'"[^"]*"', '""', expression)
    used = set(re.findall(r"\bevent_\w+", expression))
    if not used and not any(re.search(rf"\b{o}\b", expression) for o in OTHERS):
        problems.append(f"{where}: no metric of ours in {expression}")
    allowed = set(SCRAPED)
    for name in used:
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        if page.get(base, ("",))[0] == "histogram":
            if base == name:
                problems.append(f"{where}: {name} is a histogram: _bucket, _sum or _count")
            name = base
        if name not in page:
            problems.append(f"{where}: {name} is not in METRICS.md")
        else:
            allowed |= page[name][1]
    labels = set(re.findall(r"[{,]\s*(\w+)\s*[=!]~?", expression))
    for group in re.findall(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)", expression):
        labels |= {label.strip() for label in group.split(",")}
    for label in labels - allowed:
        problems.append(f"{where}: no metric there has a label {label}")


def as_rules(path):
    """The dashboards' expressions as a rule file, for promtool to read. Grafana's variables get a value."""
    rules = []
    for where, expression in expressions():
        expression = re.sub(r"\$__(rate_interval|range)", "1m", expression)
        expression = re.sub(r"\$(role|pod)\b", "x", expression)
        rules.append({"record": f"expression:{len(rules)}", "expr": expression, "labels": {"where": where}})
    pathlib.Path(path).write_text(json.dumps({"groups": [{"name": "expressions", "rules": rules}]}))


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "--rules":
        return as_rules(sys.argv[2])
    sources, page = in_sources(), on_page()
    for name, (kind, labels, where) in sources.items():
        if name not in page:
            problems.append(f"{where}: {name} is not in METRICS.md")
        elif page[name] != (kind, labels):
            problems.append(f"{where}: {name} is a {kind} with labels {sorted(labels)}; METRICS.md says otherwise")
    problems.extend(f"METRICS.md: nobody writes {name}" for name in page.keys() - sources.keys())
    checked = 0
    for where, expression in expressions():
        check_expression(where, expression, page)
        checked += 1
    for problem in problems:
        print(f"metrics: {problem}", file=sys.stderr)
    if problems or not sources:
        sys.exit(1)
    print(f"metrics: {len(sources)} metrics and {checked} expressions agree with METRICS.md")


main()
