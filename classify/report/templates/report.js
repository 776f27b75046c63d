"use strict";
// Tables that sort and filter, figures that are drawn when they come into view, and the map of the clips.
// Nothing of a figure is parsed before it is in view, nor Plotly itself: text and tables are there at once.
(() => {
  const data = (key) => JSON.parse(document.getElementById(`data-${key}`).textContent);
  const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"];
  const SYMBOLS = ["circle", "square", "diamond", "triangle-up"];
  const CONFIG = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["lasso2d", "select2d"] };
  const MANY = 1500; // points from which WebGL draws them

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  // Plotly reads tags and entities in every text.
  const escaped = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const printable = (text) =>
    String(text).replace(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, (c) =>
      "\\x" + c.charCodeAt(0).toString(16).padStart(2, "0"));

  function axis(own) {
    const base = { gridcolor: css("--line"), linecolor: css("--line"), zeroline: false, automargin: true };
    return { ...base, ...own, title: { font: { size: 13 }, standoff: 12, ...own.title } };
  }

  function themed(layout) {
    return {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: 60, r: 20, t: 30, b: 80 },
      height: 420,
      legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom" },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: css("--soft"), activecolor: css("--text") },
      hoverlabel: { bgcolor: css("--panel"), font: { color: css("--text") } },
      ...layout,
      font: { color: css("--text"), family: "system-ui, 'DejaVu Sans', sans-serif", size: 13 },
      xaxis: axis(layout.xaxis),
      yaxis: axis(layout.yaxis),
    };
  }

  const drawn = new Map(); // element → function that draws it again

  function drawFigure(element) {
    const figure = data(element.dataset.figure);
    const traces = figure.data.map((trace) =>
      trace.meta === "reference" ? { ...trace, line: { ...trace.line, color: css("--soft") } } : trace);
    Plotly.react(element, traces, themed(figure.layout), CONFIG);
  }

  function decode(text) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    return new Int16Array(bytes.buffer);
  }

  const hasWebGl = (() => {
    try {
      return Boolean(document.createElement("canvas").getContext("webgl"));
    } catch {
      return false;
    }
  })();

  function startMap(figure) {
    const map = data(`${figure.dataset.map}-map`);
    const plot = figure.querySelector(".plot");
    const slider = figure.querySelector(".layer");
    const colour = figure.querySelector(".colour");
    const shown = figure.querySelector(".shown");
    const layers = map.xy.map(() => null);
    let members = [];

    function place(layer) {
      const xy = (layers[layer] ??= decode(map.xy[layer]));
      return {
        x: members.map((rows) => rows.map((row) => xy[2 * row])),
        y: members.map((rows) => rows.map((row) => xy[2 * row + 1])),
      };
    }

    function hover(row) {
      const lines = [map.clips[row]];
      for (const [name, column] of Object.entries(map.colours)) {
        lines.push(`${name}: ${column.groups[column.codes[row]]}`);
      }
      lines.push(`predicted: ${map.predicted[row]}`);
      return lines.map((line) => escaped(printable(line))).join("<br>");
    }

    function announce() {
      const layer = Number(slider.value);
      const share = map.explained.length ? (100 * map.explained[layer]).toFixed(1) : "";
      shown.textContent = `layer ${map.layers[layer]}` + (share && `, ${share} % of the variance in the plane`);
      slider.setAttribute("aria-valuetext", `layer ${map.layers[layer]}`);
    }

    function draw() {
      const column = map.colours[colour.value];
      const many = column.groups.length > map.mostGroups;
      const names = many ? [...column.groups.slice(0, map.mostGroups), "others"] : column.groups;
      members = names.map(() => []);
      column.codes.forEach((code, row) => members[Math.min(code, names.length - 1)].push(row));
      const { x, y } = place(Number(slider.value));
      const traces = names.map((name, k) => ({
        type: hasWebGl && map.clips.length > MANY ? "scattergl" : "scatter",
        mode: "markers",
        name: escaped(printable(name)),
        x: x[k],
        y: y[k],
        customdata: members[k],
        text: members[k].map(hover),
        hovertemplate: "%{text}<extra></extra>",
        marker: {
          color: many && k === names.length - 1 ? css("--soft") : COLOURS[k % COLOURS.length],
          symbol: SYMBOLS[Math.floor(k / COLOURS.length) % SYMBOLS.length],
          size: map.clips.length > MANY ? 5 : 8,
          opacity: 0.75,
        },
      }));
      const hidden = { showticklabels: false };
      Plotly.react(plot, traces, themed({
        height: 520,
        xaxis: { ...hidden, title: { text: map.method === "pca" ? "first principal component" : "UMAP 1" } },
        yaxis: {
          ...hidden,
          title: { text: map.method === "pca" ? "second principal component" : "UMAP 2" },
          scaleanchor: "x",
        },
        hovermode: "closest",
      }), CONFIG);
      announce();
    }

    draw();
    if (map.links.length) {
      const audio = figure.querySelector(".player audio");
      const playing = figure.querySelector(".playing");
      plot.on("plotly_click", (event) => {
        const row = event.points[0].customdata;
        playing.textContent = printable(map.clips[row]) + (map.links[row] ? "" : ": file not found");
        if (map.links[row]) {
          audio.src = map.links[row];
          audio.play().catch(() => { playing.textContent += ": cannot be played here"; });
        }
      });
    }
    slider.addEventListener("input", () => {
      Plotly.restyle(plot, place(Number(slider.value)));
      announce();
    });
    colour.addEventListener("change", draw);
    return draw;
  }

  function show(element) {
    if (drawn.has(element)) return;
    if (element.classList.contains("map")) {
      drawn.set(element, startMap(element));
    } else {
      drawn.set(element, () => drawFigure(element));
      drawFigure(element);
    }
  }

  function loadPlotly() {
    const script = document.createElement("script");
    script.textContent = document.getElementById("plotly").textContent;
    document.head.append(script);
  }

  // One step at a time, so that the page answers between them.
  const waiting = [];
  function showNext() {
    if (window.Plotly) {
      show(waiting.shift());
    } else {
      loadPlotly();
    }
    if (waiting.length) setTimeout(showNext);
  }

  const watched = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) {
        watched.unobserve(entry.target);
        waiting.push(entry.target);
        if (waiting.length === 1) setTimeout(showNext);  // the text is painted by now
      }
    }
  }, { rootMargin: "400px" });
  document.querySelectorAll("[data-figure], [data-map]").forEach((element) => watched.observe(element));

  function redraw() {
    drawn.forEach((draw) => draw());
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  document.getElementById("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const now = root.dataset.theme || (dark ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
    redraw();
  });

  function value(row, column) {
    const cell = row.cells[column];
    return cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value);
  }

  function compare(a, b) {
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), undefined, { numeric: true });
  }

  // Add the rows of a long table that are not in the document yet.
  function complete(table) {
    const more = table.querySelector(".more");
    if (!more) return;
    const numbers = [...table.querySelectorAll("th")].map((header) => header.classList.contains("number"));
    const rows = JSON.parse(table.querySelector("script.rows").textContent).map((cells) => {
      const row = document.createElement("tr");
      cells.forEach(([text, value], column) => {
        const cell = row.insertCell();
        cell.textContent = text;
        if (numbers[column]) cell.className = "number";
        else if (text.length > 24) cell.className = "long";
        if (value !== null) cell.dataset.value = value;
      });
      return row;
    });
    table.querySelector("tbody").append(...rows);
    more.remove();
  }

  function sort(header) {
    complete(header.closest(".table"));
    const table = header.closest("table");
    const column = header.cellIndex;
    const down = header.getAttribute("aria-sort") === "ascending";
    table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...table.tBodies[0].rows];
    rows.sort((one, other) => compare(value(one, column), value(other, column)) * (down ? -1 : 1));
    table.tBodies[0].append(...rows);
  }

  document.querySelectorAll("th button").forEach((button) => {
    button.addEventListener("click", () => sort(button.closest("th")));
  });
  document.querySelectorAll(".more button").forEach((button) => {
    button.addEventListener("click", () => {
      const table = button.closest(".table");
      complete(table);
      table.querySelector(".scroll").focus();  // the button is gone
    });
  });
  document.querySelectorAll(".filter input").forEach((input) => {
    input.addEventListener("input", () => {
      complete(input.closest(".table"));
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of input.closest(".table").querySelectorAll("tbody tr")) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      }
    });
  });
  document.querySelectorAll("nav a[data-part]").forEach((link) => {
    link.hidden = !document.getElementById(link.dataset.part);
  });
  // The figures for print, which the screen does not show: one after the other when nothing else is to do.
  const pictures = [...document.querySelectorAll("img[data-src]")];
  function loadPicture() {
    const picture = pictures.shift();
    picture.src = picture.dataset.src;
    delete picture.dataset.src;
  }
  const idle = window.requestIdleCallback || ((later) => setTimeout(later, 200));
  function loadPictures() {
    if (!pictures.length) return;
    if (!waiting.length) loadPicture();
    setTimeout(() => idle(loadPictures, { timeout: 2000 }), 100);
  }
  addEventListener("load", () => setTimeout(loadPictures, 1000));
  addEventListener("beforeprint", () => {
    while (pictures.length) loadPicture();
    document.querySelectorAll(".table").forEach(complete);
    document.querySelectorAll("details").forEach((one) => { one.open = true; });
  });
})();
