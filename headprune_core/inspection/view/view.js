// The view: what the user does changes its state.

class AttentionView extends AttentionDisplay {
  pointAt(side, index, event, cell = null) {
    const { point } = this.state;
    if (this.drag?.side === side && (index !== this.drag.start || this.drag.moved)) {
      this.drag.moved = true;
      this.extend(side, this.drag.start, index);
    }
    const same = point && point.side === side && point.index === index && point.cell?.query === cell?.query;
    if (!same || point.cell?.key !== cell?.key) {
      this.state.point = { side, index, cell };
      this.update();
    }
    if (event.keyboard || event.type === "focusin") this.speak();
  }

  leave() {
    if (!this.state.point) return;
    this.state.point = null;
    this.update();
  }

  press(side, index, event) {
    if (event.pointerType === "touch" || event.shiftKey || this.state.spanning) return;
    this.anchor = null;
    this.drag = { side, start: index, moved: false };
  }

  release(side, index, event) {
    const { pinned, spanning } = this.state;
    const dragged = this.drag?.moved;
    this.drag = null;
    if (dragged) this.speak();
    else if ((spanning || event.shiftKey) && pinned?.side === side) {
      this.state.spanning = false;
      this.extend(side, pinned.start, index);
    } else this.toggle(side, index);
  }

  toggle(side, index) {
    const { pinned } = this.state;
    const same = pinned && pinned.side === side && pinned.start === index && pinned.stop === index + 1;
    this.pin(same ? null : { side, start: index, stop: index + 1 });
    this.anchor = same ? null : index;
  }

  extend(side, from, to) {
    if (this.state.pinned?.side !== side || this.anchor == null) this.anchor = from;
    this.pin({ side, start: Math.min(this.anchor, to), stop: Math.max(this.anchor, to) + 1 });
  }

  pin(pinned) {
    this.state.pinned = pinned;
    if (pinned) this.state.side = pinned.side;
    this.controls.update();
    this.update();
    this.speak();
    this.options.onPin?.(pinned);
  }

  escape(event) {
    if (event.key !== "Escape") return;
    if (this.state.pinned) this.pin(null);
    else if (this.maximized) this.maximize(false);
    else return;
    event.stopPropagation();
  }

  choose(name, value) {
    const { state } = this;
    if (state[name] === value) return;
    state[name] = value;
    if (name === "side" && state.pinned) {
      const last = this.words.tokens(value).tokens.length - 1;
      const start = Math.min(state.pinned.start, last);
      this.pin({ side: value, start, stop: Math.min(state.pinned.stop, last + 1) });
    }
    if (name === "mode") this.build();
    else {
      if (name === "form") for (const panel of this.panels) panel.relabel();
      this.layout();
    }
    this.speak();
  }

  toggleSpan() {
    this.state.spanning = !this.state.spanning;
    this.controls.update();
  }

  toggleHead(index) {
    const { slots } = this;
    if (slots.has(index)) {
      if (slots.size === 1) return;
      slots.delete(index);
    } else {
      if (slots.size === MOST_PANELS) slots.delete(slots.keys().next().value); // the one that was chosen first
      const taken = new Set(slots.values());
      slots.set(index, [...Array(MOST_PANELS).keys()].find((slot) => !taken.has(slot)));
    }
    this.build();
  }

  /** Moves the keyboard focus to the other column of the same panel. */
  cross(column) {
    const { columns } = this.panels.find((panel) => panel.columns.includes(column));
    const other = columns.find((one) => one !== column);
    other.goTo(Math.min(column.active, other.count - 1));
  }

  reveal(column, index) {
    const { scroll } = this.panels.find((panel) => panel.columns.includes(column));
    const top = index * ROW;
    if (top < scroll.scrollTop) scroll.scrollTop = top;
    else if (top + ROW > scroll.scrollTop + scroll.clientHeight) scroll.scrollTop = top + ROW - scroll.clientHeight;
  }

  scrolled(panel) {
    const top = panel.scroll.scrollTop;
    panel.update(this.focus());
    for (const other of this.panels) if (other.scroll.scrollTop !== top) other.scroll.scrollTop = top;
  }

  /** In the top layer, above everything else on the page. */
  maximize(on) {
    this.maximized = on;
    this.root.classList.toggle("av-max", on);
    if (on) {
      this.root.popover = "manual";
      this.root.showPopover();
    } else {
      this.root.hidePopover();
      this.root.popover = null;
    }
    this.layout();
  }
}
