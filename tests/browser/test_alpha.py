"""The live alpha grid in a browser: its masks, its frame rate, and everything that mouse, touch and keyboard can do.

The grid alone, over random scores (`apps/grid_app.py`); the page that holds it is met in `test_app.py`.
"""

import json
import re

import numpy as np
import pytest
from playwright.sync_api import expect

import headprune_core as hp
from pages.parts.alpha_grid import SCRIPT
from tests.browser.conftest import ROOT, new_tab, opened_tab, running_server
from tests.browser.page_actions import at_rest, box_of

SHAPE = 6, 12


@pytest.fixture(scope="module")
def grids(browser):
    with running_server("tests/browser/apps/grid_app.py") as address:
        yield address


def open_grid(tab, grids, query=""):
    tab.goto(grids + query)
    expect(tab.locator(".known")).to_have_count(1)
    expect(tab.locator(".lab .status")).to_contain_text("heads pruned")
    at_rest(tab)


def known(tab) -> dict:
    """What Python knows: setting, edits, mask, and how often it was told."""
    return json.loads(tab.locator(".known").inner_text())


def wait_until_told(tab, times: int) -> dict:
    expect(tab.locator(".known")).to_contain_text(f'"told": {times},')
    return known(tab)


def shown(tab) -> list[int]:
    return [int(bit) for bit in tab.locator(".lab").get_attribute("data-mask")]


def slider(tab, name):
    return tab.locator(f".lab input.{name}")


def cell(tab, row, head):
    return tab.locator(".lab .grid .cell").nth(row * SHAPE[1] + head)


def button(tab, name):
    return tab.locator(".lab").get_by_role("button", name=name, exact=True)


# Masks


def plain_mask(scores, sparsity, least, protect, remove, groups, uniform, parameters):
    """Which heads stay, by a loop over units, written from the rules alone; None where they cannot be met together."""
    rows, heads = scores.shape
    units: dict[tuple, list[tuple[int, int]]] = {}
    for row in range(rows):
        for head in range(heads):
            units.setdefault((row, groups[row][head] if groups else head), []).append((row, head))
    price = {unit: sum(parameters[r][h] if parameters else 1 for r, h in members) for unit, members in units.items()}
    held = {unit: any(protect[r][h] for r, h in members) for unit, members in units.items()}
    gone = [unit for unit, members in units.items() if any(remove[r][h] for r, h in members)]
    if any(held[unit] for unit in gone):
        return None
    left = [heads - sum(len(units[unit]) for unit in gone if unit[0] == row) for row in range(rows)]
    if min(left) < least:
        return None
    order = sorted(units, key=lambda unit: (sum(float(scores[at]) for at in units[unit]) / len(units[unit]), units[unit][0]))
    for lane in range(rows) if uniform else [None]:
        mine = [unit for unit in order if lane is None or unit[0] == lane]
        total = sum(map(sum, parameters)) if parameters else 0
        budget = sparsity * total + 1e-6 if parameters else round(sparsity * (heads if uniform else rows * heads))
        spent = sum(price[unit] for unit in mine if unit in gone)
        for unit in mine:
            if unit in gone or held[unit] or left[unit[0]] - len(units[unit]) < least:
                continue
            if spent + price[unit] > budget:
                break
            gone.append(unit)
            spent += price[unit]
            left[unit[0]] -= len(units[unit])
        else:
            if any(unit not in gone and price[unit] <= budget - spent for unit in mine):
                return None
    return [[int(not any((r, h) in units[unit] for unit in gone)) for h in range(heads)] for r in range(rows)]


