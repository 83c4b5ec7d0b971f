// The matrix of queries (rows) and keys (columns) on one canvas; the color is the square root of the value.

const LARGEST_CELL = 36;
const SMALLEST_LABELED = 11; // px; smaller cells have no labels
const SMALLEST_NUMBERED = 28; // px; smaller cells have no numbers

class MatrixPanel {
  constructor(view, head) {
    this.view = view;
    this.head = head;
    this.rows = view.words.tokens("query").tokens.length;
    this.count = view.words.tokens("key").tokens.length;
    this.cell = { query: 0, key: 0 }; // where the keyboard is
    const label = `Attention matrix of ${head.label}: ${this.rows} queries (rows) by ${this.count} keys (columns)`;
    const attributes = { role: "application", "aria-roledescription": "matrix", "aria-label": label, tabindex: "0" };
    this.canvas = make("canvas", "av-matrix", attributes);
    this.element = make("div", "av-frame");
    this.element.append(this.canvas);
    this.listen();
  }

  listen() {
    const { canvas, view } = this;
    const index = (cell) => (view.state.side === "query" ? cell.query : cell.key);
    const at = (event, run) => {
      const cell = this.at(event);
      if (cell) this.cell = cell;
      if (cell) run(view.state.side, index(cell), { pointer: event, cell });
      else view.leave();
    };
    canvas.onpointermove = (event) => at(event, (side, i, where) => view.pointAt(side, i, event, where.cell));
    canvas.onpointerleave = () => view.leave();
    canvas.onpointerdown = (event) => event.button === 0 && at(event, (side, i) => view.press(side, i, event));
    canvas.onpointerup = (event) => at(event, (side, i) => view.release(side, i, event));
    canvas.onfocus = () => canvas.matches(":focus-visible") && view.pointAt(view.state.side, index(this.cell), {}, this.cell);
    canvas.onblur = () => view.leave();
    canvas.onkeydown = (event) => this.move(event, index);
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    const key = Math.floor((event.clientX - box.left - this.left) / this.size);
    const query = Math.floor((event.clientY - box.top - this.top) / this.size);
    const inside = key >= 0 && query >= 0 && key < this.count && query < this.rows;
    return inside ? { query, key } : null;
  }

  move(event, index) {
    const { query, key } = this.cell;
    const steps = {
      ArrowDown: [query + 1, key],
      ArrowUp: [query - 1, key],
      ArrowRight: [query, key + 1],
      ArrowLeft: [query, key - 1],
      Home: [query, 0],
      End: [query, this.count - 1],
    };
    const { view } = this;
    if (event.key === "Enter" || event.key === " ") view.toggle(view.state.side, index(this.cell));
    else if (steps[event.key]) {
      const before = index(this.cell);
      const inside = (value, count) => Math.max(0, Math.min(count - 1, value));
      this.cell = { query: inside(steps[event.key][0], this.rows), key: inside(steps[event.key][1], this.count) };
      if (event.shiftKey) view.extend(view.state.side, before, index(this.cell));
      view.pointAt(view.state.side, index(this.cell), { keyboard: true }, this.cell);
    } else return;
    event.preventDefault();
  }

  /** Chooses the size of a cell, and places for labels where they can be read. */
  resize() {
    const width = this.element.clientWidth;
    const height = this.view.maximized ? Math.max(200, innerHeight - 260) : 640;
    const context = this.canvas.getContext("2d");
    const longest = (side) => {
      const labels = this.view.words.tokens(side)[this.view.state.form].slice(0, 80);
      return Math.min(110, Math.max(...labels.map((text) => context.measureText(visible(text)).width)) + 8);
    };
    context.font = this.font(LARGEST_CELL);
    [this.left, this.top] = [longest("query"), longest("key")];
    this.size = Math.min(LARGEST_CELL, (width - this.left) / this.count, (height - this.top) / this.rows);
    if (this.size < SMALLEST_LABELED) {
      [this.left, this.top] = [1, 1];
      this.size = Math.min(SMALLEST_LABELED - 1, (width - 2) / this.count, (height - 2) / this.rows);
    }
    this.width = Math.min(width, this.left + this.size * this.count + 1);
    this.height = this.top + this.size * this.rows + 1;
    this.canvas.style.width = `${this.width}px`;
    this.canvas.style.height = `${this.height}px`;
    this.ratio = fit(this.canvas, this.width, this.height);
    this.image = null;
  }

  font(size) {
    return `${Math.round(Math.min(13, size * 0.62))}px ${getComputedStyle(this.element).fontFamily}`;
  }

