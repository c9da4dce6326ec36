"""Videos of strangers: nothing but the file itself is read."""

from pathlib import Path

import pytest

from ivif.files.errors import UnreadableFileError
from ivif.files.videos import open_video
from tests.videos import colour_frames, write_video


@pytest.mark.parametrize("name", ["list.mp4", "list.m3u8", "list.mkv"])
def test_a_play_list_opens_nothing(name: str) -> None:
    other = write_video(Path("other.mkv").resolve(), colour_frames(3))
    lines = ("#EXTM3U", "#EXT-X-TARGETDURATION:9", "#EXTINF:9,", other.as_uri(), "#EXT-X-ENDLIST", "")
    Path(name).write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(UnreadableFileError, match="damaged, or no video"), open_video(Path(name)):
        pass
    Path(name).write_text(f"ffconcat version 1.0\nfile {other.name}\n", encoding="utf-8")
    with pytest.raises(UnreadableFileError, match="damaged, or no video"), open_video(Path(name)):
        pass


def test_a_name_is_no_address() -> None:
    video = write_video(Path("concat:a.mkv").resolve(), colour_frames(3))
    with open_video(video) as container:
        assert len(container.streams.video) == 1
