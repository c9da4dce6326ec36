"""Generated scenes as a datamodule: nothing to download."""

from typing import Any

from torch.utils.data import Dataset

from ivif.contracts.batch import Sample
from ivif.datamodules.base import FusionDataModule, Source
from ivif.datamodules.datasets.synthetic import SyntheticDataset
from ivif.files.errors import SplitError


class SyntheticDataModule(FusionDataModule):
    """Procedural road scenes with boxes, masks and captions; see `ivif.datamodules.datasets.synthetic`.

    Args:
        train_length: Training scenes.
        evaluation_length: Scenes each of validation and test.
        size: (height, width) of every scene in pixels.
        scene_seed: Seed of the world; stages never share a scene.
        **kwargs: Arguments of `FusionDataModule`.
    """

    def __init__(
        self,
        train_length: int = 256,
        evaluation_length: int = 16,
        size: tuple[int, int] = (256, 320),
        scene_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.lengths = {"train": train_length, "val": evaluation_length, "test": evaluation_length}
        self.size = size
        self.scene_seed = scene_seed

    def sources(self) -> list[Source]:
        """None on disk."""
        return []

    def setup(self, stage: str) -> None:
        """As for every datamodule.

        Raises:
            SplitError: If the stage is to have no scene.
        """
        needed = {"fit": "train", "validate": "val"}.get(stage, "test")
        if self.lengths[needed] == 0:
            option = "train_length" if needed == "train" else "evaluation_length"
            raise SplitError(f"There are no scenes for '{stage}': `{option}` is 0. Set it to 1 or more.")
        super().setup(stage)

    @property
    def classes(self) -> tuple[str, ...]:
        """What the generator draws and labels."""
        return SyntheticDataset.classes

    def stage_readers(self, stage: str) -> list[Dataset[Sample]]:
        """The generator of a stage; `all` is every scene of every stage. Captions give way to `prompts`, where set."""
        stage = self._drawn_from.get(stage, stage)
        if stage not in self._readers:
            stages = list(self.lengths) if stage == "all" else [stage]
            scenes = [SyntheticDataset(self.lengths[s], self.size, self.scene_seed, s) for s in stages]
            self._readers[stage] = [reader for scene in scenes if (reader := self._prompted(scene))]
        return self._readers[stage]
