"""The house: which room may import which, and what a file may look like."""

import ast
import functools
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
SYSTEMS = {"track_extrapolator", "hidden_vertex", "cr_muons", "gdynet", "hypertrack"}
# the only shared modules that reach a system, by name at run time
REACH_A_SYSTEM = {"jaxphys/__init__.py", "jaxphys/equivalence/replay.py"}
ONLY_IN = {
    "orbax": {"jaxphys/training/checkpoint.py"},
    "tensorboardX": {"jaxphys/training/writer.py"},
}
# a file format that is one of those of another module, tested with them
EXPORT = "track_extrapolator/inference/export"
TESTED_WITH = {f"jaxphys/{EXPORT}/jxte.py": f"{EXPORT}/test_binary"}
MOST_LINES = 400
VAGUE_NAMES = {
    "utils",
    "util",
    "helpers",
    "helper",
    "misc",
    "base",
    "manager",
    "common",
}


def files(*folders):
    found = [p for f in folders for p in sorted((ROOT / f).rglob("*.py"))]
    return [p.relative_to(ROOT).as_posix() for p in found]


LIBRARY, ALL = files("jaxphys"), files("jaxphys", "experiments", "tests")
PROGRAM = files("jaxphys", "experiments")


@functools.cache
def tree_of(path):
    return ast.parse((ROOT / path).read_text())


