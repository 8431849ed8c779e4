"""The house: which rooms there are, and which may import which.

Each test lists all offenders of one rule.
"""

import ast

from tests.structure.checkout import (
    ROOMS,
    ROOT,
    SHARED,
    circles,
    file_of,
    files,
    folders,
    imported_files,
    imports,
    on_top,
    room_of,
    system_of,
    systems,
    tree_of,
    uses,
)

MOST_MODULES = 16  # of a folder
# the only shared modules that reach a system, by name at run time
REACH_A_SYSTEM = ("jaxphys/api.py", "jaxphys/equivalence/replay.py")
ABSL = ("jaxphys/command_line.py", "jaxphys/training/app.py")
ONLY_IN = {
    "orbax": ("jaxphys/training/checkpoint.py",),
    "tensorboardX": ("jaxphys/training/writer.py",),
    "wandb": ("jaxphys/training/writer.py",),
    "grain": ("jaxphys/data/", "jaxphys/training/checkpoint.py"),
    "torch": ("jaxphys/equivalence/torch_weights.py",),
    "absl": (*ABSL, *(f"experiments/{name}/__main__.py" for name in systems())),
}
LIBRARY, PROGRAM = files("jaxphys"), files("jaxphys", "experiments")
OF_A_SYSTEM = [path for path in LIBRARY if system_of(path)]


def test_the_rules_see_the_checkout():
    assert len(systems()) >= 5
    assert len(LIBRARY) > 200
    assert uses("jaxphys/training/checkpoint.py", "orbax")
    assert system_of("jaxphys/training/loop.py") == ""
    model = "jaxphys/gdynet/model/model.py"
    assert (system_of(model), room_of(model)) == ("gdynet", "model")
    assert file_of("jaxphys.gdynet.model.model.GDyNet") == model
    assert model in imported_files("jaxphys/gdynet/training/step.py")


def test_every_folder_is_a_system_or_shared():
    """A system is what has a program; one that is forgotten here has no folder."""
    assert folders("jaxphys") == sorted([*systems(), *SHARED])
    assert folders("experiments") == systems()


def test_systems_have_no_rooms_but_the_ten():
    rooms = {room_of(path) for path in OF_A_SYSTEM} - {"__init__"}
    assert rooms <= set(ROOMS)
    for system in systems():
        own = {room_of(path) for path in OF_A_SYSTEM if system_of(path) == system}
        assert own >= {"model", "training", "inference", "report"}, system


def test_a_room_with_one_file_is_a_module():
    """Where a folder has one file it has the name that the five share."""
    shared_names = {"step"}
    alone = []
    for system in systems():
        for room in folders(f"jaxphys/{system}"):
            own = sorted((ROOT / "jaxphys" / system / room).glob("*"))
            names = {p.stem for p in own} - {"__init__", "__pycache__"}
            if len(names) == 1 and not names & shared_names:
                alone.append(f"{system}/{room}")
    assert alone == []


def test_no_room_imports_a_room_above_it():
    upwards = []
    for path in OF_A_SYSTEM:
        if path.count("/") == 2 and path.endswith("/__init__.py"):
            continue
        level = ROOMS.index(room_of(path))
        for other in imported_files(path):
            inside = system_of(other) == system_of(path) and room_of(other) in ROOMS
            if inside and ROOMS.index(room_of(other)) > level:
                upwards.append((path, other))
    assert upwards == []


def test_the_package_of_a_system_imports_nothing():
    tops = [f"jaxphys/{system}/__init__.py" for system in systems()]
    assert [path for path in tops if imports(path)] == []


def test_no_files_import_each_other():
    assert circles(PROGRAM) == []


def test_folders_can_be_seen_at_a_glance():
    count: dict[str, int] = {}
    for path in files("jaxphys", "experiments", "tests"):
        folder, name = path.rsplit("/", 1)
        count[folder] = count.get(folder, 0) + (name != "__init__.py")
    assert {name: n for name, n in count.items() if n > MOST_MODULES} == {}


def test_systems_import_no_other_system_and_shared_rooms_import_none():
    wrong = [
        (path, other)
        for path in LIBRARY
        for other in imported_files(path)
        if system_of(other) and system_of(other) != system_of(path)
    ]
    assert wrong == []


def test_library_imports_neither_experiments_nor_tests():
    assert [p for p in LIBRARY if uses(p, "experiments") or uses(p, "tests")] == []


def test_experiments_import_their_own_system_only():
    wrong = []
    for path in files("experiments"):
        own = path.split("/")[1]
        for other in imported_files(path):
            experiment = other.split("/")[1] if other.startswith("experiments/") else ""
            if {system_of(other), experiment} - {"", own}:
                wrong.append((path, other))
    assert wrong == []


def test_rooms_are_reached_by_name_in_few_places():
    """Elsewhere `import_module` loads optional packages, never a module of ours."""
    wrong = []
    for path in PROGRAM:
        nodes = list(ast.walk(tree_of(path)))
        called = {ast.unparse(n.func) for n in nodes if isinstance(n, ast.Call)}
        if path in REACH_A_SYSTEM or not any("import_module" in n for n in called):
            continue
        texts = [n.value for n in nodes if isinstance(n, ast.Constant)]
        ours = ("jaxphys.", "experiments.")
        wrong += [t for t in texts if isinstance(t, str) and t.startswith(ours)]
    assert wrong == []


def test_packages_stay_where_they_belong():
    wrong = [
        (path, package)
        for package, allowed in ONLY_IN.items()
        for path in PROGRAM
        if uses(path, package) and not path.startswith(allowed)
    ]
    assert wrong == []


def test_torch_is_not_imported_with_the_library():
    heavy = {"torch", "torch_geometric"}
    assert [p for p in PROGRAM if {m.split(".")[0] for m in on_top(p)} & heavy] == []


def test_models_and_losses_know_nothing_of_flags_and_workdirs():
    borders = ("jaxphys.config", "jaxphys.training.app")
    wrong = [
        (path, border)
        for path in LIBRARY
        if not path.startswith(("jaxphys/training/", "jaxphys/command_line.py"))
        for border in borders
        if uses(path, border)
    ]
    assert wrong == []
