"""The parsing work, and the requests, under the fixture that users get."""

from __future__ import annotations

import itertools
import json

from metrics_sdk.demo import library, web


def test_a_file_is_hashed_parsed_timed_and_counted(isolated_metrics, tmp_path):
    """Each file handled leaves its size, a duration of hashing and one of parsing."""
    (tmp_path / "good.py").write_text("answer = 42\n")
    assert "ok" == library.handle(tmp_path / "good.py")
    isolated_metrics.assert_sum("library.file.size", 12)
    isolated_metrics.assert_count("library.hash.duration", 1)
    isolated_metrics.assert_count("library.parse.duration", 1)


def test_a_file_that_is_no_python_is_an_outcome_and_no_failure(isolated_metrics, tmp_path):
    """What cannot be parsed, or read, or is nested too deeply, is told apart; the duration carries the kind of error."""
    (tmp_path / "bad.py").write_text("def\n")
    (tmp_path / "null.py").write_bytes(b"a = '\0'\n")
    (tmp_path / "deep.py").write_text("-" * 20_000 + "1\n")
    assert "syntax_error" == library.handle(tmp_path / "bad.py")
    isolated_metrics.assert_count("library.parse.duration", 1, {"error.type": "SyntaxError"})
    assert "syntax_error" == library.handle(tmp_path / "null.py")
    assert "too_deep" == library.handle(tmp_path / "deep.py")
    assert "unreadable" == library.handle(tmp_path / "absent.py")


def test_the_workers_share_the_files_of_the_standard_library_among_them():
    """What two workers see is what one sees alone, and installed packages are none of it."""
    alone = list(itertools.islice(library._again(0, 1), 200))
    shared = [itertools.islice(library._again(worker, 2), 100) for worker in range(2)]
    assert alone == [path for pair in zip(*shared, strict=True) for path in pair]
    assert not [path for path in alone if "site-packages" in path.parts]


def test_each_path_belongs_to_a_route_and_a_status(isolated_metrics):
    """Routes, not paths, are what requests are counted by; a module's name cannot leave the library's folder."""
    found = {path: web.answer(path)[:2] for path in ("/", "/p99", "/digest/ast", "/digest/nosuch", "/digest/../ast", "/else")}
    assert {
        "/": ("/", 200),
        "/p99": ("/p99", 200),
        "/digest/ast": ("/digest/{module}", 200),
        "/digest/nosuch": ("/digest/{module}", 404),
        "/digest/../ast": ("/digest/{module}", 404),
        "/else": ("unknown", 404),
    } == found


def test_a_route_answers_from_the_aggregates(isolated_metrics, tmp_path):
    """/p99 tells the percentile that the SDK itself has of the parsing so far."""
    assert {"library.parse.duration": None} == json.loads(web.answer("/p99")[2])
    (tmp_path / "good.py").write_text("answer = 42\n")
    library.handle(tmp_path / "good.py")
    assert json.loads(web.answer("/p99")[2])["library.parse.duration"] > 0
