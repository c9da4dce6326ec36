"""Registration of infrared onto visible pictures: corner errors beside OpenCV's ECC and ORB (and SimpleITK) in one run.

    python benchmarks/registration.py --data FOLDER [--pairs 5] [--output benchmarks/results]

FOLDER holds RoadScene, MSRS, LLVIP and M3FD. Infrared of pairs that their owners have aligned is moved by known turns
(3 degrees), scales (5 %) and shifts (3 %), the same for every method. Errors are means of four corners, in pixels of a
picture of 480x640. `to the files` is against where the files lie; `to itself` is against the method's own estimate on
the pair as it is, because pairs called aligned are not, to a pixel. One core.
"""

import argparse
import os
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

import cv2  # noqa: E402
import numpy as np  # noqa: E402

from benchmarks.tables import Row, describe_machine, heading, markdown, show, write  # noqa: E402
from ivif.files.pictures import load_rgb  # noqa: E402
from ivif.registration import RegistrationSettings, register, stretch, warp  # noqa: E402
from ivif.registration.geometry import Matrix, Plane, corner_distance  # noqa: E402

FOLDERS = {
    "RoadScene": ("cropinfrared", "crop_LR_visible"),
    "MSRS": ("test/ir", "test/vi"),
    "LLVIP": ("infrared/test", "visible/test"),
    "M3FD": ("Ir", "Vis"),
}
DIAGONAL = 800.0
LOST = 999.0
Method = Callable[[Plane, Plane], Matrix | None]


@dataclass(frozen=True)
class Pair:
    """Two pictures of one scene and size, grey."""

    dataset: str
    infrared: Plane
    visible: Plane

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.visible.shape[0], self.visible.shape[1]


def grey(path: Path) -> Plane:
    """A picture as (H, W) uint8."""
    return np.asarray(load_rgb(path).convert("L"))


def load(data: Path, count: int) -> list[Pair]:
    """So many pairs of each dataset, drawn with a fixed seed."""
    pairs = []
    for dataset, (infrared, visible) in FOLDERS.items():
        first = {path.stem: path for path in (data / dataset / infrared).iterdir()}
        second = {path.stem: path for path in (data / dataset / visible).iterdir()}
        names = sorted({*first} & {*second})
        random.Random(0).shuffle(names)
        for name in names[:count]:
            target = grey(second[name])
            size = (target.shape[0], target.shape[1])
            source = grey(first[name])
            fitted = warp(source, stretch(size, (source.shape[0], source.shape[1])), size)
            pairs.append(Pair(dataset, fitted, target))
    return pairs


def known(rng: np.random.Generator, size: tuple[int, int]) -> Matrix:
    """A turn, scale and shift, drawn evenly within their bounds."""
    angle, scale = np.deg2rad(rng.uniform(-3, 3)), rng.uniform(0.95, 1.05)
    x, y = (size[1] - 1) / 2, (size[0] - 1) / 2
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    across, down = rng.uniform(-0.03, 0.03, 2) * (size[1], size[0])
    return np.array([[c, -s, x - c * x + s * y + across], [s, c, y - s * x - c * y + down], [0, 0, 1]])


def ours(infrared: Plane, visible: Plane) -> Matrix | None:
    """Ours, whose gate leaves a pair as it is."""
    return register(infrared, visible).matrix


def ungated(infrared: Plane, visible: Plane) -> Matrix | None:
    """Ours, believed whatever it says."""
    return register(infrared, visible, RegistrationSettings(halves=100.0, gain=-100.0, rivals=-100.0)).matrix


def ecc(infrared: Plane, visible: Plane) -> Matrix | None:
    """OpenCV's enhanced correlation coefficient, affine."""
    matrix = np.eye(2, 3, dtype=np.float32)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 100, 1e-5)
    try:
        cv2.findTransformECC(visible, infrared, matrix, cv2.MOTION_AFFINE, stop, np.ones_like(infrared), 5)
    except cv2.error:
        return None
    return np.vstack([matrix.astype(float), [0, 0, 1]])


