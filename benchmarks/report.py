"""What a program found: a table for people, JSON for programs, and an exit status that tells whether the results were right."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import machine
from harness import Case, Samples, Settings

FLOOR = "abs(.3)"


class Report:
    """Collects rows, comparisons and checks of one program.

    Times never make it fail, wrong results always do: `finish()` returns the exit status.
    """

    def __init__(self, program: str, question: str, settings: Settings) -> None:
        self.program = program
        self.question = question
        self.settings = settings
        self.rows: list[dict[str, Any]] = []
        self.failures: list[str] = []
        self._samples: dict[str, Samples] = {}

    def row(
        self,
        name: str,
        samples: Samples,
        unit: str = "ns",
        at_most: float | None = None,
        floor: str = FLOOR,
        readme: bool = False,
    ) -> None:
        """Add what was measured under `name`. `at_most`: the goal, in multiples of the row `floor`, else in `unit`.

        `readme`: it belongs in the README's table.
        """
        middle = median(samples)
        made: dict[str, Any] = {"name": name, "unit": unit, "median": middle, "min": min(samples), "max": max(samples)}
        if floor in self._samples and unit == "ns":
            made["multiple"] = middle / median(self._samples[floor])
        if at_most is not None:
            made["goal"] = f"<= {at_most:g}{' x' if 'multiple' in made else ''}"
            made["goal_met"] = made.get("multiple", middle) <= at_most
        made["readme"] = readme
        made["against"] = []
        self._samples[name] = samples
        self.rows.append(made)

    def compare(
        self,
        name: str,
        peer: str,
        at_least: float | None = None,
        *,
        at_most: float | None = None,
        inverse: bool = False,
        what: str = "times",
    ) -> None:
        """Add how many times the peer's figure is that of `name`: ratio of medians, and min and max of the rounds' ratios.

        `inverse`: how many times the figure of `name` is the peer's. `at_least`, `at_most`: the goal.
        """
        row = next(row for row in self.rows if row["name"] == name)
        if peer not in self._samples:
            row["against"].append({"peer": peer, "ratio": None})
            return
        ours, theirs = self._samples[name], self._samples[peer]
        if inverse:
            ours, theirs = theirs, ours
        ratios = [b / a for a, b in zip(ours, theirs, strict=True) if a > 0]
        if not ratios or median(ours) <= 0:
            row["against"].append({"peer": peer, "ratio": None})
            return
        ratio = median(theirs) / median(ours)
        made: dict[str, Any] = {"peer": peer, "what": what, "ratio": ratio, "min": min(ratios), "max": max(ratios)}
        if at_least is not None:
            made["goal"] = f">= {at_least:g} x"
            made["goal_met"] = ratio >= at_least
        if at_most is not None:
            made["goal"] = f"<= {at_most:g} x"
            made["goal_met"] = ratio <= at_most
        row["against"].append(made)

    def check(self, what: str, expected: object, found: object) -> None:
        """Note a wrong result."""
        if expected != found:
            self.failures.append(f"{what}: expected {expected!r}, found {found!r}")

    def verify_all(self, cases: Sequence[Case], calls: Mapping[str, int]) -> None:
        """Let the cases check their results, given how often each was called."""
        for case in cases:
            if case.check is not None:
                try:
                    case.check(calls[case.name])
                except AssertionError as error:
                    self.failures.append(f"{case.name}: {error}")

    def finish(self) -> int:
        """Print everything, and return the exit status."""
        facts = machine.describe()
        if self.settings.json:
            made = {"program": self.program, "question": self.question, "quick": self.settings.quick, "environment": facts}
            print(json.dumps({**made, "rounds": self.settings.rounds, "rows": self.rows, "failures": self.failures}))
        else:
            self._print(facts)
        for failure in self.failures:
            print(f"WRONG RESULT: {failure}", file=sys.stderr)
        return 1 if self.failures else 0

    def _print(self, facts: dict[str, str]) -> None:
        print(f"{self.program}: {self.question}")
        for name, value in facts.items():
            print(f"  {name}: {value}")
        quick = ", quick: figures are rough" if self.settings.quick else ""
        print(f"  {self.settings.rounds} rounds, interleaved; median (min .. max); x A = multiples of {FLOOR}{quick}\n")
        width = max(len(row["name"]) for row in self.rows)
        for row in self.rows:
            multiple = f"{row['multiple']:8.2f} x A" if "multiple" in row else ""
            goal = _goal(row)
            spread = f"({shown(row['min'])} .. {shown(row['max'])})"
            print(f"{row['name']:{width}}  {shown(row['median']):>9} {row['unit']:<7} {spread:<22}{multiple:12}{goal}".rstrip())
            for one in row["against"]:
                if one["ratio"] is None:
                    print(f"      not measured against {one['peer']}")
                else:
                    told = f"{one['ratio']:.2f} {one['what']} ({one['min']:.2f} .. {one['max']:.2f})"
                    print(f"      {one['peer']}: {told}{_goal(one)}")


def _goal(row: dict[str, Any]) -> str:
    return f"  goal {row['goal']}: {'met' if row['goal_met'] else 'MISSED'}" if "goal" in row else ""


def shown(x: float) -> str:
    """Return `x` with three or so digits."""
    return f"{x:,.0f}" if abs(x) >= 1000 else f"{x:.1f}" if abs(x) >= 10 else f"{x:.3g}"
