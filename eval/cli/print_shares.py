"""How a share of the frame is printed, the same for what moves and for people."""

import numpy as np
from rich.console import Console
from rich.table import Table

from s2vc.pipeline.console.progress import count


def print_shares(what: str, shares: np.ndarray, per_class: dict[str, float], title: str, console: Console) -> None:
    """Print the mean of each class, and that of all videos."""
    table = Table("class", what, title=title, title_justify="left")
    for name, share in per_class.items():
        table.add_row(name, f"{share:.1%}")
    table.add_section()
    table.add_row(f"all, {count(len(shares), 'video')}", f"{shares.mean():.1%}", style="bold")
    console.print(table)
