// A rectangle drawn over the grid that selects the heads under it. A mouse starts one between the cells, or anywhere with
// Shift; touch, which scrolls, only after "Box select".

export class Lasso {
  /** lines() gives a cell of every row and of every column; choose(rows, columns) receives those that the rectangle meets. */
  constructor(find, lines, choose) {
    Object.assign(this, { find, lines, choose, drawing: false, used: false, from: null });
    const grid = find(".grid");
    grid.onpointerdown = (event) => this.begin(event);
    grid.onpointermove = (event) => this.pull(event);
    grid.onpointerup = grid.onpointercancel = () => this.end();
    find(".draw").onclick = () => {
      this.drawing = !this.drawing;
      find(".draw").setAttribute("aria-pressed", this.drawing);
      grid.classList.toggle("drawing", this.drawing);
    };
  }

  begin(event) {
    this.used = false; // if true, the click that follows is not a click on a head
    const betweenHeads = event.pointerType === "mouse" && !event.target.closest(".cell");
    if (event.button || event.target.closest("button") || !(this.drawing || event.shiftKey || betweenHeads)) return;
    event.preventDefault();
    this.used = true;
    this.find(".grid").setPointerCapture(event.pointerId);
    const [rows, columns] = this.lines().map((cells) => cells.map((cell) => cell.getBoundingClientRect()));
    this.from = { x: event.clientX, y: event.clientY, rows, columns };
    this.pull(event);
  }

  pull(event) {
    if (!this.from) return;
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
