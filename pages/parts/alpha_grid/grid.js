// The live alpha grid: its controls, updated at most once per frame during a drag. Python receives a setting or an override
// when it is finished. The other files of this folder are joined in front of this one.

const grids = new WeakMap(); // parentElement -> AlphaGrid, so that a rerun updates the existing grid
const REACH = 0.05; // of alpha, within which a head that changes is marked

export default function (component) {
  const { parentElement, data, setStateValue } = component;
  let grid = grids.get(parentElement);
  if (!grid) {
    grid = new AlphaGrid(parentElement);
    grids.set(parentElement, grid);
  }
  grid.send = (state) => setStateValue("setting", state);
  grid.selection.send = (message) => setStateValue("sent", message);
  grid.take(data);
}

class AlphaGrid {
  constructor(root) {
    this.number = 0; // of the state that was sent last
    const found = new Map();
    const find = (selector) => found.get(selector) ?? found.set(selector, root.querySelector(selector)).get(selector);
    this.find = find;
    this.inputs = { alpha: find("input.alpha"), sparsity: find("input.sparsity"), keep: find("select.keep") };
    this.strip = new Strip(find, (k) => this.goTo(k));
    this.selection = new Selection(null, () => this.schedule());
    const act = (i, event) => (event.ctrlKey || event.metaKey ? this.selection.toggle(i) : this.cycle(i));
    const choose = (heads) => this.selection.set(heads, heads.length ? REST : 0);
    this.cells = new Cells(find, { act, choose, point: (i) => this.describe(i) });
    for (const input of Object.values(this.inputs)) {
      input.oninput = () => {
        if (input === this.inputs.alpha) this.alpha = this.snapped(Number(input.value));
        this.schedule();
      };
      input.onchange = () => this.release();
    }
    this.inputs.alpha.onkeydown = (event) => this.stepByKey(event);
    find(".back").onclick = () => this.goTo(this.strip.current - 1);
    find(".on").onclick = () => this.goTo(this.strip.current + 1);
    find(".snap").onchange = () => this.switchSnap();
    find(".lab").onkeydown = (event) => this.undoByKey(event);
    for (const [button, kind] of [[".as-keep", 1], [".as-remove", -1], [".as-scored", 0]]) {
      find(button).onclick = () => this.edit(this.selection.order, kind);
    }
    find(".undo").onclick = () => this.afterEdit(this.edits.undo());
    find(".redo").onclick = () => this.afterEdit(this.edits.redo());
    find(".clear").onclick = () => this.edit(this.edits.kinds.keys(), 0);
  }

  // Data from Python, and states sent to it

  /** Take new data from Python; a state that was just sent comes back unchanged. */
  take(data) {
    const shape = JSON.stringify([data.importance, data.entropy, data.labels]);
    if (shape !== this.shape) {
      this.shape = shape;
      this.heads = data.importance[0].length;
      this.importance = Float64Array.from(data.importance.flat());
      this.entropy = Float64Array.from(data.entropy.flat());
      this.count = this.importance.length;
      this.scores = new Float64Array(this.count);
      this.mask = new Uint8Array(this.count).fill(1);
      this.edits = new Edits(this.count);
      this.lastState = this.pointed = this.released = null;
      this.cells.build(data.labels, this.heads);
      this.painter = new Painter(this.cells.all);
      this.selection.resize(this.count, this.heads);
    }
    this.selection.adopt(data.selected, data.selection ?? 0);
    const theirs = new Edits(this.count);
    theirs.adopt(data.edits, this.heads);
    const edits = theirs.lists(this.heads);
    const state = JSON.stringify([data.alpha, data.sparsity, data.keep, edits]);
    const late = data.answers < this.number; // the answer to an earlier state; later changes stand
    if (!late) this.number = data.answers; // a grid that was rebuilt continues the count
    if (!late && state !== this.lastState) {
      this.lastState = state;
      this.alpha = data.alpha;
      for (const name of ["alpha", "sparsity", "keep"]) this.inputs[name].value = data[name];
      if (JSON.stringify(edits) !== JSON.stringify(this.edits.lists(this.heads))) this.edits.adopt(data.edits, this.heads);
      this.released = null;
    }
    this.limits = data.constraints;
    this.replan();
    this.strip.take(data.path, JSON.stringify([data.sparsity, data.keep, edits]));
    this.find(".snap").disabled = !data.path;
    this.draw();
    this.released ??= this.mask;
  }