def random_setting(generator):
    rows, heads = (int(n) for n in generator.integers(1, 9, 2))
    # few distinct values, so that ties are common
    importance, entropy = (np.round(generator.random((rows, heads)), 1) for _ in range(2))
    alpha, sparsity = (float(value) for value in np.round(generator.random(2), 2))
    rare = generator.random() * 0.3
    kind = generator.integers(3)
    groups = (np.arange(heads) // generator.integers(1, 4) * np.ones((rows, 1), int)).tolist()
    rules = {
        "least": int(generator.integers(0, 2) * generator.integers(0, 3)) if heads > 2 else 0,
        "protect": (generator.random((rows, heads)) < rare * generator.integers(2)).tolist(),
        "remove": (generator.random((rows, heads)) < rare * generator.integers(2) / 2).tolist(),
        "groups": groups if generator.integers(2) else None,
        "uniform": bool(kind == 1),
        "parameters": (np.ones((rows, heads), int) * generator.integers(1, 50, (rows, 1))).tolist() if kind == 2 else None,
    }
    return importance, entropy, alpha, sparsity, ["low", "high"][generator.integers(2)], rules


def test_200_masks_of_the_browser_are_pythons_to_the_head(tab, grids):
    tab.goto(grids + "_stcore/health")
    source = (ROOT / "pages/parts/alpha_grid/masks.js").read_text()
    generator = np.random.default_rng(0)
    asked, expected = [], []
    for _ in range(200):
        importance, entropy, alpha, sparsity, keep, rules = random_setting(generator)
        scores = alpha * importance + (1.0 - alpha) * (entropy if keep == "high" else 1.0 - entropy)
        expected.append(plain_mask(scores, sparsity, **rules))
        theirs = {"min_heads_per_layer" if name == "least" else name: value for name, value in rules.items()}
        try:
            mask = hp.prune_mask(scores, sparsity, **theirs).astype(int).tolist()
        except hp.HeadPruneError:
            mask = None
        assert mask == expected[-1]
        asked.append([importance.tolist(), entropy.tolist(), alpha, sparsity, keep, rules])
    there = tab.evaluate(
        """async ([source, asked]) => {
            const {hies, planOf, pruneMask} = await import("data:text/javascript," + encodeURIComponent(source));
            return asked.map(([importance, entropy, alpha, sparsity, keep, {least, uniform, ...rules}]) => {
                const [rows, heads] = [importance.length, importance[0].length];
                const flat = Object.fromEntries(Object.entries(rules).map(([name, value]) => [name, value?.flat()]));
                const plan = planOf({rows, heads, min: least, uniform, ...flat});
                try {
                    const mask = pruneMask(hies(importance.flat(), entropy.flat(), alpha, keep), sparsity, plan);
                    return importance.map((_, row) => Array.from(mask.slice(row * heads, (row + 1) * heads)));
                } catch { return null; }
            });
        }""",
        [source, asked],
    )
    assert there == expected
    assert 20 < expected.count(None) < 100  # of both kinds there are enough


def test_what_cannot_be_met_is_told_and_does_not_break_the_grid(tab, grids):
    open_grid(tab, grids, "?min_heads=6")
    before = shown(tab)
    slider(tab, "sparsity").focus()
    tab.keyboard.press("End")
    status = tab.locator(".lab .status")
    expect(status).to_contain_text(
        "The target is 72 pruned heads, but only 36 can be pruned because every layer keeps at least 6."
    )
    assert shown(tab) == before
    tab.keyboard.press("Home")
    expect(status).to_contain_text("0 of 72 heads pruned")


# Dragging


def test_1024_heads_are_redrawn_30_times_a_second_and_python_hears_nothing_before_the_end(tab, grids):
    sent = []
    tab.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(frame)))
    open_grid(tab, grids, "?rows=32&heads=32")
    box = box_of(slider(tab, "alpha"))
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.mouse.down()
    sent.clear()
    metrics = tab.context.new_cdp_session(tab)
    metrics.send("Performance.enable", {"timeDomain": "threadTicks"})
    before = main_thread(metrics)
    run = slider(tab, "alpha").evaluate(DRAG)
    seconds = main_thread(metrics) - before
    assert run["draws"] > 3
    assert run["draws"] <= run["frames"] + 1  # however often the finger reports, a frame is drawn once
    assert seconds / run["draws"] < 1 / 30  # processor time of everything that the page does: the same on a busy machine
    assert run["masks"] > run["draws"] / 3
    tab.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + box["height"] / 2)
    assert sent == []
    tab.mouse.up()
    assert wait_until_told(tab, 1)["alpha"] == pytest.approx(0.8, abs=0.02)
    assert shown(tab) == known(tab)["mask"]


def main_thread(metrics) -> float:
    """Processor time (s) of the page's main thread."""
    found = {one["name"]: one["value"] for one in metrics.send("Performance.getMetrics")["metrics"]}
    return found["ThreadTime"]


DRAG = """input => new Promise(done => {
    const lab = input.closest(".lab"), masks = new Set(), start = performance.now();
    let draws = 0, frames = 0, running = true;
    const observer = new MutationObserver(() => { draws++; masks.add(lab.dataset.mask); });
    observer.observe(lab, {attributes: true, attributeFilter: ["data-mask"]});
    const frame = () => { frames++; if (running) requestAnimationFrame(frame); };
    requestAnimationFrame(frame);
    const timer = setInterval(() => {
        const seconds = (performance.now() - start) / 1000;
        if (seconds > 1) {
            clearInterval(timer);
            observer.disconnect();
            running = false;
            done({draws, frames, masks: masks.size, seconds});
        }
        input.value = 0.1 + 0.8 * Math.abs(2 * seconds - 1);
        input.dispatchEvent(new Event("input", {bubbles: true}));
    }, 4);
})"""


