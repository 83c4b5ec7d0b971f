"""Memory that this process can still allocate, within the limits of the process and of its container."""

from pathlib import Path

import psutil

try:
    import resource
except ImportError:  # Windows has no such limits
    resource = None

# Limit and use of a container, in version 2 and version 1 of control groups.
CONTAINER_FILES = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
)


def available_memory(control_groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the memory that this process can still allocate, in bytes.

    Args:
        control_groups: folder of the control group files of a container.
    """
    free = [psutil.virtual_memory().available]
    if resource is not None:
        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            free.append(limit - psutil.Process().memory_info().vms)
    for limit_file, use_file, statistics_file, freeable in CONTAINER_FILES:
        try:
            limit, use = (int((control_groups / name).read_text()) for name in (limit_file, use_file))
            statistics = dict(line.split() for line in (control_groups / statistics_file).read_text().splitlines())
            free.append(limit - use + int(statistics.get(freeable, 0)))  # cached files leave the memory when it is needed
        except (OSError, ValueError):  # no such version, or no limit
            continue
    return max(0, min(free))
