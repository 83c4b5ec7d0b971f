// The exact alpha path as a strip with one field per interval, to scale. Python computes it for one sparsity, direction and
// set of overrides; while those change it is stale. Intervals: {low, high, changed, id, flips?, accuracy?}.

const SHOWN = 3; // decimals

/** The interval that alpha lies in: the last one whose low end is not above it. */
export function intervalAt(path, alpha) {
  let low = 0;
  let high = path.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (path[middle].low <= alpha) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** The middle of an interval, rounded to the fewest decimals that stay in its inner half: a short number for the URL. */
export function middleOf({ low, high }) {
  const middle = (low + high) / 2;
  for (let digits = 2; digits < 16; digits++) {
    const short = Number(middle.toFixed(digits));
    if (Math.abs(short - middle) <= (high - low) / 4) return short;
  }
  return middle;
}

/** "3 heads differ from HIS only". */
export function differing(count) {
  if (count === 0) return "same mask as HIS only";
  return count === 1 ? "1 head differs from HIS only" : `${count} heads differ from HIS only`;
}

export class Strip {
  constructor(find, jump) {
    this.find = find;
    this.path = [];
    this.fresh = false;
    const fields = find(".fields");
    const under = (event) => {
      const box = fields.getBoundingClientRect();
      return intervalAt(this.path, (event.clientX - box.left) / box.width);
    };
    fields.onclick = (event) => this.fresh && jump(under(event));
    fields.onpointermove = (event) => this.path.length && this.describe(under(event));
    fields.onpointerleave = () => this.describe(this.current);
  }

  /** Take a path from Python; `key` names the setting that it was computed for. */
  take(path, key) {
    this.key = key;
    if (JSON.stringify(path) === JSON.stringify(this.path)) return;
    this.path = path ?? [];
    this.fresh = false; // until it is drawn for the setting on screen
    this.find(".strip").hidden = !this.path.length;
    if (!this.path.length) return;
    // One SVG path for every second interval, so thousands of intervals cost no more than a few.
    const odd = this.path.filter((_, i) => i % 2).map(({ low, high }) => `M${low} 0H${high}V1H${low}Z`);
    this.find(".odd").setAttribute("d", odd.join(""));
    this.masks = new Set(this.path.map((interval) => interval.id)).size;
    this.drawAccuracy();
    this.flips = this.path.every((interval) => interval.flips) ? this.flipsByHead() : null;
  }

  drawAccuracy() {
    const known = this.path.map((interval) => interval.accuracy).filter((value) => typeof value === "number");
    this.find(".lane").toggleAttribute("hidden", !known.length); // an SVG has no property of that name
    if (!known.length) return;
    const [low, high] = [Math.min(...known), Math.max(...known)];
    const height = (value) => (high > low ? 0.94 - (0.88 * (value - low)) / (high - low) : 0.5);
    let line = "";
    let pen = "M";
    for (const { low: from, high: to, accuracy } of this.path) {
      if (typeof accuracy === "number") line += `${pen}${from} ${height(accuracy)}H${to}`;
      pen = typeof accuracy === "number" ? "L" : "M";
    }
    this.find(".accuracy").setAttribute("d", line);
    this.find(".lane-words").textContent = `accuracy, ${percent(low)} to ${percent(high)} along the path`;
  }

  /** For each head that changes, the alphas at which it does, ascending. */
  flipsByHead() {
    const flips = new Map();
    for (const { low, flips: heads } of this.path) {
      for (const i of heads) flips.set(i, [...(flips.get(i) ?? []), low]);
    }
    return flips;
  }

  /** Heads that change within `reach` of alpha; null if the path does not tell. */
  flipping(alpha, reach) {
    if (!this.fresh || !this.flips) return null;
    const heads = new Set();
    for (let k = intervalAt(this.path, alpha - reach) + 1; k < this.path.length && this.path[k].low <= alpha + reach; k++) {
      for (const i of this.path[k].flips) heads.add(i);
    }
    return heads;
  }

  /** The alpha nearest to the current one at which head i changes; Infinity if there is none, null if the path does not tell. */
  nearestFlip(i, alpha) {
    if (!this.fresh || !this.flips) return null;
    let nearest = Infinity;
    for (const edge of this.flips.get(i) ?? []) if (Math.abs(edge - alpha) < Math.abs(nearest - alpha)) nearest = edge;
    return nearest;
  }

  draw(alpha, key) {
    if (!this.path.length) return;
    this.fresh = key === this.key;
    this.current = intervalAt(this.path, alpha);
    const { low, high } = this.path[this.current];
    this.find(".strip").classList.toggle("stale", !this.fresh);
    this.find(".here").style.left = `${100 * low}%`;
    this.find(".here").style.width = `${100 * (high - low)}%`;
    this.find(".marker").style.left = `${100 * alpha}%`;
    this.describe(this.current);
  }

  describe(k) {
    const { low, high, changed, accuracy } = this.path[k];
    const measured = typeof accuracy === "number" ? `; accuracy ${percent(accuracy)}` : "";
    this.find(".strip-words").textContent = this.fresh
      ? `alpha ${low.toFixed(SHOWN)} to ${high.toFixed(SHOWN)}: ${differing(changed)}${measured}`
      : "updates on release";
    this.find(".strip-count").textContent = this.fresh
      ? `${this.path.length} interval${this.path.length > 1 ? "s" : ""}, ${this.masks} distinct mask${this.masks > 1 ? "s" : ""}`
      : "";
  }
}

function percent(share) {
  return `${(100 * share).toFixed(1)}%`;
}
