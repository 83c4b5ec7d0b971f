// The view as a picture: SVG, and PNG made from it.

const PICTURE = { column: 170, links: 190, gap: 40, edge: 16, head: 56 };
const MOST_CELLS = 20000; // a matrix with more is embedded as an image
const LARGEST_SIDE = 16000; // px, of a PNG

function xml(text) {
  const plain = String(text).toWellFormed().replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "\ufffd");
  return plain.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
}

const round = (value) => Math.round(100 * value) / 100;

/** Returns { text, width, height }. */
function svgPicture(view) {
  const focus = view.focus();
  const parts = view.panels.map((panel) => (panel instanceof LinesPanel ? linesPicture : matrixPicture)(view, panel, focus));
  const { edge, gap, head } = PICTURE;
  const title = focus ? `${view.words.subject(focus)} ${view.words.verb(focus)} …` : view.title();
  const inside = parts.reduce((sum, part) => sum + part.width, gap * (parts.length - 1));
  const width = Math.ceil(Math.max(420, inside) + 2 * edge);
  const height = Math.ceil(Math.max(...parts.map((part) => part.height)) + head + 40 + edge);
  let left = edge;
  const groups = parts.map((part, i) => {
    const panel = view.panels[i];
    const count = view.words.count(panel.head.attention.links(focus));
    const name = `<text y="-8" font-weight="600" fill="${panel.head.color}">${xml(panel.head.label)}</text>`;
    const note = `<text y="${part.height + 18}" font-size="11">${xml(panel instanceof LinesPanel ? count : "")}</text>`;
    const group = `<g transform="translate(${left} ${head})">${name}${part.text}${note}</g>`;
    left += part.width + gap;
    return group;
  });
  const font = "system-ui, 'Segoe UI', Roboto, 'Noto Sans', sans-serif";
  const text =
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" ` +
    `font-family="${font}" font-size="13" fill="${view.colors.text}"><rect width="100%" height="100%" ` +
    `fill="${view.colors.back}"/><text x="${edge}" y="24">${xml(title)}</text>${groups.join("")}</svg>`;
  return { text, width, height };
}

function linesPicture(view, panel, focus) {
  const { column, links } = PICTURE;
  const width = 2 * column + links;
  const { attention, color } = panel.head;
  const sums = focus && attention.sums(focus);
  const paths = attention.links(focus).links.map(({ query, key, value }) => {
    const [from, to] = [(query + 0.5) * ROW, (key + 0.5) * ROW];
    const [start, middle, end] = [column, column + links / 2, column + links];
    const strength = Math.sqrt(value);
    const opacity = focus ? 0.25 + 0.75 * strength : strength;
    const style = `stroke-opacity="${round(opacity)}" stroke-width="${round(0.5 + 3.5 * strength)}"`;
    return `<path d="M${start} ${from}C${middle} ${from} ${middle} ${to} ${end} ${to}" ${style}/>`;
  });
  const texts = panel.columns.map(({ side, count }) => {
    const left = side === "query";
    const lines = [];
    for (let i = 0; i < count; i++) {
      const inside = focus?.side === side && i >= focus.start && i < focus.stop;
      const value = focus && focus.side !== side ? sums[i] : 0;
      const label = isolated(clippedLabel(view.words.label(side, i, view.state.form), 30));
      const shown = xml(value > 0 ? (left ? `${percent(value)}  ${label}` : `${label}  ${percent(value)}`) : label);
      const place = `x="${left ? column - 6 : column + links + 6}" y="${(i + 0.5) * ROW + 4}"`;
      lines.push(`<text ${place}${inside ? ' font-weight="700"' : ""} text-anchor="${left ? "end" : "start"}">${shown}</text>`);
    }
    return lines.join("");
  });
  const height = ROW * Math.max(...panel.columns.map(({ count }) => count));
  return { text: `<g fill="none" stroke="${color}">${paths.join("")}</g>${texts.join("")}`, width, height };
}

function matrixPicture(view, panel, focus) {
  const { left, top, size, width, height } = panel;
  const { attention, color } = panel.head;
  const parts = [];
  if (panel.rows * panel.count > MOST_CELLS) {
    parts.push(`<image width="${width}" height="${height}" href="${panel.canvas.toDataURL()}"/>`);
    return { text: parts.join(""), width, height };
  }
  attention.visit(null, (at, query, key) => {
    const value = attention.values[at] / SCALE;
    if (!value) return;
    const [x, y] = [round(left + key * size), round(top + query * size)];
    parts.push(`<rect x="${x}" y="${y}" width="${round(size)}" height="${round(size)}" fill-opacity="${round(Math.sqrt(value))}"/>`);
  });
  const labels = [];
  if (size >= SMALLEST_LABELED) {
    const label = (side, i) => xml(clippedLabel(view.words.label(side, i, view.state.form), 16));
    const font = `font-size="${Math.round(Math.min(13, size * 0.62))}"`;
    for (let i = 0; i < panel.rows; i++) {
      const y = round(top + (i + 0.5) * size + 4);
      labels.push(`<text ${font} x="${round(left - 5)}" y="${y}" text-anchor="end">${label("query", i)}</text>`);
    }
    for (let i = 0; i < panel.count; i++) {
      const place = `translate(${round(left + (i + 0.5) * size + 4)} ${round(top - 5)}) rotate(-90)`;
      labels.push(`<text ${font} transform="${place}">${label("key", i)}</text>`);
    }
  }
  const [wide, high] = [size * panel.count, size * panel.rows].map(round);
  const frame = `<rect x="${round(left)}" y="${round(top)}" width="${wide}" height="${high}" fill="none" stroke="${view.colors.text}" stroke-opacity="0.35"/>`;
  let mark = "";
  if (focus) {
    const byQuery = focus.side === "query";
    const [from, extent] = [focus.start * size, (focus.stop - focus.start) * size].map(round);
    const box = byQuery ? [left, top + from, wide, extent] : [left + from, top, extent, high];
    const [x, y, w, h] = box.map(round);
    mark = `<rect x="${x}" y="${y}" width="${w}" height="${h}" fill="none" stroke="${view.colors.text}" stroke-width="1.5"/>`;
  }
  return { text: `<g fill="${color}">${parts.join("")}</g>${labels.join("")}${frame}${mark}`, width, height };
}

function clippedLabel(text, most) {
  const signs = [...text];
  return signs.length > most ? `${signs.slice(0, most - 1).join("")}…` : text;
}

async function pngPicture(view) {
  const { text, width, height } = svgPicture(view);
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  await image.decode();
  const scale = Math.min(2, LARGEST_SIDE / Math.max(width, height));
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [Math.ceil(width * scale), Math.ceil(height * scale)];
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  context.drawImage(image, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}
