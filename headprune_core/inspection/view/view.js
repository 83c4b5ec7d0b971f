// The view: its state, and its three homes (Streamlit component, notebook widget, HTML file).

const MOST_PANELS = 4;
const HINT = "Point at a query to see what it attends to, or at a key to see what attends to it. Click a token to pin it; drag over tokens to sum them.";
const KEYS =
  "Keyboard: arrow keys, Home and End move; Enter pins a token and Escape unpins it. Shift and an arrow key, or dragging, " +
  "sums the attention of a span of tokens; on a touch screen, pin the first token, then choose Select span and the last token.";
const READING =
  "Each query distributes 100% of its attention over the keys that it can see. Raw: the attention probabilities. " +
  "Value-weighted: each probability times the norm of the transformed value of its key, divided by the sum of the query " +
  "(Kobayashi et al. 2020); it shows how much the head takes from a token. Width, opacity and color grow with the square root.";

class AttentionView {
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

  // What the user does

  pointAt(side, index, event, cell = null) {
    const { point } = this.state;
    if (this.drag?.side === side && (index !== this.drag.start || this.drag.moved)) {
      this.drag.moved = true;
      this.extend(side, this.drag.start, index);
    }
    const same = point && point.side === side && point.index === index && point.cell?.query === cell?.query;
    if (!same || point.cell?.key !== cell?.key) {
      this.state.point = { side, index, cell };
      this.update();
    }
    if (event.keyboard || event.type === "focusin") this.speak();
  }

  leave() {
    if (!this.state.point) return;
    this.state.point = null;
    this.update();
  }

  press(side, index, event) {
    if (event.pointerType === "touch" || event.shiftKey || this.state.spanning) return;
    this.anchor = null;
    this.drag = { side, start: index, moved: false };
  }

  release(side, index, event) {
    const { pinned, spanning } = this.state;
    const dragged = this.drag?.moved;
    this.drag = null;
    if (dragged) this.speak();
    else if ((spanning || event.shiftKey) && pinned?.side === side) {
      this.state.spanning = false;
      this.extend(side, pinned.start, index);
    } else this.toggle(side, index);
  }

  toggle(side, index) {
    const { pinned } = this.state;
    const same = pinned && pinned.side === side && pinned.start === index && pinned.stop === index + 1;
    this.pin(same ? null : { side, start: index, stop: index + 1 });
    this.anchor = same ? null : index;
  }

  extend(side, from, to) {
    if (this.state.pinned?.side !== side || this.anchor == null) this.anchor = from;
    this.pin({ side, start: Math.min(this.anchor, to), stop: Math.max(this.anchor, to) + 1 });
  }

  pin(pinned) {
    this.state.pinned = pinned;
    if (pinned) this.state.side = pinned.side;
    this.controls.update();
    this.update();
    this.speak();
    this.options.onPin?.(pinned);
  }

  escape(event) {
    if (event.key !== "Escape") return;
    if (this.state.pinned) this.pin(null);
    else if (this.maximized) this.maximize(false);
    else return;
    event.stopPropagation();
  }

  choose(name, value) {
    const { state } = this;
    if (state[name] === value) return;
    state[name] = value;
    if (name === "side" && state.pinned) {
      const last = this.words.tokens(value).tokens.length - 1;
      const start = Math.min(state.pinned.start, last);
      this.pin({ side: value, start, stop: Math.min(state.pinned.stop, last + 1) });
    }
    if (name === "mode") this.build();
    else {
      if (name === "form") for (const panel of this.panels) panel.relabel();
      this.layout();
    }
    this.speak();
  }

  toggleSpan() {
    this.state.spanning = !this.state.spanning;
    this.controls.update();
  }

  toggleHead(index) {
    const { slots } = this;
    if (slots.has(index)) {
      if (slots.size === 1) return;
      slots.delete(index);
    } else {
      if (slots.size === MOST_PANELS) slots.delete(slots.keys().next().value); // the one that was chosen first
      const taken = new Set(slots.values());
      slots.set(index, [...Array(MOST_PANELS).keys()].find((slot) => !taken.has(slot)));
    }
    this.build();
  }

  /** Moves the keyboard focus to the other column of the same panel. */
  cross(column) {
    const { columns } = this.panels.find((panel) => panel.columns.includes(column));
    const other = columns.find((one) => one !== column);
    other.goTo(Math.min(column.active, other.count - 1));
  }

  reveal(column, index) {
    const { scroll } = this.panels.find((panel) => panel.columns.includes(column));
    const top = index * ROW;
    if (top < scroll.scrollTop) scroll.scrollTop = top;
    else if (top + ROW > scroll.scrollTop + scroll.clientHeight) scroll.scrollTop = top + ROW - scroll.clientHeight;
  }

  scrolled(panel) {
    const top = panel.scroll.scrollTop;
    panel.update(this.focus());
    for (const other of this.panels) if (other.scroll.scrollTop !== top) other.scroll.scrollTop = top;
  }

  /** In the top layer, above everything else on the page. */
  maximize(on) {
    this.maximized = on;
    this.root.classList.toggle("av-max", on);
    if (on) {
      this.root.popover = "manual";
      this.root.showPopover();
    } else {
      this.root.hidePopover();
      this.root.popover = null;
    }
    this.layout();
  }
}

/** Shows a document of `attention_document` in an element. Options: onPin(pinned) and page, the template of the HTML file. */
export function draw(element, data, options = {}) {
  return new AttentionView(element, data, options);
}

function render({ model, el }) {
  const onPin = (pinned) => {
    model.set("pinned", pinned);
    model.save_changes();
  };
  const view = draw(el, model.get("document"), { onPin, page: model.get("page") });
  const load = () => view.load(model.get("document"));
  model.on("change:document", load);
  return () => {
    model.off("change:document", load);
    view.destroy();
  };
}

const views = new WeakMap(); // parentElement -> AttentionView, so that a rerun keeps what is pinned

/** Called with a component by Streamlit, and without arguments by anywidget. */
export default function (component) {
  if (!component) return { render };
  const { parentElement, data, setStateValue } = component;
  let view = views.get(parentElement);
  if (!view) {
    view = draw(parentElement, data.document, { page: data.page });
    views.set(parentElement, view);
  } else if (view.data.id !== data.document.id) view.load(data.document);
  view.options.onPin = data.reports ? (pinned) => setStateValue("pinned", pinned) : null;
}
