// The live alpha grid. Same arithmetic as headprune_core: hies() then prune_mask(), ties by (row, head).

const labs = new WeakMap(); // parentElement -> lab, so that a rerun updates the grid that is there

export default function (component) {
  const { parentElement, data, setStateValue } = component;
  let lab = labs.get(parentElement);
  if (!lab) {
    lab = new Lab(parentElement);
    labs.set(parentElement, lab);
  }
  lab.send = (setting) => setStateValue("setting", setting);
  lab.take(data);
}

/** Python's round(): halves go to the even number. */
export function roundHalfEven(x) {
  const below = Math.floor(x);
  const rest = x - below;
  if (rest !== 0.5) return rest < 0.5 ? below : below + 1;
  return below % 2 === 0 ? below : below + 1;
}

/** HIES of every head: alpha * importance + (1 - alpha) * focus. */
export function hies(importance, entropy, alpha, keep) {
  return importance.map((value, i) => alpha * value + (1 - alpha) * (keep === "high" ? entropy[i] : 1 - entropy[i]));
}

/** Heads by rising score, ties by place; the first of them go first. */
export function removalOrder(scores) {
  return scores.map((_, i) => i).sort((a, b) => scores[a] - scores[b] || a - b);
}

/** Which heads stay, true = kept. */
export function pruneMask(scores, sparsity, order = removalOrder(scores)) {
  const mask = new Array(scores.length).fill(true);
  for (const i of order.slice(0, roundHalfEven(sparsity * scores.length))) mask[i] = false;
  return mask;
}

class Lab {
  constructor(root) {
    this.sent = []; // settings that Python has not answered yet
    this.find = (selector) => root.querySelector(selector);
    this.inputs = { alpha: this.find(".alpha"), sparsity: this.find(".sparsity"), keep: this.find(".keep") };
    for (const input of Object.values(this.inputs)) {
      input.oninput = () => this.draw();
      input.onchange = () => this.release();
    }
    const grid = this.find(".grid");
    grid.onpointerover = (event) => this.describe(event.target);
    grid.addEventListener("focusin", (event) => this.describe(event.target));
    grid.onkeydown = (event) => this.move(event);
  }

  /** New data from Python; a setting that the user has just let go of comes back unchanged. */
  take(data) {
    const shape = JSON.stringify([data.importance, data.entropy, data.labels]);
    if (shape !== this.shape) {
      this.shape = shape;
      this.labels = data.labels;
      this.heads = data.importance[0].length;
      this.importance = data.importance.flat();
      this.entropy = data.entropy.flat();
      this.build(data.importance.length);
    }
    const told = JSON.stringify([data.alpha, data.sparsity, data.keep]);
    const answered = this.sent.lastIndexOf(told);
    if (answered >= 0) {
      this.sent.splice(0, answered + 1); // an answer to what was sent; what was set since then stands
    } else if (told !== this.told) {
      this.told = told;
      for (const name of ["alpha", "sparsity", "keep"]) this.inputs[name].value = data[name];
    }
    this.draw();
  }

  setting() {
    const { alpha, sparsity, keep } = this.inputs;
    return { alpha: Number(alpha.value), sparsity: Number(sparsity.value), keep: keep.value };
  }

  release() {
    const { alpha, sparsity, keep } = this.setting();
    this.told = JSON.stringify([alpha, sparsity, keep]);
    this.sent.push(this.told);
    this.send({ alpha, sparsity, keep });
  }

  build(rows) {
    const grid = this.find(".grid");
    grid.replaceChildren();
    grid.style.gridTemplateColumns = `auto repeat(${this.heads}, minmax(16px, 1fr))`;
    const every = this.heads > 20 ? 4 : 1;
    const header = element("div", "row");
    header.append(element("span", "axis", "layer"));
    for (let head = 0; head < this.heads; head++) header.append(element("span", "axis", head % every ? "" : String(head)));
    grid.append(header);
    this.cells = [];
    for (let row = 0; row < rows; row++) {
      const line = element("div", "row");
      line.setAttribute("role", "row");
      line.append(element("span", "axis", this.labels[row]));
      for (let head = 0; head < this.heads; head++) {
        const cell = element("span", "cell");
        cell.setAttribute("role", "gridcell");
        cell.dataset.index = this.cells.length;
        cell.tabIndex = this.cells.length ? -1 : 0;
        this.cells.push(cell);
        line.append(cell);
      }
      grid.append(line);
    }
  }

  draw() {
    const { alpha, sparsity, keep } = this.setting();
    this.scores = hies(this.importance, this.entropy, alpha, keep);
    this.order = removalOrder(this.scores);
    this.mask = pruneMask(this.scores, sparsity, this.order);
    const alone = pruneMask(hies(this.importance, this.entropy, 1, keep), sparsity);
    let removed = 0;
    let differ = 0;
    this.cells.forEach((cell, i) => {
      const differs = this.mask[i] !== alone[i];
      cell.className = `cell ${this.mask[i] ? "kept" : "removed"}${differs ? " differs" : ""}`;
      cell.style.setProperty("--level", this.scores[i].toFixed(3));
      cell.setAttribute("aria-label", this.words(i));
      removed += !this.mask[i];
      differ += differs;
    });
    this.find(".alpha-value").textContent = alpha.toFixed(2);
    this.find(".sparsity-value").textContent = `${Math.round(100 * sparsity)} %`;
    this.find(".status").textContent =
      `${removed} of ${this.cells.length} heads removed; ${differ === 0 ? "the same heads as" : `${differ} differ from`} HIS alone.`;
    this.find(".lab").dataset.mask = this.mask.map(Number).join("");
  }

  words(i) {
    const label = this.labels[Math.floor(i / this.heads)];
    const layer = /^\d+$/.test(label) ? `Layer ${label}` : label[0].toUpperCase() + label.slice(1);
    const place = `${layer}, head ${i % this.heads}`;
    return `${place}: ${this.mask[i] ? "kept" : "removed"}, HIES ${this.scores[i].toFixed(3)}`;
  }

  describe(cell) {
    if (!cell.dataset || cell.dataset.index === undefined) return;
    const i = Number(cell.dataset.index);
    const rank = this.cells.length - this.order.indexOf(i);
    this.find(".detail").textContent =
      `${this.words(i)} (rank ${rank} of ${this.cells.length}), ` +
      `HIS~ ${this.importance[i].toFixed(3)}, AE~ ${this.entropy[i].toFixed(3)}.`;
  }

  move(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.heads, ArrowDown: this.heads }[event.key];
    const from = Number(event.target.dataset.index);
    const cell = step && this.cells[from + step];
    if (!cell) return;
    event.preventDefault();
    event.target.tabIndex = -1;
    cell.tabIndex = 0;
    cell.focus();
  }
}

function element(tag, className, text = "") {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = text;
  return node;
}
