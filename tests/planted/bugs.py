"""Bugs to plant into a copy of the package, each with the test that it must turn red.

The explorer has its own, in the way of a value through the core (`tests/explorer/planted.py`); these are of the rest: what
becomes of values before and after, of processes and threads, of exporters and who asks them. An edit replaces text that must
occur exactly once, so a bug cannot rot unnoticed when the package changes.
"""

from __future__ import annotations

from typing import NamedTuple


class Edit(NamedTuple):
    """Text of a file, which must occur exactly once, and what takes its place."""

    file: str
    old: str
    new: str


class Bug(NamedTuple):
    """A mistake that is easy to make. `caught_by`: a pytest node id below `tests/`."""

    name: str
    what: str
    edits: tuple[Edit, ...]
    caught_by: str


def case(name: str) -> str:
    """Return the node id of a case of the catalogue."""
    return f"catalogue/test_catalogue.py::test_the_host_is_not_harmed_and_every_value_is_accounted_for[{name}]"


BUGS = (
    # ---- forks --------------------------------------------------------------------------------------------------
    Bug(
        "locks-not-made-anew",
        "the locks of the aggregate map stay as they were when the process forked",
        (Edit("metrics_sdk/store.py", "        for lock in self.locks:\n            lock._at_fork_reinit()\n", ""),),
        case("forks.with_every_lock_held"),
    ),
    Bug(
        "drain-lock-not-made-anew",
        "the lock around a drain stays as it was when the process forked",
        (Edit("metrics_sdk/store.py", "        self.drain_lock._at_fork_reinit()\n", ""),),
        case("forks.with_every_lock_held"),
    ),
    Bug(
        "making-lock-not-made-anew",
        "the lock around making the process-wide SDK stays as it was when the process forked",
        (Edit("metrics_sdk/default.py", "_making._at_fork_reinit()", "None"),),
        "test_sdk.py::test_a_child_that_is_forked_while_another_thread_configures_can_configure",
    ),
    Bug(
        "generation-not-renewed",
        "a child goes on in its parent's generation, with what its parent had merged",
        (Edit("metrics_sdk/core/scope.py", "        self.generation += 1\n", ""),),
        case("forks.in_a_loop"),
    ),
    Bug(
        "pending-kept-in-child",
        "a child keeps the values that its parent had not merged yet",
        (Edit("metrics_sdk/core/scope.py", "        for cell in self.cells:\n            cell.abandon()\n", ""),),
        case("forks.with_pending_values"),
    ),
    Bug(
        "workers-not-reset",
        "a child believes that its parent's exporter threads run",
        (Edit("metrics_sdk/exports.py", "        for worker in self.workers:\n            worker.reset()\n", ""),),
        case("forks.inside_an_export"),
    ),
    Bug(
        "deltas-kept-in-child",
        "a child tells the deltas that its parent has not delivered yet",
        (
            Edit(
                "metrics_sdk/sdk.py",
                "        for collector in list(self._collectors):\n            collector.forked()\n",
                "",
            ),
        ),
        "test_collector.py::test_a_forked_child_tells_only_its_own",
    ),
    # ---- re-entry -----------------------------------------------------------------------------------------------
    Bug(
        "event-set-in-record",
        "recording wakes the flusher by Event.set, which takes a lock of its own",
        (
            Edit("metrics_sdk/core/append.py", "import sys\n", "import sys\nimport threading\n"),
            Edit("metrics_sdk/core/append.py", "_SMALL: Final", "_woken = threading.Event()\n_SMALL: Final"),
            Edit("metrics_sdk/core/append.py", "pending.append(number)\n", "pending.append(number); _woken.set()\n"),
        ),
        case("reentrancy.signal_handler[1 shard]"),
    ),
    Bug(
        "no-re-entry-check",
        "who interrupted the work under a lock is let in again",
        (Edit("metrics_sdk/core/exclusion.py", "    if lock._is_owned():\n        return False\n", ""),),
        "test_exporting.py::test_an_exporter_that_flushes_inline_is_not_called_again_from_within",
    ),
    Bug(
        "shutdown-waits-for-itself",
        "a shutdown that comes while another is under way waits for it, whoever calls",
        (
            Edit(
                "metrics_sdk/sdk.py",
                "if first != me and not self.is_own_thread() and not self._interrupts_itself():",
                "if True:",
            ),
        ),
        "test_sdk.py::test_a_handler_that_shuts_down_while_its_own_thread_does_returns_at_once",
    ),
    # ---- values -------------------------------------------------------------------------------------------------
    Bug(
        "not-a-number-accepted",
        "only infinities are looked for, and one NaN makes a sum NaN for good",
        (Edit("metrics_sdk/core/append.py", "elif number - number != 0.0:", "elif abs(number) > FLOAT_MAX:"),),
        "core/test_cells.py::test_what_cannot_be_counted_is_dropped_with_the_reason",
    ),
    Bug(
        "drop-not-counted",
        "a value that is no number is ignored in silence",
        (Edit("metrics_sdk/core/append.py", "            self.drop(INVALID_VALUE)\n", "            pass\n"),),
        "core/test_cells.py::test_what_cannot_be_counted_is_dropped_with_the_reason",
    ),
    Bug(
        "checked-after-the-store",
        "a negative amount is stored, and then counted as dropped",
        (
            Edit(
                "metrics_sdk/core/append.py",
                "            self.drop(NEGATIVE)\n",
                "            self._append(number); self.drop(NEGATIVE)\n",
            ),
        ),
        "core/test_cells.py::test_what_cannot_be_counted_is_dropped_with_the_reason",
    ),
    Bug(
        "disabled-not-counted",
        "what an instrument is given while it is turned off is in no account",
        (Edit("metrics_sdk/core/refusing.py", "        self.inner.drop(self.reason)\n", "        pass\n"),),
        "test_reconfigure.py::test_an_instrument_that_is_turned_off_counts_what_it_is_given_as_disabled_and_goes_on_later",
    ),
    Bug(
        "late-not-counted",
        "a value that comes too late is ignored in silence",
        (
            Edit(
                "metrics_sdk/points.py",
                "part.dropped[reason] = part.dropped.get(reason, 0) + 1",
                "part.dropped[reason] = part.dropped.get(reason, 0)",
            ),
        ),
        "test_points.py::test_what_has_no_acceptable_time_is_dropped_with_the_reason",
    ),
    Bug(
        "overflow-not-bounded",
        "each attribute set gets a series of its own, however many there are",
        (Edit("metrics_sdk/core/table.py", "full = bool(pairs) and (", "full = False and ("),),
        "core/test_cells.py::test_series_past_the_limit_share_the_overflow_series_and_every_value_is_in_one",
    ),
    # ---- threads and exporters ----------------------------------------------------------------------------------
    Bug(
        "exporter-ends-its-worker",
        "SystemExit of an exporter is taken for the process's",
        (
            Edit(
                "metrics_sdk/exporting.py",
                "        except BaseException as error:  # SystemExit and the like included: they are the exporter's, not the process's",
                "        except Exception as error:",
            ),
        ),
        case("exporters.raises[SystemExit]"),
    ),
    Bug(
        "flusher-not-restarted",
        "a flusher that an exception has ended stays ended",
        (
            Edit(
                "metrics_sdk/flusher.py",
                "                except BaseException as error:\n",
                "                except Exception as error:\n",
            ),
            Edit("metrics_sdk/flusher.py", "not self._spawn(pause and self._longer_pause())", "False"),
        ),
        case("exporters.killed[flusher]"),
    ),
    Bug(
        "acknowledged-before-export",
        "deltas are let go of before the exporter has taken them",
        (
            Edit(
                "metrics_sdk/export_jobs.py",
                "            snapshot = self._snapshot()\n",
                "            snapshot = self._snapshot(); self._collector.acknowledge()\n",
            ),
        ),
        "test_exporting.py::test_deltas_are_exact_with_an_exporter_that_fails_now_and_then",
    ),
    Bug(
        "never-acknowledged",
        "deltas that have arrived are told again",
        (Edit("metrics_sdk/exporting.py", "        job.content.settle()\n", ""),),
        "test_exporting.py::test_deltas_are_exact_with_an_exporter_that_fails_now_and_then",
    ),
    Bug(
        "part-acknowledged-as-all",
        "an export that arrived in part counts as if all of it had",
        (Edit("metrics_sdk/export_jobs.py", "self._collector.acknowledge(points)", "self._collector.acknowledge()"),),
        "test_exporting.py::test_deltas_that_are_settled_are_not_told_again_and_the_others_are_with_their_own_start",
    ),
    Bug(
        "order-of-snapshots",
        "snapshots are queued as they come, not as they were made",
        (Edit("metrics_sdk/exporting.py", "while at and jobs[at - 1].number > job.number:", "while False:"),),
        "test_exporting.py::test_a_snapshot_that_was_made_before_one_that_is_queued_or_exported_gives_way_to_it",
    ),
    Bug(
        "retry-after-not-capped",
        "the other side may ask for peace for 30 years",
        (Edit("metrics_sdk/exporting.py", "min(asked, LONGEST_RETRY_AFTER_SECONDS)", "asked"),),
        "test_exporting.py::test_how_long_the_other_side_wants_peace_is_respected_by_flushes_too_up_to_an_hour",
    ),
    # ---- the end ------------------------------------------------------------------------------------------------
    Bug(
        "not-at-exit",
        "the interpreter's exit delivers nothing",
        (Edit("metrics_sdk/process_end.py", "        _waiting[id(self)] = self\n", ""),),
        case("exits.of_a_program[end of the script]"),
    ),
    Bug(
        "not-at-the-end-of-workers",
        "a child of multiprocessing, which does not run what atexit knows, delivers nothing",
        (Edit("metrics_sdk/process_end.py", "if util is not None:", "if util is None:"),),
        case("processes.multiprocessed[fork-process]"),
    ),
    Bug(
        "clock-may-be-frozen",
        "a library that replaces the functions of `time` stops the flusher",
        (Edit("metrics_sdk/clock.py", "monotonic = partial(time.monotonic)", "monotonic = time.monotonic"),),
        case("clocks.frozen"),
    ),
    # ---- the other side -----------------------------------------------------------------------------------------
    Bug(
        "redirects-followed",
        "what is sent, credentials included, goes where a server says",
        (
            Edit(
                "metrics_sdk/http_target.py",
                "            answer = connection.getresponse()\n",
                "            answer = connection.getresponse()\n"
                "            if 300 <= answer.status < 400:\n"
                "                answer.read()\n"
                "                elsewhere = urlsplit(answer.headers.get('Location', '')).path or self.path\n"
                "                connection.request(method, elsewhere, body, _joined(self.headers, headers))\n"
                "                answer = connection.getresponse()\n",
            ),
        ),
        case("exporters.misbehaving_server[redirects]"),
    ),
    Bug(
        "answer-not-bounded",
        "of an answer everything is read, however long it is",
        (Edit("metrics_sdk/http_target.py", "answer.read(MAX_ANSWER_BYTES + 1)", "answer.read()"),),
        case("exporters.misbehaving_server[1 GB]"),
    ),
    Bug(
        "any-host-served",
        "a web page reads the metrics by DNS rebinding",
        (
            Edit(
                "integrations/metrics_sdk_prometheus/guard.py",
                "if self.checks_host and not names_loopback(request):",
                "if not names_loopback and self.checks_host:",
            ),
        ),
        "integrations/prometheus/test_endpoint.py::test_on_loopback_every_other_host_is_refused_so_that_dns_rebinding_fails",
    ),
    Bug(
        "text-not-escaped",
        "an attribute's value ends the label, and forges what follows",
        (Edit("integrations/metrics_sdk_prometheus/labels.py", '{name}="{escaped(text)}",', '{name}="{text}",'),),
        "integrations/prometheus/test_round_trip.py::test_attribute_values_are_read_back_exactly",
    ),
)