def test_a_mouse_drags_alpha_and_the_answer_of_the_server_changes_nothing(tab, grids):
    open_grid(tab, grids)
    box = box_of(slider(tab, "alpha"))
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.mouse.down()
    seen = set()
    for share in (0.6, 0.7, 0.8, 0.9):
        tab.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
        tab.wait_for_function(
            "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"
        )
        seen.add(tuple(shown(tab)))
    assert len(seen) > 2
    assert known(tab)["told"] == 0
    tab.mouse.up()
    before = shown(tab)
    assert wait_until_told(tab, 1)["mask"] == before == shown(tab)


def test_a_hasty_hand_does_not_break_the_connection(tab, grids):
    """Settings that come back before their answers are here: once the cache of messages lost one, and all stood still."""
    open_grid(tab, grids)
    slider(tab, "alpha").evaluate(HASTE)
    slider(tab, "alpha").focus()
    tab.keyboard.press("End")
    expect(tab.locator(".known")).to_contain_text('"alpha": 1.0,')
    assert known(tab)["mask"] == shown(tab)


HASTE = """async input => {
    for (let round = 0; round < 20; round++) {
        for (const alpha of [0.6, 0.7, 0.8, 0.9, 0.5]) {
            input.value = alpha;
            for (const kind of ["input", "change"]) input.dispatchEvent(new Event(kind, {bubbles: true}));
            await new Promise(done => setTimeout(done, 15));
        }
        await new Promise(done => setTimeout(done, 300));
    }
}"""


def test_answers_that_come_late_leave_what_was_set_since_then(tab, grids):
    """Two settings in turn, back to the first, and on, while the answers to those before are still under way."""
    open_grid(tab, grids)
    shown_after = tab.evaluate(LATE, [SCRIPT, (ROOT / "pages/parts/alpha_grid/grid.html").read_text()])
    assert shown_after == ["0.6", "0.8", "0.8", "0.8", "0.3"]


LATE = """async ([script, html]) => {
    const grid = (await import("data:text/javascript," + encodeURIComponent(script))).default;
    const parentElement = Object.assign(document.createElement("div"), {innerHTML: html});
    document.body.append(parentElement);
    const input = parentElement.querySelector("input.alpha"), sent = [], shown = [];
    const setStateValue = (_, state) => sent.push(state);
    const given = {importance: [[0.1, 0.9]], entropy: [[0.5, 0.2]], labels: ["0"], sparsity: 0.5, keep: "low", path: null};
    const say = (alpha, answers) => grid({parentElement, data: {...given, alpha, answers}, setStateValue});
    const set = alpha => {
        input.value = alpha;
        for (const kind of ["input", "change"]) input.dispatchEvent(new Event(kind, {bubbles: true}));
    };
    const answer = place => { say(sent[place].alpha, sent[place].number); shown.push(input.value); };
    say(0.5, 0);
    for (const alpha of [0.6, 0.7, 0.6]) set(alpha);
    answer(0);
    set(0.8);
    for (const place of [1, 2, 3]) answer(place);
    say(0.3, sent[3].number); // Python has another mind
    return [...shown, input.value];
}"""


# The path


def path_here(sparsity=0.3, keep="low"):
    his, ae = np.random.default_rng(0).random((2, *SHAPE))
    return hp.alpha_path(his, ae, sparsity, entropy_direction=keep)


def test_the_strip_shows_every_interval_and_a_click_goes_there(tab, grids):
    open_grid(tab, grids)
    path = path_here()
    expect(tab.locator(".strip-count")).to_contain_text(f"{len(path)} intervals")
    assert tab.locator(".fields .odd").get_attribute("d").count("M") == len(path) // 2
    widest = max(range(len(path)), key=lambda k: path[k].high - path[k].low)
    low, high = path[widest].low, path[widest].high
    fields = tab.locator(".fields")
    box = box_of(fields)
    at = {"x": box["width"] * (0.8 * low + 0.2 * high), "y": 10}
    fields.hover(position=at)
    differ = int((path[widest].mask != path[-1].mask).sum())
    expect(tab.locator(".strip-words")).to_have_text(
        f"alpha {low:.3f} to {high:.3f}: {f'{differ} heads differ from' if differ else 'same mask as'} HIS only"
    )
    fields.click(position=at)
    now = wait_until_told(tab, 1)
    assert low + (high - low) / 4 <= now["alpha"] <= high - (high - low) / 4
    assert now["mask"] == path[widest].mask.astype(int).ravel().tolist() == shown(tab)


