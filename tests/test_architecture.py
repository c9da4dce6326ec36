"""The rules of the layout: who may import whom, and what no file may contain."""

import ast
import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningCLI

ROOT = Path(__file__).resolve().parent.parent
ROOMS = tuple(
    sorted(path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name not in ("ivif", "tests"))
)
GROUND = ("contracts", "files", "machine")
ALLOWED: dict[str, tuple[str, ...]] = {
    "files": (),
    "machine": (),
    "configs": (),
    "image_ops": (),
    "contracts": ("files",),
    "models": (*GROUND, "configs", "image_ops"),
    "metrics": (*GROUND, "image_ops"),
    "losses": ("image_ops", "metrics.functional"),
    "bilevel": GROUND,
    "scenes": (*GROUND, "image_ops"),
    "running": GROUND,
    "datamodules": (*GROUND, "running", "image_ops", "scenes"),
    "weights": GROUND,
    "registration": GROUND,
    "lightning_modules": (*GROUND, "weights", "running", "image_ops", "models", "losses", "bilevel"),
    "inference": (*GROUND, "weights", "image_ops", "models", "datamodules", "lightning_modules"),
    "callbacks": (*GROUND, "running", "image_ops", "metrics", "models.classic"),
    "commands": tuple(room for room in ROOMS if room != "testing"),
    "testing": ROOMS,
}


def _sources() -> list[Path]:
    return [path for room in ("ivif", *ROOMS) for path in sorted((ROOT / room).rglob("*.py"))]


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def _violates(room: str, imported: str) -> bool:
    """Whether an import breaks the rule: rooms are named as parts of `ivif` alone, and lie below the importing one."""
    package, _, name = imported.partition(".")
    if package != "ivif":
        return package in ROOMS
    return bool(name) and not any(name == entry or name.startswith(f"{entry}.") for entry in (room, *ALLOWED[room]))


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_one_way(room: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sorted((ROOT / room).rglob("*.py"))
        for name in _imports(path)
        if _violates(room, name)
    ]
    assert wrong == []


def test_the_import_rule_can_fail() -> None:
    assert _violates("image_ops", "ivif.models.clip")
    assert _violates("callbacks", "ivif.models.clip")
    assert _violates("commands", "models.clip")
    assert not _violates("callbacks", "ivif.models.classic")
    assert not _violates("models", "torch")


def _circle(graph: Mapping[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_file_imports_itself_by_way_of_others_not_even_inside_a_function() -> None:
    def module(path: Path) -> str:
        parts = path.relative_to(ROOT).with_suffix("").parts
        return ".".join(part for part in ("ivif", *parts[parts[0] == "ivif" :]) if part != "__init__")

    modules = {module(path): path for path in _sources()}
    graph: dict[str, set[str]] = {}
    for name, path in modules.items():
        nodes = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.ImportFrom)]
        parts = {(node.module or "", f"{node.module}.{alias.name}") for node in nodes for alias in node.names}
        graph[name] = {whole if whole in modules else inside for inside, whole in parts} - {name}
    assert len(graph["ivif.commands.cli"]) > 3
    assert _circle(graph) == []
    assert _circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})


@pytest.mark.parametrize("folder", ["tests", "benchmarks", "scripts"])
def test_rooms_are_imported_as_parts_of_one_package(folder: str) -> None:
    sources = sorted((ROOT / folder).rglob("*.py"))
    assert [f"{p.relative_to(ROOT)}: {n}" for p in sources for n in _imports(p) if n.partition(".")[0] in ROOMS] == []


def test_networks_and_losses_do_not_know_lightning() -> None:
    wrong = [
        str(path.relative_to(ROOT))
        for package in (
            "contracts",
            "files",
            "machine",
            "bilevel",
            "scenes",
            "image_ops",
            "models",
            "losses",
            "metrics",
        )
        for path in sorted((ROOT / package).rglob("*.py"))
        if any(name.split(".")[0] in ("lightning", "pytorch_lightning") for name in _imports(path))
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        (r"\.cuda\(", "devices are Lightning's business"),
        (r"(?<!manual)\.backward\(", "only manual_backward synchronises gradients under DDP"),
        (r"(?<!\.)\bprint\(", "only commands print"),
        (r"weights_only=False", "checkpoints hold no code"),
    ],
)
def test_no_file_contains(pattern: str, reason: str) -> None:
    exempt = {"print": "commands"}
    found = [
        f"{path.relative_to(ROOT)}: {reason}"
        for path in _sources()
        if re.search(pattern, path.read_text(encoding="utf-8"))
        and not ("print" in pattern and path.is_relative_to(ROOT / exempt["print"]))
    ]
    assert found == []


