"use strict";
document.querySelectorAll("table.sortable").forEach((table) => {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const rising = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", rising ? "ascending" : "descending");
      const value = (row) => row.cells[column].dataset.sort ?? row.cells[column].textContent;
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        const [x, y] = [value(a), value(b)];
        if (x === "" || y === "") return (x === "") - (y === "");
        const difference = Number(x) - Number(y);
        const order = Number.isNaN(difference) ? x.localeCompare(y, undefined, { numeric: true }) : difference;
        return rising ? order : -order;
      });
      table.tBodies[0].append(...rows);
    });
  });
});
const filter = document.getElementById("filter");
if (filter) {
  const figures = [...document.querySelectorAll("figure")];
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    figures.forEach((figure) => {
      const text = [...figure.querySelectorAll(".of, figcaption > p")].map((p) => p.textContent).join(" ").toLowerCase();
      figure.hidden = !words.every((word) => text.includes(word));
      shown += !figure.hidden;
    });
    document.querySelectorAll("section.group").forEach((group) => {
      group.hidden = !group.querySelector("figure:not([hidden])");
    });
    document.getElementById("filtered").textContent = words.length ? `${shown} of ${figures.length}` : "";
  });
}
