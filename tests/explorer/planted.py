"""Bugs to plant into a copy of the core, each with the test of `test_schedules` that it must turn red, and the symptom there.

An edit replaces text that must occur exactly once, so a bug cannot rot unnoticed when the core changes.
"""

from __future__ import annotations

from typing import NamedTuple

from schedules_core_copy import Edit


class Bug(NamedTuple):
    """A mistake that is easy to make, and what it does."""

    name: str
    edits: tuple[Edit, ...]
    caught_by: str
    symptom: str  # a regular expression


CUT = "pending[:size] = (batch,)"
COPY = "batch = Batch(pending[:size])"
DROP = "            pending[:1] = ()"

BUGS = (
    Bug(
        "a take swaps the list for an empty one, which a recorder that holds the old one does not see",
        (
            Edit("core.append", COPY, "batch = Batch(pending)"),
            Edit("core.append", CUT, "self.pending = pending = [batch]"),
        ),
        "test_a_handler_that_records_loses_nothing_whatever_take_it_interrupts",
        "lost",
    ),
    Bug(
        "values are popped into a local, and gone when an exception comes before they are merged",
        (
            Edit("core.append", COPY, "batch = Batch([pending.pop(0) for _ in range(size)])"),
            Edit("core.append", CUT, "pass"),
            Edit("core.append", DROP, "            if pending[:1] == [batch]: pending[:1] = ()"),
        ),
        "test_an_exception_in_a_take_loses_nothing_and_orphans_no_lock",
        "lost",
    ),
    Bug(
        "the values are cut, and nothing names the batch until it is merged",
        (
            Edit("core.append", CUT, "pending[:size] = ()"),
            Edit("core.append", DROP, "            if pending[:1] == [batch]: pending[:1] = ()"),
        ),
        "test_an_exception_in_a_take_loses_nothing_and_orphans_no_lock",
        "lost",
    ),
    Bug(
        "the cut covers what arrived after the copy",
        (Edit("core.append", CUT, "pending[:] = (batch,)"),),
        "test_another_thread_records_and_drains_in_the_middle_of_a_take",
        "lost",
    ),
    Bug(
        "who finds a batch merges it without asking whether that was done",
        (Edit("core.append", "if not self._is_merged(batch):", "if batch:"),),
        "test_an_exception_in_a_take_loses_nothing_and_orphans_no_lock",
        "doubled",
    ),
    Bug(
        "the state is shown first and names its batch in a second store",
        (
            Edit("core.series", "made.batches = tuple(batches)", "made.named = tuple(batches)"),
            Edit("core.append", "series.state = state", "series.state = state; state.batches = tuple(state.named)"),
        ),
        "test_an_exception_in_a_take_loses_nothing_and_orphans_no_lock",
        "doubled",
    ),
    Bug(
        "the recorder asks whether its cell is listed before it appends",
        (
            Edit("core.append", "pending.append(number)", "listed = self in self.dirty; pending.append(number)"),
            Edit("core.append", "if self in self.dirty and", "if listed and"),
        ),
        "test_another_thread_records_and_drains_in_the_middle_of_a_record",
        "left pending",
    ),
    Bug(
        "a cell is taken before it leaves the dirty list",
        (
            Edit("core.draining", "dirty.pop(cell, None)", "pass"),
            Edit("core.draining", "taken = cell.take()", "taken = cell.take(); dirty.pop(cell, None)"),
        ),
        "test_another_thread_records_in_the_middle_of_a_drain",
        "left pending",
    ),
    Bug(
        "the lock is released only where it is known to be ours",
        (Edit("core.exclusion", "            lock.release()", "            if taken: lock.release()"),),
        "test_an_exception_in_a_take_loses_nothing_and_orphans_no_lock",
        "lock orphaned",
    ),
    Bug(
        "a thread takes what it is taking already",
        (Edit("core.exclusion", "if lock._is_owned():", "if not lock:"),),
        "test_a_handler_that_drains_merges_nothing_twice",
        "lost|doubled|raised",
    ),
    Bug(
        "nobody excludes two takes from each other",
        (Edit("core.exclusion", "if taken:", "if True:"), Edit("core.exclusion", "if lock._is_owned():", "if not lock:")),
        "test_two_threads_that_pause_anywhere_in_a_take_or_a_record_lose_nothing",
        "lost|doubled|raised",
    ),
    Bug(
        "a take goes on after a fork without looking again",
        (
            Edit(
                "core.append",
                "if self.pending is not pending:\n                    return  # forked",
                "if not series:\n                    return  # forked",
            ),
            Edit(
                "core.append",
                "if self.pending is not pending:\n                    return\n",
                "if not series:\n                    return\n",
            ),
        ),
        "test_a_fork_inside_a_record_or_a_take_leaves_the_parents_values_to_the_parent",
        "the parent's",
    ),
    Bug(
        "what came later is merged before a batch that was cut earlier",
        (
            Edit(
                "core.append",
                "batch = pending[0]",
                "if len(pending) > 1 and type(pending[0]) is Batch: pending[:] = [Batch(pending[1:]), pending[0]]\n"
                "            batch = pending[0]",
            ),
        ),
        "test_an_exception_in_a_take_loses_nothing_and_orphans_no_lock",
        "out of order",
    ),
    Bug(
        "a recorder that finds the cell empty puts the value before those that are being merged",
        (Edit("core.append", "pending.append(number)", "pending.insert(type(pending[0]) is Batch if pending else 0, number)"),),
        "test_a_gauge_shows_the_value_set_last",
        "out of order",
    ),
    Bug(
        "keys and steps of a shape are two attributes of the route",
        (
            Edit("core.instruments", "self.shape: Step | None = None", "self.keys = (); self.shape: Step | None = None"),
            Edit("core.instruments", "        self.shape = shape\n", "        self.shape = shape; self.keys = keys\n"),
            Edit("core.instruments", "route.shape = shape\n", "route.shape = shape; route.keys = tuple(attributes)\n"),
            Edit("core.instruments", "def walk(step: Step, attributes", "def walk(step: Step, keys: Any, attributes"),
            Edit(
                "core.instruments",
                "key is not step.key and (type(key) is not str or key != step.key)",
                "key != keys[-1 - step.keys_left]",
            ),
            Edit(
                "core.instruments",
                "            cell = walk(shape, attributes)\n            if cell",
                "            cell = walk(shape, self.route.keys, attributes)\n            if cell",
            ),
            Edit(
                "core.instruments",
                "                    cell = walk(shape, attributes)",
                "                    cell = walk(shape, tuple(attributes), attributes)",
            ),
        ),
        "test_values_find_their_series_while_other_attributes_are_recorded",
        "in the wrong series",
    ),
    Bug(
        "a series is registered without asking whether somebody was faster",
        (Edit("core.table", "series = self.series.setdefault(key, made)", "series = self.series[key] = made"),),
        "test_two_threads_that_record_attributes_find_the_same_series",
        "lost",
    ),
    Bug(
        "a window is moved into the total before it is stored",
        (
            Edit("store", ".put(state.window, series, opened, series.current().stored)", ".clear"),
            Edit(
                "store",
                "series.close_window(opened)",
                "series.close_window(opened); windows.put(state.window, series, opened)",
            ),
        ),
        "test_a_reader_finds_every_value_in_one_window_while_it_closes",
        "the windows hold",
    ),
    Bug(
        "a cell leaves the dirty list before the block that puts it back",
        (
            Edit("core.draining", "        try:\n            dirty.pop(cell, None)", "        try:"),
            Edit("core.draining", "        taken = False\n", "        dirty.pop(cell, None)\n        taken = False\n"),
        ),
        "test_an_exception_in_a_drain_leaves_every_cell_taken_or_listed",
        "left pending",
    ),
    Bug(
        "a record leaves its cell unlisted when an exception comes in",
        (
            Edit(
                "core.append",
                "self.dirty[self] = None\n                raise\n        else:",
                "raise\n        else:",
            ),
        ),
        "test_an_exception_in_a_first_record_leaves_no_value_where_no_drain_looks",
        "left pending: .* an_exception at record:",
    ),
    Bug(
        "a fork empties only the cells that are listed at this moment",
        (Edit("core.scope", "for cell in self.cells:", "for cell in self.dirty:"),),
        "test_a_child_starts_without_values_that_another_thread_was_draining",
        "the parent's",
    ),
    Bug(
        "an expiry has a call between its two stores",
        (Edit("core.series", "        gone.state = left\n", "        len(cells)\n        gone.state = left\n"),),
        "test_an_exception_in_an_expiry_leaves_the_series_as_it_was_or_gone",
        "doubled",
    ),
    Bug(
        "a series is emptied before the one that remains has its values",
        (
            Edit(
                "core.series",
                "        made = mine.successor()\n",
                "        gone.state = left\n        made = mine.successor()\n",
            ),
        ),
        "test_an_exception_in_an_expiry_leaves_the_series_as_it_was_or_gone",
        "lost",
    ),
    Bug(
        "who records into what has expired does not bring it back",
        (Edit("core.append", "            self.series.table.restore(self.series)", "            pass"),),
        "test_a_value_for_what_has_expired_is_there_whoever_records_and_expires_meanwhile",
        "lost",
    ),
    Bug(
        "an expiry does not look again whether its series was used",
        (Edit("core.table", "        if series.table is None:  # it was used just now\n", "        if False:\n"),),
        "test_a_record_or_a_drain_in_the_middle_of_a_cut_or_an_expiry_loses_nothing",
        "lost",
    ),
    Bug(
        "a forked child goes on with an expiry of the parent's",
        (Edit("core.series", " or theirs.generation != mine.generation:", ":"),),
        "test_a_fork_in_the_middle_of_a_cut_or_an_expiry_leaves_the_parents_values_to_the_parent",
        "doubled",
    ),
    Bug(
        "a cut that was interrupted is not finished",
        (Edit("core.series", "            resumed = bool(handed)\n", "            handed, resumed = [], False\n"),),
        "test_an_exception_in_a_cut_loses_nothing_and_tells_nothing_twice",
        "lost",
    ),
    Bug(
        "a cut that is finished does not look whether the reader has its part already",
        (
            Edit(
                "core.series",
                "            if not any([part is handed[0][1] for part in parts]):",
                "            if parts is not None:",
            ),
        ),
        "test_an_exception_in_a_cut_loses_nothing_and_tells_nothing_twice",
        "doubled",
    ),
)
