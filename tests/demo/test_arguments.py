"""The command line."""

from __future__ import annotations

import pytest

from metrics_sdk.__main__ import main


@pytest.mark.parametrize(
    ("told", "arguments"),
    [
        ("required: command", []),
        ("invalid choice: 'demos'", ["demos"]),
        ("must be a positive number of seconds, such as 10 or 0.5, not '0'", ["demo", "--seconds", "0"]),
        ("not 'nan'", ["demo", "--seconds", "nan"]),
        ("not 'inf'", ["demo", "--seconds", "inf"]),
        ("not 'soon'", ["demo", "--seconds", "soon"]),
        ("must be a whole number from 0 to 65535, not '65536'", ["demo", "--port", "65536"]),
        ("not '-1'", ["demo", "--port=-1"]),
        ("not '²'", ["demo", "--port", "²"]),
        ("unrecognized arguments: --sec", ["demo", "--sec", "1"]),
    ],
)
def test_bad_arguments_are_told_with_status_2(capsys, told, arguments):
    """What is wrong is said on stderr, with what was given, and nothing is run."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert 2 == ended.value.code
    output = capsys.readouterr()
    assert "" == output.out
    assert told in output.err


def test_help_tells_the_options_with_their_defaults(capsys):
    """`demo --help` ends with status 0 and names both options."""
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--help"])
    assert 0 == ended.value.code
    told = " ".join(capsys.readouterr().out.split())
    assert "--seconds S how long to run, in seconds (default: 10)" in told
    assert "(default: 9464)" in told


def test_importing_the_package_loads_no_part_of_the_demo(run_python):
    """`import metrics_sdk` loads neither the demo nor argparse nor the integration."""
    program = "import sys, metrics_sdk; print(*sys.modules)"
    loaded = run_python(program).split()
    assert [] == [name for name in loaded if "demo" in name or "prometheus" in name or name in ("argparse", "http.server")]
