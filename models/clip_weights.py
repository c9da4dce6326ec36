"""Where CLIP's weights lie: the search on disk, the check of known files, the download, the error that helps."""

import os
from pathlib import Path
from typing import Final, cast

from ivif.files.digests import file_digest
from ivif.files.downloads import DownloadError, PlaceError, shown_address
from ivif.files.errors import UserError
from ivif.files.places import home
from ivif.models.clip_config import ClipConfig
from ivif.models.clip_download import WEIGHTS_DIRECTORY_VARIABLE, Source, download, forbidden, hub_address

_SHA256_DIGITS: Final = 64
_HUB_FILES: Final = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


class ClipWeightsError(UserError, RuntimeError):
    """CLIP's weights are missing, damaged, or not what the configuration says; the message carries the remedy."""


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
        folder = repository.rpartition("/")[2]
        sources += [Source(f"{hub_address()}/{repository}/resolve/main/{f}", f"{folder}/{f}", "") for f in _HUB_FILES]
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

    Files with a published checksum are verified. A file that is nowhere is downloaded, unless the environment forbids
    that.

    Args:
        config: Architecture and tag, or a file.
        remedy: For the error message: how a user of this command says where the file lies; default: CLIP's options.

    Raises:
        ClipWeightsError: If there is no file and none can be had, or its checksum is wrong; names the folders searched
            and the remedies.
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
    if found := _search(sources) or _search_hub_cache(config.architecture, tag):
        return found
    if reason := forbidden():
        raise ClipWeightsError(_missing_message(config.architecture, tag, sources, reason, remedy))
    try:
        return download(sources, weight_directories()[0])
    except PlaceError as error:
        raise ClipWeightsError(str(error)) from error
    except DownloadError as error:
        raise ClipWeightsError(_missing_message(config.architecture, tag, sources, str(error), remedy)) from error


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
    """A file that another program has already put into the Hugging Face cache, which calls it after its sha256."""
    from huggingface_hub import try_to_load_from_cache
    from open_clip import get_pretrained_cfg

    repository = get_pretrained_cfg(architecture, tag)["hf_hub"].rpartition("/")[0]
    for name in _HUB_FILES if repository else ():
        found = try_to_load_from_cache(repository, name)
        if isinstance(found, str):
            blob = Path(found).resolve()
            if len(blob.name) == _SHA256_DIGITS:
                _verify(blob, blob.name, file_digest(blob))
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


def _missing_message(architecture: str, tag: str, sources: list[Source], reason: str, remedy: str | None) -> str:
    """What to do where a file is not there and cannot be fetched for this reason, which may have several lines."""
    files = "\n  ".join(
        f"{shown_address(s.url)}\n    -> FOLDER/{s.name}" + (f"  (sha256 {s.digest})" if s.digest else "")
        for s in sources
    )
    folders = "\n  ".join(str(directory) for directory in weight_directories())
    remedy = remedy or (
        f"say where the file lies: --model.clip.pretrained {tag} --model.clip.weights FILE. "
        f"Only for trying things out: --model.clip compact (PromptFusion: --model.prompts.clip; "
        f"part of this repository, knows generated scenes), or, untrained, random-tiny"
    )
    why = "\n  ".join(reason.splitlines())
    return (
        f"The weights '{tag}' of {architecture} are not on this machine, and were not fetched:\n  {why}\n"
        f"Download ONE of\n  {files}\n"
        f"where FOLDER is ${WEIGHTS_DIRECTORY_VARIABLE} or any of\n  {folders}\n"
        f"(the Hugging Face cache is searched as well), or run this once where there is a network, "
        f"or {remedy}. See MODELS.md."
    )
