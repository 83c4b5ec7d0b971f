// Attention values of one head. The files of this folder are joined to one module, in the order of __init__.py.
//
// A link is a pair of a query and a key whose attention rounds to at least 1 / 65535. A focus is a range of tokens on one
// side: { side: "query" or "key", start, stop }.

const SCALE = 65535;
const MOST_LINKS = 150;

function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes.buffer;
}

class Attention {
  constructor(packed, queries, keys) {
    this.queries = queries;
    this.keys = keys;
    this.values = new Uint16Array(bytesOf(packed.values));
    this.places = packed.keys ? new Uint32Array(bytesOf(packed.keys)) : null; // null: all pairs are stored
    this.rest = packed.rest ? new Uint16Array(bytesOf(packed.rest)) : null;
    this.width = this.values.length / queries; // stored values of each query
    this.found = new Map();
  }

  /** The key of a stored value. */
  key(at) {
    return this.places ? this.places[at] : at % this.width;
  }

  value(query, key) {
    if (!this.places) return this.values[query * this.width + key] / SCALE;
    const end = (query + 1) * this.width;
    for (let at = query * this.width; at < end; at++) if (this.places[at] === key) return this.values[at] / SCALE;
    return 0;
  }

  /** Calls visit(at, query, key) for the stored values of a focus; of all tokens if it is null. */
  visit(focus, visit) {
    const byQuery = focus?.side === "query";
    const first = byQuery ? focus.start : 0;
    const last = byQuery ? focus.stop : this.queries;
    const [low, high] = focus?.side === "key" ? [focus.start, focus.stop] : [0, this.keys];
    for (let query = first; query < last; query++) {
      const from = query * this.width;
      if (this.places) {
        for (let at = from; at < from + this.width; at++) {
          const key = this.places[at];
          if (key >= low && key < high) visit(at, query, key);
        }
      } else {
        for (let key = low; key < high; key++) visit(from + key, query, key);
      }
    }
  }

  /** For each token of the other side, the attention summed over the focus. */
  sums(focus) {
    const sums = new Float64Array(focus.side === "query" ? this.keys : this.queries);
    this.visit(focus, (at, query, key) => (sums[focus.side === "query" ? key : query] += this.values[at]));
    return sums.map((sum) => sum / SCALE);
  }

  /** The strongest links of a focus, strongest last; how many links it has, and the share of attention they carry. */
  links(focus) {
    const name = focus ? `${focus.side} ${focus.start} ${focus.stop}` : "all";
    if (!this.found.has(name)) {
      if (this.found.size > 200) this.found.clear();
      this.found.set(name, this.strongest(focus));
    }
    return this.found.get(name);
  }

  strongest(focus) {
    const counts = new Uint32Array(SCALE + 1);
    let total = 0;
    this.visit(focus, (at) => {
      counts[this.values[at]]++;
      total += this.values[at];
    });
    let count = 0;
    for (let value = 1; value <= SCALE; value++) count += counts[value];
    let least = SCALE; // the smallest value that is drawn, with room for `ties` links of this value
    let above = 0;
    while (least > 1 && above + counts[least] < MOST_LINKS) above += counts[least--];
    let ties = MOST_LINKS - above;
    const links = [];
    this.visit(focus, (at, query, key) => {
      const value = this.values[at];
      if (value < least || (value === least && ties-- <= 0)) return;
      links.push({ query, key, value: value / SCALE });
    });
    links.sort((a, b) => a.value - b.value);
    if (this.rest && focus?.side !== "key") {
      const [start, stop] = focus ? [focus.start, focus.stop] : [0, this.queries];
      for (let query = start; query < stop; query++) total += this.rest[query];
    }
    const carried = links.reduce((sum, link) => sum + link.value, 0);
    return { links, count, share: total ? (carried * SCALE) / total : 0 };
  }
}