  /** Alpha can have more digits than the steps of its slider, if it comes from a URL or the middle of an interval. */
  setting() {
    return { alpha: this.alpha, sparsity: Number(this.inputs.sparsity.value), keep: this.inputs.keep.value };
  }

  release() {
    if (this.frame) this.draw();
    const { alpha, sparsity, keep } = this.setting();
    const edits = this.edits.lists(this.heads);
    const state = JSON.stringify([alpha, sparsity, keep, edits]);
    if (state === this.lastState) return;
    this.lastState = state;
    this.announce();
    this.send({ alpha, sparsity, keep, edits, number: ++this.number });
  }

  /** Announce the result to screen readers on release; during a drag, every frame would be too much. */
  announce() {
    const { alpha, sparsity } = this.setting();
    const changed = this.mask.reduce((sum, kept, i) => sum + (kept !== this.released[i]), 0);
    this.released = this.mask;
    this.find(".announcement").textContent =
      this.problem ||
      `alpha ${short(alpha)}, sparsity ${Math.round(100 * sparsity)}%: ${this.removed} of ${this.count} heads pruned; ` +
        `${changed} changed since the last setting; ${differing(this.differ)}.`;
  }

  // Alpha along the path

  snapped(alpha) {
    const { path, fresh } = this.strip;
    return this.find(".snap").checked && fresh ? middleOf(path[intervalAt(path, alpha)]) : alpha;
  }

  goTo(k) {
    const { path, fresh } = this.strip;
    if (!fresh) return;
    this.alpha = middleOf(path[Math.min(path.length - 1, Math.max(0, k))]);
    this.inputs.alpha.value = this.alpha;
    this.schedule();
    this.release();
  }

