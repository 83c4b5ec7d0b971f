// Several maps of the same heads with one selection. A map is sent once: the browser keeps it by its name, and says with every
// message which ones it has. The other files, and those of the alpha grid, are joined in front of this one.

const KEPT = 64; // maps
const known = new Map(); // name -> map
const grids = new WeakMap(); // parentElement -> HeadGrid, so that a rerun updates the existing grid

export default function (component) {
  const { parentElement, data, setStateValue } = component;
  let grid = grids.get(parentElement);
  if (!grid) {
    grid = new HeadGrid(parentElement);
    grids.set(parentElement, grid);
  }
  grid.send = (message) => setStateValue("sent", message);
  grid.take(data);
}

class HeadGrid {
  constructor(root) {
    this.find = (selector) => root.querySelector(selector);
    this.views = [];
    this.selection = new Selection((message) => this.send({ ...message, known: this.order }), () => this.frame());
    this.find(".none").onclick = () => this.selection.set([]);
    this.find(".svg").onclick = () => save(this.picture(), `${this.data.name}.svg`, "image/svg+xml");
    this.find(".png").onclick = () => savePng(this.picture(), `${this.data.name}.png`);
    this.find(".csv").onclick = () => save(tableOf(this.maps, this.data), `${this.data.name}.csv`, "text/csv");
    this.find(".enlarge").onclick = () => this.enlarge(!this.large);
    this.find(".maps").addEventListener("keydown", (event) => event.key === "Escape" && this.large && this.enlarge(false));
  }

  take(data) {
    for (const [name, map] of Object.entries(data.maps)) known.set(name, map);
    if (data.order.some((name) => !known.has(name))) {
      this.send({ heads: data.selected, number: ++this.selection.number, known: [] }); // Python sends all again
      return;
    }
    Object.assign(this, { data, order: data.order, maps: data.order.map((name) => known.get(name)) });
    for (const name of known.keys()) if (known.size > KEPT && !data.order.includes(name)) known.delete(name); // the oldest
    this.build();
    this.maps.forEach((map, k) => this.views[k].draw(map));
    const descriptions = this.maps.map((map) => map.description).filter(Boolean);
    this.find(".descriptions").replaceChildren(...descriptions.map((words) => element("li", "", null, words)));
    this.selection.adopt(data.selected, data.answers);
    if (this.pointed !== undefined) this.describe(this.pointed);
  }

  build() {
    const { labels, heads } = this.data;
    const shape = JSON.stringify([labels, heads]);
    const all = this.find(".all");
    if (shape !== this.shape) {
      this.shape = shape;
      this.views = [];
      all.replaceChildren();
      this.pointed = undefined;
      this.framed = new Uint8Array(labels.length * heads);
      this.selection.resize(labels.length * heads, heads);
    }
    while (this.views.length > this.maps.length) this.views.pop().node.remove();
    while (this.views.length < this.maps.length) {
      const view = new HeadMapView(this.find(".draw"), this.views.length, this.handlers());
      view.build(labels, heads);
      view.select(this.selection.order, this.selection.bits);
      all.append(view.node);
      this.views.push(view);
    }
    all.classList.toggle("one", this.maps.length === 1);
  }

  handlers() {
    return {
      act: (i, event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) this.selection.toggle(i);
        else this.selection.set([i]);
      },
      choose: (heads) => this.selection.set(heads, heads.length ? REST : 0),
      point: (i) => this.describe(i),
    };
  }

  /** Frame the selected heads on every map. */
  frame() {
    const { bits, order } = this.selection;
    const changed = [];
    bits.forEach((bit, i) => bit !== this.framed[i] && changed.push(i));
    this.framed.set(bits);
    for (const view of this.views) view.select(changed, bits);
    const names = order.slice(0, 6).map((i) => this.name(i));
    const more = order.length > names.length ? ` and ${order.length - names.length} more` : "";
    const said = order.length ? `Selected (layer.head): ${names.join(", ")}${more}` : "No head selected";
    this.find(".chosen-count").textContent = said;
    if (changed.length) this.find(".announcement").textContent = `${said}.`;
    this.find(".none").disabled = !order.length;
  }

  name(i) {
    return `${this.data.labels[Math.floor(i / this.data.heads)]}.${i % this.data.heads}`;
  }

  /** Show a hovered or focused head in words, and mark it on every map. */
  describe(i) {
    if (this.pointed !== i) {
      for (const { cells } of this.views) {
        cells.all[this.pointed]?.classList.remove("pointed");
        cells.all[i].classList.add("pointed");
      }
    }
    this.pointed = i;
    this.find(".detail").textContent = `${this.views[0].cells.place(i)}: ${this.views.map((view) => view.words(i)).join("; ")}.`;
  }

  // Files and size

  picture() {
    return pictureOf(this.maps, { ...this.data, selected: this.selection.order });
  }

  /** Show the maps over the whole window, or in their place again. */
  enlarge(large) {
    const maps = this.find(".maps");
    this.large = large;
    maps.popover = large ? "manual" : null;
    if (large) maps.showPopover();
    this.find(".enlarge").setAttribute("aria-pressed", large);
    this.find(".enlarge").textContent = large ? "Close" : "Enlarge";
  }
}
