"""Memory that is free: that of the machine, and what the limits of the process and its container leave."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from headprune_core.memory import available_memory

ROOT = Path(__file__).parents[1]
CODE = """
import resource
from headprune_core.memory import available_memory
resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30, 3 * 2**30))
free = available_memory()
print(free)
assert len(bytearray(int(0.8 * free)))
try:
    bytearray(int(1.2 * free))
except MemoryError:
    print("no more")
"""


def test_without_limits_it_is_the_memory_of_the_machine(tmp_path):
    assert available_memory(tmp_path) == pytest.approx(psutil.virtual_memory().available, rel=0.2)


@pytest.mark.slow
def test_the_limit_of_the_process_is_what_it_can_really_allocate():
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, check=True)
    free, no_more = done.stdout.splitlines()
    assert 0 < int(free) < 3 * 2**30
    assert no_more == "no more"


@pytest.mark.parametrize(
    ("names", "freeable"),
    [
        (("memory.max", "memory.current", "memory.stat"), "inactive_file"),
        (
            ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
            "total_inactive_file",
        ),
    ],
)
def test_the_limit_of_a_container_counts_what_it_uses_without_cached_files(names, freeable, tmp_path):
    contents = ("100000000\n", "70000000\n", f"anon 5\n{freeable} 20000000\n")
    for name, content in zip(names, contents, strict=True):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert available_memory(tmp_path) == 50_000_000
    (tmp_path / names[0]).write_text("max\n")  # no limit
    assert available_memory(tmp_path) > 50_000_000
    (tmp_path / names[0]).write_text("60000000\n")  # above the limit already, apart from cached files
    assert available_memory(tmp_path) == 10_000_000
