"""Options and configuration files that cannot be meant: refused before anything is built, by key, value and remedy."""

from pathlib import Path
from typing import Final

import pytest

from ivif.commands.parsing.config_files import GROUPS
from ivif.commands.parsing.messages import explain
from tests.commands.runs import SCENES, TINY
from tests.refusals import refused

METHODS: Final = {
    "mgfusion": (*TINY, *SCENES),
    "text_to_pixels": (*SCENES, "--model.init_args.clip=random-tiny"),
    "promptfusion": SCENES,
    "detection": SCENES,
}

OPTIONS: Final[dict[str, tuple[str, ...]]] = {
    "mgfusion --model.init_args.network.channels=big": ("model.network.channels", "whole number", "big"),
    "mgfusion --model.init_args.network.channels=1.5": ("model.network.channels", "whole number", "1.5"),
    "mgfusion --model.init_args.network.channels=[8]": ("model.network.channels", "whole number", "[8]"),
    "mgfusion --model.init_args.network.channels=null": ("model.network.channels", "null", "default"),
    "mgfusion --model.init_args.network.channels=-8": ("channels", "-8", "multiple of heads"),
    "mgfusion --model.init_args.network.nothing=1": ("model.network.nothing", "no such option"),
    "mgfusion --model.init_args.network=5": ("model.network", "mapping", "got 5"),
    "mgfusion --model.init_args.nothing.deep=1": ("model.nothing.deep", "no such option"),
    "mgfusion --model.init_args.loss.gradient=text": ("model.loss.gradient", "a number", "text"),
    "mgfusion --model.init_args.optimizer.gradient_clip=-1": ("optimizer.gradient_clip", "-1.0", "0 or more"),
    "mgfusion --model.init_args.optimizer.weight_decay=.inf": ("optimizer.weight_decay", "inf", "finite"),
    "mgfusion --model.init_args.optimizer.betas=[2,3]": ("optimizer.betas", "(2.0, 3.0)", "[0, 1)"),
    "mgfusion --model.init_args.optimizer.betas=[0.9]": ("model.optimizer.betas", "2 elements", "[0.9]"),
    "mgfusion --model.init_args.schedule.peak=-1": ("schedule", "-1", "not negative"),
    "mgfusion --model.init_args.schedule.peak=.nan": ("schedule", "nan", "finite"),
    "mgfusion --model.init_args.schedule.peak=1e400": ("schedule", "inf", "finite"),
    "mgfusion --model.init_args.clip={}": ("model.clip", "mapping", "{}"),
    "mgfusion --model.init_args.clip={nothing: 1}": ("model.clip.nothing", "no such option"),
    "mgfusion --model=os.system": ("os.system", "part of Python"),
    "mgfusion --model=nowhere.Thing": ("nowhere.Thing", "ivif's rooms", "IVIF_PLUGINS=nowhere"),
    "mgfusion --model=lightning_modules.nowhere.Thing": ("model", "no attribute 'nowhere'"),
    "mgfusion --model=ivif.models.clip.ClipConfig": ("model", "ClipConfig", "FusionTask"),
    "mgfusion --data=subprocess.Popen": ("subprocess.Popen", "part of Python"),
    "mgfusion --data=nowhere.yaml": ("nowhere.yaml", "configs/data"),
    "mgfusion --data.init_args.nothing=1": ("data.nothing", "no such option"),
    "mgfusion --data.init_args.size=[0,0]": ("size", "0x0", "at least"),
    "mgfusion --data.init_args.size=[8]": ("data.size", "2 elements", "[8]"),
    "mgfusion --data.init_args.size=[1.5,64]": ("data.size", "whole number", "1.5"),
    "mgfusion --data.init_args.train_length=-1": ("-1", "scenes"),
    "mgfusion --data.init_args.train_length=0": ("data.train_length", "0", "Set it"),
    "mgfusion --data.init_args.train_length=1e9": ("data.train_length", "whole number"),
    "mgfusion --data.init_args.strict=maybe": ("data.strict", "true or false", "maybe"),
    "mgfusion --data.init_args.manifest=../../etc/passwd": ("../../etc/passwd", "Known: default"),
    "mgfusion --data.init_args.predict_stage=now": ("data.predict_stage", "'train'", "now"),
    "mgfusion --data.init_args.prompts.source=telepathy": ("data.prompts.source", "'coarse'", "telepathy"),
    "mgfusion --data.init_args.prompts.source=file": ("prompts.path", "give the JSONL file"),
    "mgfusion --loading.batch_size=0": ("loading.batch_size", "0", "at least 1"),
    "mgfusion --loading.batch_size=many": ("loading.batch_size", "whole number", "many"),
    "mgfusion --loading.num_workers=-1": ("loading.num_workers", "-1", "0 or more"),
    "mgfusion --loading.cache=tape": ("loading.cache", "'disk'", "tape"),
    "mgfusion --loading.nothing=1": ("loading.nothing", "no such option"),
    "mgfusion --transforms.crop=-5": ("transforms.crop", "-5", "at least 8"),
    "mgfusion --transforms.crop=nan": ("transforms.crop", "whole number or null", "nan"),
    "mgfusion --transforms.jitter=2": ("transforms.jitter", "2.0", "[0, 1]"),
    "mgfusion --transforms.jitter=.nan": ("transforms.jitter", "nan"),
    "mgfusion --transforms.zoom=[2,1]": ("transforms.zoom", "(2.0, 1.0)", "smaller one first"),
    "mgfusion --transforms.resize=[8]": ("transforms.resize", "2 elements", "[8]"),
    "mgfusion --transforms.clip_size=-3": ("transforms.clip_size", "-3", "at least 1"),
    "mgfusion --transforms.flip=vertical": ("transforms.flip", "'horizontal'", "vertical"),
    "mgfusion --trainer.max_epochs=x": ("trainer.max_epochs", "whole number or null", "got x"),
    "mgfusion --trainer.max_epoch=3": ("trainer.max_epoch", "no such option"),
    "mgfusion --trainer.accumulate_grad_batches=0": ("trainer.accumulate_grad_batches", "0", "at least 1"),
    "mgfusion --trainer.check_val_every_n_epoch=0": ("trainer.check_val_every_n_epoch", "0", "at least 1"),
    "mgfusion --trainer.log_every_n_steps=-1": ("trainer.log_every_n_steps", "-1", "at least 0"),
    "mgfusion --trainer.accelerator=abacus": ("abacus", "cpu"),
    "mgfusion --trainer.strategy=hope": ("hope", "ddp"),
    "mgfusion --images.height=0": ("images.height", "0", "at least 8"),
    "mgfusion --images.images_per_dataset=-1": ("images.images_per_dataset", "-1", "at least 0"),
    "mgfusion --evaluator.metrics=7": ("evaluator.metrics", "a list", "7"),
    "mgfusion --evaluator.metrics=[beauty]": ("beauty", "Qabf"),
    "mgfusion --seed_everything=-1": ("seed_everything", "-1", "at least 0"),
    "mgfusion --checkpoint.mode=up": ("mode", "min, max", "up"),
    "text_to_pixels --model.init_args.network.width=wide": ("model.network.width", "whole number", "wide"),
    "text_to_pixels --model.init_args.network.dilations=1": ("model.network.dilations", "got 1"),
    "text_to_pixels --model.init_args.bilevel.scheme=guess": ("model.bilevel.scheme", "guess"),
    "text_to_pixels --model.init_args.crops.size=[]": ("model.crops.size", "[]"),
    "text_to_pixels --model.init_args.lower.schedule.peak=x": ("model.lower.schedule.peak", "a number"),
    "text_to_pixels --model.init_args.detector.architecture=7": ("7", "yolov5"),
    "promptfusion --model.init_args.phases.nothing=1": ("model.phases.nothing", "no such option"),
    "promptfusion --model.init_args.prompts.length=long": ("model.prompts.length", "whole number", "long"),
    "promptfusion --model.init_args.network.channels=null": ("model.network.channels", "null"),
    "detection --model.init_args.source.kind=x-ray": ("source.kind", "x-ray", "infrared"),
    "detection --model.init_args.source.kind=checkpoint": ("source.checkpoint", "last.ckpt"),
    "detection --model.init_args.classes=[a]": ("classes", "leave it out"),
    "detection --data.init_args.loading.batch_size=2": ("--loading", "beside the dataset"),
}
"""Method and option, and what the message must say."""


