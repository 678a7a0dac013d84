"""Resolve the imports of the user's own code in its project first; nothing is written there and no cache is read."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.abc import MetaPathFinder
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
)
from pathlib import Path
from types import CodeType, ModuleType
from typing import Final

__all__ = ["dotted_name", "project"]

_HERE: Final = Path(__file__).parents[3]
_OURS: Final = frozenset({"src", "save_model", "service"})
_MARKS: Final = (".git", "pyproject.toml", "setup.py", "setup.cfg")  # of a project's folder
_MAX_DEPTH: Final = 1  # folders above a file outside of any repository


@contextmanager
def project(file: Path) -> Iterator[None]:
    """Make the modules of the project of ``file`` importable, even where ours have the same names.

    They are searched first in the folder of the file's outermost package and in the working folder, and last in the
    folders above the file and their direct subfolders (``repository/src/package``). On exit everything is restored.
    """
    modules, path, finders, writes = dict(sys.modules), sys.path[:], sys.meta_path[:], sys.dont_write_bytecode
    around, roots = list(_around(file)), _roots(file)
    for name in [name for name in modules if _is_ours(name)]:
        del sys.modules[name]
    sys.path[:] = [str(roots[0]), *(entry for entry in path if Path(entry or ".").resolve() != _HERE)]
    first = _Finder(roots, [*roots, *around], namespaces=False)
    sys.meta_path[:] = [first, *finders, _Finder(around, (), namespaces=True)]
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        for name, module in list(sys.modules.items()):
            if name not in modules and (_is_ours(name) or _lies_in(_place(module), [*roots, *around])):
                del sys.modules[name]
        sys.modules.update(modules)
        sys.path[:], sys.meta_path[:], sys.dont_write_bytecode = path, finders, writes


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] in _OURS


def _place(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), "/")


def _lies_in(place: str, folders: Sequence[Path]) -> bool:
    path = Path(place).resolve()
    return "site-packages" not in path.parts and any(path.is_relative_to(folder) for folder in folders)


def dotted_name(file: Path) -> str:
    """Return the name by which the project of ``file`` imports it, such as ``package.module``."""
    root = _roots(file)[0]
    return ".".join(file.resolve().relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def _roots(file: Path) -> Sequence[Path]:
    """Return the folder that holds the outermost package of ``file``, then the working folder unless it is ours."""
    folder = file.resolve().parent
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    return list(dict.fromkeys([folder, *([] if Path.cwd().resolve() == _HERE else [Path.cwd().resolve()])]))


class _Uncached(SourceFileLoader):
    """Compiles a file anew, since a cache beside it could hold something else."""

    def get_code(self, fullname: str) -> CodeType:
        """Return the code of the file."""
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


def _found(name: str, folder: str) -> ModuleSpec | None:
    finder = FileFinder(folder, (ExtensionFileLoader, EXTENSION_SUFFIXES), (_Uncached, SOURCE_SUFFIXES))
    return finder.find_spec(name)


class _Finder(MetaPathFinder):
    """Finds modules in ``roots``, and submodules of packages that lie in ``inside``.

    Folders without ``__init__.py`` are found only with ``namespaces``, since an installed package outranks them.
    """

    def __init__(self, roots: Sequence[Path], inside: Sequence[Path], *, namespaces: bool) -> None:
        self._roots = [str(root) for root in roots]
        self._inside = inside
        self._namespaces = namespaces

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,  # noqa: ARG002 - the signature is Python's
    ) -> ModuleSpec | None:
        """Return the spec of ``fullname``, or None."""
        is_part = path is not None
        folders = [entry for entry in path if _lies_in(entry, self._inside)] if path is not None else self._roots
        specs = (_found(fullname, folder) for folder in folders)
        return next((spec for spec in specs if spec and (is_part or self._namespaces or spec.loader)), None)


def _around(file: Path) -> Iterator[Path]:
    owner = file.stat().st_uid
    for depth, folder in enumerate(file.resolve().parents):
        yield folder
        yield from _subfolders(folder, owner)  # never other people's code
        if depth == _MAX_DEPTH or any((folder / mark).exists() for mark in _MARKS):
            return


def _subfolders(folder: Path, owner: int) -> Sequence[Path]:
    """Return the folders in ``folder`` that belong to ``owner``, sorted, except hidden ones; none if it is private."""
    found = []
    with suppress(PermissionError):
        for child in sorted(folder.iterdir()):
            with suppress(OSError):  # it may be private, or deleted by now
                if child.is_dir() and not child.name.startswith(".") and child.stat().st_uid == owner:
                    found.append(child)
    return found
