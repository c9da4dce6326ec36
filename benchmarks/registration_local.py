"""The local step of `data register --refine spline`: known bends undone, and what it does to pairs as they are.

    python benchmarks/registration_local.py --data FOLDER [--pairs 5] [--output benchmarks/results]

FOLDER holds RoadScene, MSRS, LLVIP and M3FD. Infrared is bent by smooth displacements of at most 6 pixels of 480x640,
drawn with a fixed seed. Distances are means over all pixels, in pixels of 480x640, whether the gate keeps the bend or
not. `to the files` is against where the files lie, `to itself` against the step's own result on the pair as it is.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

import cv2  # noqa: E402
import numpy as np  # noqa: E402

from benchmarks.registration import DIAGONAL, FOLDERS, Pair, load  # noqa: E402
from benchmarks.tables import Row, describe_machine, heading, markdown, show, write  # noqa: E402
from ivif.registration import Bend, bend, warp_bent  # noqa: E402
from ivif.registration.geometry import Matrix, Size  # noqa: E402
from ivif.registration.local import fit  # noqa: E402

MOST = 6.0
IDENTITY = np.eye(3)


def known(rng: np.random.Generator, size: Size) -> Bend:
    """A bend of three cells by four, of so many pixels at most."""
    drawn = Bend(rng.uniform(-1, 1, (2, 6, 7)), size)
    most = MOST * float(np.hypot(*size)) / DIAGONAL
    return Bend(drawn.grid * most / np.abs(drawn.everywhere(size)).max(), size)


def undone(moved: Bend) -> Matrix:
    """The displacement (2, H, W) that takes a bend back."""
    rows, columns = np.mgrid[: moved.size[0], : moved.size[1]].astype(float)
    points = np.stack([columns, rows], -1).reshape(-1, 2)
    return np.asarray((moved.undone(points) - points).T.reshape(2, *moved.size))


def measure(pair: Pair, seed: int) -> dict[str, float]:
    """Of one pair: distances, gains of held-out blocks, and whether the bends are kept."""
    size = pair.size
    change = known(np.random.default_rng(seed), size)
    infrared = warp_bent(pair.infrared, IDENTITY, undone(change))
    truth, own, found = (
        one.everywhere(size)
        for one in (change, fit(pair.infrared, pair.visible, IDENTITY), fit(infrared, pair.visible, IDENTITY))
    )
    kept = {"as it is": bend(pair.infrared, pair.visible, IDENTITY), "bent": bend(infrared, pair.visible, IDENTITY)}

    def apart(first: Matrix, second: Matrix | float) -> float:
        return float(np.hypot(*(first - second)).mean()) * DIAGONAL / float(np.hypot(*size))

    return {
        "bent by": apart(truth, 0.0),
        "to the files": apart(found, truth),
        "to itself": apart(found, truth + own),
        "as it is, moved by": apart(own, 0.0),
        **{f"{name}: gain": 100 * local.gain for name, local in kept.items()},
        **{f"{name}: kept": float(local.bend is not None) for name, local in kept.items()},
    }


def row(dataset: str, measured: Sequence[dict[str, float]]) -> Row:
    """Medians of a dataset."""
    found: Row = {"dataset": dataset}
    for name in measured[0]:
        values = [one[name] for one in measured]
        if name.endswith("kept"):
            found[name] = f"{int(sum(values))} of {len(values)}"
        else:
            found[name] = f"{np.median(values):.1f}" + (" %" if name.endswith("gain") else "")
    return found


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    cv2.setNumThreads(1)
    pairs = load(options.data, options.pairs)
    machine = describe_machine(1)
    found = [(pair.dataset, measure(pair, seed)) for seed, pair in enumerate(pairs)]
    rows = [row(dataset, [one for name, one in found if dataset in (name, "all")]) for dataset in (*FOLDERS, "all")]
    show("Local step", rows)
    note = (
        " ".join((__doc__ or "").split("\n\n")[2].split()) + " Medians; gain is that of edges in blocks held out.\n\n"
    )
    command = f"python benchmarks/registration_local.py --data FOLDER --pairs {options.pairs}"
    text = heading("registration_local", "Registration: the local step", machine, command) + note + markdown(rows)
    write(options.output, "registration_local", text, {"registration_local": rows})


if __name__ == "__main__":
    main()
