// What is seen: the image as tiles, all outlines in one layer, the selected ones in another.
import Feature from "ol/Feature.js";
import OlMap from "ol/Map.js";
import View from "ol/View.js";
import { defaults as controls } from "ol/control/defaults.js";
import MultiPoint from "ol/geom/MultiPoint.js";
import Point from "ol/geom/Point.js";
import Polygon from "ol/geom/Polygon.js";

import DragPan from "ol/interaction/DragPan.js";
import MouseWheelZoom from "ol/interaction/MouseWheelZoom.js";
import PinchZoom from "ol/interaction/PinchZoom.js";
import TileLayer from "ol/layer/Tile.js";
import VectorLayer from "ol/layer/Vector.js";
import VectorImageLayer from "ol/layer/VectorImage.js";
import Projection from "ol/proj/Projection.js";
import TileImage from "ol/source/TileImage.js";
import VectorSource from "ol/source/Vector.js";
import { Circle, Fill, RegularShape, Stroke, Style } from "ol/style.js";
import TileGrid from "ol/tilegrid/TileGrid.js";

import { curve } from "./spline.js";

const COLORS = { labelled: "#33dd66", proposed: "#ffaa22", rejected: "#888888", region: "#55aaff" };

/** Pixels of the image to places on the map, whose y points up, and back. */
export const toMap = ([x, y]) => [x, -y];
export const toPixel = ([x, y]) => [x, -y];

const closed = (points) => [[...points, points[0]].map(toMap)];

function ringOf(thing) {
  if (thing.kind === "nucleus") return curve(thing.anchors).points;
  const [[x0, y0], [x1, y1]] = thing.anchors;
  return [[x0, y0], [x1, y0], [x1, y1], [x0, y1]];
}

export class Viewer {
  constructor(target) {
    this.shown = { all: true, outlines: true, fill: false, rejected: false, threshold: 0.5 };
    this.selected = new Set();
    this.styles = new Map();
    this.source = new VectorSource();
    this.things = new Map();
    this.tiles = new TileLayer();
    this.all = new VectorImageLayer({
      source: this.source, imageRatio: 2, style: (feature) => this.style(feature),
    });
    this.handles = new VectorSource();
    this.sketch = new VectorSource();
    const handleStyle = (feature) => HANDLES[feature.get("role")];
    this.map = new OlMap({
      target,
      layers: [
        this.tiles,
        this.all,
        new VectorLayer({ source: this.handles, style: handleStyle, updateWhileInteracting: true }),
        new VectorLayer({ source: this.sketch, style: handleStyle, updateWhileInteracting: true }),
      ],
      controls: controls({ attribution: false, rotate: false }),
      interactions: [new DragPan(), new MouseWheelZoom(), new PinchZoom()],
    });
  }

  /** Show another image. */
  open(index, size, tiles) {
    const [height, width] = size;
    this.extent = [0, -height, width, 0];
    const projection = new Projection({ code: "pixels", units: "pixels", extent: this.extent });
    const resolutions = Array.from({ length: tiles.levels }, (_, i) => 2 ** (tiles.levels - 1 - i));
    this.grid = new TileGrid({ extent: this.extent, origin: [0, 0], resolutions,
      tileSize: tiles.side });
    this.projection = projection;
    this.index = index;
    this.levels = tiles.levels;
    this.tiles.setExtent(this.extent);
    this.map.setView(new View({
      projection, center: [width / 2, -height / 2], resolution: 1,
      minResolution: 1 / 32, maxResolution: 4 * resolutions[0], constrainResolution: false,
      extent: [-width, -2 * height, 2 * width, height], showFullExtent: true,
    }));
    this.fit();
  }

  /** Intensities that are black and white, and the channel. */
  window({ low, high, channel }) {
    const query = `low=${low}&high=${high}&channel=${channel}`;
    const { index, levels } = this;
    this.tiles.setSource(new TileImage({
      projection: this.projection, tileGrid: this.grid, interpolate: false, transition: 0,
      tileUrlFunction: ([z, x, y]) =>
        `/api/images/${index}/tiles/${levels - 1 - z}/${y}/${x}?${query}`,
    }));
  }

  fit() {
    this.map.getView().fit(this.extent, { padding: [10, 10, 10, 10] });
  }

  /** Replace all that lies on the image. */
  replace(things) {
    this.things = new Map(things.map((thing) => [thing.id, thing]));
    this.source.clear(true);
    this.source.addFeatures(things.map((thing) => this.feature(thing)));
    this.select([...this.selected].filter((id) => this.things.has(id)));
  }

  feature(thing) {
    const feature = new Feature(new Polygon(closed(ringOf(thing))));
    feature.setId(thing.id);
    feature.set("thing", thing, true);
    return feature;
  }