  /** The values as an image with one pixel per cell, or per block of cells if they are smaller than a pixel. */
  values() {
    const block = Math.max(1, Math.ceil(1 / (this.size * this.ratio)));
    const [width, height] = [Math.ceil(this.count / block), Math.ceil(this.rows / block)];
    const strongest = new Uint16Array(width * height);
    const { attention, color } = this.head;
    attention.visit(null, (at, query, key) => {
      const place = Math.floor(query / block) * width + Math.floor(key / block);
      if (attention.values[at] > strongest[place]) strongest[place] = attention.values[at];
    });
    const [red, green, blue] = channels(color);
    const image = new ImageData(width, height);
    strongest.forEach((value, i) => image.data.set([red, green, blue, 255 * Math.sqrt(value / SCALE)], 4 * i));
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width, height];
    canvas.getContext("2d").putImageData(image, 0, 0);
    return { canvas, width: (this.size * this.count * width * block) / this.count, height: this.size * height * block };
  }

  update(focus) {
    const context = this.canvas.getContext("2d");
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
    const { text, back } = this.view.colors;
    this.image ??= this.values();
    context.imageSmoothingEnabled = false;
    const [wide, high] = [this.size * this.count, this.size * this.rows];
    context.drawImage(this.image.canvas, this.left, this.top, this.image.width, this.image.height);
    if (this.size >= SMALLEST_LABELED) this.labels(context, text, focus);
    if (this.size >= SMALLEST_NUMBERED) this.numbers(context, text, back);
    if (focus) {
      const [from, to] = [focus.start * this.size, focus.stop * this.size];
      const byQuery = focus.side === "query";
      context.fillStyle = back;
      context.globalAlpha = 0.65;
      if (byQuery) {
        context.fillRect(this.left, this.top, wide, from);
        context.fillRect(this.left, this.top + to, wide, high - to);
      } else {
        context.fillRect(this.left, this.top, from, high);
        context.fillRect(this.left + to, this.top, wide - to, high);
      }
      context.globalAlpha = 1;
      context.strokeStyle = text;
      context.lineWidth = 1.5;
      if (byQuery) context.strokeRect(this.left, this.top + from, wide, to - from);
      else context.strokeRect(this.left + from, this.top, to - from, high);
    }
    const { cell } = this.view.state.point ?? {};
    context.strokeStyle = text;
    context.lineWidth = 2;
    if (cell) context.strokeRect(this.left + cell.key * this.size, this.top + cell.query * this.size, this.size, this.size);
    context.globalAlpha = 0.35;
    context.lineWidth = 1;
    context.strokeRect(this.left - 0.5, this.top - 0.5, wide + 1, high + 1);
    context.globalAlpha = 1;
  }

  /** The values in percent. */
  numbers(context, text, back) {
    const { attention } = this.head;
    context.font = this.font(18);
    context.textAlign = "center";
    context.textBaseline = "middle";
    attention.visit(null, (at, query, key) => {
      const value = attention.values[at] / SCALE;
      if (value < 0.005) return;
      context.fillStyle = value > 0.36 ? back : text;
      context.fillText((100 * value).toFixed(0), this.left + (key + 0.5) * this.size, this.top + (query + 0.5) * this.size);
    });
  }

  labels(context, color, focus) {
    const { words, state } = this.view;
    context.fillStyle = color;
    context.font = this.font(this.size);
    context.textBaseline = "middle";
    const put = (side, i, limit) => {
      const strong = focus && focus.side === side && i >= focus.start && i < focus.stop;
      context.font = `${strong ? "700 " : ""}${this.font(this.size)}`;
      context.fillText(clipped(context, words.label(side, i, state.form), limit), 0, 0);
    };
    for (let i = 0; i < this.rows; i++) {
      context.save();
      context.textAlign = "right";
      context.translate(this.left - 5, this.top + (i + 0.5) * this.size);
      put("query", i, this.left - 6);
      context.restore();
    }
    for (let i = 0; i < this.count; i++) {
      context.save();
      context.textAlign = "left";
      context.translate(this.left + (i + 0.5) * this.size, this.top - 5);
      context.rotate(-Math.PI / 2);
      put("key", i, this.top - 6);
      context.restore();
    }
  }

  relabel() {
    this.resize();
  }
}

function clipped(context, text, limit) {
  if (context.measureText(text).width <= limit) return text;
  let signs = [...text];
  while (signs.length > 1 && context.measureText(`${signs.join("")}…`).width > limit) signs = signs.slice(0, -1);
  return `${signs.join("")}…`;
}
