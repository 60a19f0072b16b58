"""The recording core: compiled by mypyc where that can be had, interpreted elsewhere, with the same results."""

try:
    import librt.vecs  # noqa: F401
except ImportError:
    # The compiled modules cannot load without their runtime library: load the sources that lie beside them.
    import importlib.util
    import sys
    from pathlib import Path

    class _Sources:
        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> object:
            source = Path(__file__).parent / f"{name.rpartition('.')[2]}.py"
            if name == f"{__name__}.{source.stem}" and source.exists():
                return importlib.util.spec_from_file_location(name, source)
            return None

    sys.meta_path.insert(0, _Sources)  # type: ignore[arg-type]
