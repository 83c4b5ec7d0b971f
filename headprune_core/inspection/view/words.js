// Everything in words: percentages, tokens, the attention of a token, and the number of links.

const INVISIBLE = { " ": "␣", "\n": "⏎", "\t": "⇥", "\r": "␍" };

function percent(value) {
  return value > 0 && value < 0.0005 ? "<0.1%" : `${(100 * value).toFixed(1)}%`;
}

/** A text with visible signs for spaces and line breaks where there is nothing else to see. */
function visible(text) {
  const bare = text.trim();
  return bare || [...text].map((sign) => INVISIBLE[sign] ?? sign).join("") || "∅";
}

/** A text whose direction does not reorder the numbers around it. */
function isolated(text) {
  return /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/.test(text) ? `\u2068${text}\u2069` : text;
}

const number = (value) => value.toLocaleString("en-US");

class Words {
  constructor(data) {
    this.data = data;
  }

  tokens(side) {
    return side === "query" ? this.data.queries : this.data.keys;
  }

  label(side, index, form) {
    return visible(this.tokens(side)[form][index]);
  }

  text(side, index) {
    return isolated(this.label(side, index, "surface"));
  }

  name(side, index) {
    return `“${this.text(side, index)}” (token ${number(index + 1)})`;
  }

  subject({ side, start, stop }) {
    const all = number(this.tokens(side).tokens.length);
    if (stop === start + 1) return `“${this.text(side, start)}” (token ${number(stop)} of ${all})`;
    const shown = this.tokens(side).surface.slice(start, Math.min(stop, start + 6)).join(this.spacing(side));
    const text = `${isolated(shown.trim())}${stop > start + 6 ? " …" : ""}`;
    return `Tokens ${number(start + 1)} to ${number(stop)} of ${all} (“${text}”; sum of ${number(stop - start)} tokens)`;
  }

  /** Surface texts of byte-level tokenizers have their own spaces. */
  spacing(side) {
    return this.tokens(side).surface.some((text) => /^\s\S/.test(text)) ? "" : " ";
  }

  /** The strongest tokens of a focus: [{ label, text }], one entry for each head that is shown. */
  strongest(focus, heads) {
    const other = focus.side === "query" ? "key" : "query";
    return heads.map(({ label, attention }) => {
      const sums = attention.sums(focus);
      const best = [...sums.keys()].filter((i) => sums[i] > 0).sort((a, b) => sums[b] - sums[a]);
      const listed = best.slice(0, 5).map((i) => `${this.text(other, i)} ${percent(sums[i])}`);
      const more = best.length > 5 ? ` (5 strongest of ${number(best.length)})` : "";
      return { label, text: best.length ? listed.join(" · ") + more : "none" };
    });
  }

  verb({ side, start, stop }) {
    const many = stop > start + 1;
    if (side === "query") return many ? "attend to" : "attends to";
    return many ? "are attended to by" : "is attended to by";
  }

  /** The attention between a focus and one token of the other side, for each head. */
  pair(focus, index, heads) {
    const other = focus.side === "query" ? "key" : "query";
    const values = heads.map(({ label, attention }) => ({ label, text: percent(attention.sums(focus)[index]) }));
    return { start: `${this.subject(focus)} ${this.verb(focus)} ${this.name(other, index)}`, values };
  }

  count({ links, count, share }) {
    if (!count) return "No links: all attention rounds to 0.";
    const all = `${number(count)} ${count === 1 ? "link" : "links"}`;
    if (links.length === count) return `${links.length === 1 ? "The only link is" : `All ${all} are`} drawn.`;
    return `${number(links.length)} of ${all} drawn; they carry ${share >= 0.995 ? "over 99" : (100 * share).toFixed(0)}% of the attention.`;
  }
}
