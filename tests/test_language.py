"""Every user-facing string keeps to the project's terms: none holds a term that CONTRIBUTING.md's word list replaces.

User-facing are all string constants of app.py, pages and headprune_core that are not docstrings: pages, figures, help of the
command line, errors, report and model card. The texts of the browser components and the Markdown documents are read too.
Terms that also have a correct use are not checked: whole, points, run, order, text, rate, recover, embedded, gone, stays,
shown, clear, chance, marks, pass, method, best.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
AVOIDED = {
    r"texts? to (score|test|compare|answer|learn)": "calibration, evaluation or training examples",
    r"\btest texts?\b|\bsplit to (score|test)\b": "calibration or evaluation split",
    r"\b(scored|measured|learned) on\b": "calibration, evaluation or training set",
    r"\bdata sets?\b": "dataset",
    r"\bswitched off\b|\bgated off\b": "masked",
    r"\bcut out\b|\btaken out\b|\bfor good\b|\bsurgery\b": "pruned, removed from the weights",
    r"\bthe whole model\b|\bthe model before\b": "unpruned model",
    r"\bsaved and loaded again\b": "reloaded",
    r"\bby hand\b|\bin any case\b": "always keep, always prune, manual override",
    r"\bheads? (will |would |to |are to )?(go|goes|stay|stays)\b|\bgoes first\b|\bgo first\b|\bfates?\b": "pruned, kept",
    r"\bas many from\b|\bas many heads\b|\bof as many\b|\bso many\b": "uniform sparsity, of the same size, N",
    r"\bworth\b|\bworth keeping\b": "importance, keep",
    r"\bunfocused\b|\bspread attention\b|\bhow spread\b": "diffuse attention",
    r"\bthe mix\b|\bmixed by\b|\bend of the mix\b": "HIES, combined",
    r"\bscored? again\b|\bscores? again\b|\bgrows? old\b": "rescored, stale",
    r"\bturned round\b": "inverse",
    r"\brandom (orders?|choices?)\b|\bbeside random\b": "random rankings, random masks, random baseline",
    r"\bguessing\b": "chance level",
    r"\bleav(e|ing) (each head |one |it )?out\b|\bleave one out\b": "leave-one-out ablation",
    r"\bright answers?\b|\banswer(s|ed)? right\b|\bgets? right\b|\bright only\b": "correct, accuracy",
    r"\bdecide(s|d)? alike\b|\banswers? alike\b|\bdecided on\b": "identical predictions, agreement",
    r"\bto the last bit\b": "bitwise identical",
    r"(\d|}) pts?\b": "pp",
    r"\d %": "no space before the percent sign",
    r"\b95% interval": "95% CI",
    r"\bdraws\b|\bdrawn anew\b|\bredrawn?s?\b|\banew\b": "resamples, bootstrap",
    r"\bmore than chance\b|\bthan chance (gives|would|could)\b": "significant",
    r"\bno better than chance\b|\bthan a random choice\b": "not significantly better than random",
    r"\bflatters?\b": "optimistically biased",
    r"\bsteady\b|\bsteadier\b|\bunsteady\b|\bhonest control\b": "stable, split-half reliability",
    r"\btrapezia\b": "trapezoidal rule",
    r"\bobeys?\b|\brules under\b|\bthese rules\b|\bthe rules\b": "constraints",
    r"\bgrouped queries\b|\bkey-value groups?\b": "grouped-query attention, KV group",
    r"\bwithout effect\b": "zeroed",
    r"\bruns? of the model\b|\bpass(es)? over the texts\b": "forward pass",
    r"\bproofs?\b|\bprove[sd]?\b": "equivalence check, verification",
    r"\bby arithmetic\b|\barithmetic\b": "FLOPs, theoretical speedup",
    r"\btimes as fast\b": "speedup",
    r"\btake (it )?home\b|\btakes? it with you\b|\btake the smaller\b": "export, download",
    r"\bcut short\b|\bbroken off\b|\bgoes on where\b": "cancelled, resume",
    r"\bbeforehand\b|\bwhichever\b|\blet go\b|\bforget it\b|\bwould feel\b": "plain English",
    r"\b(was|were) asked for\b|\bis asked for\b|\basked for\b": "requested, expected",
    r"\bcolour|\b(un)?labelled\b|\blicence|\bspecialis|\bcentred\b": "American spelling",
    r"\bgrey\b|\bneighbour|\bjudgement|\bbehaviour": "American spelling",
}


def python_files():
    return [*sorted((ROOT / "headprune_core").rglob("*.py")), *sorted((ROOT / "pages").rglob("*.py")), ROOT / "app.py"]


def documents():
    names = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "assets/embedded/README.md", "assets/embedded/card.md"]
    browser = [*(ROOT / "pages").rglob("*.js"), *(ROOT / "pages").rglob("*.html"), *(ROOT / "headprune_core").rglob("*.js")]
    return [ROOT / name for name in names] + sorted((ROOT / "assets/docs").glob("*.md")) + sorted(browser)


def strings(source: str):
    """(line, text) of every string constant that is no docstring; the parts of an f-string are joined by {}."""
    tree = ast.parse(source)
    skipped = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node):
            skipped.add(id(node.body[0].value))
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            skipped.update(id(part) for part in node.values)
            yield node.lineno, "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.lineno, node.value


def avoided(text: str) -> list[str]:
    prose = re.sub(r"`[^`]*`|https?://\S+", "", text)  # code and addresses are not prose
    return [f"{found[0]!r} (use {better})" for term, better in AVOIDED.items() if (found := re.search(term, prose, re.I))]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", python_files(), ids=relative)
def test_strings_use_the_terms_of_the_field(path):
    found = {line: avoided(text) for line, text in strings(path.read_text(encoding="utf-8")) if " " in text}
    wrong = [f"{relative(path)}:{line}: {', '.join(terms)}" for line, terms in found.items() if terms]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", documents(), ids=relative)
def test_documents_use_the_terms_of_the_field(path):
    found = {number: avoided(line) for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)}
    wrong = [f"{relative(path)}:{number}: {', '.join(terms)}" for number, terms in found.items() if terms]
    assert not wrong, "\n".join(wrong)


def test_every_term_is_found_where_it_stands():
    """The check itself: each pattern matches a text that holds one of its terms, and plain text passes."""
    examples = [
        "texts to score",
        "data sets",
        "cut out",
        "decided alike",
        "95 %",
        "random orders",
        "leave one out",
        "colour",
    ]
    assert all(avoided(text) for text in examples)
    assert not avoided("Calibration examples: 32. The 95% CI is 0.84 to 0.87; see `data sets`.")


def test_strings_are_read_from_fstrings_and_calls():
    source = '"""A docstring with texts to score."""\nst.button(f"Take {name} home", help="data sets")\n'
    assert {text for _, text in strings(source)} == {"Take {} home", "data sets"}
