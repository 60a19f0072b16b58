"""gevent: whenever the standard library is patched, greenlets record exactly, and nothing waits for ever."""

from __future__ import annotations

from catalogue.case import case
from catalogue.host import Host


@case(
    "gevent",
    variants=("before-import", "after-import", "after-construction", "after-recording"),
    needs=("fork", "gevent"),
)
def patched(host: Host) -> None:
    """50 greenlets record and 5 flush, with `patch_all()` before or after the SDK is imported, made, or has recorded."""
    told = host.python("from catalogue.applications.greenlets import main; main(sys.argv[1])", host.variant, deadline=20)
    assert told.endswith("passed\n"), told
