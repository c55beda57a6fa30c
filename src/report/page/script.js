"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const items = data.items;
  const inputs = items.map(() => []);
  const users = items.map(() => []);
  for (const [user, used] of data.edges) {
    inputs[user].push(used);
    users[used].push(user);
  }
  const byLabel = new Map(items.map((item, number) => [item.label, number]));
  const $ = (id) => document.getElementById(id);

  // Colours.
  const themes = ["auto", "light", "dark"];
  let theme = 0;
  const themeButton = $("theme");
  themeButton.addEventListener("click", () => {
    theme = (theme + 1) % themes.length;
    if (theme === 0) delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = themes[theme];
    themeButton.textContent = "Colours: " + themes[theme];
    themeButton.setAttribute("aria-label", theme === 0 ? "Colours: as the system has them" : "Colours: " + themes[theme]);
  });

  for (const time of document.querySelectorAll("time[data-epoch]")) {
    time.textContent = new Date(Number(time.dataset.epoch) * 1000).toLocaleString();
  }

  // The table.
  const table = $("table");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const value = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value === undefined ? cell.textContent.trim() : Number(cell.dataset.value);
  };
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of table.tHead.rows[0].cells) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const order = (one, other) => {
        const [a, b] = [value(one, column), value(other, column)];
        const compared = typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true });
        return up ? compared : -compared;
      };
      body.append(...[...body.rows].sort(order));
    });
  });
  const count = $("count");
  const filter = () => {
    const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = (row.textContent + " " + items[row.dataset.node].synopsis).toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += row.hidden ? 0 : 1;
    }
    count.textContent = shown + " of " + rows.length + " packages";
  };
  $("filter").addEventListener("input", filter);
  filter();

  // The graph: a view box that moves over the drawing.
  const svg = $("graph");
  const canvas = $("canvas");
  const whole = svg.viewBox.baseVal;
  const home = [whole.x, whole.y, whole.width, whole.height];
  let view = [...home];
  const show = () => svg.setAttribute("viewBox", view.map((number) => number.toFixed(2)).join(" "));
  const zoom = (factor, x = view[0] + view[2] / 2, y = view[1] + view[3] / 2) => {
    const width = Math.min(Math.max(view[2] * factor, 120), home[2] * 3);
    const scale = width / view[2];
    view = [x - (x - view[0]) * scale, y - (y - view[1]) * scale, width, view[3] * scale];
    show();
  };
  const point = (event) => new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const at = point(event);
    zoom(Math.exp(event.deltaY * 0.0015), at.x, at.y);
  }, { passive: false });
  let drag = null;
  canvas.addEventListener("pointerdown", (event) => { drag = { at: point(event), moved: false }; });
  canvas.addEventListener("pointermove", (event) => {
    if (!drag || event.buttons === 0) return;
    const now = point(event);
    const [dx, dy] = [drag.at.x - now.x, drag.at.y - now.y];
    if (Math.abs(dx) + Math.abs(dy) > 3) drag.moved = true;
    view[0] += dx;
    view[1] += dy;
    show();
  });
  canvas.addEventListener("pointerup", () => { setTimeout(() => { drag = null; }, 0); });
  $("in").addEventListener("click", () => zoom(0.7));
  $("out").addEventListener("click", () => zoom(1 / 0.7));
  $("fit").addEventListener("click", () => { view = [...home]; show(); });
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.addEventListener("keydown", (event) => {
    const move = moves[event.key];
    if (move) {
      view[0] += (move[0] * view[2]) / 8;
      view[1] += (move[1] * view[3]) / 8;
      show();
    } else if (event.key === "+") zoom(0.7);
    else if (event.key === "-") zoom(1 / 0.7);
    else if (event.key === "0") { view = [...home]; show(); }
    else return;
    event.preventDefault();
  });

  const nodes = [...svg.querySelectorAll(".node")];
  const edges = [...svg.querySelectorAll(".edge")];
  const element = (tag, text, more) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (more) Object.assign(made, more);
    return made;
  };
  const jump = (number) => {
    const button = element("button", items[number].label, { type: "button", className: "go" });
    button.addEventListener("click", () => choose(number, true));
    return button;
  };
  const list = (entries) => {
    const made = element("ul");
    for (const entry of entries) {
      const line = element("li");
      line.append(entry);
      made.append(line);
    }
    return made;
  };
  const bytes = (size) => {
    const units = ["B", "KiB", "MiB", "GiB"];
    let unit = 0;
    while (size >= 1000 && unit < units.length - 1) { size /= 1024; unit += 1; }
    return (unit && size < 10 ? size.toFixed(1) : size.toFixed(0)) + " " + units[unit];
  };

  // The shortest chain from something that was asked for.
  const why = (number) => {
    const before = new Map([[number, -1]]);
    const waiting = [number];
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      if (items[next].wanted) {
        const chain = [];
        for (let at = next; at !== -1; at = before.get(at)) chain.push(at);
        return chain;
      }
      for (const user of users[next]) {
        if (!before.has(user)) { before.set(user, next); waiting.push(user); }
      }
    }
    return null;
  };

  const closure = (start, next) => {
    const found = new Set([start]);
    const waiting = [start];
    while (waiting.length) {
      for (const other of next[waiting.pop()]) if (!found.has(other)) { found.add(other); waiting.push(other); }
    }
    return found;
  };

  const details = $("details");
  const describe = (number) => {
    const item = items[number];
    details.replaceChildren(element("h3", item.label + (item.version ? " " + item.version : "")));
    const part = (name, ...content) => {
      if (content.length) details.append(element("h4", name), ...content);
    };
    if (item.synopsis) details.append(element("p", item.synopsis));
    const chain = why(number);
    if (item.wanted) part("Why", element("p", "asked for by bootstrap all"));
    else if (chain) part("Why: needed, step by step, by", list(chain.slice(0, -1).map(jump)));
    else part("Why", element("p", "nothing that bootstrap all asks for needs it"));
    if (item.failure) part("Failed", element("p", item.failure.message), element("pre", item.failure.last_lines.join("\n")));
    part("Outputs", list(item.outputs.map((output) => {
      const line = element("span", output.path);
      if (output.valid) line.append(element("br"), "sha256 " + output.valid.sha256, element("br"), bytes(output.valid.size));
      else line.append(" (not built)");
      return line;
    })));
    part("Inputs (" + inputs[number].length + ")", list(inputs[number].map(jump)));
    const references = [...new Set(item.outputs.flatMap((output) => (output.valid ? output.valid.references : [])))];
    part("References (" + references.length + ")", list(references));
    part("Used by (" + users[number].length + ")", list(users[number].map(jump)));
    if (item.tests === false) part("Tests", element("p", "not run" + (item.tests_reason ? ": " + item.tests_reason : "")));
    part("Derivation", element("code", item.derivation));
    if (item.log) part("Log", element("code", "bootstrap log " + item.label), element("p", item.log));
  };

  const choose = (number, move) => {
    const near = closure(number, inputs);
    for (const other of closure(number, users)) near.add(other);
    nodes.forEach((node, at) => {
      node.classList.toggle("chosen", at === number);
      node.classList.toggle("dim", !near.has(at));
      node.setAttribute("aria-pressed", at === number);
    });
    for (const edge of edges) {
      const [user, used] = [Number(edge.dataset.user), Number(edge.dataset.used)];
      edge.classList.toggle("on", user === number || used === number);
      edge.classList.toggle("dim", !(near.has(user) && near.has(used)));
    }
    describe(number);
    if (move) {
      const box = nodes[number].getBBox();
      view[0] = box.x + box.width / 2 - view[2] / 2;
      view[1] = box.y + box.height / 2 - view[3] / 2;
      show();
    }
    history.replaceState(null, "", "#node=" + encodeURIComponent(items[number].label));
  };
  const press = (thing, action) => {
    thing.addEventListener("click", (event) => { if (!(drag && drag.moved)) action(event); });
    thing.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); action(event); }
    });
  };
  nodes.forEach((node, number) => press(node, () => choose(number, false)));
  for (const row of document.querySelectorAll("#timeline [data-item]")) {
    press(row, () => {
      const number = byLabel.get(row.dataset.item);
      if (number !== undefined) go(number);
    });
  }
  const go = (number) => {
    choose(number, true);
    $("dependencies").scrollIntoView({ block: "start" });
  };
  for (const row of rows) {
    row.querySelector("button.name").addEventListener("click", () => go(Number(row.dataset.node)));
  }
  $("find").addEventListener("input", (event) => {
    const text = event.target.value.toLowerCase();
    let first = -1;
    nodes.forEach((node, number) => {
      const found = text !== "" && items[number].label.toLowerCase().includes(text);
      node.classList.toggle("found", found);
      if (found && (first === -1 || items[number].label === event.target.value)) first = number;
    });
    if (first !== -1) choose(first, true);
  });
  const wanted = decodeURIComponent(location.hash).match(/^#node=(.*)$/);
  if (wanted && byLabel.has(wanted[1])) go(byLabel.get(wanted[1]));
})();
