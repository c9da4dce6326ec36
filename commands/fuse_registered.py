"""`fuse --register auto`: infrared is brought onto the visible picture first, where a transform deserves belief."""

from pathlib import Path

from ivif.commands.data.register import Options, register_dataset
from ivif.commands.data.register_planes import grey_plane, measured_plane
from ivif.datamodules.datasets.folder import FolderDataset, FolderLayout
from ivif.datamodules.datasets.reading_config import ReadingConfig
from ivif.registration import register, warp
from ivif.registration.geometry import Plane


def registered_picture(infrared: Path, visible: Path) -> Path | Plane:
    """What is to be fused in place of an infrared file: its pixels, warped, or the file itself; says which."""
    picture, target = measured_plane(infrared), grey_plane(visible)
    found = register(picture, target)
    if found.refused:
        print(f"Not registered: {found.refused}.")
        return infrared
    print(f"Registered: infrared moved by {found.shift:.1f} pixels at the corners.")
    return warp(picture, found.matrix, (target.shape[0], target.shape[1]))


def registered_folders(infrared: Path, visible: Path, out: Path) -> tuple[Path, Path]:
    """The folders to fuse in place of two: `OUT_registered/ir` and `vi`, which `data register` would write."""
    layout = FolderLayout(infrared=str(infrared.resolve()), visible=str(visible.resolve()))
    reader = FolderDataset(infrared.resolve().parent, layout=layout, reading=ReadingConfig(labels=False))
    folder = out.with_name(f"{out.name}_registered")
    register_dataset(reader, folder, Options())
    return folder / "ir", folder / "vi"
