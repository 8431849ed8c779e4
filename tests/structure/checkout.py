"""The checkout as the rules see it: systems, rooms, files and what they import."""

import ast
import functools
import pathlib
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).parents[2]

# the rooms of a system, from the ground up: each may import what stands before it
ROOMS = (
    "physics",
    "data",
    "simulation",
    "model",
    "batches",
    "training",
    "inference",
    "analysis",
    "report",
    "replay",
)
# the folders of jaxphys that all systems share
SHARED = ("data", "equivalence", "nn", "numerics", "report", "training")


def folders(root: str) -> list[str]:
    """Returns the names of the folders with Python files in a folder."""
    return sorted(
        p.name for p in (ROOT / root).iterdir() if p.is_dir() and any(p.glob("*.py"))
    )


def systems() -> list[str]:
    """Returns the systems: each folder of experiments that holds a program."""
    found = folders("experiments")
    return [n for n in found if (ROOT / "experiments" / n / "__main__.py").is_file()]


def files(*roots: str) -> list[str]:
    """Returns the Python files of folders, as paths from the root."""
    found = [p for root in roots for p in sorted((ROOT / root).rglob("*.py"))]
    return [p.relative_to(ROOT).as_posix() for p in found]


def system_of(path: str) -> str:
    """Returns the system that a file of jaxphys belongs to; empty: a shared one."""
    top, name, *_ = path.split("/")
    return name if top == "jaxphys" and name in systems() else ""


def room_of(path: str) -> str:
    """Returns the room of a file of a system."""
    return path.split("/")[2].removesuffix(".py")


@functools.cache
def tree_of(path: str) -> ast.Module:
    """Returns the syntax tree of a file."""
    return ast.parse((ROOT / path).read_text())


def modules_in(node: ast.AST) -> Iterator[str]:
    """Yields the modules and names that an import statement names."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        # a dot before it makes the name of a relative import
        dots = "." * node.level
        yield from (f"{dots}{node.module}.{alias.name}" for alias in node.names)


@functools.cache
def imports(path: str) -> tuple[str, ...]:
    """Returns every module that a file imports, inside functions too."""
    found = {m for node in ast.walk(tree_of(path)) for m in modules_in(node)}
    return tuple(sorted(found))


def on_top(path: str) -> set[str]:
    """Returns the modules that are imported when the file is."""
    found: set[str] = set()
    waiting: list[ast.AST] = list(tree_of(path).body)
    while waiting:
        node = waiting.pop()
        found.update(modules_in(node))
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            waiting += ast.iter_child_nodes(node)
    return found


def uses(path: str, package: str) -> bool:
    """Returns whether a file imports a package or something in it."""
    return any(m == package or m.startswith(package + ".") for m in imports(path))


def file_of(name: str) -> str:
    """Returns the file that holds a module, or a name in it; empty: not of ours."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        place = "/".join(parts[:count])
        for path in (f"{place}.py", f"{place}/__init__.py"):
            if (ROOT / path).is_file():
                return path
    return ""


@functools.cache
def imported_files(path: str) -> frozenset[str]:
    """Returns the files of this checkout that a file imports."""
    return frozenset(file_of(name) for name in imports(path)) - {"", path}


def circles(paths: list[str]) -> list[list[str]]:
    """Returns groups of files that import each other, by Tarjan's algorithm."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(path: str) -> None:
        index[path] = low[path] = len(index)
        stack.append(path)
        for other in sorted(imported_files(path)):
            if other not in index:
                visit(other)
                low[path] = min(low[path], low[other])
            elif other in stack:
                low[path] = min(low[path], index[other])
        if low[path] == index[path]:
            group = stack[stack.index(path) :]
            del stack[stack.index(path) :]
            if len(group) > 1:
                found.append(sorted(group))

    for path in paths:
        if path not in index:
            visit(path)
    return found