@pytest.mark.parametrize("case", OPTIONS)
def test_wrong_options_are_named(case: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    method, option = case.split(" ", 1)
    arguments = ["fit", f"--config={method}.yaml", *METHODS[method], "--trainer.fast_dev_run=1", option]
    message = refused(arguments, capsys, *OPTIONS[case])
    assert not any(noise in message for noise in ("Union", "NoneType", "Namespace", "NestedArg", "<class"))
    assert {path.name for path in place.iterdir()} <= {"runs"}


@pytest.mark.parametrize(
    "name",
    ["../../x", "..", "a/../../x", "/tmp/absolute", ".", "a\0b", "a\nb", "\x1b[2J", "x" * 300],
    ids=["up", "parent", "through", "absolute", "here", "null byte", "new line", "terminal code", "too long"],
)
def test_run_names_stay_below_the_folder_of_runs(name: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["fit", "--config=mgfusion.yaml", *METHODS["mgfusion"], "--trainer.fast_dev_run=1"]
    refused([*arguments, "--runs_dir=runs", f"--run_name={name}"], capsys, "--runs_dir")


def nested(levels: int) -> str:
    return "model: " + "[" * levels + "]" * levels


ALIASES: Final = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)

FILES: Final[dict[str, tuple[str | bytes, tuple[str, ...]]]] = {
    "nothing": ("", ("is empty",)),
    "comments alone": ("# nothing\n", ("is empty",)),
    "a list": ("- 1\n- 2\n", ("no mapping",)),
    "a number": ("7", ("no mapping",)),
    "a text": ("mgfusion", ("no mapping",)),
    "null": ("null", ("no mapping",)),
    "zeros": (bytes(100), ("is no YAML",)),
    "a picture": (b"\x89PNG\r\n\x1a\n\xff\xfe", ("UTF-8",)),
    "utf-16": ("model: {}".encode("utf-16"), ("UTF-8",)),
    "tabs": ("model:\n\tinit_args: {}\n", ("is no YAML", "line 2")),
    "an open bracket": ("model: [\n", ("is no YAML", "line 2")),
    "two documents": ("model: {}\n---\ndata: {}\n", ("is no YAML", "document")),
    "an undefined alias": ("model: *nowhere\n", ("is no YAML", "nowhere")),
    "a key twice": ("loading:\n  batch_size: 1\n  batch_size: 2\n", ("line 3", "'batch_size' twice")),
    "a section twice": ("loading: {batch_size: 1}\nloading: {seed: 2}\n", ("line 2", "'loading' twice")),
    "a key that is a list": ("? [a, b]\n: 1\n", ("line 1", "no text")),
    "code": ("x: !!python/object/apply:os.system ['touch executed']\n", ("line 1", "!!python/object/apply:os.system")),
    "a name of code": ("x: !!python/name:os.system\n", ("line 1", "!!python/name:os.system")),
    "code deep inside": ("model: {init_args: {x: !!python/object/new:os.system [a]}}\n", ("line 1", "!!python")),
    "a tag of its own": ("x: !include other.yaml\n", ("line 1", "!include", "plain values")),
    "aliases that multiply": (ALIASES, ("values by its aliases",)),
    "an alias of itself": ("model: &m {init_args: *m}\n", ("holds itself",)),
    "a thousand levels": (nested(1000), ("levels",)),
    "two megabytes": (f"x: {'a' * 2_000_000}\n", ("bytes", "too many")),
    "a section that is a list": ("trainer: [1]\n", ("line 1", "mapping of options for 'trainer'")),
    **{
        f"{group} that is {value or 'left out'}": (
            f"{group}: {value}\n",
            ("line 1", f"mapping of options for '{group}'"),
        )
        for group in GROUPS
        for value in ("5", "true", "")
    },
    "a section in a file that is not there": ("loading: nowhere.yaml\n", ("loading", "nowhere.yaml")),
    "a model that is a number": ("model: 7\n", ("model", "7")),
    "an unknown section": ("modle: {class_path: x}\n", ("modle", "no such option")),
    "an unknown key": ("trainer: {max_epoch: 3}\n", ("trainer.max_epoch", "no such option")),
    "an unknown key of the method": ("model: {init_args: {dimm: 3}}\n", ("model.dimm", "no such option")),
    "an unknown key deep inside": (
        "model: {init_args: {network: {dimm: 3}}}\n",
        ("model.network.dimm", "no such option"),
    ),
    "an unknown key of the data": ("data: {init_args: {rooot: x}}\n", ("data.rooot", "no such option")),
    "a wrong type deep inside": (
        "model: {init_args: {network: {channels: big}}}\n",
        ("model.network.channels", "whole number", "big"),
    ),
    "a value left out": (
        "model: {init_args: {loss: {gradient: }}}\n",
        ("model.loss.gradient", "null", "default"),
    ),
    "a number left out": ("transforms: {jitter: }\n", ("transforms.jitter", "null")),
    "another program's class": ("model: {class_path: os.system}\n", ("os.system", "part of Python")),
    "a class that is not there": ("model: {class_path: datamodules.nowhere.Thing}\n", ("model", "nowhere")),
    "a run name that climbs": ("run_name: ../../x\n", ("--run_name", "..", "--runs_dir")),
    "itself": ("config: itself.yaml\n", ("config",)),
    "itself as data": ("data: itself.yaml\n", ("data",)),
}
"""Name -> content of a configuration file, and what the message must say."""


@pytest.mark.parametrize("name", FILES)
def test_hostile_configuration_files_are_refused(name: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content, words = FILES[name]
    path = place / ("itself.yaml" if "itself" in name and "alias" not in name else "given.yaml")
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    arguments = ["fit", "--config=mgfusion.yaml", *METHODS["mgfusion"], "--trainer.fast_dev_run=1", f"--config={path}"]
    refused(arguments, capsys, *words)
    assert list(place.iterdir()) == [path]


BOMBS: Final[dict[str, tuple[str, ...]]] = {
    "data in a file": ("--config=above.yaml",),
    "data by an option": ("--data=bomb.yaml",),
    "a section": ("--config=section.yaml",),
    "a list of loggers": ("--trainer.logger=bomb.yaml",),
    "an option": (f"--model.init_args.network={{a: &a [{'1, ' * 400}], b: [{'*a, ' * 400}]}}",),
    "levels": ("--trainer.callbacks=" + "[" * 5000 + "]" * 5000,),
}


@pytest.mark.parametrize("name", BOMBS)
def test_texts_that_grow_are_refused_wherever_they_stand(
    name: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "bomb.yaml").write_text(ALIASES)
    (place / "above.yaml").write_text("data: bomb.yaml\n")
    (place / "section.yaml").write_text("trainer: bomb.yaml\n")
    words = ("levels",) if name == "levels" else ("values by its aliases",)
    refused(["fit", "--config=mgfusion.yaml", *METHODS["mgfusion"], *BOMBS[name]], capsys, *words)


@pytest.mark.parametrize("kind", ["missing", "folder", "missing without an ending"])
def test_configuration_files_that_are_none_are_refused(
    kind: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = place / ("nowhere" if "without" in kind else "given.yaml")
    if kind == "folder":
        path.mkdir()
    refused(["fit", f"--config={path}"], capsys, path.name, "configs/")


def test_other_messages_of_the_parser_stay_as_they_are() -> None:
    message = "argument -c/--config: expected one argument"
    assert str(explain(message, {})).startswith(f"{message}\n(see: ")
