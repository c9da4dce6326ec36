"""Pictures on disk: atomic PNG writing, captioned panels."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ivif.callbacks.boxes import draw_boxes
from ivif.contracts.batch import Boxes
from ivif.files.names import printable
from ivif.files.whole import whole_file
from ivif.image_ops.pictures import PNG, to_picture


def save_atomically(picture: Image.Image, path: Path) -> None:
    """Writes a PNG that is either complete or not there.

    Raises:
        OSError: If the folder cannot be written.
    """
    with whole_file(path, durable=False) as stream:
        picture.save(stream, **PNG)


def panel(
    images: Mapping[str, Tensor | Image.Image],
    height: int = 256,
    boxes: Mapping[str, Boxes] | None = None,
    class_names: Sequence[str] = (),
) -> Image.Image:
    """Pictures of one scene side by side, each under its caption.

    Args:
        images: Caption -> tensor (1 or 3, H, W) in [0, 1], or picture; all of one shape.
        height: Height of each picture in the panel, in pixels.
        boxes: Caption -> boxes to draw on that picture.
        class_names: Name of each label.
    """
    given = [image if isinstance(image, Image.Image) else to_picture(image) for image in images.values()]
    pictures = [picture.convert("RGB") for picture in given]
    width = max(1, round(pictures[0].width * height / pictures[0].height))
    caption, gap = 22, 4
    canvas = Image.new("RGB", (len(pictures) * (width + gap) - gap, height + caption), "white")
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=14)
    for column, (name, picture) in enumerate(zip(images, pictures, strict=True)):
        left = column * (width + gap)
        draw.text((left + 4, 2), printable(name), fill="black", font=font)
        shown = picture.resize((width, height), Image.Resampling.LANCZOS)
        if boxes and name in boxes:
            shown = draw_boxes(shown, boxes[name], class_names, height / picture.height)
        canvas.paste(shown, (left, caption))
    return canvas
