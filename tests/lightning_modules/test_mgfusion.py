"""The MGFusion task: what it encodes, what it loads, what it refuses."""

from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from ivif.commands.train.compatibility import provide
from ivif.contracts.batch import Batch, batch_to_float, collate
from ivif.datamodules.configuration import LoadingConfig, TransformConfig
from ivif.datamodules.synthetic import SyntheticDataModule
from ivif.lightning_modules.mgfusion import MGFusionTask, MGFusionWeights
from ivif.lightning_modules.non_finite import NonFiniteLossError
from ivif.lightning_modules.optimization import AdamConfig
from ivif.lightning_modules.weight_average import AverageConfig
from ivif.losses.preservation import PreservationWeights
from ivif.models.clip import ImageTextEncoder
from ivif.models.layers.frozen import CheckpointMismatchError
from ivif.models.mgfusion import MGFusionConfig
from ivif.testing import ProcessTests, TaskTests
from ivif.testing.batches import MadeData, make_batch, make_sample, quiet_trainer

TINY = MGFusionConfig(channels=8, blocks=1, heads=2)


@pytest.fixture(scope="module")
def task() -> MGFusionTask:
    torch.manual_seed(0)
    return MGFusionTask(clip="random-tiny", network=TINY)


class TestTask(TaskTests, ProcessTests):
    def task(self) -> MGFusionTask:
        torch.manual_seed(0)
        return MGFusionTask(clip="random-tiny", network=TINY)

    @pytest.mark.slow
    def test_two_processes_end_as_one_on_the_joined_batch(self, tmp_path: Path) -> None:
        super().test_two_processes_end_as_one_on_the_joined_batch(tmp_path)


def test_a_grey_pair_gives_a_grey_result(task: MGFusionTask) -> None:
    task.eval()
    with torch.no_grad():
        fused = (task.fuse(make_batch(count=1, grey=True))["fused"] * 255).round()
    assert torch.equal(fused[:, 0], fused[:, 1])
    assert torch.equal(fused[:, 0], fused[:, 2])


def test_rgb_mode_fuses_three_channels() -> None:
    task = MGFusionTask(clip="random-tiny", network=MGFusionConfig(channels=8, blocks=1, heads=2, out_channels=3))
    batch = make_batch()
    output = task.fuse(batch)
    assert output["fused"].shape == (2, 3, 24, 32)
    assert output["fused_luma"].shape == (2, 1, 24, 32)
    assert set(task.losses(output["fused"], batch)) == {"gradient", "intensity"}


def test_a_forward_encodes_each_image_once_in_one_call(task: MGFusionTask) -> None:
    assert task.encoder is not None
    seen: list[int] = []
    handle = task.encoder.clip.visual.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    task.fuse(make_batch(count=3))
    handle.remove()
    assert seen == [6]


def test_without_cii_and_cff_clip_is_not_even_built() -> None:
    network = MGFusionConfig(channels=8, blocks=1, heads=2, use_cii=False, use_cff=False)
    with patch("ivif.lightning_modules.mgfusion.build_image_text_encoder", side_effect=AssertionError("built")):
        task = MGFusionTask(clip="openai/ViT-B-32", network=network)
    assert task.encoder is None
    assert task.fuse(make_batch())["fused"].shape == (2, 3, 24, 32)


def test_full_views_are_encoded_once_and_then_cached(tmp_path: Path) -> None:
    task = MGFusionTask(clip="random-tiny", network=TINY, clip_view="full", feature_cache=tmp_path / "cache")
    samples = [make_sample(index) for index in range(2)]
    for sample in samples:
        sample["clip_view_infrared"] = torch.full((1, 64, 64), 90, dtype=torch.uint8)
        sample["clip_view_visible"] = torch.full((3, 64, 64), 160, dtype=torch.uint8)
    batch = batch_to_float(collate(samples))
    first = task.fuse(batch)["fused"]
    with patch.object(ImageTextEncoder, "encode_pair", side_effect=AssertionError("encoded again")):
        again = task.fuse(batch)["fused"]
        fresh = MGFusionTask(clip="random-tiny", network=TINY, clip_view="full", feature_cache=tmp_path / "cache")
        fresh.load_state_dict(task.state_dict())
        from_disk = fresh.fuse(batch)["fused"]
    assert torch.equal(first, again)
    assert torch.allclose(first, from_disk, atol=1e-6)


