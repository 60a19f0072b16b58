"""Run all benchmarks, and write the README's table.

    python benchmarks/run_all.py [--quick] [--write README.md]

The table goes between the lines `<!-- benchmarks:begin -->` and `<!-- benchmarks:end -->`; each row names its command.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from report import shown

PROGRAMS = (
    "record",
    "attributes",
    "timed",
    "threads",
    "shards",
    "flush",
    "series",
    "scrape",
    "memory",
    "imports",
    "query",
    "history",
    "host",
    "stalls",
    "opentelemetry_api",
    "otlp",
)
BEGIN, END = "<!-- benchmarks:begin -->", "<!-- benchmarks:end -->"


def run(program: str, quick: bool) -> tuple[dict[str, Any] | None, str]:
    """Run one program; return what it found, None if it did not end well, and what it complained of."""
    command = [sys.executable, str(Path(__file__).with_name(f"{program}.py")), "--json", *(["--quick"] if quick else [])]
    done = subprocess.run(command, capture_output=True, text=True)
    found = json.loads(done.stdout) if done.stdout.startswith("{") else None
    return found, "" if done.returncode == 0 else done.stderr.strip() or f"exit status {done.returncode}"


def table(results: list[dict[str, Any]]) -> str:
    """Return the rows that belong in a README, in Markdown."""
    facts = results[0]["environment"]
    quick = " A quick run: the figures are rough." if results[0]["quick"] else ""
    about = ", ".join(f"{name} {value}" if name[0].islower() else value for name, value in facts.items())
    lines = [
        f"Measured on {about}.{quick}",
        "",
        "| what | median | min .. max | × A | compared | command |",
        "|---|---|---|---|---|---|",
    ]
    for result in results:
        for row in result["rows"]:
            if row["readme"]:
                multiple = f"{row['multiple']:.1f}" if "multiple" in row else ""
                ratios = [one for one in row["against"] if one["ratio"] is not None][:2]
                against = "; ".join(f"{one['peer']}: {_ratio(one)}" for one in ratios)
                spread = f"{shown(row['min'])} .. {shown(row['max'])}"
                cells = (row["name"], f"{shown(row['median'])} {row['unit']}", spread, multiple, against)
                told = " | ".join(cell.replace("|", "\\|") for cell in cells)
                lines.append(f"| {told} | `python benchmarks/{result['program']}` |")
    return "\n".join(lines)


def _ratio(one: dict[str, Any]) -> str:
    what = "×" if one["what"] == "times" else f"× {one['what'].removeprefix('times ')}"
    return f"{one['ratio']:.2g} {what}" if one["ratio"] < 10 else f"{one['ratio']:.0f} {what}"


def write(path: Path, made: str) -> None:
    """Put the table between the two marks of a file."""
    text = path.read_text()
    before, begin, rest = text.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{path} has no lines {BEGIN} and {END} to write between")
    path.write_text(f"{before}{begin}\n{made}\n{end}{after}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smoke run: the figures are rough")
    parser.add_argument("--write", type=Path, metavar="FILE", help="a Markdown file with the two marks")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was found there")
    parser.add_argument("--only", nargs="+", choices=PROGRAMS, default=PROGRAMS, help="run these alone")
    given = parser.parse_args()
    if given.write and not (given.write.is_file() and BEGIN in given.write.read_text()):
        parser.error(f"{given.write} is no file with the line {BEGIN}")
    results: list[dict[str, Any]] = []
    failed = False
    for program in given.only:
        print(f"{program} ...", file=sys.stderr, flush=True)
        found, complaint = run(program, given.quick)
        if complaint:
            failed = True
            print(f"{program}.py failed: {complaint}", file=sys.stderr)
        if found is not None:
            results.append(found)
    if given.json:
        given.json.write_text(json.dumps(results, indent=1))
    if results:
        made = table(results)
        print(made)
        if given.write and not failed:
            write(given.write, made)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
