import pytest
import torch

from ivif.contracts.batch import Sample
from ivif.datamodules.datasets.appearance import AddClipViews, AddSaliency, VisibleJitter
from ivif.datamodules.datasets.transforms import Compose, RandomCrop


def random_sample(height: int = 30, width: int = 44) -> Sample:
    generator = torch.Generator().manual_seed(0)
    return {
        "infrared": torch.randint(0, 256, (1, height, width), dtype=torch.uint8, generator=generator),
        "visible": torch.randint(40, 200, (3, height, width), dtype=torch.uint8, generator=generator),
        "name": "random",
        "dataset": "test",
        "content_id": "0",
    }


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_jitter_changes_the_visible_image_alone() -> None:
    sample = random_sample()
    changed = VisibleJitter(0.2, 0.2, 0.2)(sample, seeded(1))
    assert changed["infrared"] is sample["infrared"]
    assert changed["visible"].dtype == torch.uint8
    assert not torch.equal(changed["visible"], sample["visible"])
    assert torch.equal(sample["visible"], random_sample()["visible"])


def test_jitter_without_strength_changes_nothing() -> None:
    sample = random_sample()
    still = VisibleJitter(0.0, 0.0, 0.0)
    assert torch.equal(still(sample, seeded())["visible"], sample["visible"])
    sample["visible"] = sample["visible"].float() / 255
    torch.testing.assert_close(still(sample, seeded())["visible"], sample["visible"])


def test_grey_images_stay_grey() -> None:
    sample = random_sample()
    sample["visible"] = sample["visible"][:1].expand(3, -1, -1)
    visible = VisibleJitter(0.5, 0.5, 0.9)(sample, seeded())["visible"].int()
    assert (visible[0] - visible[2]).abs().max() <= 1


def test_each_part_of_the_jitter_does_what_it_says() -> None:
    sample = random_sample()
    sample["visible"] = sample["visible"].float() / 255
    image = sample["visible"]
    brightness, contrast, saturation = (0.8 + 0.4 * torch.rand(3, generator=seeded())).tolist()
    luma = 0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2]
    torch.testing.assert_close(VisibleJitter(0.2, 0, 0)(sample, seeded())["visible"], image * brightness)
    expected = luma.mean() + contrast * (image - luma.mean())
    torch.testing.assert_close(VisibleJitter(0, 0.2, 0)(sample, seeded())["visible"], expected)
    expected = luma + saturation * (image - luma)
    torch.testing.assert_close(VisibleJitter(0, 0, 0.2)(sample, seeded())["visible"], expected.clamp(0, 1))


def test_strengths_are_checked() -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        VisibleJitter(1.5, 0, 0)


def test_clip_views_show_the_whole_frame_before_the_crop() -> None:
    sample = random_sample()
    sample["visible"][:, :, :22] = 250
    sample["visible"][:, :, 22:] = 10
    cropped = Compose([AddClipViews(16), RandomCrop(8)])(sample, seeded())
    assert cropped["visible"].shape == (3, 8, 8)
    assert cropped["clip_view_infrared"].shape == (1, 16, 16)
    assert cropped["clip_view_infrared"].dtype == torch.uint8
    view = cropped["clip_view_visible"]
    assert view.shape == (3, 16, 16)
    assert view[:, :, :6].float().mean() == pytest.approx(250, abs=2)
    assert view[:, :, 10:].float().mean() == pytest.approx(10, abs=2)
    assert view.is_contiguous()


def test_float_views_stay_in_range() -> None:
    sample = random_sample()
    sample["infrared"] = (sample["infrared"] > 128).float()
    view = AddClipViews(60)(sample, seeded())["clip_view_infrared"]
    assert 0 <= view.min() <= view.max() <= 1


def test_saliency_is_of_the_whole_frame_and_moves_with_the_pair() -> None:
    sample = random_sample()
    whole = AddSaliency()(sample, seeded())["saliency"]
    assert whole.shape == (2, 30, 44)
    assert whole.dtype == torch.float32
    row, column = 7, 9
    levels = sample["infrared"].double()
    expected = (levels - levels[0, row, column]).abs().mean() / 255
    assert whole[0, row, column].item() == pytest.approx(expected.item(), abs=1e-5)
    red, green, blue = sample["visible"].double()
    luma = (0.299 * red + 0.587 * green + 0.114 * blue).round()
    assert whole[1, row, column].item() == pytest.approx((luma - luma[row, column]).abs().mean().item() / 255, abs=1e-4)
    cut = Compose([AddSaliency(), RandomCrop(12)])(sample, seeded(3))
    position = RandomCrop(12)({**sample, "mask": torch.arange(30 * 44).view(1, 30, 44)}, seeded(3))["mask"]
    assert torch.equal(cut["saliency"].flatten(1), whole.flatten(1)[:, position.flatten()])
    assert "saliency" not in sample


def test_saliency_of_float_planes_is_that_of_bytes() -> None:
    sample = random_sample()
    floats: Sample = {**sample, "infrared": sample["infrared"] / 255, "visible": sample["visible"] / 255}
    expected = AddSaliency()(sample, seeded())["saliency"]
    torch.testing.assert_close(AddSaliency()(floats, seeded())["saliency"], expected)
