"""Where CLIP's weights lie: the search on disk, the check of known files, the opt-in download, the error that helps.

Without a network open_clip's own download retries for about 46 seconds, so nothing here goes out unless
`IVIF_DOWNLOAD=1` is set.
"""

import hashlib
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, cast

from ivif.files.digests import file_digest
from ivif.files.errors import UserError
from ivif.files.places import home
from ivif.files.whole import whole_file
from ivif.models.clip_config import ClipConfig

WEIGHTS_DIRECTORY_VARIABLE: Final = "IVIF_WEIGHTS_DIR"
DOWNLOAD_VARIABLE: Final = "IVIF_DOWNLOAD"
CONNECT_TIMEOUT: Final = 5.0
"""Seconds without an answer after which a download is given up; there is one attempt per source."""

_HUB_FILES: Final = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


class ClipWeightsError(UserError, RuntimeError):
    """CLIP's weights are missing, damaged, or not what the configuration says; the message carries the remedy."""


class Source(NamedTuple):
    """One official place of a weights file.

    Args:
        url: Address for a browser or a download.
        name: Path relative to a weights folder, under which the file is looked up.
        digest: Published start of its sha256 in hex, or empty where none is published.
    """

    url: str
    name: str
    digest: str


def sources_of(architecture: str, tag: str) -> list[Source]:
    """The official files of one open_clip architecture and tag, those with a published checksum first.

    Raises:
        ClipWeightsError: If open_clip does not know the pair; lists the architecture's tags.
    """
    from open_clip import get_pretrained_cfg, list_pretrained_tags_by_model

    entry = get_pretrained_cfg(architecture, tag)
    if not entry:
        tags = ", ".join(list_pretrained_tags_by_model(architecture)) or "none"
        raise ClipWeightsError(
            f"open_clip has no weights '{tag}' for '{architecture}' (its tags: {tags}). Choose one of them as "
            f"`pretrained`, give your own file as `weights`, or ask for random-{architecture}."
        )
    sources = [Source(entry["url"], Path(entry["url"]).name, _published_digest(entry["url"]))] if entry["url"] else []
    repository = entry["hf_hub"].rpartition("/")[0]
    if repository:
        endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
        folder = repository.rpartition("/")[2]
        sources += [Source(f"{endpoint}/{repository}/resolve/main/{f}", f"{folder}/{f}", "") for f in _HUB_FILES]
    return sources


def _published_digest(url: str) -> str:
    """OpenAI's addresses carry the sha256 as a folder, open_clip's first releases its start in the file's name."""
    if "openaipublic" in url:
        return url.split("/")[-2]
    return Path(url).stem.rpartition("-")[2] if "mlfoundations" in url else ""


def weight_directories() -> list[Path]:
    """Folders that are searched, in this order; the first is where a download goes."""
    configured = os.environ.get(WEIGHTS_DIRECTORY_VARIABLE)
    own = [Path(configured).expanduser()] if configured else []
    return [*own, home() / ".cache" / "weights", Path.home() / ".cache" / "clip"]


def locate_weights(config: ClipConfig, remedy: str | None = None) -> Path:
    """The weights file of a configuration: its own `weights`, else the tag's file from the known folders.

    Files with a published checksum are verified. Downloads only under `IVIF_DOWNLOAD=1`.

    Args:
        config: Architecture and tag, or a file.
        remedy: For the error message: how a user of this command says where the file lies; default: CLIP's options.

    Raises:
        ClipWeightsError: If there is no file, or its checksum is wrong; names the folders searched and the remedies.
    """
    if config.weights is not None:
        path = Path(config.weights).expanduser()
        if not path.is_file():
            raise ClipWeightsError(
                f"Weights '{config.weights}' are no file (looked for {path.absolute()}). See MODELS.md."
            )
        return path
    tag = cast("str", config.tag)
    sources = sources_of(config.architecture, tag)
    found = _search(sources) or _search_hub_cache(config.architecture, tag)
    if found is None and os.environ.get(DOWNLOAD_VARIABLE) == "1":
        found = download(sources, weight_directories()[0])
    if found is None:
        raise ClipWeightsError(_missing_message(config.architecture, tag, sources, remedy))
    return found


def _search(sources: list[Source]) -> Path | None:
    for directory in weight_directories():
        for source in sources:
            path = directory / source.name
            if path.is_file():
                if source.digest:
                    _verify(path, source.digest, file_digest(path))
                return path
    return None