def _asks_for_the_scheme(node: ast.AST) -> bool:
    sides = (node.left, *node.comparators) if isinstance(node, ast.Compare) else ()
    return any(getattr(side, "attr", getattr(side, "id", "")) == "scheme" for side in sides)


def test_solvers_say_what_they_are_instead_of_being_asked_for_their_name() -> None:
    assert _asks_for_the_scheme(ast.parse("config.scheme == 'joint'", mode="eval").body)
    others = [path for folder in ("benchmarks", "tests") for path in sorted((ROOT / folder).rglob("*.py"))]
    found = [
        f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
        for path in (*_sources(), *others)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if _asks_for_the_scheme(node)
    ]
    assert found == []


OPENERS = re.compile(
    r"\bImage\.open\(|\bcv2\.im(read|decode)|\bimageio\b|\bimread\(|\bMAX_IMAGE_PIXELS\b"
    r"|\b(decode_image|decode_png|decode_jpeg|read_file)\(|torchvision\.io\b|LOAD_TRUNCATED_IMAGES"
)


def test_pictures_have_one_door() -> None:
    door = ROOT / "files" / "pictures.py"
    others = [
        path for folder in ("benchmarks", "scripts", "notebooks") for path in sorted((ROOT / folder).rglob("*.py"))
    ]
    opening = [path for path in (*_sources(), *others) if OPENERS.search(path.read_text(encoding="utf-8"))]
    assert opening == [door], "ivif.files.pictures opens pictures: it knows the formats and the limits"


def test_processors_are_those_that_may_be_used() -> None:
    counter = ROOT / "machine" / "processors.py"
    counting = [path for path in _sources() if "cpu_count" in path.read_text(encoding="utf-8")]
    assert counting == [counter]


NO_PUBLIC_NAME = {"_foreach_mul_", "_foreach_norm", "_local_scalar_dense", "_schema", "_cdata", "_apply", "_to_model"}
"""Of torch, and of the library of W&B's workspaces."""


METHODS = re.compile(r"mgfusion|prompt_?fusion|text_?to_?pixels|bilevel|level_?task|DetectionTask|ClassicFusion", re.I)
OF_METHODS = {
    *("encoder", "clip_view", "needs_saliency", "loss_config", "learner", "part", "value_network", "teacher"),
    *("bilevel_config", "level_configs", "level_modules", "levels", "phases", "crops", "solver"),
}
"""Attributes that some methods have, and `FusionTask` does not declare."""
EXAMPLES = {
    "commands/quickstart.py": "its commands are for one method",
    "commands/report": "tells metrics' conventions and groups of logged values by name",
    "commands/parsing/runs.py": "an example in a message",
    "commands/parsing/messages.py": "an example in a message",
    "commands/train/failures.py": "an example in a message",
    "commands/train/options.py": "an example in a help text",
    "commands/cli.py": "an example in a help text",
}


def _names_of_methods(source: str) -> Iterator[str]:
    """What code takes from one method alone: its class or module, an attribute, an option; docstrings do not count."""
    tree = ast.parse(source)
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom | ast.Import):
            yield from METHODS.findall(ast.unparse(node))
        elif isinstance(node, ast.Name):
            yield from METHODS.findall(node.id)
        elif isinstance(node, ast.Attribute) and node.attr in OF_METHODS:
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            options = re.findall(r"(?:model\.init_args|--model)\.(?!classes|help|init_args)\w+", node.value)
            yield from (*METHODS.findall(node.value), *options, *({node.value} & OF_METHODS))


@pytest.mark.parametrize(
    "source",
    [
        "from ivif.lightning_modules.bilevel_task import LevelTask",
        "isinstance(task, BilevelTask)",
        "task.loss_config.previous",
        "getattr(task, 'encoder', None)",
        "option = '--model.init_args.network.checkpoint_blocks true'",
        "option = '--model.network.checkpoint_blocks true'",
    ],
)
def test_the_rule_of_methods_can_fail(source: str) -> None:
    assert len(list(_names_of_methods(source))) >= 1
    assert list(_names_of_methods(f'"""{source}"""')) == []


