"""`ivif data scenes`: generated scenes as files, in the layout of your own folder, to try things out on."""

import shlex
from pathlib import Path

from ivif.callbacks.detection_files import CLASS_LIST, refuse_other_classes, save_yolo
from ivif.callbacks.images import save_atomically
from ivif.commands.errors import UsageError
from ivif.commands.program import program
from ivif.contracts.batch import plane_to_float
from ivif.datamodules.datasets.synthetic import SyntheticDataset
from ivif.image_ops.pictures import to_picture


def write_scenes(scenes: SyntheticDataset, root: Path) -> Path:
    """Writes `ir/<name>.png`, `vi/<name>.png`, YOLO labels in `labels/<name>.txt` and `labels/classes.txt`.

    Args:
        scenes: What to write.
        root: The folder; scenes of the same names there are written over.

    Returns:
        The folder.
    """
    for index, name in enumerate(scenes.names):
        scene = scenes[index]
        for folder, plane in (("ir", scene["infrared"]), ("vi", scene["visible"])):
            save_atomically(to_picture(plane_to_float(plane)), root / folder / f"{name}.png")
        save_yolo(scene["targets"], scenes.size, root / "labels" / f"{name}.txt", scenes.classes)
    return root


def run(out: str, count: int, size: tuple[int, int], seed: int) -> int:
    """Writes scenes of a size (height, width), and says how to go on; returns the exit code, 0.

    Raises:
        UsageError: If there are other pictures in the folder.
        FileExistsError: If there is another list of classes.
        ValueError: If the size is too small, or the count out of range.
    """
    scenes = SyntheticDataset(count, size, seed)
    for folder in ("ir", "vi", "labels"):
        others = {path.stem for path in (Path(out) / folder).glob("*") if path.name != CLASS_LIST} - set(scenes.names)
        if others:
            raise UsageError(f"'{Path(out) / folder}' holds other pictures ({len(others)}). Choose an empty --out.")
    refuse_other_classes(Path(out) / "labels", scenes.classes)
    root = write_scenes(scenes, Path(out))
    print(
        f"{count} pairs with boxes ({', '.join(scenes.classes)}) in {root}. Look at them:\n"
        f"  {program()} data check --data folder.yaml --data.root {shlex.quote(str(root))} "
        f"--data.layout.labels labels --data.classes '[{', '.join(scenes.classes)}]'"
    )
    return 0