def _search_hub_cache(architecture: str, tag: str) -> Path | None:
    """A file that another program has already put into the Hugging Face cache; never goes out."""
    from huggingface_hub import try_to_load_from_cache
    from open_clip import get_pretrained_cfg

    repository = get_pretrained_cfg(architecture, tag)["hf_hub"].rpartition("/")[0]
    for name in _HUB_FILES if repository else ():
        found = try_to_load_from_cache(repository, name)
        if isinstance(found, str):
            return Path(found)
    return None


def _verify(path: Path, published: str, actual: str) -> None:
    if not actual.startswith(published):
        raise ClipWeightsError(
            f"{path} has sha256 {actual[:16]}..., but the published file has {published[:16]}...: an incomplete "
            f"download or another file. Delete it and fetch it again (see MODELS.md), or point `weights` at the file "
            f"you mean."
        )


def identify_file(path: Path) -> tuple[str, str]:
    """Which architecture and tag a bare file is, from its sha256 (OpenAI's archives) or its hub folder's name.

    Raises:
        ClipWeightsError: If neither tells; asks for a mapping, because a wrong activation would go unnoticed.
    """
    from open_clip import get_pretrained_cfg, list_pretrained

    if not path.is_file():
        raise ClipWeightsError(f"CLIP weights '{path}' are no file (looked for {path.absolute()}). See MODELS.md.")
    digest = file_digest(path)
    for architecture, tag in list_pretrained():
        entry = get_pretrained_cfg(architecture, tag)
        published = _published_digest(entry["url"])
        repository = entry["hf_hub"].rpartition("/")[0].rpartition("/")[2]
        by_name = repository and any(p.rpartition("--")[2] == repository for p in (*path.parent.parts, path.stem))
        if by_name or (published and digest.startswith(published)):
            return architecture, tag
    raise ClipWeightsError(
        f"{path} is none of the published CLIP files, so its architecture and activation are unknown. Say what it is: "
        f"{{architecture: ViT-B-32, pretrained: openai, weights: {path}}} (or quick_gelu: true|false for pretrained)."
    )


def download(sources: list[Source], directory: Path) -> Path:
    """Fetches the first source that answers into `directory`, atomically and verified.

    Raises:
        ClipWeightsError: If no source answers within `CONNECT_TIMEOUT` seconds, or a file arrives incomplete.
    """
    failures = []
    for source in sources:
        target = directory / source.name
        try:
            with whole_file(target) as stream:
                _verify(target, source.digest, _fetch(source.url, stream))
            return target
        except (OSError, ClipWeightsError) as error:
            failures.append(f"{source.url}: {error}")
    raise ClipWeightsError("No download of CLIP weights succeeded:\n  " + "\n  ".join(failures) + "\nSee MODELS.md.")


def _fetch(url: str, target: BinaryIO) -> str:
    """Copies what lies at an address, and returns its sha256 in hex."""
    from rich.console import Console
    from rich.progress import wrap_file

    if not url.lower().startswith(("http://", "https://")):  # HF_ENDPOINT may name anything
        raise ClipWeightsError("only http and https addresses are fetched. Correct HF_ENDPOINT.")
    answer = urllib.request.urlopen(url, timeout=CONNECT_TIMEOUT)  # noqa: S310 - a web address, see above
    digest = hashlib.sha256()
    with answer as response:
        total = int(response.headers.get("Content-Length") or 0)
        with wrap_file(response, total, description=Path(url).stem, console=Console(stderr=True)) as source:
            while block := source.read(1 << 20):
                target.write(block)
                digest.update(block)
    if total and target.tell() != total:
        raise urllib.error.ContentTooShortError(f"{target.tell()} of {total} bytes arrived", cast("Any", None))
    return digest.hexdigest()


def _missing_message(architecture: str, tag: str, sources: list[Source], remedy: str | None) -> str:
    files = "\n  ".join(
        f"{s.url}\n    -> FOLDER/{s.name}" + (f"  (sha256 {s.digest})" if s.digest else "") for s in sources
    )
    folders = "\n  ".join(str(directory) for directory in weight_directories())
    remedy = remedy or (
        f"say where the file lies: --model.clip.pretrained {tag} --model.clip.weights FILE. "
        f"Only for trying things out: --model.clip compact (PromptFusion: --model.prompts.clip; "
        f"part of this repository, knows generated scenes), or, untrained, random-tiny"
    )
    return (
        f"The weights '{tag}' of {architecture} are not on this machine. Download ONE of\n  {files}\n"
        f"where FOLDER is ${WEIGHTS_DIRECTORY_VARIABLE} or any of\n  {folders}\n"
        f"(the Hugging Face cache is searched as well), or set {DOWNLOAD_VARIABLE}=1 to let this program fetch it, "
        f"or {remedy}. See MODELS.md."
    )
