// The files of a Plotly chart, made from what is drawn: its layers of SVG in one file, below title and subtitle.
// files.js of the maps of heads is joined in front of this file.

const HEAD = 58; // pixels for title and subtitle
const MARGIN = 28; // pixels at either side: another program may have wider letters

export default function ({ parentElement, data }) {
  const find = (selector) => parentElement.querySelector(selector);
  const chart = () => document.querySelector(`.st-key-${CSS.escape(data.chart)} .js-plotly-plot`);
  find(".tools").setAttribute("aria-label", `Files of the chart: ${data.title}`);
  find(".svg").onclick = () => save(chartFile(chart(), data), `${data.chart}.svg`, "image/svg+xml");
  find(".png").onclick = () => savePng(chartFile(chart(), data), `${data.chart}.png`);
  find(".enlarge").onclick = () => chart().querySelector(".modebar-btn[data-title='Fullscreen']").click();
}

/** The drawn chart as one SVG file, in the colors of the page. */
export function chartFile(chart, { title, subtitle }) {
  const { width, height } = chart.querySelector(".svg-container").getBoundingClientRect();
  const ink = getComputedStyle(chart).color;
  const layers = [...chart.querySelectorAll("svg.main-svg")].map((layer) => {
    const copy = layer.cloneNode(true);
    for (const part of copy.querySelectorAll(".hoverlayer, .zoomlayer, .draglayer")) part.remove();
    copy.setAttribute("x", MARGIN);
    copy.setAttribute("y", HEAD);
    Object.assign(copy.style, { background: "none", overflow: "visible" });
    return new XMLSerializer().serializeToString(copy).replace(/url\((&quot;|["'])?[^#)]*#/g, "url($1#");
  });
  const words = text(16, 24, title, 16, ink, "font-weight='600'") + text(16, 44, subtitle, 12, ink);
  const wide = Math.max(width + 2 * MARGIN, 24 + 8.5 * title.length, 24 + 6.5 * subtitle.length);
  return svgFile([wide, height + HEAD + MARGIN], words + layers.join(""), background(chart));
}

/** The color behind an element. */
function background(element) {
  for (let at = element; at; at = at.parentElement) {
    const color = getComputedStyle(at).backgroundColor;
    if (!/^(transparent|rgba\(.*, 0\))$/.test(color)) return color;
  }
  return "#ffffff";
}
