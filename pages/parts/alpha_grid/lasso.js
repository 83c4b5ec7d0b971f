// A rectangle drawn over the grid that selects the heads under it. A mouse starts one between the cells, or anywhere with
// Shift; if `anywhere`, it starts one wherever it moves while pressed. Touch, which scrolls, only after "Box select".

const APART = 5; // pixels that a mouse moves before a press on a cell is a rectangle instead of a click

export class Lasso {
  /** lines() gives a cell of every row and of every column; choose(rows, columns) receives those that the rectangle meets. */
  constructor(find, lines, choose, anywhere = false) {
    Object.assign(this, { find, lines, choose, anywhere, drawing: false, used: false, from: null });
    const grid = find(".grid");
    grid.onpointerdown = (event) => this.begin(event);
    grid.onpointermove = (event) => this.pull(event);
    grid.onpointerup = grid.onpointercancel = () => this.end();
    find(".draw").addEventListener("click", () => {
      this.drawing = !this.drawing;
      find(".draw").setAttribute("aria-pressed", this.drawing);
      grid.classList.toggle("drawing", this.drawing);
    });
  }

  begin(event) {
    this.used = false; // if true, the click that follows is not a click on a head
    const mouse = event.pointerType === "mouse";
    const betweenHeads = mouse && !event.target.closest(".cell");
    const may = this.drawing || betweenHeads || (this.anywhere ? mouse : event.shiftKey);
    if (event.button || event.target.closest("button") || !may) return;
    this.from = { x: event.clientX, y: event.clientY };
    if (this.anywhere && mouse && !betweenHeads) return; // a click, unless it moves
    event.preventDefault();
    this.start(event);
    this.pull(event);
  }

  start(event) {
    this.used = true;
    this.find(".grid").setPointerCapture(event.pointerId);
    const [rows, columns] = this.lines().map((cells) => cells.map((cell) => cell.getBoundingClientRect()));
    Object.assign(this.from, { rows, columns });
  }

  pull(event) {
    if (!this.from) return;
    if (!this.used) {
      if (Math.hypot(event.clientX - this.from.x, event.clientY - this.from.y) < APART) return;
      this.start(event);
    }
    const { x, y, rows, columns } = this.from;
    const [left, right] = [Math.min(x, event.clientX), Math.max(x, event.clientX)];
    const [top, bottom] = [Math.min(y, event.clientY), Math.max(y, event.clientY)];
    const met = (boxes, hit) => Array.from(boxes.keys()).filter((k) => hit(boxes[k]));
    const inside = [
      met(rows, (box) => box.top <= bottom && box.bottom >= top),
      met(columns, (box) => box.left <= right && box.right >= left),
    ];
    if (inside.every((found) => found.length)) this.choose(...inside);
    else this.choose();
    const scroll = this.find(".scroll");
    const frame = scroll.getBoundingClientRect();
    const place = { left: left - frame.left + scroll.scrollLeft, top: top - frame.top, width: right - left, height: bottom - top };
    for (const [name, value] of Object.entries(place)) this.find(".lasso").style[name] = `${value}px`;
    this.find(".lasso").hidden = right - left < 4 && bottom - top < 4;
  }

  end() {
    this.from = null;
    this.find(".lasso").hidden = true;
  }
}