  /** Do a change that the server did. */
  put(change) {
    for (const [id, , after] of change) {
      const old = this.source.getFeatureById(id);
      if (old) this.source.removeFeature(old);
      this.things.delete(id);
      if (after) {
        this.things.set(id, after);
        this.source.addFeature(this.feature(after));
      }
    }
    this.select([...this.selected].filter((id) => this.things.has(id)));
  }

  show(what) {
    Object.assign(this.shown, what);
    this.source.changed();
  }

  isVisible(thing) {
    if (!this.shown.all) return false;
    if (thing.state === "rejected") return this.shown.rejected;
    return thing.state !== "proposed" || thing.score >= this.shown.threshold ||
      this.selected.has(thing.id);
  }

  style(feature) {
    const thing = feature.get("thing");
    if (!this.isVisible(thing)) return undefined;
    const kind = thing.kind === "region" ? "region" : thing.state;
    const chosen = this.selected.has(thing.id);
    const key = `${kind}${chosen}${this.shown.outlines}${this.shown.fill}`;
    if (!this.styles.has(key)) {
      const color = COLORS[kind];
      const dash = kind === "region" ? [6, 6] : undefined;
      const stroke = new Stroke({ color, width: chosen ? 3 : 1.5, lineDash: dash });
      this.styles.set(key, new Style({
        stroke: this.shown.outlines || chosen ? stroke : undefined,
        fill: this.shown.fill && kind !== "region" ? new Fill({ color: `${color}55` }) : undefined,
      }));
    }
    return this.styles.get(key);
  }

  /** Choose things; of a single nucleus the anchors are shown. */
  select(ids) {
    this.selected = new Set(ids);
    this.source.changed();
    const thing = ids.length === 1 ? this.things.get(ids[0]) : undefined;
    this.showHandles(thing?.kind === "nucleus" ? thing.anchors : undefined);
    this.onSelect?.();
  }

  showHandles(anchors) {
    this.handles.clear(true);
    this.anchors = anchors;
    if (!anchors) return this.handles.changed();
    const { points } = curve(anchors, 0.5);
    this.handles.addFeatures([
      role(new Polygon(closed(points)), "curve"),
      role(new MultiPoint(anchors.map(toMap)), "anchors"),
      role(new Point(toMap(middle(anchors))), "middle"),
    ]);
  }

  showSketch(features) {
    this.sketch.clear(true);
    this.sketch.addFeatures(features);
    if (!features.length) this.sketch.changed();
  }

  /** The smallest visible thing around a place, pixels of the image. */
  at(pixel) {
    const found = this.source.getFeaturesAtCoordinate(toMap(pixel))
      .filter((one) => this.isVisible(one.get("thing")))
      .sort((a, b) => a.getGeometry().getArea() - b.getGeometry().getArea());
    const nucleus = found.find((one) => one.get("thing").kind === "nucleus");
    return (nucleus ?? found[0])?.get("thing");
  }

  /** Things of which the box of the outline meets a rectangle. */
  inside(extent) {
    return this.source.getFeaturesInExtent(extent).map((one) => one.get("thing"))
      .filter((one) => one.kind === "nucleus" && this.isVisible(one)).map((one) => one.id);
  }

  /** Bring a thing into view. */
  goto(id) {
    const extent = this.source.getFeatureById(id).getGeometry().getExtent();
    const side = Math.max(extent[2] - extent[0], extent[3] - extent[1]);
    const view = this.map.getView();
    view.animate({
      center: [(extent[0] + extent[2]) / 2, (extent[1] + extent[3]) / 2],
      resolution: Math.min(view.getResolution(), (8 * side) / this.map.getSize()[1]),
      duration: 150,
    });
  }
}

export const middle = (points) =>
  [0, 1].map((c) => points.reduce((sum, p) => sum + p[c], 0) / points.length);

export function role(geometry, name) {
  const feature = new Feature(geometry);
  feature.set("role", name, true);
  return feature;
}

const white = new Fill({ color: "#ffffff" }), dark = new Stroke({ color: "#000000", width: 1 });
const HANDLES = {
  curve: new Style({ stroke: new Stroke({ color: "#ffffff", width: 2 }) }),
  anchors: new Style({ image: new Circle({ radius: 4.5, fill: white, stroke: dark }) }),
  middle: new Style({ image: new RegularShape({ points: 4, radius: 6, angle: Math.PI / 4,
    fill: new Fill({ color: "#55aaff" }), stroke: dark }) }),
  line: new Style({ stroke: new Stroke({ color: "#ff4466", width: 2, lineDash: [6, 4] }) }),
};
