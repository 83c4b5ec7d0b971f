// Manual overrides: heads that are always kept (1) or always pruned (-1), with undo and redo.

export class Edits {
  constructor(count) {
    this.kinds = new Int8Array(count);
    this.past = [];
    this.future = [];
  }

  /** Take over the overrides that Python sends, and drop the undo history. */
  adopt(edits, heads) {
    this.kinds = new Int8Array(this.kinds.length);
    for (const [kind, places] of [[1, edits?.keep ?? []], [-1, edits?.remove ?? []]]) {
      for (const [row, head] of places) if (head < heads) this.kinds[row * heads + head] = kind;
    }
    this.past = [];
    this.future = [];
  }

  /** Set heads and return whether anything changed. */
  set(indices, kind) {
    const next = this.kinds.slice();
    for (const i of indices) next[i] = kind;
    if (next.every((value, i) => value === this.kinds[i])) return false;
    this.past.push(this.kinds);
    this.future = [];
    this.kinds = next;
    return true;
  }

  undo() {
    return this.step(this.past, this.future);
  }

  redo() {
    return this.step(this.future, this.past);
  }

  step(from, to) {
    if (!from.length) return false;
    to.push(this.kinds);
    this.kinds = from.pop();
    return true;
  }

  /** Whether any head has an override. */
  get some() {
    return this.kinds.some((kind) => kind);
  }

  /** In the form that Python takes: {keep: [[row, head], ...], remove: [...]}, in order. */
  lists(heads) {
    const places = (kind) =>
      Array.from(this.kinds.keys())
        .filter((i) => this.kinds[i] === kind)
        .map((i) => [Math.floor(i / heads), i % heads]);
    return { keep: places(1), remove: places(-1) };
  }
}