def _vectors(clip_size: int | None, cache: Path) -> list[Tensor]:
    """CLIP's two vectors of two scenes, as a run with `transforms.clip_size` gets them."""
    task = MGFusionTask(clip="random-tiny", network=TINY, clip_view="full", feature_cache=cache)
    transforms, loading = TransformConfig(crop=None, clip_size=clip_size), LoadingConfig(2, num_workers=0)
    data = SyntheticDataModule(evaluation_length=2, size=(64, 96), loading=loading, transforms=transforms)
    provide(task, data, None)
    seen: list[Tensor] = []
    hook = task.network.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs[2:4]))
    for batch in data.test_dataloader()[0]:
        task.fuse(batch_to_float(batch))
    hook.remove()
    return seen


def test_views_of_another_size_have_vectors_of_their_own(tmp_path: Path) -> None:
    """Whatever a run before has cached, a run's vectors are those of an empty cache."""
    for size in (16, None, 16, 48):
        cached, fresh = _vectors(size, tmp_path / "shared"), _vectors(size, tmp_path / f"fresh {size}")
        assert len(cached) == 4
        assert all(torch.equal(one, other) for one, other in zip(cached, fresh, strict=True))
    assert not torch.equal(cached[0], _vectors(None, tmp_path / "shared")[0])


def test_full_views_that_are_missing_are_asked_for(tmp_path: Path) -> None:
    task = MGFusionTask(clip="random-tiny", network=TINY, clip_view="full", feature_cache=tmp_path)
    with pytest.raises(ValueError, match=r"transforms\.clip_size to 64"):
        task.fuse(make_batch())


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    torch.manual_seed(0)
    task = MGFusionTask(clip="random-tiny", network=TINY)
    batch = make_batch()
    before = sum(task.losses(task.fuse_images(batch), batch).values())
    quiet_trainer(tmp_path, max_steps=60, limit_val_batches=0).fit(task, MadeData())
    after = sum(task.losses(task.fuse_images(batch), batch).values())
    assert after < 0.7 * before


def test_the_checkpoint_holds_no_frozen_weights_and_names_its_encoder(tmp_path: Path) -> None:
    task = MGFusionTask(clip="random-tiny", network=TINY)
    trainer = quiet_trainer(tmp_path, max_steps=1, limit_val_batches=0)
    trainer.fit(task, MadeData())
    trainer.save_checkpoint(tmp_path / "task.ckpt")
    stored = torch.load(tmp_path / "task.ckpt", weights_only=True)
    assert not [name for name in stored["state_dict"] if name.startswith("encoder.")]
    assert task.encoder is not None
    assert task.encoder.identity in str(
        {k: v for k, v in stored.items() if k not in ("state_dict", "optimizer_states")}
    )


def test_a_checkpoint_of_another_shape_is_refused(task: MGFusionTask) -> None:
    state = task.state_dict()
    lost = dict(list(state.items())[1:])
    with pytest.raises(CheckpointMismatchError, match=next(iter(state))):
        MGFusionTask(clip="random-tiny", network=TINY).load_state_dict(lost)


def test_a_loss_that_is_not_finite_names_term_and_pairs(tmp_path: Path) -> None:
    task = MGFusionTask(clip="random-tiny", network=TINY)
    with torch.no_grad():
        next(task.network.parameters()).fill_(float("nan"))
    with pytest.raises(NonFiniteLossError, match=r"gradient=nan.*made/0000, made/0001"):
        quiet_trainer(tmp_path, max_steps=1, limit_val_batches=0).fit(task, MadeData())