def test_commands_and_callbacks_know_no_method() -> None:
    found = {
        str(path.relative_to(ROOT)): names
        for room in ("callbacks", "commands")
        for path in sorted((ROOT / room).rglob("*.py"))
        if not any(str(path.relative_to(ROOT)).startswith(place) for place in EXAMPLES)
        and (names := sorted(set(_names_of_methods(path.read_text(encoding="utf-8")))))
    }
    assert found == {}, "a task declares what is to be known of it: ivif.lightning_modules.declaration"


def _lightnings_names() -> set[str]:
    """Private names of the classes that ours derive from."""
    kinds = (LightningModule, LightningDataModule, LightningCLI, ModelCheckpoint)
    parents = {parent for kind in kinds for parent in kind.__mro__ if parent.__module__.startswith("lightning")}
    return {name for parent in parents for name in vars(parent)} | {"_trainer"}


def _internals(source: str, lightnings: set[str]) -> Iterator[str]:
    """Names that a file uses, or overrides, though Lightning does not promise them."""
    yield from re.findall(r"\bfit_loop\b|\bepoch_loop\b|\blightning\.pytorch\.loops\b", source)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            methods = {entry.name for entry in node.body if isinstance(entry, ast.FunctionDef)}
            yield from sorted(name for name in methods & lightnings if re.match(r"_[a-z]", name))
        elif isinstance(node, ast.Attribute) and re.match(r"_[a-z]", node.attr):
            ours = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            if node.attr in lightnings if ours else node.attr not in NO_PUBLIC_NAME:
                yield node.attr


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("self.trainer.fit_loop.max_epochs", "fit_loop"),
        ("trainer._results.values()", "_results"),
        ("self._trainer is None", "_trainer"),
        ("class A(LightningCLI):\n    def _run_subcommand(self): pass", "_run_subcommand"),
        ("from lightning.pytorch.loops.loop import _Loop", "lightning.pytorch.loops"),
    ],
)
def test_the_rule_of_internals_can_fail(source: str, name: str) -> None:
    assert list(_internals(source, _lightnings_names())) == [name]


def test_what_lightning_does_not_promise_has_one_door() -> None:
    lightnings = _lightnings_names()
    found = {
        str(path.relative_to(ROOT)): names
        for path in _sources()
        if path.relative_to(ROOT).parts[0] != "running"
        and any(name.partition(".")[0] == "lightning" for name in _imports(path))
        and (names := sorted(set(_internals(path.read_text(encoding="utf-8"), lightnings))))
    }
    assert found == {}, "ivif.running is the door to Lightning's insides"


def _encoding_is_open(call: ast.Call) -> bool:
    """Whether a call reads or writes text in the encoding that the machine happens to have."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    options = {keyword.arg for keyword in call.keywords}
    if "encoding" in options:
        return False
    if name in ("read_text", "write_text"):
        return len(call.args) < (1 if name == "read_text" else 2)
    if name == "open":
        modes = [
            value.value for value in (*call.args, *(k.value for k in call.keywords)) if isinstance(value, ast.Constant)
        ]
        return not call.args or any(re.fullmatch(r"[rwax][+t]*", str(mode)) for mode in modes)
    return bool(options & {"text", "universal_newlines"})


@pytest.mark.parametrize(
    ("source", "is_open"),
    [
        ("path.read_text()", True),
        ("path.read_text('utf-8')", False),
        ("path.write_text(text)", True),
        ("path.open()", True),
        ("path.open('a')", True),
        ("path.open('rb')", False),
        ("path.open('w', encoding='utf-8')", False),
        ("open(path, mode='w')", True),
        ("Image.open(path)", False),
        ("subprocess.run(command, text=True)", True),
    ],
)
def test_the_rule_of_encodings_can_fail(source: str, is_open: bool) -> None:
    (call,) = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    assert _encoding_is_open(call) == is_open


def test_text_is_read_and_written_in_a_stated_encoding() -> None:
    others = [path for folder in ("benchmarks", "scripts") for path in sorted((ROOT / folder).rglob("*.py"))]
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in (*_sources(), *others)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and _encoding_is_open(node)
    ]
    assert found == []


@pytest.mark.parametrize("path", _sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300, "split the file"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and node.end_lineno is not None:
            first = node.body[1].lineno if ast.get_docstring(node) and len(node.body) > 1 else node.body[0].lineno
            assert node.end_lineno - first < 40, f"{node.name} has more than 40 lines"
