// How the state of a head looks in the alpha grid.

const [KEPT, DIFFERS, FLIPS, HELD, CHOSEN, LEVEL] = [1, 2, 4, 8, 16, 5]; // bits of the state of a cell; the level is stored above them
const LEVELS = 8; // shades of kept heads

export class Painter {
  /** Start with cells that were just built. */
  constructor(cells) {
    this.cells = cells;
    this.drawn = new Int16Array(cells.length).fill(-1);
  }

  /** Show these masks; only cells whose state has changed are updated. */
  paint({ mask, alone, scores, flipping, kinds, chosen }) {
    for (let i = 0; i < mask.length; i++) {
      let state = mask[i] ? KEPT | (Math.min(LEVELS - 1, Math.max(0, Math.floor(LEVELS * scores[i]))) << LEVEL) : 0;
      if (mask[i] !== alone[i]) state |= DIFFERS;
      if (flipping.has(i)) state |= FLIPS;
      if (kinds[i] === (mask[i] ? 1 : -1)) state |= HELD;
      if (chosen[i]) state |= CHOSEN;
      if (state === this.drawn[i]) continue;
      this.cells[i].className = classes(state);
      if ((state ^ this.drawn[i]) & CHOSEN) this.cells[i].setAttribute("aria-selected", Boolean(chosen[i]));
      this.drawn[i] = state;
    }
  }
}

const named = new Map(); // state -> class names

function classes(state) {
  if (!named.has(state)) {
    const words = ["cell", state & KEPT ? `kept l${state >> LEVEL}` : "removed"];
    for (const [bit, word] of [[DIFFERS, "differs"], [FLIPS, "flips"], [HELD, "held"], [CHOSEN, "chosen"]]) {
      if (state & bit) words.push(word);
    }
    named.set(state, words.join(" "));
  }
  return named.get(state);
}
