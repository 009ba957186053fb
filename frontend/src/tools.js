// What the hand does: draw, drag anchors, select. Each tool gives commands; the server does them.
import LineString from "ol/geom/LineString.js";
import MultiPoint from "ol/geom/MultiPoint.js";
import Polygon from "ol/geom/Polygon.js";
import PointerInteraction from "ol/interaction/Pointer.js";

import { curve, ellipse } from "./spline.js";
import { middle, role, toMap, toPixel } from "./view.js";

const NEAR = 9; // pixels of the screen

/** Drags that are no panning: of anchors, of shapes, of a rectangle that selects. */
export class Hand extends PointerInteraction {
  constructor(viewer, give) {
    super();
    Object.assign(this, { viewer, give, tool: "move", drawn: [], drag: null, space: false });
    viewer.map.on("click", (event) => this.click(event));
    viewer.map.on("pointermove", (event) => this.hover(event));
    viewer.map.on("dblclick", () => this.tool === "move" && !this.drawn.length && viewer.fit());
    viewer.map.getViewport().addEventListener("contextmenu", (event) => {
      event.preventDefault();
      this.choose("outline");
      this.addPoint(toPixel(viewer.map.getEventCoordinate(event)));
    });
  }

  choose(tool) {
    this.cancel();
    this.tool = tool;
    this.viewer.map.getTargetElement().dataset.tool = tool;
    this.onTool?.(tool);
  }

  cancel() {
    this.drawn = [];
    this.drag = null;
    this.viewer.showSketch([]);
    this.viewer.select([...this.viewer.selected]);
  }

  // -- outlines by clicks

  addPoint(pixel) {
    if (this.drawn.length > 2 && this.isNear(this.drawn[0], pixel)) return this.close();
    this.drawn.push(pixel);
    this.sketch(pixel);
  }

  dropPoint() {
    this.drawn.pop();
    this.sketch(this.drawn.at(-1));
  }

  close() {
    const anchors = this.drawn;
    if (anchors.length < 3) return;
    this.cancel();
    this.give({ do: "add", anchors, id: crypto.randomUUID() });
  }

  sketch(pixel) {
    if (!this.drawn.length) return this.viewer.showSketch([]);
    const anchors = [...this.drawn];
    if (pixel && !this.isNear(this.drawn[0], pixel)) anchors.push(pixel);
    const { points } = curve(anchors, 0.5);
    this.viewer.showSketch([
      role(new LineString([...points, points[0]].map(toMap)), "line"),
      role(new MultiPoint(this.drawn.map(toMap)), "anchors"),
    ]);
  }

  hover(event) {
    if (this.tool === "outline" && this.drawn.length && !event.dragging)
      this.sketch(toPixel(event.coordinate));
  }

  click(event) {
    const pixel = toPixel(event.coordinate), keys = event.originalEvent;
    if (this.tool === "outline") return this.addPoint(pixel);
    const thing = this.viewer.at(pixel);
    if (keys.ctrlKey || keys.metaKey) return thing && this.remove([thing]);
    if (keys.altKey || this.tool !== "move") return;
    const before = keys.shiftKey ? [...this.viewer.selected] : [];
    if (!thing) return this.viewer.select(before);
    const had = before.includes(thing.id);
    this.viewer.select(had ? before.filter((id) => id !== thing.id) : [...before, thing.id]);
  }

  /** Delete labelled things, reject proposals: these shall not come again. */
  remove(things) {
    const proposed = things.filter((one) => one.state === "proposed").map((one) => one.id);
    const others = things.filter((one) => one.state !== "proposed").map((one) => one.id);
    if (proposed.length) this.give({ do: "reject", ids: proposed });
    if (others.length) this.give({ do: "delete", ids: others });
  }

  // -- drags

  isNear(one, other) {
    return Math.hypot(one[0] - other[0], one[1] - other[1]) < NEAR * this.resolution();
  }

  resolution() {
    return this.viewer.map.getView().getResolution();
  }

