"""The structure of the code: small rooms, no import cycle, no hidden import, and the contracts in pyproject.toml."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MOST_FILES = 16
PACKAGES = ("headprune_core", "pages")


def modules() -> dict[str, Path]:
    """Every module of the engine and the app by its dotted name."""
    files = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    named = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in files}
    return {name.removesuffix(".__init__"): path for name, path in named.items()}


def rooms() -> dict[str, int]:
    """The number of files in each folder, `__init__.py` not counted."""
    counts: dict[str, int] = {}
    for package in (*PACKAGES, "tests"):
        for path in (ROOT / package).rglob("*"):
            if path.suffix in (".py", ".js", ".html", ".css") and path.name != "__init__.py":
                folder = str(path.parent.relative_to(ROOT))
                counts[folder] = counts.get(folder, 0) + 1
    return dict(sorted(counts.items()))


def imports(name: str, path: Path, known: set[str]) -> tuple[set[str], list[int]]:
    """The project's modules that a module imports, and the lines of those imports that stand inside a function."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found, late = set(), []
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) for part in ast.walk(node)}
    for node in ast.walk(tree):
        targets: list[str] = []
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] + "." if node.level else ""
            module = (base + (node.module or "")).strip(".")
            targets = [f"{module}.{alias.name}" if f"{module}.{alias.name}" in known else module for alias in node.names]
        project = [target for target in targets if target in known]
        found |= {target for target in project if target not in PACKAGES}  # the root re-exports; rooms never import it
        if project and id(node) in inside:
            late.append(node.lineno)
    return found - {name}, late


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected components of more than one module (Tarjan 1972)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            part = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(part) > 1:
                found.append(sorted(part))

    for node in graph:
        if node not in index:
            visit(node)
    return found


@pytest.fixture(scope="module")
def graph():
    known = modules()
    return {name: imports(name, path, set(known)) for name, path in known.items()}


@pytest.mark.parametrize("room", rooms())
def test_no_room_holds_more_than_sixteen_files(room):
    print(f"{room}: {rooms()[room]} files")
    assert rooms()[room] <= MOST_FILES


@pytest.mark.slow
def test_no_module_imports_in_a_circle(graph):
    found = cycles({name: targets for name, (targets, _) in graph.items()})
    print(f"{len(graph)} modules, {len(found)} import cycles")
    assert not found


def test_cycles_are_found_where_there_are_any():
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]
    assert cycles({"a": {"b"}, "b": {"c"}, "c": set()}) == []


@pytest.mark.slow
def test_no_import_of_the_engine_is_hidden_in_a_function(graph):
    hidden = {name: lines for name, (_, lines) in graph.items() if lines and name.startswith("headprune_core")}
    assert not hidden


def test_every_room_says_what_belongs_there():
    for folder in {path.parent for path in (ROOT / "headprune_core").rglob("*.py")} - {ROOT / "headprune_core"}:
        text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
        assert text, folder
        assert 2 <= text.count(".") <= 8, folder


def test_the_import_contracts_hold():
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


if __name__ == "__main__":
    for name, count in rooms().items():
        print(f"{count:3} {name}")
    graph_ = {name: imports(name, path, set(modules()))[0] for name, path in modules().items()}
    print(f"{len(graph_)} modules, {len(cycles(graph_))} import cycles")
