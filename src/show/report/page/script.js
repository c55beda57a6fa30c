// SPDX-License-Identifier: GPL-3.0-or-later
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

  // The graph: a view box that moves over the drawing. Without this script it is a drawing that scrolls.
  const svg = $("graph");
  const canvas = $("canvas");
  const whole = svg.viewBox.baseVal;
  const home = [whole.x, whole.y, whole.width, whole.height];
  let view = [...home];
  // Whether the whole drawing is in view, whatever its size on the screen.
  let fitted = true;
  let size = [canvas.clientWidth, canvas.clientHeight];
  const show = () => svg.setAttribute("viewBox", view.map((number) => number.toFixed(2)).join(" "));
  const zoom = (factor, x = view[0] + view[2] / 2, y = view[1] + view[3] / 2) => {
    const width = Math.min(Math.max(view[2] * factor, 120), home[2] * 3);
    const scale = width / view[2];
    view = [x - (x - view[0]) * scale, y - (y - view[1]) * scale, width, view[3] * scale];
    fitted = false;
    show();
  };
  // At first a unit of the drawing is a pixel, so that labels can be read; all of it where that fits.
  canvas.classList.add("live");
  if (home[2] > size[0] || home[3] > size[1]) {
    view = [Math.min(0, (home[2] - size[0]) / 2), (home[3] - size[1]) / 2, ...size];
    fitted = false;
    show();
  }
  // Labels stay as large as they are when the window changes.
  new ResizeObserver(() => {
    const now = [canvas.clientWidth, canvas.clientHeight];
    if (!fitted && now[0] > 0 && size[0] > 0) {
      view[2] *= now[0] / size[0];
      view[3] *= now[1] / size[1];
      show();
    }
    size = now;
  }).observe(canvas);
  const point = (event) => new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
  canvas.addEventListener("wheel", (event) => {
    // The wheel scrolls the page, unless the graph has the focus or Ctrl is held.
    if (!event.ctrlKey && !event.metaKey && !canvas.contains(document.activeElement)) return;
    event.preventDefault();
    const at = point(event);
    zoom(Math.exp(event.deltaY * 0.0015), at.x, at.y);
  }, { passive: false });
  let drag = null;
  canvas.addEventListener("pointerdown", (event) => {
    drag = { at: point(event), x: event.clientX, y: event.clientY, moved: false };
  });
  // On the window: the pointer may leave the graph, and be released elsewhere.
  window.addEventListener("pointermove", (event) => {
    if (!drag || event.buttons === 0) return;
    // A click may move the pointer a little.
    if (Math.hypot(event.clientX - drag.x, event.clientY - drag.y) > 4) drag.moved = true;
    if (!drag.moved) return;
    const now = point(event);
    view[0] += drag.at.x - now.x;
    view[1] += drag.at.y - now.y;
    show();
  });
  // After the click event of the same release.
  const release = () => { setTimeout(() => { drag = null; }, 0); };
  window.addEventListener("pointerup", release);
  window.addEventListener("pointercancel", release);
  const fit = () => { view = [...home]; fitted = true; show(); clear(); };
  $("in").addEventListener("click", () => zoom(0.7));
  $("out").addEventListener("click", () => zoom(1 / 0.7));
  $("fit").addEventListener("click", fit);
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.addEventListener("keydown", (event) => {
    const move = moves[event.key];
    if (move) {
      view[0] += (move[0] * view[2]) / 8;
      view[1] += (move[1] * view[3]) / 8;
      show();
    } else if (event.key === "+") zoom(0.7);
    else if (event.key === "-") zoom(1 / 0.7);
    else if (event.key === "0") fit();
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
    button.addEventListener("click", () => {
      choose(number, true);
      read();
    });
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

  // The shortest chain from an item that `bootstrap all` builds for itself.
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
  const hint = [...details.childNodes];
  // Focuses the heading: the focused element may be gone, and screen readers must read the details.
  const read = () => { details.querySelector("h3")?.focus({ preventScroll: true }); };
  const bars = [...document.querySelectorAll("#timeline [data-item]")];
  const describe = (number) => {
    const item = items[number];
    details.replaceChildren(element("h3", item.label + (item.version ? " " + item.version : ""), { tabIndex: -1 }));
    const part = (name, ...content) => {
      if (content.length) details.append(element("h4", name), ...content);
    };
    if (item.synopsis) details.append(element("p", item.synopsis));
    const chain = why(number);
    if (item.wanted) part("Why", element("p", "built by bootstrap all"));
    else if (chain) part("Why: needed, step by step, by", list(chain.slice(0, -1).map(jump)));
    else part("Why", element("p", "not needed by bootstrap all"));
    if (item.failure) {
      part("Failed", element("p", item.failure.message));
      if (item.failure.likely_cause) details.append(element("p", "Likely cause: " + item.failure.likely_cause));
      if (item.failure.last_lines.length) details.append(element("pre", item.failure.last_lines.join("\n")));
    }
    // The name of a bar starts with its item; the rest is the time of the item and its phases.
    const own = bars.filter((bar) => bar.dataset.item === item.label);
    part("Time", ...own.map((bar) => element("p", bar.getAttribute("aria-label").slice(item.label.length + 2))));
    part("Outputs", list(item.outputs.map((output) => {
      const line = element("span", output.path);
      if (output.valid) line.append(element("br"), "NAR sha256 " + output.valid.sha256, element("br"), bytes(output.valid.size));
      else line.append(" (not built)");
      return line;
    })));
    if (item.files.length) {
      part("Sources (" + item.files.length + ")", list(item.files.map((number) => {
        const [label, sha256] = data.files[number];
        const line = element("span", label);
        line.append(element("br"), "sha256 " + sha256);
        return line;
      })));
    }
    part("Inputs (" + inputs[number].length + ")", list(inputs[number].map(jump)));
    const references = [...new Set(item.outputs.flatMap((output) => (output.valid ? output.valid.references : [])))];
    part("References (" + references.length + ")", list(references));
    part("Used by (" + users[number].length + ")", list(users[number].map(jump)));
    if (item.tests === false) part("Tests", element("p", "not run" + (item.tests_reason ? ": " + item.tests_reason : "")));
    if (item.rebuilt) {
      const varied = item.rebuilt.varied.length ? item.rebuilt.varied.join(", ") : "nothing but the time";
      const came = item.rebuilt.same ? "the same bytes every time" : "different bytes";
      part("Built again", element("p", item.rebuilt.rounds + "\u00d7; result: " + came + "; varied: " + varied));
    }
    part("Derivation", element("code", item.derivation));
    if (item.log) part("Log", element("code", data.program + " log " + item.label), element("p", item.log));
  };

  const center = (box) => {
    view[0] = box.x + box.width / 2 - view[2] / 2;
    view[1] = box.y + box.height / 2 - view[3] / 2;
    show();
  };
  const clear = () => {
    if (details.contains(document.activeElement)) canvas.focus();
    for (const thing of [...nodes, ...edges]) thing.classList.remove("chosen", "dim", "on");
    for (const node of nodes) node.setAttribute("aria-pressed", false);
    details.replaceChildren(...hint);
    if (location.hash) history.replaceState(null, "", "#");
  };
  $("dependencies").addEventListener("keydown", (event) => { if (event.key === "Escape") clear(); });
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
    if (move) center(nodes[number].getBBox());
    history.replaceState(null, "", "#node=" + encodeURIComponent(items[number].label));
  };
  const press = (thing, action) => {
    thing.addEventListener("click", (event) => { if (!(drag && drag.moved)) action(event); });
    thing.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); action(event); }
    });
  };
  nodes.forEach((node, number) => {
    press(node, () => choose(number, false));
    // A node reached with the keyboard is moved into view.
    node.addEventListener("focus", () => {
      if (!node.matches(":focus-visible")) return;
      const box = node.getBBox();
      const [left, top] = [box.x - view[0], box.y - view[1]];
      if (left < 0 || top < 0 || left + box.width > view[2] || top + box.height > view[3]) center(box);
      // The browser scrolls the page to the place where the node was.
      requestAnimationFrame(() => canvas.scrollIntoView({ block: "nearest" }));
    });
  });
  for (const bar of bars) {
    press(bar, () => {
      const number = byLabel.get(bar.dataset.item);
      if (number !== undefined) go(number);
    });
  }
  const go = (number) => {
    choose(number, true);
    $("dependencies").scrollIntoView({ block: "start" });
    read();
  };
  for (const row of rows) {
    row.querySelector("button.name").addEventListener("click", () => go(Number(row.dataset.node)));
  }
  $("find").addEventListener("input", (event) => {
    const text = event.target.value.toLowerCase();
    let [first, count] = [-1, 0];
    nodes.forEach((node, number) => {
      const found = text !== "" && items[number].label.toLowerCase().includes(text);
      node.classList.toggle("found", found);
      count += found ? 1 : 0;
      if (found && (first === -1 || items[number].label === event.target.value)) first = number;
    });
    $("matches").textContent = text === "" ? "" : count + " found";
    if (first !== -1) choose(first, true);
  });
  $("find").addEventListener("keydown", (event) => { if (event.key === "Enter") read(); });
  let hash = "";
  // An invalid escape names no node.
  try { hash = decodeURIComponent(location.hash); } catch {}
  const wanted = hash.match(/^#node=(.*)$/);
  if (wanted && byLabel.has(wanted[1])) go(byLabel.get(wanted[1]));
})();
