"""The code digest: could the code behind a result have changed?

It is a digest over the syntax trees of the modules that a stage imports from the package, followed
transitively through static imports. Comments, docstrings, layout and imports for type checkers are dropped,
so that a better sentence reruns nothing and a changed helper reruns only its users. Dynamic imports escape
it; inside the package only ``compgraph.catalogue`` makes them.
"""

from __future__ import annotations

import ast
import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from compgraph.errors import DataError
from compgraph.importing import source_of

PACKAGE = "compgraph"
PACKAGE_ROOT = Path(__file__).resolve().parent

#: Modules that cannot change a number: what they hold enters a result as parameters, or not at all.
EXCLUDED = (
    "compgraph.errors",
    "compgraph.progress",
    "compgraph.catalogue",
    "compgraph.catalogue.*",
    "compgraph.config",
    "compgraph.config.*",
    "compgraph.cli.console",
    "compgraph.cli.sharing",
)


@dataclass(frozen=True)
class _Module:
    """One parsed source file."""

    digest: str
    imports: tuple[tuple[str, tuple[str, ...]], ...]  # (module, names taken from it; () for `import module`)
    reexports: dict[str, tuple[str, str]]  # name -> (module, name there); read for __init__ files only
    defined: frozenset[str]  # names bound at top level by other means than imports


def code_digest(
    roots: Iterable[str],
    *,
    root: str | os.PathLike[str] = PACKAGE_ROOT,
    package: str = PACKAGE,
    exclude: Iterable[str] = EXCLUDED,
) -> str:
    """Return a digest of the code that the modules `roots` import from the package, themselves included.

    Parameters
    ----------
    roots : iterable of str
        Full module names, ``"compgraph.connectivity.effective.eap"``.
    root : path
        Folder of the package.
    package : str
        Name of the package in that folder.
    exclude : iterable of str
        Modules left out and not followed; ``"a.b.*"`` leaves out everything under ``a.b``.

    Returns
    -------
    str
        Hexadecimal sha256 over (module name, syntax tree without docstrings) of every module reached.

    Raises
    ------
    ValueError
        If a root or an imported module of the package does not exist, or if a name imported from a package's
        ``__init__`` cannot be traced to the module that defines it: the digest would miss code.
    """
    total = hashlib.sha256()
    for name, digest in sorted(code_modules(roots, root=root, package=package, exclude=exclude).items()):
        total.update(f"{name}\0{digest}\n".encode())
    return total.hexdigest()


def code_modules(
    roots: Iterable[str],
    *,
    root: str | os.PathLike[str] = PACKAGE_ROOT,
    package: str = PACKAGE,
    exclude: Iterable[str] = EXCLUDED,
) -> dict[str, str]:
    """Return the digest of each module that `code_digest` covers, by module name (see there)."""
    root, exclude = Path(root), tuple(exclude)
    if isinstance(roots, str):
        raise TypeError("roots is an iterable of module names, not one string")
    waiting, reached = list(roots), {}
    for name in waiting:
        if _file(name, root, package) is None:
            raise ValueError(f"there is no module {name} in {root}")
    while waiting:
        name = waiting.pop()
        if name in reached or _is_excluded(name, exclude):
            continue
        path = _file(name, root, package)
        if path is None:
            raise ValueError(f"there is no module {name} in {root}")
        if path.name == "__init__.py":
            continue  # holds a docstring and re-exports only; names taken from it were traced
        module = _parse(path, name, package)
        reached[name] = module.digest
        for target, names in module.imports:
            waiting += _targets(target, names, root, package, name)
    return reached


def in_package(name: str) -> bool:
    """Whether a module is part of the package."""
    return _inside(name, PACKAGE)


def own_modules(roots: Iterable[str]) -> tuple[dict[str, str], set[str]]:
    """Digests of modules of the user's own, and which modules of the package they import.

    Followed are static imports of what lies beside a module's top-level package (of an installed one: inside it);
    other libraries and the standard library are not. Of ``import compgraph`` as a whole nothing can be traced.

    Parameters
    ----------
    roots : iterable of str
        Full module names. Nothing is imported.

    Returns
    -------
    (module name -> digest of its syntax tree without docstrings, names of modules of the package)

    Raises
    ------
    DataError
        A root that is not there, or a module that is no Python source.
    """
    found: dict[str, str] = {}
    used: set[str] = set()
    for root in roots:
        path = source_of(root)
        if path is None:
            raise DataError(f"there is no module {root} with its source in this folder or installed")
        folder = path.parents[root.count(".") + (path.name == "__init__.py")]
        waiting = {root}
        while waiting:
            name = waiting.pop()
            path = source_of(name)
            if name in found or path is None or folder not in path.parents:
                continue
            tree = _own_tree(name, path)
            found[name] = hashlib.sha256(ast.dump(tree).encode()).hexdigest()
            home = name if path.name == "__init__.py" else name.rpartition(".")[0]
            for one in _named_modules(tree, home):
                if in_package(one):
                    used |= {one} if _is_plain_module(one) else set()
                elif not {"site-packages", "dist-packages"} & set(folder.parts) or _inside(one, root.split(".")[0]):
                    waiting.add(one)
    return found, used


def _own_tree(name: str, path: Path) -> ast.Module:
    try:
        return _without_docstrings(ast.parse(path.read_bytes(), filename=str(path)))
    except SyntaxError as error:
        raise DataError(f"{path}, line {error.lineno}: {name} is no valid Python: {error.msg}") from error