def test_snapping_stops_once_at_every_mask(tab, grids):
    open_grid(tab, grids)
    path = path_here()
    tab.get_by_role("switch", name="Snap to interval centers").check()
    alpha = slider(tab, "alpha")
    alpha.focus()
    tab.keyboard.press("Home")
    seen = [shown(tab)]
    for _ in path[1:]:
        tab.keyboard.press("ArrowRight")
        seen.append(shown(tab))
    assert seen == [part.mask.astype(int).ravel().tolist() for part in path]
    tab.keyboard.press("ArrowRight")  # at the end there is nothing further
    assert shown(tab) == seen[-1]
    button(tab, "previous mask along alpha").click()
    assert shown(tab) == seen[-2]


def test_while_sparsity_moves_the_strip_says_that_it_is_old(tab, grids):
    open_grid(tab, grids)
    box = box_of(slider(tab, "sparsity"))
    tab.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + box["height"] / 2)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + box["height"] / 2)
    expect(tab.locator(".strip-words")).to_have_text("updates on release")
    tab.mouse.up()
    now = wait_until_told(tab, 1)
    expect(tab.locator(".strip-count")).to_contain_text(f"{len(path_here(now['sparsity']))} intervals")
    expect(tab.locator(".strip-words")).to_contain_text("HIS only")


def test_heads_about_to_flip_are_marked_and_say_where(tab, grids):
    open_grid(tab, grids)
    his, ae = np.random.default_rng(0).random((2, *SHAPE))
    fine = np.linspace(0.0, 1.0, 2001)
    masks = np.stack([hp.prune_mask(hp.hies(his, ae, alpha), 0.3).ravel() for alpha in fine])
    here = masks[1000]
    flips = (masks[np.abs(fine - 0.5) < 0.05] != here).any(0)
    marked = tab.locator(".lab .grid").evaluate("grid => [...grid.querySelectorAll('.cell')].map(c => c.matches('.flips'))")
    assert marked == flips.tolist()
    head = int(np.flatnonzero(flips & here)[0])
    where = fine[masks[:, head] != here[head]]
    nearest = where[np.abs(where - 0.5).argmin()]
    cell(tab, *divmod(head, SHAPE[1])).hover()
    expect(tab.locator(".lab .detail")).to_contain_text("Changes to pruned at alpha")
    told = tab.locator(".lab .detail").inner_text()
    assert "scaled HIS" in told
    assert "scaled AE" in told
    assert float(re.search(r"Changes to pruned at alpha ([\d.]+)\.", told)[1]) == pytest.approx(nearest, abs=0.001)


# Manual overrides


def test_a_head_is_kept_removed_and_left_to_its_score_and_all_of_it_undone(tab, grids):
    open_grid(tab, grids)
    at = cell(tab, 2, 3)
    at.click()
    assert wait_until_told(tab, 1)["keep"] == [[2, 3]]
    expect(at).to_have_class(re.compile("kept.* held"))
    at.click()
    now = wait_until_told(tab, 2)
    assert (now["keep"], now["remove"]) == ([], [[2, 3]])
    assert now["mask"] == shown(tab)
    assert now["mask"][2 * SHAPE[1] + 3] == 0
    expect(at).to_have_class(re.compile("removed.* held"))
    at.click()
    assert wait_until_told(tab, 3)["remove"] == []
    button(tab, "Undo").click()
    assert wait_until_told(tab, 4)["remove"] == [[2, 3]]
    tab.keyboard.press("Control+z")
    assert wait_until_told(tab, 5)["keep"] == [[2, 3]]
    tab.keyboard.press("Control+Shift+z")
    assert wait_until_told(tab, 6)["remove"] == [[2, 3]]
    button(tab, "Reset overrides").click()
    assert wait_until_told(tab, 7)["remove"] == []
    expect(button(tab, "Reset overrides")).to_be_disabled()


