// Elements, canvases, colors and downloads.

// Where the data stands in the template of the HTML file. Data has no "<", and this line has no mark: neither is replaced.
const DOCUMENT_MARK = ">" + "__ATTENTION_DOCUMENT__" + "<";

/** Creates an element; its text is never read as HTML. */
function make(tag, names = "", attributes = {}, text = "") {
  const element = document.createElement(tag);
  if (names) element.className = names;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text) element.textContent = text;
  return element;
}

/** Sizes a canvas in device pixels; returns the device pixels of one px. */
function fit(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  canvas.style.height = `${height}px`;
  return ratio;
}

/** Red, green and blue, 0 to 255, of any CSS color. */
function channels(color) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [1, 1];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = color;
  context.fillRect(0, 0, 1, 1);
  return context.getImageData(0, 0, 1, 1).data;
}

function download(name, parts, type) {
  const blob = parts instanceof Blob ? parts : new Blob(parts, { type });
  const link = make("a", "", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** A cell of a CSV file. A spreadsheet would read a text that starts with one of these signs as a formula. */
function cell(text) {
  const safe = text.length > 1 && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** All stored values of the heads that are shown, one link per line. */
function csvParts(view) {
  const [queries, keys] = ["query", "key"].map((side) => view.words.tokens(side).tokens.map((token) => cell(token)));
  const parts = ["head,query_position,query_token,key_position,key_token,attention,value_weighted_attention\r\n"];
  for (const panel of view.panels) {
    const [raw, weighted] = ["raw", "weighted"].map((kind) => view.attention(panel.head.index, kind));
    const label = cell(panel.head.label);
    for (let query = 0; query < queries.length; query++) {
      const found = new Map(); // key -> [raw, weighted]; each kind has its own strongest keys
      const row = { side: "query", start: query, stop: query + 1 };
      raw.visit(row, (at, _, key) => raw.values[at] && found.set(key, [raw.values[at], null]));
      weighted.visit(row, (at, _, key) => {
        if (weighted.values[at]) found.set(key, [found.get(key)?.[0] ?? null, weighted.values[at]]);
      });
      const shown = (value, kind) => (value === null ? (kind.places ? "" : "0") : (value / SCALE).toFixed(6));
      for (const [key, [one, other]] of [...found].sort((a, b) => a[0] - b[0])) {
        const values = `${shown(one, raw)},${shown(other, weighted)}`;
        parts.push(`${label},${query + 1},${queries[query]},${key + 1},${keys[key]},${values}\r\n`);
      }
    }
  }
  return parts;
}

/** The HTML file with this view; the data cannot end the script element that holds it. */
function htmlPage(view, template) {
  return template.replace(DOCUMENT_MARK, () => `>${JSON.stringify(view.data).replaceAll("<", "\\u003c")}<`);
}

function save(view, kind) {
  if (kind === "SVG") download("attention.svg", [svgPicture(view).text], "image/svg+xml");
  if (kind === "PNG") pngPicture(view).then((blob) => download("attention.png", blob));
  if (kind === "CSV") download("attention.csv", ["\ufeff", ...csvParts(view)], "text/csv");
  if (kind === "HTML") download("attention.html", [htmlPage(view, view.options.page)], "text/html");
}
