"""The command `cache`: shows the result cache, or removes all results from it."""

from headprune_core.result_cache import ResultCache

MIB = 2**20


def cache(options) -> tuple[dict[str, object], str]:
    """Show the folder, size and limit of the result cache, or clear it.

    The result cache holds what other commands and the app have computed, so that interrupted runs can resume.

    Args:
        options: parsed arguments.

    Returns:
        The JSON document and a table for the terminal.

    Raises:
        HeadPruneError: if results cannot be removed.
    """
    store = ResultCache.default()
    document = {"cleared": store.clear()} if options.clear else {}
    usage = store.usage()
    document |= usage._asdict() | {"folder": str(usage.folder)}
    lines = [f"{document['cleared']:,} results were removed."] if options.clear else []
    return document, "\n".join(
        [
            *lines,
            f"folder   {usage.folder}",
            f"results  {usage.n_results:,}",
            f"size     {usage.n_bytes / MIB:,.1f} MiB",
            f"limit    {usage.max_bytes / MIB:,.0f} MiB; beyond it, the oldest results are removed",
        ]
    )