def modules_in(node):
    """Yields the modules that an import statement names."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


@functools.cache
def imports(path):
    """Returns every module that a file imports, inside functions too."""
    return sorted({m for node in ast.walk(tree_of(path)) for m in modules_in(node)})


def on_top(path):
    """Returns the modules that are imported when the file is."""
    found, waiting = set(), list(tree_of(path).body)
    while waiting:
        node = waiting.pop()
        found.update(modules_in(node))
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            waiting += ast.iter_child_nodes(node)
    return found


def room_of(module):
    """Returns the system that a module of jaxphys belongs to, or None."""
    parts = module.split(".")
    return parts[1] if parts[0] == "jaxphys" and set(parts[1:2]) & SYSTEMS else None


def uses(path, package):
    return any(m == package or m.startswith(package + ".") for m in imports(path))


def test_the_rules_see_files():
    assert len(LIBRARY) > 30
    assert uses("jaxphys/training/checkpoint.py", "orbax")
    assert room_of("jaxphys.gdynet.model.model.Net") == "gdynet"
    assert room_of("jaxphys.training.loop") is None


@pytest.mark.parametrize("path", LIBRARY)
def test_library_imports_neither_experiments_nor_tests(path):
    assert not uses(path, "experiments")
    assert not uses(path, "tests")


@pytest.mark.parametrize("path", LIBRARY)
def test_system_imports_no_other_system_and_shared_rooms_import_none(path):
    own = path.split("/")[1]
    reached = {room_of(module) for module in imports(path)} - {None}
    assert reached <= ({own} if own in SYSTEMS else set())


@pytest.mark.parametrize("path", PROGRAM)
def test_rooms_are_reached_by_name_in_two_places_only(path):
    """Elsewhere `import_module` loads optional packages, never a module of ours."""
    nodes = list(ast.walk(tree_of(path)))
    called = {ast.unparse(n.func) for n in nodes if isinstance(n, ast.Call)}
    if any("import_module" in name for name in called) and path not in REACH_A_SYSTEM:
        texts = [n.value for n in nodes if isinstance(n, ast.Constant)]
        texts = [text for text in texts if isinstance(text, str)]
        assert [x for x in texts if x.startswith(("jaxphys.", "experiments."))] == []


@pytest.mark.parametrize("path", files("experiments"))
def test_experiment_imports_its_own_system_only(path):
    own = path.split("/")[1]
    reached = {room_of(module) for module in imports(path)} - {None}
    others = {m.split(".")[1] for m in imports(path) if m.startswith("experiments.")}
    if own in SYSTEMS:
        assert reached <= {own}
        assert others <= {own}


def is_absl_room(path):
    entry = path.endswith("__main__.py")
    return path in ("jaxphys/config.py", "jaxphys/training/app.py") or entry


@pytest.mark.parametrize("path", PROGRAM)
def test_absl_is_used_at_the_border_only(path):
    assert is_absl_room(path) or not uses(path, "absl")


@pytest.mark.parametrize("path", PROGRAM)
def test_storage_and_logging_packages_stay_in_their_module(path):
    for package, allowed in ONLY_IN.items():
        assert path in allowed or not uses(path, package), package


@pytest.mark.parametrize("path", PROGRAM)
def test_grain_reads_data_and_nothing_else(path):
    allowed = (
        path.startswith("jaxphys/data/") or path == "jaxphys/training/checkpoint.py"
    )
    assert allowed or not uses(path, "grain")


@pytest.mark.parametrize("path", PROGRAM)
def test_torch_is_optional_in_the_import_of_weights_and_absent_elsewhere(path):
    if path != "jaxphys/equivalence/torch_weights.py":
        assert not uses(path, "torch")
    assert not {m.split(".")[0] for m in on_top(path)} & {"torch", "torch_geometric"}


@pytest.mark.parametrize("path", LIBRARY)
def test_models_and_losses_know_nothing_of_flags_and_workdirs(path):
    room = path.split("/")[1]
    if room in (*SYSTEMS, "nn", "numerics", "data", "report"):
        assert not uses(path, "jaxphys.config")
        assert not uses(path, "jaxphys.training.app")


@pytest.mark.parametrize("path", ALL)
def test_file_has_a_telling_name_and_stays_readable(path):
    assert pathlib.Path(path).stem not in VAGUE_NAMES
    assert len((ROOT / path).read_text().splitlines()) <= MOST_LINES


@pytest.mark.parametrize("path", PROGRAM)
def test_no_assert_outside_of_tests(path):
    assert not [n.lineno for n in ast.walk(tree_of(path)) if isinstance(n, ast.Assert)]


def public(nodes, kinds):
    return [n for n in nodes if isinstance(n, kinds) and not n.name.startswith("_")]


@pytest.mark.parametrize("path", PROGRAM)
def test_public_names_have_docstrings(path):
    tree, functions = tree_of(path), (ast.FunctionDef, ast.AsyncFunctionDef)
    assert ast.get_docstring(tree) or not tree.body
    classes = public(tree.body, ast.ClassDef)
    tops = public(tree.body, functions) + classes
    assert [n.name for n in tops if not ast.get_docstring(n)] == []
    methods = {c.name: public(c.body, functions) for c in classes}
    # `setup` has flax's meaning; a method that is documented once may be implemented
    known = {"setup"} | {
        m.name for found in methods.values() for m in found if ast.get_docstring(m)
    }
    assert {m.name for found in methods.values() for m in found} <= known


def places_of(path):
    """Returns where the test of a module may lie; subpackages may be flattened."""
    _, *folders, name = path.removesuffix(".py").split("/")
    room = folders[:1]
    if path in TESTED_WITH:
        yield f"tests/{TESTED_WITH[path]}.py"
    yield "/".join(["tests", *folders, f"test_{name}.py"])
    yield "/".join(["tests", *room, "_".join(["test", *folders[1:], f"{name}.py"])])


@pytest.mark.parametrize("path", LIBRARY)
def test_module_has_a_test_file_of_its_name(path):
    name = pathlib.Path(path).name
    lines = len((ROOT / path).read_text().splitlines())
    if lines > 30 and name not in ("__init__.py", "__main__.py"):
        assert any((ROOT / place).is_file() for place in places_of(path)), list(
            places_of(path)
        )


@pytest.mark.parametrize("path", files("tests"))
def test_a_test_has_a_name_of_its_own(path):
    names = [n.name for n in tree_of(path).body if isinstance(n, ast.FunctionDef)]
    assert len(names) == len(set(names))  # a second one would silence the first
