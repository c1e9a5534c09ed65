"use strict";
// Tables sort by a click, or a key press, on a heading; what has no number comes last both ways.
const compare = (a, b, isNumber, sign) => {
  if (a === "" || b === "") return (a === "") - (b === "");
  return sign * (isNumber ? Number(a) - Number(b) || 0 : a.localeCompare(b, "en", { numeric: true }));
};

for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.title = "Sort by this column";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      const isNumber = head.classList.contains("number");
      const key = (row) => row.cells[column].dataset.key;
      const rows = [...body.rows].sort((a, b) => compare(key(a), key(b), isNumber, sign));
      body.append(...rows);
    });
  });
  heads[0].setAttribute("aria-sort", "ascending");
}