def test_gradient_clipping_is_the_tasks_own(tmp_path: Path) -> None:
    task = MGFusionTask(clip="random-tiny", network=TINY, optimizer=AdamConfig(gradient_clip=0.5))
    with patch.object(MGFusionTask, "clip_gradients") as clip:
        quiet_trainer(tmp_path, max_steps=1, limit_val_batches=0).fit(task, MadeData())
    assert clip.call_args.args[1] == 0.5


def test_each_term_has_the_weight_of_its_name() -> None:
    task = MGFusionTask(clip="random-tiny", network=TINY, loss=MGFusionWeights(gradient=2.0, intensity=3.0))
    found = task.batch_loss(make_batch())
    gradient, intensity = (float(found.terms[name]) for name in ("gradient", "intensity"))
    assert float(found.value) == pytest.approx(2.0 * gradient + 3.0 * intensity)


def test_preservation_terms_join_the_papers_two_only_where_asked_for() -> None:
    plain = MGFusionTask(clip="random-tiny", network=TINY)
    assert set(plain.loss_weights) == {"gradient", "intensity"}
    weights = MGFusionWeights(preservation=PreservationWeights(edges=0.5, similarity=2.0))
    task = MGFusionTask(clip="random-tiny", network=TINY, loss=weights)
    found = task.batch_loss(make_batch())
    assert set(found.terms) == {"gradient", "intensity", "edges", "similarity"}
    expected = found.terms["gradient"] + 0.2 * found.terms["intensity"]
    expected = expected + 0.5 * found.terms["edges"] + 2.0 * found.terms["similarity"]
    assert float(found.value) == pytest.approx(float(expected))


def test_an_average_follows_every_step_and_is_what_evaluation_sees(tmp_path: Path) -> None:
    torch.manual_seed(0)
    task = MGFusionTask(clip="random-tiny", network=TINY, average=AverageConfig(decay=0.5, ramp=1e-3))
    begun = {name: value.clone() for name, value in task.network.named_parameters()}
    quiet_trainer(tmp_path, max_steps=1, limit_val_batches=0).fit(task, MadeData())
    assert task.average is not None
    assert task.average.n_averaged == 1
    own = dict(task.network.named_parameters())
    for name, averaged in task.average.module.named_parameters():
        # the first update takes the weights as they are: the share that is kept grows from nothing
        torch.testing.assert_close(averaged, own[name])
        assert not averaged.requires_grad
    assert any(not torch.equal(own[name], begun[name]) for name in own)
    with torch.no_grad():
        for parameter in task.average.module.parameters():
            parameter.zero_()
    batch = make_batch()
    of_average, of_network = task.eval().fuse_images(batch), task.train().fuse_images(batch)
    assert not torch.allclose(of_average, of_network)
    torch.testing.assert_close(of_average, task.average.module(*_inputs(task, batch)))


def _inputs(task: MGFusionTask, batch: Batch) -> tuple[Tensor, ...]:
    assert task.encoder is not None
    return batch["infrared"], batch["visible"], *task.encoder.encode_pair(batch["infrared"], batch["visible"])


def test_a_checkpoint_with_an_average_is_rebuilt_from_itself(tmp_path: Path) -> None:
    weights = MGFusionWeights(preservation=PreservationWeights(information=0.25))
    task = MGFusionTask(clip="random-tiny", network=TINY, loss=weights, average=AverageConfig(decay=0.9))
    rebuilt = MGFusionTask(**task.hparams)
    rebuilt.load_state_dict(task.state_dict())
    assert rebuilt.loss_weights == {"gradient": 1.0, "intensity": 0.2, "information": 0.25}
    assert rebuilt.average is not None
    assert rebuilt.average.decay == 0.9


@pytest.mark.parametrize(("settings", "named"), [({"decay": 1.0}, "decay is 1.0"), ({"ramp": 0.0}, "ramp is 0.0")])
def test_averages_that_are_none_are_refused(settings: dict[str, float], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        AverageConfig(**settings)
