// The maps as one SVG file, on white, with title and subtitle; and their values as CSV.

const CELL = 22; // pixels
const INK = "#1c2530";

export function pictureOf(maps, { labels, heads, subtitle, selected }) {
  const left = 14 + 7 * Math.max(...labels.map((label) => label.length), 5);
  const [width, height] = [left + CELL * heads + 24, CELL * labels.length + 118];
  const across = maps.length > 1 && heads <= 40 ? 2 : 1;
  const parts = [text(16, 24, subtitle, 13, "#5b636b")];
  maps.forEach((map, k) => {
    const [x, y] = [(k % across) * width, 36 + Math.floor(k / across) * height];
    parts.push(`<g transform="translate(${x} ${y})">${onePicture(map, labels, heads, left, selected)}</g>`);
  });
  const total = [Math.max(across * width, 24 + 7 * subtitle.length), 44 + Math.ceil(maps.length / across) * height];
  return svgFile(total, parts.join(""));
}

function onePicture(map, labels, heads, left, selected) {
  const [top, bottom] = [46, 46 + CELL * labels.length];
  const parts = [text(16, 22, map.title, 15, INK, "font-weight='600'")];
  for (let head = 0; head < heads; head += heads > 20 ? 4 : 1) {
    parts.push(text(left + CELL * (head + 0.5), top - 6, head, 11, INK, "text-anchor='middle'"));
  }
  labels.forEach((label, row) => {
    parts.push(text(left - 6, top + CELL * row + 15, label, 11, INK, "text-anchor='end'"));
  });
  looks(map).forEach(({ color, symbol }, i) => {
    const [x, y] = [left + CELL * (i % heads), top + CELL * Math.floor(i / heads)];
    const side = CELL - 2;
    parts.push(`<rect x="${x}" y="${y}" width="${side}" height="${side}" fill="${color ?? "#ffffff"}" stroke="#c3ccd5" stroke-width="0.7"/>`);
    if (symbol) parts.push(text(x + side / 2, y + 15, symbol, 13, color ? inkOn(color) : INK, "text-anchor='middle'"));
  });
  for (const i of selected) {
    const [x, y] = [left + CELL * (i % heads), top + CELL * Math.floor(i / heads)];
    const frame = (inset, color) => {
      const side = CELL - 2 - 2 * inset;
      return `<rect x="${x + inset}" y="${y + inset}" width="${side}" height="${side}" fill="none" stroke="${color}" stroke-width="2"/>`;
    };
    parts.push(frame(2, "#ffffff"), frame(0, "#000000"));
  }
  let x = 16;
  if (map.ramp.length) {
    map.ramp.forEach((color, k) => parts.push(`<rect x="${x + 3 * k}" y="${bottom + 12}" width="3.2" height="12" fill="${color}"/>`));
    parts.push(text(x + 3 * map.ramp.length + 10, bottom + 22, `light: ${map.ends[0]}, dark: ${map.ends[1]}`, 11, INK));
    parts.push(text(x, bottom + 42, map.scale, 11, INK));
  }
  const named = map.marks.filter((mark) => mark.at.length).map(({ symbol, label, at }) => `${symbol || "■"} ${label} (${at.length})`);
  if (named.length) parts.push(text(x, bottom + (map.ramp.length ? 60 : 24), named.join("   "), 11, INK));
  return parts.join("");
}

/** One line per head: layer, head, and a column per map. */
export function tableOf(maps, { labels, heads }) {
  const state = (map, i) => map.marks.filter((mark) => mark.at.includes(i)).map((mark) => mark.label).join(", ");
  const columns = maps.flatMap((map) => [
    ...(map.values ? [[map.name, (i) => map.values[i] ?? ""]] : []),
    ...(map.marks.length ? [[map.values ? `${map.name}_state` : map.name, (i) => state(map, i)]] : []),
  ]);
  const lines = [["layer", "head", ...columns.map(([name]) => name)]];
  for (let i = 0; i < labels.length * heads; i++) {
    lines.push([labels[Math.floor(i / heads)], i % heads, ...columns.map(([, value]) => value(i))]);
  }
  return lines.map((line) => line.map(csvField).join(",")).join("\r\n") + "\r\n";
}
