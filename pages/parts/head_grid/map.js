// One map of heads: title, cells in the color of their value or state, legend, and every cell in words.

export class HeadMapView {
  /** number: place among the maps; on: as for Cells. */
  constructor(draw, number, on) {
    this.node = document.createElement("figure");
    const part = (tag, name, parent = this.node) => parent.appendChild(element(tag, name, null));
    this.title = part("figcaption", "title");
    this.title.id = `title-${number}`;
    this.scroll = part("div", "scroll");
    this.grid = part("div", "grid", this.scroll);
    this.grid.setAttribute("role", "grid");
    this.grid.setAttribute("aria-multiselectable", "true");
    this.grid.setAttribute("aria-labelledby", this.title.id);
    this.box = part("div", "lasso", this.scroll);
    this.box.hidden = true;
    this.legend = part("p", "legend");
    const nodes = { ".grid": this.grid, ".lasso": this.box, ".scroll": this.scroll, ".draw": draw };
    this.cells = new Cells((selector) => nodes[selector], on, true);
  }

  build(labels, heads) {
    this.shape = JSON.stringify([labels, heads]);
    this.cells.build(labels, heads);
    this.drawn = null;
  }

  /** Draw this document; cells that stay as they are, are not touched. */
  draw(map) {
    if (this.drawn === map) return;
    this.drawn = map;
    this.title.textContent = map.title;
    this.looks = looks(map);
    this.cells.all.forEach((cell, i) => {
      const { color, symbol } = this.looks[i];
      const key = `${color} ${symbol}`;
      if (cell.key !== key) {
        cell.key = key;
        cell.style.background = color ?? "";
        cell.style.color = color ? inkOn(color) : "";
        cell.textContent = symbol;
        cell.classList.toggle("empty", !color);
      }
      cell.setAttribute("aria-label", `${this.cells.place(i)}: ${this.words(i)}`);
    });
    this.drawLegend(map);
  }

  drawLegend(map) {
    this.legend.replaceChildren();
    if (map.ramp.length) {
      const bar = element("i", "ramp", null);
      bar.style.background = `linear-gradient(to right, ${map.ramp.join(", ")})`;
      const ends = element("span", "ends", null, `light: ${map.ends[0]}, dark: ${map.ends[1]}`);
      ends.prepend(bar);
      this.legend.append(ends, element("span", "scale", null, map.scale));
    }
    for (const mark of map.marks) {
      if (!mark.at.length) continue;
      const entry = element("span", "", null, `${mark.label} (${mark.at.length})`);
      const swatch = element("i", "cell", null, mark.symbol);
      if (mark.color) Object.assign(swatch.style, { background: mark.color, color: inkOn(mark.color) });
      entry.prepend(swatch);
      this.legend.append(entry);
    }
  }

  /** The value or state of a head, as in "HIS 0.0133 (pruned as 60 of 72)". */
  words(i) {
    const { short, unit, percent, values, position } = this.drawn;
    const parts = [];
    if (values) {
      const value = values[i];
      const number = value === null ? "no value" : percent ? `${+(100 * value).toPrecision(3)}%` : short3(value);
      const place = position && value !== null ? ` (pruned as ${position[i]} of ${position.length})` : "";
      parts.push(`${short} ${number}${unit && value !== null ? ` ${unit}` : ""}${place}`);
    }
    return [...parts, ...this.looks[i].labels].join(", ");
  }

  /** Frame the heads whose bit has changed. */
  select(changed, bits) {
    for (const i of changed) {
      this.cells.all[i].classList.toggle("chosen", Boolean(bits[i]));
      this.cells.all[i].setAttribute("aria-selected", Boolean(bits[i]));
    }
  }
}

/** Color, symbol and states of every head; a color is null without a value. */
export function looks(map) {
  const all = map.levels.map((level) => ({ color: level < 0 ? null : map.ramp[level], symbol: "", labels: [] }));
  for (const { at, color, symbol, label } of map.marks) {
    for (const i of at) {
      all[i].color = color ?? all[i].color;
      all[i].symbol = symbol || all[i].symbol;
      all[i].labels.push(label);
    }
  }
  return all;
}

/** Black or white: the one that is readable on #rrggbb. */
export function inkOn(color) {
  const [red, green, blue] = [1, 3, 5].map((at) => (parseInt(color.slice(at, at + 2), 16) / 255) ** 2.2);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18 ? "#000000" : "#ffffff";
}

/** Three significant digits. */
export function short3(value) {
  return String(+value.toPrecision(3)).replace("-", "\u2212");
}
