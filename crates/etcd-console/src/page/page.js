"use strict";
// Filters the table of tests, and draws the timelines of failed tests. Loads nothing, and puts all text in as text.
(() => {
  const LABELS = 270, LANE = 24, TOP = 26, BOTTOM = 22, STEP = 14;
  const MOST_LANES = 24, MOST_LINES = 2000, MOST_NOTES = 30, LEAST_COLUMNS = 5;
  // The kinds of changes, by their numbers in the data.
  const KINDS = ["created", "changed", "deleted", "lease-ended"];
  const WORDS = ["PUT", "PUT", "DEL", "DEL"];

  const make = (name, attributes = {}, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };
  const draw = (parent, name, attributes, text) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    parent.append(element);
    return element;
  };
  const clamp = (value, least, most) => Math.max(least, Math.min(value, most));
  const counted = (count, one) => `${count} ${one}${count === 1 ? "" : "s"}`;

  // One column for each transaction and each note, in order, and the times in which each key existed.
  function read(data) {
    const columns = [], lives = data.keys.map(() => []);
    let notes = 0;
    for (const entry of data.entries) {
      if (typeof entry === "number") {
        columns.push({ leftOut: entry });
      } else if (entry.length === 2) {
        columns.push({ seconds: entry[0], note: entry[1], number: ++notes });
      } else {
        const [rev, kind, key, lease, difference, before, after] = entry;
        const change = { rev, kind, key, lease, difference, before, after };
        const last = columns[columns.length - 1];
        if (last && last.rev === rev) last.changes.push(change); else columns.push({ rev, changes: [change] });
        const column = columns.length - 1, life = lives[key][lives[key].length - 1];
        if (kind >= 2) {
          if (life && life.to === null) life.to = column;
        } else if (!life || life.to !== null) {
          lives[key].push({ from: kind === 0 ? column : 0, to: null, lease: lease >= 0 });
        }
      }
    }
    return { data, columns, lives };
  }

  const line = (data, change) => {
    const lease = change.lease < 0 ? "" : `${change.kind === 3 ? " by the end of lease " : " lease "}${data.leases[change.lease]}`;
    return `rev ${change.rev} ${WORDS[change.kind]} ${data.keys[change.key]} ${change.difference}${lease}`;
  };
  const lines = ({ data }, column) => {
    if (column.changes) return column.changes.map((change) => line(data, change));
    if (column.leftOut) return [`… ${counted(column.leftOut, "change")} left out here …`];
    return [`-- ${column.seconds.toFixed(3)} s: ${column.note}`];
  };

  class Timeline {
    constructor(host) {
      this.host = host;
      Object.assign(this, read(JSON.parse(host.querySelector("script").textContent)));
      this.from = 0;
      this.to = this.columns.length;
      this.selected = this.columns.length - 1;
      if (this.columns.length === 0) {
        host.append(make("p", {}, "Nothing was written here: does the code under test use this prefix?"));
        return;
      }
      this.build();
      this.update();
      addEventListener("resize", () => this.update());
    }

    build() {
      const button = (text, label, action) => {
        const made = make("button", { type: "button", title: label, "aria-label": label }, text);
        made.addEventListener("click", action);
        return made;
      };
      this.where = make("output");
      this.slider = make("input", { type: "range", min: 0, "aria-label": "first column" });
      this.slider.addEventListener("input", () => this.show(Number(this.slider.value), this.to - this.from));
      const tools = make("div", { class: "tools" },
        button("−", "zoom out (-)", () => this.zoom(2)), button("+", "zoom in (+)", () => this.zoom(0.5)),
        button("all", "show all (0)", () => this.zoom(Infinity)), this.slider, this.where,
        "● created ◯ changed ✕ deleted ◆ lease ended");
      const about = "Timeline: arrow keys select a change, plus and minus zoom, 0 shows all.";
      this.svg = draw(this.host, "svg", { tabindex: 0, role: "img", "aria-label": about });
      this.svg.before(tools);
      this.tip = make("div", { class: "tip", hidden: "" });
      this.selection = make("div", { class: "selection", "aria-live": "polite" });
      this.notes = make("ol", { class: "notes" });
      for (const column of this.columns) {
        if (column.note !== undefined) this.notes.append(make("li", {}, `${column.seconds.toFixed(3)} s: ${column.note}`));
      }
      this.text = make("pre");
      this.list = make("details", {}, make("summary", {}, "As text"), this.text);
      this.list.addEventListener("toggle", () => this.write());
      const count = this.notes.children.length;
      const notes = count > MOST_NOTES ? make("details", {}, make("summary", {}, counted(count, "note")), this.notes) : this.notes;
      this.host.append(this.tip, this.selection, notes, this.list);
      this.svg.addEventListener("keydown", (event) => this.key(event));
      this.svg.addEventListener("mousemove", (event) => this.hover(event));
      this.svg.addEventListener("mouseleave", () => { this.tip.hidden = true; });
      this.svg.addEventListener("click", (event) => {
        const mark = event.target.closest("[data-column]");
        if (mark) this.select(Number(mark.dataset.column));
      });
    }

    show(from, count) {
      count = clamp(Math.round(count), Math.min(LEAST_COLUMNS, this.columns.length), this.columns.length);
      this.from = clamp(Math.round(from), 0, this.columns.length - count);
      this.to = this.from + count;
      this.update();
    }

    zoom(factor) {
      const count = Math.min((this.to - this.from) * factor, this.columns.length);
      const isVisible = this.selected >= this.from && this.selected < this.to;
      const middle = isVisible ? this.selected : (this.from + this.to) / 2;
      this.show(middle - count / 2, count);
    }

    select(column) {
      this.selected = clamp(column, 0, this.columns.length - 1);
      const count = this.to - this.from;
      if (this.selected < this.from || this.selected >= this.to) this.show(this.selected - count / 2, count);
      else this.update();
    }

    key(event) {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      const actions = {
        ArrowLeft: () => this.select(this.selected - 1), ArrowRight: () => this.select(this.selected + 1),
        Home: () => this.select(0), End: () => this.select(this.columns.length - 1),
        "+": () => this.zoom(0.5), "-": () => this.zoom(2), "0": () => this.zoom(Infinity),
      };
      if (!actions[event.key]) return;
      event.preventDefault();
      actions[event.key]();
    }

    hover(event) {
      const mark = event.target.closest("[data-tip]");
      this.tip.hidden = !mark;
      if (!mark) return;
      this.tip.textContent = this.tips[Number(mark.dataset.tip)]();
      const box = this.host.getBoundingClientRect();
      this.tip.style.left = `${clamp(event.clientX - box.left + 14, 0, Math.max(0, box.width - this.tip.offsetWidth))}px`;
      this.tip.style.top = `${event.clientY - box.top + 16}px`;
    }

    // The keys that have a lane, those without, and where everything is.
    layout() {
      const lanes = new Map();
      for (let column = this.from; column < this.to; column++) {
        for (const change of this.columns[column].changes ?? []) {
          if (!lanes.has(change.key)) lanes.set(change.key, lanes.size);
        }
      }
      const isFull = lanes.size > MOST_LANES;
      const count = isFull ? MOST_LANES : lanes.size;
      const lane = (key) => Math.min(lanes.get(key), count - 1);
      const width = this.host.clientWidth || 1000, plot = width - LABELS - 16;
      const perBin = Math.max(1, Math.ceil((this.to - this.from) / Math.max(1, Math.floor(plot / STEP))));
      const bins = Math.ceil((this.to - this.from) / perBin);
      const bin = (column) => Math.floor((column - this.from) / perBin);
      const x = (column) => LABELS + (bin(clamp(column, this.from, this.to - 1)) + 0.5) * (plot / bins);
      const y = (number) => TOP + (number + 0.5) * LANE;
      return { lanes, lane, count, isFull, width, step: plot / bins, perBin, bin, x, y, height: TOP + count * LANE + BOTTOM };
    }

    update() {
      if (!this.svg) return;
      const layout = this.layout();
      this.tips = [];
      this.svg.replaceChildren();
      this.svg.setAttribute("height", layout.height);
      this.svg.setAttribute("viewBox", `0 0 ${layout.width} ${layout.height}`);
      if (this.selected >= this.from && this.selected < this.to) {
        const width = Math.min(layout.step, 48), x = layout.x(this.selected) - width / 2;
        const at = { x, y: 0, width, height: layout.height };
        draw(this.svg, "rect", { class: "selected", ...at });
      }
      this.drawLanes(layout);
      this.drawChanges(layout);
      this.drawNotes(layout);
      this.drawRevisions(layout);
      this.selection.textContent = this.details(this.columns[this.selected]);
      const all = this.columns.length, shown = this.to - this.from;
      this.slider.hidden = shown === all;
      this.slider.max = all - shown;
      this.slider.value = this.from;
      this.where.textContent = shown === all ? "" : `${this.from + 1} to ${this.to} of ${all}`;
      this.write();
    }

    drawLanes({ lanes, lane, count, isFull, width, x, y }) {
      for (const [key, number] of lanes) {
        if (isFull && number >= count - 1) break;
        const name = this.data.keys[key], short = name.length > 34 ? `…${name.slice(-33)}` : name;
        draw(draw(this.svg, "text", { x: 8, y: y(number) + 4 }, short), "title", {}, name);
        draw(this.svg, "line", { class: "grid", x1: LABELS, x2: width, y1: y(number), y2: y(number) });
        for (const life of this.lives[key]) {
          if (life.from >= this.to || (life.to !== null && life.to < this.from)) continue;
          const end = life.to === null ? width - 8 : x(life.to);
          const place = { x1: x(life.from), x2: end, y1: y(lane(key)), y2: y(lane(key)) };
          draw(this.svg, "line", { class: life.lease ? "life leased" : "life", ...place });
        }
      }
      if (isFull) {
        draw(this.svg, "text", { class: "faint", x: 8, y: y(count - 1) + 4 }, `${lanes.size - count + 1} other keys`);
        draw(this.svg, "line", { class: "grid", x1: LABELS, x2: width, y1: y(count - 1), y2: y(count - 1) });
      }
    }

    drawChanges({ lane, perBin, bin, step, x, y }) {
      const marks = new Map();
      for (let number = this.from; number < this.to; number++) {
        const changes = this.columns[number].changes ?? [];
        const used = changes.map((change) => lane(change.key));
        if (perBin === 1 && used.length > 1) {
          const [top, bottom] = [used.reduce((a, b) => Math.min(a, b)), used.reduce((a, b) => Math.max(a, b))];
          draw(this.svg, "line", { class: "txn", x1: x(number), x2: x(number), y1: y(top), y2: y(bottom) });
        }
        changes.forEach((change, index) => {
          const place = `${bin(number)} ${used[index]}`;
          if (!marks.has(place)) marks.set(place, { number, lane: used[index], changes: [] });
          marks.get(place).changes.push(change);
        });
      }
      for (const mark of marks.values()) {
        const at = { x: x(mark.number), y: y(mark.lane) };
        if (mark.changes.length === 1) this.shape(mark.changes[0].kind, at);
        else draw(this.svg, "rect", { class: "many", x: at.x - 5, y: at.y - 7, width: 10, height: 14, rx: 2 });
        this.tips.push(() => this.about(mark.changes));
        const wide = Math.max(step, 10), place = { x: at.x - wide / 2, y: at.y - LANE / 2, width: wide, height: LANE };
        draw(this.svg, "rect", { fill: "transparent", "data-tip": this.tips.length - 1, "data-column": mark.number, ...place });
      }
    }

    shape(kind, { x, y }) {
      const path = (d) => draw(this.svg, "path", { class: KINDS[kind], d });
      if (kind === 2) path(`M${x - 5},${y - 5} l10,10 m0,-10 l-10,10`);
      else if (kind === 3) path(`M${x},${y - 7} l6,7 l-6,7 l-6,-7 z`);
      else draw(this.svg, "circle", { class: KINDS[kind], cx: x, cy: y, r: 5 });
    }

    about(changes) {
      const some = changes.slice(0, 8).map((change) => line(this.data, change));
      if (changes.length === 1) return some[0];
      const first = changes[0].rev, last = changes[changes.length - 1].rev;
      const rest = changes.length > 8 ? ["…"] : [];
      return [`${changes.length} changes, revisions ${first} to ${last}`, ...some, ...rest].join("\n");
    }

    drawNotes({ x, height }) {
      for (let number = this.from; number < this.to; number++) {
        const column = this.columns[number];
        if (column.changes) continue;
        draw(this.svg, "line", { class: "note", x1: x(number), x2: x(number), y1: TOP - 8, y2: height - BOTTOM });
        this.tips.push(() => lines(this, column)[0]);
        const mark = { "data-tip": this.tips.length - 1, "data-column": number };
        draw(this.svg, "circle", { class: "note-number", cx: x(number), cy: 12, r: 9, ...mark });
        draw(this.svg, "text", { class: "in-note", x: x(number), y: 16, ...mark }, column.number ?? "…");
      }
    }

    drawRevisions({ x, height }) {
      let free = 0;
      for (let number = this.from; number < this.to; number++) {
        const { rev } = this.columns[number];
        if (rev === undefined || x(number) < free) continue;
        draw(this.svg, "text", { class: "faint", x: x(number) - 4, y: height - 6 }, rev);
        free = x(number) + 24 + 9 * String(rev).length;
      }
    }

    details(column) {
      const text = lines(this, column).slice(0, 50);
      const change = column.changes?.length === 1 ? column.changes[0] : null;
      if (change && change.before !== null) text.push(`before: ${change.before}`);
      if (change && change.after !== null) text.push(`after:  ${change.after}`);
      if (column.changes?.length > 50) text.push("…");
      return text.join("\n");
    }

    // The visible part, for those who read, search and copy.
    write() {
      if (!this.list.open) return;
      const text = [];
      for (let number = this.from; number < this.to && text.length < MOST_LINES; number++) {
        text.push(...lines(this, this.columns[number]));
      }
      this.text.textContent = text.slice(0, MOST_LINES).join("\n") + (text.length >= MOST_LINES ? "\n… zoom in for more" : "");
    }
  }

  function filter() {
    const input = document.getElementById("filter"), verdict = document.getElementById("verdict");
    if (!input) return;
    const rows = [...document.querySelectorAll("#tests tbody tr")];
    const names = rows.map((row) => row.cells[1].textContent.toLowerCase());
    const apply = () => {
      const words = input.value.toLowerCase().split(/\s+/);
      let shown = 0;
      rows.forEach((row, number) => {
        const isOfKind = verdict.value === "" || row.dataset.verdict === verdict.value;
        row.hidden = !(isOfKind && words.every((word) => names[number].includes(word)));
        shown += row.hidden ? 0 : 1;
      });
      document.getElementById("shown").textContent = `${shown} of ${rows.length}`;
    };
    input.addEventListener("input", apply);
    verdict.addEventListener("change", apply);
    document.addEventListener("keydown", (event) => {
      const isTyping = ["INPUT", "SELECT"].includes(document.activeElement?.tagName);
      if (event.key !== "/" || isTyping || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      input.focus();
    });
    apply();
  }

  // Drawn when they come into sight: there may be many.
  function timelines() {
    const drawn = new Set();
    const show = (host) => {
      if (!drawn.has(host)) new Timeline(host);
      drawn.add(host);
    };
    const hosts = document.querySelectorAll(".timeline");
    const watching = new IntersectionObserver((seen) => {
      for (const { isIntersecting, target } of seen) if (isIntersecting) show(target);
    }, { rootMargin: "600px" });
    hosts.forEach((host) => watching.observe(host));
    addEventListener("beforeprint", () => hosts.forEach(show));
  }

  filter();
  timelines();
})();
