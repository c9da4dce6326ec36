"""`ivif data manifests`: are the committed name lists what their rules give? Or write them anew."""

from rich.console import Console

from ivif.datamodules.manifest_expansion import outdated, write_committed


def run(write: bool = False) -> int:
    """Compares the committed lists with their rules, or writes them.

    Args:
        write: Write instead of comparing.

    Returns:
        0 if the lists are what the rules give, else 1.
    """
    console = Console()
    if write:
        console.print(f"Written: {', '.join(write_committed())}.")
        return 0
    if old := outdated():
        console.print(f"Lists differ from their rule: {', '.join(old)}. Write them with --write, or restore the files.")
        return 1
    console.print("Every list is what its rule gives.")
    return 0
