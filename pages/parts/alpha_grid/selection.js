// The selected heads, in the order of choice. They are drawn at once; Python receives them when the hand rests.

const REST = 300; // ms after the last change of a rectangle

export class Selection {
  /** send(message) tells Python; draw() shows the selection. */
  constructor(send, draw) {
    Object.assign(this, { send, draw, order: [], number: 0, timer: null });
    this.resize(0, 1);
  }

  resize(count, heads) {
    Object.assign(this, { heads, order: [], bits: new Uint8Array(count) });
  }

  /** Select these heads, and tell Python after `wait` ms. */
  set(order, wait = 0) {
    if (order.length === this.order.length && order.every((i, k) => i === this.order[k])) return;
    this.show(order);
    clearTimeout(this.timer);
    this.timer = null;
    if (wait) this.timer = setTimeout(() => this.tell(), wait);
    else this.tell();
  }

  toggle(i) {
    this.set(this.bits[i] ? this.order.filter((one) => one !== i) : [...this.order, i]);
  }

  show(order) {
    this.order = order;
    this.bits.fill(0);
    for (const i of order) this.bits[i] = 1;
    this.draw();
  }

  tell() {
    this.timer = null;
    this.send({ heads: this.order.map((i) => [Math.floor(i / this.heads), i % this.heads]), number: ++this.number });
  }

  /** Take over the selection of Python, unless it is the answer to an earlier one. */
  adopt(places, answers) {
    if (answers < this.number || this.timer !== null) return;
    this.number = answers;
    const inside = (places ?? []).filter(([row, head]) => head < this.heads && row * this.heads + head < this.bits.length);
    this.show(inside.map(([row, head]) => row * this.heads + head));
  }
}
