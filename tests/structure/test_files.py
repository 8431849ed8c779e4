"""What a file may look like: its name, length, docstrings, and its test.

Each test lists all offenders of one rule.
"""

import ast
import re

from tests.structure.checkout import ROOT, file_of, files, system_of, tree_of

MOST_LINES = 400
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "misc", "base", "manager"}
LIBRARY, PROGRAM = files("jaxphys"), files("jaxphys", "experiments")
ALL = files("jaxphys", "experiments", "tests")
# files that are tested through another one: pattern -> the test
TESTED_WITH = {
    # a format that is one of those of another module
    r"(track_extrapolator/inference/export)/jxte": r"\1/test_binary",
    # options alone
    r"\w+/\w+/settings": "test_flag_help",
    r"command_line": "test_config",
    # what a page is made of
    r"(\w+/report)/(sections\w*|report_numbers)": r"\1/test_page",
}
FUNCTIONS = ast.FunctionDef, ast.AsyncFunctionDef
# names of modules in texts that are examples
EXAMPLES = {"experiments.x", "experiments.toy", "experiments.line"}


def test_files_have_telling_names():
    stems = {path: path.rsplit("/", 1)[-1].removesuffix(".py") for path in ALL}
    assert [path for path, stem in stems.items() if stem in VAGUE_NAMES] == []


def test_files_stay_readable():
    lengths = {path: len((ROOT / path).read_text().splitlines()) for path in ALL}
    assert {path: n for path, n in lengths.items() if n > MOST_LINES} == {}


def test_imports_are_absolute():
    relative = [
        (path, node.lineno)
        for path in ALL
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


def test_no_assert_outside_of_tests():
    found = [
        (path, node.lineno)
        for path in PROGRAM
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Assert)
    ]
    assert found == []


def public(nodes, kinds):
    return [n for n in nodes if isinstance(n, kinds) and not n.name.startswith("_")]


def test_modules_classes_and_functions_have_docstrings():
    without = []
    for path in PROGRAM:
        tree = tree_of(path)
        if tree.body and not ast.get_docstring(tree):
            without.append(path)
        tops = public(tree.body, (*FUNCTIONS, ast.ClassDef))
        without += [(path, n.name) for n in tops if not ast.get_docstring(n)]
    assert without == []


def test_methods_are_documented_once():
    """`setup` has flax's meaning; what is documented once may be implemented."""
    without = []
    for path in PROGRAM:
        classes = public(tree_of(path).body, ast.ClassDef)
        methods = [m for c in classes for m in public(c.body, FUNCTIONS)]
        known = {"setup"} | {m.name for m in methods if ast.get_docstring(m)}
        without += [(path, m.name) for m in methods if m.name not in known]
    assert without == []


def test_of(path):
    """Returns where the test of a file of the library lies."""
    place = path.removeprefix("jaxphys/").removesuffix(".py")
    for pattern, test in TESTED_WITH.items():
        if re.fullmatch(pattern, place):
            return f"tests/{re.sub(pattern, test, place)}.py"
    folder, _, name = place.rpartition("/")
    return f"tests/{folder}/test_{name}.py" if folder else f"tests/test_{name}.py"


test_of.__test__ = False


def test_modules_have_a_test_of_their_name():
    without = []
    for path in LIBRARY:
        lines = len((ROOT / path).read_text().splitlines())
        small = lines <= 30 or path.endswith(("__init__.py", "__main__.py"))
        if not small and not (ROOT / test_of(path)).is_file():
            without.append(test_of(path))
    assert without == []


def test_tests_of_a_system_lie_in_its_rooms():
    """A test of a room that is gone would be forgotten with it."""
    astray = []
    for path in files("tests"):
        folders = path.split("/")[1:-1]
        ours = folders and system_of(f"jaxphys/{folders[0]}/x.py")
        if ours and len(folders) > 1:
            room = ROOT / "jaxphys" / folders[0] / folders[1]
            if not room.is_dir():
                astray.append(path)
    assert astray == []


def test_tests_have_names_of_their_own():
    """A second function of a name would silence the first."""
    twice = []
    for path in files("tests"):
        names = [n.name for n in tree_of(path).body if isinstance(n, FUNCTIONS)]
        twice += [(path, name) for name in set(names) if names.count(name) > 1]
    assert twice == []


def texts():
    """Yields the files in which modules are named."""
    for root in ("jaxphys", "experiments", "tests"):
        for path in sorted((ROOT / root).rglob("*")):
            if path.suffix in (".py", ".md", ".flags", ".sh", ".sub", ".sbatch"):
                yield path
    yield from (ROOT / name for name in ("README.md", "BUILD_NOTES.md", "setup.py"))


def test_modules_that_texts_name_are_there():
    """A page or docstring must not send its reader to a module that was moved."""
    missing = []
    for path in texts():
        text, where = path.read_text(), path.relative_to(ROOT).as_posix()
        for name in re.findall(r"\b(?:jaxphys|experiments|tests)(?:\.\w+)+", text):
            file = file_of(name)
            rest = name.removeprefix(file.removesuffix(".py").replace("/", "."))
            known = file and not file.endswith("__init__.py")
            if not known and name not in EXAMPLES and not _in_package(name, file):
                missing.append((where, name, rest))
        for name in re.findall(r"\b(?:jaxphys|experiments|tests)/[\w/]+\.py\b", text):
            if not (ROOT / name).is_file():
                missing.append((where, name))
    assert missing == []


def _in_package(name, file):
    """Returns whether a name is a package, or stands in its __init__."""
    package = file.removesuffix("/__init__.py").replace("/", ".")
    words = name.removeprefix(package).split(".")[1:2]
    source = (ROOT / file).read_text() if file else ""
    return bool(file) and (not words or words[0] in source or words[0][0] == "_")
