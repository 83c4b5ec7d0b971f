// The three homes of the view: Streamlit component, notebook widget and HTML file.

/** Shows a document of `attention_document` in an element. Options: onPin(pinned) and page, the template of the HTML file. */
export function draw(element, data, options = {}) {
  return new AttentionView(element, data, options);
}

function render({ model, el }) {
  const onPin = (pinned) => {
    model.set("pinned", pinned);
    model.save_changes();
  };
  const view = draw(el, model.get("document"), { onPin, page: model.get("page") });
  const load = () => view.load(model.get("document"));
  model.on("change:document", load);
  return () => {
    model.off("change:document", load);
    view.destroy();
  };
}

const views = new WeakMap(); // parentElement -> AttentionView, so that a rerun keeps what is pinned

/** Called with a component by Streamlit, and without arguments by anywidget. */
export default function (component) {
  if (!component) return { render };
  const { parentElement, data, setStateValue } = component;
  let view = views.get(parentElement);
  if (!view) {
    view = draw(parentElement, data.document, { page: data.page });
    views.set(parentElement, view);
  } else if (view.data.id !== data.document.id) view.load(data.document);
  view.options.onPin = data.reports ? (pinned) => setStateValue("pinned", pinned) : null;
}
