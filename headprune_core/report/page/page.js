// Paper is narrower than most screens: before printing, figures are resized to the width of a page between its margins.
const PAPER = 640;
const resizeFigures = (size) => document.querySelectorAll(".js-plotly-plot").forEach((figure) => Plotly.relayout(figure, size));
addEventListener("beforeprint", () => resizeFigures({ width: PAPER }));
addEventListener("afterprint", () => resizeFigures({ width: null, autosize: true }));