def _named_modules(tree: ast.Module, home: str) -> Iterator[str]:
    """Names that imports of a module in the package `home` could mean, packages around them included."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            target = _absolute(node, home)
            names = [f"{target}.{alias.name}".lstrip(".") for alias in node.names]
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[: end + 1]) for end in range(len(parts)))


def _is_plain_module(name: str) -> bool:
    """Whether a name is that of a module of the package that is no package itself."""
    path = _file(name, PACKAGE_ROOT, PACKAGE)
    return path is not None and path.name != "__init__.py"


def _is_excluded(name: str, exclude: tuple[str, ...]) -> bool:
    return any(name == e or (e.endswith(".*") and name.startswith(e[:-1])) for e in exclude)


def _file(name: str, root: Path, package: str) -> Path | None:
    """Return the source file of a module, None where there is none."""
    if name != package and not name.startswith(package + "."):
        return None
    base = root.joinpath(*name.split(".")[1:])
    for path in (base / "__init__.py", base.parent / f"{base.name}.py"):
        if (path.parent != root.parent or name == package) and path.is_file():
            return path
    return None


def _targets(target: str, names: tuple[str, ...], root: Path, package: str, user: str) -> Iterator[str]:
    """Yield the modules behind ``import target`` (no names) or ``from target import names``."""
    path = _file(target, root, package)
    if path is None and not root.joinpath(*target.split(".")[1:]).is_dir():
        raise ValueError(f"{user} imports {target}, which does not exist in {root}")
    if path is not None and path.name != "__init__.py":
        yield target
        return
    if not names:
        raise ValueError(f"{user} imports the package {target} as a whole; import the module it needs")
    for name in names:
        if _file(f"{target}.{name}", root, package) or root.joinpath(*target.split(".")[1:], name).is_dir():
            yield f"{target}.{name}"
            continue
        init = _parse(path, target, package) if path is not None else None
        if init is not None and name in init.reexports:
            source, original = init.reexports[name]
            yield from _targets(source, (original,), root, package, target)
        elif init is None or name not in init.defined:
            raise ValueError(f"{user} imports {name} from {target}, where its module cannot be traced")


_PARSED: dict[tuple[str, str, bytes], _Module] = {}


def _parse(path: Path, name: str, package: str) -> _Module:
    source = path.read_bytes()
    key = (name, package, hashlib.sha256(source).digest())
    if key not in _PARSED:
        tree = _without_docstrings(ast.parse(source, filename=str(path)))
        home = name if path.name == "__init__.py" else name.rpartition(".")[0]
        reexports, defined = _bindings(tree, home, package)
        digest = hashlib.sha256(ast.dump(tree).encode()).hexdigest()
        _PARSED[key] = _Module(digest, tuple(_imports(tree, home, package)), reexports, defined)
    return _PARSED[key]


def _without_docstrings(tree: ast.Module) -> ast.Module:
    """Drop what cannot change a result: docstrings and other bare strings, and imports for type checkers."""
    for node in ast.walk(tree):
        for part in ("body", "orelse", "finalbody"):
            statements = getattr(node, part, None)
            if isinstance(statements, list):
                setattr(node, part, [s for s in statements if not _is_inert(s)])
    return tree


def _is_inert(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant) and isinstance(statement.value.value, str)
    if isinstance(statement, ast.If) and not statement.orelse:
        test = statement.test
        return getattr(test, "id", getattr(test, "attr", None)) == "TYPE_CHECKING"
    return False


def _imports(tree: ast.Module, home: str, package: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if _inside(alias.name, package):
                    yield alias.name, ()
        elif isinstance(node, ast.ImportFrom):
            target = _absolute(node, home)
            if _inside(target, package):
                yield target, tuple(alias.name for alias in node.names)


def _inside(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def _absolute(node: ast.ImportFrom, home: str) -> str:
    """Return the full name of the module of a ``from`` import in a module of the package `home`."""
    if node.level == 0:
        return node.module or ""
    parents = home.split(".")
    kept = parents[: len(parents) - (node.level - 1)]
    return ".".join([*kept, *([node.module] if node.module else [])])


def _bindings(tree: ast.Module, home: str, package: str) -> tuple[dict[str, tuple[str, str]], frozenset[str]]:
    """Return where the names of an ``__init__`` come from: its imports, and its table of lazy re-exports.

    A lazy table is any dict literal of name -> module (a string, absolute or with a leading dot), or of
    name -> (module, name there).
    """
    reexports: dict[str, tuple[str, str]] = {}
    defined: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and _inside(_absolute(node, home), package):
            source = _absolute(node, home)
            reexports.update({alias.asname or alias.name: (source, alias.name) for alias in node.names})
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                entry = [e.value for e in getattr(value, "elts", [value]) if isinstance(e, ast.Constant)]
                if not (isinstance(key, ast.Constant) and entry and isinstance(entry[0], str)):
                    continue
                module = home + entry[0] if entry[0].startswith(".") else entry[0]
                if _inside(module, package):
                    reexports[str(key.value)] = (module, str(entry[1] if len(entry) > 1 else key.value))
    for statement in tree.body:
        targets = getattr(statement, "targets", [getattr(statement, "target", None)])
        defined |= {target.id for target in targets if isinstance(target, ast.Name)}
        if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
            defined.add(statement.name)
    return reexports, frozenset(defined)