def test_several_heads_are_selected_by_a_rectangle_and_a_layer_by_its_number(tab, grids):
    open_grid(tab, grids)
    first, last = box_of(cell(tab, 1, 2)), box_of(cell(tab, 2, 4))
    tab.keyboard.down("Shift")
    tab.mouse.move(first["x"] + 5, first["y"] + 5)
    tab.mouse.down()
    tab.mouse.move(last["x"] + 5, last["y"] + 5, steps=3)
    tab.mouse.up()
    tab.keyboard.up("Shift")
    expect(tab.locator(".chosen-count")).to_have_text("6 heads selected")
    assert known(tab)["told"] == 0
    button(tab, "Always keep").click()
    assert wait_until_told(tab, 1)["keep"] == [[row, head] for row in (1, 2) for head in (2, 3, 4)]
    button(tab, "select layer 5").click()
    button(tab, "Always prune").click()
    now = wait_until_told(tab, 2)
    assert now["remove"] == [[5, head] for head in range(SHAPE[1])]
    assert now["mask"] == shown(tab)
    # between the cells a mouse may begin without Shift
    first = box_of(cell(tab, 1, 2))
    tab.mouse.move(first["x"] - 2, first["y"] - 2)
    tab.mouse.down()
    tab.mouse.move(first["x"] + 5, first["y"] + 5, steps=3)
    tab.mouse.up()
    expect(tab.locator(".chosen-count")).to_have_text("1 head selected")
    button(tab, "Use score").click()
    assert [1, 2] not in wait_until_told(tab, 3)["keep"]


def test_everything_can_be_done_by_keyboard(tab, grids):
    open_grid(tab, grids)
    slider(tab, "alpha").focus()
    before = shown(tab)
    tab.keyboard.press("ArrowRight")
    now = wait_until_told(tab, 1)
    assert now["alpha"] == 0.51
    assert slider(tab, "alpha").get_attribute("aria-valuetext") == "0.51: 51% importance, 49% entropy"
    changed = sum(a != b for a, b in zip(before, now["mask"], strict=True))
    his, ae = np.random.default_rng(0).random((2, *SHAPE))
    differ = int((hp.prune_mask(hp.hies(his, ae, 1.0), 0.3).ravel() != np.array(now["mask"])).sum())
    expect(tab.locator(".lab").get_by_role("status")).to_have_text(
        f"alpha 0.51, sparsity 30%: 22 of 72 heads pruned; {changed} changed since the last setting; "
        f"{differ} heads differ from HIS only."
    )
    cell(tab, 0, 0).focus()
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("Enter")
    assert wait_until_told(tab, 2)["keep"] == [[1, 0]]
    expect(cell(tab, 1, 0)).to_have_attribute("aria-label", re.compile(r"Layer 1, head 0: kept \(set to always keep\)"))
    tab.keyboard.press("Space")
    assert wait_until_told(tab, 3)["remove"] == [[1, 0]]
    tab.keyboard.press("Shift+ArrowRight")
    tab.keyboard.press("Shift+ArrowDown")
    expect(tab.locator(".chosen-count")).to_have_text("4 heads selected")
    button(tab, "Always prune").press("Enter")
    assert wait_until_told(tab, 4)["remove"] == [[1, 0], [1, 1], [2, 0], [2, 1]]
    cell(tab, 3, 0).focus()
    tab.keyboard.press("ArrowLeft")
    tab.keyboard.press("Enter")
    expect(tab.locator(".chosen-count")).to_have_text("12 heads selected")
    tab.keyboard.press("Escape")
    expect(tab.locator(".chosen-count")).to_have_text("Manual override:")


# Narrow screens


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_many_heads_scroll_inside_the_grid_and_never_the_page(browser, grids, scheme):
    with opened_tab(browser, width=390, color_scheme=scheme) as tab:
        open_grid(tab, grids, "?rows=32&heads=32")
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390
        width = tab.locator(".lab .scroll").evaluate("scroll => [scroll.scrollWidth, scroll.clientWidth]")
        assert width[0] > width[1]
        grid = tab.locator(".lab .grid")
        assert grid.evaluate("grid => getComputedStyle(grid).touchAction") == "manipulation"  # a finger scrolls
        button(tab, "Box select").click()
        assert grid.evaluate("grid => getComputedStyle(grid).touchAction") == "none"


def test_a_finger_scrolls_until_it_is_asked_to_draw(browser, grids):
    with new_tab(browser, width=390) as tab:
        device = tab.context.new_cdp_session(tab)
        device.send("Emulation.setTouchEmulationEnabled", {"enabled": True})
        open_grid(tab, grids)
        first, last = box_of(cell(tab, 1, 2)), box_of(cell(tab, 2, 4))

        def draw():
            for kind, at in (("touchStart", first), ("touchMove", last)):
                device.send(
                    "Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": at["x"] + 5, "y": at["y"] + 5}]}
                )
            device.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

        draw()
        expect(tab.locator(".chosen-count")).to_have_text("Manual override:")
        button(tab, "Box select").click()
        tab.locator(".lab .grid").scroll_into_view_if_needed()
        first, last = box_of(cell(tab, 1, 2)), box_of(cell(tab, 2, 4))
        draw()
        expect(tab.locator(".chosen-count")).to_have_text("6 heads selected")
        assert known(tab)["told"] == 0
