"""An application that does real work for a bounded time, instrumented as a user of this package would do it.

`library` parses and hashes Python's own standard library, `machine` samples this computer by its `readings`, `web` answers
requests and asks for them; `run` starts and ends them all, and shows the aggregates as a `table`, in `units` that people
read, on a `screen`.
"""
