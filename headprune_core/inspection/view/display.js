// What the view shows: its elements, colors and words, according to its state.

const MOST_PANELS = 4;
const HINT = "Point at a query to see what it attends to, or at a key to see what attends to it. Click a token to pin it; drag over tokens to sum them.";
const KEYS =
  "Keyboard: arrow keys, Home and End move; Enter pins a token and Escape unpins it. Shift and an arrow key, or dragging, " +
  "sums the attention of a span of tokens; on a touch screen, pin the first token, then choose Select span and the last token.";
const READING =
  "Each query distributes 100% of its attention over the keys that it can see. Raw: the attention probabilities. " +
  "Value-weighted: each probability times the norm of the transformed value of its key, divided by the sum of the query " +
  "(Kobayashi et al. 2020); it shows how much the head takes from a token. Width, opacity and color grow with the square root.";

class AttentionDisplay {
  constructor(element, data, options) {
    this.options = options;
    const attributes = { "aria-label": "Attention on a text", "data-lm-suppress-shortcuts": "true" }; // those of JupyterLab
    this.root = make("section", "av", attributes);
    element.append(this.root);
    this.state = { mode: "lines", side: "query", kind: "raw", form: "surface", point: null, pinned: null, spanning: false };
    this.root.addEventListener("keydown", (event) => this.escape(event));
    this.stopDrag = () => (this.drag = null);
    addEventListener("pointerup", this.stopDrag);
    this.recolor = () => this.paintTheme() && this.layout();
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.scheme.addEventListener("change", this.recolor);
    this.hosts = new MutationObserver(this.recolor);
    const watched = { attributes: true, attributeFilter: ["class", "style", "data-theme", "data-jp-theme-light"] };
    for (const host of [document.documentElement, document.body]) this.hosts.observe(host, watched);
    this.sizes = new ResizeObserver(() => this.resized());
    this.sizes.observe(this.root);
    this.load(data);
  }

  destroy() {
    this.sizes.disconnect();
    this.hosts.disconnect();
    this.scheme.removeEventListener("change", this.recolor);
    removeEventListener("pointerup", this.stopDrag);
    this.root.remove();
  }

  load(data) {
    this.data = data;
    this.words = new Words(data);
    this.decoded = new Map();
    this.slots = new Map(); // number of a head -> its color
    data.heads.slice(0, MOST_PANELS).forEach((_, index) => this.slots.set(index, index));
    Object.assign(this.state, { point: null, pinned: null, spanning: false });
    this.controls = new Controls(this);
    this.text = make("p", "av-words");
    this.live = make("p", "av-unseen", { role: "status", "aria-live": "polite" });
    this.place = make("div", "av-panels");
    const reading = make("details", "av-reading");
    reading.append(make("summary", "", {}, "How to read this"), make("p", "", {}, READING), make("p", "", {}, KEYS));
    const notes = this.notes().map((note) => make("p", "av-note", {}, note));
    this.root.replaceChildren(this.controls.element, this.text, this.live, this.place, ...notes, reading);
    this.paintTheme();
    this.build();
  }

  notes() {
    const notes = [...this.data.notes];
    const pairs = [this.data.queries, this.data.keys].some(({ segment }) => segment.some((part) => part > 0));
    if (pairs) notes.push("Tokens with a bar belong to the second text of the pair.");
    if (this.data.per_query) {
      notes.push(`Each query has its ${this.data.per_query} strongest keys and the sum of the others; links beyond are not stored.`);
    }
    return notes;
  }

  title() {
    return `Attention of ${this.data.model}${this.state.kind === "weighted" ? ", value-weighted" : ""}`;
  }

  attention(index, kind) {
    const name = `${index} ${kind}`;
    if (!this.decoded.has(name)) {
      const { queries, keys, heads } = this.data;
      this.decoded.set(name, new Attention(heads[index][kind], queries.tokens.length, keys.tokens.length));
    }
    return this.decoded.get(name);
  }

  /** Creates the panels of the heads that are shown. */
  build() {
    const Panel = this.state.mode === "lines" ? LinesPanel : MatrixPanel;
    const shown = [...this.slots].sort(([one], [other]) => one - other);
    this.panels = shown.map(([index, slot]) => new Panel(this, { index, slot, label: this.data.heads[index].label }));
    const figures = this.panels.map((panel) => {
      const figure = make("figure", "av-panel", { "data-slot": panel.head.slot });
      const swatch = make("i", "av-swatch", { "aria-hidden": "true", "data-slot": panel.head.slot });
      const [name, values, count] = [make("figcaption"), make("p", "av-values"), make("p", "av-count")];
      name.append(swatch, panel.head.label);
      figure.append(name, panel.element, count, values);
      panel.around = { swatch, values, count };
      return figure;
    });
    this.place.replaceChildren(...figures);
    this.place.dataset.count = figures.length;
    this.layout();
  }

  layout() {
    for (const panel of this.panels) {
      panel.head.color = getComputedStyle(panel.around.swatch).backgroundColor;
      panel.head.attention = this.attention(panel.head.index, this.state.kind);
      panel.resize();
    }
    this.controls.update();
    this.update();
  }

  resized() {
    const width = this.root.clientWidth;
    if (width && width !== this.laidOut) this.layout();
    this.laidOut = width;
  }

  /** Takes the colors of the page; returns whether they changed. */
  paintTheme() {
    this.root.style.colorScheme = "";
    const light = ([red, green, blue]) => 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    const style = getComputedStyle(this.root);
    this.root.style.colorScheme = light(channels(style.backgroundColor)) < 128 ? "dark" : "light";
    const before = JSON.stringify(this.colors);
    this.colors = { back: style.backgroundColor, text: style.color };
    return JSON.stringify(this.colors) !== before;
  }

  focus() {
    const { pinned, point } = this.state;
    if (pinned) return { ...pinned, pinned: true };
    return point && { side: point.side, start: point.index, stop: point.index + 1 };
  }

  update() {
    const focus = this.focus();
    for (const panel of this.panels) {
      panel.update(focus);
      panel.around.count.textContent = this.words.count(panel.head.attention.links(focus));
      panel.around.count.hidden = this.state.mode === "matrix";
    }
    this.describe(focus);
  }

  describe(focus) {
    const heads = this.panels.map(({ head }) => head);
    const { point } = this.state;
    let [start, lines] = [HINT, []];
    if (focus && point?.cell) {
      const { query, key } = point.cell;
      start = `${this.words.name("query", query)} attends to ${this.words.name("key", key)}`;
      lines = heads.map(({ label, attention }) => ({ label, text: percent(attention.value(query, key)) }));
    } else if (focus?.pinned && point && point.side !== focus.side) {
      const pair = this.words.pair(focus, point.index, heads);
      [start, lines] = [pair.start, pair.values];
    } else if (focus) {
      [start, lines] = [`${this.words.subject(focus)} ${this.words.verb(focus)}`, this.words.strongest(focus, heads)];
    }
    this.text.textContent = lines.length ? `${start}:` : start;
    this.text.classList.toggle("av-hint", !lines.length);
    this.panels.forEach((panel, i) => (panel.around.values.textContent = lines[i]?.text ?? ""));
    this.spoken = [this.text.textContent, ...lines.map(({ label, text }) => `${label}: ${text}.`)].join(" ");
  }

  speak() {
    clearTimeout(this.speaking);
    this.speaking = setTimeout(() => (this.live.textContent = this.spoken), 120);
  }
}
