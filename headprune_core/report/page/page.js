// On paper there is less room than on most screens: figures are drawn anew at the width of a page between its margins.
const PAPER = 640;
const redraw = (size) => document.querySelectorAll(".js-plotly-plot").forEach((figure) => Plotly.relayout(figure, size));
addEventListener("beforeprint", () => redraw({ width: PAPER }));
addEventListener("afterprint", () => redraw({ width: null, autosize: true }));