def orb(infrared: Plane, visible: Plane) -> Matrix | None:
    """OpenCV's ORB features, matched both ways, and RANSAC."""
    finder = cv2.ORB.create(2000)
    (points, own), (others, their) = finder.detectAndCompute(visible, None), finder.detectAndCompute(infrared, None)
    if not points or not others:
        return None
    matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(own, their)
    if len(matches) < 4:
        return None
    source = np.array([points[match.queryIdx].pt for match in matches], dtype=np.float32)
    target = np.array([others[match.trainIdx].pt for match in matches], dtype=np.float32)
    cv2.setRNGSeed(0)
    matrix, _ = cv2.estimateAffinePartial2D(source, target, method=cv2.RANSAC, ransacReprojThreshold=4)
    return None if matrix is None else np.vstack([matrix, [0, 0, 1]])


def mutual_information(infrared: Plane, visible: Plane) -> Matrix | None:
    """SimpleITK's Mattes mutual information over three sizes, affine."""
    import SimpleITK

    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    method = SimpleITK.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(0.25)
    method.SetInterpolator(SimpleITK.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(2.0, 1e-3, 60, 0.6)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([8, 4, 2])
    method.SetSmoothingSigmasPerLevel([4, 2, 1])
    affine = SimpleITK.AffineTransform(2)
    affine.SetCenter(((visible.shape[1] - 1) / 2, (visible.shape[0] - 1) / 2))
    method.SetInitialTransform(affine, True)
    try:
        method.Execute(*(SimpleITK.GetImageFromArray(plane.astype(np.float32)) for plane in (visible, infrared)))
    except RuntimeError:
        return None
    linear, centre = np.array(affine.GetMatrix()).reshape(2, 2), np.array(affine.GetCenter())
    shift = np.array(affine.GetTranslation()) + centre - linear @ centre
    return np.vstack([np.c_[linear, shift], [0, 0, 1]])


METHODS: Mapping[str, Method] = {
    "ours": ours,
    "ours, not gated": ungated,
    "ORB": orb,
    "ECC": ecc,
    "mutual information (SimpleITK)": mutual_information,
}


def errors(method: Method, pair: Pair, seed: int) -> tuple[float, float, float, float]:
    """Errors of the moved pair to the files and to itself, of the pair as it is, and seconds of the moved one."""
    to_itself = DIAGONAL / float(np.hypot(*pair.size))
    change = known(np.random.default_rng(seed), pair.size)
    truth = np.linalg.inv(change)
    begun = time.perf_counter()
    found = method(warp(pair.infrared, change, pair.size), pair.visible)
    seconds = time.perf_counter() - begun
    base = method(pair.infrared, pair.visible)
    if found is None or base is None:
        return LOST, LOST, LOST, seconds
    apart = [corner_distance(first, second, pair.size) for first, second in ((found, truth), (found, truth @ base))]
    return apart[0] * to_itself, apart[1] * to_itself, corner_distance(base, np.eye(3), pair.size) * to_itself, seconds


def row(dataset: str, name: str, measured: Sequence[tuple[float, float, float, float]]) -> Row:
    """A method on a dataset."""
    files, itself, aligned, seconds = np.array(measured).T
    return {
        "dataset": dataset,
        "method": name,
        "to the files: median": f"{np.median(files):.1f}",
        "under 5": f"{100 * np.mean(files < 5):.0f} %",
        "to itself: median": f"{np.median(itself):.1f}",
        "itself under 5": f"{100 * np.mean(itself < 5):.0f} %",
        "aligned, moved by more than 1": f"{int(np.sum((aligned > 1) & (aligned < LOST)))} of {len(aligned)}",
        "seconds": f"{np.median(seconds):.2f}",
    }


def strangers(pairs: Sequence[Pair], count: int) -> str:
    """How many pictures of two datasets, which cannot be of one scene, are warped onto each other."""
    rng = random.Random(1)
    warped = 0
    for _ in range(count):
        first = rng.choice(pairs)
        other = rng.choice([pair for pair in pairs if pair.dataset != first.dataset])
        fitted = warp(other.infrared, stretch(first.size, other.size), first.size)
        warped += not register(fitted, first.visible).refused
    return f"Of {count} infrared pictures beside a visible one of another dataset, {warped} were warped.\n"


def raw(data: Path, count: int) -> str:
    """Errors on RoadScene's pairs as the cameras gave them, against the crops that its authors made of them by hand.

    Where a crop lies in the infrared picture is found by SIFT, as both are of one camera; the visible crop is the large
    one in a smaller size.
    """
    folder, finder, matcher = data / "RoadScene", cv2.SIFT.create(3000), cv2.BFMatcher()
    own: dict[str, list[float]] = {"similarity": [], "affine": [], "homography": []}
    left = 0
    for path in sorted((folder / "infrared").iterdir())[:count]:
        crop = next((folder / "cropinfrared").glob(f"{path.stem}.*"), None)
        whole = next((folder / "crop_HR_visible").glob(f"{path.stem}.*"), None)
        if crop is None or whole is None:
            continue
        infrared, cropped, visible = grey(path), grey(crop), grey(whole)
        (here, mine), (there, other) = (finder.detectAndCompute(plane, None) for plane in (cropped, infrared))
        best = [one for one, second in matcher.knnMatch(mine, other, 2) if one.distance < 0.8 * second.distance]
        source = np.array([here[match.queryIdx].pt for match in best], dtype=np.float32)
        target = np.array([there[match.trainIdx].pt for match in best], dtype=np.float32)
        place = cv2.findHomography(source, target, cv2.RANSAC, 2.0)[0]
        size = (visible.shape[0], visible.shape[1])
        truth = place @ stretch(size, (cropped.shape[0], cropped.shape[1]))
        for model in own:
            found = register(infrared, visible, RegistrationSettings(model))  # type: ignore[arg-type]
            if found.refused:
                left += 1
                continue
            scale = DIAGONAL / float(np.hypot(*infrared.shape))
            own[model].append(corner_distance(found.matrix, truth, size) * scale)
    told = "; ".join(f"{model} {np.median(found):.1f} ({len(found)} pairs)" for model, found in own.items() if found)
    return f"RoadScene's raw pairs against its crops, median error of those that were warped: {told}.\n"


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--strangers", type=int, default=100)
    parser.add_argument("--raw", type=int, default=8)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    cv2.setNumThreads(1)
    pairs = load(options.data, options.pairs)
    machine, rows = describe_machine(1), []
    table = {name: [errors(method, pair, seed) for seed, pair in enumerate(pairs)] for name, method in METHODS.items()}
    for dataset in (*FOLDERS, "all"):
        chosen = [index for index, pair in enumerate(pairs) if dataset in (pair.dataset, "all")]
        rows += [row(dataset, name, [measured[index] for index in chosen]) for name, measured in table.items()]
    show("Registration", rows)
    note = (
        f"{options.pairs} pairs of each dataset, infrared moved by up to 3 degrees, 5 % and 3 % of a side. Errors are "
        f"means of four corners in pixels of 480x640; {LOST:.0f} is a method that gave up. `to the files` is against "
        f"where the files lie, `to itself` against the same method's estimate on the pair as it is.\n\n"
    )
    told = strangers(pairs, options.strangers) + "\n" + raw(options.data, options.raw) + "\n"
    command = f"python benchmarks/registration.py --data FOLDER --pairs {options.pairs} --raw {options.raw}"
    text = heading("registration", "Registration", machine, command) + note + told + markdown(rows)
    write(options.output, "registration", text, {"registration": rows})


if __name__ == "__main__":
    main()
