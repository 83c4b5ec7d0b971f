// A grid of heads: one row per layer, navigation by keyboard, and the rectangles that select. What a cell looks like, and
// what a click does, belongs to the view that uses it.

const MANY = 16; // rows; with more, the cells are lower

export class Cells {
  /**
   * on: act(i, event) for a click, Enter, Space or the key I; point(i) for a hovered or focused head; choose(heads, event)
   * for a rectangle, a row, or none. anywhere: whether a mouse may start a rectangle on a cell.
   */
  constructor(find, on, anywhere = false) {
    Object.assign(this, { find, on, all: [], anchor: null });
    const grid = find(".grid");
    const look = (event) => event.target.dataset?.index !== undefined && on.point(Number(event.target.dataset.index));
    this.lasso = new Lasso(find, () => this.lines(), (rows, columns) => this.choose(rows, columns), anywhere);
    grid.onpointerover = look;
    grid.addEventListener("focusin", look);
    grid.onkeydown = (event) => this.key(event);
    grid.onclick = (event) => this.click(event);
  }

  build(labels, heads) {
    Object.assign(this, { labels, heads, all: [], rowLabels: [] });
    const grid = this.find(".grid");
    grid.replaceChildren();
    grid.style.gridTemplateColumns = `auto repeat(${heads}, minmax(var(--least, 16px), 1fr))`;
    grid.classList.toggle("many", labels.length > MANY);
    const every = heads > 20 ? 4 : 1;
    const numbers = Array.from({ length: heads }, (_, head) => (head % every ? "" : String(head)));
    const header = element("div", "row", "row");
    header.append(...["layer", ...numbers].map((text) => element("span", "axis", "columnheader", text)));
    grid.append(header, ...labels.map((_, row) => this.line(row)));
    this.all[0].tabIndex = 0;
  }

  line(row) {
    const line = element("div", "row", "row");
    const name = element("span", "axis", "rowheader");
    const label = element("button", "axis", null, this.labels[row]);
    label.type = "button";
    label.tabIndex = -1;
    label.dataset.row = row;
    label.setAttribute("aria-label", `select ${this.layer(row)}`);
    name.append(label);
    this.rowLabels.push(label);
    line.append(name);
    for (let head = 0; head < this.heads; head++) {
      const cell = element("span", "cell", "gridcell");
      cell.dataset.index = this.all.length;
      cell.tabIndex = -1;
      this.all.push(cell);
      line.append(cell);
    }
    return line;
  }

  layer(row) {
    return /^\d+$/.test(this.labels[row]) ? `layer ${this.labels[row]}` : this.labels[row];
  }

  /** "Layer 3, head 5" */
  place(i) {
    const layer = this.layer(Math.floor(i / this.heads));
    return `${layer[0].toUpperCase()}${layer.slice(1)}, head ${i % this.heads}`;
  }

  /** Select the rectangle of heads that these rows and columns span; without arguments, select none. */
  choose(rows, columns) {
    const heads = [];
    if (rows) {
      const [left, right] = [Math.min(...columns), Math.max(...columns)];
      for (let row = Math.min(...rows); row <= Math.max(...rows); row++) {
        for (let head = left; head <= right; head++) heads.push(row * this.heads + head);
      }
    }
    this.on.choose(heads);
  }

  lines() {
    return [this.all.filter((_, i) => i % this.heads === 0), this.all.slice(0, this.heads)];
  }

  // Mouse and keyboard

  click(event) {
    const used = this.lasso.used && event.detail; // a click by keyboard has no detail
    if (used) return;
    const { row, index } = event.target.dataset;
    if (row !== undefined) this.choose([Number(row)], [0, this.heads - 1]);
    if (index !== undefined) this.on.act(Number(index), event);
  }

  /** Arrow keys move, and with Shift select; Enter and Space act like a click, I like one with Ctrl; Escape selects none. */
  key(event) {
    const { row, index } = event.target.dataset;
    const at = index === undefined ? [Number(row), -1] : [Math.floor(index / this.heads), index % this.heads];
    if (event.key === "Escape") this.choose();
    const adds = event.key.toLowerCase() === "i" && !event.ctrlKey && !event.metaKey && !event.altKey;
    if ((event.key === "Enter" || event.key === " " || adds) && index !== undefined) {
      event.preventDefault();
      this.on.act(Number(index), adds ? { ctrlKey: true } : event);
    }
    const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    const ends = { Home: [0, -at[1]], End: [0, this.heads - 1 - at[1]] };
    const step = steps[event.key] ?? ends[event.key];
    if (!step) return;
    event.preventDefault();
    const to = [at[0] + step[0], at[1] + step[1]];
    const target = to[1] < 0 ? this.rowLabels[to[0]] : to[1] < this.heads && this.all[to[0] * this.heads + to[1]];
    if (!target) return;
    event.target.tabIndex = -1;
    target.tabIndex = 0;
    target.focus();
    const selects = event.shiftKey && to[1] >= 0 && at[1] >= 0;
    this.anchor = selects ? (this.anchor ?? at) : null;
    if (selects) this.choose([this.anchor[0], to[0]], [this.anchor[1], to[1]]);
  }
}

function element(tag, className, role, text = "") {
  const node = document.createElement(tag);
  node.className = className;
  if (role) node.setAttribute("role", role);
  node.textContent = text;
  return node;
}
