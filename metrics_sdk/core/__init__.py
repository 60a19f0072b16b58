"""The recording core: compiled by mypyc where that can be had, interpreted elsewhere, with the same results."""

import _thread


def _is_main_interpreter() -> bool:
    if hasattr(_thread, "_is_main_interpreter"):
        return bool(_thread._is_main_interpreter())
    try:
        import _xxsubinterpreters as interpreters  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return True
    return bool(interpreters.get_current() == interpreters.get_main())


#: False in a subinterpreter, such as mod_wsgi's: it is destroyed while the process goes on, and a thread or a compiled
#: module that is still in use then ends the process.
IN_MAIN_INTERPRETER = _is_main_interpreter()

try:
    if not IN_MAIN_INTERPRETER:
        raise ImportError
    import librt.vecs  # noqa: F401
except ImportError:
    # The compiled modules cannot load without their runtime library, and have one state for all interpreters: load the
    # sources that lie beside them.
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
