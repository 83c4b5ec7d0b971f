// The buttons above the panels.

const CHOICES = [
  { name: "mode", label: "Picture", values: [["lines", "Lines"], ["matrix", "Matrix"]] },
  { name: "side", label: "Direction", values: [["query", "Attends to"], ["key", "Attended to by"]] },
  { name: "kind", label: "Attention", values: [["raw", "Raw"], ["weighted", "Value-weighted"]] },
  { name: "form", label: "Tokens as", values: [["surface", "Text"], ["tokens", "Tokens"]] },
];

class Controls {
  constructor(view) {
    this.view = view;
    this.element = make("div", "av-controls");
    this.buttons = new Map();
    for (const { name, label, values } of CHOICES) {
      const group = make("div", "av-group", { role: "group", "aria-label": label });
      for (const [value, text] of values) group.append(this.button(`${name} ${value}`, text, () => view.choose(name, value)));
      this.element.append(group);
    }
    const files = make("div", "av-files", { role: "group", "aria-label": "View and downloads" });
    const span = this.button("span", "Select span", () => view.toggleSpan());
    span.title = "The next token that you choose ends a span that starts at the pinned token";
    this.element.append(span);
    files.append(this.button("maximize", "Maximize", () => view.maximize(!view.maximized)));
    for (const kind of ["SVG", "PNG", "HTML", "CSV"]) {
      if (kind === "HTML" && !view.options.page) continue;
      const button = make("button", "av-file", { type: "button", "aria-label": `Download as ${kind}` }, kind);
      button.onclick = () => save(view, kind);
      files.append(button);
    }
    this.element.append(files);
    this.heads = make("div", "av-heads", { role: "group", "aria-label": `Heads, up to ${MOST_PANELS} side by side` });
    if (view.data.heads.length > 1) {
      view.data.heads.forEach(({ label }, index) => {
        const button = this.button(`head ${index}`, "", () => view.toggleHead(index));
        button.append(make("i", "av-swatch", { "aria-hidden": "true" }), label);
        this.heads.append(button);
      });
      this.element.prepend(this.heads);
    }
  }

  button(name, text, run) {
    const button = make("button", "", { type: "button", "aria-pressed": "false" }, text);
    button.onclick = run;
    this.buttons.set(name, button);
    return button;
  }

  update() {
    const { state, slots, maximized } = this.view;
    const pressed = new Set(CHOICES.map(({ name }) => `${name} ${state[name]}`));
    if (state.spanning) pressed.add("span");
    if (maximized) pressed.add("maximize");
    for (const index of slots.keys()) pressed.add(`head ${index}`);
    for (const [name, button] of this.buttons) button.setAttribute("aria-pressed", String(pressed.has(name)));
    this.view.data.heads.forEach((_, index) => {
      const swatch = this.buttons.get(`head ${index}`)?.querySelector(".av-swatch");
      if (swatch) swatch.dataset.slot = slots.get(index) ?? "";
    });
  }
}
