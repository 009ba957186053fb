// Tables sort by a click on a head; rows of means stay at the bottom.
for (const head of document.querySelectorAll("thead th")) {
  const sort = () => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const body = head.closest("table").tBodies[0];
    const value = row => row.cells[head.cellIndex].dataset.value ?? "";
    const rows = [...body.rows].filter(row => !row.classList.contains("summary"));
    rows.sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
      return up ? order : -order;
    });
    body.prepend(...rows);
  };
  head.addEventListener("click", sort);
  head.addEventListener("keydown", event => { if (event.key === "Enter") sort(); });
}
// A link to a run opens its configuration.
const open = () => {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (!target) return;
  for (let node = target; node; node = node.parentNode) if (node.tagName === "DETAILS") node.open = true;
  for (const node of target.querySelectorAll(".run")) node.open = true;
  target.scrollIntoView();
};
addEventListener("hashchange", open);
open();
