"""Define the command `s2vc-prep drop`."""

from pathlib import Path

import click

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache.cache_storage import CacheStorage
from s2vc.pipeline.cache.opening import open_storage
from s2vc.pipeline.cache.settings import read_settings
from s2vc.pipeline.console.completion import complete_variant
from s2vc.pipeline.console.options import cache_argument
from s2vc.pipeline.console.progress import size
from s2vc.pipeline.console.terminal import make_console, print_result
from s2vc.pipeline.storage import files
from s2vc.pipeline.variants import Variant


@click.command("drop")
@cache_argument
@click.option(
    "--variant",
    "names",
    shell_complete=complete_variant,
    multiple=True,
    metavar="NAME",
    help="A variant, rendered or begun; repeatable.",
)
@click.option("--failed-attempts", is_flag=True, help="What jobs that were killed have left half written.")
def drop_command(cache: Path | CacheStorage, names: tuple[str, ...], failed_attempts: bool) -> None:
    """Remove renderings from CACHE, which `render` makes again from the latents, or leftovers of killed jobs.

    Frames and latents are never removed.
    """
    from s2vc.pipeline.cache.links import refuse_links
    from s2vc.pipeline.cache.lock import locked
    from s2vc.pipeline.cache.remote_storage import RemoteStorage
    from s2vc.pipeline.cache.renderings import traced_variants

    if not names and not failed_attempts:
        raise UserError("say what to drop: --variant NAME, or --failed-attempts")
    console = make_console()
    storage = open_storage(cache)
    read_settings(storage)  # This raises UserError where there is no cache.
    if failed_attempts and isinstance(storage, RemoteStorage):
        raise UserError("--failed-attempts is for caches on disk; at a URL, the next job removes what a shard had left")
    with locked(storage):
        refuse_links(storage.layout)
        there = traced_variants(storage)
        dropped = [_variant(name, there, storage) for name in dict.fromkeys(names)]
        sizes = storage.sizes("motion") if dropped else {}
        for variant in dropped:
            storage.remove_variant(variant)
            print_result(console, f"{variant.name} is dropped: {size(sizes.get(f'motion/{variant.name}', 0))}")
        if failed_attempts:
            before = sum(storage.sizes().values())
            files.clear_attempts(storage.layout.root)
            print_result(console, f"leftovers of killed jobs: {size(before - sum(storage.sizes().values()))} removed")


def _variant(name: str, there: list[Variant], storage: CacheStorage) -> Variant:
    """Return the variant of this name. Raises UserError if the cache has nothing of it."""
    known = ", ".join(v.name for v in there) or "none"
    try:
        variant = Variant.parse(name)
    except ValueError as error:
        raise UserError(f"{error}; {storage} has {known}") from None
    if variant not in there:
        raise UserError(f"{storage} has no variant {variant.name}; it has {known}")
    return variant
