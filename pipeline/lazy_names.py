"""Give a package names from its modules that are imported when a name is first used, and not with the package.

So `from s2vc.pipeline.cache.layout import ENCODE` imports that module alone, and not the reader with torch and Zarr.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def lazy_names(package: str, modules: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """Return a package's `__getattr__` (PEP 562) for names that its modules define.

    package: the package's full name. modules: by the name of a module in it, the names that are taken from there. The
    function returned raises AttributeError for any other name, as Python expects.
    """
    homes = {name: module for module, names in modules.items() for name in names}

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{homes[name]}"), name)

    return get