  stepByKey(event) {
    if (!this.find(".snap").checked || !this.strip.fresh) return;
    const all = this.strip.path.length;
    const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10, Home: -all, End: all };
    if (!(event.key in steps)) return;
    event.preventDefault();
    this.goTo(this.strip.current + steps[event.key]);
  }

  switchSnap() {
    const on = this.find(".snap").checked;
    this.inputs.alpha.step = on ? "any" : "0.01"; // otherwise the thumb could not stand in the middle of an interval
    if (on) this.goTo(this.strip.current);
  }

  // Manual overrides

  replan() {
    const held = (kind) => this.edits.kinds.map((value) => Number(value === kind));
    const { min, uniform, groups, parameters } = this.limits ?? {};
    const shape = { rows: this.count / this.heads, heads: this.heads, names: this.cells.labels };
    const options = { min, uniform, groups: groups?.flat(), parameters: parameters?.flat(), protect: held(1), remove: held(-1) };
    this.plan = planOf({ ...shape, ...options });
    this.key = JSON.stringify(this.edits.lists(this.heads));
    this.aloneAt = null;
  }

  edit(heads, kind) {
    const units = new Set(Array.from(heads, (i) => this.plan.unit[i])); // heads of one unit are set together
    const whole = Array.from(this.edits.kinds.keys()).filter((i) => units.has(this.plan.unit[i]));
    this.afterEdit(this.edits.set(whole, kind));
  }

  afterEdit(changed) {
    if (!changed) return;
    this.replan();
    this.schedule();
    this.release();
  }

  /** Cycle a head: use score, always keep, always prune. */
  cycle(i) {
    this.edit([i], { 0: 1, 1: -1, "-1": 0 }[this.edits.kinds[i]]);
  }

  undoByKey(event) {
    const key = event.key.toLowerCase();
    if (!(event.ctrlKey || event.metaKey) || !["z", "y"].includes(key)) return;
    event.preventDefault();
    this.afterEdit(key === "y" || event.shiftKey ? this.edits.redo() : this.edits.undo());
  }

  // Drawing

  schedule() {
    this.frame ??= requestAnimationFrame(() => this.draw());
  }

  draw() {
    if (this.frame) cancelAnimationFrame(this.frame);
    this.frame = null;
    const setting = this.setting();
    this.strip.draw(setting.alpha, `[${JSON.stringify(setting.sparsity)},${JSON.stringify(setting.keep)},${this.key}]`);
    this.decide(setting);
    const { mask, alone, scores, flipping } = this;
    this.painter.paint({ mask, alone, scores, flipping, kinds: this.edits.kinds, chosen: this.selection.bits });
    this.find(".lab").dataset.mask = mask.join("");
    this.write(setting);
  }

  /** Compute the mask, the HIS-only mask and the heads that change nearby; conflicting constraints leave the mask unchanged. */
  decide({ alpha, sparsity, keep }) {
    const maskAt = (at, scores) => pruneMask(hies(this.importance, this.entropy, at, keep, scores), sparsity, this.plan);
    this.problem = "";
    try {
      this.mask = maskAt(alpha, this.scores);
      if (this.aloneAt !== sparsity) [this.alone, this.aloneAt] = [maskAt(1), sparsity];
      this.flipping = this.strip.flipping(alpha, REACH) ?? this.different(maskAt, alpha);
    } catch (problem) {
      this.problem = problem.message;
      [this.alone, this.aloneAt, this.flipping] = [this.mask, null, new Set()];
    }
    this.removed = this.differ = 0;
    for (let i = 0; i < this.count; i++) {
      this.removed += 1 - this.mask[i];
      this.differ += this.mask[i] !== this.alone[i];
    }
  }

  /** Without a path: heads whose state differs at either end of the reach. */
  different(maskAt, alpha) {
    const ends = [Math.max(0, alpha - REACH), Math.min(1, alpha + REACH)].map((at) => maskAt(at));
    return new Set(Array.from(this.mask.keys()).filter((i) => ends.some((mask) => mask[i] !== this.mask[i])));
  }

  write({ alpha, sparsity }) {
    const share = `${Math.round(100 * sparsity)}%`;
    this.inputs.alpha.style.setProperty("--share", alpha);
    this.inputs.sparsity.style.setProperty("--share", sparsity);
    this.find(".alpha-value").textContent = short(alpha);
    this.find(".sparsity-value").textContent = share;
    const weights = `${Math.round(100 * alpha)}% importance, ${Math.round(100 - 100 * alpha)}% entropy`;
    this.inputs.alpha.setAttribute("aria-valuetext", `${short(alpha)}: ${weights}`);
    this.inputs.sparsity.setAttribute("aria-valuetext", `${share}: ${this.removed} of ${this.count} heads pruned`);
    const status = this.find(".status");
    status.textContent = this.problem || `${this.removed} of ${this.count} heads pruned; ${differing(this.differ)}.`;
    status.classList.toggle("problem", Boolean(this.problem));
    const chosen = this.selection.order.length;
    this.find(".chosen-count").textContent = chosen ? `${chosen} head${chosen > 1 ? "s" : ""} selected` : "Manual override:";
    for (const button of [".as-keep", ".as-remove", ".as-scored"]) this.find(button).disabled = !chosen;
    this.find(".undo").disabled = !this.edits.past.length;
    this.find(".redo").disabled = !this.edits.future.length;
    this.find(".clear").disabled = !this.edits.some;
    if (this.pointed !== null) this.describe(this.pointed);
  }

  /** Describe a head when it is hovered or focused, so that frames need not update every label. */
  describe(i) {
    this.pointed = i;
    const { mask, scores } = this;
    const above = (score, j) => score > scores[i] || (score === scores[i] && j > i);
    const rank = 1 + scores.filter(above).length;
    const state = mask[i] ? "kept" : "pruned";
    const override = this.edits.kinds[i] ? ` (set to always ${this.edits.kinds[i] > 0 ? "keep" : "prune"})` : "";
    const text =
      `${this.cells.place(i)}: ${state}${override}, HIES ${scores[i].toFixed(3)} (rank ${rank} of ${this.count}), ` +
      `scaled HIS ${this.importance[i].toFixed(3)}, scaled AE ${this.entropy[i].toFixed(3)}.${override ? "" : this.flipText(i)}`;
    this.cells.all[i].setAttribute("aria-label", text);
    this.find(".detail").textContent = text;
  }

  flipText(i) {
    const edge = this.strip.nearestFlip(i, this.alpha);
    if (edge === null) return "";
    if (edge === Infinity) return ` It is ${this.mask[i] ? "kept" : "pruned"} at every alpha.`;
    return ` Changes to ${this.mask[i] ? "pruned" : "kept"} at alpha ${short(edge)}.`;
  }
}

/** At least two decimals, at most four. */
function short(alpha) {
  const digits = Number(alpha.toFixed(4)).toString().split(".")[1] ?? "";
  return alpha.toFixed(Math.max(2, digits.length));
}
