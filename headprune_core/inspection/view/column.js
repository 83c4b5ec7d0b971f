// A column of tokens. Only the tokens in sight are elements of the page.

const ROW = 24; // height of a token in px
const MARGIN = 8; // tokens rendered beyond each end of the visible part

class TokenColumn {
  constructor(view, side, label) {
    this.view = view;
    this.side = side;
    this.count = view.words.tokens(side).tokens.length;
    this.items = new Map(); // index -> element
    this.active = 0; // the token in the tab order
    this.element = make("div", `av-column av-${side}`, { role: "listbox", "aria-multiselectable": "true", "aria-label": label });
    this.element.style.height = `${this.count * ROW}px`;
    this.listen();
  }

  listen() {
    const { element, view, side } = this;
    element.onpointermove = (event) => view.pointAt(side, this.at(event), event);
    element.onpointerleave = () => view.leave();
    element.onpointerdown = (event) => {
      if (event.button !== 0) return;
      this.active = this.at(event);
      view.press(side, this.active, event);
    };
    element.onpointerup = (event) => view.release(side, this.at(event), event);
    element.onkeydown = (event) => this.move(event);
    element.onfocusin = (event) => {
      if (event.target !== element && event.target.matches(":focus-visible")) view.pointAt(side, this.active, event);
    };
    element.onfocusout = () => view.leave();
  }

  at(event) {
    const place = Math.floor((event.clientY - this.element.getBoundingClientRect().top) / ROW);
    return Math.max(0, Math.min(this.count - 1, place));
  }

  move(event) {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -this.count, End: this.count }[event.key];
    if (event.key === "Enter" || event.key === " ") this.view.toggle(this.side, this.active);
    else if (event.key === "ArrowLeft" || event.key === "ArrowRight") this.view.cross(this);
    else if (step !== undefined) this.goTo(Math.max(0, Math.min(this.count - 1, this.active + step)), event.shiftKey);
    else return;
    event.preventDefault();
  }

  /** Moves the keyboard focus to a token. */
  goTo(index, extends_ = false) {
    const from = this.active;
    this.active = index;
    this.view.reveal(this, index);
    this.render();
    this.items.get(index).focus({ preventScroll: true });
    if (extends_) this.view.extend(this.side, from, index);
    this.view.pointAt(this.side, index, { keyboard: true });
  }

  /** Creates the elements from `top` to `bottom` px, and the active one, and removes the others. */
  render(top = this.top, bottom = this.bottom) {
    this.top = top;
    this.bottom = bottom;
    const first = Math.max(0, Math.floor(top / ROW) - MARGIN);
    const last = Math.min(this.count, Math.ceil(bottom / ROW) + MARGIN);
    this.active = Math.min(this.active, this.count - 1);
    for (const [index, item] of this.items) {
      const kept = (index >= first && index < last) || index === this.active;
      if (!kept) {
        item.remove();
        this.items.delete(index);
      }
    }
    for (let index = first; index < last; index++) if (!this.items.has(index)) this.add(index);
    if (!this.items.has(this.active)) this.add(this.active);
    for (const [index, item] of this.items) item.tabIndex = index === this.active ? 0 : -1;
  }

  add(index) {
    const { words, state } = this.view;
    const tokens = words.tokens(this.side);
    const item = make("div", "av-token", { role: "option", "aria-setsize": this.count, "aria-posinset": index + 1 });
    item.classList.toggle("av-special", Boolean(tokens.special[index]));
    item.classList.toggle("av-second", tokens.segment[index] > 0);
    item.title = `${tokens.tokens[index]} · token ${index + 1}`;
    item.style.top = `${index * ROW}px`;
    const text = make("span", "av-text", { dir: "auto" }, words.label(this.side, index, state.form));
    item.append(text, make("span", "av-number"));
    this.items.set(index, item);
    const after = [...this.items.keys()].filter((other) => other > index);
    this.element.insertBefore(item, after.length ? this.items.get(Math.min(...after)) : null);
  }

  /** Shows the focus: its own tokens are marked, those of the other side have their share. */
  paint(focus, sums, color) {
    const mine = focus?.side === this.side;
    for (const [index, item] of this.items) {
      const inside = mine && index >= focus.start && index < focus.stop;
      const value = !mine && sums ? sums[index] : 0;
      item.classList.toggle("av-focus", Boolean(inside));
      item.classList.toggle("av-faint", Boolean(focus) && (mine ? !inside : value < 0.0005));
      item.setAttribute("aria-selected", String(Boolean(inside && focus.pinned)));
      item.lastChild.textContent = value > 0 ? percent(value) : "";
      const strength = Math.round(55 * Math.sqrt(Math.min(1, value)));
      item.style.backgroundColor = value > 0 ? `color-mix(in srgb, ${color} ${strength}%, transparent)` : "";
    }
  }

  /** Replaces the text of the tokens, after another form was chosen. */
  relabel() {
    for (const [index, item] of this.items) {
      item.firstChild.textContent = this.view.words.label(this.side, index, this.view.state.form);
    }
  }
}
