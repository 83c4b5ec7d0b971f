// Two columns of tokens with a link for each of the strongest values: opacity and width are the square root of the value.

class LinesPanel {
  constructor(view, head) {
    this.view = view;
    this.head = head;
    const cross = view.data.kind === "cross";
    const names = cross ? ["Queries (decoder)", "Keys (encoder)"] : ["Queries", "Keys"];
    this.columns = [
      new TokenColumn(view, "query", `${names[0]}, ${head.label}`),
      new TokenColumn(view, "key", `${names[1]}, ${head.label}`),
    ];
    this.canvas = make("canvas", "av-links", { "aria-hidden": "true" });
    this.body = make("div", "av-body");
    this.body.append(this.columns[0].element, this.canvas, this.columns[1].element);
    this.body.style.height = `${Math.max(this.columns[0].count, this.columns[1].count) * ROW}px`;
    this.scroll = make("div", "av-scroll");
    this.scroll.append(this.body);
    const titles = make("div", "av-sides", { "aria-hidden": "true" });
    titles.append(...names.map((name) => make("span", "", {}, name)));
    this.element = make("div", "av-lines");
    this.element.append(titles, this.scroll);
    this.scroll.onscroll = () => view.scrolled(this);
  }

  resize() {
    this.height = Math.min(this.scroll.clientHeight, this.body.clientHeight);
    this.width = this.canvas.clientWidth;
    this.ratio = fit(this.canvas, this.width, this.height);
  }

  update(focus) {
    const top = this.scroll.scrollTop;
    const sums = focus && this.head.attention.sums(focus);
    for (const column of this.columns) {
      column.render(top, top + this.height);
      column.paint(focus, sums, this.head.color);
    }
    this.paint(this.head.attention.links(focus).links, top, focus ? 0.25 : 0);
  }

  /** `least` is the opacity of the weakest link. */
  paint(links, top, least) {
    const context = this.canvas.getContext("2d");
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
    context.strokeStyle = this.head.color;
    for (const { query, key, value } of links) {
      const from = (query + 0.5) * ROW - top;
      const to = (key + 0.5) * ROW - top;
      if (Math.max(from, to) < 0 || Math.min(from, to) > this.height) continue;
      const strength = Math.sqrt(value);
      context.globalAlpha = least + (1 - least) * strength;
      context.lineWidth = 0.5 + 3.5 * strength;
      context.beginPath();
      context.moveTo(0, from);
      context.bezierCurveTo(this.width / 2, from, this.width / 2, to, this.width, to);
      context.stroke();
    }
  }

  relabel() {
    for (const column of this.columns) column.relabel();
  }
}
