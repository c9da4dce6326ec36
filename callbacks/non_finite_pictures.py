"""No picture of NaN or infinity is scored or saved."""

from ivif.contracts.batch import Batch, StepOutput, pair_names
from ivif.files.errors import NotFiniteError


class NotFinitePictureError(NotFiniteError, ValueError):
    """A task fused a pair to values that are not finite."""


def refuse_not_finite(outputs: StepOutput, batch: Batch) -> None:
    """Stops before what is no number is scored as something, or saved as black.

    Args:
        outputs: What the task made of the batch.
        batch: Names the pairs.

    Raises:
        NotFinitePictureError: If a fused picture holds NaN or infinity; names its pair.
    """
    broken = (~outputs["fused"].isfinite()).flatten(1).any(dim=1).tolist()
    if named := [name for name, is_broken in zip(pair_names(batch), broken, strict=True) if is_broken]:
        raise NotFinitePictureError(
            f"The fused picture of {', '.join(named)} holds NaN or infinity: the weights have grown beyond what "
            f"the precision can hold. Take an earlier checkpoint, or a higher --trainer.precision."
        )