  handleDownEvent(event) {
    const pixel = toPixel(event.coordinate), keys = event.originalEvent;
    if (keys.button !== 0 || this.space) return false;
    if (["ellipse", "region", "cut"].includes(this.tool)) {
      this.drag = { kind: this.tool, from: pixel };
      return true;
    }
    if (this.tool !== "move") return false;
    if (keys.shiftKey) {
      this.drag = { kind: "select", from: pixel };
      return true;
    }
    return this.grab(pixel, keys);
  }

  /** Take an anchor, the middle, or a new anchor on the curve of the selected nucleus. */
  grab(pixel, keys) {
    const anchors = this.viewer.anchors, id = [...this.viewer.selected][0];
    if (!anchors || keys.ctrlKey) return false;
    const near = nearest(anchors, pixel);
    if (this.isNear(anchors[near], pixel)) {
      if (keys.altKey) this.give({ do: "delete_anchor", id, anchor: near });
      this.drag = keys.altKey ? { kind: "nothing" } : { kind: "anchor", id, at: near, anchors };
      return true;
    }
    if (this.isNear(middle(anchors), pixel)) {
      this.drag = { kind: "nucleus", id, anchors, from: pixel };
      return true;
    }
    const { points, after } = curve(anchors, 0.5);
    const place = nearest(points, pixel);
    if (keys.altKey || !this.isNear(points[place], pixel)) return false;
    const at = after[place] + 1;
    const more = [...anchors.slice(0, at), pixel, ...anchors.slice(at)];
    this.drag = { kind: "new anchor", id, at, anchors: more, to: points[place] };
    return true;
  }

  handleDragEvent(event) {
    const drag = this.drag, pixel = toPixel(event.coordinate);
    if (!drag) return;
    drag.to = pixel;
    if (drag.kind === "anchor" || drag.kind === "new anchor")
      this.viewer.showHandles(drag.anchors.map((p, i) => (i === drag.at ? pixel : p)));
    else if (drag.kind === "nucleus") this.viewer.showHandles(moved(drag.anchors, by(drag)));
    else if (drag.kind !== "nothing") this.viewer.showSketch([role(shape(drag), "line")]);
  }

  handleUpEvent() {
    const { kind, id, at, from, to, anchors } = this.drag ?? {};
    const drag = this.drag;
    this.drag = null;
    this.viewer.showSketch([]);
    if (!to) return false;
    if (kind === "anchor") this.give({ do: "move_anchor", id, anchor: at, to });
    if (kind === "new anchor") this.give({ do: "insert_anchor", id, anchor: at - 1, to });
    if (kind === "nucleus") this.give({ do: "move", id, by: by(drag) });
    if (kind === "ellipse") this.give({ do: "add", anchors: ellipse(from, to),
      id: crypto.randomUUID() });
    if (kind === "region") this.give({ do: "region", corners: [from, to] });
    if (kind === "cut") this.cut(from, to);
    if (kind === "select") this.viewer.select(this.viewer.inside(shape(drag).getExtent()));
    return false;
  }

  cut(from, to) {
    const chosen = [...this.viewer.selected];
    const thing = chosen.length === 1 ? this.viewer.things.get(chosen[0])
      : this.viewer.at(middle([from, to]));
    if (thing) this.give({ do: "cut", id: thing.id, line: [from, to] });
  }

  stopDown(handled) {
    return handled;
  }
}

const by = (drag) => [drag.to[0] - drag.from[0], drag.to[1] - drag.from[1]];
const moved = (anchors, [dx, dy]) => anchors.map(([x, y]) => [x + dx, y + dy]);

function shape({ kind, from, to }) {
  if (kind === "cut") return new LineString([from, to].map(toMap));
  const box = [from, [to[0], from[1]], to, [from[0], to[1]]];
  const points = kind === "ellipse" ? curve(ellipse(from, to), 0.5).points : box;
  return new Polygon([[...points, points[0]].map(toMap)]);
}

function nearest(points, [x, y]) {
  let best = 0;
  points.forEach(([px, py], i) => {
    if (Math.hypot(px - x, py - y) < Math.hypot(points[best][0] - x, points[best][1] - y)) best = i;
  });
  return best;
}
